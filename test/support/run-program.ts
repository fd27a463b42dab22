/** Runs a program of ours for real, as a shell would, and tells everything it said. */
import { spawn } from 'node:child_process';
import { runProgram as runCli } from '../../src/operations/cli/cli.ts';
import { LAUNCH_DAEMONS, MASTER_LOOP } from '../../src/operations/cli/command-line.ts';
import { programCommand } from '../../src/seams/entry.ts';
import { plainClock } from '../../src/seams/plain-clock.ts';
import type { Terminal } from '../../src/seams/terminal.ts';

export interface Ran {
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
  /** Standard output as JSON. */
  json(): unknown;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
  readonly onStart?: (act: { readonly kill: (signal: NodeJS.Signals) => void }) => void;
  /** Called with everything on standard output so far; `end` closes our side of the pipe, `kill` sends a signal. */
  readonly onOut?: (
    out: string,
    act: { readonly kill: (signal: NodeJS.Signals) => void; readonly end: () => void },
  ) => void;
}

const PROGRAMS = {
  master_loop: '../../scripts/master_loop.ts',
  launch_daemons: '../../scripts/launch_daemons.ts',
} as const;

export const commandOf = (program: keyof typeof PROGRAMS, args: readonly string[]): string[] =>
  programCommand(PROGRAMS[program], import.meta.url, args);

/** Settings of whoever runs the tests must not reach the program. */
const CLEAN = {
  PATH: process.env['PATH'] ?? '',
  HOME: process.env['HOME'] ?? '/',
  LANG: 'C.UTF-8',
};

export const runProgram = (
  program: keyof typeof PROGRAMS,
  args: readonly string[],
  { env = {}, cwd, input, onStart, onOut }: RunOptions = {},
): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const [file = '', ...rest] = commandOf(program, args);
    const child = spawn(file, rest, { env: { ...CLEAN, ...env }, ...(cwd === undefined ? {} : { cwd }) });
    onStart?.({ kill: (signal) => void child.kill(signal) });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      onOut?.(out, { kill: (signal) => void child.kill(signal), end: () => void child.stdout.destroy() });
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, out, err, json: () => JSON.parse(out) as unknown }));
    child.stdin.on('error', () => undefined); // a program that does not read its input may be gone by now
    child.stdin.end(input ?? '');
  });

/**
 * The same, inside this process: everything but the edge of the process itself. A real process takes as long to start as
 * a hundred commands take to run, so only what is about processes pays for one.
 */
export const runHere = async (
  program: keyof typeof PROGRAMS,
  args: readonly string[],
  { env = {}, input = '' }: Pick<RunOptions, 'env' | 'input'> = {},
): Promise<Ran> => {
  let out = '';
  let err = '';
  const terminal: Terminal = {
    outputIsTerminal: false,
    interactive: false,
    size: () => ({ columns: 80, rows: 24 }),
    write: (text) => void (out += text),
    writeError: (text) => void (err += text),
    readInput: () => Promise.resolve(input),
    outliveReaders: () => undefined,
    enter: () => undefined,
    leave: () => undefined,
  };
  const exit = (code: number): void => {
    throw new Error(`the command ended the process with ${code}`);
  };
  const world = { terminal, clock: plainClock(), environment: { ...CLEAN, ...env }, exit };
  const code = await runCli(program === 'master_loop' ? MASTER_LOOP : LAUNCH_DAEMONS, args, world);
  return { code, signal: null, out, err, json: () => JSON.parse(out) as unknown };
};

/**
 * This program as a thing the rest may ask for: its arguments, environment, signals and end, and another run of itself.
 *
 * Everything that acts on our own process is here, so that nothing else can end it or swallow a signal unseen. Another run
 * of the program is started as the leader of its own session with its output in a file: it outlives the terminal, and
 * what it said before it could log is still readable.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** What was typed after the name of the program. */
export const ownArguments = (): readonly string[] => process.argv.slice(2);

export const environment = (): Readonly<Record<string, string | undefined>> => process.env;

export const workingFolder = (): string => process.cwd();

export const ownPid = (): number => process.pid;

export type SignalName = 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'SIGQUIT' | 'SIGCONT' | 'SIGWINCH' | 'SIGUSR1' | 'SIGUSR2';

/**
 * Calls `run` on each of these signals, instead of what Node would do.
 * @returns ends it; when nobody listens any more, the signal does again what it does by default
 */
export const onSignal = (names: readonly SignalName[], run: (signal: SignalName) => void): (() => void) => {
  const handler = (signal: NodeJS.Signals): void => run(signal as SignalName);
  for (const name of names) process.on(name, handler);
  return () => {
    for (const name of names) process.off(name, handler);
  };
};

/** Sends ourselves a signal, as a terminal would: to stop (SIGTSTP), or to take the way a supervisor takes (SIGTERM). */
export const signalSelf = (signal: SignalName | 'SIGTSTP'): void => {
  process.kill(process.pid, signal);
};

/** Ends the process now. Output that was written to a pipe or a terminal has left by then (Node writes both at once). */
export const exit = (code: number): never => process.exit(code);

/** Runs `run` while the process ends, whatever ended it but SIGKILL. It must be synchronous. */
export const onExit = (run: (code: number) => void): (() => void) => {
  process.on('exit', run);
  return () => void process.off('exit', run);
};

export interface DetachedRun {
  readonly pid: number;
  /** Resolves when it ended while we still watched. Never rejects: a program that cannot be started ends with code null. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  /** Where this run's own lines begin in the output file, bytes. */
  readonly outputFrom: number;
  /** Stops watching, so that this process may end while that one goes on. */
  release(): void;
}

/**
 * Starts a program that outlives us: its own session, no terminal, output appended to a file (0600, made with its folder).
 * @param command argv; no shell
 */
export const startDetached = (
  command: readonly string[],
  outputFile: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): DetachedRun => {
  const [program, ...rest] = command;
  if (program === undefined) throw new RangeError('cannot start a program: the command is empty');
  mkdirSync(dirname(outputFile), { recursive: true });
  const output = openSync(outputFile, 'a', 0o600);
  try {
    const outputFrom = statSync(outputFile).size;
    const child = spawn(program, rest, { detached: true, stdio: ['ignore', output, output], env });
    const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.once('error', () => resolve({ code: null, signal: null }));
    });
    return { pid: child.pid ?? 0, ended, outputFrom, release: () => child.unref() };
  } finally {
    closeSync(output);
  }
};

/**
 * Catches what nobody caught: exceptions and unhandled rejections of this process.
 * @param run  called in the async context of what threw, so that its owner can be told
 */
export const onUncaught = (run: (error: unknown, kind: 'exception' | 'rejection') => void): (() => void) => {
  const exception = (error: unknown): void => run(error, 'exception');
  const rejection = (error: unknown): void => run(error, 'rejection');
  process.on('uncaughtException', exception);
  process.on('unhandledRejection', rejection);
  return () => {
    process.off('uncaughtException', exception);
    process.off('unhandledRejection', rejection);
  };
};

/** Writes a line to standard error at once. */
export const printError = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

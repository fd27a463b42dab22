/**
 * Where the blocks of a document are run: a folder of its own in which the programs are on the PATH, the fleets and the
 * package are where a reader has them, and the ports of the document are free ones. Nothing of it touches another loop.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../src/seams/entry.ts';
import { commandOf } from '../support/run-program.ts';
import type { Block } from './document.ts';

/** A block that hangs is a wrong document. */
const BLOCK_MS = 90_000;
const KEY_EVERY_MS = 500;
const BESIDE_MS = 15_000;
const LOOK_MS = 25;

export interface Said {
  readonly code: number | null;
  /** Standard output and error, as a reader sees them. */
  readonly text: string;
}

/** The ports that the documents speak of, and the variable that moves each. */
const PORTS = [
  ['8790', 'RINGRIFT_HEALTH_PORT'],
  ['8801', 'RINGRIFT_JOB_SCHEDULER_PORT'],
  ['8766', 'RINGRIFT_DATA_SERVER_PORT'],
] as const;

const freePorts = async (count: number): Promise<number[]> => {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) server.close();
  return ports;
};

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What moves the cursor and changes colours. */
const ESCAPES = /\x1b\[[0-9;?]*[A-Za-z]/g; // eslint-disable-line no-control-regex

/** One program under way, with what it has said so far. */
export class Running {
  text = '';
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(command: readonly string[], cwd: string, env: Readonly<Record<string, string>>) {
    const [file = '', ...args] = command;
    // A group of its own: what a block left behind ends with it.
    this.child = spawn(file, args, { cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (this.text += text));
    this.child.stdin?.on('error', () => undefined); // it may end before it was typed to
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', resolve);
    });
  }

  /** Resolves once it has said that. */
  async says(words: RegExp, ms: number, what: string): Promise<void> {
    let over = false;
    void this.ended.then(() => (over = true));
    for (const from = performance.now(); performance.now() - from < ms && !over; await pause(LOOK_MS))
      if (words.test(this.text.replace(ESCAPES, ''))) return;
    throw new Error(`${what} ${over ? 'ended' : `went on for ${ms / 1000} s`} and never said ${words}:\n${this.text}`);
  }

  /** Resolves once it has said more than that. */
  async saysMore(than: string, what: string): Promise<void> {
    for (const from = performance.now(); performance.now() - from < BESIDE_MS; await pause(LOOK_MS))
      if (this.text !== than) return;
    throw new Error(`${what} said nothing for ${BESIDE_MS / 1000} s after:\n${than}`);
  }

  end(): void {
    try {
      process.kill(-(this.child.pid as number), 'SIGKILL');
    } catch {
      // It has ended.
    }
  }

  async within(ms: number, what: string): Promise<Said> {
    let over = false;
    void this.ended.then(() => (over = true));
    for (const from = performance.now(); !over && performance.now() - from < ms;) await pause(LOOK_MS);
    if (!over) {
      this.end();
      throw new Error(`${what} did not end within ${ms / 1000} s; it said:\n${this.text}`);
    }
    return { code: await this.ended, text: this.text };
  }
}

export class Stage {
  readonly folder = mkdtempSync(join(tmpdir(), 'ml-docs-'));
  readonly dataDir = join(this.folder, '.master-loop');
  readonly #env: Readonly<Record<string, string>>;
  readonly #ports: ReadonlyMap<string, string>;
  #beside: { readonly running: Running; readonly block: Block } | null = null;
  #written = 0;

  static async open(): Promise<Stage> {
    return new Stage((await freePorts(PORTS.length)).map(String));
  }

  private constructor(ports: readonly string[]) {
    const bin = join(this.folder, '.bin');
    mkdirSync(bin);
    for (const program of ['master_loop', 'launch_daemons'] as const) {
      writeFileSync(join(bin, program), `#!/bin/sh\nexec ${commandOf(program, []).map(quoted).join(' ')} "$@"\n`);
      chmodSync(join(bin, program), 0o755);
    }
    mkdirSync(join(this.folder, 'node_modules'));
    symlinkSync(packageRoot(), join(this.folder, 'node_modules', 'master-loop'));
    symlinkSync(join(packageRoot(), 'node_modules', 'zod'), join(this.folder, 'node_modules', 'zod'));
    symlinkSync(join(packageRoot(), 'fleets'), join(this.folder, 'fleets'));
    this.#ports = new Map(PORTS.map(([port], index) => [port, ports[index] ?? '']));
    this.#env = {
      PATH: `${bin}:${process.env['PATH'] ?? ''}`,
      HOME: process.env['HOME'] ?? '/',
      LANG: 'C.UTF-8',
      TERM: 'xterm',
      MASTER_LOOP_DATA_DIR: this.dataDir,
      ...Object.fromEntries(PORTS.map(([, name], index) => [name, ports[index] ?? ''])),
    };
  }

  /** The text of a block with the ports that are free here. */
  #here(source: string): string {
    return source.replace(/\b(\d{4})\b/g, (port) => this.#ports.get(port) ?? port);
  }

  #command({ language, source }: Pick<Block, 'language' | 'source'>): string[] {
    if (language === 'bash') return ['bash', '--norc', '-euo', 'pipefail', '-c', this.#here(source)];
    const file = join(this.folder, `block-${++this.#written}.mjs`);
    writeFileSync(file, this.#here(source));
    return [process.execPath, file];
  }

  /** Starts something in a terminal of 80 columns and leaves it running. */
  inTerminal(command: string, cwd = this.folder): Running {
    const sized = `stty cols 80 rows 24; exec ${command}`;
    return new Running(['script', '-qefc', `bash --norc -c ${quoted(sized)}`, '/dev/null'], cwd, this.#env);
  }

  /** Runs a block as it says, and the block that waits beside it to its end. */
  async run(block: Block): Promise<{ readonly said: Said; readonly beside: { block: Block; said: Said } | null }> {
    const what = `the block of line ${block.line}`;
    if (block.way === 'beside') {
      const running = new Running(this.#command(block), this.folder, this.#env);
      this.#beside = { running, block };
      await running.saysMore('', what); // it says when it is under way
      return { said: { code: null, text: running.text }, beside: null };
    }
    const running =
      block.way === 'terminal'
        ? this.inTerminal(this.#here(block.source))
        : new Running(this.#command(block), this.folder, this.#env);
    if (block.way === 'terminal') {
      const typing = setInterval(() => running.text !== '' && running.child.stdin?.write(block.key), KEY_EVERY_MS);
      void running.ended.finally(() => clearInterval(typing));
    } else running.child.stdin?.end();
    const before = this.#beside?.running.text ?? '';
    const said = await running.within(BLOCK_MS, what);
    return { said, beside: await this.#endBeside(before) };
  }

  /** @param before  what it had said before the block it runs beside */
  async #endBeside(before: string): Promise<{ block: Block; said: Said } | null> {
    const beside = this.#beside;
    this.#beside = null;
    if (beside === null) return null;
    const { running, block } = beside;
    await running.saysMore(before, `the block of line ${block.line}`);
    running.end();
    await running.ended;
    return { block, said: { code: null, text: running.text } };
  }

  log(): string {
    return readFileSync(join(this.dataDir, 'logs', 'coordination.log'), 'utf8');
  }

  /** Ends the loop of this folder, if one runs, and forgets everything. */
  async close(): Promise<void> {
    this.#beside?.running.end();
    const stopped = new Running(['launch_daemons', '--stop-all'], this.folder, this.#env);
    await stopped
      .within(BLOCK_MS, 'stopping the loop')
      .finally(() => rmSync(this.folder, { recursive: true, force: true }));
  }
}

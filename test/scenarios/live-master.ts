/**
 * A master as its users run it: a process of its own on a data directory of its own, with daemons written for the test.
 * What a test asks, it asks through the programs and the port, like anybody else.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StatusReport } from '../../src/operations/client/index.ts';
import { commandOf, runProgram, type Ran } from '../support/run-program.ts';

const LOOK_MS = 25;

/** Waits for a condition; fails with what it was. */
export const until = async <Value>(
  what: string,
  look: () => Value | null | undefined | false | Promise<Value | null | undefined | false>,
  timeoutMs = 20_000,
): Promise<Value> => {
  for (const from = performance.now(); performance.now() - from < timeoutMs;) {
    const value = await look();
    if (value !== null && value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
};

/** Pids of live processes that carry the mark of this data directory. */
export const marked = (instance: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return (
          readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`MASTER_LOOP_INSTANCE=${instance}`) &&
          !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))
        );
      } catch {
        return false; // it ended meanwhile
      }
    })
    .map(Number);

export class LiveMaster {
  readonly folder: string;
  readonly dataDir: string;
  readonly #env: Readonly<Record<string, string>>;
  #child: ChildProcess | null = null;
  #ended: Promise<number | null> = Promise.resolve(null);
  #printed = '';

  /**
   * @param modules  file name → source of a daemon module beside the fleet file
   * @param env      what the master's environment has beside that of the tests
   */
  constructor(
    fleet: string,
    modules: Readonly<Record<string, string>> = {},
    env: Readonly<Record<string, string>> = {},
  ) {
    this.#env = env;
    this.folder = mkdtempSync(join(tmpdir(), 'ml-live-'));
    this.dataDir = join(this.folder, 'd');
    mkdirSync(this.dataDir);
    writeFileSync(join(this.folder, 'fleet.yaml'), fleet);
    for (const [name, source] of Object.entries(modules)) writeFileSync(join(this.folder, name), source);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  path(...parts: readonly string[]): string {
    return join(this.folder, ...parts);
  }

  /** Starts the loop and waits for nothing. */
  launchLoop(): ChildProcess {
    const [file = '', ...args] = this.#command();
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...this.#env } });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#printed += text));
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once('exit', resolve));
    return child;
  }

  #command(...more: readonly string[]): string[] {
    const settings = ['--fleet', this.path('fleet.yaml'), '--data-dir', this.dataDir, '--port', '0'];
    return commandOf('master_loop', [...more, ...settings]);
  }

  async start(): Promise<StatusReport> {
    const child = this.launchLoop();
    return until('the master answers', async () => {
      if (child.exitCode !== null) throw new Error(`the master ended with ${child.exitCode}:\n${this.#printed}`);
      const ran = await this.run('status', '--json');
      const status = ran.out === '' ? null : (ran.json() as StatusReport);
      return status?.pid === child.pid ? status : null;
    });
  }

  /** Runs it under its live view, in a terminal of its own. @returns a function that closes that terminal */
  async watchInTerminal(): Promise<() => void> {
    const quoted = this.#command('--watch').map((word) => `'${word}'`);
    const child = spawn('script', ['-qefc', `stty cols 80 rows 24; exec ${quoted.join(' ')}`, '/dev/null'], {
      stdio: ['pipe', 'ignore', 'ignore'],
      env: { ...process.env, ...this.#env },
    });
    await until('the master answers', async () => (await this.run('status')).code === 0);
    return () => void child.kill('SIGKILL');
  }

  /** Closes our end of its standard error: who read its log is gone. */
  stopReading(): void {
    this.#child?.stderr?.destroy();
  }

  run(...args: readonly string[]): Promise<Ran> {
    return runProgram('master_loop', [...args, '--data-dir', this.dataDir]);
  }

  launch(...args: readonly string[]): Promise<Ran> {
    return runProgram('launch_daemons', [...args, '--data-dir', this.dataDir]);
  }

  async status(): Promise<StatusReport> {
    return (await this.run('status', '--json')).json() as StatusReport;
  }

  async daemon(type: string): Promise<StatusReport['daemons'][number]> {
    const found = (await this.status()).daemons.find((daemon) => daemon.type === type);
    if (found === undefined) throw new Error(`no daemon ${type}`);
    return found;
  }

  /** Resolves once the daemon is in that state. */
  async untilState(type: string, state: string, timeoutMs?: number): Promise<StatusReport['daemons'][number]> {
    return until(
      `${type} is ${state}`,
      async () => {
        const daemon = await this.daemon(type);
        return daemon.state === state ? daemon : null;
      },
      timeoutMs,
    );
  }

  async get(path: string): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
    const { port } = await this.status();
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** The exit code, once it has ended. */
  ended(): Promise<number | null> {
    return this.#ended;
  }

  async kill9(): Promise<void> {
    this.signal('SIGKILL');
    await this.#ended;
  }

  /** The mark of this data directory; its processes carry it in their environment. */
  instance(): string {
    return readFileSync(join(this.dataDir, 'run', 'instance'), 'utf8').trim();
  }

  /** Live processes that belong to this data directory, besides the master. */
  children(): number[] {
    return existsSync(join(this.dataDir, 'run', 'instance')) ? marked(this.instance()) : [];
  }

  /** Everything on standard error so far. */
  printed(): string {
    return this.#printed;
  }

  log(): string {
    return readFileSync(join(this.dataDir, 'logs', 'coordination.log'), 'utf8');
  }

  async dispose(): Promise<void> {
    if (this.#child !== null && this.#child.exitCode === null) await this.kill9();
    for (const pid of this.children()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended meanwhile.
      }
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

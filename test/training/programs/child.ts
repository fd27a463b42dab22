/**
 * Real child processes for the tests of programs: started, listened to, and always ended.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { plainClock } from '../../../src/seams/plain-clock.ts';
import {
  JOBS,
  jobCommand,
  PROTOCOL_VERSION,
  type JobInput,
  type JobKind,
  type JobResult,
} from '../../../src/training/programs/protocol.ts';

const clock = plainClock();

export interface Child {
  readonly process: ChildProcess;
  /** What it wrote so far. */
  output(): string;
  /** Exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
}

const running = new Set<ChildProcess>();

export const startChild = (command: readonly string[]): Child => {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let text = '';
  child.stdout.on('data', (part: Buffer) => (text += part.toString()));
  child.stderr.on('data', (part: Buffer) => (text += part.toString()));
  const ended = new Promise<number | string>((resolve) =>
    child.on('close', (code, signal) => {
      running.delete(child);
      resolve(code ?? signal ?? 'unknown');
    }),
  );
  return { process: child, output: () => text, ended };
};

/** Ends what a failed test left running. */
export const endChildren = async (): Promise<void> => {
  const left = [...running];
  for (const child of left) child.kill('SIGKILL');
  await Promise.all(left.map((child) => new Promise((resolve) => child.once('close', resolve))));
};

/** Waits for a condition; the time limit of the test is the only limit, and the last word on failure is `what`. */
export const until = async <Value>(
  what: string,
  look: () => Value | Promise<Value>,
  seconds = 20,
): Promise<NonNullable<Value>> => {
  const began = clock.monotonicMs();
  while (true) {
    const found = await look();
    if (found) return found;
    if (clock.since(began) > seconds) throw new Error(`waited ${seconds} s in vain: ${what}`);
    await clock.sleep(20);
  }
};

export interface Workshop {
  readonly folder: string;
  path(name: string): string;
  /** Writes a job file and runs its program to the end. */
  run<Kind extends JobKind>(
    kind: Kind,
    job: JobInput<Kind>,
  ): Promise<{ code: number | string; output: string; result: JobResult<Kind> | null }>;
  /** Writes a job file and starts its program. */
  start<Kind extends JobKind>(kind: Kind, job: JobInput<Kind>): Child;
  remove(): void;
}

/** A folder of its own for the jobs of one test. */
export const workshop = (): Workshop => {
  const folder = mkdtempSync(join(tmpdir(), 'programs-'));
  const path = (name: string): string => join(folder, name);
  const start = <Kind extends JobKind>(kind: Kind, job: JobInput<Kind>): Child => {
    const { jobId } = job as { jobId: string };
    writeFileSync(path(`${jobId}.job.json`), JSON.stringify(job));
    return startChild(jobCommand(kind, path(`${jobId}.job.json`)));
  };
  return {
    folder,
    path,
    start,
    async run(kind, job) {
      const child = start(kind, job);
      const code = await child.ended;
      const { resultFile } = job as { resultFile: string };
      const result = existsSync(resultFile)
        ? (JOBS[kind].result.parse(JSON.parse(readFileSync(resultFile, 'utf8'))) as JobResult<typeof kind>)
        : null;
      return { code, output: child.output(), result };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
};

/** The fields that all jobs share. */
export const jobHead = (shop: Workshop, jobId: string, config: string) =>
  ({ version: PROTOCOL_VERSION, jobId, config, resultFile: shop.path(`${jobId}.result.json`) }) as const;

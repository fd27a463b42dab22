/**
 * A place in which a daemon has at most one child program at work, and from which no outcome is lost.
 *
 * The program outlives a restart of the daemon, and the result file outlives the program. So whoever looks first takes a
 * result that is there, then waits for the live program, and only then starts one; a start of the daemon that knows
 * nothing of the one before comes to the same. Which job a live program does is not asked: a slot begins no job before
 * the program of the last one is proven gone, so it is the job that the books say is under way. A name per job instead
 * would leave a log file per job.
 */
import type { ProcessExit } from '../seams/spawner.ts';
import type { Jobs } from '../training/floor.ts';
import { PROTOCOL_VERSION, type JobInput, type JobKind, type JobResult } from '../training/programs/protocol.ts';
import type { DaemonContext, DaemonProcess } from './definition.ts';

/** Behind the master, ahead of the nodes that play (nice 5): what closes the loop is worth more than one game more. */
const NICE = 2;

/** Between TERM and KILL: a program that hears TERM ends at its next breath, a training after writing its checkpoint. */
const GRACE_MS = 2_000;

export type JobTools = Pick<DaemonContext<unknown>, 'clock' | 'signal' | 'spawn' | 'spawned' | 'endProcess'> & {
  readonly jobs: Jobs;
};

export interface JobLimits {
  /** A program that runs longer is ended; its job has failed once. */
  readonly secondsMax: number;
  /** So is one whose progress file stands still for this long; null for programs without one. */
  readonly silentSecondsMax: number | null;
}

export type JobProgress = Awaited<ReturnType<Jobs['progress']>>;

export type JobLook<Kind extends JobKind> =
  | { readonly result: JobResult<Kind> }
  | {
      readonly result: null;
      /** This start sees the program for the first time: it was started by this look, or taken over. */
      readonly fresh: boolean;
      readonly progress: JobProgress;
    };

interface Running {
  readonly jobId: string;
  readonly child: DaemonProcess;
  exit: ProcessExit | null;
  /** Monotonic milliseconds. */
  readonly since: number;
  movedAt: number;
  step: number;
}

export class JobSlot<Kind extends JobKind> {
  readonly #kind: Kind;
  readonly #name: string;
  readonly #tools: JobTools;
  readonly #limits: JobLimits;
  readonly #ended: () => void;
  #running: Running | null = null;

  /**
   * @param name  of the child process; one per slot
   * @param ended  called when the program has ended: time for another look
   */
  constructor(kind: Kind, name: string, tools: JobTools, limits: JobLimits, ended: () => void) {
    this.#kind = kind;
    this.#name = name;
    this.#tools = tools;
    this.#limits = limits;
    this.#ended = ended;
  }

  /** Monotonic milliseconds of the last step that the program made; null when none runs that this start knows of. */
  get movedAt(): number | null {
    return this.#running === null || this.#running.exit !== null ? null : this.#running.movedAt;
  }

  /**
   * What became of a job; starts its program when there is neither a result nor a program.
   * @param order  writes the job, when its program has to be started
   */
  async look(jobId: string, order: () => Promise<JobInput<Kind>>): Promise<JobLook<Kind>> {
    const { clock, jobs, spawn, endProcess } = this.#tools;
    const child = this.#live(); // before the result is read, so that one that has just ended is not taken for a failure
    const result = await jobs.result(this.#kind, jobId);
    if (result !== null) {
      await this.clear();
      return { result };
    }
    if (child === null) {
      const before = this.#running;
      if (before?.jobId === jobId && before.exit !== null) {
        this.#running = null;
        const { code, signal } = before.exit;
        return { result: this.#failed(jobId, `its program ended with ${signal ?? `exit code ${code}`} and no result`) };
      }
      const { command } = await jobs.prepare(this.#kind, await order());
      this.#watch(jobId, await spawn({ name: this.#name, command, survives: true, nice: NICE }));
      return { result: null, fresh: true, progress: null };
    }

    const fresh = this.#running?.child.process !== child.process;
    const running = fresh ? this.#watch(jobId, child) : this.#running!;
    const progress = await jobs.progress(this.#kind, jobId);
    if (progress !== null && progress.step > running.step) {
      running.step = progress.step;
      running.movedAt = clock.monotonicMs();
    }
    const fault = this.#faultOf(running);
    if (fault === null) return { result: null, fresh, progress };
    await endProcess(child, GRACE_MS);
    this.#running = null;
    return { result: (await jobs.result(this.#kind, jobId)) ?? this.#failed(jobId, fault) };
  }

  /** Ends what runs here, whatever it does; resolves on proof. What has left its result is about to end anyhow. */
  async clear(): Promise<void> {
    const child = this.#live();
    this.#running = null;
    if (child !== null) await this.#tools.endProcess(child, GRACE_MS);
  }

  #live(): DaemonProcess | null {
    const known = this.#running;
    if (known !== null && known.exit === null) return known.child;
    return (
      this.#tools.spawned().find(({ name, process }) => name === this.#name && process !== known?.child.process) ?? null
    );
  }

  #watch(jobId: string, child: DaemonProcess): Running {
    const now = this.#tools.clock.monotonicMs();
    const running: Running = { jobId, child, exit: null, since: now, movedAt: now, step: -1 };
    this.#running = running;
    void child.process.exited.then((exit) => {
      running.exit = exit;
      if (this.#running === running && !this.#tools.signal.aborted) this.#ended();
    });
    return running;
  }

  #faultOf({ since, movedAt }: Running): string | null {
    const { clock } = this.#tools;
    const { secondsMax, silentSecondsMax } = this.#limits;
    if (clock.since(since) > secondsMax) return `its program ran longer than ${secondsMax} s`;
    if (silentSecondsMax !== null && clock.since(movedAt) > silentSecondsMax)
      return `its program made no step for ${silentSecondsMax} s`;
    return null;
  }

  #failed(jobId: string, reason: string): JobResult<Kind> {
    return { version: PROTOCOL_VERSION, jobId, ok: false, reason, retryable: true } as JobResult<Kind>;
  }
}

/**
 * What export, training and evaluation have in common: one job file in, one result file out, and a quick end.
 *
 * The result appears whole or not at all. A fault of the job itself (a corrupt shard, a model of another game) is a result
 * too, `ok: false`, because trying again would only repeat it; what may pass (a full disk) says `retryable`. SIGTERM ends
 * the program at its next breath, at most some 25 ms later or one file later, with exit code 143 and no result: whoever
 * ordered the job finds none and runs it again, and training goes on from its checkpoint.
 */
import { z } from 'zod';
import { messageOf, OrchestratorError, type ErrorCode } from '../../errors.ts';
import type { FileSystem } from '../../seams/file-system.ts';
import { isoTime, plainClock, type PlainClock } from '../../seams/plain-clock.ts';
import { realFileSystem } from '../../seams/real-file-system.ts';
import { exit, onSignal, ownArguments } from '../../seams/self.ts';
import { JOBS, PROTOCOL_VERSION, type JobKind, type JobResult } from './protocol.ts';

/** Work between two looks at signals and timers, milliseconds. */
const SLICE_MS = 25;

/** 128 + SIGTERM, as shells report it. */
const EXIT_TERMINATED = 143;
const EXIT_UNUSABLE_JOB = 2;

type Job<Kind extends JobKind> = z.output<(typeof JOBS)[Kind]['job']>;
type Done<Kind extends JobKind> = Extract<JobResult<Kind>, { ok: true }>;
/** A result without the head that is the same for all. */
export type Outcome<Kind extends JobKind> = Omit<Done<Kind>, 'version' | 'jobId' | 'ok'>;

export interface JobTools {
  readonly files: FileSystem;
  readonly clock: PlainClock;
  /** Lets signals and timers in when the slice is over. Throws Terminated once the program was told to end. */
  breathe(): Promise<void>;
  /** True about once in `everyMs`: for progress files. */
  isDue(everyMs: number): boolean;
  /** A line for the output file. */
  say(line: string): void;
}

/** SIGTERM arrived. */
export class Terminated extends Error {}

/** Faults that another try of the same job would meet again. */
const LASTING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CHECKPOINT_INVALID',
  'SHARD_INVALID',
  'UNKNOWN_GAME_CONFIG',
  'JOB_INVALID',
  'MATCH_EMPTY',
  'STORE_TOO_NEW',
]);

export const jobInvalid = (kind: string, fault: string): OrchestratorError =>
  new OrchestratorError('JOB_INVALID', {
    message: `cannot do this ${kind} job: ${fault}`,
    remedy: 'order it again with values that fit; shapes are in src/training/programs/protocol.ts',
    context: { kind, fault },
  });

const readJob = <Kind extends JobKind>(kind: Kind, files: FileSystem): Job<Kind> => {
  const [path, ...more] = ownArguments();
  if (path === undefined || more.length > 0)
    throw jobInvalid(kind, 'the path of one job file must be the only argument');
  try {
    return JOBS[kind].job.parse(JSON.parse(files.readText(path))) as Job<Kind>;
  } catch (thrown) {
    throw jobInvalid(kind, `${path}: ${thrown instanceof z.ZodError ? z.prettifyError(thrown) : messageOf(thrown)}`);
  }
};

const toolsOf = (files: FileSystem, clock: PlainClock): JobTools => {
  let terminated = false;
  onSignal(['SIGTERM', 'SIGINT'], () => {
    terminated = true;
  });
  let sliceBegan = clock.monotonicMs();
  let lastDue = -Infinity;
  return {
    files,
    clock,
    async breathe() {
      if (clock.monotonicMs() - sliceBegan >= SLICE_MS) {
        await clock.sleep(0);
        sliceBegan = clock.monotonicMs();
      }
      if (terminated) throw new Terminated('terminated');
    },
    isDue(everyMs) {
      const now = clock.monotonicMs();
      if (now - lastDue < everyMs) return false;
      lastDue = now;
      return true;
    },
    say: (line) => process.stdout.write(`${isoTime(clock.wallMs())} ${line}\n`),
  };
};

/** The whole life of a child program. Does not return: the program ends with the exit code the protocol promises. */
export const runJob = async <Kind extends JobKind>(
  kind: Kind,
  perform: (job: Job<Kind>, tools: JobTools) => Promise<Outcome<Kind>>,
): Promise<never> => {
  const files = realFileSystem();
  const clock = plainClock();
  const tools = toolsOf(files, clock);
  let job: Job<Kind>;
  try {
    job = readJob(kind, files);
  } catch (thrown) {
    tools.say(messageOf(thrown));
    return exit(EXIT_UNUSABLE_JOB);
  }

  const head = { version: PROTOCOL_VERSION, jobId: job.jobId };
  try {
    let result: object;
    try {
      result = { ...head, ok: true, ...(await perform(job, tools)) };
    } catch (thrown) {
      if (thrown instanceof Terminated) throw thrown;
      const retryable = !(thrown instanceof OrchestratorError && LASTING.has(thrown.code));
      result = { ...head, ok: false, reason: messageOf(thrown), retryable };
      tools.say(`${messageOf(thrown)} (${retryable ? 'may be tried again' : 'another try would meet it again'})`);
    }
    files.writeAtomically(job.resultFile, JSON.stringify(JOBS[kind].result.parse(result), null, 1));
    tools.say(`${kind} ${job.jobId}: result in ${job.resultFile}`);
  } catch (thrown) {
    if (thrown instanceof Terminated) {
      tools.say(`${kind} ${job.jobId}: told to end before it was done`);
      return exit(EXIT_TERMINATED);
    }
    tools.say(`cannot leave the result of ${kind} ${job.jobId}: ${messageOf(thrown)}`);
    return exit(1);
  }
  return exit(0);
};

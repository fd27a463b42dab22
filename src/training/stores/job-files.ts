/**
 * Folders of child programs: job in, result out. A result, once there, is the outcome of that job for ever: whoever
 * ordered it may have died, and its next start takes the result instead of doing the work again.
 */
import { join } from 'node:path';
import { messageOf } from '../../errors.ts';
import type { FileSystem } from '../../seams/file-system.ts';
import type { JobPaths } from '../floor.ts';
import {
  evaluateProgress,
  identifier,
  JOBS,
  trainProgress,
  type JobInput,
  type JobKind,
  type JobResult,
} from '../programs/protocol.ts';
import { floorInputInvalid } from './faults.ts';
import { z } from 'zod';

/** Pure: the paths of a job below the floor's folder. */
export const jobPaths = (root: string, kind: JobKind, jobId: string): JobPaths => {
  if (!identifier.safeParse(jobId).success) throw floorInputInvalid(`"${jobId}" cannot name a job`, { jobId });
  const folder = join(root, 'jobs', kind, jobId);
  return {
    folder,
    jobFile: join(folder, 'job.json'),
    resultFile: join(folder, 'result.json'),
    progressFile: join(folder, 'progress.json'),
    file: (name) => join(folder, name),
  };
};

export class JobFiles {
  private readonly root: string;
  private readonly files: FileSystem;

  constructor(root: string, files: FileSystem) {
    this.root = root;
    this.files = files;
  }

  prepare<Kind extends JobKind>(kind: Kind, job: JobInput<Kind>): void {
    const checked = JOBS[kind].job.safeParse(job);
    if (!checked.success)
      throw floorInputInvalid(`the ${kind} job ${job.jobId} is not valid: ${z.prettifyError(checked.error)}`, {
        jobId: job.jobId,
      });
    const paths = jobPaths(this.root, kind, job.jobId);
    if (checked.data.resultFile !== paths.resultFile)
      throw floorInputInvalid(
        `the ${kind} job ${job.jobId} puts its result to ${checked.data.resultFile}, not to ${paths.resultFile}`,
        { jobId: job.jobId },
      );
    this.files.makeFolder(paths.folder);
    this.files.writeAtomically(paths.jobFile, `${JSON.stringify(checked.data, null, 2)}\n`);
  }

  result<Kind extends JobKind>(kind: Kind, jobId: string): JobResult<Kind> | null {
    const { resultFile } = jobPaths(this.root, kind, jobId);
    const unusable = (reason: string): JobResult<Kind> =>
      ({
        version: 1,
        jobId,
        ok: false,
        reason: `${resultFile} is not usable: ${reason}`,
        retryable: true,
      }) as JobResult<Kind>;
    if (!this.files.exists(resultFile)) return null;
    try {
      const checked = JOBS[kind].result.safeParse(JSON.parse(this.files.readText(resultFile)));
      if (!checked.success) return unusable(z.prettifyError(checked.error));
      return checked.data.jobId === jobId
        ? (checked.data as JobResult<Kind>)
        : unusable(`it is of job ${checked.data.jobId}`);
    } catch (thrown) {
      return unusable(messageOf(thrown));
    }
  }

  progress(kind: JobKind, jobId: string): { step: number; steps: number; loss: number | null } | null {
    const { progressFile } = jobPaths(this.root, kind, jobId);
    if (!this.files.exists(progressFile)) return null;
    try {
      const json: unknown = JSON.parse(this.files.readText(progressFile));
      if (kind === 'evaluate') {
        const { games, of } = evaluateProgress.parse(json);
        return { step: games, steps: of, loss: null };
      }
      const { step, steps, loss } = trainProgress.parse(json);
      return { step, steps, loss };
    } catch {
      return null; // it is evidence of progress or nothing; a result or an exit says what happened
    }
  }

  discard(kind: JobKind, jobId: string): void {
    this.files.removeFolder(jobPaths(this.root, kind, jobId).folder);
  }
}

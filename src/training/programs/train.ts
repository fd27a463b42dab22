/**
 * Training program: shards and a base model become a candidate.
 *
 * Same job, same bytes: every draw comes from the seed and from where in the run it is made, never from how often the
 * program was interrupted. So a run that was killed goes on from its last checkpoint to the model it would have become.
 * Shards are taken in the order given, oldest first, one in memory at a time; within a shard the games are shuffled anew
 * in each pass. A run that reaches `secondsMax` ends there with the model it has, and its `steps` say so.
 */
import { seededRandom } from '../../seams/random.ts';
import { ValueNetwork, shapeFor } from '../agents/value-network.ts';
import { gameConfig } from '../game/configs.ts';
import { readCheckpoint, sha256Of, writeCheckpoint, type ResumePoint } from '../learning/checkpoint.ts';
import { shardInvalid } from '../learning/npy.ts';
import { gamesOf, rowsOf, type Samples } from '../learning/samples.ts';
import { decodeShard } from '../learning/shard.ts';
import { drawPass, Learner, passRandom } from '../learning/temporal-difference.ts';
import type { FileSystem } from '../../seams/file-system.ts';
import { jobInvalid, runJob, Terminated, type JobTools } from './job-program.ts';
import { PROTOCOL_VERSION, type TrainJob, type TrainProgress } from './protocol.ts';

/** Milliseconds between two versions of the progress file. */
const PROGRESS_MS = 1000;

const TENTHS = 10;

/** The network under way, and where it is in the run. */
interface Run {
  readonly network: ValueNetwork;
  /** Boards these weights had learned before this job. */
  readonly stepsBefore: number;
  readonly at: Mutable<ResumePoint>;
}

type Mutable<Data> = { -readonly [Key in keyof Data]: Data[Key] };

const beginning = (jobId: string): ResumePoint => ({
  ...{ jobId, epoch: 0, shard: 0, game: 0, learned: 0 },
  squares: new Array<number>(TENTHS).fill(0),
  boards: new Array<number>(TENTHS).fill(0),
});

const freshRun = (job: TrainJob, files: FileSystem): Run => {
  const at = beginning(job.jobId);
  if (job.base === null) {
    const shape = shapeFor(gameConfig(job.config), job.hidden);
    return { network: ValueNetwork.untrained(shape, seededRandom(job.seed).fork('weights')), stepsBefore: 0, at };
  }
  const { file, sha256 } = job.base;
  const { network, header } = readCheckpoint(files, file, { config: job.config, hidden: job.hidden, sha256 });
  return { network, stepsBefore: header.steps, at };
};

/** Goes on from the checkpoint of this very job; one that is missing, of another job or damaged means from the start. */
const resumedRun = (job: TrainJob, { files, say }: JobTools): Run | null => {
  if (!files.exists(job.checkpointFile)) return null;
  try {
    const { network, header } = readCheckpoint(files, job.checkpointFile, { config: job.config, hidden: job.hidden });
    if (header.resume?.jobId !== job.jobId) return null;
    say(`goes on after ${header.resume.learned} boards`);
    return { network, stepsBefore: header.steps - header.resume.learned, at: { ...header.resume } };
  } catch (thrown) {
    say(`starts over: ${(thrown as Error).message}`);
    return null;
  }
};

const loadShard = (job: TrainJob, index: number, files: FileSystem): Samples => {
  const { file, sha256, rows } = job.shards[index]!;
  const bytes = files.read(file);
  const found = sha256Of(bytes);
  if (found !== sha256)
    throw shardInvalid(file, `its hash is ${found.slice(0, 12)}…, ${sha256.slice(0, 12)}… was ordered`);
  const samples = decodeShard(bytes, file);
  if (samples.config.name !== job.config)
    throw shardInvalid(file, `it is of ${samples.config.name}, not ${job.config}`);
  if (rowsOf(samples) !== rows) throw shardInvalid(file, `it has ${rowsOf(samples)} rows, ${rows} were ordered`);
  return samples;
};

await runJob('train', async (job, tools) => {
  const { files, clock, breathe, isDue, say } = tools;
  const began = clock.monotonicMs();
  const config = gameConfig(job.config);
  const rows = job.shards.reduce((sum, shard) => sum + shard.rows, 0);
  const steps = rows * job.epochs;
  if (steps === 0) throw jobInvalid('train', `its ${job.shards.length} shards hold no boards`);

  const { network, stepsBefore, at } = resumedRun(job, tools) ?? freshRun(job, files);
  const learner = new Learner(network, config, { rate: job.learningRate, lambda: job.lambda });
  const random = seededRandom(job.seed);
  let lastLoss: number | null = null;
  let savedAt = at.learned;

  const save = (): void => {
    writeCheckpoint(files, job.checkpointFile, network, {
      ...{ version: job.jobId, steps: stepsBefore + at.learned },
      resume: at,
    });
    savedAt = at.learned;
  };
  const tell = (): void => {
    const progress: TrainProgress = {
      ...{ version: PROTOCOL_VERSION, jobId: job.jobId, step: at.learned, steps },
      ...{ loss: lastLoss, atMs: clock.wallMs() },
    };
    files.writeAtomically(job.progressFile, JSON.stringify(progress));
    say(`step ${at.learned} of ${steps}, loss ${lastLoss === null ? 'not known yet' : lastLoss.toFixed(4)}`);
  };

  /** Learns from where `at` stands to the end; false when the time is over first. */
  const learn = async (): Promise<boolean> => {
    for (; at.epoch < job.epochs; at.epoch++, at.shard = 0) {
      for (; at.shard < job.shards.length; at.shard++, at.game = 0) {
        const samples = loadShard(job, at.shard, files);
        const pass = drawPass(config, gamesOf(samples), passRandom(random, at.epoch, at.shard));
        for (; at.game < pass.order.length; at.game++) {
          await breathe();
          if (clock.since(began) > job.secondsMax) return false;
          if (at.learned - savedAt >= job.checkpointSteps) save();
          if (isDue(PROGRESS_MS)) tell();
          const game = pass.order[at.game]!;
          const boards = samples.gameStart[game + 1]! - samples.gameStart[game]!;
          const tenth = Math.min(TENTHS - 1, Math.floor((TENTHS * at.learned) / steps));
          const squares = learner.learnGame(samples, game, pass.symmetries[at.game]!, at.learned / steps);
          at.squares[tenth]! += squares;
          at.boards[tenth]! += boards;
          at.learned += boards;
          lastLoss = at.squares[tenth]! / at.boards[tenth]!;
        }
      }
    }
    return true;
  };

  try {
    if (!(await learn())) say(`stops after ${job.secondsMax} s, as ordered`);
  } catch (thrown) {
    if (thrown instanceof Terminated && at.learned > savedAt) save();
    throw thrown;
  }
  tell();
  const about = { version: job.modelId, steps: stepsBefore + at.learned };
  const { bytes, sha256 } = writeCheckpoint(files, job.modelFile, network, about);
  files.remove(job.checkpointFile);
  const losses = at.squares.map((squares, tenth) => squares / at.boards[tenth]!).filter(Number.isFinite);
  return {
    ...{ modelId: job.modelId, modelFile: job.modelFile, sha256, bytes },
    ...{ steps: at.learned, rows, losses: losses.length > 0 ? losses : [0], seconds: clock.since(began) },
  };
});

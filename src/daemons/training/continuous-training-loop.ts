/**
 * Does the trainings that are ordered, one after the other: claims an item, has a child program make a candidate of its
 * shards, registers the candidate, and goes straight on.
 *
 * Invariant: an item makes one model, however often its training is begun. The id is reserved by the item, the same job
 * makes the same bytes, and registering them again changes nothing; a program that was ended goes on from its checkpoint.
 * An item is closed only after its candidate is registered and told, and its folder goes last, so the next start finds
 * whatever was left undone: a held item, a result, a live program, or a folder.
 */
import { messageOf, OrchestratorError, type ErrorCode } from '../../errors.ts';
import { degraded } from '../../health/verdict.ts';
import type { Floor, WorkItem } from '../../training/floor.ts';
import {
  PROTOCOL_VERSION,
  type TrainJobInput,
  type TrainResult,
  type WorkPayload,
} from '../../training/programs/protocol.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { JobSlot, type JobLook } from '../job-slot.ts';
import { Rounds } from '../rounds.ts';
import { z } from 'zod';

const TYPE = 'CONTINUOUS_TRAINING_LOOP';

/** Closed items whose folder is looked for at start: one is closed at a time. */
const CLOSED_ITEMS = 4;

/** A loss that moved less than this share over a run is flat. Chosen. */
const FLAT = 0.02;
/** A loss above this many times the median of the last models is an anomaly. Chosen; runs differ by some 10 %. */
const ANOMALY = 1.5;
const MODELS_COMPARED = 10;
const MODELS_COMPARED_MIN = 3;

/** Faults of an item that another attempt would meet again. */
const LASTING: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['FLOOR_INPUT_INVALID', 'FLOOR_CONFLICT']);

type Training = Extract<WorkPayload, { kind: 'training' }>;

const medianOf = (values: readonly number[]): number =>
  values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)]!;

/** Between two rounds that events ask for: bursts share one. */
const GAP_SECONDS = 0.1;

export const continuousTrainingLoop = daemonsWith<Floor>()({
  type: TYPE,
  purpose: 'Trains again and again, as long as trainings are ordered.',
  category: 'training',
  dependsOn: ['EVENT_ROUTER', { on: 'DATA_PIPELINE', kind: 'order' }],
  publishes: [
    'TRAINING_STARTED',
    'TRAINING_PROGRESS',
    'TRAINING_LOSS_TREND',
    'TRAINING_LOSS_ANOMALY',
    'TRAINING_COMPLETED',
    'TRAINING_FAILED',
  ],
  subscribes: ['WORK_QUEUED'],
  maxInFlight: 256, // deliveries share a round
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(10),
    /** The claim is renewed each period; after this long without, the item is somebody else's. */
    leaseSeconds: seconds(120),
    hidden: z.int().min(4).max(512).default(32),
    learningRate: z.number().positive().default(0.01),
    lambda: z.number().min(0).max(1).default(0.8),
    /** Boards to learn from in one run: few samples are passed over more often, at most `epochsMax` times. */
    boards: z.int().min(1).default(2_000_000),
    epochsMax: z.int().min(1).max(100).default(4),
    /** The run ends with the model it has after this long. */
    secondsMax: seconds(3000),
    /** A program that makes no step for this long is ended; the next attempt goes on from its checkpoint. */
    silentSecondsMax: seconds(120),
    checkpointSteps: z.int().positive().default(50_000),
  }),
  // Two passes over the window of TRAINING_TRIGGER: some 2 s of one core.
  quick: { periodSeconds: 1, leaseSeconds: 60, boards: 150_000, epochsMax: 2, secondsMax: 20, silentSecondsMax: 30 },

  create({ config, clock, signal, log, publish, spawn, spawned, endProcess, queue, samples, models, objects, jobs }) {
    let caughtUp = false;
    let trained = 0;
    let failures = 0;
    let lastFailure: string | null = null;
    let current: { itemId: string; modelId: string; step: number; steps: number } | null = null;
    const slot = new JobSlot(
      'train',
      'train',
      { clock, signal, jobs, spawn, spawned, endProcess },
      // The program bounds itself; what is left is loading and a checkpoint.
      { secondsMax: config.secondsMax + config.silentSecondsMax, silentSecondsMax: config.silentSecondsMax },
      () => again(),
    );

    const order = async (item: WorkItem, work: Training, modelId: string): Promise<TrainJobInput> => {
      const shards = await samples.byId(work.shardIds);
      const base = work.baseModelId === null ? null : await models.get(work.baseModelId);
      const rows = shards.reduce((sum, shard) => sum + shard.rows, 0);
      const paths = jobs.paths('train', item.itemId);
      const { hidden, learningRate, lambda, secondsMax, checkpointSteps } = config;
      return {
        ...{ version: PROTOCOL_VERSION, kind: 'train', jobId: item.itemId, config: work.config, modelId },
        shards: shards.map(({ shardId, file, sha256, rows: boards }) => ({ shardId, file, sha256, rows: boards })),
        base: base && { modelId: base.modelId, file: base.file, sha256: base.sha256 },
        resultFile: paths.resultFile,
        modelFile: paths.file('model.mlvn'),
        checkpointFile: paths.file('checkpoint.mlvn'),
        progressFile: paths.progressFile,
        ...{ hidden, learningRate, lambda, secondsMax, checkpointSteps, seed: work.seed },
        epochs: Math.max(1, Math.min(config.epochsMax, Math.round(config.boards / Math.max(1, rows)))),
      };
    };

    const tellLoss = async (name: string, modelId: string, losses: readonly number[]): Promise<void> => {
      const first = losses[0]!;
      const last = losses.at(-1)!;
      const trend = last < first * (1 - FLAT) ? 'improving' : last > first * (1 + FLAT) ? 'worsening' : 'flat';
      await publish('TRAINING_LOSS_TREND', { config: name, modelId, trend, first, last }, { id: `trend:${modelId}` });
      const recent = (await models.list({ config: name, limit: MODELS_COMPARED + 1 }))
        .filter((model) => model.modelId !== modelId)
        .map(({ loss }) => loss);
      if (recent.length < MODELS_COMPARED_MIN) return;
      const expected = medianOf(recent);
      if (last <= ANOMALY * expected) return;
      log.warn(`${modelId} ended with a loss of ${last.toFixed(3)}, its predecessors with ${expected.toFixed(3)}`);
      const anomaly = { config: name, modelId, loss: last, expected };
      await publish('TRAINING_LOSS_ANOMALY', anomaly, { id: `anomaly:${modelId}` });
    };

    const keep = async (item: WorkItem, work: Training, result: Extract<TrainResult, { ok: true }>): Promise<void> => {
      const { modelId, sha256, rows, steps, seconds: trainedSeconds, losses } = result;
      const { config: name, baseModelId, shardIds } = work;
      const loss = losses.at(-1)!;
      await objects.put({ file: result.modelFile, kind: 'model', name: modelId });
      await models.register({
        modelId,
        config: name,
        parentId: baseModelId,
        sha256,
        rows,
        steps,
        loss,
        trainedSeconds,
      });
      await samples.markSeen({ modelId, shardIds });
      await tellLoss(name, modelId, losses);
      const { itemId } = item;
      await publish(
        'TRAINING_COMPLETED',
        { config: name, itemId, modelId, baseModelId, sha256, rows, steps, loss, seconds: trainedSeconds },
        { id: `trained:${modelId}` },
      );
      const answer = await queue.complete({
        ...item,
        result: { games: 0, matches: 0, seconds: trainedSeconds, modelId },
      });
      if (!answer.accepted) log.warn(`${itemId} had been given to another attempt; its model ${modelId} is registered`);
      await jobs.discard('train', itemId);
      trained++;
      lastFailure = null;
      log.info(`trained ${modelId} from ${baseModelId ?? 'scratch'} on ${rows} boards, loss ${loss.toFixed(4)}`);
    };

    const fail = async (item: WorkItem, reason: string, retryable: boolean): Promise<void> => {
      const { itemId, attempts } = item;
      const final = !retryable || attempts >= item.attemptsMax;
      failures++;
      lastFailure = reason;
      log.warn(`training ${itemId} failed (attempt ${attempts} of ${item.attemptsMax}): ${reason}`);
      await publish(
        'TRAINING_FAILED',
        { config: item.work.config, itemId, reason: reason.slice(0, 2000), final },
        { id: `training-failed:${itemId}:${attempts}` },
      );
      // A program that died leaves a checkpoint to go on from; one that said why it failed leaves a result that would be
      // found again. It goes before the failure is booked: a crash in between costs a repeat, not an attempt.
      if (final || (await jobs.result('train', itemId)) !== null) await jobs.discard('train', itemId);
      await queue.fail({ ...item, reason, retry: retryable });
    };

    /** @returns whether its program runs; false when the item is closed, or no longer ours */
    const pursue = async (item: WorkItem): Promise<boolean> => {
      const { itemId } = item;
      const work = item.work as Training;
      const { accepted } = await queue.start(item); // renews as well
      if (!accepted) {
        log.warn(`${itemId} is no longer ours; its program is ended and leaves a checkpoint`);
        await slot.clear();
        return false;
      }
      const modelId = await models.reserve({ config: work.config, key: itemId });
      let look: JobLook<'train'>;
      try {
        look = await slot.look(itemId, () => order(item, work, modelId));
        if (look.result?.ok === true) await keep(item, work, look.result);
      } catch (thrown) {
        // Shards that are gone, a base that was never registered, another model under this id: it stays so.
        if (!(thrown instanceof OrchestratorError && LASTING.has(thrown.code))) throw thrown;
        await fail(item, thrown.message, false);
        return false;
      }
      if (look.result !== null) {
        if (!look.result.ok) await fail(item, look.result.reason, look.result.retryable);
        return false;
      }
      if (look.fresh) {
        const shards = await samples.byId(work.shardIds);
        const rows = shards.reduce((sum, shard) => sum + shard.rows, 0);
        await publish(
          'TRAINING_STARTED',
          { config: work.config, itemId, modelId, baseModelId: work.baseModelId, shards: shards.length, rows },
          { id: `training:${itemId}:${item.attempts}` },
        );
      }
      const { step, steps, loss } = look.progress ?? { step: 0, steps: 0, loss: null };
      if (step > 0 && step !== current?.step)
        await publish('TRAINING_PROGRESS', { config: work.config, modelId, step, steps, loss });
      current = { itemId, modelId, step, steps };
      return true;
    };

    /** Folders of items that an earlier start closed. */
    const catchUp = async (): Promise<void> => {
      const states = ['completed', 'failed', 'cancelled'] as const;
      for (const { itemId } of await queue.list({ kind: 'training', states, limit: CLOSED_ITEMS }))
        await jobs.discard('train', itemId);
      caughtUp = true;
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: GAP_SECONDS, staleSeconds: 10 + 5 * config.periodSeconds },
      async () => {
        if (!caughtUp) await catchUp();
        for (;;) {
          const [held] = await queue.list({ kind: 'training', holder: TYPE, states: ['claimed', 'running'], limit: 1 });
          // A program without an item is of one that was lost meanwhile: it must not be taken for that of the next.
          if (held === undefined) await slot.clear();
          const item =
            held ?? (await queue.claim({ holder: TYPE, kinds: ['training'], leaseSeconds: config.leaseSeconds }));
          if (item === null) current = null;
          if (item === null || (await pursue(item))) break;
        }
      },
    );
    const look = (): Promise<void> => rounds.run();
    const again = (): void =>
      void look().catch((error: unknown) => {
        if (!signal.aborted) log.warn(`cannot look after the training: ${messageOf(error)}`);
      });

    return {
      on: { WORK_QUEUED: ({ body }) => (body.kind === 'training' ? look() : undefined) },
      every: { periodSeconds: config.periodSeconds, run: look },
      health() {
        const movedAt = slot.movedAt;
        const verdict = rounds.verdict({ trained, failures, current, movedAt });
        if (verdict.status !== 'healthy') return verdict;
        const stillSeconds = movedAt === null ? 0 : clock.since(movedAt);
        if (current !== null && stillSeconds > config.silentSecondsMax / 2)
          return degraded(`${current.modelId} made no step for ${stillSeconds.toFixed(0)} s`, verdict.details);
        return lastFailure === null ? verdict : degraded(`the last training failed: ${lastFailure}`, verdict.details);
      },
    };
  },
});

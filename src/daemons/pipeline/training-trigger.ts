/**
 * Decides when a config trains, and orders it: one work item that names its shards.
 *
 * Invariant: the same samples are ordered once. An item's key is made of its shards, so a decision that is taken again
 * after a crash, or on every event, adds nothing. Every test reads stores (what no model has seen, what is queued, when
 * the last training ended), so a restart changes no answer; the first test that fails is kept as the reason.
 */
import { createHash } from 'node:crypto';
import type { Floor, Intensity, Shard } from '../../training/floor.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { Rounds } from '../rounds.ts';
import { z } from 'zod';

/** What a training item holds at most. */
const SHARDS_MAX = 512;
const PRIORITY = 80;

/** How feedback stretches what a training waits for; null: it waits for feedback to change. */
const PACE: Readonly<Record<Intensity, number | null>> = {
  ...{ paused: null, reduced: 2, normal: 1, accelerated: 0.75, hot: 0.5 },
};

const ACTIVE = ['pending', 'claimed', 'running'] as const;

/** Between two rounds that events ask for: bursts share one. */
const GAP_SECONDS = 0.1;

export const trainingTrigger = daemonsWith<Floor>()({
  type: 'TRAINING_TRIGGER',
  purpose: 'Decides when a config should train.',
  category: 'pipeline',
  dependsOn: [
    'EVENT_ROUTER',
    'AUTO_EXPORT',
    { on: 'DATA_PIPELINE', kind: 'order' },
    { on: 'AUTO_SYNC', kind: 'order' },
  ],
  publishes: ['WORK_QUEUED', 'TRAINING_BLOCKED_BY_QUALITY'],
  subscribes: [
    'NPZ_EXPORT_COMPLETE',
    'QUALITY_SCORE_UPDATED',
    'TRAINING_THRESHOLD_REACHED',
    'TRAINING_COMPLETED',
    'TRAINING_FAILED',
    'EVALUATION_COMPLETED',
    'ELO_VELOCITY_CHANGED',
    'MODEL_PROMOTED',
  ],
  maxInFlight: 256, // deliveries share a round
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(30),
    /** Boards that no model has seen. */
    rowsMin: z.int().min(1).default(5000),
    /** Seen shards are added, newest first, while a training stays below this many boards. */
    windowRows: z.int().min(0).default(1_000_000),
    /** The newest unseen samples must not be older. */
    ageSecondsMax: seconds(7200),
    /** Below this the games are too poor to learn from. */
    qualityMin: z.number().min(0).max(1).default(0.5),
    /** Between the end of one training of a config and the order of the next. */
    cooldownSeconds: seconds(300),
    /** Trainings ordered or under way, over all configs. */
    atOnce: z.int().min(1).default(20),
    /** Candidates that wait for their evaluation, over all configs; more than this would only wait as well. */
    evaluationsMax: z.int().min(1).default(70),
    timeoutSeconds: seconds(3600),
  }),
  // The window that learned best in bench/learning-curve.ts: four iterations of 300 games. The next training waits for
  // the verdict on the last, since it starts from the champion.
  quick: { periodSeconds: 3, windowRows: 72_000, cooldownSeconds: 2, evaluationsMax: 1, timeoutSeconds: 300 },

  create({ config, clock, log, publish, games, samples, quality, queue, models, evaluations, feedback }) {
    const reasons: Record<string, string> = {};
    let ordered = 0;
    let announced = false;

    /** All unseen shards, and the newest seen ones as far as the window reaches; oldest first. */
    const choose = (onDisk: readonly Shard[], unseen: ReadonlySet<string>): Shard[] => {
      const chosen = new Set(onDisk.filter(({ shardId }) => unseen.has(shardId)).slice(0, SHARDS_MAX));
      let rows = [...chosen].reduce((sum, shard) => sum + shard.rows, 0);
      for (const shard of onDisk.toReversed()) {
        if (chosen.has(shard)) continue;
        rows += shard.rows;
        if (rows > config.windowRows || chosen.size >= SHARDS_MAX) break;
        chosen.add(shard);
      }
      return onDisk.filter((shard) => chosen.has(shard));
    };

    /** Seconds of cooldown left; a wall clock set back ends it instead of stretching it. */
    const cooling = async (name: string, pace: number): Promise<number> => {
      const closed = await queue.list({ kind: 'training', config: name, states: ['completed', 'failed'], limit: 1 });
      const age = (clock.wallMs() - (closed[0]?.closedAtMs ?? -Infinity)) / 1000;
      return age < 0 ? 0 : Math.max(0, config.cooldownSeconds * pace - age);
    };

    /** @returns why this config does not train now; null when a training was ordered */
    const decide = async (name: string, active: number): Promise<string | null> => {
      const { intensity } = await feedback.parameters(name);
      const pace = PACE[intensity];
      const onDisk = await samples.window(name, { shards: SHARDS_MAX });
      const unseen = onDisk.filter(({ seenBy, rows }) => seenBy === 0 && rows > 0);
      const rows = unseen.reduce((sum, shard) => sum + shard.rows, 0);
      const rowsMin = Math.ceil(config.rowsMin * (pace ?? 1));
      if (rows < rowsMin) return `${rows} unseen boards of ${rowsMin}`;
      const age = (clock.wallMs() - unseen.at(-1)!.atMs) / 1000;
      if (age > config.ageSecondsMax) return `the newest unseen samples are ${age.toFixed(0)} s old`;
      const pending = await queue.list({ kind: 'training', config: name, states: ACTIVE, limit: 1 });
      if (pending.length > 0) return `training ${pending[0]!.itemId} is ${pending[0]!.state}`;
      if (active >= config.atOnce) return `${active} trainings are ordered or under way`;
      const waiting = await evaluations.depth();
      if (waiting >= config.evaluationsMax) return `${waiting} candidates wait for their evaluation`;
      const state = await quality.of(name);
      if (state !== null && state.score < config.qualityMin) {
        await publish(
          'TRAINING_BLOCKED_BY_QUALITY',
          { config: name, quality: state.score, minimum: config.qualityMin },
          { id: `blocked:${name}:${state.seq}` },
        );
        return `quality ${state.score.toFixed(2)} is below ${config.qualityMin}`;
      }
      if (pace === null) return 'feedback has paused training';
      const wait = await cooling(name, pace);
      if (wait > 0) return `cools down for ${wait.toFixed(0)} s`;

      const shardIds = choose(onDisk, new Set(unseen.map(({ shardId }) => shardId))).map(({ shardId }) => shardId);
      const hash = createHash('sha256').update(shardIds.join()).digest('hex');
      const key = `train:${name}:${hash.slice(0, 16)}`;
      const baseModelId = (await models.champion(name))?.modelId ?? null;
      const { queued } = await queue.enqueue([
        {
          ...{ key, priority: PRIORITY, timeoutSeconds: config.timeoutSeconds },
          work: { kind: 'training', config: name, shardIds, baseModelId, seed: Number.parseInt(hash.slice(0, 8), 16) },
        },
      ]);
      if (queued === 0) return 'these samples were ordered before';
      ordered++;
      log.info(`ordered a training of ${name} on ${shardIds.length} shards, ${rows} boards of them unseen`);
      await publish('WORK_QUEUED', { kind: 'training', config: name, items: 1 }, { id: `queued:${key}` });
      return null;
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: GAP_SECONDS, staleSeconds: 10 + 5 * config.periodSeconds },
      async () => {
        const active = await queue.list({ kind: 'training', states: ACTIVE, limit: config.atOnce });
        if (!announced)
          for (const { key, state, work } of active)
            if (state === 'pending')
              await publish(
                'WORK_QUEUED',
                { kind: 'training', config: work.config, items: 1 },
                { id: `queued:${key}` },
              );
        announced = true;
        let count = active.length;
        for (const name of await games.configs()) {
          const reason = await decide(name, count);
          if (reason === null) count++;
          reasons[name] = reason ?? 'ordered';
        }
      },
    );
    const look = (): Promise<void> => rounds.run();

    return {
      on: {
        NPZ_EXPORT_COMPLETE: look,
        QUALITY_SCORE_UPDATED: look,
        TRAINING_THRESHOLD_REACHED: look,
        TRAINING_COMPLETED: look,
        TRAINING_FAILED: look,
        EVALUATION_COMPLETED: look,
        ELO_VELOCITY_CHANGED: look,
        MODEL_PROMOTED: look,
      },
      every: { periodSeconds: config.periodSeconds, run: look },
      health: () => rounds.verdict({ ordered, reasons: { ...reasons } }),
    };
  },
});

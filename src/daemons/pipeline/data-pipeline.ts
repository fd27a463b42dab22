/**
 * Keeps one row per iteration of the loop of each config: where it is, since when, with which artefacts.
 *
 * Invariant: a stage is entered on proof, never on word. Every round asks the stores and the disk how far the iteration
 * has come and moves its row there; an event only makes the round come sooner, so a lost, late or repeated one changes
 * nothing. Rows move forward only, by compare and set. Following events alone, as upstream did, left the loop standing at
 * the first one it missed.
 */
import { z } from 'zod';
import { degraded } from '../../health/verdict.ts';
import { STAGES, type Evidence, type Floor, type Iteration, type Model, type Stage } from '../../training/floor.ts';
import { Backpressure } from '../backpressure.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { gap, Rounds } from '../rounds.ts';

/** An iteration that ends opens the next, which may be far along already; it cannot end twice in one round for long. */
const TURNS_MAX = 3;

/** Stages in which an evaluation may be missing. */
const WAITING: ReadonlySet<Stage> = new Set(['evaluate', 'promote']);

const order = (stage: Stage): number => STAGES.indexOf(stage);

/** The furthest stage of an iteration that the facts prove; `model` is the one it made, null before there is one. */
const provenStage = (evidence: Evidence, model: Model | null): Stage => {
  switch (model?.state) {
    case 'candidate':
      return 'evaluate';
    case 'evaluated':
      return 'promote';
    case 'promoted':
      return evidence.liveNodes > 0 && evidence.championNodes >= evidence.liveNodes ? 'done' : 'distribute';
    case 'archived': // its successor is already there
    case 'rejected':
      return 'done';
    case undefined:
      break;
  }
  if (evidence.unseenShards > 0 || evidence.trainingPending > 0) return 'train';
  return evidence.lastSeq > evidence.exportedSeq || evidence.exportsOpen > 0 ? 'export' : 'selfplay';
};

export const dataPipeline = daemonsWith<Floor>()({
  type: 'DATA_PIPELINE',
  purpose: 'Stage machine of the whole loop: self-play, sync, export, train, evaluate, promote, distribute.',
  category: 'pipeline',
  critical: true,
  dependsOn: ['EVENT_ROUTER'],
  publishes: ['NEW_GAMES_AVAILABLE', 'SYNC_REQUEST', 'TRAINING_THRESHOLD_REACHED'],
  subscribes: [
    'SELFPLAY_COMPLETE',
    'DATA_SYNC_COMPLETED',
    'DATA_SYNC_FAILED',
    'NPZ_EXPORT_COMPLETE',
    'NPZ_EXPORT_FAILED',
    'TRAINING_STARTED',
    'TRAINING_COMPLETED',
    'TRAINING_FAILED',
    'EVALUATION_COMPLETED',
    'EVALUATION_FAILED',
    'MODEL_PROMOTED',
    'PROMOTION_REJECTED',
    'PROMOTION_FAILED',
    'MODEL_DISTRIBUTION_COMPLETE',
    'BACKPRESSURE_ACTIVATED',
    'BACKPRESSURE_RELEASED',
  ],
  maxInFlight: 256, // deliveries share a round, and facts need no order
  recoveryTargetSeconds: 10,
  healthPeriodSeconds: 15,
  config: z.strictObject({
    periodSeconds: seconds(30),
    /** Between rounds that events ask for. */
    gapSeconds: gap(1),
    /** Samples no model has seen that are worth training on; upstream's 5,000. */
    rowsMin: z.number().int().min(1).default(5_000),
    /** Failures in one stage that open its breaker, and for how long; upstream's figures. */
    breakerFailures: z.number().int().min(1).default(3),
    breakerSeconds: seconds(60),
    /** Games that nodes reported and nobody brought home for this long are asked for. */
    syncSeconds: seconds(120),
    /** A candidate that has waited this long may have been forgotten. */
    repairSeconds: seconds(120),
    /** A stage that stands this long is degraded; a stage of standard takes minutes. */
    stuckSeconds: seconds(7_200),
  }),
  quick: {
    periodSeconds: 2,
    gapSeconds: 0.2,
    breakerSeconds: 5,
    syncSeconds: 10,
    repairSeconds: 10,
    stuckSeconds: 180,
  },

  create({ config, clock, log, publish, pipeline, games, samples, models, evaluations, handles }) {
    const pressure = new Backpressure(clock);
    let rows: readonly Iteration[] = [];
    let missingShards: readonly string[] = [];
    /** Per config: newest shard of the threshold told last, and when games were last asked for. */
    const toldShards = new Map<string, string>();
    const askedAt = new Map<string, number>();

    const tellNewGames = async (name: string): Promise<void> => {
      // Twice: a stretch that an earlier start left untold, and what came since.
      for (let stretch = 0; stretch < 2; stretch++) {
        const news = await games.news(name, 'DATA_PIPELINE');
        if (news === null) return;
        await publish('NEW_GAMES_AVAILABLE', { config: name, ...news }, { id: `games:${name}:${news.lastSeq}` });
        await games.told(name, 'DATA_PIPELINE', news.lastSeq);
      }
    };

    const moveOn = async (name: string): Promise<{ readonly row: Iteration; readonly evidence: Evidence }> => {
      for (let turn = 1; ; turn++) {
        const row = await pipeline.current(name);
        const evidence = await pipeline.evidence(name);
        const newest = (await models.list({ config: name, limit: 1 }))[0] ?? null;
        // The model of an iteration is the newest one above the mark that its first step left.
        const unmarked = row.iteration === 1 ? 0 : (newest?.number ?? 0);
        const afterModel = Number(row.artefacts['afterModel'] ?? unmarked);
        const model = newest !== null && newest.number > afterModel ? newest : null;
        const to = provenStage(evidence, model);
        if (order(to) <= order(row.stage) || turn > TURNS_MAX) return { row, evidence };
        const { advanced } = await pipeline.advance({
          ...{ config: name, iteration: row.iteration, from: row.stage, to },
          artefacts: {
            ...{ afterModel, games: evidence.games, lastSeq: evidence.lastSeq, exportedSeq: evidence.exportedSeq },
            ...(model === null ? { unseenRows: evidence.unseenRows } : { modelId: model.modelId }),
            ...(evidence.championId === null ? {} : { championId: evidence.championId }),
          },
        });
        if (advanced) log.info(`${name} iteration ${row.iteration}: from ${row.stage} to ${to}`);
      }
    };

    /** What the loop may be waiting for somebody to do. */
    const pushOn = async (row: Iteration): Promise<void> => {
      const name = row.config;
      if (row.breakerSeconds > 0 || pressure.active) return;
      if (row.stage === 'sync' && row.stageSeconds > config.syncSeconds) {
        const last = askedAt.get(name);
        if (last === undefined || clock.since(last) > config.syncSeconds) {
          askedAt.set(name, clock.monotonicMs());
          const reason = `${name} has waited for its games for ${row.stageSeconds.toFixed(0)} s`;
          await publish('SYNC_REQUEST', { nodeId: null, config: name, reason });
        }
      }
      const unseen = await samples.unseen(name);
      const newest = unseen.shards.at(-1)?.shardId;
      if (newest === undefined || unseen.rows < config.rowsMin || toldShards.get(name) === newest) return;
      const threshold = { config: name, rows: unseen.rows, shards: unseen.shards.length };
      await publish('TRAINING_THRESHOLD_REACHED', threshold, { id: `threshold:${newest}` });
      toldShards.set(name, newest);
    };

    const rounds = new Rounds(
      {
        clock,
        log,
        owns: (file) => file.endsWith('/pipeline.db'),
        gapSeconds: config.gapSeconds,
        staleSeconds: 10 + 4 * config.periodSeconds,
      },
      async () => {
        // A candidate whose TRAINING_COMPLETED never came, or a winner whose champion changed: EVALUATION had its time.
        if (rows.some((row) => WAITING.has(row.stage) && row.stageSeconds > config.repairSeconds)) {
          const queued = await evaluations.enqueueMissing();
          if (queued > 0) log.warn(`queued ${queued} evaluations that nobody had asked for`);
        }
        const names = new Set([...(await games.configs()), ...(await pipeline.list()).map((row) => row.config)]);
        const present: Iteration[] = [];
        const missing: string[] = [];
        for (const name of [...names].sort()) {
          await tellNewGames(name);
          const { row, evidence } = await moveOn(name);
          await pushOn(row);
          present.push(row);
          missing.push(...evidence.missingShards);
        }
        rows = present;
        missingShards = missing;
      },
    );

    const failed = async (event: { readonly id: string }, name: string | null, reason: string): Promise<void> => {
      if (name !== null)
        await pipeline.fail({
          ...{ config: name, key: event.id, reason },
          ...{ breakerFailures: config.breakerFailures, breakerSeconds: config.breakerSeconds },
        });
      await rounds.run();
    };
    const look = (): Promise<void> => rounds.run();

    return {
      on: {
        async SELFPLAY_COMPLETE({ body }) {
          // The only stage without a fact here: the games are in the node's store, and only the node has said so.
          if (body.games > 0) {
            const row = await pipeline.current(body.config);
            if (row.stage === 'selfplay')
              await pipeline.advance({ ...row, from: 'selfplay', to: 'sync', artefacts: { playedBy: body.nodeId } });
          }
          await rounds.run();
        },
        DATA_SYNC_COMPLETED: look,
        DATA_SYNC_FAILED: (event) => failed(event, event.body.config, `sync: ${event.body.reason}`),
        NPZ_EXPORT_COMPLETE: look,
        NPZ_EXPORT_FAILED: (event) => failed(event, event.body.config, `export: ${event.body.reason}`),
        TRAINING_STARTED: look,
        TRAINING_COMPLETED: look,
        TRAINING_FAILED: (event) => failed(event, event.body.config, `training: ${event.body.reason}`),
        EVALUATION_COMPLETED: look,
        EVALUATION_FAILED: (event) => failed(event, event.body.config, `evaluation: ${event.body.reason}`),
        MODEL_PROMOTED: look,
        PROMOTION_REJECTED: look,
        PROMOTION_FAILED: (event) => failed(event, event.body.config, `promotion: ${event.body.reason}`),
        async MODEL_DISTRIBUTION_COMPLETE({ body }) {
          // True when it was said; a node that came since has its own delivery and does not hold up this iteration.
          const row = await pipeline.current(body.config);
          if (row.stage === 'distribute' && row.artefacts['modelId'] === body.modelId)
            await pipeline.advance({ ...row, from: 'distribute', to: 'done', artefacts: { nodes: body.nodes } });
          await rounds.run();
        },
        BACKPRESSURE_ACTIVATED: pressure.activated,
        BACKPRESSURE_RELEASED: pressure.released,
      },
      every: { periodSeconds: config.periodSeconds, run: () => rounds.run() },
      health() {
        const verdict = rounds.verdict({
          iterations: Object.fromEntries(rows.map((row) => [row.config, `${row.iteration} ${row.stage}`])),
          missingShards: missingShards.length,
          backpressure: pressure.pressed,
        });
        if (verdict.status !== 'healthy') return verdict;
        const broken = rows.find((row) => row.breakerSeconds > 0);
        if (broken !== undefined)
          return degraded(
            `${broken.config} failed ${broken.failures} times in ${broken.stage}: ${broken.lastFailure ?? ''}`,
            verdict.details,
          );
        if (missingShards.length > 0)
          return degraded(`the file of shard ${missingShards[0] ?? ''} is gone`, verdict.details);
        const stuck = rows.find((row) => row.stage !== 'selfplay' && row.stageSeconds > config.stuckSeconds);
        return stuck === undefined
          ? verdict
          : degraded(
              `${stuck.config} has been at ${stuck.stage} for ${stuck.stageSeconds.toFixed(0)} s`,
              verdict.details,
            );
      },
      breakage: {
        what: 'closes the handle of pipeline.db',
        break: () => handles.close('pipeline'),
        heal: () => handles.reopen('pipeline'),
      },
    };
  },
});

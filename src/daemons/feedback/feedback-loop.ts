/**
 * Turns results into the next settings: training intensity, exploration, weight and curriculum level of each config.
 *
 * Invariant: the settings are a function of kept signals, and every change is kept before anybody hears of it. Signals
 * are keyed by the fact they came from, so an event that comes twice weighs once; a version that was saved and not yet
 * told is told by the next round, under ids made of the version. Upstream held all of this in memory and started from
 * nothing after each restart.
 */
import { z } from 'zod';
import type { Floor, FeedbackParameters, Intensity } from '../../training/floor.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { gap, Rounds } from '../rounds.ts';

/** Lower bounds of quality per intensity; upstream's bands. */
const BANDS: readonly (readonly [number, Intensity])[] = [
  [0.9, 'hot'],
  [0.8, 'accelerated'],
  [0.65, 'normal'],
  [0.5, 'reduced'],
];
const INTENSITIES: readonly Intensity[] = ['paused', 'reduced', 'normal', 'accelerated', 'hot'];

/** Opponents in the order in which a config masters them; the level is how many it has. */
const LADDER = ['random', 'greedy'] as const;

/** Without these a candidate never becomes a champion, and more games would only pile up. */
const CHAIN: ReadonlySet<string> = new Set([
  'AUTO_EXPORT',
  'CONTINUOUS_TRAINING_LOOP',
  'EVALUATION',
  'AUTO_PROMOTION',
  'UNIFIED_PROMOTION',
  'MODEL_DISTRIBUTION',
]);

/** Upstream: each promotion that fails explores 1.3 times as much. A success takes half of what was added away again. */
const BOOST_PER_REJECTION = 1.3;
const WEIGHT_PER_REJECTION = 0.25;
const WEIGHT_REJECTIONS_MAX = 2;
const WEIGHT_OF_STANDSTILL = 1.25;
/** Signals that count, newest first. */
const OUTCOMES = 20;
const WORKS = 20;
/** Evaluations looked at for outcomes that no event told of. */
const HISTORY = 10;
const REASONS_MAX = 8;

/** What is known of a config; lists are newest first. */
export interface Signals {
  readonly quality: number | null;
  /** 1: a candidate became champion, 0: it did not. */
  readonly outcomes: readonly number[];
  /** Of the latest training run: 1 improving, 0 flat, -1 worsening or far above what was expected. */
  readonly lossTrend: number | null;
  /** 1: an item was done, 0: an attempt failed. */
  readonly works: readonly number[];
  /** Rating gain of champions per hour. */
  readonly velocity: number | null;
  readonly mastered: ReadonlySet<string>;
  /** Daemons of the training chain that are FAILED. */
  readonly halted: readonly string[];
}

const rounded = (value: number): number => Math.round(value * 100) / 100;

/**
 * The settings that follow from what is known; nothing else is looked at, so the same signals give the same settings.
 * Reasons name bands and not figures: a figure that moves with each batch would make a version of each batch.
 */
export const settingsFor = (
  signals: Signals,
  bounds: { readonly boostMax: number; readonly levelBefore: number },
): Omit<FeedbackParameters, 'config' | 'version'> => {
  const reasons: string[] = [];
  const { quality } = signals;
  const band: Intensity = quality === null ? 'normal' : (BANDS.find(([from]) => quality >= from)?.[1] ?? 'paused');
  if (quality !== null) reasons.push(`the quality of its games allows ${band}`);
  let step = INTENSITIES.indexOf(band);
  // Within a run the loss grows as well when the newest games are harder; a champion came out of it, so it was no trouble.
  if (signals.lossTrend === -1 && signals.outcomes[0] !== 1) {
    step--;
    reasons.push('the loss of the latest training run grew');
  }
  const works = signals.works.slice(0, WORKS);
  if (works.length >= WORKS / 2 && works.filter((work) => work === 0).length > works.length / 2) {
    step--;
    reasons.push('most of its latest work items failed');
  }
  if (signals.halted.length > 0) {
    step = Math.min(step, INTENSITIES.indexOf('reduced'));
    reasons.push(`${signals.halted.join(', ')} cannot go on`);
  }

  const outcomes = signals.outcomes.slice(0, OUTCOMES);
  const boost = [...outcomes]
    .reverse()
    .reduce(
      (before, outcome) =>
        outcome === 1 ? 1 + (before - 1) / 2 : Math.min(bounds.boostMax, before * BOOST_PER_REJECTION),
      1,
    );
  const firstPromotion = outcomes.indexOf(1);
  const rejections = firstPromotion === -1 ? outcomes.length : firstPromotion;
  if (rejections > 0) reasons.push(`candidates rejected in a row: ${rejections}`);
  const isStill = signals.velocity !== null && signals.velocity <= 0;
  if (isStill) reasons.push('its rating does not rise');

  let level = bounds.levelBefore;
  while (level < LADDER.length && signals.mastered.has(LADDER[level]!)) level++;
  return {
    intensity: INTENSITIES[Math.max(0, step)]!,
    explorationBoost: rounded(boost),
    weight: rounded(
      (1 + WEIGHT_PER_REJECTION * Math.min(WEIGHT_REJECTIONS_MAX, rejections)) * (isStill ? WEIGHT_OF_STANDSTILL : 1),
    ),
    level,
    reasons: reasons.slice(0, REASONS_MAX),
  };
};

export const feedbackLoop = daemonsWith<Floor>()({
  type: 'FEEDBACK_LOOP',
  purpose: 'Turns results into the next settings: training intensity, exploration, curriculum.',
  category: 'feedback',
  critical: true,
  dependsOn: ['EVENT_ROUTER'],
  publishes: ['ADAPTIVE_PARAMS_CHANGED', 'EXPLORATION_ADJUSTED', 'CURRICULUM_REBALANCED', 'CURRICULUM_ADVANCED'],
  subscribes: [
    'SELFPLAY_COMPLETE',
    'TRAINING_COMPLETED',
    'TRAINING_LOSS_TREND',
    'TRAINING_LOSS_ANOMALY',
    'EVALUATION_COMPLETED',
    'EVALUATION_FAILED',
    'MODEL_PROMOTED',
    'PROMOTION_REJECTED',
    'PROMOTION_FAILED',
    'QUALITY_SCORE_UPDATED',
    'QUALITY_DEGRADED',
    'QUALITY_CHECK_FAILED',
    'HIGH_QUALITY_DATA_AVAILABLE',
    'DAEMON_STATUS_CHANGED',
    'WORK_COMPLETED',
    'WORK_FAILED',
    'WORK_TIMEOUT',
  ],
  maxInFlight: 256, // deliveries share a round; signals are recorded in the order in which they are handed out
  recoveryTargetSeconds: 10,
  healthPeriodSeconds: 15,
  config: z.strictObject({
    periodSeconds: seconds(60),
    /** Between rounds that events ask for. */
    gapSeconds: gap(1),
    /** Upstream's cap of the exploration boost. */
    boostMax: z.number().min(1).max(2).default(2),
    /** A champion has mastered an opponent when the lower end of its score against it is at least this. */
    masteredLow: z.number().min(0).max(1).default(0.6),
  }),
  quick: { periodSeconds: 3, gapSeconds: 0.3, boostMax: 1.5 },

  create({ config, clock, fleet, log, publish, feedback, evaluations, ratings, quality, models, games, handles }) {
    /** Versions told in this start, and how many signals came in. */
    const told = new Map<string, number>();
    let signalsKept = 0;

    const record = async (name: string, signal: string, key: string, value: number): Promise<void> => {
      const { first } = await feedback.record({ config: name, signal, key, value });
      if (first) signalsKept++;
    };

    /** What the value of a setting was before this version; kept by version, so that a crash cannot forget it. */
    const before = async (parameters: FeedbackParameters, signal: string, value: number, byDefault: number) => {
      const { config: name, version } = parameters;
      await record(name, `told-${signal}`, `v${version}`, value);
      const [, previous] = await feedback.signals(name, { signal: `told-${signal}`, limit: 2 });
      return previous?.value ?? byDefault;
    };

    const tell = async (parameters: FeedbackParameters): Promise<void> => {
      const { config: name, version, intensity, explorationBoost, weight, level, reasons } = parameters;
      if (version === 0 || told.get(name) === version) return;
      const boostBefore = await before(parameters, 'boost', explorationBoost, 1);
      const weightBefore = await before(parameters, 'weight', weight, 1);
      const levelBefore = await before(parameters, 'level', level, 0);
      await publish(
        'ADAPTIVE_PARAMS_CHANGED',
        { config: name, version, intensity, explorationBoost, weight, reasons: [...reasons] },
        { id: `parameters:${name}:v${version}` },
      );
      if (boostBefore !== explorationBoost)
        await publish(
          'EXPLORATION_ADJUSTED',
          { config: name, version, from: boostBefore, to: explorationBoost, reason: reasons.join('; ') },
          { id: `exploration:${name}:v${version}` },
        );
      for (let reached = levelBefore + 1; reached <= level; reached++)
        await publish(
          'CURRICULUM_ADVANCED',
          { config: name, version, level: reached, mastered: LADDER[reached - 1] ?? 'champion' },
          { id: `level:${name}:${reached}` },
        );
      if (weightBefore !== weight) {
        const weights = Object.fromEntries((await feedback.all()).map((row) => [row.config, row.weight]));
        await publish('CURRICULUM_REBALANCED', { version, weights }, { id: `weights:${name}:v${version}` });
      }
      told.set(name, version);
    };

    /** Results in the stores that no event told of, recorded under the keys the events would have used. */
    const rescan = async (name: string): Promise<ReadonlySet<string>> => {
      const judged = await quality.of(name);
      if (judged !== null) await record(name, 'quality', `quality:${judged.seq}`, judged.score);
      const promoted = new Set((await models.promotions({ config: name, limit: 100 })).map((row) => row.promotionId));
      const mastered = new Set<string>();
      for (const evaluation of (await evaluations.history({ config: name, limit: HISTORY })).reverse()) {
        const { evaluationId, modelId, championId } = evaluation;
        for (const row of evaluation.rows) {
          const opponent = row.opponent === championId ? 'champion' : row.opponent;
          await record(name, `against-${opponent}`, evaluationId, row.score);
          if (promoted.has(evaluationId) && row.low >= config.masteredLow) mastered.add(opponent);
        }
        if (promoted.has(evaluationId)) await record(name, 'outcome', evaluationId, 1);
        else if ((await models.get(modelId))?.state === 'rejected') await record(name, 'outcome', evaluationId, 0);
      }
      return mastered;
    };

    const adjust = async (name: string, halted: readonly string[]): Promise<void> => {
      const present = await feedback.parameters(name);
      await tell(present);
      const mastered = await rescan(name);
      const values = async (signal: string, limit: number): Promise<number[]> =>
        (await feedback.signals(name, { signal, limit })).map(({ value }) => value);
      const signals: Signals = {
        quality: (await values('quality', 1))[0] ?? null,
        outcomes: await values('outcome', OUTCOMES),
        lossTrend: (await values('loss-trend', 1))[0] ?? null,
        works: await values('work', WORKS),
        velocity: await ratings.velocity(name, { hours: 1 }),
        ...{ mastered, halted },
      };
      const settings = settingsFor(signals, { boostMax: config.boostMax, levelBefore: present.level });
      const { parameters, changed } = await feedback.save({ config: name, ...settings });
      if (changed)
        log.info(
          `${name}: ${parameters.intensity}, exploration x${parameters.explorationBoost} (${parameters.reasons.join('; ')})`,
        );
      await tell(parameters);
    };

    const rounds = new Rounds(
      {
        clock,
        log,
        owns: (file) => file.endsWith('/feedback.db'),
        gapSeconds: config.gapSeconds,
        staleSeconds: 10 + 4 * config.periodSeconds,
      },
      async () => {
        const halted = fleet
          .daemons()
          .filter(({ type, state }) => CHAIN.has(type) && state === 'FAILED')
          .map(({ type }) => type);
        const names = new Set([...(await games.configs()), ...(await feedback.all()).map((row) => row.config)]);
        for (const name of [...names].sort()) await adjust(name, halted);
      },
    );

    /** Keeps a signal, then lets a round weigh it; what comes by the batch waits for the next period. */
    const keep = async (name: string, signal: string, key: string, value: number, weigh = true): Promise<void> => {
      await record(name, signal, key, value);
      if (weigh) await rounds.run();
    };

    return {
      on: {
        SELFPLAY_COMPLETE: ({ id, body }) =>
          keep(body.config, 'games-per-second', id, body.seconds > 0 ? body.games / body.seconds : 0, false),
        TRAINING_COMPLETED: ({ body }) => keep(body.config, 'loss', body.modelId, body.loss),
        TRAINING_LOSS_TREND: ({ body }) =>
          keep(
            ...([body.config, 'loss-trend', `trend:${body.modelId}`] as const),
            { improving: 1, flat: 0, worsening: -1 }[body.trend],
          ),
        TRAINING_LOSS_ANOMALY: ({ body }) => keep(body.config, 'loss-trend', `anomaly:${body.modelId}`, -1),
        EVALUATION_COMPLETED: () => rounds.run(),
        EVALUATION_FAILED: ({ id, body }) => keep(body.config, 'evaluation-failed', id, 1),
        MODEL_PROMOTED: ({ body }) => keep(body.config, 'outcome', body.promotionId, 1),
        PROMOTION_REJECTED: ({ body }) => keep(body.config, 'outcome', body.decisionId, 0),
        PROMOTION_FAILED: ({ body }) => keep(body.config, 'outcome', body.decisionId, 0),
        QUALITY_SCORE_UPDATED: () => rounds.run(),
        QUALITY_DEGRADED: () => rounds.run(),
        QUALITY_CHECK_FAILED: ({ id, body }) => keep(body.config, 'quality-failed', id, 1),
        HIGH_QUALITY_DATA_AVAILABLE: () => rounds.run(),
        DAEMON_STATUS_CHANGED: async ({ body }) => {
          if (CHAIN.has(body.daemon)) await rounds.run();
        },
        WORK_COMPLETED: ({ id, body }) => keep(body.config, 'work', id, 1, false),
        WORK_FAILED: ({ id, body }) => keep(body.config, 'work', id, 0),
        WORK_TIMEOUT: ({ id, body }) => keep(body.config, 'work', id, 0),
      },
      every: { periodSeconds: config.periodSeconds, run: () => rounds.run() },
      health: () => rounds.verdict({ versions: Object.fromEntries(told), signals: signalsKept }),
      breakage: {
        what: 'closes the handle of feedback.db',
        break: () => handles.close('feedback'),
        heal: () => handles.reopen('feedback'),
      },
    };
  },
});

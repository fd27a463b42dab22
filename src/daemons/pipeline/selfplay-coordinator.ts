/**
 * Decides how many self-play games each config gets, how they are played, and on which node.
 *
 * Invariant: no more games are wanted than the loop can use. What nobody has exported, or trained on, counts against the
 * next target, so a stage that is slow or gone turns self-play down instead of filling the disk with games of models long
 * replaced; a trickle is left, because poor games are only cured by new ones. An allocation is kept as a version before
 * anybody hears of it, and what it changed is told under ids of that version: again at the next start, if need be.
 */
import { z } from 'zod';
import { setNewest } from '../../bounds.ts';
import { degraded } from '../../health/verdict.ts';
import type { Allocation, FeedbackParameters, Floor, Intensity } from '../../training/floor.ts';
import { GAME_CONFIGS } from '../../training/game/configs.ts';
import { Backpressure } from '../backpressure.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { gap, Rounds } from '../rounds.ts';

const INTENSITY_FACTORS: Readonly<Record<Intensity, number>> = {
  paused: 0.25,
  reduced: 0.5,
  normal: 1,
  accelerated: 1.25,
  hot: 1.5,
};
/** Who sits opposite, by curriculum level; higher levels meet themselves more. */
const OPPONENTS: readonly (readonly { readonly agent: string; readonly weight: number }[])[] = [
  [
    { agent: 'self', weight: 0.6 },
    { agent: 'greedy', weight: 0.2 },
    { agent: 'random', weight: 0.2 },
  ],
  [
    { agent: 'self', weight: 0.8 },
    { agent: 'greedy', weight: 0.2 },
  ],
  [
    { agent: 'self', weight: 0.9 },
    { agent: 'greedy', weight: 0.1 },
  ],
];
/** Below this the games of a config are poor (upstream's warning mark); its share falls in proportion, to half at least. */
const QUALITY_WARN = 0.6;
const PENALTY_MIN = 0.5;
/** Games pay where the rating rises, and where none came for so many periods. */
const RISING_FACTOR = 1.2;
const STALE_FACTOR = 1.5;
const STALE_PERIODS = 3;
/** A change of the wanted rate that is worth an event. */
const RATE_CHANGE = 0.1;
const MINUTE = 60;
/** Nodes remembered as silent or not, whoever an event names; the oldest word goes. */
const NODES_MAX = 1_000;

/** Whole numbers in proportion to `shares` that add up to `total`; the largest remainders get what is left over. */
export const split = (total: number, shares: readonly number[]): number[] => {
  const sum = shares.reduce((before, share) => before + share, 0);
  if (sum <= 0) return shares.map(() => 0);
  const exact = shares.map((share) => (total * share) / sum);
  const whole = exact.map(Math.floor);
  const left = total - whole.reduce((before, value) => before + value, 0);
  exact
    .map((value, index) => ({ index, rest: value - whole[index]! }))
    .sort((one, other) => other.rest - one.rest || one.index - other.index)
    .slice(0, left)
    .forEach(({ index }) => whole[index]!++);
  return whole;
};

/** What is known of a config when it is scored. */
interface Standing {
  readonly name: string;
  readonly share: number;
  readonly parameters: FeedbackParameters;
  /** 1 for games that are good enough. */
  readonly penalty: number;
  readonly velocity: number | null;
  readonly isStale: boolean;
  /** Games that nobody has exported, or that no model has seen. */
  readonly backlog: number;
}

/** Its part of what the nodes can play; intensity and penalty then say how much of that part is wanted. */
const scoreOf = ({ share, parameters, velocity, isStale }: Standing): number =>
  share * parameters.weight * (velocity !== null && velocity > 0 ? RISING_FACTOR : 1) * (isStale ? STALE_FACTOR : 1);

const gamesOf = (allocation: Allocation): number => allocation.targets.reduce((sum, { games }) => sum + games, 0);

export const selfplayCoordinator = daemonsWith<Floor>()({
  type: 'SELFPLAY_COORDINATOR',
  purpose: 'Decides how many self-play games each config gets and on which node.',
  category: 'pipeline',
  dependsOn: ['EVENT_ROUTER'],
  publishes: [
    'SELFPLAY_TARGET_UPDATED',
    'SELFPLAY_ALLOCATION_UPDATED',
    'SELFPLAY_RATE_CHANGED',
    'QUALITY_PENALTY_APPLIED',
  ],
  subscribes: [
    'ADAPTIVE_PARAMS_CHANGED',
    'EXPLORATION_ADJUSTED',
    'CURRICULUM_REBALANCED',
    'CURRICULUM_ADVANCED',
    'SELFPLAY_COMPLETE',
    'TRAINING_COMPLETED',
    'MODEL_PROMOTED',
    'ELO_UPDATED',
    'ELO_VELOCITY_CHANGED',
    'QUALITY_DEGRADED',
    'TRAINING_BLOCKED_BY_QUALITY',
    'HOST_OFFLINE',
    'HOST_ONLINE',
    'NODE_TERMINATED',
    'BACKPRESSURE_ACTIVATED',
    'BACKPRESSURE_RELEASED',
  ],
  maxInFlight: 256, // deliveries share a round
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(60),
    /** Between rounds that events ask for. */
    gapSeconds: gap(2),
    /** What is played, and its share before weights. */
    configs: z
      .array(
        z.strictObject({
          config: z.enum(GAME_CONFIGS.map(({ name }) => name)),
          share: z.number().positive().default(1),
        }),
      )
      .min(1)
      .default([
        { config: 'square8_2p', share: 1 },
        { config: 'hex8_2p', share: 1 },
        { config: 'square8_3p', share: 0.5 },
        { config: 'hex8_4p', share: 0.5 },
      ]),
    /** Games wanted in the queue per live node, all configs together; a target counts until the next allocation. */
    gamesPerNode: z.number().int().min(1).default(1_000),
    /** Targets are multiples of this, so that small moves make no version. */
    gamesStep: z.number().int().min(1).default(50),
    /** Games of a config that may wait for export and training before only the trickle is played. */
    gamesAhead: z.number().int().min(1).default(2_000),
    /** Least target of a config, whatever waits. */
    trickle: z.number().int().min(0).default(10),
    /** Share of random moves before the boost. */
    exploration: z.number().min(0).max(1).default(0.1),
  }),
  quick: {
    ...{ periodSeconds: 3, gapSeconds: 0.5, gamesPerNode: 200, gamesAhead: 600, trickle: 20 },
    configs: [{ config: 'square8_2p' }],
  },

  create({ config, clock, log, publish, allocation, feedback, quality, ratings, games, samples, nodes }) {
    const pressure = new Backpressure(clock);
    /** Newest game of each config, and since when it is that. */
    const newest = new Map<string, { readonly seq: number; readonly since: number }>();
    /** Nodes that do not answer, and the offset of the word that said so or took it back. */
    const silent = new Map<string, { readonly offset: number; readonly isSilent: boolean }>();
    let toldVersion = -1;
    let present: Allocation | null = null;

    const standingOf = async ({ config: name, share }: { config: string; share: number }): Promise<Standing> => {
      const judged = await quality.of(name);
      const { lastSeq } = await games.total(name);
      const known = newest.get(name);
      const since = known?.seq === lastSeq ? known.since : clock.monotonicMs();
      newest.set(name, { seq: lastSeq, since });
      const isStale = clock.since(since) > STALE_PERIODS * config.periodSeconds;
      const unseen = await samples.unseen(name);
      return {
        ...{ name, share, isStale },
        parameters: await feedback.parameters(name),
        penalty:
          judged === null || judged.score >= QUALITY_WARN ? 1 : Math.max(PENALTY_MIN, judged.score / QUALITY_WARN),
        velocity: await ratings.velocity(name, { hours: 1 }),
        backlog:
          (await samples.unexported(name)).games + unseen.shards.reduce((sum, { games: played }) => sum + played, 0),
      };
    };

    /** Tells what the newest version changed; every id is made of the version, so telling again tells nothing new. */
    const tell = async (): Promise<void> => {
      const now = await allocation.current();
      present = now;
      if (now.version === 0 || now.version === toldVersion) return;
      const { version, targets, quotas } = now;
      const before = await allocation.previous();
      for (const target of targets) {
        const old = before.targets.find((row) => row.config === target.config);
        if (old?.games === target.games && old.exploration === target.exploration) continue;
        await publish(
          'SELFPLAY_TARGET_UPDATED',
          { config: target.config, targetGames: target.games, exploration: target.exploration, version },
          { id: `target:${target.config}:v${version}` },
        );
      }
      const nodeCount = new Set(quotas.map(({ nodeId }) => nodeId)).size;
      await publish(
        'SELFPLAY_ALLOCATION_UPDATED',
        { version, configs: targets.length, nodes: nodeCount, games: gamesOf(now) },
        { id: `allocation:v${version}` },
      );
      const rate = (of: Allocation): number => (gamesOf(of) * MINUTE) / Math.max(1, config.periodSeconds);
      const [from, to] = [rate(before), rate(now)];
      if (Math.abs(to - from) >= RATE_CHANGE * from && to !== from)
        await publish('SELFPLAY_RATE_CHANGED', { from, to }, { id: `rate:v${version}` });
      toldVersion = version;
    };

    // It has no store of its own: allocations lie in the file of FEEDBACK_LOOP.
    const rounds = new Rounds(
      {
        clock,
        log,
        owns: () => false,
        gapSeconds: config.gapSeconds,
        staleSeconds: 10 + 4 * config.periodSeconds,
      },
      async () => {
        await tell(); // what an earlier start saved and did not tell
        const live = (await nodes.list({ states: ['live'] })).filter(({ nodeId }) => !silent.get(nodeId)?.isSilent);
        const standings: Standing[] = [];
        for (const row of config.configs) standings.push(await standingOf(row));
        for (const { name, penalty } of standings) {
          const judged = penalty < 1 ? await quality.of(name) : null;
          if (judged === null) continue;
          const body = { config: name, quality: judged.score, factor: penalty };
          await publish('QUALITY_PENALTY_APPLIED', body, { id: `penalty:${name}:${judged.seq}` });
        }

        // Before the first node is there, one node's worth waits for it.
        const shares = split(config.gamesPerNode * Math.max(1, live.length), standings.map(scoreOf));
        const targets = standings.map(({ name, parameters, penalty, backlog }, index) => {
          const share = shares[index]! * INTENSITY_FACTORS[parameters.intensity] * penalty;
          const room = pressure.active ? 0 : Math.min(Math.round(share), config.gamesAhead - backlog);
          return {
            config: name,
            games: Math.max(config.trickle, Math.ceil(room / config.gamesStep) * config.gamesStep),
            exploration: Math.min(1, Math.round(config.exploration * parameters.explorationBoost * 1000) / 1000),
            opponents: OPPONENTS[Math.min(parameters.level, OPPONENTS.length - 1)]!,
          };
        });
        const quotas = targets.flatMap((target) =>
          split(
            target.games,
            live.map(() => 1),
          ).map((played, index) => ({ config: target.config, nodeId: live[index]!.nodeId, games: played })),
        );
        const { allocation: written, changed } = await allocation.write({ targets, quotas });
        if (changed)
          log.debug(`allocation ${written.version}: ${targets.map((row) => `${row.config} ${row.games}`).join(', ')}`);
        await tell();
      },
    );
    const look = (): Promise<void> => rounds.run();

    const heard = async (nodeId: string, offset: number, isSilent: boolean): Promise<void> => {
      const known = silent.get(nodeId);
      if (known === undefined || known.offset < offset) setNewest(silent, nodeId, { offset, isSilent }, NODES_MAX);
      await rounds.run();
    };

    return {
      on: {
        ADAPTIVE_PARAMS_CHANGED: look,
        EXPLORATION_ADJUSTED: look,
        CURRICULUM_REBALANCED: look,
        CURRICULUM_ADVANCED: look,
        SELFPLAY_COMPLETE: look,
        TRAINING_COMPLETED: look,
        MODEL_PROMOTED: look,
        ELO_UPDATED: look,
        ELO_VELOCITY_CHANGED: look,
        QUALITY_DEGRADED: look,
        TRAINING_BLOCKED_BY_QUALITY: look,
        HOST_OFFLINE: ({ offset, body }) => heard(body.nodeId, offset, true),
        HOST_ONLINE: ({ offset, body }) => heard(body.nodeId, offset, false),
        async NODE_TERMINATED({ body }) {
          silent.delete(body.nodeId); // its next run is another one
          await rounds.run();
        },
        BACKPRESSURE_ACTIVATED: async (event) => {
          pressure.activated(event);
          await rounds.run();
        },
        BACKPRESSURE_RELEASED: async (event) => {
          pressure.released(event);
          await rounds.run();
        },
      },
      every: { periodSeconds: config.periodSeconds, run: () => rounds.run() },
      health() {
        const verdict = rounds.verdict({
          version: present?.version ?? 0,
          targets: Object.fromEntries((present?.targets ?? []).map((row) => [row.config, row.games])),
          backpressure: pressure.pressed,
          bounds: { nodes_silent: { size: silent.size, limit: NODES_MAX }, queues: pressure.queues },
        });
        return verdict.status === 'healthy' && pressure.active
          ? degraded(`only a trickle is played: ${pressure.pressed.join(', ')} over the limit`, verdict.details)
          : verdict;
      },
    };
  },
});

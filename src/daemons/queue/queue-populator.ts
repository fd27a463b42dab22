/**
 * Keeps the work queue from running dry, and from growing.
 *
 * Invariant: what is queued is what the allocation still wants, measured in the queue itself. The number of a batch comes
 * from the newest item there, so a round that was cut off before or after its one transaction is repeated without
 * queueing anything twice, and WORK_QUEUED carries an id made of the batch. Nothing is counted in memory; ids of closed
 * items are forgotten by the queue, oldest first. Training items are not queued here: their share is kept free for
 * TRAINING_TRIGGER.
 */
import { z } from 'zod';
import { setNewest } from '../../bounds.ts';
import { degraded } from '../../health/verdict.ts';
import type { Allocation, Floor, NewWork, QueueDepth } from '../../training/floor.ts';
import { BASELINES } from '../../training/programs/protocol.ts';
import { Backpressure } from '../backpressure.ts';
import { daemonsWith, seconds, type EventInput } from '../definition.ts';
import { gap, Rounds } from '../rounds.ts';

/** Shares of the queue's depth; upstream's split of self-play, training and tournament is 60/30/10. */
const SELFPLAY_SHARE = 0.6;
const TOURNAMENT_SHARE = 0.1;
const PRIORITY = { selfplay: 50, tournament: 40 } as const;
const OPEN = new Set(['pending', 'claimed', 'running']);
/** After items that failed for good a config waits, doubling; upstream's 1–60 s. */
const HOLD_SECONDS_MAX = 60;
/** Configs remembered as held, whatever an event calls one; the oldest goes. */
const CONFIGS_HELD_MAX = 200;
/** Former champions that the present one meets. */
const RIVALS = 2;
const SEED_BELOW = 2 ** 31;
/** Items in which the newest batch of a config is looked for; its own are among them unless others flood the queue. */
const LOOK_BACK = 500;

type Band = EventInput<'ELO_VELOCITY_CHANGED'>['band'];
/** Rating points per hour. Chosen: a level game is worth about 10 points of error after an evening. */
const bandOf = (perHour: number): Band =>
  perHour < -10 ? 'falling' : perHour < 10 ? 'flat' : perHour < 100 ? 'rising' : 'fast';

const sumOf = (rows: readonly QueueDepth[], what: 'items' | 'games'): number =>
  rows.reduce((sum, row) => sum + row[what], 0);

/** Number of an item in the order of the queue: `w17` is 17. */
const numberOf = (itemId: string): number => Number(itemId.slice(1));

export const queuePopulator = daemonsWith<Floor>()({
  type: 'QUEUE_POPULATOR',
  purpose: 'Keeps the work queue from running dry.',
  category: 'queue',
  dependsOn: ['EVENT_ROUTER', 'SELFPLAY_COORDINATOR'],
  publishes: ['WORK_QUEUED', 'ELO_VELOCITY_CHANGED'],
  subscribes: [
    'SELFPLAY_COMPLETE',
    'TRAINING_COMPLETED',
    'NEW_GAMES_AVAILABLE',
    'ELO_UPDATED',
    'SELFPLAY_TARGET_UPDATED',
    'WORK_FAILED',
    'WORK_TIMEOUT',
    'BACKPRESSURE_ACTIVATED',
    'BACKPRESSURE_RELEASED',
    'TRAINING_BLOCKED_BY_QUALITY',
  ],
  maxInFlight: 256, // deliveries share a round
  healthPeriodSeconds: 15,
  config: z.strictObject({
    periodSeconds: seconds(10),
    /** Between rounds that events ask for. */
    gapSeconds: gap(1),
    /** Items of all kinds; no more are queued by this daemon. */
    depth: z.number().int().min(10).max(10_000).default(200),
    /** Items queued in one round. */
    batch: z.number().int().min(1).max(1_000).default(100),
    /** Games of one self-play item: what a node plays between two claims. */
    itemGames: z.number().int().min(1).max(10_000).default(100),
    /** Games of one tournament item. */
    cupGames: z.number().int().min(2).max(2_000).default(40),
    /** Closed items that are remembered, with their keys. */
    keepClosed: z.number().int().min(100).default(5_000),
    /** How often the rating gain of each config is looked at. */
    velocitySeconds: seconds(60),
  }),
  quick: {
    periodSeconds: 1,
    gapSeconds: 0.2,
    depth: 40,
    batch: 20,
    cupGames: 20,
    keepClosed: 2_000,
    velocitySeconds: 10,
  },

  create({ config, clock, random, log, publish, queue, allocation, models, ratings }) {
    const pressure = new Backpressure(clock);
    /** Per config: when and for which version it was last filled up. */
    const filled = new Map<string, { readonly version: number; readonly at: number }>();
    const held = new Map<string, { readonly until: number; readonly seconds: number }>();
    const bands = new Map<string, Band>();
    let velocityAt = Number.NEGATIVE_INFINITY;
    let retold = false;
    let queued = 0;
    let open = { selfplay: 0, tournament: 0, training: 0 };

    const tellQueued = async (batch: string, items: readonly NewWork[]): Promise<void> => {
      const [{ work }] = items as readonly [NewWork, ...NewWork[]];
      const gamesWanted = items.reduce((sum, item) => sum + ('games' in item.work ? item.work.games : 0), 0);
      await publish(
        'WORK_QUEUED',
        { kind: work.kind, config: work.config, items: items.length, games: gamesWanted },
        { id: `queued:${batch}` },
      );
    };

    /** One transaction, then one event; both carry the batch in their keys. */
    const enqueue = async (batch: string, works: readonly NewWork['work'][], priority: number): Promise<void> => {
      const items = works.map((work, index): NewWork => ({ key: `${batch}.${index + 1}`, work, priority }));
      if (items.length === 0) return;
      const { queued: added } = await queue.enqueue(items);
      queued += added;
      if (added > 0) await tellQueued(batch, items);
    };

    /** The newest batch of each kind and config may have been queued by a start that ended before it could tell. */
    const retell = async (): Promise<void> => {
      for (const kind of ['selfplay', 'tournament'] as const) {
        const newest = new Map<string, { readonly batch: string; readonly items: NewWork[] }>();
        for (const item of await queue.list({ kind, limit: LOOK_BACK })) {
          const batch = /^((?:selfplay|cup):.+)\.\d+$/.exec(item.key)?.[1];
          if (batch === undefined) continue; // somebody else's
          const known = newest.get(item.work.config);
          if (known === undefined) newest.set(item.work.config, { batch, items: [item] });
          else if (known.batch === batch) known.items.push(item);
        }
        for (const { batch, items } of newest.values()) await tellQueued(batch, items);
      }
    };

    const newestNumber = async (): Promise<number> => numberOf((await queue.list({ limit: 1 }))[0]?.itemId ?? 'w0');

    const fillSelfplay = async ({ version, targets }: Allocation, depth: readonly QueueDepth[]): Promise<void> => {
      const isOpen = (row: QueueDepth): boolean => row.kind === 'selfplay' && OPEN.has(row.state);
      const waiting = sumOf(
        depth.filter((row) => row.kind === 'selfplay' && row.state === 'pending'),
        'items',
      );
      let room = Math.min(config.batch, Math.floor(config.depth * SELFPLAY_SHARE) - waiting);
      // The one that was filled longest ago goes first, so a small batch leaves nobody out for ever.
      const turns = [...targets].sort(
        (one, other) => (filled.get(one.config)?.at ?? 0) - (filled.get(other.config)?.at ?? 0),
      );
      for (const target of turns) {
        const { config: name, exploration, opponents } = target;
        const last = filled.get(name);
        // A target counts once per period, whoever wakes us; a new version at once.
        if (last?.version === version && clock.since(last.at) < 0.9 * config.periodSeconds) continue;
        if ((held.get(name)?.until ?? 0) > clock.monotonicMs()) continue;
        const chunk = Math.min(config.itemGames, target.games);
        const wanted =
          target.games -
          sumOf(
            depth.filter((row) => isOpen(row) && row.config === name),
            'games',
          );
        const items = chunk === 0 ? 0 : Math.min(room, pressure.active ? 1 : Infinity, Math.floor(wanted / chunk));
        if (items <= 0) continue;
        const batch = `selfplay:${name}:${version}:${(await newestNumber()) + 1}`;
        const work = (): NewWork['work'] => ({
          ...{ kind: 'selfplay' as const, config: name, games: chunk, exploration },
          ...{ opponents: [...opponents], seed: random.integer(SEED_BELOW) },
        });
        await enqueue(batch, Array.from({ length: items }, work), PRIORITY.selfplay);
        filled.set(name, { version, at: clock.monotonicMs() });
        room -= items;
      }
    };

    /** Each champion meets the baselines and those before it, once per pair; who is champion no longer meets nobody. */
    const fillTournament = async ({ targets }: Allocation, depth: readonly QueueDepth[]): Promise<void> => {
      const waiting = await queue.list({ kind: 'tournament', states: ['pending'], limit: LOOK_BACK });
      const played = new Set(targets.map((target) => target.config));
      const champions = (await models.champions()).filter((model) => played.has(model.config));
      const current = new Set(champions.map(({ modelId }) => modelId));
      for (const { itemId, work } of waiting)
        if (work.kind === 'tournament' && !work.agents.some((agent) => current.has(agent)))
          await queue.cancel({ itemId, reason: 'its champion has been replaced' });
      if (pressure.active) return;
      let room =
        Math.floor(config.depth * TOURNAMENT_SHARE) -
        sumOf(
          depth.filter((row) => row.kind === 'tournament' && OPEN.has(row.state)),
          'items',
        );
      for (const { config: name, modelId } of champions) {
        // Those before it in the log: a still newer champion, crowned since we asked, is met in its own right.
        const crowned = (await models.promotions({ config: name, limit: 2 * RIVALS + 1 })).map((row) => row.modelId);
        const former = crowned.slice(crowned.indexOf(modelId) + 1).slice(0, RIVALS);
        for (const rival of [...BASELINES, ...former]) {
          if (room <= 0) return;
          const seed = random.integer(SEED_BELOW);
          const agents = [modelId, rival];
          const before = queued;
          await enqueue(
            `cup:${modelId}:${rival}`,
            [{ kind: 'tournament', config: name, agents, games: config.cupGames, seed }],
            PRIORITY.tournament,
          );
          room -= queued - before;
        }
      }
    };

    const lookAtVelocity = async (names: readonly string[]): Promise<void> => {
      for (const name of names) {
        const perHour = await ratings.velocity(name, { hours: 1 });
        if (perHour === null) continue;
        const band = bandOf(perHour);
        if (bands.get(name) === band) continue;
        // Once per band and champion: without a new champion it can only have moved by the window, which is no news twice.
        const champion = (await models.champion(name))?.modelId ?? 'none';
        const id = `velocity:${name}:${champion}:${band}`;
        await publish('ELO_VELOCITY_CHANGED', { config: name, perHour, band }, { id });
        bands.set(name, band);
      }
      velocityAt = clock.monotonicMs();
    };

    const rounds = new Rounds(
      {
        clock,
        log,
        owns: (file) => file.endsWith('/work.db'),
        gapSeconds: config.gapSeconds,
        staleSeconds: 10 + 6 * config.periodSeconds,
      },
      async () => {
        if (!retold) await retell();
        retold = true;
        const wanted = await allocation.current();
        const depth = await queue.depth();
        await fillSelfplay(wanted, depth);
        await fillTournament(wanted, depth);
        if (clock.since(velocityAt) >= config.velocitySeconds)
          await lookAtVelocity(wanted.targets.map((target) => target.config));
        const forgotten = await queue.forget({ keep: config.keepClosed });
        if (forgotten > 0) log.debug(`forgot ${forgotten} closed items`);
        const openOf = (kind: QueueDepth['kind']): number =>
          sumOf(
            depth.filter((row) => row.kind === kind && OPEN.has(row.state)),
            'items',
          );
        open = { selfplay: openOf('selfplay'), tournament: openOf('tournament'), training: openOf('training') };
      },
    );
    const look = (): Promise<void> => rounds.run();

    return {
      on: {
        async SELFPLAY_COMPLETE({ body }) {
          held.delete(body.config); // it can be played
          await rounds.run();
        },
        TRAINING_COMPLETED: look,
        NEW_GAMES_AVAILABLE: look,
        async ELO_UPDATED({ body }) {
          await lookAtVelocity([body.config]);
        },
        SELFPLAY_TARGET_UPDATED: look,
        async WORK_FAILED({ body }) {
          if (body.final && body.kind === 'selfplay') {
            const last = Math.min(HOLD_SECONDS_MAX, 2 * (held.get(body.config)?.seconds ?? 0.5));
            const until = clock.monotonicMs() + last * 1000;
            setNewest(held, body.config, { until, seconds: last }, CONFIGS_HELD_MAX);
            log.warn(`${body.config} is not queued for ${last} s: ${body.itemId} failed for good: ${body.reason}`);
          }
          await rounds.run();
        },
        WORK_TIMEOUT: look,
        BACKPRESSURE_ACTIVATED: pressure.activated,
        BACKPRESSURE_RELEASED: async (event) => {
          pressure.released(event);
          await rounds.run();
        },
        TRAINING_BLOCKED_BY_QUALITY: look,
      },
      every: { periodSeconds: config.periodSeconds, run: () => rounds.run() },
      health() {
        const bounds = { configs_held: { size: held.size, limit: CONFIGS_HELD_MAX }, queues: pressure.queues };
        const verdict = rounds.verdict({ ...open, queued, held: held.size, backpressure: pressure.pressed, bounds });
        if (verdict.status !== 'healthy') return verdict;
        const stopped = [...held].find(([, { until }]) => until > clock.monotonicMs());
        return stopped === undefined
          ? verdict
          : degraded(`${stopped[0]} is not queued for ${stopped[1].seconds} s after failures`, verdict.details);
      },
    };
  },
});

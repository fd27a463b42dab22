/**
 * Gives a node that has nothing to do a batch of self-play.
 *
 * Invariant: at most one batch per node and dispatch interval of its idleness. The batch is keyed by the run, by how many
 * items it has done and by how many intervals it has been idle, so looking twice, or dying between the queueing and the
 * telling, queues nothing twice. It is no producer of its own: what to play and how is the allocation's, and while others'
 * work waits, or a queue downstream is full, it does nothing.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { Allocation, Floor, NodeRow } from '../../training/floor.ts';
import { configName, type NodeStatus, type WorkPayload } from '../../training/programs/protocol.ts';
import { Backpressure } from '../backpressure.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { fingerprint } from '../fact-id.ts';
import { Rounds } from '../rounds.ts';

/** As the queue's custom has it. */
const PRIORITY = 50;
/** Games of a config below this quality are the last choice; upstream's warning mark. */
const QUALITY_MIN = 0.6;

type Target = Allocation['targets'][number];

export const idleResource = daemonsWith<Floor>()({
  type: 'IDLE_RESOURCE',
  purpose: 'Finds nodes without work and queues one batch of self-play for each.',
  category: 'resource',
  dependsOn: ['EVENT_ROUTER', { on: 'QUEUE_POPULATOR', kind: 'order' }],
  publishes: ['IDLE_RESOURCE_DETECTED', 'WORK_QUEUED'],
  subscribes: [
    'SELFPLAY_TARGET_UPDATED',
    'SELFPLAY_RATE_CHANGED',
    'QUALITY_DEGRADED',
    'BACKPRESSURE_ACTIVATED',
    'BACKPRESSURE_RELEASED',
  ],
  healthPeriodSeconds: 15,
  config: z.strictObject({
    periodSeconds: seconds(15),
    /** Without work for this long a node counts as idle. */
    idleSeconds: seconds(15),
    /** More of a core than this and it is busy with something else. */
    cpuMax: z.number().min(0).default(0.1),
    /** One batch per node in this time; upstream's figure. */
    dispatchSeconds: z.number().min(1).default(120),
    batchGames: z.int().min(1).max(10_000).default(100),
    /** Played while nothing has been allocated. */
    defaultConfig: configName.default('square8_2p'),
    defaultExploration: z.number().min(0).max(1).default(0.25),
  }),
  quick: { periodSeconds: 2, idleSeconds: 2, dispatchSeconds: 20, batchGames: 40 },

  create({ config, clock, log, files, dataDir, publish, nodes, cluster, queue, allocation, quality }) {
    const pressure = new Backpressure(clock, { files, file: join(dataDir, 'backpressure.json') });
    let idle = 0;
    let given = 0;

    const fallback: Target = {
      config: config.defaultConfig,
      games: config.batchGames,
      exploration: config.defaultExploration,
      opponents: [{ agent: 'self', weight: 1 }],
    };

    /** What this node should play: its largest quota, else the largest target; good data before poor. */
    const targetFor = async (node: NodeRow): Promise<Target> => {
      const { targets, quotas } = await allocation.current();
      const quotaOf = (target: Target): number =>
        quotas.find((row) => row.nodeId === node.nodeId && row.config === target.config)?.games ?? 0;
      const wanted = targets
        .filter(({ games, opponents }) => games > 0 && opponents.length > 0)
        .sort((one, other) => quotaOf(other) - quotaOf(one) || other.games - one.games);
      for (const target of wanted) {
        const state = await quality.of(target.config);
        if (state === null || state.score >= QUALITY_MIN) return target;
      }
      return wanted[0] ?? fallback;
    };

    const isIdle = (status: NodeStatus, cores: number): boolean =>
      status.current === null && !status.draining && status.idleSeconds >= config.idleSeconds && cores <= config.cpuMax;

    const give = async (node: NodeRow, status: NodeStatus): Promise<void> => {
      const turn = Math.floor(status.idleSeconds / config.dispatchSeconds);
      const key = `selfplay-idle:${node.runId}:${status.itemsDone}:${turn}`;
      // Work that this node could have and will claim in a moment is no reason to add more.
      const waiting = (await queue.list({ states: ['pending'], limit: 200 })).filter(
        (item) => item.work.kind === 'selfplay' && (item.nodeId === null || item.nodeId === node.nodeId),
      );
      const isOurs = waiting.some((item) => item.key === key);
      if (waiting.length > 0 && !isOurs) return;
      if ((await queue.list({ states: ['claimed', 'running'], holder: node.nodeId, limit: 1 })).length > 0) return;

      const target = await targetFor(node);
      const games = Math.min(config.batchGames, Math.max(1, target.games));
      const work: WorkPayload = {
        kind: 'selfplay',
        config: target.config,
        games,
        exploration: target.exploration,
        opponents: target.opponents.slice(0, 8),
        seed: Number.parseInt(fingerprint([key]).slice(0, 8), 16),
      };
      const { queued } = await queue.enqueue([{ key, work, priority: PRIORITY }]);
      if (queued === 0 && !isOurs) return; // this interval's batch came and went
      given += queued;
      log.debug(`node ${node.nodeId} was idle for ${status.idleSeconds.toFixed(0)} s and gets ${games} games`);
      await publish(
        'WORK_QUEUED',
        { kind: 'selfplay', config: target.config, items: 1, games },
        { id: `queued:${key}` },
      );
      await publish(
        'IDLE_RESOURCE_DETECTED',
        { nodeId: node.nodeId, idleSeconds: status.idleSeconds, config: target.config },
        { id: `idle:${key}` },
      );
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: 0, staleSeconds: 30 + 4 * config.periodSeconds },
      async () => {
        const pictures = new Map((await cluster.list()).map((row) => [row.runId, row]));
        let found = 0;
        for (const node of await nodes.list({ states: ['live'] })) {
          const status = await nodes.status(node.nodeId).catch(() => null); // silent: not idle, for all we know
          if (status === null || status.runId !== node.runId) continue;
          if (!isIdle(status, pictures.get(node.runId)?.cpu ?? 0)) continue;
          found++;
          if (!pressure.active) await give(node, status);
        }
        idle = found;
      },
    );
    const look = (): Promise<void> => rounds.run();

    return {
      on: {
        SELFPLAY_TARGET_UPDATED: look,
        SELFPLAY_RATE_CHANGED: look,
        QUALITY_DEGRADED: look,
        BACKPRESSURE_ACTIVATED: pressure.activated,
        BACKPRESSURE_RELEASED: pressure.released,
      },
      every: { periodSeconds: config.periodSeconds, run: look },
      health: () => rounds.verdict({ idle, given, backpressure: pressure.pressed }),
    };
  },
});

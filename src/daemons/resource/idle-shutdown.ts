/**
 * Stops nodes that cost money and do nothing.
 *
 * Invariant: no game is lost by it and no wanted node goes. A node is drained first, and any sign of work takes that back;
 * it is retired only when every game it holds is in the canonical stores, read from its own status and the cursors and
 * not from what was announced; and never below what the plan wants. Retiring is one write to the inventory: from then on
 * the rest (the goodbye, the saving, the news) is repeated until it is done, by whichever start comes.
 */
import { z } from 'zod';
import { messageOf } from '../../errors.ts';
import { gamesBehind, type Floor, type NodeRow } from '../../training/floor.ts';
import type { NodeStatus } from '../../training/programs/protocol.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { fingerprint } from '../fact-id.ts';
import { Rounds } from '../rounds.ts';

export const idleShutdown = daemonsWith<Floor>()({
  type: 'IDLE_SHUTDOWN',
  purpose: 'Drains nodes that have been idle too long, waits until their games are home, and stops them.',
  category: 'resource',
  dependsOn: ['EVENT_ROUTER', 'CLUSTER_MONITOR'],
  publishes: ['SYNC_REQUEST', 'NODE_TERMINATED'],
  subscribes: ['TRAINING_STARTED', 'SELFPLAY_COMPLETE', 'WORK_CLAIMED', 'WORK_STARTED'],
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(60),
    /** Without work for this long a node is drained; upstream: 900 to 1800 s. */
    idleSeconds: seconds(900),
    /** Drained and still without work for this long, it is stopped; upstream: 180 to 300 s. */
    drainSeconds: seconds(180),
    /** So many items waiting for nodes and none is stopped. */
    pendingMin: z.int().min(1).default(3),
    /** Nodes kept whatever the plan says. */
    keep: z.int().min(0).default(1),
  }),
  quick: { periodSeconds: 2, idleSeconds: 45, drainSeconds: 5 },

  create({ config, clock, log, publish, nodes, queue, games, capacity }) {
    /** Monotonic milliseconds since when a run has been seen draining; a restart begins the wait anew. */
    const drainingSince = new Map<string, number>();
    let stopped = 0;
    let waitingForSync: readonly string[] = [];

    const setDrain = (node: NodeRow, drain: boolean): Promise<void> =>
      nodes.setDrain({ nodeId: node.nodeId, drain }).catch((thrown: unknown) => {
        log.warn(messageOf(thrown)); // the inventory has it; the scheduler goes by that, and the next look says it again
      });

    const takeBack = async (node: NodeRow, why: string): Promise<void> => {
      const { nodeId, runId } = node;
      drainingSince.delete(runId);
      if (node.state !== 'draining') return;
      await nodes.drain({ nodeId, runId, drain: false });
      await setDrain(node, false);
      log.info(`node ${nodeId} is no longer drained: ${why}`);
    };

    /** Everything that follows from a retired run; may be repeated. */
    const finish = async (node: NodeRow): Promise<void> => {
      const { nodeId, runId, pool, pricePerHour } = node;
      // Gone already, or it refuses: then its process is ended by the provisioner, and its claims are answered with "retire".
      await nodes.shutdown({ nodeId, reason: 'retired: it was idle' }).catch(() => undefined);
      await capacity.bookSaving({ nodeId, runId, perHour: pricePerHour });
      await publish(
        'NODE_TERMINATED',
        { nodeId, runId, pool, reason: node.reason ?? 'idle', unsyncedGames: 0 },
        { id: `terminated:${runId}` },
      );
      await nodes.told({ nodeId, runId, news: 'over' });
      stopped++;
    };

    const retire = async (node: NodeRow, status: NodeStatus): Promise<void> => {
      const { nodeId, runId } = node;
      const behind = gamesBehind(status, await games.cursors(nodeId));
      if (behind > 0) {
        waitingForSync = [...waitingForSync, nodeId];
        const ends = Object.entries(status.lastSeq).flat();
        await publish(
          'SYNC_REQUEST',
          { nodeId, config: null, reason: `${behind} games are to be brought home before it is stopped` },
          { id: `sync-request:drain:${fingerprint([runId, status.storeId, ...ends])}` },
        );
        return;
      }
      const reason = `idle for ${status.idleSeconds.toFixed(0)} s`;
      const { node: ended, first } = await nodes.end({ nodeId, runId, state: 'retired', reason });
      drainingSince.delete(runId);
      if (first) log.info(`node ${nodeId} is stopped: ${reason}`);
      await finish(ended);
    };

    const lookAtDraining = async (node: NodeRow, status: NodeStatus, workWaits: boolean): Promise<void> => {
      if (status.current !== null) return takeBack(node, `it has ${status.current.itemId} in hand`);
      if (workWaits) return takeBack(node, 'work waits');
      if (!status.draining) await setDrain(node, true);
      const since = drainingSince.get(node.runId) ?? clock.monotonicMs();
      drainingSince.set(node.runId, since);
      if (clock.since(since) >= config.drainSeconds) await retire(node, status);
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: 0, staleSeconds: 30 + 4 * config.periodSeconds },
      async () => {
        waitingForSync = [];
        for (const { node, news } of await nodes.untold())
          if (news === 'over' && node.state === 'retired') await finish(node);

        const present = await nodes.list({ states: ['live', 'draining'] });
        for (const runId of drainingSince.keys())
          if (!present.some((node) => node.runId === runId)) drainingSince.delete(runId);
        const pending = (await queue.depth())
          .filter(({ kind, state }) => kind !== 'training' && state === 'pending')
          .reduce((sum, { items }) => sum + items, 0);
        const workWaits = pending >= config.pendingMin;
        const advice = await capacity.advice();
        const keep = Math.max(config.keep, advice.wanted);
        let staying = present.filter(({ state }) => state === 'live').length;

        for (const node of present) {
          const status = await nodes.status(node.nodeId).catch(() => null);
          if (status === null || status.runId !== node.runId) continue; // silent: not ours to judge
          if (node.state === 'draining') {
            // The plan may have grown since: who goes must be one too many still.
            if (staying < keep) {
              await takeBack(node, `${keep} nodes are wanted`);
              staying++;
            } else await lookAtDraining(node, status, workWaits);
            continue;
          }
          const isIdle = status.current === null && status.idleSeconds >= config.idleSeconds;
          if (!isIdle || workWaits || staying <= keep) continue;
          await nodes.drain({ nodeId: node.nodeId, runId: node.runId, drain: true });
          await setDrain(node, true);
          drainingSince.set(node.runId, clock.monotonicMs());
          staying--;
          log.info(`node ${node.nodeId} is drained: idle for ${status.idleSeconds.toFixed(0)} s`);
        }
      },
    );

    const activity = async (nodeId: string, why: string): Promise<void> => {
      const node = await nodes.get(nodeId);
      if (node !== null) await takeBack(node, why);
    };

    return {
      on: {
        WORK_CLAIMED: ({ body }) => activity(body.nodeId, `it claimed ${body.itemId}`),
        WORK_STARTED: ({ body }) => activity(body.nodeId, `it began ${body.itemId}`),
        SELFPLAY_COMPLETE: ({ body }) => activity(body.nodeId, `it completed ${body.itemId}`),
        // A training makes a model that wants games: the nodes are needed soon.
        TRAINING_STARTED: async ({ body }) => {
          for (const node of await nodes.list({ states: ['draining'] }))
            await takeBack(node, `${body.modelId} is trained`);
        },
      },
      every: { periodSeconds: config.periodSeconds, run: () => rounds.run() },
      health: () => rounds.verdict({ draining: drainingSince.size, stopped, waitingForSync }),
    };
  },
});

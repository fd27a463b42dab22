/**
 * The single picture of all nodes: who answers, what each does and uses, and how many games come of it.
 *
 * Invariant: a change is told once, and what is not known is not called bad. Changes are found against the picture that
 * is stored, and told before it is replaced, under an id made of both; so a crash in between tells the same change again
 * and it is stored once. A node that does not answer keeps its last figures and is only marked as down. No event goes
 * with every look: a picture that stays in its band is nobody's news.
 */
import { z } from 'zod';
import type { ClusterRow, Floor, NodeRow } from '../../training/floor.ts';
import type { NodeStatus } from '../../training/programs/protocol.ts';
import { daemonsWith, seconds, type EventBody } from '../definition.ts';
import { fingerprint } from '../fact-id.ts';
import { Rounds } from '../rounds.ts';

type ClusterStatus = EventBody<'CLUSTER_STATUS_CHANGED'>['status'];

/** Under this share of nodes that answer, the cluster is in trouble; upstream's figure. */
const HEALTHY_SHARE = 0.5;

/** The band of a picture; `down` is under half of the nodes answering. */
export const bandOf = (rows: readonly Pick<ClusterRow, 'up'>[]): ClusterStatus => {
  if (rows.length === 0) return 'empty';
  const share = rows.filter((row) => row.up).length / rows.length;
  return share === 1 ? 'healthy' : share < HEALTHY_SHARE ? 'down' : 'degraded';
};

/** A program that starts compiles itself on every core: what it uses before this is no load. Seconds. */
const WARM_SECONDS = 5;

export const clusterMonitor = daemonsWith<Floor>()({
  type: 'CLUSTER_MONITOR',
  purpose: 'Keeps one picture of all nodes and tells when the whole or a node leaves its band.',
  category: 'health',
  dependsOn: ['EVENT_ROUTER'],
  publishes: ['CLUSTER_STATUS_CHANGED', 'CLUSTER_STALL_DETECTED', 'CLUSTER_CAPACITY_CHANGED', 'NODE_OVERLOADED'],
  subscribes: ['HOST_ONLINE', 'HOST_OFFLINE', 'NODE_PROVISIONED', 'NODE_TERMINATED'],
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(30),
    /** Live nodes and waiting work, and no new game for this long: a stall. */
    stallSeconds: seconds(300),
    /** Cores a node may use; it plays on one. */
    cpuMax: z.number().positive().default(1.5),
    residentMbMax: z.number().positive().default(1_024),
    /** An overload that lasts is told again after this long. */
    overloadSeconds: seconds(120),
  }),
  quick: { periodSeconds: 2, stallSeconds: 30, overloadSeconds: 10 },

  create({ config, clock, log, publish, nodes, cluster, queue }) {
    let picture: readonly ClusterRow[] = [];
    let status: ClusterStatus = 'empty';
    /** CPU seconds and uptime of the last look, per run: what a share is measured against. */
    const measured = new Map<string, { readonly cpuSeconds: number; readonly uptimeSeconds: number }>();
    /** Games of all nodes, and since when they have not grown. */
    let games = { total: -1, since: 0 };

    const statusOf = async (node: NodeRow): Promise<NodeStatus | null> => {
      try {
        const answer = await nodes.status(node.nodeId);
        return answer.runId === node.runId ? answer : null;
      } catch {
        return null;
      }
    };

    /** Cores in use since the last look at this run; since its start at the first, unless it has only just started. */
    const coresOf = ({ runId, cpuSeconds, uptimeSeconds }: NodeStatus): number => {
      const known = measured.get(runId);
      measured.set(runId, { cpuSeconds, uptimeSeconds });
      if (known === undefined && uptimeSeconds < WARM_SECONDS) return 0;
      const before = known ?? { cpuSeconds: 0, uptimeSeconds: 0 };
      const seconds = uptimeSeconds - before.uptimeSeconds;
      return seconds > 0 ? Math.max(0, (cpuSeconds - before.cpuSeconds) / seconds) : 0;
    };

    /** @param atMs  of the look: rows of one picture carry the same */
    const rowOf = (
      { nodeId, runId }: NodeRow,
      answer: NodeStatus | null,
      before: ClusterRow | undefined,
      atMs: number,
    ): ClusterRow => {
      if (answer === null) {
        const last = before ?? { residentBytes: 0, games: 0, idleSeconds: 0 };
        const { residentBytes, games, idleSeconds } = last;
        const figures = { residentBytes, games, idleSeconds, cpu: 0, gamesPerMinute: 0, currentItemId: null };
        return { nodeId, runId, up: false, ...figures, atMs };
      }
      const { residentBytes, games, gamesPerMinute, idleSeconds, current } = answer;
      const figures = { cpu: coresOf(answer), residentBytes, games, gamesPerMinute, idleSeconds };
      return { nodeId, runId, up: true, ...figures, currentItemId: current?.itemId ?? null, atMs };
    };

    const tellOverloads = async (rows: readonly ClusterRow[], uptimes: ReadonlyMap<string, number>): Promise<void> => {
      for (const { nodeId, runId, up, cpu, residentBytes } of rows) {
        const isOver = cpu > config.cpuMax || residentBytes > config.residentMbMax * 1024 * 1024;
        if (!up || !isOver) continue;
        const turn = Math.floor((uptimes.get(runId) ?? 0) / Math.max(1, config.overloadSeconds));
        await publish('NODE_OVERLOADED', { nodeId, cpu, residentBytes }, { id: `overloaded:${runId}:${turn}` });
      }
    };

    const tellStall = async (rows: readonly ClusterRow[]): Promise<void> => {
      const up = rows.filter((row) => row.up);
      const total = rows.reduce((sum, row) => sum + row.games, 0);
      const pending = (await queue.depth())
        .filter(({ kind, state }) => kind === 'selfplay' && state === 'pending')
        .reduce((sum, { items }) => sum + items, 0);
      if (total !== games.total || up.length === 0 || pending === 0) {
        games = { total, since: clock.monotonicMs() };
        return;
      }
      const seconds = clock.since(games.since);
      if (seconds < config.stallSeconds) return;
      log.warn(`${up.length} live nodes made no game for ${seconds.toFixed(0)} s while ${pending} items wait`);
      await publish(
        'CLUSTER_STALL_DETECTED',
        { live: up.length, pending, seconds },
        { id: `cluster-stall:${fingerprint([total, ...up.map(({ runId }) => runId)])}` },
      );
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: 0, staleSeconds: 30 + 4 * config.periodSeconds },
      async () => {
        const present = await nodes.list({ states: ['live', 'draining', 'lost'] });
        const known = new Map((await cluster.list()).map((row) => [row.nodeId, row]));
        const answers = await Promise.all(
          present.map((node) => (node.state === 'lost' ? Promise.resolve(null) : statusOf(node))),
        );
        // The last picture: a node that is not in it (being started, failed) has kept an older row.
        const newest = Math.max(0, ...[...known.values()].map((row) => row.atMs));
        const stored = [...known.values()].filter((row) => row.atMs === newest);
        const atMs = Math.max(clock.wallMs(), newest + 1); // pictures follow each other, whatever the wall clock does
        const rows = present.map((node, index) => rowOf(node, answers[index] ?? null, known.get(node.nodeId), atMs));
        for (const runId of measured.keys()) if (!rows.some((row) => row.runId === runId)) measured.delete(runId);

        const change = fingerprint([
          newest,
          ...stored.flatMap(({ runId, up }) => [runId, up]),
          '→',
          ...rows.flatMap(({ runId, up }) => [runId, up]),
        ]);
        const up = rows.filter((row) => row.up);
        const idle = up.filter((row) => row.currentItemId === null).length;
        const next = bandOf(rows);
        if (next !== bandOf(stored))
          await publish(
            'CLUSTER_STATUS_CHANGED',
            { live: up.length, idle, offline: rows.length - up.length, status: next },
            { id: `cluster-status:${change}` },
          );
        if (up.length !== stored.filter((row) => row.up).length)
          await publish(
            'CLUSTER_CAPACITY_CHANGED',
            {
              live: up.length,
              cpus: up.length,
              gamesPerMinute: up.reduce((sum, { gamesPerMinute }) => sum + gamesPerMinute, 0),
            },
            { id: `cluster-capacity:${change}` },
          );
        await cluster.put(rows);
        await cluster.prune({ beforeMs: atMs });

        const uptimes = new Map(
          answers.flatMap((answer) => (answer === null ? [] : [[answer.runId, answer.uptimeSeconds]])),
        );
        await tellOverloads(rows, uptimes);
        await tellStall(rows);
        picture = rows;
        status = next;
      },
    );
    const look = (): Promise<void> => rounds.run();

    return {
      on: { HOST_ONLINE: look, HOST_OFFLINE: look, NODE_PROVISIONED: look, NODE_TERMINATED: look },
      every: { periodSeconds: config.periodSeconds, run: look },
      health() {
        const up = picture.filter((row) => row.up).length;
        return rounds.verdict({ nodes: picture.length, up, status });
      },
    };
  },
});

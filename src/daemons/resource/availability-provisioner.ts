/**
 * Starts nodes while fewer live than are wanted and money is left, and takes back what it began in vain.
 *
 * Invariant: every node process belongs to a run of the inventory that wants it, and no run is begun beside a live one in
 * the same folder. The inventory says what should run, the provider what does; this daemon only makes the two agree, so
 * it keeps nothing of its own. Its processes outlive it: the next start finds them by name and goes on where the last one
 * was killed. A node counts as provisioned when it has claimed its first item: a process that answers but is given no work
 * is money without games.
 */
import { z } from 'zod';
import { messageOf } from '../../errors.ts';
import { degraded, worse } from '../../health/verdict.ts';
import type { Floor, NodeRow, NodeState } from '../../training/floor.ts';
import { identifier } from '../../training/programs/protocol.ts';
import { execProvider } from '../../training/providers/exec.ts';
import { localProvider } from '../../training/providers/local.ts';
import type { NodeProvider, NodeSettings } from '../../training/providers/provider.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { Rounds } from '../rounds.ts';

const PRESENT: readonly NodeState[] = ['starting', 'live', 'draining'];
const OVER: readonly NodeState[] = ['lost', 'failed', 'retired'];
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Longest pause after failed starts, seconds. */
const PAUSE_SECONDS_MAX = 300;

const argv = z.array(z.string().min(1)).min(1);
const nodeCount = z.int().min(0).max(64);
const money = z.number().min(0);

export const availabilityProvisioner = daemonsWith<Floor>()({
  type: 'AVAILABILITY_PROVISIONER',
  purpose: 'Starts nodes when fewer live than wanted and the budget allows, and rolls back those that get no work.',
  category: 'resource',
  dependsOn: ['EVENT_ROUTER', 'AVAILABILITY_CAPACITY_PLANNER'],
  publishes: ['NODE_PROVISIONED', 'NODE_TERMINATED', 'PROVISION_FAILED', 'BUDGET_EXCEEDED'],
  subscribes: ['CAPACITY_LOW'],
  healthPeriodSeconds: 60,
  config: z.strictObject({
    /** Missing nodes are started this often, and at once at its start. */
    periodSeconds: seconds(300),
    /** The nodes that are there are looked at this often. */
    watchSeconds: seconds(5),
    pool: identifier.default('local'),
    /** Commands that start nodes elsewhere (training/providers/exec.ts); null: child processes of this machine. */
    exec: z
      .strictObject({ name: identifier, start: argv, check: argv.exactOptional(), stop: argv })
      .nullable()
      .default(null),
    /** Below this many, all that are missing are started at once; above, one per period. */
    nodesMin: nodeCount.default(2),
    nodesMax: nodeCount.default(4),
    pricePerHour: money.default(0.5),
    budgetHour: money.default(5),
    budgetDay: money.default(50),
    /** Longest wait for a new node to say where it listens. */
    startSeconds: seconds(30),
    /** A node that claimed nothing for this long although work waits is rolled back. */
    claimSeconds: seconds(120),
    /** A node that answers nobody for this long is given up. */
    lostSeconds: seconds(120),
    /** Between TERM and KILL, and between a retired node's goodbye and TERM. */
    graceSeconds: seconds(10),
    /** Pause after a failed start, doubled with each further one. */
    retrySeconds: seconds(10),
    node: z
      .strictObject({
        kinds: z
          .array(z.enum(['selfplay', 'tournament']))
          .min(1)
          .default(['selfplay', 'tournament']),
        cpus: z.number().positive().default(1),
        memoryMb: z.int().positive().default(512),
        idlePollMs: z.int().min(50).max(60_000).default(500),
        commitGames: z.int().min(1).max(1000).default(50),
        lonelySeconds: z.number().positive().default(120),
        /** Nodes take what the master leaves. */
        nice: z.int().min(0).max(19).default(10),
      })
      .prefault({}),
  }),
  quick: { periodSeconds: 5, watchSeconds: 1, claimSeconds: 30, lostSeconds: 20, graceSeconds: 6, retrySeconds: 2 },

  create(context) {
    const { config, clock, random, log, signal, publish, nodes, capacity, queue, games, cluster, endpoints } = context;
    const { spawn, spawned, endProcess, files } = context;
    const world = { spawn, spawned, endProcess, files, clock, signal, endpointsFile: endpoints.file };
    const provider: NodeProvider =
      config.exec === null ? localProvider(world) : execProvider(world, config.exec.name, config.exec);

    /** Runs that this start is bringing up now. */
    const underway = new Set<string>();
    /** Ended runs that are proven gone, or were stopped; since when a retired one was seen; since when one is silent. */
    const seenOff = new Set<string>();
    const retiredAt = new Map<string, number>();
    const silentSince = new Map<string, number>();
    let failuresInRow = 0;
    let pausedUntil = 0;
    let lastFailure: string | null = null;
    let wanted = config.nodesMin;
    let live = 0;

    const isMine = (node: NodeRow): boolean => node.pool === config.pool && node.provider === provider.name;
    const mine = async (states: readonly NodeState[]): Promise<NodeRow[]> =>
      (await nodes.list({ states })).filter(isMine);

    // ------------------------------------------------------------------------------------------------------- telling

    /** Games the last picture of a node had that no cursor has: nobody can ask the node any more. */
    const unsyncedOf = async (node: NodeRow): Promise<number> => {
      const picture = (await cluster.list()).find((row) => row.nodeId === node.nodeId);
      const synced = (await games.cursors(node.nodeId)).reduce((sum, { seq }) => sum + seq, 0);
      return Math.max(0, (picture?.games ?? 0) - synced);
    };

    const tell = async (): Promise<void> => {
      for (const { node, news } of await nodes.untold()) {
        if (!isMine(node) || node.state === 'retired') continue; // whoever retires a node tells it
        const { nodeId, runId, pool } = node;
        const reason = node.reason ?? 'unknown';
        if (news === 'up')
          await publish(
            'NODE_PROVISIONED',
            { nodeId, runId, pool, provider: provider.name, url: node.url ?? '-' },
            { id: `provisioned:${runId}` },
          );
        else if (node.state === 'failed')
          await publish('PROVISION_FAILED', { nodeId, pool, reason }, { id: `provision-failed:${runId}` });
        else
          await publish(
            'NODE_TERMINATED',
            { nodeId, runId, pool, reason, unsyncedGames: await unsyncedOf(node) },
            { id: `terminated:${runId}` },
          );
        await nodes.told({ nodeId, runId, news });
        if (news === 'up') failuresInRow = 0;
      }
    };

    // ------------------------------------------------------------------------------------------------------ one node

    const settings = (): NodeSettings => ({
      ...config.node,
      seed: random.integer(2 ** 31),
      startMs: config.startSeconds * 1000,
    });

    const giveUp = async (node: NodeRow, reason: string): Promise<void> => {
      await nodes.end({ nodeId: node.nodeId, runId: node.runId, state: 'failed', reason });
      lastFailure = `${node.nodeId}: ${reason}`;
      const pauseSeconds = Math.min(PAUSE_SECONDS_MAX, config.retrySeconds * 2 ** failuresInRow++);
      pausedUntil = clock.monotonicMs() + pauseSeconds * 1000;
      log.warn(`${lastFailure}; next start in ${pauseSeconds} s at the earliest`);
    };

    /** Takes a reserved run to where it has shown itself; one that is up already is found and kept. */
    const bring = async (node: NodeRow): Promise<void> => {
      if (underway.has(node.runId)) return;
      underway.add(node.runId);
      try {
        const announced = await provider.start(node, settings());
        const { known } = await nodes.seen(announced);
        if (known) log.info(`node ${node.nodeId} (run ${node.runId}) listens on ${announced.url}`);
      } catch (thrown) {
        if (signal.aborted) throw thrown; // the next start goes on with this run
        await giveUp(node, messageOf(thrown));
      } finally {
        underway.delete(node.runId);
      }
    };

    const lose = async (node: NodeRow, reason: string): Promise<void> => {
      log.warn(`node ${node.nodeId} is lost: ${reason}`);
      silentSince.delete(node.runId);
      await nodes.end({ nodeId: node.nodeId, runId: node.runId, state: 'lost', reason });
    };

    /** Seconds for which a node has answered nobody; 0 while it does. */
    const silence = async (node: NodeRow): Promise<number> => {
      const answers = await nodes.ping(node.nodeId).then(
        () => true,
        () => false,
      );
      if (answers) silentSince.delete(node.runId);
      else if (!silentSince.has(node.runId)) silentSince.set(node.runId, clock.monotonicMs());
      const since = silentSince.get(node.runId);
      return since === undefined ? 0 : clock.since(since);
    };

    /** Work waits that a node could have, and the place to claim it is known. */
    const workWaits = async (): Promise<boolean> => {
      if ((await endpoints.read()).scheduler === null) return false;
      return (await queue.depth()).some(
        ({ kind, state, items }) => kind === 'selfplay' && state === 'pending' && items > 0,
      );
    };

    const lookAt = async (node: NodeRow): Promise<void> => {
      if (underway.has(node.runId)) return;
      if (node.state === 'starting') return bring(node); // begun by an earlier start
      if ((await provider.alive(node)) === false) return lose(node, 'its process is gone');
      const silentSeconds = await silence(node);
      if (silentSeconds > config.lostSeconds) {
        await provider.stop(node, config.graceSeconds * 1000);
        return lose(node, `it answered nobody for ${silentSeconds.toFixed(0)} s`);
      }
      if (node.hasClaimed || node.state !== 'live' || node.runSeconds < config.claimSeconds) return;
      if (!(await workWaits())) return;
      await provider.stop(node, config.graceSeconds * 1000);
      await giveUp(node, `it claimed nothing in ${node.runSeconds.toFixed(0)} s although work waits`);
    };

    /** Ends what an ended run has left; a retired node gets the time to leave by itself. */
    const seeOff = async (node: NodeRow): Promise<void> => {
      if (seenOff.has(node.runId)) return;
      if ((await provider.alive(node)) !== false) {
        const since = retiredAt.get(node.runId) ?? clock.monotonicMs();
        retiredAt.set(node.runId, since);
        if (node.state === 'retired' && clock.since(since) < config.graceSeconds) return;
        log.info(`node ${node.nodeId} (run ${node.runId}) is ${node.state} and still runs: it is ended`);
        await provider.stop(node, config.graceSeconds * 1000);
      }
      retiredAt.delete(node.runId);
      seenOff.add(node.runId);
    };

    // ------------------------------------------------------------------------------------------------------ all nodes

    const watching = new Rounds(
      {
        clock,
        log,
        owns: () => false,
        gapSeconds: 0,
        staleSeconds: 30 + config.startSeconds + 4 * config.watchSeconds,
      },
      async () => {
        const over = await mine(OVER);
        for (const runId of seenOff) if (!over.some((node) => node.runId === runId)) seenOff.delete(runId);
        const present = await mine(PRESENT);
        for (const runId of silentSince.keys())
          if (!present.some((node) => node.runId === runId)) silentSince.delete(runId);
        await Promise.all([...over.map(seeOff), ...present.map(lookAt)]);
        await tell();
        live = (await mine(['live'])).length;
      },
    );

    /** The period whose budget is spent, with its figures. */
    const spentBudget = async (): Promise<{ period: 'hour' | 'day'; spent: number; budget: number } | null> => {
      const { hour, day } = await capacity.spend();
      if (hour >= config.budgetHour) return { period: 'hour', spent: hour, budget: config.budgetHour };
      return day >= config.budgetDay ? { period: 'day', spent: day, budget: config.budgetDay } : null;
    };

    const provisioning = new Rounds(
      {
        clock,
        log,
        owns: () => false,
        gapSeconds: 0,
        staleSeconds: 30 + config.startSeconds + 4 * config.periodSeconds,
      },
      async () => {
        await watching.run(); // who is gone is known as lost, and told, before its folder is used again
        if (watching.hindrance !== null) throw watching.hindrance;
        const advice = await capacity.advice();
        wanted = Math.min(Math.max(advice.version === 0 ? 0 : advice.wanted, config.nodesMin), config.nodesMax);
        const present = (await mine(PRESENT)).length;
        const missing = wanted - present;
        if (missing <= 0 || clock.monotonicMs() < pausedUntil) return;
        const over = await spentBudget();
        if (over !== null) {
          const length = over.period === 'hour' ? HOUR_MS : DAY_MS;
          await publish('BUDGET_EXCEEDED', over, {
            id: `budget-exceeded:${over.period}:${Math.floor(clock.wallMs() / length)}`,
          });
          return;
        }
        const count = Math.min(missing, Math.max(1, config.nodesMin - present));
        const reserved: NodeRow[] = [];
        for (let n = 0; n < count; n++)
          reserved.push(
            await nodes.reserve({ pool: config.pool, provider: provider.name, pricePerHour: config.pricePerHour }),
          );
        await Promise.all(reserved.map(bring));
        await watching.run();
      },
    );
    const provision = (): Promise<void> => provisioning.run();

    return {
      on: { CAPACITY_LOW: provision },
      every: [
        { periodSeconds: config.periodSeconds, run: provision },
        {
          periodSeconds: config.watchSeconds,
          // What kept nodes from being started is over long before the next period is.
          run: () => (provisioning.hindrance === null ? watching.run() : provisioning.run()),
        },
      ],
      health() {
        const details = {
          live,
          wanted,
          processes: spawned().length,
          starting: underway.size,
          failuresInRow,
        };
        const verdict = worse(watching.verdict(details), provisioning.verdict(details));
        return verdict.status === 'healthy' && failuresInRow > 0 && live < wanted
          ? degraded(`${live} of ${wanted} nodes live; ${lastFailure ?? ''}`, verdict.details)
          : verdict;
      },
    };
  },
});

/**
 * Meters what nodes cost and advises how many to run.
 *
 * Invariant: money is counted once and advice changes slowly. A run reports its own uptime, which only grows, so metering
 * it twice books once; and a plan stands for minutes before it may change, longer downwards than upwards, because a node
 * that is stopped and started again costs more than one that waits. Advice is all this is: who starts or stops nodes
 * reads it and decides.
 */
import { z } from 'zod';
import { degraded } from '../../health/verdict.ts';
import type { Advice, Floor, NodeRow } from '../../training/floor.ts';
import type { NodeStatus } from '../../training/programs/protocol.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { fingerprint } from '../fact-id.ts';
import { Rounds } from '../rounds.ts';

/** Share of a budget from which on people are told; upstream's figure. */
const ALERT_SHARE = 0.8;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const nodesCount = z.int().min(0).max(64);
const money = z.number().min(0);

const plannerConfig = z.strictObject({
  periodSeconds: seconds(60),
  nodesMin: nodesCount.default(2),
  nodesMax: nodesCount.default(4),
  budgetHour: money.default(5),
  budgetDay: money.default(50),
  /** A queue that lasts longer than this wants one more node … */
  drainUpSeconds: seconds(1_800),
  /** … and one that is done sooner wants one less. */
  drainDownSeconds: seconds(300),
  /** A plan stands this long before it grows, or shrinks. */
  upSpacingSeconds: seconds(300),
  downSpacingSeconds: seconds(600),
});

interface Situation {
  readonly advice: Pick<Advice, 'version' | 'wanted' | 'ageSeconds'>;
  readonly live: number;
  /** Seconds until the queue is empty; null when no node's pace is known. */
  readonly drainSeconds: number | null;
  readonly isSpent: boolean;
}

/** How many nodes to run, and why. */
export const planned = (
  { advice, live, drainSeconds, isSpent }: Situation,
  config: z.output<typeof plannerConfig>,
): { readonly wanted: number; readonly reason: string } => {
  const { nodesMin, nodesMax } = config;
  if (advice.version === 0) return { wanted: nodesMin, reason: 'the minimum, to begin with' };
  if (isSpent) return { wanted: nodesMin, reason: 'the budget is spent' };
  const { ageSeconds } = advice;
  const kept = Math.min(Math.max(advice.wanted, nodesMin), nodesMax);
  if (drainSeconds === null) return { wanted: kept, reason: 'no pace is known yet' };
  const queue = `the queue lasts ${drainSeconds.toFixed(0)} s`;
  if (drainSeconds > config.drainUpSeconds && live >= kept && kept < nodesMax && ageSeconds >= config.upSpacingSeconds)
    return { wanted: kept + 1, reason: queue };
  if (drainSeconds < config.drainDownSeconds && kept > nodesMin && ageSeconds >= config.downSpacingSeconds)
    return { wanted: kept - 1, reason: queue };
  return { wanted: kept, reason: queue };
};

export const availabilityCapacityPlanner = daemonsWith<Floor>()({
  type: 'AVAILABILITY_CAPACITY_PLANNER',
  purpose: 'Counts what nodes cost and advises how many to run, from the length of the queue and the budget.',
  category: 'resource',
  dependsOn: ['EVENT_ROUTER'],
  publishes: ['CAPACITY_LOW', 'CAPACITY_RESTORED', 'BUDGET_ALERT'],
  subscribes: ['NODE_PROVISIONED', 'NODE_TERMINATED', 'CLUSTER_CAPACITY_CHANGED'],
  healthPeriodSeconds: 60,
  config: plannerConfig,
  quick: {
    periodSeconds: 3,
    drainUpSeconds: 60,
    drainDownSeconds: 10,
    upSpacingSeconds: 15,
    downSpacingSeconds: 30,
  },

  create({ config, clock, log, publish, nodes, capacity, queue }) {
    let figures = { live: 0, wanted: 0, pending: 0, spentHour: 0, spentDay: 0, perHourNow: 0 };
    let isLow: boolean | null = null;

    const statusOf = async (node: NodeRow): Promise<NodeStatus | null> => {
      try {
        const status = await nodes.status(node.nodeId);
        return status.runId === node.runId ? status : null;
      } catch {
        return null; // silent: it is metered when it answers again, for its uptime counts on
      }
    };

    const meter = async (present: readonly NodeRow[]): Promise<NodeStatus[]> => {
      const answers = await Promise.all(
        present.map(async (node) => {
          const status = await statusOf(node);
          if (status === null) return [];
          const { nodeId, runId, pricePerHour } = node;
          await capacity.meter({ nodeId, runId, pricePerHour, uptimeSeconds: status.uptimeSeconds });
          return [status];
        }),
      );
      return answers.flat();
    };

    const alert = async (period: 'hour' | 'day', spent: number, budget: number): Promise<void> => {
      if (budget === 0 || spent < ALERT_SHARE * budget) return;
      const number = Math.floor(clock.wallMs() / (period === 'hour' ? HOUR_MS : DAY_MS));
      await publish('BUDGET_ALERT', { period, spent, budget }, { id: `budget-alert:${period}:${number}` });
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: 0, staleSeconds: 30 + 4 * config.periodSeconds },
      async () => {
        const present = await nodes.list({ states: ['live', 'draining'] });
        const statuses = await meter(present);
        const spend = await capacity.spend();
        await alert('hour', spend.hour, config.budgetHour);
        await alert('day', spend.day, config.budgetDay);

        const live = present.filter(({ state }) => state === 'live').length;
        const pending = (await queue.depth())
          .filter(({ kind, state }) => kind !== 'training' && state === 'pending')
          .reduce((sum, row) => sum + row.games, 0);
        const perMinute = statuses.reduce((sum, { gamesPerMinute }) => sum + gamesPerMinute, 0);
        const drainSeconds = pending === 0 ? 0 : perMinute > 0 ? (pending * 60) / perMinute : null;
        const isSpent = spend.hour >= config.budgetHour || spend.day >= config.budgetDay;
        const { advice, changed } = await capacity.advise(
          planned({ advice: await capacity.advice(), live, drainSeconds, isSpent }, config),
        );
        if (changed) log.info(`${advice.wanted} nodes are wanted: ${advice.reason}`);

        const { version, wanted } = advice;
        const situation = fingerprint([version, ...present.flatMap(({ runId, state }) => [runId, state])]);
        if (live < wanted)
          await publish('CAPACITY_LOW', { live, wanted, pending, drainSeconds }, { id: `capacity-low:${situation}` });
        else if (isLow !== false)
          await publish('CAPACITY_RESTORED', { live, wanted }, { id: `capacity-restored:${situation}` });
        isLow = live < wanted;
        figures = {
          ...{ live, wanted, pending },
          ...{ spentHour: spend.hour, spentDay: spend.day, perHourNow: spend.perHourNow },
        };
      },
    );
    const plan = (): Promise<void> => rounds.run();

    return {
      on: { NODE_PROVISIONED: plan, NODE_TERMINATED: plan, CLUSTER_CAPACITY_CHANGED: plan },
      every: { periodSeconds: config.periodSeconds, run: plan },
      health() {
        const verdict = rounds.verdict(figures);
        if (verdict.status !== 'healthy') return verdict;
        return figures.spentHour >= config.budgetHour || figures.spentDay >= config.budgetDay
          ? degraded('the budget is spent', verdict.details)
          : verdict;
      },
    };
  },
});

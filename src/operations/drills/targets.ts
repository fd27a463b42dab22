/** Which daemon can be the target of which drill, and why not: one table, read by `list`, by the refusals and by the default. */
import { DRILLS, type Drill } from '../../fleet/schema.ts';
import type { DaemonState } from '../../lifecycle/states.ts';
import { unfitTarget, unknownTarget } from './errors.ts';
import type { DrillListing } from './types.ts';

/** The daemon that owns the router thread. */
export const ROUTER_DAEMON = 'EVENT_ROUTER';

export type HangPlace = 'cycle' | 'handler';

/** What a drill asks of a daemon. */
export interface TargetFacts {
  readonly type: string;
  readonly state: DaemonState;
  readonly wanted: 'up' | 'down';
  readonly critical: boolean;
  readonly autoRestart: boolean;
  readonly recoveryTargetSeconds: number | null;
  /** Daemons with a hard edge onto it. */
  readonly dependents: number;
  readonly cyclePeriodsSeconds: readonly number[];
  readonly topics: readonly string[];
  /** How its real resource is broken, in words; null: it declares none. */
  readonly breakage: string | null;
}

interface Rule {
  readonly does: string;
  readonly needs: string;
  /** Why this RUNNING daemon cannot be the target; null when it can. */
  readonly unfit: (facts: TargetFacts, place: HangPlace | null) => string | null;
}

const anyDaemon = (): null => null;

export const DRILL_RULES: Readonly<Record<Drill, Rule>> = {
  'router-loss': {
    does: 'ends the thread of the event router where it stands; every subscriber must prove its subscriptions again, and no event may be lost',
    needs: `is ${ROUTER_DAEMON}, which owns the thread`,
    unfit: ({ type }) => (type === ROUTER_DAEMON ? null : `only ${ROUTER_DAEMON} owns the router thread`),
  },
  'daemon-crash': {
    does: 'throws outside any handler in the context of the daemon, as a bug in it would',
    needs: 'runs',
    unfit: anyDaemon,
  },
  'daemon-hang': {
    does: 'puts a promise that never settles into its next cycle (or, with --in handler, into its next delivery); health checks must miss it',
    needs: 'has a cycle, or a subscription that events come to',
    unfit: ({ cyclePeriodsSeconds, topics }, place) => {
      if (place === 'handler') return topics.length > 0 ? null : 'it subscribes to nothing, so it has no handler';
      if (place === 'cycle') return cyclePeriodsSeconds.length > 0 ? null : 'it has no cycle';
      return cyclePeriodsSeconds.length + topics.length > 0 ? null : 'it has neither a cycle nor a handler';
    },
  },
  'health-failure': {
    does: 'breaks the real resource that its health check looks at, and mends it once the broken start is gone',
    needs: 'declares how its resource is broken ("breakage" of its definition)',
    unfit: ({ breakage }) => (breakage === null ? 'it declares no way to break what its health looks at' : null),
  },
  'crash-loop': {
    does: 'makes every start fail until the budget is spent and it is FAILED, checks each delay, then resets it. Spends the real budget: alerts are raised',
    needs: 'restarts automatically',
    unfit: ({ autoRestart }) => (autoRestart ? null : 'autoRestart is off for it, so its first failure is its last'),
  },
  'full-recovery': {
    does: 'stops everything in order, proves that nothing is left, drains, starts in order',
    needs: 'concerns the whole fleet and takes no target',
    unfit: () => 'it is about the whole fleet and takes no target',
  },
};

const unfitNow = (drill: Drill, facts: TargetFacts, place: HangPlace | null): string | null =>
  facts.state === 'RUNNING' ? DRILL_RULES[drill].unfit(facts, place) : `it is ${facts.state}`;

const fitFor = (drill: Drill, fleet: readonly TargetFacts[], place: HangPlace | null): TargetFacts[] =>
  fleet.filter((facts) => unfitNow(drill, facts, place) === null);

/**
 * Who is taken when nobody was named: the least harm that still measures something. One with a recovery target before one
 * without (not the router, which has a drill of its own); for a crash loop one that nobody needs and that is not critical.
 */
const defaultOf = (drill: Drill, fit: readonly TargetFacts[]): string | null => {
  const harm = ({ type, critical, dependents, recoveryTargetSeconds }: TargetFacts): number[] =>
    drill === 'crash-loop'
      ? [critical ? 1 : 0, dependents]
      : [type === ROUTER_DAEMON ? 1 : 0, recoveryTargetSeconds === null ? 1 : 0, dependents];
  const worse = (one: TargetFacts, other: TargetFacts): number => {
    const [a, b] = [harm(one), harm(other)];
    const at = a.findIndex((value, index) => value !== b[index]);
    return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
  };
  return [...fit].sort(worse)[0]?.type ?? null;
};

/**
 * The target of a drill.
 * @param typed  null: the default
 * @returns null for a drill of the whole fleet
 * @throws UNKNOWN_DAEMON, ARGUMENTS_INVALID with who could be it
 */
export const chooseTarget = (
  drill: Drill,
  typed: string | null,
  place: HangPlace | null,
  fleet: readonly TargetFacts[],
): string | null => {
  const whole = drill === 'full-recovery';
  if (typed === null && whole) return null;
  const fit = fitFor(drill, fleet, place);
  const names = fit.map(({ type }) => type);
  if (typed === null) {
    const chosen = defaultOf(drill, fit);
    if (chosen !== null) return chosen;
    throw unfitTarget(drill, 'any daemon', `a target ${DRILL_RULES[drill].needs}`, names);
  }
  const facts = fleet.find(({ type }) => type === typed);
  if (facts === undefined)
    throw unknownTarget(
      typed,
      fleet.map(({ type }) => type),
    );
  const why = unfitNow(drill, facts, place);
  if (why !== null) throw unfitTarget(drill, typed, why, names);
  return typed;
};

export const listDrills = (fleet: readonly TargetFacts[]): DrillListing[] =>
  DRILLS.map((name) => {
    const fit = name === 'full-recovery' ? [] : fitFor(name, fleet, null);
    const { does, needs } = DRILL_RULES[name];
    return { name, does, needs, targets: fit.map(({ type }) => type), byDefault: defaultOf(name, fit) };
  });

/**
 * What people see of a daemon, made from what the core decided, what the runtime knows and what health said last. Built
 * only for daemons that changed.
 */
import { unknown, type Health, type HealthDetails } from '../health/verdict.ts';
import { isoTime } from '../seams/clock.ts';
import type { Core } from './core.ts';
import type { Member } from './member.ts';
import type { DaemonStatus, FleetSnapshot } from './types.ts';

const HOUR_MS = 3_600_000;

/** Health as it was last judged; `at` is wall milliseconds. */
export interface LastHealth {
  readonly health: Health;
  readonly wallMs: number;
}

export interface StatusFacts {
  readonly wallMs: number;
  readonly at: number;
  readonly health: LastHealth | null;
  readonly leakedPromises: number;
  readonly processes: readonly { readonly name: string; readonly pid: number }[];
}

const NOT_RUNNING = unknown('not running');

/** A daemon that is RUNNING while something it re-attaches to is away is degraded, whatever it says of itself. */
const healthOf = (member: Member, last: LastHealth | null): Health => {
  if (member.state === 'FAILED')
    return { status: 'unhealthy', healthy: false, message: member.lastError?.message ?? 'FAILED', details: {} };
  if (member.state !== 'RUNNING') return NOT_RUNNING;
  const health = last?.health ?? unknown();
  const away = member.needs.find((edge) => edge.lost);
  if (away === undefined || health.status === 'unhealthy') return health;
  return {
    status: 'degraded',
    healthy: true,
    message: member.reattaching ? `re-attaching to ${away.on.type}` : `${away.on.type} is away (${away.on.state})`,
    details: health.details,
  };
};

const reasonOf = (core: Core, member: Member): string | null => {
  const { state } = member;
  if (state === 'RUNNING' || state === 'COMPLETED') return member.stopWish?.message ?? null;
  if (state === 'WAITING') {
    const wait = core.waitingFor(member)[0];
    if (wait === undefined) return member.message || null;
    const text = wait.impossible ? `impossible: ${wait.message}` : wait.message;
    return wait.remedy === null ? text : `${text}; ${wait.remedy}`;
  }
  if (state === 'RESTARTING' && member.heldByStorm) return 'held by the storm breaker until failures stop';
  return member.message || null;
};

/** A daemon measures on the monotonic clock, which means nothing outside this process. */
const dated = ({ details }: Health, { at, wallMs }: StatusFacts): HealthDetails => {
  const { lastProgressAt } = details;
  return typeof lastProgressAt === 'number'
    ? { ...details, lastProgressAt: isoTime(Math.round(wallMs - (at - lastProgressAt))) }
    : details;
};

const iso = (wallMs: number | null): string | null => (wallMs === null ? null : isoTime(wallMs));

/** docs/contract.md "Status", one daemon. */
export const statusOf = (core: Core, member: Member, facts: StatusFacts): DaemonStatus => {
  const { spec } = member;
  const health = healthOf(member, facts.health);
  const since = facts.wallMs - HOUR_MS;
  return {
    type: member.type,
    kind: spec.kind,
    category: spec.category,
    critical: spec.critical,
    wanted: member.wanted,
    state: member.state,
    reason: reasonOf(core, member),
    generation: member.generation,
    pid: null,
    health: {
      ...health,
      details: dated(health, facts),
      checkedAt: iso(facts.health?.wallMs ?? null),
      consecutiveFailures: member.streak,
    },
    restartCount: member.restarts,
    // A wall clock set back ends the hour of the restarts before it instead of stretching it.
    restartsLastHour: member.restartTimes.reduce((count, at) => count + (at >= since && at <= facts.wallMs ? 1 : 0), 0),
    restartsTotal: member.restartsTotal,
    lastError: member.lastError?.message ?? null,
    lastErrorAt: iso(member.lastError?.wallMs ?? null),
    lastCause: member.lastError?.why ?? null,
    nextAttemptAt: iso(member.nextAttemptWallMs),
    startedAt: member.state === 'RUNNING' || member.state === 'STARTING' ? iso(member.startedWallMs) : null,
    readyAt: iso(member.readyWallMs),
    stateSince: isoTime(member.sinceWallMs),
    uptimeSeconds: member.readyAt === null ? null : (facts.at - member.readyAt) / 1000,
    dependsOn: spec.edges.filter((edge) => edge.kind === 'hard').map((edge) => edge.on),
    waitingFor: core.waitingFor(member),
    recoveryTargetSeconds: spec.recoveryTargetSeconds,
    lastRecoverySeconds: member.lastRecoveryMs === null ? null : member.lastRecoveryMs / 1000,
    attemptsLeft: Math.max(0, spec.restart.maxRestarts - member.restarts),
    leakedPromises: facts.leakedPromises,
    processes: facts.processes,
    inProfile: spec.inProfile,
    rule: member.rule,
  };
};

/** One word for the whole fleet. */
export const verdictOf = (core: Core, healthOfMember: (member: Member) => Health | null): FleetSnapshot['verdict'] => {
  const { operation } = core;
  if (operation?.verb === 'shutdown') return 'stopping';
  if (operation?.verb === 'recover') return 'recovering';
  let criticalDown = false;
  let unwell = false;
  let failed = false;
  for (const member of core.members) {
    if (member.wanted === 'down') continue;
    const health = healthOfMember(member);
    if (!member.isUp() || health?.status === 'unhealthy') {
      if (member.spec.critical) criticalDown = true;
      if (member.state === 'FAILED') failed = true;
      unwell = true;
    } else if (health?.status === 'degraded' || member.needs.some((edge) => edge.lost)) unwell = true;
  }
  if (!core.booted && !failed) return 'booting';
  if (criticalDown || failed) return 'unhealthy';
  return unwell ? 'degraded' : 'ready';
};

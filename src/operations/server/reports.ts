/**
 * What the server says, as functions of its picture: nothing here waits, reads a clock or remembers.
 *
 * The rule for every answer: a picture older than the stall limit is never passed off as the truth. It is still shown,
 * since it is what an operator has, but under `engine_stalled` and with its age.
 */
import { wallMsOf } from '../../seams/plain-clock.ts';
import type { DaemonStatus } from '../../orchestrator/types.ts';
import type { Mirror } from './mirror.ts';
import type { GraphReport, HealthReport, NotReady, ReadyReport, StallNow, StatusReport } from './protocol.ts';

/** The moment an answer is given. */
export interface Now {
  readonly wallMs: number;
  readonly snapshotAgeMs: number;
  readonly stall: StallNow | null;
}

const seconds = (ms: number): number => Math.round(ms / 100) / 10;

/** Uptimes grow without anybody posting them, so they are worked out when asked. */
export const withUptime = (daemon: DaemonStatus, wallMs: number): DaemonStatus =>
  daemon.state === 'RUNNING' && daemon.readyAt !== null
    ? { ...daemon, uptimeSeconds: seconds(Math.max(0, wallMs - wallMsOf(daemon.readyAt))) }
    : daemon.uptimeSeconds === null
      ? daemon
      : { ...daemon, uptimeSeconds: null };

export const statusReport = (mirror: Mirror, now: Now, port: number): StatusReport => {
  const { fleet } = mirror;
  const daemons: DaemonStatus[] = [];
  for (const daemon of mirror.daemons()) daemons.push(withUptime(daemon, now.wallMs));
  return {
    ...fleet,
    port,
    uptimeSeconds: seconds(Math.max(0, now.wallMs - wallMsOf(fleet.startedAt))),
    verdict: now.stall === null ? fleet.verdict : 'engine_stalled',
    snapshotAgeMs: now.snapshotAgeMs,
    stall: now.stall,
    lagMs: mirror.lagMs,
    subscriptions: {
      total: mirror.subscriptions.length,
      gaps: mirror.subscriptions.filter((subscription) => subscription.state === 'gap'),
    },
    log: mirror.log,
    ...(mirror.floor === null ? {} : { floor: mirror.floor }),
    daemons,
  };
};

/** A critical daemon counts unless this run never meant to have it. One that an operator stopped does count. */
const countsForHealth = (daemon: DaemonStatus): boolean =>
  daemon.critical && (daemon.wanted === 'up' || daemon.inProfile !== false);

/** docs/contract.md /health: every critical daemon is RUNNING and not unhealthy. */
export const healthReport = (mirror: Mirror, now: Now): HealthReport => {
  const critical: Record<string, string> = {};
  let ok = true;
  for (const daemon of mirror.daemons()) {
    if (!countsForHealth(daemon)) continue;
    const sick = daemon.state === 'RUNNING' && daemon.health.status === 'unhealthy';
    critical[daemon.type] = sick ? 'UNHEALTHY' : daemon.state;
    if (daemon.state !== 'RUNNING' || sick) ok = false;
  }
  if (now.stall !== null)
    return { status: 'engine_stalled', critical, snapshotAgeMs: now.snapshotAgeMs, heldBy: now.stall.heldBy };
  return { status: ok ? 'ok' : 'unhealthy', critical, snapshotAgeMs: now.snapshotAgeMs };
};

const isUp = (daemon: DaemonStatus): boolean => daemon.state === 'RUNNING' || daemon.state === 'COMPLETED';

const reasonOf = (daemon: DaemonStatus): string =>
  daemon.waitingFor[0]?.message ?? daemon.reason ?? daemon.lastError ?? '';

/**
 * docs/contract.md /ready: every wanted daemon is RUNNING or COMPLETED, no critical subscription gap is open, and no full stop or
 * recovery is under way. It is false from the moment one was accepted, while every daemon may still be RUNNING.
 */
export const readyReport = (mirror: Mirror, now: Now): ReadyReport => {
  const reasons: NotReady[] = [];
  for (const daemon of mirror.daemons()) {
    if (daemon.wanted === 'up' && !isUp(daemon))
      reasons.push({ daemon: daemon.type, state: daemon.state, reason: reasonOf(daemon) });
  }
  for (const gap of mirror.criticalGaps())
    reasons.push({
      daemon: gap.subscriber,
      state: 'SUBSCRIPTION_GAP',
      reason: `${gap.topic}: ${gap.reason ?? 'not proven'}`,
    });
  const { operation, verdict } = mirror.fleet;
  const held = (operation !== null && operation.phase !== 'done') || verdict === 'stopping';
  return {
    ready: reasons.length === 0 && !held && now.stall === null,
    notReady: [...new Set(reasons.map(({ daemon }) => daemon))],
    reasons,
    verdict: now.stall === null ? verdict : 'engine_stalled',
    snapshotAgeMs: now.snapshotAgeMs,
  };
};

export const graphReport = (mirror: Mirror): GraphReport => ({
  fleet: mirror.fleet.fleet,
  ...mirror.graph,
  nodes: mirror.graph.order.flatMap((type) => {
    const daemon = mirror.daemon(type);
    if (daemon === null) return [];
    return {
      type,
      state: daemon.state,
      health: daemon.health.status,
      critical: daemon.critical,
      wanted: daemon.wanted,
    };
  }),
});

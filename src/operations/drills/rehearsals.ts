/**
 * The three shapes of a drill, each as a story: one daemon broken once, one made to fail until FAILED, the whole fleet
 * stopped and started. Each writes what it saw into the record; whether that is good enough is in the checks, so a story
 * never throws for a bad recovery, only when it cannot be told to its end.
 */
import { messageOf } from '../../errors.ts';
import type { RouterHost } from '../../events/router-api.ts';
import type { SubscriptionState } from '../../events/types.ts';
import type { DaemonSpec } from '../../fleet/types.ts';
import { backoffMs } from '../../lifecycle/restart-policy.ts';
import { isLive } from '../../lifecycle/states.ts';
import type { Supervisor } from '../../orchestrator/supervisor.ts';
import type { Clock } from '../../seams/clock.ts';
import { someOf } from './errors.ts';
import type { Fault } from './faults.ts';
import type { DrillRecord } from './record.ts';
import { ROUTER_DAEMON } from './targets.ts';
import { delaysFault, delaysOf, fullStopOf, recoveryOf, type Recovery } from './timeline.ts';
import type { FleetWatch } from './watch.ts';

/** How long a fleet may take to be steady, before and after. Milliseconds. */
export const STEADY_MS = 60_000;
/** Proving subscriptions again: re-attaching has 5 s, then a restart does it. Milliseconds. */
const SUBSCRIBED_MS = 30_000;
/** A FAILED daemon is watched this long for a start that must not come. Milliseconds. */
const STAYS_FAILED_MS = 1_000;
/** A recovery of everything ends within this, or is not waited for. Milliseconds. */
const RECOVER_MS = 600_000;
const SLACK_MS = 10_000;

export type DrillSupervisor = Pick<
  Supervisor,
  'fleet' | 'core' | 'runtime' | 'statusOf' | 'verdict' | 'isSteady' | 'onTurn' | 'onVerdict' | 'execute'
>;
export type DrillRouter = Pick<
  RouterHost,
  'ledger' | 'onLedgerChange' | 'audit' | 'presence' | 'generation' | 'lose' | 'onExit'
>;

export interface Stage {
  readonly supervisor: DrillSupervisor;
  readonly router: DrillRouter | null;
  readonly clock: Clock;
  readonly watch: FleetWatch;
  readonly record: DrillRecord;
  /** Status code of /health, asked as a load balancer would; null: nobody serves it. */
  readonly health: (() => Promise<number>) | null;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

/** Who keeps the fleet from being steady, in words. */
export const unsteady = (supervisor: DrillSupervisor): string[] => {
  const { core } = supervisor;
  const found = core.members.flatMap((member) => {
    if (member.wanted === 'down') return [];
    if (!member.isUp()) return [`${member.type} is ${member.state}`];
    const health = supervisor.statusOf(member.type)?.health;
    if (health?.status === 'unhealthy') return [`${member.type} is unhealthy (${health.message})`];
    if (member.reattaching || member.needs.some((edge) => edge.lost)) return [`${member.type} re-attaches`];
    return member.stopWish === null ? [] : [`${member.type} is about to stop`];
  });
  if (core.operation !== null) found.unshift(`${core.operation.verb} is under way`);
  if (core.stormOpen) found.unshift('the storm breaker is open');
  return found;
};

/** Waits for a condition, but not when somebody else has taken the fleet into his hands. */
const until = (stage: Stage, condition: () => boolean, ms: number, target: string | null): Promise<boolean> =>
  stage.watch.until(() => {
    const { operation } = stage.supervisor.core;
    if (operation !== null) throw new Error(`${operation.verb} by ${operation.origin} began in the middle`);
    if (target !== null && stage.supervisor.core.get(target)?.wanted === 'down')
      throw new Error(`${target} was stopped by an operator in the middle`);
    return condition();
  }, ms);

const keyOf = ({ subscriber, topic }: SubscriptionState): string => `${subscriber} ${topic}`;

/** A condition that holds when what was subscribed before the fault is proven again; null: nothing was. */
const resubscribed = (stage: Stage, target: string): (() => boolean) | null => {
  const { router, supervisor } = stage;
  if (router === null) return null;
  const whole = target === ROUTER_DAEMON;
  const before = new Set(
    router
      .ledger()
      .filter((one) => one.state === 'attached' && (whole || one.subscriber === target))
      .map(keyOf),
  );
  if (before.size === 0) return null;
  const thread = router.generation;
  return () => {
    if (whole && (router.presence !== 'serving' || router.generation <= thread)) return false;
    const generation = supervisor.core.get(target)?.generation;
    const now = router.ledger().filter((one) => before.has(keyOf(one)));
    return (
      now.length === before.size &&
      now.every((one) => one.state === 'attached' && (whole || one.generation === generation))
    );
  };
};

/** Fails loudly when the fleet is not well at the end. */
const steadyAgain = async (stage: Stage, target: string | null): Promise<void> => {
  const { supervisor, record } = stage;
  const steady = await until(stage, () => supervisor.isSteady(), STEADY_MS, target);
  if (steady) record.step('steady');
  record.check(
    'the fleet is steady again',
    steady,
    steady ? 'every wanted daemon is up, none unhealthy' : someOf(unsteady(supervisor)),
  );
};

const checkCascade = (stage: Stage, target: string, expected: readonly string[]): void => {
  const down = new Set(
    stage.watch.transitions
      .filter(({ daemon, from, why }) => daemon !== target && from === 'RUNNING' && why === 'dependency-lost')
      .map(({ daemon }) => daemon),
  );
  const missing = expected.filter((type) => !down.has(type));
  const extra = [...down].filter((type) => !expected.includes(type));
  stage.record.check(
    'exactly its dependents by the edge table went down with it',
    missing.length + extra.length === 0,
    missing.length + extra.length === 0
      ? expected.length === 0
        ? 'nobody else went down'
        : `${expected.length}: ${someOf(expected)}`
      : `${extra.length > 0 ? `also ${someOf(extra)}` : ''}${missing.length > 0 ? ` not ${someOf(missing)}` : ''}`.trim(),
  );
};

const checkEvents = async ({ router, record }: Stage): Promise<void> => {
  if (router === null || router.presence !== 'serving') return;
  const { lost, rows } = await router.audit();
  record.check('no event is lost', lost === 0, `${rows.length} subscriptions, ${lost} events unaccounted for`);
};

// ---------------------------------------------------------------------------------------------- broken once

/** Tries to mend; a start that is gone may not be able to, then the next one must. */
const mend = async (fault: Fault): Promise<string | null> => {
  try {
    await fault.mend();
    return null;
  } catch (thrown) {
    return messageOf(thrown);
  }
};

/** One daemon, broken once. @returns nothing; the record says how it went */
export const breakOnce = async (stage: Stage, spec: DaemonSpec, fault: Fault): Promise<void> => {
  const { supervisor, watch, record, clock } = stage;
  const target = spec.type;
  const member = supervisor.core.get(target);
  if (member === undefined) return;
  const cascade = [...supervisor.core.closure([member], 'lost').keys()].map(({ type }) => type);
  const proven = resubscribed(stage, target);
  const now = (): Recovery => recoveryOf(watch.transitions, target);

  let happenedAt: number | null = null;
  watch.follow(target);
  watch.begin();
  await fault.inject(() => {
    if (happenedAt !== null) return;
    happenedAt = clock.monotonicMs();
    record.begin(fault.what);
  });
  const happened = await until(stage, () => happenedAt !== null, fault.happensWithinMs, target);
  if (!happened || happenedAt === null) {
    record.check(
      'the fault happened',
      false,
      `${fault.what}: not within ${fault.happensWithinMs / 1000} s, so nothing was rehearsed`,
    );
    return;
  }
  const faultAt: number = happenedAt;

  await until(stage, () => now().detected !== null, fault.foundWithinMs * 2 + SLACK_MS, target);
  const { detected } = now();
  const proof = fault.proof(watch, now());
  if (detected === null) {
    record.check('the fault happened', proof.ok, proof.detail);
    record.check('it was found', false, `not within ${seconds(fault.foundWithinMs * 2 + SLACK_MS)}`);
    return;
  }
  const detectionMs = Math.max(0, detected.at - faultAt);
  record.set({ detectionSeconds: detectionMs / 1000 });
  record.step('detected', `${detected.why ?? detected.on}: ${detected.message}`, detected.at);
  record.check(
    'it was found in time',
    detectionMs <= fault.foundWithinMs,
    `after ${seconds(detectionMs)}, ${seconds(fault.foundWithinMs)} allowed`,
  );

  await until(stage, () => now().gone !== null, spec.stopMs + SLACK_MS, target);
  let unmended = await mend(fault);
  const backMs = backoffMs({ delaysMs: spec.restart.delaysMs, maxRestarts: 1 }, 1) + spec.startMs + SLACK_MS;
  if (unmended !== null) {
    await until(stage, () => now().restarted !== null, backMs, target);
    unmended = await mend(fault);
  }
  await until(stage, () => now().ready !== null, backMs, target);
  const { restarted, ready } = now();
  if (restarted !== null) record.step('restarted', `start ${restarted.generation}`, restarted.at);
  const came = record.check(
    'it came back',
    ready !== null,
    ready === null
      ? `${target} is ${member.state}${unmended === null ? '' : `; mending failed: ${unmended}`}`
      : `start ${ready.generation}, ready after ${seconds(ready.at - detected.at)}`,
  );
  const final = fault.proof(watch, now());
  record.check('the fault happened', final.ok, final.detail);
  if (!came || ready === null) return;
  record.step('ready', '', ready.at);

  let backAt = ready.at;
  if (proven !== null) {
    const again = await until(stage, proven, SUBSCRIBED_MS, target);
    if (again) {
      // Proven before we looked is proven by the time it was ready.
      backAt = Math.max(ready.at, clock.monotonicMs());
      record.step('re-subscribed', 'every subscription proven by a canary', backAt);
    }
    record.check(
      'every subscription is proven again',
      again,
      again ? `${seconds(backAt - ready.at)} after ready` : `not within ${seconds(SUBSCRIBED_MS)}`,
    );
  }
  const recoveryMs = backAt - detected.at;
  record.set({ recoverySeconds: Math.round(recoveryMs) / 1000 });
  if (spec.recoveryTargetSeconds !== null)
    record.check(
      'it recovered within its target',
      recoveryMs <= spec.recoveryTargetSeconds * 1000,
      `${seconds(recoveryMs)} from detection, ${spec.recoveryTargetSeconds} s allowed`,
    );
  await heal(stage, target);
  await steadyAgain(stage, target);
  checkCascade(stage, target, cascade);
  if (target === ROUTER_DAEMON) await checkEvents(stage);
};

/** The core charges failures of these to the drill from here on. */
export const beginCharging = async ({ supervisor, record }: Pick<Stage, 'supervisor' | 'record'>, target: string) => {
  await supervisor.execute({
    verb: 'drill-begin',
    daemons: [target],
    origin: 'drill',
    reason: record.result.id,
    waitMs: 0,
  });
};

const heal = async ({ supervisor, record }: Stage, target: string): Promise<void> => {
  await supervisor.execute({
    verb: 'drill-heal',
    daemons: [target],
    origin: 'drill',
    reason: record.result.id,
    waitMs: 0,
  });
  record.step('healed');
};

// ---------------------------------------------------------------------------------------------- until FAILED

export const crashLoop = async (stage: Stage, spec: DaemonSpec, fault: Fault): Promise<void> => {
  const { supervisor, watch, record, clock } = stage;
  const target = spec.type;
  const member = supervisor.core.get(target);
  if (member === undefined) return;
  const charged = member.restarts;
  const wanted = Array.from({ length: spec.restart.maxRestarts - charged }, (_, index) =>
    backoffMs(spec.restart, charged + index + 1),
  );
  const proven = resubscribed(stage, target);

  let happened = false;
  watch.begin();
  await fault.inject(() => {
    happened = true;
    record.begin(fault.what);
  });
  await until(stage, () => happened, fault.happensWithinMs, target);
  const allMs = wanted.reduce((sum, delay) => sum + delay * 1.1 + 2_000, SLACK_MS);
  const failed = await until(stage, () => member.state === 'FAILED', allMs, target);
  const proof = fault.proof(watch, recoveryOf(watch.transitions, target));
  record.check('the fault happened', happened && proof.ok, proof.detail);
  if (!record.check('it became FAILED', failed, failed ? member.message : `it is ${member.state}`)) return;
  record.step('failed', member.message);

  const delays = delaysOf(watch.transitions, target);
  const fault_ = delaysFault(delays, wanted);
  record.check(
    'each attempt kept its delay',
    fault_ === null,
    fault_ ?? delays.map((delay) => seconds(delay)).join(', '),
  );
  const generation = member.generation;
  await watch.until(() => member.generation !== generation, STAYS_FAILED_MS);
  record.check(
    'it stays FAILED',
    member.state === 'FAILED' && member.generation === generation,
    `${member.state} after ${seconds(STAYS_FAILED_MS)}, start ${member.generation}`,
  );
  record.check('the fleet is called unhealthy', supervisor.verdict() === 'unhealthy', supervisor.verdict());
  await checkHealthPage(stage);

  await fault.mend();
  const resetAt = clock.monotonicMs();
  const outcome = await supervisor.execute({
    verb: 'reset',
    daemons: [target],
    origin: 'drill',
    reason: record.result.id,
    waitMs: 0,
  });
  record.step('reset', outcome.message);
  const back = await until(stage, () => member.isUp(), spec.startMs + SLACK_MS, target);
  record.check('a reset brings it back', back, back ? seconds(clock.monotonicMs() - resetAt) : `it is ${member.state}`);
  if (!back) return;
  record.step('ready');
  if (proven !== null) {
    const again = await until(stage, proven, SUBSCRIBED_MS, target);
    if (again) record.step('re-subscribed', 'every subscription proven by a canary');
    record.check('every subscription is proven again', again, again ? '' : `not within ${seconds(SUBSCRIBED_MS)}`);
  }
  record.set({ recoverySeconds: Math.round(clock.monotonicMs() - resetAt) / 1000 });
  record.check('its restart counter is cleared', member.restarts === 0, `${member.restarts} charged`);
  await steadyAgain(stage, target);
};

/** /health says 503 exactly while a critical daemon is not RUNNING. */
const checkHealthPage = async ({ supervisor, record, health }: Stage): Promise<void> => {
  if (health === null) return;
  const down = supervisor.core.members.filter(
    (member) => member.spec.critical && member.wanted === 'up' && member.state !== 'RUNNING',
  );
  const wanted = down.length > 0 ? 503 : 200;
  const status = await health();
  record.check(
    '/health tells the truth',
    status === wanted,
    `${status}; critical and not RUNNING: ${down.length === 0 ? 'none' : someOf(down.map(({ type }) => type))}`,
  );
};

// ---------------------------------------------------------------------------------------------- everything

export const fullRecovery = async (stage: Stage, drainMs: number | null): Promise<void> => {
  const { supervisor, watch, record, clock } = stage;
  const { core } = supervisor;
  const before = new Map(core.members.map((member) => [member.type, member.state]));
  const wanted = core.members.map(({ type, wanted: word }) => `${type} ${word}`).join();
  const needs = new Map(
    core.members.map((member) => [
      member.type,
      member.needs.filter((edge) => edge.kind === 'hard' && edge.condition === 'ready').map((edge) => edge.on.type),
    ]),
  );
  const alive = [...before].filter(([, state]) => isLive(state)).map(([type]) => type);

  watch.begin();
  const begunAt = clock.monotonicMs();
  record.set({ fault: 'stops the whole fleet and starts it again' });
  record.begin('');
  const leftSeen: string[] = [];
  let looked = 0;
  const endLook = supervisor.onTurn(() => {
    if (core.operation?.phase !== 'draining') return;
    looked++;
    leftSeen.push(...supervisor.runtime.findLeft());
  });
  const outcome = await supervisor
    .execute({
      verb: 'recover',
      daemons: [],
      origin: 'drill',
      reason: `drill ${record.result.id}`,
      waitMs: RECOVER_MS,
      resetFailed: false,
      ...(drainMs === null ? {} : { drainMs }),
    })
    .finally(endLook);
  const took = core.lastOperation?.took ?? {};
  record.check('the recovery ended well', outcome.ok, outcome.message);
  let at = 0;
  for (const [phase, step] of [
    ['stopping', 'stopped'],
    ['proving', 'proven-empty'],
    ['draining', 'drained'],
    ['starting', 'started'],
  ] as const) {
    const ms = took[phase];
    if (ms === undefined) continue;
    at += ms;
    record.step(step, `${phase} took ${seconds(ms)}`, begunAt + at);
  }
  // All the transitions of the last turn are told after the answer: let them arrive.
  await watch.until(() => supervisor.isSteady() || !outcome.ok, STEADY_MS);
  const stop = fullStopOf(watch.transitions, before, needs);
  record.check(
    'every daemon went away',
    stop.neverGone.length === 0,
    stop.neverGone.length === 0 ? `${alive.length} daemons` : `not ${someOf(stop.neverGone)}`,
  );
  record.check(
    'nothing was left between stop and start',
    stop.aliveAtFirstStart.length === 0 && leftSeen.length === 0,
    stop.aliveAtFirstStart.length + leftSeen.length === 0
      ? `no scope and no process (${looked} looks while it drained)`
      : someOf([...stop.aliveAtFirstStart, ...leftSeen]),
  );
  const drainedMs = (stop.firstStartAt ?? 0) - (stop.lastGoneAt ?? 0);
  const drain = drainMs ?? 10_000;
  record.check('it drained after the last exit', drainedMs >= drain - 1, `${seconds(drainedMs)} of ${seconds(drain)}`);
  record.check(
    'every daemon started after what it needs',
    stop.outOfOrder.length === 0,
    stop.outOfOrder.length === 0 ? 'by the hard edges' : someOf(stop.outOfOrder),
  );
  const wantedNow = core.members.map(({ type, wanted: word }) => `${type} ${word}`).join();
  record.check('what is wanted did not change', wanted === wantedNow, wanted === wantedNow ? 'the same' : 'changed');
  record.set({ recoverySeconds: Math.round(at) / 1000 });
  await steadyAgain(stage, null);
  await checkEvents(stage);
};

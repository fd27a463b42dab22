/**
 * Drills on the live fleet: one at a time, on a fleet that is steady, with the fault proven and healed whatever happens.
 *
 * What it protects: a rehearsal leaves nothing behind. The faults live in the runtime of this process, so they die with
 * it; what is on disk (a result that was open, a daemon that a crash loop had made FAILED, a resource that was broken) is
 * dealt with by the next master here, before it begins drills of its own. And a drill proves: a fault that did not happen,
 * or a check that did not hold, is a failed drill, never a quiet pass.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { Fills } from '../../bounds.ts';
import { messageOf } from '../../errors.ts';
import { DRILLS } from '../../fleet/schema.ts';
import type { DaemonSpec, ScheduleEntry } from '../../fleet/types.ts';
import type { Clock } from '../../seams/clock.ts';
import type { FileSystem } from '../../seams/file-system.ts';
import type { ScheduledOutcome } from '../schedule/schedule.ts';
import type { DrillVerb } from '../server/protocol.ts';
import { drillArguments, drillRefused, someOf, unknownDrill, unknownResult, unknownTarget } from './errors.ts';
import { crashLoopFault, faultOf, type Fault } from './faults.ts';
import { openRecord, type DrillRecord } from './record.ts';
import {
  beginCharging,
  breakOnce,
  crashLoop,
  fullRecovery,
  STEADY_MS,
  unsteady,
  type DrillRouter,
  type DrillSupervisor,
  type Stage,
} from './rehearsals.ts';
import { drillStore } from './store.ts';
import { chooseTarget, listDrills, type HangPlace, type TargetFacts } from './targets.ts';
import { recoveryOf } from './timeline.ts';
import type { Drill, DrillHealed, DrillList, DrillReports, DrillResult, DrillVerification } from './types.ts';
import { FAILURES_MAX, TRANSITIONS_MAX, watchFleet, type FleetWatch } from './watch.ts';

/** Results that `report` without an id answers with. */
const REPORTED_MAX = 20;
/** An injection is waited for this long before it is answered as armed. Milliseconds. */
const INJECTED_MS = 20_000;

export interface DrillsOptions {
  readonly supervisor: DrillSupervisor;
  /** Null: this fleet has no events. */
  readonly router: DrillRouter | null;
  readonly clock: Clock;
  readonly files: FileSystem;
  readonly dataDir: string;
  /** Status code of GET /health of this master; null: nobody serves it. */
  readonly health: (() => Promise<number>) | null;
  readonly log: { info(message: string): void; warn(message: string): void; error(message: string): void };
}

export interface DrillRequest {
  readonly drill: Drill;
  /** Null: the drill's default. */
  readonly target?: string | null;
  /** daemon-hang only; null: a cycle when it has one. */
  readonly in?: HangPlace | null;
  /** full-recovery only; null: the product's default. */
  readonly drainMs?: number | null;
  readonly origin?: DrillResult['origin'];
}

export interface Drills {
  /**
   * What the control server forwards.
   * @throws (rejects) ARGUMENTS_INVALID, UNKNOWN_DAEMON, REFUSED while something else goes on
   */
  handle(verb: DrillVerb, args: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<unknown>;
  run(request: DrillRequest, signal?: AbortSignal): Promise<DrillResult>;
  /** What `schedule` of the fleet file asks for. */
  onSchedule(entry: Pick<ScheduleEntry, 'drill' | 'target'>): Promise<ScheduledOutcome>;
  /** The drill or the injection under way, in words; null: none. */
  busy(): string | null;
  gauges(): Readonly<Record<string, number>>;
  /** What is kept of drills. */
  collections(): Fills;
  /** Ends what is under way, healed; it is kept as interrupted. */
  close(): Promise<void>;
}

const nameOf = (drill: Drill, target: string | null): string =>
  `drill ${drill}${target === null ? '' : ` on ${target}`}`;

const word = z.string().min(1).max(200);
const ARGUMENTS = z.object({
  drill: word.optional(),
  target: word.optional(),
  in: z.enum(['cycle', 'handler']).optional(),
  drainSeconds: z.number().min(0).max(3_600).optional(),
  id: word.optional(),
});

/** What is broken and not healed yet, by `inject`. */
interface Injection {
  readonly record: DrillRecord;
  readonly target: string;
  readonly fault: Fault;
  readonly watch: FleetWatch;
}

export const startDrills = (options: DrillsOptions): Drills => {
  const { supervisor, router, clock, log, health } = options;
  const { fleet, core, runtime } = supervisor;
  const store = drillStore(options.files, join(options.dataDir, 'drills'), log);
  const parts = { runtime, router, clock };
  const closing = new AbortController();
  const counts = { passed: 0, failed: 0 };
  let current: { name: string; readonly done: Promise<unknown> } | null = null;
  let injection: Injection | null = null;
  let watching: FleetWatch | null = null;

  // ------------------------------------------------------------------------------------------ who may be what

  const facts = (): TargetFacts[] =>
    core.members.map((member) => ({
      type: member.type,
      state: member.state,
      wanted: member.wanted,
      critical: member.spec.critical,
      autoRestart: member.spec.autoRestart,
      recoveryTargetSeconds: member.spec.recoveryTargetSeconds,
      dependents: member.neededBy.filter(({ kind }) => kind === 'hard').length,
      cyclePeriodsSeconds: runtime.cyclePeriodsOf(member.type),
      topics: router === null ? [] : member.spec.definition.subscribes,
      breakage: runtime.breakageOf(member.type)?.what ?? null,
    }));

  const specOf = (type: string): DaemonSpec => {
    const spec = core.get(type)?.spec;
    if (spec === undefined)
      throw unknownTarget(
        type,
        fleet.daemons.map((daemon) => daemon.type),
      );
    return spec;
  };

  const drillNamed = (typed: string | undefined): Drill => {
    if (typed === undefined)
      throw drillArguments('cannot rehearse nothing: a drill must be named', `it is one of ${DRILLS.join(', ')}`);
    const drill = DRILLS.find((name) => name === typed);
    if (drill === undefined) throw unknownDrill(typed, DRILLS);
    return drill;
  };

  const going = (): string | null => {
    if (current !== null) return `${current.name} is under way`;
    if (injection !== null) {
      const { drill, startedAt } = injection.record.result;
      return `${drill} was injected into ${injection.target} at ${startedAt} and is not healed`;
    }
    const { operation } = core;
    return operation === null
      ? null
      : `${operation.verb} by ${operation.origin} is under way, phase ${operation.phase} (${operation.reason})`;
  };

  const refuseWhile = (what: string): void => {
    const holder = going();
    if (holder !== null) throw drillRefused(what, holder);
    if (closing.signal.aborted) throw drillRefused(what, 'the loop is stopping');
  };

  /** What is wrong for good is said now; what is on its way up is waited for first. */
  const checkNames = ({ drill, target = null, in: place = null }: DrillRequest): void => {
    if (target === null) return;
    specOf(target);
    const state = core.get(target)?.state;
    const onItsWay = state === 'WAITING' || state === 'STARTING' || state === 'RESTARTING' || state === 'STOPPING';
    if (drill === 'full-recovery' || !onItsWay) chooseTarget(drill, target, place, facts());
  };

  // ------------------------------------------------------------------------------------------ one drill

  const recordOf = (request: DrillRequest, target: string | null, status: 'running' | 'injected'): DrillRecord =>
    openRecord(store, clock, {
      drill: request.drill,
      target,
      fleet: fleet.name,
      tempo: fleet.tempo,
      origin: request.origin ?? 'operator',
      status,
    });

  const heal = async (target: string, fault: Fault | null, record: DrillRecord): Promise<string | null> => {
    runtime.clearFaults(target);
    let failure: string | null = null;
    try {
      await fault?.mend();
    } catch (thrown) {
      failure = messageOf(thrown);
    }
    await supervisor.execute({
      verb: 'drill-heal',
      daemons: [target],
      origin: 'drill',
      reason: record.result.id,
      waitMs: 0,
    });
    return failure;
  };

  /** A crash loop that ended early has spent budget that was not its to spend. */
  const giveBack = async (target: string, reason: string): Promise<void> => {
    const member = core.get(target);
    if (member === undefined || (member.restarts === 0 && member.state !== 'FAILED')) return;
    await supervisor.execute({ verb: 'reset', daemons: [target], origin: 'drill', reason, waitMs: 0 });
  };

  /** Subscriptions that are still to be proven: what is lost before it was there proves nothing when it is back. */
  const unproven = (): readonly string[] =>
    (router?.ledger() ?? [])
      .filter(({ state, subscriber }) => state !== 'attached' && core.get(subscriber)?.state === 'RUNNING')
      .map(({ subscriber, topic }) => `${topic} of ${subscriber} is not proven`);

  const isSettled = (target: string | null): boolean =>
    supervisor.isSteady() &&
    unproven().length === 0 &&
    // A start that no check has found well yet is in its grace: failed checks would not count.
    (target === null || supervisor.statusOf(target)?.health.healthy === true);

  const perform = async (request: DrillRequest, signal: AbortSignal): Promise<DrillResult> => {
    const { drill, target: typed = null, in: place = null } = request;
    const watch = watchFleet(supervisor, router, clock, signal);
    watching = watch;
    let record: DrillRecord | null = null;
    let target: string | null = null;
    let fault: Fault | null = null;
    try {
      const steady = await watch.until(() => isSettled(typed), STEADY_MS);
      if (!steady) {
        record = recordOf(request, typed, 'running');
        const who = [...unsteady(supervisor), ...unproven()];
        record.check(
          'the fleet was steady before',
          false,
          `not within ${STEADY_MS / 1000} s: ${who.length === 0 ? `${typed ?? 'it'} has passed no health check` : someOf(who)}`,
        );
        return record.end('failed');
      }
      target = chooseTarget(drill, typed, place, facts());
      if (current !== null) current.name = nameOf(drill, target);
      if (target !== null && target !== typed) await watch.until(() => isSettled(target), STEADY_MS);
      record = recordOf(request, target, 'running');
      record.save();
      const stage: Stage = { supervisor, router, clock, watch, record, health };
      log.warn(`drill ${record.result.id} begins${target === null ? '' : ` on ${target}`}`);
      if (target === null) await fullRecovery(stage, request.drainMs ?? null);
      else {
        const spec = specOf(target);
        if (drill === 'crash-loop') {
          fault = crashLoopFault(target, parts);
          record.set({ fault: fault.what });
          await crashLoop(stage, spec, fault);
        } else if (drill !== 'full-recovery') {
          fault = faultOf(drill, spec, place, parts);
          record.set({ fault: fault.what, recoveryTargetSeconds: spec.recoveryTargetSeconds });
          await beginCharging(stage, target);
          await breakOnce(stage, spec, fault);
        }
      }
      if (target !== null && !record.passedSoFar) await undo(record, target, fault, drill);
      return record.end(record.passedSoFar ? 'passed' : 'failed');
    } catch (thrown) {
      if (record === null) throw thrown; // refused before anything was done
      if (target !== null) await undo(record, target, fault, drill);
      const status = closing.signal.aborted ? 'interrupted' : signal.aborted ? 'cancelled' : 'failed';
      return record.end(status, messageOf(thrown));
    } finally {
      watch.close();
      watching = null;
    }
  };

  const undo = async (record: DrillRecord, target: string, fault: Fault | null, drill: Drill): Promise<void> => {
    const failure = await heal(target, fault, record);
    if (failure !== null) record.check('what was broken is mended', false, failure);
    if (drill === 'crash-loop') await giveBack(target, record.result.id);
  };

  const run = async (request: DrillRequest, signal?: AbortSignal): Promise<DrillResult> => {
    const name = nameOf(request.drill, request.target ?? null);
    checkNames(request);
    refuseWhile(`begin ${name}`);
    const both = signal === undefined ? closing.signal : AbortSignal.any([closing.signal, signal]);
    const done = perform(request, both).finally(() => (current = null));
    current = { name, done };
    const result = await done;
    counts[result.passed === true ? 'passed' : 'failed']++;
    const text = `drill ${result.id} ${result.status}${result.reason === null ? '' : `: ${result.reason}`}`;
    if (result.passed === true) log.info(text);
    else log.error(text);
    return result;
  };

  // ------------------------------------------------------------------------------------------ by hand

  const inject = async (request: DrillRequest, signal: AbortSignal): Promise<DrillResult> => {
    const { drill, target: typed = null, in: place = null } = request;
    checkNames(request);
    refuseWhile(`inject ${drill}`);
    if (drill === 'full-recovery')
      throw drillArguments(
        'cannot inject full-recovery: it is an operation, not a fault',
        '"master_loop drill run full-recovery" rehearses it, "master_loop recover" does it',
      );
    const target = chooseTarget(drill, typed, place, facts());
    if (target === null) throw unknownTarget('', []);
    const spec = specOf(target);
    const record = recordOf(request, target, 'injected');
    const fault = drill === 'crash-loop' ? crashLoopFault(target, parts) : faultOf(drill, spec, place, parts);
    record.set({ fault: fault.what, recoveryTargetSeconds: spec.recoveryTargetSeconds });
    record.save();
    const watch = watchFleet(supervisor, router, clock, closing.signal);
    watching = watch;
    watch.follow(target);
    injection = { record, target, fault, watch };
    const work = async (): Promise<DrillResult> => {
      log.warn(`${record.result.id} is injected into ${target} and stays until it is healed`);
      if (drill !== 'crash-loop') await beginCharging({ supervisor, record }, target);
      let happened = false;
      await fault.inject(() => {
        if (!happened) record.begin(fault.what);
        happened = true;
      });
      const waited = watchFleet(supervisor, router, clock, AbortSignal.any([closing.signal, signal]));
      try {
        // What waits for a call stays armed: `verify` tells whether it came.
        await waited.until(() => happened, Math.min(fault.happensWithinMs, INJECTED_MS));
      } finally {
        waited.close();
      }
      record.save();
      return record.result;
    };
    const done = work();
    current = { name: `the injection of ${drill} into ${target}`, done };
    try {
      return await done;
    } finally {
      current = null;
    }
  };

  const healAll = async (target: string | null): Promise<DrillHealed> => {
    if (current !== null) throw drillRefused('heal', `${current.name} is under way and heals by itself`);
    if (target !== null) specOf(target);
    const healed: string[] = [];
    const open = injection;
    let failure: string | null = null;
    if (open !== null && (target === null || target === open.target)) {
      injection = null;
      failure = await heal(open.target, open.fault, open.record);
      if (open.record.result.drill === 'crash-loop') await giveBack(open.target, open.record.result.id);
      open.watch.close();
      watching = null;
      open.record.step('healed');
      if (failure !== null) open.record.check('what was broken is mended', false, failure);
      open.record.end(failure === null ? 'healed' : 'failed', failure);
      healed.push(open.target);
    }
    const message =
      failure !== null
        ? `cannot mend what was broken in ${open?.target ?? ''}: ${failure}`
        : healed.length === 0
          ? 'nothing was injected'
          : `healed ${healed.join(', ')}`;
    return { ok: failure === null, healed, message };
  };

  const verify = (target: string | null): DrillVerification => {
    if (target !== null) specOf(target);
    const steady = supervisor.isSteady();
    const who = unsteady(supervisor);
    const gaps = (router?.ledger() ?? []).filter(
      ({ state, subscriber }) => state === 'gap' && (target === null || subscriber === target),
    );
    const checks = [
      { what: 'the fleet is steady', ok: steady, detail: steady ? 'every wanted daemon is up' : someOf(who) },
      {
        what: 'no subscription has a gap',
        ok: gaps.length === 0,
        detail: someOf(gaps.map(({ subscriber, topic, reason }) => `${subscriber} ${topic}: ${reason ?? ''}`)),
      },
    ];
    if (injection !== null && (target === null || target === injection.target)) {
      const { fault, watch } = injection;
      const { ok, detail } = fault.proof(watch, recoveryOf(watch.transitions, injection.target));
      checks.unshift({ what: 'the fault really happened', ok, detail });
    }
    return { ok: checks.every(({ ok }) => ok), steady, checks };
  };

  const report = (id: string | null): DrillReports | DrillResult => {
    const ids = store.ids();
    if (id === null) return { results: ids.slice(0, REPORTED_MAX).flatMap((one) => store.read(one) ?? []) };
    const result = store.read(id === 'last' ? (ids[0] ?? id) : id);
    if (result === null) throw unknownResult(id, ids);
    return result;
  };

  // ------------------------------------------------------------------------------------------ what a crash left

  /** A broken resource is mended by the next start of its daemon, which declares how. */
  const mendWithNextStart = (target: string): void => {
    const end = supervisor.onTurn(({ transitions }) => {
      if (!transitions.some(({ daemon, to }) => daemon === target && (to === 'STARTING' || to === 'RUNNING'))) return;
      const breakage = runtime.breakageOf(target);
      if (breakage === null) return;
      end();
      Promise.resolve()
        .then(() => breakage.heal())
        .then(
          () => log.info(`mended what an interrupted drill had broken in ${target}`),
          (thrown: unknown) => log.error(`cannot mend what a drill had broken in ${target}: ${messageOf(thrown)}`),
        );
    });
  };

  for (const id of store.ids()) {
    const result = store.read(id);
    if (result === null || (result.status !== 'running' && result.status !== 'injected')) continue;
    const { target, drill } = result;
    log.warn(`drill ${id} was interrupted by the end of its master`);
    store.write({ ...result, status: 'interrupted', passed: false, reason: 'the master ended in the middle of it' });
    if (target === null || core.get(target) === undefined) continue;
    if (drill === 'crash-loop') void giveBack(target, `${id} was interrupted`);
    if (drill === 'health-failure') mendWithNextStart(target);
  }

  return {
    run,
    async onSchedule({ drill, target }) {
      const result = await run({ drill: drillNamed(drill ?? undefined), target, origin: 'schedule' });
      const { passed, id, status, reason } = result;
      return { ok: passed === true, message: `${id} ${status}${reason === null ? '' : `: ${reason}`}` };
    },
    async handle(verb, args, signal) {
      const parsed = ARGUMENTS.safeParse(args);
      if (!parsed.success) {
        const issue = parsed.error.issues[0];
        throw drillArguments(
          `cannot ${verb} a drill: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`,
          '"master_loop drill --help" shows what may be typed',
        );
      }
      const { drill, target = null, in: place = null, drainSeconds, id = null } = parsed.data;
      const request = (): DrillRequest => {
        const named = drillNamed(drill);
        if (place !== null && named !== 'daemon-hang')
          throw drillArguments(`cannot choose a place for ${named}`, '"in" belongs to daemon-hang');
        return { drill: named, target, in: place, drainMs: drainSeconds === undefined ? null : drainSeconds * 1000 };
      };
      switch (verb) {
        case 'run':
          return run(request(), signal);
        case 'list':
          return { drills: listDrills(facts()), busy: going() } satisfies DrillList;
        case 'report':
          return report(id);
        case 'inject':
          return inject(request(), signal);
        case 'heal':
          return healAll(target);
        case 'verify':
          return verify(target);
      }
    },
    busy: () => {
      if (current !== null) return `${current.name} is under way`;
      return injection === null ? null : going();
    },
    gauges: () => ({
      drillsPassed: counts.passed,
      drillsFailed: counts.failed,
      drillUnderWay: current === null ? 0 : 1,
    }),
    collections: () => ({
      drill_results: store.kept(),
      drill_transitions: {
        size: watching?.transitions.length ?? 0,
        limit: TRANSITIONS_MAX,
        dropped: watching?.lost ?? 0,
      },
      drill_failed_checks: { size: watching?.failures.length ?? 0, limit: FAILURES_MAX },
    }),
    async close() {
      closing.abort(new Error('the loop is stopping'));
      await current?.done.catch(() => undefined);
      const open = injection;
      injection = null;
      if (open === null) return;
      runtime.clearFaults(open.target);
      await open.fault.mend().catch(() => undefined);
      open.watch.close();
      open.record.end('interrupted', 'the loop was stopped before it was healed');
    },
  };
};

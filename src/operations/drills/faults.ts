/**
 * The faults of the drills: how each is really brought about, and the evidence afterwards that it was. None is a flag that
 * the detector reads: a thread is ended, an exception is thrown, a promise never settles, a resource is broken.
 */
import type { RouterHost } from '../../events/router-api.ts';
import type { DaemonSpec } from '../../fleet/types.ts';
import { TICK_MS } from '../../health/monitor.ts';
import type { InProcessRuntime } from '../../runtimes/in-process.ts';
import type { Clock } from '../../seams/clock.ts';
import type { HangPlace } from './targets.ts';
import type { Recovery } from './timeline.ts';
import type { Drill } from './types.ts';
import type { FleetWatch } from './watch.ts';

/** An exit is seen at once; this is what a busy loop may add. Milliseconds. */
const EXIT_SEEN_MS = 1_000;
/** A delivery may be this long in coming. Milliseconds. */
const DELIVERY_MS = 60_000;
/** Breaking and mending a resource may take this long. Milliseconds. */
const RESOURCE_MS = 10_000;

export interface Proof {
  readonly ok: boolean;
  readonly detail: string;
}

export interface Fault {
  /** In words, for the report. */
  readonly what: string;
  /** It happens within this time or not at all. Milliseconds. */
  readonly happensWithinMs: number;
  /** It must be found within this time after it happened. Milliseconds. */
  readonly foundWithinMs: number;
  /** @param happened  called when the fault is really there */
  inject(happened: () => void): Promise<void> | void;
  /** Takes it back; called when the broken start is gone, and again at the end. @throws (rejects) when it could not */
  mend(): Promise<void>;
  proof(watch: FleetWatch, recovery: Recovery): Proof;
}

export interface FaultParts {
  readonly runtime: Pick<InProcessRuntime, 'inject' | 'clearFaults' | 'breakageOf' | 'cyclePeriodsOf'>;
  readonly router: Pick<RouterHost, 'lose' | 'generation' | 'onExit'> | null;
  readonly clock: Clock;
}

/** Settles with the work, or rejects when it takes too long. */
const within = <Value>(clock: Clock, ms: number, what: string, work: Promise<Value> | Value): Promise<Value> =>
  new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => reject(new Error(`${what} took longer than ${ms / 1000} s`)), {
      background: true,
    });
    Promise.resolve(work)
      .then(resolve, reject)
      .finally(() => timer.cancel());
  });

/** Checks fall due once a period; a hang is seen after its deadline, then must be seen `failures` times. */
const foundByChecks = ({ health: { periodMs, timeoutMs, failures } }: DaemonSpec): number =>
  timeoutMs + failures * (periodMs + TICK_MS) + EXIT_SEEN_MS;

const routerLoss = (router: NonNullable<FaultParts['router']>): Fault => {
  let exit: string | null = null;
  let before = 0;
  return {
    what: 'ends the thread of the event router where it stands',
    happensWithinMs: 5_000,
    foundWithinMs: EXIT_SEEN_MS,
    async inject(happened) {
      before = router.generation;
      const end = router.onExit(({ generation, reason }) => {
        exit = `thread ${generation} ended: ${reason}`;
        end();
        happened();
      });
      await router.lose();
    },
    mend: () => Promise.resolve(),
    proof: () => ({
      ok: exit !== null && router.generation > before,
      detail: exit === null ? `thread ${before} did not end` : `${exit}; thread ${router.generation} serves now`,
    }),
  };
};

const crash = (daemon: string, { runtime }: FaultParts): Fault => ({
  what: `throws outside any handler of ${daemon}`,
  happensWithinMs: 5_000,
  foundWithinMs: EXIT_SEEN_MS,
  inject: (happened) => void runtime.inject(daemon, 'throw', 1, happened),
  mend: () => Promise.resolve(),
  proof: (_watch, { detected }) => ({
    ok: detected?.on === 'exited' && detected.message.startsWith('drill:'),
    detail: detected === null ? 'no start of it ended' : `start ${detected.generation} ended: ${detected.message}`,
  }),
});

const hang = (spec: DaemonSpec, place: HangPlace, { runtime }: FaultParts): Fault => ({
  what: `a promise that never settles in the next ${place === 'cycle' ? 'cycle' : 'delivery to a handler'} of ${spec.type}`,
  happensWithinMs: place === 'cycle' ? Math.max(0, ...runtime.cyclePeriodsOf(spec.type)) * 1_000 + 5_000 : DELIVERY_MS,
  foundWithinMs: foundByChecks(spec),
  inject: (happened) => void runtime.inject(spec.type, place === 'cycle' ? 'hang-cycle' : 'hang-handler', 1, happened),
  mend: () => Promise.resolve(runtime.clearFaults(spec.type)),
  proof({ failures }) {
    const missed = failures.filter(({ word, message }) => word === 'missed' && message.startsWith(place));
    return {
      ok: missed.length > 0,
      detail:
        missed.length > 0
          ? `${missed.length} checks missed: ${missed.at(-1)?.message ?? ''}`
          : `no check of it was missed${failures.length === 0 ? '' : `, but ${failures.length} failed: ${failures.at(-1)?.message ?? ''}`}`,
    };
  },
});

const healthFailure = (spec: DaemonSpec, { runtime, clock }: FaultParts): Fault => {
  const what = runtime.breakageOf(spec.type)?.what ?? 'nothing';
  return {
    what: `breaks the resource of ${spec.type}: ${what}`,
    happensWithinMs: RESOURCE_MS + 1_000,
    foundWithinMs: foundByChecks(spec) + Math.max(0, ...runtime.cyclePeriodsOf(spec.type)) * 1_000,
    async inject(happened) {
      const breakage = runtime.breakageOf(spec.type);
      if (breakage === null) return;
      await within(clock, RESOURCE_MS, 'breaking the resource', breakage.break());
      happened();
    },
    async mend() {
      // Asked for anew: what an ended start declared may act through a context that is closed.
      const breakage = runtime.breakageOf(spec.type);
      if (breakage !== null) await within(clock, RESOURCE_MS, 'mending the resource', breakage.heal());
    },
    proof: ({ failures }, { detected }) => ({
      ok: failures.length > 0 || detected?.on === 'exited',
      detail:
        failures.length > 0
          ? `${failures.length} checks failed: ${failures.at(-1)?.message ?? ''}`
          : detected?.on === 'exited'
            ? `its start ended by it: ${detected.message}`
            : 'no check of it failed',
    }),
  };
};

/** The fault of a drill that breaks one daemon once. */
export const faultOf = (
  drill: Exclude<Drill, 'crash-loop' | 'full-recovery'>,
  spec: DaemonSpec,
  place: HangPlace | null,
  parts: FaultParts,
): Fault => {
  switch (drill) {
    case 'router-loss':
      if (parts.router === null) throw new Error('this fleet has no event router');
      return routerLoss(parts.router);
    case 'daemon-crash':
      return crash(spec.type, parts);
    case 'daemon-hang':
      return hang(spec, place ?? (parts.runtime.cyclePeriodsOf(spec.type).length > 0 ? 'cycle' : 'handler'), parts);
    case 'health-failure':
      return healthFailure(spec, parts);
  }
};

/** Every start fails from now on, and the present one crashes. */
export const crashLoopFault = (daemon: string, { runtime }: FaultParts): Fault => ({
  what: `makes every start of ${daemon} fail, and throws in the present one`,
  happensWithinMs: 5_000,
  foundWithinMs: EXIT_SEEN_MS,
  inject(happened) {
    runtime.inject(daemon, 'fail-start', Number.MAX_SAFE_INTEGER);
    runtime.inject(daemon, 'throw', 1, happened);
  },
  mend: () => Promise.resolve(runtime.clearFaults(daemon)),
  proof({ transitions }) {
    const made = transitions.filter(
      ({ daemon: whose, from, message }) => whose === daemon && from === 'STARTING' && message.startsWith('drill:'),
    );
    return { ok: made.length > 0, detail: `${made.length} starts were made to fail` };
  },
});

/**
 * What a drill sees of the fleet, from its beginning on: every transition, every failed check of its target, every change
 * of the ledger; and waiting for a condition over them, which always ends.
 */
import type { RouterHost } from '../../events/router-api.ts';
import type { Verdict } from '../../health/monitor.ts';
import type { Supervisor } from '../../orchestrator/supervisor.ts';
import type { Clock } from '../../seams/clock.ts';
import type { Transition } from './timeline.ts';

/** Conditions over what tells nobody when it changes are looked at this often. Milliseconds. */
const LOOK_MS = 100;
/** Kept at most; a drill of one daemon sees a few, a full recovery four per daemon. */
export const TRANSITIONS_MAX = 50_000;
/** Failed checks kept at most: what was injected may stay for days. The first of them say when it was found. */
export const FAILURES_MAX = 1_000;

export interface FleetWatch {
  readonly transitions: readonly Transition[];
  /** Checks of the target that failed. */
  readonly failures: readonly { readonly word: Verdict['word']; readonly message: string; readonly at: number }[];
  /** Transitions and failed checks that were not kept any more. */
  readonly lost: number;
  /** Whose checks are kept. */
  follow(daemon: string): void;
  /** Forgets what was seen so far: the fault comes now. */
  begin(): void;
  /** True as soon as it holds, false when the time is over. @throws (rejects) when the signal aborts */
  until(condition: () => boolean, timeoutMs: number): Promise<boolean>;
  close(): void;
}

export const watchFleet = (
  supervisor: Pick<Supervisor, 'onTurn' | 'onVerdict'>,
  router: Pick<RouterHost, 'onLedgerChange'> | null,
  clock: Clock,
  signal: AbortSignal,
): FleetWatch => {
  let transitions: Transition[] = [];
  let failures: FleetWatch['failures'][number][] = [];
  let lost = 0;
  let followed: string | null = null;
  let from = -Infinity;
  const looks = new Set<() => void>();
  const wake = (): void => {
    for (const look of [...looks]) look();
  };
  const ends = [
    supervisor.onTurn((report) => {
      // A turn is told at its end: what it holds may have happened before the fault.
      for (const transition of report.transitions) {
        if (transition.at < from) continue;
        if (transitions.length < TRANSITIONS_MAX) transitions.push(transition);
        else lost++;
      }
      wake();
    }),
    supervisor.onVerdict(({ daemon, word, health, at }) => {
      if (daemon !== followed) return;
      if (word === 'unhealthy' || word === 'missed') {
        if (failures.length < FAILURES_MAX) failures.push({ word, message: health.message, at });
        else lost++;
      }
      wake();
    }),
    router?.onLedgerChange(wake) ?? ((): void => undefined),
  ];
  return {
    get transitions() {
      return transitions;
    },
    get failures() {
      return failures;
    },
    get lost() {
      return lost;
    },
    follow: (daemon) => void (followed = daemon),
    begin() {
      from = clock.monotonicMs();
      transitions = [];
      failures = [];
      lost = 0;
    },
    until: (condition, timeoutMs) =>
      new Promise((resolve, reject) => {
        const end = (finish: () => void): void => {
          looks.delete(look);
          tick.cancel();
          deadline.cancel();
          signal.removeEventListener('abort', onAbort);
          finish();
        };
        const look = (): void => {
          let holds: boolean;
          try {
            holds = condition();
          } catch (thrown) {
            return end(() => reject(thrown as Error));
          }
          // A state may be seen before the turn that made it was told: by then its transitions are here too.
          if (holds) end(() => clock.soon(() => resolve(true)));
        };
        const onAbort = (): void => end(() => reject(signal.reason as Error));
        const tick = clock.every(LOOK_MS, look, { background: true });
        const deadline = clock.after(timeoutMs, () => end(() => resolve(false)), { background: true });
        looks.add(look);
        signal.addEventListener('abort', onAbort, { once: true });
        if (signal.aborted) onAbort();
        else look();
      }),
    close() {
      for (const end of ends) end();
    },
  };
};

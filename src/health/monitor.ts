/**
 * Health ticks: one stream for the fleet, so 10,000 daemons cost one timer.
 *
 * A tick of 250 ms asks the wheel who is due; due daemons are checked with a bound on how many at once and a deadline
 * each, never two checks of one daemon. What a check says is told apart: *late* answered after its deadline and is only
 * degraded; *missed* did not answer by its next turn, or does not move; *unknown* was not asked, or could not be asked
 * fairly, because this loop itself was stalled or suspended, and changes nothing. Streaks are the core's.
 */
import { catchError, concatMap, filter, from, map, mergeMap, Observable, of, race, takeUntil, timer } from 'rxjs';
import { messageOf } from '../errors.ts';
import { SLACK_MS, type Clock } from '../seams/clock.ts';
import { degraded, unhealthy, unknown, type Health } from './verdict.ts';
import type { DueWheel } from './due-wheel.ts';

export const TICK_MS = 250;
/** Checks under way at once. Chosen. */
export const CHECKS_AT_ONCE = 64;
/** A tick this much late means the loop was held or the machine slept: the checks of that tick would blame the innocent. */
export const STALL_MS = 1_000;

export type VerdictWord = 'healthy' | 'degraded' | 'unhealthy' | 'late' | 'missed' | 'unknown';

export interface Answer {
  readonly health: Health;
  /** It did not move: hung, or its cycle is overdue. */
  readonly missed: boolean;
}

export interface Verdict {
  readonly daemon: string;
  readonly generation: number;
  readonly word: VerdictWord;
  readonly health: Health;
  /** Monotonic milliseconds. */
  readonly at: number;
}

export interface MonitorOptions {
  readonly clock: Clock;
  readonly wheel: DueWheel;
  /** Present generation of a daemon that may be checked, its deadline, or null when it is not to be asked. */
  readonly target: (daemon: string) => { readonly generation: number; readonly timeoutMs: number } | null;
  /** Asks one daemon; may answer at once or later. A rejection is a verdict. */
  readonly check: (daemon: string, timeoutMs: number) => Answer | Promise<Answer>;
  /** Evidence from outside (lag, dead letters, age of output) that overrides what a daemon says of itself. */
  readonly evidence?: (daemon: string) => Health | null;
  readonly stop$: Observable<unknown>;
}

interface Turn {
  readonly daemon: string;
  readonly generation: number;
  readonly timeoutMs: number;
  readonly stalled: boolean;
}

/** At the marks of the clock's grid, which an `interval` of a scheduler knows nothing of. */
const ticks$ = (clock: Clock): Observable<void> =>
  new Observable((subscriber) => {
    const ticking = clock.every(TICK_MS, () => subscriber.next(), { slackMs: SLACK_MS });
    return () => ticking.cancel();
  });

/** Verdicts of all daemons that fall due. One subscriber; subscribing twice would tick twice. */
export const verdicts$ = (options: MonitorOptions): Observable<Verdict> => {
  const { clock, wheel } = options;
  const underWay = new Set<string>();
  /** Due, and waiting for one of the places; at most once each, or a fleet that hangs would queue up without end. */
  const waiting = new Set<string>();
  let lastTick = clock.monotonicMs();

  const due = (): Turn[] => {
    const now = clock.monotonicMs();
    const stalled = now - lastTick > TICK_MS + STALL_MS;
    lastTick = now;
    const turns: Turn[] = [];
    for (const daemon of wheel.due()) {
      const target = waiting.has(daemon) ? null : options.target(daemon);
      if (target === null) continue;
      waiting.add(daemon);
      turns.push({ daemon, ...target, stalled });
    }
    return turns;
  };

  const verdict = (turn: Turn, word: VerdictWord, health: Health): Verdict => ({
    daemon: turn.daemon,
    generation: turn.generation,
    word,
    health,
    at: clock.monotonicMs(),
  });

  const judged = (turn: Turn, answer: Answer, late: boolean): Verdict => {
    const outside = options.evidence?.(turn.daemon) ?? null;
    const health = outside === null ? answer.health : overrule(answer.health, outside);
    if (answer.missed) return verdict(turn, 'missed', health);
    if (late && health.status === 'healthy')
      return verdict(turn, 'late', degraded('answered after its deadline', health.details));
    return verdict(turn, health.status, health);
  };

  const ask = (turn: Turn): Observable<Verdict> => {
    waiting.delete(turn.daemon);
    if (turn.stalled) return of(verdict(turn, 'unknown', unknown('the loop was stalled; not judged')));
    if (underWay.has(turn.daemon))
      return of(verdict(turn, 'missed', unhealthy('did not answer its last health check')));
    let answer: Answer | Promise<Answer>;
    try {
      answer = options.check(turn.daemon, turn.timeoutMs);
    } catch (error) {
      return of(verdict(turn, 'unhealthy', unhealthy(`its health check threw: ${messageOf(error)}`)));
    }
    if (!(answer instanceof Promise)) return of(judged(turn, answer, false));
    const asked = clock.monotonicMs();
    underWay.add(turn.daemon);
    const done = answer.finally(() => underWay.delete(turn.daemon));
    return race(
      from(done).pipe(
        map((value) => judged(turn, value, clock.monotonicMs() - asked > turn.timeoutMs)),
        catchError((error: unknown) =>
          of(verdict(turn, 'unhealthy', unhealthy(`its health check rejected: ${messageOf(error)}`))),
        ),
      ),
      // No verdict at the deadline: late or missed is told at the answer, or at its next turn.
      timer(turn.timeoutMs * 4, clock.scheduler).pipe(map(() => null)),
    ).pipe(filter((value): value is Verdict => value !== null));
  };

  return ticks$(clock).pipe(
    concatMap(() => due()), //                  who is due: O(due), not O(fleet)
    mergeMap(ask, CHECKS_AT_ONCE), //           a failed check is a verdict, never an error of the stream
    takeUntil(options.stop$), //                last, so it tears down everything above it
  );
};

/** Outside evidence wins when it is worse; what the daemon says is kept in the details. */
const overrule = (own: Health, outside: Health): Health => {
  const rank = { healthy: 0, unknown: 1, degraded: 2, unhealthy: 3 } as const;
  if (rank[outside.status] <= rank[own.status]) return own;
  return { ...outside, details: { ...own.details, ...outside.details, selfReport: own.status } };
};

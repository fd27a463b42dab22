/**
 * Time as a thing that is handed in.
 *
 * `monotonicMs` measures: it never jumps, so every decision rests on it. `wallMs` is for people and files: it may jump by
 * a year and nothing but a printed line changes. Timers come from the clock as well, so a simulated clock fires them.
 * What needs no RxJS is in `plain-clock.ts`.
 */
import { asyncScheduler, type SchedulerLike } from 'rxjs';
import { plainClock, type PlainClock } from './plain-clock.ts';

export { isoTime, SLACK_MS, wallMsOf, type Timer } from './plain-clock.ts';

export interface Clock extends PlainClock {
  /** For timed RxJS operators. */
  readonly scheduler: SchedulerLike;
  /** Runs `work` once at the end of this turn of the loop, after everything that is settled already; batches a turn. */
  soon(work: () => void): void;
}

/** The clock of this process. */
export const realClock = (): Clock => ({
  ...plainClock(),
  scheduler: asyncScheduler,
  soon: (work) => void setImmediate(work),
});

/**
 * The same clock with a wall that nobody can set: right when this is made, and going on from there by the time that
 * measures. For books that compare what they wrote earlier with now, where a jump would be taken for time gone by.
 */
export const steadyWall = (clock: Clock): Clock => {
  const origin = clock.wallMs() - clock.monotonicMs();
  return { ...clock, wallMs: () => Math.round(origin + clock.monotonicMs()) };
};

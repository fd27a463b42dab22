/**
 * An RxJS scheduler that takes its timers from a clock, so that timed operators obey whatever the clock obeys: a simulated
 * one moves them, one that belongs to a daemon's start ends them with it.
 */
import { Subscription, type SchedulerAction, type SchedulerLike } from 'rxjs';
import type { PlainClock, Timer } from './plain-clock.ts';

type Timers = Pick<PlainClock, 'after' | 'monotonicMs'>;

/** One piece of work; scheduling it again replaces what was asked before, as RxJS's own do. */
class ClockAction<T> extends Subscription implements SchedulerAction<T> {
  readonly #timers: Timers;
  readonly #work: (this: SchedulerAction<T>, state?: T) => void;
  #timer: Timer | null = null;

  constructor(timers: Timers, work: (this: SchedulerAction<T>, state?: T) => void) {
    super(() => this.#timer?.cancel());
    this.#timers = timers;
    this.#work = work;
  }

  schedule(state?: T, delay = 0): Subscription {
    if (this.closed) return this;
    this.#timer?.cancel();
    this.#timer = this.#timers.after(delay, () => {
      try {
        this.#work.call(this, state);
      } catch (thrown) {
        this.unsubscribe();
        throw thrown;
      }
    });
    return this;
  }
}

export const clockScheduler = (timers: Timers): SchedulerLike => ({
  now: () => timers.monotonicMs(), // operators take differences, so this must not jump
  schedule: <T>(work: (this: SchedulerAction<T>, state?: T) => void, delay = 0, state?: T) =>
    new ClockAction(timers, work).schedule(state, delay),
});

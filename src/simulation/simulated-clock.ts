/**
 * Time that moves when a test says so.
 *
 * `advance` fires one due timer at a time and lets every promise settle before it looks for the next: a virtual scheduler
 * that is flushed in one go runs all timers before the first `await` continues, so a program of promises starves in it.
 * `advanceSync` is the same without promises, for the core, which has none: millions of timers a second, one seed, one
 * order. Timers of the same instant fire in the order they were asked for. Wall time is an offset that may jump without
 * anything else moving.
 */
import { clockScheduler } from '../seams/clock-scheduler.ts';
import type { Clock } from '../seams/clock.ts';
import { sleepWith } from '../seams/plain-clock.ts';

export interface SimulatedClock extends Clock {
  /** Moves `ms` forward, firing what falls due, one timer at a time, with promises settled in between. */
  advance(ms: number): Promise<void>;
  /** The same for code without promises. @returns timers fired */
  advanceSync(ms: number): number;
  /** Jumps to the next timer and fires it; false when none is left or it is later than `untilMs`. */
  stepSync(untilMs?: number): boolean;
  /** Lets promises settle without moving time. */
  settle(): Promise<void>;
  /** Monotonic milliseconds of the next timer; null when none is armed. */
  nextAt(): number | null;
  /** Timers armed. */
  pending(): number;
  /** Timers fired so far. */
  readonly fired: number;
  /** The wall clock jumps; nothing else moves. */
  jumpWall(ms: number): void;
  /** Time passes while nothing runs, as when the machine is suspended: what fell due is late, all at once (F30). */
  stall(ms: number): void;
}

interface Armed {
  at: number;
  /** Order of asking, for ties. */
  order: number;
  run: (() => void) | null;
}

const before = (a: Armed, b: Armed): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** A binary heap of timers; cancelled ones stay as holes until they surface or outnumber the living. */
class TimerHeap {
  #heap: Armed[] = [];
  #cancelled = 0;

  get size(): number {
    return this.#heap.length - this.#cancelled;
  }

  push(timer: Armed): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Armed;
      if (!before(timer, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = timer;
  }

  cancel(timer: Armed): void {
    if (timer.run === null) return;
    timer.run = null;
    if (++this.#cancelled > 64 && this.#cancelled * 2 > this.#heap.length) this.#compact();
  }

  /** The next living timer, left in place. */
  peek(): Armed | null {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined) return null;
      if (top.run !== null) return top;
      this.pop();
      this.#cancelled--;
    }
  }

  pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    this.#sink(0, last);
  }

  #sink(from: number, timer: Armed): void {
    const heap = this.#heap;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Armed, heap[child] as Armed)) child++;
      const below = heap[child] as Armed;
      if (!before(below, timer)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = timer;
  }

  #compact(): void {
    const living = this.#heap.filter((timer) => timer.run !== null);
    this.#heap = living;
    this.#cancelled = 0;
    for (let at = (living.length >> 1) - 1; at >= 0; at--) this.#sink(at, living[at] as Armed);
  }
}

const afterMacrotask = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * A clock that stands still until it is advanced.
 * @param options.wallMs  wall clock at the start; default 2026-01-01T00:00:00Z
 */
export const simulatedClock = (options: { readonly wallMs?: number } = {}): SimulatedClock => {
  const timers = new TimerHeap();
  let now = 0;
  let order = 0;
  let fired = 0;
  let wallOffset = options.wallMs ?? Date.UTC(2026, 0, 1);
  let advancing = false;

  const arm = (at: number, run: () => void): Armed => {
    const timer: Armed = { at, order: order++, run };
    timers.push(timer);
    return timer;
  };

  /** Fires the next timer that is due by `until`. */
  const fireNext = (until: number): boolean => {
    const timer = timers.peek();
    if (timer === null || timer.at > until) return false;
    timers.pop();
    if (timer.at > now) now = timer.at;
    const run = timer.run;
    timer.run = null;
    fired++;
    run?.();
    return true;
  };

  const clock: SimulatedClock = {
    monotonicMs: () => now,
    wallMs: () => wallOffset + now,
    since: (from) => (now - from) / 1000,
    after(delayMs, run) {
      const timer = arm(now + Math.max(0, delayMs), run);
      return { cancel: () => timers.cancel(timer) };
    },
    every(periodMs, run) {
      const period = Math.max(1, periodMs); // as setInterval does
      let cancelled = false;
      let timer: Armed;
      const rearm = (due: number): void => {
        timer = arm(due, () => {
          run();
          // Late by a stall: skipped periods are not made up for, as with a real interval.
          if (!cancelled) rearm(due + period > now ? due + period : now + period);
        });
      };
      rearm(now + period);
      return {
        cancel() {
          cancelled = true;
          timers.cancel(timer);
        },
      };
    },
    sleep: (delayMs, signal) => sleepWith(clock)(delayMs, signal),
    scheduler: clockScheduler({ after: (delayMs, run) => clock.after(delayMs, run), monotonicMs: () => now }),
    soon: (work) => void arm(now, work),

    async advance(ms) {
      if (advancing) throw new Error('cannot advance a clock that is being advanced: await the first call');
      advancing = true;
      const until = now + ms;
      try {
        do await afterMacrotask();
        while (fireNext(until));
        now = Math.max(now, until);
        await afterMacrotask();
      } finally {
        advancing = false;
      }
    },
    advanceSync(ms) {
      const until = now + ms;
      const before = fired;
      while (fireNext(until));
      now = Math.max(now, until);
      return fired - before;
    },
    stepSync: (untilMs = Infinity) => fireNext(untilMs),
    settle: afterMacrotask,
    nextAt: () => timers.peek()?.at ?? null,
    pending: () => timers.size,
    get fired() {
      return fired;
    },
    jumpWall(ms) {
      wallOffset += ms;
    },
    stall(ms) {
      now += ms;
    },
  };
  return clock;
};

/**
 * The part of a clock that costs nothing to load: time as text, and timers.
 *
 * `clock.ts` carries a scheduler for timed RxJS operators, and loading RxJS takes longer than a whole `status` may take
 * (docs/budgets.md). A command that only asks a running loop something takes its time from here.
 */

/** A timer that has been asked for; `cancel` is idempotent and safe after it fired. */
export interface Timer {
  cancel(): void;
}

export interface TimerOptions {
  /** Does not keep the process alive. */
  readonly background?: boolean;
  /**
   * It may fire up to this much late, so that timers of one time fall together: an idle process pays for each time it is
   * woken, not for what it then does (docs/budgets.md). Milliseconds; default 0.
   */
  readonly slackMs?: number;
}

export interface PlainClock {
  /** Milliseconds since an arbitrary origin, with fractions; never decreases; the same in all threads of a process. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01T00:00:00Z; for people, files and other machines. */
  wallMs(): number;
  /** Whole and fractional seconds since an earlier `monotonicMs()`. */
  since(monotonicMs: number): number;
  /** Calls `run` once after `delayMs` (at the earliest); a real timer keeps the process alive unless `background`. */
  after(delayMs: number, run: () => void, options?: TimerOptions): Timer;
  /** Calls `run` every `periodMs` until cancelled; never overlaps itself, since `run` is synchronous. */
  every(periodMs: number, run: () => void, options?: TimerOptions): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason when aborted first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** ISO-8601 in UTC with milliseconds, as logs and status print it. */
export const isoTime = (wallMs: number): string => new Date(wallMs).toISOString();

/** Milliseconds since 1970 of an ISO-8601 text; NaN when it is none. */
export const wallMsOf = (iso: string): number => Date.parse(iso);

/**
 * Timers with slack fire at whole multiples of this, in every thread; with this much slack each does. Milliseconds; chosen:
 * the tick of health.
 */
export const SLACK_MS = 250;
const NANOSECONDS_PER_MS = 1e6;

/** What this thread's clock lacks to the kernel's, which all threads share. */
const originMs = Number(process.hrtime.bigint()) / NANOSECONDS_PER_MS - performance.now();
const monotonicMs = (): number => performance.now() + originMs;

/** Timers count in whole milliseconds of that clock: a delay that is a difference of them ends on its mark. */
const timerMs = (): number => Math.floor(monotonicMs());

/** When to fire what is due at `dueMs` and may wait. */
const onGrid = (dueMs: number, slackMs: number): number => {
  const mark = Math.ceil(dueMs / SLACK_MS) * SLACK_MS;
  return mark <= dueMs + slackMs ? mark : dueMs;
};

const after: PlainClock['after'] = (delayMs, run, { background = false, slackMs = 0 } = {}) => {
  const now = timerMs();
  const handle = setTimeout(run, Math.max(0, onGrid(now + Math.ceil(delayMs), slackMs) - now));
  if (background) handle.unref();
  return { cancel: () => clearTimeout(handle) };
};

/** Each firing is asked for by its own time, or the lateness of each would move all that follow off the marks. */
const every: PlainClock['every'] = (periodMs, run, options = {}) => {
  const { slackMs = 0 } = options;
  const period = Math.max(1, Math.ceil(periodMs)); // as setInterval does
  let due = timerMs() + period;
  let timer: Timer;
  const arm = (): void => {
    const now = timerMs();
    timer = after(onGrid(due, slackMs) - now, fire, { ...options, slackMs: 0 });
  };
  const fire = (): void => {
    due += period;
    if (onGrid(due, slackMs) <= timerMs()) due = timerMs() + period; // what was slept through is not made up for
    arm();
    run();
  };
  arm();
  return { cancel: () => timer.cancel() };
};

/** `sleep` of a clock that has such timers. */
export const sleepWith =
  (timers: Pick<PlainClock, 'after'>): PlainClock['sleep'] =>
  (delayMs, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error);
      const timer = timers.after(delayMs, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      const onAbort = (): void => {
        timer.cancel();
        reject(signal?.reason as Error);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
    });

/** The time of this process. */
export const plainClock = (): PlainClock => ({
  monotonicMs,
  wallMs: () => Date.now(),
  since: (from) => (monotonicMs() - from) / 1000,
  after,
  every,
  sleep: sleepWith({ after }),
});

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

export interface PlainClock {
  /** Milliseconds since an arbitrary origin, with fractions; never decreases. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01T00:00:00Z; for people, files and other machines. */
  wallMs(): number;
  /** Whole and fractional seconds since an earlier `monotonicMs()`. */
  since(monotonicMs: number): number;
  /** Calls `run` once after `delayMs` (at the earliest); a real timer keeps the process alive unless `background`. */
  after(delayMs: number, run: () => void, options?: { readonly background?: boolean }): Timer;
  /** Calls `run` every `periodMs` until cancelled; never overlaps itself, since `run` is synchronous. */
  every(periodMs: number, run: () => void, options?: { readonly background?: boolean }): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason when aborted first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** ISO-8601 in UTC with milliseconds, as logs and status print it. */
export const isoTime = (wallMs: number): string => new Date(wallMs).toISOString();

/** Milliseconds since 1970 of an ISO-8601 text; NaN when it is none. */
export const wallMsOf = (iso: string): number => Date.parse(iso);

const startTimer = (handle: NodeJS.Timeout, background: boolean, clear: (handle: NodeJS.Timeout) => void): Timer => {
  if (background) handle.unref();
  return { cancel: () => clear(handle) };
};

/** The time of this process. */
export const plainClock = (): PlainClock => ({
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  since: (from) => (performance.now() - from) / 1000,
  after: (delayMs, run, options) =>
    startTimer(setTimeout(run, Math.max(0, delayMs)), options?.background ?? false, clearTimeout),
  every: (periodMs, run, options) =>
    startTimer(setInterval(run, periodMs), options?.background ?? false, clearInterval),
  sleep: (delayMs, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error);
      const timer = setTimeout(
        () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
        Math.max(0, delayMs),
      );
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
});

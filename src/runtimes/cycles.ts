/**
 * The cycles of one start: each runs, finishes, and is due again one period after it began; never beside itself.
 *
 * First runs are spread by chance over a second (or the period, when shorter), so 85 daemons that became ready together
 * do not work together. A rejection is counted and logged, it is not a crash; the error rate over the recent window is
 * what health looks at.
 */
import type { Cycle } from '../daemons/definition.ts';
import type { Clock, Timer } from '../seams/clock.ts';
import type { Random } from '../seams/random.ts';

/** Outcomes remembered for the error rate. Chosen: twice the 10 cycles that the rule asks for. */
const WINDOW = 20;
/** A period below this would be a spin. */
const PERIOD_MS_MIN = 10;
const SPREAD_MS = 1_000;

export interface CycleFigures {
  /** Cycles finished since this start. */
  readonly finished: number;
  readonly failed: number;
  /** Outcomes in the window, and how many of them failed. */
  readonly recent: number;
  readonly recentFailed: number;
  readonly lastError: string | null;
  /** Monotonic milliseconds since when a cycle has been running; null when none is. */
  readonly runningSince: number | null;
}

export class Cycles {
  readonly #clock: Clock;
  readonly #call: (cycle: Cycle) => Promise<unknown>;
  readonly #onError: (error: unknown) => void;
  readonly #timers = new Map<Cycle, Timer>();
  readonly #running = new Map<Cycle, number>();
  readonly #outcomes: boolean[] = [];
  #finished = 0;
  #failed = 0;
  #lastError: string | null = null;
  #stopped = false;

  constructor(clock: Clock, call: (cycle: Cycle) => Promise<unknown>, onError: (error: unknown) => void) {
    this.#clock = clock;
    this.#call = call;
    this.#onError = onError;
  }

  start(cycles: readonly Cycle[], random: Random): void {
    for (const cycle of cycles) {
      const periodMs = periodOf(cycle);
      const spread = random.uniform() * Math.min(SPREAD_MS, periodMs);
      this.#schedule(cycle, (cycle.atStart ?? true) ? spread : periodMs - spread);
    }
  }

  /** No further cycle begins; those that run go on. */
  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  get figures(): CycleFigures {
    let runningSince: number | null = null;
    for (const since of this.#running.values()) runningSince = Math.min(runningSince ?? since, since);
    return {
      finished: this.#finished,
      failed: this.#failed,
      recent: this.#outcomes.length,
      recentFailed: this.#outcomes.filter((ok) => !ok).length,
      lastError: this.#lastError,
      runningSince,
    };
  }

  #schedule(cycle: Cycle, delayMs: number): void {
    this.#timers.set(
      cycle,
      this.#clock.after(delayMs, () => this.#run(cycle), { background: true }),
    );
  }

  #run(cycle: Cycle): void {
    if (this.#stopped) return;
    const began = this.#clock.monotonicMs();
    this.#running.set(cycle, began);
    const settled = (error: unknown, ok: boolean): void => {
      this.#running.delete(cycle);
      this.#finished++;
      this.#outcomes.push(ok);
      if (this.#outcomes.length > WINDOW) this.#outcomes.shift();
      if (!ok) {
        this.#failed++;
        this.#lastError = error instanceof Error ? error.message : String(error);
        if (!this.#stopped) this.#onError(error);
      }
      if (this.#stopped) return;
      const took = this.#clock.monotonicMs() - began;
      this.#schedule(cycle, Math.max(PERIOD_MS_MIN, periodOf(cycle) - took));
    };
    this.#call(cycle).then(
      () => settled(null, true),
      (error: unknown) => settled(error, false),
    );
  }
}

const periodOf = (cycle: Cycle): number => Math.max(PERIOD_MS_MIN, cycle.periodSeconds * 1000);

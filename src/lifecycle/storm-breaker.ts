/**
 * Notices a restart storm: many daemons failing again and again at once, which has one cause that restarting cannot mend.
 *
 * Counts *second and later* failures of the same daemon inside the window: first failures are what a cascade or a bad
 * minute looks like, and counting those is how a breaker trips on a normal boot. Critical daemons and boot are exempt;
 * the caller leaves them out. Open, it holds the restarts of the others until it has been quiet for `quietMs`.
 */
export interface StormLimits {
  /** Counted failures inside the window that open it. */
  readonly failures: number;
  readonly windowMs: number;
  /** Closed again after this long without a counted failure. */
  readonly quietMs: number;
}

export const STORM_LIMITS: StormLimits = { failures: 20, windowMs: 60_000, quietMs: 30_000 };

export class StormBreaker {
  readonly #limits: StormLimits;
  readonly #lastFailure = new Map<string, number>();
  #counted: { readonly at: number; readonly daemon: string }[] = [];
  #open = false;

  constructor(limits: StormLimits = STORM_LIMITS) {
    this.#limits = limits;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Records one failure; true when this one opened the breaker. */
  record(daemon: string, at: number): boolean {
    const before = this.#lastFailure.get(daemon);
    this.#lastFailure.set(daemon, at);
    if (before === undefined || at - before > this.#limits.windowMs) return false;
    this.#forget(at);
    this.#counted.push({ at, daemon });
    if (this.#open || this.#counted.length < this.#limits.failures) return false;
    this.#open = true;
    return true;
  }

  /** Milliseconds until it may close; 0 when it just closed; null when it is not open. */
  tryClose(at: number): number | null {
    if (!this.#open) return null;
    const last = this.#counted.at(-1)?.at ?? -Infinity;
    const left = last + this.#limits.quietMs - at;
    if (left > 0) return left;
    this.#open = false;
    this.#counted = [];
    return 0;
  }

  /** Daemons with counted failures in the window, with their counts. */
  failing(at: number): ReadonlyMap<string, number> {
    this.#forget(at);
    const counts = new Map<string, number>();
    for (const { daemon } of this.#counted) counts.set(daemon, (counts.get(daemon) ?? 0) + 1);
    return counts;
  }

  #forget(at: number): void {
    const oldest = at - this.#limits.windowMs;
    let drop = 0;
    while (drop < this.#counted.length && this.#counted[drop]!.at < oldest) drop++;
    if (drop > 0) this.#counted.splice(0, drop);
  }
}

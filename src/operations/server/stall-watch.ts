/**
 * Is the main loop blocked, since when, and by whom. Pure: time and the index of the running daemon are handed in.
 *
 * Silence alone proves nothing: after SIGSTOP, a suspended machine or a starved processor the watcher itself was away as
 * well. So the watch counts only silence it was awake for. It looks at fixed intervals; a look that comes much too late
 * says that the watcher slept, and then counts as one interval, whatever the clock says.
 */
import type { StallNow } from './protocol.ts';

/** How often the watcher looks. Milliseconds. */
export const LOOK_MS = 250;
/** A look this late means that the watcher itself was away. Milliseconds. */
const AWAY_MS = 750;
/** While silent for this long, each look notes who holds the loop. Milliseconds. */
const SUSPICIOUS_MS = 300;

/** A stall that is over. Monotonic milliseconds of the watcher. */
export interface StallEnded {
  readonly startedAt: number;
  readonly durationMs: number;
  /** Index of the daemon seen most often while it lasted; null when none was. */
  readonly holder: number | null;
}

export class StallWatch {
  readonly #stalledAfterMs: number;
  #lookedAt: number;
  #heardAt: number;
  /** Silence that we were awake for, up to the last look. */
  #silentMs = 0;
  readonly #seen = new Map<number, number>();

  constructor(now: number, stalledAfterMs: number) {
    this.#stalledAfterMs = stalledAfterMs;
    this.#lookedAt = now;
    this.#heardAt = now;
  }

  /**
   * The main loop gave a sign of life `agoMs` before `now`. Returns the stall that this ends, if it was one.
   *
   * Silence is counted up to the sign and not up to now: who looks seldom would else take a loop that spoke just before
   * the limit for a stalled one, and be late by a whole look to call one stalled that fell silent just after it.
   */
  heard(now: number, agoMs = 0): StallEnded | null {
    const silentMs = this.silentMs(now);
    const sinceMs = Math.min(agoMs, silentMs);
    const durationMs = silentMs - sinceMs;
    const ended: StallEnded | null =
      durationMs >= this.#stalledAfterMs ? { startedAt: this.#heardAt, durationMs, holder: this.#mostSeen() } : null;
    this.#lookedAt = now;
    this.#silentMs = sinceMs;
    this.#heardAt = Math.max(this.#heardAt, now - agoMs);
    this.#seen.clear();
    return ended;
  }

  /** Called every LOOK_MS. `holder` is the index of the daemon that runs on the main loop now, -1 for none. */
  look(now: number, holder: number): void {
    const gap = now - this.#lookedAt;
    this.#silentMs += gap > AWAY_MS ? LOOK_MS : gap;
    this.#lookedAt = now;
    if (holder >= 0 && this.#silentMs >= SUSPICIOUS_MS) this.#seen.set(holder, (this.#seen.get(holder) ?? 0) + 1);
  }

  /** Awake silence as of now, between looks too. Milliseconds. */
  silentMs(now: number): number {
    const gap = now - this.#lookedAt;
    return this.#silentMs + (gap > AWAY_MS ? LOOK_MS : gap);
  }

  isStalled(now: number): boolean {
    return this.silentMs(now) >= this.#stalledAfterMs;
  }

  /** Milliseconds since the last sign of life by the clock, asleep or awake: the age of the picture. */
  ageMs(now: number): number {
    return now - this.#heardAt;
  }

  /** What to tell a caller now; null while the loop is not stalled. */
  stall(now: number, nameOf: (holder: number) => string | null, holder: number): StallNow | null {
    if (!this.isStalled(now)) return null;
    const held = holder >= 0 ? holder : this.#mostSeen();
    return { silentMs: Math.round(this.silentMs(now)), heldBy: held === null ? null : nameOf(held) };
  }

  #mostSeen(): number | null {
    let best: number | null = null;
    let most = 0;
    for (const [holder, times] of this.#seen) {
      if (times > most) {
        best = holder;
        most = times;
      }
    }
    return best;
  }
}

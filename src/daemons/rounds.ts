/**
 * The rounds of a daemon that works from facts: each looks at the stores, does what is missing, and may run at any time.
 *
 * Events only say that a round is worth while now. Many of them share one: a call while a round runs waits for the next,
 * which begins after it and so sees what the event spoke of. That is why a handler can wait for its round and a burst of
 * a thousand events still costs two. What health looks at is kept here as well: when a round last went through, and how
 * many failed since.
 *
 * A store of somebody else that cannot be read, a disk that takes nothing and a router that is away hinder a round and do
 * not fail it: a restart here would mend nothing there, and would take everybody down who depends on this daemon.
 */
import { z } from 'zod';
import { isHindrance, messageOf, OrchestratorError } from '../errors.ts';
import { degraded, healthy, unhealthy, type Health, type HealthDetails } from '../health/verdict.ts';
import type { Clock } from '../seams/clock.ts';
import type { Logger } from './definition.ts';

/**
 * The longest gap that a daemon may ask for. A handler waits for its round, and one that has not returned for 5 s counts as
 * a gap in its subscription (events/limits.ts): the gap must leave the round more than half of that.
 */
const GAP_SECONDS_MAX = 2;
/** A configured gap, in seconds. */
export const gap = (byDefault: number): z.ZodDefault<z.ZodNumber> =>
  z.number().min(0).max(GAP_SECONDS_MAX).default(byDefault);

/** One failed round may be a store thread that was replaced under it; the second in a row is the daemon's own trouble. */
const FAILURES_MAX = 2;

export interface RoundsOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether a store file is this daemon's own to write, so that its loss is its own failure. */
  readonly owns: (file: string) => boolean;
  /** From the begin of one round to the begin of the next at least this long, whoever asks; at most GAP_SECONDS_MAX. */
  readonly gapSeconds: number;
  /** No finished round for this long is stale. */
  readonly staleSeconds: number;
}

export class Rounds {
  readonly #options: RoundsOptions;
  readonly #work: () => Promise<void>;
  #running: Promise<void> | null = null;
  /** The round that runs waits for its gap to end: its work has not begun. */
  #resting = false;
  #next: Promise<void> | null = null;
  #begunAt = Number.NEGATIVE_INFINITY;
  #doneAt: number;
  #done = 0;
  #failures = 0;
  #lastFailure = '';
  #hindrance: Error | null = null;

  constructor(options: RoundsOptions, work: () => Promise<void>) {
    this.#options = options;
    this.#work = work;
    this.#doneAt = options.clock.monotonicMs();
  }

  /** Resolves when a round that began after this call has gone through; rejects with what stopped it. */
  run(): Promise<void> {
    if (this.#next !== null) return this.#next;
    if (this.#running === null) return this.#begin();
    if (this.#resting) return this.#running;
    const ended = (): undefined => undefined;
    this.#next = this.#running.then(ended, ended).then(() => {
      this.#next = null;
      return this.#begin();
    });
    return this.#next;
  }

  /** What kept the last round from its work and is not its own, for rounds that build on these; null when nothing did. */
  get hindrance(): Error | null {
    return this.#hindrance;
  }

  /** Judges by what rounds did. `details` are the daemon's own evidence. */
  verdict(details: HealthDetails = {}): Health {
    const { clock, staleSeconds } = this.#options;
    const stalenessSeconds = clock.since(this.#doneAt);
    const all = {
      rounds: this.#done,
      failedRounds: this.#failures,
      lastProgressAt: this.#doneAt,
      stalenessSeconds,
      ...details,
    };
    if (this.#failures >= FAILURES_MAX)
      return unhealthy(`${this.#failures} rounds in a row failed: ${this.#lastFailure}`, all);
    if (this.#hindrance !== null) return degraded(this.#hindrance.message, all);
    if (this.#failures > 0) return degraded(`a round failed: ${this.#lastFailure}`, all);
    return stalenessSeconds > staleSeconds
      ? degraded(`no round went through for ${stalenessSeconds.toFixed(0)} s`, all)
      : healthy(all);
  }

  #begin(): Promise<void> {
    const running = this.#round().finally(() => {
      this.#running = null;
    });
    this.#running = running;
    return running;
  }

  async #round(): Promise<void> {
    const { clock, gapSeconds } = this.#options;
    const rest = gapSeconds - clock.since(this.#begunAt);
    if (rest > 0) {
      this.#resting = true;
      await clock.sleep(rest * 1000);
      this.#resting = false;
    }
    this.#begunAt = clock.monotonicMs();
    try {
      await this.#work();
    } catch (error) {
      if (error instanceof OrchestratorError && error.code === 'SCOPE_CLOSED') throw error;
      if (error instanceof Error && (this.#isForeign(error) || isHindrance(error))) {
        if (this.#hindrance?.message !== error.message) this.#options.log.warn(`is hindered: ${messageOf(error)}`);
        this.#hindrance = error;
        return;
      }
      this.#failures++;
      this.#lastFailure = messageOf(error);
      throw error;
    }
    this.#hindrance = null;
    this.#failures = 0;
    this.#done++;
    this.#doneAt = clock.monotonicMs();
  }

  #isForeign(error: Error): boolean {
    if (!(error instanceof OrchestratorError) || error.code !== 'STORE_FAILED') return false;
    const { file } = error.context;
    return typeof file === 'string' && !this.#options.owns(file);
  }
}

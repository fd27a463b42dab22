/**
 * The cycles of one start: each runs, finishes, and is due again one period after it began; never beside itself.
 *
 * First runs are spread by chance over a second (or the period, when shorter), so 85 daemons that became ready together
 * do not work together. A rejection is counted and logged, it is not a crash; the error rate over the recent window is
 * what health looks at.
 */
import type { Cycle } from '../daemons/definition.ts';
import { isHindrance, messageOf } from '../errors.ts';
import { SLACK_MS, type Clock, type Timer } from '../seams/clock.ts';
import type { Random } from '../seams/random.ts';

/** Outcomes remembered for the error rate. Chosen: twice the 10 cycles that the rule asks for. */
const WINDOW = 20;
/** A period below this would be a spin. */
const PERIOD_MS_MIN = 10;
const SPREAD_MS = 1_000;
/** How much later than its period a cycle may come, for the sake of coming with others: a part of it. */
const SLACK_SHARE = 0.1;

export interface CycleFigures {
  /** Cycles finished since this start. */
  readonly finished: number;
  readonly failed: number;
  /** Outcomes in the window, and how many of them failed. */
  readonly recent: number;
  readonly recentFailed: number;
  /** Of those that failed, how many for want of the disk or the event router. */
  readonly recentHindered: number;
  readonly lastError: string | null;
}

/** Whose cycles they are. */
export interface CycleOwner {
  runCycle(cycle: Cycle): PromiseLike<unknown> | void;
  /** A cycle threw or was rejected while they went on. */
  cycleFailed(error: unknown): void;
}

/** Of one cycle: its period, and when it last went through. */
export interface CycleAge {
  readonly periodSeconds: number;
  /** Monotonic milliseconds; until it first does, when it could first have run. */
  readonly wentThroughAt: number;
}

type Outcome = 'ok' | 'failed' | 'hindered';

interface Turning {
  readonly cycle: Cycle;
  timer: Timer | null;
  wentThroughAt: number;
}

export class Cycles {
  readonly #clock: Clock;
  readonly #owner: CycleOwner;
  #turning: readonly Turning[] = [];
  readonly #outcomes: Outcome[] = [];
  #finished = 0;
  #failed = 0;
  #lastError: string | null = null;
  #stopped = false;

  constructor(clock: Clock, owner: CycleOwner) {
    this.#clock = clock;
    this.#owner = owner;
  }

  start(cycles: readonly Cycle[], random: Random): void {
    const now = this.#clock.monotonicMs();
    this.#turning = cycles.map((cycle) => ({ cycle, timer: null, wentThroughAt: now }));
    for (const turning of this.#turning) {
      const periodMs = periodOf(turning.cycle);
      const spread = random.uniform() * Math.min(SPREAD_MS, periodMs);
      this.#schedule(turning, (turning.cycle.atStart ?? true) ? spread : periodMs - spread);
    }
  }

  /** No further cycle begins; those that run go on. */
  stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#turning) timer?.cancel();
  }

  get figures(): CycleFigures {
    return {
      finished: this.#finished,
      failed: this.#failed,
      recent: this.#outcomes.length,
      recentFailed: this.#outcomes.filter((outcome) => outcome !== 'ok').length,
      recentHindered: this.#outcomes.filter((outcome) => outcome === 'hindered').length,
      lastError: this.#lastError,
    };
  }

  get ages(): readonly CycleAge[] {
    return this.#turning.map(({ cycle: { periodSeconds }, wentThroughAt }) => ({ periodSeconds, wentThroughAt }));
  }

  #schedule(turning: Turning, delayMs: number): void {
    const slackMs = Math.min(SLACK_MS, delayMs * SLACK_SHARE);
    turning.timer = this.#clock.after(delayMs, () => this.#run(turning), { background: true, slackMs });
  }

  #run(turning: Turning): void {
    if (this.#stopped) return;
    const { cycle } = turning;
    const began = this.#clock.monotonicMs();
    let result: PromiseLike<unknown> | void;
    try {
      result = this.#owner.runCycle(cycle);
    } catch (error) {
      this.#settled(turning, began, error, false);
      return;
    }
    if (result === undefined) this.#settled(turning, began, null, true);
    else
      result.then(
        () => this.#settled(turning, began, null, true),
        (error: unknown) => this.#settled(turning, began, error, false),
      );
  }

  #settled(turning: Turning, began: number, error: unknown, ok: boolean): void {
    this.#finished++;
    this.#outcomes.push(ok ? 'ok' : isHindrance(error) ? 'hindered' : 'failed');
    if (this.#outcomes.length > WINDOW) this.#outcomes.shift();
    if (ok) turning.wentThroughAt = this.#clock.monotonicMs();
    else {
      this.#failed++;
      this.#lastError = messageOf(error);
      if (!this.#stopped) this.#owner.cycleFailed(error);
    }
    if (this.#stopped) return;
    const took = this.#clock.monotonicMs() - began;
    this.#schedule(turning, Math.max(PERIOD_MS_MIN, periodOf(turning.cycle) - took));
  }
}

const periodOf = (cycle: Cycle): number => Math.max(PERIOD_MS_MIN, cycle.periodSeconds * 1000);

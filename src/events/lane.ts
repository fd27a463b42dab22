/**
 * One subscription while a start of its daemon holds it: hands events to the handler in order, as many at once as
 * declared, and turns what the handler did into an ack, a retry or a dead letter.
 *
 * A retry keeps its place: with one event in flight nothing overtakes it, and only this lane waits. A canary stands in the
 * same queue and is answered when every handler call that began before it has returned, so it proves the way that events
 * really take; it does not wait for an event that is between two retries, whose handler did return.
 *
 * Each delivery parses its own copy of the body: what one subscriber does to it, no other sees.
 *
 * Every start of every subscriber makes a lane and most never carry an event, so its parts are made when first needed.
 */
import { messageOf } from '../errors.ts';
import type { Clock, Timer } from '../seams/clock.ts';
import type { LoggedEvent, Outbox } from './outbox.ts';
import type { Pump } from './pump.ts';
import { DELIVERY_ATTEMPTS_MAX, letterDelayMs, retryDelayMs } from './retry-schedule.ts';
import type { RouterLog } from './router-api.ts';
import { finishOffset, type SubscriptionRecord } from './subscription-record.ts';
import type { EventEnvelope } from './types.ts';

/** Calls the handler, inside the daemon's context where there is one. */
export type Deliver = (event: EventEnvelope) => Promise<void> | void;

export interface LaneTools {
  readonly clock: Clock;
  readonly pump: Pump;
  readonly outbox: Outbox;
  readonly log: RouterLog | null;
  /** Told the nonce of every canary that came through. */
  prove(subscription: number, nonce: number): void;
  readonly counts: { delivered: number; handled: number; dead: number; retries: number; running: number };
}

interface Segment {
  readonly events: readonly LoggedEvent[];
  next: number;
  /** Stands before the events; 0 when there is none (any more). */
  canary: number;
}

/** How a redelivery ended; `ended`: the daemon's start ended first, so nothing is known of the event. */
export interface RedeliveryFailure {
  readonly error: unknown;
  readonly ended?: boolean;
}
type Settle = (failure: RedeliveryFailure | null) => void;

interface Running {
  readonly envelope: EventEnvelope;
  readonly startedAt: number;
  /** Who waits for the outcome of a dead letter's redelivery; null for an event of the log. */
  readonly settle: Settle | null;
}

interface Retrying {
  readonly timer: Timer;
}

interface Aside {
  readonly envelope: EventEnvelope;
  readonly settle: Settle;
}

export interface Busy {
  readonly eventId: string;
  /** Monotonic milliseconds. */
  readonly since: number;
}

const NO_EVENTS: readonly LoggedEvent[] = [];
const NOBODY_RUNS: ReadonlyMap<number, Running> = new Map();

export class Lane {
  readonly record: SubscriptionRecord;
  readonly #deliver: Deliver;
  readonly #tools: LaneTools;
  #epoch = 0;
  #queue: Segment[] = [];
  /** Begun and not finished, ascending. */
  #open: number[] = [];
  /** By offset; dead letters by their negative number. */
  #running: Map<number, Running> | null = null;
  #retrying: Map<number, Retrying> | null = null;
  #asides: Aside[] | null = null;
  #asideKey = 0;
  #canaries: { readonly nonce: number; readonly waits: Set<number> }[] | null = null;
  #paused = false;
  #closed = false;
  #stepQueued = false;
  #drained: (() => void)[] | null = null;

  constructor(record: SubscriptionRecord, deliver: Deliver, tools: LaneTools) {
    this.record = record;
    this.#deliver = deliver;
    this.#tools = tools;
  }

  /** An event waits for its next try: the lane stands still, and its handler did return. */
  retryingNow(): boolean {
    return this.#retrying !== null && this.#retrying.size > 0;
  }

  inFlight(): number {
    return this.#open.length;
  }

  runningNow(): number {
    return this.#running?.size ?? 0;
  }

  /** Offsets that handlers hold, running or between two tries. */
  held(): readonly number[] {
    return this.#open;
  }

  /** The oldest call that has not returned. */
  busy(): Busy | null {
    let oldest: Running | null = null;
    for (const one of (this.#running ?? NOBODY_RUNS).values())
      if (oldest === null || one.startedAt < oldest.startedAt) oldest = one;
    return oldest === null ? null : { eventId: oldest.envelope.id, since: oldest.startedAt };
  }

  /** Forgets what was handed out and not begun, and accepts deliveries of this attach only. */
  reset(epoch: number): void {
    this.#epoch = epoch;
    this.#queue = [];
    this.#canaries = null;
  }

  take(epoch: number, canary: number, events: readonly LoggedEvent[]): void {
    if (this.#closed || epoch !== this.#epoch) return;
    this.#queue.push({ events, next: 0, canary });
    this.#stepSoon();
  }

  /** A canary that no events follow. Where nothing is queued it stands at the head of the queue already. */
  takeCanary(epoch: number, nonce: number): void {
    const mayPass = !this.#paused && !this.#stepQueued && this.#queue.length === 0;
    if (!mayPass) this.take(epoch, nonce, NO_EVENTS);
    else if (!this.#closed && epoch === this.#epoch) this.#passCanary(nonce);
  }

  /** Hands a dead letter to the handler, out of turn but within the bound of calls at once. */
  redeliver(envelope: EventEnvelope): Promise<RedeliveryFailure | null> {
    return new Promise((resolve) => {
      (this.#asides ??= []).push({ envelope, settle: resolve });
      this.#stepSoon();
    });
  }

  /** Begins no further call; resolves when none runs. */
  drain(): Promise<void> {
    this.#paused = true;
    if (this.runningNow() === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#drained ??= []).push(resolve));
  }

  /** Ends it: results of running calls are ignored. With `charge`, an event cut off counts as tried. */
  close(charge: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#retrying !== null) for (const { timer } of this.#retrying.values()) timer.cancel();
    if (this.runningNow() + (this.#asides?.length ?? 0) > 0) this.#cutOff(charge);
    this.#queue = [];
    this.#canaries = null;
    this.#retrying = null;
    this.#open = [];
    this.#tellDrained();
  }

  // ---------------------------------------------------------------------------------------------- what is handed out

  #step(): void {
    const { pump } = this.#tools;
    const { maxInFlight } = this.record;
    while (!this.#closed && !this.#paused) {
      if (this.#asides !== null && this.#asides.length > 0 && this.runningNow() < maxInFlight) {
        pump.exhausted();
        this.#callAside(this.#asides.shift()!, --this.#asideKey);
        continue;
      }
      const segment = this.#queue[0];
      if (segment === undefined) return;
      if (segment.canary !== 0) {
        this.#passCanary(segment.canary);
        segment.canary = 0;
      }
      if (segment.next === segment.events.length) {
        this.#queue.shift();
        continue;
      }
      if (this.runningNow() + (this.#retrying?.size ?? 0) >= maxInFlight) return;
      if (pump.exhausted()) return this.#stepSoon();
      this.#startNext(segment);
    }
  }

  #stepSoon(): void {
    if (this.#stepQueued) return;
    this.#stepQueued = true;
    this.#tools.pump.defer(() => {
      this.#stepQueued = false;
      this.#step();
    });
  }

  #passCanary(nonce: number): void {
    if (this.#running === null || this.#running.size === 0) this.#tools.prove(this.record.id, nonce);
    else (this.#canaries ??= []).push({ nonce, waits: new Set(this.#running.keys()) });
  }

  #startNext(segment: Segment): void {
    const { record } = this;
    const { id, offset, version, source, at, body: text } = segment.events[segment.next++]!;
    const tried = record.attempts.size === 0 ? undefined : record.attempts.get(offset);
    this.#open.push(offset);
    // A handler that takes its daemon down with it never rejects: those tries count as well.
    if (tried !== undefined && tried.count >= DELIVERY_ATTEMPTS_MAX)
      return this.#bury(offset, tried.count, tried.reason);
    this.#call(
      {
        id,
        topic: record.topic,
        version,
        offset,
        source,
        publishedAtMs: at,
        attempt: (tried?.count ?? 0) + 1,
        body: JSON.parse(text) as unknown,
      },
      text,
    );
  }

  // ---------------------------------------------------------------------------------------------- one call

  #begin(key: number, envelope: EventEnvelope, settle: Settle | null): void {
    const { pump, counts, log } = this.#tools;
    (this.#running ??= new Map()).set(key, { envelope, startedAt: pump.now, settle });
    counts.running += 1;
    counts.delivered += 1;
    if (log?.isDebug() === true)
      log.debug(`Delivered to ${this.record.subscriber} ${this.record.topic} ${envelope.id}`);
  }

  /** Calls the handler once. One that returns no promise is finished here and now. */
  #call(envelope: EventEnvelope, text: string): void {
    const { offset } = envelope;
    this.#begin(offset, envelope, null);
    const deliver = this.#deliver;
    let result: Promise<void> | void;
    try {
      result = deliver(envelope);
    } catch (error) {
      if (this.#closed) return; // it took its daemon down with it
      this.#settled(offset);
      return this.#failed(envelope, text, error);
    }
    if (this.#closed) return;
    if (result === undefined || typeof (result as { then?: unknown }).then !== 'function') {
      this.#settled(offset);
      return this.#finish(offset, true);
    }
    result.then(
      () => {
        if (this.#closed) return;
        this.#settled(offset);
        this.#finish(offset, true);
        this.#step();
      },
      (error: unknown) => {
        if (this.#closed) return;
        this.#settled(offset);
        this.#failed(envelope, text, error);
        this.#step();
      },
    );
  }

  #callAside({ envelope, settle }: Aside, key: number): void {
    this.#begin(key, envelope, settle);
    const deliver = this.#deliver;
    const done: Settle = (failure) => {
      if (this.#closed) return;
      this.#settled(key);
      settle(failure);
      this.#step();
    };
    Promise.resolve()
      .then(() => deliver(envelope))
      .then(
        () => done(null),
        (error: unknown) => done({ error }),
      );
  }

  #settled(key: number): void {
    const running = this.#running!;
    running.delete(key);
    this.#tools.counts.running -= 1;
    if (this.#canaries !== null) {
      for (const canary of this.#canaries) canary.waits.delete(key);
      const through = this.#canaries.filter((canary) => canary.waits.size === 0);
      this.#canaries = this.#canaries.filter((canary) => canary.waits.size > 0);
      for (const { nonce } of through) this.#tools.prove(this.record.id, nonce);
      if (this.#canaries.length === 0) this.#canaries = null;
    }
    if (running.size === 0) this.#tellDrained();
  }

  #tellDrained(): void {
    if (this.#drained === null) return;
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  #finish(offset: number, handled: boolean): void {
    const { record } = this;
    const { counts, outbox } = this.#tools;
    if (this.#open[0] === offset) this.#open.shift();
    else this.#open = this.#open.filter((one) => one !== offset);
    finishOffset(record, offset, this.#open);
    if (handled) {
      record.handled += 1;
      record.handledUnsent += 1;
      counts.handled += 1;
    } else {
      record.dead += 1;
      counts.dead += 1;
    }
    outbox.moved(record);
  }

  #bury(offset: number, attempts: number, reason: string): void {
    const { clock, outbox } = this.#tools;
    const at = clock.wallMs();
    const nextRetryAt = at + (letterDelayMs(0) ?? 0);
    outbox.die({ subscription: this.record.id, offset, attempts, reason, at, nextRetryAt });
    this.#finish(offset, false);
  }

  #failed(envelope: EventEnvelope, text: string, error: unknown): void {
    const { record } = this;
    const { clock, pump, outbox, log, counts } = this.#tools;
    const { offset, attempt } = envelope;
    const reason = messageOf(error);
    const delay = retryDelayMs(attempt);
    if (delay === null) {
      log?.warn(
        `${record.subscriber} failed on ${record.topic} ${envelope.id} ${attempt} times, now a dead letter: ${reason}`,
      );
      return this.#bury(offset, attempt, reason);
    }
    counts.retries += 1;
    record.attempts.set(offset, { count: attempt, reason });
    outbox.fail({ subscription: record.id, offset, attempts: attempt, reason });
    const retrying = (this.#retrying ??= new Map());
    const again = (): void => {
      if (this.#paused) return; // the next start gets it, and this start is not charged for it
      retrying.delete(offset);
      pump.exhausted(); // reads the clock for this call
      this.#call({ ...envelope, attempt: attempt + 1, body: JSON.parse(text) as unknown }, text);
      this.#step();
    };
    retrying.set(offset, { timer: clock.after(delay, again, { background: true }) });
  }

  /** The calls that run are not waited for any more. */
  #cutOff(charge: boolean): void {
    const { record } = this;
    const { counts, outbox } = this.#tools;
    const ended = { error: new Error(`${record.subscriber} ended first`), ended: true };
    for (const [key, { envelope, settle }] of this.#running ?? NOBODY_RUNS) {
      counts.running -= 1;
      settle?.(ended);
      if (!charge || key < 0) continue;
      const reason = `${record.subscriber} ended while it handled this event`;
      record.attempts.set(envelope.offset, { count: envelope.attempt, reason });
      outbox.fail({ subscription: record.id, offset: envelope.offset, attempts: envelope.attempt, reason });
    }
    for (const { settle } of this.#asides ?? []) settle(ended);
    this.#asides = null;
    this.#running = null;
  }
}

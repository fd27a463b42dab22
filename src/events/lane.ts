/**
 * One subscription while a start of its daemon holds it: hands events to the handler in order, as many at once as
 * declared, and turns what the handler did into an ack, a retry or a dead letter.
 *
 * A retry keeps its place: with one event in flight nothing overtakes it, and only this lane waits. A canary stands in the
 * same queue and is answered when every handler call that began before it has returned, so it proves the way that events
 * really take; it does not wait for an event that is between two retries, whose handler did return.
 *
 * Each delivery parses its own copy of the body: what one subscriber does to it, no other sees.
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
  readonly envelope: EventEnvelope;
  readonly text: string;
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

export interface Lane {
  readonly record: SubscriptionRecord;
  /** Forgets what was handed out and not begun, and accepts deliveries of this attach only. */
  reset(epoch: number): void;
  /** Offsets that handlers hold, running or between two tries. */
  held(): number[];
  take(epoch: number, canary: number, events: readonly LoggedEvent[]): void;
  /** Hands a dead letter to the handler, out of turn but within the bound of calls at once. */
  redeliver(envelope: EventEnvelope): Promise<RedeliveryFailure | null>;
  /** The oldest call that has not returned. */
  busy(): Busy | null;
  /** An event waits for its next try: the lane stands still, and its handler did return. */
  retryingNow(): boolean;
  inFlight(): number;
  runningNow(): number;
  /** Begins no further call; resolves when none runs. */
  drain(): Promise<void>;
  /** Ends it: results of running calls are ignored. With `charge`, an event cut off counts as tried. */
  close(charge: boolean): void;
}

/** @param proven  told the nonce of every canary that came through */
export const createLane = (
  record: SubscriptionRecord,
  deliver: Deliver,
  tools: LaneTools,
  proven: (nonce: number) => void,
): Lane => {
  const { clock, pump, outbox, log, counts } = tools;
  let epoch = 0;
  let queue: Segment[] = [];
  let open: number[] = []; //                         begun and not finished, ascending
  const running = new Map<number, Running>(); //      by offset; dead letters by their negative number
  const retrying = new Map<number, Retrying>();
  let asides: Aside[] = [];
  let canaries: { readonly nonce: number; readonly waits: Set<number> }[] = [];
  let paused = false;
  let closed = false;
  let stepQueued = false;
  const drained: (() => void)[] = [];

  const settled = (key: number): void => {
    running.delete(key);
    counts.running -= 1;
    if (canaries.length > 0) {
      for (const canary of canaries) canary.waits.delete(key);
      const through = canaries.filter((canary) => canary.waits.size === 0);
      canaries = canaries.filter((canary) => canary.waits.size > 0);
      for (const { nonce } of through) proven(nonce);
    }
    if (running.size === 0) for (const resolve of drained.splice(0)) resolve();
  };

  const finish = (offset: number, handled: boolean): void => {
    if (open[0] === offset) open.shift();
    else open = open.filter((one) => one !== offset);
    finishOffset(record, offset, open);
    if (handled) {
      record.handled += 1;
      record.handledUnsent += 1;
      counts.handled += 1;
    } else {
      record.dead += 1;
      counts.dead += 1;
    }
    outbox.moved(record);
  };

  const bury = (offset: number, attempts: number, reason: string): void => {
    const at = clock.wallMs();
    outbox.die({ subscription: record.id, offset, attempts, reason, at, nextRetryAt: at + (letterDelayMs(0) ?? 0) });
    finish(offset, false);
  };

  const failed = (envelope: EventEnvelope, text: string, error: unknown): void => {
    const { offset, attempt } = envelope;
    const reason = messageOf(error);
    const delay = retryDelayMs(attempt);
    if (delay === null) {
      log?.warn(
        `${record.subscriber} failed on ${record.topic} ${envelope.id} ${attempt} times, now a dead letter: ${reason}`,
      );
      return bury(offset, attempt, reason);
    }
    counts.retries += 1;
    record.attempts.set(offset, { count: attempt, reason });
    outbox.fail({ subscription: record.id, offset, attempts: attempt, reason });
    const again = (): void => {
      if (paused) return; // the next start gets it, and this start is not charged for it
      retrying.delete(offset);
      pump.exhausted(); // reads the clock for this call
      call({ ...envelope, attempt: attempt + 1, body: JSON.parse(text) as unknown }, text);
      step();
    };
    retrying.set(offset, { envelope, text, timer: clock.after(delay, again, { background: true }) });
  };

  const begin = (key: number, envelope: EventEnvelope, settle: Settle | null): void => {
    running.set(key, { envelope, startedAt: pump.now, settle });
    counts.running += 1;
    counts.delivered += 1;
    if (log?.isDebug() === true) log.debug(`Delivered to ${record.subscriber} ${record.topic} ${envelope.id}`);
  };

  /** Calls the handler once. One that returns no promise is finished here and now. */
  const call = (envelope: EventEnvelope, text: string): void => {
    const { offset } = envelope;
    begin(offset, envelope, null);
    let result: Promise<void> | void;
    try {
      result = deliver(envelope);
    } catch (error) {
      settled(offset);
      return failed(envelope, text, error);
    }
    if (result === undefined || typeof (result as { then?: unknown }).then !== 'function') {
      settled(offset);
      return finish(offset, true);
    }
    result.then(
      () => {
        if (closed) return;
        settled(offset);
        finish(offset, true);
        step();
      },
      (error: unknown) => {
        if (closed) return;
        settled(offset);
        failed(envelope, text, error);
        step();
      },
    );
  };

  const callAside = ({ envelope, settle }: Aside, key: number): void => {
    begin(key, envelope, settle);
    const done: Settle = (failure) => {
      if (closed) return;
      settled(key);
      settle(failure);
      step();
    };
    Promise.resolve()
      .then(() => deliver(envelope))
      .then(
        () => done(null),
        (error: unknown) => done({ error }),
      );
  };

  const startNext = (segment: Segment): void => {
    const { id, offset, version, source, at, body: text } = segment.events[segment.next++]!;
    const tried = record.attempts.size === 0 ? undefined : record.attempts.get(offset);
    open.push(offset);
    // A handler that takes its daemon down with it never rejects: those tries count as well.
    if (tried !== undefined && tried.count >= DELIVERY_ATTEMPTS_MAX) return bury(offset, tried.count, tried.reason);
    call(
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
  };

  const passCanary = (nonce: number): void => {
    if (running.size === 0) proven(nonce);
    else canaries.push({ nonce, waits: new Set(running.keys()) });
  };

  let asideKey = 0;
  const step = (): void => {
    while (!closed && !paused) {
      if (asides.length > 0 && running.size < record.maxInFlight) {
        pump.exhausted();
        callAside(asides.shift()!, --asideKey);
        continue;
      }
      const segment = queue[0];
      if (segment === undefined) return;
      if (segment.canary !== 0) {
        passCanary(segment.canary);
        segment.canary = 0;
      }
      if (segment.next === segment.events.length) {
        queue.shift();
        continue;
      }
      if (running.size + retrying.size >= record.maxInFlight) return;
      if (pump.exhausted()) return stepSoon();
      startNext(segment);
    }
  };
  const stepSoon = (): void => {
    if (stepQueued) return;
    stepQueued = true;
    pump.defer(() => {
      stepQueued = false;
      step();
    });
  };

  /** The calls that run are not waited for any more. */
  const cutOff = (charge: boolean): void => {
    const ended = { error: new Error(`${record.subscriber} ended first`), ended: true };
    for (const [key, { envelope, settle }] of running) {
      counts.running -= 1;
      settle?.(ended);
      if (!charge || key < 0) continue;
      const reason = `${record.subscriber} ended while it handled this event`;
      record.attempts.set(envelope.offset, { count: envelope.attempt, reason });
      outbox.fail({ subscription: record.id, offset: envelope.offset, attempts: envelope.attempt, reason });
    }
    for (const { settle } of asides) settle(ended);
    asides = [];
    running.clear();
  };

  return {
    record,
    retryingNow: () => retrying.size > 0,
    inFlight: () => open.length,
    runningNow: () => running.size,
    reset(newEpoch) {
      epoch = newEpoch;
      queue = [];
      canaries = [];
    },
    held: () => [...open],
    take(ofEpoch, canary, events) {
      if (closed || ofEpoch !== epoch) return;
      queue.push({ events, next: 0, canary });
      stepSoon();
    },
    redeliver(envelope) {
      return new Promise((resolve) => {
        asides.push({ envelope, settle: resolve });
        stepSoon();
      });
    },
    busy() {
      let oldest: Running | null = null;
      for (const one of running.values()) if (oldest === null || one.startedAt < oldest.startedAt) oldest = one;
      return oldest === null ? null : { eventId: oldest.envelope.id, since: oldest.startedAt };
    },
    drain() {
      paused = true;
      return running.size === 0 ? Promise.resolve() : new Promise((resolve) => drained.push(resolve));
    },
    close(charge) {
      if (closed) return;
      closed = true;
      for (const { timer } of retrying.values()) timer.cancel();
      if (running.size + asides.length > 0) cutOff(charge);
      queue = [];
      canaries = [];
      retrying.clear();
      open = [];
      for (const resolve of drained.splice(0)) resolve();
    },
  };
};

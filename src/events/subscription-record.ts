/**
 * One durable subscription as the host knows it. The host makes every ack, so its record is never behind the store; it
 * outlives the daemon's starts and the thread's generations, and that is why a router crash redelivers nothing that was
 * finished: the next generation is told the cursor that the last one may not have committed.
 */
import type { Ack, StoredSubscription } from './protocol.ts';

export interface Attempts {
  readonly count: number;
  readonly reason: string;
}

export interface SubscriptionRecord {
  readonly id: number;
  readonly subscriber: string;
  readonly topic: string;
  /** Index in the host's list of topics. */
  readonly topicIndex: number;
  readonly external: boolean;
  critical: boolean;
  maxInFlight: number;
  declared: boolean;
  /** Events of the topic before it was registered. */
  readonly base: number;
  /** Every event up to here is finished. */
  cursor: number;
  /** Finished beyond the cursor, ascending. */
  ahead: number[];
  handled: number;
  dead: number;
  /** Failed tries of events that are not finished. */
  readonly attempts: Map<number, Attempts>;
  /** Since the last ack that was sent. */
  handledUnsent: number;
  forget: number[];
}

export const recordOf = (stored: StoredSubscription, topicIndex: number): SubscriptionRecord => ({
  id: stored.id,
  subscriber: stored.subscriber,
  topic: stored.topic,
  topicIndex,
  external: stored.external,
  critical: stored.critical,
  maxInFlight: stored.maxInFlight,
  declared: stored.declared,
  base: stored.base,
  cursor: stored.cursor,
  ahead: [...stored.ahead],
  handled: stored.handled,
  dead: stored.dead,
  attempts: new Map(stored.attempts.map(([offset, count, reason]) => [offset, { count, reason }])),
  handledUnsent: 0,
  forget: [],
});

/**
 * Takes note that an event is finished (handled or dead) and moves the cursor as far as it can go.
 * @param open  offsets handed to the handler and not finished, ascending, without this one
 */
export const finishOffset = (record: SubscriptionRecord, offset: number, open: readonly number[]): void => {
  if (record.attempts.delete(offset)) record.forget.push(offset);
  if (record.maxInFlight === 1 && record.ahead.length === 0) {
    record.cursor = offset;
    return;
  }
  const { ahead } = record;
  let at = ahead.length;
  while (at > 0 && ahead[at - 1]! > offset) at -= 1;
  ahead.splice(at, 0, offset);
  const oldestOpen = open[0] ?? Infinity;
  let passed = 0;
  while (passed < ahead.length && ahead[passed]! < oldestOpen) passed += 1;
  if (passed === 0) return;
  record.cursor = ahead[passed - 1]!;
  ahead.splice(0, passed);
};

/** What changed since the last ack, as the thread stores it. */
export const takeAck = (record: SubscriptionRecord): Ack => {
  const ack = {
    subscription: record.id,
    cursor: record.cursor,
    ahead: [...record.ahead],
    handled: record.handledUnsent,
    forget: record.forget,
  };
  record.handledUnsent = 0;
  record.forget = [];
  return ack;
};

/**
 * Compares what should be subscribed with what is, and proves it.
 *
 * "Registered" proves nothing: a subscription whose handler never returns is registered too. So every attach, and every
 * probe, sends a canary down the subscription's own queue; it comes back through the log's own commit only after the calls
 * before it returned. One that does not come back while its lane stands still is a gap, with the reason. A lane that is
 * slow but moves is no gap, however long its queue: the deadline runs from the beginning of the call that is under way.
 * Nor is anything a gap while the disk takes nothing: no canary can come back then, whoever is asked.
 */
import type { Clock, Timer } from '../seams/clock.ts';
import type { Lane } from './lane.ts';
import type { RouterPresence } from './router-api.ts';
import type { SubscriptionRecord } from './subscription-record.ts';
import type { DeclaredSubscription, SubscriptionState } from './types.ts';

type Word = SubscriptionState['state'];

interface Entry {
  readonly record: SubscriptionRecord;
  state: Word;
  reason: string | null;
  lane: Lane | null;
  generation: number | null;
  /** The canary under way; 0 when none is. */
  nonce: number;
  sentAt: number;
  /** When the canary under way is looked after, monotonic milliseconds. */
  lookAt: number;
  waiters: ((gap: string | null) => void)[];
}

export interface LedgerTools {
  readonly clock: Clock;
  readonly canaryMs: number;
  presence(): RouterPresence;
  /** The event log cannot be written at present. */
  stalled(): boolean;
  /** Events ever stored on a topic, by its index. */
  stored(topicIndex: number): number;
}

export const createLedger = ({ clock, canaryMs, presence, stalled, stored }: LedgerTools) => {
  const entries = new Map<number, Entry>();
  const listeners = new Set<(state: SubscriptionState) => void>();
  /** Entries whose canary is under way. One timer serves them all: a fleet that starts sends thousands in one turn. */
  const watched = new Set<Entry>();
  let timer: Timer | null = null;
  let gaps = 0;
  /** When the event log was last seen to be stalled: canaries have their time from there. Monotonic milliseconds. */
  let stalledAt = -Infinity;

  const lagOf = ({ topicIndex, base, handled, dead }: SubscriptionRecord): number =>
    Math.max(0, stored(topicIndex) - base - handled - dead);

  const secondsSince = (from: number): number => Math.round((clock.monotonicMs() - from) / 100) / 10;

  const viewOf = ({ record, state, reason, lane, generation }: Entry): SubscriptionState => {
    const busy = lane?.busy() ?? null;
    return {
      subscriber: record.subscriber,
      topic: record.topic,
      critical: record.critical,
      state,
      reason,
      lag: lagOf(record),
      handled: record.handled,
      deadLetters: record.dead,
      inFlight: lane?.inFlight() ?? 0,
      cursor: record.cursor,
      generation,
      busySeconds: busy === null ? null : secondsSince(busy.since),
      busyEventId: busy?.eventId ?? null,
    };
  };

  const change = (entry: Entry, state: Word, reason: string | null): void => {
    if (entry.state === state && entry.reason === reason) return;
    if (entry.state === 'gap') gaps -= 1;
    if (state === 'gap') gaps += 1;
    entry.state = state;
    entry.reason = reason;
    if (listeners.size === 0) return;
    const view = viewOf(entry);
    for (const listener of listeners) listener(view);
  };

  const answer = (entry: Entry, gap: string | null): void => {
    watched.delete(entry);
    if (entry.waiters.length === 0) return;
    for (const waiter of entry.waiters.splice(0)) waiter(gap);
  };

  /** Why the canary is not back, and since when nothing has moved. A lane begins its next call as the last one returns. */
  const obstacle = ({ record, lane, sentAt }: Entry): { readonly reason: string; readonly since: number } => {
    const busy = lane?.busy() ?? null;
    if (busy !== null) {
      const seconds = Math.round(secondsSince(busy.since));
      const reason = `handler of ${record.subscriber} busy for ${seconds} s on event ${busy.eventId}`;
      return { reason, since: Math.max(sentAt, busy.since) };
    }
    const reason = `no answer of the router for ${Math.round(secondsSince(sentAt))} s`;
    return { reason, since: lane?.retryingNow() === true ? clock.monotonicMs() : sentAt };
  };

  /** The canary's time is up, or its lane has moved meanwhile and it gets more. */
  const look = (entry: Entry): void => {
    if (presence() !== 'serving') return void watched.delete(entry); // it went down with its router; the next one sends another
    const now = clock.monotonicMs();
    if (stalled()) stalledAt = now;
    const { reason, since } = obstacle(entry);
    entry.lookAt = Math.max(since, stalledAt) + canaryMs;
    if (entry.lookAt > now) return;
    change(entry, 'gap', reason);
    answer(entry, reason);
  };

  const arm = (): void => {
    if (timer !== null || watched.size === 0) return;
    let next = Infinity;
    for (const { lookAt } of watched) next = Math.min(next, lookAt);
    timer = clock.after(
      next - clock.monotonicMs(),
      () => {
        timer = null;
        const now = clock.monotonicMs();
        for (const entry of [...watched]) if (entry.lookAt <= now) look(entry);
        arm();
      },
      { background: true },
    );
  };

  /** Tells whether the canary under way came back (null), or the gap's reason; at once when it is known. */
  const whenKnown = (record: SubscriptionRecord, told: (gap: string | null) => void): void => {
    const entry = entries.get(record.id);
    if (entry === undefined) told('the subscription was removed');
    else if (entry.nonce === 0 && entry.state === 'attached') told(null);
    else entry.waiters.push(told);
  };

  return {
    whenKnown,
    /** Says which subscriptions exist; called for every new one. */
    know(record: SubscriptionRecord): void {
      entries.set(record.id, {
        record,
        state: 'detached',
        reason: null,
        lane: null,
        generation: null,
        nonce: 0,
        sentAt: 0,
        lookAt: 0,
        waiters: [],
      });
    },
    forget(subscription: number): void {
      const entry = entries.get(subscription);
      if (entry === undefined) return;
      entries.delete(subscription); // before anybody is told: who asks again must hear the same
      change(entry, 'detached', null);
      answer(entry, 'the subscription was removed');
    },
    /** A canary is on its way down this lane. */
    expect(record: SubscriptionRecord, lane: Lane, generation: number, nonce: number): void {
      const entry = entries.get(record.id);
      if (entry === undefined) return;
      entry.lane = lane;
      entry.generation = generation;
      entry.nonce = nonce;
      entry.sentAt = clock.monotonicMs();
      if (entry.state !== 'gap') change(entry, entry.state === 'attached' ? 'attached' : 'attaching', null);
      entry.lookAt = entry.sentAt + canaryMs; // never before those that are watched already
      watched.add(entry);
      arm();
    },
    /** Held by a lane that no canary watches: an external subscriber comes when it likes. */
    attachedUnproven(record: SubscriptionRecord, lane: Lane): void {
      const entry = entries.get(record.id);
      if (entry === undefined) return;
      entry.lane = lane;
      entry.generation = null;
      change(entry, 'attached', null);
    },
    proven(subscription: number, nonce: number): void {
      const entry = entries.get(subscription);
      if (entry === undefined || entry.nonce !== nonce) return;
      entry.nonce = 0;
      change(entry, 'attached', null);
      answer(entry, null);
    },
    /** Something is wrong that no canary needs to find out. */
    gap(record: SubscriptionRecord, generation: number, reason: string): void {
      const entry = entries.get(record.id);
      if (entry === undefined) return;
      entry.generation = generation;
      change(entry, 'gap', reason);
      answer(entry, reason);
    },
    detached(record: SubscriptionRecord): void {
      const entry = entries.get(record.id);
      if (entry === undefined) return;
      entry.lane = null;
      entry.generation = null;
      entry.nonce = 0;
      change(entry, 'detached', null);
      answer(entry, 'its daemon ended');
    },
    /** The event log can be written again. */
    flows(): void {
      stalledAt = clock.monotonicMs();
    },
    /** The router is away: nothing is proven until it is back, and nothing is a gap either. */
    routerAway(): void {
      watched.clear();
      for (const entry of entries.values()) {
        entry.nonce = 0;
        if (entry.lane !== null) change(entry, 'attaching', 'the event router is away');
      }
    },
    /** The same as a promise. */
    outcome: (record: SubscriptionRecord): Promise<string | null> =>
      new Promise((resolve) => whenKnown(record, resolve)),
    /** Every subscription of the fleet; those not registered yet as detached. */
    view(declared: readonly DeclaredSubscription[]): SubscriptionState[] {
      const known = new Set<string>();
      const views: SubscriptionState[] = [];
      for (const entry of entries.values()) {
        if (entry.record.external || !entry.record.declared) continue;
        known.add(`${entry.record.subscriber} ${entry.record.topic}`);
        views.push(viewOf(entry));
      }
      for (const { subscriber, topic, critical } of declared) {
        if (known.has(`${subscriber} ${topic}`)) continue;
        const nothing = { lag: 0, handled: 0, deadLetters: 0, inFlight: 0, cursor: 0, generation: null };
        views.push({ subscriber, topic, critical, state: 'detached', reason: null, ...nothing });
      }
      return views;
    },
    onChange(listener: (state: SubscriptionState) => void): () => void {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    gauges(): { readonly gaps: number; readonly lagTotal: number } {
      let lagTotal = 0;
      for (const { record } of entries.values()) if (record.declared) lagTotal += lagOf(record);
      return { gaps, lagTotal };
    },
  };
};

export type Ledger = ReturnType<typeof createLedger>;

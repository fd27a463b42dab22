/**
 * The host's table of durable subscriptions, and which lane holds each at present.
 *
 * It is filled by the first generation of the thread and kept over the later ones: the host made every ack, so its record
 * is at least as new as the store. Only another log (the file was replaced) starts it anew.
 */
import type { Clock } from '../seams/clock.ts';
import type { Lane } from './lane.ts';
import type { Ledger } from './ledger.ts';
import type { LoggedEvent } from './outbox.ts';
import type {
  AttachColumns,
  CanaryDeliveries,
  EventPage,
  LaneDelivery,
  StoredSubscription,
  ToRouter,
} from './protocol.ts';
import { recordOf, type SubscriptionRecord } from './subscription-record.ts';

interface Held {
  readonly lane: Lane;
  readonly generation: number;
}

export interface SubscriptionTools {
  readonly clock: Clock;
  readonly ledger: Ledger;
  readonly topicIndex: ReadonlyMap<string, number>;
  serving(): boolean;
  post(message: ToRouter): void;
  /** What was posted last, while more can be written into it. */
  lastUnsent(): ToRouter | undefined;
}

const eventsOf = ({ offsets, versions, ids, sources, at, bodies }: EventPage): LoggedEvent[] =>
  offsets.map((offset, position) => ({
    offset,
    version: versions[position]!,
    id: ids[position]!,
    source: sources[position]!,
    at: at[position]!,
    body: bodies[position]!,
  }));

export const createSubscriptions = ({ ledger, topicIndex, serving, post, lastUnsent }: SubscriptionTools) => {
  const records = new Map<number, SubscriptionRecord>();
  const byName = new Map<string, SubscriptionRecord>();
  /** In the order in which they became known; a start of a daemon asks for its own, so asking must not cost the fleet. */
  const bySubscriber = new Map<string, Set<SubscriptionRecord>>();
  const held = new Map<number, Held>();
  const nameOf = (subscriber: string, topic: string): string => `${subscriber} ${topic}`;
  let epochs = 0;
  let nonces = 0;

  const drop = (record: SubscriptionRecord): void => {
    held.get(record.id)?.lane.close(false);
    held.delete(record.id);
    records.delete(record.id);
    byName.delete(nameOf(record.subscriber, record.topic));
    const own = bySubscriber.get(record.subscriber);
    own?.delete(record);
    if (own?.size === 0) bySubscriber.delete(record.subscriber);
    ledger.forget(record.id); // last: who hears that it is gone finds it gone
  };

  /** A fleet that starts registers thousands of lanes in one turn: what follows each other is one message. */
  const attachesUnsent = (): AttachColumns => {
    const last = lastUnsent();
    if (last?.kind === 'attach') return last;
    const columns = { subscriptions: [], epochs: [], nonces: [], cursors: [], excepts: [] };
    const message: Extract<ToRouter, { kind: 'attach' }> = { kind: 'attach', ...columns };
    post(message);
    return message;
  };
  const postDetach = (subscription: number): void => {
    const last = lastUnsent();
    if (last?.kind === 'detach') last.subscriptions.push(subscription);
    else post({ kind: 'detach', subscriptions: [subscription] });
  };

  const register = (record: SubscriptionRecord, { lane, generation }: Held): void => {
    const epoch = ++epochs;
    const nonce = record.external ? 0 : ++nonces;
    lane.reset(epoch);
    const unsent = attachesUnsent();
    if (record.ahead.length + lane.inFlight() > 0)
      unsent.excepts.push([unsent.epochs.length, [...record.ahead, ...lane.held()]]);
    unsent.subscriptions.push(record.id);
    unsent.epochs.push(epoch);
    unsent.nonces.push(nonce);
    unsent.cursors.push(record.cursor);
    if (record.external) ledger.attachedUnproven(record, lane);
    else ledger.expect(record, lane, generation, nonce);
  };

  return {
    find: (subscriber: string, topic: string): SubscriptionRecord | undefined => byName.get(nameOf(subscriber, topic)),
    /** Every record of a subscriber that is declared at present. */
    of: (subscriber: string): SubscriptionRecord[] =>
      [...(bySubscriber.get(subscriber) ?? [])].filter((record) => record.declared),
    externalNames: (): string[] => [
      ...new Set([...records.values()].filter((record) => record.external).map((record) => record.subscriber)),
    ],
    laneOf: (record: SubscriptionRecord): Lane | null => held.get(record.id)?.lane ?? null,
    count: (): number => records.size,

    /** Takes over what the store says; records known already keep their own progress. */
    merge(stored: readonly StoredSubscription[]): void {
      const seen = new Set<number>();
      for (const row of stored) {
        const index = topicIndex.get(row.topic);
        if (index === undefined) continue; // an event that the catalogue no longer has
        seen.add(row.id);
        const known = records.get(row.id);
        if (known !== undefined) {
          known.critical = row.critical;
          known.maxInFlight = row.maxInFlight;
          known.declared = row.declared;
          continue;
        }
        const record = recordOf(row, index);
        records.set(row.id, record);
        byName.set(nameOf(row.subscriber, row.topic), record);
        const own = bySubscriber.get(row.subscriber);
        if (own === undefined) bySubscriber.set(row.subscriber, new Set([record]));
        else own.add(record);
        ledger.know(record);
      }
      for (const record of [...records.values()]) if (!seen.has(record.id)) drop(record);
    },
    clear(): void {
      for (const record of [...records.values()]) drop(record);
    },

    attach(record: SubscriptionRecord, lane: Lane, generation: number): void {
      const one = { lane, generation };
      held.set(record.id, one);
      if (serving()) register(record, one);
    },
    detach(record: SubscriptionRecord, lane: Lane): void {
      if (held.get(record.id)?.lane !== lane) return;
      held.delete(record.id);
      if (serving()) postDetach(record.id);
      ledger.detached(record);
    },
    /** Registers again what is held, all of it or one subscriber's. */
    reattach(subscriber?: string): void {
      for (const [id, one] of held) {
        const record = records.get(id)!;
        if (subscriber === undefined || record.subscriber === subscriber) register(record, one);
      }
    },
    /** Sends a canary behind everything that was handed out. */
    probe(): SubscriptionRecord[] {
      const probed: SubscriptionRecord[] = [];
      for (const [id, { lane, generation }] of held) {
        const record = records.get(id)!;
        if (record.external) continue;
        const nonce = ++nonces;
        post({ kind: 'canary', subscription: id, nonce });
        ledger.expect(record, lane, generation, nonce);
        probed.push(record);
      }
      return probed;
    },
    /** The router went away: what it handed out and nobody began is in the log and comes again. */
    routerAway(): void {
      for (const { lane } of held.values()) lane.reset(0);
      ledger.routerAway();
    },
    deliverCanaries({ subscriptions, epochs, nonces }: CanaryDeliveries): void {
      for (const [position, subscription] of subscriptions.entries())
        held.get(subscription)?.lane.takeCanary(epochs[position]!, nonces[position]!);
    },
    /** @param recent  the events that the host still has, by offset */
    deliver(lanes: readonly LaneDelivery[], recent: { get(offset: number): LoggedEvent }): void {
      for (const { subscription, epoch, canary, offsets, page } of lanes) {
        const events = page === null ? offsets.map((offset) => recent.get(offset)) : eventsOf(page);
        held.get(subscription)?.lane.take(epoch, canary, events);
      }
    },
  };
};

export type Subscriptions = ReturnType<typeof createSubscriptions>;

/**
 * The host's side of durability: what must be stored waits here until the thread has confirmed it.
 *
 * One turn's publishes, acks, failures and dead letters become one numbered batch. Batches are kept until confirmed and
 * re-sent to the next generation, so a crash of the thread loses nothing that was accepted; the thread tells by the
 * number whether it had stored one already. Publishes are bounded per client and all together, and so are those under
 * way, so a thread that is slow or away fills the outbox and then pushes back, and memory stays put.
 */
import type { Fills } from '../bounds.ts';
import { routerAway } from './event-errors.ts';
import { BATCH_CHARACTERS, BATCH_EVENTS, CALLERS_WAITING_MAX, UNCONFIRMED_EVENTS } from './limits.ts';
import type { Batch, BatchReceipt, CanaryColumns, Death, Failure, LetterOutcome, PublishColumns } from './protocol.ts';
import type { Pump } from './pump.ts';
import { type SubscriptionRecord, takeAck } from './subscription-record.ts';
import type { PublishReceipt } from './types.ts';

/** An event of the log as lanes hand it out. */
export interface LoggedEvent {
  readonly offset: number;
  readonly id: string;
  readonly version: number;
  readonly source: string;
  /** Wall milliseconds of its publishing. */
  readonly at: number;
  /** JSON. */
  readonly body: string;
}

/** How much of the outbox one client uses. */
export interface OutboxAccount {
  events: number;
  characters: number;
}

export interface Publish extends LoggedEvent {
  readonly account: OutboxAccount;
  /** Index in the host's list of topics. */
  readonly topic: number;
  /** The publisher chose the id. */
  readonly keyed: boolean;
  /** 0 until it is stored. */
  offset: number;
  /** Another event had its id already; `offset` is that one's then. */
  duplicate: boolean;
  readonly resolve: (receipt: PublishReceipt) => void;
}

interface Sent {
  readonly batch: Batch;
  readonly publishes: readonly Publish[];
}

/** Batches under way that hold no publish: acks gather meanwhile, so a few are plenty. */
const ACK_BATCHES = 4;
/** Receipts handed out before the clock is looked at again. */
const RECEIPTS_AT_ONCE = 32;
const RECEIPTS_A_TURN = 128;

const noPublishes = (): PublishColumns => ({ topics: [], ids: [], sources: [], at: [], bodies: [], keyed: [] });
const noCanaries = (): CanaryColumns => ({ subscriptions: [], nonces: [] });

/** What all clients together may have waiting; what one may is the client's own affair. */
export interface OutboxBounds {
  readonly outboxAllEvents: number;
  readonly outboxAllBytes: number;
}

/** @param stored  told of every event that has just become durable, in offset order */
export const createOutbox = (pump: Pump, bounds: OutboxBounds, stored: (event: Publish) => void) => {
  let send: ((batch: Batch) => void) | null = null;
  let seq = 0;
  let waiting: Publish[] = [];
  let first = 0;
  let unconfirmed: Sent[] = [];
  let publishesUnderWay = 0;
  let flushQueued = false;
  /** Publishes that may still be sent; the rest waits for the next generation. Infinity while serving. */
  let gate = Infinity;
  let events = 0;
  let characters = 0;
  let published = 0;
  let duplicates = 0;
  let callersRefused = 0;
  let publishesRefused = 0;

  let failures: Failure[] = [];
  let deaths: Death[] = [];
  let letters: LetterOutcome[] = [];
  let proofs = noCanaries();
  const moved = new Set<SubscriptionRecord>();
  const durableWaiters: { readonly seq: number; readonly resolve: () => void }[] = [];
  const idleWaiters: (() => void)[] = [];

  const opsWait = (): boolean =>
    moved.size > 0 || failures.length > 0 || deaths.length > 0 || letters.length > 0 || proofs.nonces.length > 0;
  const waitingCount = (): number => waiting.length - first;

  const takePublishes = (into: PublishColumns): Publish[] => {
    const taken: Publish[] = [];
    let size = 0;
    while (first < waiting.length && gate > 0 && taken.length < BATCH_EVENTS && size < BATCH_CHARACTERS) {
      const publish = waiting[first++]!;
      if (publish.keyed) into.keyed.push(taken.length);
      into.topics.push(publish.topic);
      into.ids.push(publish.id);
      into.sources.push(publish.source);
      into.at.push(publish.at);
      into.bodies.push(publish.body);
      size += publish.body.length;
      taken.push(publish);
      gate -= 1;
    }
    if (first === waiting.length || first > 8192) {
      waiting = waiting.slice(first);
      first = 0;
    }
    return taken;
  };

  const sendOne = (): void => {
    const publishes = noPublishes();
    const taken = takePublishes(publishes);
    const batch: Batch = {
      kind: 'batch',
      seq: ++seq,
      publishes,
      acks: [...moved].map(takeAck),
      failures,
      deaths,
      letters,
      proofs,
    };
    moved.clear();
    failures = [];
    deaths = [];
    letters = [];
    proofs = noCanaries();
    publishesUnderWay += taken.length;
    unconfirmed.push({ batch, publishes: taken });
    send!(batch);
  };

  const flush = (): void => {
    flushQueued = false;
    if (send === null) return;
    while (waitingCount() > 0 && gate > 0 && publishesUnderWay < UNCONFIRMED_EVENTS) sendOne();
    if (opsWait() && unconfirmed.length < ACK_BATCHES) sendOne();
    if (unconfirmed.length === 0 && !opsWait() && (waitingCount() === 0 || gate === 0)) {
      for (const resolve of idleWaiters.splice(0)) resolve();
    }
  };
  const flushSoon = (): void => {
    if (flushQueued || send === null) return;
    flushQueued = true;
    pump.defer(flush);
  };

  const settle = (publish: Publish): void => {
    const { id, offset, duplicate } = publish;
    publish.account.events -= 1;
    publish.account.characters -= publish.body.length;
    events -= 1;
    characters -= publish.body.length;
    if (duplicate) duplicates += 1;
    else published += 1;
    publish.resolve({ id, offset, stored: !duplicate });
  };

  /**
   * Publishers go on in the microtasks of their receipts, so these are handed out a few at a time, and fewer in a turn
   * than lanes may take: when both are busy, delivering keeps up with publishing and the log's tail stays short.
   */
  const receipts: Publish[] = [];
  let handed = 0;
  let handingOut = false;
  let leftInTurn = 0;
  const handOutTurn = (): void => {
    leftInTurn = RECEIPTS_A_TURN;
    handOut();
  };
  const handOut = (): void => {
    const until = Math.min(handed + RECEIPTS_AT_ONCE, receipts.length);
    leftInTurn -= until - handed;
    while (handed < until) settle(receipts[handed++]!);
    if (handed === receipts.length) {
      receipts.length = handed = 0;
      handingOut = false;
    } else {
      if (handed > 8192) {
        receipts.splice(0, handed);
        handed = 0;
      }
      queueMicrotask(goOn);
    }
  };
  const goOn = (): void => {
    if (leftInTurn <= 0 || pump.exhausted()) pump.defer(handOutTurn);
    else handOut();
  };

  const confirm = ({ seq: confirmed, firstOffset, known, duplicates: found }: BatchReceipt): void => {
    const head = unconfirmed[0];
    if (head === undefined || head.batch.seq !== confirmed) return; // of an earlier generation
    unconfirmed.shift();
    publishesUnderWay -= head.publishes.length;
    let offset = firstOffset;
    let next = 0;
    head.publishes.forEach((publish, position) => {
      const duplicate = found[next]?.[0] === position ? found[next++]! : null;
      if (duplicate === null) {
        publish.offset = offset++;
        stored(publish);
      } else {
        publish.offset = duplicate[1];
        publish.duplicate = !known;
      }
      receipts.push(publish);
    });
    while (durableWaiters.length > 0 && durableWaiters[0]!.seq <= confirmed) durableWaiters.shift()!.resolve();
    if (receipts.length > 0 && !handingOut) {
      handingOut = true;
      pump.defer(handOutTurn);
    }
  };

  return {
    /** A generation serves: what the last one did not confirm is sent again, in order, and then what waits. */
    connect(to: (batch: Batch) => void): void {
      send = to;
      gate = Infinity;
      for (const { batch } of unconfirmed) send(batch);
      flushSoon();
    },
    disconnect(): void {
      send = null;
    },
    /** The log was replaced: progress in the old one means nothing in the new one, what was published does. */
    forgetProgress(): void {
      unconfirmed = unconfirmed.map(({ batch, publishes }) => ({
        batch: { ...batch, acks: [], failures: [], deaths: [], letters: [], proofs: noCanaries() },
        publishes,
      }));
      failures = [];
      deaths = [];
      letters = [];
      proofs = noCanaries();
      moved.clear();
    },
    /** Sends what has been accepted by now and no more; resolves when all of it is confirmed. */
    idle(): Promise<void> {
      gate = waitingCount();
      flushSoon();
      return new Promise((resolve) => idleWaiters.push(resolve));
    },
    /** Why there is no room for one more of so many characters, in words; null when there is. */
    isFull(more: number): string | null {
      if (events >= bounds.outboxAllEvents) return `${bounds.outboxAllEvents} events of all publishers`;
      if (events > 0 && characters + more > bounds.outboxAllBytes)
        return `${bounds.outboxAllBytes} characters of all publishers`;
      return null;
    },
    /** A publish found no room. */
    turnedAway: (): void => void (publishesRefused += 1),
    add(publish: Publish): void {
      publish.account.events += 1;
      publish.account.characters += publish.body.length;
      events += 1;
      characters += publish.body.length;
      waiting.push(publish);
      flushSoon();
    },
    moved(record: SubscriptionRecord): void {
      moved.add(record);
      flushSoon();
    },
    fail(failure: Failure): void {
      failures.push(failure);
      flushSoon();
    },
    die(death: Death): void {
      deaths.push(death);
      flushSoon();
    },
    letter(outcome: LetterOutcome): void {
      letters.push(outcome);
      flushSoon();
    },
    prove(subscription: number, nonce: number): void {
      proofs.subscriptions.push(subscription);
      proofs.nonces.push(nonce);
      flushSoon();
    },
    /**
     * Resolves when everything decided so far is durable.
     * @throws (rejects) ROUTER_AWAY when too many wait for that already
     */
    durable(): Promise<void> {
      if (!opsWait() && unconfirmed.length === 0) return Promise.resolve();
      if (durableWaiters.length >= CALLERS_WAITING_MAX) {
        callersRefused++;
        return Promise.reject(
          routerAway(
            'wait until it is stored',
            `stores nothing, and ${CALLERS_WAITING_MAX} callers wait for it already`,
          ),
        );
      }
      const upTo = opsWait() ? seq + 1 : seq;
      return new Promise((resolve) => durableWaiters.push({ seq: upTo, resolve }));
    },
    /** The thread stored these batches. */
    confirmed(list: readonly BatchReceipt[]): void {
      for (const receipt of list) confirm(receipt);
      if (list.length > 0) flushSoon();
    },
    /** Nobody will confirm any more: the process is ending. */
    release(): void {
      for (const { resolve } of durableWaiters.splice(0)) resolve();
      for (const resolve of idleWaiters.splice(0)) resolve();
    },
    gauges: () => ({ events, characters, published, duplicates }),
    collections: (): Fills => ({
      events_outbox: { size: events, limit: bounds.outboxAllEvents, dropped: publishesRefused },
      events_outbox_characters: { size: characters, limit: bounds.outboxAllBytes },
      events_unconfirmed: { size: publishesUnderWay, limit: UNCONFIRMED_EVENTS + BATCH_EVENTS },
      events_callers_for_store: { size: durableWaiters.length, limit: CALLERS_WAITING_MAX, dropped: callersRefused },
    }),
  };
};

export type Outbox = ReturnType<typeof createOutbox>;

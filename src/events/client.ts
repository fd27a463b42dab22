/**
 * The router as one start of one daemon sees it. It ends with that start: after `detach` nothing it holds is called and
 * nothing it is asked does anything, while what it published before stays on its way.
 */
import type { OrchestratorError } from '../errors.ts';
import {
  clientDetached,
  outboxFull,
  subscriptionGap,
  undeclaredEvent,
  undeclaredPublisher,
  undeclaredSubscription,
} from './event-errors.ts';
import { chosenIdFault, encodeBody } from './event-body.ts';
import { Lane, type Deliver, type LaneTools } from './lane.ts';
import type { Ledger } from './ledger.ts';
import type { Outbox, OutboxAccount } from './outbox.ts';
import type { ClientOptions, EventClient, RouterLimits, RouterPresence } from './router-api.ts';
import type { SubscriptionRecord } from './subscription-record.ts';
import type { Subscriptions } from './subscriptions.ts';
import type { Catalogue, EventEnvelope, PublishOptions, PublishReceipt } from './types.ts';

/** What a client needs of its host. */
export interface HostParts {
  readonly catalogue: Catalogue;
  readonly topicIndex: ReadonlyMap<string, number>;
  readonly limits: RouterLimits;
  readonly outbox: Outbox;
  readonly ledger: Ledger;
  readonly subscriptions: Subscriptions;
  readonly tools: LaneTools;
  presence(): RouterPresence;
  /** Resolves once a generation serves and knows the subscriptions; only for the newest that waits of each subscriber. */
  serving(subscriber: string): Promise<void>;
  /** A fresh id of this host. */
  newId(): string;
}

/** Publishing as `who`, bounded by one account; rejections name what the publisher did. */
export class Publisher {
  readonly account: OutboxAccount;
  refused = 0;
  readonly #parts: HostParts;
  readonly #who: string;

  /** @param account  of its own, unless several share one */
  constructor(parts: HostParts, who: string, account: OutboxAccount = { events: 0, characters: 0 }) {
    this.#parts = parts;
    this.#who = who;
    this.account = account;
  }

  publish(topic: string, body: unknown, options: PublishOptions | undefined, source: string): Promise<PublishReceipt> {
    const { catalogue, topicIndex, limits, outbox, presence, newId, tools } = this.#parts;
    const { account } = this;
    const who = this.#who;
    const index = topicIndex.get(topic);
    if (index === undefined) return this.#refuse(undeclaredEvent(topic, who));
    const chosen = options?.id;
    if (chosen !== undefined) {
      const fault = chosenIdFault(topic, who, chosen);
      if (fault !== null) return this.#refuse(fault);
    }
    let text: string;
    try {
      text = encodeBody(catalogue[topic]!.body, topic, who, body, limits.bodyCharacters);
    } catch (error) {
      return this.#refuse(error as OrchestratorError);
    }
    if (account.events >= limits.outboxEvents) {
      return this.#refuse(outboxFull(who, account.events, `${limits.outboxEvents} events`, presence()));
    }
    if (account.characters + text.length > limits.outboxBytes && account.events > 0) {
      return this.#refuse(outboxFull(who, account.events, `${limits.outboxBytes} characters`, presence()));
    }
    const full = outbox.isFull(text.length);
    if (full !== null) return this.#refuse(outboxFull(who, account.events, full, presence()));
    return new Promise((resolve) =>
      outbox.add({
        account,
        topic: index,
        offset: 0,
        duplicate: false,
        version: catalogue[topic]!.version,
        id: chosen ?? newId(),
        keyed: chosen !== undefined,
        source,
        at: tools.clock.wallMs(),
        body: text,
        resolve,
      }),
    );
  }

  #refuse(error: OrchestratorError): Promise<never> {
    this.refused += 1;
    if (error.code === 'OUTBOX_FULL') this.#parts.outbox.turnedAway();
    return Promise.reject(error);
  }
}

const deliverTo = (options: ClientOptions, topic: string): Deliver => {
  const handler = options.handlers[topic] as (event: EventEnvelope) => Promise<void> | void;
  const { runHandler } = options;
  return runHandler === undefined ? handler : (event) => runHandler(topic, () => handler(event));
};

/** What the host keeps of a client beside what the daemon sees. Every start makes one, so its parts are made when needed. */
export class HeldClient implements EventClient {
  readonly subscriber: string;
  readonly generation: number;
  readonly #parts: HostParts;
  readonly #options: ClientOptions;
  readonly #external: boolean;
  readonly #ended: (client: HeldClient) => void;
  #publisher: Publisher | null = null;
  readonly #lanes: Lane[] = [];
  #detached = false;
  #attaching: Promise<void> | null = null;
  #rejectAttach: ((error: Error) => void) | null = null;

  /**
   * @param external  an outside program: its handlers wait for acks, so cutting them off is no failed try
   * @param ended     told once, when it is detached
   */
  constructor(parts: HostParts, options: ClientOptions, external: boolean, ended: (client: HeldClient) => void) {
    this.subscriber = options.subscriber;
    this.generation = options.generation;
    this.#parts = parts;
    this.#options = options;
    this.#external = external;
    this.#ended = ended;
  }

  get outboxSize(): number {
    return this.#publisher?.account.events ?? 0;
  }

  get handlersRunning(): number {
    let running = 0;
    for (const lane of this.#lanes) running += lane.runningNow();
    return running;
  }

  /** Publishes that were turned away. */
  get refused(): number {
    return this.#publisher?.refused ?? 0;
  }

  publish(topic: string, body: unknown, publishOptions?: PublishOptions): Promise<PublishReceipt> {
    const { subscriber } = this;
    const { publishes } = this.#options;
    if (this.#detached) return Promise.reject(this.#over(`publish ${topic}`));
    if (!publishes.includes(topic) && this.#parts.topicIndex.has(topic)) {
      return Promise.reject(undeclaredPublisher(topic, subscriber, publishes));
    }
    this.#publisher ??= new Publisher(this.#parts, subscriber);
    return this.#publisher.publish(topic, body, publishOptions, subscriber);
  }

  attach(): Promise<void> {
    if (this.#detached) return Promise.reject(this.#over('attach'));
    this.#attaching ??= new Promise<void>((resolve, reject) => {
      this.#rejectAttach = reject;
      const attachNow = (): void => this.#attachAll(resolve, reject);
      if (this.#parts.presence() === 'serving') attachNow();
      else void this.#parts.serving(this.subscriber).then(attachNow);
    });
    return this.#attaching;
  }

  async drain(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.drain()));
  }

  detach(): void {
    if (this.#detached) return;
    this.#detached = true;
    for (const lane of this.#lanes) {
      lane.close(!this.#external);
      this.#parts.subscriptions.detach(lane.record, lane);
    }
    this.#rejectAttach?.(this.#over('attach'));
    this.#ended(this);
  }

  /** The log was replaced: lanes of the old one are closed, and new ones opened on the new one. */
  reopen(): void {
    if (this.#lanes.length === 0) return;
    for (const lane of this.#lanes.splice(0)) lane.close(false);
    this.#openLanes();
  }

  #over(what: string): OrchestratorError {
    return clientDetached(this.subscriber, this.generation, what);
  }

  #openLanes(): SubscriptionRecord[] {
    const { subscriber, generation } = this;
    const { subscriptions, ledger, tools } = this.#parts;
    const { handlers } = this.#options;
    const missing: { topic: string; reason: string }[] = [];
    for (const record of subscriptions.of(subscriber)) {
      if (Object.hasOwn(handlers, record.topic)) continue;
      const reason = `${subscriber} has no handler for ${record.topic}`;
      ledger.gap(record, generation, reason);
      missing.push({ topic: record.topic, reason });
    }
    if (missing.length > 0) throw subscriptionGap(subscriber, missing);
    const records = Object.keys(handlers).map((topic) => {
      const record = subscriptions.find(subscriber, topic);
      if (record === undefined) throw undeclaredSubscription(subscriber, topic);
      return record;
    });
    for (const record of records) {
      if (this.#lanes.some((lane) => lane.record.topic === record.topic)) continue;
      const lane = new Lane(record, deliverTo(this.#options, record.topic), tools);
      this.#lanes.push(lane);
      subscriptions.attach(record, lane, generation);
    }
    return records;
  }

  #attachAll(resolve: () => void, reject: (error: Error) => void): void {
    if (this.#detached) return;
    try {
      this.#awaitProofs(this.#openLanes(), 0, () => {
        this.#rejectAttach = null;
        resolve();
      });
    } catch (error) {
      this.#rejectAttach = null;
      reject(error as Error);
    }
  }

  /**
   * One after the other. A gap may still close by itself; the daemon's own deadline is the judge of how long a start may
   * take. Told by calls rather than promises: a fleet that comes back waits for thousands of proofs in one turn.
   */
  #awaitProofs(records: readonly SubscriptionRecord[], from: number, proven: () => void): void {
    const record = records[from];
    if (record === undefined) return proven();
    this.#parts.ledger.whenKnown(record, (gap) => {
      if (this.#detached) return;
      if (gap === null) this.#awaitProofs(records, from + 1, proven);
      else if (this.#parts.subscriptions.find(this.subscriber, record.topic) === record)
        this.#awaitProofs(records, from, proven);
      else {
        const reject = this.#rejectAttach;
        this.#rejectAttach = null;
        reject?.(undeclaredSubscription(this.subscriber, record.topic));
      }
    });
  }
}

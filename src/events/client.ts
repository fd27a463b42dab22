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
import { createLane, type Deliver, type Lane, type LaneTools } from './lane.ts';
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
  /** Resolves once a generation serves and knows the subscriptions. */
  serving(): Promise<void>;
  /** A fresh id of this host. */
  newId(): string;
  prove(subscription: number, nonce: number): void;
}

/** Publishing as `who`, bounded by one account; rejections name what the publisher did. */
export const createPublisher = (parts: HostParts, who: string) => {
  const { catalogue, topicIndex, limits, outbox } = parts;
  const account: OutboxAccount = { events: 0, characters: 0 };
  let refused = 0;
  const refuse = (error: OrchestratorError): Promise<never> => {
    refused += 1;
    return Promise.reject(error);
  };
  return {
    account,
    refused: (): number => refused,
    publish(
      topic: string,
      body: unknown,
      options: PublishOptions | undefined,
      source: string,
    ): Promise<PublishReceipt> {
      const index = topicIndex.get(topic);
      if (index === undefined) return refuse(undeclaredEvent(topic, who));
      const chosen = options?.id;
      if (chosen !== undefined) {
        const fault = chosenIdFault(topic, who, chosen);
        if (fault !== null) return refuse(fault);
      }
      let text: string;
      try {
        text = encodeBody(catalogue[topic]!.body, topic, who, body, limits.bodyCharacters);
      } catch (error) {
        return refuse(error as OrchestratorError);
      }
      if (account.events >= limits.outboxEvents) {
        return refuse(outboxFull(who, account.events, `${limits.outboxEvents} events`, parts.presence()));
      }
      if (account.characters + text.length > limits.outboxBytes && account.events > 0) {
        return refuse(outboxFull(who, account.events, `${limits.outboxBytes} characters`, parts.presence()));
      }
      return new Promise((resolve) =>
        outbox.add({
          account,
          topic: index,
          offset: 0,
          duplicate: false,
          version: catalogue[topic]!.version,
          id: chosen ?? parts.newId(),
          keyed: chosen !== undefined,
          source,
          at: parts.tools.clock.wallMs(),
          body: text,
          resolve,
        }),
      );
    },
  };
};

/** What the host keeps of a client beside what the daemon sees. */
export interface HeldClient extends EventClient {
  readonly refused: number;
  /** The log was replaced: lanes of the old one are closed, and new ones opened on the new one. */
  reopen(): void;
}

const deliverTo = (options: ClientOptions, topic: string): Deliver => {
  const handler = options.handlers[topic] as (event: EventEnvelope) => Promise<void> | void;
  const { runHandler } = options;
  return runHandler === undefined ? handler : (event) => runHandler(topic, () => handler(event));
};

/**
 * @param external  an outside program: its handlers wait for acks, so cutting them off is no failed try
 * @param ended     told once, when it is detached
 */
export const createClient = (
  parts: HostParts,
  options: ClientOptions,
  external: boolean,
  ended: () => void,
): HeldClient => {
  const { subscriber, generation } = options;
  const { subscriptions, ledger, tools } = parts;
  const publisher = createPublisher(parts, subscriber);
  const lanes = new Map<string, Lane>();
  let detached = false;
  let attaching: Promise<void> | null = null;
  let rejectAttach: ((error: Error) => void) | null = null;

  const detach = (): void => {
    if (detached) return;
    detached = true;
    for (const lane of lanes.values()) {
      lane.close(!external);
      subscriptions.detach(lane.record, lane);
    }
    rejectAttach?.(clientDetached(subscriber, generation, 'attach'));
    ended();
  };

  const openLanes = (): SubscriptionRecord[] => {
    const missing: { topic: string; reason: string }[] = [];
    for (const record of subscriptions.of(subscriber)) {
      if (Object.hasOwn(options.handlers, record.topic)) continue;
      const reason = `${subscriber} has no handler for ${record.topic}`;
      ledger.gap(record, generation, reason);
      missing.push({ topic: record.topic, reason });
    }
    if (missing.length > 0) throw subscriptionGap(subscriber, missing);
    const records = Object.keys(options.handlers).map((topic) => {
      const record = subscriptions.find(subscriber, topic);
      if (record === undefined) throw undeclaredSubscription(subscriber, topic);
      return record;
    });
    for (const record of records) {
      if (lanes.has(record.topic)) continue;
      const deliver = deliverTo(options, record.topic);
      const lane = createLane(record, deliver, tools, (nonce) => parts.prove(record.id, nonce));
      lanes.set(record.topic, lane);
      subscriptions.attach(record, lane, generation);
    }
    return records;
  };

  const attachAll = async (): Promise<void> => {
    if (parts.presence() !== 'serving') await parts.serving();
    if (detached) return;
    for (const record of openLanes()) {
      // A gap may still close by itself; the daemon's own deadline is the judge of how long a start may take.
      while (!detached && (await ledger.outcome(record)) !== null) {
        if (subscriptions.find(subscriber, record.topic) === record) continue;
        throw undeclaredSubscription(subscriber, record.topic);
      }
    }
  };

  return new StartClient(options, {
    publish(topic, body, publishOptions) {
      if (detached) return Promise.reject(clientDetached(subscriber, generation, `publish ${topic}`));
      if (!options.publishes.includes(topic) && parts.topicIndex.has(topic)) {
        return Promise.reject(undeclaredPublisher(topic, subscriber, options.publishes));
      }
      return publisher.publish(topic, body, publishOptions, subscriber);
    },
    attach() {
      if (detached) return Promise.reject(clientDetached(subscriber, generation, 'attach'));
      attaching ??= new Promise<void>((resolve, reject) => {
        rejectAttach = reject;
        const settled = (settle: () => void): void => {
          rejectAttach = null;
          settle();
        };
        attachAll().then(
          () => settled(resolve),
          (error: unknown) => settled(() => reject(error as Error)),
        );
      });
      return attaching;
    },
    async drain() {
      await Promise.all([...lanes.values()].map((lane) => lane.drain()));
    },
    detach,
    reopen() {
      if (lanes.size === 0) return;
      for (const lane of lanes.values()) lane.close(false);
      lanes.clear();
      openLanes();
    },
    outboxSize: () => publisher.account.events,
    handlersRunning() {
      let running = 0;
      for (const lane of lanes.values()) running += lane.runningNow();
      return running;
    },
    refused: publisher.refused,
  });
};

interface ClientWork extends Pick<HeldClient, 'publish' | 'attach' | 'drain' | 'detach' | 'reopen'> {
  outboxSize(): number;
  handlersRunning(): number;
  refused(): number;
}

/** A class for its gauges: a getter in an object literal makes every such object a shape of its own, at 2 KB each. */
class StartClient implements HeldClient {
  readonly subscriber: string;
  readonly generation: number;
  readonly publish: ClientWork['publish'];
  readonly attach: ClientWork['attach'];
  readonly drain: ClientWork['drain'];
  readonly detach: ClientWork['detach'];
  readonly reopen: ClientWork['reopen'];
  readonly #work: ClientWork;

  constructor({ subscriber, generation }: ClientOptions, work: ClientWork) {
    this.subscriber = subscriber;
    this.generation = generation;
    this.publish = work.publish;
    this.attach = work.attach;
    this.drain = work.drain;
    this.detach = work.detach;
    this.reopen = work.reopen;
    this.#work = work;
  }

  get outboxSize(): number {
    return this.#work.outboxSize();
  }

  get handlersRunning(): number {
    return this.#work.handlersRunning();
  }

  get refused(): number {
    return this.#work.refused();
  }
}

/**
 * What the rest of the product holds of the event router: one host for the life of the master, one client per start of a
 * daemon. The thread behind the host comes and goes (that is what a router crash is); the host and its bounded outboxes
 * stay, so a publish that was accepted waits for the next generation of the thread instead of failing.
 */
import type { Fills } from '../bounds.ts';
import type { Clock } from '../seams/clock.ts';
import type { Random } from '../seams/random.ts';
import type {
  Catalogue,
  DeclaredSubscription,
  EventEnvelope,
  EventHandler,
  PublishOptions,
  PublishReceipt,
  SubscriptionState,
} from './types.ts';

/** Every bound of the router. All have defaults (src/events/limits.ts says why each). */
export interface RouterLimits {
  /** Publishes of one client that wait for their receipt; one more is refused with OUTBOX_FULL. */
  readonly outboxEvents: number;
  readonly outboxBytes: number;
  /** The same of all clients together. */
  readonly outboxAllEvents: number;
  readonly outboxAllBytes: number;
  /** Characters of one event's JSON. */
  readonly bodyCharacters: number;
  /** Events handed to one subscription and not yet acknowledged, waiting ones included. */
  readonly prefetchEvents: number;
  /** Characters handed out and not yet acknowledged, over all subscriptions. */
  readonly prefetchCharacters: number;
  /** Milliseconds that handlers may hold the main loop before the rest waits for its next turn. */
  readonly turnMs: number;
  /** A canary unanswered for this long, while its lane did not move, is a gap. */
  readonly canaryMs: number;
  /** Events that every subscription has passed are deleted when older than this … */
  readonly retentionMs: number;
  /** … or when more than this many of them are kept. */
  readonly retainedEvents: number;
  /** How long an id chosen by a publisher is remembered. */
  readonly dedupMs: number;
  /** An external subscription that did not poll for this long is forgotten. */
  readonly externalIdleMs: number;
  /** An event handed to an external subscriber and not acknowledged for this long counts as a failed try. */
  readonly externalLeaseMs: number;
  /** Closed dead letters are deleted when older than this. */
  readonly deadLetterKeepMs: number;
}

/** Where deliveries are written with level DEBUG; costs nothing while `isDebug()` is false. */
export interface RouterLog {
  isDebug(): boolean;
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
}

export interface RouterHostOptions {
  /** Absolute path of events.db. */
  readonly file: string;
  readonly catalogue: Catalogue;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: RouterLog;
  readonly limits?: Partial<RouterLimits>;
}

/** `away`: no thread serves (never started, crashed or stopped); publishes wait in the outboxes. */
export type RouterPresence = 'away' | 'starting' | 'serving' | 'stopping';

export interface RouterExit {
  readonly generation: number;
  /** What ended it, for `lastError`: the thrown error, or the exit code. */
  readonly reason: string;
}

export interface ClientOptions {
  /** The daemon's type. */
  readonly subscriber: string;
  readonly generation: number;
  /** Topics it may publish. */
  readonly publishes: readonly string[];
  /** By topic; every topic must have been declared for this subscriber. */
  readonly handlers: Readonly<Record<string, EventHandler<never>>>;
  /** Runs one handler call inside the daemon's async context; its rejection is the handler's. Absent: called directly. */
  readonly runHandler?: (topic: string, call: () => Promise<void> | void) => Promise<void> | void;
}

/** The router as one start of one daemon sees it. */
export interface EventClient {
  readonly subscriber: string;
  readonly generation: number;
  /**
   * Resolves when the event is durable. While the router is away it waits in the outbox.
   * @throws (rejects) EVENT_UNDECLARED, EVENT_INVALID, OUTBOX_FULL, SCOPE_CLOSED after `detach`
   */
  publish(topic: string, body: unknown, options?: PublishOptions): Promise<PublishReceipt>;
  /** Resolves when a canary of every topic has come back. Waits while the router is away; rejects when detached. */
  attach(): Promise<void>;
  /** Hands out no further event; resolves when the handlers that run now have settled. For a graceful stop. */
  drain(): Promise<void>;
  /**
   * Ends this start's part in the router, at once: no handler is called again, and what a running one returns is
   * ignored; its event goes to the next start with one more attempt counted. What was published is still delivered.
   */
  detach(): void;
  /** Publishes of this client that wait for their receipt. */
  readonly outboxSize: number;
  /** Handler calls that have not settled. */
  readonly handlersRunning: number;
}

/** One subscription's books: `lost` = published − handled − pending − deadLettered, and must be 0. */
export interface AuditRow {
  readonly subscriber: string;
  readonly topic: string;
  /** Events stored on the topic since this subscription was registered. */
  readonly published: number;
  readonly handled: number;
  /** Counted from the rows of the log, not derived. */
  readonly pending: number;
  /** Ever dead-lettered, whatever became of them. */
  readonly deadLettered: number;
  readonly lost: number;
}

export interface AuditReport {
  readonly rows: readonly AuditRow[];
  /** Sum of |lost|; 0 or something is broken. */
  readonly lost: number;
}

export interface DeadLetter {
  readonly id: number;
  readonly subscriber: string;
  readonly topic: string;
  readonly offset: number;
  readonly eventId: string;
  readonly source: string;
  readonly body: unknown;
  /** Why the last attempt failed. */
  readonly reason: string;
  /** Deliveries of this event to this handler, retries of the dead letter included. */
  readonly attempts: number;
  /** Retries since it became a dead letter. */
  readonly retries: number;
  readonly state: 'pending' | 'recovered' | 'abandoned';
  /** Wall milliseconds. */
  readonly publishedAtMs: number;
  readonly deadAtMs: number;
  /** When the next automatic retry is due; null when closed. */
  readonly nextRetryAtMs: number | null;
  readonly closedAtMs: number | null;
}

export interface DeadLetterFilter {
  readonly state?: DeadLetter['state'];
  readonly subscriber?: string;
  /** At most this many, oldest first; default 100. Fewer when their bodies are long (LETTERS_CHARACTERS_MAX). */
  readonly max?: number;
}

export interface DeadLetterOutcome {
  readonly id: number;
  /** skipped: no such letter, closed already, or its handler is not attached. */
  readonly outcome: 'recovered' | 'failed' | 'abandoned' | 'skipped';
  readonly message: string;
}

/** Which dead letters to retry: one or some by id, all pending ones, or those whose back-off is over. */
export type DeadLetterChoice = 'all' | 'due' | readonly number[];

export interface EventTail {
  /** Events not shown because the reader was slower than the stream. */
  readonly dropped: number;
  close(): void;
}

/** Counters since this host was made, and gauges of now; read from memory. */
export interface RouterStats {
  readonly presence: RouterPresence;
  readonly generation: number;
  readonly published: number;
  readonly duplicates: number;
  readonly refused: number;
  /** Handler calls begun. */
  readonly delivered: number;
  readonly acked: number;
  readonly retries: number;
  readonly deadLettered: number;
  /** Pending dead letters in the store. */
  readonly deadLettersPending: number;
  readonly outboxEvents: number;
  readonly outboxCharacters: number;
  readonly commits: number;
  /** Milliseconds of the last commit, and of all of them. */
  readonly commitMsLast: number;
  readonly commitMsTotal: number;
  /** Highest offset stored. */
  readonly head: number;
  readonly retained: number;
  /** Why the thread cannot write at present (disk full …), or null. */
  readonly stalled: string | null;
  readonly subscriptions: number;
  readonly gaps: number;
  readonly lagTotal: number;
  readonly handlersRunning: number;
}

export type Unsubscribe = () => void;

export interface RouterHost {
  /** Counts starts of the thread by this host; 0 before the first. */
  readonly generation: number;
  readonly presence: RouterPresence;

  /** The whole set of subscriptions that must exist, whether or not their daemons run. Before `start`, or live. */
  declare(subscriptions: readonly DeclaredSubscription[]): void;
  /** Starts the thread, opens the file, registers what was declared, re-attaches every live client; resolves when it serves. */
  start(): Promise<void>;
  /** Graceful: what was accepted is stored, acks are committed, the log is checkpointed; then the thread ends. */
  stop(): Promise<void>;
  /** terminate(), wherever it is, by its owner: for revocation and tests. Resolves when the thread is gone. */
  crash(): Promise<void>;
  /** terminate() as an accident would: nobody asked, so `onExit` speaks. For drills. Resolves when the thread is gone. */
  lose(): Promise<void>;
  /** The thread ended without being asked to. */
  onExit(listener: (exit: RouterExit) => void): Unsubscribe;

  /** The client of one start of a daemon; an older client of the same subscriber is detached. */
  client(options: ClientOptions): EventClient;

  ledger(): readonly SubscriptionState[];
  onLedgerChange(listener: (state: SubscriptionState) => void): Unsubscribe;
  onGap(listener: (state: SubscriptionState) => void): Unsubscribe;
  /** Sends a canary down every attached subscription; resolves with the gaps found, once each has answered or run out. */
  probe(): Promise<readonly SubscriptionState[]>;
  /** Re-registers one subscriber's topics and proves each with a canary. @throws (rejects) SUBSCRIPTION_GAP, ROUTER_AWAY */
  reattach(subscriber: string): Promise<void>;

  /** Publishes for a program outside the fleet; its source is `external:<source>`. */
  publishExternal(source: string, topic: string, body: unknown, options?: PublishOptions): Promise<PublishReceipt>;
  /**
   * Makes (or extends) a durable subscription for a program outside; a new topic begins at the head of the log.
   * @throws (rejects) EVENT_UNDECLARED, ROUTER_AWAY, TOO_MANY
   */
  subscribeExternal(name: string, topics: readonly string[]): Promise<void>;
  unsubscribeExternal(name: string): Promise<void>;
  /** Up to `max` events, waiting at most `waitMs` for the first; each must be acked within the lease. */
  poll(
    name: string,
    options: { readonly max: number; readonly waitMs: number; readonly signal?: AbortSignal },
  ): Promise<readonly EventEnvelope[]>;
  /** Resolves with how many were outstanding, when their ack is durable. */
  ack(name: string, offsets: readonly number[]): Promise<number>;
  /** Gives one event back as failed: it is retried like a rejected handler. */
  fail(name: string, offset: number, reason: string): Promise<void>;
  /**
   * Every new event as it is stored, for people; a slow reader loses some, and the number is counted.
   * @param listener  told the event and the characters of its body
   */
  tail(
    listener: (event: EventEnvelope, characters: number) => void,
    options?: { readonly topics?: readonly string[] },
  ): EventTail;

  deadLetters(filter?: DeadLetterFilter): Promise<readonly DeadLetter[]>;
  /** Redelivers to the handler that failed, and to no other. */
  retryDeadLetters(which: DeadLetterChoice, max?: number): Promise<readonly DeadLetterOutcome[]>;
  /** Deletes closed letters older than the bound; resolves with how many. */
  purgeDeadLetters(): Promise<number>;

  audit(): Promise<AuditReport>;
  stats(): RouterStats;
  /** What waits or is kept here, and the most that may. */
  collections(): Fills;
}

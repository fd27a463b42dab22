/**
 * What the host (main thread) and the router thread say to each other.
 *
 * Everything that must be durable travels in numbered batches. A batch is one atomic piece of the thread's transaction,
 * the host keeps it until the thread has confirmed its commit, and re-sends it to the next generation; the number of the
 * last batch applied is written in the same transaction, so a batch whose confirmation was lost is recognised and not
 * applied twice. That one rule makes publishes, acks, attempt counts and dead letters exactly-once across a crash of the
 * thread. What comes by the thousand (events, registrations, canaries) travels as columns, since cloning six arrays costs less
 * than cloning a thousand objects; and events only where they must: what the host published a moment ago it still has, so the thread names those by offset.
 */
import type { DeadLetter, DeadLetterFilter } from './router-api.ts';
import type { DeclaredSubscription } from './types.ts';

/** Progress of one subscription. */
export interface Ack {
  readonly subscription: number;
  /** Every event of the subscription up to here is finished. */
  readonly cursor: number;
  /** Finished beyond the cursor; only with more than one in flight. */
  readonly ahead: readonly number[];
  /** Handled since the last ack, for the books. */
  readonly handled: number;
  /** Finished after failed tries: their count of attempts can be forgotten. */
  readonly forget: readonly number[];
}

export interface Failure {
  readonly subscription: number;
  readonly offset: number;
  readonly attempts: number;
  readonly reason: string;
}

/** The last attempt failed: the event becomes a dead letter of this subscription. */
export interface Death extends Failure {
  readonly at: number;
  readonly nextRetryAt: number;
}

/** How a retry of a dead letter ended. */
export interface LetterOutcome {
  readonly letter: number;
  readonly state: DeadLetter['state'];
  readonly retries: number;
  readonly attempts: number;
  readonly reason: string;
  readonly at: number;
  readonly nextRetryAt: number | null;
}

/** Publishes as columns, all of one length. */
export interface PublishColumns {
  /** Index into the host's list of topics. */
  readonly topics: number[];
  readonly ids: string[];
  readonly sources: string[];
  /** Wall milliseconds. */
  readonly at: number[];
  readonly bodies: string[];
  /** Positions whose id was chosen by the publisher, so that it may have been seen before. */
  readonly keyed: number[];
}

/** Canaries as columns of one length. */
export interface CanaryColumns {
  readonly subscriptions: number[];
  readonly nonces: number[];
}

/** Canaries on their way to lanes that get no events with them. */
export interface CanaryDeliveries extends CanaryColumns {
  readonly epochs: number[];
}

/** Registrations as columns of one length. */
export interface AttachColumns extends CanaryDeliveries {
  readonly cursors: number[];
  /** Position of a registration, and the offsets beyond its cursor that are held or done; most have none. */
  readonly excepts: (readonly [position: number, offsets: readonly number[]])[];
}

export interface Batch {
  readonly kind: 'batch';
  /** Grows by one; the thread applies each number once. */
  readonly seq: number;
  readonly publishes: PublishColumns;
  readonly acks: Ack[];
  readonly failures: Failure[];
  readonly deaths: Death[];
  readonly letters: LetterOutcome[];
  /** Canaries that came back. */
  readonly proofs: CanaryColumns;
}

export type ToRouter =
  | Batch
  /** Deliver from the cursor on, leaving out what is held or done; first a canary. Also re-registers. */
  | ({ readonly kind: 'attach' } & AttachColumns)
  | { readonly kind: 'detach'; readonly subscriptions: number[] }
  | { readonly kind: 'canary'; readonly subscription: number; readonly nonce: number }
  | { readonly kind: 'declare'; readonly subscriptions: readonly DeclaredSubscription[]; readonly at: number }
  | { readonly kind: 'ask'; readonly id: number; readonly question: Question }
  /** Those of one turn, in order: a fleet that comes back registers thousands of lanes at once. */
  | { readonly kind: 'several'; readonly messages: readonly ToRouter[] }
  | { readonly kind: 'stop' };

export type Question =
  | { readonly about: 'audit' }
  | { readonly about: 'dead-letters'; readonly filter: DeadLetterFilter }
  | { readonly about: 'letters-to-retry'; readonly which: 'all' | readonly number[]; readonly max: number }
  | { readonly about: 'letters-due'; readonly at: number; readonly max: number }
  | { readonly about: 'purge-letters'; readonly closedBefore: number }
  | {
      readonly about: 'external-subscribe';
      readonly subscriber: string;
      readonly topics: readonly string[];
      readonly at: number;
      readonly maxInFlight: number;
    }
  | { readonly about: 'external-unsubscribe'; readonly subscriber: string }
  | { readonly about: 'external-seen'; readonly subscriber: string; readonly at: number }
  | { readonly about: 'sweep'; readonly sweep: SweepBounds };

export interface SweepBounds {
  /** Wall milliseconds of now. */
  readonly at: number;
  readonly retentionMs: number;
  readonly retainedEvents: number;
  readonly dedupMs: number;
  readonly externalIdleMs: number;
}

/** Events read from the store, as columns of one length. */
export interface EventPage {
  readonly offsets: number[];
  readonly versions: number[];
  readonly ids: string[];
  readonly sources: string[];
  readonly at: number[];
  readonly bodies: string[];
}

/** What one subscription gets: first the canary (0: none), then events. */
export interface LaneDelivery {
  readonly subscription: number;
  /** The attach that asked for it; deliveries of an earlier one are dropped. */
  readonly epoch: number;
  readonly canary: number;
  /** Events that the host published in this generation and still has. */
  readonly offsets: number[];
  /** Events that it may not have; null when it has them all. */
  readonly page: EventPage | null;
}

/** How one batch was stored. Fresh publishes got consecutive offsets, in order. */
export interface BatchReceipt {
  readonly seq: number;
  readonly firstOffset: number;
  /** An earlier generation stored this batch and its confirmation was lost; `duplicates` then has every position. */
  readonly known: boolean;
  /** Position in the batch and the offset of the event stored before under that id. */
  readonly duplicates: (readonly [position: number, offset: number])[];
}

export interface ThreadCounters {
  readonly head: number;
  readonly retained: number;
  readonly commits: number;
  readonly commitMsLast: number;
  readonly commitMsTotal: number;
  readonly deadLettersPending: number;
  readonly stalled: string | null;
  /** Characters handed out and not yet acknowledged. */
  readonly handedOut: number;
}

/** A subscription as the store knows it, at start or after a change. */
export interface StoredSubscription {
  readonly id: number;
  readonly subscriber: string;
  readonly topic: string;
  readonly external: boolean;
  readonly critical: boolean;
  readonly maxInFlight: number;
  readonly declared: boolean;
  readonly cursor: number;
  readonly ahead: readonly number[];
  /** Events on the topic before it was registered. */
  readonly base: number;
  readonly handled: number;
  readonly dead: number;
  /** Failed tries so far, of events not finished. */
  readonly attempts: (readonly [offset: number, attempts: number, reason: string])[];
}

export type FromRouter =
  | {
      readonly kind: 'serving';
      /** Names this log; another one means the file was replaced, and offsets of the old one mean nothing. */
      readonly logId: string;
      readonly subscriptions: readonly StoredSubscription[];
      /** Topic index and events ever stored on it. */
      readonly stored: (readonly [topic: number, count: number])[];
      readonly counters: ThreadCounters;
    }
  /** It cannot serve; the parts of an OrchestratorError. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string; readonly remedy: string }
  | {
      readonly kind: 'turn';
      readonly receipts: BatchReceipt[];
      readonly proven: CanaryColumns | null;
      readonly canaries: CanaryDeliveries | null;
      readonly lanes: LaneDelivery[];
      /** The host need not keep events before this offset. */
      readonly keepFrom: number;
      readonly stored: (readonly [topic: number, count: number])[];
      readonly counters: ThreadCounters | null;
    }
  | { readonly kind: 'subscriptions'; readonly subscriptions: readonly StoredSubscription[] }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'no-answer'; readonly id: number; readonly message: string }
  | { readonly kind: 'stopped' };

/** What the thread is started with. */
export interface RouterThreadData {
  readonly file: string;
  /** Names this host: batch numbers count within it. */
  readonly host: string;
  /** Names the log, if this start makes it. */
  readonly newLogId: string;
  readonly topics: readonly { readonly name: string; readonly version: number }[];
  readonly subscriptions: readonly DeclaredSubscription[];
  readonly at: number;
  readonly prefetchEvents: number;
  readonly prefetchCharacters: number;
}

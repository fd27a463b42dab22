/**
 * What an event is, and what a client of the router may do. The router itself lives in a thread of its own; a daemon
 * only ever sees these shapes.
 */
import type { z } from 'zod';

/** One entry of the catalogue. Bodies are JSON objects; a version grows when a field changes meaning. */
export interface EventDeclaration<Schema extends z.ZodType = z.ZodType> {
  readonly version: number;
  readonly body: Schema;
  /** What happened, in one line; printed in docs/reference/events.md. */
  readonly meaning: string;
  /** Who publishes it besides the daemons that say so: 'worker', 'orchestrator', 'operator', 'inbox' … */
  readonly externalProducers?: readonly string[];
  /** Who reads it besides daemons, so that `validate` does not call it one-sided. */
  readonly externalConsumers?: readonly string[];
}

export type Catalogue = Readonly<Record<string, EventDeclaration>>;

export interface EventEnvelope<Body = unknown> {
  /** Unique; de-duplication is by this and never by content. */
  readonly id: string;
  readonly topic: string;
  readonly version: number;
  /** Offset in the log: grows by publish order. */
  readonly offset: number;
  /** Who published: a daemon type, or 'external:<name>'. */
  readonly source: string;
  /** Wall clock at publish, milliseconds. */
  readonly publishedAtMs: number;
  /** 1 for the first delivery. */
  readonly attempt: number;
  readonly body: Body;
}

/** Resolving acknowledges; rejecting has the event retried (5 tries within 31 s), then dead-lettered with the reason. */
export type EventHandler<Body = unknown> = (event: EventEnvelope<Body>) => Promise<void> | void;

export interface PublishOptions {
  /** A caller's own id makes a publish idempotent: the same id within the de-duplication window is stored once. */
  readonly id?: string;
}

export interface PublishReceipt {
  readonly id: string;
  readonly offset: number;
  /** False when that id had been stored before. */
  readonly stored: boolean;
}

/** A subscription that must exist whether or not its daemon runs: named by (subscriber, topic), durable. */
export interface DeclaredSubscription {
  readonly subscriber: string;
  readonly topic: string;
  /** A gap of a critical subscriber makes /ready 503. */
  readonly critical: boolean;
  /** Deliveries in flight at once; 1 keeps strict order. */
  readonly maxInFlight: number;
}

/** What the ledger found for one subscription when it last compared. */
export interface SubscriptionState {
  readonly subscriber: string;
  readonly topic: string;
  readonly critical: boolean;
  /** `attached` with a confirmed canary, `attaching`, or `gap` with the reason. */
  readonly state: 'attached' | 'attaching' | 'detached' | 'gap';
  readonly reason: string | null;
  /** Events stored for it and not yet acknowledged. */
  readonly lag: number;
  readonly handled: number;
  readonly deadLetters: number;
  readonly inFlight: number;
  readonly cursor: number;
  /** Start of the daemon that holds it; null while nobody does. */
  readonly generation?: number | null;
  /** Seconds the oldest running handler has been at it, and on which event; null when none runs. */
  readonly busySeconds?: number | null;
  readonly busyEventId?: string | null;
}

/**
 * What crosses the edges of the server thread: the picture the main thread posts to it, the requests it forwards, and
 * the bodies its routes answer with. Plain data only, so that a client can take these types without loading the master.
 *
 * Two rules keep an operator from being lied to. Reads are answered from the thread's own picture, with its age on them;
 * and a forwarded request is either taken by the main thread within ACKNOWLEDGE_MS or withdrawn for ever, never carried
 * out after the caller was told that it was not (see slots.ts).
 */
import type { Fills } from '../../bounds.ts';
import type { SubscriptionState } from '../../events/types.ts';
import type { CommandOutcome, CommandVerb, DaemonStatus, FleetSnapshot } from '../../orchestrator/types.ts';
import { CONNECTIONS_MAX } from '../../seams/connections.ts';
import type { HistoryEntry, OperationRecord, Origin, Verdict, WhyReport } from '../../orchestrator/types.ts';
import type { FloorPanel } from '../cli/watch/floor.ts';

/** The main loop is called stalled after this much silence; docs/contract.md "Commands". Milliseconds. */
export const STALLED_AFTER_MS = 2_000;
/** A forwarded request must be taken by the main thread within this; else 503. docs/contract.md "Commands". Milliseconds. */
export const ACKNOWLEDGE_MS = 2_000;
/** Longer bodies are refused with 413. Bytes. */
export const BODY_BYTES_MAX = 64 * 1024;

export const LOG_LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR', 'CRITICAL'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const PLAN_VERBS = ['boot', 'stop-all', 'recover', 'restart', 'stop'] as const;
export type PlanVerb = (typeof PLAN_VERBS)[number];

export const EVENT_VERBS = ['publish', 'poll', 'ack', 'tail', 'dead-letters', 'retry', 'audit'] as const;
export type EventVerb = (typeof EVENT_VERBS)[number];

export const DRILL_VERBS = ['run', 'list', 'report', 'inject', 'heal', 'verify'] as const;
export type DrillVerb = (typeof DRILL_VERBS)[number];

export const ACT_VERBS = [
  'start',
  'stop',
  'restart',
  'reset',
  'start-profile',
  'recover',
  'shutdown',
] as const satisfies readonly CommandVerb[];
export type ActVerb = (typeof ACT_VERBS)[number];

/** An error as every route sends it, under the key `error`. */
export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

// ---------------------------------------------------------------------------------------------- forwarded requests

/** What an operator asks for; the master gives it its id. */
export interface ActRequest {
  readonly verb: ActVerb;
  readonly daemons?: readonly string[];
  readonly origin?: Extract<Origin, 'operator' | 'schedule'>;
  /** Who asks and why, for the journal. */
  readonly reason?: string;
  /** Milliseconds to wait for the outcome; 0: answer as soon as it is accepted. */
  readonly waitMs?: number;
  /** recover only. */
  readonly drainMs?: number;
  readonly resetFailed?: boolean;
  /** A caller's own id makes a repeat harmless. */
  readonly id?: string;
}

/** What the server thread hands to the main thread. `arguments` of events and drills are theirs to check. */
export type ControlRequest =
  | { readonly kind: 'act'; readonly act: ActRequest & { readonly id: string } }
  | { readonly kind: 'plan'; readonly verb: PlanVerb; readonly daemons: readonly string[] }
  | { readonly kind: 'log-level'; readonly level: LogLevel }
  | { readonly kind: 'events'; readonly verb: EventVerb; readonly arguments: Readonly<Record<string, unknown>> }
  | { readonly kind: 'drills'; readonly verb: DrillVerb; readonly arguments: Readonly<Record<string, unknown>> };

/** `body` of an `act` is a CommandOutcome. */
export type ControlReply =
  | { readonly ok: true; readonly body: unknown }
  | { readonly ok: false; readonly status: number; readonly error: ErrorBody };

// ---------------------------------------------------------------------------------------------- what main publishes

export interface GraphEdge {
  readonly from: string;
  readonly on: string;
  readonly kind: string;
  readonly condition: string;
  readonly onLoss: string;
  readonly writtenAt: string;
}

/** docs/contract.md "Plan": what `plan boot` and /graph print. Known before anything starts. */
export interface GraphPicture {
  readonly order: readonly string[];
  readonly waves: readonly (readonly string[])[];
  readonly edges: readonly GraphEdge[];
  readonly criticalPath: readonly string[];
}

/** Totals since the master started, and levels; printed as `master_loop_events_<name>_total` and `master_loop_events_<name>`. */
export interface EventFigures {
  /** e.g. published, duplicates, delivered, handled, retried, dead_lettered. */
  readonly totals: Readonly<Record<string, number>>;
  /** e.g. outbox, in_flight, dead_letters_pending. */
  readonly levels: Readonly<Record<string, number>>;
}

export interface LogFigures {
  readonly level: LogLevel;
  /** Lines lost because the buffer was full or the disk refused them. */
  readonly dropped: number;
  /** The last write failure, or null once a write succeeded again. */
  readonly failing: string | null;
}

/** Everything that changes slowly, sent with the beat. */
export interface BeatFigures {
  readonly events?: EventFigures;
  readonly subscriptions?: readonly SubscriptionState[];
  readonly log?: LogFigures;
  /** Levels of the master itself, printed as `master_loop_<name>`. */
  readonly gauges?: Readonly<Record<string, number>>;
  /** What is bounded, and how full it is. */
  readonly collections?: Fills;
  /** What the daemons work on, when there is something to show. */
  readonly floor?: FloorPanel;
}

/** What changed since the last post. */
export interface Change extends BeatFigures {
  readonly daemons?: readonly DaemonStatus[];
  /** Journal entries in order: transitions, and the inputs that caused them. */
  readonly history?: readonly HistoryEntry[];
  readonly operation?: OperationRecord | null;
  readonly verdict?: FleetSnapshot['verdict'];
  /** After `apply`: a new fleet. */
  readonly graph?: GraphPicture;
}

// ---------------------------------------------------------------------------------------------- messages

export interface ServerThreadData {
  readonly dataDir: string;
  /** Read by the thread itself, for what its memory does not hold. */
  readonly journalFolder: string;
  readonly bind: string;
  readonly port: number;
  readonly version: string;
  readonly snapshot: FleetSnapshot;
  readonly graph: GraphPicture;
  /** Int32 words that main and thread share: see slots.ts and stall-watch.ts. */
  readonly shared: SharedArrayBuffer;
  /** Int32Array whose word 0 is the index of the daemon that holds the main loop, or -1. */
  readonly attribution: SharedArrayBuffer;
  readonly names: readonly string[];
  readonly limits: ServerLimits;
}

export interface ServerLimits {
  readonly connections: number;
  readonly streams: number;
  /** Milliseconds for a whole request to arrive. */
  readonly requestMs: number;
  /** Bytes a slow reader of a stream may lag behind before it is dropped. */
  readonly streamBytes: number;
  /** Bytes of answers that wait for their readers, all together. */
  readonly answerBytes: number;
  /** Milliseconds a reader may take over one answer. */
  readonly answerMs: number;
  /** Posts of the main thread that the server thread has not read; a thread with more of them is replaced. */
  readonly posts: number;
  readonly stalledAfterMs: number;
  readonly acknowledgeMs: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  connections: CONNECTIONS_MAX,
  streams: 32,
  requestMs: 10_000,
  streamBytes: 4 * 1024 * 1024,
  answerBytes: 64 * 1024 * 1024,
  answerMs: 60_000,
  posts: 2_000, //                     some 20 s of a main thread that posts as often as it may
  stalledAfterMs: STALLED_AFTER_MS,
  acknowledgeMs: ACKNOWLEDGE_MS,
};

export interface StallReport {
  /** ISO-8601. */
  readonly startedAt: string;
  readonly durationMs: number;
  /** The daemon that held the loop most of that time; null when it was none of them. */
  readonly daemon: string | null;
}

export type ToServer =
  | { readonly type: 'change'; readonly change: Change }
  | { readonly type: 'beat'; readonly lagMs: number; readonly figures: BeatFigures }
  | { readonly type: 'names'; readonly names: readonly string[] }
  | { readonly type: 'reply'; readonly id: number; readonly reply: ControlReply }
  | { readonly type: 'close' };

export type FromServer =
  | { readonly type: 'listening'; readonly port: number; readonly socketPath: string }
  | { readonly type: 'failed'; readonly error: ErrorBody & { readonly context: Readonly<Record<string, unknown>> } }
  | { readonly type: 'request'; readonly id: number; readonly slot: number; readonly request: ControlRequest }
  | { readonly type: 'hung-up'; readonly id: number }
  | ({ readonly type: 'stall' } & StallReport)
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string }
  | { readonly type: 'closed' };

// ---------------------------------------------------------------------------------------------- answers

/** Answer to GET /control/hello. */
export interface Hello {
  readonly version: string;
  readonly fleet: string;
  readonly pid: number;
  readonly port: number;
  readonly startedAt: string;
}

/** Who holds the main loop, while it is stalled. */
export interface StallNow {
  readonly silentMs: number;
  readonly heldBy: string | null;
}

/** docs/contract.md "Status". */
export interface StatusReport extends Omit<FleetSnapshot, 'verdict'> {
  readonly port: number;
  readonly uptimeSeconds: number;
  readonly verdict: Verdict;
  readonly snapshotAgeMs: number;
  readonly stall: StallNow | null;
  readonly lagMs: number;
  readonly subscriptions: { readonly total: number; readonly gaps: readonly SubscriptionState[] };
  readonly log: LogFigures | null;
  readonly floor?: FloorPanel;
}

export interface HealthReport {
  readonly status: 'ok' | 'unhealthy' | 'engine_stalled';
  readonly critical: Readonly<Record<string, string>>;
  readonly snapshotAgeMs: number;
  /** Present while stalled. */
  readonly heldBy?: string | null;
}

export interface NotReady {
  readonly daemon: string;
  readonly state: string;
  readonly reason: string;
}

export interface ReadyReport {
  readonly ready: boolean;
  /** Daemon types, in the fleet's order. */
  readonly notReady: readonly string[];
  /** The same, with why; a subscription gap names its subscriber. */
  readonly reasons: readonly NotReady[];
  readonly verdict: Verdict;
  readonly snapshotAgeMs: number;
}

export interface WaitReport extends ReadyReport {
  /** `ready`, `timeout`, or why waiting any longer is useless. */
  readonly ended: 'ready' | 'timeout' | 'failed' | 'stopping';
  readonly waitedSeconds: number;
}

export interface GraphReport extends GraphPicture {
  readonly fleet: string;
  readonly nodes: readonly {
    readonly type: string;
    readonly state: string;
    readonly health: string;
    readonly critical: boolean;
    readonly wanted: string;
  }[];
}

/** Why, with the age of the picture it was taken from. */
export interface WhyAnswer extends WhyReport {
  readonly snapshotAgeMs: number;
  readonly stall: StallNow | null;
}

export interface HistoryQuery {
  readonly daemon?: string;
  /** Newest last; default 50, at most 10,000. */
  readonly limit?: number;
}

export interface LogsQuery {
  readonly daemon?: string;
  /** Last lines first to print; default 50, at most 10,000. */
  readonly lines?: number;
}

export type { CommandOutcome, DaemonStatus, HistoryEntry, WhyReport };

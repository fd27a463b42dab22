/**
 * The contract between a daemon and whatever runs it.
 *
 * A definition is data plus one function: its edges, events and configuration are known before anything starts (that is
 * how the graph is checked and every subscription registered first), and `create` builds one start of it. Everything a
 * daemon may touch arrives in the context of that start; when the start ends the context is revoked, and what was taken
 * through it closes. A daemon never imports the orchestrator or a sibling.
 */
import { z } from 'zod';
import type { RINGRIFT_EVENTS } from '../events/catalogue.ts';
import type { EventEnvelope, EventHandler, PublishOptions, PublishReceipt } from '../events/types.ts';
import type { Health } from '../health/verdict.ts';
import type { Clock } from '../seams/clock.ts';
import type { FileSystem } from '../seams/file-system.ts';
import type { Network } from '../seams/network.ts';
import type { Random } from '../seams/random.ts';
import type { RunningProcess, SpawnSpec } from '../seams/spawner.ts';

export type EdgeKind = 'hard' | 'soft' | 'order';
export type EdgeCondition = 'ready' | 'completed' | 'started';
export type OnLoss = 'restart' | 'reattach' | 'stop' | 'ignore';

/** One edge as a definition or a fleet file writes it; a bare name is hard, ready, with that edge's default onLoss. */
export interface DependencyEdge {
  readonly on: string;
  readonly kind?: EdgeKind;
  readonly condition?: EdgeCondition;
  /** Soft and order edges release the start after this long. */
  readonly timeoutSeconds?: number;
  readonly onLoss?: OnLoss;
}

export type DaemonKind = 'in-process' | 'thread' | 'process';

export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** What a daemon may see of the others, and the only way it can act on them: by asking. */
export interface FleetView {
  /** A snapshot; cheap, taken from memory. */
  daemons(): readonly FleetMember[];
  /** The supervisor's own condition. */
  master(): { readonly pid: number; readonly port: number; readonly controlSocket: string; readonly lagMs: number };
  /** Asks the orchestrator, which alone decides. Resolves with what it decided, never throws for a refusal. */
  ask(verb: 'restart' | 'reset', daemon: string, reason: string): Promise<{ accepted: boolean; message: string }>;
  /** Reports evidence about a daemon that overrides what it says of itself (stalled output, dead process …). */
  report(daemon: string, evidence: Health): void;
}

export interface FleetMember {
  readonly type: string;
  readonly state: string;
  readonly wanted: 'up' | 'down';
  readonly generation: number;
  readonly health: Health;
  /** Monotonic milliseconds; null when it never was. */
  readonly readyAt: number | null;
  readonly lastHeartbeatAt: number | null;
  /** When the oldest call into it that is under way (a cycle, a handler) last moved; null when none is. */
  readonly movedAt: number | null;
  /** Of each of its cycles: the period, and when it last went through (or, until it did, could first have run). */
  readonly cycles: readonly { readonly periodSeconds: number; readonly wentThroughAt: number }[];
  readonly processes: readonly { readonly name: string; readonly pid: number; isAlive(): boolean }[];
}

/** A child process made through the context: recorded by the master before it runs, ended with the daemon's start
 * unless `survives`, and with every full stop. */
export interface DaemonProcess {
  readonly name: string;
  readonly process: RunningProcess;
}

export interface DaemonSpawn extends Omit<SpawnSpec, 'cwd' | 'outputFile'> {
  /** Unique within the daemon; names its folder and its output file. */
  readonly name: string;
  readonly cwd?: string;
  /** It outlives a restart of this daemon (its next start finds it in `spawned()`), but never a full stop. */
  readonly survives?: boolean;
}

/** Names of events that this fleet declares. */
export type EventName = Extract<keyof typeof RINGRIFT_EVENTS, string>;
export type EventBody<Name extends EventName> = z.output<(typeof RINGRIFT_EVENTS)[Name]['body']>;
/** What a publisher hands in, before defaults are filled. */
export type EventInput<Name extends EventName> = z.input<(typeof RINGRIFT_EVENTS)[Name]['body']>;

/** What every daemon gets, for one start. Every function throws SCOPE_CLOSED once this start has ended. */
export interface DaemonContext<Config, Publishes extends EventName = EventName> {
  readonly type: string;
  /** Counts starts of this daemon, over restarts of the master too. */
  readonly generation: number;
  readonly config: Config;
  /** Timers taken from it are cancelled with the start. */
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Aborts when this start is being stopped. */
  readonly signal: AbortSignal;
  /** A private folder that outlives restarts. */
  readonly dataDir: string;
  readonly files: FileSystem;
  readonly network: Network;
  readonly fleet: FleetView;
  /** Resolves when the event is durable. Rejects when undeclared, invalid, or this start has ended. */
  publish<Name extends Publishes>(
    name: Name,
    body: EventInput<Name>,
    options?: PublishOptions,
  ): Promise<PublishReceipt>;
  spawn(spec: DaemonSpawn): Promise<DaemonProcess>;
  /** Live processes of this daemon that `survives` kept from an earlier start. */
  spawned(): readonly DaemonProcess[];
  /** Ends one process made by `spawn`: TERM to its group, KILL after `graceMs`; resolves on proof that it is gone. */
  endProcess(process: DaemonProcess, graceMs?: number): Promise<void>;
  /** Registers something to close with this start; for servers, sockets and handles. Closed last-taken first. */
  own<Closable extends { close(): unknown }>(closable: Closable, name: string): Closable;
  /** Says that dependents may rely on this daemon. Called for you when `start` returns, unless `manualReady`. */
  ready(): void;
  /** Says that work moves; a daemon with long handlers calls it so that it is not taken for hung. */
  heartbeat(): void;
  /** Ends this start as a crash: what it owned has died under it (its thread, its server) and it cannot go on. */
  fail(error: unknown): void;
}

export interface Cycle {
  readonly periodSeconds: number;
  /** Also run once right after ready, rather than one period later. Default true. */
  readonly atStart?: boolean;
  /** A rejection counts in the error rate and is logged; it is not a crash. Never overlaps itself. */
  run(): Promise<void> | void;
}

/** One start of a daemon. */
export interface DaemonInstance<Subscribes extends EventName = EventName> {
  /** Acquires; returning from it means ready (unless `manualReady`). A rejection is a failed start. */
  start?(): Promise<void> | void;
  readonly on?: { readonly [Name in Subscribes]: (event: EventEnvelope<EventBody<Name>>) => Promise<void> | void };
  readonly every?: Cycle | readonly Cycle[];
  /** Finishes what must not be left half done, within the stop deadline. Not called after a hang. */
  stop?(): Promise<void> | void;
  /** Looks at evidence and never waits. Absent: judged by the error rate and progress of its cycles. */
  health?(): Health;
  /** For drills: breaks the real resource that health looks at, and mends it. Never a flag that the check reads. */
  readonly breakage?: Breakage;
}

/** How a drill breaks a daemon's real resource. `heal` must also work in a later start, after the broken one is gone. */
export interface Breakage {
  /** In words, for the drill report: "closes the handle of canonical/square8_2p.db". */
  readonly what: string;
  break(): Promise<void> | void;
  heal(): Promise<void> | void;
}

/** A definition with its types erased: what the orchestrator and the runtimes hold. */
export interface DaemonDefinition {
  readonly type: string;
  readonly purpose: string;
  readonly category: string;
  readonly kind: DaemonKind;
  readonly critical: boolean;
  readonly dependsOn: readonly DependencyEdge[];
  readonly publishes: readonly string[];
  readonly subscribes: readonly string[];
  readonly maxInFlight: number;
  readonly manualReady: boolean;
  readonly oneShot: boolean;
  readonly recoveryTargetSeconds: number | null;
  /** Health period of the shipped fleet, seconds; upstream's figure. */
  readonly healthPeriodSeconds: number | null;
  readonly config: z.ZodType;
  /** Values of `config` that `--tempo quick` compresses to. */
  readonly quick: Readonly<Record<string, unknown>>;
  readonly deprecated: { readonly successor: string } | null;
  create(context: DaemonContext<never> & object): ErasedInstance;
}

export interface ErasedInstance {
  start?(): Promise<void> | void;
  readonly on?: Readonly<Record<string, EventHandler<never>>>;
  readonly every?: Cycle | readonly Cycle[];
  stop?(): Promise<void> | void;
  health?(): Health;
  readonly breakage?: Breakage;
}

export interface DaemonRecipe<
  Config extends z.ZodType,
  Publishes extends EventName,
  Subscribes extends EventName,
  Services extends object,
> {
  readonly type: string;
  readonly purpose: string;
  readonly category: string;
  readonly kind?: DaemonKind;
  readonly critical?: boolean;
  readonly dependsOn?: readonly (string | DependencyEdge)[];
  readonly publishes?: readonly Publishes[];
  /** Every topic that `on` handles; registered with the router before any daemon starts. */
  readonly subscribes?: readonly Subscribes[];
  /** Deliveries of one topic in flight at once; default 1, which keeps order. */
  readonly maxInFlight?: number;
  readonly manualReady?: boolean;
  readonly oneShot?: boolean;
  readonly recoveryTargetSeconds?: number;
  readonly healthPeriodSeconds?: number;
  readonly config?: Config;
  readonly quick?: Readonly<Partial<z.input<Config>>>;
  readonly deprecated?: { readonly successor: string };
  create(context: DaemonContext<z.output<Config>, Publishes> & Services): DaemonInstance<Subscribes>;
}

const NO_CONFIG = z.strictObject({});

/**
 * Declares a daemon. Types follow the edges: a handler's event is narrowed to its name, `publish` accepts only what was
 * declared, and `on` must handle exactly what `subscribes` lists.
 */
export const defineDaemon = <
  Config extends z.ZodType = typeof NO_CONFIG,
  const Publishes extends EventName = never,
  const Subscribes extends EventName = never,
  Services extends object = object,
>(
  recipe: DaemonRecipe<Config, Publishes, Subscribes, Services>,
): DaemonDefinition => ({
  type: recipe.type,
  purpose: recipe.purpose,
  category: recipe.category,
  kind: recipe.kind ?? 'in-process',
  critical: recipe.critical ?? false,
  dependsOn: (recipe.dependsOn ?? []).map((edge) => (typeof edge === 'string' ? { on: edge } : edge)),
  publishes: recipe.publishes ?? [],
  subscribes: recipe.subscribes ?? [],
  maxInFlight: recipe.maxInFlight ?? 1,
  manualReady: recipe.manualReady ?? false,
  oneShot: recipe.oneShot ?? false,
  recoveryTargetSeconds: recipe.recoveryTargetSeconds ?? null,
  healthPeriodSeconds: recipe.healthPeriodSeconds ?? null,
  config: recipe.config ?? NO_CONFIG,
  quick: (recipe.quick ?? {}) as Readonly<Record<string, unknown>>,
  deprecated: recipe.deprecated ?? null,
  create: recipe.create as unknown as DaemonDefinition['create'],
});

/**
 * `defineDaemon` for daemons that get services beside the common context: `daemonsWith<RouterService>()({ … })`. Curried,
 * because the services are said and everything else is inferred.
 */
export const daemonsWith =
  <Services extends object>() =>
  <
    Config extends z.ZodType = typeof NO_CONFIG,
    const Publishes extends EventName = never,
    const Subscribes extends EventName = never,
  >(
    recipe: DaemonRecipe<Config, Publishes, Subscribes, Services>,
  ): DaemonDefinition =>
    defineDaemon<Config, Publishes, Subscribes, Services>(recipe);

/** A duration in seconds with its default: at least 0, at most a year. */
export const seconds = (byDefault: number): z.ZodDefault<z.ZodNumber> =>
  z
    .number()
    .min(0)
    .max(365 * 86_400)
    .default(byDefault);

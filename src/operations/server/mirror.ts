/**
 * The server thread's picture of the fleet: what the main thread posted last, and nothing that it did not say.
 *
 * It answers while the main loop is blocked, so it keeps whatever an answer needs: every daemon's status, the graph, the
 * operation, the subscriptions, and the newest part of the journal. Everything in it has a bound.
 */
import type { Fills } from '../../bounds.ts';
import type { SubscriptionState } from '../../events/types.ts';
import type { DaemonStatus, FleetSnapshot, HistoryEntry } from '../../orchestrator/types.ts';
import type { FloorPanel } from '../cli/watch/floor.ts';
import type { BeatFigures, Change, EventFigures, GraphPicture, LogFigures } from './protocol.ts';

/** Journal entries kept in memory, for the stream's catch-up and for `why` when the disk fails. Chosen. */
export const HISTORY_KEPT = 4_096;
/** Cut in strides, so that a full ring costs one copy in many entries instead of one each. */
export const HISTORY_MAX = HISTORY_KEPT * 1.25;

export class Mirror {
  #fleet: Omit<FleetSnapshot, 'daemons'>;
  readonly #daemons = new Map<string, DaemonStatus>();
  #graph: GraphPicture;
  #subscriptions: readonly SubscriptionState[] = [];
  #events: EventFigures = { totals: {}, levels: {} };
  #log: LogFigures | null = null;
  #gauges: Readonly<Record<string, number>> = {};
  #collections: Fills = {};
  #floor: FloorPanel | null = null;
  #lagMs = 0;
  #revision = 0;
  /** Oldest first. */
  readonly #history: HistoryEntry[] = [];

  constructor(snapshot: FleetSnapshot, graph: GraphPicture) {
    const { daemons, ...fleet } = snapshot;
    this.#fleet = fleet;
    for (const daemon of daemons) this.#daemons.set(daemon.type, daemon);
    this.#graph = graph;
  }

  apply(change: Change): void {
    this.#revision++;
    for (const daemon of change.daemons ?? []) this.#daemons.set(daemon.type, daemon);
    if (change.graph !== undefined) {
      this.#graph = change.graph;
      const known = new Set(change.graph.order);
      for (const type of this.#daemons.keys()) if (!known.has(type)) this.#daemons.delete(type);
    }
    if (change.operation !== undefined) this.#fleet = { ...this.#fleet, operation: change.operation };
    if (change.verdict !== undefined) this.#fleet = { ...this.#fleet, verdict: change.verdict };
    for (const entry of change.history ?? []) this.#history.push(entry);
    if (this.#history.length > HISTORY_MAX) this.#history.splice(0, this.#history.length - HISTORY_KEPT);
    this.#slow(change);
  }

  beat(lagMs: number, figures: BeatFigures): void {
    this.#lagMs = lagMs;
    this.#slow(figures);
    this.#revision++;
  }

  #slow(figures: BeatFigures): void {
    if (figures.events !== undefined) this.#events = figures.events;
    if (figures.subscriptions !== undefined) this.#subscriptions = figures.subscriptions;
    if (figures.log !== undefined) this.#log = figures.log;
    if (figures.gauges !== undefined) this.#gauges = figures.gauges;
    if (figures.collections !== undefined) this.#collections = figures.collections;
    if (figures.floor !== undefined) this.#floor = figures.floor;
  }

  get fleet(): Omit<FleetSnapshot, 'daemons'> {
    return this.#fleet;
  }
  get graph(): GraphPicture {
    return this.#graph;
  }
  get subscriptions(): readonly SubscriptionState[] {
    return this.#subscriptions;
  }
  get events(): EventFigures {
    return this.#events;
  }
  get log(): LogFigures | null {
    return this.#log;
  }
  get gauges(): Readonly<Record<string, number>> {
    return this.#gauges;
  }
  /** What the main thread says of its bounded collections. */
  get collections(): Fills {
    return this.#collections;
  }
  get floor(): FloorPanel | null {
    return this.#floor;
  }
  /** Worst lateness of the main loop's own timer in the last second, milliseconds. */
  get lagMs(): number {
    return this.#lagMs;
  }
  /** Grows with every post; equal revisions mean equal pictures. */
  get revision(): number {
    return this.#revision;
  }
  /** Newest last; at most HISTORY_MAX. */
  get history(): readonly HistoryEntry[] {
    return this.#history;
  }

  daemons(): IterableIterator<DaemonStatus> {
    return this.#daemons.values();
  }
  daemon(type: string): DaemonStatus | null {
    return this.#daemons.get(type) ?? null;
  }

  /** Gaps that make /ready 503. */
  criticalGaps(): SubscriptionState[] {
    return this.#subscriptions.filter((subscription) => subscription.critical && subscription.state === 'gap');
  }
}

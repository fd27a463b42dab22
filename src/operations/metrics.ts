/**
 * The figures of /metrics, kept by the server thread from what the main thread posts.
 *
 * A scrape must cost the main loop nothing and must answer while that is blocked, so nothing is asked of it: totals grow
 * with every post, levels are what was posted last. Names are those of docs/contract.md; every label takes its values from a closed set
 * (the daemons of the fleet, the states, the causes), so the number of series is bounded. The stock process metrics of
 * prom-client are not used: in a thread they would measure that thread's heap and loop and call them the program's.
 */
import { createRequire } from 'node:module';
import type * as prom from 'prom-client';
import type { Fill, Fills } from '../bounds.ts';
import { DAEMON_STATES } from '../lifecycle/states.ts';
import type { DaemonStatus, HistoryEntry } from '../orchestrator/types.ts';
import { ownUsage } from '../seams/own-usage.ts';
import { wallMsOf } from '../seams/plain-clock.ts';
import type { Change } from './server/protocol.ts';
import type { Mirror } from './server/mirror.ts';

// The index of prom-client also loads clustering, tracing and garbage-collection hooks: 10 MB and 70 ms of processor time
// in a thread that needs four classes of it (docs/budgets.md).
const load = createRequire(import.meta.url);
const Counter = load('prom-client/lib/counter.js') as typeof prom.Counter;
const Gauge = load('prom-client/lib/gauge.js') as typeof prom.Gauge;
const Histogram = load('prom-client/lib/histogram.js') as typeof prom.Histogram;
const Registry = load('prom-client/lib/registry.js') as typeof prom.Registry;

type Gauge = prom.Gauge;
type Counter = prom.Counter;

/** Seconds; around the recovery targets (5, 10, 15 s) and the back-off delays. */
const RECOVERY_BUCKETS = [0.1, 0.25, 0.5, 1, 2, 3.5, 5, 7.5, 10, 15, 20, 31, 60, 120, 300];

/** What the thread knows besides its picture. */
export interface ServerFigures {
  readonly snapshotAgeMs: number;
  readonly stalled: boolean;
  readonly stallsTotal: number;
  readonly streams: number;
  readonly streamsDroppedTotal: number;
  /** Of the thread itself. */
  readonly collections: Fills;
}

const snake = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/\W/g, '_');

/** Names that posts may bring; more are left out and counted, so that a mistake cannot grow the page without end. */
const POSTED_NAMES_MAX = 128;
/** The same for the names of collections. */
const COLLECTIONS_MAX = 128;

/** What a daemon says may be anything. */
const isFill = (said: unknown): said is Fill => {
  const { size, limit, dropped } = (said ?? {}) as Partial<Fill>;
  return Number.isFinite(size) && Number.isFinite(limit) && (dropped === undefined || Number.isFinite(dropped));
};

/** Collections of daemons are said with their health: `JOB_SCHEDULER` and `nodes` make `job_scheduler_nodes`. */
const collectionsOf = function* (mirror: Mirror, own: Fills): Generator<readonly [string, Fill]> {
  yield* Object.entries(own);
  yield* Object.entries(mirror.collections);
  for (const { type, health } of mirror.daemons())
    for (const [name, fill] of Object.entries(health.details.bounds ?? {}))
      if (isFill(fill)) yield [`${snake(type.toLowerCase())}_${name}`, fill];
};

export class Metrics {
  readonly #registry = new Registry();
  readonly #state = this.#gauge('master_loop_daemon_state', '1 for the state the daemon is in', ['daemon', 'state']);
  readonly #healthy = this.#gauge('master_loop_daemon_healthy', '1 when healthy or degraded, 0 when not', ['daemon']);
  readonly #restarts = this.#counter('master_loop_daemon_restarts_total', 'starts that followed an earlier one', [
    'daemon',
    'cause',
  ]);
  readonly #recovery = new Histogram({
    name: 'master_loop_daemon_recovery_seconds',
    help: 'from the loss of a daemon until it was ready again',
    buckets: RECOVERY_BUCKETS,
    registers: [this.#registry],
  });
  readonly #healthFailures = this.#counter('master_loop_health_check_failures_total', 'failed health checks', [
    'daemon',
  ]);
  readonly #lag = this.#gauge(
    'master_loop_event_loop_lag_seconds',
    'worst lateness of the main loop in the last second',
  );
  readonly #age = this.#gauge('master_loop_snapshot_age_seconds', 'age of the picture these figures were taken from');
  readonly #stalled = this.#gauge('master_loop_engine_stalled', '1 while the main loop is silent');
  readonly #stalls = this.#counter('master_loop_stalls_total', 'times the main loop was silent for too long');
  readonly #streams = this.#gauge('master_loop_streams', 'open streams of the control plane');
  readonly #streamsDropped = this.#counter('master_loop_streams_dropped_total', 'streams dropped for not reading');
  readonly #gaps = this.#gauge('master_loop_events_subscriptions', 'subscriptions by state', ['state']);
  readonly #backlog = this.#gauge('master_loop_events_subscription_lag', 'events stored and not acknowledged', [
    'subscriber',
    'topic',
  ]);
  readonly #size = this.#gauge('master_loop_collection_size', 'how full a bounded collection is', ['collection']);
  readonly #limit = this.#gauge('master_loop_collection_limit', 'and the most it may hold', ['collection']);
  readonly #dropped = this.#counter('master_loop_collection_dropped_total', 'refused or pushed out of a full one', [
    'collection',
  ]);
  readonly #cpu = this.#counter('process_cpu_seconds_total', 'processor time of the whole process');
  readonly #resident = this.#gauge('process_resident_memory_bytes', 'resident memory of the whole process');
  readonly #openFiles = this.#gauge('process_open_fds', 'open file descriptors');
  readonly #maxFiles = this.#gauge('process_max_fds', 'limit of open file descriptors');
  readonly #startTime = this.#gauge('process_start_time_seconds', 'when the master started, seconds since 1970');
  readonly #postedLevels = new Map<string, Gauge>();
  readonly #postedTotals = new Map<string, Counter>();
  /** What each counter showed last: prom-client counters only grow by differences. */
  readonly #shown = new Map<string, number>();
  /** What was counted from each daemon's last status. */
  readonly #seen = new Map<string, { failures: number; state: string | null }>();
  readonly #startedBefore = new Set<string>();
  readonly #down = new Set<string>();
  /** Names that found no place on the page. */
  readonly #leftOut = new Set<string>();
  #subscriptions: unknown = null;

  constructor(mirror: Mirror) {
    for (const daemon of mirror.daemons()) {
      this.#daemon(daemon);
      if (daemon.state === 'RUNNING' || daemon.state === 'STARTING') this.#startedBefore.add(daemon.type);
    }
    this.#startTime.set(wallMsOf(mirror.fleet.startedAt) / 1000);
  }

  #gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }
  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  /** Counts what one post says; called for every post, in order. */
  observe(change: Change): void {
    for (const entry of change.history ?? []) this.#entry(entry);
    for (const daemon of change.daemons ?? []) this.#daemon(daemon);
    if (change.graph === undefined) return;
    const known = new Set(change.graph.order);
    for (const daemon of this.#seen.keys()) if (!known.has(daemon)) this.#forget(daemon);
  }

  #entry(entry: HistoryEntry): void {
    const { daemon, from, to } = entry;
    if (daemon === null || from === null || to === null) return;
    if (from === 'RUNNING' && to !== 'COMPLETED' && entry.why !== 'operator') this.#down.add(daemon);
    if (to === 'STOPPED' || to === 'FAILED') this.#down.delete(daemon);
    if (to !== 'STARTING') return;
    if (this.#startedBefore.has(daemon)) this.#restarts.inc({ daemon, cause: entry.why ?? 'operator' });
    this.#startedBefore.add(daemon);
  }

  #daemon(status: DaemonStatus): void {
    const daemon = status.type;
    const before = this.#seen.get(daemon) ?? { failures: 0, state: null };
    // The streak is what is posted: it grew by the difference, or was cleared and began anew.
    const failures = status.health.consecutiveFailures;
    const more = failures >= before.failures ? failures - before.failures : failures;
    if (more > 0) this.#healthFailures.inc({ daemon }, more);
    if (status.state !== before.state) {
      if (before.state === null) for (const state of DAEMON_STATES) this.#state.set({ daemon, state }, 0);
      else this.#state.set({ daemon, state: before.state }, 0);
      this.#state.set({ daemon, state: status.state }, 1);
    }
    this.#healthy.set({ daemon }, status.state === 'RUNNING' && status.health.status !== 'unhealthy' ? 1 : 0);
    if (status.state === 'RUNNING' && before.state !== 'RUNNING' && this.#down.delete(daemon)) {
      if (status.lastRecoverySeconds !== null) this.#recovery.observe(status.lastRecoverySeconds);
    }
    this.#seen.set(daemon, { failures, state: status.state });
  }

  /** A daemon that left the fleet leaves the page. */
  #forget(daemon: string): void {
    this.#seen.delete(daemon);
    this.#startedBefore.delete(daemon);
    this.#down.delete(daemon);
    this.#healthy.remove({ daemon });
    for (const state of DAEMON_STATES) this.#state.remove({ daemon, state });
  }

  #grow(key: string, counter: Counter, value: number, labels: Readonly<Record<string, string>> = {}): void {
    const before = this.#shown.get(key) ?? 0;
    if (value > before || !this.#shown.has(key)) counter.inc(labels, Math.max(0, value - before));
    // A source that began anew (a router that lost its totals) counts on from what was shown.
    this.#shown.set(key, value);
  }

  #posted<Metric>(known: Map<string, Metric>, name: string, make: () => Metric): Metric | null {
    const found = known.get(name);
    if (found !== undefined) return found;
    if (known.size >= POSTED_NAMES_MAX || this.#registry.getSingleMetric(name) !== undefined) {
      this.#leaveOut(name);
      return null;
    }
    const made = make();
    known.set(name, made);
    return made;
  }

  #leaveOut(name: string): void {
    if (this.#leftOut.size < POSTED_NAMES_MAX) this.#leftOut.add(name);
  }

  #renderCollections(mirror: Mirror, own: Fills): void {
    this.#size.reset();
    this.#limit.reset();
    const names = new Set<string>();
    const show = (collection: string, { size, limit, dropped }: Fill): void => {
      names.add(collection);
      this.#size.set({ collection }, size);
      this.#limit.set({ collection }, limit);
      if (dropped !== undefined) this.#grow(`dropped ${collection}`, this.#dropped, dropped, { collection });
    };
    for (const [collection, fill] of collectionsOf(mirror, own)) {
      if (names.size < COLLECTIONS_MAX) show(collection, fill);
      else this.#leaveOut(collection);
    }
    const size = Math.max(this.#postedLevels.size, this.#postedTotals.size, names.size);
    show('metric_names', { size, limit: POSTED_NAMES_MAX, dropped: this.#leftOut.size });
  }

  #level(name: string, value: number): void {
    this.#posted(this.#postedLevels, name, () => this.#gauge(name, 'as posted by the master'))?.set(value);
  }

  /** The page, Prometheus text. */
  async render(mirror: Mirror, figures: ServerFigures): Promise<string> {
    this.#lag.set(mirror.lagMs / 1000);
    this.#age.set(figures.snapshotAgeMs / 1000);
    this.#stalled.set(figures.stalled ? 1 : 0);
    this.#grow('stalls', this.#stalls, figures.stallsTotal);
    this.#streams.set(figures.streams);
    this.#grow('streams', this.#streamsDropped, figures.streamsDroppedTotal);
    this.#renderEvents(mirror);
    for (const [name, value] of Object.entries(mirror.gauges)) this.#level(`master_loop_${snake(name)}`, value);
    if (mirror.log !== null) this.#level('master_loop_log_lines_dropped', mirror.log.dropped);
    this.#renderCollections(mirror, figures.collections);
    const usage = ownUsage();
    this.#grow('cpu', this.#cpu, usage.userSeconds + usage.systemSeconds);
    if (usage.residentBytes !== null) this.#resident.set(usage.residentBytes);
    if (usage.openFiles !== null) this.#openFiles.set(usage.openFiles);
    if (usage.maxFiles !== null) this.#maxFiles.set(usage.maxFiles);
    return this.#registry.metrics();
  }

  #renderEvents(mirror: Mirror): void {
    for (const [name, value] of Object.entries(mirror.events.totals)) {
      const full = `master_loop_events_${snake(name)}_total`;
      const counter = this.#posted(this.#postedTotals, full, () => this.#counter(full, 'as counted by the router'));
      if (counter !== null) this.#grow(full, counter, value);
    }
    for (const [name, value] of Object.entries(mirror.events.levels))
      this.#level(`master_loop_events_${snake(name)}`, value);
    if (this.#subscriptions === mirror.subscriptions) return;
    this.#subscriptions = mirror.subscriptions;
    const byState = { attached: 0, attaching: 0, detached: 0, gap: 0 };
    this.#backlog.reset();
    for (const { subscriber, topic, state, lag } of mirror.subscriptions) {
      byState[state]++;
      this.#backlog.set({ subscriber, topic }, lag);
    }
    for (const [state, count] of Object.entries(byState)) this.#gaps.set({ state }, count);
  }
}

export const METRICS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

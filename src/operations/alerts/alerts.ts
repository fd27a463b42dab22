/**
 * The alerts of a running fleet: looks at what the supervisor and the router tell, judges by the rules, tells the sinks.
 *
 * It only looks on. A FAILED daemon is told in the turn that made it so; what depends on time (an hour of restarts, the
 * patience with a cascade) is looked at again by one timer, and only for daemons that something is open about, so a well
 * fleet costs nothing. A new master begins with an empty book and raises what still holds: once per crossing, and once
 * more per master. `setFailureCallback` of the manager is a sink of its own and does not pass here.
 */
import type { Fills } from '../../bounds.ts';
import type { SubscriptionState } from '../../events/types.ts';
import type { Fleet } from '../../fleet/types.ts';
import type { Verdict } from '../../health/monitor.ts';
import type { DaemonState } from '../../lifecycle/states.ts';
import type { TurnReport } from '../../orchestrator/ports.ts';
import type { DaemonStatus, FleetSnapshot } from '../../orchestrator/types.ts';
import { SLACK_MS, type Clock } from '../../seams/clock.ts';
import type { Network } from '../../seams/network.ts';
import { EMPTY_BOOK, isWatched, observe, watched, type Alert, type Book, type Observation } from './rules.ts';
import { QUEUE_MAX, webhook, type WebhookFigures } from './webhook.ts';

/** How often daemons with something open are looked at without having done anything. Milliseconds. */
const LOOK_AGAIN_MS = 1_000;
/** Only on the way into one of these may a daemon cross a threshold; a boot of thousands asks nothing. */
const DOWNWARD: ReadonlySet<DaemonState> = new Set<DaemonState>(['RESTARTING', 'STOPPING', 'FAILED']);
/** The sink that needs no declaration. */
const LOG_SINK = 'log';

export interface AlertsOptions {
  readonly fleet: Pick<Fleet, 'name' | 'alerts' | 'alertSinks'>;
  readonly supervisor: {
    onTurn(
      listener: (report: {
        readonly transitions: readonly Pick<TurnReport['transitions'][number], 'daemon' | 'from' | 'to' | 'why'>[];
        readonly alerts: TurnReport['alerts'];
      }) => void,
    ): () => void;
    onVerdict(listener: (verdict: Pick<Verdict, 'daemon' | 'word' | 'health'>) => void): () => void;
    statusOf(daemon: string): DaemonStatus | null;
    snapshot(): Pick<FleetSnapshot, 'daemons'>;
  };
  /** Null: this fleet has no events. */
  readonly router: {
    ledger(): readonly SubscriptionState[];
    onLedgerChange(listener: (state: SubscriptionState) => void): () => void;
  } | null;
  readonly clock: Clock;
  readonly network: Network;
  readonly log: {
    critical(message: string): void;
    error(message: string): void;
    info(message: string): void;
  };
  /** The drill that is under way, in words; said along with what is raised meanwhile. */
  readonly drill?: () => string | null;
}

export interface AlertFigures {
  readonly open: readonly Alert[];
  readonly raised: number;
  readonly resolved: number;
  readonly sinks: readonly WebhookFigures[];
}

export interface Alerts {
  figures(): AlertFigures;
  /** For /metrics: levels by name. */
  gauges(): Readonly<Record<string, number>>;
  collections(): Fills;
  close(): void;
}

export const startAlerts = (options: AlertsOptions): Alerts => {
  const { fleet, supervisor, router, clock, network, log } = options;
  const rules = fleet.alerts;
  const used = new Set(rules.flatMap(({ to }) => to));
  const webhooks = new Map(
    fleet.alertSinks
      .filter(({ name }) => used.has(name))
      .map((sink) => [sink.name, webhook({ sink, fleet: fleet.name, clock, network, log })]),
  );
  let book: Book = EMPTY_BOOK;
  let closed = false;
  const counts = { raised: 0, resolved: 0 };

  const tell = (judged: Alert): void => {
    counts[judged.state]++;
    const drill = judged.state === 'raised' ? (options.drill?.() ?? null) : null;
    const alert = drill === null ? judged : { ...judged, message: `${judged.message} (while ${drill})` };
    for (const name of alert.to) {
      if (name !== LOG_SINK) webhooks.get(name)?.send(alert);
      else if (alert.state === 'raised') log.critical(`alert ${alert.rule}: ${alert.message}`);
      else log.info(`alert ${alert.rule} resolved: ${alert.message}`);
    }
  };

  const take = (observation: Observation): void => {
    const step = observe(book, rules, observation, { at: clock.monotonicMs(), wallMs: clock.wallMs() });
    book = step.book;
    for (const alert of step.alerts) tell(alert);
  };

  const look = (daemon: string): void => {
    const status = supervisor.statusOf(daemon);
    if (status !== null) take({ kind: 'daemon', daemon: status });
  };

  // A verdict is told before the core has counted it: looked at when this turn is over, once per daemon.
  const judged = new Set<string>();
  const lookAtJudged = (): void => {
    const daemons = [...judged];
    judged.clear();
    if (!closed) for (const daemon of daemons) look(daemon);
  };

  const ends = [
    supervisor.onTurn(({ transitions, alerts }) => {
      for (const { daemon, from, to, why } of transitions) take({ kind: 'transition', daemon, from, to, why });
      const moved = transitions.filter(({ daemon, to }) => DOWNWARD.has(to) || isWatched(book, daemon));
      for (const daemon of new Set(moved.map((transition) => transition.daemon))) look(daemon);
      for (const { name, resolved, message } of alerts)
        if (name === 'storm') take({ kind: 'storm', open: !resolved, message });
    }),
    supervisor.onVerdict(({ daemon, word, health }) => {
      if (word === 'healthy' && (health.details.errorRate ?? 0) === 0 && !isWatched(book, daemon)) return;
      if (judged.size === 0) clock.soon(lookAtJudged);
      judged.add(daemon);
    }),
    router?.onLedgerChange((state) => take({ kind: 'subscription', ...state })) ?? ((): void => undefined),
  ];
  const again = clock.every(
    LOOK_AGAIN_MS,
    () => {
      for (const daemon of watched(book)) look(daemon);
    },
    { background: true, slackMs: SLACK_MS },
  );

  for (const daemon of supervisor.snapshot().daemons) take({ kind: 'daemon', daemon });
  for (const state of router?.ledger() ?? []) take({ kind: 'subscription', ...state });

  return {
    figures: () => ({
      open: [...book.open.values()],
      ...counts,
      sinks: [...webhooks.values()].map((sink) => sink.figures()),
    }),
    gauges() {
      const sinks = [...webhooks.values()].map((sink) => sink.figures());
      const sum = (of: (figures: WebhookFigures) => number): number => sinks.reduce((all, one) => all + of(one), 0);
      return {
        alertsOpen: book.open.size,
        alertsRaised: counts.raised,
        alertSinksDead: sum(({ dead }) => (dead ? 1 : 0)),
        alertWebhookQueued: sum(({ queued }) => queued),
        alertWebhookDropped: sum(({ dropped }) => dropped),
        alertWebhookFailedTries: sum(({ failedTries }) => failedTries),
      };
    },
    collections() {
      let size = 0;
      let dropped = 0;
      for (const sink of webhooks.values()) {
        const figures = sink.figures();
        size = Math.max(size, figures.queued);
        dropped += figures.dropped;
      }
      return { alert_webhook_queue: { size, limit: QUEUE_MAX, dropped } };
    },
    close() {
      if (closed) return;
      closed = true;
      for (const end of ends) end();
      again.cancel();
      for (const sink of webhooks.values()) sink.close();
    },
  };
};

/**
 * One webhook: alerts as POST of JSON, in order, one under way.
 *
 * What it protects is everything else: the queue is bounded and drops its oldest, every alert is tried a bounded number of
 * times with a growing pause, every try has a deadline, and no outcome of it reaches who raised the alert. A sink that
 * took none of the tries is `dead` until it takes one: a figure, and one line in the log when it dies and when it is back.
 * The address may hold a secret anywhere (path, query, user), so nothing but the sink's name and a closed set of words
 * about the failure is ever said; the text of a network error is not.
 */
import { OrchestratorError } from '../../errors.ts';
import type { AlertSink } from '../../fleet/types.ts';
import type { Clock, Timer } from '../../seams/clock.ts';
import { isoTime } from '../../seams/clock.ts';
import type { Network } from '../../seams/network.ts';
import type { Alert } from './rules.ts';

/** Alerts that wait for one sink. Chosen: more is noise nobody reads. */
export const QUEUE_MAX = 100;
/** Pauses before the second and later tries, milliseconds; one more try than pauses. */
export const PAUSES_MS = [1_000, 2_000, 4_000, 8_000, 16_000] as const;
const TRY_MS = 5_000;
/** An answer is read no further: its status is all that counts. */
const ANSWER_BYTES = 64 * 1024;

export interface WebhookFigures {
  readonly sink: string;
  readonly queued: number;
  readonly delivered: number;
  /** Tries that failed. */
  readonly failedTries: number;
  /** Alerts given up: out of tries, or pushed out of a full queue. */
  readonly dropped: number;
  readonly dead: boolean;
  /** Why the last try failed; null after one that did not. */
  readonly lastFailure: string | null;
}

export interface Webhook {
  send(alert: Alert): void;
  figures(): WebhookFigures;
  /** What waits is given up. */
  close(): void;
}

export interface WebhookOptions {
  readonly sink: AlertSink;
  readonly fleet: string;
  readonly clock: Clock;
  readonly network: Network;
  readonly log: { error(message: string): void; info(message: string): void };
}

/** What is sent; documented for whoever receives it. */
export const webhookBody = (fleet: string, alert: Alert): string =>
  JSON.stringify({
    version: 1,
    fleet,
    rule: alert.rule,
    kind: alert.kind,
    state: alert.state,
    severity: alert.state === 'raised' ? 'critical' : 'info',
    daemon: alert.daemon,
    topic: alert.topic,
    message: alert.message,
    value: alert.value,
    over: alert.over,
    raisedAt: isoTime(alert.raisedWallMs),
    at: isoTime(alert.wallMs),
    /** The same for an alert and its end, so that a receiver can match them. */
    key: [fleet, alert.rule, alert.daemon ?? '', alert.topic ?? '', alert.raisedWallMs].join('/'),
  });

const REASONS: Readonly<Record<string, string>> = {
  unreachable: 'it cannot be reached',
  timeout: `it did not answer within ${TRY_MS / 1000} s`,
  'too-long': 'its answer was too long',
  'bad-url': 'its address is no http:// or https:// address',
};

const failureOf = (thrown: unknown): string => {
  const reason = thrown instanceof OrchestratorError ? thrown.context['reason'] : undefined;
  return (typeof reason === 'string' ? REASONS[reason] : undefined) ?? 'the exchange failed';
};

export const webhook = ({ sink, fleet, clock, network, log }: WebhookOptions): Webhook => {
  let queue: Alert[] = [];
  let underWay = false;
  let closed = false;
  let pause: Timer | null = null;
  let exchange: AbortController | null = null;
  const figures = { delivered: 0, failedTries: 0, dropped: 0 };
  let dead = false;
  let lastFailure: string | null = null;

  const attempt = async (alert: Alert): Promise<string | null> => {
    exchange = new AbortController();
    try {
      const { status } = await network.request({
        url: sink.webhook,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: webhookBody(fleet, alert),
        timeoutMs: TRY_MS,
        maxBytes: ANSWER_BYTES,
        signal: exchange.signal,
      });
      return status >= 200 && status < 300 ? null : `it answered with status ${status}`;
    } catch (thrown) {
      return failureOf(thrown);
    }
  };

  const next = (): void => {
    underWay = false;
    if (!closed && queue.length > 0) deliver(1);
  };

  /** The head of the queue, for the k-th time. It stays there until it is delivered or given up. */
  const deliver = (tries: number): void => {
    const alert = queue[0];
    if (alert === undefined) return next();
    underWay = true;
    const done = (failure: string | null): void => {
      if (closed) return;
      lastFailure = failure;
      if (failure === null) {
        figures.delivered++;
        queue.shift();
        if (dead) log.info(`alerts reach sink ${sink.name} again`);
        dead = false;
        return next();
      }
      figures.failedTries++;
      const pauseMs = PAUSES_MS[tries - 1];
      if (pauseMs !== undefined) {
        pause = clock.after(pauseMs, () => deliver(tries + 1), { background: true });
        return;
      }
      queue.shift();
      figures.dropped++;
      if (!dead) log.error(`cannot deliver alerts to sink ${sink.name}: ${failure}; tried ${tries} times and goes on`);
      dead = true;
      next();
    };
    void attempt(alert).then(done);
  };

  return {
    send(alert) {
      if (closed) return;
      queue.push(alert);
      if (queue.length > QUEUE_MAX) {
        queue.splice(1, 1); // the oldest that is not under way
        figures.dropped++;
      }
      if (!underWay) deliver(1);
    },
    figures: () => ({ sink: sink.name, queued: queue.length, ...figures, dead, lastFailure }),
    close() {
      closed = true;
      pause?.cancel();
      figures.dropped += queue.length;
      queue = [];
      exchange?.abort(new Error('the alerts are closed'));
    },
  };
};

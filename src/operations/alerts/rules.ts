/**
 * When an alert is raised and when it is over, as data and pure functions.
 *
 * What it protects: whoever is woken is woken once. Each rule × subject (a daemon, a subscription, the fleet) is a machine
 * of two states, quiet and open; the crossing into open gives one alert, the way back one `resolved`, and nothing in
 * between says anything. Missing data is not good data: a reading may be "cannot tell" (a daemon that is not RUNNING has
 * no error rate), and that changes nothing, so an alert is never resolved by the restart that its own cause brought about.
 *
 * Drills. Failures of cause `drill` are counted apart by the core, so they never raise `restarts-per-hour`, not for the
 * daemon they hit nor for those it takes down with it. They do raise what really held meanwhile: `critical-down` while a
 * critical target was away, `consecutive-health-failures` when its checks failed, `subscription-gap` when one opened.
 * crash-loop rehearses the real budget, so it raises everything that a real crash loop raises: that is part of it.
 */
import type { AlertRule } from '../../fleet/types.ts';
import type { Cause, DaemonState } from '../../lifecycle/states.ts';
import type { DaemonStatus } from '../../orchestrator/types.ts';

/** An error rate of fewer cycles than this says nothing. */
const ERROR_RATE_CYCLES = 10;
/** A critical daemon that went down with a dependency may come back with it in this time unmentioned. Milliseconds. */
export const CASCADE_PATIENCE_MS = 5_000;

/** What is told to the sinks; JSON. */
export interface Alert {
  readonly rule: string;
  readonly kind: AlertRule['when']['kind'];
  readonly state: 'raised' | 'resolved';
  /** Null when it is about the fleet. */
  readonly daemon: string | null;
  /** subscription-gap only. */
  readonly topic: string | null;
  readonly message: string;
  /** What was measured, and the threshold it was measured against; null for rules without a number. */
  readonly value: number | null;
  readonly over: number | null;
  readonly raisedWallMs: number;
  readonly wallMs: number;
  /** Names of the sinks it goes to. */
  readonly to: readonly string[];
}

/** The facts of a daemon that rules look at. */
export type Sighting = Pick<
  DaemonStatus,
  'type' | 'critical' | 'wanted' | 'state' | 'reason' | 'lastError' | 'restartsLastHour'
> & { readonly health: Pick<DaemonStatus['health'], 'status' | 'message' | 'details' | 'consecutiveFailures'> };

export type Observation =
  | {
      readonly kind: 'transition';
      readonly daemon: string;
      readonly from: DaemonState;
      readonly to: DaemonState;
      readonly why: Cause | null;
    }
  | { readonly kind: 'daemon'; readonly daemon: Sighting }
  | {
      readonly kind: 'subscription';
      readonly subscriber: string;
      readonly topic: string;
      readonly state: 'attached' | 'attaching' | 'detached' | 'gap';
      readonly reason: string | null;
    }
  | { readonly kind: 'storm'; readonly open: boolean; readonly message: string };

interface Down {
  /** Monotonic milliseconds. */
  readonly since: number;
  readonly patienceMs: number;
}

/** Everything remembered between two observations; bounded by rules × (daemons + subscriptions). */
export interface Book {
  readonly open: ReadonlyMap<string, Alert>;
  /** Daemons that are away without having been told to. */
  readonly down: ReadonlyMap<string, Down>;
}

export const EMPTY_BOOK: Book = { open: new Map(), down: new Map() };

export interface Step {
  readonly book: Book;
  readonly alerts: readonly Alert[];
}

/** Going down for one of these is no loss: somebody asked for it. */
const TOLD: ReadonlySet<Cause | null> = new Set<Cause | null>(['operator', 'schedule', 'config', 'recovery', null]);

/** What one rule sees; `over: null` means that it cannot tell. The words are made only when they are said. */
interface Reading {
  readonly over: boolean | null;
  readonly value: number | null;
  readonly words: () => string;
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;

/**
 * What is behind the state it is in. While it stops or waits that is the reason of this stop or wait: its last error may be
 * of another day.
 */
const whyOf = ({ state, lastError, reason }: Sighting): string =>
  (state === 'STOPPING' || state === 'WAITING' ? (reason ?? lastError) : (lastError ?? reason)) ?? 'no reason known';

const CANNOT_TELL: Reading = { over: null, value: null, words: () => '' };

const readDaemon = (when: AlertRule['when'], seen: Sighting, down: Down | undefined, at: number): Reading => {
  const { type, state, health } = seen;
  const unwanted: Reading = { over: false, value: null, words: () => `${type} is not wanted any more` };
  switch (when.kind) {
    case 'restarts-per-hour': {
      const value = seen.restartsLastHour;
      const over = value > when.over;
      const counted = `${type} restarted ${value} times within an hour`;
      return {
        over,
        value,
        words: () =>
          over
            ? `${counted} (more than ${when.over}); last: ${whyOf(seen)}`
            : `${counted} (not more than ${when.over})`,
      };
    }
    case 'consecutive-health-failures': {
      const value = health.consecutiveFailures;
      if (value > when.over)
        return {
          over: true,
          value,
          words: () =>
            `${type} failed ${value} health checks in a row (more than ${when.over}): ${state === 'RUNNING' ? health.message : whyOf(seen)}`,
        };
      if (seen.wanted === 'down') return unwanted;
      // A fresh start has a clean streak and has proven nothing.
      const proven = state === 'RUNNING' && health.status !== 'unknown';
      return { over: proven ? false : null, value, words: () => `${type} answers its health checks: ${health.status}` };
    }
    case 'error-rate': {
      const { errorRate, cycles } = health.details;
      if (seen.wanted === 'down') return unwanted;
      if (state !== 'RUNNING' || health.status === 'unknown' || typeof errorRate !== 'number') return CANNOT_TELL;
      // Without cycles the rate is the daemon's own figure, of whatever it counts.
      const enough = cycles === undefined || cycles === 0 || cycles >= ERROR_RATE_CYCLES;
      const over = enough && errorRate > when.over;
      const rate = `${percent(errorRate)} of the recent work of ${type} failed`;
      return {
        over,
        value: errorRate,
        words: () =>
          over
            ? `${rate} (more than ${percent(when.over)}): ${health.message}`
            : `${rate} (not more than ${percent(when.over)})`,
      };
    }
    case 'failed': {
      const over = state === 'FAILED';
      return {
        over,
        value: null,
        words: () => (over ? `${type} is FAILED: ${whyOf(seen)}` : `${type} left FAILED and is ${state}`),
      };
    }
    case 'critical-down': {
      if (!seen.critical || seen.wanted === 'down') return unwanted;
      const up = state === 'RUNNING' || state === 'COMPLETED';
      const away = state === 'FAILED' || (down !== undefined && at - down.since >= down.patienceMs);
      return {
        over: up ? false : away ? true : null,
        value: null,
        words: () => (up ? `critical ${type} is ${state} again` : `critical ${type} is ${state}: ${whyOf(seen)}`),
      };
    }
    case 'subscription-gap':
    case 'storm':
      return CANNOT_TELL;
  }
};

interface About {
  readonly subject: string;
  readonly daemon: string | null;
  readonly topic: string | null;
}

/** Turns one reading into at most one alert. */
const judge = (
  open: ReadonlyMap<string, Alert>,
  rule: AlertRule,
  key: string,
  about: About,
  reading: Reading,
  wallMs: number,
): Alert | null => {
  const raised = open.get(key);
  if (reading.over === null || reading.over === (raised !== undefined)) return null;
  return {
    rule: rule.name,
    kind: rule.when.kind,
    state: reading.over ? 'raised' : 'resolved',
    daemon: about.daemon,
    topic: about.topic,
    message: reading.words(),
    value: reading.value,
    over: 'over' in rule.when ? rule.when.over : null,
    raisedWallMs: raised?.raisedWallMs ?? wallMs,
    wallMs,
    to: rule.to,
  };
};

const noteTransition = (book: Book, seen: Extract<Observation, { kind: 'transition' }>, at: number): Book => {
  const { daemon, from, to, why } = seen;
  const known = book.down.get(daemon);
  const change = (next: Down | undefined): Book => {
    const down = new Map(book.down);
    if (next === undefined) down.delete(daemon);
    else down.set(daemon, next);
    return { open: book.open, down };
  };
  if (to === 'RUNNING' || to === 'COMPLETED' || to === 'STOPPED') return known === undefined ? book : change(undefined);
  const failed = to === 'FAILED' || to === 'RESTARTING';
  const lost = from === 'RUNNING' && !TOLD.has(why);
  if (!failed && !lost) return book;
  const patienceMs = why === 'dependency-lost' ? CASCADE_PATIENCE_MS : 0;
  if (known !== undefined && known.patienceMs <= patienceMs) return book;
  return change({ since: known?.since ?? at, patienceMs });
};

/**
 * Takes one observation in.
 * @param at  monotonic milliseconds, for what takes time
 * @returns the new book, and what is to be told; at most one alert per rule
 */
export const observe = (
  book: Book,
  rules: readonly AlertRule[],
  seen: Observation,
  now: { readonly at: number; readonly wallMs: number },
): Step => {
  if (seen.kind === 'transition') return { book: noteTransition(book, seen, now.at), alerts: [] };
  let open: Map<string, Alert> | null = null;
  const alerts: Alert[] = [];
  const each = (about: About, read: (when: AlertRule['when']) => Reading): void => {
    for (const [index, rule] of rules.entries()) {
      const key = `${index} ${about.subject}`; // two rules may have one name
      const alert = judge(open ?? book.open, rule, key, about, read(rule.when), now.wallMs);
      if (alert === null) continue;
      open ??= new Map(book.open);
      if (alert.state === 'raised') open.set(key, alert);
      else open.delete(key);
      alerts.push(alert);
    }
  };
  switch (seen.kind) {
    case 'daemon': {
      const { daemon } = seen;
      each({ subject: daemon.type, daemon: daemon.type, topic: null }, (when) =>
        readDaemon(when, daemon, book.down.get(daemon.type), now.at),
      );
      break;
    }
    case 'subscription': {
      const { subscriber, topic, state, reason } = seen;
      const what = `subscription of ${subscriber} to ${topic}`;
      const words = (): string =>
        state === 'gap'
          ? `${what} has a gap: ${reason ?? 'unknown'}`
          : state === 'attached'
            ? `${what} is proven again`
            : `${what} ended with its daemon`;
      const over = state === 'gap' ? true : state === 'attaching' ? null : false;
      each({ subject: `${subscriber} ${topic}`, daemon: subscriber, topic }, ({ kind }) =>
        kind === 'subscription-gap' ? { over, value: null, words } : CANNOT_TELL,
      );
      break;
    }
    case 'storm':
      each({ subject: '', daemon: null, topic: null }, ({ kind }) =>
        kind === 'storm' ? { over: seen.open, value: null, words: () => seen.message } : CANNOT_TELL,
      );
      break;
  }
  return { book: open === null ? book : { open, down: book.down }, alerts };
};

/** Daemons whose readings may change by the passing of time alone. */
export const watched = (book: Book): ReadonlySet<string> => {
  const daemons = new Set(book.down.keys());
  for (const { daemon, kind } of book.open.values())
    if (daemon !== null && kind !== 'subscription-gap') daemons.add(daemon);
  return daemons;
};

/** Something is open about it, or may soon be. */
export const isWatched = (book: Book, daemon: string): boolean => {
  if (book.down.has(daemon)) return true;
  for (const alert of book.open.values()) if (alert.daemon === daemon) return true;
  return false;
};

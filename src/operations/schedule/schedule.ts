/**
 * Operations by the clock on the wall: the `schedule` of the fleet file.
 *
 * Only the computation is croner's; its timers are raw, so the waiting is done here, on our clock, in steps of at most
 * STEP_MS. At each step the next time of every entry is looked at against the wall again, which is what makes a jump of the
 * wall clock, a suspended machine and daylight saving harmless: a time that was jumped over by more than GRACE_MS is not
 * made up for (its reason to run then is gone) and is said to be missed; a clock that is set back never runs the same
 * time twice. In the hour that summer time skips, croner runs at its end; in the hour that comes twice, once.
 *
 * An entry whose time has come is *skipped*, with the reason in the log and in `next()`, while something else is going on:
 * another operation, a drill, or an inhibit. An inhibit is a condition under which a scheduled interruption would make a
 * bad moment worse: the fleet is still booting, is stopping, or its storm breaker is open. Nothing is ever queued: a
 * recovery that was due an hour ago is not what anybody asked for.
 */
import { Cron } from 'croner';
import { messageOf } from '../../errors.ts';
import type { ScheduleEntry } from '../../fleet/types.ts';
import { isoTime, type Clock, type Timer } from '../../seams/clock.ts';

/** The longest wait between two looks at the wall clock. Milliseconds. */
export const STEP_MS = 30_000;
/** A time this much behind is still run: the machine slept, or the loop was held. Milliseconds. */
export const GRACE_MS = 60_000;
/** A clock set back further than this was wrong before: its times count anew. Milliseconds. */
const SET_BACK_MS = 86_400_000;

export interface ScheduledOutcome {
  readonly ok: boolean;
  readonly message: string;
}

export interface ScheduledRun {
  readonly do: ScheduleEntry['do'];
  readonly drill: string | null;
  readonly target: string | null;
  /** The cron expression, and the zone it is read in; null: that of the machine. */
  readonly cron: string;
  readonly timeZone: string | null;
  readonly writtenAt: string;
  /** ISO-8601; null when it never fires again. */
  readonly at: string | null;
  readonly running: boolean;
  /** What became of its last time; null before the first. */
  readonly last: {
    readonly at: string;
    readonly outcome: 'running' | 'done' | 'failed' | 'skipped' | 'missed';
    readonly message: string;
  } | null;
}

export interface ScheduleOptions {
  readonly schedule: readonly ScheduleEntry[];
  readonly clock: Clock;
  readonly recover: (entry: ScheduleEntry) => Promise<ScheduledOutcome>;
  readonly drill: (entry: ScheduleEntry) => Promise<ScheduledOutcome>;
  /** What is going on that a scheduled run must not disturb, in words; null: nothing. */
  readonly busy: () => string | null;
  readonly log: { info(message: string): void; warn(message: string): void; error(message: string): void };
}

export interface Schedule {
  /** Soonest first. */
  next(): readonly ScheduledRun[];
  /** Runs begun, skipped and missed, for /metrics. */
  gauges(): Readonly<Record<string, number>>;
  /** Nothing begins any more; what runs goes on. */
  close(): void;
}

interface Line {
  readonly entry: ScheduleEntry;
  readonly cron: Cron;
  /** Wall milliseconds; null: never again. */
  due: number | null;
  /** The last time that was run, skipped or missed. */
  handled: number;
  running: boolean;
  last: ScheduledRun['last'];
}

/** The first time after `wallMs`; null: never again. */
const after = (cron: Cron, wallMs: number): number | null => cron.nextRun(isoTime(wallMs))?.getTime() ?? null;

const nameOf = ({ do: what, drill, target, at }: ScheduleEntry): string =>
  `scheduled ${[what, drill, target].filter((word) => word !== null).join(' ')} ("${at}")`;

export const startSchedule = (options: ScheduleOptions): Schedule => {
  const { clock, log } = options;
  const began = clock.wallMs();
  const lines = options.schedule.map((entry): Line => {
    const cron = new Cron(entry.at, { paused: true, ...(entry.timeZone === null ? {} : { timezone: entry.timeZone }) });
    return { entry, cron, due: after(cron, began), handled: -Infinity, running: false, last: null };
  });
  const counts = { begun: 0, skipped: 0, missed: 0 };
  let timer: Timer | null = null;
  let closed = false;

  const run = (line: Line, at: string): void => {
    const { entry } = line;
    const name = nameOf(entry);
    line.running = true;
    line.last = { at, outcome: 'running', message: '' };
    counts.begun++;
    log.info(`${name} begins`);
    const end = (outcome: 'done' | 'failed', message: string): void => {
      line.running = false;
      line.last = { at, outcome, message };
      if (outcome === 'done') log.info(`${name}: ${message}`);
      else log.error(`${name} failed: ${message}`);
    };
    const work = entry.do === 'recover' ? options.recover : options.drill;
    // Called in a promise, so that a throw is a failed run like a rejection.
    new Promise<ScheduledOutcome>((resolve) => resolve(work(entry))).then(
      ({ ok, message }) => end(ok ? 'done' : 'failed', message),
      (thrown: unknown) => end('failed', messageOf(thrown)),
    );
  };

  const fire = (line: Line, due: number, now: number): void => {
    const at = isoTime(due);
    const name = nameOf(line.entry);
    line.handled = due;
    if (now - due > GRACE_MS) {
      counts.missed++;
      const message = `the clock passed ${at} by ${Math.round((now - due) / 1000)} s at once`;
      line.last = { at, outcome: 'missed', message };
      log.warn(`${name} missed: ${message}`);
      return;
    }
    const busy = line.running ? 'its last run is still under way' : options.busy();
    if (busy === null) return run(line, at);
    counts.skipped++;
    if (!line.running) line.last = { at, outcome: 'skipped', message: busy };
    log.warn(`${name} skipped: ${busy}`);
  };

  const look = (): void => {
    if (closed) return;
    const now = clock.wallMs();
    let wait = Infinity;
    for (const line of lines) {
      if (line.due !== null && line.due <= now) fire(line, line.due, now);
      // Computed anew each time, so that no jump of the wall clock leaves an old answer standing.
      const from = line.handled - now <= SET_BACK_MS ? Math.max(now, line.handled) : now;
      line.due = after(line.cron, from);
      if (line.due !== null) wait = Math.min(wait, line.due - now);
    }
    if (wait === Infinity) return;
    timer = clock.after(Math.min(STEP_MS, Math.max(1, wait)), look, { background: true });
  };
  look();

  return {
    next: () =>
      lines
        .map(({ entry, due, running, last }) => ({
          do: entry.do,
          drill: entry.drill,
          target: entry.target,
          cron: entry.at,
          timeZone: entry.timeZone,
          writtenAt: entry.writtenAt,
          at: due === null ? null : isoTime(due),
          running,
          last,
        }))
        .sort((one, other) => (one.at ?? '~').localeCompare(other.at ?? '~')),
    gauges: () => ({
      scheduledRuns: counts.begun,
      scheduledRunsSkipped: counts.skipped,
      scheduledRunsMissed: counts.missed,
    }),
    close() {
      closed = true;
      timer?.cancel();
    },
  };
};

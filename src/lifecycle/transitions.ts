/**
 * The lifecycle as one table. `decide` performs nothing: it names the row, and the core does what the row says. A pair
 * that is not in the table is a bug in the caller, so it throws instead of guessing.
 *
 * Only an operator's word leaves FAILED; that is why no row leads out of it but `want` and `unwant`.
 */
import { invariant } from '../errors.ts';
import type { DaemonState } from './states.ts';

export type LifecycleEvent =
  | 'want'
  | 'unwant'
  | 'start-begun'
  | 'ready'
  | 'completed'
  | 'exited'
  | 'exited-secondary'
  | 'exited-last'
  | 'stop'
  | 'stopped'
  | 'stopped-wanted'
  | 'stopped-failure'
  | 'stopped-last'
  | 'held'
  | 'retry-now';

export interface LifecycleRow {
  readonly from: readonly DaemonState[];
  readonly on: LifecycleEvent;
  readonly to: DaemonState;
  /** What the core does besides; names of its steps, in order. */
  readonly then: readonly string[];
  readonly meaning: string;
}

export const DAEMON_LIFECYCLE = [
  {
    from: ['STOPPED', 'FAILED', 'COMPLETED'],
    on: 'want',
    to: 'WAITING',
    then: ['clear-counter', 'try-start'],
    meaning: 'an operator (or a recovery that resets FAILED) wants it up',
  },
  {
    from: ['WAITING', 'RESTARTING', 'FAILED', 'COMPLETED'],
    on: 'unwant',
    to: 'STOPPED',
    then: ['withdraw', 'cancel-backoff'],
    meaning: 'an operator wants it down, and nothing of it is running',
  },
  {
    from: ['WAITING', 'RESTARTING'],
    on: 'start-begun',
    to: 'STARTING',
    then: ['arm-start-deadline', 'launch'],
    meaning: 'it has a start slot, every condition holds, and the previous start is proven gone',
  },
  {
    from: ['STARTING'],
    on: 'ready',
    to: 'RUNNING',
    then: ['disarm-start-deadline', 'arm-stable', 'release-dependents'],
    meaning: 'it said so, before its deadline',
  },
  {
    from: ['STARTING'],
    on: 'completed',
    to: 'COMPLETED',
    then: ['release-dependents'],
    meaning: 'a one-shot task ended well: for it, ready is the end',
  },
  {
    from: ['STARTING', 'RUNNING'],
    on: 'exited',
    to: 'RESTARTING',
    then: ['charge', 'cascade', 'arm-backoff'],
    meaning: 'it failed, and a restart is left',
  },
  {
    from: ['STARTING', 'RUNNING'],
    on: 'exited-secondary',
    to: 'WAITING',
    then: ['cascade'],
    meaning: 'it failed while a hard dependency was not ready: not charged, held until that is back',
  },
  {
    from: ['STARTING', 'RUNNING'],
    on: 'exited-last',
    to: 'FAILED',
    then: ['cascade', 'alert'],
    meaning: 'it failed and the budget is spent, or a retry cannot mend it',
  },
  {
    from: ['STARTING', 'RUNNING'],
    on: 'stop',
    to: 'STOPPING',
    then: ['arm-stop-deadline', 'stop'],
    meaning: 'it is asked to stop (or killed, when hung or past its start deadline)',
  },
  {
    from: ['STOPPING'],
    on: 'stopped',
    to: 'STOPPED',
    then: ['release-stop-order'],
    meaning: 'it is proven gone and not wanted',
  },
  {
    from: ['STOPPING', 'STARTING', 'RUNNING'],
    on: 'stopped-wanted',
    to: 'WAITING',
    then: ['release-stop-order', 'try-start'],
    meaning: 'it is proven gone, and wanted again as soon as its conditions hold',
  },
  {
    from: ['STOPPING'],
    on: 'stopped-failure',
    to: 'RESTARTING',
    then: ['charge', 'cascade', 'arm-backoff'],
    meaning: 'it was ended because it was unhealthy, hung or late, and a restart is left',
  },
  {
    from: ['STOPPING'],
    on: 'stopped-last',
    to: 'FAILED',
    then: ['cascade', 'alert'],
    meaning: 'it was ended because it was unhealthy, hung or late, and the budget is spent',
  },
  {
    from: ['RESTARTING'],
    on: 'held',
    to: 'WAITING',
    then: [],
    meaning: 'its delay is over (or an operation holds every start), but a condition is missing',
  },
  {
    from: ['RESTARTING'],
    on: 'retry-now',
    to: 'WAITING',
    then: ['cancel-backoff', 'try-start'],
    meaning: 'an operator will not wait for the delay',
  },
] as const satisfies readonly LifecycleRow[];

const INDEX: ReadonlyMap<string, LifecycleRow> = new Map(
  DAEMON_LIFECYCLE.flatMap((row) => row.from.map((from) => [`${from} ${row.on}`, row] as const)),
);

/**
 * The row for a state and an event.
 * @throws INVARIANT when the table has none: the caller asked for something that cannot happen
 */
export const decide = (from: DaemonState, on: LifecycleEvent): LifecycleRow => {
  const row = INDEX.get(`${from} ${on}`);
  if (row === undefined) throw invariant(`no transition for ${on} in ${from}`, { from, on });
  return row;
};

/**
 * Shares the main loop fairly: handlers and receipts run until a turn has used its milliseconds, the rest waits for the
 * next turn, so timers, sockets and other daemons are never kept waiting by a flood of events.
 *
 * Work is scheduled outside every daemon's async context: a job that happened to be queued while A published must not be
 * attributed to A.
 */
import { AsyncResource } from 'node:async_hooks';
import type { Clock } from '../seams/clock.ts';

/** Does a piece of work; called again while it returns true. */
export type Job = () => void;

export interface Pump {
  /** True when this turn has used its share; a job then defers what is left. */
  exhausted(): boolean;
  /** Monotonic milliseconds, as fresh as the last `exhausted()`. */
  readonly now: number;
  /** Runs the job in a coming turn, after the jobs deferred before. */
  defer(job: Job): void;
}

export const createPump = (clock: Clock, turnMs: number): Pump => {
  const outside = new AsyncResource('EVENT_ROUTER_PUMP');
  let jobs: Job[] = [];
  let scheduled = false;
  let startedAt = -Infinity;
  let now = clock.monotonicMs();

  const turn = (): void => {
    scheduled = false;
    startedAt = now = clock.monotonicMs();
    const taken = jobs;
    jobs = [];
    let next = 0;
    while (next < taken.length && !pump.exhausted()) taken[next++]!();
    if (next < taken.length) jobs = [...taken.slice(next), ...jobs];
    if (jobs.length > 0) schedule();
  };
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    outside.runInAsyncScope(clock.soon, clock, turn);
  };
  const pump = {
    get now() {
      return now;
    },
    exhausted: (): boolean => {
      now = clock.monotonicMs();
      return now - startedAt > turnMs;
    },
    defer: (job: Job): void => {
      jobs.push(job);
      schedule();
    },
  };
  return pump;
};

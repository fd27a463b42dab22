/**
 * What a command does in each state: the written table by which overlapping requests merge. One operation per daemon at
 * a time follows from it: a command never starts a second operation beside a running one, it bends what is under way.
 */
import type { DaemonState } from './states.ts';

export const ACT_VERBS = ['start', 'stop', 'restart', 'reset'] as const;
export type ActVerb = (typeof ACT_VERBS)[number];

/** Every action with its meaning; docs/reference/lifecycle.md prints both. */
export const MERGE_ACTIONS = {
  want: 'wanted up, counter cleared, started as soon as its conditions hold',
  'retry-now': 'the delay is skipped and the counter cleared',
  join: 'what is under way already leads there; counter cleared',
  'after-stop': 'it finishes stopping, is proven gone, and starts again',
  stop: 'stops (dependents first)',
  unwant: 'nothing of it runs; the pending start or delay is cancelled, and dependents that stayed up without it stop',
  'stay-down': 'it is stopping already and will not come back',
  cycle: 'stops (its cascade first) and starts again',
  clear: 'only the counter',
  nothing: 'already so; it is remembered that a person wants it so',
} as const;
export type MergeAction = keyof typeof MERGE_ACTIONS;

export const COMMAND_MERGE: Readonly<Record<ActVerb, Readonly<Record<DaemonState, MergeAction>>>> = {
  start: {
    STOPPED: 'want',
    WAITING: 'join',
    STARTING: 'join',
    RUNNING: 'join',
    RESTARTING: 'retry-now',
    STOPPING: 'after-stop',
    FAILED: 'want',
    COMPLETED: 'want',
  },
  stop: {
    STOPPED: 'nothing',
    WAITING: 'unwant',
    STARTING: 'stop',
    RUNNING: 'stop',
    RESTARTING: 'unwant',
    STOPPING: 'stay-down',
    FAILED: 'unwant',
    COMPLETED: 'unwant',
  },
  restart: {
    STOPPED: 'want',
    WAITING: 'join',
    STARTING: 'cycle',
    RUNNING: 'cycle',
    RESTARTING: 'retry-now',
    STOPPING: 'after-stop',
    FAILED: 'want',
    COMPLETED: 'want',
  },
  reset: {
    STOPPED: 'clear',
    WAITING: 'clear',
    STARTING: 'clear',
    RUNNING: 'clear',
    RESTARTING: 'retry-now',
    STOPPING: 'clear',
    FAILED: 'want',
    COMPLETED: 'clear',
  },
};

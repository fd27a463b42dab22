/**
 * The closed sets of words: what a daemon can be, what is wanted of it, and why something happened to it.
 * docs/contract.md: names never change; other programs match on them.
 */
export const DAEMON_STATES = [
  'STOPPED',
  'WAITING',
  'STARTING',
  'RUNNING',
  'RESTARTING',
  'STOPPING',
  'FAILED',
  'COMPLETED',
] as const;
export type DaemonState = (typeof DAEMON_STATES)[number];

/** For docs/reference/lifecycle.md. */
export const STATE_MEANINGS: Readonly<Record<DaemonState, string>> = {
  STOPPED: 'not wanted; its reason says why (an operator, or the profile)',
  WAITING: 'wanted, but a condition or a start slot is missing; `why` names it, down to the leaf',
  STARTING: 'its start has begun and it is not ready yet; a deadline is armed',
  RUNNING: 'ready: dependents may rely on it',
  RESTARTING: 'exited or declared dead; the next attempt is scheduled',
  STOPPING: 'draining, then stopping; a deadline is armed, then it is killed',
  FAILED: 'the restart budget is spent, or a retry cannot mend it; only an operator leaves it',
  COMPLETED: 'a one-shot task that ended well',
};

export type Wanted = 'up' | 'down';

/** Why a daemon went down or was acted on; kept beside the state, shown in history, metrics and the journal. */
export const CAUSES = [
  'exit',
  'start-failed',
  'start-timeout',
  'import-failed',
  'unhealthy',
  'hung',
  'dependency-lost',
  'operator',
  'schedule',
  'drill',
  'config',
  'recovery',
] as const;
export type Cause = (typeof CAUSES)[number];

/** For docs/reference/lifecycle.md. */
export const CAUSE_MEANINGS: Readonly<Record<Cause, string>> = {
  exit: 'it ended without being asked',
  'start-failed': 'its start threw or rejected',
  'start-timeout': 'it was not ready before its deadline',
  'import-failed': 'its module could not be loaded: a retry cannot mend that',
  unhealthy: 'too many failed health checks in a row, or it asked for its own restart',
  hung: 'too many health checks in a row that it did not answer, or it did not move: no graceful stop',
  'dependency-lost': 'a hard dependency went away, or re-attaching to it failed',
  operator: 'a person, a signal, or a program on behalf of one said so, a stop of everything included',
  schedule: 'a full recovery that the schedule asked for',
  drill: 'a rehearsal broke it on purpose: counted apart',
  config: 'its configuration is refused: a retry cannot mend that',
  recovery: 'a full recovery that somebody asked for',
};

/** A start of it exists: something may be running that must be proven gone before the next start. */
export const isLive = (state: DaemonState): boolean =>
  state === 'STARTING' || state === 'RUNNING' || state === 'STOPPING';

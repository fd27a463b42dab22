/**
 * The closed sets of words: what a daemon can be, what is wanted of it, and why something happened to it.
 * CONTRACT: names never change; other programs match on them.
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

/** A start of it exists: something may be running that must be proven gone before the next start. */
export const isLive = (state: DaemonState): boolean =>
  state === 'STARTING' || state === 'RUNNING' || state === 'STOPPING';

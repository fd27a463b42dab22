/**
 * One daemon in one line: what the status table and the live view say of it. The note answers the question the state
 * raises: a daemon that waits says for what, one that failed says why, one that serves says only what is not well.
 */
import type { DaemonStatus } from '../../client/index.ts';
import type { WaitingFor } from '../../../orchestrator/types.ts';
import { wallMsOf } from '../../../seams/plain-clock.ts';
import { lasting, secondsSince } from './moments.ts';
import { printable } from './text.ts';

export interface DaemonRow {
  readonly name: string;
  readonly critical: boolean;
  readonly state: string;
  readonly health: string;
  /** `0`, or restarts charged out of those allowed: `2/5`. */
  readonly restarts: string;
  /** How long it has served, how long it has been in its state, or when it is tried again: `4m05s`, `in 2.0s`. */
  readonly time: string;
  readonly note: string;
}

const timeOf = (daemon: DaemonStatus, nowMs: number): string => {
  if (daemon.state === 'RESTARTING' && daemon.nextAttemptAt !== null) {
    const left = (wallMsOf(daemon.nextAttemptAt) - nowMs) / 1000;
    return left > 0 ? `in ${lasting(left)}` : 'now';
  }
  const since = daemon.state === 'RUNNING' ? (daemon.readyAt ?? daemon.startedAt) : daemon.stateSince;
  const seconds = secondsSince(since, nowMs);
  return seconds === null ? '' : lasting(seconds);
};

/** What a wait is for; one that cannot end by itself says so. */
export const waitText = ({ impossible, message }: WaitingFor): string =>
  impossible && !message.startsWith('impossible') ? `impossible: ${message}` : message;

/** Why it is not simply running, in a phrase; empty when there is nothing to say. */
const noteOf = (daemon: DaemonStatus): string => {
  const [wait] = daemon.waitingFor;
  const waitsFor = wait === undefined ? null : waitText(wait);
  const error = daemon.lastError === null ? null : `${daemon.lastCause ?? 'error'}: ${daemon.lastError}`;
  switch (daemon.state) {
    case 'RUNNING':
      return daemon.health.status === 'healthy' ? '' : daemon.health.message;
    case 'WAITING':
      return daemon.reason ?? waitsFor ?? '';
    case 'RESTARTING':
      return waitsFor ?? error ?? daemon.reason ?? '';
    case 'FAILED':
      return error ?? daemon.reason ?? '';
    case 'STOPPED':
    case 'STARTING':
    case 'STOPPING':
    case 'COMPLETED':
      return daemon.reason ?? '';
  }
};

export const daemonRow = (daemon: DaemonStatus, nowMs: number): DaemonRow => ({
  name: printable(daemon.type),
  critical: daemon.critical,
  state: daemon.state,
  health: daemon.state === 'RUNNING' ? daemon.health.status : '',
  restarts:
    daemon.restartCount === 0
      ? '0'
      : `${daemon.restartCount}/${daemon.restartCount + Math.max(0, daemon.attemptsLeft)}`,
  time: timeOf(daemon, nowMs),
  note: printable(noteOf(daemon) ?? ''),
});

/** `24 running, 1 restarting, 1 failed`: states in a fixed order, those that nobody is in left out. */
export const stateCounts = (daemons: readonly { readonly state: string }[]): { state: string; count: number }[] => {
  const counts = new Map<string, number>();
  for (const state of ORDER) counts.set(state, 0);
  for (const { state } of daemons) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].filter(([, count]) => count > 0).map(([state, count]) => ({ state, count }));
};

const ORDER = ['RUNNING', 'STARTING', 'WAITING', 'RESTARTING', 'STOPPING', 'FAILED', 'COMPLETED', 'STOPPED'];

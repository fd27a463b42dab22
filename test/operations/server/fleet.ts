/** A fleet for tests of the control plane: data only, nothing runs. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_LIMITS } from '../../../src/operations/server/protocol.ts';
import type { GraphPicture } from '../../../src/operations/server/protocol.ts';
import type { ServerOptions } from '../../../src/operations/server/host.ts';
import type { DaemonStatus, FleetSnapshot, HistoryEntry } from '../../../src/orchestrator/types.ts';
import { realClock } from '../../../src/seams/clock.ts';
import { healthy } from '../../../src/health/verdict.ts';

export const AT = '2026-11-23T21:00:00.000Z';

export const daemon = (type: string, changes: Partial<DaemonStatus> = {}): DaemonStatus => ({
  type,
  kind: 'in-process',
  category: 'event',
  critical: true,
  wanted: 'up',
  state: 'RUNNING',
  reason: null,
  generation: 1,
  pid: null,
  health: { ...healthy(), checkedAt: AT, consecutiveFailures: 0 },
  restartCount: 0,
  restartsLastHour: 0,
  restartsTotal: 0,
  lastError: null,
  lastErrorAt: null,
  lastCause: null,
  nextAttemptAt: null,
  startedAt: AT,
  readyAt: AT,
  stateSince: AT,
  uptimeSeconds: 0,
  dependsOn: [],
  waitingFor: [],
  recoveryTargetSeconds: 5,
  lastRecoverySeconds: null,
  attemptsLeft: 5,
  leakedPromises: 0,
  processes: [],
  inProfile: true,
  ...changes,
});

export const snapshot = (daemons: readonly DaemonStatus[], changes: Partial<FleetSnapshot> = {}): FleetSnapshot => ({
  fleet: 'test',
  fleetFile: '/fleets/test.yaml',
  profile: 'full',
  tempo: 'quick',
  pid: process.pid,
  startedAt: AT,
  verdict: 'ready',
  operation: null,
  daemons,
  ...changes,
});

export const graphOf = (daemons: readonly DaemonStatus[]): GraphPicture => ({
  order: daemons.map(({ type }) => type),
  waves: [daemons.map(({ type }) => type)],
  edges: [],
  criticalPath: daemons.slice(0, 1).map(({ type }) => type),
});

export const entry = (seq: number, changes: Partial<HistoryEntry> = {}): HistoryEntry => ({
  seq,
  cause: null,
  time: AT,
  daemon: 'EVENT_ROUTER',
  from: 'RUNNING',
  to: 'RESTARTING',
  on: 'exited',
  why: 'exit',
  message: 'boom',
  generation: 1,
  ...changes,
});

/** A data directory of its own; `remove` when done. */
export const temporaryDataDir = (): { readonly path: string; remove(): void } => {
  const path = mkdtempSync(join(tmpdir(), 'ml-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
};

export const ROUTER_AND_SYNC = [daemon('EVENT_ROUTER'), daemon('AUTO_SYNC'), daemon('ELO_SYNC', { critical: false })];

export const serverOptions = (
  dataDir: string,
  daemons: readonly DaemonStatus[] = ROUTER_AND_SYNC,
  changes: Partial<ServerOptions> = {},
): ServerOptions => ({
  dataDir,
  journalFolder: join(dataDir, 'journal'),
  port: 0,
  version: '0.0.0-test',
  clock: realClock(),
  snapshot: () => snapshot(daemons),
  graph: () => graphOf(daemons),
  statusOf: (type) => daemons.find((one) => one.type === type) ?? null,
  attribution: new SharedArrayBuffer(4),
  names: daemons.map(({ type }) => type),
  limits: DEFAULT_LIMITS,
  ...changes,
});

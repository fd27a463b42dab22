/** A fleet of so many daemons for measuring the control plane: data only, nothing runs. */
import { healthy } from '../../src/health/verdict.ts';
import type { ServerOptions } from '../../src/operations/server/host.ts';
import type { DaemonStatus } from '../../src/orchestrator/types.ts';

const AT = '2026-11-23T21:00:00.000Z';

const daemon = (type: string, critical: boolean, dependsOn: readonly string[]): DaemonStatus => ({
  type,
  kind: 'in-process',
  category: 'sync',
  critical,
  wanted: 'up',
  state: 'RUNNING',
  reason: null,
  generation: 1,
  pid: null,
  health: { ...healthy({ cycles: 120, errorRate: 0, lag: 0 }), checkedAt: AT, consecutiveFailures: 0 },
  restartCount: 0,
  restartsLastHour: 0,
  restartsTotal: 2,
  lastError: 'cannot reach node-7: connection reset by peer',
  lastErrorAt: AT,
  lastCause: 'exit',
  nextAttemptAt: null,
  startedAt: AT,
  readyAt: AT,
  stateSince: AT,
  uptimeSeconds: 0,
  dependsOn,
  waitingFor: [],
  recoveryTargetSeconds: 15,
  lastRecoverySeconds: 1.2,
  attemptsLeft: 5,
  leakedPromises: 0,
  processes: [],
  inProfile: true,
  rule: '',
});

export const bigFleet = (
  count: number,
): {
  readonly first: string;
  readonly options: Omit<ServerOptions, 'dataDir' | 'journalFolder' | 'clock'>;
} => {
  const first = 'DAEMON_0';
  const daemons = Array.from({ length: count }, (_value, index) =>
    daemon(`DAEMON_${index}`, index < 4, index === 0 ? [] : [first]),
  );
  const order = daemons.map(({ type }) => type);
  return {
    first,
    options: {
      port: 0,
      version: 'bench',
      snapshot: () => ({
        fleet: 'bench',
        fleetFile: 'bench.yaml',
        profile: 'full',
        tempo: 'quick',
        pid: process.pid,
        startedAt: AT,
        verdict: 'ready',
        operation: null,
        daemons,
      }),
      graph: () => ({
        order,
        waves: [[first], order.slice(1)],
        edges: order.slice(1).map((from) => ({
          from,
          on: first,
          kind: 'hard',
          condition: 'ready',
          onLoss: 'reattach',
          writtenAt: 'bench.yaml:1:1',
        })),
        criticalPath: [first],
      }),
      statusOf: (type) => daemons.find((one) => one.type === type) ?? null,
      attribution: new SharedArrayBuffer(4),
      names: order,
    },
  };
};

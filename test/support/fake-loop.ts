/**
 * A loop that is not one: it answers the control socket of a data directory with canned reports, so that programs which
 * only talk to a loop can be tested, and looked at, without running a fleet.
 *
 * Run it to look at the live view: `npx tsx test/support/fake-loop.ts DIR`, then `master_loop --watch --data-dir DIR`.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { controlSocketPath } from '../../src/operations/control-paths.ts';
import type {
  ActRequest,
  CommandOutcome,
  DaemonStatus,
  GraphReport,
  Hello,
  HistoryEntry,
  StatusReport,
  WaitReport,
  WhyAnswer,
} from '../../src/operations/client/index.ts';
import type { FloorPanel } from '../../src/operations/cli/watch/floor.ts';
import { healthy } from '../../src/health/verdict.ts';

export const STARTED_AT = '2026-11-23T21:00:00.000Z';

/** A daemon that runs well, unless told otherwise. */
export const daemonStatus = (type: string, over: Partial<DaemonStatus> = {}): DaemonStatus => ({
  type,
  kind: 'in-process',
  category: 'core',
  critical: false,
  wanted: 'up',
  state: 'RUNNING',
  reason: null,
  generation: 1,
  pid: null,
  health: { ...healthy(), checkedAt: STARTED_AT, consecutiveFailures: 0 },
  restartCount: 0,
  restartsLastHour: 0,
  restartsTotal: 0,
  lastError: null,
  lastErrorAt: null,
  lastCause: null,
  nextAttemptAt: null,
  startedAt: STARTED_AT,
  readyAt: STARTED_AT,
  stateSince: STARTED_AT,
  uptimeSeconds: 60,
  dependsOn: [],
  waitingFor: [],
  recoveryTargetSeconds: null,
  lastRecoverySeconds: null,
  attemptsLeft: 5,
  leakedPromises: 0,
  processes: [],
  ...over,
});

export const statusReport = (
  daemons: readonly DaemonStatus[],
  over: Partial<StatusReport> & { readonly floor?: FloorPanel } = {},
): StatusReport & { readonly floor?: FloorPanel } => ({
  fleet: 'ringrift',
  fleetFile: '/fleets/ringrift.yaml',
  profile: 'core',
  tempo: 'quick',
  pid: process.pid,
  startedAt: STARTED_AT,
  verdict: 'ready',
  operation: null,
  daemons,
  port: 8790,
  uptimeSeconds: 60,
  snapshotAgeMs: 3,
  stall: null,
  lagMs: 1,
  subscriptions: { total: 0, gaps: [] },
  log: null,
  ...over,
});

export const historyEntry = (seq: number, over: Partial<HistoryEntry> = {}): HistoryEntry => ({
  seq,
  cause: null,
  time: STARTED_AT,
  daemon: 'AUTO_SYNC',
  from: 'STARTING',
  to: 'RUNNING',
  on: 'ready',
  why: null,
  message: '',
  generation: 1,
  ...over,
});

export const whyAnswer = (over: Partial<WhyAnswer> = {}): WhyAnswer => ({
  daemon: 'AUTO_SYNC',
  state: 'RUNNING',
  wanted: 'up',
  since: STARTED_AT,
  reason: 'ready',
  waitingFor: [],
  lastExit: null,
  causeChain: [historyEntry(7), historyEntry(3, { from: null, to: null, on: 'boot', daemon: null })],
  restarts: { charged: 0, left: 5, lastHour: 0 },
  nextAttemptAt: null,
  rule: 'the daemon said that it is ready',
  health: healthy(),
  remedy: null,
  snapshotAgeMs: 3,
  stall: null,
  ...over,
});

/** What the fake answers; replace members while it runs. */
export interface Canned {
  status: StatusReport;
  why: Readonly<Record<string, WhyAnswer>>;
  history: readonly HistoryEntry[];
  logs: readonly string[];
  wait: WaitReport;
  act: (request: ActRequest) => CommandOutcome | 'never';
  plan: (query: URLSearchParams) => unknown;
  events: (verb: string, args: Readonly<Record<string, unknown>>) => unknown;
  drills: (verb: string, args: Readonly<Record<string, unknown>>) => unknown;
}

export interface FakeLoop {
  readonly canned: Canned;
  /** Requests that change something, in order. */
  readonly acted: readonly ActRequest[];
  readonly socketPath: string;
  /** Resolves when somebody follows the stream of transitions. */
  readonly followed: Promise<void>;
  /** Sends an entry to everyone who follows, and keeps it in the history. */
  emit(entry: HistoryEntry): void;
  log(line: string): void;
  close(): Promise<void>;
}

const graphOf = ({ fleet, daemons }: StatusReport): GraphReport => ({
  fleet,
  order: daemons.map(({ type }) => type),
  waves: [daemons.map(({ type }) => type)],
  edges: [],
  criticalPath: [],
  nodes: daemons.map(({ type, state, health, critical, wanted }) => ({
    type,
    state,
    health: health.status,
    critical,
    wanted,
  })),
});

const bodyOf = async (request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> => {
  let text = '';
  for await (const part of request) text += String(part);
  return text === '' ? {} : (JSON.parse(text) as Readonly<Record<string, unknown>>);
};

const nobody = (type: string) => ({
  error: {
    code: 'UNKNOWN_DAEMON',
    message: `cannot find a daemon named ${JSON.stringify(type)} in this fleet`,
    remedy: '"master_loop status" lists the daemons of the fleet',
  },
});

export const startFakeLoop = async (dataDir: string, over: Partial<Canned> = {}): Promise<FakeLoop> => {
  const canned: Canned = {
    status: statusReport([daemonStatus('EVENT_ROUTER', { critical: true }), daemonStatus('AUTO_SYNC')]),
    why: { AUTO_SYNC: whyAnswer() },
    history: [historyEntry(1), historyEntry(2, { daemon: 'EVENT_ROUTER' })],
    logs: ['2026-11-23T21:00:00.000Z INFO [AUTO_SYNC] ready'],
    wait: {
      ready: true,
      notReady: [],
      reasons: [],
      verdict: 'ready',
      snapshotAgeMs: 1,
      ended: 'ready',
      waitedSeconds: 1.5,
    },
    act: ({ verb, daemons = [] }) => ({
      id: '1',
      ok: true,
      code: 'done',
      message: `${verb} ${daemons.join(', ')}: done`,
    }),
    plan: (query) => ({
      ...{ verb: query.get('verb'), daemons: query.getAll('daemon') },
      ...{ stop: [], start: [], reattach: [] },
    }),
    events: (verb, args) => ({ verb, args }),
    drills: (verb, args) => ({ verb, args }),
    ...over,
  };
  const acted: ActRequest[] = [];
  const streams = new Set<ServerResponse>();
  const followers = new Set<ServerResponse>();
  let nowFollowed = (): void => undefined;
  const followed = new Promise<void>((resolve) => (nowFollowed = resolve));

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const { searchParams: query } = url;
    const [, first, second, third] = url.pathname.split('/');
    const send = (body: unknown, status = 200): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    const open = (set: Set<ServerResponse>): void => {
      set.add(response);
      response.on('close', () => set.delete(response));
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    };
    const { status } = canned;
    const known = (type: string): boolean => status.daemons.some((daemon) => daemon.type === type);
    if (first === 'status') return send(status);
    if (first === 'graph') return send(graphOf(status));
    if (first === 'stream') {
      open(streams);
      return nowFollowed();
    }
    if (first === 'daemons' && second !== undefined) {
      const daemon = status.daemons.find(({ type }) => type === second);
      return daemon === undefined ? send(nobody(second), 404) : send(daemon);
    }
    if (first !== 'control') return send({ error: { code: 'NO_ROUTE', message: url.pathname, remedy: '' } }, 404);
    switch (second) {
      case 'hello': {
        const { fleet, pid, port, startedAt } = status;
        return send({ version: '0.0.0', fleet, pid, port, startedAt } satisfies Hello);
      }
      case 'why': {
        const type = third ?? '';
        const why = canned.why[type] ?? (known(type) ? whyAnswer({ daemon: type }) : null);
        return why === null ? send(nobody(type), 404) : send(why);
      }
      case 'history': {
        const daemon = query.get('daemon');
        const own = canned.history.filter((entry) => daemon === null || entry.daemon === daemon);
        return send(own.slice(-Number(query.get('limit') ?? 50)));
      }
      case 'logs': {
        const daemon = query.get('daemon');
        const own = canned.logs.filter((line) => daemon === null || line.includes(`[${daemon}]`));
        if (third !== 'follow') return send(own.slice(-Number(query.get('lines') ?? 50)));
        open(followers);
        for (const line of own) response.write(`${line}\n`);
        return;
      }
      case 'wait':
        return send(canned.wait);
      case 'plan':
        return send(canned.plan(query));
      case 'log-level':
        return send({ level: (await bodyOf(request))['level'], previous: 'INFO' });
      case 'act': {
        const asked = (await bodyOf(request)) as unknown as ActRequest;
        acted.push(asked);
        const outcome = canned.act(asked);
        return outcome === 'never' ? undefined : send(outcome);
      }
      case 'events':
        return send(canned.events(third ?? '', await bodyOf(request)));
      case 'drills':
        return send(canned.drills(third ?? '', await bodyOf(request)));
      default:
        return send({ error: { code: 'NO_ROUTE', message: url.pathname, remedy: '' } }, 404);
    }
  };

  const socketPath = controlSocketPath(dataDir);
  mkdirSync(dirname(socketPath), { recursive: true });
  rmSync(socketPath, { force: true });
  const server = createServer((request, response) => {
    answer(request, response).catch((thrown: unknown) => response.destroy(thrown as Error));
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return {
    canned,
    acted,
    socketPath,
    followed,
    emit(entry) {
      canned.history = [...canned.history, entry];
      for (const stream of streams) stream.write(`data: ${JSON.stringify(entry)}\n\n`);
    },
    log(line) {
      canned.logs = [...canned.logs, line];
      for (const follower of followers) follower.write(`${line}\n`);
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(socketPath, { force: true });
    },
  };
};

// ------------------------------------------------------------------------------------------- something to look at

const NAMES = [
  'EVENT_ROUTER',
  'DATA_PIPELINE',
  'AUTO_SYNC',
  'FEEDBACK_LOOP',
  'DAEMON_WATCHDOG',
  'HEALTH_SERVER',
  'CROSS_PROCESS_POLLER',
  'DLQ_RETRY',
  'SELFPLAY_COORDINATOR',
  'QUEUE_POPULATOR',
  'JOB_SCHEDULER',
  'CLUSTER_MONITOR',
  'IDLE_RESOURCE',
  'AVAILABILITY_CAPACITY_PLANNER',
  'AVAILABILITY_PROVISIONER',
  'AUTO_EXPORT',
  'TRAINING_TRIGGER',
  'CONTINUOUS_TRAINING_LOOP',
  'EVALUATION',
  'AUTO_PROMOTION',
  'UNIFIED_PROMOTION',
  'MODEL_DISTRIBUTION',
  'ELO_SYNC',
  'QUALITY_MONITOR',
  'IDLE_SHUTDOWN',
  'DATA_SERVER',
];

/** A fleet that lives: one daemon a second dies and comes back, one has failed, the models get better. */
const demonstrate = async (dataDir: string): Promise<void> => {
  const started = new Date(Date.now() - 723_000).toISOString();
  const loop = await startFakeLoop(dataDir);
  let seq = 10;
  let turn = 0;
  const rise = (from: number, to: number, count: number): number[] =>
    Array.from({ length: count }, (_, index) => to - (to - from) * Math.exp(-index / 6));
  const floor = (): FloorPanel => ({
    title: 'Training floor',
    figures: [
      { label: 'games', value: 12_431 + turn * 13 },
      { label: 'games/min', value: 812 },
      { label: 'shards', value: 18 + Math.floor(turn / 10) },
      { label: 'models', value: 7 },
      { label: 'training', value: 'square8_2p' },
    ],
    rows: [
      ['square8_2p', 'champion 7 (a1b2c3)', 0.41, 0.86, 0.24, 0.89, 1243, 31],
      ['hex8_2p', 'champion 4 (77de01)', 0.52, 0.8, 0.45, 0.67, 1180, 52],
      ['square8_4p', 'champion 1 (00aa9f)', 0.3, 0.42, 0.2, 0.31, 1012, 88],
    ].map(([name, text, r0, r1, g0, g1, value, error]) => ({
      name: String(name),
      text: String(text),
      series: [
        { label: 'random', values: rise(Number(r0), Number(r1), 8 + (turn % 30)) },
        { label: 'greedy', values: rise(Number(g0), Number(g1), 8 + (turn % 30)) },
      ],
      rating: { value: Number(value), error: Number(error) },
    })),
  });
  const daemons = (): DaemonStatus[] =>
    NAMES.map((type, index) => {
      const base = { category: ['core', 'sync', 'training', 'evaluation'][index % 4] ?? 'core', startedAt: started };
      const common = { ...base, readyAt: started, stateSince: started, critical: index < 4, attemptsLeft: 5 };
      if (type === 'ELO_SYNC')
        return daemonStatus(type, {
          ...common,
          state: 'FAILED',
          reason: 'restart budget spent',
          restartCount: 5,
          attemptsLeft: 0,
          lastCause: 'start-failed',
          lastError: 'cannot open ratings.db: disk I/O error',
          lastErrorAt: started,
        });
      if (type === 'UNIFIED_PROMOTION')
        return daemonStatus(type, {
          ...common,
          state: 'WAITING',
          reason: 'waits for ELO_SYNC',
          waitingFor: [
            {
              on: 'ELO_SYNC',
              kind: 'hard',
              condition: 'ready',
              state: 'FAILED',
              impossible: true,
              message: 'impossible: ELO_SYNC is FAILED; master_loop reset ELO_SYNC',
              remedy: 'master_loop reset ELO_SYNC',
            },
          ],
        });
      if (type === 'IDLE_SHUTDOWN')
        return daemonStatus(type, { ...common, wanted: 'down', state: 'STOPPED', reason: 'stopped by operator' });
      if (index === 4 + (turn % 16))
        return daemonStatus(type, {
          ...common,
          state: 'RESTARTING',
          restartCount: 1 + (turn % 3),
          attemptsLeft: 4 - (turn % 3),
          lastCause: 'exit',
          lastError: 'connection reset by node 2 while reading shard 17',
          nextAttemptAt: new Date(Date.now() + 1500).toISOString(),
        });
      if (type === 'QUALITY_MONITOR')
        return daemonStatus(type, {
          ...common,
          health: {
            status: 'degraded',
            healthy: true,
            message: 'no shard for 95 s',
            details: { stalenessSeconds: 95, cycles: 41, errorRate: 0.05 },
            checkedAt: started,
            consecutiveFailures: 0,
          },
        });
      return daemonStatus(type, common);
    });
  const step = (): void => {
    turn += 1;
    const at = new Date().toISOString();
    const type = NAMES[4 + (turn % 16)] ?? 'AUTO_SYNC';
    const drill = turn % 60 < 10;
    loop.canned.status = statusReport(daemons(), {
      startedAt: started,
      verdict: 'unhealthy',
      floor: floor(),
      operation: drill
        ? {
            id: 'x',
            verb: 'recover',
            phase: 'draining',
            origin: 'operator',
            reason: 'master_loop recover',
            drainMs: 10_000,
            resetFailed: false,
            resumed: false,
            startedWallMs: Date.now() - (turn % 60) * 1000,
            phaseWallMs: Date.now() - (turn % 60) * 1000,
            took: {},
            verdict: null,
            notReady: [],
          }
        : null,
    });
    seq += 2;
    const message = 'connection reset by node 2 while reading shard 17';
    loop.emit(
      historyEntry(seq, {
        time: at,
        daemon: type,
        from: 'RUNNING',
        to: 'RESTARTING',
        on: 'exited',
        why: 'exit',
        message,
      }),
    );
    loop.log(`${at} ERROR [${type}] ${message}`);
    const back = NAMES[4 + ((turn - 1) % 16)] ?? 'AUTO_SYNC';
    loop.emit(historyEntry(seq + 1, { time: at, daemon: back, from: 'STARTING', to: 'RUNNING', cause: seq }));
  };
  step();
  loop.canned.why = {
    ELO_SYNC: whyAnswer({
      daemon: 'ELO_SYNC',
      state: 'FAILED',
      since: started,
      reason: 'cannot open ratings.db: disk I/O error',
      rule: 'after 5 restarts without 300 s of RUNNING the next failure is FAILED',
      remedy: 'mend the cause, then "master_loop reset ELO_SYNC"',
      restarts: { charged: 5, left: 0, lastHour: 5 },
      lastExit: { message: 'cannot open ratings.db: disk I/O error', why: 'start-failed', time: started },
      causeChain: Array.from({ length: 30 }, (_, index) =>
        historyEntry(100 - index, { daemon: 'ELO_SYNC', from: 'STARTING', to: 'RESTARTING', why: 'start-failed' }),
      ),
    }),
  };
  setInterval(step, 1000);
};

const [, program, folder] = process.argv;
if (program !== undefined && import.meta.url === pathToFileURL(program).href) {
  await demonstrate(folder ?? '.master-loop');
}

/**
 * A small fleet that really runs: the supervisor with the in-process runtime, the router in its thread, the journal and the
 * lock of nobody, in a folder of its own. No server and no child processes; time is real, so periods are short.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventRouter } from '../../src/daemons/event/event-router.ts';
import type { DaemonDefinition } from '../../src/daemons/definition.ts';
import { RINGRIFT_EVENTS } from '../../src/events/catalogue.ts';
import { createRouterHost } from '../../src/events/router-host.ts';
import type { RouterHost } from '../../src/events/router-api.ts';
import type { Fleet } from '../../src/fleet/types.ts';
import { buildGraph } from '../../src/graph/graph.ts';
import { openJournal } from '../../src/journal/journal.ts';
import { loopJournal } from '../../src/journal/loop-journal.ts';
import { restoreState } from '../../src/orchestrator/restore.ts';
import { startSlots } from '../../src/orchestrator/start-slots.ts';
import { Supervisor } from '../../src/orchestrator/supervisor.ts';
import { createAttribution } from '../../src/runtimes/attribution.ts';
import { InProcessRuntime } from '../../src/runtimes/in-process.ts';
import { realClock, type Clock } from '../../src/seams/clock.ts';
import { seededRandom } from '../../src/seams/random.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { realNetwork } from '../../src/seams/real-network.ts';
import { fleetOf, type SpecOverrides } from './fleets.ts';

/** A check four times a second, three misses; three restarts after 0.1, 0.2 and 0.4 s. */
export const BRISK: SpecOverrides = {
  restart: { delaysMs: [100, 200, 400], maxRestarts: 3, stableMs: 60_000 },
  health: { periodMs: 250, timeoutMs: 200, failures: 3 },
  startMs: 5_000,
  stopMs: 2_000,
};

/** The real router daemon, as it is shipped. */
export const EVENT_ROUTER: DaemonDefinition = eventRouter;

export interface LiveFleetOptions {
  readonly daemons: readonly DaemonDefinition[];
  readonly over?: Readonly<Record<string, SpecOverrides>>;
  /** What an earlier master left; absent: a new one. */
  readonly folder?: string;
  readonly fleet?: Partial<Pick<Fleet, 'alerts' | 'alertSinks' | 'schedule'>>;
  /** What the router goes by; absent: real time. */
  readonly routerClock?: Clock;
}

export interface LiveFleet {
  readonly folder: string;
  readonly clock: Clock;
  readonly supervisor: Supervisor;
  readonly router: RouterHost | null;
  /** `LEVEL [DAEMON] message` of everything logged. */
  readonly lines: readonly string[];
  readonly log: Record<'debug' | 'info' | 'warn' | 'error' | 'critical', (message: string) => void>;
  /** Resolves when it holds; rejects, naming it, when it does not in time. */
  until(what: string, condition: () => boolean, timeoutMs?: number): Promise<void>;
  /** Every wanted daemon up and found well. */
  settled(): Promise<void>;
  /** Stops in order and closes; the folder stays for the next. */
  stop(): Promise<void>;
  /** Ends without a word to anybody, as a crash of the master would. */
  abandon(): Promise<void>;
}

const open = new Set<LiveFleet>();
const folders = new Set<string>();

/** For `afterEach`: ends everything and removes every folder. */
export const clearFleets = async (): Promise<void> => {
  for (const fleet of open) await fleet.abandon();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
};

export const liveFleet = async (options: LiveFleetOptions): Promise<LiveFleet> => {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'live-fleet-'));
  folders.add(folder);
  const clock = realClock();
  const random = seededRandom(5);
  const files = realFileSystem();
  const lines: string[] = [];
  const logOf = (who: string): LiveFleet['log'] => {
    const at = (level: string) => (message: string) => void lines.push(`${level} [${who}] ${message}`);
    return { debug: at('DEBUG'), info: at('INFO'), warn: at('WARN'), error: at('ERROR'), critical: at('CRITICAL') };
  };
  const log = logOf('master');

  const fleet: Fleet = {
    ...fleetOf(
      Object.fromEntries(options.daemons.map(({ type, dependsOn }) => [type, dependsOn])),
      Object.fromEntries(
        options.daemons.map((definition) => [
          definition.type,
          {
            ...BRISK,
            definition,
            critical: definition.critical,
            recoveryTargetSeconds: definition.recoveryTargetSeconds,
            config: definition.config.parse({}),
            ...options.over?.[definition.type],
          },
        ]),
      ),
    ),
    ...options.fleet,
  };
  const journal = openJournal({
    folder: join(folder, 'journal'),
    files,
    clock,
    fleetHash: 'test',
    coreVersion: 'test',
  });
  const restored = restoreState(journal.recovered);
  const attribution = createAttribution();
  const router = fleet.daemons.some(({ type }) => type === 'EVENT_ROUTER')
    ? createRouterHost({
        ...{ file: join(folder, 'events.db'), catalogue: RINGRIFT_EVENTS, random },
        clock: options.routerClock ?? clock,
      })
    : null;
  router?.declare(
    fleet.daemons.flatMap(({ type, critical, definition: { subscribes, maxInFlight } }) =>
      subscribes.map((topic) => ({ subscriber: type, topic, critical, maxInFlight })),
    ),
  );
  const graph = buildGraph(
    fleet.daemons.map(({ type, critical }) => ({ id: type, critical })),
    fleet.daemons.flatMap(({ edges }) => edges),
  );
  let left = (): void => undefined;
  const leaves = new Promise<void>((resolve) => (left = resolve));
  const supervisor: Supervisor = new Supervisor(
    {
      fleet,
      clock,
      random,
      journal: loopJournal(journal, ({ message }) => log.error(message)),
      slots: startSlots(),
      priority: graph.pathLengths({}, 1),
      keeps: restored.keeps,
      operation: restored.operation,
      pid: process.pid,
      runtime: (events) =>
        new InProcessRuntime({
          fleet,
          clock,
          random,
          files,
          network: realNetwork(),
          attribution,
          log: logOf,
          router,
          processes: null,
          fleetView: {
            daemons: () => supervisor.members(),
            master: () => ({ pid: process.pid, port: 0, controlSocket: '', lagMs: 0 }),
            ask: async (verb, daemon, reason) => {
              const { ok, message } = await supervisor.execute({
                verb,
                daemons: [daemon],
                origin: 'daemon',
                reason,
                waitMs: 0,
              });
              return { accepted: ok, message };
            },
            report: (daemon, evidence) => supervisor.reportEvidence(daemon, evidence),
          },
          dataDirOf: (daemon) => {
            const own = join(folder, 'daemons', daemon);
            files.makeFolder(own);
            return own;
          },
          services: (scope) =>
            router === null ? {} : { router: scope.guardService(router), endRouterThread: () => router.crash() },
          events,
        }),
      processesOf: () => [],
      onLeave: () => left(),
      onFatal: (error) => {
        throw error;
      },
    },
    graph.order(),
  );

  let closed = false;
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    open.delete(live);
    supervisor.dispose();
    await router?.crash();
    journal.close();
    attribution.dispose();
  };
  const live: LiveFleet = {
    folder,
    clock,
    supervisor,
    router,
    lines,
    log,
    async until(what, condition, timeoutMs = 10_000) {
      const end = clock.monotonicMs() + timeoutMs;
      while (!condition()) {
        if (clock.monotonicMs() > end)
          throw new Error(
            `not within ${timeoutMs} ms: ${what}; ${supervisor
              .snapshot()
              .daemons.map(({ type, state, health }) => `${type} ${state} ${health.status}`)
              .join(', ')}\n${lines.slice(-20).join('\n')}`,
          );
        await clock.sleep(5);
      }
    },
    settled: () =>
      live.until(
        'every daemon is up and well',
        () => supervisor.isSteady() && supervisor.snapshot().daemons.every(({ health }) => health.status === 'healthy'),
      ),
    async stop() {
      await supervisor.execute({
        verb: 'shutdown',
        daemons: [],
        origin: 'signal',
        reason: 'the test is over',
        waitMs: 0,
      });
      await leaves;
      await close();
    },
    async abandon() {
      // What is alive must still be revoked, or its timers would go on in this process.
      for (const { type, generation } of supervisor.core.members) supervisor.runtime.kill(type, generation, true);
      await close();
    },
  };
  open.add(live);
  supervisor.boot();
  return live;
};

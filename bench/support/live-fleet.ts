/**
 * A real master without its server: core, shell, start slots, in-process runtime, health wheel, journal on disk and event
 * router, for measuring what supervision itself costs. The daemons do nothing but be there: each has one subscription,
 * one cycle and a health slot, and hands its context to the bench so that it can be made to crash.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { defineDaemon, type DaemonContext, type Logger } from '../../src/daemons/definition.ts';
import { createRouterHost } from '../../src/events/router-host.ts';
import type { RouterHost } from '../../src/events/router-api.ts';
import type { DaemonSpec, Fleet, ResolvedEdge } from '../../src/fleet/types.ts';
import { healthy } from '../../src/health/verdict.ts';
import { openJournal } from '../../src/journal/journal.ts';
import { loopJournal } from '../../src/journal/loop-journal.ts';
import { startSlots } from '../../src/orchestrator/start-slots.ts';
import { Supervisor } from '../../src/orchestrator/supervisor.ts';
import { createAttribution } from '../../src/runtimes/attribution.ts';
import { InProcessRuntime } from '../../src/runtimes/in-process.ts';
import { realClock } from '../../src/seams/clock.ts';
import { realRandom } from '../../src/seams/random.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { realNetwork } from '../../src/seams/real-network.ts';

const TOPIC = 'BENCH_HAPPENED';
const SILENT: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

const edge = (from: string, on: string, kind: 'hard' | 'order'): ResolvedEdge => ({
  from,
  on,
  kind,
  condition: 'ready',
  onLoss: kind === 'hard' ? 'restart' : 'ignore',
  timeoutMs: 30_000,
  writtenAt: 'bench',
});

export interface LiveDaemon {
  readonly type: string;
  /** Hard dependencies, `onLoss: restart`. */
  readonly needs?: readonly string[];
  /** Order edges: waited for while the other is on its way. */
  readonly after?: readonly string[];
  /** How long its start takes, milliseconds; 0: ready at once. */
  readonly startMs?: number;
}

export interface LiveFleet {
  readonly supervisor: Supervisor;
  readonly router: RouterHost | null;
  /** Context of the present start, by daemon. */
  readonly contexts: ReadonlyMap<string, DaemonContext<never>>;
  /** Told when the code of a daemon begins to run. */
  onStart: ((daemon: string) => void) | null;
  /**
   * Resolves when all are RUNNING (or COMPLETED), none is on its way anywhere, and each has been started so often: what has
   * crashed a moment ago still counts as RUNNING until the loop has heard of it.
   */
  allRunning(starts?: number): Promise<void>;
  /** Resolves when every subscription that is not proven now has been, by its canary. */
  allProven(): Promise<void>;
  end(): Promise<void>;
}

export interface LiveOptions {
  readonly daemons: readonly LiveDaemon[];
  /** One subscription and one publisher's right each, through a real router thread. */
  readonly events: boolean;
  /** Exempt from the storm breaker, for benches that crash the same daemon again and again. */
  readonly critical?: boolean;
  /** Period of each daemon's only cycle, seconds; 0: none. */
  readonly cycleSeconds?: number;
  readonly priority?: ReadonlyMap<string, number>;
}

/** Builds and boots it; nothing has started when this resolves. */
export const liveFleet = async (options: LiveOptions): Promise<LiveFleet> => {
  const root = mkdtempSync(join(tmpdir(), 'bench-fleet-'));
  const clock = realClock();
  const random = realRandom();
  const files = realFileSystem();
  const attribution = createAttribution();
  const contexts = new Map<string, DaemonContext<never>>();
  const { cycleSeconds = 60 } = options;

  const specs = options.daemons.map(({ type, needs = [], after = [], startMs = 0 }): DaemonSpec => {
    const definition = defineDaemon({
      type,
      purpose: 'is there',
      category: 'bench',
      create(context) {
        contexts.set(type, context as unknown as DaemonContext<never>);
        live.onStart?.(type);
        return {
          ...(startMs > 0 ? { start: () => context.clock.sleep(startMs) } : {}),
          ...(cycleSeconds > 0 ? { every: { periodSeconds: cycleSeconds, atStart: false, run: () => {} } } : {}),
          on: { [TOPIC]: () => {} },
          health: () => healthy(),
        } as object;
      },
    });
    return {
      type,
      purpose: '',
      category: 'bench',
      kind: 'in-process',
      critical: options.critical ?? false,
      inProfile: true,
      pulledInBy: null,
      autoRestart: true,
      oneShot: false,
      restart: { delaysMs: [0], maxRestarts: 1_000_000, stableMs: 300_000 },
      health: { periodMs: 15_000, timeoutMs: 5_000, failures: 3 },
      startMs: 30_000,
      stopMs: 10_000,
      recoveryTargetSeconds: null,
      edges: [...needs.map((on) => edge(type, on, 'hard')), ...after.map((on) => edge(type, on, 'order'))],
      config: {},
      definition: options.events ? { ...definition, subscribes: [TOPIC] } : definition,
    };
  });
  const fleet: Fleet = {
    name: 'bench',
    file: '/bench.yaml',
    profile: 'all',
    tempo: 'standard',
    hash: 'bench',
    daemons: specs,
    ports: {},
    schedule: [],
    alerts: [],
    alertSinks: [],
    server: { bind: '127.0.0.1' },
    warnings: [],
  };

  let router: RouterHost | null = null;
  if (options.events) {
    router = createRouterHost({
      file: join(root, 'events.db'),
      catalogue: { [TOPIC]: { version: 1, meaning: 'something for the bench', body: z.object({ at: z.number() }) } },
      clock,
      random,
    });
    router.declare(specs.map(({ type }) => ({ subscriber: type, topic: TOPIC, critical: false, maxInFlight: 1 })));
    await router.start();
  }
  const journal = openJournal({
    folder: join(root, 'journal'),
    files,
    clock,
    fleetHash: 'bench',
    coreVersion: 'bench',
  });
  const supervisor: Supervisor = new Supervisor(
    {
      fleet,
      clock,
      random,
      journal: loopJournal(journal, (error) => {
        throw error;
      }),
      slots: startSlots(),
      priority: options.priority ?? new Map(),
      keeps: new Map(),
      operation: null,
      pid: process.pid,
      runtime: (events) =>
        new InProcessRuntime({
          fleet,
          clock,
          random,
          files,
          network: realNetwork(),
          attribution,
          log: () => SILENT,
          router,
          processes: null,
          fleetView: {
            daemons: () => supervisor.members(),
            master: () => ({ pid: process.pid, port: 0, controlSocket: '', lagMs: 0 }),
            ask: () => Promise.resolve({ accepted: false, message: 'a bench decides for itself' }),
            report: (daemon, evidence) => supervisor.reportEvidence(daemon, evidence),
          },
          dataDirOf: (daemon) => join(root, daemon),
          services: () => ({}),
          events,
        }),
      processesOf: () => [],
      onLeave: () => {},
      onFatal: (error) => {
        throw error;
      },
    },
    specs.map(({ type }) => type),
  );

  const isThere = (starts: number): boolean =>
    supervisor.core.notUpCount === 0 &&
    supervisor.core.liveCount === specs.length &&
    supervisor.core.members.every(({ generation }) => generation >= starts);
  const live: LiveFleet = {
    supervisor,
    router,
    contexts,
    onStart: null,
    allRunning: (starts = 1) =>
      new Promise((resolve) => {
        if (isThere(starts)) return resolve();
        const off = supervisor.onTurn(() => {
          if (!isThere(starts)) return;
          off();
          resolve();
        });
      }),
    allProven: () =>
      new Promise((resolve) => {
        let unproven = router?.ledger().filter(({ state }) => state !== 'attached').length ?? 0;
        if (router === null || unproven === 0) return resolve();
        const off = router.onLedgerChange(({ state }) => {
          if (state !== 'attached' || --unproven > 0) return;
          off();
          resolve();
        });
      }),
    async end() {
      supervisor.dispose();
      await router?.crash();
      journal.close();
      attribution.dispose();
      rmSync(root, { recursive: true, force: true });
    },
  };
  return live;
};

/**
 * Single daemons of the fleet, without the orchestrator: the real in-process runtime, router thread, training floor and
 * process records, in a folder of their own.
 *
 * What a test may believe is what it sees from outside: stored events, the floor, HTTP, /proc. `kill` is the crash that
 * the contract promises to survive: the context is revoked where it stands, child processes that survive a restart stay,
 * and the next `start` is another generation on the same stores.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DaemonDefinition, FleetMember, FleetView, Logger } from '../../src/daemons/definition.ts';
import { RINGRIFT_EVENTS } from '../../src/events/catalogue.ts';
import { createRouterHost } from '../../src/events/router-host.ts';
import type { RouterHost } from '../../src/events/router-api.ts';
import type { EventEnvelope } from '../../src/events/types.ts';
import type { DaemonSpec } from '../../src/fleet/types.ts';
import { unknown, type Health } from '../../src/health/verdict.ts';
import { instanceOf, openProcessRecords, type ProcessRecords } from '../../src/orchestrator/process-records.ts';
import { createAttribution } from '../../src/runtimes/attribution.ts';
import { InProcessRuntime } from '../../src/runtimes/in-process.ts';
import { realClock, type Clock } from '../../src/seams/clock.ts';
import { realRandom } from '../../src/seams/random.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { realNetwork } from '../../src/seams/real-network.ts';
import { realSpawner } from '../../src/seams/real-spawner.ts';
import { RINGRIFT_SHAPE } from '../../src/simulation/ringrift-shape.ts';
import type { Floor } from '../../src/training/floor.ts';
import { openFloor, type OpenedFloor } from '../../src/training/stores/open-floor.ts';
import { idleDefinition, specOf } from './fleets.ts';

const WAIT_MS = 30_000;
const LOOK_MS = 20;
const CHECK_MS = 5_000;
/** Log lines kept for the message of a wait that ran out. */
const LINES_MAX = 500;
const LINES_SHOWN = 15;

export interface DaemonBench {
  readonly floor: Floor;
  /** For drills of the store thread. */
  readonly floorHost: OpenedFloor;
  readonly router: RouterHost;
  readonly runtime: InProcessRuntime;
  readonly processes: ProcessRecords;
  readonly dataDir: string;
  readonly clock: Clock;
  /** What the daemons logged, oldest first: "TYPE level message". */
  readonly log: readonly string[];
  /** What daemons asked of the fleet (`ask`) and reported of others (`report`). */
  readonly asked: readonly { readonly verb: string; readonly daemon: string; readonly reason: string }[];
  readonly reported: readonly { readonly daemon: string; readonly evidence: Health }[];
  /** Ends of starts so far, oldest first; a failure is a crash, `forced` a kill. */
  readonly exits: readonly {
    readonly type: string;
    readonly generation: number;
    readonly failure: string | null;
    readonly forced: boolean;
  }[];
  /** Starts it on `quick` values overridden by `config`; resolves when ready, rejects when the start failed. */
  start(definition: DaemonDefinition, config?: Readonly<Record<string, unknown>>): Promise<void>;
  /** Graceful; resolves on exit. `full` also ends processes that survive a restart, as a stop of the whole fleet does. */
  stop(type: string, options?: { readonly full?: boolean }): Promise<void>;
  /** As a crash: revoked where it is; resolves when it and those of its processes that do not survive are gone. */
  kill(type: string): Promise<void>;
  /** Live starts and child processes, in words. */
  left(): readonly string[];
  publish(topic: string, body: unknown): Promise<void>;
  /** The first stored event since the bench was opened that matches; rejects in time, naming what was seen instead. */
  waitFor<Body = any>( // eslint-disable-line @typescript-eslint/no-explicit-any -- a test knows the body of its topic
    topic: string,
    matches?: (body: Body) => boolean,
    timeoutMs?: number,
  ): Promise<EventEnvelope<Body>>;
  /** All stored so far on a topic, oldest first. */
  events<Body = any>(topic: string): EventEnvelope<Body>[]; // eslint-disable-line @typescript-eslint/no-explicit-any
  /** Resolves once `happened` gives something that holds; rejects in time, naming `what`. */
  until<Value>(what: string, happened: () => Promise<Value> | Value, timeoutMs?: number): Promise<NonNullable<Value>>;
  health(type: string): Health;
  /** Resolves when the cycles of that daemon have finished so many times more. */
  cycles(type: string, count?: number): Promise<unknown>;
  /** Closed last, after every daemon has ended: what a test put beside them. */
  afterwards(close: () => Promise<unknown>): void;
  /** Ends everything, child processes by their records, and removes the folder. Idempotent. */
  close(): Promise<void>;
}

export interface BenchOptions {
  /** Definitions whose types are not of the RingRift fleet. */
  readonly definitions?: readonly DaemonDefinition[];
  /** Beside the floor and the master's own services: what a context offers by name. */
  readonly services?: Readonly<Record<string, unknown>>;
  /** Other members of the fleet, for daemons that look at it. */
  readonly members?: () => readonly FleetMember[];
  /** A folder of the caller's, which stays when the bench is closed; absent: a new one, which goes with it. */
  readonly dataDir?: string;
  /** How late the master's loop is; absent: not at all. */
  readonly lagMs?: () => number;
}

interface Running {
  readonly definition: DaemonDefinition;
  config: unknown;
  generation: number;
  /** What became of the start under way. */
  settle: { readonly resolve: () => void; readonly reject: (error: Error) => void } | null;
  readonly gone: (() => void)[];
  live: boolean;
}

export const openBench = async (options: BenchOptions = {}): Promise<DaemonBench> => {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'daemon-bench-'));
  const clock = realClock();
  const random = realRandom();
  const files = realFileSystem();
  const network = realNetwork();
  const attribution = createAttribution();
  const log: string[] = [];
  const beside: (() => Promise<unknown>)[] = [];
  const asked: DaemonBench['asked'][number][] = [];
  const reported: DaemonBench['reported'][number][] = [];
  const exits: DaemonBench['exits'][number][] = [];
  const known = new Map<string, Running>();

  const runFolder = join(dataDir, 'run');
  const instance = instanceOf(files, runFolder, random);
  const processes = openProcessRecords({
    files,
    spawner: realSpawner({ instance }),
    clock,
    random,
    folder: runFolder,
    instance,
    placeOf: (daemon, name) => ({
      cwd: join(dataDir, 'daemons', daemon, 'processes', name),
      outputFile: join(dataDir, 'logs', `${daemon}-${name}.log`),
    }),
    onTrouble: (error) => void log.push(`processes error ${error.message}`),
  });
  const floorHost = await openFloor({ dataDir: join(dataDir, 'floor'), clock, network });
  const router = createRouterHost({ file: join(dataDir, 'events.db'), catalogue: RINGRIFT_EVENTS, clock, random });
  const stored: EventEnvelope[] = [];
  const listeners = new Set<() => void>();
  const tail = router.tail((event) => {
    stored.push(event);
    for (const look of [...listeners]) look();
  });
  await router.start();

  const loggerOf = (type: string): Logger => {
    const line =
      (level: string) =>
      (message: string): void => {
        log.push(`${type} ${level} ${message}`);
        if (log.length > LINES_MAX) log.shift();
      };
    return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
  };
  const fleetView: FleetView = {
    daemons: () => options.members?.() ?? [],
    master: () => ({
      pid: process.pid,
      port: 0,
      controlSocket: join(runFolder, 'control.sock'),
      lagMs: options.lagMs?.() ?? 0,
    }),
    ask: (verb, daemon, reason) => {
      asked.push({ verb, daemon, reason });
      return Promise.resolve({ accepted: true, message: 'noted' });
    },
    report: (daemon, evidence) => void reported.push({ daemon, evidence }),
  };

  // The runtime reads its fleet once; a spec says what the latest `start` of its type was given.
  const types = new Set([
    ...RINGRIFT_SHAPE.map(([type]) => type),
    ...(options.definitions ?? []).map(({ type }) => type),
  ]);
  const daemons = [...types].map((type): DaemonSpec => {
    const idle = idleDefinition(type);
    return Object.defineProperties(specOf(type, []), {
      definition: { get: () => known.get(type)?.definition ?? idle },
      config: { get: () => known.get(type)?.config },
      oneShot: { get: () => known.get(type)?.definition.oneShot ?? false },
    });
  });
  const over = (type: string, generation: number): Running | null => {
    const running = known.get(type);
    return running?.generation === generation ? running : null;
  };
  const gone = (running: Running): void => {
    running.live = false;
    for (const resolve of running.gone.splice(0)) resolve();
  };
  const runtime = new InProcessRuntime({
    fleet: {
      name: 'bench',
      file: '/bench.yaml',
      profile: 'all',
      tempo: 'quick',
      hash: 'bench',
      daemons,
      ports: {},
      schedule: [],
      alerts: [],
      alertSinks: [],
      server: { bind: '127.0.0.1' },
      warnings: [],
    },
    clock,
    random,
    files,
    network,
    attribution,
    log: loggerOf,
    router,
    processes,
    fleetView,
    dataDirOf(daemon) {
      const folder = join(dataDir, 'daemons', daemon);
      mkdirSync(folder, { recursive: true });
      return folder;
    },
    services(scope) {
      return {
        ...scope.guardServices(floorHost.forDaemon(scope.daemon, scope.generation, () => scope.assertOpen())),
        router: scope.guardService(router),
        endRouterThread: () => router.crash(),
        inboxFolder: join(dataDir, 'inbox'),
        ...options.services,
      };
    },
    events: {
      ready: (type, generation) => over(type, generation)?.settle?.resolve(),
      startFailed(type, generation, failure) {
        const running = over(type, generation);
        if (running === null) return;
        exits.push({ type, generation, failure: failure.message, forced: false });
        gone(running);
        running.settle?.reject(Object.assign(new Error(failure.message), { code: failure.code }));
      },
      exited(type, generation, failure, forced) {
        const running = over(type, generation);
        if (running === null) return;
        exits.push({ type, generation, failure: failure?.message ?? null, forced });
        gone(running);
        running.settle?.reject(new Error(`${type} ended before it was ready: ${failure?.message ?? 'killed'}`));
      },
      reattached: () => undefined,
    },
  });

  const ended = (type: string, end: (generation: number) => void): Promise<void> => {
    const running = known.get(type);
    if (running?.live !== true) return Promise.resolve();
    return new Promise((resolve) => {
      running.gone.push(resolve);
      end(running.generation);
    });
  };
  const seen = (): string => {
    const counts = new Map<string, number>();
    for (const { topic } of stored) counts.set(topic, (counts.get(topic) ?? 0) + 1);
    const events = [...counts].map(([topic, count]) => `${topic} x${count}`).join(', ');
    return `events seen: ${events === '' ? 'none' : events}; last lines: ${log.slice(-LINES_SHOWN).join(' | ')}`;
  };

  let closed: Promise<void> | null = null;
  const bench: DaemonBench = {
    floor: floorHost.floor,
    floorHost,
    router,
    runtime,
    processes,
    dataDir,
    clock,
    log,
    asked,
    reported,
    exits,

    async start(definition, config = {}) {
      const { type } = definition;
      if (!types.has(type)) throw new Error(`cannot start ${type}: hand its definition to openBench`);
      const before = known.get(type);
      if (before?.live === true) throw new Error(`cannot start ${type}: it runs`);
      const running: Running = {
        definition,
        config: definition.config.parse({ ...definition.quick, ...config }),
        generation: (before?.generation ?? 0) + 1,
        settle: null,
        gone: [],
        live: true,
      };
      known.set(type, running);
      router.declare(
        [...known.values()].flatMap(({ definition: { type: subscriber, subscribes, critical, maxInFlight } }) =>
          subscribes.map((topic) => ({ subscriber, topic, critical, maxInFlight })),
        ),
      );
      // A live declaration is answered a moment later, and what attaches before that is refused; this answer comes after it.
      if (before === undefined) await router.audit();
      await new Promise<void>((resolve, reject) => {
        running.settle = { resolve, reject };
        runtime.launch(type, running.generation);
      });
    },
    stop: (type, { full = false } = {}) => ended(type, (generation) => runtime.stop(type, generation, full)),
    kill: (type) => ended(type, (generation) => runtime.kill(type, generation, false)),
    // Not the runtime's proof of a full stop: that one ends what survived a start.
    left: () => [
      ...[...known].flatMap(([type, { live, generation }]) => (live ? [`${type} (start ${generation})`] : [])),
      ...processes.left(),
    ],

    async publish(topic, body) {
      await router.publishExternal('bench', topic, body);
    },
    waitFor<Body>(topic: string, matches: (body: Body) => boolean = () => true, timeoutMs = WAIT_MS) {
      const find = (): EventEnvelope<Body> | undefined =>
        (stored as EventEnvelope<Body>[]).find((event) => event.topic === topic && matches(event.body));
      return new Promise<EventEnvelope<Body>>((resolve, reject) => {
        const over = (): void => {
          listeners.delete(look);
          timer.cancel();
        };
        const look = (): void => {
          const found = find();
          if (found === undefined) return;
          over();
          resolve(found);
        };
        const timer = clock.after(timeoutMs, () => {
          over();
          const bodies = stored.filter((event) => event.topic === topic).map(({ body }) => JSON.stringify(body));
          const dropped = tail.dropped === 0 ? '' : ` (${tail.dropped} events were not seen)`;
          reject(new Error(`no ${topic} that matches in ${timeoutMs} ms${dropped}: [${bodies.join(', ')}]; ${seen()}`));
        });
        listeners.add(look);
        look();
      });
    },
    events: <Body>(topic: string) => stored.filter((event) => event.topic === topic) as EventEnvelope<Body>[],

    async until(what, happened, timeoutMs = WAIT_MS) {
      const startedAt = clock.monotonicMs();
      for (;;) {
        const value = await happened();
        if (value !== false && value !== null && value !== undefined) return value;
        if (clock.monotonicMs() - startedAt > timeoutMs)
          throw new Error(`still waiting after ${timeoutMs} ms until ${what}; ${seen()}`);
        await clock.sleep(LOOK_MS);
      }
    },
    health: (type) => (known.has(type) ? runtime.check(type, CHECK_MS).health : unknown('never started')),

    cycles(type, count = 2) {
      const finished = (): number => Number(bench.health(type).details.cycles);
      const before = finished();
      return bench.until(`${type} has gone round`, () => finished() >= before + count);
    },

    afterwards: (close) => void beside.push(close),

    close() {
      closed ??= (async () => {
        for (const type of known.keys()) await bench.kill(type);
        await processes.endAll(500);
        tail.close();
        await router.crash();
        await floorHost.close();
        attribution.dispose();
        for (const close of beside) await close();
        if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
      })();
      return closed;
    },
  };
  return bench;
};

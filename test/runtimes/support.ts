/** The real in-process runtime, driven by hand or by a whole supervisor, on real time or on simulated. */
import { expect } from 'chai';
import { createAttribution, type Attribution } from '../../src/runtimes/attribution.ts';
import { InProcessRuntime, type ChildProcesses, type InProcessEvents } from '../../src/runtimes/in-process.ts';
import type { DaemonContext, DaemonDefinition, DaemonInstance, FleetView } from '../../src/daemons/definition.ts';
import { defineDaemon } from '../../src/daemons/definition.ts';
import type { RouterHost } from '../../src/events/router-api.ts';
import type { Fleet } from '../../src/fleet/types.ts';
import { startSlots } from '../../src/orchestrator/start-slots.ts';
import { Supervisor, type SupervisorOptions } from '../../src/orchestrator/supervisor.ts';
import type { JournalPort } from '../../src/orchestrator/ports.ts';
import { realClock, type Clock } from '../../src/seams/clock.ts';
import { seededRandom } from '../../src/seams/random.ts';
import { realNetwork } from '../../src/seams/real-network.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import type { FileSystem } from '../../src/seams/file-system.ts';
import { fleetOf, type EdgeSketch, type SpecOverrides } from '../support/fleets.ts';

export type Context = DaemonContext<unknown, never>;
export type Body = (context: Context) => DaemonInstance<never> & { readonly on?: Readonly<Record<string, unknown>> };

export interface Daemon extends SpecOverrides {
  readonly create: Body;
  readonly needs?: readonly EdgeSketch[];
  readonly manualReady?: boolean;
  readonly subscribes?: readonly string[];
  readonly publishes?: readonly string[];
}

const definitionOf = (type: string, daemon: Daemon): DaemonDefinition => ({
  ...defineDaemon({
    type,
    purpose: 'stands for a daemon in a test',
    category: 'test',
    manualReady: daemon.manualReady ?? false,
    create: daemon.create as never,
  }),
  subscribes: daemon.subscribes ?? [],
  publishes: daemon.publishes ?? [],
});

export interface RuntimeOptions {
  readonly clock?: Clock;
  readonly files?: FileSystem;
  readonly router?: RouterHost;
  readonly processes?: ChildProcesses;
  readonly fleetView?: Partial<FleetView>;
  readonly services?: Readonly<Record<string, object>>;
}

const parts = (daemons: Readonly<Record<string, Daemon>>, options: RuntimeOptions) => {
  const fleet: Fleet = fleetOf(
    Object.fromEntries(Object.entries(daemons).map(([type, daemon]) => [type, daemon.needs ?? []])),
    Object.fromEntries(
      Object.entries(daemons).map(([type, { create: _create, needs: _needs, ...daemon }]) => [
        type,
        { ...daemon, definition: definitionOf(type, daemons[type] as Daemon) },
      ]),
    ),
  );
  const attribution = createAttribution();
  const logged: string[] = [];
  const line = (daemon: string) => (message: string) => void logged.push(`${daemon}: ${message}`);
  const log = (daemon: string) => ({
    debug: line(daemon),
    info: line(daemon),
    warn: line(daemon),
    error: line(daemon),
  });
  const clock = options.clock ?? realClock();
  const runtimeFor = (events: InProcessEvents): InProcessRuntime =>
    new InProcessRuntime({
      fleet,
      clock,
      random: seededRandom(1),
      files: options.files ?? realFileSystem(),
      network: realNetwork(),
      attribution,
      log,
      router: options.router ?? null,
      processes: options.processes ?? null,
      fleetView: {
        daemons: () => [],
        master: () => ({ pid: 1, port: 0, controlSocket: '', lagMs: 0 }),
        ask: () => Promise.resolve({ accepted: true, message: '' }),
        report: () => undefined,
        ...options.fleetView,
      },
      dataDirOf: (daemon) => `/data/${daemon}`,
      services: (scope) => scope.guardServices(options.services ?? {}),
      events,
    });
  return { fleet, attribution, logged, clock, runtimeFor };
};

const opened = new Set<Attribution>();
/** Hooks of one test must not follow the next. */
export const closeAttributions = (): void => {
  for (const attribution of opened) attribution.dispose();
  opened.clear();
};

/** The runtime alone: what it reports is kept in words. */
export const bareRuntime = (daemons: Readonly<Record<string, Daemon>>, options: RuntimeOptions = {}) => {
  const made = parts(daemons, options);
  opened.add(made.attribution);
  const reports: string[] = [];
  /** Whose name the runtime reported under; must be nobody. */
  const reportedAs = new Set<string | null>();
  const report = (text: string): void => {
    reports.push(text);
    reportedAs.add(made.attribution.current()?.daemon ?? null);
  };
  const runtime = made.runtimeFor({
    ready: (daemon, generation) => report(`${daemon} ${generation} ready`),
    startFailed: (daemon, generation, failure, cause) => report(`${daemon} ${generation} ${cause}: ${failure.message}`),
    exited: (daemon, generation, failure, forced) =>
      report(
        `${daemon} ${generation} ${failure === null ? (forced ? 'killed' : 'ended') : `crashed: ${failure.message}`}`,
      ),
    reattached: (daemon, generation, ok, message) => report(`${daemon} ${generation} reattached ${ok}: ${message}`),
  });
  return { ...made, runtime, reports, reportedAs };
};

const memoryJournal = (): JournalPort & { readonly inputs: number } => {
  let next = 1;
  let inputs = 0;
  return {
    get nextSeq() {
      return next;
    },
    get inputs() {
      return inputs;
    },
    appendInput: () => {
      next++;
      inputs++;
    },
    appendNote: () => next++,
    flush: () => undefined,
    sync: () => undefined,
  };
};

/** Core, shell, slots, health monitor and the runtime: everything but the server and the disk. */
export const supervised = (
  daemons: Readonly<Record<string, Daemon>>,
  options: RuntimeOptions & { slots?: number; processesOf?: SupervisorOptions['processesOf'] } = {},
) => {
  const made = parts(daemons, options);
  opened.add(made.attribution);
  const journal = memoryJournal();
  const fatal: unknown[] = [];
  const supervisor: Supervisor = new Supervisor(
    {
      fleet: made.fleet,
      clock: made.clock,
      random: seededRandom(2),
      journal,
      slots: startSlots(options.slots),
      priority: new Map(),
      keeps: new Map(),
      operation: null,
      pid: 1,
      runtime: made.runtimeFor,
      processesOf: options.processesOf ?? (() => []),
      onLeave: () => undefined,
      onFatal: (error) => fatal.push(error),
      onSourceError: (source, error) => made.logged.push(`${source}: ${(error as Error).message}`),
    },
    made.fleet.daemons.map(({ type }) => type),
  );
  const stateOf = (daemon: string): string => supervisor.core.get(daemon)?.state ?? 'UNKNOWN';
  return { ...made, supervisor, runtime: () => supervisor.runtime, journal, fatal, stateOf };
};

/** Waits for a condition on real time, with a bound. */
export const until = async (what: string, holds: () => boolean, withinMs = 5_000): Promise<void> => {
  const end = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > end) expect.fail(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
};

export const never = (): Promise<never> => new Promise<never>(() => undefined);

/** The code of what a call throws, or of what its promise rejects with; 'nothing' when it does neither. */
export const codeOf = async (call: () => unknown): Promise<string> => {
  try {
    await call();
    return 'nothing';
  } catch (error) {
    return String((error as { code?: unknown }).code ?? error);
  }
};

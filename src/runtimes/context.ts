/**
 * The context of one start: the only hands a daemon has. Every function of it is refused once the start has ended, and
 * what it hands out (timers, files, exchanges, processes) is owned by the start and ends with it.
 *
 * Parts are made when first asked for: most daemons touch few of them, and a fleet of 10,000 pays for what it uses. What
 * outlives a call (child processes, the orchestrator's own work) is entered as nobody, so that no timer of the master
 * ever carries a daemon's name.
 */
import { OrchestratorError } from '../errors.ts';
import type { DaemonProcess, DaemonSpawn, FleetView, Logger } from '../daemons/definition.ts';
import type { EventClient } from '../events/router-api.ts';
import type { PublishOptions, PublishReceipt } from '../events/types.ts';
import type { DaemonSpec } from '../fleet/types.ts';
import type { RunningProcess } from '../seams/spawner.ts';
import type { ChildProcesses, InProcessOptions } from './in-process.ts';
import { scopedClock, scopedFiles, scopedNetwork, scopedRandom, type Scope } from './scope.ts';

/** Between TERM and KILL when a daemon ends one of its processes and names no grace. Milliseconds. */
export const END_PROCESS_GRACE_MS = 10_000;

export interface ContextParts {
  readonly options: InProcessOptions;
  readonly scope: Scope;
  readonly spec: DaemonSpec;
  readonly log: Logger;
  /** Null until it is connected, and for a daemon without events. */
  readonly client: EventClient | null;
  /** Calls as that daemon. */
  enter<Result>(work: () => Result): Result;
  ready(): void;
  fail(error: unknown): void;
}

const processesOf = ({ options, spec }: ContextParts): ChildProcesses => {
  if (options.processes === null)
    throw new OrchestratorError('INVARIANT', {
      message: `cannot spawn for ${spec.type}: this runtime has no child processes`,
      remedy: 'hand the runtime a ChildProcesses',
    });
  return options.processes;
};

/** What a daemon holds of a child process, and the recorded one behind it. */
const recordedOf = new WeakMap<DaemonProcess, DaemonProcess>();

/** Waiting for the end of a process is waiting for something asked of the context, and ends with the start. */
const handOut = ({ scope }: ContextParts, recorded: DaemonProcess): DaemonProcess => {
  const raw = recorded.process;
  const process: RunningProcess = {
    identity: raw.identity,
    get exited() {
      return scope.track(raw.exited);
    },
    signalGroup: scope.guard((signal: Parameters<RunningProcess['signalGroup']>[0]) => raw.signalGroup(signal)),
    groupIsGone: () => raw.groupIsGone(),
  };
  const handed: DaemonProcess = { ...recorded, process };
  recordedOf.set(handed, recorded);
  return handed;
};

const spawn = async (parts: ContextParts, request: DaemonSpawn): Promise<DaemonProcess> => {
  const { options, scope, spec } = parts;
  const processes = processesOf(parts);
  const recorded = await options.attribution.leave(() => processes.spawn(spec.type, scope.generation, request));
  // Its name was taken until now, and its start has ended meanwhile: nothing may run in the name of that.
  if (scope.closed) await processes.end(recorded, 0);
  return handOut(parts, recorded);
};

const publish = (
  { client, spec }: ContextParts,
  name: string,
  body: unknown,
  options?: PublishOptions,
): Promise<PublishReceipt> => {
  if (client === null)
    throw new OrchestratorError('INVARIANT', {
      message: `cannot publish ${name} as ${spec.type}: it declares no events`,
      remedy: `add ${name} to "publishes" of its definition`,
    });
  return client.publish(name, body, options);
};

const fleetOf = ({ scope, options }: ContextParts): FleetView => {
  const { fleetView, attribution } = options;
  return {
    daemons: scope.guard(() => fleetView.daemons()),
    master: scope.guard(() => fleetView.master()),
    ask: scope.guard((...args: Parameters<FleetView['ask']>) => attribution.leave(() => fleetView.ask(...args))),
    report: scope.guard((...args: Parameters<FleetView['report']>) =>
      attribution.leave(() => fleetView.report(...args)),
    ),
  };
};

const own = <Closable extends { close(): unknown }>(scope: Scope, closable: Closable, name: string): Closable => {
  if (scope.closed) void Promise.resolve(closable.close()).catch(() => undefined); // taken too late: nobody else would close it
  scope.own(name, () => closable.close());
  return closable;
};

/** How each part is made, once per start. */
const MAKERS: Readonly<Record<string, (parts: ContextParts) => unknown>> = {
  clock: (parts) =>
    scopedClock(
      parts.scope,
      parts.options.clock,
      (work) => parts.enter(work),
      (error) => parts.fail(error),
    ),
  random: ({ scope, options }) => scopedRandom(scope, options.random),
  log: ({ scope, log }) => scope.guardService(log),
  dataDir: ({ options, spec }) => options.dataDirOf(spec.type),
  files: ({ scope, options }) => scopedFiles(scope, options.files),
  network: ({ scope, options }) => scopedNetwork(scope, options.network),
  fleet: fleetOf,
  publish: (parts) =>
    parts.scope.guard(
      (name: string, body: unknown, options?: PublishOptions) => publish(parts, name, body, options),
      true,
    ),
  spawn: (parts) => parts.scope.guard((request: DaemonSpawn) => spawn(parts, request)),
  spawned: (parts) =>
    parts.scope.guard(() =>
      processesOf(parts)
        .live(parts.spec.type)
        .map((recorded) => handOut(parts, recorded)),
    ),
  endProcess: (parts) =>
    parts.scope.guard((process: DaemonProcess, graceMs: number = END_PROCESS_GRACE_MS) =>
      parts.options.attribution.leave(() => processesOf(parts).end(recordedOf.get(process) ?? process, graceMs)),
    ),
  own:
    ({ scope }) =>
    (closable: { close(): unknown }, name: string) =>
      own(scope, closable, name),
  ready: (parts) => () => {
    parts.scope.assertOpen();
    parts.ready();
  },
  heartbeat:
    ({ scope }) =>
    () => {
      scope.assertOpen();
      scope.heartbeatAt = scope.progressAt;
    },
  fail: (parts) => (error: unknown) => {
    if (!parts.scope.closed) parts.fail(error);
  },
};

class PartsMadeOnce {
  readonly #parts: ContextParts;
  readonly #services: Readonly<Record<string, unknown>>;
  #made: Map<string, unknown> | null = null;
  readonly type: string;
  readonly generation: number;
  readonly config: unknown;

  constructor(parts: ContextParts) {
    this.#parts = parts;
    this.#services = parts.options.services(parts.scope);
    this.type = parts.spec.type;
    this.generation = parts.scope.generation;
    this.config = parts.spec.config;
  }

  get(key: string): unknown {
    if (key === 'signal') return this.#parts.scope.signal;
    const known = this.#made?.get(key);
    if (known !== undefined) return known;
    const maker = MAKERS[key];
    const value = maker === undefined ? this.#services[key] : maker(this.#parts);
    if (value !== undefined) (this.#made ??= new Map()).set(key, value);
    return value;
  }

  has(key: string): boolean {
    return key === 'signal' || Object.hasOwn(MAKERS, key) || key in this.#services;
  }
}

const READ: ProxyHandler<PartsMadeOnce> = {
  get: (parts, key) => {
    if (typeof key === 'symbol') return undefined;
    if (key === 'type' || key === 'generation' || key === 'config') return parts[key];
    return parts.get(key);
  },
  has: (parts, key) =>
    typeof key === 'string' && (key === 'type' || key === 'generation' || key === 'config' || parts.has(key)),
};

/** Made anew for every start; a part of it is made when first asked for. */
export const startContext = (parts: ContextParts): object => new Proxy(new PartsMadeOnce(parts), READ);

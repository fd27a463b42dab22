/**
 * Runs daemons inside the master: light coordinators that share its loop.
 *
 * What it protects: a start that has ended cannot act. Everything a daemon may do goes through the context of its start,
 * which is revoked when the start ends; proof of death is that revocation, plus proof that the child processes of the
 * start are gone. Every call into a daemon is entered under its name, so an error that nobody caught ends that daemon's
 * start and no other, and a stall has an owner. A daemon is hung when a handler or a cycle of it is under way, nothing it
 * asked of the context is outstanding, and no progress shows: that is an unsettled promise, not a slow answer.
 */
import { messageOf, OrchestratorError } from '../errors.ts';
import type {
  Breakage,
  Cycle,
  DaemonContext,
  DaemonProcess,
  DaemonSpawn,
  ErasedInstance,
} from '../daemons/definition.ts';
import type { FleetView, Logger } from '../daemons/definition.ts';
import type { EventClient, RouterHost } from '../events/router-api.ts';
import type { EventHandler } from '../events/types.ts';
import type { Fleet, DaemonSpec } from '../fleet/types.ts';
import { healthy, unhealthy, unknown, type Health } from '../health/verdict.ts';
import type { Clock } from '../seams/clock.ts';
import type { FileSystem } from '../seams/file-system.ts';
import type { Network } from '../seams/network.ts';
import type { Random } from '../seams/random.ts';
import type { Attribution } from './attribution.ts';
import { Cycles } from './cycles.ts';
import { Scope, scopeClosed, scopedClock } from './scope.ts';

/** More than half of at least this many recent cycles failed: unhealthy. DESIGN §6. */
const ERROR_RATE_CYCLES = 10;
const ERROR_RATE_MAX = 0.5;
/** How long the processes of a killed start get between TERM and KILL. */
const KILLED_GRACE_MS = 0;
const END_PROCESS_GRACE_MS = 10_000;

/** What the runtime reports; the master loop turns it into inputs. */
export interface InProcessEvents {
  ready(daemon: string, generation: number): void;
  startFailed(
    daemon: string,
    generation: number,
    failure: { message: string; code: string; stack?: string },
    cause: 'start-failed' | 'import-failed' | 'config',
  ): void;
  exited(
    daemon: string,
    generation: number,
    failure: { message: string; code: string; stack?: string } | null,
    forced: boolean,
  ): void;
  reattached(daemon: string, generation: number, ok: boolean, message: string): void;
}

/** Child processes of daemons, recorded before they run. */
export interface ChildProcesses {
  spawn(daemon: string, generation: number, spec: DaemonSpawn): Promise<DaemonProcess>;
  live(daemon: string): readonly DaemonProcess[];
  /** TERM to the group, KILL after the grace; resolves on proof that it is gone. */
  end(process: DaemonProcess, graceMs: number): Promise<void>;
  /** Ends those of one daemon; `survivors` too when asked. Resolves on proof. */
  endAllOf(daemon: string, options: { readonly survivors: boolean; readonly graceMs: number }): Promise<void>;
  /** Every live one, in words, for the proof that nothing is left. */
  left(): readonly string[];
}

export interface InProcessOptions {
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly random: Random;
  readonly files: FileSystem;
  readonly network: Network;
  readonly attribution: Attribution;
  readonly log: (daemon: string) => Logger;
  /** Null: no daemon of this fleet has events. */
  readonly router: RouterHost | null;
  readonly processes: ChildProcesses | null;
  readonly fleetView: FleetView;
  /** Private folder of a daemon; made when first asked for. */
  readonly dataDirOf: (daemon: string) => string;
  /** Shared services by name, for the context of one start. */
  readonly services: (scope: Scope) => Readonly<Record<string, unknown>>;
  readonly events: InProcessEvents;
}

/** What the drills may do to a live daemon. */
export type InjectedFault = 'throw' | 'hang-cycle' | 'hang-handler' | 'fail-start';

interface Start {
  readonly spec: DaemonSpec;
  readonly scope: Scope;
  readonly log: Logger;
  instance: ErasedInstance | null;
  client: EventClient | null;
  cycles: Cycles | null;
  phase: 'starting' | 'ready' | 'stopping' | 'gone';
  /** Calls into the daemon that have not settled: since when, and what. */
  readonly calls: Map<number, { readonly since: number; readonly what: string }>;
  reported: boolean;
}

export interface CheckResult {
  readonly health: Health;
  /** No answer: hung, or its cycle is overdue. */
  readonly missed: boolean;
}

export class InProcessRuntime {
  readonly #options: InProcessOptions;
  /** Reports as nobody: the master must never run, or make timers, under a daemon's name. */
  readonly #events: InProcessEvents;
  readonly #specs = new Map<string, { readonly spec: DaemonSpec; readonly index: number }>();
  readonly #starts = new Map<string, Start>();
  /** Unsettled calls of ended starts, per daemon. */
  readonly #leaked = new Map<string, number>();
  readonly #faults = new Map<
    string,
    { readonly fault: InjectedFault; left: number; readonly taken: (() => void) | undefined }
  >();
  readonly #breakages = new Map<string, Breakage>();
  #callId = 0;

  constructor(options: InProcessOptions) {
    this.#options = options;
    const { attribution, events } = options;
    this.#events = {
      ready: (...args) => attribution.leave(() => events.ready(...args)),
      startFailed: (...args) => attribution.leave(() => events.startFailed(...args)),
      exited: (...args) => attribution.leave(() => events.exited(...args)),
      reattached: (...args) => attribution.leave(() => events.reattached(...args)),
    };
    for (const [index, spec] of options.fleet.daemons.entries()) this.#specs.set(spec.type, { spec, index });
  }

  // ---------------------------------------------------------------------------------------------- start

  launch(daemon: string, generation: number): void {
    const { spec, index } = this.#known(daemon);
    const scope = new Scope(index, daemon, generation, this.#options.clock);
    const start: Start = {
      spec,
      scope,
      log: this.#options.log(daemon),
      instance: null,
      client: null,
      cycles: null,
      phase: 'starting',
      calls: new Map(),
      reported: false,
    };
    this.#starts.set(daemon, start);
    let result: Promise<void> | void;
    try {
      if (this.#takeFault(daemon, 'fail-start')) throw new Error('drill: this start was made to fail');
      const instance = this.#enter(start, () => spec.definition.create(this.#context(start) as never));
      start.instance = instance;
      start.client = this.#connect(start, instance);
      result = instance.start === undefined ? undefined : this.#enter(start, () => instance.start?.());
    } catch (error) {
      this.#startFailed(start, error);
      return;
    }
    if (result === undefined) {
      this.#started(start);
      return;
    }
    this.#settles(start, 'start', result).then(
      () => this.#started(start),
      (error: unknown) => this.#startFailed(start, error),
    );
  }

  #started(start: Start): void {
    if (start.phase !== 'starting') return;
    if (!start.spec.definition.manualReady) this.#ready(start);
  }

  #ready(start: Start): void {
    if (start.phase !== 'starting') return;
    start.phase = 'ready';
    const { scope, spec } = start;
    this.#events.ready(scope.daemon, scope.generation);
    if (spec.oneShot) {
      this.#end(start);
      return;
    }
    if (start.client !== null)
      start.client.attach().then(undefined, (error: unknown) => {
        if (start.phase === 'ready') start.log.warn(`cannot attach its subscriptions: ${messageOf(error)}`);
      });
    const every = start.instance?.every;
    if (every === undefined) return;
    start.cycles = new Cycles(
      this.#options.clock,
      (cycle) => this.#runCycle(start, cycle),
      (error) => {
        if (!isScopeClosed(error)) start.log.warn(`cycle failed: ${messageOf(error)}`);
      },
    );
    const cycles = start.cycles;
    this.#options.attribution.leave(() =>
      cycles.start(Array.isArray(every) ? (every as readonly Cycle[]) : [every as Cycle], this.#options.random),
    );
  }

  #runCycle(start: Start, cycle: Cycle): Promise<unknown> {
    if (start.phase !== 'ready') return Promise.resolve();
    if (this.#takeFault(start.scope.daemon, 'hang-cycle'))
      return this.#settles(start, 'cycle', new Promise<void>(() => undefined));
    try {
      const result = this.#enter(start, () => cycle.run());
      start.scope.progressAt = this.#options.clock.monotonicMs();
      return result === undefined ? Promise.resolve() : this.#settles(start, 'cycle', result);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  #startFailed(start: Start, error: unknown): void {
    if (start.phase === 'gone' || start.phase === 'stopping') return;
    const { daemon, generation } = start.scope;
    void this.#endProcesses(start, false, KILLED_GRACE_MS).then(() => {
      if (start.reported) return;
      start.reported = true;
      this.#end(start);
      this.#events.startFailed(daemon, generation, failureOf(error), causeOf(error));
    });
  }

  /** Registers its handlers; deliveries begin when it is attached, after ready. */
  #connect(start: Start, instance: ErasedInstance): EventClient | null {
    const { router } = this.#options;
    const { definition } = start.spec;
    if (router === null || (definition.subscribes.length === 0 && definition.publishes.length === 0)) return null;
    const on = instance.on ?? {};
    const handlers: Record<string, EventHandler<never>> = {};
    for (const topic of definition.subscribes) {
      const handler = on[topic];
      if (handler === undefined)
        throw new OrchestratorError('INVARIANT', {
          message: `cannot start ${start.spec.type}: it subscribes to ${topic} and has no handler for it`,
          remedy: `add on.${topic}, or take it out of "subscribes"`,
        });
      handlers[topic] = handler;
    }
    return router.client({
      subscriber: start.spec.type,
      generation: start.scope.generation,
      publishes: definition.publishes,
      handlers,
      runHandler: (topic, call) => this.#runHandler(start, topic, call),
    });
  }

  #runHandler(start: Start, topic: string, call: () => Promise<void> | void): Promise<void> | void {
    if (start.phase === 'gone') throw scopeClosed(start.scope.daemon, start.scope.generation);
    if (this.#takeFault(start.scope.daemon, 'hang-handler'))
      return this.#settles(start, `handler of ${topic}`, new Promise<void>(() => undefined));
    const result = this.#enter(start, call);
    start.scope.progressAt = this.#options.clock.monotonicMs();
    return result === undefined ? undefined : this.#settles(start, `handler of ${topic}`, result);
  }

  // ---------------------------------------------------------------------------------------------- stop

  stop(daemon: string, generation: number, full: boolean): void {
    const start = this.#find(daemon, generation);
    if (start === null || start.phase === 'stopping') return;
    start.phase = 'stopping';
    start.cycles?.stop();
    start.scope.abort();
    const finish = async (): Promise<void> => {
      try {
        await start.client?.drain();
        await this.#cyclesSettled(start);
        const result =
          start.instance?.stop === undefined ? undefined : this.#enter(start, () => start.instance?.stop?.());
        if (result !== undefined) await this.#settles(start, 'stop', result);
      } catch (error) {
        if (!isScopeClosed(error)) start.log.warn(`stop failed: ${messageOf(error)}`);
      }
      await this.#endProcesses(start, full, END_PROCESS_GRACE_MS / 2);
      this.#exit(start, null, false);
    };
    void finish();
  }

  /** Revokes at once; reported when its processes are proven gone. */
  kill(daemon: string, generation: number, full: boolean): void {
    const start = this.#find(daemon, generation);
    if (start === null) return;
    this.#crash(start, null, full);
  }

  #crash(start: Start, failure: { message: string; code: string; stack?: string } | null, full: boolean): void {
    start.phase = 'stopping';
    this.#end(start);
    const hasProcesses = (this.#options.processes?.live(start.scope.daemon).length ?? 0) > 0;
    if (!hasProcesses) {
      this.#exit(start, failure, failure === null);
      return;
    }
    void this.#endProcesses(start, full, KILLED_GRACE_MS).then(() => this.#exit(start, failure, failure === null));
  }

  #exit(start: Start, failure: { message: string; code: string; stack?: string } | null, forced: boolean): void {
    this.#end(start);
    if (start.reported) return;
    start.reported = true;
    this.#events.exited(start.scope.daemon, start.scope.generation, failure, forced);
  }

  async #endProcesses(start: Start, survivors: boolean, graceMs: number): Promise<void> {
    const { processes } = this.#options;
    if (processes === null || processes.live(start.scope.daemon).length === 0) return;
    await processes.endAllOf(start.scope.daemon, { survivors, graceMs });
  }

  /** The scope closes, and what has not settled is counted as leaked until it does. */
  #end(start: Start): void {
    if (start.phase === 'gone') return;
    start.phase = 'gone';
    start.cycles?.stop();
    start.client?.detach();
    const faults = start.scope.close();
    for (const fault of faults) start.log.error(`cannot close ${fault}`);
    const { daemon } = start.scope;
    if (start.calls.size > 0) this.#leaked.set(daemon, (this.#leaked.get(daemon) ?? 0) + start.calls.size);
    if (this.#starts.get(daemon) === start) this.#starts.delete(daemon);
  }

  async #cyclesSettled(start: Start): Promise<void> {
    const waits = [...start.calls.values()].filter((call) => call.what === 'cycle');
    if (waits.length === 0) return;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        const running = [...start.calls.values()].some((call) => call.what === 'cycle');
        if (!running || start.phase === 'gone') resolve();
        else this.#options.clock.after(5, look);
      };
      look();
    });
  }

  // ---------------------------------------------------------------------------------------------- errors nobody caught

  /** An uncaught exception or unhandled rejection. @returns true when it had an owner and was dealt with */
  uncaught(error: unknown): boolean {
    if (isScopeClosed(error)) return true; // an ended start unwinding
    const holder = this.#options.attribution.current();
    if (holder === null) return false;
    const start = this.#find(holder.daemon, holder.generation);
    if (start !== null) this.#failed(start, error);
    return true; // of an ended start: it can do no harm
  }

  #failed(start: Start, error: unknown): void {
    if (start.phase === 'gone' || start.reported) return;
    start.log.error(`crashed: ${messageOf(error)}`);
    this.#crash(start, failureOf(error), false);
  }

  // ---------------------------------------------------------------------------------------------- re-attach, health, proof

  reattach(daemon: string, generation: number): void {
    const start = this.#find(daemon, generation);
    if (start === null) return;
    const { router } = this.#options;
    const events = this.#events;
    if (router === null || start.client === null || start.spec.definition.subscribes.length === 0) {
      events.reattached(daemon, generation, true, 'nothing to re-attach');
      return;
    }
    router.reattach(daemon).then(
      () => events.reattached(daemon, generation, true, 're-attached, proven by canaries'),
      (error: unknown) => events.reattached(daemon, generation, false, messageOf(error)),
    );
  }

  /** Looks at one daemon: what it says of itself, its error rate, and whether its calls move. */
  check(daemon: string, timeoutMs: number): CheckResult {
    const start = this.#starts.get(daemon);
    if (start === undefined || start.phase !== 'ready') return { health: unknown('not running'), missed: false };
    const now = this.#options.clock.monotonicMs();
    const hung = this.#hungCall(start, now, timeoutMs);
    if (hung !== null) return { health: unhealthy(hung, { lastProgressAt: start.scope.progressAt }), missed: true };
    const figures = start.cycles?.figures ?? null;
    const details = {
      cycles: figures?.finished ?? 0,
      errorRate: figures === null || figures.recent === 0 ? 0 : figures.recentFailed / figures.recent,
      lastProgressAt: start.scope.progressAt,
    };
    let own: Health;
    try {
      own =
        start.instance?.health === undefined
          ? healthy()
          : this.#enter(start, () => start.instance?.health?.() ?? healthy());
    } catch (error) {
      own = unhealthy(`its health check threw: ${messageOf(error)}`);
    }
    const said = { ...own, details: { ...details, ...own.details } };
    if (figures === null || figures.recent < ERROR_RATE_CYCLES || details.errorRate <= ERROR_RATE_MAX)
      return {
        health:
          said.status === 'healthy' && details.errorRate > 0 && figures !== null && figures.recentFailed > 1
            ? { ...said, message: said.message || `last cycle error: ${figures.lastError ?? ''}` }
            : said,
        missed: false,
      };
    const rate = `${Math.round(details.errorRate * 100)} % of its last ${figures.recent} cycles failed: ${figures.lastError ?? ''}`;
    return { health: said.status === 'unhealthy' ? said : unhealthy(rate, said.details), missed: false };
  }

  #hungCall(start: Start, now: number, timeoutMs: number): string | null {
    if (start.scope.outstanding > 0 || now - start.scope.progressAt <= timeoutMs) return null;
    for (const call of start.calls.values()) {
      const ms = now - call.since;
      if (ms > timeoutMs) return `${call.what} has not moved for ${(ms / 1000).toFixed(1)} s and waits for nothing`;
    }
    return null;
  }

  /** Names what is alive of any daemon. */
  findLeft(): string[] {
    const left = [...this.#starts.values()].map((start) => `${start.scope.daemon} (start ${start.scope.generation})`);
    return [...left, ...(this.#options.processes?.left() ?? [])];
  }

  leakedOf(daemon: string): number {
    return this.#leaked.get(daemon) ?? 0;
  }

  /** Live facts of a daemon's present start, for the fleet view. */
  facts(
    daemon: string,
  ): { readonly heartbeatAt: number | null; readonly progressAt: number; readonly lag: number } | null {
    const start = this.#starts.get(daemon);
    if (start === undefined) return null;
    return {
      heartbeatAt: start.scope.heartbeatAt,
      progressAt: start.scope.progressAt,
      lag: start.client?.handlersRunning ?? 0,
    };
  }

  // ---------------------------------------------------------------------------------------------- drills

  /**
   * Injects a real fault into a live daemon.
   * @param taken  told each time the fault really happens: a fault that waits for a call may wait for ever
   * @returns false when it is not running (faults that wait for its next call are kept)
   */
  inject(daemon: string, fault: InjectedFault, times = 1, taken?: () => void): boolean {
    const start = this.#starts.get(daemon);
    if (fault !== 'throw') {
      this.#faults.set(daemon, { fault, left: times, taken });
      return true;
    }
    if (start === undefined) return false;
    // A throw from a timer of the daemon's own context: the same path as a bug in it.
    this.#options.clock.after(0, () => {
      if (start.phase === 'gone') return;
      taken?.();
      try {
        this.#enter(start, () => {
          throw new Error('drill: thrown outside any handler');
        });
      } catch (error) {
        this.#failed(start, error);
      }
    });
    return true;
  }

  clearFaults(daemon: string): void {
    this.#faults.delete(daemon);
  }

  /** Periods of the cycles of its present start, seconds; what a hang in a cycle has to wait for at most. */
  cyclePeriodsOf(daemon: string): readonly number[] {
    const every = this.#starts.get(daemon)?.instance?.every;
    return every === undefined ? [] : [every].flat().map((cycle: Cycle) => cycle.periodSeconds);
  }

  /** How a drill breaks this daemon's real resource; the last start that declared it. */
  breakageOf(daemon: string): Breakage | null {
    const declared = this.#starts.get(daemon)?.instance?.breakage;
    if (declared !== undefined) this.#breakages.set(daemon, declared);
    return this.#breakages.get(daemon) ?? null;
  }

  #takeFault(daemon: string, fault: InjectedFault): boolean {
    if (this.#faults.size === 0) return false;
    const injected = this.#faults.get(daemon);
    if (injected === undefined || injected.fault !== fault || injected.left <= 0) return false;
    injected.left--;
    injected.taken?.();
    return true;
  }

  // ---------------------------------------------------------------------------------------------- the context

  #context(start: Start): DaemonContext<unknown> & Readonly<Record<string, unknown>> {
    const { options, scope, spec } = { options: this.#options, scope: start.scope, spec: start.spec };
    const enter = <Result>(work: () => Result): Result => this.#enter(start, work);
    const fail = (error: unknown): void => this.#failed(start, error);
    const lazy: Record<string, () => unknown> = {
      clock: () => scopedClock(scope, options.clock, enter, fail),
      log: () => start.log,
      dataDir: () => options.dataDirOf(spec.type),
      files: () => scope.guardService(options.files),
      network: () => scope.guardService(options.network),
      fleet: () => scope.guardService(options.fleetView),
      publish: () =>
        scope.guard((name: string, body: unknown, publish?: { id?: string }) => {
          if (start.client === null)
            throw new OrchestratorError('INVARIANT', {
              message: `cannot publish ${name} as ${spec.type}: it declares no events`,
              remedy: `add ${name} to "publishes" of its definition`,
            });
          return start.client.publish(name, body, publish);
        }),
      spawn: () =>
        scope.guard((request: DaemonSpawn) => this.#processes(spec.type).spawn(spec.type, scope.generation, request)),
      spawned: () => scope.guard(() => this.#processes(spec.type).live(spec.type)),
      endProcess: () =>
        scope.guard((process: DaemonProcess, graceMs?: number) =>
          this.#processes(spec.type).end(process, graceMs ?? END_PROCESS_GRACE_MS),
        ),
    };
    const services = options.services(scope);
    const made = new Map<PropertyKey, unknown>();
    const fixed = {
      type: spec.type,
      generation: scope.generation,
      config: spec.config,
      random: options.random,
      get signal() {
        return scope.signal;
      },
      own: <Closable extends { close(): unknown }>(closable: Closable, name: string): Closable => {
        scope.own(name, () => closable.close());
        return closable;
      },
      ready: () => {
        scope.assertOpen();
        this.#ready(start);
      },
      heartbeat: () => {
        scope.assertOpen();
        scope.heartbeatAt = scope.progressAt;
      },
      fail: (error: unknown) => {
        if (!scope.closed) this.#failed(start, error);
      },
    };
    return new Proxy(fixed, {
      get: (target, key) => {
        if (key in target) return Reflect.get(target, key) as unknown;
        const known = made.get(key);
        if (known !== undefined) return known;
        const name = String(key);
        const value = name in lazy ? lazy[name]?.() : services[name];
        if (value !== undefined) made.set(key, value);
        return value;
      },
      has: (target, key) => key in target || String(key) in lazy || String(key) in services,
    }) as unknown as DaemonContext<unknown> & Readonly<Record<string, unknown>>;
  }

  #processes(daemon: string): ChildProcesses {
    if (this.#options.processes === null)
      throw new OrchestratorError('INVARIANT', {
        message: `cannot spawn for ${daemon}: this runtime has no child processes`,
        remedy: 'hand the runtime a ChildProcesses',
      });
    return this.#options.processes;
  }

  // ---------------------------------------------------------------------------------------------- helpers

  #enter<Result>(start: Start, work: () => Result): Result {
    return this.#options.attribution.enter(start.scope, work);
  }

  /** Follows a promise of the daemon: it is a call under way until it settles, and leaked if its start ended first. */
  #settles<Value>(start: Start, what: string, promise: PromiseLike<Value>): Promise<Value> {
    const id = this.#callId++;
    start.calls.set(id, { since: this.#options.clock.monotonicMs(), what });
    const settled = (): void => {
      start.calls.delete(id);
      if (start.phase !== 'gone') {
        start.scope.progressAt = this.#options.clock.monotonicMs();
        return;
      }
      const leaked = (this.#leaked.get(start.scope.daemon) ?? 0) - 1;
      if (leaked > 0) this.#leaked.set(start.scope.daemon, leaked);
      else this.#leaked.delete(start.scope.daemon);
    };
    return Promise.resolve(promise).then(
      (value) => {
        settled();
        return value;
      },
      (error: unknown) => {
        settled();
        throw error;
      },
    );
  }

  #known(daemon: string): { readonly spec: DaemonSpec; readonly index: number } {
    const known = this.#specs.get(daemon);
    if (known === undefined)
      throw new OrchestratorError('INVARIANT', {
        message: `cannot run ${daemon}: it is not in this fleet`,
        remedy: 'report this with the journal',
      });
    return known;
  }

  #find(daemon: string, generation: number): Start | null {
    const start = this.#starts.get(daemon);
    return start !== undefined && start.scope.generation === generation ? start : null;
  }
}

const isScopeClosed = (error: unknown): boolean => error instanceof OrchestratorError && error.code === 'SCOPE_CLOSED';

const failureOf = (error: unknown): { message: string; code: string; stack?: string } => {
  if (!(error instanceof Error)) return { message: String(error), code: 'THROWN' };
  const code = (error as { code?: unknown }).code;
  const named = typeof code === 'string' ? code : error.name;
  return error.stack === undefined
    ? { message: error.message, code: named }
    : { message: error.message, code: named, stack: error.stack.slice(0, 2_000) };
};

/** What a retry cannot mend: a module that is not there, a configuration that does not fit. */
const causeOf = (error: unknown): 'start-failed' | 'import-failed' | 'config' => {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') return 'import-failed';
  if (code === 'CONFIG_INVALID') return 'config';
  return 'start-failed';
};

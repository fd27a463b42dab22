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
import type { Breakage, Cycle, DaemonProcess, DaemonSpawn, ErasedInstance } from '../daemons/definition.ts';
import type { FleetView, Logger } from '../daemons/definition.ts';
import type { EventClient, RouterHost } from '../events/router-api.ts';
import type { EventHandler } from '../events/types.ts';
import type { Fleet, DaemonSpec } from '../fleet/types.ts';
import { degraded, healthy, unhealthy, unknown, type Health } from '../health/verdict.ts';
import type { Clock } from '../seams/clock.ts';
import type { FileSystem } from '../seams/file-system.ts';
import type { Network } from '../seams/network.ts';
import type { Random } from '../seams/random.ts';
import type { Attribution } from './attribution.ts';
import { Cycles, type CycleAge, type CycleOwner } from './cycles.ts';
import { END_PROCESS_GRACE_MS, startContext, type ContextParts } from './context.ts';
import { Call, isPromise, PROBE, Scope, scopeClosed } from './scope.ts';

/** More than half of at least this many recent cycles failed: unhealthy. */
const ERROR_RATE_CYCLES = 10;
const ERROR_RATE_MAX = 0.5;
/**
 * A call that waits for an answer of the context is overdue after this many of its periods, and at least this long.
 * Chosen: far above any exchange, and a training run of minutes says that it moves by a heartbeat.
 */
const OVERDUE_PERIODS = 3;
const OVERDUE_MS_MIN = 600_000;
/** How long closers that answer with a promise may keep the next start waiting. Chosen: a port or a thread takes a few ms. */
const CLOSE_MS = 1_000;
/** How long the processes of a killed start get between TERM and KILL. */
const KILLED_GRACE_MS = 0;

interface Failure {
  readonly message: string;
  readonly code: string;
  readonly stack?: string;
}

/** What the runtime reports; the master loop turns it into inputs. */
export interface InProcessEvents {
  ready(daemon: string, generation: number): void;
  startFailed(
    daemon: string,
    generation: number,
    failure: Failure,
    cause: 'start-failed' | 'import-failed' | 'config',
  ): void;
  exited(daemon: string, generation: number, failure: Failure | null, forced: boolean): void;
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

/** What the runtime does when a daemon asks its context for it, or when a cycle is due. */
interface Keeper {
  readonly options: InProcessOptions;
  ready(start: Start): void;
  failed(start: Start, error: unknown): void;
  runCycle(start: Start, cycle: Cycle): PromiseLike<void> | void;
}

const NOTHING_CLOSES: readonly Promise<unknown>[] = [];

/** One start of one daemon. A class, so that its context and its cycles need no functions of their own. */
class Start implements ContextParts, CycleOwner {
  readonly spec: DaemonSpec;
  readonly scope: Scope;
  readonly log: Logger;
  readonly #keeper: Keeper;
  instance: ErasedInstance | null = null;
  client: EventClient | null = null;
  cycles: Cycles | null = null;
  phase: 'starting' | 'ready' | 'stopping' | 'gone' = 'starting';
  /** Calls into the daemon that have not settled, oldest first; null until the first that takes its time. */
  calls: Set<Call> | null = null;
  /** Closers of what it owned that have not settled. */
  closing: readonly Promise<unknown>[] = NOTHING_CLOSES;
  /** Told when no cycle is under way any more. */
  onCyclesSettled: (() => void) | null = null;
  reported = false;

  constructor(keeper: Keeper, spec: DaemonSpec, scope: Scope, log: Logger) {
    this.#keeper = keeper;
    this.spec = spec;
    this.scope = scope;
    this.log = log;
  }

  get options(): InProcessOptions {
    return this.#keeper.options;
  }

  enter<Result>(work: () => Result): Result {
    return this.options.attribution.enter(this.scope, work);
  }

  ready(): void {
    this.#keeper.ready(this);
  }

  fail(error: unknown): void {
    this.#keeper.failed(this, error);
  }

  runCycle(cycle: Cycle): PromiseLike<void> | void {
    return this.#keeper.runCycle(this, cycle);
  }

  cycleFailed(error: unknown): void {
    if (!isScopeClosed(error)) this.log.warn(`cycle failed: ${messageOf(error)}`);
  }
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
  readonly #keeper: Keeper;

  constructor(options: InProcessOptions) {
    this.#options = options;
    const { attribution, events } = options;
    this.#events = {
      ready: (...args) => attribution.leave(() => events.ready(...args)),
      startFailed: (...args) => attribution.leave(() => events.startFailed(...args)),
      exited: (...args) => attribution.leave(() => events.exited(...args)),
      reattached: (...args) => attribution.leave(() => events.reattached(...args)),
    };
    this.#keeper = {
      options,
      ready: (start) => this.#ready(start),
      failed: (start, error) => this.#failed(start, error),
      runCycle: (start, cycle) => this.#runCycle(start, cycle),
    };
    for (const [index, spec] of options.fleet.daemons.entries()) this.#specs.set(spec.type, { spec, index });
  }

  // ---------------------------------------------------------------------------------------------- start

  launch(daemon: string, generation: number): void {
    const { clock, attribution } = this.#options;
    const { spec, index } = this.#known(daemon);
    const scope = new Scope(index, daemon, generation, clock, attribution.current);
    const start = new Start(this.#keeper, spec, scope, this.#options.log(daemon));
    this.#starts.set(daemon, start);
    let result: PromiseLike<void> | void;
    try {
      if (this.#takeFault(daemon, 'fail-start')) throw new Error('drill: this start was made to fail');
      const instance = start.enter(() => spec.definition.create(startContext(start) as never));
      start.instance = instance;
      start.client = this.#connect(start, instance);
      result = instance.start === undefined ? undefined : this.#call(start, 'start', () => instance.start?.());
    } catch (error) {
      this.#startFailed(start, error);
      return;
    }
    if (result === undefined) {
      this.#started(start);
      return;
    }
    result.then(
      () => this.#started(start),
      (error: unknown) => this.#startFailed(start, error),
    );
  }

  #started(start: Start): void {
    if (start.phase === 'starting' && !start.spec.definition.manualReady) this.#ready(start);
  }

  #ready(start: Start): void {
    if (start.phase !== 'starting') return;
    start.phase = 'ready';
    const { scope, spec, client } = start;
    this.#events.ready(scope.daemon, scope.generation);
    if (spec.oneShot) {
      this.#over(start, false, END_PROCESS_GRACE_MS / 2, null);
      return;
    }
    // As nobody: what the router and the cycles keep of this start must not carry its name into their own timers.
    this.#options.attribution.leave(() => {
      if (client !== null) this.#attach(start, client);
      this.#startCycles(start);
    });
  }

  #attach(start: Start, client: EventClient): void {
    client.attach().then(undefined, (error: unknown) => {
      if (start.phase === 'ready') start.log.warn(`cannot attach its subscriptions: ${messageOf(error)}`);
    });
  }

  #startCycles(start: Start): void {
    const every = start.instance?.every;
    if (every === undefined) return;
    start.cycles = new Cycles(this.#options.clock, start);
    start.cycles.start(Array.isArray(every) ? (every as readonly Cycle[]) : [every as Cycle], this.#options.random);
  }

  #runCycle(start: Start, cycle: Cycle): PromiseLike<void> | void {
    if (start.phase !== 'ready') return undefined;
    const overdueMs = Math.max(OVERDUE_MS_MIN, OVERDUE_PERIODS * cycle.periodSeconds * 1_000);
    if (this.#takeFault(start.scope.daemon, 'hang-cycle')) return this.#call(start, 'cycle', hang, overdueMs);
    return this.#call(start, 'cycle', () => cycle.run(), overdueMs);
  }

  #startFailed(start: Start, error: unknown): void {
    if (start.phase === 'gone' || start.phase === 'stopping') return;
    const { daemon, generation } = start.scope;
    this.#over(start, false, KILLED_GRACE_MS, () =>
      this.#events.startFailed(daemon, generation, failureOf(error), causeOf(error)),
    );
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
    const run = this.#takeFault(start.scope.daemon, 'hang-handler') ? hang : call;
    return this.#call(start, `handler of ${topic}`, run) as Promise<void> | void;
  }

  // ---------------------------------------------------------------------------------------------- stop

  stop(daemon: string, generation: number, full: boolean): void {
    const start = this.#find(daemon, generation);
    if (start === null || start.phase === 'stopping' || start.phase === 'gone') return;
    start.phase = 'stopping';
    start.cycles?.stop();
    start.scope.abort();
    const { instance, client } = start;
    // What holds nothing and has nothing under way is gone in this very turn.
    const idle = (start.calls?.size ?? 0) === 0 && instance?.stop === undefined && (client?.handlersRunning ?? 0) === 0;
    if (idle) this.#over(start, full, END_PROCESS_GRACE_MS / 2, () => this.#exited(start, null, false));
    else void this.#stopInOrder(start, full);
  }

  async #stopInOrder(start: Start, full: boolean): Promise<void> {
    try {
      await start.client?.drain();
      await this.#cyclesSettled(start);
      if (start.instance?.stop !== undefined && !start.scope.closed)
        await this.#call(start, 'stop', () => start.instance?.stop?.());
    } catch (error) {
      if (!isScopeClosed(error)) start.log.warn(`stop failed: ${messageOf(error)}`);
    }
    this.#over(start, full, END_PROCESS_GRACE_MS / 2, () => this.#exited(start, null, false));
  }

  #cyclesSettled(start: Start): Promise<void> | void {
    if (!hasCycle(start.calls)) return undefined;
    return new Promise<void>((resolve) => (start.onCyclesSettled = resolve));
  }

  /** Revokes at once; reported when its processes are proven gone. */
  kill(daemon: string, generation: number, full: boolean): void {
    const start = this.#find(daemon, generation);
    if (start === null) return;
    this.#over(start, full, KILLED_GRACE_MS, () => this.#exited(start, null, true));
  }

  #exited(start: Start, failure: Failure | null, forced: boolean): void {
    this.#events.exited(start.scope.daemon, start.scope.generation, failure, forced);
  }

  /**
   * The end of a start, whatever ended it: revoked now, reported (once) on proof that nothing of it is left. A start that
   * holds nothing but what a revocation closes is proven gone at once.
   */
  #over(start: Start, survivors: boolean, graceMs: number, report: (() => void) | null): void {
    this.#end(start);
    const { processes } = this.#options;
    const hasProcesses = processes !== null && processes.live(start.scope.daemon).length > 0;
    if (!hasProcesses && start.closing.length === 0) {
      this.#report(start, report);
      return;
    }
    const gone = hasProcesses ? processes.endAllOf(start.scope.daemon, { survivors, graceMs }) : Promise.resolve();
    void Promise.all([gone, this.#closed(start)]).then(() => this.#report(start, report));
  }

  /** Its closers get so long to let go of ports and threads; a closer that never settles delays nobody longer. */
  async #closed(start: Start): Promise<void> {
    if (start.closing.length === 0) return;
    const patience = new AbortController();
    const settled = Promise.allSettled(start.closing).then(() => true);
    const tooLong = this.#options.clock.sleep(CLOSE_MS, patience.signal).then(
      () => false,
      () => true,
    );
    if (!(await Promise.race([settled, tooLong])))
      start.log.error(`cannot wait longer for what it owned to close: not closed after ${CLOSE_MS / 1_000} s`);
    patience.abort();
  }

  #report(start: Start, report: (() => void) | null): void {
    if (start.reported) return;
    start.reported = true;
    if (this.#starts.get(start.scope.daemon) === start) this.#starts.delete(start.scope.daemon);
    report?.();
  }

  /** The scope closes, and what has not settled is counted as leaked until it does. */
  #end(start: Start): void {
    if (start.phase === 'gone') return;
    start.phase = 'gone';
    start.cycles?.stop();
    start.client?.detach();
    const { faults, closing } = start.scope.close();
    start.closing = closing;
    for (const fault of faults) start.log.error(`cannot close ${fault}`);
    const { daemon } = start.scope;
    const unsettled = start.calls?.size ?? 0;
    if (unsettled > 0) this.#leaked.set(daemon, (this.#leaked.get(daemon) ?? 0) + unsettled);
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
    const failure = failureOf(error);
    this.#over(start, false, KILLED_GRACE_MS, () => this.#exited(start, failure, false));
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
    const hung = hungCall(start, now, timeoutMs);
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
          : this.#options.attribution.enter(
              new Call(start.scope, PROBE, now, Infinity),
              () => start.instance?.health?.() ?? healthy(),
            );
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
    if (said.status === 'unhealthy') return { health: said, missed: false };
    // A restart makes no room on a disk, and brings no router back.
    const ownRate = (figures.recentFailed - figures.recentHindered) / figures.recent;
    const word = ownRate > ERROR_RATE_MAX ? unhealthy : degraded;
    return { health: word(rate, said.details), missed: false };
  }

  /** Names what is alive of any daemon. */
  findLeft(): string[] {
    const left = [...this.#starts.values()].map((start) => `${start.scope.daemon} (start ${start.scope.generation})`);
    return [...left, ...(this.#options.processes?.left() ?? [])];
  }

  /** For a full stop: processes that survived their daemon's last start, and whose daemon has none now to end them. */
  endOrphans(): void {
    const { processes } = this.#options;
    if (processes === null) return;
    for (const daemon of this.#specs.keys()) {
      if (this.#starts.has(daemon) || processes.live(daemon).length === 0) continue;
      void processes.endAllOf(daemon, { survivors: true, graceMs: END_PROCESS_GRACE_MS / 2 });
    }
  }

  leakedOf(daemon: string): number {
    return this.#leaked.get(daemon) ?? 0;
  }

  /** Live facts of a daemon's present start, for the fleet view. Times are monotonic milliseconds. */
  facts(daemon: string): {
    readonly heartbeatAt: number | null;
    /** When the oldest call into it that is under way last moved; null when none is. */
    readonly movedAt: number | null;
    readonly cycles: readonly CycleAge[];
  } | null {
    const start = this.#starts.get(daemon);
    if (start === undefined) return null;
    const { heartbeatAt } = start.scope;
    let oldest: Call | null = null;
    for (const call of start.calls ?? []) if (call.what !== 'start') oldest ??= call;
    return {
      heartbeatAt,
      movedAt: oldest === null ? null : Math.max(oldest.progressAt, heartbeatAt ?? -Infinity),
      cycles: start.cycles?.ages ?? [],
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
        start.enter(() => {
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

  // ---------------------------------------------------------------------------------------------- helpers

  /** Calls into the daemon. A promise it returns is a call under way until it settles, and leaked if its start ends first. */
  #call<Value>(
    start: Start,
    what: string,
    work: () => PromiseLike<Value> | Value,
    overdueMs = OVERDUE_MS_MIN,
  ): PromiseLike<Value> | Value {
    const { scope } = start;
    const { clock, attribution } = this.#options;
    const now = clock.monotonicMs();
    const call = new Call(scope, what, now, overdueMs);
    scope.progressAt = now; // it was called, so it moves
    const result = attribution.enter(call, work);
    if (!isPromise(result)) return result;
    const calls = (start.calls ??= new Set());
    calls.add(call);
    const settled = (): void => {
      calls.delete(call);
      if (start.phase === 'gone') {
        const leaked = (this.#leaked.get(scope.daemon) ?? 0) - 1;
        if (leaked > 0) this.#leaked.set(scope.daemon, leaked);
        else this.#leaked.delete(scope.daemon);
        return;
      }
      scope.progressAt = clock.monotonicMs();
      if (start.onCyclesSettled !== null && !hasCycle(calls)) start.onCyclesSettled();
    };
    return Promise.resolve(result).then(
      (value) => {
        settled();
        return value as Value;
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

/** A call that never comes back: what the drills make of a cycle or a handler. */
const hang = (): Promise<void> => new Promise<void>(() => undefined);

const hasCycle = (calls: ReadonlySet<Call> | null): boolean => {
  for (const call of calls ?? []) if (call.what === 'cycle') return true;
  return false;
};

/**
 * The call that hangs, in words; null when everything moves. A call hangs when it waits for nothing it asked of the
 * context and shows no progress. It is given the benefit of the doubt while an older call moves, because it may be queued
 * behind that one; calls that began later prove nothing, or cycles would hide a handler that hangs for ever. And while a
 * receipt of the router is overdue: calls may share the work that waits for it, and the hang is found when it has come.
 */
const hungCall = ({ scope, calls }: Start, now: number, timeoutMs: number): string | null => {
  let olderMoves = false;
  for (const call of calls ?? []) {
    const still = now - Math.max(call.progressAt, scope.heartbeatAt ?? -Infinity);
    const seconds = (still / 1_000).toFixed(1);
    if (call.outstanding > 0) {
      if (still > call.overdueMs) return `${call.what} is overdue: no answer to what it waits for since ${seconds} s`;
      olderMoves ||= call.what !== 'start';
    } else if (still <= timeoutMs) olderMoves ||= call.what !== 'start';
    else if (!olderMoves && !scope.awaitsReceiptSince(now - timeoutMs))
      return `${call.what} has not moved for ${seconds} s and waits for nothing`;
  }
  return null;
};

const isScopeClosed = (error: unknown): boolean => error instanceof OrchestratorError && error.code === 'SCOPE_CLOSED';

const failureOf = (error: unknown): Failure => {
  const message = messageOf(error);
  if (!(error instanceof Error)) return { message, code: 'THROWN' };
  const code = (error as { code?: unknown }).code;
  const named = typeof code === 'string' ? code : error.name;
  return error.stack === undefined
    ? { message, code: named }
    : { message, code: named, stack: error.stack.slice(0, 2_000) };
};

/** What a retry cannot mend: a module that is not there, a configuration that does not fit. */
const causeOf = (error: unknown): 'start-failed' | 'import-failed' | 'config' => {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') return 'import-failed';
  if (code === 'CONFIG_INVALID') return 'config';
  return 'start-failed';
};

/**
 * One start of one daemon, as something that can be revoked.
 *
 * In-process proof of death is a revoked scope: every function of the context throws SCOPE_CLOSED from then on, its
 * timers, sockets and subscriptions are closed last-taken first, and calls it was waiting for are rejected, so its async
 * functions unwind. A promise of its own that never settles cannot be killed; it is counted as leaked and shown, and
 * harmless: the only way it could act is through the context.
 */
import { OrchestratorError, messageOf } from '../errors.ts';
import { clockScheduler } from '../seams/clock-scheduler.ts';
import type { Clock, Timer } from '../seams/clock.ts';
import type { FileSystem } from '../seams/file-system.ts';
import type { HttpRequest, Network } from '../seams/network.ts';
import type { Random } from '../seams/random.ts';
import type { Holder } from './attribution.ts';

export const scopeClosed = (daemon: string, generation: number): OrchestratorError =>
  new OrchestratorError('SCOPE_CLOSED', {
    message: `cannot act as ${daemon}: its start ${generation} has ended`,
    remedy: 'a daemon must stop its work when its signal aborts; the next start has a context of its own',
    context: { daemon, generation },
  });

/** The look of a health check: what it uses of the context is no progress of the daemon. */
export const PROBE = 'health check';

interface Resource {
  readonly name: string;
  readonly close: () => unknown;
}

/**
 * One call into a daemon (its start, a cycle, a handler) that has not settled. It is a holder of its own, so that what
 * the call does through the context counts for this call alone: a daemon whose cycles run well must not hide a handler
 * of it that hangs.
 */
export class Call implements Holder {
  readonly index: number;
  readonly daemon: string;
  readonly generation: number;
  readonly what: string;
  /** Monotonic milliseconds. */
  readonly since: number;
  /** Waiting longer than this for an answer, without any sign of progress, is overdue. Milliseconds. */
  readonly overdueMs: number;
  progressAt: number;
  /** What it asked of the context and has no answer to: waiting for that is not hanging. */
  outstanding = 0;

  constructor(of: Holder, what: string, since: number, overdueMs: number) {
    this.index = of.index;
    this.daemon = of.daemon;
    this.generation = of.generation;
    this.what = what;
    this.since = since;
    this.overdueMs = overdueMs;
    this.progressAt = since;
  }
}

export interface Closing {
  readonly faults: readonly string[];
  /** Closers that answered with a promise. */
  readonly closing: readonly Promise<unknown>[];
}

const NOTHING_TO_CLOSE: Closing = { faults: [], closing: [] };

interface Wait {
  readonly reject: (error: Error) => void;
  readonly call: Call | null;
  /** Of the receipt of an event, when it was asked for, monotonic milliseconds; Infinity for all else. */
  readonly receiptSince: number;
}

export class Scope implements Holder {
  readonly index: number;
  readonly daemon: string;
  readonly generation: number;
  readonly #clock: Clock;
  readonly #current: () => Holder | null;
  /** Made when first needed, as most starts own and wait for nothing. */
  #resources: Set<Resource> | null = null;
  #waits: Set<Wait> | null = null;
  #controller: AbortController | null = null;
  #closed = false;
  #closing = false;
  #aborted = false;
  /** Monotonic milliseconds of the last use of the context, by whatever call. */
  progressAt: number;
  /** Of the last heartbeat: the daemon's word that all of it moves. */
  heartbeatAt: number | null = null;

  /** @param current  whose code runs now, so that progress is counted for the call that makes it */
  constructor(index: number, daemon: string, generation: number, clock: Clock, current: () => Holder | null) {
    this.index = index;
    this.daemon = daemon;
    this.generation = generation;
    this.#clock = clock;
    this.#current = current;
    this.progressAt = clock.monotonicMs();
  }

  /** Ended, or ending now. */
  get closed(): boolean {
    return this.#closing;
  }

  /** Calls through the context that have not been answered. */
  get outstanding(): number {
    return this.#waits?.size ?? 0;
  }

  /** A publish from before that time has no receipt yet. */
  awaitsReceiptSince(before: number): boolean {
    for (const { receiptSince } of this.#waits ?? []) if (receiptSince <= before) return true;
    return false;
  }

  /** What is held, by name: timers, servers, files … */
  held(): string[] {
    return [...(this.#resources ?? [])].map((resource) => resource.name);
  }

  /** Made when first asked for: most daemons never look at it. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted && !this.#controller.signal.aborted)
      this.#controller.abort(scopeClosed(this.daemon, this.generation));
    return this.#controller.signal;
  }

  /** Every function of the context begins here: refused when this start has ended, a sign of progress otherwise. */
  assertOpen(): void {
    if (this.#closed) throw scopeClosed(this.daemon, this.generation);
    this.#progress(this.#callNow());
  }

  /** Registers something to close with this start. @returns a function that takes it off the list again */
  own(name: string, close: () => unknown): () => void {
    this.assertOpen();
    if (this.#closing) throw scopeClosed(this.daemon, this.generation);
    const resource = { name, close };
    const resources = (this.#resources ??= new Set());
    resources.add(resource);
    return () => resources.delete(resource);
  }

  /**
   * A promise of a context call: it settles as itself, or is rejected when the start ends first.
   * @param isReceipt  of an event: how long the router takes says nothing about the daemon
   */
  track<Value>(promise: PromiseLike<Value>, isReceipt = false): Promise<Value> {
    const call = this.#callNow();
    if (call !== null) call.outstanding++;
    const waits = (this.#waits ??= new Set());
    return new Promise<Value>((resolve, reject) => {
      const wait: Wait = { reject, call, receiptSince: isReceipt ? this.#clock.monotonicMs() : Infinity };
      waits.add(wait);
      const settled = (): boolean => {
        if (!waits.delete(wait)) return false; // the start ended first, and it was told so
        if (call !== null) call.outstanding--;
        this.#progress(call);
        return true;
      };
      promise.then(
        (value) => {
          if (settled()) resolve(value);
        },
        (error: unknown) => {
          if (settled()) reject(error as Error);
        },
      );
    });
  }

  #callNow(): Call | null {
    const holder = this.#current();
    return holder instanceof Call && holder.daemon === this.daemon && holder.generation === this.generation
      ? holder
      : null;
  }

  #progress(call: Call | null): void {
    const now = this.#clock.monotonicMs();
    if (call !== null) call.progressAt = now;
    if (call === null || call.what !== PROBE) this.progressAt = now;
  }

  /** Wraps a function of the context: refused when closed, its promise tracked. */
  guard<Args extends unknown[], Result>(call: (...args: Args) => Result, isReceipt = false): (...args: Args) => Result {
    return (...args) => {
      this.assertOpen();
      const result = call(...args);
      return isPromise(result) && !this.#closing ? (this.track(result, isReceipt) as Result) : result;
    };
  }

  /**
   * The same for every method of a shared service; anything that is no function is passed through.
   * @param instead  methods that are more than guarded, such as one that returns something to be owned
   */
  guardService<Service extends object>(service: Service, instead: Partial<Service> = {}): Service {
    const wrapped = new Map<PropertyKey, unknown>(Object.entries(instead));
    return new Proxy(service, {
      get: (target, key) => {
        const known = wrapped.get(key);
        if (known !== undefined) return known;
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        const guarded = this.guard((value as (...args: unknown[]) => unknown).bind(target));
        wrapped.set(key, guarded);
        return guarded;
      },
    });
  }

  /** The same for a set of services by name: while a daemon waits for one of them, it is not hung. */
  guardServices<Services extends object>(services: Services): Services {
    const entries = Object.entries(services) as [string, object][];
    return Object.fromEntries(entries.map(([name, service]) => [name, this.guardService(service)])) as Services;
  }

  /** Tells the daemon to stop; what it holds stays usable until `close`. */
  abort(): void {
    this.#aborted = true;
    this.#controller?.abort(scopeClosed(this.daemon, this.generation));
  }

  /**
   * Revokes: from here nothing acts in the name of this start. What is owned is closed first, last-taken first, and its
   * closers may still use the context while they run.
   * @returns what could not be closed, in words, and what is still closing
   */
  close(): Closing {
    if (this.#closed || this.#closing) return NOTHING_TO_CLOSE;
    this.#closing = true;
    this.abort();
    const faults: string[] = [];
    const closing: Promise<unknown>[] = [];
    for (const resource of [...(this.#resources ?? [])].reverse()) {
      try {
        const result = resource.close();
        if (isPromise(result)) closing.push(Promise.resolve(result));
      } catch (error) {
        faults.push(`${resource.name}: ${messageOf(error)}`);
      }
    }
    this.#closed = true;
    this.#resources = null;
    if (this.#waits !== null) {
      const error = scopeClosed(this.daemon, this.generation);
      for (const { reject, call } of this.#waits) {
        if (call !== null) call.outstanding--;
        reject(error);
      }
      this.#waits.clear();
    }
    return faults.length === 0 && closing.length === 0 ? NOTHING_TO_CLOSE : { faults, closing };
  }
}

/** Joined only when there are two: every signal made of a long-lived one leaves some 100 bytes with it (Node 20). */
const eitherOf = (given: AbortSignal | undefined, own: AbortSignal): AbortSignal =>
  given === undefined || given === own ? own : AbortSignal.any([given, own]);

export const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function';

/**
 * The clock of one start: timers die with it, and a throw in one is that daemon's crash.
 * @param fail what to do with a throw
 */
export const scopedClock = (
  scope: Scope,
  clock: Clock,
  enter: <Result>(work: () => Result) => Result,
  fail: (error: unknown) => void,
): Clock => {
  const guarded = (run: () => void) => (): void => {
    if (scope.closed) return;
    try {
      enter(run);
    } catch (error) {
      fail(error);
    }
  };
  const owned = (make: (release: () => void) => Timer): Timer => {
    scope.assertOpen(); // before the timer is made: one that nobody owns would outlive the start
    let release = (): unknown => undefined;
    const timer = make(() => void release());
    release = scope.own('timer', () => timer.cancel());
    return {
      cancel: () => {
        release();
        timer.cancel();
      },
    };
  };
  const after: Clock['after'] = (delayMs, run, options) =>
    owned((release) => {
      const body = guarded(run);
      return clock.after(
        delayMs,
        () => {
          release();
          body();
        },
        options,
      );
    });
  return {
    monotonicMs: scope.guard(() => clock.monotonicMs()),
    wallMs: scope.guard(() => clock.wallMs()),
    since: scope.guard((from: number) => clock.since(from)),
    after,
    every: (periodMs, run, options) => owned(() => clock.every(periodMs, guarded(run), options)),
    sleep: scope.guard((delayMs: number, signal?: AbortSignal) => clock.sleep(delayMs, eitherOf(signal, scope.signal))),
    scheduler: clockScheduler({ after, monotonicMs: () => clock.monotonicMs() }),
    soon: scope.guard((work: () => void) => clock.soon(guarded(work))),
  };
};

/** Chance for one start: refused when it has ended, its forks too. */
export const scopedRandom = (scope: Scope, random: Random): Random => ({
  uniform: scope.guard(() => random.uniform()),
  integer: scope.guard((below: number) => random.integer(below)),
  uuid: scope.guard(() => random.uuid()),
  fork: scope.guard((label: string) => scopedRandom(scope, random.fork(label))),
});

/** The disk for one start: files it opened are closed with it. */
export const scopedFiles = (scope: Scope, files: FileSystem): FileSystem =>
  scope.guardService(files, {
    openAppend: scope.guard((path: string, options?: { readonly mode?: number }) => {
      const file = files.openAppend(path, options);
      const release = scope.own(`file ${path}`, () => file.close());
      const close = (): void => {
        release();
        file.close();
      };
      return scope.guardService(file, { close });
    }),
  });

/** The network for one start: an exchange under way is broken off with it. */
export const scopedNetwork = (scope: Scope, network: Network): Network =>
  scope.guardService(network, {
    request: scope.guard((request: HttpRequest) =>
      network.request({
        ...request,
        signal: eitherOf(request.signal, scope.signal),
      }),
    ),
  });

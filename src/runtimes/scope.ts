/**
 * One start of one daemon, as something that can be revoked.
 *
 * In-process proof of death is a revoked scope: every function of the context throws SCOPE_CLOSED from then on, its
 * timers, sockets and subscriptions are closed last-taken first, and calls it was waiting for are rejected, so its async
 * functions unwind. A promise of its own that never settles cannot be killed; it is counted as leaked and shown, and
 * harmless: the only way it could act is through the context.
 */
import { OrchestratorError, messageOf } from '../errors.ts';
import type { Clock, Timer } from '../seams/clock.ts';
import type { Holder } from './attribution.ts';

export const scopeClosed = (daemon: string, generation: number): OrchestratorError =>
  new OrchestratorError('SCOPE_CLOSED', {
    message: `cannot act as ${daemon}: its start ${generation} has ended`,
    remedy: 'a daemon must stop its work when its signal aborts; the next start has a context of its own',
    context: { daemon, generation },
  });

interface Resource {
  readonly name: string;
  readonly close: () => unknown;
}

export class Scope implements Holder {
  readonly index: number;
  readonly daemon: string;
  readonly generation: number;
  readonly #clock: Clock;
  readonly #resources = new Set<Resource>();
  readonly #waits = new Set<(error: Error) => void>();
  #controller: AbortController | null = null;
  #closed = false;
  #aborted = false;
  /** Monotonic milliseconds of the last sign that work moves. */
  progressAt: number;
  heartbeatAt: number | null = null;

  constructor(index: number, daemon: string, generation: number, clock: Clock) {
    this.index = index;
    this.daemon = daemon;
    this.generation = generation;
    this.#clock = clock;
    this.progressAt = clock.monotonicMs();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Calls through the context that have not been answered: waiting for those is not hanging. */
  get outstanding(): number {
    return this.#waits.size;
  }

  get resources(): number {
    return this.#resources.size;
  }

  /** Made when first asked for: most daemons never look at it. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted && !this.#controller.signal.aborted)
      this.#controller.abort(scopeClosed(this.daemon, this.generation));
    return this.#controller.signal;
  }

  assertOpen(): void {
    if (this.#closed) throw scopeClosed(this.daemon, this.generation);
    this.progressAt = this.#clock.monotonicMs();
  }

  /** Registers something to close with this start. @returns a function that takes it off the list again */
  own(name: string, close: () => unknown): () => void {
    this.assertOpen();
    const resource = { name, close };
    this.#resources.add(resource);
    return () => this.#resources.delete(resource);
  }

  /** A promise of a context call: it settles as itself, or is rejected when the start ends first. */
  track<Value>(promise: PromiseLike<Value>): Promise<Value> {
    return new Promise<Value>((resolve, reject) => {
      this.#waits.add(reject);
      promise.then(
        (value) => {
          if (!this.#waits.delete(reject)) return;
          this.progressAt = this.#clock.monotonicMs();
          resolve(value);
        },
        (error: unknown) => {
          if (!this.#waits.delete(reject)) return;
          this.progressAt = this.#clock.monotonicMs();
          reject(error as Error);
        },
      );
    });
  }

  /** Wraps a function of the context: refused when closed, its promise tracked. */
  guard<Args extends unknown[], Result>(call: (...args: Args) => Result): (...args: Args) => Result {
    return (...args) => {
      this.assertOpen();
      const result = call(...args);
      return isPromise(result) ? (this.track(result) as Result) : result;
    };
  }

  /** The same for every method of a shared service; anything that is no function is passed through. */
  guardService<Service extends object>(service: Service): Service {
    const wrapped = new Map<PropertyKey, unknown>();
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
   * Revokes: from here nothing acts in the name of this start.
   * @returns what could not be closed, in words; empty when everything was
   */
  close(): string[] {
    if (this.#closed) return [];
    this.#closed = true;
    this.abort();
    const faults: string[] = [];
    for (const resource of [...this.#resources].reverse()) {
      try {
        const result = resource.close();
        if (isPromise(result)) result.then(undefined, () => undefined);
      } catch (error) {
        faults.push(`${resource.name}: ${messageOf(error)}`);
      }
    }
    this.#resources.clear();
    const error = scopeClosed(this.daemon, this.generation);
    for (const reject of this.#waits) reject(error);
    this.#waits.clear();
    return faults;
  }
}

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
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
  return {
    monotonicMs: () => clock.monotonicMs(),
    wallMs: () => clock.wallMs(),
    since: (from) => clock.since(from),
    after: (delayMs, run, options) =>
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
      }),
    every: (periodMs, run, options) => owned(() => clock.every(periodMs, guarded(run), options)),
    sleep(delayMs, signal) {
      scope.assertOpen();
      return scope.track(
        clock.sleep(delayMs, signal === undefined ? scope.signal : AbortSignal.any([signal, scope.signal])),
      );
    },
    scheduler: clock.scheduler,
    soon: (work) => clock.soon(guarded(work)),
  };
};

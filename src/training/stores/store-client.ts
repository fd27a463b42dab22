/**
 * The main loop's side of the store thread: calls as promises, a bound on how many wait, and a new thread when one dies.
 *
 * A thread that ends unasked leaves its calls undecided: each may have committed or not. They are rejected as STORE_LOST,
 * which is safe because every write may be repeated; the next call starts the next thread on the same files.
 */
import type { Worker } from 'node:worker_threads';
import type { Fill } from '../../bounds.ts';
import { OrchestratorError } from '../../errors.ts';
import type { Clock } from '../../seams/clock.ts';
import { startThread } from '../../seams/entry.ts';
import type { Now } from './database.ts';
import type { ServiceName } from './services.ts';
import { fromWire, type StoreReply, type StoreRequest, type StoreThreadData } from './store-protocol.ts';

/** Calls that may wait at once; at some 5,000 transactions a second this is a second of work. */
const PENDING_MAX = 5_000;
/** A thread that has not closed its files by then is stuck in a call; it is ended. */
const CLOSE_MS = 5_000;

const storeLost = (service: string, method: string, exitCode: number, cause?: Error): OrchestratorError =>
  new OrchestratorError('STORE_LOST', {
    message: `cannot tell whether ${service}.${method} was stored: the store thread ended (code ${exitCode}) before it answered`,
    remedy:
      'repeat the call: a write that was stored is recognised by its key; the next call starts a new store thread',
    context: { service, method, exitCode },
    ...(cause === undefined ? {} : { cause }),
  });

const floorBusy = (service: string, method: string): OrchestratorError =>
  new OrchestratorError('FLOOR_BUSY', {
    message: `cannot call ${service}.${method}: ${PENDING_MAX} calls wait for the store thread already`,
    remedy: 'call again later and less often; the disk may be slow or full, "master_loop status" shows who lags',
    context: { service, method, pending: PENDING_MAX },
  });

const floorClosed = (service: string, method: string): OrchestratorError =>
  new OrchestratorError('SCOPE_CLOSED', {
    message: `cannot call ${service}.${method}: the training floor has been closed`,
    remedy: 'this daemon outlived the floor; it should have ended with its signal',
    context: { service, method },
  });

interface Waiting {
  readonly service: string;
  readonly method: string;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** One life of the thread. */
interface Life {
  readonly worker: Worker;
  /** Rejects when the stores could not be opened. */
  readonly opened: Promise<void>;
  readonly ended: Promise<void>;
}

export class StoreClient {
  private readonly dataDir: string;
  private readonly clock: Clock;
  private readonly waiting = new Map<number, Waiting>();
  private life: Life | null = null;
  private nextId = 1;
  private closed = false;
  private refused = 0;

  constructor(dataDir: string, clock: Clock) {
    this.dataDir = dataDir;
    this.clock = clock;
  }

  /** Calls that were made and not answered. */
  calls(): Fill {
    return { size: this.waiting.size, limit: PENDING_MAX, dropped: this.refused };
  }

  /** @throws STORE_TOO_NEW, STORE_FAILED when a store cannot be opened */
  async open(): Promise<void> {
    await this.living().opened;
  }

  async call(service: ServiceName, method: string, args: readonly unknown[]): Promise<unknown> {
    if (this.closed) throw floorClosed(service, method);
    if (this.waiting.size >= PENDING_MAX) {
      this.refused++;
      throw floorBusy(service, method);
    }
    const { worker } = this.living();
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { service, method, resolve, reject });
      const request: StoreRequest = { kind: 'call', id, service, method, args, now: this.now() };
      try {
        worker.postMessage(request);
      } catch (thrown) {
        this.waiting.delete(id);
        reject(thrown as Error); // an argument that cannot be copied: a bug of the caller, told to the caller
      }
    });
  }

  /** Ends the thread where it stands, as a crash would: for drills and tests. */
  async terminate(): Promise<void> {
    await this.life?.worker.terminate();
    await this.life?.ended;
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const { life } = this;
    if (life === null) return;
    life.worker.postMessage({ kind: 'close' } satisfies StoreRequest);
    const overdue = this.clock.after(CLOSE_MS, () => void life.worker.terminate(), { background: true });
    await life.ended;
    overdue.cancel();
  }

  private now(): Now {
    return { monotonicMs: this.clock.monotonicMs(), wallMs: this.clock.wallMs() };
  }

  private living(): Life {
    return (this.life ??= this.start());
  }

  private start(): Life {
    const workerData: StoreThreadData = { dataDir: this.dataDir, now: this.now() };
    const worker = startThread('./store-thread.ts', import.meta.url, { workerData, name: 'floor-stores' });
    // Why the stores could not be opened; and what the thread died of.
    let refusal: Error | undefined;
    let crash: Error | undefined;
    const lost = (service: string, method: string, code: number): Error =>
      refusal ?? storeLost(service, method, code, crash);
    const opened = new Promise<void>((resolve, reject) => {
      worker.on('message', (reply: StoreReply) => {
        if (reply.kind === 'opened') return resolve();
        if (reply.kind === 'not-opened') return reject((refusal = fromWire(reply.error)));
        const waiting = this.waiting.get(reply.id);
        this.waiting.delete(reply.id);
        if (reply.kind === 'result') waiting?.resolve(reply.value);
        else waiting?.reject(fromWire(reply.error));
      });
      worker.on('error', (thrown: Error) => (crash = thrown));
      worker.on('exit', (code) => reject(lost('stores', 'open', code)));
    });
    opened.catch(() => undefined); // told to `open`, and to every call that waits
    const ended = new Promise<void>((resolve) => {
      worker.on('exit', (code) => {
        if (this.life?.worker === worker) this.life = null;
        for (const [id, { service, method, reject }] of this.waiting) {
          this.waiting.delete(id);
          reject(lost(service, method, code));
        }
        resolve();
      });
    });
    return { worker, opened, ended };
  }
}

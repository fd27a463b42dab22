/**
 * The main thread's side of the control plane: it feeds the server thread's picture and carries out what is forwarded.
 *
 * The rule here is to cost the loop nothing it would notice. Changes are gathered and posted once a turn, at most every
 * POST_MS, and a daemon's status is built only then, so ten thousand daemons that start at once are ten thousand statuses
 * and not thirty thousand. The pulse is a word in shared memory. And the thread is a part that may fail like any other:
 * if it dies, it is started again with the whole picture, and the loop goes on.
 */
import type { Worker } from 'node:worker_threads';
import type { Fills } from '../../bounds.ts';
import { messageOf, OrchestratorError } from '../../errors.ts';
import type { ErrorCode } from '../../errors.ts';
import type { TurnReport } from '../../orchestrator/ports.ts';
import type { DaemonStatus, FleetSnapshot, HistoryEntry } from '../../orchestrator/types.ts';
import { isoTime, type Clock, type Timer } from '../../seams/clock.ts';
import { startThread } from '../../seams/entry.ts';
import { controlSocketPath } from '../control-paths.ts';
import { tooMany } from './errors.ts';
import { DEFAULT_LIMITS } from './protocol.ts';
import type {
  BeatFigures,
  Change,
  ControlReply,
  ControlRequest,
  FromServer,
  GraphPicture,
  LogLevel,
  ServerLimits,
  ServerThreadData,
  StallReport,
  ToServer,
} from './protocol.ts';
import { beatPulse, READ_WORD, sharedWords, takeSlot } from './slots.ts';

export interface ServerOptions {
  readonly dataDir: string;
  readonly journalFolder: string;
  /** 0: any free port. */
  readonly port: number;
  /** Default 127.0.0.1. */
  readonly bind?: string;
  readonly version: string;
  readonly clock: Clock;
  /** The whole picture, as of now; asked for at the start, and again should the thread have to be started anew. */
  readonly snapshot: () => FleetSnapshot;
  readonly graph: () => GraphPicture;
  /** One daemon's status as of now; asked for when a touched daemon is posted. */
  readonly statusOf: (daemon: string) => DaemonStatus | null;
  /** What goes along with each beat. */
  readonly figures?: () => BeatFigures;
  /** Int32Array, word 0: index of the daemon that runs on the main loop now, -1 for none. */
  readonly attribution: SharedArrayBuffer;
  /** Index → daemon. */
  readonly names: readonly string[];
  /** The thread's own complaints. */
  readonly log?: (level: LogLevel, message: string) => void;
  readonly limits?: Partial<ServerLimits>;
}

/** Carries out one request; a rejection is answered as an error, never as silence. The signal: the caller hung up. */
export type RequestHandler = (request: ControlRequest, signal: AbortSignal) => Promise<ControlReply>;

export interface ServerHost {
  readonly port: number;
  readonly socketPath: string;
  /** This daemon's status changed; it is built and posted at the end of the turn. */
  touch(daemon: string): void;
  /** Posted at the end of the turn, in the order given. */
  publish(change: Change): void;
  /** Posts figures now, apart from the regular beat. */
  beat(figures: BeatFigures): void;
  /** The index → daemon table has grown. */
  nameDaemons(names: readonly string[]): void;
  onRequest(handler: RequestHandler): void;
  /** After a stall is over. */
  onStall(listener: (stall: StallReport) => void): void;
  /** Worst lateness of the loop in the last second. Milliseconds. */
  lagMs(): number;
  /** What waits on this side. */
  collections(): Fills;
  /** Stops listening; resolves when the port is free. */
  close(): Promise<void>;
}

/** Posts are at least this far apart, but the first of a burst leaves at the end of its turn. Milliseconds. */
const POST_MS = 10;
/** One post carries at most this many statuses, so that cloning them never holds the loop. */
const STATUSES_PER_POST = 500;
/** Of the pulse; the lag is measured by it. Milliseconds. */
const PULSE_MS = 250;
const PULSES_PER_BEAT = 4;
/** A thread that died is started again after this. Milliseconds. */
const AGAIN_MS = 1_000;
/** A thread that does not end by itself is ended. Milliseconds. */
const CLOSE_MS = 2_000;
/**
 * Requests carried out at once. The thread forwards fewer, but forgets one whose caller hung up, while that is still
 * under way here. Chosen.
 */
const UNDER_WAY_MAX = 1_024;
/** All streams at their limit fit in it. */
const THREAD_MEGABYTES_MAX = 512;

/** What gathers until the next post. */
class Gathered {
  readonly touched = new Set<string>();
  history: HistoryEntry[] = [];
  rest: Change = {};

  get isEmpty(): boolean {
    return this.touched.size === 0 && this.history.length === 0 && Object.keys(this.rest).length === 0;
  }
}

/** A transition as the loop reports it, as history prints it. */
export const entryOfTransition = ({
  seq,
  cause,
  wallMs,
  daemon,
  from,
  to,
  on,
  why,
  message,
  generation,
}: TurnReport['transitions'][number]): HistoryEntry => ({
  seq,
  cause,
  time: isoTime(wallMs),
  daemon,
  from,
  to,
  on,
  why,
  message,
  generation,
});

/**
 * Starts the server thread.
 * @throws (rejects) PORT_TAKEN, SOCKET_PATH_TOO_LONG, CANNOT_LISTEN
 */
export const startServer = async (options: ServerOptions): Promise<ServerHost> => {
  const { clock } = options;
  const limits: ServerLimits = { ...DEFAULT_LIMITS, ...options.limits };
  const socketPath = controlSocketPath(options.dataDir);
  const underWay = new Map<number, AbortController>();
  let gathered = new Gathered();
  let names = options.names;
  let handler: RequestHandler = () =>
    Promise.resolve({
      ok: false,
      status: 503,
      error: { code: 'REFUSED', message: 'cannot do this yet: the loop is starting', remedy: 'try again in a moment' },
    });
  const stallListeners = new Set<(stall: StallReport) => void>();
  let port = options.port;
  let worker: Worker | null = null;
  let shared = sharedWords();
  let closing = false;
  let again: Timer | null = null;

  // ------------------------------------------------------------------------------------------ posting

  let scheduled = false;
  let postedAt = -Infinity;
  /** To this thread; the word that it counts in wraps, and so does this. */
  let posts = 0;
  const unread = (): number => (posts - Atomics.load(new Int32Array(shared), READ_WORD)) | 0;
  const post = (message: ToServer): void => {
    const thread = worker;
    if (thread === null) return;
    posts = (posts + 1) | 0;
    thread.postMessage(message);
    if (unread() <= limits.posts) return;
    // It stands still, and what is posted to it only grows: the next one begins with the whole picture.
    options.log?.('ERROR', `the server thread has left ${limits.posts} posts unread; it is ended`);
    worker = null;
    void thread.terminate();
  };

  const postGathered = (): void => {
    scheduled = false;
    if (gathered.isEmpty) return;
    const batch = gathered;
    gathered = new Gathered();
    const daemons: DaemonStatus[] = [];
    for (const type of batch.touched) {
      if (daemons.length >= STATUSES_PER_POST) gathered.touched.add(type);
      else {
        const status = options.statusOf(type);
        if (status !== null) daemons.push(status);
      }
    }
    postedAt = clock.monotonicMs();
    post({
      type: 'change',
      change: {
        ...batch.rest,
        ...(daemons.length === 0 && batch.rest.daemons === undefined
          ? {}
          : { daemons: [...(batch.rest.daemons ?? []), ...daemons] }),
        ...(batch.history.length === 0 ? {} : { history: batch.history }),
      },
    });
    if (!gathered.isEmpty) schedule();
  };

  let answers: (() => void)[] = [];
  const answerAll = (): void => {
    const waiting = answers;
    answers = [];
    for (const answer of waiting) answer();
  };

  const schedule = (): void => {
    if (scheduled || closing) return;
    scheduled = true;
    const wait = POST_MS - (clock.monotonicMs() - postedAt);
    if (wait <= 0) clock.soon(postGathered);
    else clock.after(wait, postGathered, { background: true });
  };

  // ------------------------------------------------------------------------------------------ requests

  let turnedAway = 0;
  const carryOut = async (id: number, request: ControlRequest): Promise<ControlReply> => {
    if (underWay.size >= UNDER_WAY_MAX) {
      turnedAway++;
      const { status, body } = tooMany('requests', UNDER_WAY_MAX);
      return { ok: false, status, error: body };
    }
    const controller = new AbortController();
    underWay.set(id, controller);
    try {
      return await handler(request, controller.signal);
    } catch (thrown) {
      const known = thrown instanceof OrchestratorError;
      return {
        ok: false,
        status: known ? 409 : 500,
        error: {
          code: known ? thrown.code : 'INVARIANT',
          message: messageOf(thrown),
          remedy: known ? thrown.remedy : 'report this with logs/coordination.log',
        },
      };
    } finally {
      underWay.delete(id);
    }
  };

  const take = (from: Worker, words: SharedArrayBuffer, message: FromServer): void => {
    switch (message.type) {
      case 'request':
        if (!takeSlot(words, message.slot)) return; // it was withdrawn while we could not look
        void carryOut(message.id, message.request).then((reply) => {
          // Behind the end of the turn that answered, which tells what it changed: whoever was told that it is done sees it
          // done when he looks.
          answers.push(() => {
            if (worker !== from) return;
            postGathered();
            post({ type: 'reply', id: message.id, reply });
          });
          clock.soon(answerAll);
        });
        return;
      case 'hung-up':
        underWay.get(message.id)?.abort(new Error('the caller hung up'));
        return;
      case 'stall': {
        const { startedAt, durationMs, daemon } = message;
        for (const listener of stallListeners) listener({ startedAt, durationMs, daemon });
        return;
      }
      case 'log':
        options.log?.(message.level, message.message);
        return;
      case 'listening':
      case 'failed':
      case 'closed':
        return; // heard by who waits for them
    }
  };

  // ------------------------------------------------------------------------------------------ the thread

  const start = (): Promise<void> =>
    new Promise((resolve, reject) => {
      shared = sharedWords();
      beatPulse(shared, clock.monotonicMs());
      posts = 0;
      const words = shared;
      const data: ServerThreadData = {
        dataDir: options.dataDir,
        journalFolder: options.journalFolder,
        bind: options.bind ?? '127.0.0.1',
        port,
        version: options.version,
        snapshot: options.snapshot(),
        graph: options.graph(),
        shared: words,
        attribution: options.attribution,
        names,
        limits,
      };
      const thread = startThread('./server-thread.ts', import.meta.url, {
        workerData: data,
        resourceLimits: { maxOldGenerationSizeMb: THREAD_MEGABYTES_MAX },
      });
      // From now on changes go to this thread; it reads them once it listens, so none is missing from its picture.
      worker = thread;
      let listens = false;
      let refused = false;
      thread.on('message', (message: FromServer) => {
        if (message.type === 'listening') {
          listens = true;
          port = message.port; // a thread that is started anew listens where clients look for it
          resolve();
        } else if (message.type === 'failed') {
          refused = true;
          const { code, message: text, remedy, context } = message.error;
          reject(new OrchestratorError(code as ErrorCode, { message: text, remedy, context }));
        } else take(thread, words, message);
      });
      let reason = 'it ended';
      thread.on('error', (error) => (reason = messageOf(error)));
      thread.on('exit', () => {
        if (worker === thread) worker = null;
        for (const controller of underWay.values()) controller.abort(new Error('the server thread ended'));
        if (listens && !closing) startAgain(reason);
        else if (!listens && !refused)
          reject(
            new OrchestratorError('CANNOT_LISTEN', {
              message: `cannot start the server thread: ${reason}`,
              remedy: 'report this with logs/coordination.log',
            }),
          );
      });
    });

  const startAgain = (reason: string): void => {
    if (closing || again !== null) return;
    options.log?.('ERROR', `the server thread ended (${reason}); it is started again`);
    again = clock.after(
      AGAIN_MS,
      () => {
        again = null;
        start().catch((thrown: unknown) => startAgain(messageOf(thrown)));
      },
      { background: true },
    );
  };

  await start();

  // ------------------------------------------------------------------------------------------ pulse and beat

  let beats = 0;
  /** Null before the first: it comes at a mark, not after a period. */
  let pulsedAt: number | null = null;
  let worstLagMs = 0;
  let lagMs = 0;
  const pulse = clock.every(
    PULSE_MS,
    () => {
      const now = clock.monotonicMs();
      if (pulsedAt !== null) worstLagMs = Math.max(worstLagMs, now - pulsedAt - PULSE_MS);
      pulsedAt = now;
      beatPulse(shared, now);
      if (++beats % PULSES_PER_BEAT !== 0) return;
      lagMs = Math.round(worstLagMs * 10) / 10;
      worstLagMs = 0;
      post({ type: 'beat', lagMs, figures: options.figures?.() ?? {} });
    },
    { background: true, slackMs: PULSE_MS },
  );

  return {
    get port() {
      return port;
    },
    socketPath,
    touch(daemon) {
      gathered.touched.add(daemon);
      schedule();
    },
    publish({ history, daemons, ...rest }) {
      if (history !== undefined) gathered.history.push(...history);
      const before = gathered.rest.daemons ?? [];
      gathered.rest = {
        ...gathered.rest,
        ...rest,
        ...(daemons === undefined ? {} : { daemons: [...before, ...daemons] }),
      };
      schedule();
    },
    beat: (figures) => post({ type: 'beat', lagMs, figures }),
    nameDaemons(grown) {
      names = grown;
      post({ type: 'names', names });
    },
    onRequest(next) {
      handler = next;
    },
    onStall: (listener) => void stallListeners.add(listener),
    lagMs: () => lagMs,
    collections: () => ({
      server_posts: { size: worker === null ? 0 : unread(), limit: limits.posts },
      control_requests: { size: underWay.size, limit: UNDER_WAY_MAX, dropped: turnedAway },
    }),
    async close() {
      if (closing) return;
      answerAll(); // the last of them may be to whoever asked for this end
      postGathered();
      closing = true;
      pulse.cancel();
      again?.cancel();
      const thread = worker;
      if (thread === null) return;
      const ended = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
      post({ type: 'close' });
      const limit = clock.after(CLOSE_MS, () => void thread.terminate());
      await ended;
      limit.cancel();
    },
  };
};

/**
 * The server thread: the control socket, the port, and the watch over the main loop.
 *
 * It is the part of the program that must still speak when everything else hangs, so it waits for nobody: answers come
 * from its own picture, logs and journal from disk, and the main thread is asked only for what only it can do. It is
 * started by host.ts, says `listening` or `failed` once, and ends when it is told to.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import type { Fills } from '../../bounds.ts';
import { messageOf, OrchestratorError } from '../../errors.ts';
import { diskHistory } from '../../journal/loop-journal.ts';
import { isoTime, plainClock } from '../../seams/plain-clock.ts';
import { portOwner } from '../../seams/port-owner.ts';
import { privateFolder, protect, removeStaleSocket } from '../../seams/private-files.ts';
import { realFileSystem } from '../../seams/real-file-system.ts';
import { controlSocketPath, logPath, runFolder, tokenPath } from '../control-paths.ts';
import { followLog, readLog } from '../logging/read-log.ts';
import { Metrics, METRICS_CONTENT_TYPE } from '../metrics.ts';
import { cannotListen, portTaken } from './errors.ts';
import { Answers } from './answers.ts';
import { forwarding } from './forward.ts';
import { historyOf } from './history.ts';
import { HISTORY_MAX, Mirror } from './mirror.ts';
import type { FromServer, ServerThreadData, ToServer } from './protocol.ts';
import { buildServer, eventText, WAITERS_MAX, type BuiltServer, type Floor } from './routes.ts';
import { pulseAgeMs, PULSE_WORD, READ_WORD, SLOTS } from './slots.ts';
import { LOOK_MS, StallWatch } from './stall-watch.ts';
import { Streams } from './streams.ts';

const data = workerData as ServerThreadData;
const main = parentPort;
if (main === null) throw new Error('cannot run the server outside its thread');

const clock = plainClock();
const post = (message: FromServer): void => main.postMessage(message);
const mirror = new Mirror(data.snapshot, data.graph);
const streams = new Streams(data.limits.streams, data.limits.streamBytes);
const watch = new StallWatch(clock.monotonicMs(), data.limits.stalledAfterMs);
const answers = new Answers(clock, data.limits.answerBytes, data.limits.answerMs);
const pulse = new Int32Array(data.shared);
const attribution = new Int32Array(data.attribution);
let names: readonly string[] = data.names;
let port = data.port;
let stallsTotal = 0;
let lastPulse = Atomics.load(pulse, PULSE_WORD);
const historyListeners = new Set<(text: string) => void>();
const lookListeners = new Set<() => void>();

const holder = (): number => (attribution.length === 0 ? -1 : Atomics.load(attribution, 0));
const nameOf = (index: number): string | null => names[index] ?? null;

/** The main loop gave a sign of life, so long ago; if that ends a stall, it is told so, for its journal. */
const heard = (agoMs = 0): void => {
  const now = clock.monotonicMs();
  const ended = watch.heard(now, agoMs);
  if (ended === null) return;
  stallsTotal++;
  post({
    type: 'stall',
    startedAt: isoTime(clock.wallMs() - (now - ended.startedAt)),
    durationMs: Math.round(ended.durationMs),
    daemon: ended.holder === null ? null : nameOf(ended.holder),
  });
};

/** The pulse is a word in shared memory: it beats without costing the main loop a message. */
const feelPulse = (): void => {
  const now = Atomics.load(pulse, PULSE_WORD);
  if (now === lastPulse) return;
  lastPulse = now;
  heard(pulseAgeMs(now, clock.monotonicMs()));
};

const look = (): void => {
  feelPulse();
  watch.look(clock.monotonicMs(), holder());
  for (const listener of [...lookListeners]) listener();
};

const forward = forwarding({
  shared: data.shared,
  clock,
  acknowledgeMs: data.limits.acknowledgeMs,
  post,
  stall: () => watch.stall(clock.monotonicMs(), nameOf, holder()),
});

const metrics = new Metrics(mirror);

/** The same complaint is told at most this often: told to a main loop that is blocked, each would wait in memory. */
const COMPLAINT_MS = 1_000;

/** The thread has no log of its own: what it has to say goes into the master's. */
function complain(what: string): (thrown: unknown) => void {
  let toldAt = -Infinity;
  let untold = 0;
  return (thrown) => {
    const now = clock.monotonicMs();
    if (now - toldAt < COMPLAINT_MS) {
      untold++;
      return;
    }
    const more = untold === 0 ? '' : ` (and ${untold} times before)`;
    post({ type: 'log', level: 'ERROR', message: `the control plane failed in ${what}: ${messageOf(thrown)}${more}` });
    toldAt = now;
    untold = 0;
  };
}

const servers: BuiltServer[] = [];
const waiters = { count: 0 };
const disk = diskHistory({ folder: data.journalFolder, files: realFileSystem() });

/** What this thread keeps. */
const collections = (): Fills => {
  const [port = null, socket = null] = servers.map(({ connections }) => connections());
  return {
    ...(port === null ? {} : { server_connections: port }),
    ...(socket === null ? {} : { server_socket_connections: socket }),
    server_streams: { size: streams.open, limit: data.limits.streams, dropped: streams.dropped },
    server_waiters: { size: waiters.count, limit: WAITERS_MAX },
    server_answer_bytes: answers.fill(),
    server_forwarded: { size: forward.underWay, limit: SLOTS },
    server_history: { size: mirror.history.length, limit: HISTORY_MAX },
    server_journal_segments: disk.kept(),
  };
};

let rendering: Promise<{ contentType: string; text: string }> | null = null;
const renderMetrics = async (): Promise<{ contentType: string; text: string }> => {
  const now = clock.monotonicMs();
  const text = await metrics.render(mirror, {
    snapshotAgeMs: watch.ageMs(now),
    stalled: watch.isStalled(now),
    stallsTotal,
    streams: streams.open,
    streamsDroppedTotal: streams.dropped,
    collections: collections(),
  });
  return { contentType: METRICS_CONTENT_TYPE, text };
};

const floor: Floor = {
  clock,
  mirror,
  history: historyOf(mirror, disk, complain('reading the journal')),
  forward,
  streams,
  answers,
  waiters,
  limits: data.limits,
  version: data.version,
  now() {
    feelPulse();
    const now = clock.monotonicMs();
    return {
      wallMs: clock.wallMs(),
      snapshotAgeMs: Math.max(0, Math.round(watch.ageMs(now))),
      stall: watch.stall(now, nameOf, holder()),
    };
  },
  port: () => port,
  metrics() {
    // One rendering for all scrapes of a storm: whoever asks while one is under way, or just after, gets that one.
    rendering ??= renderMetrics().finally(() =>
      clock.after(METRICS_SHARED_MS, () => (rendering = null), { background: true }),
    );
    return rendering;
  },
  onHistory(listener) {
    historyListeners.add(listener);
    return () => void historyListeners.delete(listener);
  },
  onLook(listener) {
    lookListeners.add(listener);
    return () => void lookListeners.delete(listener);
  },
  readLog: (daemon, lines) => readLog({ path: logPath(data.dataDir), daemon, lines }),
  followLog: (daemon, lines, line) => followLog({ path: logPath(data.dataDir), daemon, lines }, clock, line),
};

/** A page of metrics is shown to everybody for this long. Milliseconds. */
const METRICS_SHARED_MS = 100;

const TOKEN_BYTES = 32;

/** A new secret for every start: what an earlier run handed out opens nothing. */
const writeToken = (): string => {
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  const path = tokenPath(data.dataDir);
  realFileSystem().writeAtomically(path, `${token}\n`, { mode: 0o600 });
  protect(path);
  return token;
};

const listen = async (): Promise<() => Promise<void>> => {
  const socketPath = controlSocketPath(data.dataDir);
  privateFolder(runFolder(data.dataDir));
  servers.push(buildServer(floor, { bind: data.bind, token: writeToken(), hostName: hostname() }));
  servers.push(buildServer(floor, null));
  const [open, trusted] = servers.map(({ app }) => app) as [BuiltServer['app'], BuiltServer['app']];
  try {
    await open.listen({ host: data.bind, port: data.port });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EADDRINUSE')
      throw portTaken(data.bind, data.port, portOwner(data.port));
    throw cannotListen(`${data.bind}:${data.port}`, thrown);
  }
  const address = open.server.address();
  if (typeof address === 'object' && address !== null) port = address.port;
  try {
    // The caller holds the lock of the data directory, so a socket that is still there belongs to nobody.
    removeStaleSocket(socketPath);
    await trusted.listen({ path: socketPath });
    protect(socketPath);
  } catch (thrown) {
    await open.close();
    throw cannotListen(socketPath, thrown);
  }
  post({ type: 'listening', port, socketPath });
  return async () => {
    streams.endAll();
    await Promise.all([open.close(), trusted.close()]);
    removeStaleSocket(socketPath);
    realFileSystem().remove(tokenPath(data.dataDir));
  };
};

const take = (message: ToServer, close: () => Promise<void>): void => {
  Atomics.add(pulse, READ_WORD, 1);
  heard();
  switch (message.type) {
    case 'change': {
      const { change } = message;
      mirror.apply(change);
      metrics.observe(change);
      if (historyListeners.size === 0) return;
      for (const entry of change.history ?? []) {
        const text = eventText(JSON.stringify(entry), entry.seq);
        for (const listener of [...historyListeners]) listener(text);
      }
      return;
    }
    case 'beat':
      mirror.beat(message.lagMs, message.figures);
      return;
    case 'names':
      names = message.names;
      return;
    case 'reply':
      forward.answered(message.id, message.reply);
      return;
    case 'close':
      looking.cancel();
      close()
        .catch(complain('closing'))
        .finally(() => {
          post({ type: 'closed' });
          main.close();
        });
  }
};

const looking = clock.every(LOOK_MS, look, { slackMs: LOOK_MS });
listen().then(
  (close) => main.on('message', (message: ToServer) => take(message, close)),
  (thrown: unknown) => {
    looking.cancel();
    const error = thrown instanceof OrchestratorError ? thrown : cannotListen('the control plane', thrown);
    post({
      type: 'failed',
      error: { code: error.code, message: error.message, remedy: error.remedy, context: error.context },
    });
    main.close();
  },
);

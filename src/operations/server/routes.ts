/**
 * The routes, once for the port and once for the control socket. A route says what is answered; who may ask is decided
 * before it (access.ts), what is true is taken from the picture (reports.ts), and what only the main loop can do is
 * forwarded (forward.ts). Nothing here waits for the main thread but a forwarded request.
 */
import { fastify } from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { messageOf } from '../../errors.ts';
import type { ErrorCode } from '../../errors.ts';
import type { Fill } from '../../bounds.ts';
import type { CommandOutcome } from '../../orchestrator/types.ts';
import { boundConnections, REQUEST_BOUNDS } from '../../seams/connections.ts';
import type { PlainClock } from '../../seams/plain-clock.ts';
import { refuseAccess, type AccessRules } from './access.ts';
import type { Answers } from './answers.ts';
import { badRequest, noRoute, Refusal, tooMany, unknownDaemon } from './errors.ts';
import { explainDaemon } from './explain.ts';
import type { Forward } from './forward.ts';
import type { History } from './history.ts';
import type { Mirror } from './mirror.ts';
import {
  fieldsOf,
  isOneOf,
  parseAct,
  parseCount,
  parseLevel,
  parseName,
  parsePlan,
  parseRecover,
  WAIT_MS_MAX,
} from './parse.ts';
import { BODY_BYTES_MAX, DRILL_VERBS, EVENT_VERBS } from './protocol.ts';
import type {
  ActRequest,
  ControlRequest,
  DaemonStatus,
  ErrorBody,
  Hello,
  ServerLimits,
  WaitReport,
  WhyAnswer,
} from './protocol.ts';
import { graphReport, healthReport, readyReport, statusReport, withUptime, type Now } from './reports.ts';
import type { Stream, Streams } from './streams.ts';

/** What the routes stand on; one for both listeners. */
export interface Floor {
  readonly clock: PlainClock;
  readonly mirror: Mirror;
  readonly history: History;
  readonly forward: Forward;
  readonly streams: Streams;
  readonly answers: Answers;
  readonly limits: ServerLimits;
  readonly version: string;
  /** Clients of `wait`. */
  readonly waiters: { count: number };
  now(): Now;
  /** The port that is listened on. */
  port(): number;
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  /** Calls back with every journal entry from now on; returns the end. */
  onHistory(listener: (text: string) => void): () => void;
  /** Calls back a few times a second. */
  onLook(listener: () => void): () => void;
  readLog(daemon: string | null, lines: number): string[];
  /** Every new line; returns the end. */
  followLog(daemon: string | null, lines: number, line: (line: string) => void): () => void;
}

/** Answers to GET that cost more than a lookup are rendered once for all who ask within this. Milliseconds. */
const SHARED_ANSWER_MS = 100;
/** A silent stream is told so, so that a dead connection is noticed. Milliseconds. */
const STREAM_BEAT_MS = 15_000;
const LINES_DEFAULT = 50;
const LINES_MAX = 10_000;
/** Readers of `wait`; each is looked at with every look of the stall watch. */
export const WAITERS_MAX = 64;

/** Exactly this: a checker that compares the type takes a charset for another type. */
const JSON_TYPE = 'application/json';

const sendJson = (reply: FastifyReply, status: number, body: unknown): FastifyReply =>
  reply
    .code(status)
    .header('content-type', JSON_TYPE)
    .send(Buffer.from(JSON.stringify(body)));

/** The error shape; a stall is also said in the word that /health and /status use. */
const errorJson = (body: ErrorBody): object =>
  body.code === 'ENGINE_STALLED' ? { status: 'engine_stalled', error: body } : { error: body };

const HTTP_OF_OUTCOME: Readonly<Record<Exclude<CommandOutcome['code'], 'done' | 'accepted'>, number>> = {
  'unknown-daemon': 404,
  refused: 409,
  impossible: 409,
  superseded: 409,
  failed: 409,
  timeout: 202,
};

const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = { 404: 'UNKNOWN_DAEMON', 409: 'REFUSED' };

/** The edit distance decides which name was meant; further than a third of the name is no help. */
const nearest = (name: string, names: Iterable<string>): string | null => {
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(name.length / 3)) + 1;
  const upper = name.toUpperCase().replaceAll('-', '_');
  for (const candidate of names) {
    if (Math.abs(candidate.length - upper.length) >= bestDistance) continue;
    let row = Array.from({ length: candidate.length + 1 }, (_value, index) => index);
    for (let at = 1; at <= upper.length; at++) {
      const next = [at];
      for (let to = 1; to <= candidate.length; to++)
        next.push(
          Math.min(
            (row[to] ?? 0) + 1,
            (next[to - 1] ?? 0) + 1,
            (row[to - 1] ?? 0) + (upper[at - 1] === candidate[to - 1] ? 0 : 1),
          ),
        );
      row = next;
    }
    const distance = row[candidate.length] ?? Infinity;
    if (distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  }
  return best;
};

/** One rendering for everybody who asks at about the same time. */
const shared = <Value>(clock: PlainClock, render: () => Value): (() => Value) => {
  let at = -Infinity;
  let value: Value;
  return () => {
    const now = clock.monotonicMs();
    if (now - at >= SHARED_ANSWER_MS) {
      value = render();
      at = now;
    }
    return value;
  };
};

const hangUpOf = (reply: FastifyReply): AbortSignal => {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort(new Error('the caller hung up'));
  });
  return controller.signal;
};

const refusalOf = (thrown: unknown, request: FastifyRequest): Refusal => {
  if (thrown instanceof Refusal) return thrown;
  const status = thrown instanceof Error && 'statusCode' in thrown ? Number(thrown.statusCode) : 500;
  if (status >= 400 && status < 500)
    return new Refusal(
      status,
      'BAD_REQUEST',
      `cannot read the request: ${messageOf(thrown)}`,
      `send JSON of at most ${BODY_BYTES_MAX} bytes with content-type ${JSON_TYPE}`,
    );
  return new Refusal(
    500,
    'INVARIANT',
    `cannot answer ${request.method} ${request.url.slice(0, 200)}: ${messageOf(thrown)}`,
    'report this with logs/coordination.log',
  );
};

const CLIENT_ERRORS: Readonly<Record<string, readonly [number, string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout'],
};

/** What could not be read as HTTP at all. */
const answerGarbage = (error: Error & { readonly code?: string }, socket: Socket): void => {
  const [status, text] = CLIENT_ERRORS[error.code ?? ''] ?? [400, 'Bad Request'];
  const body = JSON.stringify({
    error: {
      code: 'BAD_REQUEST' satisfies ErrorCode,
      message: `cannot read the request: ${text.toLowerCase()}`,
      remedy: `send the whole request at once, with headers of at most ${REQUEST_BOUNDS.maxHeaderSize} bytes`,
    },
  });
  if (socket.writable && error.code !== 'ECONNRESET')
    socket.end(
      `HTTP/1.1 ${status} ${text}\r\ncontent-type: ${JSON_TYPE}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
  else socket.destroy();
};

export interface BuiltServer {
  readonly app: FastifyInstance;
  readonly connections: () => Fill;
}

/**
 * A server with its routes, not yet listening.
 * @param access  null on the control socket, whose file permission is the access control
 */
export const buildServer = (floor: Floor, access: AccessRules | null): BuiltServer => {
  const { clock, mirror, history, forward, streams, limits } = floor;
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    forceCloseConnections: true,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: 5_000,
    routerOptions: { maxParamLength: 200 },
    http: { ...REQUEST_BOUNDS, headersTimeout: Math.min(REQUEST_BOUNDS.headersTimeout, limits.requestMs) },
    frameworkErrors: (error, request, reply) => {
      const refusal = refusalOf(error, request);
      void sendJson(reply, refusal.status, errorJson(refusal.body));
    },
    clientErrorHandler: (error, socket) => answerGarbage(error, socket as Socket),
  });
  const connections = boundConnections(app.server, limits.connections);

  app.removeAllContentTypeParsers();
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('*', { parseAs: 'string' }, (request, body, done) => {
    const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
    if (body === '') done(null, undefined);
    else if (type !== JSON_TYPE)
      done(new Refusal(415, 'BAD_REQUEST', `cannot read a body of type ${type ?? 'none'}`, `send ${JSON_TYPE}`));
    else void parseJson(request, body as string, done);
  });

  app.setErrorHandler((thrown, request, reply) => {
    const refusal = refusalOf(thrown, request);
    return sendJson(reply, refusal.status, errorJson(refusal.body));
  });
  app.setNotFoundHandler((request) => {
    throw noRoute(request.method, request.url.slice(0, 200));
  });

  if (access !== null)
    app.addHook('onRequest', (request, reply, done) => {
      const refusal = refuseAccess(
        {
          method: request.method,
          path: request.url.split('?', 1)[0] ?? '',
          host: request.headers.host,
          origin: request.headers.origin,
          authorization: request.headers.authorization,
        },
        access,
      );
      if (refusal?.status === 401) void reply.header('www-authenticate', 'Bearer');
      done(refusal ?? undefined);
    });
  app.addHook('onSend', (_request, reply, payload, done) => {
    void reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
    try {
      floor.answers.begin(reply.raw, Buffer.isBuffer(payload) ? payload.length : 0);
      done();
    } catch (refusal) {
      done(refusal as Refusal);
    }
  });

  const known = (type: string): DaemonStatus => {
    const daemon = mirror.daemon(type);
    if (daemon === null) throw unknownDaemon(type, nearest(type, mirror.graph.order));
    return daemon;
  };
  const allKnown = (types: readonly string[] | undefined): void => {
    for (const type of types ?? []) known(type);
  };

  // ------------------------------------------------------------------------------------------ reads

  app.get('/health', (_request, reply) => {
    const report = healthReport(mirror, floor.now());
    return sendJson(reply, report.status === 'ok' ? 200 : 503, report);
  });
  app.get('/ready', (_request, reply) => {
    const report = readyReport(mirror, floor.now());
    return sendJson(reply, report.ready ? 200 : 503, report);
  });
  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await floor.metrics();
    return reply.header('content-type', contentType).send(Buffer.from(text));
  });
  const status = shared(clock, () => Buffer.from(JSON.stringify(statusReport(mirror, floor.now(), floor.port()))));
  app.get('/status', (_request, reply) => reply.header('content-type', JSON_TYPE).send(status()));
  const graph = shared(clock, () => Buffer.from(JSON.stringify(graphReport(mirror))));
  app.get('/graph', (_request, reply) => reply.header('content-type', JSON_TYPE).send(graph()));
  app.get<{ Params: { type: string } }>('/daemons/:type', (request, reply) =>
    sendJson(reply, 200, withUptime(known(request.params.type), floor.now().wallMs)),
  );

  app.get('/stream', { exposeHeadRoute: false }, (request, reply) => {
    const { after } = request.query as Record<string, unknown>;
    const seen = Number(request.headers['last-event-id'] ?? after ?? NaN);
    const ends: (() => void)[] = [];
    const stream: Stream = streams.begin(reply.raw, 'text/event-stream', () => {
      for (const end of ends) end();
    });
    reply.hijack();
    stream.write(': transitions of the fleet, as they happen\n\n');
    for (const entry of Number.isFinite(seen) ? mirror.history : [])
      if (entry.seq > seen) stream.write(eventText(JSON.stringify(entry), entry.seq));
    ends.push(floor.onHistory((text) => void stream.write(text)));
    const beat = clock.every(STREAM_BEAT_MS, () => void stream.write(': beat\n\n'), { background: true });
    ends.push(() => beat.cancel());
  });

  // ------------------------------------------------------------------------------------------ acts

  const ask = (request: ControlRequest, waitMs: number, reply: FastifyReply): ReturnType<Forward['ask']> =>
    forward.ask(request, waitMs, hangUpOf(reply));

  const withId = (act: ActRequest): ActRequest & { readonly id: string } => ({
    ...act,
    id: act.id ?? randomUUID(),
  });

  /** The routes of the port: accepted or refused, never waited for. */
  const accept = async (act: ActRequest, reply: FastifyReply): Promise<FastifyReply> => {
    allKnown(act.daemons);
    const answer = await ask({ kind: 'act', act: withId({ ...act, waitMs: 0 }) }, 0, reply);
    if (!answer.ok) return sendJson(reply, answer.status, errorJson(answer.error));
    const outcome = answer.body as CommandOutcome;
    const { code } = outcome;
    const http = code === 'done' || code === 'accepted' || outcome.ok ? 202 : HTTP_OF_OUTCOME[code];
    if (http === 202) return sendJson(reply, 202, outcome);
    return sendJson(reply, http, {
      error: { code: CODE_OF_STATUS[http] ?? 'REFUSED', message: outcome.message, remedy: outcome.remedy ?? '' },
    });
  };

  const reasonFrom = (request: FastifyRequest): string => `HTTP ${request.method} ${request.url.slice(0, 100)}`;

  for (const verb of ['start', 'stop', 'restart', 'reset'] as const)
    app.post<{ Params: { type: string } }>(`/daemons/:type/${verb}`, (request, reply) =>
      accept({ verb, daemons: [request.params.type], origin: 'operator', reason: reasonFrom(request) }, reply),
    );
  app.post('/recover', (request, reply) =>
    accept({ verb: 'recover', origin: 'operator', reason: reasonFrom(request), ...parseRecover(request.body) }, reply),
  );
  const setLevel = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const answer = await ask({ kind: 'log-level', level: parseLevel(request.body) }, 0, reply);
    return answer.ok ? sendJson(reply, 202, answer.body) : sendJson(reply, answer.status, errorJson(answer.error));
  };
  app.post('/log-level', setLevel);

  if (access !== null) return { app, connections };

  // ------------------------------------------------------------------------------------------ control socket only

  app.get('/control/hello', (_request, reply) => {
    const { fleet, pid, startedAt } = mirror.fleet;
    return sendJson(reply, 200, { version: floor.version, fleet, pid, port: floor.port(), startedAt } satisfies Hello);
  });
  app.get<{ Params: { type: string } }>('/control/why/:type', (request, reply) => {
    const now = floor.now();
    const report = explainDaemon(known(request.params.type), history);
    const answer: WhyAnswer = { ...report, snapshotAgeMs: now.snapshotAgeMs, stall: now.stall };
    return sendJson(reply, 200, answer);
  });
  app.get<{ Querystring: Record<string, unknown> }>('/control/history', ({ query }, reply) => {
    const daemon = parseName(query, 'daemon');
    if (daemon !== null) known(daemon);
    return sendJson(reply, 200, history.read(daemon, parseCount(query, 'limit', LINES_DEFAULT, LINES_MAX)));
  });

  const logQuery = (query: Record<string, unknown>): { daemon: string | null; lines: number } => {
    const daemon = parseName(query, 'daemon');
    if (daemon !== null) known(daemon);
    return { daemon, lines: parseCount(query, 'lines', LINES_DEFAULT, LINES_MAX) };
  };
  app.get<{ Querystring: Record<string, unknown> }>('/control/logs', (request, reply) => {
    const { daemon, lines } = logQuery(request.query);
    return sendJson(reply, 200, floor.readLog(daemon, lines));
  });
  app.get<{ Querystring: Record<string, unknown> }>(
    '/control/logs/follow',
    { exposeHeadRoute: false },
    (request, reply) => {
      const { daemon, lines } = logQuery(request.query);
      let end = (): void => undefined;
      const stream = streams.begin(reply.raw, 'text/plain; charset=utf-8', () => end());
      reply.hijack();
      end = floor.followLog(daemon, lines, (line) => void stream.write(`${line}\n`));
    },
  );

  app.get<{ Querystring: Record<string, unknown> }>(
    '/control/wait',
    { exposeHeadRoute: false },
    async ({ query }, reply) => {
      if (floor.waiters.count >= WAITERS_MAX) throw tooMany('waiting clients', WAITERS_MAX);
      const timeoutMs = parseCount(query, 'timeoutMs', WAIT_MS_MAX, WAIT_MS_MAX);
      const begun = clock.monotonicMs();
      floor.waiters.count++;
      try {
        return sendJson(reply, 200, await waitUntilReady(floor, begun, timeoutMs, hangUpOf(reply)));
      } finally {
        floor.waiters.count--;
      }
    },
  );

  app.get<{ Querystring: Record<string, unknown> }>('/control/plan', async ({ query }, reply) => {
    const { verb, daemons } = parsePlan(query);
    allKnown(daemons);
    if (verb === 'boot') return sendJson(reply, 200, mirror.graph);
    const answer = await ask({ kind: 'plan', verb, daemons }, 0, reply);
    return answer.ok ? sendJson(reply, 200, answer.body) : sendJson(reply, answer.status, errorJson(answer.error));
  });
  app.post('/control/act', async (request, reply) => {
    const act = parseAct(request.body);
    allKnown(act.daemons);
    const answer = await ask({ kind: 'act', act: withId(act) }, act.waitMs, reply);
    return answer.ok ? sendJson(reply, 200, answer.body) : sendJson(reply, answer.status, errorJson(answer.error));
  });
  app.post('/control/log-level', setLevel);

  /** Verbs of events and drills check their own arguments; only their names are known here. */
  const verbs = <Verb extends string>(
    path: string,
    words: readonly Verb[],
    build: (verb: Verb, args: Readonly<Record<string, unknown>>) => ControlRequest,
  ): void => {
    app.post<{ Params: { verb: string } }>(`${path}/:verb`, async (request, reply) => {
      const { verb } = request.params;
      if (!isOneOf(words, verb)) throw badRequest(`cannot ${verb.slice(0, 80)}: it must be one of ${words.join(', ')}`);
      const args = fieldsOf(request.body);
      const asked = args['waitMs'];
      const waitMs =
        verb === 'run' ? WAIT_MS_MAX : typeof asked === 'number' ? Math.min(Math.max(0, asked), WAIT_MS_MAX) : 60_000;
      const answer = await ask(build(verb, args), waitMs, reply);
      return answer.ok ? sendJson(reply, 200, answer.body) : sendJson(reply, answer.status, errorJson(answer.error));
    });
  };
  verbs('/control/events', EVENT_VERBS, (verb, args) => ({ kind: 'events', verb, arguments: args }));
  verbs('/control/drills', DRILL_VERBS, (verb, args) => ({ kind: 'drills', verb, arguments: args }));

  return { app, connections };
};

/** One server-sent event. JSON has no line breaks, so one `data:` line holds it. */
export const eventText = (json: string, seq: number): string => `id: ${seq}\nevent: transition\ndata: ${json}\n\n`;

/** Until the fleet is ready, or waiting is of no use, or the time is over. */
const waitUntilReady = (floor: Floor, begun: number, timeoutMs: number, signal: AbortSignal): Promise<WaitReport> =>
  new Promise((resolve, reject) => {
    const look = (): void => {
      const report = readyReport(floor.mirror, floor.now());
      const waitedMs = floor.clock.monotonicMs() - begun;
      const operation = floor.mirror.fleet.operation;
      const restarts = operation?.verb === 'recover' && operation.phase !== 'done';
      const ended = report.ready
        ? 'ready'
        : operation?.verb === 'shutdown'
          ? 'stopping'
          : !restarts && report.reasons.some(({ state }) => state === 'FAILED')
            ? 'failed'
            : waitedMs >= timeoutMs
              ? 'timeout'
              : null;
      if (ended === null) return;
      end();
      signal.removeEventListener('abort', onAbort);
      resolve({ ...report, ended, waitedSeconds: Math.round(waitedMs) / 1000 });
    };
    const onAbort = (): void => {
      end();
      reject(signal.reason as Error);
    };
    const end = floor.onLook(look);
    signal.addEventListener('abort', onAbort, { once: true });
    look();
  });

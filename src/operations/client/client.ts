/**
 * A client of the live process of a data directory, over its control socket.
 *
 * It loads node:http and nothing of the master, because `master_loop status` has 250 ms in all. It holds no state of its
 * own: every answer is the master's, so two clients never disagree about what is running.
 */
import { messageOf } from '../../errors.ts';
import { unixHttp } from '../../seams/unix-http.ts';
import type { UnixResponse } from '../../seams/unix-http.ts';
import { controlSocketPath, resolveDataDir } from '../control-paths.ts';
import type {
  ActRequest,
  CommandOutcome,
  DaemonStatus,
  DrillVerb,
  ErrorBody,
  EventVerb,
  GraphReport,
  HealthReport,
  Hello,
  HistoryEntry,
  HistoryQuery,
  LogLevel,
  LogsQuery,
  PlanVerb,
  ReadyReport,
  StatusReport,
  WaitReport,
  WhyAnswer,
} from '../server/protocol.ts';
import { noAnswer, notRunning, remoteError, socketForbidden } from './errors.ts';

export interface ConnectOptions {
  /** Default: `$MASTER_LOOP_DATA_DIR`, else `./.master-loop`. */
  readonly dataDir?: string;
  /** Milliseconds for one answer that is not asked to wait. Default 5,000. */
  readonly timeoutMs?: number;
}

export interface StreamOptions {
  readonly signal?: AbortSignal;
}

/** Every method rejects with an OrchestratorError; NOT_RUNNING when the process has gone meanwhile. */
export interface ControlClient {
  readonly dataDir: string;
  /** Who answered when this client connected. */
  readonly server: Hello;

  // Reads: answered even while the main loop is blocked.
  status(): Promise<StatusReport>;
  health(): Promise<HealthReport>;
  ready(): Promise<ReadyReport>;
  /** Prometheus text. */
  metrics(): Promise<string>;
  graph(): Promise<GraphReport>;
  daemon(type: string): Promise<DaemonStatus>;
  why(type: string): Promise<WhyAnswer>;
  /** Newest last. */
  history(query?: HistoryQuery): Promise<HistoryEntry[]>;
  /** The last lines of the log, oldest first. */
  logs(query?: LogsQuery): Promise<string[]>;
  /** The last lines, then every new one, across rotation. Ends with the signal, or with the process. */
  followLogs(query?: LogsQuery & StreamOptions): AsyncIterable<string>;
  /**
   * Every transition as it happens. `onOpen`: from here on nothing is missed. With `after`, those of a higher number that
   * the master still remembers come first.
   */
  stream(
    options?: StreamOptions & { readonly onOpen?: () => unknown; readonly after?: number },
  ): AsyncIterable<HistoryEntry>;
  /** Until the fleet is ready, cannot become ready without an operator, or the time is over. Never rejects for those. */
  wait(options?: { readonly timeoutMs?: number; readonly signal?: AbortSignal }): Promise<WaitReport>;

  // Forwarded to the main loop: rejects with ENGINE_STALLED when it does not take them within 2 s.
  plan(verb: PlanVerb, daemons?: readonly string[]): Promise<unknown>;
  /** Resolves for every outcome, refusals too; look at `code`. */
  act(request: ActRequest, options?: StreamOptions): Promise<CommandOutcome>;
  logLevel(level: LogLevel): Promise<{ readonly level: LogLevel; readonly previous: LogLevel }>;
  /** The event router. `poll` and `tail` may wait as long as `arguments.waitMs` says. */
  events(verb: EventVerb, args?: Readonly<Record<string, unknown>>, options?: StreamOptions): Promise<unknown>;
  drills(verb: DrillVerb, args?: Readonly<Record<string, unknown>>, options?: StreamOptions): Promise<unknown>;

  /** Ends requests that are under way; running streams end by their own signal. */
  close(): void;
}

const ANSWER_MS = 5_000;

const queryText = (values: Readonly<Record<string, string | number | readonly string[] | undefined>>): string => {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? (value as readonly string[]) : [String(value)]) query.append(key, one);
  }
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
};

const codeOf = (thrown: unknown): unknown => (thrown instanceof Error && 'code' in thrown ? thrown.code : undefined);

const errorBodyOf = (answer: unknown): ErrorBody | null =>
  typeof answer === 'object' && answer !== null && 'error' in answer && typeof answer.error === 'object'
    ? (answer.error as ErrorBody)
    : null;

/**
 * Connects to the live process of a data directory.
 * @throws NOT_RUNNING when none answers (exit 3); SOCKET_PATH_TOO_LONG; CONTROL_FORBIDDEN; NO_ANSWER when suspended
 */
export const connect = async (options: ConnectOptions = {}): Promise<ControlClient> => {
  const dataDir = resolveDataDir(options.dataDir);
  const answerMs = options.timeoutMs ?? ANSWER_MS;
  const http = unixHttp(controlSocketPath(dataDir));

  const explain = (thrown: unknown, path: string): unknown => {
    const code = codeOf(thrown);
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR') return notRunning(dataDir, thrown);
    if (code === 'EACCES' || code === 'EPERM') return socketForbidden(dataDir, thrown);
    if (code === 'ABORT_ERR') return thrown;
    return noAnswer(dataDir, path, thrown);
  };

  const parse = (response: UnixResponse, path: string): unknown => {
    try {
      return JSON.parse(response.body) as unknown;
    } catch (thrown) {
      throw noAnswer(dataDir, path, new Error(`status ${response.status}, not JSON: ${messageOf(thrown)}`));
    }
  };

  interface Call {
    readonly body?: unknown;
    /** Added to the time an answer may take. */
    readonly waitMs?: number;
    readonly signal?: AbortSignal | undefined;
    /** Statuses besides 2xx whose body is an answer. */
    readonly accept?: readonly number[];
  }

  const send = async (method: 'GET' | 'POST', path: string, call: Call = {}): Promise<UnixResponse> => {
    try {
      return await http.request({
        method,
        path,
        timeoutMs: call.waitMs === Infinity ? 0 : answerMs + (call.waitMs ?? 0),
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
        ...(call.signal === undefined ? {} : { signal: call.signal }),
      });
    } catch (thrown) {
      throw explain(thrown, path);
    }
  };

  const json = async <Answer>(method: 'GET' | 'POST', path: string, call: Call = {}): Promise<Answer> => {
    const response = await send(method, path, call);
    const answer = parse(response, path);
    if (response.status >= 200 && response.status < 300) return answer as Answer;
    if (call.accept?.includes(response.status) === true && errorBodyOf(answer) === null) return answer as Answer;
    const error = errorBodyOf(answer);
    if (error !== null) throw remoteError(response.status, error);
    throw noAnswer(dataDir, path, new Error(`status ${response.status}`));
  };

  const lines = async function* (path: string, signal: AbortSignal | undefined): AsyncGenerator<string> {
    try {
      const answer = await http.lines({
        method: 'GET',
        path,
        timeoutMs: answerMs,
        ...(signal === undefined ? {} : { signal }),
      });
      if (answer.status !== 200) {
        let body = '';
        for await (const line of answer.lines) body += line;
        throw remoteError(
          answer.status,
          errorBodyOf(JSON.parse(body)) ?? { code: 'NO_ANSWER', message: body, remedy: '' },
        );
      }
      yield* answer.lines;
    } catch (thrown) {
      if (signal?.aborted === true) return;
      throw codeOf(thrown) !== undefined && !('remedy' in (thrown as object)) ? explain(thrown, path) : thrown;
    }
  };

  const server = await json<Hello>('GET', '/control/hello').catch((thrown: unknown) => {
    http.close();
    throw thrown;
  });

  return {
    dataDir,
    server,
    status: () => json('GET', '/status'),
    health: () => json('GET', '/health', { accept: [503] }),
    ready: () => json('GET', '/ready', { accept: [503] }),
    metrics: async () => (await send('GET', '/metrics')).body,
    graph: () => json('GET', '/graph'),
    daemon: (type) => json('GET', `/daemons/${encodeURIComponent(type)}`),
    why: (type) => json('GET', `/control/why/${encodeURIComponent(type)}`),
    history: ({ daemon, limit } = {}) => json('GET', `/control/history${queryText({ daemon, limit })}`),
    logs: ({ daemon, lines: count } = {}) => json('GET', `/control/logs${queryText({ daemon, lines: count })}`),
    followLogs: ({ daemon, lines: count, signal } = {}) =>
      lines(`/control/logs/follow${queryText({ daemon, lines: count })}`, signal),
    async *stream({ signal, onOpen, after } = {}) {
      // Server-sent events, as far as we send them: one `data:` line each, comments first and as beats.
      let open = false;
      for await (const line of lines(`/stream${queryText({ after })}`, signal)) {
        if (!open) {
          open = true;
          onOpen?.();
        }
        if (line.startsWith('data: ')) yield JSON.parse(line.slice('data: '.length)) as HistoryEntry;
      }
    },
    wait: ({ timeoutMs, signal } = {}) =>
      json('GET', `/control/wait${queryText({ timeoutMs })}`, { waitMs: timeoutMs ?? Infinity, signal }),
    plan: (verb, daemons = []) => json('GET', `/control/plan${queryText({ verb, daemon: daemons })}`),
    act: (request, { signal } = {}) =>
      json('POST', '/control/act', { body: request, waitMs: request.waitMs ?? Infinity, signal }),
    logLevel: (level) => json('POST', '/control/log-level', { body: { level } }),
    events: (verb, args = {}, { signal } = {}) =>
      json('POST', `/control/events/${verb}`, { body: args, waitMs: Number(args['waitMs'] ?? 0), signal }),
    drills: (verb, args = {}, { signal } = {}) =>
      json('POST', `/control/drills/${verb}`, { body: args, waitMs: verb === 'run' ? Infinity : 60_000, signal }),
    close: () => http.close(),
  };
};

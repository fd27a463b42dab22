/**
 * HTTP over a Unix socket, the client's side: small, so that `master_loop status` starts in a blink. It loads nothing
 * but node:http; whoever needs more than requests and lines of text does not belong here.
 */
import { Agent, request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';

export interface UnixRequest {
  readonly method: 'GET' | 'POST';
  /** With its query. */
  readonly path: string;
  /** JSON text. */
  readonly body?: string;
  /** Milliseconds until the whole answer is there (for `lines`: until it begins); 0: no limit. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface UnixResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface UnixHttp {
  /** Resolves for every status; rejects with the system's error (`code` ECONNREFUSED, ENOENT …) or a timeout. */
  request(request: UnixRequest): Promise<UnixResponse>;
  /** A long answer as lines without their ends; ends when the server ends it, the signal aborts, or the reader leaves. */
  lines(request: UnixRequest): Promise<{ readonly status: number; readonly lines: AsyncIterable<string> }>;
  close(): void;
}

/** A longer answer is refused: no answer of the control socket comes near it. Bytes. */
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;

const failure = (code: string, message: string): Error => Object.assign(new Error(message), { code });

const begin = (socketPath: string, agent: Agent, options: UnixRequest): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const request = httpRequest({
      socketPath,
      agent,
      method: options.method,
      path: options.path,
      headers: {
        host: 'localhost',
        ...(options.body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(options.body) }),
      },
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    request.once('response', resolve);
    // Not `once`: a connection that breaks after the answer began reports here as well, and must not be unheard.
    request.on('error', reject);
    request.end(options.body);
  });

const readAll = (response: IncomingMessage): Promise<string> =>
  new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    response.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes > ANSWER_BYTES_MAX)
        response.destroy(failure('ETOOBIG', `answer of more than ${ANSWER_BYTES_MAX} bytes`));
      else parts.push(part);
    });
    response.once('error', reject);
    response.once('aborted', () =>
      reject(failure('ECONNRESET', 'the connection was closed in the middle of an answer')),
    );
    response.once('end', () => resolve(Buffer.concat(parts).toString('utf8')));
  });

/** Runs `work`, and rejects when it takes longer than `timeoutMs`; `abort` then ends it. */
const within = async <Value>(timeoutMs: number, abort: () => void, work: Promise<Value>): Promise<Value> => {
  if (timeoutMs <= 0) return work;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(failure('ETIMEDOUT', `no answer within ${timeoutMs} ms`));
      abort();
    }, timeoutMs);
  });
  work.catch(() => undefined); // heard below, unless the deadline came first
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
};

/** A deadline and a caller's signal in one. */
const stoppable = (signal: AbortSignal | undefined): { signal: AbortSignal; abort: () => void; done: () => void } => {
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal?.reason);
  if (signal?.aborted === true) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    abort: () => controller.abort(),
    done: () => signal?.removeEventListener('abort', onAbort),
  };
};

/**
 * A client of one control socket. Each request has a connection of its own: a kept one may have been dropped by the server
 * while this process stood still, a request on it fails, and one that acts must not be sent twice. Over a Unix socket a
 * new connection costs next to nothing.
 */
export const unixHttp = (socketPath: string): UnixHttp => {
  const agent = new Agent({ keepAlive: false });
  return {
    async request(options) {
      const stop = stoppable(options.signal);
      const work = async (): Promise<UnixResponse> => {
        const response = await begin(socketPath, agent, { ...options, signal: stop.signal });
        const body = await readAll(response);
        return { status: response.statusCode ?? 0, headers: response.headers, body };
      };
      try {
        return await within(options.timeoutMs, stop.abort, work());
      } finally {
        stop.done();
      }
    },
    async lines(options) {
      const stop = stoppable(options.signal);
      const response = await within(
        options.timeoutMs,
        stop.abort,
        begin(socketPath, agent, { ...options, signal: stop.signal }),
      );
      const lines = async function* (): AsyncGenerator<string> {
        const reader = createInterface({ input: response, crlfDelay: Infinity });
        let broken: Error | null = null;
        response.once('error', (error: Error) => {
          broken = error;
          reader.close();
        });
        response.once('aborted', () => reader.close());
        try {
          yield* reader;
          if (broken !== null && !stop.signal.aborted) throw broken as Error;
        } finally {
          response.destroy();
          stop.done();
        }
      };
      return { status: response.statusCode ?? 0, lines: lines() };
    },
    close: () => agent.destroy(),
  };
};

/**
 * HTTP and TCP as this machine does them.
 *
 * Every exchange has one deadline for all of it (name, connect, headers, body), a bound on the answer, and its own
 * connection. A pool would save a loopback handshake of some 100 µs and bring the classic fault of probes: a kept socket
 * whose server has just died looks like a failure of the new one. `fetch` was refused for probes: it follows redirects,
 * and it refuses ports that a daemon may well listen on (6000, 6667 …).
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createConnection, createServer } from 'node:net';
import { messageOf, OrchestratorError } from '../errors.ts';
import type { HttpRequest, HttpResponse, Network } from './network.ts';

/** Longest answer when the caller names none, bytes: 64 MiB, as the interface says. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** An HTTP exchange or a connection that came to nothing; `reason` tells how. */
export const networkFailed = (
  target: string,
  reason: 'unreachable' | 'timeout' | 'too-long' | 'bad-url',
  detail: string,
  cause?: unknown,
): OrchestratorError =>
  new OrchestratorError('NETWORK_FAILED', {
    message: `cannot reach ${target}: ${detail}`,
    remedy: {
      unreachable: 'check that the other side runs and listens on that address; "master_loop status" shows ours',
      timeout: 'check the load of the other side, or raise the time limit of this request',
      'too-long': 'ask for less at a time, or raise the limit on the answer of this request',
      'bad-url': 'give an absolute http:// or https:// address',
    }[reason],
    context: { target, reason, code: (cause as NodeJS.ErrnoException | undefined)?.code },
    cause,
  });

const headersOf = (message: IncomingMessage): Record<string, string> => {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(message.headers))
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  return headers;
};

const targetOf = (asked: HttpRequest): URL => {
  const url = URL.canParse(asked.url) ? new URL(asked.url) : null;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw networkFailed(asked.url, 'bad-url', 'this is no http:// or https:// address');
};

const exchange = (asked: HttpRequest): Promise<HttpResponse> =>
  new Promise((resolve, reject) => {
    if (asked.signal?.aborted === true) return reject(asked.signal.reason as Error);
    const url = targetOf(asked);
    const target = `${url.origin}${url.pathname}`; // without the query: it may hold a token
    const bytesMax = asked.maxBytes ?? ANSWER_BYTES_MAX;
    const outgoing = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      method: asked.method ?? 'GET',
      headers: {
        ...asked.headers,
        ...(asked.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(asked.body)) }),
      },
      agent: false,
    });

    let settled = false;
    const settle = (finish: () => void): void => {
      if (settled) return;
      settled = true;
      clearTimeout(deadline);
      asked.signal?.removeEventListener('abort', onAbort);
      finish();
    };
    const fail = (error: Error): void => {
      settle(() => reject(error));
      outgoing.destroy();
    };
    const onAbort = (): void => fail(asked.signal?.reason as Error);
    const deadline = setTimeout(
      () => fail(networkFailed(target, 'timeout', `no complete answer within ${asked.timeoutMs} ms`)),
      asked.timeoutMs,
    );
    asked.signal?.addEventListener('abort', onAbort, { once: true });

    // After the exchange is settled the destroyed socket may still report an error: it is heard here, and means nothing.
    outgoing.on('error', (cause) => fail(networkFailed(target, 'unreachable', messageOf(cause) || 'refused', cause)));
    outgoing.on('response', (incoming) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      incoming.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > bytesMax) fail(networkFailed(target, 'too-long', `the answer is longer than ${bytesMax} bytes`));
        else parts.push(part);
      });
      incoming.on('error', (cause) => fail(networkFailed(target, 'unreachable', messageOf(cause), cause)));
      incoming.on('end', () =>
        settle(() =>
          resolve({ status: incoming.statusCode ?? 0, headers: headersOf(incoming), body: Buffer.concat(parts) }),
        ),
      );
    });
    outgoing.end(asked.body);
  });

const connect: Network['connect'] = (host, port, timeoutMs) =>
  new Promise((resolve, reject) => {
    const target = `${host}:${port}`;
    const began = performance.now();
    const socket = createConnection({ host, port });
    const finish = (act: () => void): void => {
      clearTimeout(deadline);
      socket.destroy();
      act();
    };
    const deadline = setTimeout(
      () => finish(() => reject(networkFailed(target, 'timeout', `no connection within ${timeoutMs} ms`))),
      timeoutMs,
    );
    socket.on('connect', () => finish(() => resolve(performance.now() - began)));
    socket.on('error', (cause) =>
      finish(() => reject(networkFailed(target, 'unreachable', messageOf(cause) || 'refused', cause))),
    );
  });

const freePort: Network['freePort'] = () =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', (cause) => reject(networkFailed('127.0.0.1', 'unreachable', messageOf(cause), cause)));
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });

/** The network of this process. */
export const realNetwork = (): Network => ({ request: exchange, connect, freePort });

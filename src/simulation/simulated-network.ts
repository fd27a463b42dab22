/**
 * A network in virtual time: servers are functions, and cables can be cut.
 *
 * It answers as the real one does, down to the error: nobody listens (unreachable), somebody listens and does not answer
 * (timeout), the answer is longer than asked for (too-long). Time limits run on the clock it is given.
 */
import type { Clock } from '../seams/clock.ts';
import type { HttpRequest, HttpResponse, Network } from '../seams/network.ts';
import { ANSWER_BYTES_MAX, networkFailed } from '../seams/real-network.ts';

export interface SimulatedAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/** Answers a request; null: accepts it and never answers. */
export type SimulatedServer = (request: HttpRequest) => SimulatedAnswer | null | Promise<SimulatedAnswer | null>;

export interface SimulatedNetwork extends Network {
  /** Listens on a port; the answer stops listening. */
  serve(port: number, server: SimulatedServer): { close(): void };
  /** Milliseconds that every exchange takes from now on. */
  latency(ms: number): void;
  /** Cuts or mends the cable to a port: packets vanish, so only a time limit ends an exchange. */
  partition(port: number, cut: boolean): void;
}

const FIRST_PORT = 40_000;

const portOf = (url: URL): number => Number(url.port || (url.protocol === 'https:' ? 443 : 80));

/** @param options.latencyMs  of every exchange; default 1 */
export const simulatedNetwork = (options: { readonly clock: Clock; readonly latencyMs?: number }): SimulatedNetwork => {
  const { clock } = options;
  const servers = new Map<number, SimulatedServer>();
  const cut = new Set<number>();
  let latencyMs = options.latencyMs ?? 1;
  let ports = FIRST_PORT;

  const never = (): Promise<never> => new Promise(() => {});

  /** Resolves when a packet arrives at that port; rejects when nobody listens there. */
  const arrival = async (target: string, port: number): Promise<SimulatedServer> => {
    await clock.sleep(latencyMs);
    if (cut.has(port)) return never();
    const server = servers.get(port);
    if (server !== undefined) return server;
    const cause = Object.assign(new Error(`connect ECONNREFUSED ${target}`), { code: 'ECONNREFUSED' });
    throw networkFailed(target, 'unreachable', cause.message, cause);
  };

  const answerTo = async (request: HttpRequest, target: string, port: number): Promise<HttpResponse> => {
    const server = await arrival(target, port);
    const answer = await server(request);
    if (answer === null || cut.has(port)) return never();
    const body = typeof answer.body === 'string' ? Buffer.from(answer.body) : (answer.body ?? new Uint8Array(0));
    const bytesMax = request.maxBytes ?? ANSWER_BYTES_MAX;
    if (body.length > bytesMax) throw networkFailed(target, 'too-long', `the answer is longer than ${bytesMax} bytes`);
    const headers = Object.entries(answer.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]);
    return { status: answer.status ?? 200, headers: Object.fromEntries(headers) as Record<string, string>, body };
  };

  /** Whichever comes first: the work, its time limit, or the caller's signal. */
  const limited = <Result>(
    work: Promise<Result>,
    timeoutMs: number,
    late: () => Error,
    signal?: AbortSignal,
  ): Promise<Result> =>
    new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal?.reason as Error);
      if (signal?.aborted === true) return onAbort();
      const timer = clock.after(timeoutMs, () => reject(late()));
      signal?.addEventListener('abort', onAbort, { once: true });
      work.then(resolve, reject).finally(() => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
      });
    });

  return {
    async request(request) {
      const url = URL.canParse(request.url) ? new URL(request.url) : null;
      if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
        throw networkFailed(request.url, 'bad-url', 'this is no http:// or https:// address');
      const target = `${url.origin}${url.pathname}`;
      const late = (): Error => networkFailed(target, 'timeout', `no complete answer within ${request.timeoutMs} ms`);
      return limited(answerTo(request, target, portOf(url)), request.timeoutMs, late, request.signal);
    },
    async freePort() {
      while (servers.has(ports)) ports++;
      return ports++;
    },
    async connect(host, port, timeoutMs) {
      const target = `${host}:${port}`;
      const began = clock.monotonicMs();
      const late = (): Error => networkFailed(target, 'timeout', `no connection within ${timeoutMs} ms`);
      await limited(arrival(target, port), timeoutMs, late);
      return clock.monotonicMs() - began;
    },
    serve(port, server) {
      servers.set(port, server);
      return {
        close() {
          if (servers.get(port) === server) servers.delete(port);
        },
      };
    },
    latency(ms) {
      latencyMs = ms;
    },
    partition(port, isCut) {
      if (isCut) cut.add(port);
      else cut.delete(port);
    },
  };
};

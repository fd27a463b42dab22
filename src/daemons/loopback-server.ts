/**
 * An HTTP server of a daemon: on loopback, for the fleet's own programs, gone with the start that opened it.
 *
 * Whatever carries an Origin is turned away: a web page that a user happens to have open must not reach a program that
 * hands out work or files. Closing is at once and needs no turn of the loop: the port is free and no request of an ended
 * start is under way when the next start listens.
 */
import fastify, { type FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Fill } from '../bounds.ts';
import { messageOf, OrchestratorError, type ErrorCode } from '../errors.ts';
import { boundConnections, CONNECTIONS_MAX, REQUEST_BOUNDS } from '../seams/connections.ts';
import { portOwner } from '../seams/port-owner.ts';
import type { Breakage } from './definition.ts';

/** For configurations: 0 takes any free port. */
export const port = (byDefault: number): z.ZodDefault<z.ZodInt> => z.int().min(0).max(65_535).default(byDefault);

/** A whole request must have arrived by then. Milliseconds. */
const REQUEST_MS_MAX = 30_000;
/** A connection on which nothing moves for this long is closed, also in the middle of an answer. Milliseconds. */
const STILL_MS_MAX = 60_000;

/** Repeating the request later may succeed; everything else of ours is the caller's fault or a bug. */
const LATER: ReadonlySet<ErrorCode> = new Set(['SCOPE_CLOSED', 'STORE_FAILED', 'STORE_LOST', 'FLOOR_BUSY']);
const CALLERS: ReadonlySet<ErrorCode> = new Set(['FLOOR_INPUT_INVALID', 'BAD_REQUEST']);

const cannotListen = (what: string, wanted: number, thrown: unknown): OrchestratorError => {
  if ((thrown as { code?: unknown }).code !== 'EADDRINUSE')
    return new OrchestratorError('CANNOT_LISTEN', {
      message: `cannot listen on port ${wanted} for ${what}: ${messageOf(thrown)}`,
      remedy:
        'choose a port above 1023 that this user may open, or 0 for any free one, under "ports" of the fleet file',
      context: { what, port: wanted },
      cause: thrown,
    });
  const owner = portOwner(wanted);
  const whose = owner?.pid == null ? 'another program' : `${owner.command ?? 'a program'} (pid ${owner.pid})`;
  return new OrchestratorError('PORT_TAKEN', {
    message: `cannot listen on port ${wanted} for ${what}: ${whose} does`,
    remedy: 'end that program, or give this daemon another port (0: any free one) under "ports" of the fleet file',
    context: { what, port: wanted, owner },
    cause: thrown,
  });
};

export interface LoopbackServer {
  /** `http://127.0.0.1:<port>`. */
  readonly url: string;
  readonly port: number;
  /** What the kernel says, not what we remember. */
  isListening(): boolean;
  connections(): Fill;
  close(): Promise<void>;
}

export interface LoopbackServerOptions {
  /** In words, for errors: "the claim endpoint". */
  readonly what: string;
  readonly port: number;
  readonly bodyBytesMax?: number;
  readonly connectionsMax?: number;
  /** Milliseconds. */
  readonly stillMsMax?: number;
  readonly routes: (app: FastifyInstance) => void;
}

/** @throws PORT_TAKEN, CANNOT_LISTEN */
export const openLoopbackServer = async (options: LoopbackServerOptions): Promise<LoopbackServer> => {
  const app = fastify({
    bodyLimit: options.bodyBytesMax ?? 1024 * 1024,
    forceCloseConnections: true,
    requestTimeout: REQUEST_MS_MAX,
    connectionTimeout: options.stillMsMax ?? STILL_MS_MAX,
    http: REQUEST_BOUNDS,
  });
  const connections = boundConnections(app.server, options.connectionsMax ?? CONNECTIONS_MAX);
  app.addHook('onRequest', async (request, reply) => {
    if (request.headers.origin !== undefined) return reply.code(403).send({ error: 'browsers have no business here' });
  });
  app.setErrorHandler((thrown, _request, reply) => {
    if (thrown instanceof z.ZodError) return reply.code(400).send({ error: z.prettifyError(thrown) });
    const { code, statusCode } = thrown as { code?: ErrorCode; statusCode?: number };
    const isOurs = thrown instanceof OrchestratorError && code !== undefined;
    const status = isOurs ? (LATER.has(code) ? 503 : CALLERS.has(code) ? 400 : 500) : (statusCode ?? 500);
    return reply.code(status).send({ error: messageOf(thrown) });
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ error: `${options.what} has no ${request.method} ${request.url.split('?')[0]}` }),
  );
  options.routes(app);

  const close = async (): Promise<void> => {
    if (app.server.listening) app.server.close();
    app.server.closeAllConnections();
    await app.close();
  };
  let url: string;
  try {
    url = await app.listen({ host: '127.0.0.1', port: options.port });
  } catch (thrown) {
    await close();
    throw cannotListen(options.what, options.port, thrown);
  }
  return { url, port: Number(new URL(url).port), isListening: () => app.server.listening, connections, close };
};

/** For drills: the listening socket is closed under its daemon. The next start listens again, so there is nothing to mend. */
export const closesServer = (what: string, server: () => LoopbackServer | null): Breakage => ({
  what: `closes the listening socket of ${what}`,
  break: () => server()?.close(),
  heal: () => undefined,
});

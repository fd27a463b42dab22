/**
 * The questions a node answers over HTTP; the table of routes is in protocol.ts.
 *
 * It listens on loopback only and turns away browsers (whatever carries an Origin): a web page that a user happens to
 * have open must not reach a program that takes files. Every request that is served is a sign of life of the floor.
 */
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { z } from 'zod';
import { messageOf, OrchestratorError } from '../../../errors.ts';
import type { PlainClock } from '../../../seams/plain-clock.ts';
import {
  configName,
  drainRequest,
  identifier,
  pointerRequest,
  PROTOCOL_VERSION,
  sha256Text,
  shutdownRequest,
  type GamesPage,
  type MatchesPage,
  type NodeConfig,
  type NodeStatus,
} from '../protocol.ts';
import type { BatchPlayer } from './batch-player.ts';
import type { ModelShelf, Refusal } from './model-shelf.ts';
import type { NodeStore } from './node-store.ts';

/** Longest body taken, bytes: sixteen times the largest model. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;

/** Rows of a page unless fewer are asked for. */
const PAGE_ROWS = 500;
const PAGE_ROWS_MAX = 5000;

const cursor = z.coerce.number().int().nonnegative();
const limit = z.coerce.number().int().min(1).max(PAGE_ROWS_MAX).default(PAGE_ROWS);
const gamesQuery = z.object({ config: configName, after: cursor, limit });
const matchesQuery = z.object({ after: cursor, limit });
const modelParams = z.object({ modelId: identifier });
const modelQuery = z.object({ config: configName, sha256: sha256Text });
const configParams = z.object({ config: configName });

/** What the server may see and do of the node's life. */
export interface NodeLife {
  readonly draining: boolean;
  readonly itemsDone: number;
  /** Monotonic milliseconds of start, and of the end of the last batch. */
  readonly startedAt: number;
  readonly idleSince: number;
  drain(on: boolean): void;
  end(reason: string): void;
  /** A request was served. */
  heard(): void;
}

export interface NodeParts {
  readonly config: NodeConfig;
  readonly pid: number;
  readonly clock: PlainClock;
  readonly store: NodeStore;
  readonly shelf: ModelShelf;
  readonly player: BatchPlayer;
  readonly life: NodeLife;
}

const statusOf = ({ config, pid, clock, store, shelf, player, life }: NodeParts): NodeStatus => {
  const cpu = process.cpuUsage();
  const { current } = player;
  return {
    ...{ version: PROTOCOL_VERSION, nodeId: config.nodeId, runId: config.runId, pid, storeId: store.storeId },
    uptimeSeconds: clock.since(life.startedAt),
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    games: store.games,
    gamesPerMinute: player.gamesPerMinute,
    lastSeq: store.lastSeq(),
    matchesLastSeq: store.matchesLastSeq,
    current,
    idleSeconds: current === null ? clock.since(life.idleSince) : 0,
    itemsDone: life.itemsDone,
    draining: life.draining,
    models: shelf.models(),
    pointers: shelf.pointers(),
  };
};

const answer = (reply: FastifyReply, outcome: object | Refusal): FastifyReply =>
  'error' in outcome ? reply.code((outcome as Refusal).status).send({ error: outcome.error }) : reply.send(outcome);

/** The server, not listening yet. */
export const nodeServer = (parts: NodeParts): FastifyInstance => {
  const { config, store, shelf, life } = parts;
  const { nodeId, runId } = config;
  const server = fastify({ bodyLimit: BODY_BYTES_MAX, forceCloseConnections: true });

  server.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body),
  );
  server.addHook('onRequest', async (request, reply) => {
    life.heard();
    if (request.headers.origin !== undefined) return reply.code(403).send({ error: 'browsers have no business here' });
  });
  server.setErrorHandler((thrown, _request, reply) => {
    if (thrown instanceof z.ZodError) return reply.code(400).send({ error: z.prettifyError(thrown) });
    const refused = (thrown as { statusCode?: unknown }).statusCode;
    if (typeof refused === 'number' && refused < 500) return reply.code(refused).send({ error: messageOf(thrown) });
    const isStore = thrown instanceof OrchestratorError && thrown.code === 'STORE_FAILED';
    return reply.code(isStore ? 503 : 500).send({ error: messageOf(thrown) });
  });
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ error: `a node has no ${request.method} ${request.url.split('?')[0]}` }),
  );

  server.get('/ping', () => ({ nodeId, runId }));
  server.get('/status', () => statusOf(parts));

  server.get('/games', (request): GamesPage => {
    const asked = gamesQuery.parse(request.query);
    const { rows, next, more } = store.gamesAfter(asked.config, asked.after, asked.limit);
    return {
      ...{ version: PROTOCOL_VERSION, nodeId, storeId: store.storeId, config: asked.config },
      ...{ after: asked.after, next, more, games: rows },
    };
  });

  server.get('/matches', (request): MatchesPage => {
    const asked = matchesQuery.parse(request.query);
    const { rows, next, more } = store.matchesAfter(asked.after, asked.limit);
    return {
      ...{ version: PROTOCOL_VERSION, source: nodeId, storeId: store.storeId },
      ...{ after: asked.after, next, more, matches: rows },
    };
  });

  server.put('/models/:modelId', (request, reply) => {
    const { modelId } = modelParams.parse(request.params);
    const asked = modelQuery.parse(request.query);
    if (!Buffer.isBuffer(request.body))
      return reply.code(400).send({ error: 'send the bytes of the checkpoint as application/octet-stream' });
    return answer(reply, shelf.take({ modelId, ...asked }, request.body));
  });

  server.put('/pointers/:config', (request, reply) => {
    const asked = pointerRequest.parse(request.body);
    return answer(reply, shelf.point(configParams.parse(request.params).config, asked.modelId, asked.sha256));
  });

  server.post('/drain', (request) => {
    life.drain(drainRequest.parse(request.body).drain);
    return { draining: life.draining };
  });

  server.post('/shutdown', (request) => {
    life.end(shutdownRequest.parse(request.body).reason);
    return { accepted: true };
  });
  return server;
};

/**
 * Serves models, shards and rating tables to nodes over HTTP, by what they are and not by where they lie.
 *
 * Invariant: what is sent is what was indexed. A request names a hash or a name of the manifest and never a path, so there
 * is nothing outside the data root to ask for; the ETag is the content's SHA-256, so a client can prove what arrived; and
 * an answer that cannot be completed is cut off rather than padded. A client that takes more than its share is put off
 * before its bytes are read: a greedy node must not starve the store thread of the others.
 */
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { setNewest } from '../../bounds.ts';
import { messageOf } from '../../errors.ts';
import { degraded, healthy, unhealthy } from '../../health/verdict.ts';
import type { Floor, ObjectRow } from '../../training/floor.ts';
import { identifier, sha256Text } from '../../training/programs/protocol.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { closesServer, openLoopbackServer, port, type LoopbackServer } from '../loopback-server.ts';

/** Bytes of one call to the store thread: a copy of a fraction of a millisecond for the main loop. */
const CHUNK_BYTES = 256 * 1024;
/** Clients whose share is measured; the least recent goes first. */
const CLIENTS_MAX = 1_000;
const PROBE_MS = 1_000;

const indexQuery = z.object({
  kind: z.enum(['model', 'shard', 'ratings', 'other']).optional(),
  after: z.string().max(200).optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});
const hashParams = z.object({ sha256: sha256Text });
const nameParams = z.object({ name: z.string().min(1).max(200) });

/** One range of a file: the bytes, the whole file (null), or a range it does not have. */
export const rangeOf = (
  header: string | undefined,
  bytes: number,
): { readonly from: number; readonly to: number } | null | 'unsatisfiable' => {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '');
  if (match === null) return null; // none, several, or another unit: RFC 9110 lets a server send the whole
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return null;
  if (first === '') {
    const suffix = Math.min(Number(last), bytes);
    return suffix === 0 ? 'unsatisfiable' : { from: bytes - suffix, to: bytes - 1 };
  }
  const from = Number(first);
  const to = last === '' ? bytes - 1 : Math.min(Number(last), bytes - 1);
  if (last !== '' && Number(last) < from) return null;
  return from >= bytes ? 'unsatisfiable' : { from, to };
};

export const dataServer = daemonsWith<Floor>()({
  type: 'DATA_SERVER',
  purpose: 'Serves models, shards and rating tables to nodes by their content, with ranges and a limit per client.',
  category: 'distribution',
  dependsOn: ['EVENT_ROUTER'],
  healthPeriodSeconds: 60,
  config: z.strictObject({
    port: port(8766),
    /** How often it asks itself for its index. */
    periodSeconds: seconds(15),
    /** Bytes one client may take within `windowSeconds`. */
    clientBytesMax: z
      .int()
      .min(1)
      .default(1024 * 1024 * 1024),
    windowSeconds: seconds(60),
  }),
  quick: { periodSeconds: 2 },

  create({ config, clock, log, network, objects, endpoints, own }) {
    let server: LoopbackServer | null = null;
    let probed: { readonly atMs: number; readonly failure: string | null } | null = null;
    let requests = 0;
    let bytesServed = 0;
    let putOff = 0;
    let lastFault: string | null = null;
    /** Monotonic milliseconds at which a client's window began, and what it took since. */
    const windows = new Map<string, { beganAt: number; bytes: number }>();

    const windowOf = (client: string): { beganAt: number; bytes: number } => {
      const known = windows.get(client);
      if (known !== undefined && clock.since(known.beganAt) < config.windowSeconds) return known;
      const fresh = { beganAt: clock.monotonicMs(), bytes: 0 };
      setNewest(windows, client, fresh, CLIENTS_MAX);
      return fresh;
    };

    /** Who asks: the name a node gives itself, or its address. */
    const clientOf = (request: FastifyRequest): string => {
      const said = identifier.safeParse(request.headers['x-client']);
      return said.success ? said.data : request.ip;
    };

    /** Reads as the client takes: what it does not take is not read. Counts what was handed over, however it ends. */
    async function* contentOf(object: ObjectRow, from: number, to: number, client: string): AsyncGenerator<Uint8Array> {
      let at = from;
      try {
        while (at <= to) {
          const chunk = await objects.read(object.sha256, { from: at, bytes: Math.min(CHUNK_BYTES, to - at + 1) });
          if (chunk.length === 0) throw new Error(`${object.file} ends at byte ${at} of ${object.bytes}`);
          at += chunk.length;
          yield chunk;
        }
      } catch (thrown) {
        lastFault = `${object.name}: ${messageOf(thrown)}`;
        log.warn(`cannot send ${lastFault}`);
        throw thrown;
      } finally {
        bytesServed += at - from;
        void objects.served({ client, bytes: at - from }).catch(() => undefined); // a count; the bytes have gone
      }
    }

    const send = (object: ObjectRow | null, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
      requests++;
      if (object === null) return reply.code(404).send({ error: 'the manifest has no such object' });
      const etag = `"${object.sha256}"`;
      const asked = request.headers['if-none-match'];
      reply.headers({
        etag,
        'accept-ranges': 'bytes',
        'x-kind': object.kind,
        'x-name': encodeURIComponent(object.name),
      });
      if (asked !== undefined && (asked.trim() === '*' || asked.split(',').some((tag) => tag.trim() === etag)))
        return reply.code(304).send();
      // A range of another version than the client began with would be glued to the wrong half.
      const unchanged = request.headers['if-range'] === undefined || request.headers['if-range'] === etag;
      const range = rangeOf(unchanged ? request.headers.range : undefined, object.bytes);
      if (range === 'unsatisfiable')
        return reply
          .code(416)
          .header('content-range', `bytes */${object.bytes}`)
          .send({ error: `it has ${object.bytes} bytes` });
      const { from, to } = range ?? { from: 0, to: object.bytes - 1 };
      const length = to - from + 1;
      const client = clientOf(request);
      const window = windowOf(client);
      const isHead = request.method === 'HEAD';
      if (!isHead && window.bytes > 0 && window.bytes + length > config.clientBytesMax) {
        putOff++;
        const waitSeconds = Math.max(1, Math.ceil(config.windowSeconds - clock.since(window.beganAt)));
        return reply
          .code(429)
          .header('retry-after', waitSeconds)
          .send({
            error: `${client} took ${window.bytes} bytes of ${config.clientBytesMax} per ${config.windowSeconds} s`,
          });
      }
      reply.type('application/octet-stream').header('content-length', length);
      if (range !== null) reply.code(206).header('content-range', `bytes ${from}-${to}/${object.bytes}`);
      if (isHead) return reply.send();
      window.bytes += length;
      return reply.send(Readable.from(contentOf(object, from, to, client), { objectMode: false }));
    };

    return {
      async start() {
        server = own(
          await openLoopbackServer({
            what: 'the data server',
            port: config.port,
            routes: (app) => {
              app.get('/index', async (request) => {
                const rows = await objects.list(definedOf(indexQuery.parse(request.query)));
                return { objects: rows.map(({ sha256, bytes, kind, name }) => ({ sha256, bytes, kind, name })) };
              });
              app.get('/objects/:sha256', async (request, reply) =>
                send(await objects.get(hashParams.parse(request.params).sha256), request, reply),
              );
              app.get('/named/:name', async (request, reply) =>
                send(await objects.named(nameParams.parse(request.params).name), request, reply),
              );
              app.get('/traffic', async () => ({ clients: await objects.traffic() }));
            },
          }),
          'data server',
        );
        await endpoints.announce({ data: server.url });
      },
      every: {
        periodSeconds: config.periodSeconds,
        async run() {
          const failure = await network
            .request({ url: `${server?.url ?? ''}/index?limit=1`, timeoutMs: PROBE_MS })
            .then(
              ({ status }) => (status === 200 ? null : `its index answered ${status}`),
              (thrown: Error) => thrown.message,
            );
          probed = { atMs: clock.monotonicMs(), failure };
        },
      },
      async stop() {
        await endpoints.announce({ data: null });
      },
      health() {
        const details = {
          port: server?.port ?? null,
          requests,
          bytesServed,
          putOff,
          bounds: {
            clients: { size: windows.size, limit: CLIENTS_MAX },
            ...(server === null ? {} : { connections: server.connections() }),
          },
          ...(probed === null ? {} : { lastProgressAt: probed.atMs }),
        };
        if (server?.isListening() !== true) return unhealthy('the data server does not listen', details);
        if (probed?.failure != null) return unhealthy(`the data server: ${probed.failure}`, details);
        return lastFault === null
          ? healthy(details)
          : degraded(`the last file it could not send: ${lastFault}`, details);
      },
      breakage: closesServer('the data server', () => server),
    };
  },
});

/** Without the fields that were not given. */
const definedOf = ({ kind, after, limit }: z.output<typeof indexQuery>): Parameters<Floor['objects']['list']>[0] => ({
  limit,
  ...(kind === undefined ? {} : { kind }),
  ...(after === undefined ? {} : { after }),
});

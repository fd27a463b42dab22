/**
 * Opens the training floor: one folder, one store thread, and a view of it for each start of each daemon.
 *
 * A view is revocable at every call: `assertOpen` runs before a call leaves and again before its answer is handed over, so
 * a daemon whose start has ended can neither begin a write nor learn enough to begin the next one. What had left before
 * is a whole transaction with a key, and repeating it is harmless.
 */
import type { Fill } from '../../bounds.ts';
import { invariant } from '../../errors.ts';
import type { Floor, FloorHost, FloorOptions, NodeRow, ObjectRow } from '../floor.ts';
import { jobCommand, type JobKind } from '../programs/protocol.ts';
import { floorInputInvalid } from './faults.ts';
import { jobPaths } from './job-files.ts';
import { nodeClient, type NodeClient } from './node-client.ts';
import { endpointsFile, SERVICES, type ServiceName } from './services.ts';
import { StoreClient } from './store-client.ts';
import { resolve } from 'node:path';

const CHUNK_BYTES = 4 * 1024 * 1024;

export interface OpenedFloor extends FloorHost {
  /** Ends the store thread where it stands, as a crash would; the next call starts another. For drills and tests. */
  crashStores(): Promise<void>;
  /** Calls made and not answered. */
  calls(): Fill;
}

type Call = (service: ServiceName, method: string, args: readonly unknown[]) => Promise<unknown>;

/** A service whose methods are calls to the store thread, by the names that the thread lists. */
const remote = <Service extends ServiceName>(service: Service, call: Call): Floor[Service] =>
  Object.fromEntries(
    SERVICES[service].map((method) => [method, (...args: unknown[]) => call(service, method, args)]),
  ) as unknown as Floor[Service];

const floorView = (
  root: string,
  client: StoreClient,
  http: NodeClient,
  clock: FloorOptions['clock'],
  assertOpen: () => void,
): Floor => {
  const guarded = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    assertOpen();
    try {
      return await work();
    } finally {
      assertOpen();
    }
  };
  const call: Call = (service, method, args) => guarded(() => client.call(service, method, args));

  const objects = remote('objects', call);
  const models = remote('models', call);
  const jobs = remote('jobs', call);
  const endpoints = remote('endpoints', call);
  const inventory = remote('nodes', call);

  const nodeOf = async (nodeId: string): Promise<NodeRow> => {
    const node = await inventory.get(nodeId);
    if (node === null) throw floorInputInvalid(`there is no node ${nodeId}`, { nodeId });
    return node;
  };
  const bytesOf = async (object: ObjectRow): Promise<Uint8Array> => {
    const parts: Uint8Array[] = [];
    for (let from = 0; from < object.bytes; from += CHUNK_BYTES)
      parts.push(await objects.read(object.sha256, { from, bytes: CHUNK_BYTES }));
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  };
  const modelOf = async (modelId: string): Promise<{ modelId: string; config: string; sha256: string }> => {
    const model = await models.get(modelId);
    if (model === null) throw floorInputInvalid(`model ${modelId} is not registered`, { modelId });
    return { modelId, config: model.config, sha256: model.sha256 };
  };

  return {
    games: remote('games', call),
    pipeline: remote('pipeline', call),
    queue: remote('queue', call),
    samples: remote('samples', call),
    models,
    evaluations: remote('evaluations', call),
    ratings: remote('ratings', call),
    feedback: remote('feedback', call),
    allocation: remote('allocation', call),
    quality: remote('quality', call),
    cluster: remote('cluster', call),
    capacity: remote('capacity', call),
    objects,
    loop: remote('loop', call),
    handles: remote('handles', call),
    nodes: {
      ...inventory,
      async ping(nodeId) {
        const node = await nodeOf(nodeId);
        const askedAt = clock.monotonicMs();
        const answer = await guarded(() => http.ping(node));
        return { ...answer, roundTripMs: clock.monotonicMs() - askedAt };
      },
      async status(nodeId) {
        const node = await nodeOf(nodeId);
        return guarded(() => http.status(node));
      },
      async pullGames({ nodeId, ...request }) {
        const node = await nodeOf(nodeId);
        return guarded(() => http.games(node, request));
      },
      async pullMatches({ nodeId, ...request }) {
        const node = await nodeOf(nodeId);
        return guarded(() => http.matches(node, request));
      },
      async pushModel({ nodeId, modelId }) {
        const node = await nodeOf(nodeId);
        const model = await modelOf(modelId);
        const object = await objects.get(model.sha256);
        if (object === null) throw invariant(`the registered model ${modelId} has no object ${model.sha256}`);
        const bytes = await bytesOf(object);
        return guarded(() => http.putModel(node, model, bytes));
      },
      async setPointer({ nodeId, modelId }) {
        const node = await nodeOf(nodeId);
        const model = await modelOf(modelId);
        return guarded(() => http.setPointer(node, model));
      },
      async setDrain({ nodeId, drain }) {
        const node = await nodeOf(nodeId);
        await guarded(() => http.setDrain(node, drain));
      },
      async shutdown({ nodeId, reason }) {
        const node = await nodeOf(nodeId);
        await guarded(() => http.shutdown(node, reason));
      },
    },
    jobs: {
      paths(kind, jobId) {
        assertOpen();
        return jobPaths(root, kind, jobId);
      },
      async prepare(kind: JobKind, job) {
        await call('jobs', 'prepare', [kind, job]);
        const paths = jobPaths(root, kind, job.jobId);
        return { command: jobCommand(kind, paths.jobFile), paths };
      },
      result: jobs.result,
      progress: jobs.progress,
      discard: jobs.discard,
    },
    endpoints: { ...endpoints, file: endpointsFile(root) },
  };
};

/**
 * @throws STORE_TOO_NEW when a newer version wrote a store, STORE_FAILED when one cannot be opened; nothing runs then
 */
export const openFloor = async (options: FloorOptions): Promise<OpenedFloor> => {
  const root = resolve(options.dataDir);
  const client = new StoreClient(root, options.clock);
  const http = nodeClient(options.network);
  await client.open();
  return {
    forDaemon: (_type, _generation, assertOpen) => floorView(root, client, http, options.clock, assertOpen),
    floor: floorView(root, client, http, options.clock, () => undefined),
    close: () => client.close(),
    crashStores: () => client.terminate(),
    calls: () => client.calls(),
  };
};

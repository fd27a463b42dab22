/** A node without its claim loop: the program's own store, shelf, player and HTTP server, on a port of their own. */
import { join } from 'node:path';
import { plainClock } from '../../src/seams/plain-clock.ts';
import { realRandom } from '../../src/seams/random.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import type { Floor, NodeRow } from '../../src/training/floor.ts';
import { BatchPlayer } from '../../src/training/programs/node/batch-player.ts';
import { ModelShelf } from '../../src/training/programs/node/model-shelf.ts';
import { nodeServer } from '../../src/training/programs/node/node-server.ts';
import { NodeStore } from '../../src/training/programs/node/node-store.ts';
import { nodeConfig, PROTOCOL_VERSION } from '../../src/training/programs/protocol.ts';

export interface ServedNode {
  readonly row: NodeRow;
  readonly storeId: string;
  /** Plays so many real games; they are in its store when this resolves. */
  play(config: string, games: number): Promise<void>;
  /** The server goes away, as the process would; the store stays. */
  close(): Promise<void>;
  /** It answers again, at the same address. */
  reopen(): Promise<void>;
}

/** Reserves a node on the floor, serves it, and makes it live. */
export const serveNode = async (floor: Floor): Promise<ServedNode> => {
  const files = realFileSystem();
  const clock = plainClock();
  const random = realRandom();
  const node = await floor.nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 1 });
  const config = nodeConfig.parse({
    ...{ version: PROTOCOL_VERSION, nodeId: node.nodeId, runId: node.runId, pool: node.pool },
    ...{ endpointsFile: floor.endpoints.file, kinds: ['selfplay'], seed: 1 },
  });
  const store = new NodeStore(join(node.folder, 'games.db'), config.keepGames, random);
  const say = (): void => undefined;
  const shelf = new ModelShelf(join(node.folder, 'models'), files, store, say);
  const player = new BatchPlayer({ config, store, shelf, clock, random, say });
  const startedAt = clock.monotonicMs();
  const life = {
    ...{ draining: false, itemsDone: 0, startedAt, idleSince: startedAt },
    ...{ drain: say, end: say, heard: say },
  };
  const serve = async (port: number) => {
    const server = nodeServer({ config, pid: process.pid, clock, store, shelf, player, life });
    return { server, url: await server.listen({ host: '127.0.0.1', port }) };
  };
  const first = await serve(0);
  let present = first;
  let batches = 0;
  await floor.nodes.seen({ ...node, url: first.url, pid: process.pid, storeId: store.storeId });
  return {
    row: (await floor.nodes.get(node.nodeId))!,
    storeId: store.storeId,
    async play(name, games) {
      const work = {
        ...{ kind: 'selfplay' as const, config: name, games, exploration: 0.2, seed: ++batches },
        opponents: [{ agent: 'self', weight: 1 }],
      };
      const item = { itemId: `w${batches}`, token: batches, attempt: 1, leaseSeconds: 60, work };
      await player.play(item, { stopReason: () => null, onCommit: say });
    },
    close: () => present.server.close(),
    async reopen() {
      present = await serve(Number(new URL(first.url).port));
    },
  };
};

/** Nodes for tests of the daemons around them: real programs, and hands that speak as a node does. */
import fastify from 'fastify';
import type { EventEnvelope } from '../../src/events/types.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { realNetwork } from '../../src/seams/real-network.ts';
import type { NewWork, NodeRow } from '../../src/training/floor.ts';
import {
  claimAnswer,
  PROTOCOL_VERSION,
  reportAnswer,
  type ClaimAnswer,
  type NodeStatus,
  type ReportAnswer,
  type WorkReport,
} from '../../src/training/programs/protocol.ts';
import type { ProviderWorld } from '../../src/training/providers/provider.ts';
import type { DaemonBench } from '../support/daemon-bench.ts';

/** A small board: a game takes a few milliseconds. */
export const CONFIG = 'square6_2p';

export const selfplay = (key: string, more: Partial<NewWork> & { readonly games?: number } = {}): NewWork => {
  const { games = 5, ...rest } = more;
  return {
    key,
    priority: 50,
    work: {
      kind: 'selfplay',
      config: CONFIG,
      games,
      exploration: 0.2,
      opponents: [{ agent: 'self', weight: 1 }],
      seed: 1,
    },
    ...rest,
  };
};

/** What a provider needs, with the processes on the bench's records, under the name of the test. */
export const worldOf = (bench: DaemonBench): ProviderWorld => ({
  files: realFileSystem(),
  clock: bench.clock,
  signal: new AbortController().signal,
  endpointsFile: bench.floor.endpoints.file,
  spawn: (spec) => bench.processes.spawn('TEST', 1, spec),
  spawned: () => bench.processes.live('TEST'),
  endProcess: (process, graceMs = 2000) => bench.processes.end(process, graceMs),
});

export const SETTINGS = {
  kinds: ['selfplay', 'tournament'] as ('selfplay' | 'tournament')[],
  seed: 5,
  idlePollMs: 50,
  startMs: 20_000,
  nice: 5,
};

/** A reserved node that has shown itself, without a process: the test speaks for it. */
export const spokenNode = async (bench: DaemonBench, url = 'http://127.0.0.1:9'): Promise<NodeRow> => {
  const node = await bench.floor.nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 1 });
  await bench.floor.nodes.seen({ ...node, url, pid: 1, storeId: 's1' });
  return node;
};

const post = async (bench: DaemonBench, route: string, body: unknown): Promise<{ status: number; body: unknown }> => {
  const { scheduler } = await bench.floor.endpoints.read();
  if (scheduler === null) throw new Error('no scheduler is announced');
  const answer = await realNetwork().request({
    url: `${scheduler}/${route}`,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    timeoutMs: 5_000,
  });
  return { status: answer.status, body: JSON.parse(Buffer.from(answer.body).toString('utf8')) };
};

/** Asks for work as a node does. */
export const claimAs = async (bench: DaemonBench, node: NodeRow): Promise<ClaimAnswer> => {
  const answer = await post(bench, 'claim', {
    version: PROTOCOL_VERSION,
    nodeId: node.nodeId,
    runId: node.runId,
    url: 'http://127.0.0.1:9',
    pid: 1,
    storeId: 's1',
    kinds: ['selfplay', 'tournament'],
    cpus: 1,
    memoryMb: 512,
    models: [],
  });
  if (answer.status !== 200) throw new Error(JSON.stringify(answer));
  return claimAnswer.parse(answer.body);
};

export const reportAs = async (
  bench: DaemonBench,
  node: NodeRow,
  item: { readonly itemId: string; readonly token: number },
  state: WorkReport['state'],
  more: Partial<WorkReport> = {},
): Promise<ReportAnswer> => {
  const { nodeId, runId } = node;
  const { itemId, token } = item;
  const report = { version: PROTOCOL_VERSION, nodeId, runId, itemId, token, state, done: 0, of: 5, ...more };
  const answer = await post(bench, 'report', report);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer));
  return reportAnswer.parse(answer.body);
};

export const DONE = { games: 5, matches: 0, seconds: 1, modelId: null };

export const bodiesOf = <Body>(events: readonly EventEnvelope<Body>[]): Body[] => events.map(({ body }) => body);

/** A node whose figures the test sets, answering over real HTTP: for conditions that a real one cannot be brought into. */
export interface PosedNode {
  readonly row: NodeRow;
  /** What /status says; changed in place by the test, and by /drain. */
  readonly says: { -readonly [Key in keyof NodeStatus]: NodeStatus[Key] };
  /** Reasons of /shutdown calls. */
  readonly shutdowns: string[];
  /** It answers no more. */
  close(): Promise<void>;
}

/** Closed with the bench. */
export const posedNode = async (bench: DaemonBench): Promise<PosedNode> => {
  const reserved = await bench.floor.nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 2 });
  const { nodeId, runId } = reserved;
  const says: PosedNode['says'] = {
    ...{ version: PROTOCOL_VERSION, nodeId, runId, pid: process.pid, storeId: 's1' },
    ...{ uptimeSeconds: 10, cpuSeconds: 5, residentBytes: 1_000_000, games: 0, gamesPerMinute: 0 },
    ...{ lastSeq: {}, matchesLastSeq: 0, current: null, idleSeconds: 0, itemsDone: 0, draining: false },
    ...{ models: [], pointers: {} },
  };
  const shutdowns: string[] = [];
  const server = fastify({ forceCloseConnections: true });
  server.get('/ping', () => ({ nodeId, runId }));
  server.get('/status', () => says);
  server.post<{ Body: { drain: boolean } }>('/drain', (request) => {
    says.draining = request.body.drain;
    return { draining: says.draining };
  });
  server.post<{ Body: { reason: string } }>('/shutdown', (request) => {
    shutdowns.push(request.body.reason);
    return { accepted: true };
  });
  bench.afterwards(() => server.close());
  const url = await server.listen({ host: '127.0.0.1', port: 0 });
  const { node } = await bench.floor.nodes.seen({ ...reserved, url, pid: process.pid, storeId: 's1' });
  await bench.floor.nodes.claimed(reserved);
  return { row: node!, says, shutdowns, close: () => server.close() };
};

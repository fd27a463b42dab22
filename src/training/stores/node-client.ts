/**
 * HTTP to one training node. Pages of games and matches are not read here: they go to the store thread as bytes, so that
 * a page of a thousand games costs the main loop one copy.
 */
import { messageOf, OrchestratorError } from '../../errors.ts';
import type { HttpRequest, HttpResponse, Network } from '../../seams/network.ts';
import type { NodeRow, RawPage } from '../floor.ts';
import {
  drainAnswer,
  modelReceipt,
  modelRef,
  nodeStatus,
  pingAnswer,
  shutdownAnswer,
  type ModelReceipt,
  type ModelRef,
  type NodeStatus,
} from '../programs/protocol.ts';
import { z } from 'zod';

/** A node answers between two games; a busy machine may take long, a dead one should not hold a cycle. */
const ASK_MS = 3_000;
const MOVE_MS = 20_000;
const PAGE_BYTES_MAX = 16 * 1024 * 1024;
export const PAGE_GAMES_MAX = 2_000;

export const nodeUnreachable = (nodeId: string, what: string, reason: string): OrchestratorError =>
  new OrchestratorError('NODE_UNREACHABLE', {
    message: `cannot ${what} node ${nodeId}: ${reason}`,
    remedy: 'try again later; its games are safe in its folder, and AVAILABILITY_PROVISIONER starts a lost node again',
    context: { nodeId, what, reason },
  });

const nodeRefused = (nodeId: string, what: string, status: number, reason: string): OrchestratorError =>
  new OrchestratorError('NODE_REFUSED', {
    message: `cannot ${what} node ${nodeId}: it answered ${status}, ${reason}`,
    remedy: 'the node is of another version, or lacks what was asked for; its output file says more',
    context: { nodeId, what, status, reason },
  });

const textOf = (response: HttpResponse): string => Buffer.from(response.body).toString('utf8');

const errorOf = (response: HttpResponse): string => {
  try {
    const answer = z.object({ error: z.string() }).safeParse(JSON.parse(textOf(response)));
    return answer.success ? answer.data.error : textOf(response).slice(0, 200);
  } catch {
    return textOf(response).slice(0, 200);
  }
};

const json = (body: unknown): Pick<HttpRequest, 'headers' | 'body'> => ({
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

export interface NodeClient {
  ping(node: NodeRow): Promise<{ nodeId: string; runId: string }>;
  status(node: NodeRow): Promise<NodeStatus>;
  games(
    node: NodeRow,
    request: { readonly config: string; readonly after: number; readonly limit: number },
  ): Promise<RawPage>;
  matches(node: NodeRow, request: { readonly after: number; readonly limit: number }): Promise<RawPage>;
  putModel(node: NodeRow, model: ModelRef, bytes: Uint8Array): Promise<ModelReceipt>;
  setPointer(node: NodeRow, model: ModelRef): Promise<ModelRef>;
  setDrain(node: NodeRow, drain: boolean): Promise<void>;
  shutdown(node: NodeRow, reason: string): Promise<void>;
}

export const nodeClient = (network: Network): NodeClient => {
  const exchange = async (
    node: NodeRow,
    what: string,
    path: string,
    more: Partial<HttpRequest> = {},
  ): Promise<HttpResponse> => {
    if (node.url === null) throw nodeUnreachable(node.nodeId, what, `it is ${node.state} and has no address`);
    let response: HttpResponse;
    try {
      response = await network.request({
        timeoutMs: ASK_MS,
        maxBytes: PAGE_BYTES_MAX,
        ...more,
        url: `${node.url}${path}`,
      });
    } catch (thrown) {
      throw nodeUnreachable(node.nodeId, what, messageOf(thrown));
    }
    if (response.status !== 200) throw nodeRefused(node.nodeId, what, response.status, errorOf(response));
    return response;
  };

  const ask = async <Schema extends z.ZodType>(
    schema: Schema,
    node: NodeRow,
    what: string,
    path: string,
    more: Partial<HttpRequest> = {},
  ): Promise<z.output<Schema>> => {
    const response = await exchange(node, what, path, more);
    let answer: unknown;
    try {
      answer = JSON.parse(textOf(response));
    } catch (thrown) {
      throw nodeRefused(node.nodeId, what, response.status, `but not in JSON: ${messageOf(thrown)}`);
    }
    const checked = schema.safeParse(answer);
    if (!checked.success)
      throw nodeRefused(node.nodeId, what, response.status, `but not in our shape: ${z.prettifyError(checked.error)}`);
    // A port may be taken by another node after a restart: an answer counts only from the one that was asked.
    const from = (checked.data as { nodeId?: string }).nodeId;
    if (from !== undefined && from !== node.nodeId)
      throw nodeUnreachable(node.nodeId, what, `node ${from} answers at ${node.url}`);
    return checked.data;
  };

  return {
    ping: (node) => ask(pingAnswer, node, 'reach', '/ping'),
    status: (node) => ask(nodeStatus, node, 'read the status of', '/status'),
    async games(node, { config, after, limit }) {
      const query = `config=${encodeURIComponent(config)}&after=${after}&limit=${Math.min(limit, PAGE_GAMES_MAX)}`;
      const { body } = await exchange(node, 'pull games from', `/games?${query}`, { timeoutMs: MOVE_MS });
      return { nodeId: node.nodeId, body };
    },
    async matches(node, { after, limit }) {
      const { body } = await exchange(
        node,
        'pull matches from',
        `/matches?after=${after}&limit=${Math.min(limit, PAGE_GAMES_MAX)}`,
        {
          timeoutMs: MOVE_MS,
        },
      );
      return { nodeId: node.nodeId, body };
    },
    putModel: (node, { modelId, config, sha256 }, bytes) =>
      ask(
        modelReceipt,
        node,
        `send model ${modelId} to`,
        `/models/${encodeURIComponent(modelId)}?config=${encodeURIComponent(config)}&sha256=${sha256}`,
        {
          method: 'PUT',
          headers: { 'content-type': 'application/octet-stream' },
          body: bytes,
          timeoutMs: MOVE_MS,
        },
      ),
    setPointer: (node, { modelId, config, sha256 }) =>
      ask(modelRef, node, `switch to model ${modelId} on`, `/pointers/${encodeURIComponent(config)}`, {
        method: 'PUT',
        ...json({ modelId, sha256 }),
      }),
    async setDrain(node, drain) {
      await ask(drainAnswer, node, drain ? 'drain' : 'resume', '/drain', { method: 'POST', ...json({ drain }) });
    },
    async shutdown(node, reason) {
      await ask(shutdownAnswer, node, 'shut down', '/shutdown', { method: 'POST', ...json({ reason }) });
    },
  };
};

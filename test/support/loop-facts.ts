/** Facts of the loop, put on a floor by its own services: what the other daemons of the fleet would have left there. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Evaluation, Floor, Model, NodeRow, Shard } from '../../src/training/floor.ts';
import { game, gamesPage } from '../training/stores/support.ts';

export const CONFIG = 'square8_2p';

const sha256Of = (bytes: string): string => createHash('sha256').update(bytes).digest('hex');

export const putGames = async (floor: Floor, ids: readonly string[], config = CONFIG): Promise<void> => {
  const nodeId = `mill-${config}`;
  const after = (await floor.games.cursors(nodeId)).find((cursor) => cursor.config === config)?.seq ?? 0;
  const rows = ids.map((id) => game(`${config}-${id}`, { config }));
  await floor.games.ingest(gamesPage({ nodeId, after, next: after + rows.length }, rows, config));
};

/** Exports what waits; `rows` is what the shard says of itself. */
export const putShard = async (floor: Floor, rows: number, config = CONFIG): Promise<Shard> => {
  const range = (await floor.samples.openExport({ config, gamesMin: 1, gamesMax: 10_000 }))!;
  const bytes = `shard ${range.exportId}`;
  writeFileSync(range.shardFile, bytes);
  return floor.samples.completeExport({
    ...{ version: 1, jobId: range.exportId, ok: true, shardFile: range.shardFile, sha256: sha256Of(bytes) },
    ...{ bytes: bytes.length, games: range.games, rows, lastSeq: range.upToSeq, unreadable: 0, seconds: 1 },
  });
};

/** A candidate that has seen every shard. */
export const putModel = async (floor: Floor, key: string, config = CONFIG): Promise<Model> => {
  const modelId = await floor.models.reserve({ config, key });
  const file = join(dirname(floor.endpoints.file), 'made', `${modelId}.bin`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `weights of ${modelId}`);
  const { sha256 } = await floor.objects.put({ file, kind: 'model', name: modelId });
  const about = { rows: 1, steps: 1, loss: 0.1, trainedSeconds: 1 };
  const { model } = await floor.models.register({ modelId, config, parentId: null, sha256, ...about });
  const { shards } = await floor.samples.unseen(config);
  await floor.samples.markSeen({ modelId, shardIds: shards.map(({ shardId }) => shardId) });
  return model;
};

/** Result rows of a candidate against the baselines, and the champion if there is one. */
export const judge = async (floor: Floor, modelId: string, score: number): Promise<Evaluation> => {
  const { evaluation } = await floor.evaluations.enqueue({ modelId });
  await floor.evaluations.next();
  const opponents = ['random', 'greedy', ...(evaluation.championId === null ? [] : [evaluation.championId])];
  const wins = Math.round(score * 100);
  const { evaluation: done } = await floor.evaluations.complete({
    evaluationId: evaluation.evaluationId,
    rows: opponents.map((opponent) => ({
      ...{ opponent, games: 100, wins, draws: 0, losses: 100 - wins, score, stoppedEarly: false },
      ...{ low: Math.max(0, score - 0.1), high: Math.min(1, score + 0.1) },
    })),
  });
  return done;
};

/** Judged, decided for, and committed. @returns the promotion's id */
export const crown = async (floor: Floor, modelId: string, score = 0.9): Promise<string> => {
  const { championId, evaluationId } = await judge(floor, modelId, score);
  await floor.models.decide({ modelId, championId, promote: true, reasons: [] });
  await floor.models.promote(evaluationId);
  return evaluationId;
};

/** Judged and turned down. @returns the decision's id */
export const turnDown = async (floor: Floor, modelId: string, score = 0.4): Promise<string> => {
  const { championId, evaluationId } = await judge(floor, modelId, score);
  await floor.models.decide({ modelId, championId, promote: false, reasons: ['weaker'] });
  return evaluationId;
};

/** A live node of the inventory; nobody listens at its address. */
export const putNode = async (floor: Floor): Promise<NodeRow> => {
  const node = await floor.nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 1 });
  await floor.nodes.seen({ ...node, url: 'http://127.0.0.1:9', pid: 1, storeId: 's1' });
  return (await floor.nodes.get(node.nodeId))!;
};

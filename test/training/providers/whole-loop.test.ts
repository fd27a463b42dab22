/**
 * The loop once around, without a daemon: what the contracts promise, kept by the real programs and the real stores.
 * A node plays under a claim, its games are pulled, exported, trained on, judged, promoted and handed back to the node.
 */
import { expect } from 'chai';
import fastify, { type FastifyInstance } from 'fastify';
import { realClock } from '../../../src/seams/clock.ts';
import { realNetwork } from '../../../src/seams/real-network.ts';
import type { JobPaths } from '../../../src/training/floor.ts';
import {
  claimRequest,
  PROTOCOL_VERSION,
  workReport,
  type ClaimAnswer,
  type JobInput,
  type JobKind,
  type ReportAnswer,
  type WorkPayload,
} from '../../../src/training/programs/protocol.ts';
import { localProvider } from '../../../src/training/providers/local.ts';
import { openFloor, type OpenedFloor } from '../../../src/training/stores/open-floor.ts';
import { testWorld, type TestWorld } from './support.ts';

const CONFIG = 'square6_2p';
const clock = realClock();

/** What JOB_SCHEDULER does with a claim and a report, in its shortest form. */
const scheduler = (host: OpenedFloor): FastifyInstance => {
  const { queue, nodes } = host.floor;
  const server = fastify({ forceCloseConnections: true });
  server.post('/claim', async (request): Promise<ClaimAnswer> => {
    const { nodeId, runId, url, pid, storeId, kinds, cpus, memoryMb, models } = claimRequest.parse(request.body);
    const { known } = await nodes.seen({ nodeId, runId, url, pid, storeId });
    const item = known ? await queue.claim({ holder: nodeId, kinds, cpus, memoryMb, models, leaseSeconds: 10 }) : null;
    if (item !== null) await nodes.claimed({ nodeId, runId });
    return {
      version: PROTOCOL_VERSION,
      item: item && {
        itemId: item.itemId,
        token: item.token,
        attempt: item.attempts,
        leaseSeconds: 10,
        work: item.work,
      },
      retryAfterMs: 20,
      retire: !known,
    };
  });
  server.post('/report', async (request): Promise<ReportAnswer> => {
    const report = workReport.parse(request.body);
    const { accepted, abandon } =
      report.state === 'started'
        ? await queue.start(report)
        : report.state === 'progress'
          ? await queue.renew(report)
          : report.state === 'completed'
            ? await queue.complete({ ...report, result: report.result! })
            : await queue.fail({ ...report, reason: report.reason ?? '', retry: true });
    return { accepted, abandon };
  });
  return server;
};

describe('the loop once around', function () {
  this.timeout(60_000);
  let world: TestWorld;
  let host: OpenedFloor;
  let server: FastifyInstance;
  const until = async (what: string, happened: () => Promise<boolean>): Promise<void> => {
    const startedAt = clock.monotonicMs();
    while (!(await happened())) {
      if (clock.since(startedAt) > 30) throw new Error(`still waiting until ${what}`);
      await clock.sleep(25);
    }
  };
  const run = async (prepared: { command: string[]; paths: JobPaths }, kind: JobKind): Promise<void> => {
    const child = await world.spawn({ name: kind, command: prepared.command });
    expect((await child.process.exited).code, `${kind} program`).to.equal(0);
  };

  beforeEach(async () => {
    world = testWorld();
    host = await openFloor({ dataDir: world.folder, clock, network: realNetwork() });
    server = scheduler(host);
    const url = await server.listen({ host: '127.0.0.1', port: 0 });
    await host.floor.endpoints.announce({ scheduler: url });
  });
  afterEach(async () => {
    await world.close();
    await server.close();
    await host.close();
  });

  it('ends with a champion, made of games the node played, that the node plays with', async () => {
    const { games, queue, samples, models, evaluations, ratings, nodes, objects, jobs, pipeline } = host.floor;

    // A node starts and plays what the queue holds.
    const work: Extract<WorkPayload, { kind: 'selfplay' }> = {
      kind: 'selfplay',
      config: CONFIG,
      games: 60,
      exploration: 0.2,
      opponents: [{ agent: 'self', weight: 1 }],
      seed: 3,
    };
    await queue.enqueue([{ key: 'batch-1', priority: 50, work }]);
    const node = await nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 1 });
    const provider = localProvider(world);
    const settings = {
      kinds: ['selfplay', 'tournament'] as ('selfplay' | 'tournament')[],
      seed: 5,
      idlePollMs: 50,
      startMs: 20_000,
      nice: 5,
    };
    await provider.start(node, settings);
    await until('the batch is done', async () => (await queue.get('w1'))?.state === 'completed');
    expect((await nodes.get(node.nodeId))?.hasClaimed).to.equal(true);

    // Its games come home once, however often they are pulled.
    const status = await nodes.status(node.nodeId);
    expect(status.games).to.equal(60);
    for (const expected of [60, 0]) {
      const page = await nodes.pullGames({ nodeId: node.nodeId, config: CONFIG, after: 0, limit: 500 });
      expect(await games.ingest(page)).to.include({
        inserted: expected,
        refused: 0,
        cursor: status.lastSeq[CONFIG],
        total: 60,
      });
    }

    // They become a shard.
    const range = (await samples.openExport({ config: CONFIG, gamesMin: 50, gamesMax: 1000 }))!;
    const exporting: JobInput<'export'> = {
      version: PROTOCOL_VERSION,
      kind: 'export',
      jobId: range.exportId,
      config: CONFIG,
      resultFile: jobs.paths('export', range.exportId).resultFile,
      database: await games.database(CONFIG),
      afterSeq: range.afterSeq,
      upToSeq: range.upToSeq,
      rowsMax: 100_000,
      shardFile: range.shardFile,
    };
    await run(await jobs.prepare('export', exporting), 'export');
    const exported = await jobs.result('export', range.exportId);
    if (exported?.ok !== true) throw new Error(JSON.stringify(exported));
    expect(exported).to.include({ games: 60, unreadable: 0, lastSeq: range.upToSeq });
    const shard = await samples.completeExport(exported);
    await objects.index({ ...shard, kind: 'shard', name: shard.shardId });

    // The shard becomes a candidate.
    await queue.enqueue([
      {
        key: `train:${shard.shardId}`,
        priority: 80,
        work: { kind: 'training', config: CONFIG, shardIds: [shard.shardId], baseModelId: null, seed: 1 },
      },
    ]);
    const item = (await queue.claim({ holder: 'CONTINUOUS_TRAINING_LOOP', kinds: ['training'], leaseSeconds: 60 }))!;
    const modelId = await models.reserve({ config: CONFIG, key: item.itemId });
    const training = jobs.paths('train', item.itemId);
    const trainJob: JobInput<'train'> = {
      version: PROTOCOL_VERSION,
      kind: 'train',
      jobId: item.itemId,
      config: CONFIG,
      resultFile: training.resultFile,
      modelId,
      shards: [{ shardId: shard.shardId, file: shard.file, sha256: shard.sha256, rows: shard.rows }],
      base: null,
      modelFile: training.file('model.bin'),
      checkpointFile: training.file('checkpoint.bin'),
      progressFile: training.progressFile,
      seed: 1,
    };
    await run(await jobs.prepare('train', trainJob), 'train');
    const trained = await jobs.result('train', item.itemId);
    if (trained?.ok !== true) throw new Error(JSON.stringify(trained));
    const object = await objects.put({ file: trained.modelFile, kind: 'model', name: modelId });
    expect(object.sha256).to.equal(trained.sha256);
    const model = {
      modelId,
      config: CONFIG,
      parentId: null,
      sha256: object.sha256,
      rows: trained.rows,
      steps: trained.steps,
      loss: trained.losses.at(-1)!,
      trainedSeconds: trained.seconds,
    };
    await models.register(model);
    await samples.markSeen({ modelId, shardIds: [shard.shardId] });
    expect(
      await queue.complete({ ...item, result: { games: 0, matches: 0, seconds: trained.seconds, modelId } }),
    ).to.include({ accepted: true });

    // The candidate meets the baselines; its matches become ratings.
    await evaluations.enqueue({ modelId });
    const evaluation = (await evaluations.next())!;
    const judging = jobs.paths('evaluate', evaluation.evaluationId);
    const evaluateJob: JobInput<'evaluate'> = {
      version: PROTOCOL_VERSION,
      kind: 'evaluate',
      jobId: evaluation.evaluationId,
      config: CONFIG,
      resultFile: judging.resultFile,
      candidate: { modelId, file: object.file, sha256: object.sha256 },
      opponents: ['random', 'greedy'].map((agent) => ({
        agent,
        file: null,
        sha256: null,
        gamesMin: 20,
        gamesMax: 20,
        decideAt: null,
      })),
      matchesFile: judging.file('matches.json'),
      progressFile: judging.progressFile,
      seed: 1,
    };
    await run(await jobs.prepare('evaluate', evaluateJob), 'evaluate');
    const judged = await jobs.result('evaluate', evaluation.evaluationId);
    if (judged?.ok !== true) throw new Error(JSON.stringify(judged));
    for (const expected of [40, 0])
      expect(await ratings.mergeFile(judged.matchesFile)).to.include({ inserted: expected, refused: 0 });
    expect((await ratings.table(CONFIG)).map(({ agent }) => agent)).to.have.members([modelId, 'greedy', 'random']);
    await evaluations.complete({ evaluationId: evaluation.evaluationId, rows: judged.rows });

    // It is promoted, sent, and played with.
    const { decision } = await models.decide({ modelId, championId: null, promote: true, reasons: ['the first'] });
    expect((await models.promote(decision.decisionId)).outcome).to.equal('promoted');
    expect(await nodes.pushModel({ nodeId: node.nodeId, modelId })).to.include({
      sha256: object.sha256,
      bytes: object.bytes,
    });
    await nodes.setPointer({ nodeId: node.nodeId, modelId });
    await models.delivered({ modelId, nodeId: node.nodeId, runId: node.runId, state: 'in-use' });
    await queue.enqueue([
      { key: 'batch-2', priority: 50, work: { ...work, games: 5 } },
      {
        key: 'cup-1',
        priority: 40,
        work: { kind: 'tournament', config: CONFIG, agents: [modelId, 'random'], games: 6, seed: 1 },
      },
    ]);
    await until(
      'the next batches are done',
      async () => (await queue.list({ states: ['completed'], limit: 10 })).length === 4,
    );
    const { seq } = (await games.cursors(node.nodeId))[0]!;
    await games.ingest(await nodes.pullGames({ nodeId: node.nodeId, config: CONFIG, after: seq, limit: 500 }));
    expect((await games.page(CONFIG, { after: range.upToSeq, limit: 1 }))[0]!.agents).to.deep.equal([modelId, modelId]);
    expect(await ratings.merge(await nodes.pullMatches({ nodeId: node.nodeId, after: 0, limit: 500 }))).to.include({
      inserted: 6,
      refused: 0,
    });
    expect(await pipeline.evidence(CONFIG)).to.deep.include({
      games: 65,
      unseenShards: 0,
      missingShards: [],
      championId: modelId,
      championNodes: 1,
    });

    // And it goes when it is told to, its folder ready for the next run.
    await nodes.end({ ...node, state: 'retired', reason: 'the test is over' });
    await until('the node has left', async () => (await provider.alive(node)) === false);
    const next = await nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 1 });
    expect(next).to.include({ nodeId: node.nodeId, folder: node.folder, runId: 'local-1-r2' });
    await nodes.seen(await provider.start(next, settings));
    expect((await nodes.status(next.nodeId)).games).to.equal(65);
  });
});

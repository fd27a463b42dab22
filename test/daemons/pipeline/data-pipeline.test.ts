import { expect } from 'chai';
import { unlinkSync } from 'node:fs';
import { dataPipeline } from '../../../src/daemons/pipeline/data-pipeline.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { CONFIG, crown, putGames, putModel, putNode, putShard, turnDown } from '../../support/loop-facts.ts';

const QUICK = { periodSeconds: 0.1, gapSeconds: 0.02 };

describe('DATA_PIPELINE', function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  /** Stands in front of a service of the floor in the starts that follow. */
  let services: Record<string, unknown>;
  const reaches = (iteration: number, stage: string) =>
    bench.until(`iteration ${iteration} is at ${stage}`, async () => {
      const row = await bench.floor.pipeline.current(CONFIG);
      return row.iteration === iteration && row.stage === stage ? row : null;
    });

  beforeEach(async () => {
    services = {};
    bench = await openBench({ services });
  });
  afterEach(() => bench.close());

  it('an iteration goes round on what the stores hold, each stage with its artefacts, and the next one opens', async () => {
    const { floor } = bench;
    const node = await putNode(floor);
    await bench.start(dataPipeline, { ...QUICK, rowsMin: 100 });
    await bench.publish('SELFPLAY_COMPLETE', {
      ...{ itemId: 'w1', config: CONFIG, nodeId: node.nodeId, games: 2, modelId: null, seconds: 1 },
    });
    expect((await reaches(1, 'sync')).artefacts).to.include({ playedBy: node.nodeId });
    await putGames(floor, ['a', 'b']);
    await reaches(1, 'export');
    expect((await bench.waitFor('NEW_GAMES_AVAILABLE')).body).to.include({ config: CONFIG, games: 2, total: 2 });
    const shard = await putShard(floor, 120);
    expect((await reaches(1, 'train')).artefacts).to.include({ games: 2, unseenRows: 120, afterModel: 0 });
    expect(await bench.waitFor('TRAINING_THRESHOLD_REACHED')).to.deep.include({
      id: `threshold:${shard.shardId}`,
      body: { config: CONFIG, rows: 120, shards: 1 },
    });
    const { modelId } = await putModel(floor, 'one');
    expect((await reaches(1, 'evaluate')).artefacts).to.include({ modelId });
    await crown(floor, modelId);
    await reaches(1, 'distribute');
    await floor.models.delivered({ modelId, nodeId: node.nodeId, runId: node.runId, state: 'in-use' });
    await reaches(2, 'selfplay');
    expect(bench.events('TRAINING_THRESHOLD_REACHED')).to.have.length(1);
    expect(bench.health('DATA_PIPELINE').status).to.equal('healthy');
    await bench.stop('DATA_PIPELINE');
    expect(bench.left()).to.deep.equal([]);
  });

  it('what happened while it was down is found, without any event', async () => {
    const { floor } = bench;
    await putGames(floor, ['a']);
    await putShard(floor, 10);
    await turnDown(floor, (await putModel(floor, 'weak')).modelId);
    await putGames(floor, ['b']);
    await bench.start(dataPipeline, { ...QUICK, repairSeconds: 0.2 });
    await reaches(2, 'export');
    const candidate = await putModel(floor, 'nobody told of'); // its TRAINING_COMPLETED never came
    expect((await reaches(2, 'evaluate')).artefacts).to.include({ modelId: candidate.modelId });
    await bench.until('its evaluation is queued', async () => (await floor.evaluations.depth()) === 1);
  });

  it('a kill between the word about new games and its note: the next start tells each game once', async () => {
    services['games'] = { ...bench.floor.games, told: () => new Promise(() => undefined) };
    await putGames(bench.floor, ['a', 'b']);
    await bench.start(dataPipeline, QUICK);
    await bench.waitFor('NEW_GAMES_AVAILABLE');
    await putGames(bench.floor, ['c']);
    await bench.kill('DATA_PIPELINE');
    delete services['games'];
    await bench.start(dataPipeline, QUICK);
    await bench.waitFor('NEW_GAMES_AVAILABLE', ({ total }) => total === 3);
    expect(bench.events('NEW_GAMES_AVAILABLE').map(({ body }) => body.games)).to.deep.equal([2, 1]);
  });

  it('failures of a stage open its breaker, each counted once, and it says so', async () => {
    await putGames(bench.floor, ['a']);
    await bench.start(dataPipeline, QUICK);
    await reaches(1, 'export');
    for (let attempts = 1; attempts <= 3; attempts++)
      await bench.publish('NPZ_EXPORT_FAILED', { config: CONFIG, exportId: 'e', reason: 'disk full', attempts });
    const row = await bench.until('the breaker is open', async () => {
      const { breakerSeconds, ...more } = await bench.floor.pipeline.current(CONFIG);
      return breakerSeconds > 0 ? more : null;
    });
    expect(row).to.include({ failures: 3, lastFailure: 'export: disk full' });
    await bench.until('it shows', () => bench.health('DATA_PIPELINE').status === 'degraded');
    expect(bench.health('DATA_PIPELINE').message).to.equal(`${CONFIG} failed 3 times in export: export: disk full`);
  });

  it('a shard whose file is gone does not count as one, and is named', async () => {
    await putGames(bench.floor, ['a']);
    const shard = await putShard(bench.floor, 9_000);
    unlinkSync(shard.file);
    await bench.start(dataPipeline, QUICK);
    await bench.until('it shows', () => bench.health('DATA_PIPELINE').status === 'degraded');
    expect(bench.health('DATA_PIPELINE').message).to.equal(`the file of shard ${shard.shardId} is gone`);
    expect((await bench.floor.pipeline.current(CONFIG)).stage).to.equal('selfplay');
  });

  it('games that nodes reported and nobody brought home are asked for', async () => {
    await bench.start(dataPipeline, { ...QUICK, syncSeconds: 0.3 });
    await bench.publish('SELFPLAY_COMPLETE', {
      ...{ itemId: 'w1', config: CONFIG, nodeId: 'local-1', games: 2, modelId: null, seconds: 1 },
    });
    expect((await bench.waitFor('SYNC_REQUEST')).body).to.include({ nodeId: null, config: CONFIG });
  });

  it('under backpressure nobody is asked to train, and once it is released somebody is', async () => {
    await bench.start(dataPipeline, { ...QUICK, rowsMin: 1 });
    await bench.publish('BACKPRESSURE_ACTIVATED', { queue: 'evaluation', depth: 70, limit: 70 });
    await bench.until('it shows', () => String(bench.health('DATA_PIPELINE').details['backpressure']) === 'evaluation');
    await putGames(bench.floor, ['a']);
    await putShard(bench.floor, 10);
    await reaches(1, 'train');
    expect(bench.events('TRAINING_THRESHOLD_REACHED')).to.deep.equal([]);
    await bench.publish('BACKPRESSURE_RELEASED', { queue: 'evaluation', depth: 30, limit: 35 });
    await bench.waitFor('TRAINING_THRESHOLD_REACHED');
  });

  it('with the handle of pipeline.db closed it is unhealthy, and a later start mends it and goes on', async () => {
    await putGames(bench.floor, ['a']);
    await bench.start(dataPipeline, QUICK);
    await reaches(1, 'export');
    await bench.runtime.breakageOf('DATA_PIPELINE')!.break();
    await bench.until('it shows', () => bench.health('DATA_PIPELINE').status === 'unhealthy');
    await bench.kill('DATA_PIPELINE');
    await bench.start(dataPipeline, QUICK);
    await bench.runtime.breakageOf('DATA_PIPELINE')!.heal();
    await bench.until('it is well', () => bench.health('DATA_PIPELINE').status === 'healthy');
    await putShard(bench.floor, 10);
    await reaches(1, 'train');
  });

  it('a store of somebody else that is closed degrades it, and a restart is not asked for', async () => {
    await putGames(bench.floor, ['a']);
    await bench.start(dataPipeline, QUICK);
    await reaches(1, 'export');
    await bench.floor.handles.close('canonical');
    await bench.until('it shows', () => bench.health('DATA_PIPELINE').status === 'degraded');
    expect(bench.health('DATA_PIPELINE').message).to.contain('canonical/square8_2p.db: The database connection');
    const cycles = (): number => Number(bench.health('DATA_PIPELINE').details.cycles);
    const before = cycles();
    await bench.until('more cycles ran than an error rate needs', () => cycles() > before + 12);
    expect(bench.health('DATA_PIPELINE').status).to.equal('degraded');
    await bench.floor.handles.reopen('canonical');
    await bench.until('it is well', () => bench.health('DATA_PIPELINE').status === 'healthy');
  });
});

import { expect } from 'chai';
import { continuousTrainingLoop } from '../../../src/daemons/training/continuous-training-loop.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import type { NewWork, WorkItem } from '../../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { childOf, CONFIG, crashesOf, makeShard, sweepKills } from '../learning.ts';

const TYPE = 'CONTINUOUS_TRAINING_LOOP';
const NOW = { periodSeconds: 0.1, hidden: 8 };

describe(TYPE, function () {
  this.timeout(90_000);
  let bench: DaemonBench;
  const training = (key: string, shardIds: readonly string[], more: Partial<NewWork> = {}): NewWork => ({
    ...{ key, priority: 80, ...more },
    work: { kind: 'training', config: CONFIG, shardIds: [...shardIds], baseModelId: null, seed: 3 },
  });
  const order = async (work: NewWork): Promise<string> => {
    const { itemIds } = await bench.floor.queue.enqueue([work]);
    await bench.publish('WORK_QUEUED', { kind: 'training', config: CONFIG, items: 1 });
    return itemIds[0]!;
  };
  const itemOf = async (itemId: string): Promise<WorkItem> => (await bench.floor.queue.get(itemId))!;

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  it('an ordered training becomes a registered candidate, its shards are seen, and its item is closed', async () => {
    const shard = await makeShard(bench, 60, 1);
    await bench.start(continuousTrainingLoop, NOW);
    const itemId = await order(training('one', [shard.shardId]));
    const { body } = await bench.waitFor('TRAINING_COMPLETED');
    expect(body).to.include({ config: CONFIG, itemId, modelId: `${CONFIG}-v1`, baseModelId: null, rows: shard.rows });
    const model = (await bench.floor.models.get(body.modelId))!;
    expect(model).to.include({ state: 'candidate', sha256: body.sha256 });
    expect(await bench.floor.models.verify(body.modelId)).to.include({ ok: true });
    expect((await bench.floor.samples.unseen(CONFIG)).shards).to.deep.equal([]);
    await bench.until('the item is closed', async () => (await itemOf(itemId)).state === 'completed');
    await bench.until('its folder is gone', async () => (await bench.floor.jobs.result('train', itemId)) === null);
    expect(bench.events('TRAINING_STARTED')).to.have.length(1);
    expect(bench.events('TRAINING_LOSS_TREND')).to.have.length(1);
    await bench.stop(TYPE, { full: true });
    expect(bench.left()).to.deep.equal([]);
  });

  it('two orders are done one after the other, without an event for the second', async () => {
    const [first, second] = [await makeShard(bench, 30, 1), await makeShard(bench, 30, 2)];
    await bench.floor.queue.enqueue([training('one', [first.shardId]), training('two', [second.shardId])]);
    await bench.start(continuousTrainingLoop, { ...NOW, periodSeconds: 60 });
    await bench.waitFor('TRAINING_COMPLETED', ({ modelId }) => modelId === `${CONFIG}-v2`);
    expect(bench.events('TRAINING_COMPLETED')).to.have.length(2);
  });

  it('killed while its program trains, the next start takes the program over and makes one model', async () => {
    const shard = await makeShard(bench, 60, 1);
    await bench.start(continuousTrainingLoop, NOW);
    await order(training('one', [shard.shardId]));
    const child = await childOf(bench, TYPE);
    child.process.signalGroup('SIGSTOP');
    await bench.kill(TYPE);
    await bench.start(continuousTrainingLoop, NOW);
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 2);
    expect(bench.processes.live(TYPE).map(({ process }) => process.identity.pid)).to.deep.equal([
      child.process.identity.pid,
    ]);
    child.process.signalGroup('SIGCONT');
    await bench.waitFor('TRAINING_COMPLETED');
    await bench.until('the item is closed', async () => (await bench.floor.queue.depth())[0]?.state === 'completed');
    expect(bench.events('TRAINING_STARTED')).to.have.length(1);
    expect(await bench.floor.models.list({ limit: 9 })).to.have.length(1);
  });

  it('a program that is killed goes on from its checkpoint in the next attempt', async () => {
    const shard = await makeShard(bench, 300, 1);
    await bench.start(continuousTrainingLoop, { ...NOW, checkpointSteps: 2000, boards: 2_000_000, epochsMax: 100 });
    const itemId = await order(training('one', [shard.shardId]));
    const { file } = bench.floor.jobs.paths('train', itemId);
    await bench.until('there is a checkpoint', () => realFileSystem().exists(file('checkpoint.mlvn')));
    (await childOf(bench, TYPE)).process.signalGroup('SIGKILL');
    const { body } = await bench.waitFor('TRAINING_FAILED');
    expect(body).to.include({ itemId, final: false });
    expect(realFileSystem().exists(file('checkpoint.mlvn'))).to.equal(true);
    await bench.waitFor('TRAINING_COMPLETED');
    const log = realFileSystem().readText(`${bench.dataDir}/logs/${TYPE}-train.log`);
    expect(log).to.match(/goes on after \d+ boards/);
    expect((await itemOf(itemId)).attempts).to.equal(2);
  });

  it('a shard that was written over ends the item, since another attempt would meet it again', async () => {
    const shard = await makeShard(bench, 30, 1);
    realFileSystem().writeAtomically(shard.file, 'no shard');
    await bench.start(continuousTrainingLoop, NOW);
    const itemId = await order(training('one', [shard.shardId]));
    expect((await bench.waitFor('TRAINING_FAILED')).body).to.include({ itemId, final: true });
    await bench.until('the item has failed', async () => (await itemOf(itemId)).state === 'failed');
    expect(bench.health(TYPE).status).to.equal('degraded');
    await order(training('nothing', ['unknown']));
    await bench.waitFor('TRAINING_FAILED', ({ reason }) => reason.includes('not valid'));
  });

  it('an item that was given back while the daemon was away ends its program, and is trained once by the next claim', async () => {
    const shard = await makeShard(bench, 60, 1);
    await bench.start(continuousTrainingLoop, NOW);
    const itemId = await order(training('one', [shard.shardId]));
    const child = await childOf(bench, TYPE);
    child.process.signalGroup('SIGSTOP');
    await bench.kill(TYPE);
    await bench.floor.queue.release({ itemId, reason: 'its lease ran out' });
    await bench.start(continuousTrainingLoop, NOW);
    const { body } = await bench.waitFor('TRAINING_COMPLETED');
    expect(child.process.groupIsGone()).to.equal(true);
    expect(body.itemId).to.equal(itemId);
    expect(await bench.floor.models.list({ limit: 9 })).to.have.length(1);
  });

  it('killed before or after any call, every item makes one model and is told once', async () => {
    let itemId = '';
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: continuousTrainingLoop,
      config: { ...NOW, periodSeconds: 30 },
      stride: 3,
      async prepare(round) {
        const shard = await makeShard(bench, 10, round);
        itemId = await order(training(`item-${round}`, [shard.shardId]));
      },
      done: async () => (await itemOf(itemId)).state === 'completed',
      async check(round) {
        expect(await bench.floor.models.list({ limit: 500 })).to.have.length(round);
        expect(bench.events('TRAINING_COMPLETED').map(({ body }) => body.itemId)).to.have.length(round);
        expect(bench.events('TRAINING_FAILED')).to.deep.equal([]);
        expect((await bench.floor.samples.unseen(CONFIG)).shards).to.deep.equal([]);
      },
    });
    expect(kills).to.be.greaterThan(12);
  });
});

import { expect } from 'chai';
import { idleResource } from '../../../src/daemons/resource/idle-resource.ts';
import { jobScheduler } from '../../../src/daemons/queue/job-scheduler.ts';
import type { WorkItem } from '../../../src/training/floor.ts';
import { localProvider } from '../../../src/training/providers/local.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { crashesOf, sweepKills } from '../learning.ts';
import { bodiesOf, CONFIG, posedNode, selfplay, SETTINGS, worldOf, type PosedNode } from '../support.ts';

const TYPE = 'IDLE_RESOURCE';

describe('IDLE_RESOURCE', function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  const pose = async (idleSeconds: number): Promise<PosedNode> => {
    const node = await posedNode(bench);
    node.says.idleSeconds = idleSeconds;
    return node;
  };
  const start = (config: Record<string, unknown> = {}): Promise<void> =>
    bench.start(idleResource, { periodSeconds: 0.1, defaultConfig: CONFIG, batchGames: 10, ...config });
  const looks = (count = 2): Promise<unknown> => bench.cycles(TYPE, count);
  const items = (): Promise<WorkItem[]> => bench.floor.queue.list({ limit: 50 });

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  it('a real node without work is given a batch, and plays it', async () => {
    await bench.start(jobScheduler, { port: 0, periodSeconds: 0.2 });
    const row = await bench.floor.nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 1 });
    await bench.floor.nodes.seen(await localProvider(worldOf(bench)).start(row, SETTINGS));
    await start({ idleSeconds: 0.2 });
    const { body } = await bench.waitFor('SELFPLAY_COMPLETE');
    expect(body).to.include({ nodeId: row.nodeId, config: CONFIG, games: 10 });
    expect(bench.events('IDLE_RESOURCE_DETECTED')[0]?.body).to.include({ nodeId: row.nodeId, config: CONFIG });
    await bench.stop(TYPE);
    expect(bench.exits.at(-1)).to.include({ type: TYPE, failure: null, forced: false });
  });

  it('an idle node gets one batch per interval of its idleness, however often it is looked at', async () => {
    const node = await pose(5);
    await start();
    await bench.waitFor('IDLE_RESOURCE_DETECTED');
    await looks();
    expect(await items()).to.have.length(1);
    expect(bodiesOf(bench.events('WORK_QUEUED'))).to.deep.equal([
      { kind: 'selfplay', config: CONFIG, items: 1, games: 10 },
    ]);
    await bench.floor.queue.cancel({ itemId: 'w1', reason: 'nobody took it' });
    await looks();
    expect(await items(), 'within the same interval').to.have.length(1);
    node.says.idleSeconds = 25;
    await bench.until('the next interval', async () => (await items()).length === 2);
  });

  it('a crash between the queueing and the telling: the next start tells, and queues nothing', async () => {
    const node = await pose(5);
    await bench.floor.queue.enqueue([selfplay(`selfplay-idle:${node.row.runId}:0:0`)]);
    await start();
    await bench.waitFor('WORK_QUEUED');
    await bench.waitFor('IDLE_RESOURCE_DETECTED');
    await bench.kill(TYPE);
    await start();
    await looks();
    expect(await items()).to.have.length(1);
    expect(bench.events('IDLE_RESOURCE_DETECTED')).to.have.length(1);
  });

  it('nothing is given while other work waits, to a busy node, or to one that holds an item', async () => {
    const [busy, holding] = [await pose(5), await pose(5)];
    busy.says.current = { itemId: 'w9', kind: 'selfplay', config: CONFIG, done: 1, of: 5 };
    await bench.floor.queue.enqueue([selfplay('held')]);
    await bench.floor.queue.claim({ holder: holding.row.nodeId, kinds: ['selfplay'], leaseSeconds: 60 });
    await start();
    await looks();
    expect(await items()).to.have.length(1);
    await bench.floor.queue.enqueue([selfplay('waits')]);
    holding.says.itemsDone = 1;
    await bench.floor.queue.cancel({ itemId: 'w1', reason: 'done' });
    await looks();
    expect(await items()).to.have.length(2);
  });

  it('a full queue downstream stops it, over a restart too, until it is released', async () => {
    await start();
    const pressure = { queue: 'evaluations', depth: 80, limit: 70 };
    await bench.publish('BACKPRESSURE_ACTIVATED', pressure);
    const noted = (): boolean => (bench.health(TYPE).details['backpressure'] as string[]).length === 1;
    await bench.until('it is noted', noted);
    await bench.kill(TYPE);
    await pose(5);
    await start();
    await looks();
    expect(noted()).to.equal(true);
    expect(await items()).to.deep.equal([]);
    await bench.publish('BACKPRESSURE_RELEASED', { ...pressure, depth: 30 });
    await bench.waitFor('IDLE_RESOURCE_DETECTED');
  });

  it('what is played is the allocation of that node, good data before poor', async () => {
    const node = await pose(5);
    const target = (config: string, games: number) => ({
      config,
      games,
      exploration: 0.3,
      opponents: [{ agent: 'greedy', weight: 1 }],
    });
    await bench.floor.allocation.write({
      targets: [target('square8_2p', 500), target('hex8_2p', 100), target('square6_2p', 7)],
      quotas: [{ config: 'square6_2p', nodeId: node.row.nodeId, games: 7 }],
    });
    const judged = { afterSeq: 0, lastSeq: 500, games: 500, parts: {} };
    await bench.floor.quality.record({ ...judged, config: 'square6_2p', score: 0.9 });
    await start();
    expect((await bench.waitFor('IDLE_RESOURCE_DETECTED')).body.config).to.equal('square6_2p');
    expect((await items())[0]?.work).to.deep.include({ games: 7, exploration: 0.3 });
    await bench.floor.quality.record({
      ...judged,
      config: 'square6_2p',
      afterSeq: 500,
      lastSeq: 9000,
      games: 8500,
      score: 0.1,
    });
    await bench.floor.quality.record({ ...judged, config: 'square8_2p', score: 0.2 });
    await bench.floor.queue.cancel({ itemId: 'w1', reason: 'next' });
    node.says.itemsDone = 1;
    await bench.waitFor('IDLE_RESOURCE_DETECTED', (body) => body.config === 'hex8_2p');
  });

  it('killed at any call of the floor, it gives each idle node one batch and tells it once', async () => {
    const node = await pose(5);
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: idleResource,
      config: { periodSeconds: 0.05, defaultConfig: CONFIG },
      async prepare(round) {
        node.says.itemsDone = round;
        for (const { itemId } of await bench.floor.queue.list({ states: ['pending'], limit: 10 }))
          await bench.floor.queue.cancel({ itemId, reason: 'next round' });
      },
      done: (round) => bench.events('IDLE_RESOURCE_DETECTED').length >= round,
      async check(round) {
        expect(await items()).to.have.length(round);
        expect(bench.events('WORK_QUEUED')).to.have.length(round);
        expect(bench.events('IDLE_RESOURCE_DETECTED')).to.have.length(round);
      },
    });
    expect(kills).to.be.at.least(10);
  });
});

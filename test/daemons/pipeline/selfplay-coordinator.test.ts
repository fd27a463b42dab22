import { expect } from 'chai';
import fc from 'fast-check';
import { selfplayCoordinator, split } from '../../../src/daemons/pipeline/selfplay-coordinator.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { CONFIG, putGames, putModel, putNode, putShard } from '../../support/loop-facts.ts';

const QUICK = { periodSeconds: 0.1, gapSeconds: 0.02, gamesPerNode: 100, gamesStep: 10, gamesAhead: 60, trickle: 2 };

describe('a split in proportion', () => {
  it('gives whole numbers that add up, each within one of its share', () => {
    fc.assert(
      fc.property(
        fc.nat(10_000),
        fc.array(fc.double({ min: 0.01, max: 10, noNaN: true }), { minLength: 1 }),
        (total, shares) => {
          const parts = split(total, shares);
          const sum = shares.reduce((before, share) => before + share, 0);
          expect(parts.reduce((before, part) => before + part, 0)).to.equal(total);
          for (const [index, part] of parts.entries())
            expect(Math.abs(part - (total * shares[index]!) / sum)).to.be.lessThan(1.000001);
        },
      ),
    );
  });

  it('among nobody is nothing', () => {
    expect(split(10, [])).to.deep.equal([]);
  });
});

describe('SELFPLAY_COORDINATOR', function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  let services: Record<string, unknown>;
  const games = async (name = CONFIG): Promise<number | undefined> =>
    (await bench.floor.allocation.current()).targets.find((target) => target.config === name)?.games;
  const wants = (wanted: number, name = CONFIG) =>
    bench.until(`${name} wants ${wanted} games`, async () => (await games(name)) === wanted);

  beforeEach(async () => {
    services = {};
    bench = await openBench({ services });
  });
  afterEach(() => bench.close());

  it('what nobody has exported or trained on counts against the target, down to the trickle', async () => {
    const { floor } = bench;
    await bench.start(selfplayCoordinator, QUICK);
    await wants(60);
    await putGames(
      floor,
      Array.from({ length: 45 }, (_, index) => `a${index}`),
    );
    await wants(20);
    await putGames(
      floor,
      Array.from({ length: 30 }, (_, index) => `b${index}`),
    );
    await wants(2);
    await putShard(floor, 100); // exported, but no model has seen it
    await bench.publish('ELO_UPDATED', { config: CONFIG, matches: 1, champion: null, rating: null, error: null });
    await wants(2);
    await putModel(floor, 'one');
    await wants(60);
    expect((await bench.floor.allocation.current()).targets[0]).to.deep.include({
      exploration: 0.1,
      opponents: [
        { agent: 'self', weight: 0.6 },
        { agent: 'greedy', weight: 0.2 },
        { agent: 'random', weight: 0.2 },
      ],
    });
    await bench.stop('SELFPLAY_COORDINATOR');
    expect(bench.left()).to.deep.equal([]);
  });

  it('targets follow the settings of the feedback loop and are split over the nodes that answer', async () => {
    const { floor } = bench;
    const [one, two] = [await putNode(floor), await putNode(floor)];
    const configs = [{ config: CONFIG }, { config: 'hex8_2p' }];
    await floor.feedback.save({
      ...{ config: 'hex8_2p', intensity: 'normal', explorationBoost: 1.5, weight: 3, level: 2, reasons: [] },
    });
    await bench.start(selfplayCoordinator, { ...QUICK, gamesAhead: 1_000, configs });
    await wants(50);
    await wants(150, 'hex8_2p');
    const { targets, quotas } = await floor.allocation.current();
    expect(targets[1]).to.deep.include({
      exploration: 0.15,
      opponents: [
        { agent: 'self', weight: 0.9 },
        { agent: 'greedy', weight: 0.1 },
      ],
    });
    expect(quotas.map(({ config, nodeId, games: quota }) => [config, nodeId, quota])).to.deep.equal([
      [CONFIG, one.nodeId, 25],
      [CONFIG, two.nodeId, 25],
      ['hex8_2p', one.nodeId, 75],
      ['hex8_2p', two.nodeId, 75],
    ]);
    await bench.publish('HOST_OFFLINE', { nodeId: two.nodeId, reason: 'no answer' });
    await bench.until('the quotas are those of one', async () =>
      (await floor.allocation.current()).quotas.every(({ nodeId }) => nodeId === one.nodeId),
    );
    await wants(80, 'hex8_2p'); // 75, in steps of ten
    await bench.publish('HOST_ONLINE', { nodeId: two.nodeId, url: two.url });
    await wants(150, 'hex8_2p');
  });

  it('poor games get a smaller share, said once per verdict; backpressure leaves the trickle', async () => {
    await bench.floor.quality.record({ config: CONFIG, afterSeq: 0, lastSeq: 9, games: 9, score: 0.54, parts: {} });
    await bench.start(selfplayCoordinator, { ...QUICK, gamesAhead: 1_000 });
    await wants(90);
    expect((await bench.waitFor('QUALITY_PENALTY_APPLIED')).body).to.deep.include({ config: CONFIG, quality: 0.54 });
    await bench.publish('BACKPRESSURE_ACTIVATED', { queue: 'work', depth: 100, limit: 100 });
    await wants(2);
    expect(bench.health('SELFPLAY_COORDINATOR').status).to.equal('degraded');
    await bench.publish('BACKPRESSURE_RELEASED', { queue: 'work', depth: 1, limit: 100 });
    await wants(90);
    expect(bench.events('QUALITY_PENALTY_APPLIED')).to.have.length(1);
  });

  it('a kill after an allocation was written and before it was told: the next start tells what it changed, once', async () => {
    services['allocation'] = {
      ...bench.floor.allocation,
      write: async (rows: Parameters<typeof bench.floor.allocation.write>[0]) => {
        await bench.floor.allocation.write(rows);
        return new Promise(() => undefined);
      },
    };
    await bench.start(selfplayCoordinator, QUICK);
    await wants(60);
    await bench.kill('SELFPLAY_COORDINATOR');
    expect(bench.events('SELFPLAY_TARGET_UPDATED')).to.deep.equal([]);
    delete services['allocation'];
    for (let start = 0; start < 2; start++) {
      await bench.start(selfplayCoordinator, QUICK);
      await bench.until(
        'a round went through',
        () => Number(bench.health('SELFPLAY_COORDINATOR').details['rounds']) > 2,
      );
      await bench.kill('SELFPLAY_COORDINATOR');
    }
    expect(bench.events('SELFPLAY_TARGET_UPDATED').map(({ body }) => body)).to.deep.equal([
      { config: CONFIG, targetGames: 60, exploration: 0.1, version: 1 },
    ]);
    expect(bench.events('SELFPLAY_ALLOCATION_UPDATED')).to.have.length(1);
    expect(bench.events('SELFPLAY_RATE_CHANGED').map(({ body }) => body)).to.deep.equal([{ from: 0, to: 3_600 }]);
  });
});

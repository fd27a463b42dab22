import { expect } from 'chai';
import { autoSync } from '../../../src/daemons/sync/auto-sync.ts';
import { seededRandom } from '../../../src/seams/random.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { serveNode, type ServedNode } from '../../support/served-node.ts';

const CONFIG = 'square6_2p';

describe('AUTO_SYNC', function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  let nodes: ServedNode[];
  /** Stands in front of a service of the floor in the starts that follow. */
  let services: Record<string, unknown>;
  const serve = async (): Promise<ServedNode> => {
    const node = await serveNode(bench.floor);
    nodes.push(node);
    return node;
  };
  const total = async (): Promise<number> => (await bench.floor.games.total(CONFIG)).games;
  const inserted = (): number =>
    bench.events<{ inserted: number }>('DATA_SYNC_COMPLETED').reduce((sum, { body }) => sum + body.inserted, 0);

  beforeEach(async () => {
    services = {};
    nodes = [];
    bench = await openBench({ services });
  });
  afterEach(async () => {
    await bench.close();
    for (const node of nodes) await node.close();
  });

  it('games on two nodes are in the canonical store once, told with their counts, and nothing is left after a stop', async () => {
    const [one, two] = [await serve(), await serve()];
    await one.play(CONFIG, 30);
    await two.play(CONFIG, 20);
    await bench.start(autoSync, { pageGames: 7 });
    await bench.waitFor('DATA_SYNC_COMPLETED', ({ config, lastSeq }) => config === CONFIG && lastSeq >= 50);
    await one.play(CONFIG, 5);
    await bench.publish('SELFPLAY_COMPLETE', {
      ...{ itemId: 'w9', config: CONFIG, nodeId: one.row.nodeId, games: 5, modelId: null, seconds: 1 },
    });
    const last = await bench.waitFor('DATA_SYNC_COMPLETED', ({ total: all }) => all === 55);
    expect(await total()).to.equal(55);
    expect(inserted()).to.equal(55);
    expect(last.body).to.include({ config: CONFIG, total: 55 });
    expect(bench.events('HOST_ONLINE').map(({ body }) => body.nodeId)).to.have.members([
      one.row.nodeId,
      two.row.nodeId,
    ]);
    expect(bench.health('AUTO_SYNC')).to.deep.include({ status: 'healthy' });
    await bench.stop('AUTO_SYNC');
    expect(bench.left()).to.deep.equal([]);
  });

  it('a kill after the commit and before the word: the next start tells the same games once', async () => {
    const node = await serve();
    await node.play(CONFIG, 12);
    services['games'] = { ...bench.floor.games, news: () => new Promise(() => undefined) };
    await bench.start(autoSync);
    await bench.until('the games are committed', async () => (await total()) === 12);
    await bench.kill('AUTO_SYNC');
    expect(bench.events('DATA_SYNC_COMPLETED')).to.deep.equal([]);
    delete services['games'];
    await bench.start(autoSync);
    await bench.waitFor('DATA_SYNC_COMPLETED', ({ inserted: games }) => games === 12);
    expect(await total()).to.equal(12);
    expect(inserted()).to.equal(12);
  });

  it('a kill after the word and before it is noted: the next start says nothing twice', async () => {
    const node = await serve();
    await node.play(CONFIG, 4);
    services['games'] = { ...bench.floor.games, told: () => new Promise(() => undefined) };
    await bench.start(autoSync);
    await bench.waitFor('DATA_SYNC_COMPLETED');
    await node.play(CONFIG, 3);
    await bench.kill('AUTO_SYNC');
    delete services['games'];
    await bench.start(autoSync);
    await bench.waitFor('DATA_SYNC_COMPLETED', ({ total: all }) => all === 7);
    expect(bench.events('DATA_SYNC_COMPLETED').map(({ body }) => body.inserted)).to.deep.equal([4, 3]);
    expect(bench.events('HOST_ONLINE')).to.have.length(1);
  });

  it('killed again and again among its lines, it has told of every game once in the end', async () => {
    const node = await serve();
    const random = seededRandom(7);
    let played = 0;
    for (let start = 0; start < 12; start++) {
      await bench.start(autoSync, { periodSeconds: 0.02, gapSeconds: 0.01, pageGames: 3 });
      await node.play(CONFIG, 5);
      played += 5;
      await bench.clock.sleep(random.integer(40));
      await bench.kill('AUTO_SYNC');
    }
    await bench.start(autoSync);
    await bench.waitFor('DATA_SYNC_COMPLETED', ({ total: all }) => all === played);
    expect(await total()).to.equal(played);
    expect(inserted()).to.equal(played);
    expect(bench.events('HOST_ONLINE')).to.have.length(1);
    expect(bench.events('HOST_OFFLINE')).to.deep.equal([]);
  });

  it('a node that stops answering is said to be offline once, skipped, and synced when it is back', async () => {
    const [one, two] = [await serve(), await serve()];
    await bench.start(autoSync, { periodSeconds: 0.1, gapSeconds: 0.05, breakerSeconds: 0.2 });
    await bench.waitFor('HOST_ONLINE', ({ nodeId }) => nodeId === two.row.nodeId);
    await one.play(CONFIG, 6);
    await two.close();
    await bench.waitFor('HOST_OFFLINE', ({ nodeId }) => nodeId === two.row.nodeId);
    await bench.until('the other one is synced', async () => (await total()) === 6);
    expect(bench.events('DATA_SYNC_FAILED')[2]!.body).to.include({ nodeId: two.row.nodeId, failures: 3 });
    await two.play(CONFIG, 8);
    await two.reopen();
    await bench.until('it is back and synced', async () => (await total()) === 14);
    const words = [...bench.events('HOST_ONLINE'), ...bench.events('HOST_OFFLINE')].filter(
      ({ body }) => body.nodeId === two.row.nodeId,
    );
    expect(words.map(({ topic }) => topic)).to.deep.equal(['HOST_ONLINE', 'HOST_ONLINE', 'HOST_OFFLINE']);
  });

  it('games that stay on a node for too long are a stall, said once', async () => {
    const node = await serve();
    await node.play(CONFIG, 3);
    services['nodes'] = {
      ...bench.floor.nodes,
      pullGames: () => bench.floor.nodes.pullGames({ nodeId: 'nobody', config: CONFIG, after: 0, limit: 1 }),
    };
    await bench.start(autoSync, { periodSeconds: 0.1, gapSeconds: 0.05, breakerSeconds: 0.1, stalledSeconds: 0.5 });
    expect((await bench.waitFor('SYNC_STALLED')).body).to.include({ nodeId: node.row.nodeId, behind: 3 });
    await bench.waitFor('DATA_SYNC_FAILED', ({ failures }) => failures > 8);
    expect(bench.events('SYNC_STALLED')).to.have.length(1);
    expect(bench.health('AUTO_SYNC').status).to.equal('degraded');
  });

  it('with the handles of the canonical stores closed it is unhealthy, and a later start mends them and goes on', async () => {
    const node = await serve();
    await node.play(CONFIG, 3);
    await bench.start(autoSync, { periodSeconds: 0.1 });
    await bench.waitFor('DATA_SYNC_COMPLETED');
    await bench.runtime.breakageOf('AUTO_SYNC')!.break();
    await bench.until('it shows', () => bench.health('AUTO_SYNC').status === 'unhealthy');
    expect(bench.health('AUTO_SYNC').message).to.contain('The database connection is not open');
    await bench.kill('AUTO_SYNC');
    await bench.start(autoSync, { periodSeconds: 0.1 });
    await bench.runtime.breakageOf('AUTO_SYNC')!.heal();
    await node.play(CONFIG, 2);
    await bench.waitFor('DATA_SYNC_COMPLETED', ({ total: all }) => all === 5);
    await bench.until('it is well', () => bench.health('AUTO_SYNC').status === 'healthy');
  });

  it('a drill on a floor without any game finds a store to break', async () => {
    await bench.start(autoSync, { periodSeconds: 0.1 });
    await bench.runtime.breakageOf('AUTO_SYNC')!.break();
    await bench.until('it shows', () => bench.health('AUTO_SYNC').status === 'unhealthy');
    await bench.runtime.breakageOf('AUTO_SYNC')!.heal();
    await bench.until('it is well', () => bench.health('AUTO_SYNC').status === 'healthy');
  });
});

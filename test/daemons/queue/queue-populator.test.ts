import { expect } from 'chai';
import { queuePopulator } from '../../../src/daemons/queue/queue-populator.ts';
import { seededRandom } from '../../../src/seams/random.ts';
import type { WorkItem } from '../../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { CONFIG, crown, putGames, putModel, putShard } from '../../support/loop-facts.ts';

const QUICK = { periodSeconds: 0.1, gapSeconds: 0.02, itemGames: 10 };

describe('QUEUE_POPULATOR', function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  let services: Record<string, unknown>;
  const allocate = (games: number, exploration = 0.1) =>
    bench.floor.allocation.write({
      targets: [{ config: CONFIG, games, exploration, opponents: [{ agent: 'self', weight: 1 }] }],
      quotas: [],
    });
  const items = (kind: 'selfplay' | 'tournament'): Promise<WorkItem[]> =>
    bench.floor.queue.list({ kind, states: ['pending'], limit: 500 });
  const holds = (count: number) =>
    bench.until(`${count} self-play items wait`, async () => (await items('selfplay')).length === count);
  const rounds = (): number => Number(bench.health('QUEUE_POPULATOR').details['rounds']);
  const roundsMore = async (): Promise<void> => {
    const before = rounds();
    await bench.until('rounds went through', () => rounds() > before + 3);
  };
  /** Does one item; false when none waits. */
  const done = async (): Promise<boolean> => {
    const item = await bench.floor.queue.claim({ holder: 'local-1', kinds: ['selfplay'], leaseSeconds: 60 });
    if (item === null) return false;
    await bench.floor.queue.complete({ ...item, result: { games: 10, matches: 0, seconds: 1, modelId: null } });
    return true;
  };

  beforeEach(async () => {
    services = {};
    bench = await openBench({ services });
  });
  afterEach(() => bench.close());

  it('the queue holds what the allocation wants, no more however often it looks, and is filled again as work is done', async () => {
    await allocate(40);
    await bench.start(queuePopulator, QUICK);
    expect((await bench.waitFor('WORK_QUEUED')).body).to.deep.equal({
      ...{ kind: 'selfplay', config: CONFIG, items: 4, games: 40 },
    });
    await roundsMore();
    await holds(4);
    const [item] = await items('selfplay');
    expect(item!.work).to.deep.include({ games: 10, exploration: 0.1, opponents: [{ agent: 'self', weight: 1 }] });
    await done();
    await bench.waitFor('WORK_QUEUED', (body) => body.items === 1);
    await holds(4);
    await allocate(5, 0.2); // less than one item: small ones
    for (let all = 0; all < 4; all++) await done();
    await bench.until('a small one waits', async () =>
      (await items('selfplay')).some(
        ({ work }) => work.kind === 'selfplay' && work.games === 5 && work.exploration === 0.2,
      ),
    );
    await bench.stop('QUEUE_POPULATOR');
    expect(bench.left()).to.deep.equal([]);
  });

  it('self-play takes its share of the depth and leaves the rest to training', async () => {
    await allocate(10_000);
    await bench.start(queuePopulator, { ...QUICK, depth: 20, batch: 5 });
    await holds(12);
    await roundsMore();
    await holds(12);
  });

  it('a kill after items were queued and before they were told: the next start tells them once and queues no more', async () => {
    services['queue'] = {
      ...bench.floor.queue,
      enqueue: async (works: Parameters<typeof bench.floor.queue.enqueue>[0]) => {
        await bench.floor.queue.enqueue(works);
        return new Promise(() => undefined);
      },
    };
    await allocate(30);
    await bench.start(queuePopulator, QUICK);
    await holds(3);
    await bench.kill('QUEUE_POPULATOR');
    expect(bench.events('WORK_QUEUED')).to.deep.equal([]);
    delete services['queue'];
    for (let start = 0; start < 2; start++) {
      await bench.start(queuePopulator, QUICK);
      await roundsMore();
      await bench.kill('QUEUE_POPULATOR');
    }
    expect(bench.events('WORK_QUEUED').map(({ body }) => body)).to.deep.equal([
      { kind: 'selfplay', config: CONFIG, items: 3, games: 30 },
    ]);
    await holds(3);
  });

  it('killed again and again among its lines, it has told of every item once in the end', async () => {
    const random = seededRandom(11);
    for (let start = 0; start < 12; start++) {
      await allocate(30 + start);
      await bench.start(queuePopulator, { ...QUICK, periodSeconds: 0.02, gapSeconds: 0.01 });
      await bench.clock.sleep(random.integer(40));
      await bench.kill('QUEUE_POPULATOR');
      while (await done());
    }
    await bench.start(queuePopulator, QUICK);
    await holds(4);
    await roundsMore();
    const all = await bench.floor.queue.list({ kind: 'selfplay', limit: 500 });
    expect(bench.events('WORK_QUEUED').reduce((sum, { body }) => sum + Number(body.items), 0)).to.equal(all.length);
  });

  it('a champion meets the baselines and its forerunner once, and no longer when it is replaced', async () => {
    const { floor } = bench;
    const champion = async (key: string): Promise<string> => {
      await putGames(floor, [key]);
      await putShard(floor, 10);
      const { modelId } = await putModel(floor, key);
      await crown(floor, modelId);
      return modelId;
    };
    const agents = async (): Promise<string[]> =>
      (await items('tournament')).map(({ work }) => (work.kind === 'tournament' ? work.agents.join(' ') : '')).sort();
    const one = await champion('one');
    await allocate(10);
    await bench.start(queuePopulator, QUICK);
    await bench.until('cups wait', async () => (await agents()).length === 2);
    expect(await agents()).to.deep.equal([`${one} greedy`, `${one} random`]);
    const two = await champion('two');
    await bench.until('the new one plays', async () => (await agents()).includes(`${two} ${one}`));
    await roundsMore();
    expect(await agents()).to.deep.equal([`${two} greedy`, `${two} random`, `${two} ${one}`].sort());
    expect(bench.events('WORK_QUEUED').filter(({ body }) => body.kind === 'tournament')).to.have.length(5);
  });

  it('under backpressure one item waits for the rest; a config whose work fails for good is held back', async () => {
    await allocate(40);
    await bench.publish('BACKPRESSURE_ACTIVATED', { queue: 'work', depth: 9, limit: 9 });
    await bench.start(queuePopulator, { ...QUICK, periodSeconds: 60, itemGames: 40 });
    await holds(1);
    await bench.publish('WORK_FAILED', {
      ...{ itemId: 'w1', kind: 'selfplay', config: CONFIG, nodeId: 'local-1', token: 1, attempt: 3 },
      ...{ reason: 'cannot play', final: true },
    });
    await bench.until('it shows', () => bench.health('QUEUE_POPULATOR').status === 'degraded');
    expect(bench.health('QUEUE_POPULATOR').message).to.contain(`${CONFIG} is not queued for 1 s`);
  });

  it('configs that events say have failed are remembered up to a bound, whatever they are called', async () => {
    await allocate(10);
    await bench.start(queuePopulator, QUICK);
    for (let name = 0; name < 205; name++)
      await bench.publish('WORK_FAILED', {
        ...{ itemId: 'w1', kind: 'selfplay', config: `square${name}_2p`, nodeId: 'local-1', token: 1, attempt: 3 },
        ...{ reason: 'cannot play', final: true },
      });
    await bench.until('all were heard', () =>
      bench.router.ledger().some((row) => row.topic === 'WORK_FAILED' && row.handled === 205),
    );
    expect(bench.health('QUEUE_POPULATOR').details.bounds?.['configs_held']).to.deep.equal({ size: 200, limit: 200 });
  });

  it('closed items are forgotten beyond the bound', async () => {
    await allocate(10);
    await bench.start(queuePopulator, { ...QUICK, itemGames: 1, keepClosed: 100, periodSeconds: 0.02 });
    await bench.until('many are done', async () => {
      while (await done());
      return (await bench.floor.queue.list({ states: ['completed'], limit: 500 })).length >= 100;
    });
    for (let more = 0; more < 5; more++) await bench.until('another is done', done);
    await roundsMore();
    const closed = await bench.floor.queue.list({ states: ['completed'], limit: 500 });
    expect(closed).to.have.length(100);
  });
});

import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { availabilityProvisioner } from '../../../src/daemons/resource/availability-provisioner.ts';
import { idleShutdown } from '../../../src/daemons/resource/idle-shutdown.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { game, gamesPage } from '../../training/stores/support.ts';
import { crashesOf, sweepKills } from '../learning.ts';
import { posedNode, selfplay, type PosedNode } from '../support.ts';

const TYPE = 'IDLE_SHUTDOWN';
const CONFIG = 'square8_2p';

describe('IDLE_SHUTDOWN', function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  const pose = async (): Promise<PosedNode> => {
    const node = await posedNode(bench);
    node.says.idleSeconds = 1000;
    return node;
  };
  const start = (config: Record<string, unknown> = {}): Promise<void> =>
    bench.start(idleShutdown, { periodSeconds: 0.1, drainSeconds: 0.3, idleSeconds: 900, ...config });
  const looks = (count = 2): Promise<unknown> => bench.cycles(TYPE, count);
  const stateOf = async ({ row }: PosedNode): Promise<string | undefined> =>
    (await bench.floor.nodes.get(row.nodeId))?.state;

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  it('an idle node is drained, then stopped, its saving booked and its end told once; the last one stays', async () => {
    const [one, two] = [await pose(), await pose()];
    await start();
    await bench.until('it is drained', async () => (await stateOf(one)) === 'draining');
    await bench.until('the node was told', () => one.says.draining);
    const told = await bench.waitFor('NODE_TERMINATED');
    expect(told.body).to.include({ nodeId: 'local-1', runId: 'local-1-r1', unsyncedGames: 0 });
    expect(await stateOf(one)).to.equal('retired');
    expect(one.shutdowns).to.have.length(1);
    expect((await bench.floor.capacity.spend()).saved).to.equal(2);
    await looks(4);
    expect(await stateOf(two)).to.equal('live');
    expect(bench.events('NODE_TERMINATED')).to.have.length(1);
    await bench.stop(TYPE);
    expect(bench.left()).to.deep.equal([]);
  });

  it('games that are not home yet are asked for once, and the node stays until they are', async () => {
    const [one] = [await pose(), await pose()];
    one.says.lastSeq = { [CONFIG]: 1 };
    await start();
    const request = await bench.waitFor('SYNC_REQUEST');
    expect(request.body).to.include({ nodeId: 'local-1', config: null });
    await looks(4);
    expect(await stateOf(one)).to.equal('draining');
    expect(bench.events('SYNC_REQUEST')).to.have.length(1);
    await bench.floor.games.ingest(gamesPage({ after: 0, next: 1 }, [game('a')]));
    expect((await bench.waitFor('NODE_TERMINATED')).body).to.include({ nodeId: 'local-1', unsyncedGames: 0 });
  });

  it('any sign of work takes a drain back: a batch in hand, a claim, waiting work, a training', async () => {
    const [one] = [await pose(), await pose()];
    await start({ drainSeconds: 60 });
    const drained = (): Promise<unknown> =>
      bench.until('it is drained', async () => (await stateOf(one)) === 'draining' && one.says.draining);
    const back = (why: string): Promise<unknown> =>
      bench.until(`it is taken back: ${why}`, () =>
        bench.log.some((line) => line.includes('no longer drained: ') && line.includes(why)),
      );
    const work = { itemId: 'w1', kind: 'selfplay', config: CONFIG } as const;

    await drained();
    one.says.current = { ...work, done: 1, of: 5 };
    await back('it has w1 in hand');
    one.says.current = null;
    await drained();
    await bench.publish('WORK_CLAIMED', { ...work, nodeId: 'local-1', token: 1, attempt: 1 });
    await back('it claimed w1');
    await drained();
    await bench.publish('TRAINING_STARTED', {
      ...{ config: CONFIG, itemId: 'w2', modelId: 'square8_2p-v1', baseModelId: null, shards: 1, rows: 1 },
    });
    await back('square8_2p-v1 is trained');
    await drained();
    await bench.floor.queue.enqueue(['a', 'b', 'c'].map((key) => selfplay(key)));
    await back('work waits');
    await looks();
    expect(await stateOf(one)).to.equal('live');
    expect(bench.events('NODE_TERMINATED')).to.deep.equal([]);
  });

  it('a wanted node is not stopped; a plan that grows takes a drain back', async () => {
    const [one] = [await pose(), await pose()];
    await bench.floor.capacity.advise({ wanted: 2, reason: 'a long queue' });
    await start({ drainSeconds: 60 });
    await looks(4);
    expect(await stateOf(one)).to.equal('live');
    await bench.floor.capacity.advise({ wanted: 1, reason: 'an empty one' });
    await bench.until('it is drained', async () => (await stateOf(one)) === 'draining');
    await bench.floor.capacity.advise({ wanted: 2, reason: 'a long queue' });
    await bench.until('it is taken back', async () => (await stateOf(one)) === 'live' && !one.says.draining);
  });

  it('a crash right after a node was retired: the next start says goodbye, books and tells, once', async () => {
    const one = await pose();
    await bench.floor.nodes.end({ ...one.row, state: 'retired', reason: 'idle for 1000 s' });
    await start();
    expect((await bench.waitFor('NODE_TERMINATED')).body).to.include({ nodeId: 'local-1', reason: 'idle for 1000 s' });
    await bench.until('all of it is done', async () => (await bench.floor.nodes.untold()).length === 0);
    await bench.kill(TYPE);
    await start();
    await looks();
    expect(one.shutdowns).to.have.length(1);
    expect((await bench.floor.capacity.spend()).saved).to.equal(2);
    expect(bench.events('NODE_TERMINATED')).to.have.length(1);
  });

  it('a crash in the middle of a drain: the next start goes on with it', async () => {
    const [one] = [await pose(), await pose()];
    await start({ drainSeconds: 60 });
    await bench.until('it is drained', async () => (await stateOf(one)) === 'draining');
    await bench.kill(TYPE);
    one.says.draining = false; // the node was never reached
    await start({ drainSeconds: 0.1 });
    await bench.waitFor('NODE_TERMINATED');
    expect(one.says.draining).to.equal(true);
  });

  it('real nodes: the one too many leaves its process table, and nobody starts it again', async () => {
    await bench.floor.capacity.advise({ wanted: 2, reason: 'a long queue' });
    await bench.start(availabilityProvisioner, {
      ...{ periodSeconds: 0.3, watchSeconds: 0.2, nodesMin: 1 },
      node: { idlePollMs: 50, nice: 5 },
    });
    const live = () => bench.floor.nodes.list({ states: ['live'] });
    await bench.until('two nodes live', async () => (await live()).length === 2);
    const [first] = await live();
    await bench.floor.capacity.advise({ wanted: 1, reason: 'an empty one' });
    await start({ idleSeconds: 0.2 });
    await bench.waitFor('NODE_TERMINATED');
    await bench.until('its process is gone', () => !existsSync(`/proc/${first!.pid}`));
    await bench.until(
      'the provisioner saw that',
      () => bench.health('AVAILABILITY_PROVISIONER').details['processes'] === 1,
    );
    expect((await live()).map(({ nodeId }) => nodeId)).to.deep.equal(['local-2']);
    expect(bench.events('NODE_TERMINATED')).to.have.length(1);
  });

  it('killed at any call of the floor, it stops an idle node once, with one saving and one word', async () => {
    let latest: PosedNode | null = null as PosedNode | null;
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: idleShutdown,
      config: { periodSeconds: 0.05, drainSeconds: 0.05, idleSeconds: 900, keep: 0 },
      async prepare() {
        latest = await pose();
      },
      done: async (round) =>
        bench.events('NODE_TERMINATED').length >= round && (await bench.floor.nodes.untold()).length === 0,
      async check(round) {
        expect(bench.events('NODE_TERMINATED')).to.have.length(round);
        expect((await bench.floor.capacity.spend()).saved).to.equal(2 * round);
        const [node] = await bench.floor.nodes.list();
        expect(node).to.include({ state: 'retired', runId: `local-1-r${round}` });
        expect(latest?.shutdowns.length).to.be.at.least(1);
      },
    });
    expect(kills).to.be.at.least(15);
  });
});

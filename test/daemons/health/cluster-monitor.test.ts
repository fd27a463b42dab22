import { expect } from 'chai';
import { bandOf, clusterMonitor } from '../../../src/daemons/health/cluster-monitor.ts';
import { localProvider } from '../../../src/training/providers/local.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { crashesOf, sweepKills } from '../learning.ts';
import { bodiesOf, posedNode, selfplay, SETTINGS, worldOf, type PosedNode } from '../support.ts';

const TYPE = 'CLUSTER_MONITOR';

describe('CLUSTER_MONITOR', function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  const pose = (): Promise<PosedNode> => posedNode(bench);
  const start = (config: Record<string, unknown> = {}): Promise<void> =>
    bench.start(clusterMonitor, { periodSeconds: 0.1, ...config });
  const looks = (count = 2): Promise<unknown> => bench.cycles(TYPE, count);

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  it('a real node is in the picture with what it uses and makes', async () => {
    const row = await bench.floor.nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 1 });
    await bench.floor.nodes.seen(await localProvider(worldOf(bench)).start(row, SETTINGS));
    await start();
    expect((await bench.waitFor('CLUSTER_STATUS_CHANGED')).body).to.deep.equal({
      live: 1,
      idle: 1,
      offline: 0,
      status: 'healthy',
    });
    expect((await bench.waitFor('CLUSTER_CAPACITY_CHANGED')).body).to.include({ live: 1 });
    const [picture] = await bench.until('it is stored', async () => {
      const found = await bench.floor.cluster.list();
      return found.length === 1 ? found : null;
    });
    expect(picture).to.include({ nodeId: row.nodeId, runId: row.runId, up: true, currentItemId: null, games: 0 });
    expect(picture!.residentBytes).to.be.greaterThan(1_000_000);
    await bench.stop(TYPE);
    expect(bench.exits.at(-1)).to.include({ failure: null, forced: false });
  });

  it('a node that falls silent keeps its figures and is told once; a stranger at its address does not bring it back', async () => {
    const [one, two] = [await pose(), await pose()];
    one.says.games = 7;
    await start();
    await bench.waitFor('CLUSTER_STATUS_CHANGED', (body) => body.status === 'healthy');
    await one.close();
    await bench.waitFor('CLUSTER_STATUS_CHANGED', (body) => body.status === 'degraded');
    await looks();
    expect((await bench.floor.cluster.list())[0]).to.include({ up: false, games: 7, gamesPerMinute: 0 });
    await bench.floor.nodes.seen({ ...one.row, url: two.row.url!, pid: 1, storeId: 's1' });
    await looks();
    expect(bodiesOf(bench.events('CLUSTER_CAPACITY_CHANGED')).map(({ live }) => live)).to.deep.equal([2, 1]);
  });

  it('a restart tells nothing again that was told, and what changed meanwhile once', async () => {
    const one = await pose();
    await start();
    await bench.waitFor('CLUSTER_CAPACITY_CHANGED');
    await bench.kill(TYPE);
    await start();
    await looks();
    expect(bench.events('CLUSTER_STATUS_CHANGED')).to.have.length(1);
    await bench.kill(TYPE);
    await one.close();
    await start();
    await bench.waitFor('CLUSTER_STATUS_CHANGED', (body) => body.status === 'down');
    await looks();
    expect(bodiesOf(bench.events('CLUSTER_CAPACITY_CHANGED')).map(({ live }) => live)).to.deep.equal([1, 0]);
  });

  it('a node over its share is told once per interval of its own uptime', async () => {
    const one = await pose();
    Object.assign(one.says, { uptimeSeconds: 10, cpuSeconds: 30 });
    await start({ overloadSeconds: 1000 });
    expect((await bench.waitFor('NODE_OVERLOADED')).body).to.include({ nodeId: one.row.nodeId, cpu: 3 });
    Object.assign(one.says, { uptimeSeconds: 20, cpuSeconds: 70 });
    await looks();
    expect(bench.events('NODE_OVERLOADED')).to.have.length(1);
    Object.assign(one.says, { uptimeSeconds: 1020, cpuSeconds: 5070 });
    await bench.waitFor('NODE_OVERLOADED', (body) => body.cpu === 5);
  });

  it('a node that has only just started is not called overloaded for starting', async () => {
    const one = await pose();
    Object.assign(one.says, { uptimeSeconds: 0.4, cpuSeconds: 1 });
    await start({ overloadSeconds: 1000 });
    await looks();
    Object.assign(one.says, { uptimeSeconds: 100.4, cpuSeconds: 21 });
    await looks();
    expect(bench.events('NODE_OVERLOADED')).to.deep.equal([]);
  });

  it('nodes that make no game while work waits have stalled; any new game ends that', async () => {
    const one = await pose();
    one.says.games = 3;
    await bench.floor.queue.enqueue([selfplay('a')]);
    await start({ stallSeconds: 0.3 });
    expect((await bench.waitFor('CLUSTER_STALL_DETECTED')).body).to.include({ live: 1, pending: 1 });
    await looks(4);
    expect(bench.events('CLUSTER_STALL_DETECTED')).to.have.length(1);
    one.says.games = 4;
    await bench.until('it stalls at another number', () => bench.events('CLUSTER_STALL_DETECTED').length === 2);
  });

  it('a retired node leaves the picture', async () => {
    const [one] = [await pose(), await pose()];
    await start();
    await bench.waitFor('CLUSTER_CAPACITY_CHANGED', (body) => body.live === 2);
    await bench.floor.nodes.end({ ...one.row, state: 'retired', reason: 'idle' });
    await bench.publish('NODE_TERMINATED', {
      nodeId: one.row.nodeId,
      runId: one.row.runId,
      pool: 'local',
      reason: 'idle',
      unsyncedGames: 0,
    });
    await bench.waitFor('CLUSTER_CAPACITY_CHANGED', (body) => body.live === 1);
    await looks();
    expect((await bench.floor.cluster.list()).map(({ nodeId }) => nodeId)).to.deep.equal(['local-2']);
    expect(bodiesOf(bench.events('CLUSTER_STATUS_CHANGED')).map(({ status }) => status)).to.deep.equal(['healthy']);
  });

  it('the band of a picture follows the share that answers', () => {
    const rows = (text: string): { up: boolean }[] => [...text].map((letter) => ({ up: letter === 'u' }));
    expect(['', 'uu', 'ud', 'uud', 'udd', 'dd'].map((text) => bandOf(rows(text)))).to.deep.equal([
      'empty',
      'healthy',
      'degraded',
      'degraded',
      'down',
      'down',
    ]);
  });

  it('killed at any call of the floor, it tells each change of the cluster once', async () => {
    let node: PosedNode | null = null;
    const lives = () => bodiesOf(bench.events('CLUSTER_CAPACITY_CHANGED')).map(({ live }) => live as number);
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: clusterMonitor,
      config: { periodSeconds: 0.05 },
      async prepare() {
        if (node === null) {
          node = await pose();
          return;
        }
        await node.close();
        await bench.floor.nodes.end({ ...node.row, state: 'lost', reason: 'the test says so' });
        node = null;
      },
      done: (round) => lives().length >= round,
      check(round) {
        expect(lives()).to.deep.equal(Array.from({ length: round }, (_, index) => (index + 1) % 2));
      },
    });
    expect(kills).to.be.at.least(4);
  });
});

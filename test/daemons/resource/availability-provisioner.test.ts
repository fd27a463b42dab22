import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { availabilityProvisioner } from '../../../src/daemons/resource/availability-provisioner.ts';
import { jobScheduler } from '../../../src/daemons/queue/job-scheduler.ts';
import type { NodeRow, NodeState } from '../../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { crashesOf, sweepKills } from '../learning.ts';
import { selfplay } from '../support.ts';

const TYPE = 'AVAILABILITY_PROVISIONER';

describe('AVAILABILITY_PROVISIONER', function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  const start = (config: Record<string, unknown> = {}): Promise<void> =>
    bench.start(availabilityProvisioner, {
      ...{ periodSeconds: 0.5, watchSeconds: 0.2, retrySeconds: 0.2, graceSeconds: 3 },
      node: { idlePollMs: 50, nice: 5 },
      ...config,
    });
  const schedule = (): Promise<void> => bench.start(jobScheduler, { port: 0, periodSeconds: 0.2 });
  const batches = (count: number, games = 20): Promise<unknown> =>
    bench.floor.queue.enqueue(Array.from({ length: count }, (_, n) => selfplay(`batch-${n}`, { games })));
  const rows = (state: NodeState): Promise<NodeRow[]> => bench.floor.nodes.list({ states: [state] });
  const live = (count: number): Promise<NodeRow[]> =>
    bench.until(`${count} nodes live`, async () => {
      const found = await rows('live');
      return found.length === count ? found : null;
    });
  const pids = (): number[] => bench.processes.live(TYPE).map(({ process }) => process.identity.pid);
  const runs = (pid: number): boolean => existsSync(`/proc/${pid}`);

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  it('an empty floor gets its minimum at once; a killed daemon finds its nodes again and starts none beside them', async () => {
    await schedule();
    await batches(40);
    await start({ periodSeconds: 300 });
    const nodes = await live(2);
    for (const { nodeId, runId } of nodes)
      expect((await bench.waitFor('NODE_PROVISIONED', (body) => body.nodeId === nodeId)).body).to.include({
        runId,
        pool: 'local',
        provider: 'local',
      });
    const before = pids();
    expect(before.every(runs)).to.equal(true);

    await bench.kill(TYPE);
    expect(before.every(runs), 'they play on').to.equal(true);
    await start();
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 3);
    expect(pids()).to.deep.equal(before);
    expect((await rows('live')).map(({ runId }) => runId)).to.deep.equal(nodes.map(({ runId }) => runId));
    expect(bench.health(TYPE).details).to.include({ live: 2, wanted: 2, processes: 2 });
    expect(bench.events('NODE_PROVISIONED')).to.have.length(2);

    await bench.stop(TYPE, { full: true });
    await bench.stop('JOB_SCHEDULER');
    expect(bench.left()).to.deep.equal([]);
    expect(before.some(runs)).to.equal(false);
  });

  it('a daemon killed while a node starts: the next start finishes that run, and only that one', async () => {
    await start({ nodesMin: 1 });
    await bench.until('the process is there', () => pids().length === 1);
    await bench.kill(TYPE);
    expect(await rows('starting')).to.have.length(1);
    await start({ nodesMin: 1 });
    const [node] = await live(1);
    expect(node).to.include({ nodeId: 'local-1', runId: 'local-1-r1' });
    expect(pids()).to.deep.equal([node!.pid]);
  });

  it('a node that dies is told as gone and comes back in the same folder with its games', async () => {
    await schedule();
    await batches(2, 10);
    await start({ nodesMin: 1 });
    const [first] = await live(1);
    await bench.waitFor('NODE_PROVISIONED');
    await bench.until('both batches are played', () => bench.events('SELFPLAY_COMPLETE').length === 2);
    process.kill(first!.pid!, 'SIGKILL');
    const gone = await bench.waitFor('NODE_TERMINATED');
    expect(gone.body).to.include({ nodeId: 'local-1', runId: 'local-1-r1' });
    const [second] = await live(1);
    expect(second).to.include({ nodeId: 'local-1', runId: 'local-1-r2', folder: first!.folder });
    expect((await bench.floor.nodes.status('local-1')).games).to.be.at.least(20);
    await bench.until('it went on', () => Number(bench.health(TYPE).details.live) === 1);
    expect(bench.events('NODE_TERMINATED')).to.have.length(1);
  });

  it('the plan wants more: one is started on CAPACITY_LOW, and never more than the most allowed', async () => {
    await start({ periodSeconds: 300, nodesMin: 1, nodesMax: 2 });
    await live(1);
    await bench.floor.capacity.advise({ wanted: 9, reason: 'a long queue' });
    await bench.publish('CAPACITY_LOW', { live: 1, wanted: 9, pending: 100, drainSeconds: null });
    await live(2);
    await bench.publish('CAPACITY_LOW', { live: 2, wanted: 9, pending: 100, drainSeconds: null });
    await bench.until('that was handled', () =>
      bench.router.ledger().some((row) => row.topic === 'CAPACITY_LOW' && row.handled === 2),
    );
    expect(pids()).to.have.length(2);
  });

  it('a node without work stays; one that cannot claim waiting work is rolled back', async () => {
    await start({ nodesMin: 1, claimSeconds: 0.2, retrySeconds: 60 });
    const [node] = await live(1);
    await bench.until('it has been looked at', async () => (await bench.floor.nodes.get('local-1'))!.runSeconds > 0.6);
    expect((await bench.floor.nodes.get('local-1'))?.state).to.equal('live');
    await batches(1);
    await bench.floor.endpoints.announce({ scheduler: 'http://127.0.0.1:9' }); // a scheduler it cannot reach
    const failed = await bench.waitFor('PROVISION_FAILED');
    expect(failed.body.reason).to.include('claimed nothing');
    expect(runs(node!.pid!)).to.equal(false);
    expect((await bench.floor.nodes.get('local-1'))?.state).to.equal('failed');
    await bench.until('health says so', () => bench.health(TYPE).status === 'degraded');
  });

  it('a start that fails leaves nothing, is told with its reason, and is tried again after a pause', async () => {
    const exec = { name: 'cloud', start: ['sh', '-c', 'exit 3'], stop: ['true'] };
    await start({ nodesMin: 1, exec, startSeconds: 5 });
    const first = await bench.waitFor('PROVISION_FAILED');
    expect(first.body.reason).to.include('exited with code 3');
    await bench.until('it was tried again', () => bench.events('PROVISION_FAILED').length >= 2);
    expect((await bench.floor.nodes.list()).map(({ nodeId, provider }) => [nodeId, provider])).to.deep.equal([
      ['local-1', 'cloud'],
    ]);
    await bench.stop(TYPE);
    expect(bench.left()).to.deep.equal([]);
  });

  it('without money nothing is started, and that is told once', async () => {
    await bench.floor.capacity.meter({ nodeId: 'x', runId: 'x-r1', uptimeSeconds: 3600, pricePerHour: 10 });
    await start({ budgetHour: 5 });
    expect((await bench.waitFor('BUDGET_EXCEEDED')).body).to.deep.equal({ period: 'hour', spent: 10, budget: 5 });
    await bench.until('it has looked again', () => Number(bench.health(TYPE).details.cycles) > 6);
    expect(bench.events('BUDGET_EXCEEDED')).to.have.length(1);
    expect(await bench.floor.nodes.list()).to.deep.equal([]);
  });

  it('a node that cannot be judged for a broken store hinders it: none is begun beside it until that is mended, and then without waiting for the period', async () => {
    await start({ periodSeconds: 300, nodesMin: 1, claimSeconds: 0.2 });
    await live(1);
    await bench.floor.handles.close('queue');
    await bench.floor.endpoints.announce({ scheduler: 'http://127.0.0.1:9' }); // whether work waits is asked from now on
    await bench.until('it is hindered', () => bench.health(TYPE).message.includes('connection is not open'));
    await bench.floor.capacity.advise({ wanted: 2, reason: 'a long queue' });
    await bench.publish('CAPACITY_LOW', { live: 1, wanted: 2, pending: 100, drainSeconds: null });
    await bench.until('that was handled', () =>
      bench.router.ledger().some((row) => row.topic === 'CAPACITY_LOW' && row.handled === 1),
    );
    expect(bench.health(TYPE).status).to.equal('degraded');
    expect(pids()).to.have.length(1);
    await bench.floor.handles.reopen('queue');
    await live(2);
    await bench.until('it is well', () => bench.health(TYPE).status === 'healthy');
  });

  it('a retired node that does not leave is ended', async () => {
    await start({ periodSeconds: 300, nodesMin: 1, graceSeconds: 0.5 });
    const [node] = await live(1);
    await bench.floor.nodes.end({ ...node!, state: 'retired', reason: 'not wanted' });
    await bench.until('its process is gone', () => !runs(node!.pid!));
    expect(pids()).to.deep.equal([]);
    expect(bench.events('NODE_TERMINATED')).to.deep.equal([]);
  });

  it('killed at calls of the floor, it brings the missing node up once, and tells once that the last one is gone', async () => {
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: availabilityProvisioner,
      config: { periodSeconds: 0.2, watchSeconds: 0.2, nodesMin: 1, node: { idlePollMs: 1000, nice: 5 } },
      stride: 6,
      prepare: () => Promise.resolve(), // the stop of the last round took the node with it
      async done(round) {
        const [node] = await rows('live');
        const gone = bench.events('NODE_TERMINATED').length >= round - 1;
        return node !== undefined && node.runId === `local-1-r${round}` && pids()[0] === node.pid && gone;
      },
      async check(round) {
        expect((await bench.floor.nodes.list()).map(({ runId }) => runId)).to.deep.equal([`local-1-r${round}`]);
        expect(bench.events('NODE_TERMINATED')).to.have.length(round - 1);
      },
    });
    expect(kills).to.be.at.least(3);
  });
});

import { expect } from 'chai';
import type { Fills } from '../../../src/bounds.ts';
import { jobScheduler } from '../../../src/daemons/queue/job-scheduler.ts';
import { realNetwork } from '../../../src/seams/real-network.ts';
import type { NodeRow } from '../../../src/training/floor.ts';
import type { ClaimAnswer } from '../../../src/training/programs/protocol.ts';
import { localProvider } from '../../../src/training/providers/local.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { crashesOf, sweepKills } from '../learning.ts';
import { bodiesOf, claimAs, CONFIG, DONE, reportAs, selfplay, SETTINGS, spokenNode, worldOf } from '../support.ts';

const TYPE = 'JOB_SCHEDULER';

describe('JOB_SCHEDULER', () => {
  let bench: DaemonBench;
  let node: NodeRow;
  const start = (config: Record<string, unknown> = {}): Promise<void> =>
    bench.start(jobScheduler, { port: 0, periodSeconds: 0.1, ...config });

  beforeEach(async () => {
    bench = await openBench();
    node = await spokenNode(bench);
  });
  afterEach(() => bench.close());

  it('a node that asks gets the most urgent item; every step of it is told once', async () => {
    await bench.floor.queue.enqueue([selfplay('later'), selfplay('now', { priority: 60 })]);
    await start();
    const { item, retire } = await claimAs(bench, node);
    expect(retire).to.equal(false);
    expect(item).to.deep.include({ itemId: 'w2', attempt: 1 });
    expect((await bench.floor.nodes.get(node.nodeId))?.hasClaimed).to.equal(true);
    expect(await reportAs(bench, node, item!, 'started')).to.deep.equal({ accepted: true, abandon: false });
    for (let repeat = 0; repeat < 2; repeat++)
      expect((await reportAs(bench, node, item!, 'completed', { result: DONE, done: 5 })).accepted).to.equal(true);
    await bench.waitFor('SELFPLAY_COMPLETE', (body) => body.itemId === 'w2' && body.nodeId === node.nodeId);
    const { itemId, token } = item!;
    const told = { itemId, kind: 'selfplay', config: CONFIG, nodeId: node.nodeId, token, attempt: 1 };
    expect(bodiesOf(bench.events('WORK_CLAIMED'))).to.deep.equal([told]);
    expect(bodiesOf(bench.events('WORK_STARTED'))).to.deep.equal([told]);
    expect(bodiesOf(bench.events('WORK_COMPLETED'))).to.deep.equal([{ ...told, seconds: 1 }]);
    await bench.stop(TYPE);
    expect(bench.left()).to.deep.equal([]);
    expect((await bench.floor.endpoints.read()).scheduler).to.equal(null);
  });

  it('a run the floor does not know is retired, and a draining one gets nothing', async () => {
    await bench.floor.queue.enqueue([selfplay('a')]);
    await start();
    expect(await claimAs(bench, { ...node, runId: 'local-1-r9' })).to.include({ retire: true, item: null });
    await bench.floor.nodes.drain({ ...node, drain: true });
    expect(await claimAs(bench, node)).to.include({ retire: false, item: null });
  });

  it('a claim whose answer got lost in a crash is answered with the same item', async () => {
    await bench.floor.queue.enqueue([selfplay('a'), selfplay('b')]);
    await start();
    const first = await claimAs(bench, node);
    await bench.kill(TYPE);
    await start();
    expect((await claimAs(bench, node)).item).to.deep.equal(first.item);
    await reportAs(bench, node, first.item!, 'started');
    expect((await claimAs(bench, node)).item?.itemId).to.equal('w2');
  });

  it('what was kept but not told before a crash is told by the next start, once', async () => {
    await bench.floor.queue.enqueue([selfplay('a')]);
    await start();
    const { item } = await claimAs(bench, node);
    await bench.waitFor('WORK_CLAIMED');
    await bench.kill(TYPE);
    await bench.floor.queue.complete({ ...item!, result: DONE }); // the report was taken, and then the daemon died
    await start();
    await bench.waitFor('SELFPLAY_COMPLETE');
    await bench.kill(TYPE);
    await start();
    await bench.until('the next start has looked', () => Number(bench.health(TYPE).details.cycles) > 1);
    expect(bench.events('WORK_COMPLETED')).to.have.length(1);
    expect(bench.events('SELFPLAY_COMPLETE')).to.have.length(1);
    expect(bench.events('WORK_CLAIMED')).to.have.length(1);
  });

  it('silence costs a worker its item, and the next one gets it under another token', async () => {
    await bench.floor.queue.enqueue([selfplay('a')]);
    await start({ leaseSeconds: 0.3 });
    const { item } = await claimAs(bench, node);
    const { body } = await bench.waitFor('WORK_TIMEOUT');
    expect(body).to.include({ itemId: 'w1', nodeId: node.nodeId, token: item!.token, final: false });
    const other = await spokenNode(bench);
    expect((await claimAs(bench, other)).item?.token).to.be.greaterThan(item!.token);
    expect(await reportAs(bench, node, item!, 'completed', { result: DONE })).to.deep.equal({
      accepted: false,
      abandon: true,
    });
    await reportAs(bench, other, { itemId: 'w1', token: item!.token + 1 }, 'failed', { reason: 'no memory' });
    expect((await bench.waitFor('WORK_FAILED')).body).to.include({ nodeId: other.nodeId, reason: 'no memory' });
  });

  it('an offline node loses its items uncharged; one that still speaks here keeps them', async () => {
    await bench.floor.queue.enqueue([selfplay('a')]);
    await start({ leaseSeconds: 60 });
    await claimAs(bench, node);
    const offline = { nodeId: node.nodeId, reason: 'no route' };
    await bench.publish('HOST_OFFLINE', offline);
    await bench.until('the event was handled', () =>
      bench.router.ledger().some((row) => row.topic === 'HOST_OFFLINE' && row.handled === 1),
    );
    expect((await bench.floor.queue.get('w1'))?.state).to.equal('claimed');
    await bench.kill(TYPE);
    await start({ leaseSeconds: 0.2 });
    await bench.until('it has been silent', async () => (await bench.floor.nodes.get(node.nodeId))!.seenSeconds! > 0.1);
    await bench.publish('HOST_OFFLINE', offline);
    await bench.until('it was taken back', async () => (await bench.floor.queue.get('w1'))?.state === 'pending');
    expect(await bench.floor.queue.get('w1')).to.include({ attempts: 0 });
  });

  it('an overloaded node rests', async () => {
    await bench.floor.queue.enqueue([selfplay('a')]);
    await start({ cooldownSeconds: 0.5 });
    await bench.publish('NODE_OVERLOADED', { nodeId: node.nodeId, cpu: 3, residentBytes: 1 });
    await bench.until('it is noted', () => bench.log.some((line) => line.includes('rests')));
    expect((await claimAs(bench, node)).item).to.equal(null);
    await bench.until('its rest is over', async () => (await claimAs(bench, node)).item !== null);
  });

  it('any number of nodes may speak to it: it remembers the newest thousand, and still knows a known one', async () => {
    await bench.floor.queue.enqueue([selfplay('a')]);
    await start({ leaseSeconds: 60 });
    const { item } = await claimAs(bench, node);
    for (let from = 0; from < 1_050; from += 50)
      await Promise.all(
        Array.from({ length: 50 }, (_value, index) =>
          reportAs(bench, { ...node, nodeId: `stranger-${from + index}` }, item!, 'progress'),
        ),
      );
    const bounds = (): Fills => bench.health(TYPE).details.bounds ?? {};
    expect(bounds()['nodes_heard']).to.deep.equal({ size: 1_000, limit: 1_000 });
    for (let stranger = 0; stranger < 30; stranger++)
      await bench.publish('NODE_OVERLOADED', { nodeId: `stranger-${stranger}`, cpu: 3, residentBytes: 1 });
    await bench.until('they rest', () => bounds()['nodes_resting']?.size === 30);
    await bench.publish('HOST_OFFLINE', { nodeId: node.nodeId, reason: 'no route' });
    await bench.until('the event was handled', () =>
      bench.router.ledger().some((row) => row.topic === 'HOST_OFFLINE' && row.handled === 1),
    );
    expect((await bench.floor.queue.get('w1'))?.state, 'the floor knows that it spoke').to.equal('claimed');
  });

  it('an urgent item that waits takes the place of the least urgent one', async () => {
    await bench.floor.queue.enqueue([selfplay('a')]);
    await start({ preemptAfterSeconds: 0.2 });
    const { item } = await claimAs(bench, node);
    await reportAs(bench, node, item!, 'started');
    await bench.floor.queue.enqueue([selfplay('urgent', { priority: 95 })]);
    await bench.publish('WORK_QUEUED', { kind: 'selfplay', config: CONFIG, items: 1, games: 5 });
    expect((await bench.waitFor('JOB_PREEMPTED')).body).to.deep.include({ itemId: 'w1', forItemId: 'w2' });
    expect((await reportAs(bench, node, item!, 'progress', { done: 1 })).abandon).to.equal(true);
    expect((await claimAs(bench, node)).item?.itemId).to.equal('w2');
  });

  it('nonsense and browsers are refused without harm', async () => {
    await start();
    const { scheduler } = await bench.floor.endpoints.read();
    const send = (headers: Record<string, string>, body: string) =>
      realNetwork().request({ url: `${scheduler}/claim`, method: 'POST', headers, body, timeoutMs: 2_000 });
    expect((await send({ 'content-type': 'application/json' }, '{"version":1}')).status).to.equal(400);
    expect((await send({ origin: 'http://evil.example' }, '')).status).to.equal(403);
    expect(bench.health(TYPE).healthy).to.equal(true);
  });

  it('a port that another program holds fails the start and names that program', async () => {
    await start();
    const port = Number(new URL((await bench.floor.endpoints.read()).scheduler!).port);
    const other = await openBench();
    try {
      const thrown = await other.start(jobScheduler, { port }).then(
        () => '',
        (error: Error) => error.message,
      );
      expect(thrown).to.include(`cannot listen on port ${port}`).and.to.include(`pid ${process.pid}`);
    } finally {
      await other.close();
    }
  });

  it('a broken listener is seen by health, and the next start on the same port mends it', async () => {
    const port = await realNetwork().freePort();
    await start({ port });
    await bench.until('a cycle ran', () => Number(bench.health(TYPE).details.cycles) > 0);
    expect(bench.health(TYPE).status).to.equal('healthy');
    await bench.runtime.breakageOf(TYPE)!.break();
    expect(bench.health(TYPE).status).to.equal('unhealthy');
    await bench.kill(TYPE);
    await start({ port });
    expect((await claimAs(bench, node)).retire).to.equal(false);
  });

  it('a node that plays finds a scheduler that moved, and no item is lost or counted twice', async function () {
    this.timeout(60_000);
    const items = Array.from({ length: 12 }, (_, n) => selfplay(`batch-${n}`, { games: 10 }));
    await bench.floor.queue.enqueue(items);
    await start();
    const before = (await bench.floor.endpoints.read()).scheduler;
    const row = await bench.floor.nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 1 });
    await localProvider(worldOf(bench)).start(row, SETTINGS);
    await bench.waitFor('SELFPLAY_COMPLETE');
    await bench.kill(TYPE);
    await start();
    expect((await bench.floor.endpoints.read()).scheduler).not.to.equal(before);
    const completed = () => bench.floor.queue.list({ states: ['completed'], limit: 50 });
    await bench.until('all is done', async () => (await completed()).length === items.length);
    await bench.until('all was told', () => bench.events('SELFPLAY_COMPLETE').length >= items.length);
    const ids = bench.events('SELFPLAY_COMPLETE').map(({ body }) => body.itemId as string);
    expect(new Set(ids).size).to.equal(items.length);
    expect(ids).to.have.length(items.length);
    const status = await bench.floor.nodes.status(row.nodeId);
    expect(status.games).to.be.at.least(120);
  });

  it('killed at any call of the floor, each item is done in one attempt and told once', async () => {
    const { queue } = bench.floor;
    let item: ClaimAnswer['item'] = null;
    /** What a node does: it asks, plays, and says so, again and again until it is answered. */
    const speak = async (itemId: string): Promise<void> => {
      item = item?.itemId === itemId ? item : (await claimAs(bench, node)).item;
      if (item === null) return;
      await reportAs(bench, node, item, 'started');
      await reportAs(bench, node, item, 'completed', { result: DONE });
    };
    const told = (topic: string): number => bench.events(topic).length;
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: jobScheduler,
      config: { port: 0, periodSeconds: 0.1 },
      prepare: async (round) => void (await queue.enqueue([selfplay(`round-${round}`)])),
      async done(round) {
        if ((await queue.get(`w${round}`))?.state !== 'completed') await speak(`w${round}`).catch(() => undefined);
        return told('SELFPLAY_COMPLETE') >= round && (await queue.untold({ limit: 1 })).length === 0;
      },
      async check(round) {
        expect(await queue.get(`w${round}`)).to.include({ state: 'completed', attempts: 1 });
        for (const topic of ['WORK_CLAIMED', 'WORK_STARTED', 'WORK_COMPLETED', 'SELFPLAY_COMPLETE'])
          expect(told(topic), topic).to.equal(round);
        expect(told('WORK_FAILED') + told('WORK_TIMEOUT')).to.equal(0);
      },
    });
    expect(kills).to.be.at.least(20);
  });
});

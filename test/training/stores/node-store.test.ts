import { expect } from 'chai';
import { NodeStore } from '../../../src/training/stores/node-store.ts';
import { faultOf, handClock, place, type Place } from './support.ts';

describe('the inventory of nodes', () => {
  let home: Place;
  let clock: ReturnType<typeof handClock>;
  let store: NodeStore;
  const open = (): NodeStore => new NodeStore(home.file('nodes.db'), clock.now);
  const reserve = (pool = 'local') =>
    store.reserve({ pool, provider: 'local', pricePerHour: 2 }, (nodeId) => home.file(nodeId));
  const show = (run: { nodeId: string; runId: string }) =>
    store.seen({ ...run, url: 'http://127.0.0.1:4000', pid: 7, storeId: 's1' });

  beforeEach(() => {
    home = place();
    clock = handClock();
    store = open();
  });
  afterEach(() => {
    store.close();
    home.remove();
  });

  it('a reserved node lives once it shows itself, and only its latest run is known', () => {
    const first = reserve();
    expect(first).to.include({
      nodeId: 'local-1',
      runId: 'local-1-r1',
      state: 'starting',
      seenSeconds: null,
      hasClaimed: false,
    });
    expect(show(first).node).to.include({ state: 'live', url: 'http://127.0.0.1:4000', pid: 7 });
    clock.advance(5);
    expect(store.get('local-1')).to.include({ seenSeconds: 5, runSeconds: 5 });
    store.end({ ...first, state: 'lost', reason: 'exited 1' });
    const second = reserve();
    expect(second).to.include({ nodeId: 'local-1', runId: 'local-1-r2', state: 'starting', url: null });
    expect(show(first).known).to.equal(false);
    expect(store.end({ ...first, state: 'retired', reason: 'late' }).first).to.equal(false);
    expect(store.get('local-1')?.state).to.equal('starting');
    expect(show({ nodeId: 'nobody', runId: 'x' })).to.deep.equal({ known: false, node: null });
  });

  it('a lost node comes back before a retired one, and a retired one before a new one', () => {
    const [one, two] = [reserve(), reserve()];
    expect(two.nodeId).to.equal('local-2');
    store.end({ ...one, state: 'retired', reason: 'idle' });
    store.end({ ...two, state: 'lost', reason: 'gone' });
    expect([reserve(), reserve(), reserve()].map(({ nodeId }) => nodeId)).to.deep.equal([
      'local-2',
      'local-1',
      'local-3',
    ]);
    expect(reserve('cheap').nodeId).to.equal('cheap-1');
  });

  it('the first end of a run stands, and a claim is noted once', () => {
    const node = reserve();
    show(node);
    store.claimed(node);
    store.claimed(node);
    expect(store.get(node.nodeId)?.hasClaimed).to.equal(true);
    expect(store.end({ ...node, state: 'lost', reason: 'one' })).to.deep.include({ first: true });
    expect(store.end({ ...node, state: 'failed', reason: 'two' }).node).to.include({ state: 'lost', reason: 'one' });
    faultOf('FLOOR_INPUT_INVALID', () => store.end({ nodeId: 'x', runId: 'x', state: 'lost', reason: '' }));
  });

  it('drains and takes back a live node; after a reopen it is not seen until it shows itself', () => {
    const node = reserve();
    show(node);
    expect(store.drain({ ...node, drain: true }).state).to.equal('draining');
    expect(show(node).node?.state).to.equal('draining');
    expect(store.drain({ ...node, drain: false }).state).to.equal('live');
    store.close();
    clock.advance(100);
    store = open();
    expect(store.list({ states: ['live'] })[0]).to.include({ nodeId: 'local-1', seenSeconds: null, runSeconds: 0 });
  });

  it('a run is news when it has claimed and when it ended, each until it was told', () => {
    const node = reserve();
    expect(store.untold()).to.deep.equal([]);
    show(node);
    expect(store.untold()).to.deep.equal([]);
    store.claimed(node);
    expect(store.untold().map(({ news, node: { runId } }) => [news, runId])).to.deep.equal([['up', node.runId]]);
    store.told({ ...node, news: 'up' });
    store.close();
    store = open();
    expect(store.untold()).to.deep.equal([]);
    store.end({ ...node, state: 'lost', reason: 'exited 1' });
    expect(store.untold().map(({ news, node: { state } }) => [news, state])).to.deep.equal([['over', 'lost']]);
    store.told({ ...node, runId: 'another', news: 'over' });
    expect(store.untold()).to.have.length(1);
    store.told({ ...node, news: 'over' });
    expect(store.untold()).to.deep.equal([]);
  });

  it('a retired node can still be reached to be shut down, a lost one cannot', () => {
    const [one, two] = [reserve(), reserve()];
    show(one);
    show(two);
    expect(store.end({ ...one, state: 'retired', reason: 'idle' }).node).to.include({
      url: 'http://127.0.0.1:4000',
      pid: 7,
    });
    expect(store.end({ ...two, state: 'lost', reason: 'gone' }).node).to.include({ url: null, pid: null });
    store.reserve({ pool: 'local', provider: 'local', pricePerHour: 2 }, (nodeId) => home.file(nodeId));
    expect(reserve()).to.include({ nodeId: one.nodeId, url: null, pid: null });
  });

  it('books uptime once, whoever reports it how often', () => {
    const node = reserve();
    const meter = (uptimeSeconds: number) => store.meter({ ...node, uptimeSeconds, pricePerHour: 2 });
    meter(1800);
    meter(1800);
    meter(1700);
    expect(store.spend()).to.deep.equal({ hour: 1, day: 1, perHourNow: 2, saved: 0 });
    clock.advance(2 * 3600);
    meter(3600);
    expect(store.spend()).to.include({ hour: 1, day: 2 });
    expect([
      store.bookSaving({ ...node, perHour: 2 }).first,
      store.bookSaving({ ...node, perHour: 2 }).first,
    ]).to.deep.equal([true, false]);
    expect(store.spend().saved).to.equal(2);
  });

  it('the same advice again is no new advice', () => {
    expect(store.advice()).to.include({ version: 0, wanted: 0 });
    expect(store.advise({ wanted: 2, reason: 'queue' })).to.deep.include({ changed: true });
    clock.advance(60);
    expect(store.advise({ wanted: 2, reason: 'still' }).advice).to.deep.equal({
      version: 1,
      wanted: 2,
      reason: 'queue',
      ageSeconds: 60,
    });
    expect(store.advise({ wanted: 0, reason: 'idle' }).advice).to.include({ version: 2, ageSeconds: 0 });
  });

  it('keeps one picture per node and drops those of retired ones', () => {
    const node = reserve();
    const row = {
      nodeId: node.nodeId,
      runId: node.runId,
      up: true,
      cpu: 0.5,
      residentBytes: 1,
      games: 2,
      gamesPerMinute: 3,
      idleSeconds: 0,
      currentItemId: null,
      atMs: 1,
    };
    store.putCluster([row]);
    store.putCluster([{ ...row, games: 9 }]);
    expect(store.cluster()).to.deep.equal([{ ...row, games: 9 }]);
    expect(store.pruneCluster({ beforeMs: 2 })).to.equal(0);
    store.end({ ...node, state: 'retired', reason: 'idle' });
    // The picture of this very look stays, so that the next one can tell what changed.
    expect(store.pruneCluster({ beforeMs: 1 })).to.equal(0);
    expect([store.pruneCluster({ beforeMs: 2 }), store.cluster().length]).to.deep.equal([1, 0]);
  });

  it('a change of contact is counted per run, and the same word again is no change', () => {
    const node = reserve();
    const contact = (answers: boolean, run = node) => store.contact({ ...run, answers });
    expect(contact(true)).to.deep.equal({ changed: true, changes: 1 });
    expect(contact(true)).to.deep.equal({ changed: false, changes: 1 });
    expect(contact(false)).to.deep.equal({ changed: true, changes: 2 });
    store.close();
    store = open();
    expect(contact(false)).to.deep.equal({ changed: false, changes: 2 });
    store.end({ ...node, state: 'lost', reason: 'gone' });
    expect(contact(true, reserve())).to.deep.equal({ changed: true, changes: 1 });
  });
});

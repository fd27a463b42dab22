import Database from 'better-sqlite3';
import { expect } from 'chai';
import type { SubscriptionState } from '../../src/events/types.ts';
import {
  clearWorlds,
  collector,
  movedClock,
  oneTurn,
  publisherOf,
  range,
  rejection,
  subscription,
  until,
  world,
} from './support.ts';

describe('subscription ledger', function () {
  this.timeout(20_000);
  afterEach(clearWorlds);

  /** Five subscribers of one topic, one of which gets stuck on its first event. */
  const wedgedWorld = async () => {
    const clock = movedClock();
    const host = world(clock).host();
    const names = ['A', 'B', 'WEDGED', 'C', 'D'];
    host.declare(names.map((name) => subscription(name)));
    await host.start();
    let release = (): void => {};
    const readers = new Map<string, Awaited<ReturnType<typeof collector>>>();
    for (const name of names) {
      const stuck = (): Promise<void> => new Promise<void>((resolve) => (release = resolve));
      readers.set(name, await collector(host, name, name === 'WEDGED' ? stuck : () => {}));
    }
    const gaps: SubscriptionState[] = [];
    host.onGap((state) => gaps.push(state));
    const { id } = await publisherOf(host).publish('COUNTED', { n: 1 });
    await until(() => [...readers.values()].every(({ seen }) => seen.length === 1));
    return { clock, host, gaps, id, readers, release: () => release() };
  };

  it('after a restart of the router finds exactly the one whose handler is stuck, and says why', async () => {
    const { clock, host, gaps, id } = await wedgedWorld();
    clock.move(1000);
    await host.crash();
    await host.start();
    await until(() => host.ledger().filter(({ state }) => state === 'attached').length === 4);
    expect(gaps).to.deep.equal([]);
    clock.move(4900);
    expect(gaps).to.deep.equal([]);
    clock.move(100);
    // The clock is moved by hand on top of the real one, so a slow machine adds to the seconds.
    const said = gaps.map(({ subscriber, topic, state, reason }) => [
      ...[subscriber, topic, state],
      reason?.replace(/for \d+ s/, 'for some s'),
    ]);
    expect(said).to.deep.equal([['WEDGED', 'COUNTED', 'gap', `handler of WEDGED busy for some s on event ${id}`]]);
    expect(host.stats().gaps).to.equal(1);
    expect(host.ledger().map(({ subscriber, state }) => [subscriber, state])).to.have.deep.members([
      ['A', 'attached'],
      ['B', 'attached'],
      ['WEDGED', 'gap'],
      ['C', 'attached'],
      ['D', 'attached'],
    ]);
  });

  it('nothing is a gap while the event log cannot be written; from then on there is as much time as ever', async () => {
    const clock = movedClock();
    const { file, host: newHost } = world(clock);
    const host = newHost();
    host.declare([subscription('WEDGED')]);
    await host.start();
    const gaps: SubscriptionState[] = [];
    host.onGap((state) => gaps.push(state));
    await collector(host, 'WEDGED', () => new Promise(() => {}));
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await until(() => host.stats().handlersRunning === 1);
    const other = new Database(file);
    other.exec('BEGIN IMMEDIATE'); // another program's lock holds the log up as a full disk does
    void publisherOf(host).publish('COUNTED', { n: 2 });
    await until(() => host.stats().stalled !== null);
    const proof = rejection(host.reattach('WEDGED'));
    await oneTurn();
    for (let times = 0; times < 10; times++) clock.move(6_000);
    expect(gaps).to.deep.equal([]);
    other.exec('ROLLBACK');
    other.close();
    while (host.stats().stalled !== null) {
      clock.move(100);
      await oneTurn();
    }
    clock.move(4_500);
    expect(gaps).to.deep.equal([]);
    clock.move(600);
    expect((await proof).message).to.include('handler of WEDGED busy for');
    expect(gaps).to.have.length(1);
  });

  it('a gap closes when the handler returns after all', async () => {
    const { clock, host, gaps, release } = await wedgedWorld();
    await host.crash();
    await host.start();
    await until(() => host.ledger().filter(({ state }) => state === 'attached').length === 4);
    clock.move(5100);
    expect(gaps.length).to.equal(1);
    release();
    await until(() => host.ledger().every(({ state }) => state === 'attached'));
    expect(host.stats().gaps).to.equal(0);
  });

  it('a reattach proves a subscriber that works and rejects one that does not, with the reason', async () => {
    const { clock, host, id } = await wedgedWorld();
    await host.reattach('A');
    await host.reattach('UNKNOWN_TO_THE_ROUTER'); // nothing subscribed, nothing to prove
    const stuck = host.reattach('WEDGED');
    await oneTurn();
    clock.move(5000);
    const error = await rejection(stuck);
    expect(error).to.include({ code: 'SUBSCRIPTION_GAP' });
    expect(error.message).to.match(/^cannot re-attach WEDGED: COUNTED: handler of WEDGED busy for \d+ s on event /);
    expect(error.message).to.include(id);
    expect(error.remedy).to.match(/^restart WEDGED/);
  });

  it('a restart of the stuck daemon repairs the gap', async () => {
    const { clock, host, gaps, readers } = await wedgedWorld();
    const probed = host.probe();
    for (const _ of range(3)) await host.audit(); // round trips: the canaries of the others are back
    clock.move(5000);
    expect((await probed).map(({ subscriber }) => subscriber)).to.deep.equal(['WEDGED']);
    expect(gaps.length).to.equal(1);
    readers.get('WEDGED')!.client.detach();
    const next = await collector(host, 'WEDGED', () => {}, 2);
    await until(() => next.seen.length === 1);
    expect(next.seen[0]!.attempt).to.equal(2);
    expect(await host.probe()).to.deep.equal([]);
  });

  it('a reattach of a daemon without a live start is a gap at once', async () => {
    const host = world().host();
    host.declare([subscription('ABSENT')]);
    await host.start();
    const error = await rejection(host.reattach('ABSENT'));
    expect(error.message).to.equal('cannot re-attach ABSENT: COUNTED: no start of ABSENT is attached');
  });

  it('a reattach while the router is away waits for it, and gives up with its name', async () => {
    const clock = movedClock();
    const host = world(clock).host();
    host.declare([subscription('A')]);
    await host.start();
    await collector(host, 'A');
    await host.crash();
    const patient = host.reattach('A');
    await host.start();
    await patient;
    await host.crash();
    const late = host.reattach('A');
    clock.move(5000);
    expect(await rejection(late)).to.include({ code: 'ROUTER_AWAY' });
  });

  it('the canary stands in the queue: it comes back after the events before it, not before', async () => {
    const host = world().host();
    host.declare([subscription('SLOW')]);
    await host.start();
    const releases: (() => void)[] = [];
    const { seen } = await collector(host, 'SLOW', () => new Promise<void>((resolve) => releases.push(resolve)));
    const publisher = publisherOf(host);
    await Promise.all(range(3).map((n) => publisher.publish('COUNTED', { n })));
    await until(() => seen.length === 1);
    let proven = false;
    const probe = host.probe().then(() => (proven = true));
    for (const count of [1, 2, 3]) {
      await until(() => releases.length === count);
      await host.audit(); // a round trip through the thread: the canary had every chance to overtake
      expect(proven).to.equal(false);
      releases[count - 1]!();
    }
    await probe;
    expect(seen.length).to.equal(3);
  });

  it('a slow subscriber that moves is no gap, however long its queue takes', async () => {
    const clock = movedClock();
    const host = world(clock).host();
    host.declare([subscription('SLOW')]);
    await host.start();
    const releases: (() => void)[] = [];
    const { seen } = await collector(host, 'SLOW', () => new Promise<void>((resolve) => releases.push(resolve)));
    const publisher = publisherOf(host);
    await Promise.all(range(4).map((n) => publisher.publish('COUNTED', { n })));
    await until(() => seen.length === 1);
    const probe = host.probe();
    for (const count of range(4, 1)) {
      await until(() => releases.length === count);
      clock.move(4000); // 16 s in all
      releases[count - 1]!();
      await host.audit();
    }
    expect(await probe).to.deep.equal([]);
  });

  it('beside others in flight, one stuck call is a gap though the rest move', async () => {
    const clock = movedClock();
    const host = world(clock).host();
    host.declare([subscription('WIDE', 'COUNTED', 3)]);
    await host.start();
    const { seen } = await collector(host, 'WIDE', (event) => (event.body.n === 0 ? new Promise(() => {}) : undefined));
    const publisher = publisherOf(host);
    await publisher.publish('COUNTED', { n: 0 });
    await until(() => seen.length === 1);
    const probe = host.probe();
    for (const n of range(5, 1)) {
      await publisher.publish('COUNTED', { n });
      await until(() => seen.length === n + 1);
      await host.audit();
      clock.move(1000);
    }
    expect((await probe).map(({ reason }) => reason)).to.deep.equal([
      `handler of WIDE busy for 5 s on event ${seen[0]!.id}`,
    ]);
  });

  it('an event between two retries is no gap: its handler did return', async () => {
    const clock = movedClock();
    const host = world(clock).host();
    host.declare([subscription('FRAGILE')]);
    await host.start();
    const { seen } = await collector(host, 'FRAGILE', () => Promise.reject(new Error('no')));
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await until(() => seen.length === 1);
    expect(await host.probe()).to.deep.equal([]);
  });
});

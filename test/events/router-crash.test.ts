import { expect } from 'chai';
import { seededRandom } from '../../src/seams/random.ts';
import { clearWorlds, collector, publisherOf, range, subscription, until, world, type Counted } from './support.ts';

/** The subsequence of first sights: redeliveries left out. */
const firsts = (events: readonly Counted[]): number[] => [...new Set(events.map((event) => event.offset))];

const ascending = (numbers: readonly number[]): boolean =>
  numbers.every((number, index) => index === 0 || number > numbers[index - 1]!);

describe('event router: a crash of its thread', function () {
  this.timeout(30_000);
  afterEach(clearWorlds);

  it('by accident is told to who watches, and by its owner is not', async () => {
    const host = world().host();
    host.declare([subscription('READER')]);
    const exits: number[] = [];
    host.onExit(({ generation }) => exits.push(generation));
    await host.start();
    await host.lose();
    await until(() => exits.length === 1);
    expect([host.presence, host.generation]).to.deep.equal(['away', 1]);
    await host.start();
    await host.crash();
    await host.start();
    expect(exits).to.deep.equal([1]);
    expect(host.generation).to.equal(3);
  });

  it('under load, again and again: nothing lost, nothing out of order, nothing finished is repeated', async () => {
    const host = world().host();
    const random = seededRandom(11);
    host.declare([subscription('FAST'), subscription('SLOW'), subscription('WIDE', 'COUNTED', 8)]);
    await host.start();
    const fast = await collector(host, 'FAST', () => {});
    const slow = await collector(host, 'SLOW', () => new Promise((resolve) => setImmediate(resolve)));
    const wide = await collector(host, 'WIDE', async () => {
      for (let turns = random.integer(4); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
    });
    const publisher = publisherOf(host);
    const total = 6000;
    let next = 0;
    const offsets = new Set<number>();
    const publishing = Promise.all(
      range(50).map(async () => {
        while (next < total) {
          const { offset, stored } = await publisher.publish('COUNTED', { n: next++ });
          expect(stored).to.equal(true);
          offsets.add(offset);
        }
      }),
    );
    let crashes = 0;
    const crashing = (async () => {
      while (next < total) {
        const at = Math.min(total, next + 200 + random.integer(1200));
        await until(() => next >= at);
        for (let turns = random.integer(5); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
        await host.crash();
        crashes += 1;
        await host.start();
      }
    })();
    await Promise.all([publishing, crashing]);
    await until(() => host.stats().lagTotal === 0);
    const report = await host.audit();

    expect(crashes).to.be.greaterThan(4);
    expect(offsets.size).to.equal(total);
    expect(report.lost).to.equal(0);
    for (const row of report.rows) {
      expect(row, row.subscriber).to.include({
        published: total,
        handled: total,
        pending: 0,
        deadLettered: 0,
        lost: 0,
      });
    }
    for (const { seen } of [fast, slow, wide]) {
      expect(seen.length).to.equal(total); // the host still knows what was finished, so there is no duplicate at all
      expect(ascending(firsts(seen))).to.equal(true);
      expect(new Set(seen.map((event) => event.body.n)).size).to.equal(total);
    }
  });

  it('a handler that ran through the crash is not run twice, and its ack counts', async () => {
    const host = world().host();
    host.declare([subscription('BUSY')]);
    await host.start();
    let finish = (): void => {};
    const { seen } = await collector(host, 'BUSY', () => new Promise<void>((resolve) => (finish = resolve)));
    const publisher = publisherOf(host);
    await publisher.publish('COUNTED', { n: 1 });
    await until(() => seen.length === 1);
    await host.crash();
    await host.start();
    finish();
    await until(() => host.ledger()[0]!.handled === 1);
    await publisherOf(host).publish('COUNTED', { n: 2 });
    await until(() => seen.length === 2);
    finish();
    await until(() => host.ledger()[0]!.handled === 2);
    expect(seen.map((event) => [event.body.n, event.attempt])).to.deep.equal([
      [1, 1],
      [2, 1],
    ]);
    expect((await host.audit()).rows[0]).to.include({ published: 2, handled: 2, pending: 0, lost: 0 });
  });

  it('publishes that were under way are stored once, with one receipt each', async () => {
    const host = world().host();
    host.declare([subscription('READER')]);
    await host.start();
    const { numbers } = await collector(host, 'READER');
    const publisher = publisherOf(host);
    for (const round of range(5)) {
      const receipts = range(300).map((n) => publisher.publish('COUNTED', { n: round * 300 + n }));
      receipts.push(publisher.publish('COUNTED', { n: -1 }, { id: 'the same each time' }));
      await new Promise((resolve) => setImmediate(resolve));
      if (round % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
      await host.crash();
      await host.start();
      expect(new Set((await Promise.all(receipts)).map(({ offset }) => offset)).size).to.equal(301);
    }
    await until(() => host.stats().lagTotal === 0);
    expect(numbers().filter((n) => n >= 0)).to.deep.equal(range(1500));
    expect(numbers().filter((n) => n < 0)).to.deep.equal([-1]);
  });

  it('the next master finds everything: it repeats at most what was in flight', async () => {
    const { host: make } = world();
    const first = make({ prefetchEvents: 32 });
    first.declare([subscription('READER')]);
    await first.start();
    const before = await collector(first, 'READER');
    const publisher = publisherOf(first);
    await Promise.all(range(500).map((n) => publisher.publish('COUNTED', { n })));
    await until(() => before.seen.length >= 300);
    await first.crash(); // and nobody of that process tells the next one anything
    const handled = before.seen.length;

    const second = make({ prefetchEvents: 32 });
    second.declare([subscription('READER')]);
    await second.start();
    const after = await collector(second, 'READER');
    await until(() => second.stats().lagTotal === 0);
    const repeated = after.seen.filter((event) => event.body.n < handled);
    expect(after.numbers()).to.deep.equal(range(500 - after.numbers()[0]!, after.numbers()[0]!));
    expect(repeated.length).to.be.at.most(32);
    expect((await second.audit()).rows[0]).to.include({ published: 500, handled: 500, lost: 0 });
  });

  it('ends an attach, a question and a start that were under way with an answer', async () => {
    const host = world().host();
    host.declare([subscription('READER')]);
    await host.start();
    const audit = host.audit();
    const crash = host.crash();
    await audit.then(
      () => expect.fail('the audit should not have been answered'),
      (error: Error & { code?: string }) => expect(error.code).to.equal('ROUTER_AWAY'),
    );
    await crash;
    const start = host.start();
    const again = host.crash();
    await Promise.all([start.catch(() => {}), again]);
    const client = host.client({ subscriber: 'READER', generation: 1, publishes: [], handlers: { COUNTED: () => {} } });
    const attached = client.attach();
    await host.start();
    await attached;
    expect(host.ledger()[0]).to.include({ state: 'attached' });
  });

  it('an end that nobody asked for is told, with its reason, and only then', async () => {
    const { host: make, file } = world();
    const { default: Database } = await import('better-sqlite3');
    const host = make();
    const exits: string[] = [];
    host.onExit(({ generation, reason }) => exits.push(`${generation}: ${reason}`));
    host.declare([subscription('READER')]);
    await host.start();
    await host.crash();
    await host.start();
    expect(exits).to.deep.equal([]);
    // Another program breaks the file: the thread must not go on as if nothing were.
    const db = new Database(file);
    db.exec('DROP TABLE events');
    db.close();
    const receipt = publisherOf(host).publish('COUNTED', { n: 1 });
    await until(() => exits.length === 1);
    expect(exits[0]).to.match(/^2: .*no such table/);
    expect(host.presence).to.equal('away');
    void receipt;
  });

  it('each attached subscription is proven again by itself when the router is back', async () => {
    const host = world().host();
    host.declare([subscription('A'), subscription('B'), subscription('ABSENT')]);
    await host.start();
    await collector(host, 'A');
    await collector(host, 'B');
    const changes: string[] = [];
    host.onLedgerChange(({ subscriber, state }) => changes.push(`${subscriber} ${state}`));
    await host.crash();
    expect(changes.splice(0)).to.deep.equal(['A attaching', 'B attaching']);
    await host.start();
    await until(() => changes.length === 4);
    expect(changes).to.deep.equal(['A attaching', 'B attaching', 'A attached', 'B attached']);
    expect(host.ledger().map(({ subscriber, state }) => `${subscriber} ${state}`)).to.have.members([
      'A attached',
      'B attached',
      'ABSENT detached',
    ]);
  });

  it('a daemon that ends and one that starts while the router is away find their place', async () => {
    const host = world().host();
    host.declare([subscription('LEAVER'), subscription('COMER')]);
    await host.start();
    const leaver = await collector(host, 'LEAVER');
    const publisher = publisherOf(host);
    await publisher.publish('COUNTED', { n: 1 });
    await until(() => leaver.seen.length === 1);
    await host.crash();
    leaver.client.detach();
    const seen: number[] = [];
    const comer = host.client({
      subscriber: 'COMER',
      generation: 1,
      publishes: [],
      handlers: { COUNTED: (event: Counted) => void seen.push(event.body.n) },
    });
    const attached = comer.attach();
    void publisher.publish('COUNTED', { n: 2 });
    await host.start();
    await attached;
    await until(() => seen.length === 2);
    const again = await collector(host, 'LEAVER', () => {}, 2);
    await until(() => again.seen.length === 1);
    expect(seen).to.deep.equal([1, 2]);
    expect(again.numbers()).to.deep.equal([2]);
  });

  it('a log that was moved away meanwhile: a new one begins, and no cursor of the old one is believed', async () => {
    const { host: make, file } = world();
    const { rmSync } = await import('node:fs');
    const host = make();
    host.declare([subscription('READER')]);
    await host.start();
    const { numbers } = await collector(host, 'READER');
    const publisher = publisherOf(host);
    await Promise.all(range(20).map((n) => publisher.publish('COUNTED', { n })));
    await until(() => numbers().length === 20);
    await host.crash();
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
    const receipts = range(5, 20).map((n) => publisher.publish('COUNTED', { n }));
    await host.start();
    expect((await Promise.all(receipts)).map(({ offset }) => offset)).to.deep.equal([1, 2, 3, 4, 5]);
    await until(() => numbers().length === 25);
    expect(numbers()).to.deep.equal(range(25));
    expect((await host.audit()).lost).to.equal(0);
  });
});

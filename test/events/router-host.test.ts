import { expect } from 'chai';
import { createRouterHost } from '../../src/events/router-host.ts';
import { realClock } from '../../src/seams/clock.ts';
import { seededRandom } from '../../src/seams/random.ts';
import {
  CATALOGUE,
  clearWorlds,
  collector,
  publisherOf,
  range,
  rejection,
  subscription,
  until,
  world,
  type Counted,
} from './support.ts';

describe('event router: publish and deliver', () => {
  afterEach(clearWorlds);

  it('hands a published event to its subscriber, with who, when and where in the log', async () => {
    const { host: make, clock } = world();
    const host = make();
    host.declare([subscription('READER')]);
    await host.start();
    const { seen } = await collector(host, 'READER');
    const before = clock.wallMs();
    const receipt = await publisherOf(host).publish('COUNTED', { n: 7 });
    await until(() => seen.length === 1);
    expect(receipt.stored).to.equal(true);
    expect(seen[0]).to.deep.include({
      id: receipt.id,
      topic: 'COUNTED',
      version: 1,
      offset: receipt.offset,
      source: 'PUBLISHER',
      attempt: 1,
    });
    expect(seen[0]!.body).to.deep.equal({ n: 7 });
    // The router's wall goes on by the clock that measures, so its milliseconds turn over at another moment.
    expect(seen[0]!.publishedAtMs).to.be.within(before - 1, clock.wallMs() + 1);
  });

  it('keeps publish order per subscription, and shows every subscriber every event', async () => {
    const host = world().host();
    host.declare([subscription('ONE'), subscription('TWO')]);
    await host.start();
    const one = await collector(host, 'ONE');
    const two = await collector(host, 'TWO', () => new Promise((resolve) => setImmediate(resolve)));
    const publisher = publisherOf(host);
    const receipts = await Promise.all(range(500).map((n) => publisher.publish('COUNTED', { n })));
    await until(() => two.seen.length === 500);
    expect(one.numbers()).to.deep.equal(range(500));
    expect(two.numbers()).to.deep.equal(range(500));
    expect(receipts.map((receipt) => receipt.offset)).to.deep.equal(range(500, receipts[0]!.offset));
    expect((await host.audit()).lost).to.equal(0);
  });

  it('an event published before the router ever started is stored and delivered', async () => {
    const host = world().host();
    host.declare([subscription('READER')]);
    const publisher = publisherOf(host);
    const early = publisher.publish('COUNTED', { n: 1 });
    expect(publisher.outboxSize).to.equal(1);
    await host.start();
    const { numbers } = await collector(host, 'READER');
    expect((await early).stored).to.equal(true);
    expect(publisher.outboxSize).to.equal(0);
    await until(() => numbers().length === 1);
    expect(numbers()).to.deep.equal([1]);
  });

  it('an event published before its subscriber started waits in the log', async () => {
    const host = world().host();
    host.declare([subscription('LATE')]);
    await host.start();
    const publisher = publisherOf(host);
    for (const n of range(3)) await publisher.publish('COUNTED', { n });
    expect(host.ledger()[0]).to.include({ state: 'detached', lag: 3 });
    const { numbers } = await collector(host, 'LATE');
    await until(() => numbers().length === 3);
    expect(numbers()).to.deep.equal([0, 1, 2]);
    expect(host.ledger()[0]).to.include({ state: 'attached', lag: 0, handled: 3 });
  });

  it('a backlog longer than every buffer comes back from the store in order', async () => {
    const host = world().host({ prefetchEvents: 64 });
    host.declare([subscription('LATE'), subscription('OTHER', 'NAMED')]);
    await host.start();
    const publisher = publisherOf(host);
    await Promise.all(
      range(3000).map((n) => publisher.publish(n % 3 === 0 ? 'NAMED' : 'COUNTED', n % 3 === 0 ? { name: 'x' } : { n })),
    );
    const { numbers } = await collector(host, 'LATE');
    const more = Promise.all(range(300, 3000).map((n) => publisher.publish('COUNTED', { n })));
    await until(() => numbers().length === 2300);
    await more;
    expect(numbers()).to.deep.equal([...range(3000).filter((n) => n % 3 !== 0), ...range(300, 3000)]);
  });

  it('with four in flight, four handlers run at once and no fifth', async () => {
    const host = world().host();
    host.declare([subscription('WIDE', 'COUNTED', 4)]);
    await host.start();
    let running = 0;
    let most = 0;
    const releases: (() => void)[] = [];
    const { seen } = await collector(host, 'WIDE', async () => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => releases.push(resolve));
      running -= 1;
    });
    const publisher = publisherOf(host);
    await Promise.all(range(10).map((n) => publisher.publish('COUNTED', { n })));
    await until(() => seen.length === 4);
    // Out of order on purpose: the cursor may pass only what is finished.
    releases[2]!();
    await until(() => seen.length === 5);
    expect(host.ledger()[0]).to.include({ inFlight: 4, handled: 1, cursor: 0 });
    let released = 0;
    await until(() => {
      for (; released < releases.length; released++) releases[released]!();
      return host.ledger()[0]!.handled === 10;
    });
    expect(most).to.equal(4);
    expect(host.ledger()[0]).to.include({ cursor: 10, lag: 0 });
  });

  it('gives each subscriber a body of its own', async () => {
    const host = world().host();
    host.declare([subscription('VANDAL'), subscription('VICTIM')]);
    await host.start();
    await collector(host, 'VANDAL', (event) => {
      event.body.n = -1;
    });
    const { numbers } = await collector(host, 'VICTIM');
    await publisherOf(host).publish('COUNTED', { n: 5 });
    await until(() => numbers().length === 1);
    expect(numbers()).to.deep.equal([5]);
  });

  it('runs handlers inside what the runtime wraps around them', async () => {
    const host = world().host();
    host.declare([subscription('WRAPPED')]);
    await host.start();
    const calls: string[] = [];
    const client = host.client({
      subscriber: 'WRAPPED',
      generation: 1,
      publishes: [],
      handlers: { COUNTED: () => void calls.push('handler') },
      runHandler: async (topic, call) => {
        calls.push(`before ${topic}`);
        await call();
        calls.push('after');
      },
    });
    await client.attach();
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await until(() => calls.length === 3);
    expect(calls).to.deep.equal(['before COUNTED', 'handler', 'after']);
  });

  it('writes each delivery with level DEBUG, and builds no line without', async () => {
    const { file, clock } = world();
    const { createRouterHost } = await import('../../src/events/router-host.ts');
    const { seededRandom } = await import('../../src/seams/random.ts');
    const { CATALOGUE } = await import('./support.ts');
    let debug = false;
    const lines: string[] = [];
    const log = { isDebug: () => debug, debug: (line: string) => lines.push(line), info: () => {}, warn: () => {} };
    const host = createRouterHost({ file, catalogue: CATALOGUE, clock, random: seededRandom(1), log });
    host.declare([subscription('READER')]);
    await host.start();
    const { seen } = await collector(host, 'READER');
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await until(() => seen.length === 1);
    expect(lines).to.deep.equal([]);
    debug = true;
    const { id } = await publisherOf(host).publish('COUNTED', { n: 2 });
    await until(() => seen.length === 2);
    expect(lines).to.deep.equal([`Delivered to READER COUNTED ${id}`]);
    await host.stop();
  });
});

describe('event router: what it refuses', () => {
  afterEach(clearWorlds);

  it('an event that the catalogue lacks, at the publisher', async () => {
    const host = world().host();
    const client = host.client({ subscriber: 'P', generation: 1, publishes: ['NONE'], handlers: {} });
    const error = await rejection(client.publish('NONE', {}));
    expect(error).to.include({ code: 'EVENT_UNDECLARED' });
    expect(error.message).to.equal('cannot publish NONE from P: the catalogue has no event of that name');
    expect(error.remedy).to.match(/declare it/);
  });

  it('an event that this publisher did not declare', async () => {
    const host = world().host();
    const client = host.client({ subscriber: 'P', generation: 1, publishes: ['NAMED'], handlers: {} });
    const error = await rejection(client.publish('COUNTED', { n: 1 }));
    expect(error).to.include({ code: 'EVENT_UNDECLARED' });
    expect(error.message).to.equal('cannot publish COUNTED from P: it declares NAMED');
  });

  it('a body that does not fit, with topic, path and the type found', async () => {
    const host = world().host();
    const error = await rejection(publisherOf(host).publish('COUNTED', { n: 'seven' }));
    expect(error).to.include({ code: 'EVENT_INVALID' });
    expect(error.message).to.match(/^cannot publish COUNTED from PUBLISHER: body\.n is string: /);
  });

  it('a subscription to an unknown event, when it is declared', () => {
    const host = world().host();
    expect(() => host.declare([{ subscriber: 'X', topic: 'NOWHERE', critical: false, maxInFlight: 1 }])).to.throw(
      'cannot subscribe X to NOWHERE: the catalogue has no event of that name',
    );
  });

  it('an attach to a subscription that was not declared, and one without its handler', async () => {
    const host = world().host();
    host.declare([subscription('HALF')]);
    await host.start();
    const stray = host.client({ subscriber: 'STRAY', generation: 1, publishes: [], handlers: { COUNTED: () => {} } });
    expect(await rejection(stray.attach())).to.include({ code: 'EVENT_UNDECLARED' });
    const half = host.client({ subscriber: 'HALF', generation: 1, publishes: [], handlers: {} });
    const error = await rejection(half.attach());
    expect(error).to.include({ code: 'SUBSCRIPTION_GAP' });
    expect(error.message).to.equal('cannot re-attach HALF: COUNTED: HALF has no handler for COUNTED');
    expect(host.ledger()[0]).to.include({ state: 'gap', reason: 'HALF has no handler for COUNTED' });
  });

  it('a publish beyond the bound of the outbox while the router is away, and takes it again afterwards', async () => {
    const host = world().host({ outboxEvents: 5 });
    const publisher = publisherOf(host);
    const waiting = range(5).map((n) => publisher.publish('COUNTED', { n }));
    const error = await rejection(publisher.publish('COUNTED', { n: 5 }));
    expect(error).to.include({ code: 'OUTBOX_FULL' });
    expect(error.message).to.equal(
      'cannot publish from PUBLISHER: 5 events wait to be stored, the limit is 5 events, and the router is away',
    );
    // The bound is each publisher's own: one that floods does not silence another.
    const other = host.client({ subscriber: 'OTHER', generation: 1, publishes: ['COUNTED'], handlers: {} });
    const others = other.publish('COUNTED', { n: 9 });
    await host.start();
    await Promise.all([...waiting, others]);
    expect((await publisher.publish('COUNTED', { n: 5 })).stored).to.equal(true);
    expect(host.stats()).to.include({ published: 7, refused: 1, outboxEvents: 0 });
  });

  it('a publish beyond the bound of characters', async () => {
    const host = world().host({ outboxBytes: 1000 });
    const publisher = publisherOf(host);
    const large = publisher.publish('COUNTED', { n: 1, note: 'x'.repeat(2000) }); // one always passes, or it never could
    expect(await rejection(publisher.publish('COUNTED', { n: 2, note: 'x'.repeat(10) }))).to.include({
      code: 'OUTBOX_FULL',
    });
    await host.start();
    expect((await large).stored).to.equal(true);
  });

  it('everything of a client that was detached', async () => {
    const host = world().host();
    host.declare([subscription('GONE')]);
    await host.start();
    const { client } = await collector(host, 'GONE');
    client.detach();
    expect(await rejection(client.publish('COUNTED', { n: 1 }))).to.include({ code: 'SCOPE_CLOSED' });
    expect(await rejection(client.attach())).to.include({ code: 'SCOPE_CLOSED' });
  });

  it('an attach that waits for an absent router, when its start is ended', async () => {
    const host = world().host();
    host.declare([subscription('READER')]);
    const client = host.client({ subscriber: 'READER', generation: 1, publishes: [], handlers: { COUNTED: () => {} } });
    const attached = client.attach();
    client.detach();
    expect(await rejection(attached)).to.include({ code: 'SCOPE_CLOSED' });
  });
});

describe('event router: ids', () => {
  afterEach(clearWorlds);

  it('stores one event per id, whoever repeats it, also after a restart of the master', async () => {
    const { host: make } = world();
    const host = make();
    host.declare([subscription('READER')]);
    await host.start();
    const { seen } = await collector(host, 'READER');
    const publisher = publisherOf(host);
    const first = await publisher.publish('COUNTED', { n: 1 }, { id: 'job-1' });
    const [again, other] = await Promise.all([
      publisher.publish('COUNTED', { n: 2 }, { id: 'job-1' }),
      publisher.publish('COUNTED', { n: 3 }, { id: 'job-2' }),
    ]);
    expect(again).to.deep.equal({ id: 'job-1', offset: first.offset, stored: false });
    expect(other.stored).to.equal(true);
    await until(() => seen.length === 2);
    await host.stop();

    const next = make();
    next.declare([subscription('READER')]);
    await next.start();
    const repeated = await publisherOf(next).publish('COUNTED', { n: 4 }, { id: 'job-1' });
    expect(repeated).to.deep.equal({ id: 'job-1', offset: first.offset, stored: false });
    expect(seen.map((event) => event.body.n)).to.deep.equal([1, 3]);
    expect(next.stats()).to.include({ duplicates: 1, published: 0 });
  });

  it('keeps equal bodies apart: only the id tells a duplicate', async () => {
    const host = world().host();
    host.declare([subscription('READER')]);
    await host.start();
    const { seen } = await collector(host, 'READER');
    const publisher = publisherOf(host);
    await Promise.all(range(20).map(() => publisher.publish('COUNTED', { n: 1 })));
    await until(() => seen.length === 20);
    expect(new Set(seen.map((event) => event.id)).size).to.equal(20);
  });

  it('refuses ids of the form that the router makes, and endless ones', async () => {
    const host = world().host();
    const publisher = publisherOf(host);
    for (const id of ['', 'x'.repeat(201), 'e-0123456789ab-7']) {
      expect(await rejection(publisher.publish('COUNTED', { n: 1 }, { id })), id).to.include({ code: 'EVENT_INVALID' });
    }
  });
});

describe('event router: starts of a daemon', () => {
  afterEach(clearWorlds);

  it('an event whose handler was cut off goes to the next start, with one more attempt', async () => {
    const host = world().host();
    host.declare([subscription('DAEMON')]);
    await host.start();
    const first = await collector(host, 'DAEMON', () => new Promise(() => {}));
    const publisher = publisherOf(host);
    await publisher.publish('COUNTED', { n: 1 });
    await publisher.publish('COUNTED', { n: 2 });
    await until(() => first.seen.length === 1);
    first.client.detach();
    expect(host.ledger()[0]).to.include({ state: 'detached', lag: 2 });
    const second = await collector(host, 'DAEMON', () => {}, 2);
    await until(() => second.seen.length === 2);
    expect(second.seen.map((event) => [event.body.n, event.attempt])).to.deep.equal([
      [1, 2],
      [2, 1],
    ]);
  });

  it('what an ended start returns is ignored: its event is not acknowledged', async () => {
    const host = world().host();
    host.declare([subscription('DAEMON')]);
    await host.start();
    let finish = (): void => {};
    const first = await collector(host, 'DAEMON', () => new Promise<void>((resolve) => (finish = resolve)));
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await until(() => first.seen.length === 1);
    first.client.detach();
    finish();
    await new Promise((resolve) => setImmediate(resolve));
    expect(host.ledger()[0]).to.include({ handled: 0, cursor: 0, lag: 1 });
  });

  it('a drained start finishes what runs, begins nothing, and costs nobody an attempt', async () => {
    const host = world().host();
    host.declare([subscription('DAEMON')]);
    await host.start();
    let finish = (): void => {};
    const first = await collector(host, 'DAEMON', () => new Promise<void>((resolve) => (finish = resolve)));
    const publisher = publisherOf(host);
    await Promise.all([publisher.publish('COUNTED', { n: 1 }), publisher.publish('COUNTED', { n: 2 })]);
    await until(() => first.seen.length === 1);
    expect(first.client.handlersRunning).to.equal(1);
    let drained = false;
    const draining = first.client.drain().then(() => (drained = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(drained).to.equal(false);
    finish();
    await draining;
    first.client.detach();
    const second = await collector(host, 'DAEMON', () => {}, 2);
    await until(() => second.seen.length === 1);
    expect(first.numbers()).to.deep.equal([1]);
    expect(second.seen.map((event: Counted) => [event.body.n, event.attempt])).to.deep.equal([[2, 1]]);
  });

  it('a newer start takes over from an older one that was not detached', async () => {
    const host = world().host();
    host.declare([subscription('DAEMON')]);
    await host.start();
    const first = await collector(host, 'DAEMON');
    const second = await collector(host, 'DAEMON', () => {}, 2);
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await until(() => second.seen.length === 1);
    expect(first.seen).to.deep.equal([]);
    expect(host.ledger()[0]).to.include({ generation: 2 });
  });

  it('what it published before its end is still stored', async () => {
    const host = world().host();
    const client = host.client({ subscriber: 'BRIEF', generation: 1, publishes: ['COUNTED'], handlers: {} });
    const receipt = client.publish('COUNTED', { n: 1 });
    client.detach();
    await host.start();
    expect((await receipt).stored).to.equal(true);
  });
});

describe('event router: a graceful stop', () => {
  afterEach(clearWorlds);

  it('stores what was accepted, keeps the cursors, and folds the log into one file', async () => {
    const { host: make, folder } = world();
    const { readdirSync } = await import('node:fs');
    const host = make();
    host.declare([subscription('READER')]);
    await host.start();
    const { seen } = await collector(host, 'READER');
    const publisher = publisherOf(host);
    const receipts = range(200).map((n) => publisher.publish('COUNTED', { n }));
    await until(() => seen.length === 200);
    await host.stop();
    expect((await Promise.all(receipts)).length).to.equal(200);
    expect(host.presence).to.equal('away');
    expect(readdirSync(folder)).to.deep.equal(['events.db']);

    const next = make();
    next.declare([subscription('READER')]);
    await next.start();
    expect(next.ledger()[0]).to.include({ handled: 200, lag: 0 });
    const again = await collector(next, 'READER');
    await publisherOf(next).publish('COUNTED', { n: 200 });
    await until(() => again.seen.length === 1);
    expect(again.numbers()).to.deep.equal([200]);
  });

  it('a publish after the stop waits for the next start', async () => {
    const host = world().host();
    await host.start();
    const publisher = publisherOf(host);
    await host.stop();
    const receipt = publisher.publish('COUNTED', { n: 1 });
    expect(publisher.outboxSize).to.equal(1);
    await host.start();
    expect((await receipt).stored).to.equal(true);
    expect(host.generation).to.equal(2);
  });
});

describe('event router: those who watch', () => {
  afterEach(clearWorlds);

  it('a reader of the tail that throws is dropped with a warning, and the others read on', async () => {
    const { file, clock } = world();
    const warnings: string[] = [];
    const log = {
      isDebug: () => false,
      debug: () => {},
      info: () => {},
      warn: (text: string) => void warnings.push(text),
    };
    const host = createRouterHost({ file, catalogue: CATALOGUE, clock, random: seededRandom(1), log });
    try {
      await host.start();
      let broken = 0;
      const seen: unknown[] = [];
      host.tail(() => {
        broken++;
        throw new Error('the pipe is closed');
      });
      host.tail(({ body }) => seen.push(body), { topics: ['NAMED'] });
      const publisher = publisherOf(host);
      await publisher.publish('NAMED', { name: 'x' });
      await publisher.publish('COUNTED', { n: 1 });
      await publisher.publish('NAMED', { name: 'y' });
      await until(() => seen.length === 2);
      expect(broken).to.equal(1);
      expect(warnings).to.deep.equal(['a reader of the event tail failed and was dropped: the pipe is closed']);
    } finally {
      await host.crash();
    }
  });

  it('a sweep that the end of the thread cut off is gone on with by the next', async () => {
    const minutes: (() => void)[] = [];
    const clock = { ...realClock(), every: (_: number, run: () => void) => (minutes.push(run), { cancel: () => {} }) };
    const host = world(clock).host({ retainedEvents: 0 });
    await host.start();
    await publisherOf(host).publish('COUNTED', { n: 1 });
    const sweep = (): void => minutes.forEach((run) => run());
    sweep();
    await host.crash(); // it is not answered, and nobody is troubled by that
    await host.start();
    sweep();
    await host.audit(); // asked behind it
    await publisherOf(host).publish('COUNTED', { n: 2 });
    expect(host.stats()).to.include({ head: 2, retained: 1 });
  });
});

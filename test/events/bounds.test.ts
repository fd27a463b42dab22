import { expect } from 'chai';
import { createDeadLetters } from '../../src/events/dead-letters.ts';
import {
  CALLERS_WAITING_MAX,
  EXTERNAL_SUBSCRIBERS_MAX,
  LETTERS_CHARACTERS_MAX,
  LETTERS_IN_HAND_MAX,
  QUESTIONS_MAX,
} from '../../src/events/limits.ts';
import { createOutbox, type LoggedEvent, type Outbox, type Publish } from '../../src/events/outbox.ts';
import { createPump } from '../../src/events/pump.ts';
import { createRecentEvents } from '../../src/events/recent-events.ts';
import { openStore } from '../../src/events/store.ts';
import type { Subscriptions } from '../../src/events/subscriptions.ts';
import { realClock } from '../../src/seams/clock.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
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

const fillOf = (collections: Readonly<Record<string, unknown>>, name: string) =>
  collections[name] as { size: number; limit: number; dropped?: number };

describe('event router: what it keeps in memory', function () {
  this.timeout(20_000);
  afterEach(clearWorlds);

  it('a handler that never returns holds its window up, however often the router starts anew', async () => {
    const host = world().host({ prefetchEvents: 8 });
    host.declare([subscription('A', 'COUNTED', 2)]);
    await host.start();
    let release = (): void => {};
    const { numbers } = await collector(host, 'A', ({ body }) =>
      body.n === 0 ? new Promise<void>((resolve) => (release = resolve)) : undefined,
    );
    await Promise.all(range(100).map((n) => publisherOf(host).publish('COUNTED', { n })));
    await until(() => numbers().length === 8);
    for (let times = 0; times < 3; times++) {
      await host.crash();
      await host.start();
      await host.audit(); // it has served, and would have handed out what it may
      await oneTurn();
      expect(numbers()).to.deep.equal(range(8));
    }
    release();
    await until(() => numbers().length === 100);
    expect(numbers()).to.deep.equal(range(100));
  });

  describe('while the router is away', () => {
    it('programs outside have one account together, however many names they use; the master has its own', async () => {
      const host = world().host({ outboxEvents: 50 });
      const receipts = range(50).map((n) => host.publishExternal(`script-${n}`, 'COUNTED', { n }));
      const error = await rejection(host.publishExternal('one-more', 'COUNTED', { n: 50 }));
      expect(error).to.include({ code: 'OUTBOX_FULL' });
      expect(error.message).to.include('cannot publish from external:one-more: 50 events wait to be stored');
      const own = host.publishExternal('orchestrator', 'COUNTED', { n: 51 });
      expect(host.stats().refused).to.equal(1);
      await rejection(host.publishExternal('script', 'COUNTED', { n: 'no number' }));
      expect(fillOf(host.collections(), 'events_outbox_fullest')).to.deep.equal({ size: 50, limit: 50 });
      expect(fillOf(host.collections(), 'events_outbox'), 'for want of room').to.include({ size: 51, dropped: 1 });
      await host.start();
      await Promise.all([...receipts, own]);
      expect((await host.publishExternal('one-more', 'COUNTED', { n: 50 })).stored).to.equal(true);
    });

    it('starts that come and go leave their publishes behind, and all of those together are bounded too', async () => {
      const host = world().host({ outboxAllEvents: 8 });
      const receipts: Promise<unknown>[] = [];
      for (let generation = 1; generation <= 4; generation++) {
        const client = host.client({ subscriber: 'LOOPER', generation, publishes: ['COUNTED'], handlers: {} });
        receipts.push(...range(2).map((n) => client.publish('COUNTED', { n })));
        client.detach();
      }
      const other = publisherOf(host);
      const error = await rejection(other.publish('COUNTED', { n: 9 }));
      expect(error).to.include({ code: 'OUTBOX_FULL' });
      expect(error.message).to.include('the limit is 8 events of all publishers');
      expect(fillOf(host.collections(), 'events_outbox')).to.include({ size: 8, limit: 8 });
      await host.start();
      await Promise.all(receipts);
      expect((await other.publish('COUNTED', { n: 9 })).stored).to.equal(true);
    });

    it('and so are their characters', async () => {
      const host = world().host({ outboxAllBytes: 1_000 });
      const clients = range(2).map((n) =>
        host.client({ subscriber: `P${n}`, generation: 1, publishes: ['COUNTED'], handlers: {} }),
      );
      const first = clients[0]!.publish('COUNTED', { n: 0, note: 'x'.repeat(900) });
      const error = await rejection(clients[1]!.publish('COUNTED', { n: 1, note: 'x'.repeat(200) }));
      expect(error.message).to.include('the limit is 1000 characters of all publishers');
      await host.start();
      await first;
    });

    it('callers that wait for it are bounded; one whose caller hangs up makes room', async () => {
      const host = world().host();
      const hangUp = new AbortController();
      const waits = range(CALLERS_WAITING_MAX).map((n) =>
        host.poll(`reader-${n}`, { max: 1, waitMs: 0, ...(n === 0 ? { signal: hangUp.signal } : {}) }),
      );
      const error = await rejection(host.poll('late', { max: 1, waitMs: 0 }));
      expect(error).to.include({ code: 'ROUTER_AWAY' });
      expect(error.message).to.include(`is away, and ${CALLERS_WAITING_MAX} callers wait already`);
      const full = fillOf(host.collections(), 'events_callers_for_router');
      expect(full).to.deep.equal({ size: CALLERS_WAITING_MAX, limit: CALLERS_WAITING_MAX, dropped: 1 });
      hangUp.abort(new Error('hung up'));
      expect((await rejection(waits[0]!)).message).to.equal('hung up');
      const late = rejection(host.poll('late', { max: 1, waitMs: 0 }));
      await host.start();
      for (const wait of [...waits.slice(1).map(rejection), late])
        expect(await wait).to.include({ code: 'SUBSCRIPTION_UNKNOWN' });
      expect(fillOf(host.collections(), 'events_callers_for_router').size).to.equal(0);
    });

    it('a start that waits to attach is never refused, and an older one of its subscriber is forgotten', async () => {
      const host = world().host();
      host.declare([subscription('LOOPER')]);
      const attaches: Promise<unknown>[] = [];
      for (let generation = 1; generation <= 1_000; generation++) {
        const client = host.client({
          ...{ subscriber: 'LOOPER', generation, publishes: [] },
          handlers: { COUNTED: () => undefined },
        });
        attaches.push(client.attach().catch((error: unknown) => error));
      }
      expect(fillOf(host.collections(), 'events_starts_waiting')).to.deep.equal({ size: 1, limit: 1 });
      await host.start();
      const outcomes = await Promise.all(attaches);
      expect(outcomes.at(-1)).to.equal(undefined);
      expect(outcomes.slice(0, -1).every((error) => (error as { code: string }).code === 'SCOPE_CLOSED')).to.equal(
        true,
      );
    });
  });

  it('questions to a thread that does not answer are bounded', async () => {
    const host = world().host();
    await host.start();
    const asked = range(QUESTIONS_MAX).map(() => host.purgeDeadLetters());
    const error = await rejection(host.purgeDeadLetters());
    expect(error).to.include({ code: 'ROUTER_AWAY' });
    expect(error.message).to.include(`has ${QUESTIONS_MAX} questions to answer first`);
    expect(fillOf(host.collections(), 'events_questions')).to.include({ size: QUESTIONS_MAX, dropped: 1 });
    await Promise.all(asked);
    await host.purgeDeadLetters();
  });

  it('subscriptions of programs outside are bounded, and known ones go on', async () => {
    const host = world().host();
    await host.start();
    await Promise.all(range(EXTERNAL_SUBSCRIBERS_MAX).map((n) => host.subscribeExternal(`reader-${n}`, ['COUNTED'])));
    const error = await rejection(host.subscribeExternal('one-more', ['COUNTED']));
    expect(error).to.include({ code: 'TOO_MANY' });
    expect(error.message).to.equal(
      `cannot subscribe "one-more": ${EXTERNAL_SUBSCRIBERS_MAX} programs outside hold a subscription already`,
    );
    expect(fillOf(host.collections(), 'events_external_subscribers')).to.deep.equal({
      ...{ size: EXTERNAL_SUBSCRIBERS_MAX, limit: EXTERNAL_SUBSCRIBERS_MAX, dropped: 1 },
    });
    await host.subscribeExternal('reader-0', ['NAMED']);
    await host.unsubscribeExternal('reader-1');
    await host.subscribeExternal('one-more', ['COUNTED']);
  });

  it('of the events handed out it keeps what the slowest has not passed, and tells how much that is', async () => {
    const host = world().host();
    host.declare([subscription('SLOW')]);
    await host.start();
    let goOn: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    const slow = await collector(host, 'SLOW', () => held);
    const publisher = publisherOf(host);
    await Promise.all(range(20).map((n) => publisher.publish('COUNTED', { n, note: 'x'.repeat(1_000) })));
    await until(() => fillOf(host.collections(), 'events_handed_out_characters').size > 19_000);
    goOn();
    await until(() => slow.numbers().length === 20);
    await publisher.publish('COUNTED', { n: 20 });
    await until(() => fillOf(host.collections(), 'events_recent').size <= 1);
    expect(fillOf(host.collections(), 'events_recent_characters').size).to.be.below(100);
  });

  it('a given-up event is let go at once, not with the next thousands', () => {
    const recent = createRecentEvents();
    const body = (offset: number): LoggedEvent => ({
      offset,
      id: '',
      version: 1,
      source: '',
      at: 0,
      body: 'x'.repeat(10),
    });
    for (const offset of range(100, 7)) recent.add(body(offset));
    expect([recent.size, recent.characters]).to.deep.equal([100, 1_000]);
    recent.keepFrom(100);
    expect([recent.size, recent.characters]).to.deep.equal([7, 70]);
    expect(() => recent.get(99)).to.throw('event 99 was handed out, kept are 100 to 106');
    expect(recent.get(100).offset).to.equal(100);
    recent.keepFrom(500);
    expect([recent.size, recent.characters]).to.deep.equal([0, 0]);
    recent.add(body(107));
    expect([recent.size, recent.characters]).to.deep.equal([1, 10]);
  });

  it('callers that wait for a disk that refuses are bounded', async () => {
    const outbox = createOutbox(
      createPump(realClock(), 2),
      { outboxAllEvents: 10, outboxAllBytes: 100 },
      () => undefined,
    );
    outbox.connect(() => undefined); // sent, and never confirmed
    outbox.add({ account: { events: 0, characters: 0 }, body: '', resolve: () => undefined } as unknown as Publish);
    await oneTurn();
    await oneTurn();
    const waits = range(CALLERS_WAITING_MAX).map(() => outbox.durable());
    expect(await rejection(outbox.durable())).to.include({ code: 'ROUTER_AWAY' });
    const fill = fillOf(outbox.collections(), 'events_callers_for_store');
    expect(fill).to.deep.equal({ size: CALLERS_WAITING_MAX, limit: CALLERS_WAITING_MAX, dropped: 1 });
    outbox.confirmed([{ seq: 1, firstOffset: 1, known: false, duplicates: [] }]);
    await Promise.all(waits);
  });

  it('a question that waits for the disk when the thread ends is answered or refused, and never forgotten', async () => {
    const host = world().host();
    host.declare([subscription('A')]);
    await host.start();
    const audits = range(20).map(() => {
      void publisherOf(host).publish('COUNTED', { n: 1 });
      return host.audit().then(
        () => 'answered',
        (thrown: { code: string }) => thrown.code,
      );
    });
    await host.crash();
    for (const outcome of await Promise.all(audits)) expect(outcome).to.be.oneOf(['answered', 'ROUTER_AWAY']);
  });

  describe('of dead letters', () => {
    it('one answer holds as many as fit, and at least one', async () => {
      const { file } = world();
      const store = openStore(file, 'h', 'l');
      store.registerTopics(['COUNTED']);
      store.declare([subscription('A')], 0);
      const body = JSON.stringify('x'.repeat(LETTERS_CHARACTERS_MAX / 4));
      store.begin();
      for (const offset of range(6, 1))
        store.addEvent(offset, store.topics.get('COUNTED')!.id, 1, `e${offset}`, 's', 0, body);
      store.flushEvents();
      const subscriptionId = store.subscriptions()[0]!.id;
      for (const offset of range(6, 1))
        store.saveDeath({ subscription: subscriptionId, offset, attempts: 6, reason: 'r', at: 0, nextRetryAt: 0 });
      store.commit();
      expect(store.deadLetters({ max: 100 }).map(({ id }) => id)).to.deep.equal([1, 2, 3]);
      expect(store.lettersDue(1, 100)).to.have.length(3);
      expect(store.lettersById([6, 5, 4, 2]).map(({ id }) => id)).to.deep.equal([2, 4, 5]);
      store.close();
    });

    it('no more are handed to handlers than there is room for; the others are skipped, and counted', async () => {
      const clock = simulatedClock();
      const letters = range(LETTERS_IN_HAND_MAX + 5, 1).map((id) => ({
        ...{ id, subscriber: 'HANGS', topic: 'COUNTED', offset: id, eventId: `e${id}`, source: 's', version: 1 },
        ...{ body: {}, reason: 'r', attempts: 6, retries: 0, state: 'pending', publishedAtMs: 0, deadAtMs: 0 },
        ...{ nextRetryAtMs: 0, closedAtMs: null },
      }));
      const lane = { redeliver: () => new Promise<null>(() => undefined) };
      const deadLetters = createDeadLetters({
        clock,
        outbox: { durable: () => Promise.resolve() } as unknown as Outbox,
        subscriptions: { find: () => ({}), laneOf: () => lane } as unknown as Subscriptions,
        ask: () => Promise.resolve(letters),
      });
      const outcomes = deadLetters.retry('all', 1_000_000);
      await clock.advance(10_000);
      const skipped = (await outcomes).filter(({ message }) => message.includes('handlers are busy with'));
      expect(skipped.map(({ id }) => id)).to.deep.equal(range(5, LETTERS_IN_HAND_MAX + 1));
      expect(deadLetters.inHand()).to.deep.equal({
        ...{ size: LETTERS_IN_HAND_MAX, limit: LETTERS_IN_HAND_MAX, dropped: 5 },
      });
    });
  });

  it('a re-attach that gave up waiting for the router is forgotten', async () => {
    const clock = movedClock();
    const host = world(clock).host();
    host.declare([subscription('A')]);
    const failed = rejection(host.reattach('A'));
    clock.move(5_001);
    expect(await failed).to.include({ code: 'ROUTER_AWAY' });
    expect(fillOf(host.collections(), 'events_callers_for_router').size, 'its wait is over').to.equal(0);
  });
});

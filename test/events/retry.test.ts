import { expect } from 'chai';
import {
  DELIVERY_ATTEMPTS_MAX,
  DELIVERY_RETRY_MS,
  letterDelayMs,
  retryDelayMs,
} from '../../src/events/retry-schedule.ts';
import type { RouterHost } from '../../src/events/router-api.ts';
import {
  clearWorlds,
  collector,
  movedClock,
  publisherOf,
  range,
  subscription,
  until,
  world,
  type Counted,
  type MovedClock,
} from './support.ts';

describe('retry schedule', () => {
  it('five retries at 1, 2, 4, 8 and 16 s, 31 s in all, and then no more', () => {
    expect(range(6, 1).map(retryDelayMs)).to.deep.equal([1000, 2000, 4000, 8000, 16_000, null]);
    expect(DELIVERY_RETRY_MS.reduce((sum, delay) => sum + delay, 0)).to.equal(31_000);
    expect(DELIVERY_ATTEMPTS_MAX).to.equal(6);
  });

  it('a dead letter waits 60 s doubling to an hour, five times, and is then given up', () => {
    expect(range(6).map(letterDelayMs)).to.deep.equal([60_000, 120_000, 240_000, 480_000, 960_000, null]);
  });
});

describe('event router: a handler that fails', function () {
  this.timeout(20_000);
  afterEach(clearWorlds);

  /** Moves the clock from one retry to the next until the subscription has nothing left. */
  const exhaust = async (clock: MovedClock, attempts: () => number): Promise<void> => {
    for (const [index, delay] of DELIVERY_RETRY_MS.entries()) {
      await until(() => attempts() === index + 1);
      await new Promise((resolve) => setImmediate(resolve));
      clock.move(delay);
    }
    await until(() => attempts() === DELIVERY_ATTEMPTS_MAX);
  };

  const poisonedWorld = async () => {
    const clock = movedClock();
    const made = world(clock);
    const host = made.host();
    host.declare([subscription('FRAGILE'), subscription('STURDY')]);
    await host.start();
    let fixed = false;
    const fragile = await collector(host, 'FRAGILE', (event) => {
      if (event.body.n === 2 && !fixed) throw new Error('two is too much');
    });
    const sturdy = await collector(host, 'STURDY');
    const publisher = publisherOf(host);
    await Promise.all(range(5).map((n) => publisher.publish('COUNTED', { n })));
    return { ...made, clock, host, fragile, sturdy, publisher, fix: () => void (fixed = true) };
  };
  const bury = async ({ clock, fragile }: Awaited<ReturnType<typeof poisonedWorld>>): Promise<void> => {
    await exhaust(clock, () => fragile.numbers().filter((n) => n === 2).length);
    await until(() => fragile.numbers().includes(4));
  };

  it('a handler that ends its own start before it returns is cut off once, and its event comes again', async () => {
    const host = world().host();
    host.declare([subscription('FRAGILE')]);
    await host.start();
    let called = 0;
    const client = host.client({
      subscriber: 'FRAGILE',
      generation: 1,
      publishes: [],
      handlers: {
        COUNTED: () => {
          called += 1;
          client.detach();
        },
      },
    });
    await client.attach();
    await publisherOf(host).publish('COUNTED', { n: 7 });
    await until(() => called === 1);
    const { handlersRunning, acked } = host.stats();
    expect({ handlersRunning, acked }).to.deep.equal({ handlersRunning: 0, acked: 0 });
    const next = await collector(host, 'FRAGILE', undefined, 2);
    await until(() => next.seen.length === 1);
    expect(next.seen.map(({ attempt, body }) => [attempt, body.n])).to.deep.equal([[2, 7]]);
  });

  it('a poison event is tried six times in 31 s, becomes one dead letter, and delays nobody else', async () => {
    const made = await poisonedWorld();
    const { host, fragile, sturdy } = made;
    await until(() => sturdy.seen.length === 5); // while FRAGILE is between its tries
    expect(fragile.numbers()).to.deep.equal([0, 1, 2]);
    await bury(made);
    expect(fragile.numbers()).to.deep.equal([0, 1, 2, 2, 2, 2, 2, 2, 3, 4]);
    expect(fragile.seen.filter((event) => event.body.n === 2).map((event) => event.attempt)).to.deep.equal(range(6, 1));
    await until(() => host.stats().deadLettersPending === 1);
    const [letter, ...more] = await host.deadLetters();
    expect(more).to.deep.equal([]);
    expect(letter).to.deep.include({
      subscriber: 'FRAGILE',
      topic: 'COUNTED',
      body: { n: 2 },
      reason: 'two is too much',
      attempts: 6,
      retries: 0,
      state: 'pending',
    });
    const { rows, lost } = await host.audit();
    expect(lost).to.equal(0);
    expect(rows.map(({ handled, pending, deadLettered }) => [handled, pending, deadLettered])).to.deep.equal([
      [4, 0, 1],
      [5, 0, 0],
    ]);
  });

  it('a retry that succeeds is an ack like any other', async () => {
    const made = await poisonedWorld();
    const { host, clock, fragile, fix } = made;
    await until(() => fragile.numbers().length === 3 && host.stats().retries === 1);
    fix();
    clock.move(1000);
    await until(() => fragile.numbers().length === 6);
    expect(fragile.numbers()).to.deep.equal([0, 1, 2, 2, 3, 4]);
    expect(host.stats()).to.include({ retries: 1, deadLettered: 0 });
  });

  it('the count of attempts goes on after a crash of the router and after one of the master', async () => {
    const clock = movedClock();
    const { host: make } = world(clock);
    const attempts: number[] = [];
    const begin = async (host: RouterHost) => {
      host.declare([subscription('FRAGILE')]);
      await host.start();
      return collector(host, 'FRAGILE', (event: Counted) => {
        attempts.push(event.attempt);
        throw new Error('never');
      });
    };
    const first = make();
    const { client } = await begin(first);
    await publisherOf(first).publish('COUNTED', { n: 1 });
    await until(() => attempts.length === 1);
    await new Promise((resolve) => setImmediate(resolve));
    await first.crash();
    await first.start(); // the retry waits on through it
    clock.move(1000);
    await until(() => attempts.length === 2);
    await first.audit(); // the count is durable
    await first.crash();
    client.detach();

    await begin(make());
    for (const [index, delay] of [4000, 8000, 16_000].entries()) {
      await until(() => attempts.length === 3 + index);
      await new Promise((resolve) => setImmediate(resolve));
      clock.move(delay);
    }
    await until(() => attempts.length === 6);
    expect(attempts).to.deep.equal(range(6, 1));
  });

  it('an event that takes its daemon down each time becomes a dead letter as well', async () => {
    const host = world().host();
    host.declare([subscription('DYING')]);
    await host.start();
    await publisherOf(host).publish('COUNTED', { n: 1 });
    for (const generation of range(DELIVERY_ATTEMPTS_MAX, 1)) {
      const { client, seen } = await collector(host, 'DYING', () => new Promise(() => {}), generation);
      await until(() => seen.length === 1);
      expect(seen[0]!.attempt).to.equal(generation);
      client.detach();
    }
    const last = await collector(host, 'DYING', () => {}, 9);
    await until(() => host.stats().deadLettersPending === 1);
    expect(last.seen).to.deep.equal([]);
    expect((await host.deadLetters())[0]).to.include({
      attempts: 6,
      reason: 'DYING ended while it handled this event',
    });
  });

  it('a dead letter that is retried goes to its handler alone, with its attempts, and is recovered', async () => {
    const made = await poisonedWorld();
    const { host, fragile, sturdy, fix } = made;
    await bury(made);
    const [letter] = await host.deadLetters();
    expect(await host.retryDeadLetters([letter!.id, 99])).to.deep.equal([
      { id: letter!.id, outcome: 'failed', message: 'two is too much' },
      { id: 99, outcome: 'skipped', message: 'there is no such dead letter' },
    ]);
    fix();
    expect(await host.retryDeadLetters('all')).to.deep.equal([
      { id: letter!.id, outcome: 'recovered', message: 'FRAGILE handled it at attempt 8' },
    ]);
    expect(fragile.seen.at(-1)).to.deep.include({ attempt: 8, id: letter!.eventId, body: { n: 2 } });
    expect(sturdy.seen.length).to.equal(5);
    expect((await host.deadLetters())[0]).to.include({
      state: 'recovered',
      retries: 2,
      attempts: 8,
      nextRetryAtMs: null,
    });
    expect(await host.retryDeadLetters([letter!.id])).to.deep.equal([
      { id: letter!.id, outcome: 'skipped', message: 'it was recovered before' },
    ]);
    expect((await host.audit()).lost).to.equal(0);
  });

  it('due letters are retried with growing waits, and abandoned after five', async () => {
    const made = await poisonedWorld();
    const { host, clock } = made;
    await bury(made);
    await until(() => host.stats().deadLettersPending === 1);
    expect(await host.retryDeadLetters('due')).to.deep.equal([]);
    const outcomes: string[] = [];
    for (const delay of [60_000, 120_000, 240_000, 480_000, 960_000]) {
      clock.move(delay - 1000);
      expect(await host.retryDeadLetters('due'), `before ${delay} ms`).to.deep.equal([]);
      clock.move(1100);
      outcomes.push(...(await host.retryDeadLetters('due')).map(({ outcome }) => outcome));
    }
    expect(outcomes).to.deep.equal(['failed', 'failed', 'failed', 'failed', 'abandoned']);
    clock.move(10 * 3_600_000);
    expect(await host.retryDeadLetters('due')).to.deep.equal([]);
    expect((await host.deadLetters({ state: 'abandoned' }))[0]).to.include({ retries: 5, attempts: 11 });

    expect(await host.purgeDeadLetters()).to.equal(0);
    clock.move(8 * 24 * 3_600_000);
    expect(await host.purgeDeadLetters()).to.equal(1);
    expect(await host.deadLetters()).to.deep.equal([]);
    expect((await host.audit()).lost).to.equal(0);
  });

  it('a letter whose handler is not attached costs no try', async () => {
    const made = await poisonedWorld();
    const { host, fragile } = made;
    await bury(made);
    fragile.client.detach();
    const [letter] = await host.deadLetters();
    expect(await host.retryDeadLetters('all')).to.deep.equal([
      { id: letter!.id, outcome: 'skipped', message: 'FRAGILE is not attached to COUNTED' },
    ]);
    expect((await host.deadLetters())[0]).to.include({ retries: 0, state: 'pending' });
  });

  it('a letter whose handler never returns keeps only its caller waiting, and not for ever', async () => {
    const clock = movedClock();
    const { host: make } = world(clock);
    const host = make();
    host.declare([subscription('FRAGILE')]);
    await host.start();
    let hang = false;
    const { seen, client } = await collector(host, 'FRAGILE', () => {
      if (hang) return new Promise<void>(() => {});
      throw new Error('no');
    });
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await exhaust(clock, () => seen.length);
    await until(() => host.stats().deadLettersPending === 1);
    hang = true;
    const before = host.stats().handlersRunning;
    const retry = host.retryDeadLetters('all');
    await until(() => host.stats().handlersRunning === before + 1);
    expect((await host.retryDeadLetters('all'))[0]).to.include({
      outcome: 'skipped',
      message: 'FRAGILE is still busy with it',
    });
    client.detach(); // its daemon is restarted, as a hung one is
    expect((await retry)[0]).to.include({ outcome: 'skipped', message: 'FRAGILE ended first' });
    expect((await host.deadLetters())[0]).to.include({ retries: 0, state: 'pending' });
  });
});

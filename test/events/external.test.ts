import { expect } from 'chai';
import { createExternal, type ExternalTools } from '../../src/events/external.ts';
import { ROUTER_LIMITS } from '../../src/events/limits.ts';
import { clearWorlds, movedClock, publisherOf, range, rejection, until, world } from './support.ts';

describe('Subscribers outside the fleet', function () {
  this.timeout(20_000);
  afterEach(clearWorlds);

  it('fetch what came since they subscribed, and what they acknowledged does not come again', async () => {
    const host = world().host();
    await host.start();
    const publisher = publisherOf(host);
    await publisher.publish('COUNTED', { n: 0 });
    await host.subscribeExternal('script', ['COUNTED']);
    await Promise.all(range(5, 1).map((n) => publisher.publish('COUNTED', { n })));
    const first = await host.poll('script', { max: 3, waitMs: 5_000 });
    expect(first.map(({ body }) => body)).to.deep.equal([{ n: 1 }, { n: 2 }, { n: 3 }]);
    expect(await host.ack('script', [first[0]!.offset, first[1]!.offset, 99_999])).to.equal(2);
    await host.fail('script', first[2]!.offset, 'not now');
    const more = await host.poll('script', { max: 9, waitMs: 5_000 });
    expect(more.map(({ body }) => body)).to.deep.equal([{ n: 4 }, { n: 5 }]);
    await until(async () => (await host.poll('script', { max: 9, waitMs: 100 })).some(({ attempt }) => attempt === 2));
    await host.unsubscribeExternal('script');
    expect(await rejection(host.poll('script', { max: 1, waitMs: 0 }))).to.include({ code: 'SUBSCRIPTION_UNKNOWN' });
  });

  it('lose nothing that they fetched and did not acknowledge in time, nor by going away while they wait', async () => {
    const clock = movedClock();
    const host = world(clock).host({ externalLeaseMs: 1_000 });
    await host.start();
    await host.subscribeExternal('script', ['COUNTED']);
    const gone = new AbortController();
    const waiting = host.poll('script', { max: 9, waitMs: 60_000, signal: gone.signal });
    await new Promise((resolve) => setImmediate(resolve));
    gone.abort();
    expect(await waiting).to.deep.equal([]);
    await publisherOf(host).publish('COUNTED', { n: 1 });
    const poll = (): ReturnType<typeof host.poll> => host.poll('script', { max: 9, waitMs: 0 });
    await until(async () => (await poll()).length === 1);
    clock.move(1_001); // the lease
    await until(() => host.stats().retries === 1);
    clock.move(1_000); // the first pause
    let again: Awaited<ReturnType<typeof poll>> = [];
    await until(async () => (again = await poll()).length === 1);
    expect(again[0]).to.deep.include({ attempt: 2, body: { n: 1 } });
  });

  it('that speak up while the router is away are heard when it is back', async () => {
    const clock = movedClock();
    const host = world(clock).host();
    await host.start();
    await host.subscribeExternal('script', ['COUNTED']);
    await host.poll('script', { max: 1, waitMs: 0 });
    await host.crash();
    clock.move(120_000); // long enough that the books want to be told
    expect(await host.ack('script', [])).to.equal(0);
    await host.start();
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await until(async () => (await host.poll('script', { max: 1, waitMs: 0 })).length === 1);
  });

  it('whose desk could not be attached get another at their next poll', async () => {
    let opened = 0;
    let closed = 0;
    const client = {
      attach: () => Promise.reject(new Error('the log was replaced')),
      detach: () => void closed++,
    };
    const external = createExternal({
      ...{ clock: movedClock(), limits: ROUTER_LIMITS, topicsOf: () => ['COUNTED'], names: () => [] },
      ...{ serving: () => Promise.resolve(), durable: () => Promise.resolve(), seen: () => {} },
      open: () => (opened++, client as unknown as ReturnType<ExternalTools['open']>),
    });
    const poll = (): Promise<unknown> => external.poll('script', { max: 1, waitMs: 0 });
    await poll();
    await until(() => closed === 1);
    await poll();
    expect(opened).to.equal(2);
  });
});

import { expect } from 'chai';
import { clearWorlds, collector, movedClock, publisherOf, subscription, until, world } from './support.ts';

const YEAR_MS = 365 * 86_400_000;

describe('event router: a jump of the wall clock', function () {
  this.timeout(20_000);
  afterEach(clearWorlds);

  /** Time that measures goes on by `move`; the wall is set by `set`; the minute's sweep comes when it is called. */
  const settable = () => {
    const moved = movedClock();
    let shift = 0;
    const minutes: (() => void)[] = [];
    const clock = {
      ...moved,
      wallMs: () => moved.wallMs() + shift,
      every: (_: number, run: () => void) => {
        minutes.push(run);
        return { cancel: () => {} };
      },
    };
    return {
      clock,
      set: (ms: number) => void (shift += ms),
      move: moved.move,
      minute: () => minutes.forEach((run) => run()),
    };
  };

  for (const [way, jump] of [
    ['forward', YEAR_MS],
    ['back', -YEAR_MS],
  ] as const) {
    it(`by a year ${way} forgets no subscriber outside, nothing that waits for it, and no id that was chosen`, async () => {
      const { clock, set, minute } = settable();
      const host = world(clock).host();
      await host.start();
      await host.subscribeExternal('script', ['COUNTED']);
      const publisher = publisherOf(host);
      await publisher.publish('COUNTED', { n: 1 }, { id: 'chosen' });
      set(jump);
      for (let sweep = 0; sweep < 3; sweep++) {
        minute();
        await host.audit(); // asked behind the sweep
      }
      expect(await publisher.publish('COUNTED', { n: 1 }, { id: 'chosen' })).to.include({ stored: false });
      const events = await host.poll('script', { max: 9, waitMs: 5_000 });
      expect(events.map(({ body }) => body)).to.deep.equal([{ n: 1 }]);
    });

    it(`by a year ${way} makes no dead letter due sooner or later`, async () => {
      const { clock, set, move } = settable();
      const host = world(clock).host();
      host.declare([subscription('A')]);
      await host.start();
      let broken = true;
      const { seen } = await collector(host, 'A', () => {
        if (broken) throw new Error('not yet');
      });
      await publisherOf(host).publish('COUNTED', { n: 1 });
      for (let tries = 1; host.stats().deadLettered === 0; tries++) {
        await until(() => seen.length === tries);
        await until(() => host.stats().retries === tries || host.stats().deadLettered === 1);
        if (host.stats().deadLettered === 0) move(60_000);
      }
      const [letter] = await host.deadLetters();
      const delay = letter!.nextRetryAtMs! - letter!.deadAtMs;
      broken = false;
      set(jump);
      expect(await host.retryDeadLetters('due'), 'long before it is due').to.deep.equal([]);
      move(delay);
      const retried = await host.retryDeadLetters('due');
      expect(retried.map(({ outcome }) => outcome)).to.deep.equal(['recovered']);
    });
  }
});

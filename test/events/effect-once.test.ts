import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { programCommand } from '../../src/seams/entry.ts';
import { DECLARED, openEffects, POINTS, STYLES, type Point, type Style } from './effects.ts';
import { clearWorlds, collector, publisherOf, range, subscription, until, world, type World } from './support.ts';
import type { RouterHost } from '../../src/events/router-api.ts';
import type { EventEnvelope } from '../../src/events/types.ts';

const numbersOf = (rows: readonly { readonly n: number }[]): number[] => rows.map(({ n }) => n);

/** What KEYED published, in the order of the log. */
const named = async (host: RouterHost): Promise<number[]> => {
  const seen: number[] = [];
  const client = host.client({
    ...{ subscriber: 'WITNESS', generation: 1, publishes: [] },
    handlers: { NAMED: ({ body }: EventEnvelope<{ name: string }>) => void seen.push(Number(body.name)) },
  });
  await client.attach();
  await until(() => host.ledger().find(({ subscriber }) => subscriber === 'WITNESS')!.lag === 0);
  return seen;
};

/** A life of the program beside this file; resolves with how it ended. */
const live = (folder: string, args: readonly string[]): Promise<string> => {
  const [file = '', ...rest] = programCommand('./effect-program.ts', import.meta.url, [folder, ...args]);
  const child = spawn(file, rest, { stdio: ['ignore', 'ignore', 'inherit'] });
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`)));
};

describe('An effect and its acknowledgement', function () {
  this.timeout(120_000);
  afterEach(clearWorlds);

  describe('when the thread of the router is ended', () => {
    for (const style of STYLES)
      it(`at any point of a ${style} handler: every effect happens once, since the host knows what was finished`, async () => {
        const { host: make, folder } = world();
        const host = make();
        host.declare(DECLARED);
        await host.start();
        const reached = new Map<number, Point>(POINTS.map((point, index) => [index * 2 + 1, point]));
        const crashed: Point[] = [];
        let back: Promise<void> = Promise.resolve();
        const effects = openEffects(join(folder, 'effects.db'), 0, (_, point, { body }) => {
          if (reached.get(body.n) !== point) return;
          reached.delete(body.n);
          crashed.push(point);
          back = host.crash().then(() => host.start());
        });
        const publisher = publisherOf(host);
        await effects.attach(host, style);
        for (const n of range(POINTS.length * 2)) {
          await publisher.publish('COUNTED', { n });
          await until(() => reached.size <= POINTS.length - Math.ceil(n / 2));
          await back;
        }
        await until(() => host.ledger().find(({ subscriber }) => subscriber === style)!.lag === 0);
        expect(crashed).to.deep.equal([...POINTS]);
        const found = style === 'KEYED' ? await named(host) : numbersOf(effects.of(style));
        expect(found).to.deep.equal(range(POINTS.length * 2));
        expect((await host.audit()).lost).to.equal(0);
        effects.close();
      });
  });

  describe('when the start of the daemon ends', () => {
    /** Ends the start at each point of one event in turn, and begins the next. @returns numbers of the effects */
    const startsOf = async (style: Style, { host: make, folder }: World): Promise<number[]> => {
      const host = make();
      host.declare(DECLARED);
      await host.start();
      let ends: readonly [number, Point] | null = null;
      let ended = (): void => {};
      const effects = openEffects(join(folder, 'effects.db'), 0, (_, point, { body }) => {
        if (ends === null || ends[0] !== body.n || ends[1] !== point) return;
        ends = null;
        client.detach();
        ended();
      });
      const publisher = publisherOf(host);
      let client = await effects.attach(host, style);
      for (const [n, point] of POINTS.entries()) {
        ends = [n, point];
        const end = new Promise<void>((resolve) => (ended = resolve));
        await publisher.publish('COUNTED', { n });
        await end;
        client = await effects.attach(host, style, client.generation + 1);
        await until(() => host.ledger().find(({ subscriber }) => subscriber === style)!.lag === 0);
      }
      expect((await host.audit()).lost).to.equal(0);
      const found = style === 'KEYED' ? await named(host) : numbersOf(effects.of(style));
      effects.close();
      return found;
    };

    for (const style of ['TRANSACTIONAL', 'KEYED'] as const)
      it(`at any point of a ${style} handler: every effect happens once`, async () => {
        expect(await startsOf(style, world())).to.deep.equal(range(POINTS.length));
      });

    it('at any point of a PLAIN handler: twice where the end came before the handler returned, else once', async () => {
      // This handler does not hear that its start has ended; one that acts through its context would be refused.
      expect(await startsOf('PLAIN', world())).to.deep.equal([0, 0, 1, 1, 2, 2, 3, 4, 5]);
    });

    it('with eight events in the hands of a handler that does not recognise them: those eight come again, and no other', async () => {
      const host = world().host();
      host.declare([subscription('WIDE', 'COUNTED', 8)]);
      await host.start();
      const publisher = publisherOf(host);
      const effects: number[] = [];
      let held = true;
      const handle = ({ body }: { body: { n: number } }): Promise<void> | void => {
        effects.push(body.n);
        return held && body.n >= 12 ? new Promise<void>(() => {}) : undefined;
      };
      const first = await collector(host, 'WIDE', handle);
      await Promise.all(range(100).map((n) => publisher.publish('COUNTED', { n })));
      await until(() => effects.length === 20);
      first.client.detach();
      held = false;
      await collector(host, 'WIDE', handle, 2);
      await until(() => host.stats().lagTotal === 0);
      const again = range(100).filter((n) => effects.filter((one) => one === n).length > 1);
      expect(again).to.deep.equal(range(8, 12));
      expect(effects).to.have.length(108);
    });
  });

  describe('when the whole process is killed with SIGKILL', () => {
    it('at any point of any handler: once where effect and cursor, or the id, are one; else at most what was in flight again', async () => {
      const { folder, host: make } = world();
      const inFlight = 3;
      let lives = 0;
      for (const style of STYLES)
        for (const point of POINTS) {
          const args = [String(++lives), style, point, String(inFlight)];
          expect(await live(folder, args), `${style} ${point}`).to.equal('SIGKILL');
        }
      expect(await live(folder, [String(++lives), 'NOBODY', 'none', String(inFlight)])).to.equal('exit code 0');

      const published = range(lives, 1).flatMap((life) => range(4, life * 10));
      const effects = openEffects(join(folder, 'effects.db'), 0, () => {});
      expect(numbersOf(effects.of('TRANSACTIONAL'))).to.deep.equal(published);
      const host = make();
      host.declare(DECLARED);
      await host.start();
      expect(await named(host)).to.deep.equal(published);

      const plain = effects.of('PLAIN');
      expect([...new Set(numbersOf(plain))]).to.deep.equal(published);
      const repeatedIn = range(lives, 1).map(
        (life) =>
          plain.filter((row) => row.life === life && plain.some(({ n, life: first }) => n === row.n && first < life))
            .length,
      );
      expect(Math.max(...repeatedIn), `repeats per life: ${repeatedIn.join(' ')}`).to.be.within(1, inFlight);
      expect((await host.audit()).lost).to.equal(0);
      effects.close();
    });
  });
});

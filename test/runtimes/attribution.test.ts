import { expect } from 'chai';
import { EventEmitter } from 'node:events';
import { Worker } from 'node:worker_threads';
import PQueue from 'p-queue';
import { createAttribution, NOBODY, type Attribution, type Holder } from '../../src/runtimes/attribution.ts';
import { startSlots } from '../../src/orchestrator/start-slots.ts';
import { clearWorlds, subscription, world as routerWorld } from '../events/support.ts';
import { bareRuntime, closeAttributions, until } from './support.ts';

const A: Holder = { index: 0, daemon: 'A', generation: 1 };
const B: Holder = { index: 1, daemon: 'B', generation: 1 };

describe('Attribution: whose code runs', () => {
  let attribution: Attribution;
  const nameNow = (): string => attribution.current()?.daemon ?? 'nobody';
  beforeEach(() => void (attribution = createAttribution()));
  afterEach(() => attribution.dispose());

  it('follows timers, immediates, promises and microtasks of an async function', async () => {
    const seen = await attribution.enter(A, async () => {
      const names = [nameNow()];
      await new Promise((resolve) => setTimeout(resolve, 1));
      names.push(nameNow());
      await new Promise((resolve) => setImmediate(resolve));
      names.push(nameNow());
      await Promise.resolve();
      names.push(nameNow());
      return names;
    });
    expect(seen).to.deep.equal(['A', 'A', 'A', 'A']);
    expect(nameNow()).to.equal('nobody');
  });

  it('calls nest, and the name of the caller is back after, a throw included', () => {
    const word = new Int32Array(attribution.shared);
    attribution.enter(A, () => {
      expect(() =>
        attribution.enter(B, () => {
          expect(word[0]).to.equal(1);
          throw new Error('b');
        }),
      ).to.throw('b');
      expect(nameNow()).to.equal('A');
      expect(word[0]).to.equal(0);
      attribution.leave(() => {
        expect(nameNow()).to.equal('nobody');
        expect(word[0], 'the master itself').to.equal(NOBODY);
      });
      expect(word[0]).to.equal(0);
    });
    expect(word[0]).to.equal(NOBODY);
  });

  it('trap 1: a subscriber called while another publishes has the name of the publisher, unless it is entered', () => {
    const bus = new EventEmitter();
    const seen: string[] = [];
    bus.on('plain', () => seen.push(nameNow()));
    bus.on('entered', () => attribution.enter(B, () => seen.push(nameNow())));
    attribution.enter(A, () => {
      bus.emit('plain');
      bus.emit('entered');
      seen.push(nameNow());
    });
    expect(seen).to.deep.equal(['A', 'B', 'A']);
  });

  it('trap 2: a timer that the first caller made lazily in a shared service has that name for ever', async () => {
    const service = () => {
      let timer: NodeJS.Timeout | null = null;
      const ticks: string[] = [];
      return {
        ticks,
        use: () => void (timer ??= setInterval(() => ticks.push(nameNow()), 1)),
        close: () => clearInterval(timer ?? undefined),
      };
    };
    const lazy = service();
    const started = service();
    attribution.leave(() => started.use()); // shared services begin before any daemon
    attribution.enter(A, () => {
      lazy.use();
      started.use();
    });
    attribution.enter(B, () => lazy.use());
    await until('ticks', () => lazy.ticks.length > 1 && started.ticks.length > 1);
    lazy.close();
    started.close();
    expect(new Set(lazy.ticks)).to.deep.equal(new Set(['A']));
    expect(new Set(started.ticks)).to.deep.equal(new Set(['nobody']));
  });

  it('trap 3: a task in a promise queue runs in the context of whoever freed the slot', async () => {
    const queue = new PQueue({ concurrency: 1 });
    const seen: string[] = [];
    let freeSlot = (): void => undefined;
    attribution.enter(A, () => void queue.add(() => new Promise<void>((resolve) => (freeSlot = resolve))));
    const second = attribution.enter(B, () => queue.add(() => void seen.push(nameNow())));
    attribution.enter(A, () => freeSlot());
    await second;
    expect(seen).to.deep.equal(['A']);
  });

  it('a bare queueMicrotask keeps the name; only a throw in one has none (see uncaught.test.ts)', async () => {
    const seen = await new Promise<string>((resolve) => {
      attribution.enter(A, () => queueMicrotask(() => resolve(nameNow())));
    });
    expect(seen).to.equal('A');
  });
});

describe('Attribution in the runtime', () => {
  afterEach(closeAttributions);

  it('a start that got its slot from another daemon runs under its own name', async () => {
    const seen: string[] = [];
    const slots = startSlots(1);
    const make = (type: string, async: boolean) => ({
      create: () => {
        seen.push(`${type} is ${world.attribution.current()?.daemon ?? 'nobody'}`);
        return async ? { start: () => new Promise<void>((resolve) => setTimeout(resolve, 1)) } : {};
      },
    });
    const world = bareRuntime({ A: make('A', true), B: make('B', true), C: make('C', false) });
    let reported = 0;
    const watch = setInterval(() => {
      for (; reported < world.reports.length; reported++) slots.release(world.reports[reported]?.slice(0, 1) ?? '', 1);
    }, 1);
    for (const daemon of ['A', 'B', 'C']) slots.request(daemon, 1, 0, () => world.runtime.launch(daemon, 1));
    await until('all ready', () => world.reports.length === 3);
    clearInterval(watch);
    expect(seen).to.deep.equal(['A is A', 'B is B', 'C is C']);
    expect([...world.reportedAs], 'the runtime reports as nobody').to.deep.equal([null]);
  });

  it('a handler runs under its own name while another daemon publishes, and so do cycles and health', async () => {
    const host = routerWorld().host();
    host.declare([subscription('B')]);
    await host.start();
    const seen = new Set<string>();
    const note = (where: string) => seen.add(`${where}: ${world.attribution.current()?.daemon ?? 'nobody'}`);
    const world = bareRuntime(
      {
        A: {
          publishes: ['COUNTED'],
          create: (context) => ({
            every: {
              periodSeconds: 0.01,
              async run() {
                const { publish } = context as unknown as { publish: (name: string, body: object) => Promise<void> };
                await publish('COUNTED', { n: 1 });
                note('cycle after publish');
              },
            },
          }),
        },
        B: {
          subscribes: ['COUNTED'],
          create: ({ clock }) => ({
            on: {
              COUNTED: async () => {
                note('handler');
                await clock.sleep(1);
                note('handler after sleep');
              },
            },
            health() {
              note('health');
              return { status: 'healthy', healthy: true, message: '', details: {} } as const;
            },
          }),
        },
      },
      { router: host },
    );
    world.runtime.launch('A', 1);
    world.runtime.launch('B', 1);
    await until('handled', () => seen.size >= 3);
    world.runtime.check('B', 1_000);
    world.runtime.kill('A', 1, false);
    world.runtime.kill('B', 1, false);
    await clearWorlds();
    expect([...seen].sort()).to.deep.equal([
      'cycle after publish: A',
      'handler after sleep: B',
      'handler: B',
      'health: B',
    ]);
  });

  it('what a daemon asks of the master is done under no name, so no timer of the master carries one', async () => {
    const seen: string[] = [];
    const name = (): string => world.attribution.current()?.daemon ?? 'nobody';
    const world = bareRuntime(
      {
        A: {
          create: ({ fleet }) => ({
            async start() {
              await fleet.ask('restart', 'A', 'test');
              seen.push(`after: ${name()}`);
            },
          }),
        },
      },
      {
        fleetView: {
          ask: async () => {
            seen.push(name());
            await new Promise((resolve) => setTimeout(resolve, 1));
            seen.push(name());
            return { accepted: true, message: '' };
          },
        },
      },
    );
    world.runtime.launch('A', 1);
    await until('asked', () => seen.length === 3);
    expect(seen).to.deep.equal(['nobody', 'nobody', 'after: A']);
  });

  it('another thread reads who holds the loop while a daemon spins', async () => {
    const saw = new Int32Array(new SharedArrayBuffer(4));
    saw[0] = -2;
    const world = bareRuntime({
      QUIET: { create: () => ({}) },
      SPINNER: {
        create: () => ({
          every: {
            periodSeconds: 60,
            run() {
              const end = performance.now() + 5_000;
              while (Atomics.load(saw, 0) < 0 && performance.now() < end);
            },
          },
        }),
      },
    });
    const watcher = new Worker(
      `const { workerData } = require('node:worker_threads');
       const holder = new Int32Array(workerData.shared), saw = new Int32Array(workerData.saw);
       const look = () => { if (holder[0] >= 0) Atomics.store(saw, 0, holder[0]); else setTimeout(look, 1); };
       look();`,
      { eval: true, workerData: { shared: world.attribution.shared, saw: saw.buffer } },
    );
    await new Promise((resolve) => watcher.once('online', resolve));
    world.runtime.launch('QUIET', 1);
    world.runtime.launch('SPINNER', 1);
    await until('seen', () => Atomics.load(saw, 0) !== -2);
    await watcher.terminate();
    expect(world.fleet.daemons[saw[0] ?? -1]?.type).to.equal('SPINNER');
    expect(new Int32Array(world.attribution.shared)[0], 'once it let go').to.equal(NOBODY);
  });
});

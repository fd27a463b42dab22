import { expect } from 'chai';
import { MESSAGE_CHARACTERS_MAX } from '../../src/errors.ts';
import { healthy } from '../../src/health/verdict.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
import { clearWorlds, publisherOf, subscription, world as routerWorld } from '../events/support.ts';
import { bareRuntime, closeAttributions, never, supervised, until } from './support.ts';

afterEach(closeAttributions);

describe('An in-process start, as the supervisor sees it', () => {
  it('is STARTING until its start returns, and its dependents wait for that', async () => {
    const clock = simulatedClock();
    const world = supervised(
      {
        A: { create: (context) => ({ start: () => context.clock.sleep(300) }) },
        B: { create: () => ({}), needs: ['A'] },
      },
      { clock },
    );
    world.supervisor.boot();
    await clock.advance(299);
    expect([world.stateOf('A'), world.stateOf('B')]).to.deep.equal(['STARTING', 'WAITING']);
    await clock.advance(2);
    expect([world.stateOf('A'), world.stateOf('B')]).to.deep.equal(['RUNNING', 'RUNNING']);
    world.supervisor.dispose();
  });

  it('with manualReady is ready when it says so, and killed when it has not said so by its deadline', async () => {
    const clock = simulatedClock();
    const world = supervised(
      {
        SAYS: {
          manualReady: true,
          create: (context) => ({ start: () => void context.clock.after(100, () => context.ready()) }),
        },
        SILENT: { manualReady: true, startMs: 2_000, create: () => ({ start: () => undefined }) },
      },
      { clock },
    );
    world.supervisor.boot();
    await clock.advance(50);
    expect(world.stateOf('SAYS')).to.equal('STARTING');
    await clock.advance(60);
    expect(world.stateOf('SAYS')).to.equal('RUNNING');
    await clock.advance(1_900);
    expect(world.stateOf('SILENT')).to.equal('RESTARTING');
    expect(world.supervisor.core.get('SILENT')?.lastError).to.include({
      why: 'start-timeout',
      message: 'not ready within 2 s',
    });
    world.supervisor.dispose();
  });

  it('that hangs in start is revoked at its deadline, counted as leaked, and tried again on time', async () => {
    const clock = simulatedClock();
    const world = supervised({ A: { startMs: 1_000, create: () => ({ start: never }) } }, { clock });
    world.supervisor.boot();
    await clock.advance(1_001);
    expect(world.stateOf('A')).to.equal('RESTARTING');
    expect(world.supervisor.statusOf('A')?.leakedPromises).to.equal(1);
    await clock.advance(1_000);
    expect(world.supervisor.core.get('A')?.generation).to.equal(2);
    world.supervisor.dispose();
  });

  it('that throws in create or rejects in start is a failed start, with nothing of it left', async () => {
    const clock = simulatedClock();
    const world = supervised(
      {
        THROWS: {
          create: () => {
            throw new Error('no such table');
          },
        },
        REJECTS: {
          create: (context) => ({
            async start() {
              context.clock.every(10, () => undefined);
              await context.clock.sleep(5);
              throw new Error('port taken');
            },
          }),
        },
        IMPORTS: {
          create: () => {
            throw Object.assign(new Error("Cannot find package 'x'"), { code: 'ERR_MODULE_NOT_FOUND' });
          },
        },
      },
      { clock },
    );
    world.supervisor.boot();
    await clock.advance(20);
    expect(world.supervisor.core.get('THROWS')?.lastError).to.include({
      why: 'start-failed',
      message: 'no such table',
    });
    expect(world.supervisor.core.get('REJECTS')?.lastError).to.include({ why: 'start-failed', message: 'port taken' });
    expect([world.stateOf('THROWS'), world.stateOf('REJECTS')]).to.deep.equal(['RESTARTING', 'RESTARTING']);
    expect(world.stateOf('IMPORTS'), 'a retry cannot mend it').to.equal('FAILED');
    expect(world.runtime().findLeft()).to.deep.equal([]);
    world.supervisor.dispose();
  });

  it('that is a one-shot is COMPLETED when its start returns, and its scope is closed', async () => {
    const clock = simulatedClock();
    let ticks = 0;
    const world = supervised(
      {
        ONCE: {
          oneShot: true,
          create: (context) => ({
            async start() {
              context.clock.every(10, () => ticks++);
              await context.clock.sleep(35);
            },
          }),
        },
        AFTER: { create: () => ({}), needs: [{ on: 'ONCE', condition: 'completed' }] },
      },
      { clock },
    );
    world.supervisor.boot();
    await clock.advance(40);
    expect([world.stateOf('ONCE'), world.stateOf('AFTER')]).to.deep.equal(['COMPLETED', 'RUNNING']);
    await clock.advance(500);
    expect(ticks).to.equal(3);
    expect(world.runtime().findLeft()).to.deep.equal(['AFTER (start 1)']);
    world.supervisor.dispose();
  });

  it('that is stopped drains: the running cycle and handler finish, then its stop runs, then it is gone', async () => {
    const host = routerWorld().host();
    host.declare([subscription('A')]);
    await host.start();
    const order: string[] = [];
    let finish = (): void => undefined;
    const gate = new Promise<void>((resolve) => (finish = resolve));
    const world = bareRuntime(
      {
        A: {
          subscribes: ['COUNTED'],
          create: (context) => ({
            on: {
              COUNTED: async () => {
                order.push('handler begins');
                await gate;
                order.push(`handler ends, aborted ${context.signal.aborted}`);
              },
            },
            every: {
              periodSeconds: 0.05,
              async run() {
                order.push('cycle begins');
                await gate;
                order.push('cycle ends');
              },
            },
            stop: () => void order.push('stop'),
          }),
        },
      },
      { router: host },
    );
    world.runtime.launch('A', 1);
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await until('both run', () => order.length === 2);
    world.runtime.stop('A', 1, false);
    await new Promise((resolve) => setImmediate(resolve));
    expect(world.reports).to.deep.equal(['A 1 ready']);
    finish();
    await until('gone', () => world.reports.length === 2);
    expect(order.slice(2).sort()).to.deep.equal(['cycle ends', 'handler ends, aborted true', 'stop']);
    expect(order.at(-1)).to.equal('stop');
    expect(world.reports[1]).to.equal('A 1 ended');
    await publisherOf(host).publish('COUNTED', { n: 2 });
    expect(order, 'no handler of an ended start is called').to.have.length(5);
    await clearWorlds();
  });

  it('whose stop rejects is gone all the same, and the log says why', async () => {
    const world = bareRuntime({ A: { create: () => ({ stop: () => Promise.reject(new Error('the disk is full')) }) } });
    world.runtime.launch('A', 1);
    world.runtime.stop('A', 1, false);
    await until('gone', () => world.reports.length === 2);
    expect(world.reports[1]).to.equal('A 1 ended');
    expect(world.logged).to.include('A: stop failed: the disk is full');
  });

  it('whose health check throws is unhealthy, with what it threw and what is known of its cycles', () => {
    const { runtime } = bareRuntime({
      A: {
        create: () => ({
          health: () => {
            throw new Error('no handle');
          },
        }),
      },
    });
    runtime.launch('A', 1);
    const { health, missed } = runtime.check('A', 1_000);
    expect(health).to.include({ status: 'unhealthy', message: 'its health check threw: no handle' });
    expect(health.details).to.include({ cycles: 0 });
    expect(missed).to.equal(false);
  });

  it('that cannot be attached to a router that stays away says so', async () => {
    const host = routerWorld().host({ canaryMs: 30 });
    host.declare([subscription('A')]);
    const world = bareRuntime(
      { A: { subscribes: ['COUNTED'], create: () => ({ on: { COUNTED: () => {} } }) } },
      { router: host },
    );
    world.runtime.launch('A', 1);
    world.runtime.reattach('A', 1);
    await until('it is told', () => world.reports.length === 2);
    expect(world.reports[1]).to.match(
      /^A 1 reattached false: cannot re-attach A: the event router did not serve within 0\.03 s/,
    );
    world.runtime.kill('A', 1, false);
    await clearWorlds();
  });

  it('that dies with an endless message is told with as much of it as can be kept', async () => {
    const clock = simulatedClock();
    const create = () => ({
      start: () => {
        throw new Error('x'.repeat(1_000_000));
      },
    });
    const world = supervised({ A: { create } }, { clock });
    world.supervisor.boot();
    await clock.advance(10);
    const { lastError } = world.supervisor.statusOf('A') ?? {};
    expect(lastError).to.have.length.within(MESSAGE_CHARACTERS_MAX, MESSAGE_CHARACTERS_MAX + 40);
    world.supervisor.dispose();
  });

  it('whose stop never returns is killed at its deadline', async () => {
    const clock = simulatedClock();
    const world = supervised({ A: { stopMs: 3_000, create: () => ({ stop: never }) } }, { clock });
    world.supervisor.boot();
    await clock.advance(10);
    const outcome = world.supervisor.execute({
      verb: 'stop',
      daemons: ['A'],
      origin: 'operator',
      reason: 'test',
      waitMs: 10_000,
    });
    await clock.advance(2_900);
    expect(world.stateOf('A')).to.equal('STOPPING');
    await clock.advance(200);
    expect(world.stateOf('A')).to.equal('STOPPED');
    expect(await outcome).to.include({ ok: true });
    expect(world.supervisor.statusOf('A')?.leakedPromises).to.equal(1);
    world.supervisor.dispose();
  });

  it('that throws in a timer crashes; in a cycle it does not, and the cycles go on', async () => {
    const clock = simulatedClock();
    let cycles = 0;
    const world = supervised(
      {
        TIMER: {
          create: (context) => ({
            start: () =>
              void context.clock.after(50, () => {
                throw new Error('in a timer');
              }),
          }),
        },
        CYCLE: {
          create: () => ({
            every: {
              periodSeconds: 1,
              run() {
                cycles++;
                throw new Error('in a cycle');
              },
            },
          }),
        },
      },
      { clock },
    );
    world.supervisor.boot();
    await clock.advance(60);
    expect(world.stateOf('TIMER')).to.equal('RESTARTING');
    expect(world.supervisor.core.get('TIMER')?.lastError).to.include({ why: 'exit', message: 'in a timer' });
    await clock.advance(4_000);
    expect(world.stateOf('CYCLE')).to.equal('RUNNING');
    expect(cycles).to.be.greaterThan(3);
    expect(world.supervisor.core.get('CYCLE')?.generation).to.equal(1);
    world.supervisor.dispose();
  });

  it('cycles of one start never overlap, and none begins after its end', async () => {
    const clock = simulatedClock();
    let running = 0;
    let overlaps = 0;
    let begun = 0;
    const world = bareRuntime(
      {
        A: {
          create: (context) => ({
            every: {
              periodSeconds: 1,
              async run() {
                begun++;
                if (++running > 1) overlaps++;
                await context.clock.sleep(2_500);
                running--;
              },
            },
          }),
        },
      },
      { clock },
    );
    world.runtime.launch('A', 1);
    await clock.advance(30_000);
    expect(overlaps).to.equal(0);
    expect(begun).to.be.within(11, 13);
    world.runtime.kill('A', 1, false);
    const before = begun;
    await clock.advance(30_000);
    expect(begun).to.equal(before);
    expect(clock.pending()).to.equal(0);
  });

  it('survivors of a daemon that has no start are ended by the proof of a full stop, not left for ever', async () => {
    const ended: string[] = [];
    const live = new Set(['KEPT']);
    const world = bareRuntime(
      { A: { create: () => ({ health: () => healthy() }) } },
      {
        processes: {
          spawn: never,
          live: () => [...live].map((name) => ({ name, process: null as never })),
          end: never,
          endAllOf(daemon, { survivors }) {
            ended.push(`${daemon} ${survivors}`);
            live.clear();
            return Promise.resolve();
          },
          left: () => [...live],
        },
      },
    );
    expect(world.runtime.findLeft()).to.deep.equal(['KEPT']);
    expect(ended, 'a look').to.deep.equal([]);
    world.runtime.endOrphans();
    expect(ended).to.deep.equal(['A true']);
    expect(world.runtime.findLeft()).to.deep.equal([]);
  });
});

import Database from 'better-sqlite3';
import { expect } from 'chai';
import { OrchestratorError } from '../../src/errors.ts';
import { policiesOf } from '../../src/fleet/policies.ts';
import { defineDaemon } from '../../src/daemons/definition.ts';
import { degraded, healthy, unhealthy, type Health } from '../../src/health/verdict.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
import { closeAttributions, never, supervised, until, type Daemon } from '../runtimes/support.ts';
import { clearWorlds, publisherOf, subscription, world as routerWorld } from '../events/support.ts';

/** What a critical daemon gets, by tempo. */
const shipped = (tempo: 'quick' | 'standard') =>
  policiesOf({
    definition: defineDaemon({ type: 'X', purpose: '', category: 'test', create: () => ({}) }),
    builtIn: true,
    critical: true,
    tempo,
    defaults: {},
    entry: {},
  }).health;

const QUICK = shipped('quick');

const booted = async (daemon: Daemon) => {
  const clock = simulatedClock();
  const world = supervised({ A: { health: QUICK, ...daemon } }, { clock });
  world.supervisor.boot();
  await clock.advance(0);
  const restarted = async (withinMs: number): Promise<number | null> => {
    const from = clock.monotonicMs();
    while (clock.monotonicMs() - from < withinMs) {
      if (world.stateOf('A') !== 'RUNNING') return clock.monotonicMs() - from;
      await clock.advance(10);
    }
    return null;
  };
  return { ...world, clock, restarted };
};

afterEach(closeAttributions);

describe('Health: periods as shipped', () => {
  it('critical daemons are checked each second with half a second to answer in quick, each 15 s in standard', () => {
    expect(QUICK).to.deep.equal({ periodMs: 1_000, timeoutMs: 500, failures: 3 });
    expect(shipped('standard')).to.deep.equal({ periodMs: 15_000, timeoutMs: 5_000, failures: 3 });
  });
});

describe('Health: a hang', () => {
  it('in a cycle is found within 3.5 s of a critical daemon, at whatever moment it begins', async () => {
    for (let offset = 0; offset < 1_000; offset += 110) {
      let hang = false;
      const { clock, supervisor, restarted, stateOf } = await booted({
        create: (context) => ({
          every: { periodSeconds: 0.05, run: () => (hang ? never() : context.clock.sleep(1)) },
        }),
      });
      await clock.advance(5_000 + offset);
      expect(stateOf('A')).to.equal('RUNNING');
      hang = true;
      const found = await restarted(10_000);
      expect(found, `begun at ${offset} ms`).to.be.within(1, 3_600); // it hangs at its next cycle, up to 60 ms later
      expect(supervisor.core.get('A')?.lastError?.why).to.equal('hung');
      supervisor.dispose();
      closeAttributions();
    }
  });

  it('is found although somebody who looks on threw and ended the stream of verdicts', async () => {
    let hang = false;
    const { clock, supervisor, restarted, logged } = await booted({
      create: () => ({ every: { periodSeconds: 0.05, run: () => (hang ? never() : undefined) } }),
    });
    let threw = false;
    supervisor.onVerdict(() => {
      if (threw) return;
      threw = true;
      throw new Error('cannot draw it');
    });
    await clock.advance(2_000);
    expect(logged).to.include('verdicts: cannot draw it');
    hang = true;
    expect(await restarted(6_000)).to.be.a('number');
    supervisor.dispose();
  });

  it('in a cycle gets no graceful stop', async () => {
    let stopped = false;
    let hang = false;
    const { clock, restarted, supervisor } = await booted({
      create: () => ({
        every: { periodSeconds: 0.05, run: () => (hang ? never() : undefined) },
        stop: () => void (stopped = true),
      }),
    });
    await clock.advance(1_000);
    hang = true;
    expect(await restarted(5_000)).to.be.a('number');
    expect(stopped).to.equal(false);
    expect(supervisor.statusOf('A')?.leakedPromises).to.equal(1);
    supervisor.dispose();
  });

  it('in a handler is found although the cycles of the daemon and its health check go on well', async () => {
    const host = routerWorld().host();
    host.declare([subscription('A')]);
    await host.start();
    const world = supervised(
      {
        A: {
          health: { periodMs: 250, timeoutMs: 100, failures: 3 },
          subscribes: ['COUNTED'],
          create: (context) => ({
            on: { COUNTED: never },
            every: { periodSeconds: 0.02, run: () => context.clock.sleep(1) },
            health: () => healthy({ lastProgressAt: context.clock.monotonicMs() }),
          }),
        },
      },
      { router: host },
    );
    world.supervisor.boot();
    await until('it runs', () => world.stateOf('A') === 'RUNNING');
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await until('the hang is found', () => world.stateOf('A') !== 'RUNNING', 10_000);
    expect(world.supervisor.core.get('A')?.lastError).to.include({ why: 'hung' });
    expect(world.supervisor.core.get('A')?.lastError?.message).to.include('handler of COUNTED has not moved');
    world.supervisor.dispose();
    await clearWorlds();
  });

  it('is not what shared work is that waits for a receipt of the router, and what hangs then is found later', async () => {
    const { file, host: newHost } = routerWorld();
    const host = newHost();
    host.declare([subscription('A')]);
    await host.start();
    let publishing: Promise<unknown> | null = null;
    let waited = 0;
    const world = supervised(
      {
        A: {
          health: { periodMs: 100, timeoutMs: 50, failures: 3 },
          subscribes: ['COUNTED'],
          publishes: ['COUNTED'],
          create: (context) => ({
            on: { COUNTED: never },
            start() {
              // As work is that a request from outside began: it belongs to no call that is under way.
              context.clock.after(50, () => void (publishing = context.publish('COUNTED' as never, { n: 1 } as never)));
            },
            every: { periodSeconds: 0.1, run: () => publishing?.then(() => void waited++) },
          }),
        },
      },
      { router: host },
    );
    const other = new Database(file);
    world.supervisor.boot();
    await until('its subscription is proven', () => host.ledger()[0]?.state === 'attached');
    other.exec('BEGIN IMMEDIATE'); // another program's lock holds the log up as a full disk does
    await until('the log is held up', () => host.stats().stalled !== null);
    const checks = (): number => world.supervisor.statusOf('A')?.health.consecutiveFailures ?? 0;
    for (let look = 0; look < 100; look++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect([world.stateOf('A'), checks()]).to.deep.equal(['RUNNING', 0]);
    }
    expect(waited).to.equal(0);
    other.exec('ROLLBACK');
    other.close();
    await until('the hang of its handler is found', () => world.stateOf('A') !== 'RUNNING', 10_000);
    expect(waited).to.be.greaterThan(0);
    expect(world.supervisor.core.get('A')?.lastError?.message).to.include('handler of COUNTED has not moved');
    world.supervisor.dispose();
    await clearWorlds();
  });

  it('is not what waiting for the context is', async () => {
    const { supervisor, restarted } = await booted({
      create: (context) => ({ every: { periodSeconds: 100, run: () => context.clock.sleep(60_000) } }),
    });
    expect(await restarted(55_000)).to.equal(null);
    supervisor.dispose();
  });

  it('is not what a long piece of work is that says by heartbeats that it moves, until they end', async () => {
    const { supervisor, restarted } = await booted({
      create: (context) => ({
        start() {
          const beat = context.clock.every(200, () => context.heartbeat());
          context.clock.after(50_000, () => beat.cancel());
        },
        every: { periodSeconds: 100, run: never },
      }),
    });
    expect(await restarted(50_000)).to.equal(null);
    expect(await restarted(5_000)).to.be.within(2_000, 3_600);
    supervisor.dispose();
  });

  it('is not what a call is that waits behind an older one that moves', async () => {
    const { supervisor, restarted } = await booted({
      create: (context) => {
        let turn: Promise<unknown> = Promise.resolve();
        const inTurn = (work: () => Promise<void>) => (turn = turn.then(work)) as Promise<void>;
        return {
          every: [
            { periodSeconds: 30, run: () => inTurn(() => context.clock.sleep(20_000)) },
            { periodSeconds: 30, run: () => inTurn(() => context.clock.sleep(1)) },
          ],
        };
      },
    });
    expect(await restarted(20_000)).to.equal(null);
    supervisor.dispose();
  });

  it('an answer of the context that never comes makes the cycle overdue after ten minutes', async () => {
    const { supervisor, restarted } = await booted({
      create: (context) => ({ every: { periodSeconds: 1, run: () => context.clock.sleep(1e9) } }),
    });
    const found = await restarted(700_000);
    expect(found).to.be.within(600_000, 606_000);
    expect(supervisor.core.get('A')?.lastError?.message).to.include('cycle is overdue');
    supervisor.dispose();
  }).timeout(60_000);
});

describe('Health: what a daemon says', () => {
  const saying = (say: () => Health): Daemon => ({ create: () => ({ health: say }) });

  it('three failures in a row restart it, two and a good one do not', async () => {
    let say = healthy();
    const { clock, supervisor, stateOf, restarted } = await booted(saying(() => say));
    await clock.advance(2_000);
    const streak = (): number => supervisor.core.get('A')?.streak ?? 0;
    say = unhealthy('disk full');
    while (streak() < 2) await clock.advance(10);
    say = healthy();
    await clock.advance(1_000);
    expect([stateOf('A'), streak()]).to.deep.equal(['RUNNING', 0]);
    say = unhealthy('disk full');
    expect(await restarted(5_000)).to.be.within(2_000, 3_100);
    expect(supervisor.core.get('A')?.lastError).to.include({
      why: 'unhealthy',
      message: '3 failed health checks in a row: disk full',
    });
    supervisor.dispose();
  });

  it('degraded never restarts', async () => {
    const { supervisor, restarted, stateOf } = await booted(saying(() => degraded('stale')));
    expect(await restarted(120_000)).to.equal(null);
    expect(stateOf('A')).to.equal('RUNNING');
    expect(supervisor.statusOf('A')?.health).to.include({ status: 'degraded', healthy: true });
    supervisor.dispose();
  });

  it('grace covers a daemon that is not well yet for its start time, and ends at its first good check', async () => {
    let say = unhealthy('warming up');
    const { supervisor, clock, restarted } = await booted({ ...saying(() => say), startMs: 20_000 });
    expect(await restarted(19_000), 'within its grace').to.equal(null);
    say = healthy();
    await clock.advance(1_000);
    supervisor.dispose();
    closeAttributions();

    let other = healthy();
    const second = await booted({ ...saying(() => other), startMs: 20_000 });
    await second.clock.advance(1_500);
    other = unhealthy('broke down');
    expect(await second.restarted(4_000), 'grace is over, though its start time is not').to.be.a('number');
    second.supervisor.dispose();
    closeAttributions();

    const third = await booted({ ...saying(() => unhealthy('never well')), startMs: 5_000 });
    expect(await third.restarted(10_000)).to.be.within(5_000, 8_500);
    third.supervisor.dispose();
  });

  it('an error rate above one half over at least ten cycles is unhealthy; nine failures are not yet', async () => {
    let cycles = 0;
    const { clock, supervisor, restarted } = await booted({
      health: { periodMs: 250, timeoutMs: 100, failures: 3 },
      create: () => ({
        every: {
          periodSeconds: 1,
          run() {
            cycles++;
            throw new Error('cannot reach node-7');
          },
        },
      }),
    });
    while (cycles < 9) await clock.advance(50);
    await clock.advance(250);
    expect(supervisor.core.get('A')?.streak).to.equal(0);
    expect(await restarted(5_000)).to.be.a('number');
    expect(supervisor.core.get('A')?.lastError?.message).to.include(
      '100 % of its last 10 cycles failed: cannot reach node-7',
    );
    supervisor.dispose();
  });

  for (const error of [
    Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }),
    new OrchestratorError('ROUTER_AWAY', { message: 'cannot ask: the event router is away', remedy: 'none' }),
  ])
    it(`cycles that fail since "${error.message}" are shown, and not restarted: that mends nothing`, async () => {
      const { supervisor, restarted } = await booted({
        health: { periodMs: 250, timeoutMs: 100, failures: 3 },
        create: () => ({ every: { periodSeconds: 1, run: () => Promise.reject(error) } }),
      });
      expect(await restarted(60_000)).to.equal(null);
      const { health } = supervisor.statusOf('A') ?? {};
      expect(health?.status).to.equal('degraded');
      expect(health?.message).to.include(`cycles failed: ${error.message}`);
      supervisor.dispose();
    });

  it('one cycle in two failing is no more than half: it is shown, and not restarted', async () => {
    let cycles = 0;
    const { supervisor, restarted } = await booted({
      create: () => ({
        every: {
          periodSeconds: 0.5,
          run() {
            if (++cycles % 2 === 0) throw new Error('now and then');
          },
        },
      }),
    });
    expect(await restarted(60_000)).to.equal(null);
    expect(supervisor.statusOf('A')?.health.details.errorRate).to.equal(0.5);
    supervisor.dispose();
  });

  it('evidence from outside counts for a minute after it was reported, then what the daemon says counts again', async () => {
    const { clock, supervisor, restarted, stateOf } = await booted(saying(() => healthy()));
    await clock.advance(2_000);
    supervisor.reportEvidence('A', degraded('no output for 300 s'));
    await clock.advance(30_000);
    expect(supervisor.statusOf('A')?.health).to.include({ status: 'degraded', message: 'no output for 300 s' });
    await clock.advance(32_000);
    expect(supervisor.statusOf('A')?.health.status).to.equal('healthy');
    supervisor.reportEvidence('A', unhealthy('its output is gone'));
    expect(await restarted(5_000)).to.be.a('number');
    expect(stateOf('A')).to.not.equal('RUNNING');
    supervisor.dispose();
  });

  it('evidence against one start says nothing of the next', async () => {
    const { clock, supervisor, restarted } = await booted(saying(() => healthy()));
    await clock.advance(2_000);
    supervisor.reportEvidence('A', unhealthy('its process is gone'));
    expect(await restarted(5_000)).to.be.a('number');
    await clock.advance(3_000);
    expect(supervisor.statusOf('A')).to.include({ state: 'RUNNING', generation: 2 });
    expect(supervisor.statusOf('A')?.health.status).to.equal('healthy');
    expect(await restarted(60_000)).to.equal(null);
    supervisor.dispose();
  });

  it('a stall of the loop in the middle of two failures neither adds one nor forgives them', async () => {
    let say = healthy();
    const { clock, supervisor } = await booted(saying(() => say));
    await clock.advance(2_000);
    say = unhealthy('x');
    const streak = (): number => supervisor.core.get('A')?.streak ?? 0;
    while (streak() < 2) await clock.advance(10);
    for (let stall = 0; stall < 4; stall++) {
      clock.stall(30_000);
      await clock.advance(0);
      expect(streak()).to.equal(2);
    }
    supervisor.dispose();
  });
});

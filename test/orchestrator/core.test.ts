import { expect } from 'chai';
import { BareCore } from '../support/bare-core.ts';
import { fleetOf } from '../support/fleets.ts';

/*  ROUTER ← PIPELINE ← SYNC ← LEAF      FREE
 *     ↑________________________|  (all hard; router edges re-attach)
 */
const CHAIN = fleetOf({
  EVENT_ROUTER: [],
  PIPELINE: ['EVENT_ROUTER'],
  SYNC: ['EVENT_ROUTER', 'PIPELINE'],
  LEAF: ['EVENT_ROUTER', 'SYNC'],
  FREE: [],
});

describe('the core: start order', () => {
  it('a boot starts dependencies before dependents', () => {
    const world = new BareCore(CHAIN).boot();
    expect(world.launched).to.deep.equal(['EVENT_ROUTER', 'FREE', 'PIPELINE', 'SYNC', 'LEAF']);
    expect(Object.values(world.states()).every((state) => state === 'RUNNING')).to.be.true;
  });

  it('a dependency that is not ready keeps its dependents WAITING, down to the leaf', () => {
    const world = new BareCore(CHAIN);
    world.autoReady = false;
    world.boot();
    expect(world.state('EVENT_ROUTER')).to.equal('STARTING');
    expect(world.state('LEAF')).to.equal('WAITING');
    const leaf = world.core.waitingFor(world.core.get('LEAF')!);
    expect(leaf.map((wait) => wait.message)).to.include('EVENT_ROUTER is STARTING, needs to be ready');
  });

  it('a start that fails while it is to be stopped, and waits for its dependents to go, is no failure: it is STOPPED', () => {
    const world = new BareCore(fleetOf({ A: [], B: [{ on: 'A', condition: 'started' }] }));
    world.autoReady = false;
    world.boot();
    expect(world.states()).to.deep.equal({ A: 'STARTING', B: 'STARTING' });
    world.command('stop', ['A']);
    expect(world.states()).to.deep.equal({ A: 'STARTING', B: 'STOPPING' });
    const failure = { message: 'cannot start', code: 'TEST' };
    world.input({ kind: 'start-failed', daemon: 'A', generation: 1, failure, cause: 'config' });
    expect(world.state('A')).to.equal('STOPPED');
    world.finishStops();
    expect(world.states()).to.deep.equal({ A: 'STOPPED', B: 'WAITING' });
    expect(world.core.get('A')?.restarts).to.equal(0);
  });

  it('the rule that decided a failure is named until the daemon runs again, or an operator resets it', () => {
    const world = new BareCore(fleetOf({ A: [] })).boot();
    const rule = (): string => world.core.get('A')!.rule;
    expect(rule()).to.equal('');
    world.exit('A');
    expect(rule()).to.equal('restart 1 of 5 after 1 s');
    world.autoReady = false;
    world.pass(1_000);
    expect([world.state('A'), rule()]).to.deep.equal(['STARTING', 'restart 1 of 5 after 1 s']);
    for (let times = 0; times < 5; times++) world.pass(50_000);
    expect([world.state('A'), rule()]).to.deep.equal(['FAILED', 'restart budget spent: 5 of 5 restarts used']);
    world.command('reset', ['A']);
    expect([world.state('A'), rule()]).to.deep.equal(['STARTING', '']);
    world.autoReady = true;
    world.exit('A');
    world.pass(1_000);
    expect([world.state('A'), rule()]).to.deep.equal(['RUNNING', '']);
  });

  it('a start that is not ready in time is killed and counts as a failed start', () => {
    const world = new BareCore(fleetOf({ SLOW: [] }));
    world.autoReady = false;
    world.boot();
    world.pass(30_000);
    expect(world.state('SLOW')).to.equal('RESTARTING');
    expect(world.core.get('SLOW')?.lastError?.why).to.equal('start-timeout');
  });

  it('an order edge is waited for while the other is on its way, and no longer than its time', () => {
    const world = new BareCore(fleetOf({ FIRST: [], SECOND: [{ on: 'FIRST', kind: 'order' }] }));
    world.autoReady = false;
    world.boot();
    expect(world.state('SECOND')).to.equal('WAITING');
    world.pass(29_999);
    expect(world.launched).to.deep.equal(['FIRST']);
    world.pass(1);
    expect(world.launched).to.deep.equal(['FIRST', 'SECOND']);
  });

  it('a slot granted after the dependency was lost is let go', () => {
    const world = new BareCore(fleetOf({ A: [], B: ['A'] }));
    world.boot();
    world.exit('B');
    world.pass(999);
    world.exit('A');
    world.pass(1);
    expect(world.state('B')).to.equal('WAITING');
    world.pass(999);
    expect(world.states()).to.deep.equal({ A: 'RUNNING', B: 'RUNNING' });
  });
});

describe('the core: back-off (runbook "Exponential Backoff")', () => {
  it('a daemon that keeps dying restarts after 1, 2, 4, 8 and 16 s, then is FAILED', () => {
    const world = new BareCore(fleetOf({ A: [] })).boot();
    const delays: number[] = [];
    for (let failure = 0; failure < 5; failure++) {
      world.exit('A');
      expect(world.state('A')).to.equal('RESTARTING');
      const at = world.now;
      const due = world.timers.get('backoff:A') ?? NaN;
      delays.push(due - at);
      world.pass(due - at);
      expect(world.state('A')).to.equal('RUNNING');
    }
    expect(delays).to.deep.equal([1000, 2000, 4000, 8000, 16_000]);
    world.exit('A');
    expect(world.state('A')).to.equal('FAILED');
    world.pass(3_600_000);
    expect(world.state('A')).to.equal('FAILED');
  });

  it('300 s of RUNNING clear the counter, 299 s do not', () => {
    const world = new BareCore(fleetOf({ A: [] })).boot();
    world.exit('A');
    world.pass(1000 + 299_999);
    expect(world.core.get('A')?.restarts).to.equal(1);
    world.pass(1);
    expect(world.core.get('A')?.restarts).to.equal(0);
  });

  it('reset of a FAILED daemon clears the counter and starts it at once', () => {
    const world = new BareCore(fleetOf({ A: [] }, { A: { autoRestart: false } })).boot();
    world.exit('A');
    expect(world.state('A')).to.equal('FAILED');
    const id = world.command('reset', ['A']);
    expect(world.state('A')).to.equal('RUNNING');
    expect(world.reply(id)?.ok).to.be.true;
    const start = world.command('start', ['A']);
    expect(world.reply(start)?.ok).to.be.true;
    expect(world.launched).to.deep.equal(['A', 'A']);
  });

  it('a failure while a hard dependency is away is not charged and retried when it is back', () => {
    const world = new BareCore(fleetOf({ EVENT_ROUTER: [], A: ['EVENT_ROUTER'] })).boot();
    world.exit('EVENT_ROUTER');
    world.exit('A');
    expect(world.state('A')).to.equal('WAITING');
    expect(world.core.get('A')?.restarts).to.equal(0);
    expect(world.core.get('A')?.secondaryFailures).to.equal(1);
    world.pass(1000);
    expect(world.state('A')).to.equal('RUNNING');
  });

  it('a drill failure takes the first delay each time and costs nothing', () => {
    const world = new BareCore(fleetOf({ A: [] })).boot();
    world.command('drill-begin', ['A']);
    for (let failure = 0; failure < 8; failure++) {
      world.exit('A');
      world.pass(1000);
      expect(world.state('A')).to.equal('RUNNING');
    }
    expect(world.core.get('A')?.restarts).to.equal(0);
    world.command('drill-heal', ['A']);
    world.exit('A');
    expect(world.core.get('A')?.restarts).to.equal(1);
  });

  it('restarts by a drill, and those it cascades to, are not counted in the hour that alerts look at', () => {
    const world = new BareCore(fleetOf({ A: [], B: ['A'] })).boot();
    const fail = (): void => {
      world.exit('A');
      world.finishStops();
      world.pass(1000);
      expect(world.states()).to.deep.equal({ A: 'RUNNING', B: 'RUNNING' });
    };
    world.command('drill-begin', ['A']);
    fail();
    const counted = (): number[] => ['A', 'B'].map((type) => world.core.get(type)!.restartTimes.length);
    expect(counted()).to.deep.equal([0, 0]);
    world.command('drill-heal', ['A']);
    fail();
    expect(counted()).to.deep.equal([1, 1]);
  });

  it('an import failure is FAILED at once: a retry cannot mend it', () => {
    const world = new BareCore(fleetOf({ A: [] }));
    world.autoReady = false;
    world.boot();
    world.input({
      kind: 'start-failed',
      daemon: 'A',
      generation: 1,
      failure: { message: 'no such module', code: 'ERR_MODULE_NOT_FOUND' },
      cause: 'import-failed',
    });
    expect(world.state('A')).to.equal('FAILED');
  });
});

describe('the core: cascades', () => {
  it('a crash takes its restart dependents down leaf first and brings them back root first', () => {
    const world = new BareCore(CHAIN).boot();
    world.launched.length = 0;
    world.exit('PIPELINE');
    expect(world.stops).to.deep.equal(['LEAF']);
    expect(world.finishStops()).to.deep.equal(['LEAF', 'SYNC']);
    world.pass(1000);
    expect(world.launched).to.deep.equal(['PIPELINE', 'SYNC', 'LEAF']);
    expect(world.core.get('FREE')?.generation).to.equal(1);
    expect(world.core.get('EVENT_ROUTER')?.generation).to.equal(1);
  });

  it('the loss of the router leaves its dependents RUNNING and has each prove its subscriptions when it is back', () => {
    const world = new BareCore(CHAIN).boot();
    world.exit('EVENT_ROUTER');
    expect(world.state('SYNC')).to.equal('RUNNING');
    world.effects.length = 0;
    world.pass(1000);
    const reattached = world.effects.flatMap((effect) => (effect.do === 'reattach' ? [effect.daemon] : []));
    expect(reattached).to.deep.equal(['PIPELINE', 'SYNC', 'LEAF']);
    for (const daemon of reattached) world.input({ kind: 'reattached', daemon, generation: 1, ok: true, message: '' });
    expect(world.core.members.every((member) => member.generation === (member.type === 'EVENT_ROUTER' ? 2 : 1))).to.be
      .true;
  });

  it('a re-attachment that is not proven within 5 s is upgraded to a restart, of that daemon and its cascade only', () => {
    const world = new BareCore(CHAIN).boot();
    world.exit('EVENT_ROUTER');
    world.pass(1000);
    for (const daemon of ['PIPELINE', 'LEAF'])
      world.input({ kind: 'reattached', daemon, generation: 1, ok: true, message: '' });
    world.pass(5000);
    world.finishStops();
    world.pass(250);
    expect(world.core.members.map((member) => [member.type, member.generation])).to.deep.equal([
      ['EVENT_ROUTER', 2],
      ['PIPELINE', 1],
      ['SYNC', 2],
      ['LEAF', 2],
      ['FREE', 1],
    ]);
  });

  it('three missed checks kill without a graceful stop; three unhealthy ones stop it, dependents first', () => {
    const world = new BareCore(CHAIN).boot();
    for (let check = 0; check < 3; check++)
      world.input({ kind: 'verdict', daemon: 'LEAF', generation: 1, verdict: 'missed', message: 'no answer' });
    expect(world.stops).to.deep.equal(['LEAF!']);
    expect(world.core.get('LEAF')?.lastError?.why).to.equal('hung');
    world.pass(1000);
    world.stops.length = 0;
    for (let check = 0; check < 3; check++)
      world.input({ kind: 'verdict', daemon: 'SYNC', generation: 1, verdict: 'unhealthy', message: 'stale' });
    expect(world.finishStops()).to.deep.equal(['LEAF', 'SYNC']);
    expect(world.core.get('SYNC')?.lastError?.why).to.equal('unhealthy');
    world.pass(1000);
    expect(world.state('LEAF')).to.equal('RUNNING');
  });

  it('two unhealthy checks and a good one do nothing', () => {
    const world = new BareCore(CHAIN).boot();
    for (const verdict of ['unhealthy', 'unhealthy', 'healthy', 'unhealthy', 'unhealthy'] as const)
      world.input({ kind: 'verdict', daemon: 'LEAF', generation: 1, verdict, message: '' });
    expect(world.state('LEAF')).to.equal('RUNNING');
    expect(world.stops).to.deep.equal([]);
  });
});

describe('the core: commands', () => {
  it('stop takes hard dependents along leaf first; they wait, and come back when it is started', () => {
    const world = new BareCore(CHAIN).boot();
    const id = world.command('stop', ['PIPELINE']);
    expect(world.finishStops()).to.deep.equal(['LEAF', 'SYNC', 'PIPELINE']);
    expect(world.reply(id)?.ok).to.be.true;
    expect(world.states()).to.include({ PIPELINE: 'STOPPED', SYNC: 'WAITING', LEAF: 'WAITING', FREE: 'RUNNING' });
    const waits = world.core.waitingFor(world.core.get('LEAF')!);
    expect(waits[0]).to.include({ impossible: true, remedy: 'master_loop start PIPELINE' });
    world.pass(250);
    const start = world.command('start', ['PIPELINE']);
    expect(world.reply(start)?.ok).to.be.true;
    expect(world.state('LEAF')).to.equal('RUNNING');
  });

  it('a stop during back-off cancels the restart', () => {
    const world = new BareCore(fleetOf({ A: [] })).boot();
    world.exit('A');
    world.command('stop', ['A']);
    expect(world.state('A')).to.equal('STOPPED');
    world.pass(60_000);
    expect(world.state('A')).to.equal('STOPPED');
  });

  it('a start while stopping starts again after the proof that it is gone', () => {
    const world = new BareCore(fleetOf({ A: [] })).boot();
    const stop = world.command('stop', ['A']);
    const start = world.command('start', ['A']);
    expect(world.launched).to.deep.equal(['A']);
    world.finishStops();
    expect(world.state('A')).to.equal('RUNNING');
    expect(world.reply(start)?.ok).to.be.true;
    expect(world.reply(stop)).to.include({ ok: false });
  });

  it('restart changes the generation of the daemon and its cascade, and of nobody else', () => {
    const world = new BareCore(CHAIN).boot();
    const id = world.command('restart', ['SYNC']);
    world.finishStops();
    world.pass(250);
    expect(world.reply(id)?.ok).to.be.true;
    expect(world.core.members.map((member) => member.generation)).to.deep.equal([1, 1, 2, 2, 1]);
  });

  it('a start whose dependency is FAILED ends as impossible and names the remedy', () => {
    const world = new BareCore(fleetOf({ A: [], B: ['A'] }, { A: { autoRestart: false } })).boot();
    world.exit('A');
    world.finishStops();
    const id = world.command('start', ['B']);
    expect(world.reply(id)).to.include({ ok: false, code: 'impossible' });
    expect(world.reply(id)?.message).to.include('master_loop reset A');
  });

  it('a command for an unknown daemon touches nothing', () => {
    const world = new BareCore(CHAIN).boot();
    const id = world.command('restart', ['SYNC', 'NOBODY']);
    expect(world.reply(id)?.code).to.equal('unknown-daemon');
    expect(world.stops).to.deep.equal([]);
  });
});

describe('the core: full recovery', () => {
  it('stops in reverse order, proves, drains 10 s after the last exit, and starts in order', () => {
    const world = new BareCore(CHAIN).boot();
    const id = world.command('recover', [], { waitMs: 120_000 });
    expect(world.stops).to.have.members(['LEAF', 'FREE']);
    expect(world.finishStops().slice(-3)).to.deep.equal(['SYNC', 'PIPELINE', 'EVENT_ROUTER']);
    expect(world.core.operation?.phase).to.equal('draining');
    world.launched.length = 0;
    world.pass(9_999);
    expect(world.launched).to.deep.equal([]);
    world.pass(1);
    expect(world.launched).to.deep.equal(['EVENT_ROUTER', 'FREE', 'PIPELINE', 'SYNC', 'LEAF']);
    expect(world.reply(id)).to.include({ ok: true });
    expect(world.core.lastOperation).to.include({ verdict: 'recovered' });
  });

  it('a daemon that ignores the stop is killed after its deadline', () => {
    const world = new BareCore(fleetOf({ A: [] })).boot();
    world.command('recover', [], { drainMs: 0 });
    world.pass(10_000);
    expect(world.stops).to.deep.equal(['A', 'A!']);
    expect(world.state('A')).to.equal('RUNNING');
  });

  it('a crash of the master in the drain is continued by the next start with the verdict resumed', () => {
    const first = new BareCore(CHAIN).boot();
    first.command('recover', []);
    first.finishStops();
    const keeps = new Map(first.core.members.map((member) => [member.type, member.keep()]));
    const second = new BareCore(CHAIN, { keeps, operation: first.core.operation });
    second.now = 3_000;
    expect(second.core.operation, 'also for who asks before it boots').to.include({ verb: 'recover', resumed: true });
    second.boot();
    expect(second.launched).to.deep.equal([]);
    second.pass(10_000);
    expect(second.core.lastOperation).to.include({ verdict: 'resumed' });
    expect(second.state('LEAF')).to.equal('RUNNING');
  });

  for (const [verb, origin, cause] of [
    ['shutdown', 'operator', 'operator'],
    ['recover', 'operator', 'recovery'],
    ['recover', 'schedule', 'schedule'],
  ] as const) {
    it(`what a ${verb} by ${origin} stops and starts has the cause ${cause}`, () => {
      const world = new BareCore(CHAIN).boot();
      const before = world.effects.length;
      world.command(verb, [], { origin, drainMs: 0 });
      world.finishStops();
      world.pass(1);
      const causes = world.effects
        .slice(before)
        .flatMap((effect) => (effect.do === 'journal' && effect.record.type === 'transition' ? [effect.record] : []))
        .filter(({ on }) => on !== 'ready');
      expect(causes.map(({ to }) => to)).to.include.members(['STOPPING', 'WAITING']);
      expect(new Set(causes.map(({ why }) => why))).to.deep.equal(new Set([cause]));
    });
  }

  it('a second stop of everything kills, and says that it was shortened', () => {
    const world = new BareCore(fleetOf({ A: [], B: ['A'] })).boot();
    world.command('shutdown');
    world.command('shutdown');
    expect(world.stops).to.have.members(['B', 'B!', 'A!']);
    const said = world.effects.flatMap((effect) =>
      effect.do === 'journal' && effect.record.type === 'transition' && effect.record.daemon === 'A'
        ? [effect.record.message]
        : [],
    );
    expect(said).to.include('full stop, shortened: test');
  });

  it('a second recovery is refused while one is under way', () => {
    const world = new BareCore(CHAIN).boot();
    world.command('recover', []);
    const id = world.command('recover', []);
    expect(world.reply(id)).to.include({ ok: false, code: 'refused' });
    expect(world.reply(id)?.details).to.deep.equal({ operation: world.core.operation }); // the record, no more
  });

  it('FAILED and operator stops survive a restart of the master; the counter too', () => {
    const first = new BareCore(fleetOf({ A: [], B: [], C: [] }, { A: { autoRestart: false } })).boot();
    first.exit('A');
    first.command('stop', ['B']);
    first.finishStops();
    first.exit('C');
    const keeps = new Map(first.core.members.map((member) => [member.type, member.keep()]));
    const second = new BareCore(fleetOf({ A: [], B: [], C: [] }), { keeps }).boot();
    expect(second.states()).to.deep.equal({ A: 'FAILED', B: 'STOPPED', C: 'RUNNING' });
    expect(second.core.get('C')?.restarts).to.equal(1);
    expect(second.core.get('C')?.generation).to.equal(2);
  });
});

describe('the core: storms', () => {
  it('twenty repeated failures within a minute hold the restarts of non-critical daemons and name the root', () => {
    const names = Array.from({ length: 12 }, (_, index) => `D${index}`);
    const world = new BareCore(fleetOf(Object.fromEntries(names.map((name) => [name, []])))).boot();
    for (let round = 0; round < 3; round++) {
      for (const name of names) if (world.state(name) === 'RUNNING') world.exit(name);
      world.pass(8_000);
    }
    const alerts = world.effects.flatMap((effect) => (effect.do === 'alert' ? [effect.alert] : []));
    expect(alerts.filter((alert) => alert.name === 'storm' && !alert.resolved)).to.have.length(1);
    expect(world.core.stormOpen).to.be.true;
    world.pass(60_000);
    expect(world.core.stormOpen).to.be.false;
    expect(Object.values(world.states()).every((state) => state === 'RUNNING')).to.be.true;
  });
});

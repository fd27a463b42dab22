import { expect } from 'chai';
import type { DaemonKeep } from '../../src/orchestrator/types.ts';
import { BareCore } from '../support/bare-core.ts';
import { fleetOf } from '../support/fleets.ts';

const keepsOf = (world: BareCore): Map<string, DaemonKeep> =>
  new Map(world.core.members.map((member) => [member.type, member.keep()]));

describe('the core: conditions of a start', () => {
  it('a permission taken back because an order dependency went away again is given anew when its time is over', () => {
    const world = new BareCore(fleetOf({ A: [], B: [{ on: 'A', kind: 'order' }] }));
    world.autoStart = false;
    world.boot();
    world.autoReady = false;
    world.begin('A');
    world.input({ kind: 'ready', daemon: 'A', generation: 1 });
    expect(world.core.get('B')?.permit).to.be.true; // every slot is taken: it cannot begin
    world.exit('A');
    expect(world.core.get('B')?.permit).to.be.false;
    world.pass(30_000);
    expect(world.core.get('B')?.permit).to.be.true;
  });

  it('a stop while it waits for an order dependency forgets that wait; a start begins it anew', () => {
    const world = new BareCore(fleetOf({ A: [], B: [{ on: 'A', kind: 'order' }] }));
    world.autoReady = false;
    world.boot();
    world.pass(10_000);
    world.command('stop', ['B']);
    world.command('start', ['B']);
    world.pass(29_999);
    expect(world.state('B')).to.equal('WAITING');
    world.pass(1);
    expect(world.state('B')).to.equal('STARTING');
  });

  it('a daemon that is about to stop is no ground to start on, even for those that need it only started', () => {
    const world = new BareCore(
      fleetOf({ ROOT: [], SLOW: ['ROOT'], QUICK: [{ on: 'ROOT', condition: 'started' }] }),
    ).boot();
    world.command('restart', ['ROOT']);
    expect(world.stops).to.have.members(['SLOW', 'QUICK']);
    world.stopped('QUICK');
    world.launched.length = 0;
    world.pass(250);
    expect(world.launched).to.deep.equal([]);
    world.stopped('SLOW');
    world.stopped('ROOT');
    expect(world.launched).to.have.members(['ROOT', 'SLOW', 'QUICK']);
  });

  it('what a start pulled in is pulled in again by the next master', () => {
    const fleet = fleetOf({ A: [], B: ['A'] }, { '*': { inProfile: false } });
    const first = new BareCore(fleet).boot();
    expect(first.states()).to.deep.equal({ A: 'STOPPED', B: 'STOPPED' });
    first.command('start', ['B']);
    expect(first.states()).to.deep.equal({ A: 'RUNNING', B: 'RUNNING' });
    const second = new BareCore(fleet, { keeps: keepsOf(first) }).boot();
    expect(second.states()).to.deep.equal({ A: 'RUNNING', B: 'RUNNING' });
  });

  it('what a start of named daemons wants outside the profile is wanted by the next master too', () => {
    const fleet = fleetOf({ A: [] }, { '*': { inProfile: false } });
    const first = new BareCore(fleet).boot();
    first.command('start-profile', ['A']);
    expect(first.state('A')).to.equal('RUNNING');
    const second = new BareCore(fleet, { keeps: keepsOf(first) }).boot();
    expect(second.state('A')).to.equal('RUNNING');
  });
});

describe('the core: an operator stops what is not running', () => {
  it('stops those that stayed up without it, when it waits for its next attempt', () => {
    const world = new BareCore(fleetOf({ EVENT_ROUTER: [], A: ['EVENT_ROUTER'], B: ['A'] })).boot();
    world.exit('EVENT_ROUTER');
    expect(world.state('A')).to.equal('RUNNING');
    const id = world.command('stop', ['EVENT_ROUTER']);
    expect(world.finishStops()).to.deep.equal(['B', 'A']);
    expect(world.states()).to.deep.equal({ EVENT_ROUTER: 'STOPPED', A: 'WAITING', B: 'WAITING' });
    expect(world.reply(id)?.ok).to.be.true;
  });

  it('stops those that stayed up without it, when it is stopping for another reason', () => {
    const world = new BareCore(fleetOf({ EVENT_ROUTER: [], A: ['EVENT_ROUTER'] })).boot();
    world.command('restart', ['EVENT_ROUTER']);
    world.command('stop', ['EVENT_ROUTER']);
    world.finishStops();
    expect(world.states()).to.deep.equal({ EVENT_ROUTER: 'STOPPED', A: 'WAITING' });
  });
});

describe('the core: an operator stops what nobody wants', () => {
  it('and no start of another pulls it in, in this master or the next', () => {
    const fleet = fleetOf({ A: [], B: ['A'] }, { '*': { inProfile: false } });
    const first = new BareCore(fleet).boot();
    first.command('stop', ['A']);
    const id = first.command('start', ['B']);
    expect(first.states()).to.deep.equal({ A: 'STOPPED', B: 'WAITING' });
    expect(first.reply(id)?.message).to.include('A was stopped by an operator');
    const second = new BareCore(fleet, { keeps: keepsOf(first) }).boot();
    expect(second.states()).to.deep.equal({ A: 'STOPPED', B: 'WAITING' });
  });
});

describe('the core: an operator who changes his mind', () => {
  for (const verb of ['start', 'restart'] as const)
    it(`${verb} while a stop waits for a dependent brings it back, and counts it as not up until then`, () => {
      const world = new BareCore(fleetOf({ A: [], B: ['A'] })).boot();
      world.command('stop', ['A']);
      expect(world.state('A')).to.equal('RUNNING'); // B goes first
      const id = world.command(verb, ['A']);
      expect(world.core.get('A')?.wanted).to.equal('up');
      world.finishStops();
      world.pass(250);
      expect(world.states()).to.deep.equal({ A: 'RUNNING', B: 'RUNNING' });
      expect(world.reply(id)?.ok).to.be.true;
      expect(world.core.notUpCount).to.equal(0);
    });

  it('a start of what is stopped while STARTING is counted as not up', () => {
    const world = new BareCore(fleetOf({ A: [], B: [{ on: 'A', condition: 'started' }] }));
    world.autoReady = false;
    world.boot();
    world.command('stop', ['A']);
    expect(world.core.notUpCount).to.equal(1);
    world.command('start', ['A']);
    expect(world.core.notUpCount).to.equal(2);
  });
});

describe('the core: a one-shot task that ends while it is to stop', () => {
  /*  TASK ← B: B must be gone before TASK is asked to stop  */
  const world = (): BareCore => {
    const made = new BareCore(
      fleetOf({ TASK: [], B: [{ on: 'TASK', condition: 'started' }] }, { TASK: { oneShot: true } }),
    );
    made.autoReady = false;
    return made.boot();
  };
  const done = (made: BareCore): unknown => made.input({ kind: 'ready', daemon: 'TASK', generation: 1 });

  it('is STOPPED when an operator stopped it, before its stop was issued or after', () => {
    for (const issued of [false, true]) {
      const made = world();
      made.command('stop', ['TASK']);
      if (issued) made.stopped('B');
      expect(made.state('TASK')).to.equal(issued ? 'STOPPING' : 'STARTING');
      done(made);
      expect(made.state('TASK')).to.equal('STOPPED');
    }
  });

  it('runs again when an operator restarts it', () => {
    const made = world();
    made.command('restart', ['TASK']);
    done(made);
    expect(made.core.get('TASK')?.generation).to.equal(2);
  });

  it('is COMPLETED when only a full stop wanted it gone, and the stop goes on', () => {
    const made = world();
    made.command('recover', [], { drainMs: 0 });
    done(made);
    expect(made.state('TASK')).to.equal('COMPLETED');
    made.autoReady = true;
    made.finishStops();
    expect(made.core.lastOperation).to.include({ verdict: 'recovered' });
  });
});

describe('the core: causes', () => {
  it('a stop that waited for a dependent names what decided it, not what it waited for', () => {
    const world = new BareCore(fleetOf({ A: [], B: ['A'] })).boot();
    const command = world.core.nextSeq;
    world.command('restart', ['A']);
    world.exit('B'); // it crashes while it is asked to stop: a root of its own
    const stop = world.effects.find(
      (effect) =>
        effect.do === 'journal' &&
        effect.record.type === 'transition' &&
        effect.record.daemon === 'A' &&
        effect.record.to === 'STOPPING',
    );
    expect(stop).to.include({ cause: command });
  });

  it('a restart after a failed re-attachment leads back to the crash of the router', () => {
    const world = new BareCore(fleetOf({ EVENT_ROUTER: [], A: ['EVENT_ROUTER'] })).boot();
    const crash = world.core.nextSeq;
    world.exit('EVENT_ROUTER');
    world.pass(1000);
    world.input({ kind: 'reattached', daemon: 'A', generation: 1, ok: false, message: 'refused' });
    const causes = new Map<number, number | null>(world.causes);
    let seq = world.core.get('A')!.seq;
    const chain: number[] = [];
    for (; seq !== null; seq = causes.get(seq) ?? null) chain.push(seq);
    expect(chain.at(-1)).to.equal(crash);
  });
});

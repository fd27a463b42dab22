import { expect } from 'chai';
import { ACT_VERBS, COMMAND_MERGE, type MergeAction } from '../../src/lifecycle/command-merge.ts';
import { DAEMON_STATES, type DaemonState } from '../../src/lifecycle/states.ts';
import type { Effect } from '../../src/orchestrator/types.ts';
import { BareCore } from '../support/bare-core.ts';
import { fleetOf, type SpecOverrides } from '../support/fleets.ts';

/** A core whose daemon D is in that state with one restart charged; D waits for A only where it must wait. */
const inState = (state: DaemonState): BareCore => {
  const over: SpecOverrides = { oneShot: state === 'COMPLETED', autoRestart: state !== 'FAILED' };
  const world = new BareCore(fleetOf(state === 'WAITING' ? { A: [], D: ['A'] } : { D: [] }, { D: over }));
  world.autoReady = state !== 'WAITING' && state !== 'STARTING';
  world.boot();
  if (state === 'RESTARTING' || state === 'FAILED') world.exit('D');
  if (state === 'STOPPED') world.command('stop', ['D']);
  if (state === 'STOPPED') world.finishStops();
  if (state === 'STOPPING') world.command('restart', ['D']);
  world.core.get('D')!.restarts = 1;
  world.stops.length = 0;
  world.launched.length = 0;
  expect(world.state('D')).to.equal(state);
  return world;
};

interface Outcome {
  readonly world: BareCore;
  readonly before: DaemonState;
  readonly effects: readonly Effect[];
}

const asked = ({ effects }: Outcome): string[] =>
  effects.flatMap((effect) =>
    effect.do === 'start' || effect.do === 'stop' || effect.do === 'kill' ? [effect.do] : [],
  );

/** What each word promises, seen from outside. */
const PROMISES: Readonly<Record<MergeAction, (outcome: Outcome) => void>> = {
  want: (outcome) => {
    expect(asked(outcome)).to.deep.equal(['start']);
    expect(outcome.world.core.get('D')).to.include({ wanted: 'up', wantedBy: 'operator', restarts: 0 });
    expect(outcome.world.launched).to.deep.equal(['D']);
  },
  'retry-now': (outcome) => {
    expect(asked(outcome)).to.deep.equal(['start']);
    expect(outcome.world.timers.has('backoff:D')).to.be.false;
    expect(outcome.world.core.get('D')).to.include({ state: 'RUNNING', restarts: 0 });
  },
  join: (outcome) => {
    expect(asked(outcome)).to.deep.equal([]);
    expect(outcome.world.core.get('D')).to.include({ wanted: 'up', state: outcome.before, restarts: 0 });
  },
  'after-stop': (outcome) => {
    expect(asked(outcome)).to.deep.equal([]);
    expect(outcome.world.core.get('D')).to.include({ wanted: 'up', state: 'STOPPING', restarts: 0 });
    outcome.world.stopped('D');
    expect(outcome.world.launched).to.deep.equal(['D']);
  },
  stop: (outcome) => {
    expect(asked(outcome)).to.deep.equal(['stop']);
    expect(outcome.world.core.get('D')).to.include({ wanted: 'down', state: 'STOPPING' });
    outcome.world.stopped('D');
    expect(outcome.world.state('D')).to.equal('STOPPED');
  },
  unwant: (outcome) => {
    expect(asked(outcome)).to.deep.equal([]);
    expect(outcome.world.core.get('D')).to.include({ wanted: 'down', state: 'STOPPED' });
    outcome.world.pass(60_000);
    expect(outcome.world.launched).not.to.include('D');
  },
  'stay-down': (outcome) => {
    expect(asked(outcome)).to.deep.equal([]);
    outcome.world.stopped('D');
    expect(outcome.world.core.get('D')).to.include({ wanted: 'down', state: 'STOPPED' });
    outcome.world.pass(60_000);
    expect(outcome.world.launched).not.to.include('D');
  },
  cycle: (outcome) => {
    expect(asked(outcome)).to.deep.equal(['stop']);
    outcome.world.stopped('D');
    expect(outcome.world.launched).to.deep.equal(['D']);
    expect(outcome.world.core.get('D')).to.include({ wanted: 'up', restarts: 0 });
  },
  clear: (outcome) => {
    expect(asked(outcome)).to.deep.equal([]);
    expect(outcome.world.core.get('D')).to.include({ state: outcome.before, restarts: 0 });
  },
  nothing: (outcome) => {
    expect(outcome.effects.map((effect) => effect.do)).to.deep.equal(['reply']);
    expect(outcome.world.core.get('D')).to.include({ state: outcome.before, restarts: 1 });
  },
};

describe('command merge: every verb in every state, against the core', () => {
  for (const verb of ACT_VERBS)
    for (const state of DAEMON_STATES) {
      const action = COMMAND_MERGE[verb][state];
      it(`${verb} in ${state}: ${action}`, () => {
        const world = inState(state);
        const id = world.core.nextSeq;
        world.effects.length = 0;
        world.command(verb, ['D'], { waitMs: 0 });
        const effects = [...world.effects];
        expect(effects.some((effect) => effect.do === 'reply' && effect.outcome.ok)).to.be.true;
        expect(world.causes.has(id)).to.be.true;
        PROMISES[action]({ world, before: state, effects });
      });

      it(`${verb} twice in ${state} ends as ${verb} once`, () => {
        const [once, twice] = [inState(state), inState(state)];
        once.command(verb, ['D'], { waitMs: 0 });
        twice.command(verb, ['D'], { waitMs: 0 });
        twice.command(verb, ['D'], { waitMs: 0 });
        for (const world of [once, twice]) {
          world.autoReady = true;
          world.finishStops();
          if (state === 'WAITING') world.input({ kind: 'ready', daemon: 'A', generation: 1 });
          if (world.state('D') === 'STARTING')
            world.input({ kind: 'ready', daemon: 'D', generation: world.core.get('D')!.generation });
          world.pass(60_000);
        }
        expect(twice.state('D')).to.equal(once.state('D'));
        expect(twice.core.get('D')?.wanted).to.equal(once.core.get('D')?.wanted);
      });
    }
});

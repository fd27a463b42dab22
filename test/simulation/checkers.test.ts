import { expect } from 'chai';
import type { DaemonState } from '../../src/lifecycle/states.ts';
import type { LifecycleEvent } from '../../src/lifecycle/transitions.ts';
import { Core } from '../../src/orchestrator/core.ts';
import type { Command, DaemonKeep, Effect, Input } from '../../src/orchestrator/types.ts';
import { Checkers } from '../../src/simulation/checkers.ts';
import type { SimulatedRuntime } from '../../src/simulation/simulated-runtime.ts';
import { fleetOf } from '../support/fleets.ts';

/*  A ← B   OTHER: each test tells the checkers one thing that must not be, and they must say which.  */
const FLEET = fleetOf({ A: [], B: ['A'], OTHER: [] });
const NAMES = ['A', 'B', 'OTHER'];

const KEEP: DaemonKeep = {
  wanted: 'up',
  wantedBy: 'profile',
  generation: 1,
  failed: false,
  restarts: 0,
  restartsTotal: 0,
  restartTimes: [],
  lastError: null,
  completed: false,
};

/** A run seen by checkers, told by hand. */
class Told {
  checkers = new Checkers(FLEET);
  readonly live = new Map<string, { generation: number; phase: 'starting' | 'ready' | 'stopping' }>();
  core = new Core({ fleet: FLEET, priority: new Map() });
  now = 0;
  #seq = 0;

  constructor() {
    this.checkers.watch({ live: this.live } as unknown as SimulatedRuntime);
    this.input({ kind: 'boot' });
  }

  /** @returns invariants broken so far */
  get broken(): string[] {
    return [...new Set(this.checkers.violations.map(({ invariant }) => invariant))];
  }

  input(
    input: Input extends infer Each ? (Each extends Input ? Omit<Each, 'at' | 'wallMs'> : never) : never,
    effects: readonly Effect[] = [],
    cause: number | null = null,
  ): void {
    const stamped = { ...input, at: this.now, wallMs: this.now } as Input;
    this.checkers.before(stamped);
    const seq = ++this.#seq;
    this.#seq += effects.length;
    this.checkers.after(stamped, seq, cause, effects, this.core);
  }

  /** An input of that daemon which had this one consequence. */
  move(
    daemon: string,
    from: DaemonState,
    on: LifecycleEvent,
    to: DaemonState,
    keep: Partial<DaemonKeep> = {},
    by = daemon,
  ): void {
    const seq = this.#seq + 2;
    const record = { daemon, from, to, on, why: null, message: '', generation: 1, keep: { ...KEEP, ...keep } } as const;
    this.input({ kind: 'exited', daemon: by, generation: 1, failure: null, forced: false }, [
      { do: 'journal', seq, cause: seq - 1, record: { type: 'transition', ...record } },
    ]);
  }

  up(...daemons: string[]): void {
    for (const daemon of daemons) {
      this.move(daemon, 'WAITING', 'start-begun', 'STARTING');
      this.move(daemon, 'STARTING', 'ready', 'RUNNING');
      this.live.set(daemon, { generation: 1, phase: 'ready' });
    }
  }

  operation(phase: 'stopping' | 'proving'): void {
    const operation = { id: 'o', verb: 'recover', phase } as never;
    this.input({ kind: 'timer', timer: 'x' }, [
      { do: 'journal', seq: this.#seq + 2, cause: this.#seq + 1, record: { type: 'operation', operation } },
    ]);
  }
}

const stopOf = (id: string): Command => ({
  id,
  verb: 'stop',
  daemons: ['A'],
  origin: 'operator',
  reason: '',
  waitMs: 1_000,
});

const BROKEN: readonly (readonly [invariant: string, what: string, tell: (told: Told) => void, says?: RegExp])[] = [
  ['I1', 'a start before its dependency is ready', (told) => told.checkers.onLaunch('B', 1)],
  [
    'I2',
    'a stop before the dependent is gone',
    (told) => {
      told.live.set('B', { generation: 1, phase: 'ready' });
      told.checkers.onStop('A', 1, false);
    },
  ],
  [
    'I3',
    'a start beside a living one',
    (told) => {
      told.live.set('A', { generation: 1, phase: 'ready' });
      told.checkers.onLaunch('A', 2);
    },
  ],
  [
    'I3',
    'a generation started twice',
    (told) => {
      told.checkers.onLaunch('A', 1);
      told.checkers.onLaunch('A', 1);
    },
  ],
  [
    'I5',
    'a transition from where it was not',
    (told) => told.move('A', 'RUNNING', 'stop', 'STOPPING'),
    /but was WAITING/,
  ],
  [
    'I5',
    'a transition that leads elsewhere',
    (told) => told.move('A', 'WAITING', 'start-begun', 'RUNNING'),
    /does not lead/,
  ],
  [
    'I5',
    'a launch that was not journalled',
    (told) => told.input({ kind: 'boot' }, [{ do: 'launch', daemon: 'A', generation: 1 }]),
    /launch of A 1, but the journal says WAITING 0/,
  ],
  ['I5', 'a live state that the journal does not give', (told) => told.core.get('A')!.enter('RUNNING', 0, 0, '', null)],
  [
    'I6',
    'a restart before its delay is over',
    (told) => {
      told.up('A');
      told.move('A', 'RUNNING', 'exited', 'RESTARTING', { restarts: 1 });
      told.live.clear();
      told.now = 999;
      told.input({ kind: 'timer', timer: 'x' });
      told.checkers.onLaunch('A', 2);
    },
  ],
  [
    'I6',
    'a restart long after its delay was over',
    (told) => {
      told.up('A');
      told.move('A', 'RUNNING', 'exited', 'RESTARTING', { restarts: 1 });
      told.live.clear();
      told.now = 1_351;
      told.input({ kind: 'timer', timer: 'x' });
      told.checkers.onLaunch('A', 2);
    },
  ],
  [
    'I7',
    'a daemon given up with restarts left',
    (told) => {
      told.up('A');
      told.move('A', 'RUNNING', 'exited-last', 'FAILED', { failed: true });
    },
  ],
  [
    'I7',
    'a start out of FAILED',
    (told) => {
      told.up('A');
      told.move('A', 'RUNNING', 'exited-last', 'FAILED', { failed: true });
      told.live.clear();
      told.checkers.onLaunch('A', 2);
    },
  ],
  [
    'I8',
    'a counter that a good start clears',
    (told) => {
      told.up('A');
      told.move('A', 'RUNNING', 'exited', 'RESTARTING', { restarts: 1 });
      told.move('A', 'RESTARTING', 'start-begun', 'STARTING', { restarts: 1 });
      told.move('A', 'STARTING', 'ready', 'RUNNING', { restarts: 0 });
    },
  ],
  [
    'I9',
    'a bystander that was restarted',
    (told) => {
      told.up('A', 'OTHER');
      const before = told.checkers.generations();
      told.move('OTHER', 'RUNNING', 'stop', 'STOPPING', { generation: 2 });
      told.checkers.exactCascade(['A'], before, 'a crash');
    },
  ],
  [
    'I10',
    'a dependent that was restarted twice for one failure',
    (told) => {
      told.up('A', 'B');
      const before = told.checkers.generations();
      told.move('A', 'RUNNING', 'stop', 'STOPPING', { generation: 2 });
      told.move('B', 'RUNNING', 'stop', 'STOPPING', { generation: 3 });
      told.checkers.exactCascade(['A'], before, 'a crash');
    },
  ],
  [
    'I11',
    'a bystander taken down by the failure of another',
    (told) => {
      told.up('A', 'OTHER');
      told.move('OTHER', 'RUNNING', 'stop', 'STOPPING', {}, 'A');
    },
  ],
  [
    'I12',
    'more starts in ten seconds than the policy allows',
    (told) => {
      told.now = 60_000;
      told.input({ kind: 'timer', timer: 'x' });
      for (let generation = 1; generation <= 13; generation++) told.checkers.onLaunch('OTHER', generation);
    },
  ],
  [
    'I15',
    'a core that counts fewer daemons as not up',
    (told) => void Object.defineProperty(told.core, 'notUpCount', { value: 2 }),
    /3 daemons are not up, the core counts 2/,
  ],
  [
    'I15',
    'readiness during a full stop',
    (told) => {
      const nothing = fleetOf({ A: [] }, { A: { inProfile: false } });
      const core = new Core({ fleet: nothing, priority: new Map() });
      core.handle({ kind: 'boot', at: 0, wallMs: 0 });
      told.checkers = new Checkers(nothing);
      told.checkers.masterRestarted(new Map(), new Map([['A', 'STOPPED'] as const]));
      told.core = core;
      told.checkers.watch({ live: told.live } as unknown as SimulatedRuntime);
      told.input({ kind: 'timer', timer: 'x' });
      expect(told.broken).to.deep.equal([]);
      told.operation('stopping');
    },
    /ready is claimed with 0 not up, 0 unproven, full stop true/,
  ],
  [
    'I25',
    'a command that is executed twice',
    (told) => {
      told.input({ kind: 'command', command: stopOf('c1') });
      told.input({ kind: 'command', command: stopOf('c1') });
    },
  ],
  [
    'I25',
    'a command without an answer',
    (told) => {
      told.input({ kind: 'command', command: stopOf('c1') });
      told.checkers.openCommands(2_001);
    },
  ],
  [
    'I25',
    'a daemon that is up at rest although it was told to be down',
    (told) => {
      told.checkers.wish('A', 'down');
      told.checkers.atRest([]);
    },
  ],
  ['I25', 'a daemon that waits and does not say for whom', (told) => told.checkers.atRest(['B'])],
  [
    'I26',
    'a start between stop-all and start-all',
    (told) => {
      told.operation('stopping');
      told.checkers.onLaunch('A', 1);
    },
  ],
  [
    'I26',
    'a stop-all that takes longer than its budget and a kill',
    (told) => {
      told.operation('stopping');
      told.now = 32_251;
      told.operation('proving');
    },
  ],
  [
    'I26',
    'something left after the full stop',
    (told) => {
      told.live.set('A', { generation: 1, phase: 'ready' });
      told.operation('proving');
    },
  ],
  [
    'I28',
    'a FAILED daemon that the next master forgets',
    (told) =>
      told.checkers.masterRestarted(new Map([['A', { ...KEEP, failed: true }]]), new Map([['A', 'WAITING'] as const])),
  ],
  [
    'I28',
    'an operator stop that the next master forgets',
    (told) =>
      told.checkers.masterRestarted(
        new Map([['A', { ...KEEP, wanted: 'down', wantedBy: 'operator' } as const]]),
        new Map([['A', 'WAITING'] as const]),
      ),
  ],
  ['I32', 'a daemon that is not back after the last fault', (told) => told.checkers.converged(['A WAITING'])],
];

describe('the checkers: each says what must not be', () => {
  it('nothing, of a fleet that comes up in order', () => {
    const told = new Told();
    for (const daemon of NAMES) {
      told.checkers.onLaunch(daemon, 1);
      told.live.set(daemon, { generation: 1, phase: 'ready' });
    }
    expect(told.broken).to.deep.equal([]);
  });

  for (const [invariant, what, tell, says] of BROKEN)
    it(`${invariant}: ${what}`, () => {
      const told = new Told();
      expect(told.broken).to.deep.equal([]);
      tell(told);
      if (invariant === 'I5' || invariant === 'I15') told.input({ kind: 'timer', timer: 'x' }); // compared after an input
      expect(told.broken).to.include(invariant);
      const messages = told.checkers.violations.flatMap((each) => (each.invariant === invariant ? [each.message] : []));
      if (says !== undefined)
        expect(
          messages.some((message) => says.test(message)),
          messages.join('\n'),
        ).to.be.true;
    });
});

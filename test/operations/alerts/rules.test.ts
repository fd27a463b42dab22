import { expect } from 'chai';
import fc from 'fast-check';
import { alertRules } from '../../../src/fleet/alerts.ts';
import { degraded, healthy, unhealthy, unknown, type Health } from '../../../src/health/verdict.ts';
import type { Cause, DaemonState } from '../../../src/lifecycle/states.ts';
import {
  CASCADE_PATIENCE_MS,
  EMPTY_BOOK,
  observe,
  watched,
  type Alert,
  type Book,
  type Observation,
  type Sighting,
} from '../../../src/operations/alerts/rules.ts';

const RULES = alertRules([], ['log']);

type Over = Partial<Omit<Sighting, 'health'>> & { health?: Health; streak?: number };

const sighting = ({ health = healthy(), streak = 0, ...over }: Over = {}): Sighting => ({
  type: 'A',
  critical: false,
  wanted: 'up',
  state: 'RUNNING',
  reason: null,
  lastError: null,
  restartsLastHour: 0,
  ...over,
  health: { ...health, consecutiveFailures: streak },
});

/** Feeds observations a second apart. */
const watch = (rules = RULES) => {
  let book: Book = EMPTY_BOOK;
  let at = 0;
  const told: Alert[] = [];
  const take = (observation: Observation): string[] => {
    const step = observe(book, rules, observation, { at, wallMs: 1_000_000 + at });
    book = step.book;
    told.push(...step.alerts);
    return step.alerts.map(({ kind, state }) => `${kind} ${state}`);
  };
  return {
    told,
    book: () => book,
    pass: (ms: number) => void (at += ms),
    see: (over: Over) => take({ kind: 'daemon', daemon: sighting(over) }),
    move: (from: DaemonState, to: DaemonState, why: Cause | null) =>
      take({ kind: 'transition', daemon: 'A', from, to, why }),
    take,
  };
};

describe('alert rules: the reason that is told', () => {
  it('failed checks of a daemon that is already stopping are told with their message, not with an older error', () => {
    const { see, told } = watch();
    const reason = '3 failed health checks in a row: the disk is gone';
    see({ state: 'STOPPING', reason, lastError: 'an error of yesterday', health: unknown('not running'), streak: 3 });
    expect(told.map(({ message }) => message)).to.deep.equal([
      `A failed 3 health checks in a row (more than 2): ${reason}`,
    ]);
  });

  it('a critical daemon that waits for another is told with what it waits for, not with an older error', () => {
    const { see, move, pass, told } = watch();
    const reason = 'EVENT_ROUTER is RESTARTING, needs to be ready';
    move('RUNNING', 'STOPPING', 'dependency-lost');
    pass(CASCADE_PATIENCE_MS);
    see({ critical: true, state: 'WAITING', reason, lastError: 'an error of yesterday' });
    expect(told.map(({ message }) => message)).to.deep.equal([`critical A is WAITING: ${reason}`]);
  });
});

describe('alert rules: one alert per crossing', () => {
  /** Readings in order, and what each must say. */
  const table: readonly (readonly [string, readonly (readonly [Over, string[]])[]])[] = [
    [
      'the fourth restart within an hour raises, the fifth says nothing, the third again resolves',
      [
        [{ restartsLastHour: 3 }, []],
        [{ restartsLastHour: 4 }, ['restarts-per-hour raised']],
        [{ restartsLastHour: 5 }, []],
        [{ restartsLastHour: 3 }, ['restarts-per-hour resolved']],
        [{ restartsLastHour: 4 }, ['restarts-per-hour raised']],
      ],
    ],
    [
      'the third failed check in a row raises, and only a good check of a running start resolves',
      [
        [{ health: unhealthy('no'), streak: 2 }, []],
        [{ health: unhealthy('no'), streak: 3 }, ['consecutive-health-failures raised']],
        [{ state: 'RESTARTING', health: unknown(), streak: 3 }, []],
        [{ health: unknown() }, []],
        [{ health: degraded('slow') }, ['consecutive-health-failures resolved']],
      ],
    ],
    [
      'an error rate above half raises over at least ten cycles, and not over nine',
      [
        [{ health: healthy({ errorRate: 0.9, cycles: 9 }) }, []],
        [{ health: unhealthy('bad', { errorRate: 0.51, cycles: 10 }) }, ['error-rate raised']],
        [{ state: 'STOPPING', health: unknown() }, []],
        [{ health: healthy({ errorRate: 0, cycles: 0 }) }, ['error-rate resolved']],
      ],
    ],
    [
      'an error rate that a daemon counts itself, without cycles, is believed',
      [[{ health: healthy({ errorRate: 0.6, cycles: 0 }) }, ['error-rate raised']]],
    ],
    ['exactly half is not above half', [[{ health: healthy({ errorRate: 0.5, cycles: 20 }) }, []]]],
    [
      'FAILED raises, and leaving it resolves',
      [
        [{ state: 'FAILED' }, ['failed raised']],
        [{ state: 'FAILED' }, []],
        [{ state: 'STARTING' }, ['failed resolved']],
      ],
    ],
    [
      'a critical FAILED daemon is down until it runs, not until somebody resets it',
      [
        [{ critical: true, state: 'FAILED' }, ['failed raised', 'critical-down raised']],
        [{ critical: true, state: 'STARTING' }, ['failed resolved']],
        [{ critical: true }, ['critical-down resolved']],
      ],
    ],
    [
      'a daemon that is not wanted any more has nothing open but its restarts',
      [
        [
          { critical: true, state: 'FAILED', health: unhealthy('x'), streak: 3 },
          ['consecutive-health-failures raised', 'failed raised', 'critical-down raised'],
        ],
        [
          { critical: true, state: 'STOPPED', wanted: 'down', health: unknown() },
          ['consecutive-health-failures resolved', 'failed resolved', 'critical-down resolved'],
        ],
      ],
    ],
  ];
  for (const [title, steps] of table)
    it(title, () => {
      const seen = watch();
      for (const [over, expected] of steps) expect(seen.see(over), JSON.stringify(over)).to.deep.equal(expected);
    });

  it('a boot, however long, is no critical daemon that is down', () => {
    const seen = watch();
    for (const state of ['WAITING', 'STARTING'] as const) expect(seen.see({ critical: true, state })).to.deep.equal([]);
  });

  it('a crash of a critical daemon raises at once', () => {
    const seen = watch();
    seen.move('RUNNING', 'RESTARTING', 'exit');
    expect(seen.see({ critical: true, state: 'RESTARTING' })).to.deep.equal(['critical-down raised']);
    seen.move('STARTING', 'RUNNING', null);
    expect(seen.see({ critical: true })).to.deep.equal(['critical-down resolved']);
  });

  it('a critical daemon that an operator restarts, or a recovery stops, is not down', () => {
    for (const why of ['operator', 'recovery', 'config', 'schedule'] as const) {
      const seen = watch();
      seen.move('RUNNING', 'STOPPING', why);
      expect(seen.see({ critical: true, state: 'STOPPING' }), why).to.deep.equal([]);
    }
  });

  it('a critical daemon that went down with a dependency has time to come back with it', () => {
    const seen = watch();
    seen.move('RUNNING', 'STOPPING', 'dependency-lost');
    expect(seen.see({ critical: true, state: 'STOPPING' })).to.deep.equal([]);
    expect([...watched(seen.book())]).to.deep.equal(['A']);
    seen.pass(CASCADE_PATIENCE_MS - 1);
    expect(seen.see({ critical: true, state: 'WAITING' })).to.deep.equal([]);
    seen.pass(1);
    expect(seen.see({ critical: true, state: 'WAITING' })).to.deep.equal(['critical-down raised']);
  });

  it('a subscription gap raises, re-attaching alone resolves nothing, a proven canary does', () => {
    const seen = watch();
    const state = (word: 'gap' | 'attaching' | 'attached'): string[] =>
      seen.take({ kind: 'subscription', subscriber: 'A', topic: 'T', state: word, reason: 'stuck' });
    expect([state('attached'), state('gap'), state('gap'), state('attaching'), state('attached')]).to.deep.equal([
      [],
      ['subscription-gap raised'],
      [],
      [],
      ['subscription-gap resolved'],
    ]);
    expect(seen.told[0]?.message).to.equal('subscription of A to T has a gap: stuck');
  });

  it('two rules of one condition and one name are judged apart', () => {
    const rules = [3, 10].map(
      (over) => ({ name: 'r', when: { kind: 'restarts-per-hour', over }, to: [`s${over}`] }) as const,
    );
    const seen = watch(rules);
    seen.see({ restartsLastHour: 5 });
    seen.see({ restartsLastHour: 11 });
    seen.see({ restartsLastHour: 0 });
    expect(seen.told.map(({ to, state }) => `${to.join()} ${state}`)).to.deep.equal([
      's3 raised',
      's10 raised',
      's3 resolved',
      's10 resolved',
    ]);
  });

  it('a daemon that its failed checks have ended already is told with what ended it', () => {
    const seen = watch();
    seen.see({
      state: 'RESTARTING',
      health: unknown('not running'),
      streak: 3,
      lastError: '3 failed checks: no answer',
    });
    expect(seen.told[0]?.message).to.match(/3 health checks in a row \(more than 2\): 3 failed checks: no answer$/);
  });

  it('the end of an alert carries when it began', () => {
    const seen = watch();
    seen.see({ state: 'FAILED', lastError: 'boom' });
    seen.pass(5_000);
    seen.see({});
    expect(seen.told[0]).to.include({ message: 'A is FAILED: boom', raisedWallMs: 1_000_000, wallMs: 1_000_000 });
    expect(seen.told[1]).to.include({ state: 'resolved', raisedWallMs: 1_000_000, wallMs: 1_005_000 });
  });

  it('whatever is seen, alerts and their ends alternate, and what is open is what was raised last', () => {
    const states = ['WAITING', 'STARTING', 'RUNNING', 'RESTARTING', 'STOPPING', 'FAILED', 'STOPPED'] as const;
    const causes = ['exit', 'dependency-lost', 'operator', 'drill', null] as const;
    const daemon = fc.constantFrom('A', 'B');
    const seen = fc.oneof(
      fc.record({
        kind: fc.constant('daemon' as const),
        daemon: fc
          .record({
            type: daemon,
            critical: fc.boolean(),
            wanted: fc.constantFrom('up' as const, 'down' as const),
            state: fc.constantFrom(...states),
            restartsLastHour: fc.integer({ min: 0, max: 6 }),
            streak: fc.integer({ min: 0, max: 5 }),
            health: fc.constantFrom(healthy(), unknown(), unhealthy('x', { errorRate: 0.8, cycles: 20 })),
          })
          .map(sighting),
      }),
      fc.record({
        kind: fc.constant('transition' as const),
        daemon,
        from: fc.constantFrom(...states),
        to: fc.constantFrom(...states),
        why: fc.constantFrom(...causes),
      }),
      fc.record({
        kind: fc.constant('subscription' as const),
        subscriber: daemon,
        topic: fc.constantFrom('T', 'U'),
        state: fc.constantFrom('attached' as const, 'attaching' as const, 'detached' as const, 'gap' as const),
        reason: fc.constant(null),
      }),
      fc.record({ kind: fc.constant('storm' as const), open: fc.boolean(), message: fc.constant('storm') }),
    );
    fc.assert(
      fc.property(fc.array(seen, { maxLength: 80 }), (observations) => {
        let book = EMPTY_BOOK;
        const last = new Map<string, string>();
        for (const [at, observation] of observations.entries()) {
          const step = observe(book, RULES, observation, { at: at * 1000, wallMs: at });
          book = step.book;
          for (const { rule, daemon: of, topic, state } of step.alerts) {
            const key = [rule, of, topic].join();
            expect(state).to.equal(last.get(key) === 'raised' ? 'resolved' : 'raised');
            last.set(key, state);
          }
        }
        const open = [...book.open.values()].map(({ rule, daemon: of, topic }) => [rule, of, topic].join());
        expect(open).to.have.members([...last].filter(([, state]) => state === 'raised').map(([key]) => key));
      }),
      { numRuns: 300 },
    );
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { lookFromOutside, type OutsideLimits, type Sight, type Watched } from '../../src/health/outside.ts';

const LIMITS: OutsideLimits = { lagMax: 100, stillSeconds: 30, deadLetterSeconds: 300 };

interface Look {
  readonly at: number;
  readonly generation?: number;
  readonly lag?: number;
  readonly handled?: number;
  readonly dead?: number;
  readonly movedAt?: number | null;
  readonly cycle?: { readonly period: number; readonly wentThroughAt: number };
  /** No books: the router is away. */
  readonly away?: boolean;
}

/** Looks at one daemon with one subscription; times are seconds. @returns the rules found at each look */
const looks = (...list: readonly Look[]): string[] => {
  let watched: Watched | null = null;
  return list.map(({ at, generation = 1, lag = 0, handled = 0, dead = 0, movedAt = null, cycle, away = false }) => {
    const sight: Sight = {
      ...{ at: at * 1000, generation, movedAt: movedAt === null ? null : movedAt * 1000 },
      inputs: away ? [] : [{ topic: 'T', lag, handled, deadLetters: dead }],
      cycles: cycle === undefined ? [] : [{ periodSeconds: cycle.period, wentThroughAt: cycle.wentThroughAt * 1000 }],
    };
    const look = lookFromOutside(watched, sight, LIMITS);
    watched = look.watched;
    return look.findings.map(({ rule, message }) => `${rule}: ${message}`).join('; ');
  });
};

describe('Seen from outside: input that waits', () => {
  it('and of which nothing is finished for longer than the limit, while nothing is under way, stands still', () => {
    const found = looks(
      ...[0, 10, 20, 30].map((at) => ({ at, lag: 3, handled: 7 })),
      { at: 31, lag: 3, handled: 7 },
      { at: 40, lag: 3, handled: 8 },
    );
    expect(found).to.deep.equal([
      ...['', '', '', ''],
      'still T: 3 events of T wait, and nothing has moved for 31 s',
      '',
    ]);
  });

  it('is waited for in the hands of a handler that moves, however long it takes', () => {
    expect(looks(...[0, 60, 120, 600].map((at) => ({ at, lag: 9, movedAt: at - 2 })))).to.deep.equal(['', '', '', '']);
  });

  it('in the hands of a handler that does not move any more stands still from its last move on', () => {
    const found = looks({ at: 0, lag: 1 }, { at: 40, lag: 1, movedAt: 35 }, { at: 70, lag: 1, movedAt: 35 });
    expect(found).to.deep.equal(['', '', 'still T: 1 events of T wait, and nothing has moved for 35 s']);
  });

  it('above the limit is a finding while it becomes no fewer, and none while it is worked off', () => {
    const found = looks(
      ...[
        { at: 0, lag: 90, handled: 1 },
        { at: 5, lag: 101, handled: 2 },
        { at: 10, lag: 101, handled: 9 },
        { at: 15, lag: 5_000, handled: 10 },
        { at: 20, lag: 4_999, handled: 20 },
      ],
    );
    const wait = (lag: number): string => `lag T: ${lag} events of T wait, and become no fewer`;
    expect(found).to.deep.equal(['', wait(101), wait(101), wait(5_000), '']);
  });

  it('of a daemon that comes back to a backlog is no finding at its first look', () => {
    expect(looks({ at: 0, lag: 9_000 }, { at: 5, lag: 8_000, handled: 1_000 })).to.deep.equal(['', '']);
  });

  it('while the router cannot deliver counts for nothing, and the time begins anew with its return', () => {
    const found = looks(
      ...[
        { at: 0, lag: 3 },
        { at: 25, away: true },
        { at: 50, lag: 3 },
        { at: 79, lag: 3 },
        { at: 81, lag: 3 },
      ],
    );
    expect(found.map((text) => text !== '')).to.deep.equal([false, false, false, false, true]);
  });

  it('of the last start says nothing of the next', () => {
    const found = looks({ at: 0, lag: 3 }, { at: 31, lag: 3 }, { at: 32, lag: 3, generation: 2 });
    expect(found.map((text) => text !== '')).to.deep.equal([false, true, false]);
  });
});

describe('Seen from outside: events that die', () => {
  it('more than half of at least three, lately, is a finding; half, or two, is none', () => {
    const found = looks(
      ...[
        { at: 0, handled: 50, dead: 10 },
        { at: 5, handled: 50, dead: 12 },
        { at: 10, handled: 50, dead: 13 },
        { at: 15, handled: 53, dead: 13 },
        { at: 20, handled: 53, dead: 14 },
      ],
    );
    expect(found).to.deep.equal([
      ...['', ''],
      'dead letters: 3 of its last 3 events became dead letters',
      '',
      'dead letters: 4 of its last 7 events became dead letters',
    ]);
  });

  it('are forgotten after two windows without another', () => {
    const dead = 5;
    const found = looks({ at: 0 }, ...[10, 305, 310, 600, 610].map((at) => ({ at, dead })));
    expect(found.map((text) => text !== '')).to.deep.equal([false, true, true, true, true, false]);
  });
});

describe('Seen from outside: events that died before the router was away', () => {
  it('are not counted as new when its books are there again', () => {
    const books = { handled: 2, dead: 10 };
    const found = looks(
      { at: 0, ...books },
      { at: 301, away: true },
      ...[310, 605, 910].map((at) => ({ at, ...books })),
    );
    expect(found.join('')).to.equal('');
  });
});

describe('Seen from outside: cycles', () => {
  const cycle = (period: number, wentThroughAt: number) => ({ period, wentThroughAt });

  it('that did not go through for three periods, and for the limit at least, are old output', () => {
    const found = looks(
      ...[
        { at: 29, cycle: cycle(2, 0) },
        { at: 31, cycle: cycle(2, 0) },
        { at: 179, cycle: cycle(60, 0) },
        { at: 181, cycle: cycle(60, 0) },
      ],
    );
    expect(found).to.deep.equal([
      '',
      'output 0: its cycle of every 2 s last went through 31 s ago',
      '',
      'output 0: its cycle of every 60 s last went through 181 s ago',
    ]);
  });

  it('are waited for while the oldest call under way moves', () => {
    const found = looks({ at: 100, cycle: cycle(2, 0), movedAt: 75 }, { at: 106, cycle: cycle(2, 0), movedAt: 75 });
    expect(found.map((text) => text !== '')).to.deep.equal([false, true]);
  });
});

describe('Seen from outside: no work', () => {
  it('is never a finding: whatever was handled before, with nothing waiting, dead or due', () => {
    const step = fc.record({ seconds: fc.integer({ min: 0, max: 3_600 }), handled: fc.nat(1_000) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 20 }), (steps) => {
        let [at, handled] = [0, 0];
        const list = steps.map((one): Look => {
          at += one.seconds;
          handled += one.handled;
          return { at, handled, cycle: { period: 60, wentThroughAt: at - 20 } };
        });
        expect(looks(...list).join('')).to.equal('');
      }),
    );
  });
});

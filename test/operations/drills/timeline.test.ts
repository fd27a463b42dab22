import { expect } from 'chai';
import type { DaemonState } from '../../../src/lifecycle/states.ts';
import {
  delaysFault,
  delaysOf,
  fullStopOf,
  recoveryOf,
  type Transition,
} from '../../../src/operations/drills/timeline.ts';

/** `A RUNNING>RESTARTING @10` */
const read = (text: string): Transition[] =>
  text
    .trim()
    .split('\n')
    .map((line) => {
      const [, daemon = '', from, to, at] = /(\w+) (\w+)>(\w+) @(\d+)/.exec(line) ?? [];
      return {
        daemon,
        from: from as DaemonState,
        to: to as DaemonState,
        on: 'exited',
        why: null,
        message: '',
        generation: 1,
        at: Number(at),
        wallMs: Number(at),
      };
    });

const times = (text: string): (number | null)[] => {
  const { detected, gone, restarted, ready } = recoveryOf(read(text), 'A');
  return [detected, gone, restarted, ready].map((transition) => transition?.at ?? null);
};

describe('drill timeline: how one daemon went and came back', () => {
  it('a crash is found and gone at once', () =>
    expect(times('A RUNNING>RESTARTING @10\nA RESTARTING>STARTING @110\nA STARTING>RUNNING @120')).to.deep.equal([
      10, 10, 110, 120,
    ]));
  it('a hang is found when it is killed, and gone when that is proven', () =>
    expect(
      times('A RUNNING>STOPPING @10\nA STOPPING>RESTARTING @15\nA RESTARTING>STARTING @115\nA STARTING>RUNNING @120'),
    ).to.deep.equal([10, 15, 115, 120]));
  it('a start that failed before is not its return, the one that lasted is', () =>
    expect(
      times(`A RUNNING>RESTARTING @10
             A RESTARTING>STARTING @20
             A STARTING>RESTARTING @25
             A RESTARTING>STARTING @30
             A STARTING>RUNNING @40`),
    ).to.deep.equal([10, 10, 20, 40]));
  it('a daemon that came up and went down again is not back', () =>
    expect(
      times('A RUNNING>RESTARTING @10\nA RESTARTING>STARTING @20\nA STARTING>RUNNING @30\nA RUNNING>RESTARTING @31'),
    ).to.deep.equal([10, 10, 20, null]));
  it('others do not count', () => expect(times('B RUNNING>RESTARTING @10')).to.deep.equal([null, null, null, null]));
});

describe('drill timeline: delays of a crash loop', () => {
  const looped = read(`A RUNNING>RESTARTING @0
                       A RESTARTING>STARTING @1000
                       B RUNNING>RESTARTING @1001
                       A STARTING>RESTARTING @1010
                       A RESTARTING>STARTING @3015
                       A STARTING>FAILED @3020`);
  it('are measured from each end to the attempt after it', () =>
    expect(delaysOf(looped, 'A')).to.deep.equal([1000, 2005]));

  const table: readonly (readonly [readonly number[], RegExp | null])[] = [
    [[1000, 2000], null],
    [[1050, 3100], null],
    [[990, 2000], /attempt 1 came after 990 ms, before its 1000 ms/],
    [[1000, 3300], /attempt 2 came after 3300 ms instead of 2000 ms/],
    [[1000], /1 attempts instead of 2/],
    [[1000, 2000, 4000], /3 attempts instead of 2/],
  ];
  for (const [measured, fault] of table)
    it(`${measured.join(', ')} for 1000, 2000: ${fault === null ? 'kept' : 'not kept'}`, () => {
      const found = delaysFault(measured, [1000, 2000]);
      if (fault === null) expect(found).to.equal(null);
      else expect(found).to.match(fault);
    });
});

describe('drill timeline: a full stop and start', () => {
  /*  A ← B  */
  const before = new Map<string, DaemonState>([
    ['A', 'RUNNING'],
    ['B', 'RUNNING'],
    ['C', 'STOPPED'],
  ]);
  const needs = new Map([['B', ['A']]]);
  const good = `B RUNNING>STOPPING @1
                B STOPPING>WAITING @2
                A RUNNING>STOPPING @3
                A STOPPING>WAITING @4
                A WAITING>STARTING @14
                A STARTING>RUNNING @15
                B WAITING>STARTING @16`;

  it('in order leaves nothing alive and drains after the last exit', () =>
    expect(fullStopOf(read(good), before, needs)).to.deep.equal({
      aliveAtFirstStart: [],
      outOfOrder: [],
      lastGoneAt: 4,
      firstStartAt: 14,
      neverGone: [],
    }));
  it('names who was alive when the first start began', () =>
    expect(
      fullStopOf(read('B RUNNING>STOPPING @1\nB STOPPING>WAITING @2\nB WAITING>STARTING @3'), before, needs),
    ).to.deep.include({ aliveAtFirstStart: ['A'], neverGone: ['A'] }));
  it('names a start before what it needs', () =>
    expect(
      fullStopOf(read(good.replace('A STARTING>RUNNING @15', 'C STOPPED>WAITING @15')), before, needs).outOfOrder,
    ).to.deep.equal(['B before A']));
});

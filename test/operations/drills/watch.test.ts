import { expect } from 'chai';
import { unhealthy } from '../../../src/health/verdict.ts';
import type { Verdict } from '../../../src/health/monitor.ts';
import { FAILURES_MAX, TRANSITIONS_MAX, watchFleet } from '../../../src/operations/drills/watch.ts';
import type { TurnReport } from '../../../src/orchestrator/ports.ts';
import { simulatedClock } from '../../../src/simulation/simulated-clock.ts';

type Transition = TurnReport['transitions'][number];

describe('what a drill sees of the fleet', () => {
  const setUp = () => {
    let turn: (report: TurnReport) => void = () => undefined;
    let judge: (verdict: Verdict) => void = () => undefined;
    const supervisor = {
      onTurn: (listener: typeof turn) => ((turn = listener), () => undefined),
      onVerdict: (listener: typeof judge) => ((judge = listener), () => undefined),
    };
    const clock = simulatedClock();
    const watch = watchFleet(supervisor, null, clock, new AbortController().signal);
    const move = (count: number): void =>
      turn({
        transitions: Array.from({ length: count }, (_value, seq) => ({ daemon: 'A', seq, at: clock.monotonicMs() })),
      } as unknown as TurnReport & { transitions: Transition[] });
    const fail = (daemon: string): void =>
      judge({ daemon, word: 'missed', health: unhealthy('hangs'), at: clock.monotonicMs() } as Verdict);
    return { clock, watch, move, fail };
  };

  it('an injected fault that stays for days: the first failed checks are kept, the others counted', () => {
    const { watch, fail } = setUp();
    watch.follow('A');
    fail('B');
    for (let check = 0; check < FAILURES_MAX + 7; check++) fail('A');
    expect(watch.failures).to.have.length(FAILURES_MAX);
    expect(watch.lost).to.equal(7);
  });

  it('a fleet that never comes to rest: the first transitions are kept, the others counted, and a new begin forgets both', async () => {
    const { clock, watch, move } = setUp();
    for (let turn = 0; turn < 6; turn++) move(10_000);
    expect(watch.transitions).to.have.length(TRANSITIONS_MAX);
    expect(watch.lost).to.equal(10_000);
    await clock.advance(10);
    watch.begin();
    expect([watch.transitions.length, watch.lost]).to.deep.equal([0, 0]);
  });
});

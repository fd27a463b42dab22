import { expect } from 'chai';
import fc from 'fast-check';
import { DueWheel } from '../../src/health/due-wheel.ts';

describe('The due wheel', () => {
  it('makes each key fall due at its own period, whatever the size of the wheel', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 64 }),
        fc.array(fc.record({ period: fc.integer({ min: 1, max: 300 }), first: fc.integer({ min: 1, max: 300 }) }), {
          minLength: 1,
          maxLength: 20,
        }),
        (slots, plans) => {
          const wheel = new DueWheel(slots);
          plans.forEach(({ period, first }, index) => wheel.add(String(index), period, first));
          const seen = plans.map((): number[] => []);
          for (let tick = 1; tick <= 1_000; tick++) for (const key of wheel.due()) seen[Number(key)]?.push(tick);
          const expected = plans.map(({ period, first }) => {
            const ticks: number[] = [];
            for (let tick = first; tick <= 1_000; tick += period) ticks.push(tick);
            return ticks;
          });
          expect(seen).to.deep.equal(expected);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('a key filed again has only its new period, and a removed one never falls due', () => {
    const wheel = new DueWheel(8);
    wheel.add('A', 3, 1);
    wheel.add('A', 5, 2);
    wheel.add('B', 1, 1);
    wheel.remove('B');
    const due = Array.from({ length: 12 }, () => wheel.due());
    expect(due.flatMap((keys, index) => keys.map((key) => `${key} ${index + 1}`))).to.deep.equal([
      'A 2',
      'A 7',
      'A 12',
    ]);
    expect(wheel.size).to.equal(1);
  });
});

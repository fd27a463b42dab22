import { expect } from 'chai';
import { CORE_BUGS } from '../../src/orchestrator/core.ts';
import { runSeed } from '../../src/simulation/run.ts';

const SEEDS = 200;

/** Checkers that may be the first to see each bug; another one means that a checker judges by accident. */
const SEEN_BY: Readonly<Record<(typeof CORE_BUGS)[number], readonly string[]>> = {
  'skip-a-charge': ['I6', 'I7', 'I8'],
  'forget-a-generation': ['I3', 'I5'],
  'ready-clears-counter': ['I8'],
  'start-before-dependency': ['I1'],
  'stop-root-first': ['I2'],
  'cascade-misses-grandchildren': ['I2', 'I9'],
  'restart-during-drain': ['I26'],
  'double-backoff-early': ['I6'],
  'failed-comes-back': ['I5', 'I7'],
  'forget-operator-stop': ['I5', 'I25'],
};

describe('the simulation: bugs put into the core on purpose', function () {
  this.timeout(120_000);

  for (const bug of CORE_BUGS)
    it(`finds "${bug}" within ${SEEDS} seeds`, () => {
      for (let seed = 1; seed <= SEEDS; seed++) {
        const [first] = runSeed({ seed, minutes: 12, bug, failFast: true }).violations;
        if (first === undefined) continue;
        expect(SEEN_BY[bug]).to.include(first.invariant, first.message);
        return;
      }
      expect.fail(`${bug} was not found`);
    });
});

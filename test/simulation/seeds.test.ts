import { expect } from 'chai';
import { DAEMON_LIFECYCLE } from '../../src/lifecycle/transitions.ts';
import { brokenText, settled } from '../../src/simulation/campaign.ts';
import { runSeed, SOMETIMES, type RunResult } from '../../src/simulation/run.ts';

/** Half a minute of one core: a thousand runs of twelve simulated minutes with faults on, and some with faults off. */
const SEEDS = 1_000;
const MINUTES = 12;
const TIMEOUT_MS = 600_000;

describe('the simulation: a thousand seeds', function () {
  this.timeout(TIMEOUT_MS);
  const results: RunResult[] = [];

  before(async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      results.push(runSeed({ seed, minutes: MINUTES }));
      await settled();
    }
  });

  it('breaks no invariant', () => {
    const broken = results.filter(({ violations }) => violations.length > 0);
    expect(broken.map(brokenText).join('\n')).to.equal('');
  });

  it('lives through at least 12 simulated minutes each, and 10,000 faults in all', () => {
    expect(Math.min(...results.map(({ simulatedMs }) => simulatedMs))).to.be.at.least(MINUTES * 60_000);
    expect(results.reduce((sum, { faults }) => sum + faults, 0)).to.be.at.least(10_000);
    expect(results.reduce((sum, { masters }) => sum + masters - 1, 0)).to.be.at.least(SEEDS);
  });

  it('meets everything that sometimes must happen', () => {
    const missed = SOMETIMES.filter((name) => !results.some(({ sometimes }) => sometimes.has(name)));
    expect(missed).to.deep.equal([]);
  });

  it('takes every pair of the lifecycle table', () => {
    const pairs = DAEMON_LIFECYCLE.flatMap((row) => row.from.map((from) => `${from} ${row.on}`));
    expect(pairs.filter((pair) => !results.some(({ taken }) => taken.has(pair)))).to.deep.equal([]);
  });

  it('gives the same hash for the same seed, and another for another', () => {
    for (const { seed, hash } of results.slice(0, 20)) expect(runSeed({ seed, minutes: MINUTES }).hash).to.equal(hash);
    expect(new Set(results.map(({ hash }) => hash)).size).to.equal(SEEDS);
  });
});

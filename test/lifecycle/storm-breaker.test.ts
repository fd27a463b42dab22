import { expect } from 'chai';
import { STORM_LIMITS, StormBreaker } from '../../src/lifecycle/storm-breaker.ts';

describe('the storm breaker', () => {
  it('does not open for first failures, however many daemons have one', () => {
    const breaker = new StormBreaker();
    for (let daemon = 0; daemon < 1000; daemon++) expect(breaker.record(`D${daemon}`, daemon)).to.be.false;
    expect(breaker.isOpen).to.be.false;
  });

  it('opens at the twentieth second-or-later failure within 60 s, and says so once', () => {
    const breaker = new StormBreaker();
    const opened: number[] = [];
    for (let failure = 0; failure <= 25; failure++) if (breaker.record('A', failure * 100)) opened.push(failure);
    expect(opened).to.deep.equal([STORM_LIMITS.failures]);
    expect(breaker.isOpen).to.be.true;
    expect([...breaker.failing(2_500)]).to.deep.equal([['A', 25]]);
  });

  it('does not open when the failures are spread over more than its window', () => {
    const breaker = new StormBreaker();
    for (let failure = 0; failure < 100; failure++) expect(breaker.record('A', failure * 3_200)).to.be.false;
  });

  it('counts a failure as a first one again after a quiet window', () => {
    const breaker = new StormBreaker({ failures: 1, windowMs: 1000, quietMs: 1000 });
    expect(breaker.record('A', 0)).to.be.false;
    expect(breaker.record('A', 1001)).to.be.false;
    expect(breaker.record('A', 2001)).to.be.true;
  });

  it('closes only after it has been quiet for its time, counted from the last failure', () => {
    const breaker = new StormBreaker({ failures: 1, windowMs: 60_000, quietMs: 30_000 });
    expect(breaker.tryClose(0)).to.equal(null);
    breaker.record('A', 0);
    breaker.record('A', 1);
    breaker.record('A', 10_000);
    expect(breaker.tryClose(30_001)).to.equal(9_999);
    expect(breaker.tryClose(40_000)).to.equal(0);
    expect(breaker.isOpen).to.be.false;
    expect(breaker.tryClose(40_001)).to.equal(null);
  });
});

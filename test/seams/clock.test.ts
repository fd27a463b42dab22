import { expect } from 'chai';
import fc from 'fast-check';
import { Worker } from 'node:worker_threads';
import { debounceTime, interval, Subject, take, timer } from 'rxjs';
import { realClock, SLACK_MS, steadyWall, type Clock } from '../../src/seams/clock.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';

/** Waits, on whatever time it is, until the condition holds; a test that waits in vain ends by mocha's time limit. */
const until = async (pass: (ms: number) => Promise<void>, condition: () => boolean): Promise<void> => {
  while (!condition()) await pass(1);
};

/** `pass` makes at least `ms` go by on the clock, and lets promises settle. */
const clockContract = (name: string, make: () => { clock: Clock; pass: (ms: number) => Promise<void> }): void => {
  describe(`Clock, ${name}`, () => {
    it('fires a timer once, not before its delay', async () => {
      const { clock, pass } = make();
      const began = clock.monotonicMs();
      const fired: number[] = [];
      clock.after(10, () => fired.push(clock.monotonicMs() - began));
      await until(pass, () => fired.length > 0);
      await pass(10);
      expect(fired).to.have.length(1);
      expect(fired[0]).to.be.at.least(9); // a real timer may be early by the fraction of a millisecond
    });

    it('does not fire a cancelled timer, and takes a second cancel', async () => {
      const { clock, pass } = make();
      let fired = false;
      const armed = clock.after(5, () => (fired = true));
      armed.cancel();
      armed.cancel();
      await pass(20);
      expect(fired).to.equal(false);
    });

    it('repeats until cancelled from within', async () => {
      const { clock, pass } = make();
      let count = 0;
      const repeated = clock.every(2, () => {
        if (++count === 3) repeated.cancel();
      });
      await until(pass, () => count === 3);
      await pass(10);
      expect(count).to.equal(3);
    });

    it('wakes a sleeper, and rejects one whose signal aborts, before or during', async () => {
      const { clock, pass } = make();
      const reason = new Error('enough');
      const aborting = new AbortController();
      const outcomes: unknown[] = [];
      clock.sleep(5).then(() => outcomes.push('woke'), outcomes.push);
      clock.sleep(10_000, aborting.signal).then(
        () => outcomes.push('woke'),
        (thrown) => outcomes.push(thrown),
      );
      await until(pass, () => outcomes.length === 1);
      aborting.abort(reason);
      await until(pass, () => outcomes.length === 2);
      expect(outcomes).to.deep.equal(['woke', reason]);
      let thrown: unknown;
      await clock.sleep(1, AbortSignal.abort(reason)).catch((error: unknown) => (thrown = error));
      expect(thrown).to.equal(reason);
    });

    it('with slack, fires within it, repeats once a period and takes a cancel from within', async () => {
      const { clock, pass } = make();
      const began = clock.monotonicMs();
      const fired: number[] = [];
      clock.after(20, () => fired.push(clock.monotonicMs() - began), { slackMs: SLACK_MS });
      await until(pass, () => fired.length > 0);
      expect(fired[0]).to.be.at.least(18); // it is timed in whole milliseconds
      let count = 0;
      const repeated = clock.every(
        10,
        () => {
          if (++count === 3) repeated.cancel();
        },
        { slackMs: 5 },
      );
      await until(pass, () => count === 3);
      await pass(50);
      expect(count).to.equal(3);
      expect(fired).to.have.length(1);
    });

    it('never decreases, and tells seconds since', async () => {
      const { clock, pass } = make();
      const first = clock.monotonicMs();
      await pass(20);
      expect(clock.monotonicMs()).to.be.at.least(first + 19);
      expect(clock.since(first)).to.be.at.least(0.019);
    });

    it('drives RxJS operators', async () => {
      const { clock, pass } = make();
      const seen: number[] = [];
      interval(3, clock.scheduler)
        .pipe(take(3))
        .subscribe((value) => seen.push(value));
      const debounced: string[] = [];
      const typed = new Subject<string>();
      typed.pipe(debounceTime(5, clock.scheduler)).subscribe((value) => debounced.push(value));
      typed.next('a');
      typed.next('ab');
      await until(pass, () => seen.length === 3 && debounced.length > 0);
      await pass(10);
      expect(seen).to.deep.equal([0, 1, 2]);
      expect(debounced).to.deep.equal(['ab']);
    });

    it('runs what is wanted soon after the promises that are settled', async () => {
      const { clock, pass } = make();
      const order: string[] = [];
      clock.soon(() => order.push('soon'));
      void Promise.resolve().then(() => order.push('promise'));
      order.push('now');
      await until(pass, () => order.length === 3);
      expect(order[0]).to.equal('now');
      expect(order).to.have.members(['now', 'promise', 'soon']);
    });
  });
};

clockContract('real', () => {
  const clock = realClock();
  return { clock, pass: (ms) => clock.sleep(ms) };
});
clockContract('simulated', () => {
  const clock = simulatedClock();
  return { clock, pass: (ms) => clock.advance(ms) };
});

describe('The real clock', () => {
  const clock = realClock();

  it('fires what has slack at the marks of all threads, whenever it was asked for', async () => {
    const firedAt: number[] = [];
    const note = (): void => void firedAt.push(clock.monotonicMs());
    const timers = [clock.every(SLACK_MS, note, { slackMs: SLACK_MS })];
    await clock.sleep(70);
    timers.push(clock.every(SLACK_MS, note, { slackMs: SLACK_MS }));
    clock.after(3 * SLACK_MS, note, { slackMs: SLACK_MS });
    await until(clock.sleep, () => firedAt.length >= 8);
    for (const timer of timers) timer.cancel();
    // A loaded machine may fire late; that is for all of one mark together.
    const marks = new Set(firedAt.map((at) => Math.floor((at + 2) / SLACK_MS)));
    expect(marks.size).to.be.at.most(5);
  });

  it('goes by one time in all threads', async () => {
    const source = new URL('../../src/seams/plain-clock.js', import.meta.url).href;
    const thread = new Worker(
      `import('${source}').then(({ plainClock }) => require('node:worker_threads').parentPort.postMessage(plainClock().monotonicMs()))`,
      { eval: true },
    );
    const before = clock.monotonicMs();
    const there = await new Promise<number>((resolve, reject) => thread.once('message', resolve).once('error', reject));
    expect(there).to.be.within(before - 1, clock.monotonicMs() + 1);
    await thread.terminate();
  });
});

describe('The simulated clock', () => {
  it('settles promises between two timers, so that a sleeper sees every instant', async () => {
    const clock = simulatedClock();
    const seen: number[] = [];
    void (async () => {
      for (let turn = 0; turn < 4; turn++) {
        await clock.sleep(10);
        await Promise.resolve();
        seen.push(clock.monotonicMs());
      }
    })();
    await clock.advance(100);
    expect(seen).to.deep.equal([10, 20, 30, 40]);
    expect(clock.monotonicMs()).to.equal(100);
  });

  it('fires timers by time, and those of one instant in the order they were asked for', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ delay: fc.integer({ min: 0, max: 20 }), cancel: fc.boolean() }), { maxLength: 300 }),
        (asked) => {
          const clock = simulatedClock();
          const fired: number[] = [];
          const timers = asked.map(({ delay }, index) => clock.after(delay, () => fired.push(index)));
          asked.forEach(({ cancel }, index) => cancel && timers[index]?.cancel());
          const expected = asked
            .map(({ delay, cancel }, index) => ({ delay, cancel, index }))
            .filter(({ cancel }) => !cancel)
            .sort((a, b) => a.delay - b.delay || a.index - b.index)
            .map(({ index }) => index);
          expect(clock.pending()).to.equal(expected.length);
          expect(clock.advanceSync(20)).to.equal(expected.length);
          expect(fired).to.deep.equal(expected);
          expect(clock.pending()).to.equal(0);
          expect(clock.nextAt()).to.equal(null);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('moves no timer when the wall clock jumps', async () => {
    const clock = simulatedClock({ wallMs: 1_000_000 });
    let firedAt = -1;
    clock.after(50, () => (firedAt = clock.monotonicMs()));
    clock.jumpWall(-3_600_000);
    expect(clock.wallMs()).to.equal(1_000_000 - 3_600_000);
    await clock.advance(60);
    expect(firedAt).to.equal(50);
  });

  it('fires what a stall made late all at once, and makes up for no period', async () => {
    const clock = simulatedClock();
    const fired: string[] = [];
    clock.after(5, () => fired.push(`after ${clock.monotonicMs()}`));
    const repeated = clock.every(10, () => fired.push(`every ${clock.monotonicMs()}`));
    clock.stall(30_000);
    await clock.advance(10);
    repeated.cancel();
    expect(fired).to.deep.equal(['after 30000', 'every 30000', 'every 30010']);
  });

  it('refuses to be advanced while it is being advanced', async () => {
    const clock = simulatedClock();
    const first = clock.advance(1);
    let message = '';
    await clock.advance(1).catch((thrown: Error) => (message = thrown.message));
    await first;
    expect(message).to.match(/^cannot advance a clock/);
  });
});

describe('A clock with a steady wall', () => {
  it('shows the time of day it was made at and what has gone by since, whatever the wall is set to', async () => {
    const clock = simulatedClock({ wallMs: 1_000_000 });
    await clock.advance(10);
    const steady = steadyWall(clock);
    clock.jumpWall(365 * 86_400_000);
    await clock.advance(25);
    expect(steady.wallMs()).to.equal(1_000_035);
    expect(steady.monotonicMs()).to.equal(35);
    clock.jumpWall(-2 * 365 * 86_400_000);
    expect(steady.wallMs()).to.equal(1_000_035);
  });
});

describe('The schedulers of the clock', () => {
  it('lets an error of scheduled work out, and runs that work no more', async () => {
    const clock = simulatedClock();
    let runs = 0;
    clock.scheduler.schedule(function () {
      runs++;
      this.schedule(undefined, 10);
      throw new Error('the work is broken');
    }, 10);
    await clock.advance(10).then(
      () => expect.fail('the error was swallowed'),
      (thrown: Error) => expect(thrown.message).to.equal('the work is broken'),
    );
    expect(runs).to.equal(1);
    expect(clock.pending()).to.equal(0);
  });

  it('ends a timer that is unsubscribed in time', async () => {
    const clock = simulatedClock();
    let fired = false;
    timer(10, clock.scheduler)
      .subscribe(() => (fired = true))
      .unsubscribe();
    await clock.advance(20);
    expect(fired).to.equal(false);
    expect(clock.pending()).to.equal(0);
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { LOOK_MS, StallWatch } from '../../../src/operations/server/stall-watch.ts';

const NAMES = ['EVENT_ROUTER', 'AUTO_SYNC'];
const nameOf = (index: number): string | null => NAMES[index] ?? null;

/** Looks every LOOK_MS from `from` up to and including `to`. */
const lookOn = (watch: StallWatch, from: number, to: number, holder = -1): void => {
  for (let now = from + LOOK_MS; now <= to; now += LOOK_MS) watch.look(now, holder);
};

describe('StallWatch', () => {
  it('calls the loop stalled after two seconds of silence, and not before', () => {
    const watch = new StallWatch(0, 2_000);
    lookOn(watch, 0, 1_900);
    expect(watch.isStalled(1_999)).to.be.false;
    expect(watch.isStalled(2_000)).to.be.true;
  });

  it('names who holds the loop now', () => {
    const watch = new StallWatch(0, 2_000);
    lookOn(watch, 0, 2_500, 1);
    expect(watch.stall(2_500, nameOf, 1)).to.deep.equal({ silentMs: 2_500, heldBy: 'AUTO_SYNC' });
  });

  it('names who held it most when the word is cleared for a moment', () => {
    const watch = new StallWatch(0, 2_000);
    lookOn(watch, 0, 2_500, 1);
    expect(watch.stall(2_500, nameOf, -1)?.heldBy).to.equal('AUTO_SYNC');
  });

  it('reports the stall once, with its length and its holder, when the loop speaks again', () => {
    const watch = new StallWatch(0, 2_000);
    lookOn(watch, 0, 1_000, 0);
    lookOn(watch, 1_000, 5_000, 1);
    expect(watch.heard(5_050)).to.deep.equal({ startedAt: 0, durationMs: 5_050, holder: 1 });
    expect(watch.heard(5_060)).to.be.null;
    expect(watch.isStalled(5_060)).to.be.false;
  });

  it('counts silence up to the sign of life, however late that is read', () => {
    const watch = new StallWatch(0, 2_000);
    lookOn(watch, 0, 1_750);
    expect(watch.heard(2_100, 200)).to.be.null; // it spoke after 1.9 s
    expect(watch.ageMs(2_100)).to.equal(200);
    lookOn(watch, 2_100, 3_600, 1);
    expect(watch.isStalled(3_899)).to.be.false;
    expect(watch.isStalled(3_900)).to.be.true; // two seconds after it spoke, not after that was read
    lookOn(watch, 3_600, 4_350, 1);
    expect(watch.heard(4_400, 100)).to.deep.equal({ startedAt: 1_900, durationMs: 2_400, holder: 1 });
  });

  it('says nothing of a silence shorter than the limit', () => {
    const watch = new StallWatch(0, 2_000);
    lookOn(watch, 0, 1_900);
    expect(watch.heard(1_950)).to.be.null;
  });

  it('does not take its own absence for a stall: a suspended machine wakes up with everybody late', () => {
    const watch = new StallWatch(0, 2_000);
    lookOn(watch, 0, 1_000);
    watch.look(31_000, -1);
    expect(watch.isStalled(31_000)).to.be.false;
    expect(watch.ageMs(31_000)).to.equal(31_000); // the picture is old all the same, and says so
    expect(watch.heard(31_050)).to.be.null;
  });

  it('goes on counting after its own absence, when the loop stays silent', () => {
    const watch = new StallWatch(0, 2_000);
    lookOn(watch, 0, 1_000);
    watch.look(31_000, -1);
    lookOn(watch, 31_000, 32_000, 0);
    expect(watch.stall(32_000, nameOf, 0)?.heldBy).to.equal('EVENT_ROUTER');
  });

  it('is never stalled by gaps alone, however they fall, while the loop speaks between them', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 100_000 }), { maxLength: 50 }), (gaps) => {
        const watch = new StallWatch(0, 2_000);
        let now = 0;
        for (const gap of gaps) {
          now += gap;
          watch.look(now, 0);
          if (gap > 1_000) expect(watch.isStalled(now)).to.be.false;
          watch.heard(now);
        }
      }),
    );
  });
});

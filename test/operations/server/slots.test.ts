import { expect } from 'chai';
import {
  beatPulse,
  PULSE_WORD,
  pulseAgeMs,
  sharedWords,
  SLOTS,
  takeSlot,
  withdrawals,
} from '../../../src/operations/server/slots.ts';

describe('a forwarded request', () => {
  it('taken by the main thread cannot be withdrawn', () => {
    const shared = sharedWords();
    const slots = withdrawals(shared);
    const slot = slots.open()!;
    expect(takeSlot(shared, slot)).to.be.true;
    expect(slots.withdraw(slot)).to.be.false;
  });

  it('withdrawn at its deadline is never carried out', () => {
    const shared = sharedWords();
    const slots = withdrawals(shared);
    const slot = slots.open()!;
    expect(slots.withdraw(slot)).to.be.true;
    expect(takeSlot(shared, slot)).to.be.false;
  });

  it('withdrawn keeps its word until the main thread has let go of it, so that no other request is mistaken for it', () => {
    const shared = sharedWords();
    const slots = withdrawals(shared);
    const slot = slots.open()!;
    slots.withdraw(slot);
    for (let count = 1; count < SLOTS; count++) expect(slots.open()).not.to.equal(slot);
    expect(slots.open()).to.be.null;
    takeSlot(shared, slot);
    expect(slots.open()).to.equal(slot);
  });

  it('beyond the limit finds no word', () => {
    const slots = withdrawals(sharedWords());
    for (let count = 0; count < SLOTS; count++) expect(slots.open()).to.be.a('number');
    expect(slots.open()).to.be.null;
    expect(slots.inUse()).to.equal(SLOTS);
  });
});

describe('the pulse of the main loop', () => {
  it('read later says how long ago it beat, also when the word has wrapped around since the machine was started', () => {
    for (const at of [0, 1_234.9, 2 ** 31 - 5, 2 ** 32 - 5, 2 ** 40 + 0.5]) {
      const shared = sharedWords();
      beatPulse(shared, at);
      const word = new Int32Array(shared)[PULSE_WORD]!;
      expect(pulseAgeMs(word, at + 250)).to.be.within(250, 251);
      expect(pulseAgeMs(word, at - 1)).to.equal(0); // read on another thread within the same millisecond
    }
  });
});

import { expect } from 'chai';
import { sharedWords, SLOTS, takeSlot, withdrawals } from '../../../src/operations/server/slots.ts';

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

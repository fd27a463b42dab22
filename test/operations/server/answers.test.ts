import { expect } from 'chai';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Answers } from '../../../src/operations/server/answers.ts';
import { Refusal } from '../../../src/operations/server/errors.ts';
import { simulatedClock, type SimulatedClock } from '../../../src/simulation/simulated-clock.ts';

const MEGABYTE = 1024 * 1024;

class Response extends EventEmitter {
  destroyed = false;
  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

describe('answers that wait for their readers', () => {
  let clock: SimulatedClock;
  let answers: Answers;
  beforeEach(() => {
    clock = simulatedClock();
    answers = new Answers(clock, 10 * MEGABYTE, 60_000);
  });
  const begin = (bytes: number): Response => {
    const response = new Response();
    answers.begin(response as unknown as ServerResponse, bytes);
    return response;
  };

  it('are counted until each is taken', () => {
    const one = begin(4 * MEGABYTE);
    const other = begin(5 * MEGABYTE);
    expect(answers.fill()).to.deep.equal({ size: 9 * MEGABYTE, limit: 10 * MEGABYTE, dropped: 0 });
    one.emit('close');
    other.emit('close');
    expect(answers.fill().size).to.equal(0);
  });

  it('that would be too much together: a further long one is refused, a short one is not', () => {
    const waits = begin(9 * MEGABYTE);
    expect(() => begin(2 * MEGABYTE)).to.throw(Refusal, 'cannot serve more than 10485760 bytes of answers at once');
    begin(200 * 1024);
    expect(answers.fill().dropped).to.equal(1);
    waits.emit('close');
    begin(2 * MEGABYTE);
  });

  it('a single one may be longer than all together: it has no other to wait for', () => {
    begin(20 * MEGABYTE);
    expect(answers.fill().size).to.equal(20 * MEGABYTE);
  });

  it('that nobody takes are dropped with their connection, and counted', async () => {
    const slow = begin(MEGABYTE);
    const taken = begin(MEGABYTE);
    taken.emit('close');
    await clock.advance(59_999);
    expect(slow.destroyed).to.equal(false);
    await clock.advance(1);
    expect(slow.destroyed).to.equal(true);
    expect(taken.destroyed).to.equal(false);
    expect(answers.fill()).to.deep.equal({ size: 0, limit: 10 * MEGABYTE, dropped: 1 });
    expect(clock.pending()).to.equal(0);
  });
});

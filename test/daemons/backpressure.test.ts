import { expect } from 'chai';
import { Backpressure } from '../../src/daemons/backpressure.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';

describe('backpressure, as the events say', () => {
  const word = (offset: number, queue = 'evaluation') => ({
    ...{ id: `e${offset}`, topic: 't', version: 1, offset, source: 'EVALUATION', publishedAtMs: 0, attempt: 1 },
    body: { queue, depth: 1, limit: 1 },
  });

  it('a queue is pressed until it is released, each for itself', () => {
    const pressure = new Backpressure(simulatedClock());
    pressure.activated(word(1));
    pressure.activated(word(2, 'work'));
    expect(pressure.pressed).to.deep.equal(['evaluation', 'work']);
    pressure.released(word(3));
    expect(pressure.pressed).to.deep.equal(['work']);
    pressure.released(word(4, 'work'));
    expect(pressure.active).to.equal(false);
  });

  it('a word that comes after a later one is ignored', () => {
    const pressure = new Backpressure(simulatedClock());
    pressure.released(word(7));
    pressure.activated(word(6));
    expect(pressure.active).to.equal(false);
  });

  it('remembers so many queues, and counts what it has no room for', () => {
    const pressure = new Backpressure(simulatedClock());
    for (let queue = 0; queue < 130; queue++) pressure.activated(word(queue + 1, `q${queue}`));
    expect(pressure.queues).to.deep.equal({ size: 100, limit: 100, dropped: 30 });
    pressure.released(word(200, 'q0'));
    expect(pressure.pressed, 'one that it knows').to.have.length(99);
  });

  it('what nobody releases lapses', async () => {
    const clock = simulatedClock();
    const pressure = new Backpressure(clock);
    pressure.activated(word(1));
    await clock.advance(299_000);
    expect(pressure.active).to.equal(true);
    await clock.advance(2_000);
    expect(pressure.active).to.equal(false);
  });
});

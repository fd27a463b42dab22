import { expect } from 'chai';
import { OrchestratorError } from '../../src/errors.ts';
import type { RouterHost } from '../../src/events/router-api.ts';
import type { PublishReceipt } from '../../src/events/types.ts';
import { eventControl } from '../../src/operations/event-control.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';

const MEGABYTE = 1024 * 1024;
const NEVER = new AbortController().signal;
const RECEIPT: PublishReceipt = { id: 'e1', offset: 7, stored: true };

/** A router whose next publish is confirmed when the test says so. */
const routerThat = (stalled: string | null) => {
  let confirm: (receipt: PublishReceipt) => void = () => undefined;
  const router = {
    publishExternal: () => new Promise<PublishReceipt>((resolve) => (confirm = resolve)),
    stats: () => ({ presence: 'serving', stalled }),
  } as unknown as RouterHost;
  return { router, confirm: () => confirm(RECEIPT) };
};

describe('Publishing through the control socket', () => {
  it('is answered with the receipt once the event is durable', async () => {
    const clock = simulatedClock();
    const { router, confirm } = routerThat(null);
    const answer = eventControl(router, clock).handle('publish', { topic: 'X', body: {} }, NEVER);
    await clock.advance(2_900);
    confirm();
    expect(await answer).to.deep.equal(RECEIPT);
  });

  it('while the disk is full: is answered within 3 s, with what is wrong and what becomes of the event', async () => {
    const clock = simulatedClock();
    const { router } = routerThat('database or disk is full');
    const answer = eventControl(router, clock)
      .handle('publish', { topic: 'X', body: {} }, NEVER)
      .catch((thrown: unknown) => thrown as OrchestratorError);
    await clock.advance(3_000);
    const error = (await answer) as OrchestratorError;
    expect(error).to.be.instanceOf(OrchestratorError);
    expect(error.code).to.equal('ROUTER_AWAY');
    expect(error.message).to.equal('cannot confirm that X is stored: database or disk is full');
    expect(error.remedy).to.include('the master holds the event');
  });
});

describe('Readers of the event tail', () => {
  type Listener = Parameters<RouterHost['tail']>[0];
  const setUp = () => {
    const clock = simulatedClock();
    const listeners = new Set<Listener>();
    const router = {
      tail(listener: Listener) {
        listeners.add(listener);
        return { dropped: 0, close: () => void listeners.delete(listener) };
      },
    } as unknown as RouterHost;
    const control = eventControl(router, clock);
    let offset = 0;
    const store = (characters: number): void => {
      offset++;
      for (const listener of listeners) listener({ offset } as never, characters);
    };
    const ask = async (reader: string, waitMs = 0, signal = NEVER) =>
      (await control.handle('tail', { reader, waitMs, max: 2_000 }, signal)) as {
        events: { offset: number }[];
        dropped: number;
      };
    const fill = (name: string) => control.collections()[name];
    return { clock, listeners, control, store, ask, fill };
  };

  it('that does not ask loses its oldest events beyond 2,000, and is told how many', async () => {
    const { store, ask, fill } = setUp();
    await ask('slow');
    for (let event = 0; event < 2_010; event++) store(10);
    expect(fill('event_reader_characters')).to.deep.equal({ size: 20_000, limit: 32 * MEGABYTE, dropped: 10 });
    const { events, dropped } = await ask('slow');
    expect([events.length, events[0]?.offset, dropped]).to.deep.equal([2_000, 11, 10]);
    expect(fill('event_reader_characters')?.size).to.equal(0);
  });

  it('that leave long events lying are bounded together: the longest queue gives way', async () => {
    const { store, ask, fill } = setUp();
    await ask('slow');
    for (let event = 0; event < 20; event++) store(MEGABYTE);
    await ask('late');
    for (let event = 0; event < 10; event++) store(MEGABYTE);
    expect(fill('event_reader_characters')).to.deep.equal({ size: 32 * MEGABYTE, limit: 32 * MEGABYTE, dropped: 8 });
    expect(await ask('late')).to.have.property('dropped', 0);
    const { events, dropped } = await ask('slow');
    expect([events.length, dropped]).to.deep.equal([22, 8]);
  });

  it('have so many places; one that went away makes way, one that reads does not', async () => {
    const { clock, listeners, ask, fill } = setUp();
    for (let reader = 0; reader < 32; reader++) await ask(`r${reader}`);
    const refused = (await ask('one-more').catch((thrown: unknown) => thrown)) as OrchestratorError;
    expect(refused.code).to.equal('TOO_MANY');
    expect(refused.message).to.equal('cannot follow the events: 32 readers do already');
    const waiting = ask('r0', 30_000);
    await clock.advance(10_001);
    await ask('one-more');
    expect(fill('event_readers')).to.deep.equal({ size: 32, limit: 32, dropped: 2 });
    expect(listeners.size).to.equal(32);
    await clock.advance(20_000);
    expect(await waiting, 'it waited on').to.deep.equal({ events: [], dropped: 0 });
  });

  it('that hang up in the middle of a wait lose nothing: the next call has it', async () => {
    const { store, ask } = setUp();
    const hangUp = new AbortController();
    const waiting = ask('r', 30_000, hangUp.signal);
    hangUp.abort();
    store(1);
    expect(await waiting).to.deep.equal({ events: [], dropped: 0 });
    expect((await ask('r')).events).to.have.length(1);
  });

  it('that are forgotten leave nothing behind', async () => {
    const { clock, listeners, store, ask, fill } = setUp();
    await ask('gone');
    store(500);
    await clock.advance(120_001);
    expect(listeners.size).to.equal(0);
    expect([fill('event_readers')?.size, fill('event_reader_characters')?.size]).to.deep.equal([0, 0]);
  });
});

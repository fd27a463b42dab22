import { expect } from 'chai';
import { OrchestratorError } from '../../src/errors.ts';
import type { RouterHost } from '../../src/events/router-api.ts';
import type { PublishReceipt } from '../../src/events/types.ts';
import { eventControl } from '../../src/operations/event-control.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';

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

import { expect } from 'chai';
import { forwarding, type Forward } from '../../../src/operations/server/forward.ts';
import type { ControlReply, ControlRequest, FromServer } from '../../../src/operations/server/protocol.ts';
import { sharedWords, SLOTS, takeSlot } from '../../../src/operations/server/slots.ts';
import { simulatedClock, type SimulatedClock } from '../../../src/simulation/simulated-clock.ts';

const RESTART: ControlRequest = { kind: 'act', act: { id: 'a', verb: 'restart', daemons: ['AUTO_SYNC'] } };
const DONE: ControlReply = { ok: true, body: { code: 'done' } };
const never = (): AbortSignal => new AbortController().signal;

describe('forwarding to the main loop', () => {
  let clock: SimulatedClock;
  let shared: SharedArrayBuffer;
  let posted: Extract<FromServer, { type: 'request' }>[];
  let hungUp: number[];
  let forward: Forward;

  beforeEach(() => {
    clock = simulatedClock();
    shared = sharedWords();
    posted = [];
    hungUp = [];
    forward = forwarding({
      shared,
      clock,
      acknowledgeMs: 2_000,
      post: (message) => {
        if (message.type === 'request') posted.push(message);
        if (message.type === 'hung-up') hungUp.push(message.id);
      },
      stall: () => ({ silentMs: 2_400, heldBy: 'AUTO_SYNC' }),
    });
  });

  const refusal = async (
    promise: Promise<unknown>,
  ): Promise<{ status: number; body: { code: string; message: string } }> => {
    try {
      await promise;
    } catch (thrown) {
      return thrown as never;
    }
    throw new Error('it was not refused');
  };

  it('a request that is taken gets its outcome, however long after the deadline', async () => {
    const answer = forward.ask(RESTART, 600_000, never());
    expect(takeSlot(shared, posted[0]!.slot)).to.be.true;
    await clock.advance(30_000);
    forward.answered(posted[0]!.id, DONE);
    expect(await answer).to.equal(DONE);
    expect(forward.underWay).to.equal(0);
  });

  it('a request whose outcome does not come is given up, and the main loop hears that nobody waits', async () => {
    const refused = refusal(forward.ask(RESTART, 1_000, never()));
    expect(takeSlot(shared, posted[0]!.slot)).to.be.true;
    await clock.advance(2_000 + 1_000 + 5_000);
    expect((await refused).body.code).to.equal('NO_OUTCOME');
    expect(hungUp).to.deep.equal([posted[0]!.id]);
    expect(forward.underWay).to.equal(0);
  });

  it('a request that is not taken within the deadline is refused, with who holds the loop, and never carried out', async () => {
    const refused = refusal(forward.ask(RESTART, 600_000, never()));
    await clock.advance(1_999);
    expect(forward.underWay).to.equal(1);
    await clock.advance(1);
    const { status, body } = await refused;
    expect(status).to.equal(503);
    expect(body.code).to.equal('ENGINE_STALLED');
    expect(body.message).to.contain('silent for 2400 ms').and.to.contain('held by AUTO_SYNC');
    expect(takeSlot(shared, posted[0]!.slot)).to.be.false;
  });

  it('a request that was taken but never answered ends with its wait, and leaves nothing behind', async () => {
    const refused = refusal(forward.ask(RESTART, 1_000, never()));
    takeSlot(shared, posted[0]!.slot);
    await clock.advance(8_000);
    expect((await refused).body.code).to.equal('NO_OUTCOME');
    expect(forward.underWay).to.equal(0);
    forward.answered(posted[0]!.id, DONE); // too late, and harmless
    expect(clock.pending()).to.equal(0);
  });

  it('a caller that hangs up before it was taken takes its request along', async () => {
    const caller = new AbortController();
    const refused = refusal(forward.ask(RESTART, 1_000, caller.signal));
    caller.abort();
    await refused;
    expect(takeSlot(shared, posted[0]!.slot)).to.be.false;
    expect(hungUp).to.deep.equal([]);
  });

  it('a caller that hangs up after it was taken is reported, so that a long poll can end', async () => {
    const caller = new AbortController();
    const refused = refusal(forward.ask(RESTART, 1_000, caller.signal));
    takeSlot(shared, posted[0]!.slot);
    caller.abort();
    await refused;
    expect(hungUp).to.deep.equal([posted[0]!.id]);
    expect(forward.underWay).to.equal(0);
  });

  it('more requests at once than there are words for are refused, and there is room again after answers', async () => {
    const answers = Array.from({ length: SLOTS }, () => forward.ask(RESTART, 1_000, never()));
    expect((await refusal(forward.ask(RESTART, 1_000, never()))).body.code).to.equal('TOO_MANY');
    for (const { id, slot } of posted) {
      takeSlot(shared, slot);
      forward.answered(id, DONE);
    }
    await Promise.all(answers);
    const one = forward.ask(RESTART, 1_000, never());
    forward.answered(posted.at(-1)!.id, DONE);
    expect(await one).to.equal(DONE);
  });
});

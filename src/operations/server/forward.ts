/**
 * Requests that only the main loop can carry out, from the server thread's side.
 *
 * Each is taken within the deadline or withdrawn for ever (slots.ts); after it was taken, its outcome is waited for as
 * long as the caller asked, and no caller that hung up is kept in mind.
 */
import type { PlainClock } from '../../seams/plain-clock.ts';
import { engineStalled, noOutcome, tooMany } from './errors.ts';
import type { ControlReply, ControlRequest, FromServer, StallNow } from './protocol.ts';
import { SLOTS, withdrawals } from './slots.ts';

/** An outcome may be this much later than the wait that was asked for. Milliseconds. */
const GRACE_MS = 5_000;

export interface Forward {
  /**
   * Hands a request to the main loop.
   * @param waitMs  how long its outcome may take once it was taken
   * @throws (rejects) ENGINE_STALLED, NO_OUTCOME, TOO_MANY; the signal's reason when the caller hung up
   */
  ask(request: ControlRequest, waitMs: number, signal: AbortSignal): Promise<ControlReply>;
  /** The main loop answered. */
  answered(id: number, reply: ControlReply): void;
  readonly underWay: number;
}

export const forwarding = (options: {
  readonly shared: SharedArrayBuffer;
  readonly clock: PlainClock;
  readonly acknowledgeMs: number;
  readonly post: (message: FromServer) => void;
  readonly stall: () => StallNow | null;
}): Forward => {
  const { shared, clock, acknowledgeMs, post, stall } = options;
  const slots = withdrawals(shared);
  const waiting = new Map<number, { readonly slot: number; readonly settle: (reply: ControlReply | Error) => void }>();
  let lastId = 0;

  return {
    ask: (request, waitMs, signal) =>
      new Promise((resolve, reject) => {
        const slot = slots.open();
        if (slot === null) return reject(tooMany('requests', SLOTS));
        const id = ++lastId;
        const settle = (reply: ControlReply | Error): void => {
          deadline.cancel();
          late.cancel();
          signal.removeEventListener('abort', onAbort);
          if (reply instanceof Error) reject(reply);
          else resolve(reply);
        };
        const deadline = clock.after(acknowledgeMs, () => {
          if (!slots.withdraw(slot)) return; // it was taken: go on waiting for its outcome
          waiting.delete(id);
          settle(engineStalled(acknowledgeMs, stall()));
        });
        // From here on the slot was taken, so the main thread is done with it.
        const late = clock.after(acknowledgeMs + waitMs + GRACE_MS, () => {
          if (waiting.delete(id)) slots.free(slot);
          post({ type: 'hung-up', id }); // nobody waits for it any more
          settle(noOutcome(waitMs));
        });
        const onAbort = (): void => {
          waiting.delete(id);
          // A request that nobody waits for any more is not begun; one that was begun is finished.
          if (!slots.withdraw(slot)) {
            slots.free(slot);
            post({ type: 'hung-up', id });
          }
          settle(signal.reason instanceof Error ? signal.reason : new Error('the caller hung up'));
        };
        waiting.set(id, { slot, settle });
        signal.addEventListener('abort', onAbort, { once: true });
        post({ type: 'request', id, slot, request });
      }),
    answered(id, reply) {
      const waiter = waiting.get(id);
      if (waiter === undefined) return;
      waiting.delete(id);
      slots.free(waiter.slot);
      waiter.settle(reply);
    },
    get underWay() {
      return waiting.size;
    },
  };
};

/**
 * Start slots: how many daemons may be between "permitted" and "ready" at once.
 *
 * The queue is p-queue's, ordered by the length of the critical path below a daemon, so the chain that decides how long
 * boot takes never waits behind leaves. A queued task runs in the async context of whatever freed the slot; `granted`
 * only reports, and the runtime enters the daemon's own context itself.
 */
import PQueue from 'p-queue';
import type { StartSlots } from './ports.ts';

/** On the shipped graph 8 slots cost 1.37 × the critical path and 16 cost 1.00 (docs/budgets.md). */
export const START_SLOTS = 32;

interface Held {
  withdrawn: boolean;
  release: (() => void) | null;
}

export const startSlots = (concurrency = START_SLOTS): StartSlots => {
  const queue = new PQueue({ concurrency });
  const held = new Map<string, Held>();
  const keyOf = (daemon: string, generation: number): string => `${daemon}#${generation}`;

  return {
    request(daemon, generation, priority, granted) {
      const key = keyOf(daemon, generation);
      const slot: Held = { withdrawn: false, release: null };
      held.set(key, slot);
      void queue.add(
        () => {
          if (slot.withdrawn) return Promise.resolve();
          return new Promise<void>((resolve) => {
            slot.release = resolve;
            granted();
          });
        },
        { priority },
      );
    },
    release(daemon, generation) {
      const key = keyOf(daemon, generation);
      const slot = held.get(key);
      if (slot === undefined) return;
      held.delete(key);
      slot.withdrawn = true;
      slot.release?.();
    },
  };
};

/**
 * Start slots: how many daemons may be between "permitted" and "ready" at once.
 *
 * The queue is p-queue's own, ordered by the length of the critical path below a daemon, so the chain that decides how
 * long boot takes never waits behind leaves. A permission is given by a call and not by p-queue's promises: those cost as
 * much as the rest of a start when thousands come back at once. It comes in the async context of whatever freed the slot;
 * `granted` only reports, and the runtime enters the daemon's own context itself.
 */
import { PriorityQueue } from 'p-queue';
import type { StartSlots } from './ports.ts';

/** On the shipped graph 8 slots cost 1.37 × the critical path and 16 cost 1.00 (docs/budgets.md). */
export const START_SLOTS = 32;

interface Held {
  readonly generation: number;
  readonly granted: () => void;
  state: 'waits' | 'has a slot' | 'over';
}

/** What p-queue wants of a task, and nobody waits for. */
const TOLD = Promise.resolve();

export const startSlots = (concurrency = START_SLOTS): StartSlots => {
  const queue = new PriorityQueue();
  const held = new Map<string, Held>();
  let free = concurrency;
  let giving = false;

  const give = (one: Held): Promise<void> => {
    if (one.state !== 'waits') return TOLD; // taken back meanwhile
    one.state = 'has a slot';
    free--;
    one.granted();
    return TOLD;
  };
  /** One that is ready at once gives its slot back inside `granted`: the loop goes on, it does not nest. */
  const giveFree = (): void => {
    if (giving) return;
    giving = true;
    while (free > 0 && queue.size > 0) void queue.dequeue()?.();
    giving = false;
  };
  const end = (one: Held): void => {
    if (one.state === 'has a slot') free++;
    one.state = 'over';
  };

  return {
    request(daemon, generation, priority, granted) {
      const before = held.get(daemon);
      if (before !== undefined) end(before); // a daemon has one start at a time
      const one: Held = { generation, granted, state: 'waits' };
      held.set(daemon, one);
      queue.enqueue(() => give(one), { priority });
      giveFree();
    },
    release(daemon, generation) {
      const one = held.get(daemon);
      if (one?.generation !== generation) return;
      held.delete(daemon);
      end(one);
      giveFree();
    },
  };
};

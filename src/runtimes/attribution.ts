/**
 * Whose code is running: every call into a daemon happens inside an AsyncLocalStorage store that names it.
 *
 * Two uses. A throw that nobody caught finds its daemon by the store, so it ends that daemon's start and nothing else.
 * And an async_hooks `before` hook copies the store's index into a SharedArrayBuffer, so that another thread can say who
 * holds the loop while it is held.
 *
 * Three traps, each with a test: the store is the *publisher's* when a subscriber is called synchronously from a publish
 * (so every handler is entered with its own store); a timer that one daemon's first call created lazily in a shared
 * service carries that daemon's store for ever (so shared services start before any daemon, outside any store); a task
 * in a promise queue runs in the context of whatever freed the slot (so the runtime enters the daemon's store itself).
 */
import { AsyncLocalStorage, createHook } from 'node:async_hooks';

/** Nobody's code, or the master's own. */
export const NOBODY = -1;

export interface Holder {
  /** Position in the fleet; what the shared word holds. */
  readonly index: number;
  readonly daemon: string;
  readonly generation: number;
}

export interface Attribution {
  /** Int32: [index of the daemon whose code runs now, or -1]. */
  readonly shared: SharedArrayBuffer;
  /** Calls `work` as that daemon; nests, and restores the caller's name after. */
  enter<Result>(holder: Holder, work: () => Result): Result;
  /** Calls `work` as nobody: for what outlives a daemon's call. */
  leave<Result>(work: () => Result): Result;
  current(): Holder | null;
  /** Stops following; for tests. */
  dispose(): void;
}

export const createAttribution = (): Attribution => {
  const storage = new AsyncLocalStorage<Holder | null>();
  const shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const word = new Int32Array(shared);
  word[0] = NOBODY;
  const hook = createHook({
    before: () => {
      word[0] = storage.getStore()?.index ?? NOBODY;
    },
    after: () => {
      word[0] = NOBODY;
    },
  }).enable();

  return {
    shared,
    enter(holder, work) {
      const outer = word[0] ?? NOBODY;
      word[0] = holder.index;
      try {
        return storage.run(holder, work);
      } finally {
        word[0] = outer;
      }
    },
    leave(work) {
      const outer = word[0] ?? NOBODY;
      word[0] = NOBODY;
      try {
        // Not `exit`: with one store in the process it switches the async hooks off and on around every call.
        return storage.run(null, work);
      } finally {
        word[0] = outer;
      }
    },
    current: () => storage.getStore() ?? null,
    dispose() {
      hook.disable();
      storage.disable();
    },
  };
};

/**
 * Whether a forwarded request was taken or withdrawn, decided once, by one word of shared memory.
 *
 * A message cannot be called back: it waits in the queue of a main thread that is blocked, and would be carried out when
 * that wakes, long after the caller was told 503. So every forwarded request owns a word. The main thread takes it with a
 * compare-and-swap before it acts, the server thread withdraws it with another at the deadline; exactly one of the two
 * wins. The word is free again only when the side that lost, or that finished, has let go of it.
 */

/** Requests that may be under way at once; one more is refused with TOO_MANY. Chosen: far above what operators do. */
export const SLOTS = 256;

const FREE = 0;
const PENDING = 1;
const TAKEN = 2;
const WITHDRAWN = 3;

/**
 * Word 0 is the pulse of the main loop: when it last ran, in milliseconds of the clock that all threads share, modulo 2³².
 * Word 1 counts what the server thread has read; the slots follow.
 */
export const PULSE_WORD = 0;
export const READ_WORD = 1;
const FIRST_SLOT = 2;

export const sharedWords = (): SharedArrayBuffer => new SharedArrayBuffer((FIRST_SLOT + SLOTS) * 4);

/** The loop runs; so says whoever calls this on it. */
export const beatPulse = (shared: SharedArrayBuffer, monotonicMs: number): void =>
  void Atomics.store(new Int32Array(shared), PULSE_WORD, Math.floor(monotonicMs) | 0);

/** How long ago the pulse was that was read as `word`. Milliseconds, whole. */
export const pulseAgeMs = (word: number, monotonicMs: number): number =>
  Math.max(0, ((Math.floor(monotonicMs) | 0) - word) | 0);

/** The server thread's side. */
export interface Withdrawals {
  /** A slot in state pending; null when all are in use. */
  open(): number | null;
  /** True: the main thread never took it and never will. False: it was taken. */
  withdraw(slot: number): boolean;
  /** After the reply of a taken request. */
  free(slot: number): void;
  inUse(): number;
}

export const withdrawals = (shared: SharedArrayBuffer): Withdrawals => {
  const words = new Int32Array(shared);
  let next = 0;
  return {
    open() {
      for (let tried = 0; tried < SLOTS; tried++) {
        const slot = FIRST_SLOT + next;
        next = (next + 1) % SLOTS;
        if (Atomics.compareExchange(words, slot, FREE, PENDING) === FREE) return slot;
      }
      return null;
    },
    withdraw: (slot) => Atomics.compareExchange(words, slot, PENDING, WITHDRAWN) === PENDING,
    free: (slot) => void Atomics.store(words, slot, FREE),
    inUse() {
      let used = 0;
      for (let slot = FIRST_SLOT; slot < words.length; slot++) if (Atomics.load(words, slot) !== FREE) used++;
      return used;
    },
  };
};

/**
 * The main thread's side: true when the request may be carried out. False when it was withdrawn; its slot is then free.
 */
export const takeSlot = (shared: SharedArrayBuffer, slot: number): boolean => {
  const words = new Int32Array(shared);
  if (Atomics.compareExchange(words, slot, PENDING, TAKEN) === PENDING) return true;
  Atomics.store(words, slot, FREE);
  return false;
};

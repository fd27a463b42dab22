/**
 * How full something is that must not grow without end.
 *
 * Whatever grows with time, traffic or errors has a bound, and what comes beyond it is refused with an error or pushed out
 * and counted; nothing is lost in silence. Each is shown in /metrics as `master_loop_collection_size`, `_limit` and
 * `_dropped_total`, and listed in docs/reliability.md; a test holds the list against the page of a live master.
 */

/** How full one collection is, and what did not find a place in it. */
export interface Fill {
  /** Of what the bound counts: entries, bytes … */
  readonly size: number;
  readonly limit: number;
  /** Refused or pushed out since the start; absent where that cannot happen (it waits, or its bound is by construction). */
  readonly dropped?: number;
}

/** By the name of the collection: lower case, words joined by `_`, units last. */
export type Fills = Readonly<Record<string, Fill>>;

/** Sets a key as the newest of at most `most`; the oldest has to go. @returns whether one went */
export const setNewest = <Key, Value>(of: Map<Key, Value>, key: Key, value: Value, most: number): boolean => {
  of.delete(key);
  of.set(key, value);
  if (of.size <= most) return false;
  of.delete(of.keys().next().value as Key);
  return true;
};

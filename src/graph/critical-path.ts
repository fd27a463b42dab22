/**
 * The chain that decides how long a boot takes, and each daemon's share of it.
 *
 * A daemon's path length is its own start time plus the longest of its dependents' path lengths: what is still to come
 * once it may start. Starting the longest first is the best simple rule there is when slots are scarce. Equal lengths are
 * decided by the number of daemons on the way, so a path always runs from a root to a leaf, also when nothing has been
 * measured and every time is 0; then by start order.
 */
import type { Adjacency } from './adjacency.ts';

export interface PathLengths {
  /** Per daemon number: milliseconds from the beginning of its start to the end of the longest chain of dependents. */
  readonly belowMs: Float64Array;
  /** The dependent that this chain goes on with; -1 at a leaf. */
  readonly next: Int32Array;
  /** Where the longest of all chains begins; -1 for an empty graph. */
  readonly first: number;
}

/** @see Kelley and Walker 1959, critical path method. O(daemons + edges). */
export const pathLengthsOf = (
  { size, dependents }: Adjacency,
  order: Int32Array,
  startMs: Float64Array,
): PathLengths => {
  const belowMs = new Float64Array(size);
  const daemons = new Int32Array(size); // on the way, itself included
  const next = new Int32Array(size).fill(-1);
  const position = new Int32Array(size);
  for (let at = 0; at < size; at += 1) position[order[at]!] = at;
  const isLonger = (one: number, other: number): boolean => {
    if (other === -1) return true;
    if (belowMs[one]! !== belowMs[other]!) return belowMs[one]! > belowMs[other]!;
    if (daemons[one]! !== daemons[other]!) return daemons[one]! > daemons[other]!;
    return position[one]! < position[other]!;
  };
  let first = -1;
  for (let at = size - 1; at >= 0; at -= 1) {
    const node = order[at]!;
    let longest = -1;
    for (let i = dependents.start[node]!; i < dependents.start[node + 1]!; i += 1) {
      const dependent = dependents.node[i]!;
      if (isLonger(dependent, longest)) longest = dependent;
    }
    next[node] = longest;
    belowMs[node] = startMs[node]! + (longest === -1 ? 0 : belowMs[longest]!);
    daemons[node] = 1 + (longest === -1 ? 0 : daemons[longest]!);
    if (isLonger(node, first)) first = node;
  }
  return { belowMs, next, first };
};

/**
 * The start order: one line in which everything comes after what it depends on.
 *
 * Many orders are right; people and tests need *the* order, the same on every machine and close to what they wrote. So
 * among the daemons that could come next the critical ones go first, then the earlier declared (Kahn 1962 with a heap
 * instead of a queue). Adding a daemon that nobody depends on therefore moves nobody else relative to each other.
 */
import type { Adjacency } from './adjacency.ts';

/** A heap of small integers, least first; room for each of them once. */
class LeastFirst {
  readonly #heap: Int32Array;
  #size = 0;

  constructor(capacity: number) {
    this.#heap = new Int32Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  push(value: number): void {
    const heap = this.#heap;
    let hole = this.#size++;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (heap[parent]! <= value) break;
      heap[hole] = heap[parent]!;
      hole = parent;
    }
    heap[hole] = value;
  }

  pop(): number {
    const heap = this.#heap;
    const least = heap[0]!;
    const size = --this.#size;
    const moved = heap[size]!;
    let hole = 0;
    for (let child = 1; child < size; child = 2 * hole + 1) {
      if (child + 1 < size && heap[child + 1]! < heap[child]!) child += 1;
      if (heap[child]! >= moved) break;
      heap[hole] = heap[child]!;
      hole = child;
    }
    heap[hole] = moved;
    return least;
  }
}

/**
 * Daemon numbers in start order; ties are broken by critical first, then by declaration order.
 * @param isCritical  per daemon number, 1 or 0
 * @returns fewer numbers than daemons when there is a cycle. O((daemons + edges) × log of the widest choice).
 */
export const startOrder = (adjacency: Adjacency, isCritical: Uint8Array): Int32Array => {
  const { size, dependencies, dependents } = adjacency;
  // Ties are decided by one integer: place among the critical ones first, then among the rest.
  const nodeAt = new Int32Array(size);
  const placeOf = new Int32Array(size);
  let place = 0;
  for (const wanted of [1, 0]) {
    for (let node = 0; node < size; node += 1) {
      if (isCritical[node] !== wanted) continue;
      nodeAt[place] = node;
      placeOf[node] = place++;
    }
  }
  const startable = new LeastFirst(size);
  const pending = new Int32Array(size);
  for (let at = 0; at < size; at += 1) {
    const node = nodeAt[at]!;
    pending[node] = dependencies.start[node + 1]! - dependencies.start[node]!;
    if (pending[node] === 0) startable.push(at);
  }
  const order = new Int32Array(size);
  let count = 0;
  while (startable.size > 0) {
    const node = nodeAt[startable.pop()]!;
    order[count++] = node;
    for (let i = dependents.start[node]!; i < dependents.start[node + 1]!; i += 1) {
      const next = dependents.node[i]!;
      pending[next]! -= 1;
      if (pending[next] === 0) startable.push(placeOf[next]!);
    }
  }
  return order.subarray(0, count);
};

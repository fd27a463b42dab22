/**
 * The neighbours of every daemon as arrays of integers.
 *
 * graphlib holds the structure by name, in objects keyed by strings; walking that costs a hash of a concatenated string
 * per step. The algorithms therefore run on this index, built from the structure once: row `i` of `dependencies` holds
 * what daemon `i` depends on, row `i` of `dependents` who depends on it, both in the order the edges were declared.
 * (Compressed sparse rows: one array of offsets, one of neighbours; no object per node.)
 */
import type { Graph } from 'graphlib';

/** graphlib's graph; a node's label is the daemon's number, an edge's label its place among the declared edges. */
export type Structure = Graph<undefined, number, number>;

export interface Rows {
  /** Row `i` is at offsets `start[i]` up to, not including, `start[i + 1]`. */
  readonly start: Int32Array;
  readonly node: Int32Array;
  /** Place of the edge among the declared edges. */
  readonly edge: Int32Array;
}

export interface Adjacency {
  readonly size: number;
  readonly dependencies: Rows;
  readonly dependents: Rows;
}

const ABSENT = -1;

/** Sorts the edges into rows by counting; edges keep their declared order within a row. */
const rowsOf = (size: number, owner: Int32Array, neighbour: Int32Array): Rows => {
  const start = new Int32Array(size + 1);
  for (const node of owner) if (node !== ABSENT) start[node + 1]! += 1;
  for (let i = 0; i < size; i += 1) start[i + 1]! += start[i]!;
  const free = start.slice(0, size);
  const node = new Int32Array(start[size]!);
  const edge = new Int32Array(start[size]!);
  for (let at = 0; at < owner.length; at += 1) {
    if (owner[at] === ABSENT) continue;
    const place = free[owner[at]!]!++;
    node[place] = neighbour[at]!;
    edge[place] = at;
  }
  return { start, node, edge };
};

/**
 * @param from  per declared edge the number of the daemon that depends; -1 where the edge was refused as faulty
 * @param on    per declared edge the number of the daemon it depends on; -1 likewise
 */
export const adjacencyFrom = (size: number, from: Int32Array, on: Int32Array): Adjacency => ({
  size,
  dependencies: rowsOf(size, from, on),
  dependents: rowsOf(size, on, from),
});

/** @param declared  how many edges were declared; those the structure lacks were refused as faulty. O(daemons + edges). */
export const adjacencyOf = (structure: Structure, declared: number): Adjacency => {
  const from = new Int32Array(declared).fill(ABSENT);
  const on = new Int32Array(declared).fill(ABSENT);
  for (const edge of structure.edges()) {
    const at = structure.edge(edge);
    from[at] = structure.node(edge.v);
    on[at] = structure.node(edge.w);
  }
  return adjacencyFrom(structure.nodeCount(), from, on);
};

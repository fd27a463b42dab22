/**
 * Every group of daemons that depend on each other, and one shortest ring in each.
 *
 * A fleet with a cycle has no start order, and "there is a cycle" helps nobody: people need the shortest ring of edges
 * they can cut. The groups are the strongly connected components (Tarjan 1972), found with an explicit stack, because the
 * recursive form overflows on chains of a few thousand. Any ring in a group contains a *back edge* of that search (an edge
 * to a daemon on the current path), so the shortest ring passes through the head of one, and a breadth-first search from
 * the heads alone finds it; from every daemon it would be quadratic for one ring of 100,000.
 */
import type { Adjacency } from './adjacency.ts';

export interface Ring {
  /** Daemon numbers: each depends on the next, the last on the first; the earliest declared comes first. */
  readonly nodes: readonly number[];
  /** Places of the edges: `edges[i]` leads from `nodes[i]` to the next one. */
  readonly edges: readonly number[];
  /** How many daemons the whole group has; more than `nodes` when rings are tangled. */
  readonly groupSize: number;
}

/**
 * Steps along edges that all searches together may take once each group has one ring: about 0.1 s. Past it the ring shown
 * for a group is still a ring, and shortest among those through the heads already tried.
 */
const SEARCH_STEPS_MAX = 5_000_000;

/** True when no order exists: peeling off what depends on nothing leaves something. O(daemons + edges). */
const isCyclic = ({ size, dependencies, dependents }: Adjacency): boolean => {
  const pending = new Int32Array(size);
  const peeled = new Int32Array(size);
  let count = 0;
  for (let node = 0; node < size; node += 1) {
    pending[node] = dependencies.start[node + 1]! - dependencies.start[node]!;
    if (pending[node] === 0) peeled[count++] = node;
  }
  for (let at = 0; at < count; at += 1) {
    const node = peeled[at]!;
    for (let i = dependents.start[node]!; i < dependents.start[node + 1]!; i += 1) {
      const next = dependents.node[i]!;
      pending[next]! -= 1;
      if (pending[next] === 0) peeled[count++] = next;
    }
  }
  return count < size;
};

interface Group {
  readonly size: number;
  readonly heads: readonly number[];
}

/** Tarjan's search without recursion: groups of two and more, and which group each daemon is in. */
const groupsOf = ({ size, dependencies }: Adjacency): { groups: Group[]; groupOf: Int32Array } => {
  const UNSEEN = 0;
  const found = new Int32Array(size); //    order of discovery, from 1
  const low = new Int32Array(size); //      earliest daemon reachable that is still without a group
  const cursor = dependencies.start.slice(0, size);
  const groupOf = new Int32Array(size).fill(-1);
  const onPath = new Uint8Array(size);
  const isHead = new Uint8Array(size);
  const open = new Int32Array(size); //     found, not yet in a group
  const path = new Int32Array(size); //     from the root of this search to here
  const groups: Group[] = [];
  let openCount = 0;
  let discovered = 0;
  let groupCount = 0;

  for (let root = 0; root < size; root += 1) {
    if (found[root] !== UNSEEN) continue;
    let depth = 0;
    const enter = (node: number): void => {
      discovered += 1;
      found[node] = discovered;
      low[node] = discovered;
      open[openCount++] = node;
      onPath[node] = 1;
      path[depth++] = node;
    };
    enter(root);
    while (depth > 0) {
      const node = path[depth - 1]!;
      if (cursor[node]! < dependencies.start[node + 1]!) {
        const next = dependencies.node[cursor[node]!++]!;
        if (found[next] === UNSEEN) enter(next);
        else if (groupOf[next] === -1) {
          low[node] = Math.min(low[node]!, found[next]!);
          if (onPath[next] === 1) isHead[next] = 1;
        }
        continue;
      }
      depth -= 1;
      onPath[node] = 0;
      if (depth > 0) low[path[depth - 1]!] = Math.min(low[path[depth - 1]!]!, low[node]!);
      if (low[node] !== found[node]) continue;
      const heads: number[] = [];
      let members = 0;
      for (let member = -1; member !== node;) {
        member = open[--openCount]!;
        groupOf[member] = groupCount;
        members += 1;
        if (isHead[member] === 1) heads.push(member);
      }
      groupCount += 1;
      if (members > 1) groups.push({ size: members, heads: heads.sort((a, b) => a - b) });
    }
  }
  return { groups, groupOf };
};

/**
 * One shortest ring for every group of daemons that depend on each other; empty when the graph can be ordered.
 * O(daemons + edges) for an acyclic graph; self edges must have been refused before.
 */
export const findRings = (adjacency: Adjacency): Ring[] => {
  if (!isCyclic(adjacency)) return [];
  const { dependencies, size } = adjacency;
  const { groups, groupOf } = groupsOf(adjacency);
  const seenBy = new Int32Array(size).fill(-1); // number of the search that saw it
  const distance = new Int32Array(size);
  const cameFrom = new Int32Array(size);
  const cameBy = new Int32Array(size);
  const queue = new Int32Array(size);
  let searches = 0;
  let stepsLeft = SEARCH_STEPS_MAX;

  /** The shortest ring through `head` that is shorter than `bound`, or null. */
  const ringThrough = (head: number, bound: number): { nodes: number[]; edges: number[] } | null => {
    const search = searches++;
    let waiting = 1;
    queue[0] = head;
    seenBy[head] = search;
    distance[head] = 0;
    for (let at = 0; at < waiting; at += 1) {
      const node = queue[at]!;
      if (distance[node]! + 1 >= bound) return null;
      for (let i = dependencies.start[node]!; i < dependencies.start[node + 1]!; i += 1) {
        const next = dependencies.node[i]!;
        stepsLeft -= 1;
        if (next === head) {
          const nodes = [node];
          const edges = [dependencies.edge[i]!];
          for (let back = node; back !== head; back = cameFrom[back]!) {
            nodes.push(cameFrom[back]!);
            edges.push(cameBy[back]!);
          }
          return { nodes: nodes.reverse(), edges: edges.reverse() };
        }
        if (groupOf[next] !== groupOf[head] || seenBy[next] === search) continue;
        seenBy[next] = search;
        distance[next] = distance[node]! + 1;
        cameFrom[next] = node;
        cameBy[next] = dependencies.edge[i]!;
        queue[waiting++] = next;
      }
    }
    return null;
  };

  const rings = groups.map((group): Ring => {
    let best: { nodes: number[]; edges: number[] } = { nodes: [], edges: [] };
    for (const head of group.heads) {
      const isFirst = best.nodes.length === 0;
      if (!isFirst && (best.nodes.length === 2 || stepsLeft <= 0)) break;
      best = ringThrough(head, isFirst ? Infinity : best.nodes.length) ?? best;
    }
    const first = best.nodes.reduce((least, node, at) => (node < best.nodes[least]! ? at : least), 0);
    const rotated = (list: readonly number[]): number[] => [...list.slice(first), ...list.slice(0, first)];
    return { nodes: rotated(best.nodes), edges: rotated(best.edges), groupSize: group.size };
  });
  return rings.sort((a, b) => a.nodes[0]! - b.nodes[0]!);
};

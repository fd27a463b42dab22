/**
 * The dependency graph as a value: built once, checked whole, asked often, never changed.
 *
 * Everything that knows about order (boot, stop, cascades, profiles, plans) reads it from here, so there is one table of
 * edges and no second opinion. The structure is graphlib's; names are checked before they get there, because it throws on
 * `__proto__`, mistakes `constructor` for a node it has, and makes a node out of every misspelt dependency. Its own
 * algorithms are recursive and overflow on chains of a few thousand, so ours are iterative and run on an integer index of
 * the structure (adjacency.ts). All kinds of edges order the start; who cares about a kind filters by it.
 */
import { Graph } from 'graphlib';
import { adjacencyOf, type Adjacency, type Rows, type Structure } from './adjacency.ts';
import { pathLengthsOf, type PathLengths } from './critical-path.ts';
import { findRings } from './cycles.ts';
import {
  badName,
  dependencyCycle,
  duplicateDaemon,
  duplicateEdge,
  graphInvalid,
  selfEdge,
  startTimeInvalid,
  unknownDaemon,
  unknownEnd,
  type GraphFault,
} from './faults.ts';
import { nameFault, nearestAmong } from './names.ts';
import { startOrder } from './order.ts';
import { reachedFrom, shortestWay } from './reach.ts';
import type { CriticalPath, GraphEdge, GraphNode, StartTimes } from './types.ts';
import { waveNumbers } from './waves.ts';

export type { GraphFault } from './faults.ts';
export { unknownDaemon } from './faults.ts';
export type { CriticalPath, GraphEdge, GraphNode, PlanEdge, PlanJson, StartTimes } from './types.ts';

interface Reading {
  readonly faults: readonly GraphFault[];
  readonly numberOf: ReadonlyMap<string, number>;
  readonly structure: Structure;
  readonly adjacency: Adjacency;
}

/**
 * Reads daemons and edges into a structure, leaving out what is faulty and saying so. A daemon with a bad name still
 * takes part, under a key that no name can have, so cycles through it are found in the same run.
 */
const read = (nodes: readonly GraphNode[], edges: readonly GraphEdge[]): Reading => {
  const faults: GraphFault[] = [];
  const numberOf = new Map<string, number>();
  const structure: Structure = new Graph({ directed: true });
  const keys: string[] = [];
  nodes.forEach((node, at) => {
    const first = numberOf.get(node.id);
    if (first !== undefined) {
      faults.push(duplicateDaemon(node.id, nodes[first]?.writtenAt, node.writtenAt));
      return;
    }
    const reason = nameFault(node.id);
    if (reason !== null) faults.push(badName(node.id, reason, node.writtenAt));
    numberOf.set(node.id, at);
    const key = reason === null ? node.id : `#${at}`;
    keys[at] = key;
    structure.setNode(key, structure.nodeCount());
  });

  const nearest = nearestAmong(numberOf.keys());
  const placeOf = new Map<number, number>(); // of a pair of daemons → its first edge
  edges.forEach((edge, at) => {
    const from = numberOf.get(edge.from);
    const on = numberOf.get(edge.on);
    if (from === undefined) faults.push(unknownEnd(edge, 'from', nearest(edge.from)));
    if (on === undefined) faults.push(unknownEnd(edge, 'on', nearest(edge.on)));
    if (from === undefined || on === undefined) return;
    if (from === on) {
      faults.push(selfEdge(edge));
      return;
    }
    const pair = from * nodes.length + on;
    const first = placeOf.get(pair);
    if (first !== undefined) {
      faults.push(duplicateEdge(edges[first]!, edge));
      return;
    }
    placeOf.set(pair, at);
    structure.setEdge(keys[from]!, keys[on]!, at);
  });

  const adjacency = adjacencyOf(structure, edges.length);
  for (const ring of findRings(adjacency)) {
    faults.push(
      dependencyCycle(
        ring.edges.map((at) => edges[at]!),
        ring.groupSize,
      ),
    );
  }
  return { faults, numberOf, structure, adjacency };
};

/**
 * Everything that is wrong with these daemons and edges, in one pass: bad names, duplicates, unknown names, self edges,
 * and one shortest cycle for each group of daemons that depend on each other. Empty when `buildGraph` would succeed.
 */
export const checkGraph = (nodes: readonly GraphNode[], edges: readonly GraphEdge[]): readonly GraphFault[] =>
  read(nodes, edges).faults;

/**
 * The graph or what is wrong with it, for whoever reports faults in its own way and wants to read only once.
 * @param nodes  in declaration order, which breaks ties of the start order
 */
export const loadGraph = <Edge extends GraphEdge>(
  nodes: readonly GraphNode[],
  edges: readonly Edge[],
):
  | { readonly graph: DaemonGraph<Edge>; readonly faults: readonly [] }
  | { readonly graph: null; readonly faults: readonly GraphFault[] } => {
  const { faults, numberOf, structure, adjacency } = read(nodes, edges);
  if (faults.length > 0) return { graph: null, faults };
  return { graph: new DaemonGraph(nodes, edges, numberOf, structure, adjacency), faults: [] };
};

/**
 * @param nodes  in declaration order, which breaks ties of the start order
 * @throws GRAPH_INVALID with every fault in `context.faults`
 */
export const buildGraph = <Edge extends GraphEdge>(
  nodes: readonly GraphNode[],
  edges: readonly Edge[],
): DaemonGraph<Edge> => {
  const { graph, faults } = loadGraph(nodes, edges);
  if (graph === null) throw graphInvalid(faults);
  return graph;
};

/** A graph that has been checked; made by `buildGraph`. Every method throws UNKNOWN_DAEMON for a name it lacks. */
export class DaemonGraph<Edge extends GraphEdge = GraphEdge> {
  /** In declaration order. */
  readonly ids: readonly string[];
  /** In declaration order, as they were handed in. */
  readonly edges: readonly Edge[];
  /** graphlib's view, by name, for whoever lays out or exports; an edge leads from a daemon to what it depends on. */
  readonly structure: Structure;
  readonly #numberOf: ReadonlyMap<string, number>;
  readonly #adjacency: Adjacency;
  readonly #isCritical: Uint8Array;
  #order: { readonly nodes: Int32Array; readonly position: Int32Array; readonly ids: readonly string[] } | null = null;
  #waves: readonly (readonly string[])[] | null = null;

  constructor(
    nodes: readonly GraphNode[],
    edges: readonly Edge[],
    numberOf: ReadonlyMap<string, number>,
    structure: Structure,
    adjacency: Adjacency,
  ) {
    this.ids = nodes.map((node) => node.id);
    this.edges = edges;
    this.structure = structure;
    this.#numberOf = numberOf;
    this.#adjacency = adjacency;
    this.#isCritical = Uint8Array.from(nodes, (node) => (node.critical === true ? 1 : 0));
  }

  has(id: string): boolean {
    return this.#numberOf.has(id);
  }

  /** Place among `ids`; -1 when there is no such daemon. */
  indexOf(id: string): number {
    return this.#numberOf.get(id) ?? -1;
  }

  isCritical(id: string): boolean {
    return this.#isCritical[this.#number(id)] === 1;
  }

  /** Start order: after everything it depends on; ties by critical first, then by declaration order. */
  order(): readonly string[] {
    return this.#ordered().ids;
  }

  /** Stop order: the start order backwards, so a daemon stops before what it depends on. */
  stopOrder(): readonly string[] {
    return this.order().toReversed();
  }

  /** Ranks for display, roots first, each in start order. A daemon's wave is its longest distance from a root. */
  waves(): readonly (readonly string[])[] {
    if (this.#waves === null) {
      const { nodes } = this.#ordered();
      const wave = waveNumbers(this.#adjacency, nodes);
      const waves: string[][] = [];
      for (const node of nodes) (waves[wave[node]!] ??= []).push(this.ids[node]!);
      this.#waves = waves;
    }
    return this.#waves;
  }

  /** What it depends on itself, as its edges were declared. */
  dependencies(id: string): readonly string[] {
    return this.edgesOf(id).map((edge) => edge.on);
  }

  /** Who depends on it directly, as the edges were declared. */
  dependents(id: string): readonly string[] {
    return this.edgesOnto(id).map((edge) => edge.from);
  }

  /** The edges this daemon has: what it depends on, and how. */
  edgesOf(id: string): readonly Edge[] {
    return this.#edgesIn(this.#adjacency.dependencies, this.#number(id));
  }

  /** The edges that others have onto this daemon. */
  edgesOnto(id: string): readonly Edge[] {
    return this.#edgesIn(this.#adjacency.dependents, this.#number(id));
  }

  /**
   * The blast radius: everything that goes down with these, themselves left out, in start order (a cascade stops it
   * backwards and starts it forwards).
   * @param follows  which edges carry the loss; all of them when absent
   * Cost follows the result, not the fleet.
   */
  transitiveDependents(of: string | readonly string[], follows?: (edge: Edge) => boolean): readonly string[] {
    return this.#reached(this.#adjacency.dependents, of, follows);
  }

  /** Everything these need, themselves left out, in start order. */
  transitiveDependencies(of: string | readonly string[], follows?: (edge: Edge) => boolean): readonly string[] {
    return this.#reached(this.#adjacency.dependencies, of, follows);
  }

  /**
   * A shortest chain of edges by which `from` depends on `on`: who pulled whom in, and where that was written.
   * @returns empty when both are the same daemon, null when `from` does not depend on `on`
   */
  pathBetween(from: string, on: string, follows?: (edge: Edge) => boolean): readonly Edge[] | null {
    const way = shortestWay(this.#adjacency.dependencies, this.#number(from), this.#number(on), this.#accepts(follows));
    return way === null ? null : way.map((at) => this.edges[at]!);
  }

  /**
   * Per daemon the length of the critical path below it: its own start and the longest chain of starts that waits for it,
   * milliseconds. The longer, the sooner it should get a free slot.
   * @param startMs  median start per daemon id, milliseconds; an absent id counts as `absentMs`
   * @throws UNKNOWN_DAEMON when `startMs` names an id the graph lacks, START_TIME_INVALID when a time is no time
   */
  pathLengths(startMs: StartTimes = {}, absentMs = 0): ReadonlyMap<string, number> {
    const { belowMs } = this.#paths(startMs, absentMs);
    return new Map(this.ids.map((id, at) => [id, belowMs[at]!]));
  }

  /**
   * Longest chain of start times: no boot can be quicker, however wide the waves.
   * @param startMs  median start per daemon id, milliseconds; an absent id counts as `absentMs`
   * @returns ids root to leaf with their total in milliseconds; empty for an empty graph. Where times tie, as when none
   *   is known, the chain of more daemons.
   * @throws UNKNOWN_DAEMON when `startMs` names an id the graph lacks, START_TIME_INVALID when a time is no time
   * @see Kelley and Walker 1959, critical path method. O(daemons + edges).
   */
  criticalPath(startMs: StartTimes = {}, absentMs = 0): CriticalPath {
    const { belowMs, next, first } = this.#paths(startMs, absentMs);
    const ids: string[] = [];
    for (let node = first; node !== -1; node = next[node]!) ids.push(this.ids[node]!);
    return { ids, totalMs: first === -1 ? 0 : belowMs[first]! };
  }

  #paths(startMs: StartTimes, absentMs: number): PathLengths {
    const times = new Float64Array(this.ids.length).fill(absentMs);
    for (const [id, ms] of startMs instanceof Map ? startMs : Object.entries(startMs)) {
      const node = this.#number(id);
      if (typeof ms !== 'number' || !(ms >= 0) || ms === Infinity) throw startTimeInvalid(id, ms);
      times[node] = ms;
    }
    return pathLengthsOf(this.#adjacency, this.#ordered().nodes, times);
  }

  #reached(rows: Rows, of: string | readonly string[], follows?: (edge: Edge) => boolean): readonly string[] {
    const seeds = (typeof of === 'string' ? [of] : of).map((id) => this.#number(id));
    const { position } = this.#ordered();
    return reachedFrom(rows, seeds, this.#accepts(follows))
      .sort((a, b) => position[a]! - position[b]!)
      .map((node) => this.ids[node]!);
  }

  #accepts(follows: ((edge: Edge) => boolean) | undefined): (edge: number) => boolean {
    return follows === undefined ? () => true : (edge) => follows(this.edges[edge]!);
  }

  #edgesIn(rows: Rows, node: number): readonly Edge[] {
    return Array.from(rows.edge.subarray(rows.start[node], rows.start[node + 1]), (at) => this.edges[at]!);
  }

  #number(id: string): number {
    const node = this.#numberOf.get(id);
    if (node === undefined) throw unknownDaemon(id, this.ids);
    return node;
  }

  #ordered(): { readonly nodes: Int32Array; readonly position: Int32Array; readonly ids: readonly string[] } {
    if (this.#order === null) {
      const nodes = startOrder(this.#adjacency, this.#isCritical);
      const position = new Int32Array(nodes.length);
      nodes.forEach((node, at) => (position[node] = at));
      this.#order = { nodes, position, ids: Array.from(nodes, (node) => this.ids[node]!) };
    }
    return this.#order;
  }
}

/**
 * Graphs as drawings: each line is a chain, an arrow leads from a daemon to what it depends on, `*` marks a critical one.
 *
 *     SYNC* -> PIPELINE* -> ROUTER*      hard
 *     REPORT ~> SYNC                     soft
 *     REPORT .> PIPELINE                 order
 *
 * Daemons are declared in the order of `declared`, or else of their first appearance. `writtenAt` is the line drawn.
 */
import fc from 'fast-check';
import { buildGraph, type DaemonGraph, type GraphEdge, type GraphNode } from '../../src/graph/graph.ts';

const KINDS: Readonly<Record<string, GraphEdge['kind']>> = { '->': 'hard', '~>': 'soft', '.>': 'order' };

export interface Drawing {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

export const drawn = (picture: string, declared: readonly string[] = []): Drawing => {
  const nodes = new Map<string, { id: string; critical: boolean }>(declared.map((id) => [id, { id, critical: false }]));
  const edges: GraphEdge[] = [];
  picture
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .forEach((line, at) => {
      const words = line.split(/\s+/);
      for (let place = 0; place < words.length; place += 2) {
        const id = words[place]!.replace('*', '');
        const node = nodes.get(id) ?? { id, critical: false };
        node.critical ||= words[place]!.endsWith('*');
        nodes.set(id, node);
        if (place === 0) continue;
        const from = words[place - 2]!.replace('*', '');
        edges.push({ from, on: id, kind: KINDS[words[place - 1]!]!, writtenAt: `line ${at + 1}` });
      }
    });
  return { nodes: [...nodes.values()], edges };
};

export const graphOf = (picture: string, declared?: readonly string[]): DaemonGraph => {
  const { nodes, edges } = drawn(picture, declared);
  return buildGraph(nodes, edges);
};

const name = (at: number): string => `D${at}`;

const pairs = (size: number, edgesMax: number): fc.Arbitrary<[number, number][]> =>
  fc.uniqueArray(fc.tuple(fc.nat(size - 1), fc.nat(size - 1)), {
    maxLength: edgesMax,
    selector: ([a, b]) => `${a} ${b}`,
  });

const drawing = (
  size: number,
  critical: readonly boolean[],
  ends: readonly (readonly [number, number])[],
): Drawing => ({
  nodes: Array.from({ length: size }, (_, at) => ({ id: name(at), critical: critical[at] ?? false })),
  edges: ends.map(([from, on], at) => ({
    from: name(from),
    on: name(on),
    kind: (['hard', 'soft', 'order'] as const)[(from + on) % 3]!,
    writtenAt: `edge ${at}`,
  })),
});

/** Any small graph without self edges and duplicates, cycles and all. */
export const anyGraph = (sizeMax: number): fc.Arbitrary<Drawing> =>
  fc.integer({ min: 1, max: sizeMax }).chain((size) =>
    pairs(size, 3 * size).map((ends) =>
      drawing(
        size,
        [],
        ends.filter(([from, on]) => from !== on),
      ),
    ),
  );

/** Any small acyclic graph; declared in an order that has nothing to do with the start order. */
export const anyDag = (sizeMax: number): fc.Arbitrary<Drawing> =>
  fc.integer({ min: 1, max: sizeMax }).chain((size) =>
    fc
      .tuple(
        pairs(size, 3 * size),
        fc.array(fc.boolean(), { minLength: size, maxLength: size }),
        fc.shuffledSubarray([...Array(size).keys()], { minLength: size }),
      )
      .map(([ends, critical, rank]) =>
        drawing(
          size,
          critical,
          ends.filter(([from, on]) => rank[from]! > rank[on]!),
        ),
      ),
  );

/** Everything reachable along edges by the naive method: add until nothing is added. */
export const naiveClosure = (
  edges: readonly GraphEdge[],
  seeds: readonly string[],
  towards: 'from' | 'on',
): Set<string> => {
  const away = towards === 'from' ? 'on' : 'from';
  const reached = new Set(seeds);
  for (let before = -1; before !== reached.size;) {
    before = reached.size;
    for (const edge of edges) if (reached.has(edge[away])) reached.add(edge[towards]);
  }
  for (const seed of seeds) reached.delete(seed);
  return reached;
};

import { expect } from 'chai';
import { adjacencyFrom, type Adjacency } from '../../src/graph/adjacency.ts';
import { findRings } from '../../src/graph/cycles.ts';
import { buildGraph, type GraphEdge, type GraphNode } from '../../src/graph/graph.ts';
import { startOrder } from '../../src/graph/order.ts';
import { toJson, toMermaid, toText } from '../../src/graph/render.ts';

// Everything that overflows a stack, spreads an array into arguments or is quadratic fails at these sizes.
const COUNT = 100_000;

type Ends = readonly (readonly [from: number, on: number])[];

const daemons = (count: number): GraphNode[] => Array.from({ length: count }, (_, at) => ({ id: `D${at}` }));
const edgesOf = (ends: Ends): GraphEdge[] =>
  ends.map(([from, on]) => ({ from: `D${from}`, on: `D${on}`, kind: 'hard', writtenAt: `${from}` }));
/** The index alone; loading the structure under it is most of the time of a big graph. */
const indexOf = (size: number, ends: Ends): Adjacency =>
  adjacencyFrom(
    size,
    Int32Array.from(ends, ([from]) => from),
    Int32Array.from(ends, ([, on]) => on),
  );

describe('A chain of 100,000 daemons', () => {
  // D0 <- D1 <- D2 <- … <- D99999
  const chain: Ends = Array.from({ length: COUNT - 1 }, (_, at) => [at + 1, at] as const);
  const last = `D${COUNT - 1}`;

  it('is ordered, planned, walked and printed', () => {
    const nodes = daemons(COUNT);
    const ids = nodes.map(({ id }) => id);
    const graph = buildGraph(nodes, edgesOf(chain));
    expect(graph.order()).to.deep.equal(ids);
    expect(graph.waves()).to.have.length(COUNT);
    expect(graph.stopOrder()[0]).to.equal(last);
    expect(graph.transitiveDependents('D0')).to.have.length(COUNT - 1);
    expect(graph.transitiveDependencies(last)).to.have.length(COUNT - 1);
    expect(graph.pathBetween(last, 'D0')).to.have.length(COUNT - 1);
    expect(graph.criticalPath({ D7: 5 })).to.deep.equal({ ids, totalMs: 5 });
    expect(graph.pathLengths({}, 1).get('D0')).to.equal(COUNT);
    expect(JSON.stringify(toJson(graph)).length).to.be.above(COUNT);
    expect(toText(graph).length).to.be.above(COUNT);
    expect(toMermaid(graph).length).to.be.above(COUNT);
  }).timeout(60_000);

  it('closed to a ring is one cycle of 100,000', () => {
    const rings = findRings(indexOf(COUNT, [...chain, [0, COUNT - 1]]));
    expect(rings.map(({ nodes, groupSize }) => [nodes.length, groupSize])).to.deep.equal([[COUNT, COUNT]]);
  });

  it('with an edge back from every daemon is one tangle, shown by a ring of two', () => {
    const rings = findRings(indexOf(COUNT, [...chain, ...chain.map(([from, on]) => [on, from] as const)]));
    expect(rings.map(({ nodes, groupSize }) => [nodes, groupSize])).to.deep.equal([[[0, 1], COUNT]]);
  });
});

describe('A star of 100,000 daemons', () => {
  it('is one root and one wave of all the others, as declared', () => {
    // D0 <- D1, D0 <- D2, …
    const nodes = daemons(COUNT);
    const graph = buildGraph(nodes, edgesOf(nodes.slice(1).map((_, at) => [at + 1, 0])));
    expect(graph.order()).to.deep.equal(graph.ids);
    expect(graph.waves().map((wave) => wave.length)).to.deep.equal([1, COUNT - 1]);
    expect(graph.transitiveDependents('D0')).to.have.length(COUNT - 1);
    expect(toJson(graph).criticalPath).to.deep.equal(['D0', 'D1']);
  }).timeout(60_000);

  it('turned round starts the one that depends on all the others last', () => {
    // D0 -> D1, D0 -> D2, …
    const ends = Array.from({ length: COUNT - 1 }, (_, at) => [0, at + 1] as const);
    const order = startOrder(indexOf(COUNT, ends), new Uint8Array(COUNT));
    expect([order[0], order.at(-1), order.length]).to.deep.equal([1, 0, COUNT]);
  });
});

describe('A random graph of 10,000 daemons and 100,000 edges', () => {
  const SIZE = 10_000;

  /** Edges from a higher number to a lower one, chosen with one seed, so every run sees the same graph. */
  const randomEnds = (): [number, number][] => {
    let state = 7;
    const random = (below: number): number => {
      state ^= state << 13; // xorshift32, Marsaglia 2003
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % below;
    };
    const ends = new Map<number, [number, number]>();
    while (ends.size < 100_000) {
      const from = 1 + random(SIZE - 1);
      const on = random(from);
      ends.set(from * SIZE + on, [from, on]);
    }
    return [...ends.values()];
  };

  it('is ordered so that every edge is respected; with an edge back it is one tangle with a shortest cycle', () => {
    const ends = randomEnds();
    const edges = edgesOf(ends);
    const graph = buildGraph(daemons(SIZE), edges);
    const place = new Map(graph.order().map((id, at) => [id, at]));
    expect(place.size).to.equal(SIZE);
    const broken = edges.filter(({ from, on }) => place.get(from)! <= place.get(on)!);
    expect(broken).to.deep.equal([]);
    expect(graph.waves().flat()).to.have.length(SIZE);
    expect(toJson(graph).edges).to.have.length(100_000);

    const way = graph.pathBetween(`D${SIZE - 1}`, 'D0');
    const rings = findRings(indexOf(SIZE, [...ends, [0, SIZE - 1]]));
    expect(rings.map(({ nodes }) => nodes.length)).to.deep.equal([way!.length + 1]);
  }).timeout(60_000);
});

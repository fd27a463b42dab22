import { expect } from 'chai';
import fc from 'fast-check';
import { checkGraph, type GraphEdge } from '../../src/graph/graph.ts';
import type { Cycle } from '../../src/graph/faults.ts';
import { anyDag, anyGraph, drawn, naiveClosure, type Drawing } from './drawn.ts';

const cyclesIn = ({ nodes, edges }: Drawing): Cycle[] =>
  checkGraph(nodes, edges).map((fault) => {
    expect(fault.kind).to.equal('cycle');
    return fault as Cycle;
  });

/** Length of the shortest ring through each daemon by the naive method: follow all ways until one comes back. */
const naiveRing = (edges: readonly GraphEdge[], start: string, within: ReadonlySet<string>): number => {
  let reached = new Set([start]);
  for (let length = 1; length <= within.size; length += 1) {
    const next = new Set<string>();
    for (const edge of edges) if (reached.has(edge.from) && within.has(edge.on)) next.add(edge.on);
    if (next.has(start)) return length;
    reached = next;
  }
  return Infinity;
};

describe('Cycles', () => {
  it('two that share no daemon are both reported, each starting at its earliest declared daemon', () => {
    // A <-> B      C -> D -> E -> C      F -> A
    const cycles = cyclesIn(
      drawn(
        `A -> B -> A
         D -> E -> C -> D
         F -> A`,
        ['A', 'B', 'C', 'D', 'E', 'F'],
      ),
    );
    expect(cycles.map(({ cycle }) => cycle)).to.deep.equal([
      ['A', 'B'],
      ['C', 'D', 'E'],
    ]);
    expect(cycles[1]!.edges.map(({ writtenAt }) => writtenAt)).to.deep.equal(['line 2', 'line 2', 'line 2']);
  });

  it('of a tangle the shortest is shown, with the size of the tangle', () => {
    // A -> B -> C -> D -> A, and a short cut C -> B
    const [only, ...rest] = cyclesIn(
      drawn(`A -> B -> C -> D -> A
             C -> B`),
    );
    expect(rest).to.deep.equal([]);
    expect(only!.cycle).to.deep.equal(['B', 'C']);
    expect(only!.groupSize).to.equal(4);
    expect(only!.message).to.include('4 daemons are entangled with it');
  });

  it('soft and order edges close a cycle too', () => {
    expect(cyclesIn(drawn('A -> B ~> C .> A'))).to.have.length(1);
  });

  it('every one reported is one: its edges are declared and lead from each daemon to the next', () => {
    fc.assert(
      fc.property(anyGraph(9), (graph) => {
        for (const { cycle, edges } of cyclesIn(graph)) {
          expect(new Set(cycle).size).to.equal(cycle.length);
          expect(edges.map(({ from }) => from)).to.deep.equal(cycle);
          edges.forEach((edge, at) => {
            expect(edge.on).to.equal(cycle[(at + 1) % cycle.length]);
            expect(graph.edges).to.include(edge);
          });
        }
      }),
    );
  });

  it('there is one for each group of daemons that depend on each other, no longer than the shortest in it', () => {
    fc.assert(
      fc.property(anyGraph(9), (graph) => {
        const reaches = new Map(graph.nodes.map(({ id }) => [id, naiveClosure(graph.edges, [id], 'on')]));
        const groups = new Map<string, Set<string>>();
        for (const { id } of graph.nodes) {
          const group = graph.nodes
            .map((node) => node.id)
            .filter((other) => other === id || (reaches.get(id)!.has(other) && reaches.get(other)!.has(id)));
          if (group.length > 1) groups.set(group.join(), new Set(group));
        }
        const cycles = cyclesIn(graph);
        expect(cycles.length).to.equal(groups.size);
        for (const group of groups.values()) {
          const inside = cycles.filter(({ cycle }) => group.has(cycle[0]!));
          expect(inside).to.have.length(1);
          expect(inside[0]!.groupSize).to.equal(group.size);
          expect(inside[0]!.cycle.length).to.equal(
            Math.min(...[...group].map((id) => naiveRing(graph.edges, id, group))),
          );
        }
      }),
    );
  });

  it('dropping one edge of each reported cycle, again and again, ends with a graph', () => {
    fc.assert(
      fc.property(anyGraph(9), fc.nat(), ({ nodes, edges }, choice) => {
        let left = edges;
        for (let rounds = 0; ; rounds += 1) {
          const cycles = cyclesIn({ nodes, edges: left });
          if (cycles.length === 0) return;
          expect(rounds).to.be.at.most(edges.length);
          const dropped = new Set(cycles.map((cycle) => cycle.edges[choice % cycle.edges.length]!));
          left = left.filter((edge) => !dropped.has(edge));
          // What was dropped broke that very ring.
          for (const again of cyclesIn({ nodes, edges: left }))
            expect(again.edges.some((edge) => dropped.has(edge))).to.equal(false);
        }
      }),
    );
  });

  it('there is none in an acyclic graph', () => {
    fc.assert(fc.property(anyDag(12), (graph) => void expect(cyclesIn(graph)).to.deep.equal([])));
  });
});

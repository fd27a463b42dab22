import { expect } from 'chai';
import fc from 'fast-check';
import { buildGraph, type GraphEdge } from '../../src/graph/graph.ts';
import { anyDag, graphOf, naiveClosure } from './drawn.ts';

const isHard = (edge: GraphEdge): boolean => edge.kind === 'hard';

describe('Blast radius', () => {
  // ROUTER <- PIPELINE <- SYNC <- REPORT      ROUTER <~ LOOP <- PANEL      CLOCK <- REPORT
  const graph = graphOf(`REPORT -> SYNC -> PIPELINE -> ROUTER
                         PANEL -> LOOP ~> ROUTER
                         REPORT -> CLOCK`);

  it('holds everything that depends on the lost one, in start order, without itself', () => {
    expect(graph.transitiveDependents('ROUTER')).to.have.members(['PIPELINE', 'SYNC', 'REPORT', 'LOOP', 'PANEL']);
    expect(graph.transitiveDependents('ROUTER')).to.deep.equal(
      graph.order().filter((id) => graph.transitiveDependents('ROUTER').includes(id)),
    );
    expect(graph.transitiveDependents('REPORT')).to.deep.equal([]);
  });

  it('stops at an edge that does not carry the loss', () => {
    expect(graph.transitiveDependents('ROUTER', isHard)).to.deep.equal(['PIPELINE', 'SYNC', 'REPORT']);
  });

  it('of several losses is one set, with nobody in it twice and none of them', () => {
    expect(graph.transitiveDependents(['SYNC', 'CLOCK', 'ROUTER', 'SYNC'], isHard)).to.deep.equal([
      'PIPELINE',
      'REPORT',
    ]);
    expect(graph.transitiveDependents([])).to.deep.equal([]);
  });

  it('backwards, is everything that a daemon needs', () => {
    expect(graph.transitiveDependencies('REPORT')).to.deep.equal(
      graph.order().filter((id) => ['ROUTER', 'PIPELINE', 'SYNC', 'CLOCK'].includes(id)),
    );
    expect(graph.transitiveDependencies('PANEL', isHard)).to.deep.equal(['LOOP']);
  });

  it('may be asked again inside its own filter', () => {
    const radius = graph.transitiveDependents('ROUTER', (edge) => graph.transitiveDependents(edge.from).length < 2);
    expect(radius).to.deep.equal(['LOOP', 'PANEL']);
  });

  it('equals the naive closure, both ways, with a filter and without', () => {
    fc.assert(
      fc.property(anyDag(12), fc.array(fc.nat(11), { maxLength: 3 }), ({ nodes, edges }, chosen) => {
        const dag = buildGraph(nodes, edges);
        const seeds = chosen.map((at) => nodes[at % nodes.length]!.id);
        const inOrder = (ids: Set<string>): string[] => dag.order().filter((id) => ids.has(id));
        const hard = edges.filter(isHard);
        expect(dag.transitiveDependents(seeds)).to.deep.equal(inOrder(naiveClosure(edges, seeds, 'from')));
        expect(dag.transitiveDependents(seeds, isHard)).to.deep.equal(inOrder(naiveClosure(hard, seeds, 'from')));
        expect(dag.transitiveDependencies(seeds)).to.deep.equal(inOrder(naiveClosure(edges, seeds, 'on')));
        expect(dag.transitiveDependencies(seeds, isHard)).to.deep.equal(inOrder(naiveClosure(hard, seeds, 'on')));
      }),
    );
  });
});

describe('The path between two daemons', () => {
  // TOP -> MIDDLE -> LOW -> BASE,   TOP -> SHORT -> BASE
  const graph = graphOf(`TOP -> MIDDLE -> LOW -> BASE
                         TOP ~> SHORT -> BASE`);

  it('is a shortest chain of edges, each with where it was written', () => {
    expect(graph.pathBetween('TOP', 'BASE')!.map(({ from, on, writtenAt }) => [from, on, writtenAt])).to.deep.equal([
      ['TOP', 'SHORT', 'line 2'],
      ['SHORT', 'BASE', 'line 2'],
    ]);
  });

  it('goes round what the filter refuses', () => {
    expect(graph.pathBetween('TOP', 'BASE', isHard)!.map(({ from }) => from)).to.deep.equal(['TOP', 'MIDDLE', 'LOW']);
  });

  it('is empty from a daemon to itself, and null against the edges', () => {
    expect(graph.pathBetween('LOW', 'LOW')).to.deep.equal([]);
    expect(graph.pathBetween('BASE', 'TOP')).to.equal(null);
  });

  it('exists exactly where the naive closure says, and its edges join up', () => {
    fc.assert(
      fc.property(anyDag(9), fc.nat(8), fc.nat(8), ({ nodes, edges }, a, b) => {
        const from = nodes[a % nodes.length]!.id;
        const on = nodes[b % nodes.length]!.id;
        const path = buildGraph(nodes, edges).pathBetween(from, on);
        expect(path !== null).to.equal(from === on || naiveClosure(edges, [from], 'on').has(on));
        let here = from;
        for (const edge of path ?? []) {
          expect(edge.from).to.equal(here);
          here = edge.on;
        }
        if (path !== null) expect(here).to.equal(on);
      }),
    );
  });
});

describe('Neighbours', () => {
  it('are listed as their edges were declared, and the edges come back as they were handed in', () => {
    const edges = [
      { from: 'C', on: 'B', kind: 'hard', writtenAt: 'here', timeoutMs: 5 },
      { from: 'C', on: 'A', kind: 'soft', writtenAt: 'there', timeoutMs: 6 },
      { from: 'B', on: 'A', kind: 'order', writtenAt: 'there', timeoutMs: 7 },
    ] as const;
    const graph = buildGraph([{ id: 'A' }, { id: 'B' }, { id: 'C' }], edges);
    expect(graph.dependencies('C')).to.deep.equal(['B', 'A']);
    expect(graph.dependents('A')).to.deep.equal(['C', 'B']);
    expect(graph.dependents('C')).to.deep.equal([]);
    expect(graph.edgesOf('C').map(({ timeoutMs }) => timeoutMs)).to.deep.equal([5, 6]);
    expect(graph.edgesOnto('A')[1]).to.equal(edges[2]);
    expect(graph.structure.successors('C')).to.have.members(['A', 'B']);
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { buildGraph } from '../../src/graph/graph.ts';
import { anyDag, graphOf } from './drawn.ts';

describe('Start order', () => {
  it('of the spine is router, pipeline, sync, feedback, then all the others as declared', () => {
    // Everybody has an order edge onto FEEDBACK_LOOP; the others are declared before the spine.
    const graph = graphOf(
      `FEEDBACK_LOOP* .> AUTO_SYNC* -> DATA_PIPELINE* -> EVENT_ROUTER*
       FEEDBACK_LOOP -> EVENT_ROUTER
       DLQ_RETRY .> FEEDBACK_LOOP
       ELO_SYNC .> FEEDBACK_LOOP
       ELO_SYNC -> EVENT_ROUTER`,
      ['ELO_SYNC', 'DLQ_RETRY', 'FEEDBACK_LOOP', 'AUTO_SYNC', 'DATA_PIPELINE', 'EVENT_ROUTER'],
    );
    expect(graph.order()).to.deep.equal([
      'EVENT_ROUTER',
      'DATA_PIPELINE',
      'AUTO_SYNC',
      'FEEDBACK_LOOP',
      'ELO_SYNC',
      'DLQ_RETRY',
    ]);
    expect(graph.stopOrder()).to.deep.equal(graph.order().toReversed());
  });

  it('prefers a critical daemon that has just become startable to an earlier declared one', () => {
    // ROOT <- PLAIN      ROOT <- CRITICAL      (PLAIN and OTHER declared first)
    const graph = graphOf(
      `PLAIN -> ROOT
       CRITICAL* -> ROOT`,
      ['OTHER', 'PLAIN', 'ROOT', 'CRITICAL'],
    );
    expect(graph.order()).to.deep.equal(['OTHER', 'ROOT', 'CRITICAL', 'PLAIN']);
  });

  it('of daemons without edges is critical ones, then the rest, each as declared', () => {
    const graph = graphOf('A\nB*\nC\nD*');
    expect(graph.order()).to.deep.equal(['B', 'D', 'A', 'C']);
  });

  it('of nothing is nothing', () => {
    const graph = buildGraph([], []);
    expect([graph.order(), graph.stopOrder(), graph.waves()]).to.deep.equal([[], [], []]);
    expect(graph.criticalPath()).to.deep.equal({ ids: [], totalMs: 0 });
  });

  it('respects every edge, holds every daemon once, and is the greedy one', () => {
    fc.assert(
      fc.property(anyDag(14), ({ nodes, edges }) => {
        // Naive: among those whose dependencies are all out, take the first critical one, else the first.
        const left = [...nodes];
        const expected: string[] = [];
        while (left.length > 0) {
          const startable = left.filter(({ id }) =>
            edges.every((edge) => edge.from !== id || expected.includes(edge.on)),
          );
          const chosen = startable.find(({ critical }) => critical) ?? startable[0]!;
          expected.push(chosen.id);
          left.splice(left.indexOf(chosen), 1);
        }
        const order = buildGraph(nodes, edges).order();
        expect(order).to.deep.equal(expected);
        for (const { from, on } of edges) expect(order.indexOf(from)).to.be.above(order.indexOf(on));
      }),
    );
  });
});

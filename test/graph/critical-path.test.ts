import { expect } from 'chai';
import fc from 'fast-check';
import { buildGraph } from '../../src/graph/graph.ts';
import { anyDag, graphOf } from './drawn.ts';

describe('Critical path', () => {
  //                 10        20       5
  //   ROUTER (3) <- PIPELINE <- SYNC <- REPORT       ROUTER <- SLOW (40)
  const graph = graphOf(`REPORT -> SYNC -> PIPELINE -> ROUTER
                         SLOW -> ROUTER`);

  it('is the chain with the most start time, however few daemons it has', () => {
    const startMs = { ROUTER: 3, PIPELINE: 10, SYNC: 20, REPORT: 5, SLOW: 40 };
    expect(graph.criticalPath(startMs)).to.deep.equal({ ids: ['ROUTER', 'SLOW'], totalMs: 43 });
    expect([...graph.pathLengths(startMs)]).to.have.deep.members([
      ['ROUTER', 43],
      ['PIPELINE', 35],
      ['SYNC', 25],
      ['REPORT', 5],
      ['SLOW', 40],
    ]);
  });

  it('takes an absent time as 0, or as what is said', () => {
    expect(graph.criticalPath({ SLOW: 1 })).to.deep.equal({ ids: ['ROUTER', 'SLOW'], totalMs: 1 });
    expect(graph.criticalPath({ SLOW: 1 }, 30).totalMs).to.equal(120);
    expect(graph.pathLengths(new Map(), 1).get('PIPELINE')).to.equal(3);
  });

  it('without any time is the chain of most daemons, root to leaf', () => {
    expect(graph.criticalPath()).to.deep.equal({ ids: ['ROUTER', 'PIPELINE', 'SYNC', 'REPORT'], totalMs: 0 });
  });

  for (const bad of [-1, NaN, Infinity, '5']) {
    it(`refuses ${String(bad)} (${typeof bad}) as a start time`, () => {
      expect(() => graph.criticalPath({ SLOW: bad as number }))
        .to.throw(`cannot add up start times: that of SLOW is ${String(bad)}`)
        .with.property('code', 'START_TIME_INVALID');
    });
  }

  it('equals the longest of all chains tried one by one, and runs along edges from a root to a leaf', () => {
    fc.assert(
      fc.property(anyDag(9), fc.array(fc.nat(50), { minLength: 9, maxLength: 9 }), ({ nodes, edges }, times) => {
        const dag = buildGraph(nodes, edges);
        const startMs = new Map(nodes.map(({ id }, at) => [id, times[at]!]));
        const longestBelow = (id: string): number =>
          startMs.get(id)! + Math.max(0, ...edges.filter(({ on }) => on === id).map(({ from }) => longestBelow(from)));
        const expected = nodes.map(({ id }) => [id, longestBelow(id)] as const);
        expect([...dag.pathLengths(startMs)]).to.deep.equal(expected);

        const { ids, totalMs } = dag.criticalPath(startMs);
        expect(totalMs).to.equal(Math.max(...expected.map(([, ms]) => ms)));
        expect(ids.reduce((sum, id) => sum + startMs.get(id)!, 0)).to.equal(totalMs);
        expect(dag.dependencies(ids[0]!)).to.deep.equal([]);
        expect(dag.dependents(ids.at(-1)!)).to.deep.equal([]);
        ids.slice(1).forEach((id, at) => expect(dag.dependencies(id)).to.include(ids[at]));
      }),
    );
  });
});

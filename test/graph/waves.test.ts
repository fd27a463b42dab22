import { expect } from 'chai';
import fc from 'fast-check';
import { buildGraph } from '../../src/graph/graph.ts';
import { anyDag, graphOf } from './drawn.ts';

describe('Waves', () => {
  it('put a daemon behind its furthest dependency, not its nearest', () => {
    // A <- B <- C <- D,  D -> A as well,  E alone
    const graph = graphOf(`D -> C -> B -> A
                           D -> A
                           E`);
    expect(graph.waves()).to.deep.equal([
      ['E', 'A'].toSorted((a, b) => graph.indexOf(a) - graph.indexOf(b)),
      ['B'],
      ['C'],
      ['D'],
    ]);
  });

  it('list each daemon once, in start order, one wave behind its latest dependency', () => {
    fc.assert(
      fc.property(anyDag(14), ({ nodes, edges }) => {
        const graph = buildGraph(nodes, edges);
        const waves = graph.waves();
        const waveOf = new Map(waves.flatMap((wave, at) => wave.map((id) => [id, at] as const)));
        expect(waveOf.size).to.equal(nodes.length);
        for (const { id } of nodes) {
          const below = edges.filter(({ from }) => from === id).map(({ on }) => waveOf.get(on)!);
          expect(waveOf.get(id)).to.equal(Math.max(-1, ...below) + 1);
        }
        for (const wave of waves) {
          expect(wave).to.have.length.above(0);
          expect(wave).to.deep.equal(graph.order().filter((id) => wave.includes(id)));
        }
      }),
    );
  });
});

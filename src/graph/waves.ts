/**
 * Waves: how far each daemon is from a root, for display.
 *
 * A daemon's wave is the longest way down to something that depends on nothing, so everything it needs is in an earlier
 * wave. Starts do not wait for whole waves: one slow daemon would hold back everybody who does not need it.
 */
import type { Adjacency } from './adjacency.ts';

/** Wave number per daemon number, from 0. O(daemons + edges). */
export const waveNumbers = ({ size, dependencies }: Adjacency, order: Int32Array): Int32Array => {
  const wave = new Int32Array(size);
  for (const node of order) {
    let deepest = -1;
    for (let i = dependencies.start[node]!; i < dependencies.start[node + 1]!; i += 1) {
      const below = wave[dependencies.node[i]!]!;
      if (below > deepest) deepest = below;
    }
    wave[node] = deepest + 1;
  }
  return wave;
};

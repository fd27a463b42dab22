/**
 * Who is reached from here: the blast radius of a loss, what a start pulls in, and by which way.
 *
 * A cascade asks this for every loss, so the cost follows what is reached and never the size of the fleet: a set of the
 * daemons seen, not an array for all of them.
 */
import type { Rows } from './adjacency.ts';

/** Takes the place of an edge among the declared ones. */
export type EdgeFilter = (edge: number) => boolean;

/** Everything reached from `seeds` along `rows`, the seeds left out. O(reached + their edges). */
export const reachedFrom = (rows: Rows, seeds: readonly number[], accepts: EdgeFilter): number[] => {
  const seen = new Set(seeds);
  const waiting = [...seen];
  const reached: number[] = [];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    for (let i = rows.start[node]!; i < rows.start[node + 1]!; i += 1) {
      const next = rows.node[i]!;
      if (seen.has(next) || !accepts(rows.edge[i]!)) continue;
      seen.add(next);
      reached.push(next);
      waiting.push(next);
    }
  }
  return reached;
};

/** Places of the edges on a shortest way from `start` to `goal`; empty when they are the same, null when there is none. */
export const shortestWay = (rows: Rows, start: number, goal: number, accepts: EdgeFilter): number[] | null => {
  const cameBy = new Map<number, { readonly from: number; readonly edge: number } | null>([[start, null]]);
  const queue = [start];
  for (let at = 0; at < queue.length && !cameBy.has(goal); at += 1) {
    const node = queue[at]!;
    for (let i = rows.start[node]!; i < rows.start[node + 1]!; i += 1) {
      const next = rows.node[i]!;
      if (cameBy.has(next) || !accepts(rows.edge[i]!)) continue;
      cameBy.set(next, { from: node, edge: rows.edge[i]! });
      queue.push(next);
    }
  }
  const way: number[] = [];
  let step = cameBy.get(goal);
  if (step === undefined) return null;
  for (; step !== null && step !== undefined; step = cameBy.get(step.from)) way.push(step.edge);
  return way.reverse();
};

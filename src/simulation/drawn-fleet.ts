/**
 * Fleets drawn at random, because the shipped one uses few of the edges that a user may write: every kind, condition and
 * onLoss, one-shot tasks, critical leaves, daemons without restarts, policies other than the default. An edge points to
 * an earlier daemon, so every drawn fleet is a graph.
 */
import type { DaemonSpec, Fleet, ResolvedEdge } from '../fleet/types.ts';
import type { Random } from '../seams/random.ts';
import { shapeFleet } from './shape-fleet.ts';
import type { ShapeRow } from './ringrift-shape.ts';

const DAEMONS_MIN = 8;
const DAEMONS_MORE = 24;
const KINDS = ['hard', 'hard', 'hard', 'soft', 'order'] as const;
const ON_LOSS = ['restart', 'restart', 'reattach', 'stop', 'ignore'] as const;

const oneOf = <T>(values: readonly T[], random: Random): T => values[random.integer(values.length)]!;

/** One fleet for one stream of draws. */
export const drawnFleet = (random: Random): Fleet => {
  const rows: ShapeRow[] = Array.from({ length: DAEMONS_MIN + random.integer(DAEMONS_MORE) }, (_, index) => [
    index === 0 ? 'EVENT_ROUTER' : `D${index}`,
    [],
    [],
    oneOf([1, 5, 15, 60], random),
    random.uniform() < 0.2,
  ]);
  const base = shapeFleet(rows);
  const daemons: DaemonSpec[] = [];
  for (const spec of base.daemons) {
    const edges: ResolvedEdge[] = [];
    for (let wanted = random.integer(4); wanted > 0 && daemons.length > 0; wanted--) {
      const on = random.uniform() < 0.3 ? daemons[0]! : oneOf(daemons, random);
      if (edges.some((edge) => edge.on === on.type)) continue;
      edges.push({
        from: spec.type,
        on: on.type,
        kind: oneOf(KINDS, random),
        condition: on.oneShot ? 'completed' : random.uniform() < 0.2 ? 'started' : 'ready',
        onLoss: oneOf(ON_LOSS, random),
        timeoutMs: oneOf([2_000, 10_000, 30_000], random),
        writtenAt: 'drawn',
      });
    }
    const inProfile = random.uniform() < 0.85;
    const oneShot = random.uniform() < 0.1 && daemons.length > 0;
    daemons.push({
      ...spec,
      edges,
      oneShot,
      inProfile,
      autoRestart: random.uniform() > 0.05,
      restart: {
        delaysMs: random.uniform() < 0.8 ? spec.restart.delaysMs : [500, 3_000],
        maxRestarts: random.uniform() < 0.8 ? spec.restart.maxRestarts : 2,
        stableMs: random.uniform() < 0.8 ? spec.restart.stableMs : 60_000,
      },
    });
  }
  return { ...base, daemons: pulledIn(daemons) };
};

/** What a daemon of the profile needs is in the profile too. */
const pulledIn = (daemons: readonly DaemonSpec[]): DaemonSpec[] => {
  const needed = new Set<string>();
  const backwards = daemons.toReversed().map((spec) => {
    const inProfile = spec.inProfile || needed.has(spec.type);
    if (inProfile) for (const edge of spec.edges) if (edge.kind === 'hard') needed.add(edge.on);
    return { ...spec, inProfile };
  });
  return backwards.reverse();
};

/** Small fleets for tests, written as edges: `fleetOf({ A: [], B: ['A'] })`. */
import type { DaemonDefinition, DependencyEdge } from '../../src/daemons/definition.ts';
import { defineDaemon } from '../../src/daemons/definition.ts';
import type { DaemonSpec, Fleet, ResolvedEdge } from '../../src/fleet/types.ts';

export type EdgeSketch = string | (DependencyEdge & { readonly timeoutMs?: number });
export type SpecOverrides = Partial<Omit<DaemonSpec, 'type' | 'edges' | 'definition'>> & {
  readonly definition?: DaemonDefinition;
};

export const resolved = (from: string, edge: EdgeSketch): ResolvedEdge => {
  const sketch = typeof edge === 'string' ? { on: edge } : edge;
  const timeoutMs = 'timeoutMs' in sketch ? sketch.timeoutMs : undefined;
  return {
    from,
    on: sketch.on,
    kind: sketch.kind ?? 'hard',
    condition: sketch.condition ?? 'ready',
    onLoss: sketch.onLoss ?? (sketch.on === 'EVENT_ROUTER' ? 'reattach' : 'restart'),
    timeoutMs: timeoutMs ?? (sketch.timeoutSeconds ?? 30) * 1000,
    writtenAt: `sketch of ${from}`,
  };
};

export const idleDefinition = (type: string): DaemonDefinition =>
  defineDaemon({ type, purpose: 'stands idle in a test', category: 'test', create: () => ({}) });

export const specOf = (type: string, edges: readonly EdgeSketch[], over: SpecOverrides = {}): DaemonSpec => ({
  type,
  purpose: '',
  category: 'test',
  kind: 'in-process',
  critical: false,
  inProfile: true,
  pulledInBy: null,
  autoRestart: true,
  oneShot: false,
  restart: { delaysMs: [1000, 2000, 4000, 8000, 16_000], maxRestarts: 5, stableMs: 300_000 },
  health: { periodMs: 1000, timeoutMs: 500, failures: 3 },
  startMs: 30_000,
  stopMs: 10_000,
  recoveryTargetSeconds: null,
  config: {},
  definition: idleDefinition(type),
  ...over,
  edges: edges.map((edge) => resolved(type, edge)),
});

/** Declaration order is the order of the keys. `over` is per daemon, `'*'` for all. */
export const fleetOf = (
  sketch: Readonly<Record<string, readonly EdgeSketch[]>>,
  over: Readonly<Record<string, SpecOverrides>> = {},
): Fleet => ({
  name: 'sketch',
  file: '/sketch.yaml',
  profile: 'all',
  tempo: 'quick',
  hash: 'sketch',
  daemons: Object.entries(sketch).map(([type, edges]) => specOf(type, edges, { ...over['*'], ...over[type] })),
  ports: {},
  schedule: [],
  alerts: [],
  alertSinks: [],
  server: { bind: '127.0.0.1' },
  warnings: [],
});

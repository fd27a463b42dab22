/** A fleet of daemons without code, from a shape: for simulation and benches, where a runtime of another kind plays them. */
import { defineDaemon, type DaemonDefinition } from '../daemons/definition.ts';
import type { DaemonSpec, Fleet, ResolvedEdge } from '../fleet/types.ts';
import { RINGRIFT_SHAPE, type ShapeRow } from './ringrift-shape.ts';

const noCode = (type: string): DaemonDefinition =>
  defineDaemon({ type, purpose: 'played by a simulated runtime', category: 'shape', create: () => ({}) });

/** `over` replaces fields of every daemon; the order edge of everybody to FEEDBACK_LOOP is the bundled fleet's. */
export const shapeFleet = (
  shape: readonly ShapeRow[] = RINGRIFT_SHAPE,
  over: Partial<Omit<DaemonSpec, 'type' | 'edges'>> = {},
): Fleet => {
  const before = new Set(['EVENT_ROUTER', 'DATA_PIPELINE', 'AUTO_SYNC', 'FEEDBACK_LOOP']);
  const hasLoop = shape.some(([type]) => type === 'FEEDBACK_LOOP');
  const daemons = shape.map(([type, hard, order, healthSeconds, critical]): DaemonSpec => {
    const after = hasLoop && !before.has(type) && !order.includes('FEEDBACK_LOOP') && !hard.includes('FEEDBACK_LOOP');
    const edge = (on: string, kind: 'hard' | 'order'): ResolvedEdge => ({
      from: type,
      on,
      kind,
      condition: 'ready',
      onLoss: on === 'EVENT_ROUTER' ? 'reattach' : 'restart',
      timeoutMs: 30_000,
      writtenAt: 'shape',
    });
    return {
      type,
      purpose: '',
      category: 'shape',
      kind: 'in-process',
      critical,
      inProfile: true,
      pulledInBy: null,
      autoRestart: true,
      oneShot: false,
      restart: { delaysMs: [1000, 2000, 4000, 8000, 16_000], maxRestarts: 5, stableMs: 300_000 },
      health: { periodMs: healthSeconds * 1000, timeoutMs: 5000, failures: 3 },
      startMs: 30_000,
      stopMs: 10_000,
      recoveryTargetSeconds: null,
      config: {},
      definition: noCode(type),
      ...over,
      edges: [
        ...hard.map((on) => edge(on, 'hard')),
        ...[...order, ...(after ? ['FEEDBACK_LOOP'] : [])].map((on) => edge(on, 'order')),
      ],
    };
  });
  return {
    name: 'shape',
    file: 'shape',
    profile: 'full',
    tempo: 'standard',
    hash: 'shape',
    daemons,
    ports: {},
    schedule: [],
    alerts: [],
    alertSinks: [],
    server: { bind: '127.0.0.1' },
    warnings: [],
  };
};

/**
 * What one edge does to the dependent when something happens to the other end. One table; start order, cascades, stop
 * order and docs/reference/lifecycle.md all come from it, and a generated test walks every cell against the core.
 *
 * Unhealthy alone never travels along an edge: only the loss of a daemon does. An operator's stop takes every hard
 * dependent along, whatever its onLoss, because the operator has said the dependency will stay away.
 */
export const EDGE_EVENTS = ['lost', 'stopped-by-operator', 'ready-again', 'unhealthy'] as const;
export type EdgeEvent = (typeof EDGE_EVENTS)[number];

/** What may happen to the dependent; docs/reference/lifecycle.md prints it. */
export const EDGE_ACTIONS = {
  restart: 'stops at once (leaf first), starts again when the condition holds; counted as a restart, never charged',
  stop: 'stops at once (leaf first), goes to WAITING; starts when the condition holds, as a new start, not a restart',
  stay: 'keeps RUNNING, degraded, until the other is back',
  reattach: 'proves its subscriptions again within 5 s, else the edge is upgraded to `restart`',
  release: 'a dependent that waits for this edge waits no longer for it',
  none: 'nothing',
} as const;
export type EdgeAction = keyof typeof EDGE_ACTIONS;

/** What each event is. */
export const EDGE_EVENT_MEANINGS: Readonly<Record<EdgeEvent, string>> = {
  lost: 'the other exited, FAILED, or is being restarted',
  'stopped-by-operator': 'an operator stopped the other, so it will stay away',
  'ready-again': 'the other is ready (again)',
  unhealthy: 'the other fails health checks, and is still there',
};

export const EDGE_KINDS = ['hard', 'soft', 'order'] as const;
export const ON_LOSS = ['restart', 'reattach', 'stop', 'ignore'] as const;

type Row = Readonly<Record<EdgeEvent, EdgeAction>>;

const HARD: Readonly<Record<(typeof ON_LOSS)[number], Row>> = {
  restart: { lost: 'restart', 'stopped-by-operator': 'stop', 'ready-again': 'release', unhealthy: 'none' },
  reattach: { lost: 'stay', 'stopped-by-operator': 'stop', 'ready-again': 'reattach', unhealthy: 'none' },
  stop: { lost: 'stop', 'stopped-by-operator': 'stop', 'ready-again': 'release', unhealthy: 'none' },
  ignore: { lost: 'none', 'stopped-by-operator': 'stop', 'ready-again': 'release', unhealthy: 'none' },
};
const LOOSE: Row = { lost: 'none', 'stopped-by-operator': 'none', 'ready-again': 'release', unhealthy: 'none' };

/** What happens to the dependent at the other end of one edge. */
export const edgeAction = (
  kind: (typeof EDGE_KINDS)[number],
  onLoss: (typeof ON_LOSS)[number],
  event: EdgeEvent,
): EdgeAction => (kind === 'hard' ? HARD[onLoss][event] : LOOSE[event]);

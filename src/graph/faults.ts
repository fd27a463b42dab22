/**
 * What can be wrong with a graph, as data: the fleet loader turns each fault into a diagnostic at its line, and
 * `buildGraph` puts all of them into one error. Messages are whole sentences without a position; the position is beside
 * them, because a loader prints it its own way.
 */
import { OrchestratorError } from '../errors.ts';
import { nearestAmong, quoted } from './names.ts';
import type { GraphEdge } from './types.ts';

interface FaultBase {
  readonly message: string;
  readonly remedy: string;
  /** Where the daemon or the edge was written; of a cycle, its first edge. Null when nobody said. */
  readonly writtenAt: string | null;
}

export interface BadName extends FaultBase {
  readonly kind: 'bad-name';
  readonly name: string;
}

/** A daemon declared twice, or (`on` is not null) a second edge from the same daemon onto the same other one. */
export interface Duplicate extends FaultBase {
  readonly kind: 'duplicate';
  readonly name: string;
  readonly on: string | null;
  readonly firstWrittenAt: string | null;
}

export interface UnknownDependency extends FaultBase {
  readonly kind: 'unknown-dependency';
  /** The edge; one of its two ends is `name`. */
  readonly from: string;
  readonly on: string;
  /** The name that no daemon has. */
  readonly name: string;
  readonly nearest: string | null;
}

export interface SelfEdge extends FaultBase {
  readonly kind: 'self-edge';
  readonly name: string;
}

export interface Cycle extends FaultBase {
  readonly kind: 'cycle';
  /** Each depends on the next, the last on the first. */
  readonly cycle: readonly string[];
  /** `edges[i]` leads from `cycle[i]` to the one after it. */
  readonly edges: readonly GraphEdge[];
  /** How many daemons are entangled; more than the cycle has when cycles share daemons. */
  readonly groupSize: number;
}

export type GraphFault = BadName | Duplicate | UnknownDependency | SelfEdge | Cycle;

export const badName = (name: string, reason: string, writtenAt: string | undefined): BadName => ({
  kind: 'bad-name',
  name,
  message: `the daemon name ${quoted(name)} ${reason}`,
  remedy: 'name it with a letter followed by letters, digits, "_", "." or "-", such as DATA_PIPELINE',
  writtenAt: writtenAt ?? null,
});

export const duplicateDaemon = (name: string, first: string | undefined, second: string | undefined): Duplicate => ({
  kind: 'duplicate',
  name,
  on: null,
  message: `the daemon ${quoted(name)} is declared twice${first === undefined ? '' : `, first at ${first}`}`,
  remedy: 'rename or drop one of the two',
  writtenAt: second ?? null,
  firstWrittenAt: first ?? null,
});

export const duplicateEdge = (first: GraphEdge, second: GraphEdge): Duplicate => ({
  kind: 'duplicate',
  name: second.from,
  on: second.on,
  message:
    `${quoted(second.from)} depends on ${quoted(second.on)} twice, as ${second.kind} and, ` +
    `at ${first.writtenAt}, as ${first.kind}`,
  remedy: 'keep one of the two edges: a pair of daemons has one kind of dependency',
  writtenAt: second.writtenAt,
  firstWrittenAt: first.writtenAt,
});

export const unknownEnd = (edge: GraphEdge, end: 'from' | 'on', nearest: string | null): UnknownDependency => ({
  kind: 'unknown-dependency',
  from: edge.from,
  on: edge.on,
  name: edge[end],
  nearest,
  message:
    end === 'on'
      ? `${quoted(edge.from)} depends on ${quoted(edge.on)}, and no daemon has that name`
      : `an edge onto ${quoted(edge.on)} belongs to ${quoted(edge.from)}, and no daemon has that name`,
  remedy:
    nearest === null
      ? `declare ${quoted(edge[end])} as a daemon, or drop the edge`
      : `did you mean ${nearest}? Otherwise declare ${quoted(edge[end])} as a daemon, or drop the edge`,
  writtenAt: edge.writtenAt,
});

export const selfEdge = (edge: GraphEdge): SelfEdge => ({
  kind: 'self-edge',
  name: edge.from,
  message: `${quoted(edge.from)} depends on itself`,
  remedy: 'drop the edge: a daemon that waits for itself never starts',
  writtenAt: edge.writtenAt,
});

const NAMES_SHOWN_MAX = 12; //  chosen: a ring longer than this is read from its data, not from a line
const EDGES_SHOWN_MAX = 20; //  chosen: with the rest of the message, one screen
const FAULTS_SHOWN_MAX = 50;

const shownRing = (cycle: readonly string[]): string => {
  const shown = cycle.slice(0, NAMES_SHOWN_MAX);
  const left = cycle.length - shown.length;
  return [...shown, ...(left > 0 ? [`… ${left} more …`] : []), cycle[0]].join(' → ');
};

export const dependencyCycle = (edges: readonly GraphEdge[], groupSize: number): Cycle => {
  const cycle = edges.map((edge) => edge.from);
  const tangle = groupSize > cycle.length ? `; ${groupSize} daemons are entangled with it` : '';
  return {
    kind: 'cycle',
    cycle,
    edges,
    groupSize,
    message: `${cycle.length} daemons depend on each other in a circle: ${shownRing(cycle)}${tangle}`,
    remedy: 'drop one of these edges from dependsOn, or let its daemon learn what it needs through an event',
    writtenAt: edges[0]?.writtenAt ?? null,
  };
};

/** A fault for people: its sentence with the position, a cycle edge by edge, and what to do. */
export const describeFault = (fault: GraphFault): string => {
  const at = fault.kind === 'cycle' || fault.writtenAt === null ? '' : ` (${fault.writtenAt})`;
  const lines = [`${fault.message}${at}`];
  if (fault.kind === 'cycle') {
    for (const edge of fault.edges.slice(0, EDGES_SHOWN_MAX)) {
      lines.push(`    ${edge.from} depends on ${edge.on} (${edge.kind}), written at ${edge.writtenAt}`);
    }
    const left = fault.edges.length - EDGES_SHOWN_MAX;
    if (left > 0) lines.push(`    … and ${left} more edges`);
  }
  lines.push(`    ${fault.remedy}`);
  return lines.join('\n');
};

/** The declared daemons and edges make no graph. Holds every fault, not the first. */
export const graphInvalid = (faults: readonly GraphFault[]): OrchestratorError => {
  const shown = faults.slice(0, FAULTS_SHOWN_MAX).map((fault) => `  ${describeFault(fault)}`);
  const left = faults.length - shown.length;
  if (left > 0) shown.push(`  … and ${left} more`);
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`;
  return new OrchestratorError('GRAPH_INVALID', {
    message: `cannot order the daemons: ${count} in their dependencies\n${shown.join('\n')}`,
    remedy:
      'mend each of them as said beside it; "master_loop validate" shows all faults of a fleet file with their lines',
    context: { faults },
  });
};

/** Somebody asked about a daemon that does not exist. */
export const unknownDaemon = (name: unknown, known: Iterable<string>): OrchestratorError => {
  const nearest = nearestAmong(known)(name);
  return new OrchestratorError('UNKNOWN_DAEMON', {
    message: `cannot find the daemon ${quoted(name)}${nearest === null ? '' : `; the nearest name is ${nearest}`}`,
    remedy:
      nearest === null
        ? '"master_loop status" lists the daemons of this fleet'
        : `say ${nearest}, or look at "master_loop status"`,
    context: { name, nearest },
  });
};

/** A start time that cannot be added up. */
export const startTimeInvalid = (name: string, startMs: unknown): OrchestratorError =>
  new OrchestratorError('START_TIME_INVALID', {
    message: `cannot add up start times: that of ${name} is ${String(startMs)}`,
    remedy: 'give milliseconds as a number of at least 0',
    context: { name, startMs },
  });

/**
 * What a graph is made of, and what it prints. These are small on purpose: the fleet's resolved edges and daemons fit
 * them as they are, and come back out of the graph with everything else they carry.
 */
export interface GraphNode {
  readonly id: string;
  readonly critical?: boolean;
  /** Where the daemon is declared, for a fault about it. */
  readonly writtenAt?: string;
}

/** `from` depends on `on`: it starts after it and stops before it. At most one edge from one daemon onto another. */
export interface GraphEdge {
  readonly from: string;
  readonly on: string;
  readonly kind: 'hard' | 'soft' | 'order';
  readonly onLoss?: 'restart' | 'reattach' | 'stop' | 'ignore';
  /** `file:line:column`, or words such as `definition of NAME`. */
  readonly writtenAt: string;
}

/** Milliseconds per daemon id: measured medians or estimates. */
export type StartTimes = ReadonlyMap<string, number> | Readonly<Record<string, number>>;

export interface CriticalPath {
  /** Root to leaf. */
  readonly ids: readonly string[];
  readonly totalMs: number;
}

/** docs/contract.md "Plan". */
export interface PlanJson {
  readonly order: readonly string[];
  readonly waves: readonly (readonly string[])[];
  readonly edges: readonly PlanEdge[];
  readonly criticalPath: readonly string[];
}

export interface PlanEdge {
  readonly from: string;
  readonly on: string;
  readonly kind: GraphEdge['kind'];
  /** Null when whoever declared the edge left it open. */
  readonly onLoss: NonNullable<GraphEdge['onLoss']> | null;
  readonly writtenAt: string;
}

/**
 * A fleet after everything has been resolved: definitions, file, defaults, tempo, profile and environment merged into one
 * table per daemon. This is all the orchestrator ever sees; where a value came from is kept for `plan` and for faults.
 */
import type { DaemonDefinition, DaemonKind, EdgeCondition, EdgeKind, OnLoss } from '../daemons/definition.ts';

export interface RestartPolicy {
  /** Delay before the k-th restart; the last one repeats when `maxRestarts` is larger. Milliseconds. */
  readonly delaysMs: readonly number[];
  readonly maxRestarts: number;
  /** RUNNING this long without a break clears the counter. Milliseconds. */
  readonly stableMs: number;
}

export interface HealthPolicy {
  readonly periodMs: number;
  readonly timeoutMs: number;
  /** Failures in a row that make it unhealthy. */
  readonly failures: number;
}

/** One edge, every default filled. `from` depends on `on`. */
export interface ResolvedEdge {
  readonly from: string;
  readonly on: string;
  readonly kind: EdgeKind;
  readonly condition: EdgeCondition;
  readonly onLoss: OnLoss;
  /** Soft and order edges only; milliseconds. */
  readonly timeoutMs: number;
  /** `file:line:column`, or `definition of NAME`, or `bundled order rule`. */
  readonly writtenAt: string;
}

export interface DaemonSpec {
  readonly type: string;
  readonly purpose: string;
  readonly category: string;
  readonly kind: DaemonKind;
  readonly critical: boolean;
  /** In the chosen profile, or pulled in by it. */
  readonly inProfile: boolean;
  /** The profile member that pulled it in through hard edges; null for members themselves. */
  readonly pulledInBy: string | null;
  readonly autoRestart: boolean;
  readonly oneShot: boolean;
  readonly restart: RestartPolicy;
  readonly health: HealthPolicy;
  /** Deadline for readiness, milliseconds. */
  readonly startMs: number;
  /** Deadline for a graceful stop, milliseconds; then it is killed. */
  readonly stopMs: number;
  readonly recoveryTargetSeconds: number | null;
  readonly edges: readonly ResolvedEdge[];
  /** Validated by the definition's own schema. */
  readonly config: unknown;
  readonly definition: DaemonDefinition;
}

export interface ScheduleEntry {
  readonly at: string;
  readonly timeZone: string | null;
  readonly do: 'recover' | 'drill';
  readonly drill: string | null;
  readonly target: string | null;
  readonly resetFailed: boolean;
  readonly writtenAt: string;
}

export interface AlertRule {
  readonly name: string;
  readonly when:
    | { readonly kind: 'restarts-per-hour'; readonly over: number }
    | { readonly kind: 'consecutive-health-failures'; readonly over: number }
    | { readonly kind: 'error-rate'; readonly over: number }
    | { readonly kind: 'failed' | 'critical-down' | 'subscription-gap' | 'storm' };
  readonly to: readonly string[];
}

export interface AlertSink {
  readonly name: string;
  readonly webhook: string;
}

export interface Fleet {
  readonly name: string;
  /** Absolute path of the fleet file. */
  readonly file: string;
  readonly profile: string;
  readonly tempo: 'quick' | 'standard';
  /** SHA-256 over everything that decides behaviour, hex. */
  readonly hash: string;
  /** In declaration order; ties of the start order are broken by critical first, then by this. */
  readonly daemons: readonly DaemonSpec[];
  readonly ports: Readonly<Record<string, number>>;
  readonly schedule: readonly ScheduleEntry[];
  readonly alerts: readonly AlertRule[];
  readonly alertSinks: readonly AlertSink[];
  readonly server: { readonly bind: string };
  /** Faults that do not stop a start: one-sided events, deprecated types let in by a profile. */
  readonly warnings: readonly string[];
}

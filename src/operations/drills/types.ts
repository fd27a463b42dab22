/**
 * What a drill leaves behind: plain JSON, kept as a file, printed by the CLI. Types only, so that a client takes them
 * without loading the master.
 */
import type { Drill } from '../../fleet/schema.ts';

export type { Drill };

export type DrillStatus =
  /** Under way; found so by a later master it becomes `interrupted`. */
  | 'running'
  | 'passed'
  | 'failed'
  /** The caller hung up: healed, not finished. */
  | 'cancelled'
  /** The master ended in the middle: nothing injected survived it. */
  | 'interrupted'
  /** By `drill inject`: broken and not healed yet, then healed. */
  | 'injected'
  | 'healed';

export type StepName =
  | 'injected'
  | 'detected'
  | 'restarted'
  | 'ready'
  | 're-subscribed'
  | 'failed'
  | 'reset'
  | 'stopped'
  | 'proven-empty'
  | 'drained'
  | 'started'
  | 'healed'
  | 'steady';

export interface DrillStep {
  readonly name: StepName;
  /** ISO-8601. */
  readonly at: string;
  /** Since the fault happened. */
  readonly seconds: number;
  readonly note: string;
}

export interface DrillCheck {
  readonly what: string;
  readonly ok: boolean;
  /** The evidence, with its numbers. */
  readonly detail: string;
}

export interface DrillResult {
  readonly version: 1;
  readonly id: string;
  readonly drill: Drill;
  /** Null: the whole fleet, or none was chosen yet. */
  readonly target: string | null;
  readonly fleet: string;
  readonly tempo: string;
  readonly origin: 'operator' | 'schedule';
  readonly status: DrillStatus;
  /** Null while it is open. */
  readonly passed: boolean | null;
  /** ISO-8601. */
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** What was broken, in words. */
  readonly fault: string;
  readonly steps: readonly DrillStep[];
  readonly checks: readonly DrillCheck[];
  /** From the fault to its detection. */
  readonly detectionSeconds: number | null;
  /** From the detection until it was ready, and its subscriptions proven. */
  readonly recoverySeconds: number | null;
  /** Null: the fleet names no target, it is only measured. */
  readonly recoveryTargetSeconds: number | null;
  /** Why it did not pass; null when it did or is open. */
  readonly reason: string | null;
}

export interface DrillListing {
  readonly name: Drill;
  readonly does: string;
  /** What a daemon must have to be a target. */
  readonly needs: string;
  /** Who may be a target now; empty for what concerns no single daemon. */
  readonly targets: readonly string[];
  readonly byDefault: string | null;
}

/** Answer to `drill list`. */
export interface DrillList {
  readonly drills: readonly DrillListing[];
  /** What keeps a drill from beginning now, in words. */
  readonly busy: string | null;
}

/** Answer to `drill report`, newest first. */
export interface DrillReports {
  readonly results: readonly DrillResult[];
}

/** Answer to `drill verify`. */
export interface DrillVerification {
  readonly ok: boolean;
  readonly steady: boolean;
  readonly checks: readonly DrillCheck[];
}

/** Answer to `drill heal`. */
export interface DrillHealed {
  readonly ok: boolean;
  readonly healed: readonly string[];
  readonly message: string;
}

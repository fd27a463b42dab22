/**
 * The shapes that cross the edge of the core: inputs, effects, commands and what people see. Everything here is plain
 * JSON data, so it can be journalled, replayed, posted to another thread and printed.
 */
import type { Health } from '../health/verdict.ts';
import type { Cause, DaemonState, Wanted } from '../lifecycle/states.ts';

/** When an input arrived. `at` is monotonic and decides; `wallMs` is printed. */
export interface Stamp {
  /** Monotonic milliseconds of this master. */
  readonly at: number;
  readonly wallMs: number;
}

export type Origin = 'operator' | 'schedule' | 'drill' | 'daemon' | 'signal' | 'config';

export type CommandVerb =
  | 'start'
  | 'stop'
  | 'restart'
  | 'reset'
  | 'start-profile' // `launch_daemons --all`: clears operator stops of its daemons
  | 'recover'
  | 'shutdown'
  | 'drill-begin' // the daemons' next failures are charged to a drill
  | 'drill-heal';

export interface Command {
  /** Unique; repeats of one id are answered once. */
  readonly id: string;
  readonly verb: CommandVerb;
  /** Empty for recover and shutdown. */
  readonly daemons: readonly string[];
  readonly origin: Origin;
  /** Who asked and why, for the journal and `why`. */
  readonly reason: string;
  /** Milliseconds the caller will wait; 0: do not wait. */
  readonly waitMs: number;
  /** recover only. */
  readonly drainMs?: number;
  readonly resetFailed?: boolean;
}

export interface CommandOutcome {
  readonly id: string;
  readonly ok: boolean;
  /** done · failed · refused · unknown-daemon · timeout · impossible · superseded */
  readonly code:
    'done' | 'failed' | 'refused' | 'unknown-daemon' | 'timeout' | 'impossible' | 'superseded' | 'accepted';
  /** One line a person can read; says which counters were cleared, which operator stops were lifted. */
  readonly message: string;
  readonly remedy?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface FailureReport {
  readonly message: string;
  /** A word for grouping identical errors, e.g. an error code or class name. */
  readonly code: string;
  readonly stack?: string;
}

export type Input = Stamp &
  (
    | { readonly kind: 'boot' }
    | { readonly kind: 'command'; readonly command: Command }
    /** A start slot was granted; the core answers with `launch` or lets the slot go. */
    | { readonly kind: 'start-begun'; readonly daemon: string; readonly generation: number }
    | { readonly kind: 'ready'; readonly daemon: string; readonly generation: number }
    | {
        readonly kind: 'start-failed';
        readonly daemon: string;
        readonly generation: number;
        readonly failure: FailureReport;
        readonly cause: 'start-failed' | 'import-failed' | 'config';
      }
    /** Proof that this start is gone, asked for or not. `failure` is null when it ended well. */
    | {
        readonly kind: 'exited';
        readonly daemon: string;
        readonly generation: number;
        readonly failure: FailureReport | null;
        readonly forced: boolean;
      }
    | {
        readonly kind: 'verdict';
        readonly daemon: string;
        readonly generation: number;
        /** late: answered after its deadline; missed: no answer, or no progress while input waits. */
        readonly verdict: 'healthy' | 'degraded' | 'unhealthy' | 'late' | 'missed' | 'unknown';
        readonly message: string;
      }
    | {
        readonly kind: 'reattached';
        readonly daemon: string;
        readonly generation: number;
        readonly ok: boolean;
        readonly message: string;
      }
    | { readonly kind: 'timer'; readonly timer: string }
    /** Answer to `prove-empty`: no process of any daemon is left, or which ones are. */
    | { readonly kind: 'proven-empty'; readonly operation: string; readonly left: readonly string[] }
  );

export type InputKind = Input['kind'];

/** A transition, as journalled and streamed. `keep` is what survives a restart of the master. */
export interface TransitionRecord {
  readonly daemon: string;
  readonly from: DaemonState;
  readonly to: DaemonState;
  /** The row of the lifecycle table that applied. */
  readonly on: string;
  readonly why: Cause | null;
  readonly message: string;
  readonly generation: number;
  readonly keep: DaemonKeep;
}

/** The persistent part of one daemon. */
export interface DaemonKeep {
  readonly wanted: Wanted;
  readonly wantedBy: string;
  readonly generation: number;
  readonly failed: boolean;
  /** Restarts charged since the counter was last cleared. */
  readonly restarts: number;
  readonly restartsTotal: number;
  /** Wall milliseconds of the restarts of the last hour, oldest first, at most 64. */
  readonly restartTimes: readonly number[];
  readonly lastError: LastError | null;
  readonly completed: boolean;
}

export interface LastError {
  readonly message: string;
  readonly code: string;
  readonly why: Cause;
  readonly wallMs: number;
}

export interface OperationRecord {
  readonly id: string;
  readonly verb: 'recover' | 'shutdown';
  readonly phase: 'stopping' | 'proving' | 'draining' | 'starting' | 'done';
  readonly origin: Origin;
  readonly reason: string;
  readonly drainMs: number;
  readonly resetFailed: boolean;
  readonly resumed: boolean;
  readonly startedWallMs: number;
  readonly phaseWallMs: number;
  /** Milliseconds spent per finished phase. */
  readonly took: Readonly<Partial<Record<'stopping' | 'proving' | 'draining' | 'starting', number>>>;
  /** Filled when done. */
  readonly verdict: 'recovered' | 'resumed' | 'degraded' | 'stopped' | 'superseded' | null;
  readonly notReady: readonly string[];
}

export type Effect =
  /** Permission to start: queue for a slot. The bigger the priority the sooner. */
  | { readonly do: 'start'; readonly daemon: string; readonly generation: number; readonly priority: number }
  | { readonly do: 'withdraw'; readonly daemon: string; readonly generation: number }
  /** The slot was taken and everything still holds: really start. */
  | { readonly do: 'launch'; readonly daemon: string; readonly generation: number }
  | { readonly do: 'release-slot'; readonly daemon: string; readonly generation: number }
  | {
      readonly do: 'stop';
      readonly daemon: string;
      readonly generation: number;
      readonly deadlineMs: number;
      /** A full stop ends surviving child processes too. */
      readonly full: boolean;
    }
  | { readonly do: 'kill'; readonly daemon: string; readonly generation: number; readonly full: boolean }
  | { readonly do: 'arm-timer'; readonly timer: string; readonly delayMs: number }
  | { readonly do: 'cancel-timer'; readonly timer: string }
  | { readonly do: 'reattach'; readonly daemon: string; readonly generation: number; readonly on: string }
  | { readonly do: 'prove-empty'; readonly operation: string }
  | { readonly do: 'alert'; readonly alert: CoreAlert }
  | { readonly do: 'journal'; readonly seq: number; readonly cause: number | null; readonly record: JournalNote }
  | { readonly do: 'reply'; readonly outcome: CommandOutcome }
  /** Everything is stopped and a shutdown asked for it: leave. */
  | { readonly do: 'leave' };

export type JournalNote =
  | ({ readonly type: 'transition' } & TransitionRecord)
  | { readonly type: 'operation'; readonly operation: OperationRecord }
  | { readonly type: 'keep'; readonly daemon: string; readonly keep: DaemonKeep; readonly message: string };

export interface CoreAlert {
  readonly name: 'storm' | 'failed' | 'critical-down';
  readonly daemon: string;
  readonly message: string;
  readonly resolved: boolean;
}

/** Why a WAITING (or held) daemon does not start, down to the leaf. */
export interface WaitingFor {
  readonly on: string;
  readonly kind: 'hard' | 'soft' | 'order' | 'slot' | 'operation' | 'storm';
  readonly condition: string;
  /** State of the daemon waited for. */
  readonly state: DaemonState | null;
  /** True when waiting cannot end without somebody acting; then `remedy` says who must do what. */
  readonly impossible: boolean;
  readonly message: string;
  readonly remedy: string | null;
}

/** docs/contract.md "Status", one daemon. Times are ISO-8601 in UTC. */
export interface DaemonStatus {
  readonly type: string;
  readonly kind: string;
  readonly category: string;
  readonly critical: boolean;
  readonly wanted: Wanted;
  readonly state: DaemonState;
  readonly reason: string | null;
  readonly generation: number;
  readonly pid: number | null;
  readonly health: Health & { readonly checkedAt: string | null; readonly consecutiveFailures: number };
  readonly restartCount: number;
  readonly restartsLastHour: number;
  readonly restartsTotal: number;
  readonly lastError: string | null;
  readonly lastErrorAt: string | null;
  readonly lastCause: Cause | null;
  readonly nextAttemptAt: string | null;
  readonly startedAt: string | null;
  readonly readyAt: string | null;
  readonly stateSince: string;
  readonly uptimeSeconds: number | null;
  readonly dependsOn: readonly string[];
  readonly waitingFor: readonly WaitingFor[];
  readonly recoveryTargetSeconds: number | null;
  readonly lastRecoverySeconds: number | null;
  readonly attemptsLeft: number;
  readonly leakedPromises: number;
  readonly processes: readonly { readonly name: string; readonly pid: number }[];
  /** False: neither in the profile nor pulled in by it, so it counts for nothing while it is not wanted. */
  readonly inProfile?: boolean;
  /** The sentence that decided the present state, for `why`. */
  readonly rule?: string;
}

export type Verdict = 'booting' | 'ready' | 'degraded' | 'unhealthy' | 'recovering' | 'stopping' | 'engine_stalled';

/** What the main thread posts to the server thread: the whole picture at first, then changes and a beat. */
export interface FleetSnapshot {
  readonly fleet: string;
  readonly fleetFile: string;
  readonly profile: string;
  readonly tempo: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly verdict: Exclude<Verdict, 'engine_stalled'>;
  readonly operation: OperationRecord | null;
  readonly daemons: readonly DaemonStatus[];
}

/** One line of history, newest last. */
export interface HistoryEntry {
  readonly seq: number;
  readonly cause: number | null;
  readonly time: string;
  readonly daemon: string | null;
  readonly from: string | null;
  readonly to: string | null;
  readonly on: string;
  readonly why: string | null;
  readonly message: string;
  readonly generation: number | null;
}

/** `why DAEMON`: one screen. */
export interface WhyReport {
  readonly daemon: string;
  readonly state: DaemonState;
  readonly wanted: Wanted;
  readonly since: string;
  readonly reason: string;
  readonly waitingFor: readonly WaitingFor[];
  readonly lastExit: { readonly message: string; readonly why: string; readonly time: string } | null;
  /** From this daemon's last transition to the root, newest first. */
  readonly causeChain: readonly HistoryEntry[];
  readonly restarts: { readonly charged: number; readonly left: number; readonly lastHour: number };
  readonly nextAttemptAt: string | null;
  /** The rule that decided the present state, in words. */
  readonly rule: string;
  readonly health: Health;
  readonly remedy: string | null;
}

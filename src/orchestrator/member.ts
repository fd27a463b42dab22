/**
 * One daemon as the core knows it, and the edges between them. Data with small questions; every change of state goes
 * through the core's one setter (core/move.ts).
 */
import type { DaemonSpec, ResolvedEdge } from '../fleet/types.ts';
import type { Cause, DaemonState, Wanted } from '../lifecycle/states.ts';
import type { DaemonKeep, LastError } from './types.ts';

/** Restarts are remembered for an hour, and so many of them. */
const HOUR_MS = 3_600_000;
const RESTART_TIMES_KEPT = 64;

/** Beginning of `wantedBy` of a daemon that came along with another. */
export const PULLED_IN = 'pulled in by';

/** Losses that merged: members stop leaf first and start root first, none before the window has closed. */
export interface Plan {
  readonly id: number;
  open: boolean;
  readonly members: Set<Member>;
}

/** One dependency with what the core keeps on it. */
export class Edge {
  readonly from: Member;
  readonly on: Member;
  readonly kind: ResolvedEdge['kind'];
  readonly condition: ResolvedEdge['condition'];
  readonly onLoss: ResolvedEdge['onLoss'];
  readonly timeoutMs: number;
  /** The condition holds (or, soft and order, need not be waited for). */
  met = false;
  /** Soft and order: waited long enough in this episode of waiting. */
  released = false;
  /** `reattach`: the other end was lost since `from` last attached. */
  lost = false;

  constructor(from: Member, on: Member, edge: ResolvedEdge) {
    this.from = from;
    this.on = on;
    this.kind = edge.kind;
    this.condition = edge.condition;
    this.onLoss = edge.onLoss;
    this.timeoutMs = edge.timeoutMs;
  }

  holds(): boolean {
    const { state, stopWish } = this.on;
    const holds =
      state === 'COMPLETED' ||
      // What is about to stop is no ground to start on.
      (stopWish === null &&
        ((this.condition === 'ready' && state === 'RUNNING') ||
          (this.condition === 'started' && (state === 'STARTING' || state === 'RUNNING'))));
    if (holds || this.kind === 'hard') return holds;
    return this.released || this.on.wanted === 'down' || state === 'FAILED' || state === 'STOPPED';
  }

  /** Asks anew whether it holds, and keeps the counters of `from`. @returns whether the answer is another now */
  judge(): boolean {
    const met = this.holds();
    if (met === this.met) return false;
    this.met = met;
    const change = met ? -1 : 1;
    if (this.kind === 'hard') this.from.unmetHard += change;
    else this.from.unmetSoft += change;
    return true;
  }
}

export interface StopWish {
  readonly graceful: boolean;
  /** What follows the proof that it is gone. */
  readonly then: 'down' | 'wait' | 'failure';
  readonly why: Cause;
  readonly message: string;
  /** Number of the record that decided it; the stop names it as its cause, however much later it is issued. */
  readonly cause: number | null;
}

export class Member {
  readonly spec: DaemonSpec;
  readonly type: string;
  readonly index: number;
  readonly priority: number;
  readonly needs: Edge[] = [];
  readonly neededBy: Edge[] = [];

  wanted: Wanted = 'up';
  /** 'profile', 'operator', 'not in the profile', or PULLED_IN with the name of the other. */
  wantedBy = 'profile';
  state: DaemonState = 'WAITING';
  generation = 0;
  /** Number of the note of its last transition; what follows from it names it as cause. */
  seq: number | null = null;
  sinceAt = 0;
  sinceWallMs = 0;
  message = '';
  why: Cause | null = null;
  /** The sentence that decided the present state. */
  rule = '';

  /** A permission to start is out and not yet used. */
  permit = false;
  backoffOver = false;
  nextAttemptAt: number | null = null;
  nextAttemptWallMs: number | null = null;
  /** Why the next start happens, for history and metrics. */
  startWhy: Cause | null = null;
  stopWish: StopWish | null = null;
  /** It counts in `liveStopping` of what it depends on. */
  marked = false;
  plan: Plan | null = null;
  heldByStorm = false;
  softArmed = false;
  softSince = 0;
  reattaching = false;
  /** Number of the note by which the other end was back; what follows from re-attaching names it as cause. */
  reattachSeq: number | null = null;

  unmetHard = 0;
  unmetSoft = 0;
  /** Dependents that are being stopped and not yet gone. */
  liveStopping = 0;

  restarts = 0;
  restartsTotal = 0;
  restartTimes: number[] = [];
  secondaryFailures = 0;
  drill = false;
  drillFailures = 0;
  everFailed = false;
  lastError: LastError | null = null;
  /** Failed health checks in a row. */
  streak = 0;
  healthFailures = 0;

  startedWallMs: number | null = null;
  readyAt: number | null = null;
  readyWallMs: number | null = null;
  /** When it went away without being told to stay away; cleared when it is ready again. */
  downAt: number | null = null;
  lastRecoveryMs: number | null = null;
  settled = false;
  countedNotUp = false;

  constructor(spec: DaemonSpec, index: number, priority: number) {
    this.spec = spec;
    this.type = spec.type;
    this.index = index;
    this.priority = priority;
  }

  link(edge: ResolvedEdge, on: Member): void {
    const linked = new Edge(this, on, edge);
    this.needs.push(linked);
    on.neededBy.push(linked);
    if (linked.kind === 'hard') this.unmetHard++;
    else this.unmetSoft++;
  }

  /** What an earlier run left decides the first state; nothing of an earlier run is still running. */
  restore(keep: DaemonKeep | undefined): void {
    if (keep === undefined) {
      if (!this.spec.inProfile) this.setWanted('down', 'not in the profile');
    } else {
      // The profile is asked anew by every master; what a person asked for, and what that pulled in, stands.
      const own = keep.wantedBy === 'operator' || keep.wantedBy.startsWith(PULLED_IN);
      if (own) this.setWanted(keep.wanted, keep.wantedBy);
      else if (!this.spec.inProfile) this.setWanted('down', 'not in the profile');
      this.generation = keep.generation;
      this.restarts = keep.restarts;
      this.restartsTotal = keep.restartsTotal;
      this.restartTimes = [...keep.restartTimes];
      this.lastError = keep.lastError;
      this.everFailed = keep.restarts > 0;
    }
    if (this.wanted === 'down') {
      this.state = 'STOPPED';
      this.message = this.wantedBy === 'operator' ? 'stopped by an operator' : this.wantedBy;
    } else if (keep?.failed === true) {
      this.state = 'FAILED';
      this.message = keep.lastError?.message ?? 'FAILED before the master restarted';
      this.rule = 'FAILED survives a restart of the master; only an operator leaves it';
    } else if (keep?.completed === true && this.spec.oneShot) this.state = 'COMPLETED';
    else this.state = 'WAITING';
    this.countedNotUp = this.wanted === 'up' && !this.isUp();
    this.#noted = keep ?? null;
  }

  /** The persistent part as the journal has it: what a next master would begin with. */
  get noted(): DaemonKeep {
    return this.#noted ?? this.keep();
  }
  #noted: DaemonKeep | null = null;

  /** The persistent part for a note that is written now. */
  note(): DaemonKeep {
    return (this.#noted = this.keep());
  }

  setWanted(wanted: Wanted, by: string): void {
    this.wanted = wanted;
    this.wantedBy = by;
  }

  /** Dependents may rely on it, or it did its one job. */
  isUp(): boolean {
    return this.state === 'RUNNING' || this.state === 'COMPLETED';
  }

  enter(state: DaemonState, at: number, wallMs: number, message: string, why: Cause | null): void {
    this.state = state;
    this.sinceAt = at;
    this.sinceWallMs = wallMs;
    this.message = message;
    this.why = why;
    if (state !== 'RESTARTING') {
      this.nextAttemptAt = null;
      this.nextAttemptWallMs = null;
    }
    if (state !== 'RUNNING') {
      this.readyAt = null;
      this.readyWallMs = null;
    }
  }

  countRestart(wallMs: number): void {
    this.restartsTotal++;
    this.restartTimes.push(wallMs);
    while (this.restartTimes.length > RESTART_TIMES_KEPT || (this.restartTimes[0] ?? Infinity) < wallMs - HOUR_MS)
      this.restartTimes.shift();
  }

  keep(): DaemonKeep {
    return {
      wanted: this.wanted,
      wantedBy: this.wantedBy,
      generation: this.generation,
      failed: this.state === 'FAILED',
      restarts: this.restarts,
      restartsTotal: this.restartsTotal,
      restartTimes: this.restartTimes.slice(),
      lastError: this.lastError,
      completed: this.state === 'COMPLETED',
    };
  }
}

/**
 * Everything the core holds, in one place: the members and their edges, the plan, the operation and the waiting commands
 * under way, the counters, and the effects of the input at hand with their numbers. The other modules of this folder are
 * functions that receive it; none keeps anything of its own between two inputs, so what a core is can be read here.
 *
 * The small methods are those that every module needs: naming a member, writing a note, arming a timer, answering. The
 * state of a member changes only in move.ts.
 */
import { invariant } from '../../errors.ts';
import type { Fleet } from '../../fleet/types.ts';
import { STORM_LIMITS, StormBreaker, type StormLimits } from '../../lifecycle/storm-breaker.ts';
import { Member, type Plan } from '../member.ts';
import type { Command, CommandOutcome, DaemonKeep, Effect, JournalNote, OperationRecord } from '../types.ts';

/** What a policy may be told to get wrong, so that the checkers can be shown to find it. Never set outside tests. */
export const CORE_BUGS = [
  'skip-a-charge',
  'forget-a-generation',
  'ready-clears-counter',
  'start-before-dependency',
  'stop-root-first',
  'cascade-misses-grandchildren',
  'restart-during-drain',
  'double-backoff-early',
  'failed-comes-back',
  'forget-operator-stop',
] as const;
export type CoreBug = (typeof CORE_BUGS)[number];

export interface CoreOptions {
  readonly fleet: Fleet;
  /** Length of the critical path below a daemon, milliseconds or any unit; bigger starts sooner. */
  readonly priority: ReadonlyMap<string, number>;
  /** What earlier runs left; absent daemons begin as their profile says. */
  readonly keeps?: ReadonlyMap<string, DaemonKeep>;
  /** An operation that a crash of the master interrupted. */
  readonly operation?: OperationRecord | null;
  readonly storm?: StormLimits;
  readonly bug?: CoreBug;
}

/** A command whose caller waits until its daemons have got somewhere. */
export interface Waiter {
  readonly command: Command;
  readonly open: Set<Member>;
  /** Where each daemon must get to. */
  readonly goal: 'up' | 'down' | 'nothing';
  readonly notes: string[];
  readonly failed: string[];
  /** Generation a daemon must have passed to count as restarted. */
  readonly beyond: ReadonlyMap<Member, number>;
}

/** A full recovery or shutdown under way; its record is what the journal and people see of it. */
export interface Operation {
  id: string;
  verb: 'recover' | 'shutdown';
  phase: OperationRecord['phase'];
  origin: Command['origin'];
  reason: string;
  drainMs: number;
  resetFailed: boolean;
  readonly resumed: boolean;
  startedWallMs: number;
  phaseWallMs: number;
  phaseAt: number;
  took: Partial<Record<'stopping' | 'proving' | 'draining' | 'starting', number>>;
  seq: number;
  commandId: string | null;
}

export class CoreState {
  readonly members: readonly Member[];
  readonly byType = new Map<string, Member>();
  readonly bug: CoreBug | null;
  /** What every change of state brings with it; move.ts calls it when the change is complete and noted. */
  readonly moved: (core: CoreState, member: Member) => void;

  // The input at hand.
  effects: Effect[] = [];
  at = 0;
  wallMs = 0;
  /** Number of the last record. */
  seq = 0;
  inputSeq = 0;
  /** The record that the next note follows from. */
  cause: number | null = null;
  /** The record that caused the input at hand; null when it is a root (a crash, a command, a verdict). */
  inputCause: number | null = null;
  /** Members that changed since somebody last took them. */
  readonly touched = new Set<Member>();

  // What is under way.
  /** Starts may be permitted. */
  admission = false;
  /** The plan whose window is open. */
  plan: Plan | null = null;
  operation: Operation | null = null;
  /** The last operation that ended in this run of the master. */
  lastOperation: OperationRecord | null = null;
  /** While an operation starts everything: every member before this place was up, or will not come up. */
  doneUpTo = 0;
  readonly waiters = new Set<Waiter>();
  readonly storm: StormBreaker;
  /** Members that need not wait with stopping any longer; stopped once the change at hand is complete. */
  released: Member[] = [];

  // Boot.
  booted = false;
  bootAt = 0;
  /** Members without a first outcome since boot. */
  unsettled = 0;

  // Counters over the fleet.
  /** Members of which a start runs. */
  live = 0;
  /** Wanted members that are neither RUNNING nor COMPLETED. */
  notUp = 0;

  constructor(options: CoreOptions, moved: CoreState['moved']) {
    this.moved = moved;
    this.bug = options.bug ?? null;
    this.storm = new StormBreaker(options.storm ?? STORM_LIMITS);
    this.members = options.fleet.daemons.map(
      (spec, index) => new Member(spec, index, options.priority.get(spec.type) ?? 0),
    );
    for (const member of this.members) this.byType.set(member.type, member);
    for (const member of this.members) {
      for (const edge of member.spec.edges) {
        const on = this.byType.get(edge.on);
        if (on === undefined) throw invariant(`edge of ${member.type} leads to unknown ${edge.on}`);
        member.link(edge, on);
      }
    }
    for (const member of this.members) member.restore(options.keeps?.get(member.type));
    for (const member of this.members) for (const edge of member.needs) edge.judge();
    for (const member of this.members) {
      if (member.countedNotUp) this.notUp++;
    }
  }

  known(type: string): Member {
    const member = this.byType.get(type);
    if (member === undefined) throw invariant(`input for unknown daemon ${type}`, { type });
    return member;
  }

  /** Everything is being stopped, and nothing may start: surviving child processes end too. */
  get fullStop(): boolean {
    return this.operation !== null && this.operation.phase !== 'starting';
  }

  /** This input is the consequence of a note written earlier. */
  follows(seq: number | null): void {
    if (seq === null) return;
    this.inputCause = seq;
  }

  /** @returns the number of the note */
  note(record: JournalNote): number {
    const seq = ++this.seq;
    this.effects.push({ do: 'journal', seq, cause: this.cause, record });
    return seq;
  }

  reply(outcome: CommandOutcome): void {
    this.effects.push({ do: 'reply', outcome });
  }

  arm(timer: string, delayMs: number): void {
    this.effects.push({ do: 'arm-timer', timer, delayMs });
  }

  cancelTimer(timer: string): void {
    this.effects.push({ do: 'cancel-timer', timer });
  }

  setWanted(member: Member, wanted: Member['wanted'], by: string): void {
    member.setWanted(wanted, by);
    this.countNotUp(member);
  }

  countNotUp(member: Member): void {
    const notUp = member.wanted === 'up' && !member.isUp();
    if (notUp === member.countedNotUp) return;
    member.countedNotUp = notUp;
    this.notUp += notUp ? 1 : -1;
  }

  clearCounter(member: Member): void {
    member.restarts = 0;
    this.cancelTimer(`stable:${member.type}`);
    this.touched.add(member);
  }

  /** Notes the persistent part of a member whose state stays as it is. */
  keep(member: Member, message: string): void {
    this.note({ type: 'keep', daemon: member.type, keep: member.note(), message });
    this.touched.add(member);
  }
}

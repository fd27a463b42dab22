/**
 * The core: what should happen next, and why. Ordinary synchronous code without clock, chance, disk or promises; time
 * arrives with every input and decisions leave as data.
 *
 * What it protects: one place decides, so no two parts of the system ever restart the same daemon. Every input carries
 * the generation it speaks of and a stale one is dropped; the same inputs give the same effects, which is what replay and
 * simulation rest on. The cost of an input follows the edges it touches, never the size of the fleet: conditions and stop
 * order are counters kept on the edges (`unmet`, `liveStopping`), not scans.
 *
 * Numbers: every input takes one sequence number, every note it causes the next ones, so a journal that stores them in
 * order has the same numbers, and `cause` links any record to the one that made it happen.
 */
import { invariant } from '../errors.ts';
import { COMMAND_MERGE, type ActVerb } from '../lifecycle/command-merge.ts';
import type { EdgeEvent } from '../lifecycle/edge-rules.ts';
import { boot } from './core/boot.ts';
import { closure, planCloses, requestStops } from './core/cascades.ts';
import { cancelSoft, propagate, softOver, tryStart, withdraw } from './core/conditions.ts';
import { exited, startFailed } from './core/endings.ts';
import { reattached, reattachTooLate, verdict } from './core/evidence.ts';
import { backoffOver, stableLongEnough } from './core/failures.ts';
import { move } from './core/move.ts';
import {
  beginOperation,
  drained,
  fromRecord,
  operationProgress,
  provenEmpty,
  proveAgain,
  refuseForOperation,
  stopBudgetSpent,
  toRecord,
} from './core/operations.ts';
import { ready, startBegun, startTooLate } from './core/starts.ts';
import { CoreState, type CoreOptions, type Waiter } from './core/state.ts';
import { stopDeadline } from './core/stopping.ts';
import { stormCalms } from './core/storms.ts';
import { waitingFor } from './core/waiting-for.ts';
import { PULLED_IN, type Member } from './member.ts';
import type { Command, CommandOutcome, Effect, Input, OperationRecord, WaitingFor } from './types.ts';

export { RESUME_WITHIN_MS } from './core/boot.ts';
export { MERGE_WINDOW_MS } from './core/cascades.ts';
export { STOP_ALL_BUDGET_MS } from './core/operations.ts';
export { CORE_BUGS, type CoreBug, type CoreOptions } from './core/state.ts';

/** A command as its answer names it. */
const inWords = ({ verb, daemons }: Command): string =>
  `${verb === 'start-profile' ? 'start' : verb} ${daemons.join(', ') || 'the whole profile'}`;

const DONE = (id: string, message: string, details?: CommandOutcome['details']): CommandOutcome =>
  details === undefined ? { id, ok: true, code: 'done', message } : { id, ok: true, code: 'done', message, details };

export class Core {
  readonly members: readonly Member[];
  readonly #state: CoreState;

  constructor(options: CoreOptions) {
    this.#state = new CoreState(options, (_state, member) => this.#moved(member));
    this.#state.operation = options.operation == null ? null : fromRecord(options.operation);
    this.members = this.#state.members;
  }

  // ---------------------------------------------------------------------------------------------- what others read

  get(type: string): Member | undefined {
    return this.#state.byType.get(type);
  }

  /** The sequence number the next input should carry when nothing else numbers records. */
  get nextSeq(): number {
    return this.#state.seq + 1;
  }

  /** The record that caused the input handled last; null when it is a root (a crash, a command, a verdict). */
  get inputCause(): number | null {
    return this.#state.inputCause;
  }

  get operation(): OperationRecord | null {
    return this.#state.operation === null ? null : toRecord(this.#state.operation, null, []);
  }

  /** The last operation that ended in this run of the master. */
  get lastOperation(): OperationRecord | null {
    return this.#state.lastOperation;
  }

  get booted(): boolean {
    return this.#state.booted;
  }

  /** Wanted daemons that are neither RUNNING nor COMPLETED. */
  get notUpCount(): number {
    return this.#state.notUp;
  }

  get liveCount(): number {
    return this.#state.live;
  }

  get stormOpen(): boolean {
    return this.#state.storm.isOpen;
  }

  /** A plan is open, or something is stopping, starting or waiting that could go on by itself. */
  get inFlight(): boolean {
    return this.#state.operation !== null || this.#state.plan?.open === true;
  }

  /** Daemons touched since the last call; for the mirror that people look at. */
  takeTouched(): Member[] {
    const touched = [...this.#state.touched];
    this.#state.touched.clear();
    return touched;
  }

  /** What a daemon that does not start is waiting for, down to the leaf. */
  waitingFor(member: Member): WaitingFor[] {
    return waitingFor(this.#state, member);
  }

  /** The hard dependents that go down with `roots`, nearest first; so that `plan` shows what a command would touch. */
  closure(roots: readonly Member[], event: EdgeEvent): Map<Member, 'restart' | 'stop'> {
    return closure(this.#state, roots, event);
  }

  // ---------------------------------------------------------------------------------------------- the one entrance

  /**
   * Handles one input completely.
   * @param seq its number; the notes among the effects carry the numbers after it
   * @returns what to do, in order
   */
  handle(input: Input, seq: number = this.#state.seq + 1): Effect[] {
    this.#state.effects = [];
    this.#state.at = input.at;
    this.#state.wallMs = input.wallMs;
    this.#state.seq = seq;
    this.#state.inputSeq = seq;
    this.#state.inputCause = null;
    this.#state.cause = seq;
    switch (input.kind) {
      case 'boot':
        boot(this.#state);
        break;
      case 'command':
        this.#command(input.command);
        break;
      case 'start-begun':
        startBegun(this.#state, this.#state.known(input.daemon), input.generation);
        break;
      case 'ready':
        ready(this.#state, this.#state.known(input.daemon), input.generation);
        break;
      case 'start-failed':
        startFailed(this.#state, this.#state.known(input.daemon), input.generation, input.failure, input.cause);
        break;
      case 'exited':
        exited(this.#state, this.#state.known(input.daemon), input.generation, input.failure, input.forced);
        break;
      case 'verdict':
        verdict(this.#state, this.#state.known(input.daemon), input.generation, input.verdict, input.message);
        break;
      case 'reattached':
        reattached(this.#state, this.#state.known(input.daemon), input.generation, input.ok, input.message);
        break;
      case 'timer':
        this.#timer(input.timer);
        break;
      case 'proven-empty':
        provenEmpty(this.#state, input.operation, input.left);
        break;
    }
    return this.#state.effects;
  }

  /** What every change of state brings with it. */
  #moved(member: Member): void {
    const { cause } = this.#state;
    this.#state.cause = member.seq;
    propagate(this.#state, member);
    this.#state.cause = cause;
    if (this.#state.waiters.size > 0) this.#checkWaiters();
    if (this.#state.operation?.phase === 'starting') operationProgress(this.#state);
  }

  // ---------------------------------------------------------------------------------------------- commands

  #command(command: Command): void {
    switch (command.verb) {
      case 'recover':
      case 'shutdown':
        beginOperation(this.#state, command);
        return;
      case 'drill-begin':
      case 'drill-heal':
        this.#drill(command);
        return;
      case 'start-profile':
        this.#startProfile(command);
        return;
      case 'start':
      case 'stop':
      case 'restart':
      case 'reset':
        this.#act(command, command.verb);
        return;
    }
  }

  #targets(command: Command): Member[] | null {
    const unknown = command.daemons.filter((type) => !this.#state.byType.has(type));
    if (unknown.length > 0) {
      this.#state.reply({
        id: command.id,
        ok: false,
        code: 'unknown-daemon',
        message: `cannot ${command.verb} ${unknown.join(', ')}: no such daemon in this fleet`,
        remedy: '"master_loop status" lists the daemons',
        details: { unknown },
      });
      return null;
    }
    return command.daemons.map((type) => this.#state.known(type));
  }

  #act(command: Command, verb: ActVerb): void {
    const targets = this.#targets(command);
    if (targets === null) return;
    if (this.#state.operation?.verb === 'shutdown') {
      this.#state.reply({
        id: command.id,
        ok: false,
        code: 'refused',
        message: `cannot ${verb} ${command.daemons.join(', ')}: the loop is shutting down (${this.#state.operation.reason})`,
        remedy: 'start the loop again first',
      });
      return;
    }
    const notes: string[] = [];
    const beyond = new Map<Member, number>();
    const stopping: Member[] = [];
    for (const member of targets) {
      if (verb === 'restart' && command.origin === 'daemon') {
        this.#restartOnReport(member, command.reason);
        continue;
      }
      const action = COMMAND_MERGE[verb][member.state];
      const clears = verb !== 'stop' && member.restarts > 0;
      if (clears) notes.push(`${member.type}: restart counter cleared (was ${member.restarts})`);
      switch (action) {
        case 'want':
          this.#want(member, command);
          break;
        case 'retry-now':
          this.#state.clearCounter(member);
          this.#state.cancelTimer(`backoff:${member.type}`);
          withdraw(this.#state, member);
          move(this.#state, member, 'retry-now', 'operator', `${verb} by ${command.origin}`);
          tryStart(this.#state, member);
          break;
        case 'join':
        case 'clear':
          this.#state.clearCounter(member);
          if (verb === 'start') this.#pullIn(member, command);
          if (verb === 'start') this.#comeBack(member);
          this.#state.keep(member, `${verb} by ${command.origin}`);
          tryStart(this.#state, member);
          break;
        case 'after-stop':
          this.#state.setWanted(member, 'up', 'operator');
          this.#state.clearCounter(member);
          member.stopWish = {
            graceful: true,
            then: 'wait',
            why: 'operator',
            message: `${verb} by ${command.origin}`,
            cause: this.#state.cause,
          };
          this.#state.keep(member, `${verb} by ${command.origin}: starts again once it is gone`);
          break;
        case 'stop':
          this.#state.setWanted(member, 'down', 'operator');
          this.#state.keep(member, `stop by ${command.origin}: ${command.reason}`);
          stopping.push(member);
          break;
        case 'unwant':
          this.#state.setWanted(member, 'down', 'operator');
          this.#state.cancelTimer(`backoff:${member.type}`);
          cancelSoft(this.#state, member);
          withdraw(this.#state, member);
          move(this.#state, member, 'unwant', 'operator', `stop by ${command.origin}`);
          stopping.push(member); // nothing of it runs, but those that stayed up without it go down now
          break;
        case 'stay-down':
          this.#state.setWanted(member, 'down', 'operator');
          member.stopWish = {
            graceful: true,
            then: 'down',
            why: 'operator',
            message: `stop by ${command.origin}`,
            cause: this.#state.cause,
          };
          this.#state.keep(member, `stop by ${command.origin}: stays down`);
          stopping.push(member);
          break;
        case 'cycle':
          this.#state.clearCounter(member);
          if (member.wanted === 'down') this.#comeBack(member);
          this.#state.keep(member, `restart by ${command.origin}: ${command.reason}`);
          beyond.set(member, member.generation);
          requestStops(this.#state, [member], 'lost', {
            graceful: true,
            then: 'wait',
            why: 'operator',
            message: `restart by ${command.origin}`,
          });
          break;
        case 'nothing':
          if (member.wantedBy === 'operator') break;
          this.#state.setWanted(member, 'down', 'operator'); // or another start would pull it in
          this.#state.keep(member, `stop by ${command.origin}: ${command.reason}`);
          break;
      }
    }
    if (stopping.length > 0) {
      requestStops(this.#state, stopping, 'stopped-by-operator', {
        graceful: true,
        then: 'down',
        why: 'operator',
        message: `stop by ${command.origin}`,
      });
    }
    const goal = verb === 'stop' ? 'down' : verb === 'reset' ? 'nothing' : 'up';
    this.#await(command, goal, targets, notes, beyond);
  }

  /** A stop of it is under way, and now it is wanted again: it stops all the same, and comes back. */
  #comeBack(member: Member): void {
    if (member.stopWish === null) return;
    this.#state.setWanted(member, 'up', 'operator');
    member.stopWish = { ...member.stopWish, then: 'wait' };
  }

  #want(member: Member, command: Command): void {
    this.#state.setWanted(member, 'up', 'operator');
    this.#state.clearCounter(member);
    this.#pullIn(member, command);
    move(this.#state, member, 'want', 'operator', `${command.verb} by ${command.origin}`);
    tryStart(this.#state, member);
  }

  /** Hard dependencies that nobody ever wanted come along; those an operator stopped stay stopped and are named. */
  #pullIn(member: Member, command: Command): void {
    for (const edge of member.needs) {
      const on = edge.on;
      if (edge.kind !== 'hard' || on.wanted === 'up' || on.wantedBy === 'operator') continue;
      this.#state.setWanted(on, 'up', `${PULLED_IN} ${member.type}`);
      this.#pullIn(on, command);
      if (on.state === 'STOPPED') move(this.#state, on, 'want', 'operator', on.wantedBy);
      tryStart(this.#state, on);
    }
  }

  /** A daemon asked for it: that is evidence of sickness, so it is charged like any other failure. */
  #restartOnReport(member: Member, reason: string): void {
    if (member.state !== 'RUNNING' || member.stopWish !== null) return;
    requestStops(this.#state, [member], 'lost', {
      graceful: true,
      then: 'failure',
      why: member.drill ? 'drill' : 'unhealthy',
      message: reason,
    });
  }

  #startProfile(command: Command): void {
    if (this.#state.operation !== null) {
      refuseForOperation(this.#state, this.#state.operation, command);
      return;
    }
    const targets = command.daemons.length > 0 ? this.#targets(command) : this.members.filter((m) => m.spec.inProfile);
    if (targets === null) return;
    const notes: string[] = [];
    for (const member of targets) {
      if (member.wanted === 'down' && member.wantedBy === 'operator')
        notes.push(`operator stop of ${member.type} lifted`);
      if (member.state === 'FAILED') notes.push(`${member.type} was FAILED and is reset`);
      const action = COMMAND_MERGE.start[member.state];
      this.#state.setWanted(member, 'up', member.spec.inProfile ? 'profile' : 'operator');
      if (action === 'want' && member.state !== 'COMPLETED') {
        this.#state.clearCounter(member);
        move(this.#state, member, 'want', 'operator', `start of the profile by ${command.origin}`);
        tryStart(this.#state, member);
      } else {
        if (action === 'after-stop' && member.stopWish !== null) member.stopWish = { ...member.stopWish, then: 'wait' };
        this.#state.keep(member, 'start of the profile');
      }
    }
    this.#await(command, 'up', targets, notes, new Map());
  }

  #drill(command: Command): void {
    const targets = this.#targets(command);
    if (targets === null) return;
    for (const member of targets) {
      member.drill = command.verb === 'drill-begin';
      if (!member.drill) member.drillFailures = 0;
      this.#state.touched.add(member);
    }
    this.#state.reply(DONE(command.id, `${command.verb} ${command.daemons.join(', ')}`));
  }

  // ---------------------------------------------------------------------------------------------- waiting commands

  #await(
    command: Command,
    goal: Waiter['goal'],
    targets: readonly Member[],
    notes: string[],
    beyond: ReadonlyMap<Member, number>,
  ): void {
    const waiter: Waiter = { command, open: new Set(targets), goal, notes, failed: [], beyond };
    if (command.waitMs <= 0 || goal === 'nothing') {
      const wait = goal === 'nothing' ? 'done' : 'accepted';
      this.#state.reply({
        id: command.id,
        ok: true,
        code: wait,
        message: [`${inWords(command)}: ${wait}`, ...notes].join('; '),
        details: { notes },
      });
      return;
    }
    this.#state.waiters.add(waiter);
    this.#checkWaiter(waiter);
    if (this.#state.waiters.has(waiter)) this.#state.arm(`wait:${command.id}`, command.waitMs);
  }

  #checkWaiter(waiter: Waiter): void {
    for (const member of waiter.open) {
      const end = this.#waitEnds(waiter, member);
      if (end === null) continue;
      waiter.open.delete(member);
      if (end !== '') waiter.failed.push(end);
    }
    if (waiter.open.size > 0) return;
    this.#state.waiters.delete(waiter);
    this.#state.cancelTimer(`wait:${waiter.command.id}`);
    const { command, notes, failed } = waiter;
    const what = inWords(command);
    this.#state.reply(
      failed.length === 0
        ? DONE(command.id, [`${what}: done`, ...notes].join('; '), { notes })
        : {
            id: command.id,
            ok: false,
            code: failed.some((text) => text.startsWith('impossible')) ? 'impossible' : 'failed',
            message: `cannot finish ${what}: ${failed.join('; ')}`,
            remedy: `"master_loop why ${command.daemons[0] ?? 'DAEMON'}" shows the cause`,
            details: { notes, failed },
          },
    );
  }

  /** null: still under way; '': reached; otherwise why it never will. */
  #waitEnds(waiter: Waiter, member: Member): string | null {
    if (waiter.goal === 'down') {
      if (member.state === 'STOPPED') return '';
      return member.wanted === 'up' && member.stopWish?.then !== 'down' ? `${member.type} was started again` : null;
    }
    if (member.isUp() && member.stopWish === null) {
      const beyond = waiter.beyond.get(member);
      return beyond === undefined || member.generation > beyond ? '' : null;
    }
    if (member.state === 'FAILED') return `${member.type} is FAILED: ${member.lastError?.message ?? member.message}`;
    if (member.state === 'STOPPED' || (member.wanted === 'down' && waiter.goal === 'up'))
      return `${member.type} was stopped by another command`;
    if (member.state === 'WAITING' && this.#state.operation === null) {
      const stuck = waitingFor(this.#state, member).find((wait) => wait.impossible);
      if (stuck !== undefined) return `impossible: ${stuck.message}${stuck.remedy === null ? '' : `; ${stuck.remedy}`}`;
    }
    return null;
  }

  #checkWaiters(): void {
    for (const waiter of this.#state.waiters) this.#checkWaiter(waiter);
  }

  // ---------------------------------------------------------------------------------------------- timers

  #timer(timer: string): void {
    const split = timer.indexOf(':');
    const kind = split < 0 ? timer : timer.slice(0, split);
    const rest = split < 0 ? '' : timer.slice(split + 1);
    switch (kind) {
      case 'backoff':
        backoffOver(this.#state, this.#state.known(rest));
        return;
      case 'start':
        startTooLate(this.#state, this.#state.known(rest));
        return;
      case 'stop':
        stopDeadline(this.#state, this.#state.known(rest));
        return;
      case 'stable':
        stableLongEnough(this.#state, this.#state.known(rest));
        return;
      case 'soft':
        this.#state.follows(this.#state.known(rest).seq);
        softOver(this.#state, this.#state.known(rest));
        return;
      case 'reattach':
        reattachTooLate(this.#state, this.#state.known(rest));
        return;
      case 'plan':
        this.#state.inputCause = Number(rest);
        this.#state.cause = Number(rest);
        planCloses(this.#state, Number(rest));
        return;
      case 'stop-all':
        stopBudgetSpent(this.#state);
        return;
      case 'drain':
        drained(this.#state, rest);
        return;
      case 'prove':
        proveAgain(this.#state, rest);
        return;
      case 'storm':
        stormCalms(this.#state);
        return;
      case 'wait': {
        for (const waiter of this.#state.waiters) {
          if (waiter.command.id !== rest) continue;
          this.#state.waiters.delete(waiter);
          const open = [...waiter.open].map((member) => `${member.type} is ${member.state}`);
          this.#state.reply({
            id: rest,
            ok: false,
            code: 'timeout',
            message: `cannot wait longer for ${waiter.command.verb}: after ${waiter.command.waitMs / 1000} s ${open.join(', ')}`,
            remedy: 'it goes on by itself; "master_loop why DAEMON" shows what it waits for',
            details: { notes: waiter.notes },
          });
        }
        return;
      }
      default:
        throw invariant(`unknown timer ${timer}`);
    }
  }
}

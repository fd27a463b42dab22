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
import { decideRestart } from '../lifecycle/restart-policy.ts';
import type { Cause } from '../lifecycle/states.ts';
import { closure, lose, planCloses, requestStops } from './core/cascades.ts';
import { cancelSoft, propagate, softOver, tryStart, withdraw } from './core/conditions.ts';
import { move } from './core/move.ts';
import {
  beginOperation,
  drained,
  enterPhase,
  fromRecord,
  operationProgress,
  provenEmpty,
  proveAgain,
  refuseForOperation,
  stopBudgetSpent,
  toRecord,
} from './core/operations.ts';
import { endReattach, REATTACH_MS } from './core/reattaching.ts';
import { CoreState, type CoreOptions, type Waiter } from './core/state.ts';
import { clearLiveTimers, dropWish, killNow, stopDeadline, stopReleased } from './core/stopping.ts';
import { waitingFor } from './core/waiting-for.ts';
import { PULLED_IN, type Member, type StopWish } from './member.ts';
import type { Command, CommandOutcome, Effect, FailureReport, Input, OperationRecord, WaitingFor } from './types.ts';

export { MERGE_WINDOW_MS } from './core/cascades.ts';
export { STOP_ALL_BUDGET_MS } from './core/operations.ts';
export { CORE_BUGS, type CoreBug, type CoreOptions } from './core/state.ts';

/** A recovery older than this is not continued after a crash of the master. */
export const RESUME_WITHIN_MS = 3_600_000;
/** Failures this soon after boot are start-up noise to the storm breaker, unless every daemon has settled before. */
const BOOT_EXEMPT_MS = 180_000;
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
        this.#boot();
        break;
      case 'command':
        this.#command(input.command);
        break;
      case 'start-begun':
        this.#startBegun(this.#state.known(input.daemon), input.generation);
        break;
      case 'ready':
        this.#ready(this.#state.known(input.daemon), input.generation);
        break;
      case 'start-failed':
        this.#startFailed(this.#state.known(input.daemon), input.generation, input.failure, input.cause);
        break;
      case 'exited':
        this.#exited(this.#state.known(input.daemon), input.generation, input.failure, input.forced);
        break;
      case 'verdict':
        this.#verdict(this.#state.known(input.daemon), input.generation, input.verdict, input.message);
        break;
      case 'reattached':
        this.#reattached(this.#state.known(input.daemon), input.generation, input.ok, input.message);
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

  // ---------------------------------------------------------------------------------------------- boot

  #boot(): void {
    if (this.#state.admission) return;
    this.#state.bootAt = this.#state.at;
    for (const member of this.members) {
      member.seq = this.#state.inputSeq;
      member.sinceWallMs = this.#state.wallMs;
      this.#state.touched.add(member);
    }
    const interrupted = this.#state.operation;
    if (interrupted !== null) {
      const young = this.#state.wallMs - interrupted.startedWallMs < RESUME_WITHIN_MS;
      if (interrupted.verb === 'recover' && interrupted.phase !== 'done' && young) {
        interrupted.resumed = true;
        interrupted.seq = this.#state.inputSeq;
        this.#state.booted = true;
        enterPhase(this.#state, interrupted.phase === 'starting' ? 'starting' : 'proving');
        return;
      }
      this.#state.operation = null;
    }
    this.#state.admission = true;
    for (const member of this.members) if (member.state === 'WAITING') this.#state.unsettled++;
    this.#state.booted = this.#state.unsettled === 0;
    for (const member of this.members) tryStart(this.#state, member);
  }

  /** One member has come to its first outcome since boot. */
  #settle(member: Member): void {
    if (this.#state.booted || member.settled) return;
    member.settled = true;
    this.#state.unsettled--;
    if (this.#state.unsettled <= 0) this.#state.booted = true;
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

  // ---------------------------------------------------------------------------------------------- starting

  #startBegun(member: Member, generation: number): void {
    if (!member.permit || generation !== member.generation) {
      this.#state.effects.push({ do: 'release-slot', daemon: member.type, generation });
      return;
    }
    this.#state.follows(member.seq);
    member.permit = false;
    member.backoffOver = false;
    const restarted = member.downAt !== null || member.state === 'RESTARTING';
    move(
      this.#state,
      member,
      'start-begun',
      member.startWhy,
      restarted ? `start ${generation}: again` : `start ${generation}`,
    );
    member.startedWallMs = this.#state.wallMs;
    member.startWhy = null;
    this.#state.arm(`start:${member.type}`, member.spec.startMs);
    this.#state.effects.push({ do: 'launch', daemon: member.type, generation });
  }

  #ready(member: Member, generation: number): void {
    if (generation !== member.generation) return;
    const { oneShot } = member.spec;
    if (oneShot && member.stopWish !== null && this.#endedInStop(member, member.stopWish)) return;
    if (member.state !== 'STARTING' || member.stopWish !== null) return;
    this.#state.follows(member.seq);
    this.#state.cancelTimer(`start:${member.type}`);
    member.readyAt = this.#state.at;
    member.readyWallMs = this.#state.wallMs;
    member.streak = 0;
    if (member.downAt !== null) {
      member.lastRecoveryMs = this.#state.at - member.downAt;
      member.downAt = null;
    }
    for (const edge of member.needs) edge.lost = false;
    if (this.#state.bug === 'ready-clears-counter') member.restarts = 0;
    move(this.#state, member, oneShot ? 'completed' : 'ready', null, oneShot ? 'completed' : 'ready');
    if (!oneShot && member.restarts > 0) this.#state.arm(`stable:${member.type}`, member.spec.restart.stableMs);
    this.#settle(member);
    if (oneShot) {
      stopReleased(this.#state);
      operationProgress(this.#state);
    }
  }

  /**
   * A one-shot task is gone when it says that it is ready, so for one that was to stop this is the proof. When it was to
   * stop only because of others, it has done its job all the same.
   * @returns false when it counts as completed
   */
  #endedInStop(member: Member, wish: StopWish): boolean {
    if (member.state === 'STOPPING') {
      this.#stopped(member, null);
      return true;
    }
    if (member.state !== 'STARTING') return true;
    if (member.wanted === 'down' || (wish.why === 'operator' && this.#state.operation === null)) {
      this.#state.follows(member.seq);
      this.#stoppedEarly(member, null);
      return true;
    }
    dropWish(this.#state, member);
    return false;
  }

  // ---------------------------------------------------------------------------------------------- failing

  #startFailed(
    member: Member,
    generation: number,
    failure: FailureReport,
    why: 'start-failed' | 'import-failed' | 'config',
  ): void {
    if (generation !== member.generation || (member.state !== 'STARTING' && member.state !== 'STOPPING')) return;
    if (member.state === 'STOPPING') {
      this.#stopped(member, failure);
      return;
    }
    this.#failed(member, why, failure, why === 'start-failed');
  }

  #exited(member: Member, generation: number, failure: FailureReport | null, forced: boolean): void {
    if (generation !== member.generation && this.#state.bug !== 'forget-a-generation') return;
    if (member.state === 'STOPPING') {
      this.#stopped(member, failure);
      return;
    }
    if (member.state !== 'STARTING' && member.state !== 'RUNNING') return;
    if (member.stopWish !== null && member.stopWish.then !== 'failure') {
      this.#stoppedEarly(member, failure);
      return;
    }
    this.#failed(
      member,
      'exit',
      failure ?? { message: forced ? 'killed' : 'ended without being asked', code: 'EXIT' },
      true,
    );
  }

  /** It is gone and was not asked to go. */
  #failed(member: Member, why: Cause, failure: FailureReport, retryable: boolean): void {
    const cause: Cause = member.drill ? 'drill' : why;
    this.#recordError(member, cause, failure);
    clearLiveTimers(this.#state, member);
    if (member.downAt === null) member.downAt = this.#state.at;
    this.#afterFailure(member, cause, failure.message, retryable, 'exited');
  }

  #recordError(member: Member, why: Cause, failure: FailureReport): void {
    member.lastError = { message: failure.message, code: failure.code, why, wallMs: this.#state.wallMs };
    member.everFailed = true;
    member.startWhy = why;
  }

  /** Decides what follows a failure, moves, cascades. `from` tells which rows of the table apply. */
  #afterFailure(member: Member, why: Cause, message: string, retryable: boolean, from: 'exited' | 'stopped'): void {
    dropWish(this.#state, member);
    const secondary = member.unmetHard > 0;
    const drill = why === 'drill'; // what was going on before the drill began is its own
    const charged = this.#state.bug === 'skip-a-charge' && member.restarts === 2 ? 1 : member.restarts;
    const decision = decideRestart(member.spec.restart, {
      charged,
      secondary,
      drill,
      retryable,
      autoRestart: member.spec.autoRestart,
    });
    member.rule = decision.rule;
    this.#settle(member);
    if (decision.kind === 'hold') {
      member.secondaryFailures++;
      move(this.#state, member, from === 'exited' ? 'exited-secondary' : 'stopped-wanted', why, message);
      stopReleased(this.#state);
      this.#lost(member);
      tryStart(this.#state, member);
      return;
    }
    if (decision.kind === 'give-up') {
      move(
        this.#state,
        member,
        from === 'exited' ? 'exited-last' : 'stopped-last',
        why,
        `${message} (${decision.rule})`,
      );
      stopReleased(this.#state);
      this.#lost(member);
      return;
    }
    if (decision.charge) {
      member.restarts++;
      member.countRestart(this.#state.wallMs);
    } else member.drillFailures++; // counted apart: a rehearsal is no restart that anybody should be woken for
    const delayMs =
      this.#state.bug === 'double-backoff-early' && member.restarts === 3 ? decision.delayMs / 2 : decision.delayMs;
    member.nextAttemptAt = this.#state.at + delayMs;
    member.nextAttemptWallMs = this.#state.wallMs + delayMs;
    move(this.#state, member, from === 'exited' ? 'exited' : 'stopped-failure', why, `${message} (${decision.rule})`);
    stopReleased(this.#state);
    this.#lost(member);
    const pastBoot = this.#state.booted || this.#state.at - this.#state.bootAt > BOOT_EXEMPT_MS;
    if (!drill && !member.spec.critical && pastBoot && this.#state.storm.record(member.type, this.#state.at))
      this.#stormOpened();
    this.#state.arm(`backoff:${member.type}`, delayMs);
  }

  #lost(member: Member): void {
    lose(this.#state, member);
    operationProgress(this.#state);
  }

  #backoffOver(member: Member): void {
    if (member.state !== 'RESTARTING') return;
    this.#state.follows(member.seq);
    member.nextAttemptAt = null;
    member.nextAttemptWallMs = null;
    member.backoffOver = true;
    tryStart(this.#state, member);
    if (member.permit || member.heldByStorm) return;
    member.backoffOver = false;
    cancelSoft(this.#state, member);
    move(this.#state, member, 'held', member.startWhy, 'its delay is over, but a condition is missing');
    tryStart(this.#state, member);
  }

  // ---------------------------------------------------------------------------------------------- health

  #verdict(
    member: Member,
    generation: number,
    verdict: 'healthy' | 'degraded' | 'unhealthy' | 'late' | 'missed' | 'unknown',
    message: string,
  ): void {
    if (generation !== member.generation || member.state !== 'RUNNING' || member.stopWish !== null) return;
    if (verdict === 'unknown') return;
    this.#state.touched.add(member);
    if (verdict === 'healthy' || verdict === 'degraded' || verdict === 'late') {
      member.streak = 0;
      return;
    }
    member.streak++;
    member.healthFailures++;
    if (member.streak < member.spec.health.failures) return;
    const why: Cause = member.drill ? 'drill' : verdict === 'missed' ? 'hung' : 'unhealthy';
    const text = `${member.streak} failed health checks in a row: ${message}`;
    member.rule = `${member.spec.health.failures} failed health checks in a row restart a daemon`;
    if (verdict === 'missed') {
      killNow(this.#state, member, 'failure', why, text);
      return;
    }
    requestStops(this.#state, [member], 'lost', { graceful: true, then: 'failure', why, message: text });
  }

  #reattached(member: Member, generation: number, ok: boolean, message: string): void {
    if (generation !== member.generation || !member.reattaching) return;
    endReattach(this.#state, member);
    this.#state.follows(member.reattachSeq);
    if (ok) {
      for (const edge of member.needs) if (edge.on.state === 'RUNNING') edge.lost = false;
      this.#state.touched.add(member);
      return;
    }
    this.#upgradeReattach(member, message);
  }

  /** It could not prove its subscriptions in time: a restart does what re-attaching could not. */
  #upgradeReattach(member: Member, message: string): void {
    if (member.state !== 'RUNNING' || member.stopWish !== null) return;
    member.rule = 're-attaching failed within its deadline: upgraded to a restart';
    member.countRestart(this.#state.wallMs);
    member.startWhy = 'dependency-lost';
    requestStops(this.#state, [member], 'lost', {
      graceful: true,
      then: 'wait',
      why: 'dependency-lost',
      message: `re-attach failed: ${message}`,
    });
  }

  // ---------------------------------------------------------------------------------------------- stopping

  /** Proof that a start which was asked to stop is gone. */
  #stopped(member: Member, failure: FailureReport | null): void {
    this.#state.follows(member.seq);
    this.#state.cancelTimer(`stop:${member.type}`);
    const wish = member.stopWish;
    if (member.wanted === 'down') {
      dropWish(this.#state, member);
      member.downAt = null;
      move(this.#state, member, 'stopped', wish?.why ?? 'operator', failure?.message ?? 'stopped');
      stopReleased(this.#state);
      operationProgress(this.#state);
      return;
    }
    if (wish?.then === 'failure' && this.#state.admission) {
      this.#recordError(member, wish.why, { message: wish.message, code: wish.why.toUpperCase() });
      this.#afterFailure(member, wish.why, wish.message, true, 'stopped');
      operationProgress(this.#state);
      return;
    }
    this.#stoppedEarly(member, failure);
  }

  /** It is gone, was to go anyway, and is wanted again (or not): no charge. */
  #stoppedEarly(member: Member, failure: FailureReport | null): void {
    const wish = member.stopWish;
    clearLiveTimers(this.#state, member);
    dropWish(this.#state, member);
    if (member.wanted === 'down' && member.state !== 'STOPPING')
      move(this.#state, member, 'stop', wish?.why ?? 'operator', wish?.message ?? 'stop');
    if (member.wanted === 'down')
      move(this.#state, member, 'stopped', wish?.why ?? null, failure?.message ?? 'stopped');
    else move(this.#state, member, 'stopped-wanted', wish?.why ?? null, failure?.message ?? 'stopped; wanted again');
    if (member.startWhy === null && wish !== null) member.startWhy = wish.why;
    stopReleased(this.#state);
    // What stops on its own (start-time-out, hang) takes its dependents along now; a planned stop already has.
    tryStart(this.#state, member);
    operationProgress(this.#state);
  }

  // ---------------------------------------------------------------------------------------------- conditions

  // ---------------------------------------------------------------------------------------------- full recovery

  // ---------------------------------------------------------------------------------------------- storms

  #stormOpened(): void {
    const root = this.#stormRoot();
    this.#state.effects.push({
      do: 'alert',
      alert: {
        name: 'storm',
        daemon: root,
        message: `restart storm: ${this.#state.storm.failing(this.#state.at).size} daemons keep failing; restarts of non-critical daemons are held. Likely root: ${root}`,
        resolved: false,
      },
    });
    this.#state.arm('storm', this.#state.storm.tryClose(this.#state.at) ?? 0);
  }

  /** The daemon that most of the failures hang from: a failing one, or something they depend on that is not up. */
  #stormRoot(): string {
    const failing = this.#state.storm.failing(this.#state.at);
    const score = new Map<Member, number>();
    for (const [type, count] of failing) {
      const seen = new Set<Member>([this.#state.known(type)]);
      for (const member of seen) {
        if (failing.has(member.type) || !member.isUp()) score.set(member, (score.get(member) ?? 0) + count);
        for (const edge of member.needs) if (edge.kind === 'hard') seen.add(edge.on);
      }
    }
    let best: Member | null = null;
    for (const [member, value] of score) {
      const top: number = best === null ? -1 : (score.get(best) ?? 0);
      if (value > top || (value === top && best !== null && dependsOn(best, member))) best = member;
    }
    return best?.type ?? 'unknown';
  }

  #stormTimer(): void {
    const left = this.#state.storm.tryClose(this.#state.at);
    if (left === null) return;
    if (left > 0) {
      this.#state.arm('storm', left);
      return;
    }
    this.#state.effects.push({
      do: 'alert',
      alert: { name: 'storm', daemon: '', message: 'the restart storm is over; held restarts go on', resolved: true },
    });
    for (const member of this.members) {
      if (!member.heldByStorm) continue;
      member.heldByStorm = false;
      tryStart(this.#state, member);
    }
  }

  // ---------------------------------------------------------------------------------------------- timers

  #timer(timer: string): void {
    const split = timer.indexOf(':');
    const kind = split < 0 ? timer : timer.slice(0, split);
    const rest = split < 0 ? '' : timer.slice(split + 1);
    switch (kind) {
      case 'backoff':
        this.#backoffOver(this.#state.known(rest));
        return;
      case 'start': {
        const member = this.#state.known(rest);
        if (member.state !== 'STARTING' || member.stopWish !== null) return;
        this.#state.follows(member.seq);
        const seconds = member.spec.startMs / 1000;
        killNow(
          this.#state,
          member,
          'failure',
          member.drill ? 'drill' : 'start-timeout',
          `not ready within ${seconds} s`,
        );
        return;
      }
      case 'stop':
        stopDeadline(this.#state, this.#state.known(rest));
        return;
      case 'stable': {
        const member = this.#state.known(rest);
        if (member.state !== 'RUNNING' || member.restarts === 0) return;
        this.#state.follows(member.seq);
        member.restarts = 0;
        this.#state.keep(member, `restart counter cleared: RUNNING for ${member.spec.restart.stableMs / 1000} s`);
        return;
      }
      case 'soft':
        this.#state.follows(this.#state.known(rest).seq);
        softOver(this.#state, this.#state.known(rest));
        return;
      case 'reattach': {
        const member = this.#state.known(rest);
        if (!member.reattaching) return;
        member.reattaching = false;
        this.#state.follows(member.reattachSeq);
        this.#upgradeReattach(member, `no proof within ${REATTACH_MS / 1000} s`);
        return;
      }
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
        this.#stormTimer();
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

  // ---------------------------------------------------------------------------------------------- the one setter
}

const dependsOn = (from: Member, on: Member): boolean => {
  const seen = new Set<Member>([from]);
  for (const member of seen) {
    if (member === on) return true;
    for (const edge of member.needs) if (edge.kind === 'hard') seen.add(edge.on);
  }
  return false;
};

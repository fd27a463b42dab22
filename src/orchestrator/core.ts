/**
 * The core: what should happen next, and why. Ordinary synchronous code without clock, chance, disk or promises; time
 * arrives with every input and decisions leave as data. This file is its one entrance and what others may read; what it
 * holds is in core/state.ts, and each chapter of what it decides is a file beside that (docs/architecture.md lists them).
 *
 * What it protects: one place decides, so no two parts of the system ever restart the same daemon. Every input carries
 * the generation it speaks of and a stale one is dropped; the same inputs give the same effects, which is what replay and
 * simulation rest on. The cost of an input follows the edges it touches, never the size of the fleet: conditions and stop
 * order are counters kept on the edges (`unmetHard`, `liveStopping`), not scans.
 *
 * Numbers: every input takes one sequence number, every note it causes the next ones, so a journal that stores them in
 * order has the same numbers, and `cause` links any record to the one that made it happen.
 */
import { invariant } from '../errors.ts';
import type { EdgeEvent } from '../lifecycle/edge-rules.ts';
import { boot } from './core/boot.ts';
import { closure, planCloses } from './core/cascades.ts';
import { execute } from './core/commands.ts';
import { propagate, softOver } from './core/conditions.ts';
import { exited, startFailed } from './core/endings.ts';
import { reattached, reattachTooLate, verdict } from './core/evidence.ts';
import { backoffOver, stableLongEnough } from './core/failures.ts';
import {
  drained,
  fromRecord,
  operationProgress,
  provenEmpty,
  proveAgain,
  stopBudgetSpent,
  toRecord,
} from './core/operations.ts';
import { ready, startBegun, startTooLate } from './core/starts.ts';
import { CoreState, type CoreOptions } from './core/state.ts';
import { stopDeadline } from './core/stopping.ts';
import { stormCalms } from './core/storms.ts';
import { checkWaiters, waitedTooLong } from './core/waiters.ts';
import { waitingFor } from './core/waiting-for.ts';
import type { Member } from './member.ts';
import type { Effect, Input, OperationRecord, WaitingFor } from './types.ts';

export { RESUME_WITHIN_MS } from './core/boot.ts';
export { MERGE_WINDOW_MS } from './core/cascades.ts';
export { STOP_ALL_BUDGET_MS } from './core/operations.ts';
export { CORE_BUGS, type CoreBug, type CoreOptions } from './core/state.ts';

export class Core {
  readonly members: readonly Member[];
  readonly #state: CoreState;

  constructor(options: CoreOptions) {
    this.#state = new CoreState(options, moved);
    this.#state.operation = options.operation == null ? null : fromRecord(options.operation);
    this.members = this.#state.members;
  }

  /**
   * Handles one input completely.
   * @param seq its number; the notes among the effects carry the numbers after it
   * @returns what to do, in order
   */
  handle(input: Input, seq: number = this.#state.seq + 1): Effect[] {
    const core = this.#state;
    core.effects = [];
    core.at = input.at;
    core.wallMs = input.wallMs;
    core.seq = seq;
    core.inputSeq = seq;
    core.inputCause = null;
    core.cause = seq;
    switch (input.kind) {
      case 'boot':
        boot(core);
        break;
      case 'command':
        execute(core, input.command);
        break;
      case 'start-begun':
        startBegun(core, core.known(input.daemon), input.generation);
        break;
      case 'ready':
        ready(core, core.known(input.daemon), input.generation);
        break;
      case 'start-failed':
        startFailed(core, core.known(input.daemon), input.generation, input.failure, input.cause);
        break;
      case 'exited':
        exited(core, core.known(input.daemon), input.generation, input.failure, input.forced);
        break;
      case 'verdict':
        verdict(core, core.known(input.daemon), input.generation, input.verdict, input.message);
        break;
      case 'reattached':
        reattached(core, core.known(input.daemon), input.generation, input.ok, input.message);
        break;
      case 'timer':
        timerFired(core, input.timer);
        break;
      case 'proven-empty':
        provenEmpty(core, input.operation, input.left);
        break;
    }
    return core.effects;
  }

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
}

/** What every change of state brings with it: its dependents, the commands that wait, the operation that starts the fleet. */
const moved = (core: CoreState, member: Member): void => {
  const { cause } = core;
  core.cause = member.seq;
  propagate(core, member);
  core.cause = cause;
  if (core.waiters.size > 0) checkWaiters(core);
  if (core.operation?.phase === 'starting') operationProgress(core);
};

/** A timer is named by what it is for and whom it concerns: a daemon, a plan, an operation or a command. */
const timerFired = (core: CoreState, timer: string): void => {
  const split = timer.indexOf(':');
  const kind = split < 0 ? timer : timer.slice(0, split);
  const whom = split < 0 ? '' : timer.slice(split + 1);
  switch (kind) {
    case 'start':
      startTooLate(core, core.known(whom));
      return;
    case 'stop':
      stopDeadline(core, core.known(whom));
      return;
    case 'backoff':
      backoffOver(core, core.known(whom));
      return;
    case 'stable':
      stableLongEnough(core, core.known(whom));
      return;
    case 'soft':
      softOver(core, core.known(whom));
      return;
    case 'reattach':
      reattachTooLate(core, core.known(whom));
      return;
    case 'plan':
      planCloses(core, Number(whom));
      return;
    case 'stop-all':
      stopBudgetSpent(core);
      return;
    case 'drain':
      drained(core, whom);
      return;
    case 'prove':
      proveAgain(core, whom);
      return;
    case 'storm':
      stormCalms(core);
      return;
    case 'wait':
      waitedTooLong(core, whom);
      return;
    default:
      throw invariant(`unknown timer ${timer}`);
  }
};

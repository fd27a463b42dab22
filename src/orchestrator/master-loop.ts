/**
 * The master loop: the edge where decisions become effects.
 *
 * What is told here (commands, exits, readiness, timers) and the stream of verdicts are merged and go through one
 * first-in-first-out queue into the core; what the core returns is performed, and the outcomes come back as inputs. An
 * input is never handled inside another: a Subject that is fed by its own subscriber nests, and then the second input sees
 * half of the first one's effects. A stream that can fail is caught before the merge, because one error would end the
 * merged stream without a word; it is begun again, since a fleet whose health nobody watches must not look well. A throw
 * in the core is fatal: the state can no longer be trusted, so nothing more is decided; children are left running for the
 * next start to adopt or end.
 *
 * The journal is written once per turn of the event loop, and made durable before a spawn, a kill and the answer to a
 * command. What happens in between dies with the process, so nobody can have seen it.
 */
import { EMPTY, map, merge, retry, Subject, timer, type Observable, type Subscription } from 'rxjs';
import type { Fills } from '../bounds.ts';
import { OrchestratorError } from '../errors.ts';
import type { Clock, Timer } from '../seams/clock.ts';
import type { Core } from './core.ts';
import type { JournalPort, Runtime, RuntimeEvents, StartSlots, TurnReport } from './ports.ts';
import type { Command, CommandOutcome, Effect, Input, TransitionRecord } from './types.ts';

type Unstamped = Input extends infer Each ? (Each extends Input ? Omit<Each, 'at' | 'wallMs'> : never) : never;
export type VerdictInput = Omit<Extract<Input, { kind: 'verdict' }>, 'at' | 'wallMs' | 'kind'>;

/**
 * Inputs handled in one turn of the event loop before timers and sockets have theirs. Chosen: about 5 ms of work. Counted
 * per turn and not per burst, because outcomes of starts come back as microtasks: thousands of bursts in one turn.
 */
const INPUTS_PER_TURN = 256;
/** Answers of commands remembered, so that a repeated id is answered and not executed again. */
const OUTCOMES_KEPT = 256;
/** A source that failed is begun again after this: often enough for health, seldom enough for the log. Chosen. */
const SOURCE_AGAIN_MS = 1_000;
/**
 * Inputs of one daemon that can wait at once, and timers of it: by construction, since each belongs to one of its few
 * timers, to what its present start reports, or to a check that is not repeated before it was answered.
 */
const OF_ONE_DAEMON_MAX = 16;
/** Callers that wait for the outcome of a command at once; each may wait an hour. Chosen: far above what operators and daemons do. */
export const COMMANDS_WAITING_MAX = 1_000;

export interface MasterLoopOptions {
  readonly core: Core;
  readonly clock: Clock;
  readonly journal: JournalPort;
  readonly slots: StartSlots;
  readonly runtime: (events: RuntimeEvents) => Runtime;
  /** Verdicts of the health monitor that may change something. */
  readonly verdicts$?: Observable<VerdictInput>;
  /** After each turn that changed something. */
  readonly onTurn?: (report: TurnReport) => void;
  /** The loop asked to leave: everything is stopped. */
  readonly onLeave: () => void;
  /** The core failed; nothing is decided any more. */
  readonly onFatal: (error: unknown, input: Input) => void;
  /** A source stream failed, and is begun again; the others go on. */
  readonly onSourceError?: (source: string, error: unknown) => void;
}

export class MasterLoop {
  readonly core: Core;
  readonly runtime: Runtime;
  readonly #options: MasterLoopOptions;
  readonly #clock: Clock;
  readonly #journal: JournalPort;
  readonly #slots: StartSlots;

  readonly #told$ = new Subject<Unstamped>();
  readonly #subscription: Subscription;

  readonly #queue: Unstamped[] = [];
  #next = 0;
  #draining = false;
  #handledThisTurn = 0;
  #turnScheduled = false;
  #dead = false;
  readonly #timers = new Map<string, Timer>();
  readonly #waiting = new Map<string, ((outcome: CommandOutcome) => void)[]>();
  readonly #outcomes = new Map<string, CommandOutcome>();
  /** Who waits for an outcome; a repeated id adds a caller and no command. */
  #callers = 0;
  #commandsRefused = 0;
  #transitions: TurnReport['transitions'][number][] = [];
  #alerts: TurnReport['alerts'][number][] = [];
  #operationChanged = false;

  constructor(options: MasterLoopOptions) {
    this.#options = options;
    this.core = options.core;
    this.#clock = options.clock;
    this.#journal = options.journal;
    this.#slots = options.slots;
    this.runtime = options.runtime({
      // What became of a start is told before its slot is free, so that it is heard before the next start begins.
      ready: (daemon, generation) => {
        this.#told$.next({ kind: 'ready', daemon, generation });
        this.#slots.release(daemon, generation);
      },
      startFailed: (daemon, generation, failure, cause) => {
        this.#told$.next({ kind: 'start-failed', daemon, generation, failure, cause });
        this.#slots.release(daemon, generation);
      },
      exited: (daemon, generation, failure, forced) => {
        this.#told$.next({ kind: 'exited', daemon, generation, failure, forced });
        this.#slots.release(daemon, generation);
      },
      reattached: (daemon, generation, ok, message) =>
        this.#told$.next({ kind: 'reattached', daemon, generation, ok, message }),
    });
    const verdicts$ = (options.verdicts$ ?? EMPTY).pipe(
      map((verdict): Unstamped => ({ kind: 'verdict', ...verdict })),
      retry({
        delay: (error: unknown) => {
          options.onSourceError?.('verdicts', error);
          return timer(SOURCE_AGAIN_MS, this.#clock.scheduler);
        },
      }),
    );
    this.#subscription = merge(this.#told$, verdicts$).subscribe((input) => this.#enqueue(input));
  }

  /** Begins: every wanted daemon starts as its conditions hold, or an interrupted recovery goes on. */
  boot(): void {
    this.#told$.next({ kind: 'boot' });
  }

  /**
   * Executes a command on this loop.
   * @returns the outcome; a repeated id gets the answer of the first
   */
  execute(command: Command): Promise<CommandOutcome> {
    const before = this.#outcomes.get(command.id);
    if (before !== undefined) return Promise.resolve(before);
    if (this.#dead) return Promise.resolve(failedCore(command.id));
    return new Promise((resolve) => {
      if (this.#callers >= COMMANDS_WAITING_MAX && command.verb !== 'shutdown') {
        this.#commandsRefused++;
        resolve(tooManyCommands(command));
        return;
      }
      this.#callers++;
      const waiting = this.#waiting.get(command.id);
      if (waiting !== undefined) {
        waiting.push(resolve);
        return;
      }
      this.#waiting.set(command.id, [resolve]);
      this.#told$.next({ kind: 'command', command });
    });
  }

  /** What waits here. */
  collections(): Fills {
    const most = COMMANDS_WAITING_MAX + OF_ONE_DAEMON_MAX * this.core.members.length;
    return {
      inputs: { size: this.#queue.length - this.#next, limit: most },
      timers: { size: this.#timers.size, limit: most },
      commands_waiting: { size: this.#callers, limit: COMMANDS_WAITING_MAX, dropped: this.#commandsRefused },
      command_outcomes: { size: this.#outcomes.size, limit: OUTCOMES_KEPT },
    };
  }

  /** True once the core has failed. */
  get dead(): boolean {
    return this.#dead;
  }

  /** Ends the streams and timers; the daemons are not touched. */
  dispose(): void {
    this.#dead = true;
    this.#subscription.unsubscribe();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    for (const [id, waiting] of this.#waiting) for (const resolve of waiting) resolve(failedCore(id));
    this.#waiting.clear();
  }

  // ---------------------------------------------------------------------------------------------- the one queue

  #enqueue(input: Unstamped): void {
    this.#queue.push(input);
    if (!this.#draining) this.#drain();
  }

  #drain(): void {
    this.#draining = true;
    while (this.#next < this.#queue.length && !this.#dead) {
      if (this.#handledThisTurn >= INPUTS_PER_TURN) {
        this.#clock.soon(() => this.#drain()); // behind the end of this turn, which was asked for before
        return;
      }
      this.#handledThisTurn++;
      const input = this.#queue[this.#next++]!;
      if (this.#next === INPUTS_PER_TURN) this.#dropHandled();
      this.#handle(stamped(input, this.#clock.monotonicMs(), this.#clock.wallMs()));
    }
    this.#dropHandled();
    this.#draining = false;
  }

  /** Handled inputs must not wait for the end of a long burst: kept, they would outlive every young collection. */
  #dropHandled(): void {
    this.#queue.splice(0, this.#next);
    this.#next = 0;
  }

  #handle(input: Input): void {
    let effects: readonly Effect[];
    try {
      effects = this.core.handle(input, this.#journal.nextSeq);
    } catch (error) {
      this.#fail(error, input);
      return;
    }
    try {
      this.#journal.appendInput(input, this.core.inputCause);
      for (const effect of effects) this.#perform(effect, input);
    } catch (error) {
      this.#fail(error, input);
      return;
    }
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    this.#clock.soon(() => this.#endTurn());
  }

  /** The core contradicts itself, or an effect could not even be issued: decide nothing more. */
  #fail(error: unknown, input: Input): void {
    this.#dead = true;
    this.#options.onFatal(error, input);
  }

  #endTurn(): void {
    this.#turnScheduled = false;
    this.#handledThisTurn = 0;
    this.#journal.flush();
    const report: TurnReport = {
      transitions: this.#transitions,
      alerts: this.#alerts,
      operationChanged: this.#operationChanged,
    };
    this.#transitions = [];
    this.#alerts = [];
    this.#operationChanged = false;
    this.#options.onTurn?.(report);
  }

  // ---------------------------------------------------------------------------------------------- effects

  #perform(effect: Effect, input: Input): void {
    switch (effect.do) {
      case 'start':
        this.#slots.request(effect.daemon, effect.generation, effect.priority, () =>
          this.#told$.next({ kind: 'start-begun', daemon: effect.daemon, generation: effect.generation }),
        );
        return;
      case 'withdraw':
      case 'release-slot':
        this.#slots.release(effect.daemon, effect.generation);
        return;
      case 'launch':
        this.runtime.launch(effect.daemon, effect.generation);
        return;
      case 'stop':
        this.#slots.release(effect.daemon, effect.generation);
        this.runtime.stop(effect.daemon, effect.generation, effect.deadlineMs, effect.full);
        return;
      case 'kill':
        this.#slots.release(effect.daemon, effect.generation);
        this.runtime.kill(effect.daemon, effect.generation, effect.full);
        return;
      case 'arm-timer':
        this.#arm(effect.timer, effect.delayMs);
        return;
      case 'cancel-timer':
        this.#timers.get(effect.timer)?.cancel();
        this.#timers.delete(effect.timer);
        return;
      case 'reattach':
        this.runtime.reattach(effect.daemon, effect.generation, effect.on);
        return;
      case 'prove-empty':
        this.runtime.findLeft((left) => this.#told$.next({ kind: 'proven-empty', operation: effect.operation, left }));
        return;
      case 'alert':
        this.#alerts.push(effect.alert);
        return;
      case 'journal':
        this.#journal.appendNote(effect.seq, effect.cause, effect.record, input.at, input.wallMs);
        if (effect.record.type === 'transition') this.#transitions.push(happened(effect.record, effect, input));
        else if (effect.record.type === 'operation') this.#operationChanged = true;
        return;
      case 'reply':
        this.#reply(effect.outcome);
        return;
      case 'leave':
        this.#journal.sync();
        this.#options.onLeave();
        return;
    }
  }

  #arm(timer: string, delayMs: number): void {
    this.#timers.get(timer)?.cancel();
    if (delayMs <= 0) {
      this.#timers.delete(timer);
      this.#told$.next({ kind: 'timer', timer });
      return;
    }
    this.#timers.set(
      timer,
      this.#clock.after(delayMs, () => {
        this.#timers.delete(timer);
        this.#told$.next({ kind: 'timer', timer });
      }),
    );
  }

  #reply(outcome: CommandOutcome): void {
    this.#journal.sync(); // an answer is a promise: what it says must survive
    const waiting = this.#waiting.get(outcome.id) ?? [];
    this.#waiting.delete(outcome.id);
    this.#callers -= waiting.length;
    this.#outcomes.set(outcome.id, outcome);
    if (this.#outcomes.size > OUTCOMES_KEPT) {
      const oldest = this.#outcomes.keys().next();
      if (oldest.done !== true) this.#outcomes.delete(oldest.value);
    }
    for (const resolve of waiting) resolve(outcome);
  }
}

/** Every input is a fresh object of one of the streams, so its time is written into it rather than into a copy. */
const stamped = (input: Unstamped, at: number, wallMs: number): Input => Object.assign(input, { at, wallMs }) as Input;

/** Written out field by field: this runs for every transition, and a spread costs several times as much. */
const happened = (
  { daemon, from, to, on, why, message, generation, keep }: TransitionRecord,
  { seq, cause }: { readonly seq: number; readonly cause: number | null },
  { at, wallMs }: Input,
): TurnReport['transitions'][number] => ({
  daemon,
  from,
  to,
  on,
  why,
  message,
  generation,
  keep,
  seq,
  cause,
  at,
  wallMs,
});

const tooManyCommands = ({ id, verb }: Command): CommandOutcome => ({
  id,
  ok: false,
  code: 'refused',
  message: `cannot ${verb}: ${COMMANDS_WAITING_MAX} callers wait for the outcome of a command already`,
  remedy: 'nothing was done; find out who sends them ("master_loop history"), and try again when some have ended',
});

const failedCore = (id: string): CommandOutcome => ({
  id,
  ok: false,
  code: 'failed',
  message: 'cannot execute: the core of this loop has failed and decides nothing any more',
  remedy: 'restart master_loop; its journal names the input that failed',
});

/** True for an error whose message is meant for people as it is. */
export const isOurs = (error: unknown): error is OrchestratorError => error instanceof OrchestratorError;

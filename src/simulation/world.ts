/**
 * A whole master under a simulated clock: the real core, the real shell, the real health monitor; a simulated runtime and
 * a journal in memory. `kill()` loses what was not flushed, as kill -9 does, and starts the next master from what was.
 */
import { Subject } from 'rxjs';
import type { Fleet } from '../fleet/types.ts';
import { DueWheel } from '../health/due-wheel.ts';
import { TICK_MS, verdicts$ } from '../health/monitor.ts';
import { Core, type CoreBug } from '../orchestrator/core.ts';
import { MasterLoop } from '../orchestrator/master-loop.ts';
import type { JournalPort, StartSlots } from '../orchestrator/ports.ts';
import type {
  Command,
  CommandOutcome,
  DaemonKeep,
  Effect,
  Input,
  JournalNote,
  OperationRecord,
} from '../orchestrator/types.ts';
import { seededRandom, type Random } from '../seams/random.ts';
import { Checkers } from './checkers.ts';
import { simulatedClock, type SimulatedClock } from './simulated-clock.ts';
import { SimulatedRuntime, type Script } from './simulated-runtime.ts';

/** What survives a kill -9: the notes that were flushed. */
class MemoryJournal implements JournalPort {
  nextSeq = 1;
  readonly keeps = new Map<string, DaemonKeep>();
  operation: OperationRecord | null = null;
  /** Every input with its number, for replay; only when asked for. */
  readonly inputs: { readonly input: Input; readonly seq: number }[] = [];
  #pending: JournalNote[] = [];
  readonly #record: boolean;

  constructor(record: boolean) {
    this.#record = record;
  }

  appendInput(input: Input): void {
    if (this.#record) this.inputs.push({ input, seq: this.nextSeq });
    this.nextSeq++;
  }

  appendNote(seq: number, _cause: number | null, note: JournalNote): void {
    if (seq !== this.nextSeq) throw new Error(`cannot journal note ${seq}: the next number is ${this.nextSeq}`);
    this.nextSeq++;
    this.#pending.push(note);
  }

  flush(): void {
    for (const note of this.#pending) {
      if (note.type === 'operation') this.operation = note.operation;
      else this.keeps.set(note.daemon, note.keep);
    }
    this.#pending = [];
  }

  sync(): void {
    this.flush();
  }

  lose(): void {
    this.#pending = [];
  }
}

/** Slots without promises: same order, same bound, so a run needs no microtasks. */
const plainSlots = (concurrency: number): StartSlots => {
  const waiting: { key: string; priority: number; granted: () => void }[] = [];
  const held = new Set<string>();
  const grant = (): void => {
    while (held.size < concurrency && waiting.length > 0) {
      let best = 0;
      for (let index = 1; index < waiting.length; index++)
        if (waiting[index]!.priority > waiting[best]!.priority) best = index;
      const [next] = waiting.splice(best, 1);
      held.add(next!.key);
      next!.granted();
    }
  };
  return {
    request(daemon, generation, priority, granted) {
      waiting.push({ key: `${daemon}#${generation}`, priority, granted });
      grant();
    },
    release(daemon, generation) {
      const key = `${daemon}#${generation}`;
      const queued = waiting.findIndex((entry) => entry.key === key);
      if (queued >= 0) waiting.splice(queued, 1);
      if (held.delete(key)) grant();
    },
  };
};

/** The core with the checkers at its entrance. */
class WatchedCore extends Core {
  checkers: Checkers | null = null;
  override handle(input: Input, seq?: number): Effect[] {
    this.checkers?.before(input);
    const effects = super.handle(input, seq);
    this.checkers?.after(input, effects);
    return effects;
  }
}

export interface WorldOptions {
  readonly seed: number;
  readonly fleet: Fleet;
  readonly bug?: CoreBug;
  /** Keep every input, for replay. */
  readonly record?: boolean;
}

export class World {
  readonly clock: SimulatedClock;
  readonly random: Random;
  readonly fleet: Fleet;
  readonly checkers: Checkers;
  readonly replies: CommandOutcome[] = [];
  readonly #options: WorldOptions;
  readonly #scripts = new Map<string, Script>();
  readonly journal: MemoryJournal;
  core!: Core;
  loop!: MasterLoop;
  runtime!: SimulatedRuntime;
  masters = 0;
  fatal: unknown = null;
  left = false;
  #stop$ = new Subject<void>();
  #command = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.fleet = options.fleet;
    this.clock = simulatedClock();
    this.random = seededRandom(options.seed);
    this.checkers = new Checkers(options.fleet);
    this.journal = new MemoryJournal(options.record ?? false);
    this.#begin();
  }

  /** A master starts from what the journal kept. */
  #begin(): void {
    this.masters++;
    const { fleet, bug } = this.#options;
    const core = new WatchedCore({
      fleet,
      priority: new Map(),
      keeps: this.journal.keeps,
      operation: this.journal.operation,
      ...(bug === undefined ? {} : { bug }),
    });
    this.core = core;
    this.checkers.masterRestarted(
      this.journal.keeps,
      new Map(core.members.map((member) => [member.type, member.state])),
    );
    core.checkers = this.checkers;
    this.#stop$ = new Subject<void>();
    const wheel = new DueWheel();
    this.loop = new MasterLoop({
      core,
      clock: this.clock,
      journal: this.journal,
      slots: plainSlots(32),
      runtime: (events) => {
        this.runtime = new SimulatedRuntime(this.clock, this.random, events, this.checkers, this.#scripts);
        return this.runtime;
      },
      onLeave: () => {
        this.left = true;
      },
      onFatal: (error) => {
        this.fatal = error;
        this.checkers.broken('I5', error instanceof Error ? error.message : String(error));
      },
    });
    this.checkers.watch(this.runtime);
    for (const spec of fleet.daemons) {
      const ticks = Math.max(1, Math.round(spec.health.periodMs / TICK_MS));
      wheel.add(spec.type, ticks, 1 + this.random.integer(ticks));
    }
    verdicts$({
      clock: this.clock,
      wheel,
      target: (daemon) => {
        const member = core.get(daemon);
        if (member === undefined || member.state !== 'RUNNING') return null;
        return { generation: member.generation, timeoutMs: member.spec.health.timeoutMs };
      },
      check: (daemon) => this.runtime.check(daemon),
      stop$: this.#stop$,
    }).subscribe((verdict) => {
      // A good verdict on a clean streak changes nothing, so it is no input.
      if (verdict.word === 'healthy' && core.get(verdict.daemon)?.streak === 0) return;
      this.loop.verdict({
        daemon: verdict.daemon,
        generation: verdict.generation,
        verdict: verdict.word,
        message: verdict.health.message,
      });
    });
    this.loop.boot();
  }

  /** kill -9 of the master: in-process daemons die with it, what was not flushed is lost, another master starts. */
  kill(): void {
    const { core } = this;
    if (core.members.some((member) => member.permit)) this.checkers.note('master killed between permit and launch');
    if (core.members.some((member) => member.state === 'STARTING')) this.checkers.note('master killed while STARTING');
    if (core.operation !== null) this.checkers.note('master killed during a full recovery');
    if (core.members.some((member) => member.stopWish !== null)) this.checkers.note('master killed during a cascade');
    this.#stop$.next();
    this.loop.dispose();
    this.runtime.die();
    this.journal.lose();
    this.#begin();
  }

  command(verb: Command['verb'], daemons: readonly string[], more: Partial<Command> = {}): string {
    const id = `c${++this.#command}`;
    const command: Command = { id, verb, daemons, origin: 'operator', reason: 'simulated', waitMs: 60_000, ...more };
    if (this.core.operation?.verb !== 'shutdown') {
      if (verb === 'stop') for (const daemon of daemons) this.checkers.wish(daemon, 'down');
      if (verb === 'start' || verb === 'restart') for (const daemon of daemons) this.checkers.wish(daemon, 'up');
      if (verb === 'start-profile' && this.core.operation === null)
        for (const { type } of this.fleet.daemons) this.checkers.wish(type, 'up');
    }
    void this.loop.execute(command).then((outcome) => this.replies.push(outcome));
    return id;
  }

  /** Wanted daemons that are not up although nothing they need is FAILED or stopped by an operator. */
  stuck(): string[] {
    const blocked = new Set<string>();
    for (const member of this.core.members)
      if (member.state === 'FAILED' || member.wanted === 'down') blocked.add(member.type);
    for (let size = -1; size !== blocked.size;) {
      size = blocked.size;
      for (const member of this.core.members)
        if (member.needs.some((edge) => edge.kind === 'hard' && blocked.has(edge.on.type))) blocked.add(member.type);
    }
    return this.core.members
      .filter((member) => !blocked.has(member.type) && !member.isUp())
      .map((member) => `${member.type} ${member.state}`);
  }

  isSteady(): boolean {
    return (
      !this.core.inFlight &&
      !this.core.stormOpen &&
      this.core.members.every((member) => member.state === 'RUNNING' && member.stopWish === null && !member.reattaching)
    );
  }
}

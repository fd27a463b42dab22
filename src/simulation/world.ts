/**
 * A whole master under a simulated clock: the real core, the real shell, the real health monitor; a simulated runtime and
 * a journal in memory. `kill()` loses what was not flushed, as kill -9 does, and starts the next master from what was;
 * `dieAtNote` does so between two writes of the journal, with the effects in between not reached.
 */
import { filter, map, Subject } from 'rxjs';
import type { Fleet } from '../fleet/types.ts';
import { DueWheel } from '../health/due-wheel.ts';
import { TICK_MS, verdicts$ } from '../health/monitor.ts';
import { Core, RESUME_WITHIN_MS, type CoreBug } from '../orchestrator/core.ts';
import { MasterLoop } from '../orchestrator/master-loop.ts';
import type { StartSlots } from '../orchestrator/ports.ts';
import type { Command, CommandOutcome, Effect, Input } from '../orchestrator/types.ts';
import { seededRandom, type Random } from '../seams/random.ts';
import { Checkers } from './checkers.ts';
import { simulatedClock, type SimulatedClock } from './simulated-clock.ts';
import type { SimulatedFileSystem } from './simulated-file-system.ts';
import { DiskJournal, MemoryJournal, type SimulatedJournal } from './simulated-journal.ts';
import { SimulatedRuntime, type Script } from './simulated-runtime.ts';

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
  override handle(input: Input, seq = this.nextSeq): Effect[] {
    this.checkers?.before(input);
    const effects = super.handle(input, seq);
    this.checkers?.after(input, seq, this.inputCause, effects, this);
    return effects;
  }
}

export const JOURNAL_FOLDER = '/data/journal';
/** Small, so that a run of minutes meets checkpoints and new segments. */
const DISK_LIMITS = { checkpointRecords: 500, segmentBytes: 64 * 1024 };

export interface WorldOptions {
  readonly seed: number;
  readonly fleet: Fleet;
  readonly bug?: CoreBug;
  /** Keep every record, for replay. */
  readonly record?: boolean;
  /** Journal on this disk with the real journal, instead of in memory. */
  readonly disk?: SimulatedFileSystem;
}

export class World {
  readonly clock: SimulatedClock;
  readonly random: Random;
  readonly fleet: Fleet;
  readonly checkers: Checkers;
  readonly replies: CommandOutcome[] = [];
  readonly #options: WorldOptions;
  readonly #scripts = new Map<string, Script>();
  readonly journal: SimulatedJournal;
  core!: Core;
  loop!: MasterLoop;
  runtime!: SimulatedRuntime;
  masters = 0;
  /** Faults whose time is set and has not come. */
  faultsToCome = 0;
  fatal: unknown = null;
  left = false;
  #stop$ = new Subject<void>();
  #command = 0;
  #lastCommand: Command | null = null;
  readonly #oneShots: ReadonlySet<string>;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.fleet = options.fleet;
    this.clock = simulatedClock();
    this.random = seededRandom(options.seed);
    this.#oneShots = new Set(options.fleet.daemons.flatMap((spec) => (spec.oneShot ? [spec.type] : [])));
    this.checkers = new Checkers(options.fleet);
    this.journal =
      options.disk === undefined
        ? new MemoryJournal(options.record ?? false)
        : new DiskJournal({ disk: options.disk, folder: JOURNAL_FOLDER, clock: this.clock, limits: DISK_LIMITS });
    this.#begin();
  }

  /** A master starts from what the journal kept. */
  #begin(): void {
    this.masters++;
    const { fleet, bug } = this.#options;
    const { keeps, operation } = this.journal.begin(() => this.core);
    const left = {
      fleet,
      priority: new Map<string, number>(),
      keeps,
      operation,
      ...(bug === undefined ? {} : { bug }),
    };
    const core = new WatchedCore(left);
    this.core = core;
    if (this.masters > 1 && fingerprint(core) !== fingerprint(new Core(left)))
      this.checkers.broken('I28', 'recovering twice from the same journal gives two states');
    this.checkers.masterRestarted(keeps, new Map(core.members.map((member) => [member.type, member.state])));
    core.checkers = this.checkers;
    this.#stop$ = new Subject<void>();
    const wheel = new DueWheel();
    const health$ = verdicts$({
      clock: this.clock,
      wheel,
      target: (daemon) => {
        const member = core.get(daemon);
        if (member === undefined || member.state !== 'RUNNING') return null;
        return { generation: member.generation, timeoutMs: member.spec.health.timeoutMs };
      },
      check: (daemon) => this.runtime.check(daemon),
      stop$: this.#stop$,
    });
    this.loop = new MasterLoop({
      core,
      clock: this.clock,
      journal: this.journal,
      slots: plainSlots(32),
      runtime: (events) => {
        this.runtime = new SimulatedRuntime(
          this.clock,
          this.random,
          events,
          this.checkers,
          this.#scripts,
          this.#oneShots,
        );
        return this.runtime;
      },
      // A good verdict on a clean streak changes nothing, so it is no input.
      verdicts$: health$.pipe(
        filter(({ word, daemon }) => word !== 'healthy' || core.get(daemon)?.streak !== 0),
        map(({ daemon, generation, word, health }) => ({ daemon, generation, verdict: word, message: health.message })),
      ),
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
    this.loop.boot();
    const resumes =
      operation !== null &&
      operation.verb === 'recover' &&
      this.clock.wallMs() - operation.startedWallMs < RESUME_WITHIN_MS;
    if (resumes && core.operation === null && core.lastOperation === null)
      this.checkers.broken('I28', `the ${operation.verb} that the last master was in is forgotten`);
  }

  /**
   * kill -9 of the master: in-process daemons die with it, what was not flushed is lost (of the unfinished turn a prefix
   * may have reached the disk), another master starts.
   */
  kill(): void {
    const { core } = this;
    if (core.members.some((member) => member.permit)) this.checkers.note('master killed between permit and launch');
    if (core.members.some((member) => member.state === 'STARTING')) this.checkers.note('master killed while STARTING');
    if (core.operation !== null) this.checkers.note('master killed during a full recovery');
    if (core.operation?.resumed === true) this.checkers.note('master killed again while it resumes a recovery');
    if (core.members.some((member) => member.stopWish !== null)) this.checkers.note('master killed during a cascade');
    this.#stop$.next();
    this.loop.dispose();
    this.runtime.die();
    this.journal.lose(this.random);
    this.#begin();
  }

  /** kill -9 right after the journal has been handed its next `notes` records; the effects that follow never happen. */
  dieAtNote(notes: number): void {
    this.journal.notesLeft = notes;
    this.journal.onDeath = () => {
      if (this.core.members.some((member) => member.state === 'STARTING' && !this.runtime.live.has(member.type)))
        this.checkers.note('master killed between journal write and launch');
      this.checkers.died();
      this.runtime.die();
      this.loop.dispose();
      this.clock.soon(() => this.kill());
    };
  }

  /** Nothing that was scripted goes wrong any more. */
  heal(): void {
    this.runtime.heal();
    this.journal.notesLeft = Infinity;
  }

  /** The same command once more, as a client does that got no answer. */
  repeatCommand(): void {
    if (this.#lastCommand !== null) this.#send(this.#lastCommand);
  }

  /** Everything that decides what happens next, as text. */
  fingerprint(): string {
    return `${this.journal.nextSeq} ${this.runtime.live.size} ${fingerprint(this.core)}`;
  }

  command(verb: Command['verb'], daemons: readonly string[], more: Partial<Command> = {}): string {
    const id = `c${++this.#command}`;
    const command: Command = { id, verb, daemons, origin: 'operator', reason: 'simulated', waitMs: 60_000, ...more };
    this.#lastCommand = command;
    this.#send(command);
    return id;
  }

  #send(command: Command): void {
    const { verb, daemons } = command;
    const heard = !this.loop.dead && !this.checkers.hasExecuted(command.id);
    if (heard && this.core.operation?.verb !== 'shutdown') {
      if (verb === 'stop') for (const daemon of daemons) this.checkers.wish(daemon, 'down');
      if (verb === 'start' || verb === 'restart') for (const daemon of daemons) this.checkers.wish(daemon, 'up');
      if (verb === 'start-profile' && this.core.operation === null)
        for (const { type, inProfile } of this.fleet.daemons) if (inProfile) this.checkers.wish(type, 'up');
    }
    void this.loop.execute(command).then((outcome) => this.replies.push(outcome));
  }

  /** Wanted daemons that are not up although nothing they need is FAILED or stopped by an operator. */
  stuck(): string[] {
    const blocked = new Set<string>();
    for (const member of this.core.members)
      if (member.state === 'FAILED' || (member.wanted === 'down' && member.wantedBy === 'operator'))
        blocked.add(member.type);
    for (let size = -1; size !== blocked.size;) {
      size = blocked.size;
      for (const member of this.core.members)
        if (member.needs.some((edge) => edge.kind === 'hard' && blocked.has(edge.on.type))) blocked.add(member.type);
    }
    return this.core.members
      .filter((member) => member.wanted === 'up' && !blocked.has(member.type) && !member.isUp())
      .map((member) => `${member.type} ${member.state}`);
  }

  /** At rest: daemons that wait and do not say for what, down to somebody who must act. */
  unexplained(): string[] {
    return this.core.members
      .filter((member) => member.state === 'WAITING' && member.wanted === 'up')
      .filter((member) => !this.core.waitingFor(member).some((wait) => wait.impossible && wait.remedy !== null))
      .map((member) => member.type);
  }

  isSteady(): boolean {
    return (
      !this.core.inFlight &&
      !this.core.stormOpen &&
      this.core.members.every(
        (member) =>
          (member.wanted === 'down' && member.state === 'STOPPED') ||
          (member.isUp() && member.stopWish === null && !member.reattaching),
      )
    );
  }
}

/** What a core would decide from, as text. */
const fingerprint = (core: Core): string =>
  core.members.map((member) => `${member.state} ${JSON.stringify(member.keep())}`).join('\n') +
  JSON.stringify(core.operation);

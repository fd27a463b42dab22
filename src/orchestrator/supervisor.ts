/**
 * One running fleet: core, shell, runtime and health monitor, put together once and asked by everybody else (server,
 * alerts, drills, schedule, the API). It decides nothing itself.
 */
import { filter, map, Subject, type Observable } from 'rxjs';
import type { FleetMember } from '../daemons/definition.ts';
import type { Fleet } from '../fleet/types.ts';
import { DueWheel } from '../health/due-wheel.ts';
import { TICK_MS, verdicts$, type Verdict } from '../health/monitor.ts';
import { unknown, type Health } from '../health/verdict.ts';
import { edgeAction } from '../lifecycle/edge-rules.ts';
import type { InProcessRuntime } from '../runtimes/in-process.ts';
import { isoTime, type Clock } from '../seams/clock.ts';
import type { Random } from '../seams/random.ts';
import { Core } from './core.ts';
import { MasterLoop, type VerdictInput } from './master-loop.ts';
import type { Member } from './member.ts';
import type { JournalPort, RuntimeEvents, StartSlots, TurnReport } from './ports.ts';
import { statusOf, verdictOf, type LastHealth } from './status.ts';
import type {
  Command,
  CommandOutcome,
  DaemonKeep,
  DaemonStatus,
  FleetSnapshot,
  Input,
  OperationRecord,
} from './types.ts';

/** Outside evidence counts this long after it was reported; whoever sees it reports again. */
const EVIDENCE_MS = 60_000;

export interface SupervisorOptions {
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly random: Random;
  readonly journal: JournalPort;
  readonly slots: StartSlots;
  /** Length of the critical path below each daemon. */
  readonly priority: ReadonlyMap<string, number>;
  readonly keeps: ReadonlyMap<string, DaemonKeep>;
  readonly operation: OperationRecord | null;
  readonly pid: number;
  readonly runtime: (events: RuntimeEvents) => InProcessRuntime;
  /** Child processes that are on record for a daemon; `isGone` asks the kernel. */
  readonly processesOf: (
    daemon: string,
  ) => readonly { readonly name: string; readonly pid: number; isGone(): boolean }[];
  readonly onLeave: () => void;
  readonly onFatal: (error: unknown, input: Input) => void;
  readonly onSourceError?: (source: string, error: unknown) => void;
}

/** What `plan VERB` says: exactly what executing it would touch. */
export interface VerbPlan {
  readonly verb: string;
  readonly daemons: readonly string[];
  /** In the order in which each may stop: leaf first. */
  readonly stop: readonly { readonly daemon: string; readonly because: string; readonly writtenAt: string | null }[];
  /** In the order in which each may start: root first. */
  readonly start: readonly { readonly daemon: string; readonly because: string; readonly writtenAt: string | null }[];
  /** Stays up and proves its subscriptions again. */
  readonly reattach: readonly string[];
}

export class Supervisor {
  readonly core: Core;
  readonly loop: MasterLoop;
  readonly runtime: InProcessRuntime;
  readonly fleet: Fleet;
  readonly #options: SupervisorOptions;
  readonly #clock: Clock;
  readonly #startedWallMs: number;
  readonly #health = new Map<string, LastHealth>();
  /** Of one start: what spoke against the last one says nothing of the next. */
  readonly #evidence = new Map<string, { readonly health: Health; readonly generation: number; readonly at: number }>();
  /** Generation of which a check was good: its grace is over. */
  readonly #provenGood = new Map<string, number>();
  readonly #turnListeners = new Set<(report: TurnReport) => void>();
  readonly #verdictListeners = new Set<(verdict: Verdict) => void>();
  readonly #touchListeners = new Set<(daemon: string) => void>();
  readonly #stop$ = new Subject<void>();
  readonly #order: readonly string[];
  #commands = 0;

  constructor(options: SupervisorOptions, order: readonly string[]) {
    this.#options = options;
    this.#clock = options.clock;
    this.#order = order;
    this.fleet = options.fleet;
    this.#startedWallMs = options.clock.wallMs();
    this.core = new Core({
      fleet: options.fleet,
      priority: options.priority,
      keeps: options.keeps,
      operation: options.operation,
    });
    let runtime: InProcessRuntime | null = null;
    this.loop = new MasterLoop({
      core: this.core,
      clock: options.clock,
      journal: options.journal,
      slots: options.slots,
      runtime: (events) => {
        const made = options.runtime(events);
        runtime = made;
        return {
          launch: (daemon, generation) => made.launch(daemon, generation),
          stop: (daemon, generation, _deadlineMs, full) => made.stop(daemon, generation, full),
          kill: (daemon, generation, full) => made.kill(daemon, generation, full),
          reattach: (daemon, generation) => made.reattach(daemon, generation),
          findLeft: (report) => {
            made.endOrphans(); // only a full stop asks, and it would ask for ever
            report(made.findLeft());
          },
        };
      },
      verdicts$: this.#verdicts$(),
      onTurn: (report) => this.#turn(report),
      onLeave: options.onLeave,
      onFatal: options.onFatal,
      ...(options.onSourceError === undefined ? {} : { onSourceError: options.onSourceError }),
    });
    this.runtime = runtime!;
  }

  boot(): void {
    this.loop.boot();
  }

  dispose(): void {
    this.#stop$.next();
    this.loop.dispose();
  }

  // ---------------------------------------------------------------------------------------------- acting

  execute(command: Omit<Command, 'id'> & { readonly id?: string }): Promise<CommandOutcome> {
    return this.loop.execute({ ...command, id: command.id ?? `local-${this.#options.pid}-${++this.#commands}` });
  }

  /** Evidence from outside about a daemon; overrides what it says of itself while it is worse. */
  reportEvidence(daemon: string, health: Health): void {
    const member = this.core.get(daemon);
    if (member === undefined) return;
    this.#evidence.set(daemon, { health, generation: member.generation, at: this.#clock.monotonicMs() });
  }

  // ---------------------------------------------------------------------------------------------- looking

  onTurn(listener: (report: TurnReport) => void): () => void {
    this.#turnListeners.add(listener);
    return () => this.#turnListeners.delete(listener);
  }

  onVerdict(listener: (verdict: Verdict) => void): () => void {
    this.#verdictListeners.add(listener);
    return () => this.#verdictListeners.delete(listener);
  }

  /** A daemon's status may have changed. */
  onTouch(listener: (daemon: string) => void): () => void {
    this.#touchListeners.add(listener);
    return () => this.#touchListeners.delete(listener);
  }

  statusOf(daemon: string): DaemonStatus | null {
    const member = this.core.get(daemon);
    if (member === undefined) return null;
    return statusOf(this.core, member, {
      wallMs: this.#clock.wallMs(),
      at: this.#clock.monotonicMs(),
      health: this.#healthOf(member),
      leakedPromises: this.runtime.leakedOf(daemon),
      processes: this.#options.processesOf(daemon).map(({ name, pid }) => ({ name, pid })),
    });
  }

  verdict(): FleetSnapshot['verdict'] {
    return verdictOf(this.core, (member) => this.#healthOf(member)?.health ?? null);
  }

  snapshot(): FleetSnapshot {
    const { fleet } = this;
    return {
      fleet: fleet.name,
      fleetFile: fleet.file,
      profile: fleet.profile,
      tempo: fleet.tempo,
      pid: this.#options.pid,
      startedAt: isoTime(this.#startedWallMs),
      verdict: this.verdict(),
      operation: this.core.operation,
      daemons: this.#order.flatMap((type) => this.statusOf(type) ?? []),
    };
  }

  /** Every wanted daemon RUNNING or COMPLETED, none unhealthy, nothing in flight. */
  isSteady(): boolean {
    if (this.core.inFlight || this.core.stormOpen || this.core.notUpCount > 0) return false;
    return this.core.members.every((member) => {
      if (member.wanted === 'down') return true;
      if (member.stopWish !== null || member.reattaching || member.needs.some((edge) => edge.lost)) return false;
      return this.#healthOf(member)?.health.status !== 'unhealthy';
    });
  }

  /** For the daemons' own view of the fleet. */
  members(): FleetMember[] {
    return this.core.members.map((member) => {
      const facts = this.runtime.facts(member.type);
      return {
        type: member.type,
        state: member.state,
        wanted: member.wanted,
        generation: member.generation,
        health: this.#healthOf(member)?.health ?? unknown(),
        readyAt: member.readyAt,
        lastHeartbeatAt: facts?.heartbeatAt ?? null,
        movedAt: facts?.movedAt ?? null,
        cycles: facts?.cycles ?? [],
        processes: this.#options
          .processesOf(member.type)
          .map(({ name, pid, isGone }) => ({ name, pid, isAlive: () => !isGone() })),
      };
    });
  }

  /** What a verb would touch; changes nothing. */
  plan(verb: 'stop-all' | 'recover' | 'restart' | 'stop', daemons: readonly string[]): VerbPlan {
    const whole = verb === 'stop-all' || verb === 'recover';
    const roots = whole ? [] : daemons.flatMap((type) => this.core.get(type) ?? []);
    const event = verb === 'stop' ? 'stopped-by-operator' : 'lost';
    const closure = whole
      ? new Set(this.core.members.filter((member) => member.state === 'RUNNING' || member.state === 'STARTING'))
      : new Set([...roots, ...this.core.closure(roots, event).keys()]);
    const because = (member: Member): { because: string; writtenAt: string | null } => {
      if (whole) return { because: verb, writtenAt: null };
      if (roots.includes(member)) return { because: `${verb} asked for it`, writtenAt: null };
      const edge = member.needs.find((need) => {
        const action = edgeAction(need.kind, need.onLoss, event);
        return closure.has(need.on) && (action === 'restart' || action === 'stop');
      });
      const written = member.spec.edges.find((candidate) => candidate.on === edge?.on.type);
      return {
        because: `needs ${edge?.on.type ?? '?'} (${edge?.kind ?? ''}, onLoss ${edge?.onLoss ?? ''})`,
        writtenAt: written?.writtenAt ?? null,
      };
    };
    const inOrder = this.#order.flatMap((type) => {
      const member = this.core.get(type);
      return member !== undefined && closure.has(member) ? [{ daemon: type, ...because(member) }] : [];
    });
    const live = inOrder.filter(({ daemon }) => {
      const state = this.core.get(daemon)?.state;
      return state === 'RUNNING' || state === 'STARTING' || state === 'STOPPING';
    });
    const starts =
      verb === 'recover'
        ? this.#order.flatMap((type) =>
            this.core.get(type)?.wanted === 'up' ? [{ daemon: type, because: 'wanted', writtenAt: null }] : [],
          )
        : verb === 'restart'
          ? inOrder
          : [];
    const reattach = whole
      ? []
      : [...closure].flatMap((member) =>
          member.neededBy.flatMap((edge) =>
            edgeAction(edge.kind, edge.onLoss, event) === 'stay' &&
            !closure.has(edge.from) &&
            edge.from.state === 'RUNNING'
              ? [edge.from.type]
              : [],
          ),
        );
    return { verb, daemons, stop: live.reverse(), start: starts, reattach: [...new Set(reattach)] };
  }

  // ---------------------------------------------------------------------------------------------- inside

  #healthOf(member: Member): LastHealth | null {
    if (member.state !== 'RUNNING') return null;
    return this.#health.get(member.type) ?? null;
  }

  #turn(report: TurnReport): void {
    for (const transition of report.transitions) {
      if (transition.from === 'RUNNING' || transition.to === 'STARTING') this.#health.delete(transition.daemon);
    }
    for (const member of this.core.takeTouched()) for (const listener of this.#touchListeners) listener(member.type);
    for (const listener of this.#turnListeners) listener(report);
  }

  /** Ticks once it is subscribed; the runtime is there by then. */
  #verdicts$(): Observable<VerdictInput> {
    const { fleet, random } = this.#options;
    const wheel = new DueWheel();
    for (const spec of fleet.daemons) {
      const ticks = Math.max(1, Math.round(spec.health.periodMs / TICK_MS));
      wheel.add(spec.type, ticks, 1 + random.integer(ticks)); // spread, so 85 checks do not fall due together
    }
    return verdicts$({
      clock: this.#clock,
      wheel,
      target: (daemon) => {
        const member = this.core.get(daemon);
        if (member === undefined || member.state !== 'RUNNING' || member.stopWish !== null) return null;
        return { generation: member.generation, timeoutMs: member.spec.health.timeoutMs };
      },
      check: (daemon, timeoutMs) => this.runtime.check(daemon, timeoutMs),
      evidence: (daemon) => {
        const evidence = this.#evidence.get(daemon);
        if (evidence === undefined) return null;
        const isOfNow = evidence.generation === this.core.get(daemon)?.generation;
        if (isOfNow && this.#clock.monotonicMs() - evidence.at <= EVIDENCE_MS) return evidence.health;
        this.#evidence.delete(daemon);
        return null;
      },
      stop$: this.#stop$,
    }).pipe(
      map((verdict) => this.#judge(verdict)),
      filter((input) => input !== null),
    );
  }

  /** Tells those who watch. @returns what the core has to know of it */
  #judge(verdict: Verdict): VerdictInput | null {
    const member = this.core.get(verdict.daemon);
    if (member === undefined || member.generation !== verdict.generation) return null;
    if (verdict.word !== 'unknown')
      this.#health.set(verdict.daemon, { health: verdict.health, wallMs: this.#clock.wallMs() });
    for (const listener of this.#verdictListeners) listener(verdict);
    for (const listener of this.#touchListeners) listener(verdict.daemon);
    const good = verdict.word === 'healthy' || verdict.word === 'degraded' || verdict.word === 'late';
    if (good) this.#provenGood.set(verdict.daemon, verdict.generation);
    // Grace: what is not well yet after its start is given its start time again, until its first good check.
    const inGrace =
      verdict.word === 'unhealthy' &&
      this.#provenGood.get(verdict.daemon) !== verdict.generation &&
      this.#clock.monotonicMs() - (member.readyAt ?? 0) < member.spec.startMs;
    // A good verdict on a clean streak changes nothing in the core, so it is no input of it.
    if (inGrace || verdict.word === 'unknown' || (good && member.streak === 0)) return null;
    const { daemon, generation, word, health } = verdict;
    return { daemon, generation, verdict: word, message: health.message };
  }
}

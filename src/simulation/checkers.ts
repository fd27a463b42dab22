/**
 * Watches a run from outside and says when a promise was broken. It keeps a model of its own, fed by what was journalled
 * and by what the runtime was really told to do; it never asks the core whether the core is right, and compares the
 * core's live state with what the journal alone would give after every single input.
 *
 * Names are those of the invariants: I1 start order, I2 stop order, I3 one incarnation, I4 nothing left, I5 legal
 * transitions, journalled before they act, and journal = live state, I6 back-off, I7 budget, I8 counter reset, I9 exact
 * cascade, I10 coalescing, I11 blast radius, I12 restart rate, I15 readiness, I25 commands end and the last one stands,
 * I26 stop-all, I27 a broken fleet changes nothing, I28 crash atomicity, I32 convergence.
 *
 * Every record has an origin: the failure, report or command that it goes back to by its causes. A daemon may leave
 * RUNNING only if it is one of the daemons its origin speaks of, or goes down with one of them by the edges (I9, I11).
 */
import type { DaemonSpec, Fleet, ResolvedEdge } from '../fleet/types.ts';
import { edgeAction } from '../lifecycle/edge-rules.ts';
import { isLive, type DaemonState } from '../lifecycle/states.ts';
import { decide, type LifecycleEvent } from '../lifecycle/transitions.ts';
import type { Core } from '../orchestrator/core.ts';
import { PULLED_IN } from '../orchestrator/member.ts';
import { verdictOf } from '../orchestrator/status.ts';
import type { Command, CommandOutcome, DaemonKeep, Effect, Input, TransitionRecord } from '../orchestrator/types.ts';
import type { SimulatedRuntime } from './simulated-runtime.ts';

export interface Violation {
  readonly invariant: string;
  readonly at: number;
  readonly message: string;
}

interface Modelled {
  readonly index: number;
  state: DaemonState;
  generation: number;
  /** Restarts charged, counted here from the failures seen. */
  charged: number;
  /** When its last charged failure was observed, and the delay the policy then asks for. */
  exitAt: number | null;
  delayMs: number;
  /** It went straight from back-off to start: then the upper bound holds too. */
  straight: boolean;
  wanted: 'up' | 'down';
  readyAt: number | null;
  /** The last generation that was launched under this master. */
  launched: number;
  /** Daemons whose loss it stayed up through and since whose return it has not proven its subscriptions. */
  unproven: Set<string> | null;
}

/** What a record goes back to. `null`: to something that may touch everybody (boot, a full stop, a recovery). */
interface Origin {
  readonly what: string;
  readonly roots: readonly string[];
  /** The roots and everybody who goes down with them. */
  readonly closure: ReadonlySet<string>;
  /** Who was taken down by the loss of another, because of this. */
  readonly cascaded: Set<string>;
}

const TICK_MS = 250;
/** Violations of one invariant that are kept; the first is the one to look at. */
const VIOLATIONS_KEPT = 5;
/** Sums of binary fractions. */
const ROUNDING_MS = 1e-6;
const LAUNCH_WINDOW_MS = 10_000;
/** A daemon that fails at once restarts after 1, 2 and 4 s: four starts within 10 s, and its dependents with it. */
const LAUNCHES_PER_DAEMON = 4;
/** Full stop: the budget, the bound of a kill, one tick. */
const STOP_ALL_MS = 32_000 + TICK_MS;

export class Checkers {
  readonly violations: Violation[] = [];
  readonly sometimes = new Map<string, number>();
  /** Times that each pair of the lifecycle table, `STATE event`, was taken. */
  readonly taken = new Map<string, number>();
  inputs = 0;
  transitions = 0;
  launchesTotal = 0;
  readonly #needs = new Map<string, readonly ResolvedEdge[]>();
  readonly #neededBy = new Map<string, ResolvedEdge[]>();
  readonly #model = new Map<string, Modelled>();
  readonly #specs: ReadonlyMap<string, DaemonSpec>;
  readonly #closures = new Map<string, ReadonlySet<string>>();
  readonly #origins = new Map<number, Origin | null>();
  /** Ids of commands this master has executed. */
  #executed = new Set<string>();
  #origin: Origin | null = null;
  #failedAt = -Infinity;
  readonly #commands = new Map<string, { readonly command: Command; readonly at: number }>();
  /** Serial order of accepted start/stop per daemon: the last one stands. */
  readonly #lastWish = new Map<string, 'up' | 'down'>();
  readonly #launches: number[] = [];
  #runtime: SimulatedRuntime | null = null;
  #stopAllAt: number | null = null;
  #admission = true;
  #now = 0;
  #stormOpen = false;
  /** What it held may start from here. */
  #stormEndedAt = -Infinity;
  #hash = 0x811c9dc5;
  #hash2 = 0x9e3779b9;

  constructor(fleet: Fleet) {
    this.#specs = new Map(fleet.daemons.map((spec) => [spec.type, spec]));
    for (const spec of fleet.daemons) {
      this.#needs.set(spec.type, spec.edges);
      this.#neededBy.set(spec.type, []);
    }
    for (const spec of fleet.daemons) for (const edge of spec.edges) this.#neededBy.get(edge.on)?.push(edge);
    for (const [index, spec] of fleet.daemons.entries()) {
      const model = emptyModel(index);
      if (!spec.inProfile) model.wanted = 'down';
      this.#model.set(spec.type, model);
    }
  }

  /** Order-sensitive hash of every transition: same seed, same hash. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0') + (this.#hash2 >>> 0).toString(16).padStart(8, '0');
  }

  watch(runtime: SimulatedRuntime): void {
    this.#runtime = runtime;
  }

  modelOf(daemon: string): Readonly<Modelled> {
    return this.#of(daemon);
  }

  note(name: string): void {
    this.sometimes.set(name, (this.sometimes.get(name) ?? 0) + 1);
  }

  // ------------------------------------------------------------------------------------- from the core's entrance

  before(input: Input): void {
    this.#now = input.at;
    this.inputs++;
    if (input.kind !== 'command') return;
    const { command } = input;
    if (this.#executed.has(command.id)) this.#broken('I25', `${command.verb} ${command.id} was executed twice`);
    this.#executed.add(command.id);
    if (command.verb !== 'stop') this.#allow(command.daemons.length === 0 ? this.#specs.size : this.#reach(command));
    this.#commands.set(command.id, { command, at: input.at });
    if (command.verb === 'recover')
      for (const model of this.#model.values())
        if (model.state === 'RESTARTING') this.note('stop-all during RESTARTING');
  }

  /** @param seq number of the input; @param cause the record that it follows from, as the journal keeps it */
  after(input: Input, seq: number, cause: number | null, effects: readonly Effect[], core: Core): void {
    this.#now = input.at;
    this.#answered.length = 0;
    this.#origins.set(seq, this.#originOf(input, seq, cause));
    for (const effect of effects) {
      if (effect.do === 'journal') {
        const { record } = effect;
        this.#origin = this.#inherited(effect.seq, effect.cause);
        this.#origins.set(effect.seq, this.#origin);
        if (record.type === 'transition') this.#transition(record, input);
        else if (record.type === 'keep') this.#keep(record.daemon, record.keep, input);
        else this.#operation(record.operation.phase);
      } else if (effect.do === 'launch') this.#journalled(effect, 'STARTING');
      else if (effect.do === 'stop' || effect.do === 'kill') this.#journalled(effect, 'STOPPING');
      else if (effect.do === 'reply') this.#reply(effect.outcome);
      else if (effect.do === 'alert' && effect.alert.name === 'storm') {
        this.#stormOpen = !effect.alert.resolved;
        if (effect.alert.resolved) this.#stormEndedAt = input.at;
      }
    }
    if (input.kind === 'reattached' && input.ok) this.#proven(input.daemon, input.generation);
    this.#compare(core);
  }

  /** I5: what the runtime is told to do was written down first. */
  #journalled(effect: Extract<Effect, { do: 'launch' | 'stop' | 'kill' }>, state: DaemonState): void {
    const model = this.#of(effect.daemon);
    if (model.state !== state || model.generation !== effect.generation)
      this.#broken(
        'I5',
        `${effect.do} of ${effect.daemon} ${effect.generation}, but the journal says ${model.state} ${model.generation}`,
      );
  }

  /** I5: the live state is what the journal gives, at every record boundary. I15: readiness is not claimed too early. */
  #compare(core: Core): void {
    const { members } = core;
    let notUp = 0;
    let live = 0;
    let unproven = 0;
    for (let index = 0; index < members.length; index++) {
      const member = members[index]!;
      const model = this.#model.get(member.type)!;
      if (
        member.state !== model.state ||
        member.wanted !== model.wanted ||
        member.restarts !== model.charged ||
        (isLive(member.state) ? member.generation !== model.generation : member.generation < model.generation)
      )
        this.#broken(
          'I5',
          `${member.type} is ${member.wanted} ${member.state} ${member.generation}, ${member.restarts} restarts; its journal says ${model.wanted} ${model.state} ${model.generation}, ${model.charged}`,
        );
      if (model.wanted === 'up' && model.state !== 'RUNNING' && model.state !== 'COMPLETED') notUp++;
      if (isLive(model.state)) live++;
      if (model.unproven !== null) unproven++;
    }
    if (core.notUpCount !== notUp)
      this.#broken('I15', `${notUp} daemons are not up, the core counts ${core.notUpCount}`);
    if (core.liveCount !== live) this.#broken('I5', `${live} daemons live, the core counts ${core.liveCount}`);
    const verdict = verdictOf(core, () => null);
    const ready = notUp === 0 && unproven === 0 && !this.#held;
    if (verdict === 'ready' && !ready)
      this.#broken('I15', `ready is claimed with ${notUp} not up, ${unproven} unproven, full stop ${this.#held}`);
    if (ready && verdict !== 'ready' && verdict !== 'booting') this.#broken('I15', `everything is up, but ${verdict}`);
  }

  /** From the acceptance of a full stop until everything is up again. */
  #held = false;

  // ------------------------------------------------------------------------------------- what goes back to what

  #originOf(input: Input, seq: number, cause: number | null): Origin | null {
    switch (input.kind) {
      case 'command': {
        const { verb, daemons } = input.command;
        if (verb === 'recover' || verb === 'shutdown') return null;
        return this.#newOrigin(`${verb} ${daemons.join(', ')}`, daemons, verb === 'stop');
      }
      case 'exited':
      case 'start-failed':
      case 'verdict':
        return cause === null
          ? this.#newOrigin(`${input.kind} of ${input.daemon}`, [input.daemon], false)
          : this.#inherited(seq, cause);
      case 'reattached':
        return this.#newOrigin(`re-attachment of ${input.daemon}`, [input.daemon], false);
      case 'timer': {
        const [kind = '', daemon = ''] = input.timer.split(':');
        if (kind === 'start' || kind === 'reattach') return this.#newOrigin(input.timer, [daemon], false);
        return this.#inherited(seq, cause);
      }
      case 'boot':
        return null;
      default:
        return this.#inherited(seq, cause);
    }
  }

  #newOrigin(what: string, roots: readonly string[], byOperator: boolean): Origin {
    if (roots.length === 1)
      return { what, roots, closure: this.#closureOf(roots[0]!, byOperator), cascaded: new Set() };
    const closure = new Set<string>();
    for (const root of roots) for (const type of this.#closureOf(root, byOperator)) closure.add(type);
    return { what, roots, closure, cascaded: new Set() };
  }

  #inherited(seq: number, cause: number | null): Origin | null {
    if (cause === null) return null;
    if (cause >= seq) this.#broken('I5', `record ${seq} names ${cause} as its cause`);
    const origin = this.#origins.get(cause);
    if (origin === undefined) this.#broken('I5', `record ${seq} names ${cause} as its cause, which nobody wrote`);
    return origin ?? null;
  }

  /** The root and everybody who goes down when it is lost, or stopped by an operator. */
  #closureOf(root: string, byOperator: boolean): ReadonlySet<string> {
    const key = `${byOperator ? 'stop' : 'loss'} ${root}`;
    const known = this.#closures.get(key);
    if (known !== undefined) return known;
    const closure = new Set([root]);
    for (const type of closure)
      for (const edge of this.#neededBy.get(type) ?? [])
        if (takesAlong(edge) || (byOperator && edge.kind === 'hard')) closure.add(edge.from);
    this.#closures.set(key, closure);
    return closure;
  }

  /** I9, I10, I11: who goes down because of this origin. */
  #goesDown(record: TransitionRecord): void {
    const origin = this.#origin;
    if (origin === null) return;
    if (!origin.closure.has(record.daemon))
      this.#broken('I11', `${origin.what} took ${record.daemon} down, which does not hang from it`);
    if (record.on !== 'stop' || record.why !== 'dependency-lost') return;
    if (origin.cascaded.has(record.daemon)) this.#broken('I10', `${origin.what} took ${record.daemon} down twice`);
    origin.cascaded.add(record.daemon);
  }

  // ------------------------------------------------------------------------------------- one record

  #transition(record: TransitionRecord, input: Input): void {
    const model = this.#of(record.daemon);
    this.transitions++;
    this.#mix(input.at, model.index, record);
    const pair = `${record.from} ${record.on}`;
    this.taken.set(pair, (this.taken.get(pair) ?? 0) + 1);
    if (model.state !== record.from)
      this.#broken('I5', `${record.daemon} went ${record.from} → ${record.to}, but was ${model.state}`);
    if (decide(record.from, record.on as LifecycleEvent).to !== record.to)
      this.#broken('I5', `${record.daemon}: ${record.on} does not lead from ${record.from} to ${record.to}`);
    if (record.keep.generation < model.generation)
      this.#broken('I5', `${record.daemon} generation fell from ${model.generation} to ${record.keep.generation}`);
    if (record.from === 'RUNNING') this.#goesDown(record);
    this.#attachments(record, model);
    const charged = this.#chargedBy(record);
    model.state = record.to;
    model.generation = record.keep.generation;
    const policy = this.#specs.get(record.daemon)!;
    if (charged) {
      model.charged++;
      model.exitAt = input.at;
      const delays = policy.restart.delaysMs;
      model.delayMs = delays[Math.min(model.charged, delays.length) - 1] ?? 0;
      model.straight = true;
      if (model.charged > policy.restart.maxRestarts)
        this.#broken('I7', `${record.daemon} was restarted ${model.charged} times`);
    }
    if (record.on === 'held' || record.on === 'stopped-wanted' || record.on === 'exited-secondary')
      model.straight = false;
    if (record.on === 'retry-now' || record.on === 'want') model.charged = 0;
    if (record.on === 'retry-now' || record.on === 'want' || record.on === 'unwant') model.exitAt = null;
    if (record.to === 'RUNNING') {
      model.readyAt = input.at;
      if (model.charged === policy.restart.maxRestarts) this.note('last allowed restart succeeds');
    }
    if (record.to === 'FAILED') this.#gaveUp(record, model.charged, policy);
    this.#counter(record.daemon, record.keep, input);
    this.#wanted(record.daemon, record.keep);
  }

  /** I7: it is given up when the budget is spent, not before. */
  #gaveUp(record: TransitionRecord, charged: number, policy: DaemonSpec): void {
    const mendable = record.why !== 'import-failed' && record.why !== 'config' && record.why !== 'drill';
    if (mendable && policy.autoRestart && charged < policy.restart.maxRestarts)
      this.#broken('I7', `${record.daemon} is FAILED after ${charged} of ${policy.restart.maxRestarts} restarts`);
    for (const edge of this.#neededBy.get(record.daemon) ?? [])
      if (this.#of(edge.from).state === 'WAITING' || this.#of(edge.from).state === 'STARTING')
        this.note('a FAILED daemon is a dependency of one that wants to start');
    if (this.#now - this.#failedAt <= TICK_MS) this.note('two daemons become FAILED in one tick');
    this.#failedAt = this.#now;
  }

  /** Who has to prove its subscriptions: those that stayed up through the loss of another. */
  #attachments(record: TransitionRecord, model: Modelled): void {
    if (record.from === 'RUNNING') model.unproven = null;
    if (!isLive(record.from) || isLive(record.to)) return;
    for (const edge of this.#neededBy.get(record.daemon) ?? []) {
      if (edgeAction(edge.kind, edge.onLoss, 'lost') !== 'stay') continue;
      const dependent = this.#of(edge.from);
      if (dependent.state === 'RUNNING') (dependent.unproven ??= new Set()).add(record.daemon);
    }
  }

  #proven(daemon: string, generation: number): void {
    const model = this.#of(daemon);
    if (model.unproven === null || model.state !== 'RUNNING' || model.generation !== generation) return;
    for (const on of model.unproven) if (this.#of(on).state === 'RUNNING') model.unproven.delete(on);
    if (model.unproven.size === 0) model.unproven = null;
  }

  #chargedBy(record: TransitionRecord): boolean {
    return record.to === 'RESTARTING' && record.why !== 'drill';
  }

  #keep(daemon: string, keep: DaemonKeep, input: Input): void {
    this.#counter(daemon, keep, input);
    this.#wanted(daemon, keep);
  }

  /** I8: the counter falls only by an operator's word or by proven stability. */
  #counter(daemon: string, keep: DaemonKeep, input: Input): void {
    const model = this.#of(daemon);
    if (keep.restarts === model.charged) return;
    if (keep.restarts > model.charged) {
      this.#broken('I8', `${daemon} counts ${keep.restarts} restarts, seen were ${model.charged}`);
      return;
    }
    const operator = input.kind === 'command' || this.#stopAllAt !== null || input.kind === 'boot';
    const stable =
      model.state === 'RUNNING' &&
      model.readyAt !== null &&
      input.at - model.readyAt >= this.#specs.get(daemon)!.restart.stableMs - 1;
    const recovering =
      keep.restarts === 0 && (input.kind === 'timer' || input.kind === 'proven-empty') && this.#recovering;
    if (keep.restarts === 0 && (operator || stable || recovering)) {
      model.charged = 0;
      model.exitAt = null;
      return;
    }
    this.#broken('I8', `${daemon} counter fell from ${model.charged} to ${keep.restarts} on ${input.kind}`);
    model.charged = keep.restarts;
  }

  /** I25: what was last asked and answered stands. */
  #wanted(daemon: string, keep: DaemonKeep): void {
    const model = this.#of(daemon);
    model.wanted = keep.wanted;
    const wish = this.#lastWish.get(daemon);
    if (wish === 'down' && keep.wanted === 'up' && !keep.wantedBy.startsWith('operator') && keep.wantedBy !== 'profile')
      return; // pulled in by another start
    if (wish === 'down' && keep.wanted === 'up' && !this.#startedSince.has(daemon))
      this.#broken('I25', `${daemon} was stopped by a command and is wanted up`);
  }
  readonly #startedSince = new Set<string>();

  #recovering = false;

  #operation(phase: string): void {
    if (phase === 'stopping') {
      this.#stopAllAt = this.#now;
      this.#held = true;
      this.#admission = false;
      this.#recovering = true;
      for (const model of this.#model.values()) model.exitAt = null; // a recovery starts all, whatever their delay
    } else if (phase === 'proving') {
      if (this.#stopAllAt !== null && this.#now - this.#stopAllAt > STOP_ALL_MS)
        this.#broken('I26', `stop-all took ${this.#now - this.#stopAllAt} ms`);
      if ((this.#runtime?.live.size ?? 0) > 0)
        this.#broken('I26', `${this.#runtime?.live.size} daemons live after the full stop`);
      this.#held = true;
      this.#admission = false;
      this.#stopAllAt = null;
      this.#recovering = true;
    } else if (phase === 'draining') {
      this.#admission = false;
    } else if (phase === 'starting') {
      this.#held = true; // a resumed one may begin here
      this.#admission = true;
      this.#stopAllAt = null;
    } else {
      this.#held = false;
      this.#recovering = false;
      this.#stopAllAt = null;
    }
  }

  #reply(outcome: CommandOutcome): void {
    const asked = this.#commands.get(outcome.id);
    if (asked === undefined) return;
    this.#commands.delete(outcome.id);
    this.#answered.push(asked.command);
    if (outcome.code === 'unknown-daemon' || outcome.code === 'refused') return;
    const { verb } = asked.command;
    for (const daemon of asked.command.daemons) {
      if (verb === 'start' || verb === 'restart') this.#startedSince.add(daemon);
    }
  }

  /** Commands answered by the present input. */
  readonly #answered: Command[] = [];

  /** The master died in the middle of the present input: its answers may never have left. */
  died(): void {
    for (const command of this.#answered) this.#forgetWish(command);
  }

  #forgetWish(command: Command): void {
    if (command.verb === 'start-profile') this.#lastWish.clear();
    for (const daemon of command.daemons) this.#lastWish.delete(daemon);
  }

  /** The machine slept: what fell due meanwhile is late, and nobody is to blame. */
  stalled(): void {
    for (const model of this.#model.values()) model.straight = false;
    this.#stopAllAt = null;
  }

  /** A repeat of it changes nothing. */
  hasExecuted(id: string): boolean {
    return this.#executed.has(id);
  }

  /** A command was accepted: called by the driver in the order it sent them. */
  wish(daemon: string, wish: 'up' | 'down'): void {
    this.#lastWish.set(daemon, wish);
    if (wish === 'down') this.#startedSince.delete(daemon);
    else this.#startedSince.add(daemon);
  }

  // ------------------------------------------------------------------------------------- from the runtime

  onLaunch(daemon: string, generation: number): void {
    const model = this.#of(daemon);
    const live = this.#runtime?.live;
    this.launchesTotal++;
    const before = live?.get(daemon);
    if (before !== undefined)
      this.#broken('I3', `${daemon} start ${generation} while start ${before.generation} lives`);
    if (generation <= model.launched)
      this.#broken('I3', `${daemon} start ${generation} after start ${model.launched} of the same master`);
    model.launched = generation;
    if (!this.#admission) this.#broken('I26', `${daemon} was started between stop-all and start-all`);
    if (model.state === 'FAILED') this.#broken('I7', `${daemon} was started out of FAILED`);
    for (const edge of this.#needs.get(daemon) ?? []) if (edge.kind === 'hard') this.#startOrder(edge);
    if (model.exitAt !== null) {
      const waited = this.#now - model.exitAt;
      if (waited < model.delayMs - ROUNDING_MS)
        this.#broken('I6', `${daemon} restart ${model.charged} after ${waited} ms, the policy says ${model.delayMs}`);
      const latest = Math.max(model.exitAt + model.delayMs * 1.1, this.#stormEndedAt) + TICK_MS;
      if (model.straight && !this.#stormOpen && this.#now > latest)
        this.#broken('I6', `${daemon} restart ${model.charged} only after ${waited} ms`);
      model.exitAt = null;
    }
    this.#launches.push(this.#now);
    while ((this.#launches[0] ?? this.#now) < this.#now - LAUNCH_WINDOW_MS) this.#launches.shift();
    while ((this.#asked[0]?.at ?? this.#now) < this.#now - LAUNCH_WINDOW_MS) this.#asked.shift();
    let allowed = this.#specs.size * LAUNCHES_PER_DAEMON;
    for (const { starts } of this.#asked) allowed += starts;
    if (this.#launches.length > allowed)
      this.#broken('I12', `${this.#launches.length} starts within 10 s, at most ${allowed} were due`);
  }

  /** Starts that people asked for, or a new master: not the restart policy's. */
  readonly #asked: { readonly at: number; readonly starts: number }[] = [];

  #allow(starts: number): void {
    this.#asked.push({ at: this.#now, starts });
  }

  /** Who may start because of a command. */
  #reach(command: Command): number {
    return command.daemons.reduce((sum, daemon) => sum + this.#closureOf(daemon, false).size, 0);
  }

  /** I1, as the runtime sees it. */
  #startOrder({ from, on, condition }: ResolvedEdge): void {
    const instance = this.#runtime?.live.get(on);
    const { state } = this.#of(on);
    const holds =
      state === 'COMPLETED' ||
      (condition === 'ready' && instance?.phase === 'ready') ||
      (condition === 'started' && (instance?.phase === 'starting' || instance?.phase === 'ready'));
    if (!holds)
      this.#broken(
        'I1',
        `${from} was started while ${on}, which it needs ${condition}, is ${instance?.phase ?? state}`,
      );
  }

  onStop(daemon: string, _generation: number, full: boolean): void {
    const all = full || this.#of(daemon).wanted === 'down';
    for (const edge of this.#neededBy.get(daemon) ?? []) {
      const cascades = takesAlong(edge) || (all && edge.kind === 'hard');
      if (!cascades && !(full && edge.kind !== 'hard')) continue;
      if (this.#runtime?.live.has(edge.from) === true)
        this.#broken('I2', `${daemon} was asked to stop while its dependent ${edge.from} lives`);
    }
  }

  onKill(): void {}
  onGone(): void {}

  // ------------------------------------------------------------------------------------- at rest, and over crashes

  /** I9 and I10: after failures at once in a quiet fleet, exactly these generations changed, by one. */
  exactCascade(roots: readonly string[], before: ReadonlyMap<string, number>, what: string): void {
    const expected = new Set(roots);
    for (const type of expected)
      for (const edge of this.#neededBy.get(type) ?? [])
        if (before.has(edge.from) && takesAlong(edge)) expected.add(edge.from);
    const of = roots.join(' and ');
    for (const [type, generation] of before) {
      const changed = this.#of(type).generation - generation;
      if (changed !== 0 && !expected.has(type)) this.#broken('I9', `${what} of ${of} restarted ${type}`);
      if (changed === 0 && expected.has(type)) this.#broken('I9', `${what} of ${of} did not restart ${type}`);
      if (changed > 1) this.#broken('I10', `${what} of ${of} restarted ${type} ${changed} times`);
    }
  }

  /** Of what is RUNNING. */
  generations(): Map<string, number> {
    const running = [...this.#model].filter(([, { state }]) => state === 'RUNNING');
    return new Map(running.map(([type, model]) => [type, model.generation]));
  }

  /** The master was killed and another starts from what was kept. */
  masterRestarted(keeps: ReadonlyMap<string, DaemonKeep>, states: ReadonlyMap<string, DaemonState>): void {
    this.#admission = true;
    this.#stopAllAt = null;
    this.#recovering = false;
    this.#held = false;
    this.#stormOpen = false;
    this.#executed = new Set();
    this.#allow(this.#specs.size);
    this.#origins.clear();
    // What was not answered yet was not promised.
    for (const { command } of this.#commands.values()) this.#forgetWish(command);
    this.#commands.clear();
    for (const [type, model] of this.#model) {
      const keep = keeps.get(type);
      const state = states.get(type) ?? 'WAITING';
      if (keep?.failed === true && keep.wanted === 'up' && state !== 'FAILED')
        this.#broken('I28', `${type} was FAILED before the master died and is ${state} after`);
      if (isLive(state)) this.#broken('I28', `${type} is ${state} right after a restart of the master`);
      if (keep?.wanted === 'down' && keep.wantedBy === 'operator' && state !== 'STOPPED')
        this.#broken('I28', `${type} was stopped by an operator before the master died and is ${state} after`);
      model.state = state;
      model.charged = keep?.restarts ?? 0;
      model.exitAt = null;
      model.launched = 0;
      model.unproven = null;
      model.generation = keep?.generation ?? 0;
      const byPerson = keep !== undefined && (keep.wantedBy === 'operator' || keep.wantedBy.startsWith(PULLED_IN));
      model.wanted = byPerson ? keep.wanted : this.#specs.get(type)!.inProfile ? 'up' : 'down';
      if (keep !== undefined && this.#lastWish.get(type) === 'down' && keep.wanted === 'up') this.#wanted(type, keep);
    }
  }

  /** I25: a command that waits has an end. */
  openCommands(now: number): void {
    for (const { command, at } of this.#commands.values())
      if (command.waitMs > 0 && command.verb !== 'recover' && now - at > command.waitMs + 1_000)
        this.#broken('I25', `${command.verb} ${command.daemons.join(', ')} has had no answer for ${now - at} ms`);
  }

  /** I32: with the faults gone, everything that may run runs. */
  converged(stuck: readonly string[]): void {
    if (stuck.length > 0) this.#broken('I32', `not up after the last fault: ${stuck.join(', ')}`);
  }

  /** I25: at rest each daemon is what was last asked of it, and what waits for ever says who must act. */
  atRest(unexplained: readonly string[]): void {
    if (unexplained.length > 0) this.#broken('I25', `waits and does not say for whom: ${unexplained.join(', ')}`);
    for (const [daemon, wish] of this.#lastWish) {
      const { state, wanted } = this.#of(daemon);
      if (wish === 'down' ? state !== 'STOPPED' : wanted === 'down')
        this.#broken('I25', `${daemon} was last told to be ${wish}, and is wanted ${wanted} and ${state} at rest`);
    }
    for (const [type, { state }] of this.#model) {
      if (state !== 'RUNNING' && state !== 'STARTING') continue;
      for (const edge of this.#needs.get(type) ?? [])
        if (edge.kind === 'hard' && this.#of(edge.on).state === 'STOPPED')
          this.#broken('I25', `${type} is ${state} at rest although ${edge.on}, which it needs, is STOPPED`);
    }
  }

  broken(invariant: string, message: string): void {
    this.#broken(invariant, message);
  }

  #broken(invariant: string, message: string): void {
    let kept = 0;
    for (const violation of this.violations) if (violation.invariant === invariant) kept++;
    if (kept < VIOLATIONS_KEPT) this.violations.push({ invariant, at: this.#now, message });
  }

  #of(daemon: string): Modelled {
    const model = this.#model.get(daemon);
    if (model === undefined) throw new Error(`no such daemon ${daemon}`);
    return model;
  }

  #mix(at: number, index: number, record: TransitionRecord): void {
    this.#stir(Math.round(at * 1000));
    this.#stir(index);
    this.#stir(record.generation);
    for (const word of [record.from, record.on, record.to])
      for (let place = 0; place < word.length; place++) this.#stir(word.charCodeAt(place));
  }

  #stir(value: number): void {
    this.#hash = Math.imul(this.#hash ^ value, 0x01000193);
    this.#hash2 = Math.imul(this.#hash2 ^ value, 0x85ebca6b) ^ (this.#hash2 >>> 13);
  }
}

/** Losing `on` takes `from` down with it. */
const takesAlong = ({ kind, onLoss }: ResolvedEdge): boolean =>
  kind === 'hard' && (onLoss === 'restart' || onLoss === 'stop');

const emptyModel = (index: number): Modelled => ({
  index,
  state: 'WAITING',
  generation: 0,
  charged: 0,
  exitAt: null,
  delayMs: 0,
  straight: false,
  wanted: 'up',
  readyAt: null,
  launched: 0,
  unproven: null,
});

/**
 * Watches a run from outside and says when a promise was broken. It keeps a model of its own, fed by what was journalled
 * and by what the runtime was really told to do; it never asks the core whether the core is right.
 *
 * Names are those of the invariants: I1 start order, I2 stop order, I3 one incarnation, I5 legal and continuous
 * transitions, I6 back-off, I7 budget, I8 counter reset, I9 exact cascade, I10 coalescing, I11 blast radius, I12 restart
 * rate, I25 commands end and the last one stands, I26 stop-all, I28 crash atomicity, I32 convergence.
 */
import type { Fleet, ResolvedEdge } from '../fleet/types.ts';
import { isLive, type DaemonState } from '../lifecycle/states.ts';
import type { Command, CommandOutcome, DaemonKeep, Effect, Input, TransitionRecord } from '../orchestrator/types.ts';
import type { SimulatedRuntime } from './simulated-runtime.ts';

export interface Violation {
  readonly invariant: string;
  readonly at: number;
  readonly message: string;
}

interface Modelled {
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
  launches: number;
}

const TICK_MS = 250;
/** Sums of binary fractions. */
const ROUNDING_MS = 1e-6;
const LAUNCH_WINDOW_MS = 10_000;

export class Checkers {
  readonly violations: Violation[] = [];
  readonly sometimes = new Map<string, number>();
  inputs = 0;
  transitions = 0;
  launchesTotal = 0;
  readonly #fleet: Fleet;
  readonly #needs = new Map<string, readonly ResolvedEdge[]>();
  readonly #neededBy = new Map<string, ResolvedEdge[]>();
  readonly #model = new Map<string, Modelled>();
  readonly #commands = new Map<string, { readonly command: Command; readonly at: number }>();
  /** Serial order of accepted start/stop per daemon: the last one stands. */
  readonly #lastWish = new Map<string, 'up' | 'down'>();
  readonly #launches: number[] = [];
  #runtime: SimulatedRuntime | null = null;
  #stopAllAt: number | null = null;
  #admission = true;
  #now = 0;
  #stormSince: number | null = null;
  #hash = 0x811c9dc5;
  #hash2 = 0x9e3779b9;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    for (const spec of fleet.daemons) {
      this.#needs.set(spec.type, spec.edges);
      this.#neededBy.set(spec.type, []);
    }
    for (const spec of fleet.daemons) for (const edge of spec.edges) this.#neededBy.get(edge.on)?.push(edge);
    for (const spec of fleet.daemons) this.#model.set(spec.type, emptyModel());
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
    this.#commands.set(command.id, { command, at: input.at });
    if (command.verb === 'recover')
      for (const model of this.#model.values())
        if (model.state === 'RESTARTING') this.note('stop-all during RESTARTING');
  }

  after(input: Input, effects: readonly Effect[]): void {
    this.#now = input.at;
    for (const effect of effects) {
      if (effect.do === 'journal') {
        const { record } = effect;
        if (record.type === 'transition') this.#transition(record, input);
        else if (record.type === 'keep') this.#keep(record.daemon, record.keep, input);
        else this.#operation(record.operation.phase);
      } else if (effect.do === 'reply') this.#reply(effect.outcome);
      else if (effect.do === 'alert' && effect.alert.name === 'storm')
        this.#stormSince = effect.alert.resolved ? null : input.at;
    }
  }

  #transition(record: TransitionRecord, input: Input): void {
    const model = this.#of(record.daemon);
    this.transitions++;
    this.#mix(`${input.at}|${record.daemon}|${record.from}|${record.to}|${record.on}|${record.generation}`);
    if (model.state !== record.from)
      this.#broken('I5', `${record.daemon} went ${record.from} → ${record.to}, but was ${model.state}`);
    if (record.keep.generation < model.generation)
      this.#broken('I5', `${record.daemon} generation fell from ${model.generation} to ${record.keep.generation}`);
    const charged = this.#chargedBy(record);
    model.state = record.to;
    model.generation = record.keep.generation;
    if (charged) {
      model.charged++;
      model.exitAt = input.at;
      const delays = this.#restart(record.daemon).delaysMs;
      model.delayMs = delays[Math.min(model.charged, delays.length) - 1] ?? 0;
      model.straight = true;
      if (model.charged > this.#restart(record.daemon).maxRestarts)
        this.#broken('I7', `${record.daemon} was restarted ${model.charged} times`);
    }
    if (record.on === 'held' || record.on === 'stopped-wanted' || record.on === 'exited-secondary')
      model.straight = false;
    if (record.on === 'retry-now' || record.on === 'want') model.charged = 0;
    if (record.on === 'retry-now' || record.on === 'want' || record.on === 'unwant') model.exitAt = null;
    if (record.to === 'RUNNING') {
      model.readyAt = input.at;
      if (model.charged === this.#restart(record.daemon).maxRestarts) this.note('last allowed restart succeeds');
    }
    if (record.to === 'FAILED')
      for (const edge of this.#neededBy.get(record.daemon) ?? [])
        if (this.#of(edge.from).state === 'WAITING' || this.#of(edge.from).state === 'STARTING')
          this.note('a FAILED daemon is a dependency of one that wants to start');
    this.#counter(record.daemon, record.keep, input);
    this.#wanted(record.daemon, record.keep);
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
      input.at - model.readyAt >= this.#restart(daemon).stableMs - 1;
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
      this.#admission = false;
      this.#recovering = true;
      for (const model of this.#model.values()) model.exitAt = null; // a recovery starts all, whatever their delay
    } else if (phase === 'proving') {
      if (this.#stopAllAt !== null && this.#now - this.#stopAllAt > 32_000 + TICK_MS)
        this.#broken('I26', `stop-all took ${this.#now - this.#stopAllAt} ms`);
      if ((this.#runtime?.live.size ?? 0) > 0)
        this.#broken('I26', `${this.#runtime?.live.size} daemons live after the full stop`);
      this.#admission = false;
      this.#stopAllAt = null;
      this.#recovering = true;
    } else if (phase === 'draining') {
      this.#admission = false;
    } else if (phase === 'starting') {
      this.#admission = true;
      this.#stopAllAt = null;
    } else {
      this.#recovering = false;
      this.#stopAllAt = null;
    }
  }

  #reply(outcome: CommandOutcome): void {
    const asked = this.#commands.get(outcome.id);
    if (asked === undefined) return;
    this.#commands.delete(outcome.id);
    if (outcome.code === 'unknown-daemon' || outcome.code === 'refused') return;
    const { verb } = asked.command;
    for (const daemon of asked.command.daemons) {
      if (verb === 'start' || verb === 'restart') this.#startedSince.add(daemon);
    }
  }

  /** The machine slept: what fell due meanwhile is late, and nobody is to blame. */
  stalled(): void {
    for (const model of this.#model.values()) model.straight = false;
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
    this.launchesTotal++;
    model.launches++;
    if (this.#runtime?.live.has(daemon) === true)
      this.#broken(
        'I3',
        `${daemon} start ${generation} while start ${this.#runtime.live.get(daemon)?.generation} lives`,
      );
    if (!this.#admission) this.#broken('I26', `${daemon} was started between stop-all and start-all`);
    if (model.state === 'FAILED') this.#broken('I7', `${daemon} was started out of FAILED`);
    for (const edge of this.#needs.get(daemon) ?? []) {
      if (edge.kind !== 'hard') continue;
      const on = this.#runtime?.live.get(edge.on);
      if (edge.condition === 'ready' && (on === undefined || on.phase !== 'ready'))
        this.#broken('I1', `${daemon} was started while ${edge.on} is ${on?.phase ?? 'not running'}`);
    }
    if (model.exitAt !== null) {
      const waited = this.#now - model.exitAt;
      if (waited < model.delayMs - ROUNDING_MS)
        this.#broken('I6', `${daemon} restart ${model.charged} after ${waited} ms, the policy says ${model.delayMs}`);
      if (model.straight && this.#stormSince === null && waited > model.delayMs * 1.1 + TICK_MS)
        this.#broken('I6', `${daemon} restart ${model.charged} only after ${waited} ms`);
      model.exitAt = null;
    }
    this.#launches.push(this.#now);
    while ((this.#launches[0] ?? this.#now) < this.#now - LAUNCH_WINDOW_MS) this.#launches.shift();
    if (this.#launches.length > this.#fleet.daemons.length * 4)
      this.#broken('I12', `${this.#launches.length} starts within 10 s`);
  }

  onStop(daemon: string, _generation: number, full: boolean): void {
    const all = full || this.#of(daemon).wanted === 'down';
    for (const edge of this.#neededBy.get(daemon) ?? []) {
      const cascades = edge.kind === 'hard' && (all || edge.onLoss === 'restart' || edge.onLoss === 'stop');
      if (!cascades && !(full && edge.kind !== 'hard')) continue;
      if (this.#runtime?.live.has(edge.from) === true)
        this.#broken('I2', `${daemon} was asked to stop while its dependent ${edge.from} lives`);
    }
  }

  onKill(): void {}
  onGone(): void {}

  // ------------------------------------------------------------------------------------- at rest, and over crashes

  /** I9 and I11: after one event in a quiet fleet, exactly these generations may have changed. */
  exactCascade(root: string, before: ReadonlyMap<string, number>, what: string): void {
    const expected = new Set([root]);
    for (const type of expected)
      for (const edge of this.#neededBy.get(type) ?? [])
        if (edge.kind === 'hard' && (edge.onLoss === 'restart' || edge.onLoss === 'stop')) expected.add(edge.from);
    for (const [type, generation] of before) {
      const changed = this.#of(type).generation - generation;
      if (changed !== 0 && !expected.has(type)) this.#broken('I9', `${what} of ${root} restarted ${type}`);
      if (changed === 0 && expected.has(type)) this.#broken('I9', `${what} of ${root} did not restart ${type}`);
      if (changed > 1) this.#broken('I10', `${what} of ${root} restarted ${type} ${changed} times`);
    }
  }

  generations(): Map<string, number> {
    return new Map([...this.#model].map(([type, model]) => [type, model.generation]));
  }

  /** The master was killed and another starts from what was kept. */
  masterRestarted(keeps: ReadonlyMap<string, DaemonKeep>, states: ReadonlyMap<string, DaemonState>): void {
    this.#admission = true;
    this.#stopAllAt = null;
    this.#recovering = false;
    this.#stormSince = null;
    // What was not answered yet was not promised.
    for (const { command } of this.#commands.values())
      for (const daemon of command.daemons) this.#lastWish.delete(daemon);
    this.#commands.clear();
    for (const [type, model] of this.#model) {
      const keep = keeps.get(type);
      const state = states.get(type) ?? 'WAITING';
      if (keep?.failed === true && keep.wanted === 'up' && state !== 'FAILED')
        this.#broken('I28', `${type} was FAILED before the master died and is ${state} after`);
      if (isLive(state)) this.#broken('I28', `${type} is ${state} right after a restart of the master`);
      model.state = state;
      model.charged = keep?.restarts ?? 0;
      model.exitAt = null;
      model.generation = keep?.generation ?? 0;
      model.wanted = keep?.wanted ?? 'up';
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

  broken(invariant: string, message: string): void {
    this.#broken(invariant, message);
  }

  #broken(invariant: string, message: string): void {
    if (this.violations.length < 20) this.violations.push({ invariant, at: this.#now, message });
  }

  #of(daemon: string): Modelled {
    const model = this.#model.get(daemon);
    if (model === undefined) throw new Error(`no such daemon ${daemon}`);
    return model;
  }

  #restart(daemon: string): Fleet['daemons'][number]['restart'] {
    this.#policies ??= new Map(this.#fleet.daemons.map((spec) => [spec.type, spec.restart]));
    return this.#policies.get(daemon)!;
  }
  #policies: Map<string, Fleet['daemons'][number]['restart']> | null = null;

  #mix(text: string): void {
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      this.#hash = Math.imul(this.#hash ^ code, 0x01000193);
      this.#hash2 = Math.imul(this.#hash2 ^ code, 0x85ebca6b) ^ (this.#hash2 >>> 13);
    }
  }
}

const emptyModel = (): Modelled => ({
  state: 'WAITING',
  generation: 0,
  charged: 0,
  exitAt: null,
  delayMs: 0,
  straight: false,
  wanted: 'up',
  readyAt: null,
  launches: 0,
});

/** Drives a core by hand: time is a number, effects are collected, and a permission is used at once unless told not to. */
import { Core, type CoreOptions } from '../../src/orchestrator/core.ts';
import type { Fleet } from '../../src/fleet/types.ts';
import type { CommandOutcome, CommandVerb, Effect, Input } from '../../src/orchestrator/types.ts';

type Unstamped = Input extends infer Each ? (Each extends Input ? Omit<Each, 'at' | 'wallMs'> : never) : never;

const WALL_ORIGIN = 1_800_000_000_000;

export class BareCore {
  readonly core: Core;
  now = 0;
  /** Armed timers by name, due time in milliseconds. */
  readonly timers = new Map<string, number>();
  readonly effects: Effect[] = [];
  readonly replies: CommandOutcome[] = [];
  readonly launched: string[] = [];
  readonly stops: string[] = [];
  readonly inputs: { readonly input: Input; readonly seq: number }[] = [];
  /** Daemons whose starts are reported ready at once; the others stay STARTING. */
  autoReady = true;
  /** Permissions are used at once; else by `begin`. */
  autoStart = true;
  /** Of every record: the one that it follows from. */
  readonly causes = new Map<number, number | null>();
  #command = 0;

  constructor(fleet: Fleet, options: Partial<CoreOptions> = {}) {
    this.core = new Core({ fleet, priority: new Map(), ...options });
  }

  /** Handles one input and everything that follows from it at this instant. */
  input(input: Unstamped): Effect[] {
    const all: Effect[] = [];
    const queue: Unstamped[] = [input];
    for (let next = 0; next < queue.length; next++) {
      const stamped = { ...queue[next], at: this.now, wallMs: WALL_ORIGIN + this.now } as Input;
      const seq = this.core.nextSeq;
      this.inputs.push({ input: stamped, seq });
      const effects = this.core.handle(stamped, seq);
      this.causes.set(seq, this.core.inputCause);
      all.push(...effects);
      for (const effect of effects) this.#follow(effect, queue);
    }
    this.effects.push(...all);
    return all;
  }

  #follow(effect: Effect, queue: Unstamped[]): void {
    switch (effect.do) {
      case 'start':
        if (this.autoStart) queue.push({ kind: 'start-begun', daemon: effect.daemon, generation: effect.generation });
        break;
      case 'launch':
        this.launched.push(effect.daemon);
        if (this.autoReady) queue.push({ kind: 'ready', daemon: effect.daemon, generation: effect.generation });
        break;
      case 'stop':
        this.stops.push(effect.daemon);
        break;
      case 'kill':
        this.stops.push(`${effect.daemon}!`);
        queue.push({
          kind: 'exited',
          daemon: effect.daemon,
          generation: effect.generation,
          failure: null,
          forced: true,
        });
        break;
      case 'arm-timer':
        if (effect.delayMs <= 0) queue.push({ kind: 'timer', timer: effect.timer });
        else this.timers.set(effect.timer, this.now + effect.delayMs);
        break;
      case 'cancel-timer':
        this.timers.delete(effect.timer);
        break;
      case 'journal':
        this.causes.set(effect.seq, effect.cause);
        break;
      case 'prove-empty':
        queue.push({ kind: 'proven-empty', operation: effect.operation, left: [] });
        break;
      case 'reply':
        this.replies.push(effect.outcome);
        break;
      default:
        break;
    }
  }

  /** Lets `ms` pass, firing what falls due in order. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const due = [...this.timers].filter(([, at]) => at <= until).sort((a, b) => a[1] - b[1])[0];
      if (due === undefined) break;
      this.timers.delete(due[0]);
      this.now = due[1];
      this.input({ kind: 'timer', timer: due[0] });
    }
    this.now = until;
  }

  boot(): this {
    this.input({ kind: 'boot' });
    return this;
  }

  /** A start slot is granted to a daemon that has permission. */
  begin(daemon: string): Effect[] {
    return this.input({ kind: 'start-begun', daemon, generation: this.core.get(daemon)?.generation ?? 0 });
  }

  exit(daemon: string, message = 'boom'): Effect[] {
    const generation = this.core.get(daemon)?.generation ?? 0;
    return this.input({ kind: 'exited', daemon, generation, failure: { message, code: 'TEST' }, forced: false });
  }

  /** The graceful end of a daemon that was asked to stop. */
  stopped(daemon: string): Effect[] {
    const generation = this.core.get(daemon)?.generation ?? 0;
    return this.input({ kind: 'exited', daemon, generation, failure: null, forced: false });
  }

  /** Answers every stop asked for until nothing is stopping. @returns the order in which they were asked */
  finishStops(): string[] {
    const order: string[] = [];
    for (;;) {
      const next = this.stops.shift();
      if (next === undefined) return order;
      order.push(next);
      if (!next.endsWith('!')) this.stopped(next);
    }
  }

  command(
    verb: CommandVerb,
    daemons: readonly string[] = [],
    more: {
      waitMs?: number;
      origin?: 'operator' | 'drill' | 'daemon' | 'schedule';
      drainMs?: number;
      resetFailed?: boolean;
    } = {},
  ): string {
    const id = `c${++this.#command}`;
    this.input({
      kind: 'command',
      command: { id, verb, daemons, origin: 'operator', reason: 'test', waitMs: 60_000, ...more },
    });
    return id;
  }

  reply(id: string): CommandOutcome | undefined {
    return this.replies.find((outcome) => outcome.id === id);
  }

  state(daemon: string): string {
    return this.core.get(daemon)?.state ?? 'UNKNOWN';
  }

  states(): Record<string, string> {
    return Object.fromEntries(this.core.members.map((member) => [member.type, member.state]));
  }
}

/**
 * Daemons without code: starts take time, stops take time, and faults are scripted. It stands in for the runtimes under
 * the same port, so the loop that drives it is the real one.
 *
 * It also misbehaves the way the world does: an end may be reported twice, and a report of an earlier start may arrive
 * late. The core must drop those by generation. A one-shot task is gone when it says ready, as in the real runtimes.
 */
import type { Answer } from '../health/monitor.ts';
import { degraded, healthy, unhealthy, unknown } from '../health/verdict.ts';
import type { Runtime, RuntimeEvents } from '../orchestrator/ports.ts';
import type { Clock, Timer } from '../seams/clock.ts';
import type { Random } from '../seams/random.ts';

export type Sickness = 'none' | 'hung' | 'unhealthy' | 'degraded';

/** What is scripted for a daemon; survives its starts until healed. */
export interface Script {
  sickness: Sickness;
  /** The next so many starts fail. */
  failStarts: number;
  /** The next so many starts are never ready. */
  silentStarts: number;
  /** The next so many starts crash soon after ready. */
  crashAfterReady: number;
  ignoresStop: boolean;
  importFails: boolean;
  reattach: 'ok' | 'refused' | 'silent';
}

export interface Instance {
  readonly daemon: string;
  readonly generation: number;
  phase: 'starting' | 'ready' | 'stopping';
  readonly timers: Set<Timer>;
}

export interface RuntimeWatch {
  onLaunch(daemon: string, generation: number): void;
  onStop(daemon: string, generation: number, full: boolean): void;
  onKill(daemon: string, generation: number): void;
  onGone(daemon: string, generation: number): void;
}

const fresh = (): Script => ({
  sickness: 'none',
  failStarts: 0,
  silentStarts: 0,
  crashAfterReady: 0,
  ignoresStop: false,
  importFails: false,
  reattach: 'ok',
});

export class SimulatedRuntime implements Runtime {
  readonly live = new Map<string, Instance>();
  readonly #scripts = new Map<string, Script>();
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #events: RuntimeEvents;
  readonly #watch: RuntimeWatch;
  readonly #oneShots: ReadonlySet<string>;
  #dead = false;

  constructor(
    clock: Clock,
    random: Random,
    events: RuntimeEvents,
    watch: RuntimeWatch,
    scripts: Map<string, Script>,
    oneShots: ReadonlySet<string>,
  ) {
    this.#clock = clock;
    this.#random = random;
    this.#events = events;
    this.#watch = watch;
    this.#scripts = scripts;
    this.#oneShots = oneShots;
  }

  script(daemon: string): Script {
    let script = this.#scripts.get(daemon);
    if (script === undefined) this.#scripts.set(daemon, (script = fresh()));
    return script;
  }

  launch(daemon: string, generation: number): void {
    if (this.#dead) return;
    this.#watch.onLaunch(daemon, generation);
    const instance: Instance = { daemon, generation, phase: 'starting', timers: new Set() };
    this.live.set(daemon, instance);
    const script = this.script(daemon);
    const startMs = Math.floor(this.#random.uniform() * 200);
    if (script.importFails || script.failStarts > 0) {
      const cause = script.importFails ? 'import-failed' : 'start-failed';
      if (!script.importFails) script.failStarts--;
      this.#later(instance, startMs, () => {
        this.#gone(instance);
        this.#events.startFailed(daemon, generation, { message: `scripted ${cause}`, code: cause }, cause);
      });
      return;
    }
    if (script.silentStarts > 0) {
      script.silentStarts--;
      return;
    }
    this.#later(instance, startMs, () => {
      this.#ready(instance);
      if (script.crashAfterReady <= 0) return;
      script.crashAfterReady--;
      this.#later(instance, Math.floor(this.#random.uniform() * 500), () => {
        const healed = this.#scripts.get(daemon) !== script;
        if (!healed && this.live.get(daemon) === instance) this.crash(daemon);
      });
    });
  }

  stop(daemon: string, generation: number, _deadlineMs: number, full: boolean): void {
    const instance = this.live.get(daemon);
    if (instance === undefined || instance.generation !== generation) return;
    this.#watch.onStop(daemon, generation, full);
    instance.phase = 'stopping';
    this.#cancel(instance);
    if (this.script(daemon).ignoresStop) return;
    this.#later(instance, Math.floor(this.#random.uniform() * 100), () => this.#end(instance, false));
  }

  kill(daemon: string, generation: number): void {
    const instance = this.live.get(daemon);
    if (instance === undefined || instance.generation !== generation) return;
    this.#watch.onKill(daemon, generation);
    instance.phase = 'stopping';
    this.#cancel(instance);
    this.#later(instance, Math.floor(this.#random.uniform() * 5), () => this.#end(instance, true));
  }

  reattach(daemon: string, generation: number): void {
    const instance = this.live.get(daemon);
    if (instance === undefined || instance.generation !== generation) return;
    const { reattach } = this.script(daemon);
    if (reattach === 'silent') return;
    this.#later(instance, Math.floor(this.#random.uniform() * 50), () =>
      this.#events.reattached(daemon, generation, reattach === 'ok', reattach),
    );
  }

  findLeft(report: (left: readonly string[]) => void): void {
    report([...this.live.keys()]);
  }

  /** It dies without being asked. @returns false when nothing of it is running */
  crash(daemon: string, message = 'scripted crash'): boolean {
    const instance = this.live.get(daemon);
    if (instance === undefined) return false;
    this.#gone(instance);
    this.#report(instance, { message, code: 'CRASH' }, false);
    return true;
  }

  check(daemon: string): Answer {
    const instance = this.live.get(daemon);
    if (instance === undefined || instance.phase !== 'ready') return { health: unknown(), missed: false };
    switch (this.script(daemon).sickness) {
      case 'none':
        return HEALTHY;
      case 'hung':
        return { health: unhealthy('no progress'), missed: true };
      case 'unhealthy':
        return { health: unhealthy('scripted'), missed: false };
      case 'degraded':
        return { health: degraded('scripted'), missed: false };
    }
  }

  /** Nothing is scripted any more; what hung inside a start goes on as a healthy one would. */
  heal(): void {
    this.#scripts.clear();
    for (const instance of this.live.values()) {
      if (instance.timers.size > 0) continue;
      if (instance.phase === 'starting') this.#later(instance, 50, () => this.#ready(instance));
      else if (instance.phase === 'stopping') this.#later(instance, 50, () => this.#end(instance, false));
    }
  }

  /** The master was killed: every in-process start died with it, and nothing more is reported. */
  die(): void {
    this.#dead = true;
    for (const instance of this.live.values()) this.#cancel(instance);
    this.live.clear();
  }

  #ready(instance: Instance): void {
    const { daemon, generation } = instance;
    instance.phase = 'ready';
    if (this.#oneShots.has(daemon)) this.#gone(instance);
    this.#events.ready(daemon, generation);
  }

  #end(instance: Instance, forced: boolean): void {
    this.#gone(instance);
    this.#report(instance, null, forced);
  }

  #gone(instance: Instance): void {
    this.#cancel(instance);
    if (this.live.get(instance.daemon) === instance) this.live.delete(instance.daemon);
    this.#watch.onGone(instance.daemon, instance.generation);
  }

  #report(instance: Instance, failure: { message: string; code: string } | null, forced: boolean): void {
    const { daemon, generation } = instance;
    if (this.#dead) return;
    this.#events.exited(daemon, generation, failure, forced);
    const luck = this.#random.uniform();
    if (luck > 0.1) return;
    // The same end once more, late, when the next start may already be running.
    this.#clock.after(Math.floor(luck * 60_000), () => {
      if (!this.#dead) this.#events.exited(daemon, generation, failure, forced);
    });
  }

  #later(instance: Instance, delayMs: number, run: () => void): void {
    const timer = this.#clock.after(delayMs, () => {
      instance.timers.delete(timer);
      if (!this.#dead) run();
    });
    instance.timers.add(timer);
  }

  #cancel(instance: Instance): void {
    for (const timer of instance.timers) timer.cancel();
    instance.timers.clear();
  }
}

const HEALTHY: Answer = { health: healthy(), missed: false };

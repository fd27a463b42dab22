/** What transitions say about a drill: pure, so that a recorded run and a live one are read alike. */
import { isLive, type DaemonState } from '../../lifecycle/states.ts';
import type { TurnReport } from '../../orchestrator/ports.ts';

export type Transition = Pick<
  TurnReport['transitions'][number],
  'daemon' | 'from' | 'to' | 'on' | 'why' | 'message' | 'generation' | 'at' | 'wallMs'
>;

export interface Recovery {
  /** It left RUNNING. */
  readonly detected: Transition | null;
  /** Its broken start is proven gone. */
  readonly gone: Transition | null;
  readonly restarted: Transition | null;
  readonly ready: Transition | null;
}

/** How one daemon went down and came back, by its transitions after the fault. */
export const recoveryOf = (transitions: readonly Transition[], daemon: string): Recovery => {
  let detected: Transition | null = null;
  let gone: Transition | null = null;
  let restarted: Transition | null = null;
  let ready: Transition | null = null;
  for (const transition of transitions) {
    if (transition.daemon !== daemon) continue;
    if (detected === null && transition.from === 'RUNNING') detected = transition;
    if (detected === null) continue;
    if (gone === null && isLive(transition.from) && !isLive(transition.to)) gone = transition;
    if (gone === null) continue;
    if (transition.to === 'STARTING') {
      restarted ??= transition;
      ready = null;
    } else if (transition.to === 'RUNNING' || transition.to === 'COMPLETED') ready ??= transition;
    else ready = null; // it came up and went down again: it is not back
  }
  return { detected, gone, restarted, ready };
};

/** Milliseconds between each observed end and the attempt that followed it. */
export const delaysOf = (transitions: readonly Transition[], daemon: string): number[] => {
  const delays: number[] = [];
  let endedAt: number | null = null;
  for (const { daemon: whose, to, at } of transitions) {
    if (whose !== daemon) continue;
    if (to === 'RESTARTING') endedAt = at;
    else if (to === 'STARTING' && endedAt !== null) {
      delays.push(at - endedAt);
      endedAt = null;
    }
  }
  return delays;
};

/** One tick of the loop: what a delay may be late beside its tenth. Milliseconds; docs/reliability.md I6. */
const TICK_MS = 1_000;

/** Every delay, against the policy. @returns what is wrong, in words; null when nothing is */
export const delaysFault = (measured: readonly number[], wanted: readonly number[]): string | null => {
  if (measured.length !== wanted.length) return `${measured.length} attempts instead of ${wanted.length}`;
  for (const [index, delay] of wanted.entries()) {
    const took = measured[index] ?? 0;
    // Timers of the platform may fire a millisecond early by its own rounding.
    if (took < delay - 1) return `attempt ${index + 1} came after ${took.toFixed(0)} ms, before its ${delay} ms`;
    if (took > delay * 1.1 + TICK_MS)
      return `attempt ${index + 1} came after ${took.toFixed(0)} ms instead of ${delay} ms`;
  }
  return null;
};

export interface FullStop {
  /** Daemons that were alive when the first start began; must be empty. */
  readonly aliveAtFirstStart: readonly string[];
  /** Starts that began before a hard dependency was up, as `A before B`; must be empty. */
  readonly outOfOrder: readonly string[];
  /** When the last one was gone, and when the first started; monotonic milliseconds. */
  readonly lastGoneAt: number | null;
  readonly firstStartAt: number | null;
  /** Daemons that were alive at the beginning and never went away. */
  readonly neverGone: readonly string[];
}

/** Replays a full stop and start. @param before states at the beginning  @param needs hard dependencies by daemon */
export const fullStopOf = (
  transitions: readonly Transition[],
  before: ReadonlyMap<string, DaemonState>,
  needs: ReadonlyMap<string, readonly string[]>,
): FullStop => {
  const states = new Map(before);
  const alive = (): string[] => [...states].filter(([, state]) => isLive(state)).map(([type]) => type);
  const neverGone = new Set(alive());
  let aliveAtFirstStart: string[] | null = null;
  const outOfOrder: string[] = [];
  let lastGoneAt: number | null = null;
  let firstStartAt: number | null = null;
  for (const { daemon, to, from, at } of transitions) {
    if (to === 'STARTING') {
      aliveAtFirstStart ??= alive();
      firstStartAt ??= at;
      for (const on of needs.get(daemon) ?? []) {
        const state = states.get(on);
        if (state !== 'RUNNING' && state !== 'COMPLETED') outOfOrder.push(`${daemon} before ${on}`);
      }
    }
    if (isLive(from) && !isLive(to)) {
      neverGone.delete(daemon);
      if (firstStartAt === null) lastGoneAt = at;
    }
    states.set(daemon, to);
  }
  return {
    aliveAtFirstStart: aliveAtFirstStart ?? [],
    outOfOrder,
    lastGoneAt,
    firstStartAt,
    neverGone: [...neverGone],
  };
};

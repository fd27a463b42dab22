/**
 * What the master loop needs of the world around it. Each has a real side (runtimes, journal, server thread) and a
 * simulated one; the loop cannot tell them apart.
 */
import type { Cause } from '../lifecycle/states.ts';
import type { Effect, FailureReport, Input, JournalNote, TransitionRecord } from './types.ts';

/** What a runtime tells the loop. Every call names the generation it speaks of; the core drops stale ones. */
export interface RuntimeEvents {
  ready(daemon: string, generation: number): void;
  startFailed(
    daemon: string,
    generation: number,
    failure: FailureReport,
    cause: Extract<Cause, 'start-failed' | 'import-failed' | 'config'>,
  ): void;
  /** Proof that this start is gone, asked for or not. */
  exited(daemon: string, generation: number, failure: FailureReport | null, forced: boolean): void;
  reattached(daemon: string, generation: number, ok: boolean, message: string): void;
}

/** How daemons run. Calls return at once; what comes of them arrives through RuntimeEvents. */
export interface Runtime {
  launch(daemon: string, generation: number): void;
  stop(daemon: string, generation: number, deadlineMs: number, full: boolean): void;
  /** Must end in `exited` for that generation. */
  kill(daemon: string, generation: number, full: boolean): void;
  reattach(daemon: string, generation: number, on: string): void;
  /** Names whatever is still running of any daemon: live scopes, child processes. */
  findLeft(report: (left: readonly string[]) => void): void;
}

/** The journal as the loop writes it. */
export interface JournalPort {
  /** Number the next record will get. */
  readonly nextSeq: number;
  appendInput(input: Input, cause: number | null): void;
  appendNote(seq: number, cause: number | null, note: JournalNote, at: number, wallMs: number): void;
  /** Hands this turn's records to the file in one write. */
  flush(): void;
  /** Flushes and makes durable: before a spawn, a kill and the answer to a command. */
  sync(): void;
}

/** A queue of permissions with a bound; a slot is held from the grant to the outcome of the start. */
export interface StartSlots {
  request(daemon: string, generation: number, priority: number, granted: () => void): void;
  /** Gives a slot back, or takes back a request that was not granted yet. Idempotent. */
  release(daemon: string, generation: number): void;
}

/** What happened in one turn, for those who look on: mirror, alerts, the event bus. */
export interface TurnReport {
  readonly transitions: readonly (TransitionRecord & {
    readonly seq: number;
    readonly cause: number | null;
    readonly at: number;
    readonly wallMs: number;
  })[];
  readonly alerts: readonly Extract<Effect, { do: 'alert' }>['alert'][];
  readonly operationChanged: boolean;
}

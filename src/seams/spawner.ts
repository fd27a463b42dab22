/**
 * Processes as a thing that is handed in.
 *
 * A process is never known by its pid alone: pids are reused. Its identity is pid + start time (clock ticks since boot,
 * field 22 of /proc/PID/stat) + boot id. Every child leads its own process group and writes its output straight to files,
 * so it survives the master; the next master adopts or ends it by identity.
 */

/** Carried by every process we start, and inherited by whatever it starts; the value names the data directory. */
export const INSTANCE_VARIABLE = 'MASTER_LOOP_INSTANCE';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, as text: it may pass 2^53 on a long-lived machine. */
  readonly startTime: string;
  readonly bootId: string;
}

export interface SpawnSpec {
  /** argv; no shell. */
  readonly command: readonly string[];
  readonly cwd: string;
  /** Added to a minimal inherited environment. Values are never logged. */
  readonly env?: Readonly<Record<string, string>>;
  /** Standard output and error are appended here. */
  readonly outputFile: string;
  /** Nice value 0..19. */
  readonly nice?: number;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface RunningProcess {
  readonly identity: ProcessIdentity;
  /** Resolves when the leader has been reaped (or, for an adopted one, seen gone). Never rejects. */
  readonly exited: Promise<ProcessExit>;
  /** Sends a signal to the whole group; false when nothing is left to receive it. */
  signalGroup(signal: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): boolean;
  /** True once no process of the group is left but zombies. */
  groupIsGone(): boolean;
}

export interface Spawner {
  /** Starts a child as leader of a new group. Rejects with a remedy when the program cannot be started. */
  spawn(spec: SpawnSpec): Promise<RunningProcess>;
  /** The identity of a live process, or null when no such pid lives. */
  identify(pid: number): ProcessIdentity | null;
  /** Takes over a process of an earlier run; null when that identity no longer lives. */
  adopt(identity: ProcessIdentity): RunningProcess | null;
  /** Live processes whose environment holds `variable=value`: what left its group is found here. */
  findByEnvironment(variable: string, value: string): ProcessIdentity[];
  /** CPU seconds and resident bytes of a live process, or null. */
  usage(identity: ProcessIdentity): { readonly cpuSeconds: number; readonly residentBytes: number } | null;
}

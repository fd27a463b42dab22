/** The shapes of a command line: what a program, a command, a word after it and an option are made of. */
import type { Call } from './call.ts';

/** What a value names; completion offers what exists. */
export type ValueKind =
  'daemon' | 'drill' | 'file' | 'folder' | 'level' | 'number' | 'plan' | 'profile' | 'tempo' | 'text' | 'topic';

export interface OptionSpec {
  readonly name: string;
  readonly alias?: string;
  /** `list`: everything up to the next option, and it may be repeated. */
  readonly type: 'flag' | 'text' | 'number' | 'list';
  readonly value?: ValueKind;
  readonly choices?: readonly string[];
  readonly describe: string;
}

export interface WordSpec {
  readonly name: string;
  readonly required?: boolean;
  readonly many?: boolean;
  readonly value: ValueKind;
  readonly choices?: readonly string[];
  readonly describe: string;
}

export interface CommandSpec {
  /** `['events', 'tail']`; empty for what the program does without a command. */
  readonly path: readonly string[];
  readonly describe: string;
  readonly words: readonly WordSpec[];
  readonly options: readonly OptionSpec[];
  /** Loads the code and gives the function that does it and resolves with the exit code. */
  readonly load: () => Promise<(call: Call) => Promise<number>>;
}

export interface ProgramSpec {
  readonly name: 'master_loop' | 'launch_daemons';
  readonly describe: string;
  readonly common: readonly OptionSpec[];
  readonly commands: readonly CommandSpec[];
}

export const LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR', 'CRITICAL'] as const;
export const TEMPOS = ['quick', 'standard'] as const;
/** Offered by completion and checked by the loop, which knows which drills it has. */
export const DRILLS = [
  'router-loss',
  'daemon-crash',
  'daemon-hang',
  'health-failure',
  'crash-loop',
  'full-recovery',
] as const;

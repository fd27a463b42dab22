/**
 * The door to the master: what running the loop in this process takes. It is behind a dynamic import, because loading the
 * master costs more than everything a client command does.
 */
import type { Terminal } from '../../seams/terminal.ts';
import type { LogLevel } from '../client/index.ts';
import { TEMPO_DEFAULT, type Settings } from './call.ts';

export interface MasterOptions {
  /** Null: ./fleet.yaml, else the bundled fleet. */
  readonly fleetFile: string | null;
  readonly profile: string | null;
  readonly tempo: 'quick' | 'standard';
  /** Absolute. */
  readonly dataDir: string;
  readonly port: number;
  readonly logLevel: LogLevel;
  /** Log lines go to standard error too. False in the background and under the live view, which owns the screen. */
  readonly console: boolean;
}

/** Runs the loop until it was stopped; resolves with the exit code. Rejects when it cannot start, with the reason. */
export type RunMaster = (options: MasterOptions) => Promise<number>;

/** Set for a loop that is started in the background. */
export const BACKGROUND_VARIABLE = 'MASTER_LOOP_BACKGROUND';

export const masterOptions = (settings: Settings, console: boolean): MasterOptions => {
  const { fleetFile, profile, tempo, dataDir, port, logLevel } = settings;
  return { fleetFile, profile, tempo: tempo ?? TEMPO_DEFAULT, dataDir, port, logLevel, console };
};

/** From here on the process is more than a program that prints. */
export const loadMaster = async (terminal: Terminal): Promise<RunMaster> => {
  terminal.outliveReaders();
  return (await import('../../main.ts')).runMaster;
};

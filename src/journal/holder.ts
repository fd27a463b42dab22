/**
 * Who holds a data directory, as `run/holder.json` says. It is believed for a message and for a wait, never for a decision:
 * the lock decides (lock.ts). Apart from it, so that a client reads who is there without a database.
 */
import { join } from 'node:path';
import type { FileSystem } from '../seams/file-system.ts';
import type { ProcessIdentity, Spawner } from '../seams/spawner.ts';

/** Who holds a data directory. */
export interface Holder extends ProcessIdentity {
  /** Where its server listens; null before it does. */
  readonly port: number | null;
  readonly startedAt: string;
  readonly host: string;
}

export const runFolder = (dataDir: string): string => join(dataDir, 'run');
export const holderPath = (dataDir: string): string => join(runFolder(dataDir), 'holder.json');

const isHolder = (value: unknown): value is Holder =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Holder).pid === 'number' &&
  typeof (value as Holder).startTime === 'string' &&
  typeof (value as Holder).bootId === 'string';

/** What holder.json says, whether or not that process lives; null when it is missing or says nothing. */
export const lastHolder = (dataDir: string, files: FileSystem): Holder | null => {
  try {
    const said = JSON.parse(files.readText(holderPath(dataDir))) as unknown;
    return isHolder(said) ? said : null;
  } catch {
    return null;
  }
};

/** The live process that holder.json names; null when there is none. For clients: the lock itself decides. */
export const liveHolder = (dataDir: string, files: FileSystem, spawner: Pick<Spawner, 'identify'>): Holder | null => {
  const holder = lastHolder(dataDir, files);
  if (holder === null) return null;
  const living = spawner.identify(holder.pid);
  return living?.startTime === holder.startTime && living.bootId === holder.bootId ? holder : null;
};

/**
 * Results of drills as files, one each, at most RESULTS_KEPT.
 *
 * A result is written when its drill begins, so that a master which dies in the middle leaves word of it: what is found
 * open by the next master is marked `interrupted`. A disk that refuses costs the file, never the drill.
 */
import { join } from 'node:path';
import type { Fill } from '../../bounds.ts';
import { messageOf } from '../../errors.ts';
import { isoTime } from '../../seams/clock.ts';
import type { FileSystem } from '../../seams/file-system.ts';
import type { DrillResult } from './types.ts';

export const RESULTS_KEPT = 100;
const NAME = /^(d-\d{8}-\d{9}-[a-z-]+)\.json$/;

/** `20261124-145655123`. */
const stamp = (wallMs: number): string =>
  isoTime(wallMs)
    .replace(/[-:.Z]/g, '')
    .replace('T', '-');
const stampOf = (id: string): string => id.slice(2, 20);

export interface DrillStore {
  /** A name that no kept result has; names sort by time. */
  newId(drill: string, wallMs: number): string;
  write(result: DrillResult): void;
  /** Newest first. */
  ids(): readonly string[];
  /** Null when there is none, or the file is none of ours. */
  read(id: string): DrillResult | null;
  /** Files kept, as of the last look; the oldest goes. */
  kept(): Fill;
}

export const drillStore = (files: FileSystem, folder: string, log: { error(message: string): void }): DrillStore => {
  let kept = 0;
  const ids = (): string[] => {
    if (!files.exists(folder)) return [];
    const found = files
      .list(folder)
      .flatMap((name) => NAME.exec(name)?.[1] ?? [])
      .sort()
      .reverse();
    kept = found.length;
    return found;
  };
  const pathOf = (id: string): string => join(folder, `${id}.json`);
  return {
    ids,
    kept: () => ({ size: kept, limit: RESULTS_KEPT }),
    newId(drill, wallMs) {
      const taken = new Set(ids().map(stampOf));
      let at = wallMs;
      while (taken.has(stamp(at))) at++;
      return `d-${stamp(at)}-${drill}`;
    },
    write(result) {
      try {
        files.makeFolder(folder, { mode: 0o700 });
        files.writeAtomically(pathOf(result.id), `${JSON.stringify(result, null, 2)}\n`, { mode: 0o600 });
        for (const old of ids().slice(RESULTS_KEPT)) {
          files.remove(pathOf(old));
          kept--;
        }
      } catch (thrown) {
        log.error(`cannot keep the result of drill ${result.id}: ${messageOf(thrown)}`);
      }
    },
    read(id) {
      if (!ids().includes(id)) return null;
      try {
        const result = JSON.parse(files.readText(pathOf(id))) as DrillResult;
        return result.version === 1 && result.id === id ? result : null;
      } catch {
        return null; // damaged: as good as absent
      }
    },
  };
};

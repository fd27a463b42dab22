/**
 * What this process uses of the machine, all its threads together.
 */
import { readdirSync, readFileSync } from 'node:fs';

export interface OwnUsage {
  readonly userSeconds: number;
  readonly systemSeconds: number;
  readonly residentBytes: number;
  readonly openFiles: number | null;
  readonly maxFiles: number | null;
}

const openFiles = (): number | null => {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return null; // no /proc on this system
  }
};

const maxFiles = (): number | null => {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null; // no /proc on this system
  }
};

export const ownUsage = (): OwnUsage => {
  const { user, system } = process.cpuUsage();
  return {
    userSeconds: user / 1e6,
    systemSeconds: system / 1e6,
    residentBytes: process.memoryUsage.rss(),
    openFiles: openFiles(),
    maxFiles: maxFiles(),
  };
};

/**
 * What this process uses of the machine, all its threads together. What cannot be looked at is null: there is no /proc on
 * this system, or no descriptor left to read it with, which is when somebody will want the rest.
 */
import { readdirSync, readFileSync } from 'node:fs';

export interface OwnUsage {
  readonly userSeconds: number;
  readonly systemSeconds: number;
  readonly residentBytes: number | null;
  readonly openFiles: number | null;
  readonly maxFiles: number | null;
}

const orNull = (look: () => number | null): number | null => {
  try {
    return look();
  } catch {
    return null;
  }
};

const maxFiles = (): number | null => {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  return soft === undefined ? null : Number(soft);
};

export const ownUsage = (): OwnUsage => {
  const { user, system } = process.cpuUsage();
  return {
    userSeconds: user / 1e6,
    systemSeconds: system / 1e6,
    residentBytes: orNull(() => process.memoryUsage.rss()),
    openFiles: orNull(() => readdirSync('/proc/self/fd').length),
    maxFiles: orNull(maxFiles),
  };
};

/**
 * One master per data directory.
 *
 * The lock is an exclusive transaction on run/lock.db that is held for life: the kernel frees it when the process ends,
 * however it ends, so nothing stale can block. Node has no flock of its own. `run/holder.json` beside it only says who; it
 * is believed for a message, and never for a decision. Two things would break the lock and are therefore nobody's business:
 * opening lock.db in this process by other means (POSIX drops all locks of a process when it closes any descriptor of the
 * file), and deleting it while it is held (`stillHeld` notices).
 */
import Database from 'better-sqlite3';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { messageOf, OrchestratorError } from '../errors.ts';
import type { FileSystem } from '../seams/file-system.ts';
import { isoTime } from '../seams/plain-clock.ts';
import type { Spawner } from '../seams/spawner.ts';
import { holderPath, lastHolder, liveHolder, runFolder, type Holder } from './holder.ts';

export interface DataDirLock {
  readonly holder: Holder;
  /** Says where the server listens. */
  announce(port: number): void;
  /**
   * False when the lock file was taken away under us, or another master says that it has the directory. A holder file that
   * cannot be read says nothing: to stop everything for a lack of descriptors would be worse than to look again.
   */
  stillHeld(): boolean;
  /** Gives the directory back. Idempotent. */
  release(): void;
}

const lockPath = (dataDir: string): string => join(runFolder(dataDir), 'lock.db');

/** Another process has the lock. `context.holder` says who, when that is known. */
export const dataDirHeld = (dataDir: string, holder: Holder | null): OrchestratorError =>
  new OrchestratorError('DATA_DIR_HELD', {
    message:
      holder === null
        ? `cannot use ${dataDir}: another process holds its lock and does not say who it is`
        : `cannot use ${dataDir}: the master with pid ${holder.pid} on ${holder.host} holds it since ${holder.startedAt}` +
          (holder.port === null ? '' : `, port ${holder.port}`),
    remedy:
      holder === null
        ? `"fuser ${lockPath(dataDir)}" names the process; or start on another --data-dir`
        : `"master_loop status" shows it, "launch_daemons --stop-all" stops it; or start on another --data-dir`,
    context: { dataDir, holder },
  });

const UNUSABLE_REMEDIES: Readonly<Record<string, string>> = {
  SQLITE_NOTADB: 'run/lock.db was overwritten: when no master runs on this directory, delete that file',
  SQLITE_CORRUPT: 'run/lock.db was damaged: when no master runs on this directory, delete that file',
  ENOSPC: 'free space on that disk',
  EROFS: 'mount that disk for writing, or start on another --data-dir',
  ENOTDIR: 'a part of that path is a file: give another --data-dir',
  EEXIST: 'that path is a file: give another --data-dir',
};

/** The data directory cannot be made, written or locked. */
export const dataDirUnusable = (dataDir: string, cause: unknown): OrchestratorError => {
  const code = (cause as NodeJS.ErrnoException | null)?.code ?? 'UNKNOWN';
  return new OrchestratorError('DATA_DIR_UNUSABLE', {
    message: `cannot use ${dataDir} as data directory: ${messageOf(cause)}`,
    remedy: UNUSABLE_REMEDIES[code] ?? 'give the user of the master write access to it, or start on another --data-dir',
    context: { dataDir, code },
    cause,
  });
};

const isBusy = (thrown: unknown): boolean =>
  String((thrown as { code?: unknown } | null)?.code).startsWith('SQLITE_BUSY') ||
  String((thrown as { code?: unknown } | null)?.code) === 'SQLITE_LOCKED';

/**
 * Takes a data directory for this process, and makes it if it is missing. Waits for nobody.
 * @param options.pid  our own
 * @throws DATA_DIR_HELD when another master has it; DATA_DIR_UNUSABLE when the disk says no
 */
export const acquireLock = (options: {
  readonly dataDir: string;
  readonly files: FileSystem;
  readonly spawner: Pick<Spawner, 'identify'>;
  readonly clock: { wallMs(): number };
  readonly pid: number;
}): DataDirLock => {
  const { dataDir, files, spawner, clock, pid } = options;
  let database: Database.Database | null = null;
  try {
    files.makeFolder(runFolder(dataDir), { mode: 0o700 });
    database = new Database(lockPath(dataDir), { timeout: 0 });
    database.exec('BEGIN EXCLUSIVE');
  } catch (thrown) {
    database?.close();
    if (isBusy(thrown)) throw dataDirHeld(dataDir, liveHolder(dataDir, files, spawner));
    throw dataDirUnusable(dataDir, thrown);
  }
  const held = database;

  const identity = spawner.identify(pid) ?? { pid, startTime: '', bootId: '' };
  let holder: Holder = { ...identity, port: null, startedAt: isoTime(clock.wallMs()), host: hostname() };
  const say = (): void => {
    try {
      files.writeAtomically(holderPath(dataDir), `${JSON.stringify(holder)}\n`, { mode: 0o600 });
    } catch (thrown) {
      held.close();
      throw dataDirUnusable(dataDir, thrown);
    }
  };
  say();

  const isUs = (said: Holder | null): boolean => said?.pid === holder.pid && said.startTime === holder.startTime;
  return {
    get holder() {
      return holder;
    },
    announce(port) {
      holder = { ...holder, port };
      say();
    },
    stillHeld() {
      if (!held.open || !files.exists(lockPath(dataDir))) return false;
      const said = lastHolder(dataDir, files);
      return said === null || isUs(said);
    },
    release() {
      if (!held.open) return;
      try {
        if (isUs(lastHolder(dataDir, files))) files.remove(holderPath(dataDir));
      } catch {
        // A holder file that is left behind misleads nobody: its process is gone.
      }
      held.close(); // ends the transaction, and with it the lock
    },
  };
};

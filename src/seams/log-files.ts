/**
 * Files that grow and are renamed away while others read them: logs.
 *
 * Writing goes through the thread pool, so that a disk that is slow or full never holds the loop; a write may take only a
 * part, and says how much, so that a full disk never tears a line in two. Reading goes by place in a file that is known by
 * its identity, not by its name: the name moves to a new file at every rotation, and a reader follows the file it began.
 */
import { close, closeSync, fstatSync, mkdirSync, openSync, readSync, statSync, write, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export interface GrowingFile {
  /** Appends from the front of `bytes`; resolves with how many were taken, which may be fewer. */
  append(bytes: Uint8Array): Promise<number>;
  /** The same, at once; for last words. */
  appendNow(bytes: Uint8Array): number;
  size(): number;
  /** False when the name now belongs to another file, or to none: somebody moved or deleted ours. */
  isNamed(): boolean;
  close(): void;
}

/** Opens for appending, making the file (0640) and its folder. */
export const openGrowing = (path: string): GrowingFile => {
  mkdirSync(dirname(path), { recursive: true });
  const handle = openSync(path, 'a', 0o640);
  const own = fstatSync(handle);
  return {
    append: (bytes) =>
      new Promise((resolve, reject) => {
        write(handle, bytes, 0, bytes.length, null, (error, written) => {
          if (error === null) resolve(written);
          else reject(error);
        });
      }),
    appendNow: (bytes) => writeSync(handle, bytes),
    size: () => fstatSync(handle).size,
    isNamed() {
      const named = statSync(path, { throwIfNoEntry: false });
      return named !== undefined && named.ino === own.ino && named.dev === own.dev;
    },
    close: () => close(handle, () => undefined), // nothing was promised about it, and nothing can be done
  };
};

export interface ReadableFile {
  /** Stays the same when the file is renamed. */
  readonly identity: string;
  size(): number;
  /** Up to `length` bytes from `offset`; fewer at the end. */
  read(offset: number, length: number): Uint8Array;
  close(): void;
}

/** Opens for reading; null when there is no such file. */
export const openReadable = (path: string): ReadableFile | null => {
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw thrown;
  }
  const { dev, ino } = fstatSync(handle);
  return {
    identity: `${dev}:${ino}`,
    size: () => fstatSync(handle).size,
    read(offset, length) {
      const bytes = Buffer.allocUnsafe(length);
      return bytes.subarray(0, readSync(handle, bytes, 0, length, offset));
    },
    close: () => closeSync(handle),
  };
};

/** Which file has this name now; null when none has. */
export const identityOf = (path: string): string | null => {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? null : `${found.dev}:${found.ino}`;
};

/**
 * Files that child processes write to and we keep short.
 *
 * A child holds its descriptor for life, over the end of the master too, so its file cannot be renamed away from it as a log
 * is: the newest part is copied to `.1`, and the file is emptied under the writer. Every writer appends, so what it writes
 * next begins at the new end. It is never made to wait. What it writes between our last look and the emptying, some
 * microseconds, is gone unseen; whatever else is left out is counted.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, renameSync, statSync, writeSync } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';

export interface OutputFiles {
  /** Bytes; null when there is no such file. */
  size(path: string): number | null;
  /**
   * Copies the newest `keepBytes` to `<path>.1`, in place of what was there, and empties the file. When the copy cannot be
   * made (a full disk), the file is emptied all the same: that is what makes room.
   * @param note  a line for the emptied file, when so many bytes were left out
   * @returns bytes left out
   */
  cut(path: string, keepBytes: number, note: (lost: number) => string): Promise<number>;
}

const COPY_BYTES = 256 * 1024;

/** Copies what lies between, through the thread pool; returns up to where. */
const copy = async (source: FileHandle, target: FileHandle, from: number, size: number): Promise<number> => {
  const buffer = Buffer.allocUnsafe(COPY_BYTES);
  let at = from;
  while (at < size) {
    const { bytesRead } = await source.read(buffer, 0, Math.min(COPY_BYTES, size - at), at);
    if (bytesRead === 0) break;
    await target.writeFile(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return at;
};

const cut: OutputFiles['cut'] = async (path, keepBytes, note) => {
  const source = await open(path, 'r+');
  try {
    // Looked at once: a flood grows by megabytes while the thread pool is busy, and all of that would be copied.
    const found = (await source.stat()).size;
    const from = Math.max(0, found - keepBytes);
    let upTo = from;
    let target: FileHandle | null = null;
    let size: number;
    try {
      target = await open(`${path}.1.part`, 'w', 0o644);
      upTo = await copy(source, target, from, found);
      // The last bit, and the cut, without giving way: the writer goes on meanwhile.
      size = fstatSync(source.fd).size;
      const rest = Buffer.allocUnsafe(Math.min(COPY_BYTES, Math.max(0, size - upTo)));
      upTo += writeSync(target.fd, rest, 0, readSync(source.fd, rest, 0, rest.length, upTo));
      renameSync(`${path}.1.part`, `${path}.1`);
    } catch {
      upTo = from; // nothing of it is kept, and that is counted
    } finally {
      size = fstatSync(source.fd).size;
      ftruncateSync(source.fd, 0);
      await target?.close();
    }
    if (upTo === from) await rm(`${path}.1.part`, { force: true }).catch(() => undefined); // it takes room, no more
    const lost = upTo === from ? size : from + Math.max(0, size - upTo);
    if (lost > 0) appendNow(path, note(lost));
    return lost;
  } finally {
    await source.close();
  }
};

const appendNow = (path: string, line: string): void => {
  const handle = openSync(path, 'a');
  try {
    writeSync(handle, `${line}\n`);
  } finally {
    closeSync(handle);
  }
};

/** The output files of this machine. */
export const outputFiles = (): OutputFiles => ({
  size: (path) => statSync(path, { throwIfNoEntry: false })?.size ?? null,
  cut,
});

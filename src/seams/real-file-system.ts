/**
 * The disk of this machine.
 *
 * What is hard is not writing but knowing what survives. Two rules: bytes are durable once `dataSync` returned, and a name
 * is durable once its folder was synced. So `writeAtomically` syncs the bytes, renames, and syncs the folder, and the
 * first `dataSync` of a file we created syncs its folder too: otherwise a power cut could keep the bytes and lose the
 * name. Files that are never synced (logs) never pay for it. Errors are Node's own, with their `code`: the callers tell
 * ENOSPC from ENOENT, and say what it means to them.
 */
import {
  close,
  closeSync,
  existsSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  open as openFile,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { AppendFile, FileSystem } from './file-system.ts';

const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;

const syncFolder = (folder: string): void => {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
};

/** A write may take only a part (a signal, a nearly full disk); the rest is offered until it is taken or refused. */
const writeFully = (handle: number, bytes: Uint8Array): void => {
  for (let written = 0; written < bytes.length;) written += writeSync(handle, bytes, written, bytes.length - written);
};

const openAppend: FileSystem['openAppend'] = (path, options) => {
  let nameIsDurable = existsSync(path);
  const handle = openSync(path, 'a', options?.mode ?? FILE_MODE);
  let open = true;
  let writingBack = false;
  const file: AppendFile = {
    append: (bytes) => writeFully(handle, bytes),
    dataSync() {
      fdatasyncSync(handle);
      if (nameIsDurable) return;
      syncFolder(dirname(path));
      nameIsDurable = true;
    },
    beginWriteBack() {
      if (writingBack) return;
      writingBack = true;
      // Through a handle of its own: the kernel tells each handle once of a failure, and `dataSync` must be told.
      openFile(path, 'r', (noHandle, other) => {
        if (noHandle !== null) return void (writingBack = false);
        fdatasync(other, () => close(other, () => (writingBack = false)));
      });
    },
    size: () => fstatSync(handle).size,
    truncate: (bytes) => ftruncateSync(handle, bytes),
    close() {
      if (!open) return;
      open = false;
      closeSync(handle);
    },
  };
  return file;
};

/** Names of temporary files of this process are told apart by a count, so that two writers of one path never share one. */
let temporaryFiles = 0;

const writeAtomically: FileSystem['writeAtomically'] = (path, bytes, options) => {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}-${++temporaryFiles}.tmp`);
  try {
    const handle = openSync(temporary, 'w', options?.mode ?? FILE_MODE);
    try {
      writeFully(handle, typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
      fdatasyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(temporary, path);
  } catch (thrown) {
    rmSync(temporary, { force: true });
    throw thrown;
  }
  syncFolder(folder);
};

/** The names of new folders are made durable too, or a power cut could take them with all that was synced inside. */
const makeFolder: FileSystem['makeFolder'] = (path, options) => {
  const first = mkdirSync(path, { recursive: true, mode: options?.mode ?? FOLDER_MODE });
  if (first === undefined) return; // it was there
  const above = dirname(first);
  for (let folder = resolve(path); folder !== above && folder !== dirname(folder);) {
    folder = dirname(folder);
    syncFolder(folder);
  }
};

/** The file system of this process. Stateless: any number of them may be made. */
export const realFileSystem = (): FileSystem => ({
  openAppend,
  read: (path) => readFileSync(path),
  readText: (path) => readFileSync(path, 'utf8'),
  exists: (path) => existsSync(path),
  stat(path) {
    const found = statSync(path);
    return { bytes: found.size, modifiedMs: found.mtimeMs, isDirectory: found.isDirectory() };
  },
  list: (folder) => readdirSync(folder).sort(),
  makeFolder,
  writeAtomically,
  rename: (from, to) => renameSync(from, to),
  remove: (path) => rmSync(path, { force: true }),
  removeFolder: (path) => rmSync(path, { recursive: true, force: true }),
  freeBytes(path) {
    const volume = statfsSync(path);
    return volume.bavail * volume.bsize;
  },
});

/**
 * The disk as a thing that is handed in.
 *
 * Only what the journal, the logs, the inbox and the artefact stores need. Databases are opened by better-sqlite3, which
 * has its own durable I/O. `writeAtomically` is the one way to publish a file: temp file in the same folder, fdatasync,
 * rename, fsync of the folder; a reader sees the old bytes or the new ones, never a part.
 */
export interface FileStat {
  readonly bytes: number;
  readonly modifiedMs: number;
  readonly isDirectory: boolean;
}

/** A file open for appending. Writes are synchronous: the caller batches a turn into one. */
export interface AppendFile {
  /** Appends all of `bytes`, or throws having possibly written a part (the reader tells by checksum). */
  append(bytes: Uint8Array): void;
  /** Makes what was appended durable. A failure is final: the caller must not believe a later success. */
  dataSync(): void;
  /** Asks the disk to begin with what was appended. Promises nothing; a failure is left for `dataSync` to find. */
  beginWriteBack(): void;
  size(): number;
  truncate(bytes: number): void;
  close(): void;
}

export interface FileSystem {
  openAppend(path: string, options?: { readonly mode?: number }): AppendFile;
  /** Throws with `code` ENOENT when absent. */
  read(path: string): Uint8Array;
  readText(path: string): string;
  exists(path: string): boolean;
  stat(path: string): FileStat;
  list(folder: string): string[];
  makeFolder(path: string, options?: { readonly mode?: number }): void;
  writeAtomically(path: string, bytes: Uint8Array | string, options?: { readonly mode?: number }): void;
  /** Same file system only. */
  rename(from: string, to: string): void;
  remove(path: string): void;
  removeFolder(path: string): void;
  /** Free bytes on the file system that holds `path`. */
  freeBytes(path: string): number;
}

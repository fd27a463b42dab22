/**
 * Files by content. What is under a hash never changes, so a reader that checked it once may rely on it, and a copy that
 * was cut short is not there at all: bytes arrive by temp file and rename.
 *
 * Shards are indexed where they are instead of copied. Names are labels that move to the newest content; hashes are what
 * other rows hold.
 */
import { createHash } from 'node:crypto';
import { join, resolve, sep } from 'node:path';
import type { FileSystem } from '../../seams/file-system.ts';
import type { ObjectKind, ObjectRow } from '../floor.ts';
import { Store, type Schema } from './database.ts';
import { floorConflict, floorInputInvalid } from './faults.ts';

const SCHEMA: Schema = [
  `
  CREATE TABLE objects (sha256 TEXT PRIMARY KEY, bytes INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, file TEXT NOT NULL) STRICT;
  CREATE TABLE names (name TEXT PRIMARY KEY, sha256 TEXT NOT NULL REFERENCES objects (sha256)) STRICT;
  CREATE TABLE traffic (client TEXT PRIMARY KEY, bytes INTEGER NOT NULL, requests INTEGER NOT NULL) STRICT;
  `,
];

const LIST_MAX = 1000;
const READ_MAX = 4 * 1024 * 1024;
const CLIENTS_MAX = 1000;

export const sha256Of = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

export class ObjectStore {
  private readonly store: Store;
  private readonly files: FileSystem;
  private readonly root: string;
  /** The content read last: range requests of one file come in a row. */
  private recent: { readonly sha256: string; readonly bytes: Uint8Array } | null = null;

  /** @param root  folder of the floor: nothing outside it is ever indexed */
  constructor(file: string, root: string, files: FileSystem) {
    this.files = files;
    this.root = resolve(root);
    this.store = new Store(file, SCHEMA);
  }

  put(object: { readonly file: string; readonly kind: ObjectKind; readonly name: string }): ObjectRow {
    return this.putBytes(this.files.read(object.file), object.kind, object.name);
  }

  putBytes(bytes: Uint8Array, kind: ObjectKind, name: string): ObjectRow {
    const sha256 = sha256Of(bytes);
    const folder = join(this.root, 'objects', sha256.slice(0, 2));
    const file = join(folder, sha256);
    if (!this.files.exists(file) || this.files.stat(file).bytes !== bytes.length) {
      this.files.makeFolder(folder);
      this.files.writeAtomically(file, bytes);
    }
    return this.insert({ sha256, bytes: bytes.length, kind, name, file });
  }

  index(object: {
    readonly file: string;
    readonly kind: ObjectKind;
    readonly name: string;
    readonly sha256: string;
    readonly bytes: number;
  }): ObjectRow {
    const file = resolve(object.file);
    if (!file.startsWith(this.root + sep))
      throw floorInputInvalid(`${file} is outside the floor's folder ${this.root}`, { file });
    const fault = this.fileFault(file, object.sha256, object.bytes);
    if (fault !== null) throw floorConflict(`${object.name}: ${fault}`, { file, sha256: object.sha256 });
    return this.insert({ sha256: object.sha256, bytes: object.bytes, kind: object.kind, name: object.name, file });
  }

  get(sha256: string): ObjectRow | null {
    return (
      this.store.get<ObjectRow>('SELECT sha256, bytes, kind, name, file FROM objects WHERE sha256 = ?', sha256) ?? null
    );
  }

  named(name: string): ObjectRow | null {
    const found = this.store.get<ObjectRow>(
      'SELECT o.sha256, o.bytes, o.kind, n.name, o.file FROM names n JOIN objects o USING (sha256) WHERE n.name = ?',
      name,
    );
    return found ?? null;
  }

  list(filter: { readonly kind?: ObjectKind; readonly after?: string; readonly limit: number }): ObjectRow[] {
    return this.store.all<ObjectRow>(
      `SELECT o.sha256, o.bytes, o.kind, n.name, o.file FROM names n JOIN objects o USING (sha256)
       WHERE (@kind IS NULL OR o.kind = @kind) AND n.name > @after ORDER BY n.name LIMIT @limit`,
      { kind: filter.kind ?? null, after: filter.after ?? '', limit: Math.min(filter.limit, LIST_MAX) },
    );
  }

  read(sha256: string, range: { readonly from: number; readonly bytes: number }): Uint8Array {
    const row = this.get(sha256);
    if (row === null) throw floorInputInvalid(`there is no object ${sha256}`, { sha256 });
    if (this.recent?.sha256 !== sha256) this.recent = { sha256, bytes: this.files.read(row.file) };
    return this.recent.bytes.slice(range.from, range.from + Math.min(range.bytes, READ_MAX));
  }

  /** Reads the bytes again: null when they are what the hash says, else the fault in words. */
  faultOf(sha256: string): string | null {
    const row = this.get(sha256);
    return row === null ? `there is no object ${sha256}` : this.fileFault(row.file, sha256, row.bytes);
  }

  fileFault(file: string, sha256: string, bytes: number): string | null {
    if (!this.files.exists(file)) return `${file} is missing`;
    const content = this.files.read(file);
    if (content.length !== bytes) return `${file} has ${content.length} bytes instead of ${bytes}`;
    const found = sha256Of(content);
    return found === sha256 ? null : `${file} has hash ${found} instead of ${sha256}`;
  }

  served(traffic: { readonly client: string; readonly bytes: number }): void {
    this.store.run(
      'INSERT INTO traffic VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, requests = requests + 1',
      traffic.client,
      traffic.bytes,
    );
    this.store.run('DELETE FROM traffic WHERE rowid <= (SELECT max(rowid) FROM traffic) - ?', CLIENTS_MAX);
  }

  traffic(): { client: string; bytes: number; requests: number }[] {
    return this.store.all('SELECT client, bytes, requests FROM traffic ORDER BY client');
  }

  /** A shard's file was removed: its row goes with it. */
  forgetFile(file: string): void {
    this.store.immediate(() => {
      this.store.run('DELETE FROM names WHERE sha256 IN (SELECT sha256 FROM objects WHERE file = ?)', file);
      this.store.run('DELETE FROM objects WHERE file = ?', file);
    });
  }

  close(): void {
    this.store.close();
  }

  private insert(row: ObjectRow): ObjectRow {
    this.store.immediate(() => {
      this.store.run(
        'INSERT INTO objects VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET kind = excluded.kind, name = excluded.name, file = excluded.file',
        row.sha256,
        row.bytes,
        row.kind,
        row.name,
        row.file,
      );
      this.store.run(
        'INSERT INTO names VALUES (?, ?) ON CONFLICT DO UPDATE SET sha256 = excluded.sha256',
        row.name,
        row.sha256,
      );
    });
    return row;
  }
}

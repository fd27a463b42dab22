/**
 * A disk that forgets what a real one may forget.
 *
 * A running program reads back what it wrote, synced or not; a power cut is where the two differ. So beside the live view
 * there is a `Disk`: what the medium holds for sure, and, per file and per folder, what is still on its way. The states a
 * power cut may leave are enumerated, not guessed (the ALICE method, Pillai et al., OSDI 2014): of a file's unsynced
 * appends any prefix to the byte, or their full length with sectors that never arrived and read as zeros; of a folder's
 * unsynced names any prefix; files and folders independently of each other. This is stricter than ext4, which is the
 * point. A failed sync dooms the bytes it was for: the kernel marks their pages clean, so a later sync succeeds without
 * them (Rebello et al., ATC 2020), and they may read as zeros ever after.
 */
import { basename, dirname, join, normalize } from 'node:path';
import type { Clock } from '../seams/clock.ts';
import type { AppendFile, FileSystem } from '../seams/file-system.ts';
import type { Random } from '../seams/random.ts';

/** One change of the disk, in the order the program made them. */
export type Syscall =
  | { readonly op: 'make-folder'; readonly path: string }
  | { readonly op: 'create'; readonly path: string; readonly inode: number }
  | { readonly op: 'append'; readonly inode: number; readonly bytes: Uint8Array }
  | { readonly op: 'truncate'; readonly inode: number; readonly bytes: number }
  | { readonly op: 'sync'; readonly inode: number }
  | { readonly op: 'sync-failed'; readonly inode: number }
  | { readonly op: 'rename'; readonly path: string; readonly to: string }
  | { readonly op: 'remove'; readonly path: string }
  | { readonly op: 'sync-folder'; readonly path: string };

/** What can be made to fail, by the names of the calls. */
export type FailingCall = 'open' | 'read' | 'append' | 'sync' | 'truncate' | 'rename' | 'remove' | 'list';

/** One legal outcome of a power cut. */
export interface CrashState {
  /** How it came about, for the message of a failed test. */
  readonly label: string;
  readonly files: SimulatedFileSystem;
}

export interface SimulatedFileSystem extends FileSystem {
  /** Every change so far; a crash point lies before each, and after the last. */
  readonly trace: readonly Syscall[];
  /**
   * Every state that a power cut after the first `calls` changes may leave, each as a disk of its own.
   * @param options.byteStep  tries every n-th byte as the cut in unsynced appends; default 1
   */
  crashStates(calls: number, options?: { readonly byteStep?: number }): Generator<CrashState>;
  /** A power cut now: one legal outcome, drawn; open files are dead. */
  powerCut(random: Random): void;
  /** ENOSPC once this many more bytes were written; a write that does not fit is taken in part. */
  refuseWritesAfter(bytes: number): void;
  /** Space returns. */
  grow(): void;
  /** The next `times` calls of this name fail with an errno such as EIO. */
  failNext(call: FailingCall, code: string, times?: number): void;
  /** Every change fails with EROFS. */
  readOnly(on: boolean): void;
}

type NameChange = Extract<Syscall, { readonly op: 'create' | 'rename' | 'remove' }>;
type DataChange = Extract<Syscall, { readonly op: 'append' | 'truncate' }>;

interface Medium {
  durable: Uint8Array;
  /** Ranges whose sync failed: intact or zeros, nobody knows. */
  doomed: { readonly from: number; readonly to: number }[];
  pending: DataChange[];
}

const EMPTY = new Uint8Array(0);

/** Size of what a disk writes as a whole, bytes. */
const SECTOR_BYTES = 512;

/** A copy; a Buffer's own `slice` would share its memory. */
const copyOf = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

const joined = (first: Uint8Array, second: Uint8Array): Uint8Array => {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
};

const changed = (content: Uint8Array, change: DataChange): Uint8Array =>
  change.op === 'append' ? joined(content, change.bytes) : content.subarray(0, change.bytes);

const withZeros = (content: Uint8Array, from: number, to: number): Uint8Array => copyOf(content).fill(0, from, to);

const renameIn = (names: Map<string, number>, change: NameChange): void => {
  if (change.op === 'create') names.set(change.path, change.inode);
  else if (change.op === 'remove') names.delete(change.path);
  else {
    const inode = names.get(change.path);
    names.delete(change.path);
    if (inode !== undefined) names.set(change.to, inode);
  }
};

const folderOf = (change: NameChange): string => dirname(change.op === 'rename' ? change.to : change.path);

/** What the medium holds, and what is on its way to it. */
class Disk {
  readonly media = new Map<number, Medium>();
  readonly folders = new Set<string>(['/']);
  readonly names = new Map<string, number>();
  pendingNames: NameChange[] = [];

  apply(call: Syscall): void {
    switch (call.op) {
      case 'make-folder':
        this.folders.add(call.path);
        return;
      case 'create':
        this.media.set(call.inode, { durable: EMPTY, doomed: [], pending: [] });
        this.pendingNames.push(call);
        return;
      case 'rename':
      case 'remove':
        this.pendingNames.push(call);
        return;
      case 'sync-folder':
        for (const change of this.pendingNames) if (folderOf(change) === call.path) renameIn(this.names, change);
        this.pendingNames = this.pendingNames.filter((change) => folderOf(change) !== call.path);
        return;
      case 'append':
      case 'truncate':
        this.media.get(call.inode)?.pending.push(call);
        return;
      case 'sync':
      case 'sync-failed': {
        const medium = this.media.get(call.inode);
        if (medium === undefined) return;
        const from = medium.durable.length;
        medium.durable = medium.pending.reduce(changed, medium.durable);
        medium.pending = [];
        if (call.op === 'sync-failed' && medium.durable.length > from)
          medium.doomed.push({ from, to: medium.durable.length });
        return;
      }
    }
  }

  /** Every set of names that may have reached the medium. */
  *nameOutcomes(): Generator<{ label: string; names: Map<string, number> }> {
    const folders = [...new Set(this.pendingNames.map(folderOf))];
    const counts = folders.map((folder) => this.pendingNames.filter((change) => folderOf(change) === folder).length);
    for (const kept of products(counts)) {
      const names = new Map(this.names);
      const left = new Map(folders.map((folder, index) => [folder, kept[index] ?? 0]));
      for (const change of this.pendingNames) {
        const remaining = left.get(folderOf(change)) ?? 0;
        if (remaining === 0) continue;
        left.set(folderOf(change), remaining - 1);
        renameIn(names, change);
      }
      yield { label: `${kept.join('+') || 'all'} of ${counts.join('+') || 'all'} name changes`, names };
    }
  }

  /** Every content that the file may have after the cut, most of it first. */
  contentOutcomes(inode: number, byteStep: number): { label: string; content: Uint8Array }[] {
    const medium = this.media.get(inode) ?? { durable: EMPTY, doomed: [], pending: [] };
    const outcomes: { label: string; content: Uint8Array }[] = [];
    let content = medium.durable;
    for (const change of medium.pending) {
      if (change.op === 'append')
        for (let bytes = 0; bytes < change.bytes.length; bytes += byteStep)
          outcomes.push({
            label: `cut at byte ${content.length + bytes}`,
            content: joined(content, change.bytes.subarray(0, bytes)),
          });
      else outcomes.push({ label: `not yet cut to ${change.bytes} bytes`, content });
      content = changed(content, change);
    }
    const from = Math.min(medium.durable.length, content.length);
    const middle = from + Math.ceil((content.length - from) / 2);
    const sector = Math.min(content.length, from + SECTOR_BYTES - (from % SECTOR_BYTES));
    if (content.length > from)
      for (const [start, end] of [
        [from, content.length],
        [from, middle],
        [middle, content.length],
        [from, sector],
      ] as const)
        outcomes.push({ label: `bytes ${start} to ${end} are zeros`, content: withZeros(content, start, end) });
    outcomes.push({ label: 'whole', content });
    for (const { from: start, to } of medium.doomed)
      for (const outcome of [...outcomes])
        outcomes.push({
          label: `${outcome.label}, and ${start} to ${to} was never written`,
          content: withZeros(outcome.content, start, to),
        });
    return outcomes.reverse();
  }

  /** Every state of the whole disk that a power cut may leave. */
  *outcomes(byteStep: number): Generator<{ label: string; content: Map<string, Uint8Array> }> {
    for (const { label, names } of this.nameOutcomes()) {
      const paths = [...names.keys()];
      const choices = paths.map((path) => this.contentOutcomes(names.get(path) ?? 0, byteStep));
      for (const chosen of products(choices.map((choice) => choice.length - 1))) {
        const content = new Map<string, Uint8Array>();
        const labels = [label];
        paths.forEach((path, index) => {
          const outcome = choices[index]?.[chosen[index] ?? 0];
          if (outcome === undefined) return;
          content.set(path, outcome.content);
          if (outcome.label !== 'whole') labels.push(`${path}: ${outcome.label}`);
        });
        yield { label: labels.join('; '), content };
      }
    }
  }
}

/** Every tuple with 0 ≤ tuple[i] ≤ most[i]. */
function* products(most: readonly number[]): Generator<number[]> {
  const tuple = most.map(() => 0);
  for (;;) {
    yield [...tuple];
    let digit = tuple.length - 1;
    while (digit >= 0 && tuple[digit] === most[digit]) tuple[digit--] = 0;
    if (digit < 0) return;
    tuple[digit] = (tuple[digit] ?? 0) + 1;
  }
}

const errno = (code: string, call: string, path: string): NodeJS.ErrnoException =>
  Object.assign(new Error(`${code}: simulated, ${call} '${path}'`), { code, syscall: call, path });

interface LiveFile {
  readonly inode: number;
  bytes: Uint8Array;
  length: number;
  modifiedMs: number;
}

const contentOf = (file: LiveFile): Uint8Array => file.bytes.subarray(0, file.length);

/** What a simulated disk starts with. */
interface Beginning {
  readonly folders: Iterable<string>;
  readonly content: ReadonlyMap<string, Uint8Array>;
}

/**
 * An empty disk in memory.
 * @param options.clock  dates files; without one they are all of 1970
 * @param options.trace  keeps every change for `crashStates`; default true, false for long runs
 */
export const simulatedFileSystem = (
  options: { readonly clock?: Clock; readonly trace?: boolean } = {},
): SimulatedFileSystem => diskFrom({ folders: ['/'], content: new Map() }, options);

const diskFrom = (
  beginning: Beginning,
  options: { readonly clock?: Clock; readonly trace?: boolean },
): SimulatedFileSystem => {
  const trace: Syscall[] = [];
  const names = new Map<string, LiveFile>();
  let disk = new Disk();
  let folders = new Set<string>();
  let inodes = 0;
  let room = Infinity;
  let frozen = false;
  /** Files opened before the last power cut are dead. */
  let epoch = 0;
  let temporaryFiles = 0;
  const failures = new Map<FailingCall, { code: string; times: number }>();

  const load = (from: Beginning): void => {
    names.clear();
    disk = new Disk();
    folders = new Set(from.folders);
    for (const folder of folders) disk.folders.add(folder);
    for (const [path, content] of from.content) {
      const inode = ++inodes;
      names.set(path, { inode, bytes: copyOf(content), length: content.length, modifiedMs: 0 });
      disk.media.set(inode, { durable: content, doomed: [], pending: [] });
      disk.names.set(path, inode);
    }
  };
  load(beginning);
  const atFirst: Beginning = { folders: [...folders], content: beginning.content };
  const firstInode = inodes;

  const did = (call: Syscall): void => {
    disk.apply(call);
    if (options.trace !== false) trace.push(call);
  };
  const mayFail = (call: FailingCall, path: string): void => {
    const failure = failures.get(call);
    if (failure === undefined) return;
    if (--failure.times === 0) failures.delete(call);
    throw errno(failure.code, call, path);
  };
  const mayChange = (call: string, path: string): void => {
    if (frozen) throw errno('EROFS', call, path);
  };
  const existing = (path: string, call: string): LiveFile => {
    const file = names.get(path);
    if (file !== undefined) return file;
    throw errno(folders.has(path) ? 'EISDIR' : 'ENOENT', call, path);
  };
  const needsFolder = (path: string, call: string): void => {
    const folder = dirname(path);
    if (!folders.has(folder)) throw errno(names.has(folder) ? 'ENOTDIR' : 'ENOENT', call, path);
    if (folders.has(path)) throw errno('EISDIR', call, path);
  };
  const create = (path: string): LiveFile => {
    const file: LiveFile = { inode: ++inodes, bytes: new Uint8Array(256), length: 0, modifiedMs: 0 };
    names.set(path, file);
    did({ op: 'create', path, inode: file.inode });
    return file;
  };
  const append = (file: LiveFile, bytes: Uint8Array, path: string): void => {
    mayChange('write', path);
    mayFail('append', path);
    const taken = bytes.subarray(0, Math.min(bytes.length, room));
    if (file.length + taken.length > file.bytes.length) {
      const larger = new Uint8Array(Math.max(file.length + taken.length, file.bytes.length * 2));
      larger.set(contentOf(file));
      file.bytes = larger;
    }
    file.bytes.set(taken, file.length);
    file.length += taken.length;
    file.modifiedMs = options.clock?.wallMs() ?? 0;
    room -= taken.length;
    if (taken.length > 0) did({ op: 'append', inode: file.inode, bytes: copyOf(taken) });
    if (taken.length < bytes.length) throw errno('ENOSPC', 'write', path);
  };
  const sync = (file: LiveFile, path: string): void => {
    try {
      mayFail('sync', path);
    } catch (thrown) {
      did({ op: 'sync-failed', inode: file.inode });
      throw thrown;
    }
    did({ op: 'sync', inode: file.inode });
  };
  const remove = (path: string): void => {
    const file = names.get(path);
    if (file === undefined) return;
    names.delete(path);
    room += file.length;
    did({ op: 'remove', path });
  };

  return {
    trace,
    openAppend(given) {
      const path = normalize(given);
      mayFail('open', path);
      needsFolder(path, 'open');
      mayChange('open', path);
      const found = names.get(path);
      const file = found ?? create(path);
      let nameIsDurable = found !== undefined;
      const openedIn = epoch;
      let open = true;
      const usable = (call: string): void => {
        if (!open || openedIn !== epoch) throw errno('EBADF', call, path);
      };
      const handle: AppendFile = {
        append(bytes) {
          usable('write');
          append(file, bytes, path);
        },
        dataSync() {
          usable('fdatasync');
          sync(file, path);
          if (nameIsDurable) return;
          did({ op: 'sync-folder', path: dirname(path) });
          nameIsDurable = true;
        },
        beginWriteBack() {}, // what is not synced may survive a power cut here in any case
        size() {
          usable('fstat');
          return file.length;
        },
        truncate(bytes) {
          usable('ftruncate');
          mayChange('ftruncate', path);
          mayFail('truncate', path);
          room += Math.max(0, file.length - bytes);
          if (bytes > file.length) append(file, new Uint8Array(bytes - file.length), path);
          else {
            file.length = bytes;
            did({ op: 'truncate', inode: file.inode, bytes });
          }
        },
        close() {
          open = false;
        },
      };
      return handle;
    },
    read(given) {
      const path = normalize(given);
      mayFail('read', path);
      return Buffer.from(contentOf(existing(path, 'open')));
    },
    readText(given) {
      const path = normalize(given);
      mayFail('read', path);
      return Buffer.from(contentOf(existing(path, 'open'))).toString('utf8');
    },
    exists: (path) => names.has(normalize(path)) || folders.has(normalize(path)),
    stat(given) {
      const path = normalize(given);
      if (folders.has(path)) return { bytes: 0, modifiedMs: 0, isDirectory: true };
      const file = existing(path, 'stat');
      return { bytes: file.length, modifiedMs: file.modifiedMs, isDirectory: false };
    },
    list(given) {
      const folder = normalize(given);
      mayFail('list', folder);
      if (!folders.has(folder)) throw errno(names.has(folder) ? 'ENOTDIR' : 'ENOENT', 'scandir', folder);
      return [...names.keys(), ...folders]
        .filter((path) => path !== '/' && dirname(path) === folder)
        .map((path) => path.slice(folder === '/' ? 1 : folder.length + 1))
        .sort();
    },
    makeFolder(given) {
      const path = normalize(given);
      const missing: string[] = [];
      for (let folder = path; !folders.has(folder); folder = dirname(folder)) {
        if (names.has(folder)) throw errno(folder === path ? 'EEXIST' : 'ENOTDIR', 'mkdir', path);
        missing.unshift(folder);
      }
      if (missing.length > 0) mayChange('mkdir', path);
      for (const folder of missing) {
        folders.add(folder);
        did({ op: 'make-folder', path: folder });
      }
    },
    writeAtomically(given, content) {
      const path = normalize(given);
      const temporary = join(dirname(path), `.${basename(path)}.${++temporaryFiles}.tmp`);
      mayFail('open', path);
      needsFolder(path, 'open');
      mayChange('open', path);
      const file = create(temporary);
      try {
        append(file, typeof content === 'string' ? Buffer.from(content) : content, temporary);
        sync(file, temporary);
        mayFail('rename', path);
      } catch (thrown) {
        remove(temporary);
        throw thrown;
      }
      const replaced = names.get(path);
      if (replaced !== undefined) room += replaced.length;
      names.delete(temporary);
      names.set(path, file);
      did({ op: 'rename', path: temporary, to: path });
      did({ op: 'sync-folder', path: dirname(path) });
    },
    rename(from, to) {
      const path = normalize(from);
      const target = normalize(to);
      mayFail('rename', path);
      mayChange('rename', path);
      const file = existing(path, 'rename');
      needsFolder(target, 'rename');
      const replaced = names.get(target);
      if (replaced !== undefined && replaced !== file) room += replaced.length;
      names.delete(path);
      names.set(target, file);
      did({ op: 'rename', path, to: target });
    },
    remove(given) {
      const path = normalize(given);
      mayFail('remove', path);
      if (folders.has(path)) throw errno('EISDIR', 'unlink', path);
      if (names.has(path)) mayChange('unlink', path);
      remove(path);
    },
    removeFolder(given) {
      const folder = normalize(given);
      mayChange('rmdir', folder);
      const inside = (path: string): boolean => path === folder || path.startsWith(`${folder}/`);
      for (const path of [...names.keys()].filter(inside)) remove(path);
      for (const path of [...folders].filter(inside)) folders.delete(path);
    },
    freeBytes: () => (room === Infinity ? Number.MAX_SAFE_INTEGER : room),

    *crashStates(calls, { byteStep = 1 } = {}) {
      const before = new Disk();
      let inode = 0;
      for (const folder of atFirst.folders) before.folders.add(folder);
      for (const [path, content] of atFirst.content) {
        before.media.set(++inode, { durable: content, doomed: [], pending: [] });
        before.names.set(path, inode);
      }
      if (inode !== firstInode || calls > trace.length) throw new RangeError(`no ${calls} changes were traced`);
      for (const call of trace.slice(0, calls)) before.apply(call);
      for (const { label, content } of before.outcomes(byteStep))
        yield {
          label: `after ${calls} changes; ${label}`,
          files: diskFrom({ folders: before.folders, content }, options),
        };
    },
    powerCut(random) {
      const outcomes = [...disk.nameOutcomes()];
      const chosen = outcomes[random.integer(outcomes.length)];
      const content = new Map<string, Uint8Array>();
      for (const [path, inode] of chosen?.names ?? []) {
        const possible = disk.contentOutcomes(inode, 1);
        content.set(path, possible[random.integer(possible.length)]?.content ?? EMPTY);
      }
      epoch++;
      load({ folders: disk.folders, content });
      trace.length = 0;
    },
    refuseWritesAfter(bytes) {
      room = bytes;
    },
    grow() {
      room = Infinity;
    },
    failNext: (call, code, times = 1) => void failures.set(call, { code, times }),
    readOnly(on) {
      frozen = on;
    },
  };
};

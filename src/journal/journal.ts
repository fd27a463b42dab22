/**
 * The truth of the master: everything that arrived and everything that was decided, in one order, on disk.
 *
 * A record costs a line in a buffer; the disk is met once per turn (`flush`), and waited for only before a promise leaves
 * the process (`sync`: before a spawn, a kill, the answer to a command). What is hard is trouble. Two kinds are told
 * apart:
 *
 *   degraded  the disk refuses to write (full, read-only, broken). Lines wait in a bounded buffer and are offered again;
 *             when the buffer is full, further records are counted, not kept. When the disk takes bytes again the lines
 *             follow without a hole, and a `gap` record says what was dropped, if anything was.
 *   failed    the disk failed to make written bytes durable. That is final for them: the kernel forgets which pages it
 *             lost, so a later success means nothing. Only a checkpoint, which is a new file with everything in it, whose
 *             success is evidence of its own, makes the journal durable again, in a new segment.
 *
 * Neither stops the loop: `sync` throws once per trouble, so that somebody hears of it, and then answers false.
 */
import { join } from 'node:path';
import { invariant, messageOf, OrchestratorError } from '../errors.ts';
import type { Clock } from '../seams/clock.ts';
import type { AppendFile, FileSystem } from '../seams/file-system.ts';
import {
  checkpointName,
  JOURNAL_FORMAT,
  journalFiles,
  LINE_OVERHEAD,
  lineOf,
  recordJson,
  segmentName,
  writeLine,
  type Checkpoint,
  type SegmentHeader,
} from './format.ts';
import { namesIn, recoverJournal, type RecoveredJournal } from './recovery.ts';

export interface JournalLimits {
  /** A segment is closed when it is this long, bytes. */
  readonly segmentBytes: number;
  /** Old segments are deleted, oldest first, when all together are longer than this, bytes. */
  readonly keepBytes: number;
  /** … or more than this. Nothing is deleted that the last two checkpoints do not hold. */
  readonly keepSegments: number;
  /** Lines that wait for a disk in trouble, bytes; what comes after is dropped and counted. */
  readonly bufferBytes: number;
  /** A checkpoint is due after this many records, */
  readonly checkpointRecords: number;
  /** … or this many bytes of them. Both bound how long recovery takes. */
  readonly checkpointBytes: number;
}

/** Chosen: a restart reads at most 20,000 records (some 60 ms), and a fleet of 85 keeps weeks of history. */
export const JOURNAL_LIMITS: JournalLimits = {
  segmentBytes: 4 * 1024 * 1024,
  keepBytes: 64 * 1024 * 1024,
  keepSegments: 256,
  bufferBytes: 8 * 1024 * 1024,
  checkpointRecords: 20_000,
  checkpointBytes: 8 * 1024 * 1024,
};

/** The disk is asked to begin after this many bytes, so that whoever waits for it later waits for little. */
const WRITE_BACK_BYTES = 512 * 1024;
/** Lines that are written at once even in the middle of a turn, bytes. */
const WRITE_BYTES = 256 * 1024;
const BUFFER_BYTES_MIN = 64 * 1024;
/** Milliseconds between offers to a disk that refuses. */
const RETRY_MS = 250;
/** Two, so that a damaged newest one costs a longer replay and nothing else. */
const CHECKPOINTS_KEPT = 2;
/** Only the user of the master reads its files. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

export interface JournalHealth {
  readonly status: 'ok' | 'degraded' | 'failed';
  /** What the disk said; empty when ok. */
  readonly reason: string;
  /** Bytes that wait in memory. */
  readonly bufferedBytes: number;
  /** Records dropped in this run, because the buffer was full. */
  readonly dropped: number;
}

export interface NewRecord {
  readonly kind: string;
  readonly cause: number | null;
  readonly data?: unknown;
  /** Instead of `data`: the same as JSON, from a caller that can write it faster. */
  readonly json?: string;
  /** Default: now. */
  readonly at?: number;
  readonly wallMs?: number;
  /** A number the caller gave out itself; must be greater than the last. */
  readonly seq?: number;
}

export interface Journal {
  /** What was on disk when it was opened. */
  readonly recovered: RecoveredJournal;
  /** Number that the next record will get. */
  readonly nextSeq: number;
  readonly lastSeq: number;
  /** Puts a record into this turn's buffer; its number. `data` is serialised at once. */
  append(record: NewRecord): number;
  /** Hands what is buffered to the operating system in one write. Never throws: trouble shows in `health`. */
  flush(): void;
  /**
   * Flushes and makes durable.
   * @returns false while the journal is in a trouble that was told already
   * @throws JOURNAL_FAILED, once per trouble
   */
  sync(): boolean;
  /** True when enough was recorded since the last checkpoint, or only a checkpoint can mend a failure. */
  checkpointDue(): boolean;
  /**
   * Writes the whole state, begins a new segment and deletes what is beyond the limits. Between two turns.
   * @param state  JSON that holds everything up to `lastSeq`
   * @returns false when the disk refused; nothing is lost by that
   */
  checkpoint(state: unknown): boolean;
  health(): JournalHealth;
  gauges(): Readonly<Record<string, number>>;
  /** Makes durable what can be, and closes. Idempotent. */
  close(): void;
}

export interface JournalOptions {
  readonly folder: string;
  readonly files: FileSystem;
  readonly clock: Pick<Clock, 'monotonicMs' | 'wallMs'>;
  /** Identify the fleet and the program that decide; kept in every header. */
  readonly fleetHash: string;
  readonly coreVersion: string;
  readonly bootId?: string;
  readonly limits?: Partial<JournalLimits>;
  /** What `recoverJournal` returned for this folder, when it was called already. */
  readonly recovered?: RecoveredJournal;
  /** Told when the status changes. */
  readonly onHealth?: (health: JournalHealth) => void;
}

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'free space on that disk; the journal goes on by itself, and nothing recorded so far is lost',
  EDQUOT: 'raise the disk quota of the user of the master, or free space',
  EROFS: 'mount the disk for writing; the kernel makes it read-only after an error, so look at "dmesg"',
  EIO: 'the disk is failing: look at "dmesg", and move the data directory to another disk',
  EACCES: 'give the user of the master write access to the data directory',
  ENOENT: 'the folder of the journal was taken away: leave the data directory alone while the master runs',
};

/** The journal cannot be kept durable at the moment. */
export const journalFailed = (folder: string, what: string, cause: unknown): OrchestratorError => {
  const code = (cause as NodeJS.ErrnoException | null)?.code ?? 'UNKNOWN';
  return new OrchestratorError('JOURNAL_FAILED', {
    message: `cannot ${what} the journal in ${folder}: ${messageOf(cause)}`,
    remedy: REMEDIES[code] ?? 'check the disk and the permissions of the data directory',
    context: { code, folder },
    cause,
  });
};

const jsonOf = (data: unknown): string => JSON.stringify(data) ?? 'null';

interface Trouble {
  readonly status: 'degraded' | 'failed';
  readonly error: OrchestratorError;
  /** `sync` has thrown it. */
  told: boolean;
}

class FileJournal implements Journal {
  readonly recovered: RecoveredJournal;
  readonly #options: JournalOptions;
  readonly #limits: JournalLimits;

  /** Lines not yet written, the header of a new segment included. */
  #buffer: Buffer = Buffer.allocUnsafe(BUFFER_BYTES_MIN);
  #used = 0;
  /** Check of the last line in the buffer, or in the file. */
  #check = 0;
  #lastSeq: number;
  /** Last record that the operating system has. */
  #writtenSeq: number;

  #file: AppendFile | null = null;
  #segment: number;
  #segmentAfter = 0;
  /** Whole lines in the file, bytes. */
  #segmentBytes = 0;
  /** The next record begins a segment. */
  #atSegmentStart = true;
  /** Something was written since the last sync. */
  #unsynced = false;

  #trouble: Trouble | null = null;
  #checkpointError: OrchestratorError | null = null;
  #retryAt = 0;
  #dropping: { from: number; to: number; records: number } | null = null;
  #dropped = 0;

  #recordsSinceCheckpoint: number;
  #bytesSinceCheckpoint = 0;
  #bytesSinceWriteBack = 0;
  #closed = false;

  constructor(options: JournalOptions, recovered: RecoveredJournal) {
    this.#options = options;
    this.#limits = { ...JOURNAL_LIMITS, ...options.limits };
    this.recovered = recovered;
    this.#lastSeq = recovered.lastSeq;
    this.#writtenSeq = recovered.lastSeq;
    this.#segment = recovered.nextSegment;
    this.#recordsSinceCheckpoint = recovered.tail.length;
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  get nextSeq(): number {
    return this.#lastSeq + 1;
  }

  // ---------------------------------------------------------------------------------------------- recording

  append(record: NewRecord): number {
    if (this.#closed) throw invariant('a record came after the journal was closed', { kind: record.kind });
    const { clock } = this.#options;
    const seq = record.seq ?? this.#lastSeq + 1;
    const at = record.at ?? clock.monotonicMs();
    const wallMs = record.wallMs ?? clock.wallMs();
    if (seq <= this.#lastSeq)
      throw invariant(`record ${seq} came after record ${this.#lastSeq}`, { kind: record.kind });
    if (!Number.isFinite(at + wallMs)) throw invariant(`record ${seq} has time ${at} / ${wallMs}`);
    if (this.#dropping !== null || this.#used >= this.#limits.bufferBytes) {
      this.#drop(seq);
      return seq;
    }
    if (this.#atSegmentStart) this.#beginSegment(this.#lastSeq);
    const json = record.json ?? jsonOf(record.data);
    this.#encode(recordJson(seq, record.cause, record.kind, at, wallMs, json));
    this.#lastSeq = seq;
    this.#recordsSinceCheckpoint++;
    if (this.#used > WRITE_BYTES) this.flush();
    return seq;
  }

  #drop(seq: number): void {
    if (this.#dropping === null) this.#dropping = { from: seq, to: seq, records: 0 };
    this.#dropping.to = seq;
    this.#dropping.records++;
    this.#dropped++;
    this.#lastSeq = seq;
  }

  /** The dropped records' last number is free, so the record of the gap takes it. */
  #closeGap(): void {
    if (this.#dropping === null) return;
    const { from, to, records } = this.#dropping;
    this.#dropping = null;
    const { clock } = this.#options;
    const data = { from, to, records, reason: 'the disk refused to write, and the buffer was full' };
    this.#encode(recordJson(to, null, 'gap', clock.monotonicMs(), clock.wallMs(), jsonOf(data)));
  }

  #encode(json: string): void {
    const needed = this.#used + json.length * 3 + LINE_OVERHEAD; // UTF-8 takes at most 3 bytes for a UTF-16 unit
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, this.#used);
      this.#buffer = larger;
    }
    const { bytes, check } = writeLine(this.#buffer, this.#used, json, this.#check);
    this.#used += bytes;
    this.#check = check;
  }

  #beginSegment(after: number): void {
    const { fleetHash, coreVersion, bootId, clock } = this.#options;
    const header: SegmentHeader = {
      journal: 'master-loop',
      format: JOURNAL_FORMAT,
      after,
      fleetHash,
      coreVersion,
      bootId: bootId ?? '',
      wallMs: clock.wallMs(),
    };
    this.#atSegmentStart = false;
    this.#segmentAfter = after;
    this.#segmentBytes = 0;
    this.#check = 0;
    this.#encode(JSON.stringify(header));
  }

  // ---------------------------------------------------------------------------------------------- writing

  flush(): void {
    this.#write(false);
    if (this.#trouble === null && this.#segmentBytes >= this.#limits.segmentBytes && this.#makeDurable())
      this.#endSegment();
  }

  /** True when nothing waits in the buffer any more. */
  #write(urgent: boolean): boolean {
    if (this.#used === 0) return true;
    const { clock } = this.#options;
    if (!urgent && this.#trouble?.status === 'degraded' && clock.monotonicMs() < this.#retryAt) return false;
    try {
      this.#file ??= this.#openSegment();
      this.#file.append(this.#buffer.subarray(0, this.#used));
    } catch (cause) {
      this.#retryAt = clock.monotonicMs() + RETRY_MS;
      this.#undoPartialWrite();
      this.#enterTrouble('degraded', 'write', cause);
      return false;
    }
    this.#beginWriteBack(this.#used);
    this.#segmentBytes += this.#used;
    this.#bytesSinceCheckpoint += this.#used;
    this.#used = 0;
    this.#unsynced = true;
    this.#writtenSeq = this.#dropping === null ? this.#lastSeq : this.#dropping.from - 1;
    if (this.#buffer.length > 4 * WRITE_BYTES) this.#buffer = Buffer.allocUnsafe(BUFFER_BYTES_MIN);
    if (this.#dropping !== null) {
      this.#closeGap();
      return this.#write(true);
    }
    if (this.#trouble?.status === 'degraded') this.#leaveTrouble();
    return true;
  }

  #beginWriteBack(bytes: number): void {
    this.#bytesSinceWriteBack += bytes;
    if (this.#bytesSinceWriteBack < WRITE_BACK_BYTES) return;
    this.#bytesSinceWriteBack = 0;
    this.#file?.beginWriteBack();
  }

  #openSegment(): AppendFile {
    const { folder, files } = this.#options;
    const path = join(folder, segmentName(this.#segment, this.#segmentAfter));
    try {
      return files.openAppend(path, { mode: FILE_MODE });
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
      files.makeFolder(folder, { mode: FOLDER_MODE }); // it was taken away under us
      return files.openAppend(path, { mode: FILE_MODE });
    }
  }

  /** A refused write may have left a part of a line; if it cannot be cut off, the lines go into a new segment. */
  #undoPartialWrite(): void {
    if (this.#file === null) return;
    try {
      this.#file.truncate(this.#segmentBytes);
    } catch {
      this.#moveToNewSegment();
    }
  }

  /** Continues in a new segment, whose lines are checked anew since each check continues the one before. */
  #moveToNewSegment(): void {
    const waiting = this.#buffer.toString('utf8', 0, this.#used).split('\n').slice(0, -1);
    const headerWaits = this.#segmentBytes === 0 && waiting.length > 0;
    this.#endSegment();
    this.#used = 0;
    if (waiting.length === 0) return;
    this.#beginSegment(this.#writtenSeq);
    for (const line of headerWaits ? waiting.slice(1) : waiting) this.#encode(line.slice(LINE_OVERHEAD - 1));
  }

  #endSegment(): void {
    try {
      this.#file?.close();
    } catch {
      // What matters was synced before, or is known not to be durable.
    }
    this.#file = null;
    this.#segment++;
    this.#segmentBytes = 0;
    this.#atSegmentStart = true;
    this.#unsynced = false;
  }

  // ---------------------------------------------------------------------------------------------- durability

  sync(): boolean {
    if (this.#write(true) && this.#makeDurable()) return true;
    const trouble = this.#trouble;
    if (trouble === null || trouble.told) return false;
    trouble.told = true;
    throw trouble.error;
  }

  #makeDurable(): boolean {
    if (this.#trouble?.status === 'failed') return false;
    if (!this.#unsynced || this.#file === null) return true;
    try {
      this.#file.dataSync();
    } catch (cause) {
      this.#enterTrouble('failed', 'make durable', cause);
      return false;
    }
    this.#unsynced = false;
    return true;
  }

  #enterTrouble(status: 'degraded' | 'failed', what: string, cause: unknown): void {
    if (this.#trouble?.status === status || this.#trouble?.status === 'failed') return;
    this.#trouble = { status, error: journalFailed(this.#options.folder, what, cause), told: false };
    this.#options.onHealth?.(this.health());
  }

  #leaveTrouble(): void {
    this.#trouble = null;
    this.#options.onHealth?.(this.health());
  }

  // ---------------------------------------------------------------------------------------------- checkpoints

  checkpointDue(): boolean {
    const { checkpointRecords, checkpointBytes } = this.#limits;
    const wanted =
      this.#recordsSinceCheckpoint >= checkpointRecords ||
      this.#bytesSinceCheckpoint >= checkpointBytes ||
      this.#trouble?.status === 'failed' ||
      this.#checkpointError !== null;
    return wanted && this.#options.clock.monotonicMs() >= this.#retryAt;
  }

  checkpoint(state: unknown): boolean {
    if (this.#closed) return false;
    const { folder, files, clock, fleetHash, coreVersion } = this.#options;
    this.#retryAt = clock.monotonicMs() + RETRY_MS;
    // Its history first, so that the checkpoint never stands on records that a power cut could still take.
    const written = this.#write(true);
    if (!written) return false;
    this.#makeDurable();
    const checkpoint: Checkpoint = {
      journal: 'master-loop',
      format: JOURNAL_FORMAT,
      seq: this.#lastSeq,
      at: clock.monotonicMs(),
      wallMs: clock.wallMs(),
      fleetHash,
      coreVersion,
      state,
    };
    try {
      files.makeFolder(folder, { mode: FOLDER_MODE });
      const path = join(folder, checkpointName(checkpoint.seq));
      files.writeAtomically(path, lineOf(JSON.stringify(checkpoint)), { mode: FILE_MODE });
    } catch (cause) {
      const first = this.#checkpointError === null;
      this.#checkpointError = journalFailed(folder, 'write a checkpoint of', cause);
      if (first) this.#options.onHealth?.(this.health());
      return false;
    }
    this.#retryAt = 0;
    this.#recordsSinceCheckpoint = 0;
    this.#bytesSinceCheckpoint = 0;
    if (!this.#atSegmentStart) this.#endSegment();
    const mended = this.#checkpointError !== null || this.#trouble !== null;
    this.#checkpointError = null;
    this.#trouble = null;
    if (mended) this.#options.onHealth?.(this.health());
    this.#deleteOld();
    return true;
  }

  /** Deletes what is beyond the limits and held by both checkpoints that are kept, and says so in the journal. */
  #deleteOld(): void {
    const { folder, files } = this.#options;
    try {
      const { segments, checkpoints } = journalFiles(namesIn(files, folder));
      for (const { name } of checkpoints.slice(CHECKPOINTS_KEPT)) files.remove(join(folder, name));
      const heldUpTo = checkpoints[Math.min(checkpoints.length, CHECKPOINTS_KEPT) - 1]?.seq ?? 0;
      const sizes = segments.map(({ name }) => files.stat(join(folder, name)).bytes);
      let bytes = sizes.reduce((sum, size) => sum + size, 0);
      let kept = segments.length;
      let deletedUpTo = 0;
      for (let index = 0; index + 1 < segments.length; index++) {
        if (bytes <= this.#limits.keepBytes && kept <= this.#limits.keepSegments) break;
        const next = segments[index + 1] as { after: number };
        if (next.after > heldUpTo) break;
        files.remove(join(folder, (segments[index] as { name: string }).name));
        bytes -= sizes[index] as number;
        kept--;
        deletedUpTo = next.after;
      }
      if (kept === segments.length) return;
      const data = { segments: segments.length - kept, upTo: deletedUpTo, reason: 'beyond the bound on kept history' };
      this.append({ kind: 'pruned', cause: null, data });
    } catch {
      // Old files stay until the next checkpoint tries again; the new checkpoint stands.
    }
  }

  // ---------------------------------------------------------------------------------------------- looking

  health(): JournalHealth {
    const error = this.#trouble?.error ?? this.#checkpointError;
    return {
      status: this.#trouble?.status ?? (this.#checkpointError === null ? 'ok' : 'degraded'),
      reason: error?.message ?? '',
      bufferedBytes: this.#used,
      dropped: this.#dropped,
    };
  }

  gauges(): Readonly<Record<string, number>> {
    return {
      journal_buffer_bytes: this.#used,
      journal_buffer_bytes_max: this.#limits.bufferBytes,
      journal_segment_bytes: this.#segmentBytes,
      journal_records_since_checkpoint: this.#recordsSinceCheckpoint,
      journal_records_dropped: this.#dropped,
    };
  }

  close(): void {
    if (this.#closed) return;
    if (this.#write(true)) this.#makeDurable();
    this.#endSegment();
    this.#closed = true;
  }
}

/**
 * Opens the journal of a folder for writing, in a new segment. One journal per folder: the caller holds the lock.
 * @throws JOURNAL_FORMAT when it was written by a newer version; JOURNAL_FAILED when the folder cannot be used at all
 */
export const openJournal = (options: JournalOptions): Journal => {
  const { folder, files } = options;
  try {
    files.makeFolder(folder, { mode: FOLDER_MODE });
    const recovered = options.recovered ?? recoverJournal({ folder, files });
    if (recovered.newestSegment !== null) {
      // The last run may have died before its sync. We build on what we read, so it must be as durable as what we add.
      const newest = files.openAppend(join(folder, recovered.newestSegment), { mode: FILE_MODE });
      newest.dataSync();
      newest.close();
    }
    return new FileJournal(options, recovered);
  } catch (thrown) {
    throw thrown instanceof OrchestratorError ? thrown : journalFailed(folder, 'open', thrown);
  }
};

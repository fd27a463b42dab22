/**
 * A log file that never grows without end, never blocks the loop, and never takes the program down.
 *
 * Lines are gathered in memory and written by the thread pool, one write at a time. The file of the plain name is always
 * the live one; full, it becomes `.1`, the one before `.2`, and the oldest is deleted. When the disk refuses, the lines
 * wait, up to a bound; beyond it the newest are dropped and counted, and once writing works again a line says how many.
 * Refused: winston's own file transport, which lost every line of a burst when it was tried, and writing from the loop itself,
 * where one slow disk would stop every daemon.
 */
import type { Fill } from '../../bounds.ts';
import type { FileSystem } from '../../seams/file-system.ts';
import type { GrowingFile } from '../../seams/log-files.ts';
import type { PlainClock, Timer } from '../../seams/plain-clock.ts';
import { messageOf } from '../../errors.ts';

export interface RotatingFileOptions {
  readonly path: string;
  /** The live file is renamed before it would grow beyond this. Bytes. */
  readonly fileBytesMax?: number;
  /** Files kept besides the live one. */
  readonly filesKept?: number;
  /** Lines that wait to be written may take this much memory. Bytes. */
  readonly waitingBytesMax?: number;
  readonly clock: PlainClock;
  readonly files: Pick<FileSystem, 'exists' | 'rename' | 'remove'>;
  readonly open: (path: string) => GrowingFile;
  /** The line that says how many were lost. */
  readonly lossLine: (lost: number, reason: string) => string;
}

export interface RotatingFileFigures {
  /** Lines lost since the start. */
  readonly dropped: number;
  /** Why nothing can be written just now; null when it can. */
  readonly failing: string | null;
  readonly waitingBytes: number;
}

const FILE_BYTES_MAX = 16 * 1024 * 1024;
const FILES_KEPT = 5;
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
/** One write takes at most this much, so that rotation stays near its bound. Bytes. */
const WRITE_BYTES_MAX = 512 * 1024;
/** How soon a refused write is tried again. Milliseconds. */
const RETRY_MS = 1_000;
/** How often we look whether somebody moved the file away. Milliseconds. */
const NAME_CHECK_MS = 1_000;

const NEWLINE = 0x0a;

const NOTHING = new Uint8Array(0);

export class RotatingFile {
  readonly #options: RotatingFileOptions;
  readonly #fileBytesMax: number;
  readonly #filesKept: number;
  readonly #waitingBytesMax: number;
  #file: GrowingFile | null = null;
  #size = 0;
  #checkedAt = -Infinity;
  /** Lines not yet handed to a write, oldest first. */
  #waiting: string[] = [];
  #waitingBytes = 0;
  /** The rest of what a write is working on. */
  #writing: Uint8Array = NOTHING;
  /** A write was taken in part, and the rest belongs to the same line. */
  #midLine = false;
  /** A write is in the thread pool: the file must stay open until it is back. */
  #busy = false;
  #scheduled = false;
  #retry: Timer | null = null;
  #failing: string | null = null;
  #dropped = 0;
  /** Dropped and not yet told in the file. */
  #untold = 0;
  #untoldWhy = '';
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: RotatingFileOptions) {
    this.#options = options;
    this.#fileBytesMax = options.fileBytesMax ?? FILE_BYTES_MAX;
    this.#filesKept = options.filesKept ?? FILES_KEPT;
    this.#waitingBytesMax = options.waitingBytesMax ?? WAITING_BYTES_MAX;
  }

  /** Takes a line without its end. Never throws, never waits. */
  write(line: string): void {
    // A character takes at most three bytes of UTF-8 per unit; exact enough for a bound, and cheap.
    const bytes = line.length + 1;
    if (this.#closed || this.#waitingBytes + this.#writing.length + bytes > this.#waitingBytesMax) {
      this.#dropped++;
      this.#untold++;
      this.#untoldWhy = this.#failing ?? 'lines came faster than they could be written';
      return;
    }
    this.#tellLoss();
    this.#waiting.push(line);
    this.#waitingBytes += bytes;
    this.#schedule();
  }

  /** Says in the file, at the place of the gap, how many lines are missing there. */
  #tellLoss(): void {
    if (this.#untold === 0) return;
    const line = this.#options.lossLine(this.#untold, this.#untoldWhy);
    this.#untold = 0;
    this.#waiting.push(line);
    this.#waitingBytes += line.length + 1;
  }

  figures(): RotatingFileFigures {
    return {
      dropped: this.#dropped,
      failing: this.#failing,
      waitingBytes: this.#waitingBytes + this.#writing.length,
    };
  }

  /** What waits, in bytes; dropped are lines. */
  fill(): Fill {
    const { waitingBytes, dropped } = this.figures();
    return { size: waitingBytes, limit: this.#waitingBytesMax, dropped };
  }

  /** Resolves when nothing waits, or when writing fails. */
  flush(): Promise<void> {
    if (!this.#busy && !this.#scheduled) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Writes what waits, at once and blocking; for the last words of a dying process. Never throws. */
  flushNow(): void {
    const writeAll = (bytes: Uint8Array, file: GrowingFile): void => {
      for (let rest = bytes; rest.length > 0;) rest = rest.subarray(file.appendNow(rest));
    };
    try {
      // What the thread pool holds is the kernel's already, or soon will be; its file must not be closed under it.
      const file = this.#busy ? this.#file : this.#live(0);
      if (file === null) return;
      if (!this.#busy) {
        writeAll(this.#writing, file);
        this.#writing = NOTHING;
      }
      for (this.#tellLoss(); this.#waiting.length > 0;) writeAll(this.#takeWaiting(), file);
    } catch (thrown) {
      this.#failing = messageOf(thrown);
    }
  }

  async close(): Promise<void> {
    await this.flush();
    this.#closed = true;
    this.#retry?.cancel();
    this.flushNow();
    this.#file?.close();
    this.#file = null;
  }

  /** Gathers a turn's lines into one write. */
  #schedule(): void {
    if (this.#busy || this.#scheduled || this.#retry !== null) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      void this.#pump();
    });
  }

  #takeWaiting(): Uint8Array {
    let bytes = 0;
    let count = 0;
    while (count < this.#waiting.length && bytes < WRITE_BYTES_MAX)
      bytes += (this.#waiting[count++] as string).length + 1;
    const lines = count === this.#waiting.length ? this.#waiting : this.#waiting.slice(0, count);
    this.#waiting = count === this.#waiting.length ? [] : this.#waiting.slice(count);
    this.#waitingBytes -= bytes;
    return lines.length === 0 ? NOTHING : Buffer.from(`${lines.join('\n')}\n`);
  }

  #take(): void {
    if (this.#writing.length > 0) return;
    if (this.#waiting.length === 0) this.#tellLoss();
    this.#writing = this.#takeWaiting();
  }

  async #pump(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (this.#take(); this.#writing.length > 0; this.#take()) {
        const file = this.#live(this.#writing.length);
        const taken = await file.append(this.#writing);
        if (taken > 0) this.#midLine = this.#writing[taken - 1] !== NEWLINE;
        this.#size += taken;
        this.#writing = this.#writing.subarray(taken);
        this.#failing = null;
      }
    } catch (thrown) {
      this.#failing = messageOf(thrown);
      // Opened anew next time: the disk may have been mounted again, or its folder made again.
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOSPC') this.#forget();
      if (!this.#closed)
        this.#retry = this.#options.clock.after(
          RETRY_MS,
          () => {
            this.#retry = null;
            this.#schedule();
          },
          { background: true },
        );
    } finally {
      this.#busy = false;
      const idle = this.#idle;
      this.#idle = [];
      for (const resolve of idle) resolve();
    }
    if (this.#waiting.length > 0 && this.#retry === null) this.#schedule();
  }

  #forget(): void {
    this.#file?.close();
    this.#file = null;
  }

  /** The file to write to, rotated when `bytes` more would be too many. A line is never cut by a rotation. */
  #live(bytes: number): GrowingFile {
    const now = this.#options.clock.monotonicMs();
    if (this.#file !== null && now - this.#checkedAt >= NAME_CHECK_MS) {
      this.#checkedAt = now;
      if (!this.#file.isNamed()) this.#forget();
    }
    if (this.#file === null) {
      this.#file = this.#options.open(this.#options.path);
      this.#size = this.#file.size();
      this.#checkedAt = now;
    }
    if (this.#size > 0 && this.#size + bytes > this.#fileBytesMax && !this.#midLine) {
      this.#rotate();
      this.#file = this.#options.open(this.#options.path);
      this.#size = this.#file.size();
    }
    return this.#file;
  }

  #rotate(): void {
    const { path, files } = this.#options;
    this.#forget();
    files.remove(`${path}.${this.#filesKept}`);
    for (let number = this.#filesKept - 1; number >= 1; number--)
      if (files.exists(`${path}.${number}`)) files.rename(`${path}.${number}`, `${path}.${number + 1}`);
    if (this.#filesKept >= 1) files.rename(path, `${path}.1`);
    else files.remove(path);
  }
}

/**
 * The journal of a simulated master, and how it dies. Two of them: a list in memory, quick enough for millions of inputs,
 * and the real journal on a simulated disk. Either way a master may be killed between any two of its notes: then nothing
 * more is written, and of the unfinished turn a prefix may have reached the disk.
 */
import { loopJournal, type LoopJournal } from '../journal/loop-journal.ts';
import type { JournalRecord } from '../journal/format.ts';
import { openJournal, type Journal, type JournalLimits } from '../journal/journal.ts';
import type { Core } from '../orchestrator/core.ts';
import type { JournalPort } from '../orchestrator/ports.ts';
import { checkpointState, restoreState, type Restored } from '../orchestrator/restore.ts';
import type { DaemonKeep, Input, JournalNote, OperationRecord } from '../orchestrator/types.ts';
import type { Clock } from '../seams/clock.ts';
import type { Random } from '../seams/random.ts';
import type { SimulatedFileSystem } from './simulated-file-system.ts';

export abstract class SimulatedJournal implements JournalPort {
  /** Notes that the present master may still write; then it is dead. */
  notesLeft = Infinity;
  /** Told at that moment. */
  onDeath: () => void = () => undefined;

  /** What the next master finds. */
  abstract begin(core: () => Core): Restored;
  /** The master is gone; how much of its unfinished turn had reached the disk is drawn. */
  abstract lose(random: Random): void;

  abstract readonly nextSeq: number;
  abstract writeInput(input: Input, cause: number | null): void;
  abstract writeNote(seq: number, cause: number | null, note: JournalNote, at: number, wallMs: number): void;
  abstract writeTurn(durable: boolean): void;

  appendInput(input: Input, cause: number | null): void {
    if (this.notesLeft > 0) this.writeInput(input, cause);
  }

  appendNote(seq: number, cause: number | null, note: JournalNote, at: number, wallMs: number): void {
    if (this.notesLeft <= 0) return;
    this.writeNote(seq, cause, note, at, wallMs);
    if (--this.notesLeft <= 0) this.onDeath();
  }

  flush(): void {
    if (this.notesLeft > 0) this.writeTurn(false);
  }

  sync(): void {
    if (this.notesLeft > 0) this.writeTurn(true);
  }
}

interface Pending {
  readonly seq: number;
  readonly note: JournalNote | null;
}

/** A list in memory: what was flushed survives a kill. */
export class MemoryJournal extends SimulatedJournal {
  nextSeq = 1;
  /** Every record as the real journal has it, for replay; only when asked for. */
  readonly records: JournalRecord[] = [];
  readonly #keeps = new Map<string, DaemonKeep>();
  #operation: OperationRecord | null = null;
  #pending: Pending[] = [];
  readonly #record: boolean;

  constructor(record: boolean) {
    super();
    this.#record = record;
  }

  begin(): Restored {
    this.notesLeft = Infinity;
    return { keeps: this.#keeps, operation: this.#operation };
  }

  writeInput(input: Input, cause: number | null): void {
    const seq = this.nextSeq++;
    this.#pending.push({ seq, note: null });
    if (!this.#record) return;
    const { at, wallMs, ...data } = input;
    this.records.push({ seq, cause, kind: 'input', at, wallMs, data });
  }

  writeNote(seq: number, cause: number | null, note: JournalNote, at: number, wallMs: number): void {
    if (seq !== this.nextSeq) throw new Error(`cannot journal note ${seq}: the next number is ${this.nextSeq}`);
    this.nextSeq++;
    this.#pending.push({ seq, note });
    if (!this.#record) return;
    const { type, ...data } = note;
    this.records.push({ seq, cause, kind: type, at, wallMs, data });
  }

  writeTurn(): void {
    this.#write(this.#pending.length);
  }

  lose(random: Random): void {
    this.#write(random.integer(this.#pending.length + 1));
    const first = this.#pending[0];
    this.#pending = [];
    if (first === undefined) return;
    this.nextSeq = first.seq;
    while ((this.records.at(-1)?.seq ?? 0) >= first.seq) this.records.pop();
  }

  #write(count: number): void {
    for (const { note } of count === this.#pending.length ? this.#pending : this.#pending.slice(0, count)) {
      if (note === null) continue;
      if (note.type !== 'operation') this.#keeps.set(note.daemon, note.keep);
      else this.#operation = note.operation.phase === 'done' ? null : note.operation;
    }
    if (count === this.#pending.length) this.#pending.length = 0;
    else this.#pending.splice(0, count);
  }
}

export interface DiskJournalOptions {
  readonly disk: SimulatedFileSystem;
  readonly folder: string;
  readonly clock: Clock;
  readonly limits?: Partial<JournalLimits>;
}

/** The real journal, its checkpoints and its recovery, on a disk that forgets what a real one may forget. */
export class DiskJournal extends SimulatedJournal {
  readonly #options: DiskJournalOptions;
  #journal!: Journal;
  #loop!: LoopJournal;
  #core!: () => Core;
  /** Power cuts that were drawn, beside plain kills. */
  powerCuts = 0;
  checkpoints = 0;

  constructor(options: DiskJournalOptions) {
    super();
    this.#options = options;
  }

  get nextSeq(): number {
    return this.#loop.nextSeq;
  }

  begin(core: () => Core): Restored {
    this.notesLeft = Infinity;
    this.#core = core;
    const { disk, folder, clock, limits } = this.#options;
    this.#journal = openJournal({
      folder,
      files: disk,
      clock,
      fleetHash: 'simulated',
      coreVersion: 'simulated',
      ...(limits === undefined ? {} : { limits }),
    });
    this.#loop = loopJournal(this.#journal, (error) => {
      throw error;
    });
    return restoreState(this.#journal.recovered);
  }

  writeInput(input: Input, cause: number | null): void {
    this.#loop.appendInput(input, cause);
  }

  writeNote(seq: number, cause: number | null, note: JournalNote, at: number, wallMs: number): void {
    this.#loop.appendNote(seq, cause, note, at, wallMs);
  }

  writeTurn(durable: boolean): void {
    if (durable) this.#loop.sync();
    else {
      this.#loop.flush();
      if (this.#journal.checkpointDue() && this.#journal.checkpoint(checkpointState(this.#core()))) this.checkpoints++;
    }
  }

  lose(random: Random): void {
    if (random.uniform() < 0.5) return; // kill -9: what the kernel has stays, what the master buffered is gone
    this.powerCuts++;
    this.#options.disk.powerCut(random);
  }
}

/**
 * The journal as the master loop writes it, and as people and replays read it.
 *
 * An input is stored as it arrived, with its time; a note of the core under the number the core gave it. A disk in trouble
 * must never stop the supervision of daemons, so here `sync` does not throw: the trouble goes to `onTrouble`, once, and
 * the loop goes on less durably until the disk is well again.
 */
import { OrchestratorError } from '../errors.ts';
import type { HistoryEntry, Input, JournalNote } from '../orchestrator/types.ts';
import type { FileSystem } from '../seams/file-system.ts';
import { isoTime } from '../seams/plain-clock.ts';
import type { JournalRecord } from './format.ts';
import { journalReader } from './history.ts';
import type { Journal } from './journal.ts';
import { inputData, noteData } from './record-data.ts';

/** Kinds of records that a loop writes: inputs, and the types of its core's notes. */
export type LoopRecordKind = 'input' | JournalNote['type'];

/** What the master writes beside its loop: a stall of the loop with who held it, and its own end. */
export interface RemarkData {
  readonly daemon: string | null;
  readonly message: string;
}
export type RemarkKind = 'stall' | 'fatal';

export interface LoopJournal {
  readonly nextSeq: number;
  appendInput(input: Input, cause: number | null): void;
  appendNote(seq: number, cause: number | null, note: JournalNote, at: number, wallMs: number): void;
  flush(): void;
  sync(): void;
}

/** @param onTrouble  told once per trouble of the disk, with a JOURNAL_FAILED */
export const loopJournal = (journal: Journal, onTrouble: (error: OrchestratorError) => void): LoopJournal => ({
  get nextSeq() {
    return journal.nextSeq;
  },
  appendInput(input, cause) {
    const { at, wallMs } = input;
    journal.append({ kind: 'input' satisfies LoopRecordKind, cause, json: inputData(input), at, wallMs });
  },
  appendNote(seq, cause, note, at, wallMs) {
    journal.append({ seq, kind: note.type satisfies LoopRecordKind, cause, json: noteData(note), at, wallMs });
  },
  flush: () => journal.flush(),
  sync() {
    try {
      journal.sync();
    } catch (thrown) {
      if (!(thrown instanceof OrchestratorError) || thrown.code !== 'JOURNAL_FAILED') throw thrown;
      onTrouble(thrown);
    }
  },
});

/** The input that a record of kind 'input' holds. */
export const inputOf = ({ at, wallMs, data }: JournalRecord): Input => ({ ...(data as object), at, wallMs }) as Input;

/** The note that a record of one of the core's kinds holds; null for an input and the journal's own records. */
export const noteOf = ({ kind, data }: JournalRecord): JournalNote | null =>
  kind === 'transition' || kind === 'operation' || kind === 'keep'
    ? ({ type: kind, ...(data as object) } as JournalNote)
    : null;

/** What an input says to a person. */
const wordsOf = (input: Input): string => {
  switch (input.kind) {
    case 'boot':
      return 'the master started';
    case 'command': {
      const { verb, daemons, origin, reason } = input.command;
      return `${[verb, ...daemons.slice(0, 8)].join(' ')}${daemons.length > 8 ? ' …' : ''} by ${origin}${reason === '' ? '' : `: ${reason}`}`;
    }
    case 'start-failed':
      return input.failure.message;
    case 'exited':
      return input.failure?.message ?? (input.forced ? 'killed' : 'ended');
    case 'verdict':
    case 'reattached':
      return input.message;
    case 'timer':
      return input.timer;
    case 'proven-empty':
      return input.left.length === 0 ? 'nothing is left' : `left: ${input.left.join(', ')}`;
    case 'start-begun':
    case 'ready':
      return '';
  }
};

/** A record as one line of history; null for the journal's own records. */
export const historyEntryOf = (record: JournalRecord): HistoryEntry | null => {
  const { seq, cause } = record;
  const time = isoTime(record.wallMs);
  const none = { seq, cause, time, daemon: null, from: null, to: null, why: null, generation: null };
  if (record.kind === 'input') {
    const input = inputOf(record);
    return {
      ...none,
      daemon: 'daemon' in input ? input.daemon : null,
      generation: 'generation' in input ? input.generation : null,
      on: input.kind,
      why: 'cause' in input ? input.cause : null,
      message: wordsOf(input),
    };
  }
  if (record.kind === 'stall' || record.kind === 'fatal') {
    const { daemon, message } = record.data as RemarkData;
    return { ...none, daemon, on: record.kind satisfies RemarkKind, message };
  }
  const note = noteOf(record);
  switch (note?.type) {
    case 'transition': {
      const { daemon, from, to, on, why, message, generation } = note;
      return { seq, cause, time, daemon, from, to, on, why, message, generation };
    }
    case 'operation': {
      const { verb, phase, reason, verdict } = note.operation;
      return { ...none, on: `${verb} ${phase}`, message: verdict === null ? reason : `${reason} (${verdict})` };
    }
    case 'keep':
      return { ...none, daemon: note.daemon, on: 'keep', message: note.message, generation: note.keep.generation };
    case undefined:
      return null;
  }
};

/** History as `history` and `why` show it, read from disk: what was decided, and the inputs that caused it. */
export const diskHistory = (options: { readonly folder: string; readonly files: FileSystem }) => {
  const reader = journalReader(options);
  return {
    /** Newest last; entries of `daemon` only, unless null. */
    read({ daemon, limit }: { readonly daemon: string | null; readonly limit: number }): HistoryEntry[] {
      // Most inputs are checks that changed nothing. Reading backwards, a record is met after all that it caused.
      const causes = new Set<number>();
      const where = (record: JournalRecord): boolean => {
        const decided = noteOf(record) !== null || record.kind === 'stall' || record.kind === 'fatal';
        if (decided && record.cause !== null) causes.add(record.cause);
        return decided || causes.has(record.seq);
      };
      return reader
        .read({ daemon, limit, where })
        .map(historyEntryOf)
        .filter((entry) => entry !== null);
    },
    /** Segments kept as read. */
    kept: () => reader.kept(),
    entry(seq: number): HistoryEntry | null {
      const record = reader.record(seq);
      return record === null ? null : historyEntryOf(record);
    },
  };
};

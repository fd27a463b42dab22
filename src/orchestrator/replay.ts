/**
 * Lives through a journal again from its inputs alone. Transitions are stripped before anything is decided, and each
 * master begins with what the replayed one before it had written, so what comes out is the core's own decisions and never
 * a copy of the file. The same fleet gives the same notes under the same numbers; one changed policy number does not.
 *
 * A master that died may have written an input and not what it decided of it; the next one began without that. The number
 * of its `boot` says how far the writing had come.
 */
import type { Fleet } from '../fleet/types.ts';
import type { JournalRecord } from '../journal/format.ts';
import { journalReader } from '../journal/history.ts';
import { inputOf, noteOf } from '../journal/loop-journal.ts';
import type { FileSystem } from '../seams/file-system.ts';
import { Core } from './core.ts';
import type { DaemonKeep, JournalNote, OperationRecord } from './types.ts';

export interface ReplayedNote {
  readonly seq: number;
  readonly cause: number | null;
  readonly note: JournalNote;
}

export interface Replay {
  /** The last master's core, as it was after the last input; null when no master began in these records. */
  readonly core: Core | null;
  readonly masters: number;
  readonly inputs: number;
  /** What was decided and is known to have been written, in order. */
  readonly notes: readonly ReplayedNote[];
}

/** @param records  of a whole journal; all but the inputs is passed over */
export const replayRecords = (records: Iterable<JournalRecord>, fleet: Fleet): Replay => {
  const keeps = new Map<string, DaemonKeep>();
  const notes: ReplayedNote[] = [];
  let operation: OperationRecord | null = null;
  let core: Core | null = null;
  let masters = 0;
  let inputs = 0;
  let decided: ReplayedNote[] = [];

  const write = (before: number): void => {
    for (const each of decided) {
      if (each.seq >= before) break;
      notes.push(each);
      if (each.note.type !== 'operation') keeps.set(each.note.daemon, each.note.keep);
      else operation = each.note.operation.phase === 'done' ? null : each.note.operation;
    }
    decided = [];
  };

  for (const record of records) {
    if (record.kind !== 'input') continue;
    const input = inputOf(record);
    if (input.kind === 'boot') {
      write(record.seq);
      core = new Core({ fleet, priority: new Map(), keeps, operation });
      masters++;
    }
    if (core === null) continue; // the beginning of this master is not kept any more
    inputs++;
    for (const effect of core.handle(input, record.seq))
      if (effect.do === 'journal') decided.push({ seq: effect.seq, cause: effect.cause, note: effect.record });
  }
  write(Infinity);
  return { core, masters, inputs, notes };
};

/** The same for the journal of a data directory. */
export const replayJournal = (options: { readonly folder: string; readonly files: FileSystem }, fleet: Fleet): Replay =>
  replayRecords(journalReader(options).inputs(), fleet);

export interface Divergence {
  readonly seq: number;
  /** As written; null when nothing was. */
  readonly written: JournalNote | null;
  /** As decided again; null when nothing was. */
  readonly replayed: JournalNote | null;
}

/**
 * Where a replay first decides otherwise than the journal says; null when it never does.
 * @param upTo  records after this number may not have been written before the end, and are not held against it
 */
export const divergenceOf = (
  records: Iterable<JournalRecord>,
  { notes }: Replay,
  upTo = Infinity,
): Divergence | null => {
  let next = 0;
  let last = 0;
  for (const record of records) {
    last = record.seq;
    const written = noteOf(record);
    if (written === null) continue;
    const replayed = notes[next++];
    if (replayed === undefined) return { seq: record.seq, written, replayed: null };
    const same =
      replayed.seq === record.seq &&
      replayed.cause === record.cause &&
      JSON.stringify(sorted(replayed.note)) === JSON.stringify(sorted(written));
    if (!same) return { seq: Math.min(record.seq, replayed.seq), written, replayed: replayed.note };
  }
  const more = notes[next];
  return more === undefined || more.seq > Math.min(last, upTo)
    ? null
    : { seq: more.seq, written: null, replayed: more.note };
};

/** Keys in one order, and only what JSON keeps. */
const sorted = (note: JournalNote): unknown => {
  const plain: unknown = JSON.parse(JSON.stringify(note));
  return Object.entries(plain as object).sort(([a], [b]) => (a < b ? -1 : 1));
};

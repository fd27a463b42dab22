/**
 * What a journal still says after whatever happened to the machine.
 *
 * State = the newest valid checkpoint + every record after it, in order. Reading changes nothing, so recovering twice, or
 * crashing in the middle of it, gives the same. A segment counts up to its first invalid line; the next run of the master
 * began a new segment whose header says after which record it went on. When that is the last one we could read, the rest
 * of the older segment was a torn tail, which nobody was promised; when it is a later one, records that were durable are
 * missing, and that is reported as a hole, loudly, instead of a state that never was.
 */
import { join } from 'node:path';
import type { FileSystem } from '../seams/file-system.ts';
import {
  journalFiles,
  readCheckpoint,
  readSegment,
  type Checkpoint,
  type JournalRecord,
  type SegmentHeader,
} from './format.ts';

/** The end of a segment that does not check. */
export interface TornTail {
  readonly segment: string;
  readonly bytes: number;
}

/** Records that were there once and are not any more: those after `after`, up to and with `to`. */
export interface Hole {
  readonly segment: string;
  readonly after: number;
  readonly to: number;
}

export interface RecoveredJournal {
  readonly checkpoint: Checkpoint | null;
  /** Every record after the checkpoint, oldest first. */
  readonly tail: readonly JournalRecord[];
  /** The last record's number; 0 for a new journal. */
  readonly lastSeq: number;
  /** Header of the newest segment: the fleet, version and boot of the last run. */
  readonly lastRun: SegmentHeader | null;
  readonly torn: readonly TornTail[];
  readonly holes: readonly Hole[];
  /** Records of kind 'gap' in the tail: the last run says that it dropped records there. */
  readonly gaps: readonly JournalRecord[];
  /** Checkpoint files that are damaged; an older one was taken. */
  readonly damagedCheckpoints: readonly string[];
  /** Number of the next segment. */
  readonly nextSegment: number;
  /** The newest segment, whose end may not be durable yet; null when there is none. */
  readonly newestSegment: string | null;
}

/** Names in a folder; none when it does not exist yet. */
export const namesIn = (files: FileSystem, folder: string): string[] =>
  files.exists(folder) ? files.list(folder) : [];

/**
 * Reads a journal folder; an absent one is a new journal.
 * @throws JOURNAL_FORMAT when a file that matters has a newer format; the file system's errors when one is unreadable
 */
export const recoverJournal = ({
  folder,
  files,
}: {
  readonly folder: string;
  readonly files: FileSystem;
}): RecoveredJournal => {
  const { segments, checkpoints } = journalFiles(namesIn(files, folder));

  let checkpoint: Checkpoint | null = null;
  const damagedCheckpoints: string[] = [];
  for (const { name } of checkpoints) {
    checkpoint = readCheckpoint(name, files.read(join(folder, name)));
    if (checkpoint !== null) break;
    damagedCheckpoints.push(name);
  }

  const from = checkpoint?.seq ?? 0;
  let tail: JournalRecord[] = [];
  let lastSeq = from;
  let lastRun: SegmentHeader | null = null;
  const torn: TornTail[] = [];
  const holes: Hole[] = [];
  segments.forEach(({ name }, index) => {
    const next = segments[index + 1];
    if (next !== undefined && next.after <= from && next.after > 0) return; // all of it is in the checkpoint
    const content = files.read(join(folder, name));
    const segment = readSegment(name, content);
    if (segment === null) {
      if (content.length > 0) torn.push({ segment: name, bytes: content.length });
      return;
    }
    const { after } = segment.header;
    if (after > lastSeq) holes.push({ segment: name, after: lastSeq, to: after });
    // A run that went on from an earlier record did not know what follows that record in an older segment.
    if (after < lastSeq && after >= from) tail = tail.filter(({ seq }) => seq <= after);
    lastSeq = Math.max(after, from);
    lastRun = segment.header;
    for (const line of segment.lines) {
      const record = segment.record(line);
      if (record.seq <= from) continue;
      tail.push(record);
      lastSeq = record.seq;
    }
    if (segment.tornBytes > 0) torn.push({ segment: name, bytes: segment.tornBytes });
  });

  const newest = segments.at(-1);
  return {
    checkpoint,
    tail,
    lastSeq,
    lastRun,
    torn,
    holes,
    gaps: tail.filter(({ kind }) => kind === 'gap'),
    damagedCheckpoints,
    nextSegment: (newest?.number ?? 0) + 1,
    newestSegment: newest?.name ?? null,
  };
};

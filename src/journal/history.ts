/**
 * Reading the journal, by anybody: the master, its server thread, a command, a test. Never writes, needs no lock.
 *
 * Newest first is what people ask for, so segments are read from the newest back, and lines of other daemons are passed
 * over by their bytes, without parsing. A record is found by its number through the names of the segments, then by
 * halving. The segment being written ends in the middle of a line now and then; that line is simply not there yet.
 */
import { join } from 'node:path';
import type { Fill } from '../bounds.ts';
import type { FileSystem } from '../seams/file-system.ts';
import { journalFiles, readSegment, seqOf, type JournalRecord, type Line, type Segment } from './format.ts';
import { namesIn } from './recovery.ts';

export interface HistoryQuery {
  /** Only records whose data names this daemon. */
  readonly daemon?: string | null;
  readonly limit: number;
  /** Only records before this number. */
  readonly before?: number;
  /** A further condition. */
  readonly where?: (record: JournalRecord) => boolean;
}

export interface CauseChain {
  /** From the record asked for back to its root, which is last. */
  readonly records: readonly JournalRecord[];
  /** False when a cause is not kept any more, so that the last record is not the root. */
  readonly complete: boolean;
}

export interface JournalReader {
  /** The newest records that match, oldest of them first. */
  read(query: HistoryQuery): JournalRecord[];
  record(seq: number): JournalRecord | null;
  /** Why: every record has one cause or is a root, and causes are older, so there is one way back. */
  causeChain(seq: number): CauseChain;
  /** All that is kept, oldest first; one segment in memory at a time. */
  records(): Generator<JournalRecord>;
  /** What arrived, without what was decided: for replay. */
  inputs(): Generator<JournalRecord>;
  /** Segments kept as read; the least used goes. */
  kept(): Fill;
}

/** Segments kept as read: the newest few are asked for again and again. */
const SEGMENTS_KEPT = 3;

interface Read {
  readonly bytes: number;
  readonly segment: Segment | null;
}

/** Does this record speak of that daemon, or is it a command to it? */
const names = (data: unknown, daemon: string): boolean => {
  if (typeof data !== 'object' || data === null) return false;
  const { daemon: of, command } = data as { daemon?: unknown; command?: { daemons?: unknown } };
  return of === daemon || (Array.isArray(command?.daemons) && command.daemons.includes(daemon));
};

/** @param options.folder  the journal's; it may be absent, and is read anew at every call */
export const journalReader = ({
  folder,
  files,
}: {
  readonly folder: string;
  readonly files: FileSystem;
}): JournalReader => {
  const recent = new Map<string, Read>();

  const load = (name: string): Segment | null => {
    const path = join(folder, name);
    let bytes: number;
    try {
      bytes = files.stat(path).bytes;
      const known = recent.get(name);
      if (known?.bytes === bytes) {
        recent.delete(name);
        recent.set(name, known); // newest use last
        return known.segment;
      }
      const content = files.read(path);
      const segment = readSegment(name, content);
      recent.delete(name);
      recent.set(name, { bytes: content.length, segment });
      if (recent.size > SEGMENTS_KEPT) recent.delete(recent.keys().next().value as string);
      return segment;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return null; // deleted since it was listed
      throw thrown;
    }
  };

  const segments = () => journalFiles(namesIn(files, folder)).segments;

  /** Records of a segment that a later run did not overrule. */
  const linesOf = (segment: Segment, upTo: number): readonly Line[] => {
    const last = segment.lines.at(-1);
    if (last === undefined || seqOf(segment.bytes, last) <= upTo) return segment.lines;
    return segment.lines.filter((line) => seqOf(segment.bytes, line) <= upTo);
  };

  const read: JournalReader['read'] = ({ daemon = null, limit, before = Infinity, where }) => {
    const found: JournalRecord[] = [];
    const mark = daemon === null ? null : Buffer.from(JSON.stringify(daemon));
    let upTo = before - 1;
    const listed = segments();
    for (let index = listed.length - 1; index >= 0 && found.length < limit; index--) {
      const { name, after } = listed[index] as { name: string; after: number };
      const segment = after < upTo ? load(name) : null;
      const lines = segment === null ? [] : linesOf(segment, upTo);
      for (let at = lines.length - 1; at >= 0 && found.length < limit && segment !== null; at--) {
        const line = lines[at] as Line;
        if (mark !== null && !segment.bytes.subarray(line.from, line.to).includes(mark)) continue;
        const record = segment.record(line);
        if (daemon !== null && !names(record.data, daemon)) continue;
        if (where === undefined || where(record)) found.push(record);
      }
      upTo = Math.min(upTo, after);
    }
    return found.reverse();
  };

  const record: JournalReader['record'] = (seq) => {
    const listed = segments();
    for (let index = listed.length - 1; index >= 0; index--) {
      const { name, after } = listed[index] as { name: string; after: number };
      if (after >= seq) continue;
      const segment = load(name);
      if (segment === null) continue; // no valid header: a run that wrote nothing
      let low = 0;
      let high = segment.lines.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (seqOf(segment.bytes, segment.lines[middle] as Line) < seq) low = middle + 1;
        else high = middle;
      }
      const line = segment.lines[low];
      return line !== undefined && seqOf(segment.bytes, line) === seq ? segment.record(line) : null;
    }
    return null;
  };

  const records = function* (): Generator<JournalRecord> {
    const listed = segments();
    for (const [index, { name }] of listed.entries()) {
      const segment = load(name);
      if (segment === null) continue;
      const next = listed.slice(index + 1).find((later) => load(later.name) !== null);
      for (const line of linesOf(segment, next?.after ?? Infinity)) yield segment.record(line);
    }
  };

  return {
    read,
    record,
    causeChain(seq) {
      const chain: JournalRecord[] = [];
      for (let next: number | null = seq; next !== null;) {
        const found: JournalRecord | null = record(next);
        if (found === null) return { records: chain, complete: false };
        chain.push(found);
        next = found.cause !== null && found.cause < found.seq ? found.cause : null;
      }
      return { records: chain, complete: true };
    },
    records,
    *inputs() {
      for (const each of records()) if (each.kind === 'input') yield each;
    },
    kept: () => ({ size: recent.size, limit: SEGMENTS_KEPT }),
  };
};

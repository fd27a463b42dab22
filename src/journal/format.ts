/**
 * How a record looks on disk: one line of text, checked by a number in front of it.
 *
 *     3f2a91c0 {"seq":12,"cause":9,"kind":"transition","at":1043.2,"wallMs":1795561200000,"data":{…}}
 *
 * JSON has no raw line feed, so a line is found, cut and grepped by anybody. The number is CRC-32 over the bytes of the
 * JSON, *continued from the line before*: a line is valid only in its place, so neither a torn tail nor an old block that
 * the disk puts back into a new file can pass for a record. A reader stops at the first line that is not valid: what
 * comes after it was never promised to anybody. A segment begins with a header line, whose check starts from 0.
 *
 * CRC-32 comes from zlib (Node ≥ 20.15): 0.3 µs for 250 bytes, less than the JSON costs.
 */
import { crc32 } from 'node:zlib';
import { OrchestratorError } from '../errors.ts';

/** What this version writes. A reader of each format it has ever written stays in `LINE_READERS`. */
export const JOURNAL_FORMAT = 1;

/** One thing that happened, or was decided. */
export interface JournalRecord {
  /** Grows by every record, over restarts of the master too. */
  readonly seq: number;
  /** The record that caused this one; null at a root. */
  readonly cause: number | null;
  /** 'input', 'transition', 'operation', …; 'gap' and 'pruned' are the journal's own. */
  readonly kind: string;
  /** Monotonic milliseconds of the master that wrote it. */
  readonly at: number;
  readonly wallMs: number;
  /** JSON; the journal does not look into it. */
  readonly data: unknown;
}

/** First line of a segment: who wrote it, and where it continues. */
export interface SegmentHeader {
  readonly journal: 'master-loop';
  readonly format: number;
  /** The last record before this segment. */
  readonly after: number;
  readonly fleetHash: string;
  readonly coreVersion: string;
  readonly bootId: string;
  readonly wallMs: number;
}

export interface Checkpoint {
  readonly journal: 'master-loop';
  readonly format: number;
  /** `state` holds everything up to and with this record. */
  readonly seq: number;
  readonly at: number;
  readonly wallMs: number;
  readonly fleetHash: string;
  readonly coreVersion: string;
  readonly state: unknown;
}

/** The journal was written by a newer version, whose records this one cannot understand. */
export const journalTooNew = (path: string, format: number): OrchestratorError =>
  new OrchestratorError('JOURNAL_FORMAT', {
    message: `cannot read ${path}: it has journal format ${format}, and this version knows formats up to ${JOURNAL_FORMAT}`,
    remedy: 'run the version of master-loop that wrote it, or start on another --data-dir',
    context: { path, format, known: JOURNAL_FORMAT },
  });

/** Bytes of a line beside its JSON: eight digits, a space, a line feed. */
export const LINE_OVERHEAD = 10;

/** The checking number as it is printed. */
export const hexOf = (check: number): string => check.toString(16).padStart(8, '0');

const HEX_DIGITS = Buffer.from('0123456789abcdef');

/** The same, put into a buffer: a third of the cost of a string. */
const writeHex = (buffer: Buffer, at: number, check: number): void => {
  for (let digit = 7, rest = check; digit >= 0; digit--, rest >>>= 4)
    buffer[at + digit] = HEX_DIGITS[rest & 15] as number;
};

/** The value of a hexadecimal digit's character code; NaN for any other. */
const digitOf = (code: number): number =>
  code >= 48 && code <= 57 ? code - 48 : code >= 97 && code <= 102 ? code - 87 : NaN;

const SPACE = 32;
const LINE_FEED = 10;

/** Kinds are a handful of words, met again in every record. */
const KINDS_REMEMBERED = 64;
const kindJsons = new Map<string, string>();

const jsonOfKind = (kind: string): string => {
  const known = kindJsons.get(kind);
  if (known !== undefined) return known;
  const json = JSON.stringify(kind);
  if (kindJsons.size < KINDS_REMEMBERED) kindJsons.set(kind, json);
  return json;
};

/** An input and all that it decided have one time, and the digits of a fraction are dear. */
let stampAt = NaN;
let stampWallMs = NaN;
let stampJson = '';

const jsonOfStamp = (at: number, wallMs: number): string => {
  if (at !== stampAt || wallMs !== stampWallMs) {
    stampJson = `"at":${at},"wallMs":${wallMs}`;
    stampAt = at;
    stampWallMs = wallMs;
  }
  return stampJson;
};

/**
 * The JSON of a record, with `seq` first, so that a line can be placed without parsing it.
 * @param data  JSON already
 */
export const recordJson = (
  seq: number,
  cause: number | null,
  kind: string,
  at: number,
  wallMs: number,
  data: string,
): string => `{"seq":${seq},"cause":${cause},"kind":${jsonOfKind(kind)},${jsonOfStamp(at, wallMs)},"data":${data}}`;

/** One line that stands alone, as a checkpoint file holds it. */
export const lineOf = (json: string): Buffer => Buffer.from(`${hexOf(crc32(json))} ${json}\n`);

/**
 * Writes one line into a buffer that has room for it.
 * @param check  of the line before; 0 at the start of a segment
 * @returns bytes written, and the check of this line
 */
export const writeLine = (
  buffer: Buffer,
  at: number,
  json: string,
  check: number,
): { readonly bytes: number; readonly check: number } => {
  const next = crc32(json, check);
  const length = buffer.write(json, at + 9, 'utf8');
  writeHex(buffer, at, next);
  buffer[at + 8] = SPACE;
  buffer[at + 9 + length] = LINE_FEED;
  return { bytes: length + LINE_OVERHEAD, check: next };
};

/** A valid line: where its JSON lies. */
export interface Line {
  readonly from: number;
  readonly to: number;
}

/** The valid lines at the beginning of `bytes`, and how many bytes they take; what follows is torn. */
export const validLines = (bytes: Buffer): { readonly lines: Line[]; readonly validBytes: number } => {
  const lines: Line[] = [];
  let check = 0;
  let at = 0;
  for (;;) {
    const end = bytes.indexOf(LINE_FEED, at);
    if (end < at + LINE_OVERHEAD - 1 || bytes[at + 8] !== SPACE) break;
    let written = 0;
    for (let digit = at; digit < at + 8; digit++) written = written * 16 + digitOf(bytes[digit] as number);
    const computed = crc32(bytes.subarray(at + 9, end), check);
    if (written !== computed) break;
    lines.push({ from: at + 9, to: end });
    check = computed;
    at = end + 1;
  }
  return { lines, validBytes: at };
};

const SEQ_PREFIX = Buffer.from('{"seq":');

/** The number of the record in a line, without parsing the rest. */
export const seqOf = (bytes: Buffer, line: Line): number => {
  let seq = 0;
  for (let at = line.from + SEQ_PREFIX.length; at < line.to; at++) {
    const digit = (bytes[at] as number) - 48;
    if (digit < 0 || digit > 9) break;
    seq = seq * 10 + digit;
  }
  return seq;
};

/** How the JSON of a line becomes a record, by the format of its segment. */
const LINE_READERS: Readonly<Record<number, (json: string) => JournalRecord>> = {
  1: (json) => JSON.parse(json) as JournalRecord,
};

/** A segment as read: its header, the places of its records, and what of it is torn. */
export interface Segment {
  readonly header: SegmentHeader;
  readonly bytes: Buffer;
  readonly lines: readonly Line[];
  readonly tornBytes: number;
  record(line: Line): JournalRecord;
}

/**
 * Reads the valid part of a segment.
 * @returns null when not even its header is whole
 * @throws JOURNAL_FORMAT when it is of a newer format
 */
export const readSegment = (path: string, content: Uint8Array): Segment | null => {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
  const { lines, validBytes } = validLines(bytes);
  const [first, ...records] = lines;
  if (first === undefined) return null;
  const header = JSON.parse(bytes.toString('utf8', first.from, first.to)) as SegmentHeader;
  const reader = LINE_READERS[header.format];
  if (reader === undefined) throw journalTooNew(path, header.format);
  return {
    header,
    bytes,
    lines: records,
    tornBytes: bytes.length - validBytes,
    record: (line) => reader(bytes.toString('utf8', line.from, line.to)),
  };
};

/**
 * Reads a checkpoint file.
 * @returns null when it is damaged
 * @throws JOURNAL_FORMAT when it is of a newer format
 */
export const readCheckpoint = (path: string, content: Uint8Array): Checkpoint | null => {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
  const [line] = validLines(bytes).lines;
  if (line === undefined) return null;
  const checkpoint = JSON.parse(bytes.toString('utf8', line.from, line.to)) as Checkpoint;
  if (LINE_READERS[checkpoint.format] === undefined) throw journalTooNew(path, checkpoint.format);
  return checkpoint;
};

// ---------------------------------------------------------------------------------------------- names of files

/** Segments are ordered by `number`; `after` in the name lets a reader find a record without opening the others. */
export interface SegmentName {
  readonly name: string;
  readonly number: number;
  readonly after: number;
}

export const segmentName = (number: number, after: number): string =>
  `segment-${String(number).padStart(8, '0')}-after-${after}.journal`;

export const checkpointName = (seq: number): string => `checkpoint-at-${seq}.journal`;

/** The journal's files among the names of a folder: segments oldest first, checkpoints newest first. */
export const journalFiles = (
  names: readonly string[],
): { readonly segments: SegmentName[]; readonly checkpoints: { readonly name: string; readonly seq: number }[] } => {
  const segments: SegmentName[] = [];
  const checkpoints: { name: string; seq: number }[] = [];
  for (const name of names) {
    const segment = /^segment-(\d+)-after-(\d+)\.journal$/.exec(name);
    if (segment !== null) segments.push({ name, number: Number(segment[1]), after: Number(segment[2]) });
    const checkpoint = /^checkpoint-at-(\d+)\.journal$/.exec(name);
    if (checkpoint !== null) checkpoints.push({ name, seq: Number(checkpoint[1]) });
  }
  segments.sort((a, b) => a.number - b.number);
  checkpoints.sort((a, b) => b.seq - a.seq);
  return { segments, checkpoints };
};

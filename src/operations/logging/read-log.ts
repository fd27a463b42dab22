/**
 * The log as a reader sees it: its last lines, and then every new one, across rotation.
 *
 * A reader follows the file, not the name: after a rotation it finishes what the renamed file still gets, then begins the
 * new one, so no line is lost or shown twice. It polls, since nothing tells a reader of a renamed file that it moved.
 */
import { identityOf, openReadable, type ReadableFile } from '../../seams/log-files.ts';
import type { PlainClock } from '../../seams/plain-clock.ts';
import { daemonOfLine } from './line.ts';

/** How far back `lines` are looked for: a rotated file and the live one. Bytes. */
const LOOK_BACK_BYTES = 32 * 1024 * 1024;
const BLOCK_BYTES = 256 * 1024;
/** Chosen: quick to the eye, and nothing to the disk. Milliseconds. */
const POLL_MS = 150;
const NEWLINE = 0x0a;
/** A line longer than this is shown in parts; ours are never this long. Bytes. */
const LINE_BYTES_MAX = 1024 * 1024;
/** One answer holds no more, however long its lines are; half of what a slow reader of a stream may lag behind. */
export const ANSWER_CHARACTERS_MAX = 2 * 1024 * 1024;

const wanted = (daemon: string | null, line: string): boolean => daemon === null || daemonOfLine(line) === daemon;

/** What may still be found: lines, and characters in them. */
interface Room {
  lines: number;
  characters: number;
}

/** The last matching lines of one file, oldest first, while there is room. */
const lastLinesOf = (path: string, daemon: string | null, room: Room, bytesMax: number): string[] => {
  const file = openReadable(path);
  if (file === null) return [];
  try {
    const size = file.size();
    const first = Math.max(0, size - bytesMax);
    const found: string[] = [];
    let tail = Buffer.alloc(0);
    const hasRoom = (): boolean => room.lines > 0 && room.characters >= 0;
    for (let end = size; end > first && hasRoom();) {
      const begin = Math.max(first, end - BLOCK_BYTES);
      const block = Buffer.concat([file.read(begin, end - begin), tail]);
      // Up to the first line end belongs to a line that begins in the block before.
      const cut = begin === 0 ? -1 : block.indexOf(NEWLINE);
      const lines = block
        .subarray(cut + 1)
        .toString('utf8')
        .split('\n');
      for (let at = lines.length - 1; at >= 0 && hasRoom(); at--) {
        const line = lines[at] as string;
        if (line === '' || !wanted(daemon, line)) continue;
        room.characters -= line.length;
        if (room.characters < 0) break;
        room.lines--;
        found.push(line);
      }
      tail = Buffer.from(block.subarray(0, cut + 1));
      end = begin;
    }
    return found.reverse();
  } finally {
    file.close();
  }
};

export interface ReadLogOptions {
  readonly path: string;
  /** Only lines of this daemon. */
  readonly daemon: string | null;
  readonly lines: number;
}

/** The last lines, oldest first; the newest rotated files help when the live one has too few. */
export const readLog = ({ path, daemon, lines }: ReadLogOptions): string[] => {
  let found: string[] = [];
  const room: Room = { lines, characters: ANSWER_CHARACTERS_MAX };
  for (let number = 0; number <= 2 && room.lines > 0 && room.characters >= 0; number++) {
    const name = number === 0 ? path : `${path}.${number}`;
    found = [...lastLinesOf(name, daemon, room, LOOK_BACK_BYTES), ...found];
  }
  return room.characters >= 0
    ? found
    : [`… earlier lines are left out: an answer holds at most ${ANSWER_CHARACTERS_MAX} characters`, ...found];
};

/**
 * Calls `line` for the last lines, then for every new one.
 * @returns ends it
 */
export const followLog = (
  { path, daemon, lines }: ReadLogOptions,
  clock: PlainClock,
  line: (line: string) => void,
): (() => void) => {
  let file: ReadableFile | null = openReadable(path);
  let offset = file?.size() ?? 0;
  let part = Buffer.alloc(0);
  for (const old of lines === 0 ? [] : readLog({ path, daemon, lines })) line(old);

  const readOn = (from: ReadableFile): void => {
    for (let size = from.size(); offset < size;) {
      const bytes = from.read(offset, Math.min(BLOCK_BYTES, size - offset));
      if (bytes.length === 0) return;
      offset += bytes.length;
      part = Buffer.concat([part, bytes]);
      for (let end = part.indexOf(NEWLINE); end >= 0; end = part.indexOf(NEWLINE)) {
        const text = part.subarray(0, end).toString('utf8');
        part = part.subarray(end + 1);
        if (text !== '' && wanted(daemon, text)) line(text);
      }
      if (part.length > LINE_BYTES_MAX) {
        line(part.toString('utf8'));
        part = Buffer.alloc(0);
      }
    }
  };

  const timer = clock.every(POLL_MS, () => {
    if (file !== null) readOn(file);
    if (file !== null && identityOf(path) === file.identity && file.size() >= offset) return;
    // Renamed, deleted or cut: the rest of it was read above, before the name was looked at, so read once more.
    if (file !== null) readOn(file);
    const next = openReadable(path);
    if (next === null) return;
    file?.close();
    file = next;
    offset = 0;
    part = Buffer.alloc(0);
    readOn(file);
  });
  return () => {
    timer.cancel();
    file?.close();
    file = null;
  };
};

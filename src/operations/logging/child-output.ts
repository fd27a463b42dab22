/**
 * What child processes print goes to files of their own, and those stay short.
 *
 * The master never reads along: a child that floods its output (100 MB a second, or one line of a gigabyte) costs it no
 * memory, and is not held up by it. It looks at the sizes instead. A file that has grown too long moves to `.1` and begins
 * anew; one that grew by more than that since the last look floods, and then only its end is kept, since copying the
 * flood would cost as much as the flood. Bytes that were left out are counted, said in the log once and then at most once a
 * minute, and noted in the file itself. Refused: reading a pipe, because a child outlives the master, and would then be
 * ended by its own output.
 */
import type { Fills } from '../../bounds.ts';
import { messageOf } from '../../errors.ts';
import type { OutputFiles } from '../../seams/output-files.ts';
import { isoTime, type PlainClock, type Timer } from '../../seams/plain-clock.ts';

/** A longer file is cut. Bytes; on disk is that much, the same again in `.1`, and what is written until the next look. */
export const OUTPUT_BYTES_MAX = 8 * 1024 * 1024;
/** Of a flood, the end is kept. Bytes. */
export const FLOOD_KEPT_BYTES = 256 * 1024;
/** Between looks, and while something floods. Milliseconds. */
const LOOK_MS = 200;
const LOOK_SLACK_MS = 50;
const FLOOD_LOOK_MS = 50;
/** Losses of one file are said at most this often. Milliseconds. */
const TELL_MS = 60_000;

export interface ChildOutputOptions {
  readonly clock: PlainClock;
  readonly files: OutputFiles;
  /** Output files of the processes that live now. */
  readonly live: () => readonly string[];
  readonly log: { warn(message: string): void };
  readonly bytesMax?: number;
}

export interface ChildOutput {
  /** Looks now, and goes on for as long as anything lives; called for each process that begins to. */
  look(): void;
  collections(): Fills;
  /** Looks a last time, and no more. */
  close(): Promise<void>;
}

interface Watched {
  /** Bytes after the last look; null before the first. */
  size: number | null;
  /** Monotonic milliseconds. */
  toldAt: number;
  untold: number;
  failure: string | null;
}

/** Begins to look after the output files. */
export const watchChildOutput = (options: ChildOutputOptions): ChildOutput => {
  const { clock, files, live, log } = options;
  const bytesMax = options.bytesMax ?? OUTPUT_BYTES_MAX;
  const watched = new Map<string, Watched>();
  let lostBytes = 0;
  let timer: Timer | null = null;
  let looking: Promise<void> = Promise.resolve();
  /** Not while nothing lives: then nobody has to look. */
  let isLooking = false;
  let closed = false;

  const note = (lost: number): string =>
    `${isoTime(clock.wallMs())} master_loop: ${lost} bytes of output were left out here; it comes faster than is kept`;

  const tell = (path: string, file: Watched, isLast: boolean): void => {
    const now = clock.monotonicMs();
    if (file.untold === 0 || (!isLast && now - file.toldAt < TELL_MS)) return;
    log.warn(`${file.untold} bytes of output were left out of ${path}: it comes faster than is kept; .1 has its end`);
    file.toldAt = now;
    file.untold = 0;
  };

  /** Cuts it when it is too long. @returns whether it floods */
  const keepShort = async (path: string, file: Watched): Promise<boolean> => {
    const size = files.size(path) ?? 0;
    // What is met for the first time may have grown for days.
    const floods = file.size !== null && size - file.size > bytesMax;
    file.size = size;
    if (size <= bytesMax) return false;
    const lost = await files.cut(path, floods ? Math.min(FLOOD_KEPT_BYTES, bytesMax) : 2 * bytesMax, note);
    file.size = 0;
    file.failure = null;
    file.untold += lost;
    lostBytes += lost;
    return floods;
  };

  const lookAt = async (path: string, isLast: boolean): Promise<boolean> => {
    const file = watched.get(path) ?? { size: null, toldAt: -Infinity, untold: 0, failure: null };
    watched.set(path, file);
    let floods = false;
    try {
      floods = await keepShort(path, file);
    } catch (thrown) {
      const failure = messageOf(thrown);
      if (failure !== file.failure) log.warn(`cannot keep ${path} short: ${failure}; it goes on growing`);
      file.failure = failure;
    }
    tell(path, file, isLast);
    return floods;
  };

  const look = async (): Promise<void> => {
    let floods = false;
    const present = new Set(live());
    for (const path of new Set([...present, ...watched.keys()])) {
      const isLast = closed || !present.has(path);
      floods = (await lookAt(path, isLast)) || floods;
      if (isLast) watched.delete(path); // nobody writes to it any more
    }
    if (closed) return;
    isLooking = watched.size > 0 || live().length > 0;
    if (!isLooking) return;
    if (floods) timer = clock.after(FLOOD_LOOK_MS, again, { background: true });
    else timer = clock.after(LOOK_MS, again, { background: true, slackMs: LOOK_SLACK_MS });
  };
  const again = (): void => void (looking = look());
  const begin = (): void => {
    if (isLooking || closed) return;
    isLooking = true;
    again();
  };
  begin();

  return {
    look: begin,
    collections() {
      let size = 0;
      for (const file of watched.values()) size = Math.max(size, file.size ?? 0);
      return { child_output_bytes: { size, limit: bytesMax, dropped: lostBytes } };
    },
    async close() {
      if (closed) return;
      closed = true;
      timer?.cancel();
      await looking;
      await look();
    },
  };
};

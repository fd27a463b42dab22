/**
 * What a person sees and types: standard output, standard error, standard input, and the screen of a terminal.
 *
 * A full-screen view borrows the terminal: raw keys, the alternate screen, no cursor, no automatic line wrap (a line that
 * is a cell too long must never scroll the screen). Whatever ends the process, the terminal is given back: the exit hook
 * writes the same restoring sequence as `leave`, and Node prints an uncaught error only after exit hooks have run.
 *
 * A reader that went away (`status | head -1`) is no error: the process ends quietly, unless it does more than print. A
 * fleet goes on when nobody reads it; a terminal that was closed also sends SIGHUP, which stops it in order.
 */
import { writeSync } from 'node:fs';

const ENTER_SCREEN = '\x1b[?1049h\x1b[?7l\x1b[?25l\x1b[2J';
const LEAVE_SCREEN = '\x1b[?7h\x1b[?25h\x1b[0m\x1b[?1049l';

/** What is read at most from standard input when a command takes it as a whole, bytes. Chosen: the longest event body. */
const INPUT_BYTES_MAX = 1 << 20;

export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

export interface Terminal {
  /** Standard output goes to a terminal. */
  readonly outputIsTerminal: boolean;
  /** A person can also answer: standard input is a terminal too. */
  readonly interactive: boolean;
  /** 80 × 24 where nobody knows better. */
  size(): ScreenSize;
  write(text: string): void;
  writeError(text: string): void;
  /** All of standard input as text. Rejects when it is longer than 1 MiB. */
  readInput(): Promise<string>;
  /** Takes the screen over; `leave` (or the end of the process) gives it back. */
  enter(handlers: { readonly onInput: (text: string) => void; readonly onResize: () => void }): void;
  leave(): void;
  /** From here on this process does more than print: a reader that goes away is no reason to end. */
  outliveReaders(): void;
}

/** The terminal of this process. Make one per process: it hooks the streams. */
export const realTerminal = (): Terminal => {
  const { stdin, stdout, stderr } = process;
  let outlives = false;
  const readerIsGone = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
    if (!outlives) process.exit(0);
  };
  for (const stream of [stdin, stdout, stderr]) stream.on('error', readerIsGone);
  let leaveScreen: (() => void) | null = null;
  return {
    outputIsTerminal: stdout.isTTY === true,
    interactive: stdout.isTTY === true && stdin.isTTY === true,
    // `||`, since a terminal that was never told its size says 0.
    size: () => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 }),
    write: (text) => void stdout.write(text),
    writeError: (text) => void stderr.write(text),
    async readInput() {
      const parts: Buffer[] = [];
      let bytes = 0;
      for await (const part of stdin as AsyncIterable<Buffer>) {
        bytes += part.length;
        if (bytes > INPUT_BYTES_MAX) throw new RangeError(`cannot read standard input: over ${INPUT_BYTES_MAX} bytes`);
        parts.push(part);
      }
      return Buffer.concat(parts).toString('utf8');
    },
    enter({ onInput, onResize }) {
      if (leaveScreen !== null) return;
      const input = (text: Buffer | string): void => onInput(text.toString());
      const restore = (): void => {
        try {
          if (stdin.isTTY) stdin.setRawMode(false);
          writeSync(1, LEAVE_SCREEN);
        } catch {
          // The terminal itself is gone (closed window); there is nothing left to restore.
        }
      };
      stdin.setRawMode(true);
      stdin.setEncoding('utf8');
      stdin.on('data', input);
      stdin.resume();
      stdout.on('resize', onResize);
      process.on('exit', restore);
      stdout.write(ENTER_SCREEN);
      leaveScreen = () => {
        leaveScreen = null;
        stdin.off('data', input);
        stdin.pause();
        stdout.off('resize', onResize);
        process.off('exit', restore);
        restore();
      };
    },
    leave: () => leaveScreen?.(),
    outliveReaders: () => void (outlives = true),
  };
};

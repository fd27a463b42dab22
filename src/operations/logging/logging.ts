/**
 * The log of the running program. Logging is a sink: it prints what happened, decides nothing, blocks nothing, and a
 * failure of it is a figure and never an error of whoever logged.
 *
 * winston carries the lines to their transports; whether a line is made at all is decided before, by one comparison, so
 * that a `debug` of every delivery costs nothing while the level is INFO.
 */
import winston from 'winston';
import type { Fills } from '../../bounds.ts';
import TransportStream from 'winston-transport';
import type { Logger } from '../../daemons/definition.ts';
import type { FileSystem } from '../../seams/file-system.ts';
import { openGrowing, type GrowingFile } from '../../seams/log-files.ts';
import type { PlainClock } from '../../seams/plain-clock.ts';
import { LOG_LEVELS, type LogFigures, type LogLevel } from '../server/protocol.ts';
import { formatLine, Redactor } from './line.ts';
import { RotatingFile } from './rotating-file.ts';

/** The name under which the master itself logs. */
export const MASTER = 'master_loop';

export interface LoggingOptions {
  /** `<data-dir>/logs/coordination.log`. */
  readonly path: string;
  readonly level: LogLevel;
  readonly clock: PlainClock;
  readonly files: Pick<FileSystem, 'exists' | 'rename' | 'remove'>;
  /** Also printed here, line by line; absent: only the file. */
  readonly print?: (line: string) => void;
  readonly fileBytesMax?: number;
  readonly filesKept?: number;
  readonly waitingBytesMax?: number;
  /** How the file is opened; a test hands in a disk that fails. */
  readonly open?: (path: string) => GrowingFile;
}

/** A daemon's logger, and more for those who work for the master. */
export interface MasterLogger extends Logger {
  critical(message: string, fields?: Readonly<Record<string, unknown>>): void;
  isDebug(): boolean;
}

export interface Logging {
  /** A logger under a daemon's name. */
  for(daemon: string): MasterLogger;
  readonly master: MasterLogger;
  level(): LogLevel;
  /** Takes effect with the next line. Returns the level before. */
  setLevel(level: LogLevel): LogLevel;
  /** This value is cut out of every line from now on. */
  redact(secret: string): void;
  figures(): LogFigures;
  /** What waits for the disk. */
  collections(): Fills;
  /** Resolves when every line so far is with the kernel, or cannot be written. */
  flush(): Promise<void>;
  /** The same, at once and blocking; for last words. Never throws. */
  flushNow(): void;
  close(): Promise<void>;
}

/** The bigger the more it matters. */
const WEIGHT: Readonly<Record<LogLevel, number>> = { DEBUG: 0, INFO: 1, WARN: 2, ERROR: 3, CRITICAL: 4 };
/** winston counts the other way round. */
const WINSTON_LEVELS = Object.fromEntries(LOG_LEVELS.map((level) => [level, 4 - WEIGHT[level]]));

interface Info {
  readonly line: string;
}

/** Hands each line to a sink that neither waits nor throws. */
class LineTransport extends TransportStream {
  readonly #take: (line: string) => void;

  constructor(take: (line: string) => void) {
    super();
    this.#take = take;
  }

  override log(info: Info, next: () => void): void {
    this.#take(info.line);
    next();
  }
}

export const createLogging = (options: LoggingOptions): Logging => {
  const { clock } = options;
  const redactor = new Redactor();
  let level = options.level;
  const file = new RotatingFile({
    path: options.path,
    clock,
    files: options.files,
    open: options.open ?? openGrowing,
    lossLine: (lost, reason) =>
      formatLine(clock.wallMs(), 'WARN', MASTER, `${lost} log lines were lost here: ${reason}`, undefined, redactor),
    ...(options.fileBytesMax === undefined ? {} : { fileBytesMax: options.fileBytesMax }),
    ...(options.filesKept === undefined ? {} : { filesKept: options.filesKept }),
    ...(options.waitingBytesMax === undefined ? {} : { waitingBytesMax: options.waitingBytesMax }),
  });
  const print = options.print;
  const logger = winston.createLogger({
    levels: WINSTON_LEVELS,
    level: 'DEBUG', // what is below the level is never handed over
    exitOnError: false,
    transports: [
      new LineTransport((line) => file.write(line)),
      ...(print === undefined ? [] : [new LineTransport(print)]),
    ],
  });

  const write = (of: LogLevel, daemon: string, message: string, fields?: Readonly<Record<string, unknown>>): void => {
    if (WEIGHT[of] < WEIGHT[level]) return;
    logger.log({ level: of, message: '', line: formatLine(clock.wallMs(), of, daemon, message, fields, redactor) });
  };

  const loggerFor = (daemon: string): MasterLogger => ({
    debug: (message, fields) => write('DEBUG', daemon, message, fields),
    info: (message, fields) => write('INFO', daemon, message, fields),
    warn: (message, fields) => write('WARN', daemon, message, fields),
    error: (message, fields) => write('ERROR', daemon, message, fields),
    critical: (message, fields) => write('CRITICAL', daemon, message, fields),
    isDebug: () => level === 'DEBUG',
  });

  return {
    for: loggerFor,
    master: loggerFor(MASTER),
    level: () => level,
    setLevel(next) {
      const before = level;
      level = next;
      return before;
    },
    redact: (secret) => redactor.add(secret),
    figures() {
      const { dropped, failing } = file.figures();
      return { level, dropped, failing };
    },
    collections: () => ({ log_waiting_bytes: file.fill() }),
    flush: () => file.flush(),
    flushNow: () => file.flushNow(),
    async close() {
      logger.close();
      await file.close();
    },
  };
};

/**
 * The one error shape of the project: what went wrong, where, and what to do next.
 *
 * `code` is stable and listed in docs/reference/errors.md, which is printed from ERROR_CODES; `message` begins with
 * "cannot" and holds the real values; `remedy` is printed under it; `context` is data for logs and tests. A code that is
 * not in the list does not compile, so the list cannot fall behind.
 */
export const ERROR_CODES = {
  SCOPE_CLOSED: 'a daemon used its context after that start of it had ended',
  FLEET_INVALID: 'the fleet file has faults, or cannot be read; nothing was started',
  GRAPH_INVALID: 'daemons and dependencies that make no graph: bad or unknown names, duplicates, self edges, cycles',
  UNKNOWN_DAEMON: 'a daemon was named that this fleet does not have',
  START_TIME_INVALID: 'a start time that is not a number of milliseconds of at least 0',
  SPAWN_FAILED: 'the operating system did not start a program',
  PROC_UNREADABLE: 'processes cannot be identified: /proc is missing or closed to us',
  NETWORK_FAILED: 'an HTTP exchange or a connection came to nothing in its time and size',
  JOURNAL_FAILED: 'the journal could not be made durable',
  JOURNAL_FORMAT: 'the journal was written in a format this version does not know',
  PROCESS_NOT_RECORDED: 'a child process was not started because it could not be recorded first',
  PROCESS_EXISTS: 'a daemon asked for a second child process of a name that still runs',
  PROCESS_ENDURES: 'a process was killed and is still there',
  DATA_DIR_HELD: 'another master holds the data directory',
  DATA_DIR_UNUSABLE: 'the data directory cannot be made, written or locked',
  UNKNOWN_GAME_CONFIG: 'a game config was named that the training floor does not have',
  ILLEGAL_MOVE: 'a piece was to be placed where the rules of the game forbid it',
  GAME_RECORD_INVALID: 'a recorded game cannot be replayed: corrupt, unfinished, or made by other rules',
  MATCH_EMPTY: 'a match without games, which would report a result out of nothing',
  CHECKPOINT_INVALID: 'a model file that is corrupt, or not for this game and network shape',
  SHARD_INVALID: 'a training shard that is corrupt, or lacks what training needs',
  JOB_INVALID: 'a training program was started without a job it can do',
  EVENT_UNDECLARED: 'an event, publisher or subscription that was not declared',
  EVENT_INVALID: 'an event whose body does not fit its declaration, or is no JSON',
  OUTBOX_FULL: 'a publisher is faster than the event router stores, or the router is away too long',
  ROUTER_AWAY: 'the event router did not serve in time',
  SUBSCRIPTION_GAP: 'a subscription that should receive events does not, with the reason',
  SUBSCRIPTION_UNKNOWN: 'an external subscription that does not exist',
  EVENT_STORE_NEWER: 'events.db was written by a newer version of the program',
  EVENT_STORE_UNUSABLE: 'events.db cannot be opened: damaged, foreign, or not permitted',
  NOT_RUNNING: 'no master loop is running on this data directory',
  NO_ANSWER: 'the live process did not answer on its control socket in time, or not in our protocol',
  CONTROL_FORBIDDEN: 'a request to the control plane came from a user, page or host that may not make it',
  UNAUTHORIZED: 'a request to the port came without the token of the data directory',
  ENGINE_STALLED: 'the main loop did not take a request in time; the request was withdrawn',
  BAD_REQUEST: 'a request to the control plane that is no valid request',
  NO_ROUTE: 'a path the control plane does not have',
  REFUSED: 'another operation, another instance or another program holds what was asked for',
  TOO_MANY: 'more requests, streams, answers or outside subscriptions at once than are served',
  NO_OUTCOME: 'a request was taken by the main loop but its outcome did not arrive in time',
  DAEMON_FAILED: 'a daemon became FAILED, or a critical one was lost; what a failure callback gets',
  PORT_TAKEN: 'another program listens on the port',
  CANNOT_LISTEN: 'the control socket or the port cannot be opened',
  SOCKET_PATH_TOO_LONG: 'the path of the control socket is longer than the kernel keeps',
  STORE_TOO_NEW: 'a store of the training floor was written by a newer version of the program',
  STORE_FAILED:
    'a store of the training floor cannot be opened, read or written: disk, permission, damage, or not ours',
  STORE_LOST: 'the store thread ended before it answered; whether the write happened is not known',
  FLOOR_BUSY: 'more calls wait for the store thread than are allowed',
  FLOOR_INPUT_INVALID: 'the training floor was given something that is not what it says',
  FLOOR_CONFLICT: 'two different facts claim one key on the training floor',
  NODE_UNREACHABLE: 'a training node did not answer in time',
  NODE_REFUSED: 'a training node answered that it will not, or not in our protocol',
  NODE_NOT_STARTED: 'a provider could not start a training node',
  USAGE: 'a command line that was not understood',
  NOT_READY: 'the fleet did not become ready in time, or cannot without somebody acting',
  DETACH_FAILED: 'a loop started in the background ended, or did not answer',
  ARGUMENTS_INVALID: 'a request to the running loop has arguments that do not fit',
  INVARIANT: 'the program contradicts itself; this is a bug in master-loop',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface ErrorParts {
  readonly message: string;
  readonly remedy: string;
  readonly context?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

export class OrchestratorError extends Error {
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly context: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, parts: ErrorParts) {
    super(parts.message, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.name = 'OrchestratorError';
    this.code = code;
    this.remedy = parts.remedy;
    this.context = parts.context ?? {};
  }
}

/** A broken invariant: names both values, and is never caught to be ignored. */
export const invariant = (what: string, context: Readonly<Record<string, unknown>> = {}): OrchestratorError =>
  new OrchestratorError('INVARIANT', {
    message: `cannot continue: ${what}`,
    remedy: 'report this with the journal of the data directory; "master_loop history" shows the last transitions',
    context,
  });

const DISK_REFUSES = /^(SQLITE_(FULL|BUSY|LOCKED|READONLY|CANTOPEN|IOERR_SHM)|ENOSPC|EDQUOT|EROFS)/;
const CAUSES_MAX = 10;

/** Whether a code of SQLite or of the kernel says: no room, read-only, or held by another program. It may pass. */
export const isDiskRefusal = (code: unknown): boolean => typeof code === 'string' && DISK_REFUSES.test(code);

const codesOf = (error: Error): unknown[] =>
  error instanceof OrchestratorError
    ? [error.code, error.context.sqlite, error.context.errno]
    : [(error as NodeJS.ErrnoException).code];

/**
 * Whether it failed because the disk takes nothing at present, or the event router is away. A restart of who met it mends
 * neither, so it degrades and is not charged (docs/decisions/0001).
 */
export const isHindrance = (thrown: unknown): boolean => {
  let error = thrown;
  for (let depth = 0; depth < CAUSES_MAX && error instanceof Error; depth++, error = error.cause)
    if (codesOf(error).some((code) => code === 'ROUTER_AWAY' || isDiskRefusal(code))) return true;
  return false;
};

/** A longer message of an error is cut: it is kept in the journal, in status and with every failed event. Characters. */
export const MESSAGE_CHARACTERS_MAX = 16 * 1024;

/** The text of anything thrown, for a log line: the message, or the value itself; cut when it is too long to keep. */
export const messageOf = (thrown: unknown): string => {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  if (text.length <= MESSAGE_CHARACTERS_MAX) return text;
  // Copied: a part of a text would keep all of it.
  const kept = Buffer.from(text.slice(0, MESSAGE_CHARACTERS_MAX)).toString();
  return `${kept}… (+${text.length - MESSAGE_CHARACTERS_MAX} characters)`;
};

/**
 * What a client can be told instead of an answer, and which exit code each means to a shell.
 */
import { OrchestratorError } from '../../errors.ts';
import type { ErrorCode } from '../../errors.ts';
import type { ErrorBody } from '../server/protocol.ts';

/** No live process answers on this data directory. Exit 3. */
export const notRunning = (dataDir: string, cause?: unknown): OrchestratorError =>
  new OrchestratorError('NOT_RUNNING', {
    message: `cannot reach a master loop: none is running on ${dataDir}`,
    remedy: 'start one with "master_loop --detach", or name its directory with --data-dir',
    context: { dataDir },
    cause,
  });

/** The control socket is there, but this user may not use it. */
export const socketForbidden = (dataDir: string, cause?: unknown): OrchestratorError =>
  new OrchestratorError('CONTROL_FORBIDDEN', {
    message: `cannot use the control socket of ${dataDir}: permission denied`,
    remedy: 'run the command as the user who started the master loop',
    context: { dataDir },
    cause,
  });

/** The process lives but its server thread did not answer in time. */
export const noAnswer = (dataDir: string, path: string, cause?: unknown): OrchestratorError =>
  new OrchestratorError('NO_ANSWER', {
    message: `cannot get an answer from the master loop on ${dataDir} (${path}): ${cause instanceof Error ? cause.message : String(cause)}`,
    remedy: 'try again; if it stays so, look at the process (it may be suspended) and at logs/coordination.log',
    context: { dataDir, path },
    cause,
  });

/** An error the master answered with. Its code is kept; the two sides may be of different versions. */
export const remoteError = (status: number, error: ErrorBody): OrchestratorError =>
  new OrchestratorError(error.code as ErrorCode, {
    message: error.message,
    remedy: error.remedy,
    context: { status },
  });

/** docs/contract.md "Commands", exit codes: the codes that mean something else than 1. */
const EXIT_BY_CODE: Readonly<Record<string, number>> = {
  BAD_REQUEST: 2,
  UNKNOWN_DAEMON: 2,
  SOCKET_PATH_TOO_LONG: 2,
  NOT_RUNNING: 3,
  REFUSED: 5,
  PORT_TAKEN: 5,
  INVARIANT: 70,
};

/** The exit code of a failed command. */
export const exitCodeOf = (thrown: unknown): number =>
  thrown instanceof OrchestratorError ? (EXIT_BY_CODE[thrown.code] ?? 1) : 1;

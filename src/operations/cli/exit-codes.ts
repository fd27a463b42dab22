/**
 * What a shell is told (docs/contract.md "Commands"): one table from what happened to a number.
 *
 * 0 done · 1 failed · 2 usage, unknown daemon or invalid fleet · 3 no loop is running · 4 not healthy, or not ready in time ·
 * 5 refused: somebody else holds it · 70 the core itself failed · 130 interrupted.
 */
import { OrchestratorError, type ErrorCode } from '../../errors.ts';
import type { CommandOutcome, StatusReport } from '../client/index.ts';

export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  notReady: 4,
  refused: 5,
  coreFailed: 70,
  interrupted: 130,
} as const;

/** Errors that are more than a failure. */
const BY_ERROR: Readonly<Partial<Record<ErrorCode, number>>> = {
  USAGE: EXIT.usage,
  BAD_REQUEST: EXIT.usage,
  ARGUMENTS_INVALID: EXIT.usage,
  UNKNOWN_DAEMON: EXIT.usage,
  FLEET_INVALID: EXIT.usage,
  GRAPH_INVALID: EXIT.usage,
  SOCKET_PATH_TOO_LONG: EXIT.usage,
  EVENT_UNDECLARED: EXIT.usage,
  EVENT_INVALID: EXIT.usage,
  NOT_RUNNING: EXIT.notRunning,
  NOT_READY: EXIT.notReady,
  REFUSED: EXIT.refused,
  DATA_DIR_HELD: EXIT.refused,
  PORT_TAKEN: EXIT.refused,
  INVARIANT: EXIT.coreFailed,
};

export const exitCodeOf = (thrown: unknown): number => {
  if (!(thrown instanceof OrchestratorError)) return EXIT.failed;
  // A loop that would not start in the background says why with its own exit code.
  const own = thrown.code === 'DETACH_FAILED' ? thrown.context['exitCode'] : undefined;
  return typeof own === 'number' && own > 0 ? own : (BY_ERROR[thrown.code] ?? EXIT.failed);
};

const BY_OUTCOME: Readonly<Record<CommandOutcome['code'], number>> = {
  done: EXIT.done,
  accepted: EXIT.done,
  failed: EXIT.failed,
  impossible: EXIT.failed,
  superseded: EXIT.failed,
  refused: EXIT.refused,
  'unknown-daemon': EXIT.usage,
  timeout: EXIT.notReady,
};

export const exitCodeOfOutcome = (outcome: CommandOutcome): number =>
  outcome.ok ? EXIT.done : (BY_OUTCOME[outcome.code] ?? EXIT.failed);

export const exitCodeOfVerdict = (verdict: StatusReport['verdict']): number =>
  verdict === 'ready' || verdict === 'degraded' ? EXIT.done : EXIT.notReady;

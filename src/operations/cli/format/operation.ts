/** An operation in progress (recover, stop-all) in one phrase, with what is left of the phase that has a length. */
import type { OperationRecord } from '../../../orchestrator/types.ts';
import { lasting } from './moments.ts';
import { printable } from './text.ts';

const PHASES: Readonly<Record<string, string>> = {
  stopping: 'stopping every daemon',
  proving: 'proving that nothing is left',
  draining: 'draining',
  starting: 'starting in order',
};

/** Null when none is in progress. */
export const operationText = (operation: OperationRecord | null, nowMs: number): string | null => {
  if (operation === null || operation.phase === 'done') return null;
  const inPhase = Math.max(0, nowMs - operation.phaseWallMs);
  const timing =
    operation.phase === 'draining'
      ? `${lasting(Math.max(0, operation.drainMs - inPhase) / 1000)} left`
      : `for ${lasting(inPhase / 1000)}`;
  const asked = `${operation.resumed ? 'resumed, ' : ''}by ${operation.origin}`;
  const reason = operation.reason === '' ? '' : `: ${printable(operation.reason)}`;
  return `${operation.verb}: ${PHASES[operation.phase] ?? operation.phase} ${timing} (${asked}${reason})`;
};

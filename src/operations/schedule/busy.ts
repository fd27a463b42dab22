/** What keeps a scheduled operation, or a drill, from beginning now. */
import type { OperationRecord } from '../../orchestrator/types.ts';

/** The part of the core that knows. */
export interface Going {
  readonly operation: OperationRecord | null;
  readonly booted: boolean;
  readonly stormOpen: boolean;
}

/** In words that name the holder; null: nothing. */
export const goingOn = ({ operation, booted, stormOpen }: Going): string | null => {
  if (operation?.verb === 'shutdown') return `the loop is stopping (${operation.reason})`;
  if (operation !== null)
    return `${operation.verb} by ${operation.origin} is under way, phase ${operation.phase} (${operation.reason})`;
  if (!booted) return 'the fleet is still booting';
  if (stormOpen) return 'the storm breaker is open: daemons keep failing';
  return null;
};

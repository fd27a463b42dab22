/** The errors of the floor that are not about SQLite or HTTP. */
import { OrchestratorError } from '../../errors.ts';

/** Somebody handed in what cannot be: a page of another node, a result without games, an id that does not exist. */
export const floorInputInvalid = (what: string, context: Readonly<Record<string, unknown>> = {}): OrchestratorError =>
  new OrchestratorError('FLOOR_INPUT_INVALID', {
    message: `cannot accept this on the training floor: ${what}`,
    remedy: 'nothing was stored; the caller or the node that sent it is at fault, and its log says what it did',
    context,
  });

/** One key, two facts: the second is refused, the first stays. */
export const floorConflict = (what: string, context: Readonly<Record<string, unknown>> = {}): OrchestratorError =>
  new OrchestratorError('FLOOR_CONFLICT', {
    message: `cannot store this on the training floor: ${what}`,
    remedy: 'the earlier fact was kept; compare both, and remove the artefact that is wrong',
    context,
  });

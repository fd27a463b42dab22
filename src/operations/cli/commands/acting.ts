/** Asking the running loop to act, and telling how it went: shared by every command that changes something. */
import { nearestName } from '../../../graph/names.ts';
import type { ActRequest, CommandOutcome, ControlClient } from '../../client/index.ts';
import type { Output } from '../call.ts';
import { exitCodeOfOutcome } from '../exit-codes.ts';
import { printable } from '../format/text.ts';

/** The outcome with the nearest valid name as its remedy, when a daemon was misspelt. */
const withNearest = async (
  client: ControlClient,
  request: ActRequest,
  outcome: CommandOutcome,
): Promise<CommandOutcome> => {
  if (outcome.code !== 'unknown-daemon') return outcome;
  const { order } = await client.graph();
  const known = new Set(order);
  const nearest = (request.daemons ?? []).flatMap((typed) => (known.has(typed) ? [] : [nearestName(typed, order)]));
  const named = nearest.filter((name) => name !== null);
  return named.length === 0 ? outcome : { ...outcome, remedy: `did you mean ${named.join(', ')}?` };
};

/** Sends a request and prints its outcome; resolves with the exit code. */
export const actAndReport = async (client: ControlClient, request: ActRequest, output: Output): Promise<number> => {
  const outcome = await withNearest(client, request, await client.act(request));
  const exitCode = exitCodeOfOutcome(outcome);
  if (outcome.ok) {
    if (output.json) output.printJson(outcome);
    else output.print(printable(outcome.message));
    return exitCode;
  }
  if (output.json) {
    const { code, message, remedy = '', details = {} } = outcome;
    output.printJson({ error: { code, message, remedy, context: details, exitCode }, outcome });
  } else {
    output.note(printable(outcome.message));
    if (outcome.remedy !== undefined) output.note(`  ${printable(outcome.remedy)}`);
  }
  return exitCode;
};

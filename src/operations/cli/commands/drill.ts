/** Rehearsals, asked of the running loop. A drill that did not prove its recovery is a failure to the shell as well. */
import { connect, type DrillVerb } from '../../client/index.ts';
import { numberOption, textOption, word, type Call } from '../call.ts';
import { EXIT } from '../exit-codes.ts';
import { drillLines } from '../format/drill.ts';

/** What any answer of a drill may carry: whether it passed. */
interface Passed {
  readonly ok?: boolean;
  /** Null: it is open. */
  readonly passed?: boolean | null;
}

export const drill = async (call: Call): Promise<number> => {
  const { settings, output, command } = call;
  const verb = command.path[1] as DrillVerb;
  const [target, name, id] = [textOption(call, 'target'), word(call, 'drill'), word(call, 'id')];
  const place = textOption(call, 'in');
  const drainSeconds = numberOption(call, 'drain-seconds', NaN);
  const client = await connect({ dataDir: settings.dataDir });
  const answer = await client.drills(verb, {
    ...(name === null ? {} : { drill: name }),
    ...(target === null ? {} : { target }),
    ...(id === null ? {} : { id }),
    ...(place === null ? {} : { in: place }),
    ...(Number.isNaN(drainSeconds) ? {} : { drainSeconds }),
  });
  client.close();
  if (output.json) output.printJson(answer);
  else output.print(...drillLines(answer, output.cells, output.paint));
  const { ok, passed } = (answer ?? {}) as Passed;
  // A report that was asked for is done, whatever it says; a drill that did not pass is a failure.
  if (verb === 'report') return EXIT.done;
  return ok === false || passed === false ? EXIT.failed : EXIT.done;
};

/** Rehearsals, asked of the running loop. A drill that did not prove its recovery is a failure to the shell as well. */
import { connect, type DrillVerb } from '../../client/index.ts';
import { textOption, word, type Call } from '../call.ts';
import { EXIT } from '../exit-codes.ts';
import { recordLines } from '../format/plain-record.ts';

/** What any answer of a drill may carry: whether it passed. */
interface Passed {
  readonly ok?: boolean;
  readonly passed?: boolean;
}

export const drill = async (call: Call): Promise<number> => {
  const { settings, output, command } = call;
  const verb = command.path[1] as DrillVerb;
  const [target, name, id] = [textOption(call, 'target'), word(call, 'drill'), word(call, 'id')];
  const client = await connect({ dataDir: settings.dataDir });
  const answer = await client.drills(verb, {
    ...(name === null ? {} : { drill: name }),
    ...(target === null ? {} : { target }),
    ...(id === null ? {} : { id }),
  });
  client.close();
  if (output.json) output.printJson(answer);
  else output.print(...recordLines(answer));
  const { ok, passed } = (answer ?? {}) as Passed;
  return ok === false || passed === false ? EXIT.failed : EXIT.done;
};

/**
 * What would happen, and what is wrong with a fleet file. `plan boot` and `validate` read the file themselves and need no
 * running loop; every other plan is the running loop's own, because only it knows what runs.
 */
import picocolors from 'picocolors';
import { validateFleetFile } from '../../../fleet/diagnostics.ts';
import type { Fleet } from '../../../fleet/types.ts';
import { buildGraph } from '../../../graph/graph.ts';
import { toJson, toText } from '../../../graph/render.ts';
import type { VerbPlan } from '../../../orchestrator/supervisor.ts';
import { connect, type PlanVerb } from '../../client/index.ts';
import { word, type Call } from '../call.ts';
import { EXIT } from '../exit-codes.ts';
import { planLines } from '../format/plan-lines.ts';
import { printable } from '../format/text.ts';
import { usageFault } from '../parse.ts';
import { fleetOptions, loadFleetFor, type FleetSettings } from './fleet.ts';
import { runningLoop } from '../running-loop.ts';

/** A pipe has no width; long lists are wrapped to this. */
const TEXT_COLUMNS = 100;

/** As typed; where nothing was typed and a loop runs, as that loop runs. */
const settingsOfBoot = async ({ settings }: Call): Promise<FleetSettings> => {
  if (settings.fleetFile !== null) return settings;
  const client = await runningLoop(settings.dataDir);
  if (client === null) return settings;
  const status = await client.status();
  client.close();
  return {
    fleetFile: status.fleetFile,
    profile: settings.profile ?? status.profile,
    tempo: settings.tempo ?? (status.tempo === 'standard' ? 'standard' : 'quick'),
    port: status.port,
  };
};

const bootGraph = (fleet: Fleet) => {
  const members = fleet.daemons.filter(({ inProfile }) => inProfile);
  const names = new Set(members.map(({ type }) => type));
  return buildGraph(
    members.map(({ type, critical }) => ({ id: type, critical })),
    // A soft edge onto a daemon outside the profile holds nothing back.
    members.flatMap(({ edges }) => edges.filter(({ on }) => names.has(on))),
  );
};

const boot = async (call: Call): Promise<number> => {
  const { output } = call;
  const fleet = await loadFleetFor(await settingsOfBoot(call), call.environment);
  const graph = bootGraph(fleet);
  const pulled = fleet.daemons.filter(({ inProfile, pulledInBy }) => inProfile && pulledInBy !== null);
  if (output.json) {
    const pulledIn = Object.fromEntries(pulled.map(({ type, pulledInBy }) => [type, pulledInBy]));
    output.printJson({
      fleet: fleet.name,
      file: fleet.file,
      profile: fleet.profile,
      tempo: fleet.tempo,
      ...toJson(graph),
      pulledIn,
    });
    return EXIT.done;
  }
  output.print(
    `start of fleet ${printable(fleet.name)}, profile ${printable(fleet.profile)}, tempo ${fleet.tempo}, from ${printable(fleet.file)}`,
    ...toText(graph, { where: true, width: Math.min(output.cells, TEXT_COLUMNS) }).split('\n'),
  );
  if (pulled.length > 0) {
    output.print(
      '',
      'pulled in by hard dependencies',
      ...pulled.map(({ type, pulledInBy }) => `  ${printable(type)} by ${printable(pulledInBy ?? '')}`),
    );
  }
  return EXIT.done;
};

export const plan = async (call: Call): Promise<number> => {
  const { settings, output, words } = call;
  const verb = (word(call, 'verb') ?? 'boot') as PlanVerb;
  const daemons = words['daemon'] ?? [];
  const needsDaemon = verb === 'restart' || verb === 'stop';
  if (needsDaemon && daemons.length === 0)
    throw usageFault(`cannot plan a ${verb}: it needs at least one daemon`, `as in "master_loop plan ${verb} DAEMON"`);
  if (!needsDaemon && daemons.length > 0)
    throw usageFault(
      `cannot plan ${verb} of single daemons: it is about the whole fleet`,
      `"master_loop plan ${verb}"`,
    );
  if (verb === 'boot') return boot(call);
  const client = await connect({ dataDir: settings.dataDir });
  const answer = await client.plan(verb, daemons);
  client.close();
  if (output.json) output.printJson(answer);
  else output.print(...planLines(answer as VerbPlan, output.cells));
  return EXIT.done;
};

export const validate = async (call: Call): Promise<number> => {
  const { settings, output, environment } = call;
  const options = fleetOptions({ ...settings, fleetFile: word(call, 'file') ?? settings.fleetFile }, environment);
  const { valid, text, faults, warnings } = await validateFleetFile(options, picocolors.createColors(output.colour));
  if (output.json) output.printJson({ file: options.file, valid, faults, warnings });
  else output.print(...text.split('\n'));
  return valid ? EXIT.done : EXIT.usage;
};

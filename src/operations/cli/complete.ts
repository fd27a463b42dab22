/**
 * What may come next on a half-typed command line. It answers within a blink because it is asked at every TAB: the names
 * of daemons come from the running loop, else from the text of the fleet file; a loop that does not answer at once is
 * not waited for. It never prints an error, since the shell would show it in the middle of the line.
 */
import { realFileSystem } from '../../seams/real-file-system.ts';
import { settingsOf, type Environment } from './call.ts';
import {
  TEMPOS,
  DRILLS,
  LEVELS,
  type CommandSpec,
  type OptionSpec,
  type ProgramSpec,
  type ValueKind,
} from './command-spec.ts';
import { fleetFileOf } from './fleet-file.ts';

/** A loop that needs longer does not make the shell wait. Milliseconds. */
const ANSWER_MS = 400;

export interface Where {
  readonly dataDir: string;
  readonly fleetFile: string | null;
}

export interface Sources {
  daemons(where: Where): Promise<readonly string[]>;
  profiles(where: Where): Promise<readonly string[]>;
  topics(): Promise<readonly string[]>;
}

interface NamesInFile {
  readonly daemons: readonly string[];
  readonly profiles: readonly string[];
}

const keysUnder = (value: unknown, key: string): readonly string[] => {
  if (typeof value !== 'object' || value === null || !(key in value)) return [];
  const map = (value as Readonly<Record<string, unknown>>)[key];
  return typeof map === 'object' && map !== null ? Object.keys(map) : [];
};

export const realSources = (): Sources => {
  const inFile = async ({ fleetFile }: Where): Promise<NamesInFile> => {
    const { parse } = await import('yaml');
    const files = realFileSystem();
    const value: unknown = parse(files.readText(fleetFileOf(fleetFile, files)));
    return { daemons: keysUnder(value, 'daemons'), profiles: keysUnder(value, 'profiles') };
  };
  return {
    async daemons(where) {
      try {
        const { connect } = await import('../client/index.ts');
        const client = await connect({ dataDir: where.dataDir, timeoutMs: ANSWER_MS });
        const { order } = await client.graph();
        client.close();
        return order;
      } catch {
        return (await inFile(where)).daemons; // no loop runs, or it is too slow to help
      }
    },
    profiles: async (where) => (await inFile(where)).profiles,
    async topics() {
      const { RINGRIFT_EVENTS } = await import('../../events/catalogue.ts');
      return Object.keys(RINGRIFT_EVENTS);
    },
  };
};

interface Candidate {
  readonly text: string;
  readonly describe: string;
}

const plain = (texts: readonly string[]): Candidate[] => texts.map((text) => ({ text, describe: '' }));

const valuesOf = async (
  spec: { readonly value?: ValueKind; readonly choices?: readonly string[] },
  sources: Sources,
  where: Where,
): Promise<Candidate[]> => {
  if (spec.choices !== undefined) return plain(spec.choices);
  const { value } = spec;
  switch (value) {
    case 'daemon':
      return plain(await sources.daemons(where));
    case 'profile':
      return plain(await sources.profiles(where));
    case 'topic':
      return plain(await sources.topics());
    case 'drill':
      return plain(DRILLS);
    case 'level':
      return plain(LEVELS);
    case 'tempo':
      return plain(TEMPOS);
    default: // the shell itself completes file names when we offer nothing
      return [];
  }
};

interface Typed {
  readonly positionals: readonly string[];
  readonly options: Readonly<Record<string, string>>;
  /** An option that waits for its value, or a list that takes more. */
  readonly open: OptionSpec | null;
}

const optionNamed = (program: ProgramSpec, typed: string): OptionSpec | null => {
  const all = [...program.common, ...program.commands.flatMap(({ options }) => options)];
  return all.find(({ name, alias }) => typed === `--${name}` || (alias !== undefined && typed === `-${alias}`)) ?? null;
};

const readTyped = (program: ProgramSpec, words: readonly string[]): Typed => {
  const positionals: string[] = [];
  const options: Record<string, string> = {};
  let open: OptionSpec | null = null;
  for (const typed of words) {
    if (typed.startsWith('-')) {
      const [name = '', value] = typed.split('=', 2);
      const option = optionNamed(program, name);
      if (value !== undefined && option !== null) options[option.name] = value;
      open = option !== null && option.type !== 'flag' && value === undefined ? option : null;
    } else if (open !== null) {
      options[open.name] = typed;
      if (open.type !== 'list') open = null;
    } else positionals.push(typed);
  }
  return { positionals, options, open };
};

const commandFor = (program: ProgramSpec, positionals: readonly string[]): CommandSpec | null => {
  const named = program.commands.find(
    ({ path }) => path.length > 0 && path.every((part, index) => positionals[index] === part),
  );
  if (named !== undefined) return named;
  return positionals.length === 0 ? (program.commands.find(({ path }) => path.length === 0) ?? null) : null;
};

const nextWords = async (
  program: ProgramSpec,
  positionals: readonly string[],
  sources: Sources,
  where: Where,
): Promise<Candidate[]> => {
  const command = commandFor(program, positionals);
  if (command === null || command.path.length === 0) {
    const depth = positionals.length;
    const below = program.commands.filter(
      ({ path }) => path.length > depth && positionals.every((part, index) => path[index] === part),
    );
    const byName = new Map<string, string>();
    for (const { path, describe } of below) {
      const name = path[depth] ?? '';
      if (!byName.has(name)) byName.set(name, path.length > depth + 1 ? '' : describe);
    }
    return [...byName].map(([text, describe]) => ({ text, describe }));
  }
  const given = positionals.length - command.path.length;
  const word = command.words[Math.min(given, command.words.length - 1)];
  if (word === undefined || (given >= command.words.length && word.many !== true)) return [];
  const values = await valuesOf(word, sources, where);
  const used = new Set(positionals.slice(command.path.length));
  return word.many === true ? values.filter(({ text }) => !used.has(text)) : values;
};

/**
 * @param words  everything after the name of the program; the last one is the one being typed, maybe empty
 * @returns one candidate a line, for zsh and fish with its description
 */
export const complete = async (
  program: ProgramSpec,
  words: readonly string[],
  sources: Sources,
  environment: Environment,
): Promise<string[]> => {
  const current = words.at(-1) ?? '';
  const { positionals, options, open } = readTyped(program, words.slice(0, -1));
  let candidates: Candidate[];
  try {
    const { dataDir, fleetFile } = settingsOf(options, environment);
    const where = { dataDir, fleetFile };
    if (current.startsWith('-')) {
      const own = commandFor(program, positionals)?.options ?? [];
      candidates = [...own, ...program.common].map(({ name, describe }) => ({ text: `--${name}`, describe }));
    } else if (open !== null) candidates = await valuesOf(open, sources, where);
    else candidates = await nextWords(program, positionals, sources, where);
  } catch {
    return [];
  }
  const isZsh = environment['ZSH_NAME'] !== undefined || (environment['SHELL'] ?? '').includes('zsh');
  return candidates
    .filter(({ text }) => text.startsWith(current))
    .map(({ text, describe }) => (isZsh && describe !== '' ? `${text.replaceAll(':', '\\:')}:${describe}` : text));
};

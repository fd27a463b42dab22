/**
 * From what was typed to a command with its values, or to a fault that says which word nobody knows and which one was
 * probably meant.
 *
 * Node's own tokenizer reads the line; the tables say what it means. yargs prints help and completion from the same
 * tables but does not parse: loading it takes longer than `status` may take (docs/budgets.md), and two parsers would be
 * two opinions.
 */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { OrchestratorError } from '../../errors.ts';
import { nearestName, quoted } from '../../graph/names.ts';
import type { CommandSpec, OptionSpec, ProgramSpec, WordSpec } from './command-spec.ts';

export type OptionValue = boolean | string | number | readonly string[];

export interface Invocation {
  readonly kind: 'run' | 'help' | 'version';
  readonly command: CommandSpec;
  /** By the name of the option; an option that was not typed is absent. */
  readonly options: Readonly<Record<string, OptionValue>>;
  /** By the name of the word; a word that was not typed is absent. */
  readonly words: Readonly<Record<string, readonly string[]>>;
}

/** The command line was not understood; exit 2. */
export const usageFault = (
  message: string,
  remedy: string,
  context: Readonly<Record<string, unknown>> = {},
): OrchestratorError => new OrchestratorError('USAGE', { message, remedy, context });

const seeHelp = (program: ProgramSpec, command: CommandSpec | null): string =>
  `"${[program.name, ...(command?.path ?? []), '--help'].join(' ')}" lists what there is`;

const didYouMean = (typed: string, candidates: readonly string[], otherwise: string): string => {
  const nearest = nearestName(typed, candidates);
  return nearest === null ? otherwise : `did you mean ${nearest}?`;
};

const optionsOf = (program: ProgramSpec, command: CommandSpec | null): readonly OptionSpec[] => [
  ...program.common,
  ...(command === null ? program.commands.flatMap(({ options }) => options) : command.options),
];

const tokensOf = (program: ProgramSpec, argv: readonly string[]) => {
  // The tokenizer must know which options take a value before the command is known; one name means one type everywhere.
  const options: NonNullable<ParseArgsConfig['options']> = {};
  for (const option of optionsOf(program, null)) {
    options[option.name] = {
      type: option.type === 'flag' ? 'boolean' : 'string',
      ...(option.alias === undefined ? {} : { short: option.alias }),
    };
  }
  return parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true }).tokens;
};

const pathIs = (command: CommandSpec, words: readonly string[]): boolean =>
  command.path.every((part, index) => words[index] === part);

const findCommand = (program: ProgramSpec, words: readonly string[], wantsHelp: boolean): CommandSpec => {
  const byDefault = program.commands.find(({ path }) => path.length === 0);
  const found = program.commands.find((command) => command.path.length > 0 && pathIs(command, words));
  if (found !== undefined) return found;
  const [first, second] = words;
  if (first === undefined && byDefault !== undefined) return byDefault;
  const group = program.commands.filter(({ path }) => path.length > 1 && path[0] === first);
  if (group.length > 0 && first !== undefined) {
    const names = group.map(({ path }) => path[1] ?? '');
    if (second === undefined && wantsHelp && byDefault !== undefined) return { ...byDefault, path: [first] };
    throw second === undefined
      ? usageFault(`cannot do "${first}": it needs one of ${names.join(', ')}`, seeHelp(program, null))
      : usageFault(
          `cannot do "${first}" with ${quoted(second)}: there is no such command`,
          didYouMean(second, names, `there are ${names.join(', ')}`),
        );
  }
  const typed = first ?? '';
  const names = [...new Set(program.commands.flatMap(({ path }) => path.slice(0, 1)))];
  throw usageFault(
    `cannot do ${quoted(typed)}: ${program.name} has no such command`,
    didYouMean(typed, names, seeHelp(program, null)),
    { command: typed },
  );
};

const numberOf = (option: OptionSpec, text: string): number => {
  const value = text.trim() === '' ? NaN : Number(text);
  if (!Number.isFinite(value) || value < 0)
    throw usageFault(
      `cannot use --${option.name} ${quoted(text)}: it must be a number of at least 0`,
      `for example --${option.name} 30`,
    );
  return value;
};

const choiceOf = (
  what: string,
  text: string,
  spec: { readonly choices?: readonly string[]; readonly value?: string },
): string => {
  if (spec.choices === undefined) return text;
  // Levels are words people shout or not.
  const typed = spec.value === 'level' ? text.toUpperCase() : text;
  if (spec.choices.includes(typed)) return typed;
  throw usageFault(
    `cannot use ${what} ${quoted(text)}: it must be one of ${spec.choices.join(', ')}`,
    didYouMean(text, spec.choices, `choose one of ${spec.choices.join(', ')}`),
  );
};

const readWords = (
  program: ProgramSpec,
  command: CommandSpec,
  typed: readonly string[],
): Readonly<Record<string, readonly string[]>> => {
  const words: Record<string, readonly string[]> = {};
  let rest = typed;
  for (const spec of command.words) {
    const taken = spec.many === true ? rest : rest.slice(0, 1);
    rest = rest.slice(taken.length);
    if (taken.length === 0 && spec.required === true) {
      throw usageFault(
        `cannot do "${[program.name, ...command.path].join(' ')}": it needs ${article(spec)}`,
        `as in "${[program.name, ...command.path, spec.name.toUpperCase()].join(' ')}"`,
      );
    }
    if (taken.length > 0) words[spec.name] = taken.map((word) => choiceOf(spec.name, word, spec));
  }
  const [left] = rest;
  if (left !== undefined) {
    throw usageFault(
      `cannot use ${quoted(left)}: "${[program.name, ...command.path].join(' ')}" takes no ${
        command.words.length === 0 ? '' : 'further '
      }word`,
      seeHelp(program, command),
    );
  }
  return words;
};

const article = (spec: WordSpec): string =>
  spec.many === true ? `at least one ${spec.name}` : `${/^[aeiou]/.test(spec.name) ? 'an' : 'a'} ${spec.name}`;

/**
 * @param argv  what was typed after the name of the program
 * @throws USAGE for anything the tables do not know
 */
export const parse = (program: ProgramSpec, argv: readonly string[]): Invocation => {
  const options: Record<string, OptionValue> = {};
  const positionals: string[] = [];
  const tokens = tokensOf(program, argv);
  const isSet = (name: string): boolean => tokens.some((token) => token.kind === 'option' && token.name === name);
  const leading = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []));
  const wantsHelp = isSet('help');
  const hasList = program.commands.some(({ options: own }) => own.some(({ type }) => type === 'list'));
  const command = findCommand(program, hasList && tokens[0]?.kind === 'option' ? [] : leading, wantsHelp);
  const known = optionsOf(program, command);

  let list: string | null = null;
  for (const token of tokens) {
    if (token.kind === 'option-terminator') {
      list = null;
      continue;
    }
    if (token.kind === 'positional') {
      if (list === null) positionals.push(token.value);
      else options[list] = [...(options[list] as readonly string[]), ...split(token.value)];
      continue;
    }
    list = null;
    const option = known.find(({ name }) => name === token.name);
    if (option === undefined) throw unknownOption(program, command, token.rawName, known);
    if (option.type === 'flag') {
      if (token.value !== undefined)
        throw usageFault(`cannot give --${option.name} a value: it is on or absent`, `write --${option.name}`);
      options[option.name] = true;
      continue;
    }
    const { value } = token;
    if (value === undefined || (!token.inlineValue && value.startsWith('-') && value !== '-'))
      throw usageFault(`cannot use --${option.name} without a value`, `as in "--${option.name} ${sample(option)}"`);
    if (option.type === 'list') {
      list = option.name;
      options[list] = [...((options[list] ?? []) as readonly string[]), ...split(value)];
      continue;
    }
    if (options[option.name] !== undefined)
      throw usageFault(`cannot use --${option.name} twice`, `keep one: --${option.name} ${quoted(value)}`);
    options[option.name] =
      option.type === 'number' ? numberOf(option, value) : choiceOf(`--${option.name}`, value, option);
  }
  const invocation = { command, options };
  if (wantsHelp) return { ...invocation, kind: 'help', words: {} };
  if (options['version'] === true) return { ...invocation, kind: 'version', words: {} };
  return { ...invocation, kind: 'run', words: readWords(program, command, positionals.slice(command.path.length)) };
};

/** Names are separated by spaces or commas; no name holds a comma. */
const split = (text: string): string[] => text.split(',').filter((name) => name !== '');

const sample = (option: OptionSpec): string =>
  option.choices?.[0] ?? (option.type === 'number' ? '30' : (option.value ?? 'text').toUpperCase());

const unknownOption = (
  program: ProgramSpec,
  command: CommandSpec,
  typed: string,
  known: readonly OptionSpec[],
): OrchestratorError => {
  const bare = typed.replace(/^-+/, '');
  const others = program.commands.filter(({ options }) => options.some(({ name }) => name === bare));
  const where = [program.name, ...command.path].join(' ');
  const elsewhere = others.map(({ path }) => `"${[program.name, ...path].join(' ')}"`);
  return usageFault(
    `cannot use ${quoted(typed)}: "${where}" has no such option`,
    elsewhere.length > 0
      ? `it belongs to ${elsewhere.slice(0, 3).join(', ')}`
      : didYouMean(
          typed,
          known.map(({ name }) => `--${name}`),
          seeHelp(program, command),
        ),
    { option: typed },
  );
};

/** Help, version and completion scripts: the part of the tables that yargs turns into text. */
import yargs from 'yargs';
import { realFileSystem } from '../../seams/real-file-system.ts';
import { packageRoot } from '../../seams/entry.ts';
import type { Call } from './call.ts';
import type { CommandSpec, OptionSpec, ProgramSpec } from './command-spec.ts';
import { EXIT } from './exit-codes.ts';

const HELP_COLUMNS_MAX = 120;

const EXIT_CODES =
  'Exit codes: 0 done, 1 failed, 2 usage, unknown daemon or invalid fleet, 3 no loop is running, ' +
  '4 not healthy or not ready in time, 5 refused because somebody else holds it, 70 the core itself failed.';

const yargsOption = (option: OptionSpec, group: string) => ({
  describe: option.describe,
  type:
    option.type === 'flag'
      ? ('boolean' as const)
      : option.type === 'number'
        ? ('number' as const)
        : ('string' as const),
  group,
  ...(option.alias === undefined ? {} : { alias: option.alias }),
  ...(option.choices === undefined ? {} : { choices: option.choices }),
  ...(option.type === 'list' ? { array: true as const } : {}),
});

const usageOf = (program: ProgramSpec, command: CommandSpec): string =>
  [
    program.name,
    ...command.path,
    ...command.words.map(({ name, required, many }) => {
      const shown = many === true ? `${name}..` : name;
      return required === true ? `<${shown}>` : `[${shown}]`;
    }),
  ].join(' ');

/** Help for one command, for a group of commands, or (empty path) for the program. */
export const helpText = async (program: ProgramSpec, path: readonly string[], columns: number): Promise<string> => {
  const parser = yargs([])
    .scriptName(program.name)
    .help(false)
    .version(false)
    .wrap(Math.min(columns, HELP_COLUMNS_MAX));
  const exact = program.commands.find((command) => command.path.join(' ') === path.join(' '));
  const listed = program.commands.filter(
    (command) => command.path.length > 0 && path.every((part, index) => command.path[index] === part),
  );
  if (exact !== undefined) {
    parser.usage(
      `${usageOf(program, exact)}${path.length === 0 ? ' [command]' : ''}\n\n${path.length === 0 ? program.describe : exact.describe}`,
    );
    for (const word of exact.words) parser.positional(word.name, { describe: word.describe, type: 'string' });
    for (const option of exact.options) parser.option(option.name, yargsOption(option, 'Options:'));
  } else {
    parser.usage(`${program.name} ${path.join(' ')} <command>`);
  }
  if (exact === undefined || path.length === 0) {
    for (const command of listed)
      parser.command(usageOf(program, command).slice(program.name.length + 1), command.describe);
    parser.epilogue(EXIT_CODES);
  }
  for (const option of program.common) parser.option(option.name, yargsOption(option, 'Common options:'));
  return parser.getHelp();
};

export const versionText = (): string => {
  const { version } = JSON.parse(realFileSystem().readText(`${packageRoot()}/package.json`)) as { version: string };
  return version;
};

/** `completion`: a script for the shell in $SHELL; it asks this program at every TAB. */
export const completionScript = ({ program }: Call): Promise<number> => {
  yargs([]).scriptName(program.name).completion('completion').showCompletionScript();
  return Promise.resolve(EXIT.done);
};

/**
 * What a command gets: what was typed, where it acts, how it speaks. Settings are resolved once, here: option, else
 * environment, else default (docs/contract.md "Commands").
 */
import type { PlainClock } from '../../seams/plain-clock.ts';
import type { Terminal } from '../../seams/terminal.ts';
import { resolveDataDir } from '../control-paths.ts';
import type { LogLevel } from '../client/index.ts';
import { LEVELS, TEMPOS, type CommandSpec, type ProgramSpec } from './command-spec.ts';
import { painter, type Paint } from './format/paint.ts';
import { asciiOnly } from './format/text.ts';
import { usageFault, type Invocation } from './parse.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What nobody chose: the periods in which one sees something happen. `standard` has the figures of long service. */
export const TEMPO_DEFAULT = 'quick';

const PORT_MAX = 65_535;
const PORT_DEFAULT = 8790;

export interface Settings {
  /** As typed or from the environment; null: ./fleet.yaml, else the bundled fleet. */
  readonly fleetFile: string | null;
  readonly profile: string | null;
  readonly tempo: 'quick' | 'standard' | null;
  /** Absolute. */
  readonly dataDir: string;
  readonly port: number;
  readonly logLevel: LogLevel;
  readonly json: boolean;
}

/** Standard output and error as a command uses them. */
export interface Output {
  readonly json: boolean;
  readonly paint: Paint;
  readonly unicode: boolean;
  readonly colour: boolean;
  /** Cells of a line: the terminal's, or Infinity on a pipe. */
  readonly cells: number;
  /** Lines on standard output. */
  print(...lines: readonly string[]): void;
  /** The answer as JSON on standard output. */
  printJson(value: unknown): void;
  /** A line beside the answer, on standard error. */
  note(line: string): void;
}

export interface Call {
  readonly program: ProgramSpec;
  readonly command: CommandSpec;
  readonly settings: Settings;
  readonly options: Invocation['options'];
  readonly words: Invocation['words'];
  readonly terminal: Terminal;
  readonly clock: PlainClock;
  readonly environment: Environment;
  readonly output: Output;
}

const textOf = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);

const levelFrom = (text: string | null): LogLevel => {
  const level = (text ?? 'INFO').toUpperCase();
  const known = LEVELS.find((one) => one === level);
  if (known !== undefined) return known;
  throw usageFault(
    `cannot use RINGRIFT_LOG_LEVEL=${JSON.stringify(text)}: it must be one of ${LEVELS.join(', ')}`,
    'set it to INFO, or unset it',
  );
};

const portFrom = (typed: unknown, environment: Environment): number => {
  const fromEnvironment = textOf(environment['RINGRIFT_HEALTH_PORT']);
  const value = typeof typed === 'number' ? typed : fromEnvironment === null ? PORT_DEFAULT : Number(fromEnvironment);
  if (Number.isInteger(value) && value >= 0 && value <= PORT_MAX) return value;
  const where = typeof typed === 'number' ? `--port ${typed}` : `RINGRIFT_HEALTH_PORT=${fromEnvironment ?? ''}`;
  throw usageFault(
    `cannot use ${where}: a port is a whole number from 0 to ${PORT_MAX}`,
    'choose one, or 0 for any free one',
  );
};

export const settingsOf = (options: Invocation['options'], environment: Environment): Settings => ({
  fleetFile: textOf(options['fleet']) ?? textOf(environment['MASTER_LOOP_FLEET']),
  profile: textOf(options['profile']),
  tempo: TEMPOS.find((tempo) => tempo === options['tempo']) ?? null,
  dataDir: resolveDataDir(textOf(options['data-dir']) ?? textOf(environment['MASTER_LOOP_DATA_DIR']) ?? undefined),
  port: portFrom(options['port'], environment),
  logLevel:
    textOf(options['log-level']) === null
      ? levelFrom(textOf(environment['RINGRIFT_LOG_LEVEL']))
      : levelFrom(textOf(options['log-level'])),
  json: options['json'] === true,
});

/** Colour goes to terminals that show it, unless somebody said no. @see https://no-color.org */
export const wantsColour = (options: Invocation['options'], environment: Environment, terminal: Terminal): boolean =>
  options['no-color'] !== true &&
  textOf(environment['NO_COLOR']) === null &&
  terminal.outputIsTerminal &&
  environment['TERM'] !== 'dumb';

/** Whether marks beyond ASCII may be printed: the locale says so. */
export const knowsUnicode = (environment: Environment): boolean =>
  /utf-?8/i.test(textOf(environment['LC_ALL']) ?? textOf(environment['LC_CTYPE']) ?? textOf(environment['LANG']) ?? '');

export const outputOf = (options: Invocation['options'], environment: Environment, terminal: Terminal): Output => {
  const colour = wantsColour(options, environment, terminal);
  const unicode = knowsUnicode(environment);
  const shown = (line: string): string => (unicode || !terminal.outputIsTerminal ? line : asciiOnly(line));
  return {
    json: options['json'] === true,
    paint: painter(colour),
    unicode,
    colour,
    cells: terminal.outputIsTerminal ? terminal.size().columns : Infinity,
    print: (...lines) => {
      if (lines.length > 0) terminal.write(`${lines.map(shown).join('\n')}\n`);
    },
    printJson: (value) => terminal.write(`${JSON.stringify(value, null, 2)}\n`),
    note: (line) => terminal.writeError(`${shown(line)}\n`),
  };
};

/** A number option, or its default. */
export const numberOption = (call: Call, name: string, byDefault: number): number => {
  const value = call.options[name];
  return typeof value === 'number' ? value : byDefault;
};

export const textOption = (call: Call, name: string): string | null => textOf(call.options[name]);

export const flag = (call: Call, name: string): boolean => call.options[name] === true;

export const listOption = (call: Call, name: string): readonly string[] => {
  const value = call.options[name];
  return Array.isArray(value) ? (value as readonly string[]) : [];
};

/** The only value of a word; null when it was not typed. */
export const word = (call: Call, name: string): string | null => call.words[name]?.[0] ?? null;

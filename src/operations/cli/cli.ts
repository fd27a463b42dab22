/**
 * One run of a program: parse, load the one command that was asked for, run it, and turn whatever comes out into text
 * and an exit code. Every error ends here: the message, then what to do about it; with --json the same as data on
 * standard output, since a program that reads our answers must be able to read our refusals.
 */
import { OrchestratorError, messageOf } from '../../errors.ts';
import type { PlainClock } from '../../seams/plain-clock.ts';
import { onSignal } from '../../seams/self.ts';
import type { Terminal } from '../../seams/terminal.ts';
import { outputOf, settingsOf, type Call, type Environment, type Output } from './call.ts';
import type { CommandSpec, ProgramSpec } from './command-spec.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { parse } from './parse.ts';

export interface World {
  readonly terminal: Terminal;
  readonly clock: PlainClock;
  readonly environment: Environment;
  readonly exit: (code: number) => void;
}

/** Asked for by the scripts that `completion` prints. */
const COMPLETIONS = '--get-yargs-completions';

const reportError = (thrown: unknown, output: Output): number => {
  const code = exitCodeOf(thrown);
  const known = thrown instanceof OrchestratorError ? thrown : null;
  if (output.json) {
    output.printJson({
      error: {
        code: known?.code ?? 'UNEXPECTED',
        message: messageOf(thrown),
        remedy: known?.remedy ?? '',
        context: known?.context ?? {},
        exitCode: code,
      },
    });
    return code;
  }
  // A list of faults is one message of many lines; each line is made harmless by whoever wrote it down.
  output.note(messageOf(thrown));
  if (known !== null && known.remedy !== '') output.note(`  ${known.remedy}`);
  // Nobody foresaw this one: where it came from is all there is to say about it.
  if (known === null && thrown instanceof Error && thrown.stack !== undefined) output.note(thrown.stack);
  return code;
};

/** The loop handles signals itself; a command that only asks ends at once and changes nothing. */
const endsOnInterrupt = (command: CommandSpec, options: Call['options']): boolean =>
  command.path.length > 0 || options['detach'] === true || options['status'] !== undefined;

export const runProgram = async (program: ProgramSpec, argv: readonly string[], world: World): Promise<number> => {
  const { terminal, clock, environment } = world;
  if (argv[0] === COMPLETIONS) {
    const { complete, realSources } = await import('./complete.ts');
    const lines = await complete(program, argv.slice(2), realSources(), environment);
    if (lines.length > 0) terminal.write(`${lines.join('\n')}\n`);
    return EXIT.done;
  }
  let output = outputOf(
    {
      ...(argv.includes('--json') ? { json: true } : {}),
      ...(argv.includes('--no-color') ? { 'no-color': true } : {}),
    },
    environment,
    terminal,
  );
  let unhook = (): void => undefined;
  try {
    const { kind, command, options, words } = parse(program, argv);
    output = outputOf(options, environment, terminal);
    if (kind !== 'run') {
      const { helpText, versionText } = await import('./help.ts');
      output.print(kind === 'help' ? await helpText(program, command.path, terminal.size().columns) : versionText());
      return EXIT.done;
    }
    const settings = settingsOf(options, environment);
    if (endsOnInterrupt(command, options)) unhook = onSignal(['SIGINT'], () => world.exit(EXIT.interrupted));
    const run = await command.load();
    return await run({ program, command, settings, options, words, terminal, clock, environment, output });
  } catch (thrown) {
    return reportError(thrown, output);
  } finally {
    unhook();
  }
};

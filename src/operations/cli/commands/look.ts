/** Commands that only look (and the log level): each asks the live process once and prints what it said. */
import { OrchestratorError } from '../../../errors.ts';
import { realFileSystem } from '../../../seams/real-file-system.ts';
import { connect, type LogLevel, type StatusReport, type WaitReport } from '../../client/index.ts';
import { logPath } from '../../control-paths.ts';
import { flag, numberOption, word, type Call } from '../call.ts';
import { EXIT, exitCodeOfVerdict } from '../exit-codes.ts';
import { historyPieces } from '../format/history-line.ts';
import { lasting } from '../format/moments.ts';
import { paintLine } from '../format/paint.ts';
import { statusTable } from '../format/status-table.ts';
import { printable } from '../format/text.ts';
import { whyScreen } from '../format/why-screen.ts';

const HISTORY_SHOWN = 50;
const LOG_LINES_SHOWN = 50;
/** Seconds; chosen: ten times the slowest boot of the bundled fleet. */
const WAIT_SECONDS = 300;
const SCREEN_CELLS = 80;

export const status = async ({ settings, output, clock }: Call): Promise<number> => {
  const client = await connect({ dataDir: settings.dataDir });
  const report: StatusReport = await client.status();
  client.close();
  if (output.json) output.printJson(report);
  else output.print(...statusTable(report, clock.wallMs(), output.cells, output.paint));
  return exitCodeOfVerdict(report.verdict);
};

export const why = async (call: Call): Promise<number> => {
  const { settings, output, clock } = call;
  const client = await connect({ dataDir: settings.dataDir });
  const answer = await client.why(word(call, 'daemon') ?? '');
  client.close();
  if (output.json) output.printJson(answer);
  else output.print(...whyScreen(answer, clock.wallMs(), Math.min(output.cells, SCREEN_CELLS), output.paint));
  return EXIT.done;
};

export const history = async (call: Call): Promise<number> => {
  const { settings, output } = call;
  const daemon = word(call, 'daemon');
  const client = await connect({ dataDir: settings.dataDir });
  // The daemon is asked for first, so that a misspelt one is an error and not an empty history.
  if (daemon !== null) await client.daemon(daemon);
  const limit = numberOption(call, 'lines', HISTORY_SHOWN);
  const entries = await client.history({ limit, ...(daemon === null ? {} : { daemon }) });
  client.close();
  if (output.json) output.printJson(entries);
  else output.print(...entries.map((entry) => paintLine(historyPieces(entry), output.cells, output.paint)));
  return EXIT.done;
};

const LOG_LINE = /^(\S+) ([A-Z]+) (?:\[([^\]]*)\] )?(.*)$/;

const logRecord = (line: string): Readonly<Record<string, unknown>> => {
  const [, time = null, level = null, daemon = null, message = line] = LOG_LINE.exec(line) ?? [];
  return { time, level, daemon, message };
};

/** Without a loop the file still tells how the last one ended. */
const linesOfDeadLoop = (call: Call, count: number, daemon: string | null, cause: unknown): string[] => {
  const files = realFileSystem();
  const file = logPath(call.settings.dataDir);
  if (flag(call, 'follow') || !files.exists(file)) throw cause;
  call.output.note(`no loop is running; these are the last lines of ${file}`);
  const lines = files.readText(file).split('\n').slice(0, -1);
  const own = daemon === null ? lines : lines.filter((line) => line.includes(` [${daemon}] `));
  return own.slice(Math.max(0, own.length - count));
};

export const logs = async (call: Call): Promise<number> => {
  const { settings, output } = call;
  const daemon = word(call, 'daemon');
  const count = numberOption(call, 'lines', LOG_LINES_SHOWN);
  const query = { lines: count, ...(daemon === null ? {} : { daemon }) };
  const client = await connect({ dataDir: settings.dataDir }).catch((thrown: unknown) => {
    if (thrown instanceof OrchestratorError && thrown.code === 'NOT_RUNNING') return thrown;
    throw thrown;
  });
  if (client instanceof OrchestratorError) {
    const lines = linesOfDeadLoop(call, count, daemon, client);
    if (output.json) output.printJson(lines.map(logRecord));
    else output.print(...lines.map(printable));
    return EXIT.done;
  }
  if (daemon !== null) await client.daemon(daemon);
  if (flag(call, 'follow')) {
    // A record a line: a reader cannot wait for the end of a list that has none.
    for await (const line of client.followLogs(query))
      output.print(output.json ? JSON.stringify(logRecord(line)) : printable(line));
    client.close();
    return EXIT.done;
  }
  const lines = await client.logs(query);
  client.close();
  if (output.json) output.printJson(lines.map(logRecord));
  else output.print(...lines.map(printable));
  return EXIT.done;
};

/** One line for people: ready, or what is missing. */
export const waitText = (report: WaitReport): string => {
  if (report.ended === 'ready') return `ready after ${lasting(report.waitedSeconds)}`;
  const ended = {
    timeout: `not ready within ${lasting(report.waitedSeconds)}`,
    failed: 'cannot become ready without somebody acting',
    stopping: 'the loop is being stopped',
  }[report.ended];
  const shown = report.reasons
    .slice(0, 5)
    .map(({ daemon, state, reason }) => `  ${daemon} ${state}: ${printable(reason)}`);
  const more = report.reasons.length > shown.length ? [`  and ${report.reasons.length - shown.length} more`] : [];
  return [`${ended}; not ready:`, ...shown, ...more].join('\n');
};

/** Prints how a wait ended and gives its exit code. */
export const reportWait = ({ output }: Call, report: WaitReport, extra: object = {}): number => {
  if (output.json) output.printJson({ ...extra, ...report });
  else if (report.ended === 'ready') output.print(waitText(report));
  else output.note(waitText(report));
  return report.ended === 'ready' ? EXIT.done : EXIT.notReady;
};

export const waitMsOf = (call: Call): number => numberOption(call, 'timeout', WAIT_SECONDS) * 1000;

export const wait = async (call: Call): Promise<number> => {
  const client = await connect({ dataDir: call.settings.dataDir });
  const report = await client.wait({ timeoutMs: waitMsOf(call) });
  client.close();
  return reportWait(call, report);
};

export const logLevel = async (call: Call): Promise<number> => {
  const { settings, output } = call;
  const client = await connect({ dataDir: settings.dataDir });
  const changed = await client.logLevel((word(call, 'level') ?? 'INFO') as LogLevel);
  client.close();
  if (output.json) output.printJson(changed);
  else output.print(`log level ${changed.level} (was ${changed.previous})`);
  return EXIT.done;
};

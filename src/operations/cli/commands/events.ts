/**
 * The event router from outside. Arguments and answers are the router's own shapes (src/events/router-api.ts); this file
 * only asks and prints.
 */
import { randomUUID } from 'node:crypto';
import type { AuditReport, DeadLetter, DeadLetterOutcome } from '../../../events/router-api.ts';
import type { EventEnvelope, PublishReceipt } from '../../../events/types.ts';
import { isoTime } from '../../../seams/plain-clock.ts';
import { connect } from '../../client/index.ts';
import { flag, numberOption, textOption, word, type Call } from '../call.ts';
import { EXIT } from '../exit-codes.ts';
import { dateTime } from '../format/moments.ts';
import { cut, fit, printable, width } from '../format/text.ts';
import { usageFault } from '../parse.ts';

const LETTERS_SHOWN = 100;
/** How long one question for new events stays open, milliseconds; then it is asked again. */
const TAIL_WAIT_MS = 20_000;
const TAIL_EVENTS_MAX = 500;

/** Answer to `tail`: what was stored since the last question of the same reader. */
interface TailAnswer {
  readonly events: readonly EventEnvelope[];
  /** Not shown, because this reader was slower than the stream. */
  readonly dropped: number;
}

const eventLine = (event: EventEnvelope): string =>
  printable(
    `${isoTime(event.publishedAtMs)} #${event.offset} ${event.topic} from ${event.source} ${event.id} ${JSON.stringify(event.body)}`,
  );

export const tail = async ({ settings, output, words }: Call): Promise<number> => {
  const client = await connect({ dataDir: settings.dataDir });
  const reader = randomUUID();
  const topics = words['topic'];
  for (;;) {
    const answer = (await client.events('tail', {
      reader,
      waitMs: TAIL_WAIT_MS,
      max: TAIL_EVENTS_MAX,
      ...(topics === undefined ? {} : { topics }),
    })) as TailAnswer;
    for (const event of answer.events)
      output.print(output.json ? JSON.stringify(event) : cut(eventLine(event), output.cells));
    if (answer.dropped > 0) output.note(`${answer.dropped} events were too fast to be shown`);
  }
};

const bodyOf = async (call: Call): Promise<unknown> => {
  const typed = word(call, 'body');
  const text = typed === '-' ? await call.terminal.readInput() : (typed ?? '{}');
  try {
    return JSON.parse(text) as unknown;
  } catch (thrown) {
    throw usageFault(
      `cannot publish: the body is not JSON (${thrown instanceof Error ? thrown.message : String(thrown)})`,
      `quote it for the shell, as in '{"rows": 3}', or use - and give it on standard input`,
    );
  }
};

export const publish = async (call: Call): Promise<number> => {
  const { settings, output } = call;
  const body = await bodyOf(call);
  const id = textOption(call, 'id');
  const client = await connect({ dataDir: settings.dataDir });
  const receipt = (await client.events('publish', {
    topic: word(call, 'topic'),
    body,
    source: textOption(call, 'source') ?? 'cli',
    ...(id === null ? {} : { id }),
  })) as PublishReceipt;
  client.close();
  if (output.json) output.printJson(receipt);
  else output.print(`${receipt.stored ? 'stored' : 'was stored before'}: offset ${receipt.offset}, id ${receipt.id}`);
  return EXIT.done;
};

/** Rows of texts as aligned lines; the last column is as long as it is. */
const aligned = (rows: readonly (readonly string[])[], cells: number): string[] => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => width(row[column] ?? ''))));
  return rows.map((row) =>
    cut(
      row.map((text, column) => (column === row.length - 1 ? text : fit(text, (widths[column] ?? 0) + 2))).join(''),
      cells,
    ),
  );
};

export const deadLetters = async (call: Call): Promise<number> => {
  const { settings, output } = call;
  const subscriber = textOption(call, 'subscriber');
  const client = await connect({ dataDir: settings.dataDir });
  const letters = (await client.events('dead-letters', {
    state: textOption(call, 'state') ?? 'pending',
    max: numberOption(call, 'limit', LETTERS_SHOWN),
    ...(subscriber === null ? {} : { subscriber }),
  })) as readonly DeadLetter[];
  client.close();
  if (output.json) output.printJson(letters);
  else if (letters.length === 0) output.print('no dead letters');
  else
    output.print(
      ...aligned(
        [
          ['ID', 'SINCE', 'DAEMON', 'TOPIC', 'TRIES', 'STATE', 'REASON'],
          ...letters.map((letter) => [
            String(letter.id),
            dateTime(isoTime(letter.deadAtMs)),
            printable(letter.subscriber),
            printable(letter.topic),
            String(letter.attempts),
            letter.state,
            printable(letter.reason),
          ]),
        ],
        output.cells,
      ),
    );
  return EXIT.done;
};

export const retry = async (call: Call): Promise<number> => {
  const { settings, output } = call;
  const ids = (call.words['id'] ?? []).map(Number);
  if (ids.some((id) => !Number.isInteger(id) || id < 0))
    throw usageFault('cannot retry that: the numbers of dead letters are whole', '"events dead-letters" lists them');
  if (ids.length > 0 === flag(call, 'all'))
    throw usageFault('cannot tell what to retry: name dead letters, or use --all', '"events dead-letters" lists them');
  const client = await connect({ dataDir: settings.dataDir });
  const outcomes = (await client.events('retry', {
    which: flag(call, 'all') ? 'all' : ids,
    waitMs: 60_000,
  })) as readonly DeadLetterOutcome[];
  client.close();
  if (output.json) output.printJson(outcomes);
  else if (outcomes.length === 0) output.print('nothing to retry');
  else
    output.print(
      ...outcomes.map(({ id, outcome, message }) =>
        printable(`${id} ${outcome}${message === '' ? '' : `: ${message}`}`),
      ),
    );
  return outcomes.some(({ outcome }) => outcome === 'failed' || outcome === 'skipped') ? EXIT.failed : EXIT.done;
};

export const audit = async ({ settings, output }: Call): Promise<number> => {
  const client = await connect({ dataDir: settings.dataDir });
  const report = (await client.events('audit')) as AuditReport;
  client.close();
  if (output.json) output.printJson(report);
  else
    output.print(
      ...aligned(
        [
          ['DAEMON', 'TOPIC', 'PUBLISHED', 'HANDLED', 'PENDING', 'DEAD', 'LOST'],
          ...report.rows.map((row) => [
            printable(row.subscriber),
            printable(row.topic),
            ...[row.published, row.handled, row.pending, row.deadLettered, row.lost].map(String),
          ]),
        ],
        output.cells,
      ),
      report.lost === 0 ? 'nothing is lost' : `${report.lost} events are lost`,
    );
  return report.lost === 0 ? EXIT.done : EXIT.failed;
};

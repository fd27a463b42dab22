/**
 * `why DAEMON` on one screen: 24 lines of 80 cells however long the chain of causes and the messages are. What decides
 * comes first (state, reason, what to do); the chain of causes takes what is left and says how much of it is not shown.
 */
import type { WhyAnswer } from '../../client/index.ts';
import type { HistoryEntry } from '../../client/index.ts';
import { wallMsOf } from '../../../seams/plain-clock.ts';
import { waitText } from './daemon-row.ts';
import { clockTime, dateTime, lasting, secondsSince } from './moments.ts';
import { paintLine, piece, toneOfHealth, toneOfState, type Paint, type Piece } from './paint.ts';
import { cut, fit, printable, wrap } from './text.ts';

export const WHY_LINES_MAX = 24;
const LABEL_CELLS = 11;
/** Lines one answer may take, so that a stack trace as a message leaves room for the rest. */
const LINES_A_FIELD_MAX = 3;
const WAITS_SHOWN_MAX = 3;

export const causeLine = (entry: HistoryEntry): string => {
  const moved = entry.from === null || entry.to === null ? entry.on : `${entry.from} → ${entry.to}`;
  const why = entry.why === null ? '' : ` ${entry.why}`;
  const message = entry.message === '' ? '' : `: ${printable(entry.message)}`;
  const who = entry.daemon === null ? '' : `${printable(entry.daemon)} `;
  return `${clockTime(entry.time)} ${who}${moved}${why}${message}`;
};

/** A labelled answer, wrapped under itself and cut to its share of the screen. */
const field = (label: string, text: string, cells: number, tone: Piece['tone'] = 'plain'): Piece[][] => {
  if (text === '') return [];
  const lines = wrap(printable(text), cells - LABEL_CELLS);
  const shown = lines.slice(0, LINES_A_FIELD_MAX);
  if (lines.length > shown.length) shown.push(`${cut(shown.pop() ?? '', cells - LABEL_CELLS - 2, '')} …`);
  return shown.map((line, index) => [piece(fit(index === 0 ? label : '', LABEL_CELLS), 'dim'), piece(line, tone)]);
};

/** The remedy as the report gives it, else what its waits suggest. */
const remedyOf = (why: WhyAnswer): string =>
  why.remedy ?? why.waitingFor.find((wait) => wait.remedy !== null)?.remedy ?? '';

/**
 * @param cells  cells of a line, at least 40
 * @returns at most WHY_LINES_MAX lines
 */
export const whyPieces = (why: WhyAnswer, nowMs: number, cells: number): Piece[][] => {
  const ago = secondsSince(why.since, nowMs);
  const lines: Piece[][] = [
    [
      piece(printable(why.daemon), 'strong'),
      piece(' is '),
      piece(why.state, toneOfState(why.state)),
      piece(`, wanted ${why.wanted}, since ${dateTime(why.since)}${ago === null ? '' : ` (${lasting(ago)})`}`),
    ],
  ];
  if (why.stall !== null) {
    lines.push(
      ...field(
        'Stalled',
        `the main loop has been silent for ${lasting(why.stall.silentMs / 1000)}${
          why.stall.heldBy === null ? '' : `, held by ${why.stall.heldBy}`
        }; this is the last it said`,
        cells,
        'bad',
      ),
    );
  }
  lines.push(
    ...field('Reason', why.reason, cells),
    ...field('Rule', why.rule, cells),
    ...field('To do', remedyOf(why), cells, 'title'),
  );
  for (const [index, wait] of why.waitingFor.slice(0, WAITS_SHOWN_MAX).entries()) {
    const more = index === WAITS_SHOWN_MAX - 1 ? why.waitingFor.length - WAITS_SHOWN_MAX : 0;
    const text = `${waitText(wait)} (${wait.kind})${more > 0 ? `, and ${more} more` : ''}`;
    lines.push(...field(index === 0 ? 'Waits for' : '', text, cells, wait.impossible ? 'bad' : 'busy'));
  }
  if (why.nextAttemptAt !== null) {
    const left = (wallMsOf(why.nextAttemptAt) - nowMs) / 1000;
    lines.push(
      ...field('Next try', `${clockTime(why.nextAttemptAt)}${left > 0 ? `, in ${lasting(left)}` : ''}`, cells),
    );
  }
  const { charged, left, lastHour } = why.restarts;
  lines.push(...field('Restarts', `${charged} charged, ${left} left, ${lastHour} in the last hour`, cells));
  const health = why.health.message === '' ? why.health.status : `${why.health.status}: ${why.health.message}`;
  lines.push(...field('Health', health, cells, toneOfHealth(why.health.status)));
  if (why.lastExit !== null) {
    const { time, why: cause, message } = why.lastExit;
    lines.push(...field('Last exit', `${dateTime(time)} ${cause}: ${message}`, cells));
  }
  const kept = lines.slice(0, WHY_LINES_MAX - 2);
  const room = WHY_LINES_MAX - kept.length;
  const chain = why.causeChain;
  // The root says how it began, so when the chain is cut, it is cut in the middle.
  const shown = chain.length <= room ? chain : [...chain.slice(0, Math.max(0, room - 2)), ...chain.slice(-1)];
  for (const [index, entry] of shown.entries()) {
    const skipped = index === shown.length - 1 ? chain.length - shown.length : 0;
    if (skipped > 0) {
      kept.push([
        piece(' '.repeat(LABEL_CELLS)),
        piece(cut(`… ${skipped} more; master_loop history ${printable(why.daemon)}`, cells - LABEL_CELLS), 'dim'),
      ]);
    }
    const label = fit(index === 0 ? 'Because' : '', LABEL_CELLS);
    kept.push([piece(label, 'dim'), piece(cut(causeLine(entry), cells - LABEL_CELLS))]);
  }
  return kept;
};

export const whyScreen = (why: WhyAnswer, nowMs: number, cells: number, paint: Paint): string[] =>
  whyPieces(why, nowMs, cells).map((pieces) => paintLine(pieces, cells, paint).trimEnd());

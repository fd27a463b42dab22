/** One entry of the history in one line: when, who, what happened and why, and the number of the entry that caused it. */
import type { HistoryEntry } from '../../client/index.ts';
import { toneOfState, piece, type Piece } from './paint.ts';
import { printable } from './text.ts';

export const historyPieces = (entry: HistoryEntry): Piece[] => {
  const moved: Piece[] =
    entry.from === null || entry.to === null
      ? [piece(printable(entry.on))]
      : [piece(`${entry.from} → `), piece(entry.to, toneOfState(entry.to))];
  return [
    piece(`${entry.time} `, 'dim'),
    piece(`#${entry.seq} `, 'dim'),
    piece(entry.daemon === null ? '' : `${printable(entry.daemon)} `, 'strong'),
    ...moved,
    piece(entry.why === null ? '' : ` ${entry.why}`),
    piece(entry.message === '' ? '' : `: ${printable(entry.message)}`),
    piece(entry.cause === null ? '' : ` (because of #${entry.cause})`, 'dim'),
  ];
};

/** Pieces of a screen put together: lines of toned pieces, titles, two things on one line, numbers for people. */
import { cellsIn, piece, type Piece } from '../format/paint.ts';
import { cut, printable, width } from '../format/text.ts';

export type Line = readonly Piece[];

export const EMPTY: Line = [];

const RULE = '─';

/** Exactly `cells` cells of pieces, for a line that something stands right of. */
export const fitLine = (line: Line, cells: number): Piece[] => {
  const fitted: Piece[] = [];
  let left = cells;
  for (const { text, tone } of line) {
    if (left <= 0) break;
    const shown = cut(text, left);
    fitted.push(piece(shown, tone));
    left -= width(shown);
  }
  if (left > 0) fitted.push(piece(' '.repeat(left)));
  return fitted;
};

/** `left` at the left edge, `right` at the right edge; when both do not fit, the right one goes. */
export const spread = (left: Line, right: Line, cells: number): Piece[] => {
  const gap = cells - cellsIn(left) - cellsIn(right);
  return gap < 1 ? [...left] : [...left, piece(' '.repeat(gap)), ...right];
};

/** A title in a line across the screen. */
export const rule = (title: string, cells: number, right = ''): Piece[] => {
  const before = `${RULE}${RULE} `;
  const tail = right === '' ? '' : ` ${right} ${RULE}`;
  const fill = Math.max(0, cells - width(before) - width(title) - 1 - width(tail));
  return [piece(before, 'dim'), piece(title, 'title'), piece(` ${RULE.repeat(fill)}`, 'dim'), piece(tail, 'dim')];
};

/** `12,431`, `0.8`; a text as it is. */
export const grouped = (value: number | string): string => {
  if (typeof value === 'string') return printable(value);
  if (!Number.isFinite(value)) return '-';
  const [whole = '', fraction] = String(
    Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 100) / 100,
  ).split('.');
  return whole.replace(/\B(?=(\d{3})+$)/g, ',') + (fraction === undefined ? '' : `.${fraction}`);
};

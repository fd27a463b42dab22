/**
 * Boards as drawings: `.` empty, a digit the seat that owns the piece, `*` a cell to be talked about (empty as well).
 * Rows of a hexagon are indented as they like; only the signs count, row by row.
 */
import { gameConfig } from '../../../src/training/game/configs.ts';
import { Position } from '../../../src/training/game/position.ts';

const signsOf = (drawing: string): string[] => [...drawing.replace(/\s/g, '')];

export const drawn = (config: string, drawing: string, first: number): Position => {
  const position = new Position(gameConfig(config));
  const signs = signsOf(drawing);
  if (signs.length !== position.cells.length)
    throw new Error(`${config} has ${position.cells.length} cells, ${signs.length} are drawn`);
  position.setUp(
    signs.map((sign) => (sign === '.' || sign === '*' ? 0 : Number(sign))),
    first,
  );
  return position;
};

/** The cells marked `*`, ascending. */
export const marked = (drawing: string): number[] =>
  signsOf(drawing).flatMap((sign, cell) => (sign === '*' ? [cell] : []));

/** The board as signs in rows of `width`; 0 is `.`. */
export const drawingOf = (position: Position, width: number): string =>
  [...position.cells]
    .map((owner) => (owner === 0 ? '.' : String(owner)))
    .join('')
    .replace(new RegExp(`.{${width}}`, 'g'), (row) => `${row}\n`)
    .trim();

export const movesOf = (position: Position): number[] => [...position.moves.subarray(0, position.moveCount)];

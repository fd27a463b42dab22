/**
 * A finished game as a line of text: config, moves, result. Sixty moves on a 64-cell board are sixty characters.
 *
 * The moves are the truth and everything else is derived: replay them and the boards, the turns and the piece counts come
 * back. So a record is checked by playing it, not by a checksum that only says that the same lie was copied twice.
 */
import { OrchestratorError } from '../../errors.ts';
import type { GameConfig } from './configs.ts';
import { Position } from './position.ts';

export interface GameRecord {
  readonly config: string;
  /** One digit of 64 per placement up to 64 cells, two above; passes are not written, since the rules force them. */
  readonly moves: string;
  /** Pieces per seat at the end. */
  readonly pieces: readonly number[];
}

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const VALUE_OF = new Int8Array(128).fill(-1);
for (let value = 0; value < 64; value++) VALUE_OF[DIGITS.charCodeAt(value)] = value;

const digitsPerMove = (config: GameConfig): number => (config.board.cells <= 64 ? 1 : 2);

const gameRecordInvalid = (config: string, fault: string, moves: string): OrchestratorError =>
  new OrchestratorError('GAME_RECORD_INVALID', {
    message: `cannot replay a game of ${config}: ${fault}`,
    remedy: 'the record is corrupt or was made by other rules; leave it out, and check the store it came from',
    context: { config, fault, moves },
  });

export const encodeMoves = (config: GameConfig, cells: ArrayLike<number>): string => {
  const wide = digitsPerMove(config) === 2;
  let text = '';
  for (let index = 0; index < cells.length; index++) {
    const cell = cells[index]!;
    text += wide ? DIGITS[cell >> 6]! + DIGITS[cell & 63]! : DIGITS[cell]!;
  }
  return text;
};

/** @throws GAME_RECORD_INVALID when the text is not a list of cells of this board; legality is checked by `replay` */
export const decodeMoves = (config: GameConfig, moves: string): Int16Array => {
  const digits = digitsPerMove(config);
  if (moves.length % digits !== 0)
    throw gameRecordInvalid(config.name, `${moves.length} characters do not make whole moves`, moves);
  const cells = new Int16Array(moves.length / digits);
  for (let index = 0; index < cells.length; index++) {
    let cell = 0;
    for (let digit = 0; digit < digits; digit++) {
      const value = VALUE_OF[moves.charCodeAt(index * digits + digit)] ?? -1;
      if (value < 0) throw gameRecordInvalid(config.name, `move ${index} is not written in our digits`, moves);
      cell = cell * 64 + value;
    }
    if (cell >= config.board.cells) throw gameRecordInvalid(config.name, `move ${index} is off the board`, moves);
    cells[index] = cell;
  }
  return cells;
};

/**
 * Plays the recorded moves on `position` from its start; `onPlaced` sees the board after each, with the seat that moved.
 * @throws GAME_RECORD_INVALID at the first illegal move, or when the moves stop before the game is over
 */
export const replay = (
  position: Position,
  moves: string,
  onPlaced: (cells: Int8Array, seat: number, cell: number) => void = () => {},
): void => {
  const { config } = position;
  const cells = decodeMoves(config, moves);
  position.restart();
  for (let index = 0; index < cells.length; index++) {
    const cell = cells[index]!;
    const { seat } = position;
    if (!position.isLegal(cell))
      throw gameRecordInvalid(config.name, `move ${index} (cell ${cell}, seat ${seat}) is not legal`, moves);
    position.play(cell);
    onPlaced(position.cells, seat, cell);
  }
  if (!position.isOver) throw gameRecordInvalid(config.name, `it stops after ${cells.length} moves, unfinished`, moves);
};

/**
 * Replays a record and compares the result it claims.
 * @throws GAME_RECORD_INVALID as `replay` does, and when the pieces counted are not the pieces claimed
 */
export const replayChecked = (
  position: Position,
  record: Pick<GameRecord, 'moves' | 'pieces'>,
  onPlaced?: (cells: Int8Array, seat: number, cell: number) => void,
): void => {
  replay(position, record.moves, onPlaced);
  const counted = [...position.pieces.subarray(1)];
  if (record.pieces.length !== counted.length || counted.some((count, seat) => count !== record.pieces[seat])) {
    const fault = `it claims ${record.pieces.join(':')} pieces, replay counts ${counted.join(':')}`;
    throw gameRecordInvalid(position.config.name, fault, record.moves);
  }
};

/** The seat that won alone, counted from 0; null when the best result is shared. */
export const winnerOf = (pieces: readonly number[]): number | null => {
  const most = Math.max(...pieces);
  const first = pieces.indexOf(most);
  return pieces.indexOf(most, first + 1) < 0 ? first : null;
};

/** Placements of a record; needs no replay. */
export const placementsOf = (config: GameConfig, moves: string): number => moves.length / digitsPerMove(config);

/** Collects the moves of a game while it is played. */
export class MoveLog {
  private readonly cells: Int16Array;
  private readonly config: GameConfig;
  private count = 0;

  constructor(config: GameConfig) {
    this.config = config;
    this.cells = new Int16Array(config.board.cells);
  }

  get length(): number {
    return this.count;
  }

  clear(): void {
    this.count = 0;
  }

  add(cell: number): void {
    this.cells[this.count++] = cell;
  }

  text(): string {
    return encodeMoves(this.config, this.cells.subarray(0, this.count));
  }
}

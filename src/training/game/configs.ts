/**
 * The games the floor plays: a board, two to four players, a start position. Names are upstream's (`hex8_2p`,
 * `square8_4p`, …), so allocations, models and ratings keep their keys.
 *
 * Start positions are as even as the board allows: every seat has as many pieces as every other, and where the board has
 * the symmetry the seats are images of each other. What unevenness is left (a 19-sided board has no middle block, three
 * seats do not fit a square) falls on all agents alike, since a match gives every agent every seat.
 */
import { OrchestratorError } from '../../errors.ts';
import { HEX_DIRECTIONS, hexBoard, squareBoard, type Board } from './board.ts';

export interface GameConfig {
  readonly name: string;
  readonly board: Board;
  readonly players: number;
  /** (cell, seat) pairs on the board before the first move; seats count from 1. */
  readonly start: readonly (readonly [number, number])[];
  /**
   * What a player without a bracketing move does. `pass` (two players): the turn goes on, and the game ends when nobody
   * can bracket. `adjoin` (three and four): the piece is placed next to any other and turns nothing, so every turn adds
   * one piece and the game ends with a full board.
   */
  readonly withoutBracket: 'pass' | 'adjoin';
}

/** Seats of the middle block, row by row. */
const SQUARE_STARTS: Readonly<Record<number, readonly (readonly number[])[]>> = {
  2: [
    [2, 1],
    [1, 2],
  ],
  3: [
    [1, 2, 3],
    [2, 3, 1],
  ],
  4: [
    [1, 2],
    [4, 3],
  ],
};

/** Seats of the six cells around the empty centre, in the order of HEX_DIRECTIONS; 0 leaves a cell empty. */
const HEX_STARTS: Readonly<Record<number, readonly number[]>> = {
  2: [1, 2, 1, 2, 1, 2],
  3: [1, 2, 3, 1, 2, 3],
  4: [1, 2, 0, 3, 4, 0],
};

const startOf = (board: Board, players: number): [number, number][] => {
  if (board.shape === 'hex') {
    return HEX_DIRECTIONS.map(([q, r], index): [number, number] => [
      board.cellAt(q, r),
      HEX_STARTS[players]?.[index] ?? 0,
    ]).filter(([, seat]) => seat > 0);
  }
  const rows = SQUARE_STARTS[players] ?? [];
  const top = Math.floor((board.size - rows.length) / 2);
  return rows.flatMap((row, y) => {
    const left = Math.floor((board.size - row.length) / 2);
    return row.map((seat, x): [number, number] => [board.cellAt(left + x, top + y), seat]);
  });
};

const game = (name: string, board: Board, players: number): GameConfig => ({
  name,
  board,
  players,
  start: startOf(board, players),
  withoutBracket: players === 2 ? 'pass' : 'adjoin',
});

const square6 = squareBoard(6);
const square8 = squareBoard(8);
const square19 = squareBoard(19);
const hex8 = hexBoard(4);
const hexagonal = hexBoard(12);

/** Every config, by name. The first twelve are upstream's; square6_2p is for quick trials. */
export const GAME_CONFIGS: readonly GameConfig[] = [
  game('hex8_2p', hex8, 2), //              61 cells
  game('hex8_3p', hex8, 3),
  game('hex8_4p', hex8, 4),
  game('square8_2p', square8, 2), //        64 cells: the classic game
  game('square8_3p', square8, 3),
  game('square8_4p', square8, 4),
  game('square19_2p', square19, 2), //     361 cells
  game('square19_3p', square19, 3),
  game('square19_4p', square19, 4),
  game('hexagonal_2p', hexagonal, 2), //   469 cells
  game('hexagonal_3p', hexagonal, 3),
  game('hexagonal_4p', hexagonal, 4),
  game('square6_2p', square6, 2), //        36 cells
];

const BY_NAME = new Map(GAME_CONFIGS.map((config) => [config.name, config]));

const unknownGameConfig = (name: string): OrchestratorError =>
  new OrchestratorError('UNKNOWN_GAME_CONFIG', {
    message: `cannot play "${name}": no such game config`,
    remedy: `use one of ${[...BY_NAME.keys()].join(', ')}`,
    context: { name },
  });

export const isGameConfig = (name: string): boolean => BY_NAME.has(name);

/** @throws UNKNOWN_GAME_CONFIG */
export const gameConfig = (name: string): GameConfig => {
  const config = BY_NAME.get(name);
  if (config === undefined) throw unknownGameConfig(name);
  return config;
};

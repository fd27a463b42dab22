/**
 * Games unrolled into boards: the form in which shards keep them and training reads them.
 *
 * Rows of one game lie together and in order, because TD(λ) needs to know which board came after which; a shuffled table
 * of (board, result) would have thrown that away. Each row is the board right after a placement and the seat that placed.
 */
import type { GameConfig } from '../game/configs.ts';
import { Position, standings } from '../game/position.ts';
import { placementsOf, replay, replayChecked, type GameRecord } from '../game/record.ts';

export interface Samples {
  readonly config: GameConfig;
  /** rows × cells; 0 empty, else the owning seat. */
  readonly boards: Int8Array;
  /** Per row: the seat that had just placed. */
  readonly seats: Int8Array;
  /** Rows of game g: from `gameStart[g]` up to `gameStart[g + 1]`. */
  readonly gameStart: Int32Array;
  /** games × players: final standing of each seat, -1 (beaten by all) to 1 (beat all). */
  readonly results: Float32Array;
}

export const rowsOf = (samples: Samples): number => samples.seats.length;
export const gamesOf = (samples: Samples): number => samples.gameStart.length - 1;

/** Unrolls games one at a time; a game that cannot be replayed leaves nothing behind. */
export class SampleBuilder {
  private readonly config: GameConfig;
  private readonly position: Position;
  private boards: Int8Array;
  private seats: Int8Array;
  private readonly starts: number[] = [0];
  private readonly results: number[] = [];
  private filled = 0;

  /** @param rowsExpected  room to begin with; it grows as needed */
  constructor(config: GameConfig, rowsExpected: number = 1024) {
    this.config = config;
    this.position = new Position(config);
    this.boards = new Int8Array(rowsExpected * config.board.cells);
    this.seats = new Int8Array(rowsExpected);
  }

  get rows(): number {
    return this.filled;
  }

  get games(): number {
    return this.starts.length - 1;
  }

  /** @throws GAME_RECORD_INVALID when it cannot be replayed, or not to the pieces it claims */
  add(game: Pick<GameRecord, 'moves'> & Partial<Pick<GameRecord, 'pieces'>>): void {
    const { config, position } = this;
    const { cells } = config.board;
    let row = this.filled;
    this.makeRoom(row + Math.ceil(placementsOf(config, game.moves)));
    const keep = (board: Int8Array, seat: number): void => {
      this.boards.set(board, row * cells);
      this.seats[row++] = seat;
    };
    if (game.pieces === undefined) replay(position, game.moves, keep);
    else replayChecked(position, { moves: game.moves, pieces: game.pieces }, keep);
    this.filled = row;
    this.starts.push(row);
    for (const beaten of standings(position.pieces, config.players)) this.results.push(2 * beaten - 1);
  }

  build(): Samples {
    const { config, filled } = this;
    return {
      config,
      boards: this.boards.slice(0, filled * config.board.cells),
      seats: this.seats.slice(0, filled),
      gameStart: Int32Array.from(this.starts),
      results: Float32Array.from(this.results),
    };
  }

  private makeRoom(rows: number): void {
    if (rows <= this.seats.length) return;
    const room = Math.max(rows, 2 * this.seats.length);
    const boards = new Int8Array(room * this.config.board.cells);
    const seats = new Int8Array(room);
    boards.set(this.boards);
    seats.set(this.seats);
    this.boards = boards;
    this.seats = seats;
  }
}

/**
 * Unrolls records at once.
 * @throws GAME_RECORD_INVALID when one cannot be replayed; training on a corrupt game would be worse than stopping
 */
export const samplesFrom = (config: GameConfig, games: readonly Pick<GameRecord, 'moves'>[]): Samples => {
  const builder = new SampleBuilder(config, 1 + games.length * config.board.cells);
  for (const game of games) builder.add(game);
  return builder.build();
};

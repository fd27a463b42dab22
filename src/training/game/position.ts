/**
 * One game under way: place a piece so that it brackets a run of other players' pieces, and the run turns to your colour;
 * most pieces at the end wins. With more than two players a run may mix opponents: whatever lies between is turned.
 *
 * The legal moves of the seat to move are always at hand, because who moves next depends on them (a seat without a move
 * passes). So each turn searches the board once, and agents, replay and the end of the game read the same list.
 * Passing is forced and follows from the board, so a record of a game never holds it and cannot lie about it.
 */
import { OrchestratorError } from '../../errors.ts';
import type { GameConfig } from './configs.ts';

const illegalMove = (config: string, cell: number, seat: number, ply: number): OrchestratorError =>
  new OrchestratorError('ILLEGAL_MOVE', {
    message: `cannot place seat ${seat} on cell ${cell} of ${config} at ply ${ply}: not a legal move there`,
    remedy: 'take a cell from the legal moves of the position; a recorded game with such a move is corrupt',
    context: { config, cell, seat, ply },
  });

export class Position {
  readonly config: GameConfig;
  /** Per cell: 0 empty, else the seat that owns the piece, from 1. */
  readonly cells: Int8Array;
  /** Pieces per seat; index 0 counts empty cells. */
  readonly pieces: Int16Array;
  /** The first `moveCount` entries are the legal moves of `seat`, in ascending order. */
  readonly moves: Int16Array;
  moveCount = 0;
  /** The seat to move, from 1; 0 when the game is over. */
  seat = 1;
  /** Pieces placed since the start. */
  ply = 0;

  constructor(config: GameConfig) {
    this.config = config;
    this.cells = new Int8Array(config.board.cells);
    this.pieces = new Int16Array(config.players + 1);
    this.moves = new Int16Array(config.board.cells);
    this.restart();
  }

  /** Back to the start position; nothing is allocated. */
  restart(): void {
    this.cells.fill(0);
    this.pieces.fill(0);
    this.pieces[0] = this.cells.length - this.config.start.length;
    for (const [cell, seat] of this.config.start) {
      this.cells[cell] = seat;
      this.pieces[seat]!++;
    }
    this.ply = 0;
    this.settle(1);
  }

  /** Becomes the given board, with `first` next in turn; the placements counted are the pieces beyond the start's. */
  setUp(cells: ArrayLike<number>, first: number): void {
    this.cells.set(cells);
    this.pieces.fill(0);
    for (const owner of this.cells) this.pieces[owner]!++;
    this.ply = this.cells.length - this.pieces[0]! - this.config.start.length;
    this.settle(first);
  }

  /** Becomes a copy of another position of the same config. */
  copyFrom(other: Position): void {
    this.cells.set(other.cells);
    this.pieces.set(other.pieces);
    this.moves.set(other.moves.subarray(0, other.moveCount));
    this.moveCount = other.moveCount;
    this.seat = other.seat;
    this.ply = other.ply;
  }

  get isOver(): boolean {
    return this.seat === 0;
  }

  isLegal(cell: number): boolean {
    for (let index = 0; index < this.moveCount; index++) if (this.moves[index] === cell) return true;
    return false;
  }

  /**
   * The cells that a piece of the seat to move would turn, written to `into`.
   * @returns how many; 0 for an adjoining placement
   */
  turnedBy(cell: number, into: Int16Array): number {
    return bracketed(this.config, this.cells, cell, this.seat, into);
  }

  /**
   * Places a piece of the seat to move and hands the turn on.
   * @throws ILLEGAL_MOVE and changes nothing
   */
  play(cell: number): void {
    if (!this.isLegal(cell)) throw illegalMove(this.config.name, cell, this.seat, this.ply);
    const seat = this.seat;
    const turned = bracketed(this.config, this.cells, cell, seat, TURNED);
    for (let index = 0; index < turned; index++) {
      const at = TURNED[index]!;
      this.pieces[this.cells[at]!]!--;
      this.cells[at] = seat;
    }
    this.cells[cell] = seat;
    this.pieces[seat]! += turned + 1;
    this.pieces[0]!--;
    this.ply++;
    this.settle((seat % this.config.players) + 1);
  }

  /** Finds who moves: the seat next in turn, or the first after it that can; nobody: the game is over. */
  private settle(first: number): void {
    const { players } = this.config;
    for (let turn = 0; turn < players; turn++) {
      const seat = ((first - 1 + turn) % players) + 1;
      this.moveCount = this.bracketingMoves(seat);
      if (this.moveCount === 0 && this.config.withoutBracket === 'adjoin') this.moveCount = this.adjoiningMoves();
      if (this.moveCount > 0) {
        this.seat = seat;
        return;
      }
    }
    this.seat = 0;
  }

  private bracketingMoves(seat: number): number {
    const { directions, rayStart, rayCells } = this.config.board;
    const { cells, moves } = this;
    let count = 0;
    for (let cell = 0; cell < cells.length; cell++) {
      if (cells[cell] !== 0) continue;
      const firstRay = cell * directions;
      search: for (let ray = firstRay; ray < firstRay + directions; ray++) {
        const start = rayStart[ray]!;
        const end = rayStart[ray + 1]!;
        for (let at = start; at < end; at++) {
          const owner = cells[rayCells[at]!]!;
          if (owner === 0) break;
          if (owner === seat) {
            if (at === start) break; // our own piece right beside: nothing between
            moves[count++] = cell;
            break search;
          }
        }
      }
    }
    return count;
  }

  private adjoiningMoves(): number {
    const { directions, rayStart, rayCells } = this.config.board;
    const { cells, moves } = this;
    let count = 0;
    for (let cell = 0; cell < cells.length; cell++) {
      if (cells[cell] !== 0) continue;
      const firstRay = cell * directions;
      for (let ray = firstRay; ray < firstRay + directions; ray++) {
        const start = rayStart[ray]!;
        if (start < rayStart[ray + 1]! && cells[rayCells[start]!] !== 0) {
          moves[count++] = cell;
          break;
        }
      }
    }
    return count;
  }
}

/** More than any placement on the largest board can turn; shared, since nothing here is re-entered. */
const TURNED = new Int16Array(512);

const bracketed = (config: GameConfig, cells: Int8Array, cell: number, seat: number, into: Int16Array): number => {
  const { directions, rayStart, rayCells } = config.board;
  const firstRay = cell * directions;
  let count = 0;
  for (let ray = firstRay; ray < firstRay + directions; ray++) {
    const start = rayStart[ray]!;
    const end = rayStart[ray + 1]!;
    for (let at = start; at < end; at++) {
      const owner = cells[rayCells[at]!]!;
      if (owner === 0) break;
      if (owner === seat) {
        for (let between = start; between < at; between++) into[count++] = rayCells[between]!;
        break;
      }
    }
  }
  return count;
};

/**
 * What each seat got out of a finished (or cut) game: the share of other seats it beat, a tie counting half.
 * With two players 1 is a win, 0.5 a draw, 0 a loss; the sum over seats is always players / 2.
 */
export const standings = (pieces: ArrayLike<number>, players: number): number[] =>
  Array.from({ length: players }, (_, own) => {
    let beaten = 0;
    for (let other = 0; other < players; other++) {
      if (other === own) continue;
      const difference = pieces[own + 1]! - pieces[other + 1]!;
      beaten += difference > 0 ? 1 : difference === 0 ? 0.5 : 0;
    }
    return beaten / (players - 1);
  });

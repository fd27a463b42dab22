/**
 * How well the last moves of a game were chosen, by an engine that cannot be wrong: it plays the rest out in every way.
 *
 * A model as the judge of its own games agrees with itself; an exhaustive search agrees with nobody, needs no model and no
 * tuning, and with few cells left it is cheap (5 cells: at most 120 endings). With two players its verdict is the truth.
 * With more, each seat takes what is best for itself and the first of equals (max^n), which is what a seat can hope for.
 */
import { gameConfig, type GameConfig } from './configs.ts';
import { Position, standings } from './position.ts';
import { replayChecked, type GameRecord } from './record.ts';

/** Positions with at most this many empty cells are judged. */
export const ENDGAME_CELLS = 5;

export interface Agreement {
  /** Moves of the judged positions where another choice would have led to a worse end. */
  readonly decisions: number;
  /** Of these, the moves after which the best end was still to be had. */
  readonly agreed: number;
}

/** Plays out what is left; keeps one position for each move ahead. */
export class EndgameEngine {
  readonly #players: number;
  readonly #ahead: readonly Position[];

  constructor(config: GameConfig) {
    this.#players = config.players;
    this.#ahead = Array.from({ length: ENDGAME_CELLS }, () => new Position(config));
  }

  /**
   * What each legal move is worth to the seat that moves, in the order of `position.moves`: the share of other seats it beats
   * when everybody plays on as well as can be, a tie counting half. The position has at most ENDGAME_CELLS empty cells.
   */
  valuesOf(position: Position): number[] {
    const seat = position.seat - 1;
    return Array.from({ length: position.moveCount }, (_, index) => this.#after(position, index, 0)[seat]!);
  }

  /** Standings after a move and the best play that follows. */
  #after(position: Position, move: number, depth: number): number[] {
    const next = this.#ahead[depth]!;
    next.copyFrom(position);
    next.play(position.moves[move]!);
    if (next.isOver) return standings(next.pieces, this.#players);
    const seat = next.seat - 1;
    let best = this.#after(next, 0, depth + 1);
    for (let index = 1; index < next.moveCount; index++) {
      const other = this.#after(next, index, depth + 1);
      if (other[seat]! > best[seat]!) best = other;
    }
    return best;
  }
}

/**
 * Replays a game and judges its last moves.
 * @throws GAME_RECORD_INVALID as `replayChecked` does
 */
export const agreementOf = (record: GameRecord): Agreement => {
  const config = gameConfig(record.config);
  const engine = new EndgameEngine(config);
  const position = new Position(config);
  const before = new Position(config);
  let decisions = 0;
  let agreed = 0;
  replayChecked(position, record, (_cells, _seat, cell) => {
    if (before.pieces[0]! <= ENDGAME_CELLS && before.moveCount > 1) {
      const values = engine.valuesOf(before);
      const best = Math.max(...values);
      if (best > Math.min(...values)) {
        decisions++;
        if (values[before.moves.subarray(0, before.moveCount).indexOf(cell)] === best) agreed++;
      }
    }
    if (position.pieces[0]! <= ENDGAME_CELLS) before.copyFrom(position);
  });
  return { decisions, agreed };
};

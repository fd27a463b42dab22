/**
 * TD(λ) over recorded games: each board's value is pulled towards what the game says about it later.
 *
 * For one seat, the boards it left behind after its own placements form a chain that ends in the result. The target of a
 * board is the λ-return along that chain: (1-λ) of what the network thinks of the seat's next board plus λ of that board's
 * own target, and the result at the end. Chains per seat make passes, and three or four players, need no rule of their
 * own. Boards are never shuffled over games: the targets of a game are computed with the weights at hand, right before it
 * is learned, so they follow the network as it improves within a pass; λ = 0.95 learned markedly less from the same games
 * (0.75 against 0.92 of 1 versus random after 4,000), since one result then stands for sixty boards of noisy moves.
 *
 * The rules do not care how the board lies on the table, so each visit of a game sees it under one of the board's
 * symmetries, drawn anew: the same games teach eight (square) or twelve (hex) times as many boards.
 */
import type { Random } from '../../seams/random.ts';
import type { ValueNetwork } from '../agents/value-network.ts';
import type { GameConfig } from '../game/configs.ts';
import { gamesOf, rowsOf, type Samples } from './samples.ts';

export interface LearningRates {
  /** Step of gradient descent per board, at the start of a run. */
  readonly rate: number;
  /** 0: believe the next estimate; 1: believe only the result. */
  readonly lambda: number;
}

/** Measured in bench/learning-curve.ts. */
export const DEFAULT_RATES: LearningRates = { rate: 0.01, lambda: 0.8 };

/**
 * The step when a share of the run is done: it falls evenly to a tenth. With a constant one, what a run ends with depends
 * too much on its last games: the largest fall of a candidate behind its champion was 0.16 against random in 30 runs, and
 * is 0.10 in 60 this way (bench/learning-curve.ts).
 */
export const rateAfter = (rate: number, shareDone: number): number => rate * (1 - 0.9 * shareDone);

/** One pass over a set of games: which game when, and how its board lies. Made from a seed, so a pass can be resumed. */
export interface Pass {
  readonly order: Int32Array;
  readonly symmetries: Uint8Array;
}

/** The draws of one pass over one shard: a stream of its own, so that a run can be taken up at any pass. */
export const passRandom = (random: Random, epoch: number, shard: number): Random => random.fork(`${epoch}/${shard}`);

/** Draws a pass over `games` games: a fair shuffle (Fisher–Yates) and a symmetry for each visit. */
export const drawPass = (config: GameConfig, games: number, random: Random): Pass => {
  const order = Int32Array.from({ length: games }, (_, game) => game);
  for (let last = games - 1; last > 0; last--) {
    const other = random.integer(last + 1);
    const moved = order[last]!;
    order[last] = order[other]!;
    order[other] = moved;
  }
  return { order, symmetries: Uint8Array.from(order, () => random.integer(config.board.symmetries.length)) };
};

/** Teaches a network games of one config, one game at a time. */
export class Learner {
  private readonly network: ValueNetwork;
  private readonly rates: LearningRates;
  private readonly config: GameConfig;
  /** The boards of the game in hand, laid as the symmetry says. */
  private readonly laid: Int8Array;
  private readonly rows: readonly Int8Array[];
  private readonly targets: Float64Array;
  /** Per seat: the value and the target of its next board, while walking backwards. */
  private readonly nextValue: Float64Array;
  private readonly nextTarget: Float64Array;

  constructor(network: ValueNetwork, config: GameConfig, rates: LearningRates = DEFAULT_RATES) {
    const { cells } = config.board;
    this.network = network;
    this.rates = rates;
    this.config = config;
    this.laid = new Int8Array(cells * cells);
    this.rows = Array.from({ length: cells }, (_, row) => this.laid.subarray(row * cells, (row + 1) * cells));
    this.targets = new Float64Array(cells);
    this.nextValue = new Float64Array(config.players + 1);
    this.nextTarget = new Float64Array(config.players + 1);
  }

  /**
   * One gradient step per board of a game.
   * @param shareDone  how much of the run is done, 0 to 1; decides how large the steps are
   * @returns the sum of squared errors before the steps; divide by the boards of the game for its mean
   */
  learnGame(samples: Samples, game: number, symmetry: number, shareDone: number = 0): number {
    const { network, laid, rows, targets, nextValue, nextTarget } = this;
    const { lambda } = this.rates;
    const rate = rateAfter(this.rates.rate, shareDone);
    const { cells, symmetries } = this.config.board;
    const { players } = this.config;
    const first = samples.gameStart[game]!;
    const boards = samples.gameStart[game + 1]! - first;

    const goesTo = symmetries[symmetry]!;
    for (let row = 0; row < boards; row++) {
      const from = (first + row) * cells;
      const to = row * cells;
      for (let cell = 0; cell < cells; cell++) laid[to + goesTo[cell]!] = samples.boards[from + cell]!;
    }

    for (let seat = 1; seat <= players; seat++)
      nextValue[seat] = nextTarget[seat] = samples.results[game * players + seat - 1]!;
    for (let row = boards - 1; row >= 0; row--) {
      const seat = samples.seats[first + row]!;
      const target = (1 - lambda) * nextValue[seat]! + lambda * nextTarget[seat]!;
      targets[row] = target;
      nextTarget[seat] = target;
      nextValue[seat] = network.value(rows[row]!, seat);
    }

    let squares = 0;
    for (let row = 0; row < boards; row++) {
      const error = network.learn(rows[row]!, samples.seats[first + row]!, targets[row]!, rate);
      squares += error * error;
    }
    return squares;
  }
}

export interface TrainingRun {
  readonly config: GameConfig;
  /** Oldest first. */
  readonly shards: readonly Samples[];
  /** Passes over all of them. */
  readonly epochs: number;
  readonly rates: LearningRates;
  readonly random: Random;
}

/** A whole run at once, as the training program does it with interruptions. @returns the mean squared error per pass */
export const train = (network: ValueNetwork, { config, shards, epochs, rates, random }: TrainingRun): number[] => {
  const learner = new Learner(network, config, rates);
  const rows = shards.reduce((sum, shard) => sum + rowsOf(shard), 0);
  let learned = 0;
  return Array.from({ length: epochs }, (_, epoch) => {
    let squares = 0;
    shards.forEach((samples, shard) => {
      const { order, symmetries } = drawPass(config, gamesOf(samples), passRandom(random, epoch, shard));
      order.forEach((game, index) => {
        squares += learner.learnGame(samples, game, symmetries[index]!, learned / (rows * epochs));
        learned += samples.gameStart[game + 1]! - samples.gameStart[game]!;
      });
    });
    return squares / rows;
  });
};

/**
 * A value network small enough to train on a laptop core: one hidden layer over the pieces of a board, one number out.
 *
 * The input is seen from one seat: a feature is "this cell holds a piece of the seat k turns after mine". So one network
 * plays every seat, and of the features at most one per cell is on. That makes the first layer a sum of columns, and two
 * boards that differ in a few pieces differ in a few columns: looking one move ahead costs the turned pieces, not the
 * board. The output is in (-1, 1): the expected standing of the viewing seat after its own placement, from losing to
 * every other seat (-1) to beating all (1).
 *
 * Hidden units are rectified (leaky, so that none dies for good); the output is tanh.
 */
import type { Random } from '../../seams/random.ts';
import type { GameConfig } from '../game/configs.ts';

/**
 * Chosen: on the 64-cell game 64 units took 2.5 times as long to train and scored no higher after 6,000 games; 16 did as
 * well, but leave little room for three and four players.
 */
export const HIDDEN_UNITS = 32;

/** Slope of a hidden unit below zero. Chosen small: the kink is what makes the layer more than linear. */
const LEAK = 0.05;

export interface NetworkShape {
  readonly config: string;
  readonly cells: number;
  readonly players: number;
  readonly hidden: number;
}

export const shapeFor = (config: GameConfig, hidden: number = HIDDEN_UNITS): NetworkShape => ({
  config: config.name,
  cells: config.board.cells,
  players: config.players,
  hidden,
});

/** Number of weights of a shape: first layer, its biases, second layer, its bias. */
export const weightCount = (shape: NetworkShape): number =>
  shape.cells * shape.players * shape.hidden + shape.hidden + shape.hidden + 1;

export class ValueNetwork {
  readonly shape: NetworkShape;
  /** All weights in one array, as they are stored: columns of the first layer, biases, second layer, its bias. */
  readonly weights: Float32Array;
  private readonly biases: number;
  private readonly outputs: number;
  /** Sums of the hidden layer for the board last seen, and for one looked at from there. */
  private readonly sums: Float32Array;
  private readonly peeked: Float32Array;

  constructor(shape: NetworkShape, weights: Float32Array = new Float32Array(weightCount(shape))) {
    this.shape = shape;
    this.weights = weights;
    this.biases = shape.cells * shape.players * shape.hidden;
    this.outputs = this.biases + shape.hidden;
    this.sums = new Float32Array(shape.hidden);
    this.peeked = new Float32Array(shape.hidden);
  }

  /** A network that knows nothing: small weights, so that the output starts near 0 and tanh is steep there. */
  static untrained(shape: NetworkShape, random: Random): ValueNetwork {
    const network = new ValueNetwork(shape);
    const first = 1 / Math.sqrt(shape.cells);
    const second = 1 / Math.sqrt(shape.hidden);
    for (let index = 0; index < network.biases; index++) network.weights[index] = (2 * random.uniform() - 1) * first;
    for (let unit = 0; unit < shape.hidden; unit++)
      network.weights[network.outputs + unit] = (2 * random.uniform() - 1) * second;
    return network;
  }

  copy(): ValueNetwork {
    return new ValueNetwork(this.shape, this.weights.slice());
  }

  /** The value of a board for `seat`. */
  value(cells: ArrayLike<number>, seat: number): number {
    this.view(cells, seat);
    return this.outputOf(this.sums);
  }

  /** Sums the hidden layer of a board as `seat` sees it; `valueAfter` then looks one move ahead from there. */
  view(cells: ArrayLike<number>, seat: number): void {
    const { hidden, cells: count, players } = this.shape;
    const { weights, sums } = this;
    for (let unit = 0; unit < hidden; unit++) sums[unit] = weights[this.biases + unit]!;
    for (let cell = 0; cell < count; cell++) {
      const owner = cells[cell]!;
      if (owner === 0) continue;
      const column = ((owner >= seat ? owner - seat : owner - seat + players) * count + cell) * hidden;
      for (let unit = 0; unit < hidden; unit++) sums[unit]! += weights[column + unit]!;
    }
  }

  /** The value, for the viewing seat, of the viewed board after it placed on `cell` and turned `turned[0..count)`. */
  valueAfter(cells: ArrayLike<number>, seat: number, cell: number, turned: Int16Array, count: number): number {
    const { hidden, cells: planeSize, players } = this.shape;
    const { weights, sums, peeked } = this;
    const placed = cell * hidden; // plane 0: the viewing seat's own pieces
    for (let unit = 0; unit < hidden; unit++) peeked[unit] = sums[unit]! + weights[placed + unit]!;
    for (let index = 0; index < count; index++) {
      const at = turned[index]!;
      const owner = cells[at]!;
      const mine = at * hidden;
      const theirs = ((owner >= seat ? owner - seat : owner - seat + players) * planeSize + at) * hidden;
      for (let unit = 0; unit < hidden; unit++) peeked[unit]! += weights[mine + unit]! - weights[theirs + unit]!;
    }
    return this.outputOf(peeked);
  }

  private outputOf(sums: Float32Array): number {
    const { hidden } = this.shape;
    const { weights, outputs } = this;
    let total = weights[outputs + hidden]!;
    for (let unit = 0; unit < hidden; unit++) {
      const sum = sums[unit]!;
      total += weights[outputs + unit]! * (sum > 0 ? sum : LEAK * sum);
    }
    return Math.tanh(total);
  }

  /**
   * One step of gradient descent on ½ (target − value)² for one board.
   * @returns the error (target − value) before the step
   */
  learn(cells: ArrayLike<number>, seat: number, target: number, rate: number): number {
    const { hidden, cells: count, players } = this.shape;
    const { weights, sums, peeked: slopes, biases, outputs } = this;
    const value = this.value(cells, seat);
    const error = target - value;
    const step = rate * error * (1 - value * value);
    for (let unit = 0; unit < hidden; unit++) {
      const sum = sums[unit]!;
      const slope = sum > 0 ? 1 : LEAK;
      slopes[unit] = step * weights[outputs + unit]! * slope; // with the weight before its own step
      weights[outputs + unit]! += step * sum * slope;
      weights[biases + unit]! += slopes[unit]!;
    }
    weights[outputs + hidden]! += step;
    for (let cell = 0; cell < count; cell++) {
      const owner = cells[cell]!;
      if (owner === 0) continue;
      const column = ((owner >= seat ? owner - seat : owner - seat + players) * count + cell) * hidden;
      for (let unit = 0; unit < hidden; unit++) weights[column + unit]! += slopes[unit]!;
    }
    return error;
  }
}

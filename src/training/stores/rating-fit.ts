/**
 * Ratings from results: the strengths under which what happened was most likely, and how sure that is.
 *
 * Bradley and Terry's model on the Elo scale: an agent rated 400 above another scores ten to one against it. A weak prior
 * (an agent is 1000 ± 500 until games say otherwise) keeps an undefeated agent finite and the problem strictly concave, so
 * there is one answer and Newton's method finds it from anywhere. The errors are read off the same curvature: the inverse
 * of the Hessian is the covariance. Adding Elo points game by game was refused: it depends on the order in which rows
 * arrive, and a row that arrives twice would count twice.
 *
 * The Hessian is dense and costs n³/3, so at most `fitted` agents are moved in one fit; the rest are taken at the rating
 * they have, which for models of long ago is as well known as it will ever be.
 * @see Bradley and Terry 1952; Hunter 2004, "MM algorithms for generalized Bradley-Terry models".
 */

/** What was played between two agents; `scoreA` is wins plus half the draws of a. */
export interface PairResult {
  readonly a: string;
  readonly b: string;
  readonly games: number;
  readonly scoreA: number;
}

export interface FittedRating {
  readonly rating: number;
  /** Half of the 95 % interval. */
  readonly error: number;
}

/** The agent that means 1000, by definition and without error. */
export const ANCHOR = 'random';
export const ANCHOR_RATING = 1000;
/** Standard deviation of the prior, Elo points; wide against what a tournament of these agents spans (about 600). */
const PRIOR = 500;
/** d/dx of 10^(x/400), per point. */
const SCALE = Math.LN10 / 400;
/** Longest Newton step, points: the likelihood is flat far out, and a full step there would overshoot. */
const STEP_MAX = 300;
const SETTLED = 0.01;
const ROUNDS_MAX = 60;
const Z_95 = 1.96;

/** Cholesky factor of a symmetric positive definite matrix, in place in the lower triangle; row-major. O(n³/3). */
const factorise = (matrix: Float64Array, n: number): void => {
  for (let row = 0; row < n; row++) {
    for (let column = 0; column <= row; column++) {
      let sum = matrix[row * n + column]!;
      for (let k = 0; k < column; k++) sum -= matrix[row * n + k]! * matrix[column * n + k]!;
      matrix[row * n + column] = row === column ? Math.sqrt(sum) : sum / matrix[column * n + column]!;
    }
  }
};

/** Solves L y = v, in place. */
const forward = (factor: Float64Array, n: number, vector: Float64Array, from = 0): void => {
  for (let row = from; row < n; row++) {
    let sum = vector[row]!;
    for (let k = from; k < row; k++) sum -= factor[row * n + k]! * vector[k]!;
    vector[row] = sum / factor[row * n + row]!;
  }
};

/** Solves Lᵀ x = y, in place. */
const backward = (factor: Float64Array, n: number, vector: Float64Array): void => {
  for (let row = n - 1; row >= 0; row--) {
    let sum = vector[row]!;
    for (let k = row + 1; k < n; k++) sum -= factor[k * n + row]! * vector[k]!;
    vector[row] = sum / factor[row * n + row]!;
  }
};

/**
 * @param agents   those to be fitted; the anchor among them is left where it is
 * @param results  pairs in which at least one of them played
 * @param known    ratings of agents that are not fitted, and starting points of those that are
 */
export const fitRatings = (
  agents: readonly string[],
  results: readonly PairResult[],
  known: ReadonlyMap<string, number>,
): Map<string, FittedRating> => {
  const free = agents.filter((agent) => agent !== ANCHOR);
  const n = free.length;
  const indexOf = new Map(free.map((agent, index) => [agent, index]));
  const ratings = Float64Array.from(free, (agent) => known.get(agent) ?? ANCHOR_RATING);
  const ratingOf = (agent: string): number => {
    if (agent === ANCHOR) return ANCHOR_RATING;
    const index = indexOf.get(agent);
    return index === undefined ? (known.get(agent) ?? ANCHOR_RATING) : ratings[index]!;
  };

  const hessian = new Float64Array(n * n);
  const slope = new Float64Array(n);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    hessian.fill(0);
    for (let index = 0; index < n; index++) {
      slope[index] = (ANCHOR_RATING - ratings[index]!) / PRIOR ** 2;
      hessian[index * n + index] = 1 / PRIOR ** 2;
    }
    for (const { a, b, games, scoreA } of results) {
      const i = indexOf.get(a);
      const j = indexOf.get(b);
      const expected = 1 / (1 + Math.exp(SCALE * (ratingOf(b) - ratingOf(a))));
      const surprise = SCALE * (scoreA - games * expected);
      const curvature = SCALE ** 2 * games * expected * (1 - expected);
      if (i !== undefined) {
        slope[i] = slope[i]! + surprise;
        hessian[i * n + i] = hessian[i * n + i]! + curvature;
      }
      if (j !== undefined) {
        slope[j] = slope[j]! - surprise;
        hessian[j * n + j] = hessian[j * n + j]! + curvature;
      }
      if (i !== undefined && j !== undefined) {
        hessian[i * n + j] = hessian[i * n + j]! - curvature;
        hessian[j * n + i] = hessian[j * n + i]! - curvature;
      }
    }
    factorise(hessian, n);
    forward(hessian, n, slope);
    backward(hessian, n, slope);
    const longest = slope.reduce((most, step) => Math.max(most, Math.abs(step)), 0);
    if (longest < SETTLED) break;
    const damping = Math.min(1, STEP_MAX / longest);
    for (let index = 0; index < n; index++) ratings[index] = ratings[index]! + damping * slope[index]!;
  }

  // The factor of the last round is at the answer, within SETTLED points. Variance i = |L⁻¹ eᵢ|².
  const fitted = new Map<string, FittedRating>();
  const unit = new Float64Array(n);
  for (let index = 0; index < n; index++) {
    unit.fill(0);
    unit[index] = 1;
    forward(hessian, n, unit, index);
    const variance = unit.reduce((sum, value) => sum + value * value, 0);
    fitted.set(free[index]!, { rating: ratings[index]!, error: Z_95 * Math.sqrt(variance) });
  }
  if (agents.includes(ANCHOR)) fitted.set(ANCHOR, { rating: ANCHOR_RATING, error: 0 });
  return fitted;
};

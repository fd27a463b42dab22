/**
 * Agents at one table, and two agents over many games: one number with its uncertainty.
 *
 * Seats are dealt round and round (A, B, A, B …) and shifted by one each game, so after a round everyone has sat where
 * everyone else did. All games of a round share an opening of random moves: without one, two agents that play without
 * chance would repeat a single game for ever and report certainty. An agent's score in a game is its pieces, averaged
 * over its seats and rounded; the higher score wins, so 0.5 over a match means equal strength for two, three and four
 * players alike.
 *
 * The interval is Wilson's; ties vary less than coin flips, so it errs to the wide side. Stopping early looks at it again
 * and again, which spends some of its confidence: between equals, looking after every round from the 20th to the 200th
 * game at 1.96 standard errors sees a difference that is not there in 28 % of matches, at 2.576 in 8 %, at 3 in 2 %. So a
 * question is decided against a mark well away from where equals would be, or with a wider interval.
 */
import { OrchestratorError } from '../../errors.ts';
import type { Random } from '../../seams/random.ts';
import type { GameConfig } from '../game/configs.ts';
import { Position } from '../game/position.ts';
import { randomAgent, type Agent } from './agent.ts';

/** Random moves that open a round: 4 make 244 openings of the 64-cell game, and decide nothing yet. */
export const OPENING_MOVES = 4;

/** Games of any number of agents at one table, in rounds of shifted seats. */
export class Table {
  private readonly agents: readonly Agent[];
  private readonly random: Random;
  private readonly position: Position;
  private readonly openingMoves: number;
  private readonly opening: number[] = [];
  private played = 0;

  /** @param agents  at most as many as the config has seats; the order is the order of the scores */
  constructor(config: GameConfig, agents: readonly Agent[], random: Random, openingMoves: number = OPENING_MOVES) {
    this.agents = agents;
    this.random = random;
    this.position = new Position(config);
    this.openingMoves = openingMoves;
  }

  /** Plays the next game. @returns the score of each agent, in their order */
  play(): number[] {
    const { agents, position, random, opening } = this;
    const shift = this.played++ % agents.length;
    if (shift === 0) this.drawOpening();
    position.restart();
    for (const cell of opening) position.play(cell);
    const agentAt = (seat: number): number => (seat - 1 + shift) % agents.length;
    while (!position.isOver) position.play(agents[agentAt(position.seat)]!.choose(position, random));

    const pieces = agents.map(() => 0);
    const seats = agents.map(() => 0);
    for (let seat = 1; seat < position.pieces.length; seat++) {
      pieces[agentAt(seat)]! += position.pieces[seat]!;
      seats[agentAt(seat)]!++;
    }
    return pieces.map((sum, agent) => Math.round(sum / seats[agent]!));
  }

  private drawOpening(): void {
    const { position, opening, random } = this;
    opening.length = 0;
    position.restart();
    while (opening.length < this.openingMoves && !position.isOver) {
      const cell = randomAgent.choose(position, random);
      opening.push(cell);
      position.play(cell);
    }
  }
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Standard errors of a 95 % interval. */
const Z_95 = 1.96;

/**
 * The interval in which a true rate lies, given `score` (0..1) over `games` > 0.
 * @see Wilson 1927; unlike the usual ± it stays inside [0, 1] and is honest near the ends.
 */
export const wilsonInterval = (score: number, games: number, z: number = Z_95): Interval => {
  const square = (z * z) / games;
  const centre = (score + square / 2) / (1 + square);
  const half = (z / (1 + square)) * Math.sqrt((score * (1 - score)) / games + square / (4 * games));
  return { low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
};

export interface MatchResult extends Interval {
  readonly games: number;
  readonly wins: number;
  readonly draws: number;
  readonly losses: number;
  /** Wins and half the draws, over games. */
  readonly score: number;
  /** True when `decide` was settled before all games were played. */
  readonly stoppedEarly: boolean;
}

export interface MatchOptions {
  readonly config: GameConfig;
  readonly a: Agent;
  readonly b: Agent;
  /** The most games to play. */
  readonly games: number;
  readonly random: Random;
  readonly openingMoves?: number;
  /** Stop at the end of a round once the interval excludes `at`, after at least `afterGames`. Absent: play all. */
  readonly decide?: { readonly at: number; readonly afterGames: number };
  /** Half width of the interval in standard errors; default 1.96. */
  readonly z?: number;
}

const matchEmpty = (a: string, b: string, config: string): OrchestratorError =>
  new OrchestratorError('MATCH_EMPTY', {
    message: `cannot rate ${a} against ${b} on ${config}: 0 games were played`,
    remedy: 'play at least one game; a result out of nothing must never reach a rating',
    context: { a, b, config },
  });

/** A match of A against B that is played a game at a time, so that its owner can do other things in between. */
export class Match {
  private readonly options: MatchOptions;
  private readonly table: Table;
  private wins = 0;
  private draws = 0;
  private losses = 0;

  constructor(options: MatchOptions) {
    this.options = options;
    this.table = new Table(options.config, [options.a, options.b], options.random, options.openingMoves);
  }

  get games(): number {
    return this.wins + this.draws + this.losses;
  }

  /** Nothing is left to play: all games were, or the question is decided. */
  get isOver(): boolean {
    return this.games >= this.options.games || this.isDecided;
  }

  /** Plays one game. @returns the scores of A and B */
  play(): readonly [number, number] {
    const [a, b] = this.table.play() as [number, number];
    if (a > b) this.wins++;
    else if (a === b) this.draws++;
    else this.losses++;
    return [a, b];
  }

  /** @throws MATCH_EMPTY before the first game */
  result(): MatchResult {
    const { games, wins, draws, losses } = this;
    if (games === 0) throw matchEmpty(this.options.a.name, this.options.b.name, this.options.config.name);
    const score = (wins + draws / 2) / games;
    const stoppedEarly = games < this.options.games && this.isDecided;
    return { games, wins, draws, losses, score, ...wilsonInterval(score, games, this.options.z), stoppedEarly };
  }

  private get isDecided(): boolean {
    const { decide, z } = this.options;
    const { games } = this;
    if (decide === undefined || games === 0 || games % 2 !== 0 || games < decide.afterGames) return false;
    const { low, high } = wilsonInterval((this.wins + this.draws / 2) / games, games, z);
    return low > decide.at || high < decide.at;
  }
}

/** Plays a match to its end. @throws MATCH_EMPTY when no game is asked for */
export const playMatch = (options: MatchOptions): MatchResult => {
  const match = new Match(options);
  while (!match.isOver) match.play();
  return match.result();
};

/**
 * Whoever chooses a move: random, greedy, a value network, or any of them with a share of random moves for exploration.
 *
 * An agent keeps nothing between moves, so one agent may sit on several seats of one game and play many games.
 */
import type { Random } from '../../seams/random.ts';
import { gameConfig } from '../game/configs.ts';
import { Position } from '../game/position.ts';
import type { ValueNetwork } from './value-network.ts';

export interface Agent {
  readonly name: string;
  /** One of the legal moves of a position that is not over; the position is left as it was. */
  choose(position: Position, random: Random): number;
}

/** Any legal move, each as likely. */
export const randomAgent: Agent = {
  name: 'random',
  choose: (position, random) => position.moves[random.integer(position.moveCount)]!,
};

/** The move that turns most pieces, ties by lot. What "most pieces win" suggests, and a trap for the middle game. */
export const greedyAgent: Agent = {
  name: 'greedy',
  choose(position, random) {
    let best = -1;
    let bestTurned = -1;
    let ties = 0;
    for (let index = 0; index < position.moveCount; index++) {
      const cell = position.moves[index]!;
      const turned = position.turnedBy(cell, TURNED);
      if (turned > bestTurned) {
        best = cell;
        bestTurned = turned;
        ties = 1;
      } else if (turned === bestTurned && random.integer(++ties) === 0) best = cell;
    }
    return best;
  },
};

/** More than any placement on the largest board can turn. */
const TURNED = new Int16Array(512);

/** The move whose board the network values most for the mover; the first of equals. */
export const valueAgent = (network: ValueNetwork, name: string): Agent => ({
  name,
  choose(position) {
    const { cells, seat, moves, moveCount } = position;
    network.view(cells, seat);
    let best = moves[0]!;
    let bestValue = -Infinity;
    for (let index = 0; index < moveCount; index++) {
      const cell = moves[index]!;
      const value = network.valueAfter(cells, seat, cell, TURNED, position.turnedBy(cell, TURNED));
      if (value > bestValue) {
        best = cell;
        bestValue = value;
      }
    }
    return best;
  },
});

/**
 * Looks two moves ahead: the mover's placement and the answer the next seat would choose by the same network. It beats the
 * same network at one move in about 80 of 100 games (64 cells, two players), for a list of legal moves and a choice more
 * per move considered; so it suits games that matter, not self-play by the thousand.
 */
export const searchAgent = (network: ValueNetwork, name: string): Agent => {
  const { shape } = network;
  const answer = valueAgent(network, name);
  const ahead = new Position(gameConfig(shape.config));
  /** The end of a game needs no estimate: (share of seats beaten) scaled as the network's output. */
  const valueFor = (position: Position, seat: number): number => {
    if (!position.isOver) return network.value(position.cells, seat);
    let sum = 0;
    for (let other = 1; other <= shape.players; other++)
      if (other !== seat) sum += Math.sign(position.pieces[seat]! - position.pieces[other]!);
    return sum / (shape.players - 1);
  };
  return {
    name,
    choose(position, random) {
      const { seat, moveCount } = position;
      let best = position.moves[0]!;
      let bestValue = -Infinity;
      for (let index = 0; index < moveCount; index++) {
        const cell = position.moves[index]!;
        ahead.copyFrom(position);
        ahead.play(cell);
        let value: number;
        if (ahead.isOver || ahead.seat === seat) value = valueFor(ahead, seat);
        else {
          const answerer = ahead.seat;
          ahead.play(answer.choose(ahead, random));
          // The network knows a board best from the seat that just moved; with two players one value is the other's loss.
          value = shape.players === 2 && !ahead.isOver ? -network.value(ahead.cells, answerer) : valueFor(ahead, seat);
        }
        if (value > bestValue) {
          best = cell;
          bestValue = value;
        }
      }
      return best;
    },
  };
};

/** Plays as `agent`, but a share of its moves is random, so that self-play sees boards its own taste would never reach. */
export const exploring = (agent: Agent, share: number): Agent => ({
  name: agent.name,
  choose: (position, random) => (random.uniform() < share ? randomAgent : agent).choose(position, random),
});

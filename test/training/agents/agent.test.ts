import { expect } from 'chai';
import { seededRandom } from '../../../src/seams/random.ts';
import {
  exploring,
  greedyAgent,
  randomAgent,
  searchAgent,
  valueAgent,
  type Agent,
} from '../../../src/training/agents/agent.ts';
import { shapeFor, ValueNetwork } from '../../../src/training/agents/value-network.ts';
import { GAME_CONFIGS, gameConfig } from '../../../src/training/game/configs.ts';
import { Position } from '../../../src/training/game/position.ts';
import { drawn } from '../game/drawn.ts';

const networkFor = (config: string): ValueNetwork =>
  ValueNetwork.untrained(shapeFor(gameConfig(config)), seededRandom(1));

describe('Agents', () => {
  it('greedy turns most, and draws lots among equals', () => {
    const most = drawn('square6_2p', '122... ...... 12.... ...... ...... ......', 1);
    expect(greedyAgent.choose(most, seededRandom(1))).to.equal(3);
    const equal = drawn('square6_2p', '12.... ...... 12.... ...... 12.... ......', 1);
    const random = seededRandom(1);
    const chosen = new Set(Array.from({ length: 60 }, () => greedyAgent.choose(equal, random)));
    expect([...chosen].sort((a, b) => a - b)).to.deep.equal([2, 14, 26]);
  });

  it('random takes every legal move in time', () => {
    const position = new Position(gameConfig('square8_2p'));
    const random = seededRandom(1);
    expect(new Set(Array.from({ length: 100 }, () => randomAgent.choose(position, random))).size).to.equal(4);
  });

  it('a value network takes the board it values most', () => {
    const position = new Position(gameConfig('square8_2p'));
    const network = networkFor('square8_2p');
    const ahead = new Position(position.config);
    const values = [...position.moves.subarray(0, position.moveCount)].map((cell) => {
      ahead.copyFrom(position);
      ahead.play(cell);
      return network.value(ahead.cells, 1);
    });
    const best = position.moves[values.indexOf(Math.max(...values))];
    expect(valueAgent(network, 'v').choose(position, seededRandom(1))).to.equal(best);
  });

  it('search takes the move that ends the game with a win, whatever the network thinks of it', () => {
    // Seat 1 may take the far corner (and lose by count later) or turn the last pieces of seat 2 and win at once.
    const drawing = '.2211. ...... ...... ...... ...... ......';
    for (let seed = 0; seed < 20; seed++) {
      const network = ValueNetwork.untrained(shapeFor(gameConfig('square6_2p')), seededRandom(seed));
      const position = drawn('square6_2p', drawing, 1);
      expect(searchAgent(network, 's').choose(position, seededRandom(1))).to.equal(0);
    }
  });

  it('exploration of 0 is the agent, of 1 is chance', () => {
    const position = new Position(gameConfig('square8_2p'));
    const stubborn: Agent = { name: 'stubborn', choose: ({ moves }) => moves[0]! };
    const random = seededRandom(1);
    const chosen = (share: number): number =>
      new Set(Array.from({ length: 100 }, () => exploring(stubborn, share).choose(position, random))).size;
    expect(chosen(0)).to.equal(1);
    expect(chosen(1)).to.equal(4);
    expect(exploring(stubborn, 1).name).to.equal('stubborn');
  });

  it('every agent leaves the position as it was and plays legally to the end, on every small config', () => {
    for (const config of GAME_CONFIGS.filter(({ board }) => board.cells < 100)) {
      const network = networkFor(config.name);
      const agents = [randomAgent, greedyAgent, valueAgent(network, 'v'), searchAgent(network, 's')];
      const random = seededRandom(2);
      const position = new Position(config);
      while (!position.isOver) {
        const before = `${position.cells.join()} ${position.seat} ${position.moveCount}`;
        const cell = agents[position.ply % agents.length]!.choose(position, random);
        expect(`${position.cells.join()} ${position.seat} ${position.moveCount}`).to.equal(before);
        position.play(cell);
      }
    }
  });
});

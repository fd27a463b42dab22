import { expect } from 'chai';
import { seededRandom } from '../../../src/seams/random.ts';
import { randomAgent } from '../../../src/training/agents/agent.ts';
import { shapeFor, ValueNetwork, weightCount } from '../../../src/training/agents/value-network.ts';
import { GAME_CONFIGS, gameConfig } from '../../../src/training/game/configs.ts';
import { Position } from '../../../src/training/game/position.ts';

const midGame = (config: string, plies: number, seed: number): Position => {
  const position = new Position(gameConfig(config));
  const random = seededRandom(seed);
  for (let ply = 0; ply < plies; ply++) position.play(randomAgent.choose(position, random));
  return position;
};

const network = (config: string, seed: number, hidden?: number): ValueNetwork =>
  ValueNetwork.untrained(shapeFor(gameConfig(config), hidden), seededRandom(seed));

describe('ValueNetwork', () => {
  it('a step of learning follows the gradient of the squared error, weight by weight', () => {
    const { cells } = midGame('square6_2p', 12, 4);
    const seat = 2;
    const target = 0.7;
    const before = network('square6_2p', 5, 8);
    const lossWith = (weights: Float32Array): number =>
      (target - new ValueNetwork(before.shape, weights).value(cells, seat)) ** 2 / 2;

    const after = before.copy();
    const error = after.learn(cells, seat, target, 1);
    expect(error).to.be.closeTo(target - before.value(cells, seat), 1e-6);

    const reach = 1e-2;
    let moved = 0;
    for (let index = 0; index < before.weights.length; index++) {
      const nudged = (by: number): number => {
        const weights = before.weights.slice();
        weights[index]! += by;
        return lossWith(weights);
      };
      const slope = (nudged(reach) - nudged(-reach)) / (2 * reach);
      const step = after.weights[index]! - before.weights[index]!;
      expect(step, `weight ${index}`).to.be.closeTo(-slope, 2e-3);
      if (Math.abs(step) > 1e-2) moved++;
    }
    expect(moved).to.be.greaterThan(50); // the comparison was not of zeros
  });

  for (const config of GAME_CONFIGS.filter(({ board }) => board.cells < 100)) {
    it(`on ${config.name}, looking one move ahead gives the value of the board after that move`, () => {
      const position = midGame(config.name, 20, 7);
      const ahead = new Position(config);
      const net = network(config.name, 8);
      const turned = new Int16Array(config.board.cells);
      const { seat } = position;
      net.view(position.cells, seat);
      for (let index = 0; index < position.moveCount; index++) {
        const cell = position.moves[index]!;
        const guessed = net.valueAfter(position.cells, seat, cell, turned, position.turnedBy(cell, turned));
        ahead.copyFrom(position);
        ahead.play(cell);
        expect(guessed).to.be.closeTo(new ValueNetwork(net.shape, net.weights).value(ahead.cells, seat), 1e-5);
      }
    });
  }

  it('a board looks the same to every seat when the colours are shifted with it', () => {
    const net = network('hex8_4p', 3);
    const { cells } = midGame('hex8_4p', 25, 2);
    const shifted = cells.map((owner) => (owner === 0 ? 0 : (owner % 4) + 1));
    expect(net.value(shifted, 4)).to.be.closeTo(net.value(cells, 3), 1e-6);
    expect(net.value(shifted, 1)).to.be.closeTo(net.value(cells, 4), 1e-6);
    expect(net.value(cells, 1)).to.not.be.closeTo(net.value(cells, 2), 1e-6);
  });

  it('repeating one board moves its value to the target', () => {
    const net = network('square8_2p', 1);
    const { cells } = midGame('square8_2p', 30, 1);
    for (let step = 0; step < 200; step++) net.learn(cells, 1, -0.5, 0.05);
    expect(net.value(cells, 1)).to.be.closeTo(-0.5, 0.01);
  });

  it('holds as many weights as its shape says, and a copy learns alone', () => {
    const net = network('square8_3p', 1);
    expect(net.weights.length)
      .to.equal(weightCount(net.shape))
      .and.to.equal(64 * 3 * 32 + 32 + 32 + 1);
    const before = net.weights.slice();
    net.copy().learn(midGame('square8_3p', 5, 1).cells, 1, 1, 0.1);
    expect(net.weights).to.deep.equal(before);
  });
});

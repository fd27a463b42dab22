import { expect } from 'chai';
import { seededRandom } from '../../../src/seams/random.ts';
import { randomAgent, valueAgent } from '../../../src/training/agents/agent.ts';
import { playMatch } from '../../../src/training/agents/match.ts';
import { shapeFor, ValueNetwork } from '../../../src/training/agents/value-network.ts';
import { gameConfig, type GameConfig } from '../../../src/training/game/configs.ts';
import { samplesFrom, type Samples } from '../../../src/training/learning/samples.ts';
import { SelfPlay } from '../../../src/training/learning/self-play.ts';
import {
  DEFAULT_RATES,
  drawPass,
  Learner,
  rateAfter,
  train,
} from '../../../src/training/learning/temporal-difference.ts';

const randomGames = (config: GameConfig, games: number, seed: number): Samples => {
  const play = new SelfPlay(config);
  const random = seededRandom(seed);
  return samplesFrom(
    config,
    Array.from({ length: games }, () => play.play(() => randomAgent, random)),
  );
};

/** A network that learns nothing but writes down what it was told to learn. */
class Recorder extends ValueNetwork {
  readonly told: { readonly board: string; readonly seat: number; readonly target: number }[] = [];
  override learn(cells: ArrayLike<number>, seat: number, target: number): number {
    this.told.push({ board: Array.from(cells).join(''), seat, target });
    return target - this.value(cells, seat);
  }
}

const recorderOf = (config: GameConfig): Recorder => {
  const { weights, shape } = ValueNetwork.untrained(shapeFor(config), seededRandom(4));
  return new Recorder(shape, weights);
};

describe('TD(λ)', () => {
  for (const name of ['square6_2p', 'hex8_3p']) {
    const config = gameConfig(name);
    const samples = randomGames(config, 3, 1);

    it(`on ${name}, λ = 1 tells every board the result of its seat`, () => {
      const network = recorderOf(config);
      new Learner(network, config, { rate: 0.01, lambda: 1 }).learnGame(samples, 1, 0);
      expect(network.told).to.have.length(samples.gameStart[2]! - samples.gameStart[1]!);
      for (const { seat, target } of network.told) expect(target).to.equal(samples.results[config.players + seat - 1]);
    });

    it(`on ${name}, λ = 0 tells every board the value of the next board of its seat, and the last ones the result`, () => {
      const network = recorderOf(config);
      new Learner(network, config, { rate: 0.01, lambda: 0 }).learnGame(samples, 2, 0);
      network.told.forEach(({ seat, target }, row) => {
        const next = network.told.slice(row + 1).find((later) => later.seat === seat);
        const expected =
          next === undefined
            ? samples.results[2 * config.players + seat - 1]!
            : network.value([...next.board].map(Number), seat);
        expect(target).to.be.closeTo(expected, 1e-6);
      });
    });

    it(`on ${name}, λ between mixes the next value with the next target`, () => {
      const network = recorderOf(config);
      new Learner(network, config, { rate: 0.01, lambda: 0.8 }).learnGame(samples, 0, 0);
      const { told } = network;
      const row = told.length - config.players - 3;
      const next = told.slice(row + 1).find(({ seat }) => seat === told[row]!.seat)!;
      const value = network.value([...next.board].map(Number), next.seat);
      expect(told[row]!.target).to.be.closeTo(0.2 * value + 0.8 * next.target, 1e-6);
    });
  }

  it('a symmetry lays every board of the game the same way', () => {
    const config = gameConfig('square6_2p');
    const samples = randomGames(config, 1, 1);
    const plain = recorderOf(config);
    const turned = recorderOf(config);
    new Learner(plain, config, { rate: 0.01, lambda: 1 }).learnGame(samples, 0, 0);
    new Learner(turned, config, { rate: 0.01, lambda: 1 }).learnGame(samples, 0, 3);
    const symmetry = config.board.symmetries[3]!;
    plain.told.forEach(({ board }, row) => {
      [...board].forEach((owner, cell) => expect(turned.told[row]!.board[symmetry[cell]!]).to.equal(owner));
    });
  });

  it('a pass visits every game once, in an order and with symmetries that follow the seed', () => {
    const config = gameConfig('hex8_2p');
    const { order, symmetries } = drawPass(config, 500, seededRandom(1));
    expect([...order].sort((a, b) => a - b)).to.deep.equal([...Array(500).keys()]);
    expect(new Set(symmetries).size).to.equal(12);
    expect(drawPass(config, 500, seededRandom(1)).order).to.deep.equal(order);
    expect(drawPass(config, 500, seededRandom(2)).order).to.not.deep.equal(order);
  });

  it('steps grow smaller along a run, to a tenth', () => {
    expect(rateAfter(0.01, 0)).to.equal(0.01);
    expect(rateAfter(0.01, 0.5)).to.be.closeTo(0.0055, 1e-9);
    expect(rateAfter(0.01, 1)).to.be.closeTo(0.001, 1e-9);
    const config = gameConfig('square6_2p');
    const samples = randomGames(config, 1, 1);
    const moved = (shareDone: number): number => {
      const network = ValueNetwork.untrained(shapeFor(config), seededRandom(1));
      const before = network.weights.slice();
      new Learner(network, config, { rate: 1e-4, lambda: 1 }).learnGame(samples, 0, 0, shareDone);
      return network.weights.reduce((sum, weight, index) => sum + Math.abs(weight - before[index]!), 0);
    };
    expect(moved(1) / moved(0)).to.be.closeTo(0.1, 0.01);
  });

  it('more passes over the same games predict them better', () => {
    const config = gameConfig('square6_2p');
    const samples = randomGames(config, 10, 2);
    const network = ValueNetwork.untrained(shapeFor(config), seededRandom(1));
    const rates = { rate: 0.01, lambda: 1 };
    const errors = train(network, { config, shards: [samples], epochs: 60, rates, random: seededRandom(3) });
    expect(errors).to.have.length(60);
    expect(errors.at(-1)).to.be.lessThan(0.7 * errors[0]!);
  });

  it('a network that learned from 250 random games beats chance, which it did not before', () => {
    const config = gameConfig('square6_2p');
    const network = ValueNetwork.untrained(shapeFor(config), seededRandom(2));
    const score = (): number =>
      playMatch({ config, a: valueAgent(network, 'v'), b: randomAgent, games: 200, random: seededRandom(9) }).score;
    const before = score();
    const shards = [randomGames(config, 100, 5), randomGames(config, 150, 6)];
    train(network, { config, shards, epochs: 1, rates: DEFAULT_RATES, random: seededRandom(6) });
    const after = score();
    expect(before).to.be.lessThan(0.62);
    expect(after).to.be.greaterThan(0.68);
  });
});

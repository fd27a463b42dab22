import { expect } from 'chai';
import { OrchestratorError } from '../../../src/errors.ts';
import { seededRandom } from '../../../src/seams/random.ts';
import { greedyAgent, randomAgent, type Agent } from '../../../src/training/agents/agent.ts';
import { Match, playMatch, Table, wilsonInterval } from '../../../src/training/agents/match.ts';
import { gameConfig } from '../../../src/training/game/configs.ts';

const square6 = gameConfig('square6_2p');

/** Takes the first legal move: loses to most, and plays without chance. */
const first: Agent = { name: 'first', choose: ({ moves }) => moves[0]! };

describe('Matches', () => {
  it('the interval is the one in the tables', () => {
    const near = ({ low, high }: { low: number; high: number }): string => `${low.toFixed(3)} ${high.toFixed(3)}`;
    expect(near(wilsonInterval(0.5, 100))).to.equal('0.404 0.596');
    expect(near(wilsonInterval(0, 10))).to.equal('0.000 0.278');
    expect(near(wilsonInterval(1, 10))).to.equal('0.722 1.000');
    expect(near(wilsonInterval(0.9, 200, 2.576))).to.equal('0.832 0.942');
  });

  it('no games are no result', () => {
    const asked = { config: square6, a: first, b: randomAgent, games: 0, random: seededRandom(1) };
    expect(() => playMatch(asked)).to.throw(
      OrchestratorError,
      'cannot rate first against random on square6_2p: 0 games',
    );
    expect(() => new Match({ ...asked, games: 5 }).result()).to.throw(OrchestratorError);
  });

  it('an agent against itself scores about a half, on every number of players', () => {
    for (const config of ['square6_2p', 'hex8_3p', 'square8_4p']) {
      const { low, high, games, wins, draws, losses } = playMatch({
        ...{ config: gameConfig(config), a: randomAgent, b: randomAgent, games: 300, random: seededRandom(1) },
        z: 3,
      });
      expect(games)
        .to.equal(300)
        .and.to.equal(wins + draws + losses);
      expect(low, config).to.be.lessThan(0.5);
      expect(high, config).to.be.greaterThan(0.5);
    }
  });

  it('two agents without chance play the same opening from both seats, and their scores mirror', () => {
    const table = new Table(square6, [first, { ...first, name: 'twin' }], seededRandom(3));
    for (let round = 0; round < 10; round++) {
      const [a, b] = table.play();
      expect(table.play()).to.deep.equal([b, a]);
    }
  });

  it('openings differ from round to round', () => {
    const table = new Table(square6, [first, { ...first, name: 'twin' }], seededRandom(3));
    const rounds = new Set(Array.from({ length: 20 }, () => [table.play(), table.play()].join('|')));
    expect(rounds.size).to.be.greaterThan(3);
  });

  it('three agents sit everywhere once a round; a score is an average over the seats of an agent', () => {
    const three = new Table(gameConfig('hex8_3p'), [randomAgent, greedyAgent, first], seededRandom(1));
    for (let game = 0; game < 3; game++) expect(three.play().reduce((sum, score) => sum + score)).to.equal(61);
    const two = new Table(gameConfig('square8_4p'), [randomAgent, greedyAgent], seededRandom(1));
    const [a, b] = two.play();
    expect(2 * (a! + b!)).to.be.closeTo(64, 2);
  });

  it('a question that is decided ends the match at the end of a round, not before the least games', () => {
    const options = { config: square6, a: greedyAgent, b: randomAgent, games: 400, random: seededRandom(1) };
    const whole = playMatch(options);
    expect(whole.score).to.be.greaterThan(0.55);
    const decided = playMatch({ ...options, random: seededRandom(1), decide: { at: 0.3, afterGames: 10 } });
    expect(decided.stoppedEarly).to.be.true;
    expect(decided.games).to.be.within(10, 398);
    expect(decided.games % 2).to.equal(0);
    expect(decided.low).to.be.greaterThan(0.3);
    const late = playMatch({ ...options, random: seededRandom(1), decide: { at: 0.3, afterGames: 201 } });
    expect(late.games).to.be.at.least(202);
  });

  it('a question on the edge is played out', () => {
    const match = playMatch({
      ...{ config: square6, a: randomAgent, b: randomAgent, games: 60, random: seededRandom(2) },
      decide: { at: 0.5, afterGames: 10 },
      z: 4,
    });
    expect(match).to.include({ games: 60, stoppedEarly: false });
  });

  it('the same seed plays the same match', () => {
    const play = (seed: number): object =>
      playMatch({ config: square6, a: greedyAgent, b: randomAgent, games: 50, random: seededRandom(seed) });
    expect(play(5)).to.deep.equal(play(5));
    expect(play(5)).to.not.deep.equal(play(6));
  });
});

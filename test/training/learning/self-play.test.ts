import { expect } from 'chai';
import { seededRandom } from '../../../src/seams/random.ts';
import { greedyAgent, randomAgent } from '../../../src/training/agents/agent.ts';
import { GAME_CONFIGS, gameConfig } from '../../../src/training/game/configs.ts';
import { faultOf } from '../../support/record-fault.ts';
import { SelfPlay } from '../../../src/training/learning/self-play.ts';

describe('Self-play', () => {
  it('records of every config are sound', () => {
    for (const config of GAME_CONFIGS) {
      const record = new SelfPlay(config).play(() => randomAgent, seededRandom(1));
      expect(faultOf(record), config.name).to.equal(null);
    }
  });

  it('the same seed plays the same games, and one board serves many', () => {
    const play = (seed: number): string[] => {
      const table = new SelfPlay(gameConfig('hex8_4p'));
      const random = seededRandom(seed);
      return Array.from({ length: 5 }, () => table.play(() => randomAgent, random).moves);
    };
    expect(play(1)).to.deep.equal(play(1));
    expect(new Set([...play(1), ...play(2)]).size).to.equal(10);
  });

  it('each seat is asked for its own agent', () => {
    const asked = new Set<number>();
    new SelfPlay(gameConfig('square8_3p')).play((seat) => {
      asked.add(seat);
      return seat === 2 ? greedyAgent : randomAgent;
    }, seededRandom(1));
    expect([...asked].sort()).to.deep.equal([1, 2, 3]);
  });
});

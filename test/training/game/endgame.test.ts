import { expect } from 'chai';
import { OrchestratorError } from '../../../src/errors.ts';
import { seededRandom } from '../../../src/seams/random.ts';
import { randomAgent, type Agent } from '../../../src/training/agents/agent.ts';
import { GAME_CONFIGS, gameConfig } from '../../../src/training/game/configs.ts';
import { agreementOf, ENDGAME_CELLS, EndgameEngine } from '../../../src/training/game/endgame.ts';
import { Position, standings } from '../../../src/training/game/position.ts';
import { SelfPlay } from '../../../src/training/learning/self-play.ts';

const SMALL = GAME_CONFIGS.filter(({ board }) => board.cells < 100);

/** Every ending that can be reached, each seat choosing for itself: as plain as it can be said, for comparison. */
const bestEnd = (position: Position): number[] => {
  const { config } = position;
  if (position.isOver) return standings(position.pieces, config.players);
  const ends = [...position.moves.subarray(0, position.moveCount)].map((cell) => {
    const next = new Position(config);
    next.copyFrom(position);
    next.play(cell);
    return bestEnd(next);
  });
  const seat = position.seat - 1;
  return ends.reduce((best, end) => (end[seat]! > best[seat]! ? end : best));
};

/** Positions near the end of random games. */
const endgames = (count: number): Position[] => {
  const random = seededRandom(11);
  const found: Position[] = [];
  for (let game = 0; game < count; game++) {
    const position = new Position(SMALL[game % SMALL.length]!);
    while (!position.isOver && position.pieces[0]! > ENDGAME_CELLS) position.play(randomAgent.choose(position, random));
    if (!position.isOver) found.push(position);
  }
  return found;
};

/** Plays at random, and its last moves by `last`. */
const withLastMoves = (last: (position: Position, values: readonly number[]) => number): Agent => ({
  name: 'test',
  choose: (position, random) =>
    position.pieces[0]! > ENDGAME_CELLS
      ? randomAgent.choose(position, random)
      : position.moves[last(position, new EndgameEngine(position.config).valuesOf(position))]!,
});

describe('The endgame engine', () => {
  it('values each move by the best end that it leaves, and the position is as it was', () => {
    const positions = endgames(100);
    expect(positions.length).to.be.greaterThan(50);
    for (const position of positions) {
      const cells = [...position.cells];
      const values = new EndgameEngine(position.config).valuesOf(position);
      expect(values).to.have.length(position.moveCount);
      expect(Math.max(...values)).to.equal(bestEnd(position)[position.seat - 1]);
      expect([...position.cells]).to.deep.equal(cells);
    }
  });

  for (const { name } of SMALL)
    it(`of ${name} agrees with one who plays by it, in every decision, and with one who plays against it in none`, () => {
      const play = (agent: Agent): { decisions: number; agreed: number } => {
        const random = seededRandom(3);
        const total = { decisions: 0, agreed: 0 };
        for (let game = 0; game < 20; game++) {
          const { moves, pieces } = new SelfPlay(gameConfig(name)).play(() => agent, random);
          const { decisions, agreed } = agreementOf({ config: name, moves, pieces: [...pieces] });
          total.decisions += decisions;
          total.agreed += agreed;
        }
        return total;
      };
      const best = play(withLastMoves((_position, values) => values.indexOf(Math.max(...values))));
      const worst = play(withLastMoves((_position, values) => values.indexOf(Math.min(...values))));
      expect(best.agreed).to.equal(best.decisions);
      expect(worst.agreed).to.equal(0);
      // Two players on the small hexagon are stuck before it comes to that.
      if (name !== 'hex8_2p') expect(worst.decisions).to.be.greaterThan(0);
    });

  it('refuses a game that cannot be replayed', () => {
    const { moves, pieces } = new SelfPlay(gameConfig('square6_2p')).play(() => randomAgent, seededRandom(1));
    expect(() => agreementOf({ config: 'square6_2p', moves: moves.slice(0, -1), pieces: [...pieces] })).to.throw(
      OrchestratorError,
      'it stops after',
    );
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { OrchestratorError } from '../../../src/errors.ts';
import { seededRandom } from '../../../src/seams/random.ts';
import { randomAgent } from '../../../src/training/agents/agent.ts';
import { GAME_CONFIGS, gameConfig } from '../../../src/training/game/configs.ts';
import { Position } from '../../../src/training/game/position.ts';
import {
  decodeMoves,
  encodeMoves,
  placementsOf,
  replay,
  winnerOf,
  type GameRecord,
} from '../../../src/training/game/record.ts';
import { SelfPlay } from '../../../src/training/learning/self-play.ts';
import { faultOf } from '../../support/record-fault.ts';

const randomGame = (config: string, seed: number): GameRecord =>
  new SelfPlay(gameConfig(config)).play(() => randomAgent, seededRandom(seed));

describe('Game records', () => {
  it('moves survive being written and read, on every board', () => {
    fc.assert(
      fc.property(fc.constantFrom(...GAME_CONFIGS), fc.array(fc.nat(468), { maxLength: 80 }), (config, wanted) => {
        const cells = wanted.map((cell) => cell % config.board.cells);
        expect([...decodeMoves(config, encodeMoves(config, cells))]).to.deep.equal(cells);
      }),
    );
  });

  it('a move takes one character up to 64 cells and two above', () => {
    expect(encodeMoves(gameConfig('square8_2p'), [0, 63])).to.equal('A_');
    expect(encodeMoves(gameConfig('square19_2p'), [0, 360])).to.equal('AAFo');
    expect(placementsOf(gameConfig('square19_2p'), 'AAFo')).to.equal(2);
  });

  it('a replay meets the boards of the live game, placement by placement', () => {
    const small = GAME_CONFIGS.filter(({ board }) => board.cells < 100);
    fc.assert(
      fc.property(fc.constantFrom(...small), fc.nat(), (config, seed) => {
        const random = seededRandom(seed);
        const live = new Position(config);
        const played: number[] = [];
        const boards: string[] = [];
        while (!live.isOver) {
          const cell = randomAgent.choose(live, random);
          const { seat } = live;
          live.play(cell);
          played.push(cell);
          boards.push(`${seat} ${live.cells.join('')}`);
        }
        const seen: string[] = [];
        replay(new Position(config), encodeMoves(config, played), (cells, seat) =>
          seen.push(`${seat} ${cells.join('')}`),
        );
        expect(seen).to.deep.equal(boards);
      }),
      { numRuns: 30 },
    );
  });

  it('a sound record has no fault; one changed move, piece count or length has', () => {
    const game = randomGame('square8_2p', 3);
    expect(faultOf(game)).to.equal(null);
    expect(faultOf({ ...game, moves: game.moves.slice(0, -1) })).to.include('unfinished');
    expect(faultOf({ ...game, moves: `${game.moves}A` })).to.include('not legal');
    expect(faultOf({ ...game, moves: `A${game.moves.slice(1)}` })).to.include('move 0 (cell 0, seat 1) is not legal');
    expect(faultOf({ ...game, moves: `${game.moves}!` })).to.include('digits');
    expect(faultOf({ ...game, pieces: [game.pieces[0]! + 1, game.pieces[1]! - 1] })).to.include('it claims');
    expect(faultOf({ ...game, pieces: [...game.pieces, 0] })).to.include('it claims');
    expect(faultOf({ ...game, config: 'square9_2p' })).to.include('no such game config');
  });

  it('a cell off the board and half a move are refused', () => {
    expect(() => decodeMoves(gameConfig('square6_2p'), '_')).to.throw(OrchestratorError, 'off the board');
    expect(() => decodeMoves(gameConfig('square19_2p'), 'AAF')).to.throw(OrchestratorError, 'whole moves');
  });

  it('the winner is the seat with most pieces, nobody when they are shared', () => {
    expect(winnerOf([10, 54])).to.equal(1);
    expect(winnerOf([32, 32])).to.equal(null);
    expect(winnerOf([5, 20, 20, 19])).to.equal(null);
    expect(winnerOf([25, 20, 0, 19])).to.equal(0);
  });
});

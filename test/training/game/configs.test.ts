import { expect } from 'chai';
import fc from 'fast-check';
import { OrchestratorError } from '../../../src/errors.ts';
import { seededRandom } from '../../../src/seams/random.ts';
import { GAME_CONFIGS, gameConfig } from '../../../src/training/game/configs.ts';
import { Position, standings } from '../../../src/training/game/position.ts';
import { configName } from '../../../src/training/programs/protocol.ts';

describe('Game configs', () => {
  it('include the twelve of upstream, each under a name the protocol takes', () => {
    const names = GAME_CONFIGS.map(({ name }) => name);
    for (const board of ['hex8', 'square8', 'square19', 'hexagonal'])
      for (const players of [2, 3, 4]) expect(names).to.include(`${board}_${players}p`);
    for (const name of names) expect(configName.safeParse(name).success, name).to.be.true;
  });

  it('an unknown name is refused with the names that exist', () => {
    expect(() => gameConfig('square9_2p'))
      .to.throw(OrchestratorError, 'cannot play "square9_2p"')
      .with.property('remedy')
      .that.includes('square8_2p');
  });

  for (const config of GAME_CONFIGS) {
    it(`${config.name} starts with as many pieces for every seat, seat 1 to move, and a move to make`, () => {
      const position = new Position(config);
      const counts = [...position.pieces.subarray(1)];
      expect(new Set(counts).size).to.equal(1);
      expect(counts[0]).to.be.greaterThan(0);
      expect(position.seat).to.equal(1);
      expect(position.moveCount).to.be.greaterThan(0);
    });
  }

  it('every game ends; each turn adds one piece, and turned pieces change hands but never vanish', () => {
    const small = GAME_CONFIGS.filter(({ board }) => board.cells < 100);
    fc.assert(
      fc.property(fc.constantFrom(...small), fc.nat(), (config, seed) => {
        const random = seededRandom(seed);
        const position = new Position(config);
        const turned = new Int16Array(config.board.cells);
        while (!position.isOver) {
          const before = position.pieces.slice();
          const { seat, ply } = position;
          const cell = position.moves[random.integer(position.moveCount)]!;
          const gained = position.turnedBy(cell, turned) + 1;
          position.play(cell);
          expect(position.ply).to.equal(ply + 1);
          expect(position.pieces[0]).to.equal(before[0]! - 1);
          expect(position.pieces[seat]).to.equal(before[seat]! + gained);
          expect(position.pieces.reduce((sum, count) => sum + count)).to.equal(config.board.cells);
          expect(position.ply).to.be.at.most(config.board.cells);
        }
        const counted = config.board.cells - position.cells.filter((owner) => owner === 0).length;
        expect(position.pieces.subarray(1).reduce((sum, count) => sum + count)).to.equal(counted);
        if (config.withoutBracket === 'adjoin') expect(position.pieces[0]).to.equal(0);
      }),
      { numRuns: 60 },
    );
  });

  it('a game on the largest boards ends too', () => {
    for (const config of GAME_CONFIGS.filter(({ board }) => board.cells > 100)) {
      const random = seededRandom(1);
      const position = new Position(config);
      while (!position.isOver) position.play(position.moves[random.integer(position.moveCount)]!);
      expect(position.ply).to.be.greaterThan(config.board.cells / 2);
    }
  });

  it('standings share the sum: what one seat gains, others lose', () => {
    expect(standings([0, 40, 24], 2)).to.deep.equal([1, 0]);
    expect(standings([0, 32, 32], 2)).to.deep.equal([0.5, 0.5]);
    expect(standings([0, 30, 20, 20], 3)).to.deep.equal([1, 0.25, 0.25]);
    expect(standings([0, 10, 30, 5, 19], 4)).to.deep.equal([1 / 3, 1, 0, 2 / 3]);
  });
});

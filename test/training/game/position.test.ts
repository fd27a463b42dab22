import { expect } from 'chai';
import { OrchestratorError } from '../../../src/errors.ts';
import { gameConfig } from '../../../src/training/game/configs.ts';
import { Position } from '../../../src/training/game/position.ts';
import { drawingOf, drawn, marked, movesOf } from './drawn.ts';

describe('Position', () => {
  it('the classic opening allows the four classic moves', () => {
    const opening = `
      ........
      ........
      ...*....
      ..*21...
      ...12*..
      ....*...
      ........
      ........`;
    const position = new Position(gameConfig('square8_2p'));
    expect(movesOf(position)).to.deep.equal(marked(opening));
    expect(drawingOf(position, 8)).to.equal(opening.replaceAll('*', '.').replace(/^ +/gm, '').trim());
  });

  it('a placement turns every bracketed run in every direction, and no run that is open or touches the edge', () => {
    const position = drawn(
      'square8_2p',
      `
      1..1..1.
      .2.2.2..
      ..222...
      122.2222
      ..222...
      .2.2.2..
      2..1..2.
      ........`,
      1,
    );
    position.play(27);
    // East and the two lower diagonals reach no piece of seat 1: they stay.
    expect(drawingOf(position, 8)).to.equal(
      `
      1..1..1.
      .1.1.1..
      ..111...
      11112222
      ..212...
      .2.1.2..
      2..1..2.
      ........`
        .replace(/^ +/gm, '')
        .trim(),
    );
    expect(position.pieces[1]).to.equal(16);
  });

  it('with more than two players a run of several opponents is bracketed as one', () => {
    const position = drawn(
      'square8_4p',
      `
      ........
      ........
      ........
      1234*...
      ........
      ........
      ........
      ........`,
      1,
    );
    expect(movesOf(position)).to.deep.equal([28]);
    position.play(28);
    expect([...position.cells.subarray(24, 29)]).to.deep.equal([1, 1, 1, 1, 1]);
  });

  it('on a hexagon a run is bracketed along its three lines', () => {
    const drawing = `
          1....
         .2....
        ..2....
       ...2....
      .122*2211
       ...2....
        ..1....
         ......
          .....`;
    const position = drawn('hex8_2p', drawing, 1);
    const [cell] = marked(drawing);
    const turned = new Int16Array(61);
    const cells = turned.subarray(0, position.turnedBy(cell!, turned));
    const byCoordinate = [...cells].map((at) => position.config.board.coordinates[at]!.join());
    expect(byCoordinate).to.have.members(['-1,0', '-2,0', '1,0', '2,0', '0,-1', '0,-2', '0,-3', '-1,1']);
  });

  it('with two players a seat without a bracketing move is passed over', () => {
    const position = drawn(
      'square6_2p',
      `
      .21111
      ......
      ......
      ......
      ......
      ......`,
      2,
    );
    expect(position.seat).to.equal(1);
    expect(movesOf(position)).to.deep.equal([0]);
  });

  it('with two players the game is over when neither can bracket, even on an unfilled board', () => {
    const position = drawn(
      'square6_2p',
      `
      111...
      ......
      ......
      ......
      ......
      .....2`,
      1,
    );
    expect(position.isOver).to.be.true;
    expect(position.moveCount).to.equal(0);
  });

  it('with three players a seat without a bracketing move adjoins: any empty neighbour of any piece, turning nothing', () => {
    const drawing = `
      *1*.....
      ***.....
      ........
      ........
      ........
      ........
      ........
      ........`;
    const position = drawn('square8_3p', drawing, 2);
    expect(position.seat).to.equal(2);
    expect(movesOf(position)).to.deep.equal(marked(drawing));
    position.play(0);
    expect([...position.pieces.subarray(1)]).to.deep.equal([1, 1, 0]);
    expect(position.seat).to.equal(3);
  });

  it('with three players a seat that can bracket must: adjoining is not offered beside it', () => {
    const drawing = `
      12*.....
      ........
      ........
      ........
      ........
      ........
      ........
      ........`;
    expect(movesOf(drawn('square8_3p', drawing, 1))).to.deep.equal(marked(drawing));
  });

  it('an illegal placement is refused with cell, seat and ply, and changes nothing', () => {
    const position = new Position(gameConfig('square8_2p'));
    const before = drawingOf(position, 8);
    expect(() => position.play(0)).to.throw(OrchestratorError, 'cannot place seat 1 on cell 0 of square8_2p at ply 0');
    expect(() => position.play(27)).to.throw(OrchestratorError);
    expect(() => position.play(-1)).to.throw(OrchestratorError);
    expect(drawingOf(position, 8)).to.equal(before);
    expect(position.seat).to.equal(1);
  });

  it('a copy plays on without touching the original', () => {
    const original = new Position(gameConfig('hex8_3p'));
    const copy = new Position(gameConfig('hex8_3p'));
    original.play(original.moves[0]!);
    copy.copyFrom(original);
    expect(movesOf(copy)).to.deep.equal(movesOf(original));
    const before = [...original.cells];
    copy.play(copy.moves[0]!);
    expect([...original.cells]).to.deep.equal(before);
    expect(copy.ply).to.equal(original.ply + 1);
  });
});

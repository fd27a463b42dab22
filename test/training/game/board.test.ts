import { expect } from 'chai';
import { hexBoard, squareBoard, type Board } from '../../../src/training/game/board.ts';

const ray = (board: Board, cell: number, direction: number): number[] => {
  const index = cell * board.directions + direction;
  return [...board.rayCells.subarray(board.rayStart[index], board.rayStart[index + 1])];
};

/** All rays of a cell as sets of lines, direction forgotten: what a symmetry must keep. */
const linesFrom = (board: Board, cell: number, rename: (cell: number) => number): string[] =>
  Array.from({ length: board.directions }, (_, direction) => ray(board, cell, direction).map(rename).join(',')).sort();

describe('Boards', () => {
  const boards: readonly (readonly [string, Board, number, number, number])[] = [
    ['a square of 8', squareBoard(8), 64, 8, 8],
    ['a square of 19', squareBoard(19), 361, 8, 8],
    ['a hexagon of radius 4', hexBoard(4), 61, 6, 12],
    ['a hexagon of radius 12', hexBoard(12), 469, 6, 12],
  ];

  for (const [name, board, cells, directions, symmetries] of boards) {
    it(`${name} has its cells, directions and symmetries`, () => {
      expect(board.cells).to.equal(cells);
      expect(board.directions).to.equal(directions);
      expect(board.symmetries).to.have.length(symmetries);
      expect(new Set(board.symmetries.map((symmetry) => symmetry.join())).size).to.equal(symmetries);
    });

    it(`every symmetry of ${name} is a permutation that keeps all lines`, () => {
      for (const symmetry of board.symmetries) {
        expect([...symmetry].sort((a, b) => a - b)).to.deep.equal([...Array(cells).keys()]);
        for (const cell of [0, 1, Math.floor(cells / 2), cells - 3])
          expect(linesFrom(board, cell, (passed) => symmetry[passed]!)).to.deep.equal(
            linesFrom(board, symmetry[cell]!, (passed) => passed),
          );
      }
    });

    it(`a line of ${name} is walked back by another line`, () => {
      for (let cell = 0; cell < cells; cell++)
        for (let direction = 0; direction < directions; direction++) {
          const passed = ray(board, cell, direction);
          const end = passed.at(-1);
          if (end === undefined) continue;
          const opposite = ray(board, end, (direction + directions / 2) % directions);
          expect(opposite.slice(0, passed.length)).to.deep.equal([...passed.slice(0, -1).reverse(), cell]);
        }
    });
  }

  it('the first symmetry changes nothing', () => {
    for (const [, board] of boards) expect([...board.symmetries[0]!]).to.deep.equal([...Array(board.cells).keys()]);
  });
});

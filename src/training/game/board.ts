/**
 * Boards as flat arrays: a cell is a number, a ray is the cells passed when leaving a cell in one direction.
 *
 * Every rule of the game asks only "what lies along this line", so square and hexagonal boards differ in nothing but their
 * tables, and a move is found by walking a few numbers that lie side by side: no coordinates and no bounds checks in the
 * inner loop. The tables are built once per shape and shared by all games.
 */
export type BoardShape = 'square' | 'hex';

export interface Board {
  readonly shape: BoardShape;
  /** Side of a square, or radius of a hexagon (cells from the centre to a corner, the centre not counted). */
  readonly size: number;
  readonly cells: number;
  readonly directions: number;
  /** Ray of (cell, direction): `rayCells` from `rayStart[cell * directions + direction]` up to the next start. */
  readonly rayStart: Int32Array;
  readonly rayCells: Int16Array;
  /** Coordinates per cell: column and row of a square, axial q and r of a hexagon. For start positions and printing. */
  readonly coordinates: readonly (readonly [number, number])[];
  /** Each maps a cell to where it goes when the board is turned or mirrored; the first changes nothing. */
  readonly symmetries: readonly Int16Array[];
  /** The cell at a coordinate; -1 outside the board. */
  cellAt(x: number, y: number): number;
}

type Move2 = readonly [number, number];

const SQUARE_DIRECTIONS: readonly Move2[] = [
  [1, 0],
  [1, 1],
  [0, 1],
  [-1, 1],
  [-1, 0],
  [-1, -1],
  [0, -1],
  [1, -1],
];

/** In axial coordinates, counter-clockwise; the six neighbours of the centre in this order are its ring. */
export const HEX_DIRECTIONS: readonly Move2[] = [
  [1, 0],
  [1, -1],
  [0, -1],
  [-1, 0],
  [-1, 1],
  [0, 1],
];

const build = (
  shape: BoardShape,
  size: number,
  coordinates: readonly Move2[],
  directions: readonly Move2[],
  turns: readonly ((x: number, y: number) => Move2)[],
): Board => {
  const indexOf = new Map(coordinates.map(([x, y], cell) => [`${x},${y}`, cell]));
  const cellAt = (x: number, y: number): number => indexOf.get(`${x},${y}`) ?? -1;

  const rayStart = new Int32Array(coordinates.length * directions.length + 1);
  const passed: number[] = [];
  let ray = 0;
  for (const [x, y] of coordinates) {
    for (const [stepX, stepY] of directions) {
      for (let reach = 1; ; reach++) {
        const cell = cellAt(x + reach * stepX, y + reach * stepY);
        if (cell < 0) break;
        passed.push(cell);
      }
      rayStart[++ray] = passed.length;
    }
  }

  return {
    shape,
    size,
    cells: coordinates.length,
    directions: directions.length,
    rayStart,
    rayCells: Int16Array.from(passed),
    coordinates,
    symmetries: turns.map((turn) => Int16Array.from(coordinates, ([x, y]) => cellAt(...turn(x, y)))),
    cellAt,
  };
};

/** A square of `side` × `side` cells, row by row; eight directions, eight symmetries. */
export const squareBoard = (side: number): Board => {
  const last = side - 1;
  const coordinates = Array.from({ length: side * side }, (_, cell): Move2 => [cell % side, Math.floor(cell / side)]);
  return build('square', side, coordinates, SQUARE_DIRECTIONS, [
    (x, y) => [x, y],
    (x, y) => [last - y, x],
    (x, y) => [last - x, last - y],
    (x, y) => [y, last - x],
    (x, y) => [last - x, y],
    (x, y) => [x, last - y],
    (x, y) => [y, x],
    (x, y) => [last - y, last - x],
  ]);
};

/** A hexagon of `radius` rings around the centre: 3r(r+1)+1 cells; six directions, twelve symmetries. */
export const hexBoard = (radius: number): Board => {
  const coordinates: Move2[] = [];
  for (let r = -radius; r <= radius; r++)
    for (let q = -radius; q <= radius; q++) if (Math.abs(q + r) <= radius) coordinates.push([q, r]);
  // In cube coordinates (q, r, s = -q-r) the symmetries are the six orders of the axes, each with and without a sign.
  return build('hex', radius, coordinates, HEX_DIRECTIONS, [
    (q, r) => [q, r],
    (q, r) => [-r, q + r],
    (q, r) => [-q - r, q],
    (q, r) => [-q, -r],
    (q, r) => [r, -q - r],
    (q, r) => [q + r, -q],
    (q, r) => [r, q],
    (q, r) => [-q, q + r],
    (q, r) => [-q - r, r],
    (q, r) => [-r, -q],
    (q, r) => [q, -q - r],
    (q, r) => [q + r, -r],
  ]);
};

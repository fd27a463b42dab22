/** The floor as lines: figures, then a row each with its lines over time and its rating with error bars. */
import { piece, type Piece } from '../format/paint.ts';
import { fit, printable, width } from '../format/text.ts';
import type { FloorPanel, FloorRating, FloorRow } from './floor.ts';
import { grouped, rule, type Line } from './lines.ts';

/** Eight steps of a line over time, lowest first. */
const SPARKS = [...'▁▂▃▄▅▆▇█'];
const SPARK_CELLS_MAX = 32;
/** From this many columns on there is room to draw ratings on one scale. */
const BAR_COLUMNS = 150;
const RATING_TEXT_CELLS = 9;
const BAR_CELLS = 24;

/** Exactly as many values as there are cells, or fewer: more values than cells are averaged, so the whole course shows. */
const resampled = (values: readonly number[], cells: number): readonly number[] => {
  if (values.length <= cells) return values;
  return Array.from({ length: cells }, (_, cell) => {
    const from = Math.floor((cell * values.length) / cells);
    const part = values.slice(from, Math.max(from + 1, Math.floor(((cell + 1) * values.length) / cells)));
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
};

/** A course over time in at most `cells` cells, oldest first; 0 and 1 are the ends of the scale. */
export const sparkline = (values: readonly number[], cells: number): string =>
  resampled(values, cells)
    .map((value) => SPARKS[Math.min(SPARKS.length - 1, Math.max(0, Math.floor(value * SPARKS.length)))] ?? '')
    .join('');

/** Where a rating and its interval lie on a scale: `  ├──●──┤ `. */
export const ratingBar = (rating: FloorRating, low: number, high: number, cells: number): string => {
  const span = Math.max(high - low, Number.EPSILON);
  const at = (value: number): number =>
    Math.min(cells - 1, Math.max(0, Math.round(((value - low) / span) * (cells - 1))));
  const [from, point, to] = [at(rating.value - rating.error), at(rating.value), at(rating.value + rating.error)];
  return Array.from({ length: cells }, (_, cell) => {
    if (cell === point) return '●';
    if (cell === from) return '├';
    if (cell === to) return '┤';
    return cell > from && cell < to ? '─' : ' ';
  }).join('');
};

const widest = (texts: readonly string[]): number => texts.reduce((most, text) => Math.max(most, width(text)), 0);

/** @param rows  rows that may be shown, besides the title and the figures */
export const floorLines = (floor: FloorPanel, rows: number, cells: number): Line[] => {
  const shown = floor.rows.slice(0, rows);
  const hidden = floor.rows.length - shown.length;
  const rated = floor.rows.flatMap(({ rating }) => (rating === null ? [] : [rating]));
  const low = Math.min(...rated.map(({ value, error }) => value - error));
  const high = Math.max(...rated.map(({ value, error }) => value + error));
  const nameCells = widest(shown.map(({ name }) => printable(name)));
  const textCells = Math.min(widest(shown.map(({ text }) => printable(text))), Math.max(8, Math.floor(cells * 0.2)));
  const labelCells = widest(shown.flatMap(({ series }) => series.map(({ label }) => printable(label))));
  const seriesCount = shown.reduce((most, { series }) => Math.max(most, series.length), 0);
  const withBar = cells >= BAR_COLUMNS;
  const ratingCells = rated.length === 0 ? 0 : RATING_TEXT_CELLS + (withBar ? BAR_CELLS + 1 : 0);
  // A series takes a label, its line, a number of four cells and four spaces; the lines share what is left.
  const left = cells - nameCells - 2 - textCells - 2 - ratingCells;
  const sparkCells =
    seriesCount === 0 ? 0 : Math.min(SPARK_CELLS_MAX, Math.max(0, Math.floor(left / seriesCount) - labelCells - 8));

  const seriesPieces = ({ series }: FloorRow): Piece[] =>
    series.flatMap(({ label, values }) => [
      piece(`${fit(printable(label), labelCells)} `, 'dim'),
      piece(sparkCells === 0 ? '' : `${fit(sparkline(values, sparkCells), sparkCells)} `, 'good'),
      piece(`${fit(values.at(-1)?.toFixed(2) ?? '-', 4, 'right')}  `, 'strong'),
    ]);
  const ratingPieces = ({ rating }: FloorRow): Piece[] =>
    rating === null
      ? []
      : [
          piece(fit(`${Math.round(rating.value)}±${Math.round(rating.error)}`, RATING_TEXT_CELLS, 'right'), 'strong'),
          piece(withBar ? ` ${ratingBar(rating, low, high, BAR_CELLS)}` : '', 'dim'),
        ];
  return [
    rule(printable(floor.title), cells, hidden > 0 ? `${hidden} more` : ''),
    floor.figures.flatMap(({ label, value }) => [
      piece(`${printable(label)} `, 'dim'),
      piece(`${grouped(value)}   `, 'strong'),
    ]),
    ...shown.map((row): Line => [
      piece(`${fit(printable(row.name), nameCells)}  `),
      piece(`${fit(printable(row.text), textCells)}  `, 'dim'),
      ...seriesPieces(row),
      ...ratingPieces(row),
    ]),
  ];
};

/**
 * What the daemons work on, in a shape that knows no domain: a row of figures, and named rows with series and a rating.
 * A loop that has something to show puts it beside the daemons in its status as `floor`; the view shows it as a panel and
 * leaves it out when it is absent or not of this shape, since a loop may be newer or older than the program that watches it.
 */
export interface FloorFigure {
  /** `games`, `games/min`, `shards`, `models` … */
  readonly label: string;
  readonly value: number | string;
}

export interface FloorSeries {
  /** `vs random`, `vs greedy` … */
  readonly label: string;
  /** 0..1, oldest first; the last one is printed. */
  readonly values: readonly number[];
}

export interface FloorRating {
  readonly value: number;
  /** Half of the interval, in the same unit. */
  readonly error: number;
}

export interface FloorRow {
  /** `square8_2p`. */
  readonly name: string;
  /** What is current there, in a few words: the champion and its age. */
  readonly text: string;
  readonly series: readonly FloorSeries[];
  readonly rating: FloorRating | null;
}

export interface FloorPanel {
  readonly title: string;
  readonly figures: readonly FloorFigure[];
  readonly rows: readonly FloorRow[];
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const listOf = (value: unknown): readonly Readonly<Record<string, unknown>>[] =>
  Array.isArray(value) ? value.filter(isRecord) : [];

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

const seriesOf = (value: Readonly<Record<string, unknown>>): FloorSeries => ({
  label: textOf(value['label']),
  values: Array.isArray(value['values']) ? value['values'].filter((one) => Number.isFinite(one)) : [],
});

const ratingOf = (value: unknown): FloorRating | null =>
  isRecord(value) && Number.isFinite(value['value'])
    ? { value: Number(value['value']), error: Number.isFinite(value['error']) ? Number(value['error']) : 0 }
    : null;

/** The panel of a status report, or null when it has none. */
export const floorOf = (status: object | null): FloorPanel | null => {
  const floor = status !== null && 'floor' in status ? status.floor : null;
  if (!isRecord(floor)) return null;
  const figures = listOf(floor['figures']).flatMap(({ label, value }) =>
    typeof value === 'number' || typeof value === 'string' ? [{ label: textOf(label), value }] : [],
  );
  const rows = listOf(floor['rows']).map((row) => ({
    name: textOf(row['name']),
    text: textOf(row['text']),
    series: listOf(row['series']).map(seriesOf),
    rating: ratingOf(row['rating']),
  }));
  if (figures.length === 0 && rows.length === 0) return null;
  return { title: textOf(floor['title']) || 'Floor', figures, rows };
};

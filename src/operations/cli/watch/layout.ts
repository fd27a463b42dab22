/**
 * How the lines of a screen are shared out. The table is what the view is for, so it gets what the others leave, and never
 * less than a handful of rows while there are any: the floor and the recent transitions shrink first, then go.
 */
import type { DaemonStatus } from '../../client/index.ts';
import { floorOf } from './floor.ts';
import type { WatchModel } from './model.ts';

/** From this many columns on, a panel stands beside the table instead of over it. Chosen: two useful halves. */
const SPLIT_COLUMNS = 140;
/** A tall screen has room for everything at once. */
const TALL_ROWS = 40;
const TABLE_ROWS_MIN = 5;
const HEADER_LINES = 2;
const FOOTER_LINES = 1;

export interface Layout {
  readonly alert: boolean;
  /** Rows of the floor, besides its title and figures; -1: no floor panel. */
  readonly floorRows: number;
  /** Rows of daemons. */
  readonly tableRows: number;
  /** Lines of recent transitions below their title; 0: none, and no title. */
  readonly recentLines: number;
  /** The panel stands beside the table. */
  readonly split: boolean;
}

/** Daemons in start order that pass the filter. */
export const visibleDaemons = (model: WatchModel): readonly DaemonStatus[] => {
  const { status, order, filter } = model;
  if (status === null) return [];
  const rank = new Map(order.map((type, index) => [type, index]));
  const wanted = filter.toLowerCase();
  return status.daemons
    .filter(
      ({ type, state, category }) =>
        wanted === '' || [type, state, category].some((text) => text.toLowerCase().includes(wanted)),
    )
    .map((daemon, index) => ({ daemon, at: rank.get(daemon.type) ?? order.length + index }))
    .sort((one, other) => one.at - other.at)
    .map(({ daemon }) => daemon);
};

/** Somebody may want to look at it: it does not serve as wanted. */
export const needsLook = ({ state, wanted, health }: DaemonStatus): boolean =>
  wanted === 'up' && state !== 'COMPLETED' && (state !== 'RUNNING' || health.status !== 'healthy');

/** There is something about the fleet as a whole that needs a line of its own. */
export const hasAlert = ({ status, link }: WatchModel): boolean =>
  link === 'lost' ||
  link === 'stopping' ||
  (status !== null &&
    (status.stall !== null ||
      (status.operation !== null && status.operation.phase !== 'done') ||
      status.subscriptions.gaps.length > 0 ||
      (status.log?.failing ?? null) !== null));

export const layoutOf = (model: WatchModel): Layout => {
  const { rows, columns } = model.size;
  const alert = hasAlert(model);
  const daemons = visibleDaemons(model).length;
  const split = columns >= SPLIT_COLUMNS && model.panel.kind !== 'none';
  // A panel over the table of a small screen gets all of it: what was opened is what is wanted.
  const alone = model.panel.kind !== 'none' && !split && rows < TALL_ROWS;
  const floor = alone ? null : floorOf(model.status);
  // The table needs its head; below, everything else is paid from `left`.
  let left = rows - HEADER_LINES - (alert ? 1 : 0) - FOOTER_LINES - 1;
  const least = Math.min(Math.max(daemons, 1), TABLE_ROWS_MIN);
  const take = (wanted: number, smallest: number): number => {
    const lines = Math.min(wanted, left - least);
    if (lines < smallest) return 0;
    left -= lines;
    return lines;
  };
  const floorLines = floor === null ? 0 : take(2 + Math.min(floor.rows.length, rows >= TALL_ROWS ? 12 : 2), 2);
  const recentWanted = alone ? 0 : rows >= TALL_ROWS ? 12 : rows >= 24 ? 4 : 3;
  const recentLines = model.recent.length === 0 ? 0 : take(recentWanted, 2);
  // What the table cannot use shows more of what happened.
  const spare = model.panel.kind === 'none' ? Math.max(0, left - Math.max(daemons, 1)) : 0;
  const more = recentLines === 0 ? 0 : Math.min(spare, Math.max(0, model.recent.length - (recentLines - 1)));
  return {
    alert,
    floorRows: floorLines === 0 ? -1 : floorLines - 2,
    tableRows: Math.max(0, left - more),
    recentLines: Math.max(0, recentLines - 1 + more),
    split,
  };
};

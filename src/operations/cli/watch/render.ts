/**
 * The live view as lines of text: a pure function of the model, exactly as many lines as the screen has rows and none wider
 * than its columns, so the terminal never scrolls.
 *
 * State is told by words, marks and position; colour only repeats it. Lines are made of toned pieces and painted last,
 * since a painted string can be neither measured nor cut.
 */
import type { DaemonStatus, StatusReport } from '../../client/index.ts';
import { daemonRow, stateCounts, waitText, type DaemonRow } from '../format/daemon-row.ts';
import { clockTime, dateTime, lasting, secondsSince } from '../format/moments.ts';
import { operationText } from '../format/operation.ts';
import {
  paintLine,
  piece,
  toneOfHealth,
  toneOfState,
  toneOfVerdict,
  type Paint,
  type Piece,
  type Tone,
} from '../format/paint.ts';
import { asciiOnly, fit, printable, wrap } from '../format/text.ts';
import { whyPieces } from '../format/why-screen.ts';
import { floorLines } from './floor-lines.ts';
import { floorOf } from './floor.ts';
import { layoutOf, visibleDaemons, type Layout } from './layout.ts';
import { EMPTY, fitLine, grouped, rule, spread, type Line } from './lines.ts';
import type { WatchModel } from './model.ts';

/** How a terminal is spoken to. */
export interface Look {
  readonly paint: Paint;
  /** Marks beyond ASCII may be used. */
  readonly unicode: boolean;
}

const PICKED = '▸';
const DOT = ' · ';

// ------------------------------------------------------------------------------------------------------- header

const uptimeOf = (status: StatusReport, nowMs: number): number =>
  secondsSince(status.startedAt, nowMs) ?? status.uptimeSeconds;

const headerLines = (model: WatchModel, layout: Layout): Line[] => {
  const { columns } = model.size;
  const { status, nowMs } = model;
  const dot = piece(DOT, 'dim');
  if (status === null) {
    const saying = model.linkMessage === '' ? 'waiting for the loop to answer' : model.linkMessage;
    const lines: Line[] = [[piece('master_loop', 'strong'), dot, piece(printable(saying), 'busy')], EMPTY];
    return layout.alert ? [...lines, EMPTY] : lines;
  }
  const where = model.attached ? 'attached' : 'runs here';
  const lines: Line[] = [
    spread(
      [
        piece(printable(status.fleet), 'strong'),
        dot,
        piece(status.verdict, toneOfVerdict(status.verdict)),
        dot,
        piece(`up ${lasting(uptimeOf(status, nowMs))}`),
        dot,
        piece(`port ${status.port}`),
        dot,
        piece(`pid ${status.pid}, ${where}`),
      ],
      [piece(`profile ${printable(status.profile)}, ${status.tempo} `, 'dim')],
      columns,
    ),
    countPieces(status),
  ];
  if (layout.alert) lines.push(alertLine(model, status));
  return lines;
};

/** Daemons by state. Who has failed comes first and by name: in a long table that row may be below the screen. */
const countPieces = ({ daemons }: StatusReport): Piece[] => {
  const failed = daemons.filter(({ state }) => state === 'FAILED').map(({ type }) => printable(type));
  const counts = stateCounts(daemons).filter(({ state }) => state !== 'FAILED');
  return [
    piece(`${daemons.length} daemons: `),
    ...(failed.length === 0 ? [] : [piece(`${failed.length} failed (${failed.join(', ')})`, 'bad'), piece(', ')]),
    ...counts.flatMap(({ state, count }, index) => [
      piece(index === 0 ? '' : ', '),
      piece(`${count} ${state.toLowerCase()}`, toneOfState(state)),
    ]),
  ];
};

/** What concerns the whole fleet now; the most urgent first, since there is one line for it. */
const alertLine = (model: WatchModel, status: StatusReport): Line => {
  if (model.link === 'lost') return [piece(`loop lost: ${printable(model.linkMessage)}`, 'bad')];
  if (status.stall !== null) {
    const { silentMs, heldBy } = status.stall;
    const held = heldBy === null ? '' : `, held by ${printable(heldBy)}`;
    return [piece(`main loop silent for ${lasting(silentMs / 1000)}${held}; below is the last it said`, 'bad')];
  }
  const operation = operationText(status.operation, model.nowMs);
  if (operation !== null) return [piece(operation, 'busy')];
  if (model.link === 'stopping') return [piece(printable(model.linkMessage), 'busy')];
  const [gap] = status.subscriptions.gaps;
  if (gap !== undefined) {
    const { length } = status.subscriptions.gaps;
    const others = length > 1 ? `, and ${length - 1} more` : '';
    const reason = gap.reason === null ? '' : `: ${printable(gap.reason)}`;
    return [
      piece(
        `subscription gap: ${printable(gap.subscriber)} of ${printable(gap.topic)}${others}${reason}`,
        gap.critical ? 'bad' : 'busy',
      ),
    ];
  }
  const failing = status.log?.failing ?? null;
  return failing === null ? EMPTY : [piece(`the log cannot be written: ${printable(failing)}`, 'bad')];
};

// ------------------------------------------------------------------------------------------------------- table

interface Column {
  readonly head: string;
  readonly cells: number;
  readonly align: 'left' | 'right';
  readonly of: (row: DaemonRow, daemon: DaemonStatus) => Piece;
}

const NAME_CELLS_MIN = 14;
/** Wide enough for the longest state, RESTARTING. */
const STATE_CELLS = 10;
/** From this many columns on, kind and category are worth their cells. */
const WIDE_COLUMNS = 110;

const columnsFor = (cells: number, daemons: readonly DaemonStatus[]): readonly Column[] => {
  const longest = daemons.reduce((widest, { type }) => Math.max(widest, type.length), 'DAEMON'.length) + 2;
  const longestCategory = daemons.reduce((widest, { category }) => Math.max(widest, category.length), 8);
  const wide = cells >= WIDE_COLUMNS;
  const name: Column = {
    head: 'DAEMON',
    cells: Math.min(longest, Math.max(NAME_CELLS_MIN, Math.floor(cells * 0.32))),
    align: 'left',
    of: (row) => piece(row.critical ? `${row.name} *` : row.name, row.critical ? 'strong' : 'plain'),
  };
  const always: readonly Column[] = [
    { head: 'STATE', cells: STATE_CELLS, align: 'left', of: (row) => piece(row.state, toneOfState(row.state)) },
    { head: 'HEALTH', cells: 9, align: 'left', of: (row) => piece(row.health, toneOfHealth(row.health)) },
    {
      head: 'RST',
      cells: 4,
      align: 'right',
      of: (row) => piece(row.restarts, row.restarts === '0' ? 'dim' : 'busy'),
    },
    { head: 'TIME', cells: 8, align: 'right', of: (row) => piece(row.time, 'dim') },
  ];
  if (!wide) return cells < 50 ? [name, ...always.slice(0, 1)] : [name, ...always];
  return [
    name,
    ...always,
    { head: 'KIND', cells: 10, align: 'left', of: (_row, daemon) => piece(printable(daemon.kind), 'dim') },
    {
      head: 'CATEGORY',
      cells: Math.min(16, longestCategory),
      align: 'left',
      of: (_row, daemon) => piece(printable(daemon.category), 'dim'),
    },
  ];
};

const MARK_CELLS = 2;

const tableLines = (model: WatchModel, layout: Layout, cells: number): Line[] => {
  const daemons = visibleDaemons(model);
  const columns = columnsFor(cells, model.status?.daemons ?? []);
  const taken = columns.reduce((sum, column) => sum + column.cells + 1, MARK_CELLS);
  const noteCells = cells - taken;
  const last = Math.min(daemons.length, model.top + layout.tableRows);
  const position =
    daemons.length > layout.tableRows ? `${model.top + 1}-${last} of ${daemons.length}` : `${daemons.length}`;
  const filtered = model.filter === '' ? '' : `filter "${printable(model.filter)}": `;
  const heads = columns.map(({ head, cells: own, align }) => piece(`${fit(head, own, align)} `, 'dim'));
  const note = noteCells >= 8 ? [piece('WAITING FOR / REASON', 'dim')] : [];
  const head = spread([piece('  '), ...heads, ...note], [piece(filtered + position, 'dim')], cells);
  const rows = daemons.slice(model.top, last).map((daemon): Line => {
    const row = daemonRow(daemon, model.nowMs);
    const picked = daemon.type === model.selected;
    const tone = (own: Tone): Tone => (picked ? 'picked' : own);
    const shown = columns.map((column) => {
      const { text, tone: own } = column.of(row, daemon);
      return piece(`${fit(text, column.cells, column.align)} `, tone(own));
    });
    const why = noteCells >= 8 ? fit(row.note, noteCells) : ' '.repeat(Math.max(0, noteCells));
    return [piece(picked ? `${PICKED} ` : '  ', tone('plain')), ...shown, piece(why, tone('plain'))];
  });
  const nothing = model.status === null ? '' : model.filter === '' ? 'no daemon' : 'no daemon passes the filter';
  return [head, ...(rows.length === 0 && nothing !== '' ? [[piece(`  ${nothing}`, 'dim')]] : rows)];
};

// ------------------------------------------------------------------------------------------------------- panels

const labelled = (label: string, text: string, cells: number, tone: Tone = 'plain'): Line[] =>
  text === ''
    ? []
    : wrap(printable(text), Math.max(10, cells - 13)).map((line, index) => [
        piece(fit(index === 0 ? label : '', 13), 'dim'),
        piece(line, tone),
      ]);

/** Numbers that name something: written as they are typed elsewhere. */
const NAMES: ReadonlySet<string> = new Set(['port', 'pid']);

const evidenceText = (key: string, value: unknown): string => {
  if (typeof value === 'number' && !NAMES.has(key)) return grouped(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
};

const detailLines = (daemon: DaemonStatus | undefined, nowMs: number, cells: number): Line[] => {
  if (daemon === undefined) return [[piece('this daemon is no longer in the fleet', 'dim')]];
  const row = daemonRow(daemon, nowMs);
  const details = Object.entries(daemon.health.details)
    .filter(([key, value]) => key !== 'bounds' && value !== null && value !== undefined)
    .map(([key, value]) => `${key} ${evidenceText(key, value)}`);
  return [
    ...labelled('State', `${daemon.state}, wanted ${daemon.wanted}, ${row.time}`, cells, toneOfState(daemon.state)),
    ...labelled('Reason', daemon.reason ?? '', cells),
    ...daemon.waitingFor.flatMap((wait, index) =>
      labelled(index === 0 ? 'Waits for' : '', waitText(wait), cells, wait.impossible ? 'bad' : 'busy'),
    ),
    ...labelled('To do', daemon.waitingFor.find(({ remedy }) => remedy !== null)?.remedy ?? '', cells, 'title'),
    ...labelled(
      'Health',
      [daemon.health.status, daemon.health.message].filter((text) => text !== '').join(': '),
      cells,
      toneOfHealth(daemon.health.status),
    ),
    ...labelled('Evidence', details.join(', '), cells),
    ...labelled(
      'Restarts',
      `${daemon.restartCount} charged, ${daemon.attemptsLeft} left, ${daemon.restartsLastHour} in the last hour, ${daemon.restartsTotal} in all`,
      cells,
    ),
    ...labelled(
      'Last error',
      daemon.lastError === null
        ? ''
        : `${daemon.lastErrorAt === null ? '' : `${dateTime(daemon.lastErrorAt)} `}${daemon.lastCause ?? ''}: ${daemon.lastError}`,
      cells,
      'busy',
    ),
    ...labelled('Next try', daemon.nextAttemptAt === null ? '' : dateTime(daemon.nextAttemptAt), cells),
    ...labelled(
      'Recovery',
      daemon.recoveryTargetSeconds === null
        ? ''
        : `target ${daemon.recoveryTargetSeconds} s, last ${
            daemon.lastRecoverySeconds === null ? 'none yet' : `${daemon.lastRecoverySeconds.toFixed(1)} s`
          }`,
      cells,
    ),
    ...labelled(
      'Runs',
      `${daemon.kind}, ${daemon.category}${daemon.critical ? ', critical' : ''}, start ${daemon.generation}${
        daemon.pid === null ? '' : `, pid ${daemon.pid}`
      }${daemon.leakedPromises > 0 ? `, ${daemon.leakedPromises} leaked promises` : ''}`,
      cells,
    ),
    ...labelled('Processes', daemon.processes.map(({ name, pid }) => `${name} ${pid}`).join(', '), cells),
    ...labelled('Depends on', daemon.dependsOn.join(', '), cells),
  ];
};

const HELP: readonly (readonly [string, string])[] = [
  ['up down PgUp PgDn Home End', 'select (also k j g G)'],
  ['Enter', 'details of the selected daemon'],
  ['w', 'why it is in its state'],
  ['l  L', 'its log; the log of all (End follows again)'],
  ['/', 'filter by name, state or category; Esc clears'],
  ['Tab', 'next daemon that is not well'],
  ['r', 'restart it (asks)'],
  ['s', 'stop it, or start it when it is down (asks)'],
  ['x', 'clears its restart counter and FAILED (asks)'],
  ['Esc', 'close what is open'],
  ['Ctrl-L', 'draw again'],
];

const helpLines = (attached: boolean): Line[] => [
  ...HELP.map(([keys, does]): Line => [piece(fit(keys, 28), 'strong'), piece(does)]),
  [
    piece(fit('q  Ctrl-C', 28), 'strong'),
    piece(attached ? 'quit; the loop keeps running' : 'stop the fleet in order and quit (asks)'),
  ],
  EMPTY,
  [piece('* critical  RST: restarts charged of those allowed  times are UTC', 'dim')],
];

const LOG_TONES: readonly (readonly [string, Tone])[] = [
  [' ERROR ', 'bad'],
  [' CRITICAL ', 'bad'],
  [' WARN ', 'busy'],
  [' DEBUG ', 'dim'],
];

const logTone = (line: string): Tone => LOG_TONES.find(([word]) => line.slice(0, 40).includes(word))?.[1] ?? 'plain';

/** The date is the same on every line one can see, and the milliseconds are in the file. */
const shortened = (line: string): string => line.replace(/^\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\.\d+Z /, '$1 ');

/** A panel's own lines below its title; at most `rows`. */
const panelLines = (model: WatchModel, cells: number, rows: number): Line[] => {
  const { panel } = model;
  switch (panel.kind) {
    case 'none':
      return [];
    case 'help':
      return [rule('Keys', cells), ...helpLines(model.attached)].slice(0, rows);
    case 'details': {
      const daemon = model.status?.daemons.find(({ type }) => type === panel.daemon);
      return [rule(printable(panel.daemon), cells), ...detailLines(daemon, model.nowMs, cells)].slice(0, rows);
    }
    case 'why': {
      const title = rule(`why ${printable(panel.daemon)}`, cells);
      if (panel.fault !== null) return [title, ...labelled('', panel.fault, cells, 'bad')].slice(0, rows);
      if (panel.answer === null) return [title, [piece('asking', 'dim')]];
      return [title, ...whyPieces(panel.answer, model.nowMs, cells)].slice(0, rows);
    }
    case 'logs': {
      const room = Math.max(0, rows - 1);
      const end = Math.max(0, panel.lines.length - panel.back);
      const shown = panel.lines.slice(Math.max(0, end - room), end);
      const title = panel.daemon === null ? 'log' : `log of ${printable(panel.daemon)}`;
      const where = panel.back === 0 ? 'following' : `${panel.back} lines back`;
      return [
        rule(title, cells, where),
        ...(shown.length === 0 ? [[piece('no line yet', 'dim')]] : []),
        ...shown.map((line): Line => [piece(printable(shortened(line)), logTone(line))]),
      ];
    }
  }
};

// ------------------------------------------------------------------------------------------------------- below

const recentLines = (model: WatchModel, lines: number, cells: number): Line[] => {
  if (lines === 0) return [];
  const shown = model.recent.slice(Math.max(0, model.recent.length - lines));
  return [
    rule('Recent', cells),
    ...shown.map((entry): Line => [
      piece(`${clockTime(entry.time)} `, 'dim'),
      piece(`${printable(entry.daemon ?? '')} `, 'strong'),
      piece(`${entry.from ?? ''} → `),
      piece(entry.to ?? '', toneOfState(entry.to ?? '')),
      piece(entry.why === null ? '' : ` ${entry.why}`),
      piece(entry.message === '' ? '' : `: ${printable(entry.message)}`),
    ]),
  ];
};

const key = (name: string, does: string): Piece[] => [piece(name, 'strong'), piece(` ${does}  `, 'dim')];

const footer = (model: WatchModel): Line => {
  const { prompt, notice } = model;
  if (prompt?.kind === 'act') return [piece(`${prompt.verb} ${printable(prompt.daemon)}? `, 'strong'), piece('y / n')];
  if (prompt?.kind === 'quit') return [piece('stop the fleet in order and quit? ', 'strong'), piece('y / n')];
  if (prompt?.kind === 'filter') {
    return [
      piece('filter: ', 'strong'),
      piece(`${printable(prompt.text)}_`),
      piece('  Enter keeps, Esc clears', 'dim'),
    ];
  }
  if (notice !== null) return [piece(printable(notice.text), notice.tone)];
  return [
    ...key('Enter', 'more'),
    ...key('w', 'why'),
    ...key('l', 'log'),
    ...key('r', 'restart'),
    ...key('s', 'stop'),
    ...key('x', 'reset'),
    ...key('/', 'filter'),
    ...key('?', 'help'),
    ...key('q', 'quit'),
  ];
};

// ------------------------------------------------------------------------------------------------------- screen

const besideEachOther = (left: readonly Line[], right: readonly Line[], leftCells: number): Line[] =>
  Array.from({ length: Math.max(left.length, right.length) }, (_, index) => [
    ...fitLine(left[index] ?? EMPTY, leftCells),
    piece(` │ `, 'dim'),
    ...(right[index] ?? EMPTY),
  ]);

const BAR_CELLS = 3;

/** The screen: exactly `size.rows` lines, each at most `size.columns` cells. */
export const render = (model: WatchModel, look: Look): string[] => {
  const { columns, rows } = model.size;
  const layout = layoutOf(model);
  const floor = layout.floorRows < 0 ? null : floorOf(model.status);
  const bodyRows = layout.tableRows + 1; // with the head of the table
  const leftCells = layout.split ? Math.floor(columns * 0.5) : columns;
  const body =
    model.panel.kind === 'none'
      ? tableLines(model, layout, columns)
      : layout.split
        ? besideEachOther(
            tableLines(model, layout, leftCells),
            panelLines(model, columns - leftCells - BAR_CELLS, bodyRows),
            leftCells,
          )
        : panelLines(model, columns, bodyRows);
  const above = [
    ...headerLines(model, layout),
    ...(floor === null ? [] : floorLines(floor, layout.floorRows, columns)),
    ...body.slice(0, bodyRows),
  ];
  const below = recentLines(model, layout.recentLines, columns);
  const filler = Math.max(0, rows - above.length - below.length - 1);
  const lines = [...above, ...Array.from({ length: filler }, () => EMPTY), ...below];
  return [...lines.slice(0, Math.max(0, rows - 1)), footer(model)]
    .slice(-rows)
    .map((line) => paintLine(line, columns, look.paint))
    .map((line) => (look.unicode ? line : asciiOnly(line)));
};

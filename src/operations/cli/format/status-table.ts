/**
 * `status` for people: two lines about the fleet, then a line a daemon. On a pipe nothing is cut and nothing is coloured,
 * so `grep` and `awk` see whole names and reasons; on a terminal a line ends where the screen ends.
 */
import type { StatusReport } from '../../client/index.ts';
import { daemonRow, stateCounts, type DaemonRow } from './daemon-row.ts';
import { lasting } from './moments.ts';
import { operationText } from './operation.ts';
import { paintLine, piece, toneOfHealth, toneOfState, toneOfVerdict, type Paint, type Piece } from './paint.ts';
import { fit, printable, width } from './text.ts';

interface Column {
  readonly head: string;
  readonly of: (row: DaemonRow) => Piece;
}

const COLUMNS: readonly Column[] = [
  { head: 'DAEMON', of: (row) => piece(row.critical ? `${row.name} *` : row.name, row.critical ? 'strong' : 'plain') },
  { head: 'STATE', of: (row) => piece(row.state, toneOfState(row.state)) },
  { head: 'HEALTH', of: (row) => piece(row.health === '' ? '-' : row.health, toneOfHealth(row.health)) },
  { head: 'RESTARTS', of: (row) => piece(row.restarts, row.restarts === '0' ? 'dim' : 'busy') },
  { head: 'TIME', of: (row) => piece(row.time, 'dim') },
  { head: 'NOTE', of: (row) => piece(row.note) },
];

/** The lines about the fleet as a whole. */
export const fleetLines = (status: StatusReport, nowMs: number): Piece[][] => {
  const counts = stateCounts(status.daemons);
  const lines: Piece[][] = [
    [
      piece(printable(status.fleet), 'strong'),
      piece(' is '),
      piece(status.verdict, toneOfVerdict(status.verdict)),
      piece(
        ` · up ${lasting(status.uptimeSeconds)} · profile ${printable(status.profile)}, ${status.tempo} · pid ${status.pid} · http://127.0.0.1:${status.port}`,
      ),
    ],
    [
      piece(`${status.daemons.length} daemons: `),
      ...counts.flatMap(({ state, count }, index) => [
        piece(index === 0 ? '' : ', '),
        piece(`${count} ${state.toLowerCase()}`, toneOfState(state)),
      ]),
    ],
  ];
  const operation = operationText(status.operation, nowMs);
  if (operation !== null) lines.push([piece(operation, 'busy')]);
  if (status.stall !== null) {
    lines.push([
      piece(`the main loop has been silent for ${lasting(status.stall.silentMs / 1000)}`, 'bad'),
      piece(status.stall.heldBy === null ? '' : `, held by ${printable(status.stall.heldBy)}`, 'bad'),
      piece('; what follows is the last it said'),
    ]);
  }
  for (const gap of status.subscriptions.gaps) {
    lines.push([
      piece(
        `subscription gap: ${printable(gap.subscriber)} of ${printable(gap.topic)}: ${printable(gap.reason ?? 'no reason given')}`,
        gap.critical ? 'bad' : 'busy',
      ),
    ]);
  }
  if (status.log?.failing) lines.push([piece(`the log cannot be written: ${printable(status.log.failing)}`, 'bad')]);
  return lines;
};

/**
 * @param cells  cells of a line; Infinity on a pipe
 * @returns lines without line ends
 */
export const statusTable = (status: StatusReport, nowMs: number, cells: number, paint: Paint): string[] => {
  const rows = status.daemons.map((daemon) => COLUMNS.map((column) => column.of(daemonRow(daemon, nowMs))));
  const widths = COLUMNS.map((column, index) =>
    rows.reduce((widest, row) => Math.max(widest, width(row[index]?.text ?? '')), column.head.length),
  );
  const line = (pieces: readonly Piece[]): string =>
    paintLine(
      pieces.map(({ text, tone }, index) =>
        // The last column is as long as it is; padding it would only wrap.
        index === pieces.length - 1 ? piece(text, tone) : piece(fit(text, (widths[index] ?? 0) + 2), tone),
      ),
      cells,
      paint,
    ).trimEnd();
  return [
    ...fleetLines(status, nowMs).map((pieces) => paintLine(pieces, cells, paint)),
    '',
    line(COLUMNS.map((column) => piece(column.head, 'dim'))),
    ...rows.map(line),
    ...(status.daemons.some((daemon) => daemon.critical) ? ['', paint('* critical', 'dim')] : []),
  ];
};

/** What the drills answer, for people: a result with its timeline and checks, the list of drills, past results in a line each. */
import type { DrillCheck, DrillList, DrillReports, DrillResult, DrillVerification } from '../../drills/types.ts';
import { dateTime, lasting } from './moments.ts';
import { paintLine, piece, type Paint, type Piece, type Tone } from './paint.ts';
import { recordLines } from './plain-record.ts';
import { fit, printable, wrap } from './text.ts';

/** A pipe has no width; long texts are wrapped to this. */
const COLUMNS = 100;
const LABEL_CELLS = 11;
const STEP_CELLS = 15;

const TONES: Readonly<Record<string, Tone>> = {
  passed: 'good',
  healed: 'good',
  failed: 'bad',
  interrupted: 'bad',
  cancelled: 'busy',
  running: 'busy',
  injected: 'busy',
};

const has = <Key extends string>(answer: unknown, ...keys: readonly Key[]): answer is Record<Key, unknown> =>
  typeof answer === 'object' && answer !== null && keys.every((key) => key in answer);

const status = (text: string): Piece => piece(fit(text.toUpperCase(), 12), TONES[text] ?? 'plain');

const hangingLines = (label: Piece, text: string, cells: number): Piece[][] => {
  const indent = label.text.length;
  return wrap(printable(text), Math.max(20, cells - indent)).map((line, index) => [
    index === 0 ? label : piece(' '.repeat(indent)),
    piece(line),
  ]);
};

const field = (label: string, text: string, cells: number): Piece[][] =>
  text === '' ? [] : hangingLines(piece(`  ${fit(label, LABEL_CELLS)}`, 'dim'), text, cells);

const checkLines = (checks: readonly DrillCheck[], cells: number): Piece[][] =>
  checks.flatMap(({ what, ok, detail }) =>
    hangingLines(
      piece(ok ? '  ok    ' : '  FAIL  ', ok ? 'good' : 'bad'),
      detail === '' ? what : `${what}: ${detail}`,
      cells,
    ),
  );

const recovered = ({ detectionSeconds, recoverySeconds, recoveryTargetSeconds }: DrillResult): string =>
  [
    recoverySeconds === null ? null : `in ${lasting(recoverySeconds)}`,
    recoverySeconds === null || recoveryTargetSeconds === null
      ? null
      : `of the ${lasting(recoveryTargetSeconds)} allowed`,
    detectionSeconds === null ? null : `found after ${lasting(detectionSeconds)}`,
  ]
    .filter((part) => part !== null)
    .join(', ');

const titleOf = ({ drill, target }: DrillResult): string => (target === null ? drill : `${drill} on ${target}`);

const resultLines = (result: DrillResult, cells: number): Piece[][] => [
  [status(result.status), piece(printable(titleOf(result)), 'strong'), piece(`  ${printable(result.id)}`, 'dim')],
  ...field('fault', result.fault, cells),
  ...field('recovered', recovered(result), cells),
  ...field(
    'began',
    `${dateTime(result.startedAt)}, by ${result.origin === 'schedule' ? 'the schedule' : 'an operator'}`,
    cells,
  ),
  ...(result.reason === null ? [] : field('reason', result.reason, cells)),
  ...(result.steps.length === 0 ? [] : [[piece('')]]),
  ...result.steps.flatMap(({ name, seconds, note }) =>
    hangingLines(piece(`  ${seconds.toFixed(2).padStart(8)} s  ${fit(name, STEP_CELLS)}`), note, cells),
  ),
  ...(result.checks.length === 0 ? [] : [[piece('')]]),
  ...checkLines(result.checks, cells),
];

const listLines = ({ drills, busy }: DrillList, cells: number): Piece[][] => [
  ...drills.flatMap(({ name, does, needs, targets, byDefault }) => [
    [piece(printable(name), 'strong')],
    ...field('does', does, cells),
    ...(name === 'full-recovery'
      ? []
      : [
          ...field(
            'target',
            `a daemon that ${needs}${byDefault === null ? '' : `; ${byDefault} when none is named`}`,
            cells,
          ),
          ...field('now', targets.length === 0 ? 'nobody can be its target' : targets.join(', '), cells),
        ]),
  ]),
  ...(busy === null ? [] : [[piece(`none can begin now: ${printable(busy)}`, 'busy')]]),
];

const reportLines = ({ results }: DrillReports): Piece[][] =>
  results.length === 0
    ? [[piece('no drill was run yet; "master_loop drill run DRILL" runs one')]]
    : results.map((result) => [
        piece(`${dateTime(result.startedAt)}  `, 'dim'),
        status(result.status),
        piece(printable(titleOf(result)), 'strong'),
        piece(`  ${recovered(result)}`),
        piece(result.reason === null ? '' : `  ${printable(result.reason)}`, 'bad'),
        piece(`  ${printable(result.id)}`, 'dim'),
      ]);

/**
 * @param cells  of a line; Infinity on a pipe
 * @returns painted lines
 */
export const drillLines = (answer: unknown, cells: number, paint: Paint): string[] => {
  const columns = Math.min(cells, COLUMNS);
  const pieces = has(answer, 'drill', 'steps', 'checks')
    ? resultLines(answer as unknown as DrillResult, columns)
    : has(answer, 'drills')
      ? listLines(answer as unknown as DrillList, columns)
      : has(answer, 'results')
        ? reportLines(answer as unknown as DrillReports)
        : has(answer, 'checks')
          ? checkLines((answer as unknown as DrillVerification).checks, columns)
          : has(answer, 'message')
            ? [[piece(printable(String(answer.message)))]]
            : null;
  return pieces === null ? recordLines(answer) : pieces.map((line) => paintLine(line, cells, paint).trimEnd());
};

/**
 * What is wrong with a fleet file: one shape for all of it, gathered before anything is thrown.
 *
 * A fault says where (line and column, 1-based, with the line itself), what, and what was probably meant. Text that
 * comes out of the file is hostile until printed: control characters, which would move a terminal's cursor, are shown
 * and not sent, and a line of four megabytes is cut around its fault. A file can have a million faults; the first ones
 * are kept and the rest is counted.
 */
import { OrchestratorError } from '../errors.ts';

export interface FleetFault {
  /** As the caller named the file; of a fault in `.env`, that one. */
  readonly file: string;
  /** 1-based; 0 when the fault is about the file as a whole. */
  readonly line: number;
  readonly column: number;
  /** Keys from the top, joined by dots: `daemons.AUTO_SYNC.dependsOn[0].on`. Empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  /** What to do about it: the nearest valid name, or the right form. */
  readonly hint: string | null;
  /** The line as written, made printable, cut around the fault when it is long. */
  readonly sourceLine: string;
  /** 1-based place of the fault within `sourceLine`; differs from `column` when the line was cut. */
  readonly sourceColumn: number;
}

export interface Place {
  readonly line: number;
  readonly column: number;
}

export type Path = readonly (string | number)[];

/** Kept of one file; the rest is counted. Chosen: nobody mends more in one sitting. */
export const FAULTS_MAX = 500;
const LINE_CHARACTERS_MAX = 160; // chosen: two terminal lines
const BEFORE_FAULT = 80;
/** Shorter values are words such as "true" or a port, and would be replaced in the middle of others. */
const MASKED_CHARACTERS_MIN = 6;

/** Characters that move the cursor, hide, or reorder the text around them. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Text of a stranger as one line that a terminal shows and does not obey. */
export const printable = (text: string): string => text.replace(UNPRINTABLE, (found) => (found === '\t' ? ' ' : '�'));

/** `daemons.A.dependsOn[0]` of a path. */
export const pathText = (path: Path): string =>
  path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? part : `${text}.${part}`;
  }, '');

const excerpt = (line: string, column: number): { sourceLine: string; sourceColumn: number } => {
  const from = line.length > LINE_CHARACTERS_MAX ? Math.max(0, column - 1 - BEFORE_FAULT) : 0;
  const cut = line.slice(from, from + LINE_CHARACTERS_MAX);
  return { sourceLine: printable(cut), sourceColumn: column - from };
};

/** Gathers faults of one file. */
export class FaultList {
  readonly file: string;
  readonly #lineText: (line: number) => string;
  readonly #faults: FleetFault[] = [];
  readonly #seen = new Set<string>();
  /** Text that variables gave → what the file has in its place; longest first when it is used. */
  readonly #masks = new Map<string, string>();
  readonly #settled = new Set<string>();
  #count = 0;

  /** @param lineText  the text of a line of the file, 1-based, without its end */
  constructor(file: string, lineText: (line: number) => string) {
    this.file = file;
    this.#lineText = lineText;
  }

  /** Faults reported so far, kept or not. */
  get count(): number {
    return this.#count;
  }

  /** A secret from the environment must not reach a terminal or a log through a fault: `raw` is shown for `value`. */
  mask(value: string, raw: string): void {
    if (value.length >= MASKED_CHARACTERS_MIN) this.#masks.set(value, raw);
  }

  /** A value whose own fault is reported: what would be said of it further on is an echo. */
  settle(path: Path): void {
    this.#settled.add(pathText(path));
  }

  #masked(text: string): string {
    let shown = text;
    for (const value of [...this.#masks.keys()].sort((a, b) => b.length - a.length)) {
      if (shown.includes(value)) shown = shown.replaceAll(value, () => this.#masks.get(value)!);
    }
    return shown;
  }

  add(place: Place | null, path: Path, message: string, hint: string | null = null): void {
    const { line, column } = place ?? { line: 0, column: 0 };
    const where = pathText(path);
    if (this.#settled.has(where)) return;
    // Sections are looked at more than once (whole, then part by part), and a list of values may repeat one.
    const identity = `${line}:${column}:${message}`;
    if (this.#seen.has(identity)) return;
    this.#count += 1;
    if (this.#faults.length >= FAULTS_MAX) return;
    this.#seen.add(identity);
    const source = line === 0 ? { sourceLine: '', sourceColumn: 0 } : excerpt(this.#lineText(line), column);
    this.#faults.push({
      file: this.file,
      line,
      column,
      path: printable(where),
      message: printable(this.#masked(message)),
      hint: hint === null ? null : printable(this.#masked(hint)),
      ...source,
    });
  }

  /** In reading order. */
  all(): readonly FleetFault[] {
    return this.#faults.toSorted((a, b) => a.line - b.line || a.column - b.column);
  }
}

const counted = (count: number): string => (count === 1 ? '1 fault' : `${count} faults`);

/** `file:line:column: message`, without position for a fault of the whole file. */
export const headline = (fault: FleetFault): string =>
  `${fault.file}${fault.line === 0 ? '' : `:${fault.line}:${fault.column}`}: ${fault.message}`;

/** The fleet file has faults, so nothing was started. `context.faults` holds them in reading order. */
export const fleetInvalid = (file: string, faults: readonly FleetFault[], count: number): OrchestratorError => {
  const first = faults[0];
  const only = count === 1 && first !== undefined;
  return new OrchestratorError('FLEET_INVALID', {
    message: only
      ? `cannot use the fleet: ${headline(first)}`
      : `cannot use the fleet: ${counted(count)} in ${printable(file)}${first === undefined ? '' : `; the first at ${headline(first)}`}`,
    remedy: (only ? first.hint : null) ?? '"master_loop validate FILE" shows every fault with its line',
    context: { file, faults, count },
  });
};

/** The faults inside such an error, or null when it is another one. */
export const faultsOf = (error: unknown): readonly FleetFault[] | null =>
  error instanceof OrchestratorError && error.code === 'FLEET_INVALID'
    ? (error.context['faults'] as readonly FleetFault[])
    : null;

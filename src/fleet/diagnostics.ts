/**
 * Faults as a person reads them: `file:line:column: message`, the line, a caret under the place, and the hint. Editors and
 * terminals jump to the first part, so it stays at the start of its line and without colour codes inside.
 */
import type { FleetFault } from './faults.ts';
import { faultsOf } from './faults.ts';
import { loadFleet, type LoadFleetOptions } from './load.ts';
import type { Fleet } from './types.ts';

/** What picocolors offers of these; handed in, since only a caller knows where the text goes. */
export interface Colours {
  readonly red: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly green: (text: string) => string;
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly cyan: (text: string) => string;
}

const same = (text: string): string => text;
export const PLAIN: Colours = { red: same, yellow: same, green: same, bold: same, dim: same, cyan: same };

const renderFault = (fault: FleetFault, colours: Colours): string => {
  const position = fault.line === 0 ? '' : `:${fault.line}:${fault.column}`;
  const lines = [`${colours.bold(`${fault.file}${position}:`)} ${colours.red(fault.message)}`];
  if (fault.line > 0 && fault.sourceLine.trim() !== '') {
    const gutter = `${fault.line} | `;
    lines.push(`  ${colours.dim(gutter)}${fault.sourceLine}`);
    const indent = ' '.repeat(gutter.length + Math.max(0, fault.sourceColumn - 1));
    lines.push(`  ${indent}${colours.red('^')}`);
  }
  if (fault.hint !== null) lines.push(`  ${colours.cyan('hint:')} ${fault.hint}`);
  return lines.join('\n');
};

/** All faults, a blank line between two, and how many there are. */
export const renderFaults = (faults: readonly FleetFault[], count: number, colours: Colours = PLAIN): string => {
  const left = count - faults.length;
  const total = count === 1 ? '1 fault' : `${count} faults`;
  return [
    ...faults.map((fault) => renderFault(fault, colours)),
    ...(left > 0 ? [`… and ${left} more`] : []),
    colours.bold(total),
  ].join('\n\n');
};

export interface Validation {
  readonly valid: boolean;
  /** For people; ends without a line break. */
  readonly text: string;
  readonly faults: readonly FleetFault[];
  readonly warnings: readonly string[];
  readonly fleet: Fleet | null;
}

const summary = (fleet: Fleet, colours: Colours): string => {
  const running = fleet.daemons.filter((daemon) => daemon.inProfile).length;
  const edges = fleet.daemons.reduce((sum, daemon) => sum + daemon.edges.length, 0);
  const lines = fleet.warnings.map((warning) => `${colours.yellow('warning:')} ${warning}`);
  lines.push(
    `${colours.green('valid:')} fleet ${fleet.name}, ${fleet.daemons.length} ${fleet.daemons.length === 1 ? 'daemon' : 'daemons'} (${running} in profile ${fleet.profile}), ${edges} edges, tempo ${fleet.tempo}`,
  );
  return lines.join('\n');
};

/**
 * What `master_loop validate` says: every fault with its line, or that the file is valid, with its warnings.
 * Throws only for what is no fault of the file.
 */
export const validateFleetFile = async (options: LoadFleetOptions, colours: Colours = PLAIN): Promise<Validation> => {
  try {
    const { fleet, warnings } = await loadFleet(options);
    return { valid: true, text: summary(fleet, colours), faults: [], warnings, fleet };
  } catch (error) {
    const faults = faultsOf(error);
    if (faults === null) throw error;
    const count = (error as { context: { count: number } }).context.count;
    return { valid: false, text: renderFaults(faults, count, colours), faults, warnings: [], fleet: null };
  }
};

/** A plan of the running loop as lines: who stops, who starts, each in its order and with who pulled it in, and who stays. */
import type { VerbPlan } from '../../../orchestrator/supervisor.ts';
import { cut, fit, printable, width } from './text.ts';

type Step = VerbPlan['stop'][number];

/** Every step of an operation on the whole fleet has the same reason, and that is in the first line already. */
const stepLines = (title: string, steps: readonly Step[], whole: boolean): string[] => {
  if (steps.length === 0) return [];
  const cells = 2 + Math.max(...steps.map(({ daemon }) => width(daemon)));
  return [
    '',
    `${title} (${steps.length})`,
    ...steps.map(({ daemon, because, writtenAt }) => {
      const where = writtenAt === null ? '' : `  ${printable(writtenAt)}`;
      return whole ? `  ${printable(daemon)}` : `  ${fit(printable(daemon), cells)}${printable(because)}${where}`;
    }),
  ];
};

/** @param cells  cells of a line; Infinity on a pipe */
export const planLines = ({ verb, daemons, stop, start, reattach }: VerbPlan, cells: number): string[] => {
  const whole = daemons.length === 0;
  const lines = [
    `${verb}${whole ? ' of the whole fleet' : ` ${daemons.map(printable).join(', ')}`}: ` +
      (stop.length + start.length === 0
        ? 'nothing would stop or start'
        : `would touch ${touched(stop, start)} daemons`),
    ...stepLines('stops, leaf first', stop, whole),
    ...stepLines('starts, root first', start, whole),
  ];
  if (reattach.length > 0)
    lines.push('', `stays up and proves its subscriptions again (${reattach.length})`, ...reattach.map(indented));
  return lines.map((line) => cut(line, cells));
};

const indented = (daemon: string): string => `  ${printable(daemon)}`;

const touched = (...lists: readonly (readonly Step[])[]): number =>
  new Set(lists.flatMap((steps) => steps.map(({ daemon }) => daemon))).size;

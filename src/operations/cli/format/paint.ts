/**
 * Colour as a meaning, not as a colour: a line is made of pieces, each with a tone, and is cut and padded before any
 * escape sequence is added. Without colour the same pieces give the same text, so nothing is told by colour alone.
 */
import type { DaemonState } from '../../../lifecycle/states.ts';
import type { HealthStatus } from '../../../health/verdict.ts';
import { cut, width } from './text.ts';

export type Tone = 'plain' | 'good' | 'busy' | 'bad' | 'dim' | 'strong' | 'title' | 'picked';

export interface Piece {
  readonly text: string;
  readonly tone: Tone;
}

export type Paint = (text: string, tone: Tone) => string;

export const piece = (text: string, tone: Tone = 'plain'): Piece => ({ text, tone });

/**
 * What switches a tone on; `\x1b[0m` switches everything off again. Written out, since loading a colour library as a
 * CommonJS module costs a client command a tenth of all its time. @see ECMA-48, SGR
 */
const ON: Readonly<Record<Tone, string>> = {
  plain: '',
  good: '\x1b[32m',
  busy: '\x1b[33m',
  bad: '\x1b[1;31m',
  dim: '\x1b[2m',
  strong: '\x1b[1m',
  title: '\x1b[1;36m',
  picked: '\x1b[7m',
};

/** A painter; without `colour` it changes nothing. */
export const painter =
  (colour: boolean): Paint =>
  (text, tone) =>
    !colour || text === '' || tone === 'plain' ? text : `${ON[tone]}${text}\x1b[0m`;

/** Pieces as one painted line of at most `cells` cells. */
export const paintLine = (pieces: readonly Piece[], cells: number, paint: Paint, mark = '…'): string => {
  let line = '';
  let left = cells;
  for (const { text, tone } of pieces) {
    if (left <= 0) break;
    const shown = cut(text, left, mark);
    line += paint(shown, tone);
    left -= width(shown);
    if (shown !== text) break;
  }
  return line;
};

export const cellsIn = (pieces: readonly Piece[]): number => pieces.reduce((cells, { text }) => cells + width(text), 0);

const STATE_TONES: Readonly<Record<DaemonState, Tone>> = {
  STOPPED: 'dim',
  WAITING: 'busy',
  STARTING: 'busy',
  RUNNING: 'good',
  RESTARTING: 'busy',
  STOPPING: 'busy',
  FAILED: 'bad',
  COMPLETED: 'good',
};

/** Strings rather than states: a newer loop may know a state that this program does not. */
export const toneOfState = (state: string): Tone =>
  Object.hasOwn(STATE_TONES, state) ? STATE_TONES[state as DaemonState] : 'plain';

const HEALTH_TONES: Readonly<Record<HealthStatus, Tone>> = {
  healthy: 'good',
  degraded: 'busy',
  unhealthy: 'bad',
  unknown: 'dim',
};

export const toneOfHealth = (status: string): Tone =>
  Object.hasOwn(HEALTH_TONES, status) ? HEALTH_TONES[status as HealthStatus] : 'plain';

export const toneOfVerdict = (verdict: string): Tone =>
  verdict === 'ready' ? 'good' : verdict === 'unhealthy' || verdict === 'engine_stalled' ? 'bad' : 'busy';

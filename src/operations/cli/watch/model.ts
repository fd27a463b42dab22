/**
 * Everything the live view knows, as one value: what the loop last said, and where the person is. No clock and no terminal
 * in it: time arrives with events, so every screen can be made in a test.
 */
import type { HistoryEntry, StatusReport, WhyAnswer } from '../../client/index.ts';
import type { ScreenSize } from '../../../seams/terminal.ts';
import type { Tone } from '../format/paint.ts';
import type { Key } from './keys.ts';

export type ActKey = 'start' | 'stop' | 'restart' | 'reset';

/** What stands beside the table, or over it on a narrow screen. */
export type Panel =
  | { readonly kind: 'none' }
  | { readonly kind: 'help' }
  | { readonly kind: 'details'; readonly daemon: string }
  | {
      readonly kind: 'why';
      readonly daemon: string;
      readonly answer: WhyAnswer | null;
      readonly fault: string | null;
    }
  | {
      readonly kind: 'logs';
      /** Null: of the whole fleet. */
      readonly daemon: string | null;
      readonly lines: readonly string[];
      /** Lines scrolled back from the newest; 0 follows. */
      readonly back: number;
    };

export type Prompt =
  | { readonly kind: 'act'; readonly verb: ActKey; readonly daemon: string }
  | { readonly kind: 'filter'; readonly text: string }
  | { readonly kind: 'quit' };

export interface Notice {
  readonly text: string;
  readonly tone: Tone;
  readonly untilMs: number;
}

/** connecting: nothing heard yet. live: answers come. lost: the loop went away; it is looked for. stopping: asked to stop. */
export type Link = 'connecting' | 'live' | 'lost' | 'stopping';

export interface WatchModel {
  readonly size: ScreenSize;
  /** Wall milliseconds of the last event that carried a time. */
  readonly nowMs: number;
  /** True: the loop is another process, and quitting leaves it running. False: it runs inside this one. */
  readonly attached: boolean;
  readonly link: Link;
  /** Why the link is not live; for people. */
  readonly linkMessage: string;
  readonly status: StatusReport | null;
  /** Daemons in start order, as the loop's graph has it. */
  readonly order: readonly string[];
  /** Transitions, newest last; at most RECENT_MAX. */
  readonly recent: readonly HistoryEntry[];
  /** By name, since rows move. */
  readonly selected: string | null;
  /** First row of the table on the screen. */
  readonly top: number;
  readonly filter: string;
  readonly panel: Panel;
  readonly prompt: Prompt | null;
  readonly notice: Notice | null;
}

export const RECENT_MAX = 200;
export const LOG_LINES_MAX = 2_000;
export const NOTICE_MS = 6_000;

export type WatchEvent =
  | { readonly kind: 'key'; readonly key: Key }
  | { readonly kind: 'resize'; readonly size: ScreenSize }
  | { readonly kind: 'beat'; readonly nowMs: number }
  | { readonly kind: 'status'; readonly status: StatusReport; readonly nowMs: number }
  | { readonly kind: 'order'; readonly order: readonly string[] }
  | { readonly kind: 'history'; readonly entries: readonly HistoryEntry[] }
  | { readonly kind: 'link'; readonly link: Link; readonly message: string }
  | { readonly kind: 'why'; readonly daemon: string; readonly answer: WhyAnswer | null; readonly fault: string | null }
  | { readonly kind: 'log-lines'; readonly daemon: string | null; readonly lines: readonly string[] }
  | { readonly kind: 'outcome'; readonly ok: boolean; readonly message: string };

/** What the edge must do; the reducer only says so. */
export type WatchEffect =
  | { readonly do: 'act'; readonly verb: ActKey; readonly daemon: string }
  | { readonly do: 'ask-why'; readonly daemon: string }
  | { readonly do: 'follow-logs'; readonly daemon: string | null }
  | { readonly do: 'unfollow-logs' }
  | { readonly do: 'stop-loop' }
  | { readonly do: 'suspend' }
  | { readonly do: 'redraw' }
  | { readonly do: 'quit' };

export const initialModel = (size: ScreenSize, nowMs: number, attached: boolean): WatchModel => ({
  size,
  nowMs,
  attached,
  link: 'connecting',
  linkMessage: '',
  status: null,
  order: [],
  recent: [],
  selected: null,
  top: 0,
  filter: '',
  panel: { kind: 'none' },
  prompt: null,
  notice: null,
});

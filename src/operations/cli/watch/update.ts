/**
 * What the live view does with a key or with news: a pure step from one model to the next, and what the edge must do.
 *
 * Looking is free; every key that acts asks first and names the daemon it asks about, so a selection that moved meanwhile
 * cannot be hit by the answer. Quitting an attached view changes nothing; quitting the view of a loop that runs inside
 * asks, because it stops the fleet.
 */
import type { DaemonStatus } from '../../client/index.ts';
import type { Key } from './keys.ts';
import { layoutOf, needsLook, visibleDaemons } from './layout.ts';
import {
  LOG_LINES_MAX,
  NOTICE_MS,
  RECENT_MAX,
  type ActKey,
  type Panel,
  type WatchEffect,
  type WatchEvent,
  type WatchModel,
} from './model.ts';

export interface Step {
  readonly model: WatchModel;
  readonly effects: readonly WatchEffect[];
}

const FILTER_CHARACTERS_MAX = 40;

const step = (model: WatchModel, ...effects: WatchEffect[]): Step => ({ model, effects });

/** Keeps a selection, and keeps it on the screen. */
const settle = (model: WatchModel): WatchModel => {
  const daemons = visibleDaemons(model);
  const rows = Math.max(1, layoutOf(model).tableRows);
  const found = daemons.findIndex(({ type }) => type === model.selected);
  const index = found === -1 ? 0 : found;
  const selected = daemons[index]?.type ?? model.selected;
  const top = Math.max(0, Math.min(model.top, daemons.length - rows, index), index - rows + 1);
  return selected === model.selected && top === model.top ? model : { ...model, selected, top };
};

const select = (model: WatchModel, move: (index: number, rows: number, count: number) => number): WatchModel => {
  const daemons = visibleDaemons(model);
  if (daemons.length === 0) return model;
  const found = daemons.findIndex(({ type }) => type === model.selected);
  const wanted = move(Math.max(0, found), Math.max(1, layoutOf(model).tableRows), daemons.length);
  const index = Math.min(Math.max(0, wanted), daemons.length - 1);
  return settle({ ...model, selected: daemons[index]?.type ?? null });
};

/** The next daemon below that somebody may want to look at, from the top again after the last. */
const selectUnwell = (model: WatchModel): WatchModel => {
  const daemons = visibleDaemons(model);
  const found = daemons.findIndex(({ type }) => type === model.selected);
  const next = [...daemons.slice(found + 1), ...daemons.slice(0, found + 1)].find(needsLook);
  return next === undefined ? notice(model, 'every daemon is well', 'good') : settle({ ...model, selected: next.type });
};

const MOVES: Readonly<Partial<Record<Key['name'], (index: number, rows: number, count: number) => number>>> = {
  up: (index) => index - 1,
  down: (index) => index + 1,
  'page-up': (index, rows) => index - rows,
  'page-down': (index, rows) => index + rows,
  home: () => 0,
  end: (_index, _rows, count) => count - 1,
};

const LETTER_MOVES: Readonly<Record<string, Key['name']>> = { k: 'up', j: 'down', g: 'home', G: 'end' };

const notice = (model: WatchModel, text: string, tone: 'good' | 'bad' | 'busy'): WatchModel => ({
  ...model,
  notice: { text, tone, untilMs: model.nowMs + NOTICE_MS },
});

const close = (model: WatchModel): Step =>
  model.panel.kind === 'logs'
    ? step(settle({ ...model, panel: { kind: 'none' } }), { do: 'unfollow-logs' })
    : step(settle({ ...model, panel: { kind: 'none' } }));

/** Opens a panel; the same key again closes it. */
const toggle = (model: WatchModel, panel: Panel, ...effects: WatchEffect[]): Step => {
  const same =
    model.panel.kind === panel.kind &&
    (!('daemon' in panel) || ('daemon' in model.panel && model.panel.daemon === panel.daemon));
  const closed = close(model);
  return same ? closed : step(settle({ ...closed.model, panel }), ...closed.effects, ...effects);
};

const verbOf = (char: string, daemon: DaemonStatus): ActKey | null => {
  if (char === 'r') return 'restart';
  if (char === 'x') return 'reset';
  if (char !== 's') return null;
  return daemon.wanted === 'down' || daemon.state === 'FAILED' || daemon.state === 'COMPLETED' ? 'start' : 'stop';
};

const askToQuit = (model: WatchModel): Step =>
  model.attached || (model.status === null && model.link === 'lost')
    ? step(model, { do: 'quit' })
    : model.link === 'stopping'
      ? step(model, { do: 'stop-loop' })
      : step({ ...model, prompt: { kind: 'quit' } });

const onPrompt = (model: WatchModel, key: Key): Step => {
  const { prompt } = model;
  const without: WatchModel = { ...model, prompt: null };
  if (prompt === null) return step(model);
  if (prompt.kind === 'filter') {
    if (key.name === 'enter') return step(settle(without));
    if (key.name === 'escape' || key.name === 'interrupt') return step(settle({ ...without, filter: '' }));
    const text =
      key.name === 'backspace'
        ? [...prompt.text].slice(0, -1).join('')
        : key.name === 'char'
          ? (prompt.text + key.char).slice(0, FILTER_CHARACTERS_MAX)
          : prompt.text;
    const move = MOVES[key.name];
    if (move !== undefined) return step(select(model, move));
    return step(settle({ ...model, prompt: { kind: 'filter', text }, filter: text }));
  }
  const yes = key.name === 'char' && key.char.toLowerCase() === 'y';
  // Asked to quit and interrupted again: that is an answer.
  if (prompt.kind === 'quit' && (yes || key.name === 'interrupt')) {
    return step({ ...without, link: 'stopping', linkMessage: 'stopping every daemon in order' }, { do: 'stop-loop' });
  }
  if (prompt.kind === 'act' && yes) {
    const { verb, daemon } = prompt;
    return step(notice(without, `${verb} ${daemon}: asked`, 'busy'), { do: 'act', verb, daemon });
  }
  return step(without);
};

const scrollLogs = (model: WatchModel, panel: Panel & { kind: 'logs' }, key: Key): WatchModel | null => {
  const rows = Math.max(1, layoutOf(model).tableRows);
  const most = Math.max(0, panel.lines.length - rows);
  const steps: Readonly<Partial<Record<Key['name'], number>>> = {
    up: panel.back + 1,
    down: panel.back - 1,
    'page-up': panel.back + rows,
    'page-down': panel.back - rows,
    home: most,
    end: 0,
  };
  const wanted = steps[key.name];
  if (wanted === undefined) return null;
  return { ...model, panel: { ...panel, back: Math.min(Math.max(0, wanted), most) } };
};

/** A panel about the selected daemon goes with the selection. */
const followSelection = (model: WatchModel): Step => {
  const { panel, selected } = model;
  if (selected === null || !('daemon' in panel) || panel.daemon === selected) return step(model);
  if (panel.kind === 'details') return step({ ...model, panel: { ...panel, daemon: selected } });
  if (panel.kind !== 'why') return step(model);
  return step(
    { ...model, panel: { ...panel, daemon: selected, answer: null, fault: null } },
    { do: 'ask-why', daemon: selected },
  );
};

const onKey = (model: WatchModel, key: Key): Step => {
  if (model.prompt !== null) return onPrompt(model, key);
  const named = key.name === 'char' ? (LETTER_MOVES[key.char] ?? key.name) : key.name;
  if (model.panel.kind === 'logs') {
    const scrolled = scrollLogs(model, model.panel, named === 'char' ? key : ({ name: named } as Key));
    if (scrolled !== null) return step(scrolled);
  }
  const move = MOVES[named];
  if (move !== undefined) return followSelection(select(model, move));
  const selected = model.selected;
  switch (key.name) {
    case 'interrupt':
      return askToQuit(model);
    case 'suspend':
      return model.attached ? step(model, { do: 'suspend' }) : step(model);
    case 'redraw':
      return step(model, { do: 'redraw' });
    case 'tab':
      return followSelection(selectUnwell(model));
    case 'escape':
    case 'backspace':
      if (model.panel.kind !== 'none') return close(model);
      return step(settle({ ...model, filter: '' }));
    case 'enter':
      return selected === null ? step(model) : toggle(model, { kind: 'details', daemon: selected });
    case 'char':
      break;
    default:
      return step(model);
  }
  switch (key.char) {
    case 'q':
      return askToQuit(model);
    case '?':
    case 'h':
      return toggle(model, { kind: 'help' });
    case '/':
      return step({ ...model, prompt: { kind: 'filter', text: model.filter } });
    case 'w':
      if (selected === null) return step(model);
      return toggle(
        model,
        { kind: 'why', daemon: selected, answer: null, fault: null },
        { do: 'ask-why', daemon: selected },
      );
    case 'l':
      if (selected === null) return step(model);
      return toggle(
        model,
        { kind: 'logs', daemon: selected, lines: [], back: 0 },
        { do: 'follow-logs', daemon: selected },
      );
    case 'L':
      return toggle(model, { kind: 'logs', daemon: null, lines: [], back: 0 }, { do: 'follow-logs', daemon: null });
    case 'r':
    case 's':
    case 'x': {
      const daemon = model.status?.daemons.find(({ type }) => type === selected);
      const verb = daemon === undefined ? null : verbOf(key.char, daemon);
      if (daemon === undefined || verb === null) return step(model);
      return step({ ...model, prompt: { kind: 'act', verb, daemon: daemon.type } });
    }
    default:
      return step(model);
  }
};

/** News of the daemon that the why panel shows: its answer is out of date. */
const refreshWhy = (model: WatchModel, names: ReadonlySet<string | null>): WatchEffect[] =>
  model.panel.kind === 'why' && names.has(model.panel.daemon) ? [{ do: 'ask-why', daemon: model.panel.daemon }] : [];

export const update = (model: WatchModel, event: WatchEvent): Step => {
  switch (event.kind) {
    case 'key':
      return onKey(model, event.key);
    case 'resize':
      return step(settle({ ...model, size: event.size }), { do: 'redraw' });
    case 'beat': {
      const expired = model.notice !== null && event.nowMs >= model.notice.untilMs;
      return step({ ...model, nowMs: event.nowMs, notice: expired ? null : model.notice });
    }
    case 'status': {
      const link = model.link === 'stopping' ? 'stopping' : 'live';
      const linkMessage = link === 'live' ? '' : model.linkMessage;
      return step(settle({ ...model, status: event.status, nowMs: event.nowMs, link, linkMessage }));
    }
    case 'order':
      return step(settle({ ...model, order: event.order }));
    case 'history': {
      const moved = event.entries.filter(({ from, to }) => from !== null && to !== null);
      if (moved.length === 0) return step(model);
      const recent = [...model.recent, ...moved].slice(-RECENT_MAX);
      return step(settle({ ...model, recent }), ...refreshWhy(model, new Set(moved.map(({ daemon }) => daemon))));
    }
    case 'link':
      return step({ ...model, link: event.link, linkMessage: event.message });
    case 'why': {
      const { panel } = model;
      if (panel.kind !== 'why' || panel.daemon !== event.daemon) return step(model);
      return step({ ...model, panel: { ...panel, answer: event.answer ?? panel.answer, fault: event.fault } });
    }
    case 'log-lines': {
      const { panel } = model;
      if (panel.kind !== 'logs' || panel.daemon !== event.daemon) return step(model);
      const lines = [...panel.lines, ...event.lines].slice(-LOG_LINES_MAX);
      // Scrolled back, the same lines stay in sight while new ones come.
      const back = panel.back === 0 ? 0 : Math.min(panel.back + event.lines.length, Math.max(0, lines.length - 1));
      return step({ ...model, panel: { ...panel, lines, back } });
    }
    case 'outcome':
      return step(notice(model, event.message, event.ok ? 'good' : 'bad'));
  }
};

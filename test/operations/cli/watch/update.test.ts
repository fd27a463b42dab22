import { expect } from 'chai';
import { keysOf } from '../../../../src/operations/cli/watch/keys.ts';
import { visibleDaemons } from '../../../../src/operations/cli/watch/layout.ts';
import {
  initialModel,
  LOG_LINES_MAX,
  RECENT_MAX,
  type WatchEffect,
  type WatchEvent,
  type WatchModel,
} from '../../../../src/operations/cli/watch/model.ts';
import { update } from '../../../../src/operations/cli/watch/update.ts';
import { daemonStatus, historyEntry, statusReport, whyAnswer } from '../../../support/fake-loop.ts';

const NAMES = Array.from({ length: 40 }, (_, index) => `D${String(index).padStart(2, '0')}`);
const SIZE = { columns: 80, rows: 24 };

const play = (model: WatchModel, ...events: WatchEvent[]): { model: WatchModel; effects: WatchEffect[] } => {
  const effects: WatchEffect[] = [];
  let now = model;
  for (const event of events) {
    const stepped = update(now, event);
    now = stepped.model;
    effects.push(...stepped.effects);
  }
  return { model: now, effects };
};

const typed = (text: string): WatchEvent[] => keysOf(text).map((key) => ({ kind: 'key', key }));

const watching = (attached = true, names: readonly string[] = NAMES): WatchModel =>
  play(initialModel(SIZE, 0, attached), {
    kind: 'status',
    status: statusReport(names.map((name) => daemonStatus(name))),
    nowMs: 0,
  }).model;

const [UP, DOWN, PAGE_DOWN, HOME, END] = ['\x1b[A', '\x1b[B', '\x1b[6~', '\x1b[H', '\x1b[F'];

describe('The live view, stepped', () => {
  it('begins with the first daemon selected', () => {
    expect(watching().selected).to.equal('D00');
  });

  it('moves the selection, stops at both ends, and keeps it on the screen', () => {
    expect(play(watching(), ...typed(DOWN + DOWN + UP)).model.selected).to.equal('D01');
    expect(play(watching(), ...typed(UP)).model.selected).to.equal('D00');
    const end = play(watching(), ...typed(END + DOWN)).model;
    expect(end.selected).to.equal('D39');
    expect(end.top).to.be.greaterThan(0);
    expect(play(end, ...typed(HOME)).model).to.include({ selected: 'D00', top: 0 });
    expect(play(watching(), ...typed(PAGE_DOWN)).model.selected).not.to.equal('D01');
  });

  it('keeps the selected daemon by name when rows come, go and move', () => {
    const selected = play(watching(), ...typed(DOWN + DOWN)).model;
    const fewer = statusReport(['X', 'D02', 'D00'].map((name) => daemonStatus(name)));
    expect(play(selected, { kind: 'status', status: fewer, nowMs: 1 }).model.selected).to.equal('D02');
    const gone = statusReport([daemonStatus('X')]);
    expect(play(selected, { kind: 'status', status: gone, nowMs: 1 }).model.selected).to.equal('X');
  });

  it('shows daemons in start order whatever order the status has', () => {
    const model = play(watching(true, ['C', 'A', 'B']), { kind: 'order', order: ['A', 'B', 'C'] }).model;
    expect(visibleDaemons(model).map(({ type }) => type)).to.deep.equal(['A', 'B', 'C']);
  });

  it('every key that acts asks first, and a no changes nothing', () => {
    for (const [key, verb] of [
      ['r', 'restart'],
      ['s', 'stop'],
      ['x', 'reset'],
    ] as const) {
      const asked = play(watching(), ...typed(key));
      expect(asked.effects).to.deep.equal([]);
      expect(asked.model.prompt).to.deep.equal({ kind: 'act', verb, daemon: 'D00' });
      expect(play(asked.model, ...typed('n')).effects).to.deep.equal([]);
      expect(play(asked.model, ...typed('\r')).effects).to.deep.equal([]);
      expect(play(asked.model, ...typed('y')).effects).to.deep.equal([{ do: 'act', verb, daemon: 'D00' }]);
    }
  });

  it('the answer is about the daemon that was asked about, though the selection moved meanwhile', () => {
    const asked = play(watching(), ...typed('r')).model;
    const moved = play(asked, { kind: 'status', status: statusReport([daemonStatus('D07')]), nowMs: 1 });
    expect(play(moved.model, ...typed('y')).effects).to.deep.equal([{ do: 'act', verb: 'restart', daemon: 'D00' }]);
  });

  it('s starts what is stopped or failed', () => {
    for (const over of [{ wanted: 'down', state: 'STOPPED' }, { state: 'FAILED' }] as const) {
      const status = statusReport([daemonStatus('A', over)]);
      const model = play(initialModel(SIZE, 0, true), { kind: 'status', status, nowMs: 0 }).model;
      expect(play(model, ...typed('sy')).effects).to.deep.equal([{ do: 'act', verb: 'start', daemon: 'A' }]);
    }
  });

  it('quitting an attached view just leaves', () => {
    expect(play(watching(true), ...typed('q')).effects).to.deep.equal([{ do: 'quit' }]);
    expect(play(watching(true), ...typed('\x03')).effects).to.deep.equal([{ do: 'quit' }]);
  });

  it('quitting the view of a loop that runs here asks, then stops the fleet; once more shortens it', () => {
    const asked = play(watching(false), ...typed('q'));
    expect(asked.effects).to.deep.equal([]);
    expect(play(asked.model, ...typed('n')).effects).to.deep.equal([]);
    const stopping = play(asked.model, ...typed('y'));
    expect(stopping.effects).to.deep.equal([{ do: 'stop-loop' }]);
    expect(play(stopping.model, ...typed('q')).effects).to.deep.equal([{ do: 'stop-loop' }]);
    expect(play(watching(false), ...typed('\x03\x03')).effects).to.deep.equal([{ do: 'stop-loop' }]);
  });

  it('suspends only an attached view: a loop that runs here must not be stopped by Ctrl-Z', () => {
    expect(play(watching(true), ...typed('\x1a')).effects).to.deep.equal([{ do: 'suspend' }]);
    expect(play(watching(false), ...typed('\x1a')).effects).to.deep.equal([]);
  });

  it('w asks why and shows the answer; an answer about another daemon is dropped', () => {
    const asked = play(watching(), ...typed('w'));
    expect(asked.effects).to.deep.equal([{ do: 'ask-why', daemon: 'D00' }]);
    const other = play(asked.model, { kind: 'why', daemon: 'D09', answer: whyAnswer(), fault: null });
    expect(other.model.panel).to.deep.include({ kind: 'why', daemon: 'D00', answer: null });
    const answer = whyAnswer({ daemon: 'D00' });
    const answered = play(asked.model, { kind: 'why', daemon: 'D00', answer, fault: null });
    expect(answered.model.panel).to.deep.include({ answer });
    expect(play(answered.model, ...typed('w')).model.panel.kind).to.equal('none');
  });

  it('a panel about the selection goes with it, and is asked again when its daemon moved', () => {
    const moved = play(watching(), ...typed(`w${DOWN}`));
    expect(moved.effects.at(-1)).to.deep.equal({ do: 'ask-why', daemon: 'D01' });
    const news = play(moved.model, { kind: 'history', entries: [historyEntry(5, { daemon: 'D01' })] });
    expect(news.effects).to.deep.equal([{ do: 'ask-why', daemon: 'D01' }]);
    expect(play(watching(), ...typed(`\r${DOWN}`)).model.panel).to.deep.equal({ kind: 'details', daemon: 'D01' });
  });

  it('logs follow until scrolled back, then stand still while lines come, and End follows again', () => {
    const open = play(watching(), ...typed('l'));
    expect(open.effects).to.deep.equal([{ do: 'follow-logs', daemon: 'D00' }]);
    const lines = Array.from({ length: 100 }, (_, index) => `line ${index}`);
    const filled = play(open.model, { kind: 'log-lines', daemon: 'D00', lines }).model;
    const back = play(filled, ...typed(UP + UP)).model;
    expect(back.panel).to.deep.include({ back: 2 });
    const more = play(back, { kind: 'log-lines', daemon: 'D00', lines: ['a', 'b', 'c'] }).model;
    expect(more.panel).to.deep.include({ back: 5 });
    expect(play(more, ...typed(END)).model.panel).to.deep.include({ back: 0 });
    const closed = play(more, ...typed('\x1b'));
    expect(closed.effects).to.deep.equal([{ do: 'unfollow-logs' }]);
    expect(closed.model.panel.kind).to.equal('none');
  });

  it('opening another panel over the logs stops following them', () => {
    expect(play(watching(), ...typed('lw')).effects).to.deep.equal([
      { do: 'follow-logs', daemon: 'D00' },
      { do: 'unfollow-logs' },
      { do: 'ask-why', daemon: 'D00' },
    ]);
  });

  it('filters as one types; letters that act elsewhere are only letters there; escape shows all again', () => {
    const filtered = play(watching(true, ['AUTO_SYNC', 'ELO_SYNC', 'DATA_SERVER']), ...typed('/sync'));
    expect(filtered.effects).to.deep.equal([]);
    expect(visibleDaemons(filtered.model).map(({ type }) => type)).to.deep.equal(['AUTO_SYNC', 'ELO_SYNC']);
    const kept = play(filtered.model, ...typed('\r')).model;
    expect(kept).to.deep.include({ prompt: null, filter: 'sync' });
    expect(visibleDaemons(play(kept, ...typed('\x1b')).model)).to.have.length(3);
    expect(play(filtered.model, ...typed('\x7f\x7f')).model.filter).to.equal('sy');
  });

  it('Tab goes to the next daemon that is not well, round and round', () => {
    const status = statusReport([
      daemonStatus('A'),
      daemonStatus('B', { state: 'FAILED' }),
      daemonStatus('C', { wanted: 'down', state: 'STOPPED' }),
      daemonStatus('D', { state: 'WAITING' }),
    ]);
    const model = play(initialModel(SIZE, 0, true), { kind: 'status', status, nowMs: 0 }).model;
    expect(play(model, ...typed('\t')).model.selected).to.equal('B');
    expect(play(model, ...typed('\t\t')).model.selected).to.equal('D');
    expect(play(model, ...typed('\t\t\t')).model.selected).to.equal('B');
    expect(play(watching(), ...typed('\t')).model.notice?.text).to.equal('every daemon is well');
  });

  it('a notice goes away after a while', () => {
    const told = play(watching(), { kind: 'outcome', ok: false, message: 'refused' }).model;
    expect(told.notice).to.deep.include({ text: 'refused', tone: 'bad' });
    expect(play(told, { kind: 'beat', nowMs: 1_000 }).model.notice).not.to.equal(null);
    expect(play(told, { kind: 'beat', nowMs: 60_000 }).model.notice).to.equal(null);
  });

  it('what it remembers is bounded, and only transitions are recent', () => {
    const entries = Array.from({ length: 1_000 }, (_, index) => historyEntry(index));
    expect(play(watching(), { kind: 'history', entries }).model.recent).to.have.length(RECENT_MAX);
    const command = historyEntry(1, { from: null, to: null });
    expect(play(watching(), { kind: 'history', entries: [command] }).model.recent).to.have.length(0);
    const open = play(watching(), ...typed('L')).model;
    const lines = Array.from({ length: LOG_LINES_MAX + 500 }, () => 'x');
    const { panel } = play(open, { kind: 'log-lines', daemon: null, lines }).model;
    expect(panel.kind === 'logs' && panel.lines.length).to.equal(LOG_LINES_MAX);
  });

  it('a loop that answers again is live again, but one that was asked to stop stays stopping', () => {
    const lost = play(watching(), { kind: 'link', link: 'lost', message: 'gone' }).model;
    const status = statusReport([daemonStatus('A')]);
    expect(play(lost, { kind: 'status', status, nowMs: 1 }).model.link).to.equal('live');
    const stopping = play(watching(false), ...typed('qy')).model;
    expect(play(stopping, { kind: 'status', status, nowMs: 1 }).model.link).to.equal('stopping');
  });
});

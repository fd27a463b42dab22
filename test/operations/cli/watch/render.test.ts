import { expect } from 'chai';
import fc from 'fast-check';
import { painter } from '../../../../src/operations/cli/format/paint.ts';
import { width } from '../../../../src/operations/cli/format/text.ts';
import { floorOf, type FloorPanel } from '../../../../src/operations/cli/watch/floor.ts';
import { ratingBar, sparkline } from '../../../../src/operations/cli/watch/floor-lines.ts';
import { keysOf } from '../../../../src/operations/cli/watch/keys.ts';
import { initialModel, type WatchEvent, type WatchModel } from '../../../../src/operations/cli/watch/model.ts';
import { render } from '../../../../src/operations/cli/watch/render.ts';
import { screenChange } from '../../../../src/operations/cli/watch/screen.ts';
import { update } from '../../../../src/operations/cli/watch/update.ts';
import { wallMsOf } from '../../../../src/seams/plain-clock.ts';
import { daemonStatus, historyEntry, STARTED_AT, statusReport, whyAnswer } from '../../../support/fake-loop.ts';

const NOW = wallMsOf(STARTED_AT) + 60_000;
const PLAIN = { paint: painter(false), unicode: true };

const FLOOR: FloorPanel = {
  title: 'Training floor',
  figures: [
    { label: 'games', value: 12_431 },
    { label: 'games/min', value: 812.4 },
    { label: 'models', value: 7 },
  ],
  rows: [
    {
      name: 'square8_2p',
      text: 'champion 7',
      series: [
        { label: 'random', values: [0.4, 0.6, 0.86] },
        { label: 'greedy', values: [0.2, 0.5, 0.89] },
      ],
      rating: { value: 1243, error: 31 },
    },
    { name: 'hex8_2p', text: 'none yet', series: [], rating: null },
  ],
};

const STATUS = statusReport(
  [
    daemonStatus('EVENT_ROUTER', { critical: true }),
    daemonStatus('DATA_PIPELINE', { critical: true }),
    daemonStatus('ELO_SYNC', { state: 'FAILED', lastCause: 'start-failed', lastError: 'cannot open ratings.db' }),
    ...Array.from({ length: 25 }, (_, index) => daemonStatus(`DAEMON_${index}`, { category: 'sync' })),
  ],
  { verdict: 'unhealthy', floor: FLOOR },
);

const play = (model: WatchModel, ...events: WatchEvent[]): WatchModel =>
  events.reduce((now, event) => update(now, event).model, model);

const typed = (text: string): WatchEvent[] => keysOf(text).map((key) => ({ kind: 'key', key }));

const showing = (columns: number, rows: number, status: object = STATUS, attached = true): WatchModel =>
  play(
    initialModel({ columns, rows }, NOW, attached),
    { kind: 'status', status: status as typeof STATUS, nowMs: NOW },
    { kind: 'history', entries: Array.from({ length: 30 }, (_, index) => historyEntry(index, { message: 'news' })) },
  );

describe('The live view, drawn', () => {
  it('at 80×24 shows fleet, floor, daemons, news and keys at once', () => {
    const lines = render(showing(80, 24), PLAIN);
    const text = lines.join('\n');
    expect(lines[0]).to.match(/^ringrift · unhealthy · up 1m00s · port 8790 · pid \d+, attached/);
    expect(lines[1]).to.equal('28 daemons: 1 failed (ELO_SYNC), 27 running');
    expect(text).to.match(/── Training floor ─+/);
    expect(text).to.match(/games 12,431 {3}games\/min 812 {3}models 7/);
    expect(text).to.match(/square8_2p {2}champion 7 {2}random [▁-█]+ +0\.86 {2}greedy [▁-█]+ +0\.89 +1243±31/);
    expect(text).to.match(/▸ EVENT_ROUTER \* +RUNNING +healthy +0 +1m00s/);
    expect(text).to.match(/ELO_SYNC +FAILED .*start-failed/);
    expect(text).to.match(/── Recent ─+/);
    expect(lines.at(-1)).to.match(/^Enter more .* q quit/);
  });

  it('at 200×60 has room for every daemon, its kind and category, whole reasons and rating bars', () => {
    const text = render(showing(200, 60), PLAIN).join('\n');
    for (const { type } of STATUS.daemons) expect(text).to.include(type);
    expect(text).to.include('start-failed: cannot open ratings.db');
    expect(text).to.match(/KIND +CATEGORY/);
    expect(text).to.match(/1243±31 +.*●/);
  });

  it('on a wide screen a panel stands beside the table, on a narrow one in its place', () => {
    const wide = render(play(showing(200, 60), ...typed('\r')), PLAIN).join('\n');
    expect(wide).to.match(/ {2}DAEMON .* │ ── EVENT_ROUTER ─+\n▸ EVENT_ROUTER \* .* │ State +RUNNING/);
    const narrow = render(play(showing(80, 24), ...typed('\r')), PLAIN).join('\n');
    expect(narrow).to.match(/── EVENT_ROUTER ─+\nState +RUNNING, wanted up/);
    expect(narrow).not.to.include('DAEMON_1');
  });

  it('in the details of a daemon, quantities are grouped, and a port is written as it is typed', () => {
    const details = { games: 12_431, port: 40_123, isOpen: true };
    const health = { ...daemonStatus('A').health, details };
    const status = statusReport([daemonStatus('A', { health })]);
    const text = render(play(showing(100, 30, status), ...typed('\r')), PLAIN).join('\n');
    expect(text).to.include('games 12,431, port 40123, isOpen true');
  });

  it('the whole of a why fits a screen of 24 rows', () => {
    const chain = Array.from({ length: 40 }, (_, index) => historyEntry(99 - index));
    const answer = whyAnswer({ daemon: 'EVENT_ROUTER', remedy: 'do this', causeChain: chain });
    const model = play(showing(80, 24), ...typed('w'), { kind: 'why', daemon: 'EVENT_ROUTER', answer, fault: null });
    const text = render(model, PLAIN).join('\n');
    expect(text).to.include('── why EVENT_ROUTER ─').and.to.include('To do      do this');
  });

  it('asks in the last line, and says there what was answered', () => {
    expect(render(play(showing(80, 24), ...typed('r')), PLAIN).at(-1)).to.equal('restart EVENT_ROUTER? y / n');
    const told = play(showing(80, 24), { kind: 'outcome', ok: true, message: 'restarted' });
    expect(render(told, PLAIN).at(-1)).to.equal('restarted');
    expect(render(play(showing(80, 24, STATUS, false), ...typed('q')), PLAIN).at(-1)).to.match(
      /^stop the fleet .* y \/ n/,
    );
  });

  it('one line above the table says what concerns the whole fleet, the most urgent first', () => {
    const alertOf = (over: object): string | undefined => render(showing(80, 24, { ...STATUS, ...over }), PLAIN)[2];
    const gap = { subscriber: 'AUTO_SYNC', topic: 'GAME_SYNCED', critical: true, reason: 'canary lost' };
    const subscriptions = { total: 3, gaps: [gap] };
    expect(alertOf({ subscriptions })).to.equal('subscription gap: AUTO_SYNC of GAME_SYNCED: canary lost');
    const stall = { silentMs: 3_000, heldBy: 'AUTO_EXPORT' };
    expect(alertOf({ subscriptions, stall })).to.include('main loop silent for 3.0s, held by AUTO_EXPORT');
    const lost = play(showing(80, 24), { kind: 'link', link: 'lost', message: 'its stream ended' });
    expect(render(lost, PLAIN)[2]).to.equal('loop lost: its stream ended');
  });

  it('without the floor in the status there is no floor panel, and one of another shape is left out', () => {
    const { floor: _floor, ...without } = STATUS;
    expect(render(showing(80, 24, without), PLAIN).join('\n')).not.to.include('Training floor');
    for (const floor of [null, 7, 'x', [], {}, { figures: 'none', rows: [3] }, { title: 'T' }])
      expect(floorOf({ floor })).to.equal(null);
    expect(
      floorOf({ floor: { rows: [{ name: 'a', series: [{ values: ['x', 1] }], rating: {} }] } })?.rows,
    ).to.deep.equal([{ name: 'a', text: '', series: [{ label: '', values: [1] }], rating: null }]);
  });

  it('before the loop has answered says that it waits', () => {
    expect(render(initialModel({ columns: 80, rows: 24 }, NOW, false), PLAIN)[0]).to.include('waiting for the loop');
  });

  it('colour changes no text', () => {
    const model = play(showing(120, 40), ...typed('\x1b[B'));
    const coloured = render(model, { paint: painter(true), unicode: true });
    // eslint-disable-next-line no-control-regex
    expect(coloured.map((line) => line.replace(/\x1b\[[0-9;]*m/g, ''))).to.deep.equal(render(model, PLAIN));
    expect(coloured.join('')).to.include('\x1b[');
  });

  it('at any size, with any key pressed and any text inside, it is exactly the screen and never wider', () => {
    const text = fc.string({ unit: 'binary', maxLength: 120 });
    const keys = fc.constantFrom('', '\r', 'w', 'l', 'L', '?', 'r', '/ab', 'q', '\x1b[F', '\t', '\x1b[6~\r');
    const size = fc.record({ columns: fc.integer({ min: 1, max: 220 }), rows: fc.integer({ min: 1, max: 70 }) });
    fc.assert(
      fc.property(
        size,
        keys,
        text,
        fc.boolean(),
        fc.nat({ max: 12 }),
        ({ columns, rows }, pressed, foreign, unicode, count) => {
          const daemons = Array.from({ length: count }, (_, index) =>
            daemonStatus(`D${index}`, { state: 'FAILED', lastError: foreign, reason: foreign, category: foreign }),
          );
          const status = { ...STATUS, fleet: foreign, daemons: [...daemons, ...STATUS.daemons.slice(0, count)] };
          const why = whyAnswer({ daemon: 'D0', reason: foreign });
          const model = play(
            showing(columns, rows, status),
            ...typed(pressed),
            { kind: 'log-lines', daemon: 'D0', lines: [foreign, foreign] },
            { kind: 'why', daemon: 'D0', answer: why, fault: null },
          );
          const lines = render(model, { paint: painter(false), unicode });
          // One assertion a screen: thousands of them would take longer than the drawing.
          const wrong = lines.filter(
            (line) => width(line) > columns || (unicode ? /\p{Cc}/u : /[^\x20-\x7e]/u).test(line),
          );
          expect({ rows: lines.length, wrong }).to.deep.equal({ rows, wrong: [] });
        },
      ),
      { numRuns: 100 },
    );
  }).timeout(20_000);
});

describe('The floor', () => {
  it('draws a course from the lowest step to the highest, and all of it however long it is', () => {
    expect(sparkline([0, 0.5, 1], 10)).to.equal('▁▅█');
    expect(
      sparkline(
        Array.from({ length: 800 }, (_, index) => index / 800),
        8,
      ),
    ).to.equal('▁▂▃▄▅▆▇█');
    expect(sparkline([-3, 7], 4)).to.equal('▁█');
  });

  it('draws a rating with its interval on a common scale', () => {
    expect(ratingBar({ value: 5, error: 2 }, 0, 10, 11)).to.equal('   ├─●─┤   ');
    expect(ratingBar({ value: 5, error: 0 }, 5, 5, 3)).to.have.length(3);
  });
});

describe('From one screen to the next', () => {
  /** A terminal that understands what we send, and would scroll on anything else. */
  const apply = (screen: readonly string[], change: string): string[] => {
    const lines = [...screen];
    // eslint-disable-next-line no-control-regex
    for (const [, row, text] of change.matchAll(/\x1b\[(\d+);1H\x1b\[K([^\x1b]*)/g))
      lines[Number(row) - 1] = text ?? '';
    return lines;
  };

  it('what is written turns any screen into any other', () => {
    const screen = fc.array(
      fc.string({ maxLength: 8 }).map((text) => text.replaceAll('\x1b', '')),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(screen, screen, (before, after) => {
        const padded = [...after, ...Array.from({ length: Math.max(0, before.length - after.length) }, () => '')];
        expect(apply(before, screenChange(before, after))).to.deep.equal(padded);
      }),
    );
  });

  it('erases before it writes: erased afterwards, a line as wide as the screen would lose its last cell', () => {
    expect(screenChange([''], ['wide']).endsWith('\x1b[Kwide\x1b[?2026l')).to.be.true;
  });

  it('writes only the lines that changed, and nothing when none did', () => {
    expect(screenChange(['a', 'b'], ['a', 'b'])).to.equal('');
    expect(screenChange(['a', 'b', 'c'], ['a', 'X', 'c']))
      .to.include('\x1b[2;1H\x1b[KX')
      .and.not.to.include('\x1b[1;1H');
  });
});

import { expect } from 'chai';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ANSWER_CHARACTERS_MAX, followLog, readLog } from '../../../src/operations/logging/read-log.ts';
import { simulatedClock, type SimulatedClock } from '../../../src/simulation/simulated-clock.ts';

const line = (daemon: string, text: string): string => `2026-11-23T21:00:00.000Z INFO [${daemon}] ${text}`;

describe('reading the log', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ml-read-'));
    path = join(folder, 'coordination.log');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('of a loop that never logged gives nothing', () => {
    expect(readLog({ path, daemon: null, lines: 10 })).to.deep.equal([]);
  });

  it('gives the last lines, oldest first, of one daemon when asked', () => {
    writeFileSync(path, `${[line('A', '1'), line('B', '2'), line('A', '3'), line('B', '4')].join('\n')}\n`);
    expect(readLog({ path, daemon: null, lines: 2 })).to.deep.equal([line('A', '3'), line('B', '4')]);
    expect(readLog({ path, daemon: 'A', lines: 9 })).to.deep.equal([line('A', '1'), line('A', '3')]);
    expect(readLog({ path, daemon: null, lines: 0 })).to.deep.equal([]);
  });

  it('gives no more than an answer may hold, the newest lines, and says that there were more', () => {
    const long = (index: number): string => line('A', `${index} ${'x'.repeat(100_000)}`);
    const all = Array.from({ length: 60 }, (_value, index) => long(index));
    writeFileSync(`${path}.1`, `${all.slice(0, 30).join('\n')}\n`);
    writeFileSync(path, `${all.slice(30).join('\n')}\n`);
    const fits = Math.floor(ANSWER_CHARACTERS_MAX / all[59]!.length);
    const [first, ...lines] = readLog({ path, daemon: null, lines: 10_000 });
    expect(first).to.equal(`… earlier lines are left out: an answer holds at most ${ANSWER_CHARACTERS_MAX} characters`);
    expect(lines).to.deep.equal(all.slice(-fits));
    expect(readLog({ path, daemon: null, lines: fits }), 'nothing is left out').to.deep.equal(all.slice(-fits));
  });

  it('finds lines that lie across the blocks it reads, and across files', () => {
    const text = (index: number): string => line('A', `${index} ${'é'.repeat(500)}`);
    const all = Array.from({ length: 2_000 }, (_value, index) => text(index));
    writeFileSync(`${path}.1`, `${all.slice(0, 1_000).join('\n')}\n`);
    writeFileSync(path, `${all.slice(1_000).join('\n')}\n`);
    expect(readLog({ path, daemon: null, lines: 1_500 })).to.deep.equal(all.slice(500));
    expect(readLog({ path, daemon: null, lines: 10_000 })).to.deep.equal(all);
  });

  describe('as it grows', () => {
    let clock: SimulatedClock;
    let seen: string[];
    let end: () => void;
    beforeEach(() => {
      clock = simulatedClock();
      seen = [];
      end = () => undefined;
    });
    afterEach(() => end());
    const follow = (lines = 1, daemon: string | null = null): void => {
      end = followLog({ path, daemon, lines }, clock, (text) => seen.push(text));
    };
    const poll = (): void => void clock.advanceSync(200);

    it('shows the last lines, then every new one, whole', () => {
      writeFileSync(path, `${line('A', '1')}\n${line('A', '2')}\n`);
      follow();
      appendFileSync(path, line('A', '3').slice(0, 30));
      poll();
      appendFileSync(path, `${line('A', '3').slice(30)}\n`);
      poll();
      expect(seen).to.deep.equal([line('A', '2'), line('A', '3')]);
    });

    it('goes over a rotation without a loss or a double, even of what is written late to the old file', () => {
      writeFileSync(path, `${line('A', '1')}\n`);
      follow(0);
      appendFileSync(path, `${line('A', '2')}\n`);
      renameSync(path, `${path}.1`);
      appendFileSync(`${path}.1`, `${line('A', '3')}\n`);
      writeFileSync(path, `${line('A', '4')}\n`);
      poll();
      appendFileSync(path, `${line('A', '5')}\n`);
      poll();
      expect(seen).to.deep.equal(['2', '3', '4', '5'].map((text) => line('A', text)));
    });

    it('begins when the file does', () => {
      follow();
      poll();
      writeFileSync(path, `${line('A', '1')}\n`);
      poll();
      expect(seen).to.deep.equal([line('A', '1')]);
    });

    it('begins again when the file was cut', () => {
      writeFileSync(path, `${line('A', '1')}\n${line('A', '2')}\n`);
      follow(0);
      writeFileSync(path, `${line('B', '3')}\n`);
      poll();
      expect(seen).to.deep.equal([line('B', '3')]);
    });

    it('shows one daemon only when asked, and nothing after its end', () => {
      writeFileSync(path, '');
      follow(0, 'B');
      appendFileSync(path, `${line('A', '1')}\n${line('B', '2')}\n`);
      poll();
      end();
      appendFileSync(path, `${line('B', '3')}\n`);
      poll();
      expect(seen).to.deep.equal([line('B', '2')]);
      expect(clock.pending()).to.equal(0);
    });
  });
});

import { expect } from 'chai';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import {
  FLOOD_KEPT_BYTES,
  OUTPUT_BYTES_MAX,
  watchChildOutput,
  type ChildOutput,
} from '../../../src/operations/logging/child-output.ts';
import { realClock } from '../../../src/seams/clock.ts';
import { programCommand } from '../../../src/seams/entry.ts';
import { outputFiles, type OutputFiles } from '../../../src/seams/output-files.ts';
import { realSpawner } from '../../../src/seams/real-spawner.ts';
import type { RunningProcess } from '../../../src/seams/spawner.ts';
import { simulatedClock, type SimulatedClock } from '../../../src/simulation/simulated-clock.ts';

const MEGABYTE = 1024 * 1024;

describe('the output of child processes', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ml-output-'));
    path = join(folder, 'A-child.log');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const read = (name = path): string => readFileSync(name, 'utf8');

  describe('cutting a file under its writer', () => {
    const note = (lost: number): string => `${lost} left out`;

    it('keeps all of it in .1 when asked to, and the writer goes on at the new end', async () => {
      const writer = openSync(path, 'a');
      writeSync(writer, 'one\ntwo\n');
      expect(await outputFiles().cut(path, 100, note)).to.equal(0);
      writeSync(writer, 'three\n');
      closeSync(writer);
      expect(read()).to.equal('three\n');
      expect(read(`${path}.1`)).to.equal('one\ntwo\n');
    });

    it('keeps the newest bytes, counts the others, and says so in the file', async () => {
      writeFileSync(path, `${'a'.repeat(MEGABYTE)}end`);
      expect(await outputFiles().cut(path, 3, note)).to.equal(MEGABYTE);
      expect(read(`${path}.1`)).to.equal('end');
      expect(read()).to.equal(`${MEGABYTE} left out\n`);
    });

    it('keeps no more than that of a file that grows meanwhile, and counts what it left out', async () => {
      const block = 'x'.repeat(4 * MEGABYTE);
      let written = 0;
      const write = (): void => {
        appendFileSync(path, block);
        written += block.length;
      };
      for (let blocks = 0; blocks < 4; blocks++) write();
      let done = false;
      const cut = outputFiles()
        .cut(path, MEGABYTE, () => 'note')
        .finally(() => (done = true));
      while (!done) {
        write();
        await setImmediate();
      }
      const lost = await cut;
      const kept = statSync(`${path}.1`).size;
      expect(kept).to.be.within(MEGABYTE, 2 * MEGABYTE);
      const left = statSync(path).size - Buffer.byteLength('note\n');
      expect(lost + kept + left).to.equal(written);
    });

    it('empties it all the same when the copy cannot be made, and counts everything', async () => {
      writeFileSync(path, 'what it said');
      mkdirSync(`${path}.1.part`);
      expect(await outputFiles().cut(path, 100, note)).to.equal(12);
      expect(read()).to.equal('12 left out\n');
    });

    it('has no size for a file that is not there', () => {
      expect(outputFiles().size(path)).to.equal(null);
    });
  });

  describe('watched', () => {
    const LIMIT = 1_000;
    let clock: SimulatedClock;
    let warnings: string[];
    let live: string[];
    let output: ChildOutput;
    const watch = (files: OutputFiles = outputFiles()): void => {
      output = watchChildOutput({
        ...{ clock, files, live: () => live, bytesMax: LIMIT },
        log: { warn: (message) => warnings.push(message) },
      });
    };
    const fill = () => output.collections()['child_output_bytes'];
    /** Time passes, and the disk has the turns of the loop that it needs. */
    const pass = async (ms: number, stepMs = 50): Promise<void> => {
      for (let left = ms; left > 0; left -= stepMs) {
        await clock.advance(Math.min(left, stepMs));
        for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    };
    beforeEach(() => {
      clock = simulatedClock();
      warnings = [];
      live = [path];
    });
    afterEach(() => output.close());

    it('of a child that is talkative: moves to .1 whole, and nobody is warned', async () => {
      writeFileSync(path, '');
      watch();
      await pass(300);
      for (const part of ['a', 'b', 'c']) {
        appendFileSync(path, part.repeat(400));
        await pass(300);
      }
      expect(read()).to.equal('');
      expect(read(`${path}.1`)).to.equal(['a', 'b', 'c'].map((part) => part.repeat(400)).join(''));
      expect(fill()).to.deep.equal({ size: 0, limit: LIMIT, dropped: 0 });
      expect(warnings).to.deep.equal([]);
    });

    it('of nobody: no timer is armed until a child begins to live, and none after its end', async () => {
      live = [];
      watch();
      expect(clock.pending()).to.equal(0);
      writeFileSync(path, 'a'.repeat(LIMIT + 1));
      live = [path];
      output.look();
      output.look(); // it does so already
      await pass(50);
      expect(read()).to.equal('');
      expect(clock.pending()).to.equal(1);
      live = [];
      await pass(300);
      expect(clock.pending()).to.equal(0);
      live = [path];
      output.look();
      await pass(50);
      expect(clock.pending()).to.equal(1);
    });

    it('of a child that floods: only the end is kept, and the loss is told once, then once a minute', async () => {
      writeFileSync(path, '');
      watch();
      await pass(300);
      for (let round = 0; round < 5; round++) {
        appendFileSync(path, 'x'.repeat(10 * LIMIT));
        await pass(300);
      }
      const noted = read().length; // each note is a part of what the next cut finds
      expect(fill()).to.deep.equal({ size: noted, limit: LIMIT, dropped: 5 * 9 * LIMIT + 4 * noted });
      expect(statSync(`${path}.1`).size).to.equal(LIMIT);
      expect(read()).to.match(/^\S+ master_loop: \d+ bytes of output were left out here/);
      expect(warnings).to.have.length(1);
      expect(warnings[0]).to.include(`bytes of output were left out of ${path}`);
      await pass(60_000 - 1_200, 5_000);
      expect(warnings, 'the sum of the others').to.have.length(2);
    });

    it('of a child that has ended: is looked at once more, and told of', async () => {
      writeFileSync(path, '');
      watch();
      await pass(300);
      appendFileSync(path, 'x'.repeat(10 * LIMIT));
      await pass(300);
      appendFileSync(path, 'y'.repeat(10 * LIMIT));
      live = [];
      await pass(300);
      expect(read(`${path}.1`)).to.match(/^y+$/);
      expect(warnings, 'nothing is kept to be told later').to.have.length(2);
      appendFileSync(path, 'z'.repeat(10 * LIMIT));
      await pass(600);
      expect(read(), 'nobody looks any more').to.include('zzz');
    });

    it('that grew while no master was there is cut at the first look, but not taken for a flood', async () => {
      writeFileSync(path, 'x'.repeat(10 * LIMIT));
      watch();
      await pass(300);
      expect(statSync(`${path}.1`).size).to.equal(2 * LIMIT);
      expect(fill()?.dropped).to.equal(8 * LIMIT);
    });

    it('that cannot be kept short: is told once, and is cut when it can be again', async () => {
      let fails = true;
      const files = outputFiles();
      writeFileSync(path, 'x'.repeat(LIMIT + 1));
      watch({
        size: (of) => files.size(of),
        cut: (...args) => (fails ? Promise.reject(new Error('EIO: the disk is broken')) : files.cut(...args)),
      });
      await pass(1_000);
      expect(warnings).to.deep.equal([`cannot keep ${path} short: EIO: the disk is broken; it goes on growing`]);
      expect(fill()?.size, 'the gauge shows that it is too long').to.equal(LIMIT + 1);
      fails = false;
      await pass(300);
      expect(fill()?.size).to.equal(0);
    });
  });

  describe('of a real child', function () {
    this.timeout(60_000);
    /** Of the memory of this process while the child floods; the tests themselves take some. */
    const GROWTH_MAX = 100 * MEGABYTE;
    const children: RunningProcess[] = [];
    let output: ChildOutput | null = null;
    afterEach(async () => {
      for (const child of children.splice(0)) {
        child.signalGroup('SIGKILL');
        await child.exited;
      }
      await output?.close();
    });

    const flood = async (megabytes: number, perSecond: number, shape: 'lines' | 'one-line') => {
      const resultFile = join(folder, 'result.json');
      const warnings: string[] = [];
      output = watchChildOutput({
        clock: realClock(),
        files: outputFiles(),
        live: () => (children.length === 0 ? [] : [path]),
        log: { warn: (message) => warnings.push(message) },
      });
      const before = process.memoryUsage.rss();
      const args = [String(megabytes), String(perSecond), shape, resultFile];
      const child = await realSpawner({ instance: `output-test-${process.pid}` }).spawn({
        command: programCommand('../../support/flood-program.ts', import.meta.url, args),
        cwd: folder,
        outputFile: path,
      });
      children.push(child);
      output.look();
      let ended = false;
      void child.exited.then(() => (ended = true));
      let longest = 0;
      let growth = 0;
      while (!ended) {
        longest = Math.max(longest, outputFiles().size(path) ?? 0);
        growth = Math.max(growth, process.memoryUsage.rss() - before);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      children.pop();
      await output.close();
      const kept = [path, `${path}.1`].reduce((sum, file) => sum + (existsSync(file) ? statSync(file).size : 0), 0);
      const result = JSON.parse(readFileSync(resultFile, 'utf8')) as { written: number; longestMs: number };
      const dropped = output.collections()['child_output_bytes']?.dropped ?? 0;
      return { ...result, warnings, dropped, kept, longest, growth };
    };

    it('that prints 100 MB a second for 3 s: costs no memory, stays short on disk, and never has to wait', async () => {
      const { written, longestMs, warnings, dropped, kept, longest, growth } = await flood(300, 100, 'lines');
      expect(written).to.be.at.least(300 * MEGABYTE * 0.99);
      expect(growth).to.be.below(GROWTH_MAX);
      expect(longest, 'at any moment').to.be.below(100 * MEGABYTE);
      expect(kept, 'at the end').to.be.below(3 * OUTPUT_BYTES_MAX);
      expect(dropped).to.be.within(written / 2, written + MEGABYTE);
      expect(longestMs, 'the longest write').to.be.below(1_000);
      expect(warnings[0]).to.match(/^\d+ bytes of output were left out of .*A-child\.log/);
    });

    it('that prints one line of a gigabyte at once: the same', async () => {
      const { written, longestMs, dropped, kept, growth } = await flood(1_024, 0, 'one-line');
      expect(written).to.equal(1_024 * MEGABYTE);
      expect(growth).to.be.below(GROWTH_MAX);
      expect(kept).to.be.below(3 * OUTPUT_BYTES_MAX);
      expect(dropped).to.be.within(written / 2, written + MEGABYTE);
      expect(longestMs).to.be.below(1_000);
      expect(statSync(`${path}.1`).size).to.be.at.most(FLOOD_KEPT_BYTES * 2 + 2 * OUTPUT_BYTES_MAX);
    });
  });
});

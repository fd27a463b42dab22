import { expect } from 'chai';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RotatingFile, type RotatingFileOptions } from '../../../src/operations/logging/rotating-file.ts';
import { openGrowing, type GrowingFile } from '../../../src/seams/log-files.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import { simulatedClock, type SimulatedClock } from '../../../src/simulation/simulated-clock.ts';

/** A disk with room for so many bytes; takes what fits, then refuses, as the kernel does. */
class SmallDisk {
  room: number;
  text = '';
  refuse: string | null = null;
  /** When set, a write waits for it. */
  slow: Promise<void> = Promise.resolve();

  constructor(room: number) {
    this.room = room;
  }

  #take(bytes: Uint8Array): number {
    if (this.refuse !== null) throw Object.assign(new Error(`${this.refuse}: no`), { code: this.refuse });
    if (this.room === 0) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    const taken = Math.min(this.room, bytes.length);
    this.room -= taken;
    this.text += Buffer.from(bytes.subarray(0, taken)).toString('latin1');
    return taken;
  }

  readonly open = (): GrowingFile => ({
    append: async (bytes) => {
      await this.slow;
      return this.#take(bytes);
    },
    appendNow: (bytes) => this.#take(bytes),
    size: () => this.text.length,
    isNamed: () => true,
    close: () => undefined,
  });
}

describe('the rotating log file', () => {
  let folder: string;
  let clock: SimulatedClock;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ml-log-'));
    clock = simulatedClock();
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const make = (changes: Partial<RotatingFileOptions> = {}): RotatingFile =>
    new RotatingFile({
      path: join(folder, 'logs', 'coordination.log'),
      clock,
      files: realFileSystem(),
      open: openGrowing,
      lossLine: (lost, reason) => `LOST ${lost}: ${reason}`,
      ...changes,
    });
  const names = (): string[] => readdirSync(join(folder, 'logs')).sort();
  const linesOf = (name: string): string[] =>
    readFileSync(join(folder, 'logs', name), 'utf8')
      .split('\n')
      .slice(0, -1);

  it('keeps every line of a burst, in order', async () => {
    const file = make();
    const lines = Array.from({ length: 20_000 }, (_value, index) => `line ${index}`);
    for (const line of lines) file.write(line);
    await file.close();
    expect(linesOf('coordination.log')).to.deep.equal(lines);
    expect(file.figures()).to.deep.equal({ dropped: 0, failing: null, waitingBytes: 0 });
  });

  it('rotates by size: the plain name is the live file, .1 the one before, and the oldest goes', async () => {
    const file = make({ fileBytesMax: 100, filesKept: 2 });
    for (let index = 0; index < 50; index++) {
      file.write(`line number ${String(index).padStart(3, '0')}`);
      await file.flush();
    }
    await file.close();
    expect(names()).to.deep.equal(['coordination.log', 'coordination.log.1', 'coordination.log.2']);
    const all = [...linesOf('coordination.log.2'), ...linesOf('coordination.log.1'), ...linesOf('coordination.log')];
    expect(all.at(-1)).to.equal('line number 049');
    const first = Number(all[0]?.slice(-3));
    expect(all).to.deep.equal(
      Array.from({ length: 50 - first }, (_value, index) => `line number ${String(first + index).padStart(3, '0')}`),
    );
  });

  it('opens the name again when somebody moved or deleted its file', async () => {
    const file = make();
    file.write('one');
    await file.flush();
    renameSync(join(folder, 'logs', 'coordination.log'), join(folder, 'logs', 'moved'));
    clock.advanceSync(1_000);
    file.write('two');
    await file.flush();
    rmSync(join(folder, 'logs'), { recursive: true });
    clock.advanceSync(1_000);
    file.write('three');
    await file.close();
    expect(linesOf('coordination.log')).to.deep.equal(['three']);
  });

  it('on a full disk keeps lines waiting, and writes them whole when there is room again', async () => {
    const disk = new SmallDisk(10);
    const file = make({ open: disk.open });
    file.write('first line');
    file.write('second line');
    await file.flush();
    expect(file.figures().failing).to.contain('ENOSPC');
    expect(disk.text).to.equal('first line');
    disk.room = 1_000;
    await clock.advance(1_000);
    await file.close();
    expect(disk.text).to.equal('first line\nsecond line\n');
    expect(file.figures()).to.include({ failing: null, dropped: 0 });
  });

  it('on a disk that stays full drops the newest beyond its bound, counts them, and says so at the gap', async () => {
    const disk = new SmallDisk(0);
    const file = make({ open: disk.open, waitingBytesMax: 100 });
    for (let index = 0; index < 30; index++) {
      file.write(`line ${index}`);
      await file.flush();
    }
    const { dropped, waitingBytes } = file.figures();
    expect(dropped).to.be.within(15, 20);
    expect(waitingBytes).to.be.at.most(100);
    expect(file.fill()).to.deep.equal({ size: waitingBytes, limit: 100, dropped });
    disk.room = 1_000;
    await clock.advance(1_000);
    file.write('after');
    await file.close();
    const kept = Array.from({ length: 30 - dropped }, (_value, index) => `line ${index}`);
    expect(disk.text.split('\n').slice(0, -1)).to.deep.equal([
      ...kept,
      `LOST ${dropped}: ENOSPC: no space left on device`,
      'after',
    ]);
  });

  it('on a slow disk never makes who logs wait, and loses nothing within its bound', async () => {
    const disk = new SmallDisk(1_000_000);
    let release = (): void => undefined;
    disk.slow = new Promise((resolve) => (release = resolve));
    const file = make({ open: disk.open });
    for (let index = 0; index < 1_000; index++) file.write(`line ${index}`);
    expect(disk.text).to.equal('');
    release();
    await file.close();
    expect(disk.text.split('\n')).to.have.length(1_001);
  });

  it('after any other failure opens its file anew', async () => {
    const disk = new SmallDisk(1_000);
    let opened = 0;
    const file = make({
      open: () => {
        opened++;
        return disk.open();
      },
    });
    disk.refuse = 'EIO';
    file.write('one');
    await file.flush();
    expect(file.figures().failing).to.contain('EIO');
    disk.refuse = null;
    await clock.advance(1_000);
    await file.close();
    expect(disk.text).to.equal('one\n');
    expect(opened).to.equal(2);
  });

  it('that cannot even be opened counts what it loses and takes nobody down', async () => {
    const file = make({
      waitingBytesMax: 10,
      open: () => {
        throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
      },
    });
    for (let index = 0; index < 5; index++) file.write('12345678');
    await file.flush();
    expect(file.figures()).to.include({ failing: 'EACCES: permission denied', dropped: 4 });
    await file.close();
  });

  it('writes its last words at once', () => {
    const disk = new SmallDisk(1_000);
    const file = make({ open: disk.open });
    file.write('one');
    file.write('two');
    file.flushNow();
    expect(disk.text).to.equal('one\ntwo\n');
  });

  it('whose last words find a full disk says nothing and does not throw', () => {
    const file = make({ open: new SmallDisk(0).open });
    file.write('one');
    file.flushNow();
    expect(file.figures().failing).to.contain('ENOSPC');
  });
});

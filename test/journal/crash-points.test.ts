/**
 * Power cuts at every point of a run (docs/reliability.md I28), by enumeration instead of luck.
 *
 * The run writes a sequence 1, 2, 3 … and now and then asks for durability; its state is the list so far. For every
 * prefix of the changes it made to the disk, and every legal loss of what was not synced, the journal is recovered. What
 * must hold: the state is a prefix of the sequence (never a third thing), at least up to what was promised durable before
 * the cut, at most up to what was recorded; recovering again gives the same; and the next run can build on it.
 */
import { expect } from 'chai';
import { openJournal, type Journal } from '../../src/journal/journal.ts';
import { recoverJournal } from '../../src/journal/recovery.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
import { simulatedFileSystem, type SimulatedFileSystem } from '../../src/simulation/simulated-file-system.ts';

const FOLDER = '/j';

const open = (files: SimulatedFileSystem): Journal =>
  openJournal({
    folder: FOLDER,
    files,
    clock: simulatedClock(),
    fleetHash: 'f',
    coreVersion: '1',
    limits: { segmentBytes: 300, keepSegments: 3 },
  });

/** The state a recovery gives: how long the list is; a list that is no 1, 2, 3 … is a third state. */
const stateOf = (files: SimulatedFileSystem): { readonly count: number; readonly holes: number } => {
  const { checkpoint, tail, holes } = recoverJournal({ folder: FOLDER, files });
  let count = (checkpoint?.state ?? 0) as number;
  for (const { kind, data } of tail) {
    if (kind !== 'input') continue;
    if (data !== count + 1) throw new Error(`a third state: ${String(data)} after ${count}`);
    count++;
  }
  return { count, holes: holes.length };
};

/** A run that notes, at each point of the trace, what it has recorded and what was promised. */
class Run {
  readonly #files: SimulatedFileSystem;
  readonly #journal: Journal;
  readonly #notes: { readonly calls: number; readonly recorded: number; readonly promised: number }[];
  #count: number;
  #promised: number;

  constructor(files: SimulatedFileSystem) {
    this.#files = files;
    this.#count = stateOf(files).count;
    this.#promised = this.#count; // what a run was told at its start it may rely on
    this.#notes = [{ calls: 0, recorded: this.#count, promised: this.#count }];
    this.#journal = open(files);
    this.#note();
  }

  add(records = 1): void {
    for (let added = 0; added < records; added++)
      this.#journal.append({ kind: 'input', cause: null, data: ++this.#count });
    this.#note();
  }

  flush(): void {
    this.#journal.flush();
    this.#note();
  }

  sync(): void {
    let durable: boolean;
    try {
      durable = this.#journal.sync();
    } catch {
      durable = false;
    }
    if (durable) this.#promised = this.#count;
    this.#note();
  }

  checkpoint(): void {
    if (this.#journal.checkpoint(this.#count)) this.#promised = this.#count;
    this.#note();
  }

  #note(): void {
    this.#notes.push({ calls: this.#files.trace.length, recorded: this.#count, promised: this.#promised });
  }

  /** Tries every crash point; `each` may look further at a state. @returns states tried */
  crash(byteStep: number, each?: (files: SimulatedFileSystem, tried: number) => void): number {
    let tried = 0;
    for (let calls = 0; calls <= this.#files.trace.length; calls++) {
      const promised = Math.max(...this.#notes.filter((note) => note.calls <= calls).map((note) => note.promised));
      const recorded = (this.#notes.find((note) => note.calls >= calls) ?? this.#notes.at(-1))?.recorded ?? 0;
      for (const { files, label } of this.#files.crashStates(calls, { byteStep })) {
        const first = stateOf(files);
        const second = stateOf(files);
        if (first.count < promised || first.count > recorded || first.holes > 0 || second.count !== first.count)
          expect.fail(`${label}: recovered ${first.count}, then ${second.count}; promised ${promised} of ${recorded}`);
        each?.(files, tried);
        tried++;
      }
    }
    return tried;
  }
}

const script = (run: Run): void => {
  run.add(2);
  run.flush();
  run.add();
  run.sync();
  run.add(3);
  run.flush();
  run.flush();
  run.checkpoint();
  run.add();
  run.flush();
  run.add(5); // over the bound of a segment
  run.sync();
  run.add();
  run.checkpoint();
  run.checkpoint();
  run.add(2);
  run.sync();
  run.add();
  run.flush();
};

describe('A power cut at any point', () => {
  it('of a run leaves the state before or after each record, never a third, with all that was promised', () => {
    const run = new Run(simulatedFileSystem());
    script(run);
    expect(run.crash(1)).to.be.above(2000);
  });

  it('of the run after a power cut does so too, from every kind of wreck', () => {
    const run = new Run(simulatedFileSystem());
    script(run);
    let wrecks = 0;
    run.crash(5, (files, tried) => {
      if (tried % 29 !== 0) return;
      wrecks++;
      const next = new Run(files);
      next.add();
      next.sync();
      next.add(2);
      next.checkpoint();
      next.add();
      next.flush();
      next.crash(40);
    });
    expect(wrecks).to.be.above(20);
  });

  it('after a sync that failed, keeps what was promised before it and after the checkpoint that mended it', () => {
    const files = simulatedFileSystem();
    const run = new Run(files);
    run.add(2);
    run.sync();
    run.add();
    files.failNext('sync', 'EIO');
    run.sync();
    run.add();
    run.flush();
    run.sync();
    run.checkpoint();
    run.add(2);
    run.sync();
    run.add();
    run.flush();
    expect(run.crash(3)).to.be.above(200);
  });

  it('while the disk is full, or just has room again, keeps what was promised', () => {
    const files = simulatedFileSystem();
    const run = new Run(files);
    run.add(2);
    run.sync();
    files.refuseWritesAfter(100);
    run.add(2);
    run.flush();
    run.sync();
    files.grow();
    run.add();
    run.sync();
    run.add();
    run.flush();
    expect(run.crash(3)).to.be.above(100);
  });

  it('is noticed by this test when a journal promises what the disk was never asked for', () => {
    const files = simulatedFileSystem();
    const lying = { ...files, openAppend: withoutSync(files), trace: files.trace };
    const journal = open(lying);
    journal.append({ kind: 'input', cause: null, data: 1 });
    expect(journal.sync()).to.equal(true);
    const counts = [...files.crashStates(files.trace.length)].map(({ files: disk }) => stateOf(disk).count);
    expect(counts).to.include(0);
  });
});

const withoutSync =
  (files: SimulatedFileSystem): SimulatedFileSystem['openAppend'] =>
  (path, options) => ({ ...files.openAppend(path, options), dataSync: () => {} });

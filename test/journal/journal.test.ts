import { expect } from 'chai';
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OrchestratorError } from '../../src/errors.ts';
import { lineOf } from '../../src/journal/format.ts';
import { openJournal, type Journal, type JournalHealth, type JournalLimits } from '../../src/journal/journal.ts';
import { recoverJournal } from '../../src/journal/recovery.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
import { simulatedFileSystem } from '../../src/simulation/simulated-file-system.ts';

const FOLDER = '/data/journal';

const bench = (limits: Partial<JournalLimits> = {}) => {
  const clock = simulatedClock();
  const files = simulatedFileSystem({ clock });
  const told: JournalHealth[] = [];
  const open = (): Journal =>
    openJournal({
      folder: FOLDER,
      files,
      clock,
      fleetHash: 'fleet-1',
      coreVersion: '0.1.0',
      limits,
      onHealth: (health) => told.push(health),
    });
  const recover = () => recoverJournal({ folder: FOLDER, files });
  const numbers = (): unknown[] => recover().tail.map(({ data }) => data);
  return { clock, files, told, open, recover, numbers };
};

const add = (journal: Journal, data: unknown): number => journal.append({ kind: 'input', cause: null, data });
const codeOf = (act: () => unknown): unknown => {
  try {
    return act();
  } catch (thrown) {
    return (thrown as OrchestratorError).code;
  }
};

describe('A journal', () => {
  it('is empty at first, and opening it twice without writing changes nothing', () => {
    const { open, recover, files } = bench();
    open().close();
    open().close();
    expect(recover()).to.deep.include({ checkpoint: null, tail: [], lastSeq: 0, nextSegment: 1, torn: [], holes: [] });
    expect(files.list(FOLDER)).to.deep.equal([]);
  });

  it('keeps records with number, cause and both times, over a restart that goes on counting', () => {
    const { clock, open, recover } = bench();
    const first = open();
    const root = add(first, { kind: 'boot' });
    clock.advanceSync(1500);
    expect(first.append({ kind: 'transition', cause: root, data: { daemon: 'A' } })).to.equal(2);
    first.close();
    const second = open();
    expect(second.nextSeq).to.equal(3);
    second.append({ kind: 'input', cause: null, data: null, at: 7, wallMs: 8 });
    second.close();
    expect(recover().tail).to.deep.equal([
      { seq: 1, cause: null, kind: 'input', at: 0, wallMs: Date.UTC(2026, 0, 1), data: { kind: 'boot' } },
      { seq: 2, cause: 1, kind: 'transition', at: 1500, wallMs: Date.UTC(2026, 0, 1) + 1500, data: { daemon: 'A' } },
      { seq: 3, cause: null, kind: 'input', at: 7, wallMs: 8, data: null },
    ]);
    expect(recover().lastRun).to.include({ after: 2, fleetHash: 'fleet-1', coreVersion: '0.1.0' });
  });

  it('takes the numbers that its caller gave out, and refuses one that does not grow', () => {
    const { open } = bench();
    const journal = open();
    journal.append({ kind: 'input', cause: null, data: 1, seq: 10 });
    expect(journal.nextSeq).to.equal(11);
    expect(codeOf(() => journal.append({ kind: 'input', cause: null, data: 1, seq: 10 }))).to.equal('INVARIANT');
    expect(codeOf(() => journal.append({ kind: 'input', cause: null, data: 1, at: NaN }))).to.equal('INVARIANT');
    journal.close();
    expect(codeOf(() => add(journal, 1))).to.equal('INVARIANT');
  });

  it('meets the disk once per turn, and waits for it only in a sync with something new', () => {
    const { files, open } = bench();
    const journal = open();
    for (let count = 0; count < 50; count++) add(journal, count);
    const calls = (): string => files.trace.map(({ op }) => op).join(' ');
    expect(calls()).to.equal('make-folder make-folder');
    journal.flush();
    journal.flush();
    expect(calls()).to.equal('make-folder make-folder create append');
    expect(journal.sync()).to.equal(true);
    expect(journal.sync()).to.equal(true);
    expect(calls()).to.equal('make-folder make-folder create append sync sync-folder');
  });

  it('loses in a kill what no turn had flushed, and nothing else', () => {
    const { open, numbers } = bench();
    const journal = open();
    add(journal, 'flushed');
    journal.flush();
    add(journal, 'not flushed');
    expect(numbers()).to.deep.equal(['flushed']); // as a reader, or the next run, finds it
  });

  it('makes the end of the last run durable before it builds on it', () => {
    const { files, open } = bench();
    add(open(), 'lost');
    const killed = open();
    add(killed, 'kept');
    killed.flush(); // and killed: no sync
    const next = open();
    add(next, 'later');
    next.sync();
    for (const { files: disk, label } of files.crashStates(files.trace.length))
      expect(
        recoverJournal({ folder: FOLDER, files: disk }).tail.map(({ data }) => data),
        label,
      ).to.deep.equal(['kept', 'later']);
  });

  it('recovers from the newest checkpoint and what follows it', () => {
    const { open, recover } = bench();
    const journal = open();
    for (const data of [1, 2, 3]) add(journal, data);
    expect(journal.checkpoint({ sum: 6 })).to.equal(true);
    add(journal, 4);
    journal.close();
    const { checkpoint, tail, lastSeq } = recover();
    expect(checkpoint).to.include({ seq: 3, fleetHash: 'fleet-1' });
    expect(checkpoint?.state).to.deep.equal({ sum: 6 });
    expect(tail.map(({ seq, data }) => [seq, data])).to.deep.equal([[4, 4]]);
    expect(lastSeq).to.equal(4);
  });

  it('takes the older checkpoint when the newest is damaged, and arrives at the same', () => {
    const { files, open, recover } = bench();
    const journal = open();
    add(journal, 1);
    journal.checkpoint('one');
    add(journal, 2);
    journal.checkpoint('two');
    add(journal, 3);
    journal.close();
    files.writeAtomically(join(FOLDER, 'checkpoint-at-2.journal'), 'ffffffff {}\n');
    const { checkpoint, tail, damagedCheckpoints, holes } = recover();
    expect(checkpoint?.state).to.equal('one');
    expect(tail.map(({ data }) => data)).to.deep.equal([2, 3]);
    expect(damagedCheckpoints).to.deep.equal(['checkpoint-at-2.journal']);
    expect(holes).to.deep.equal([]);
  });

  it('refuses a newer format, in a checkpoint and in a segment, and changes nothing', () => {
    const { files, open, recover } = bench();
    const journal = open();
    add(journal, 1);
    journal.close();
    files.writeAtomically(join(FOLDER, 'segment-00000009-after-1.journal'), lineOf('{"format":2,"after":1}'));
    expect(codeOf(recover)).to.equal('JOURNAL_FORMAT');
    const before = files.list(FOLDER);
    expect(codeOf(open)).to.equal('JOURNAL_FORMAT');
    expect(files.list(FOLDER)).to.deep.equal(before);
  });

  it('says that records are missing which had been durable, instead of making up a state', () => {
    const { files, open, recover } = bench();
    const journal = open();
    for (const data of [1, 2, 3]) add(journal, data);
    journal.close();
    const next = open();
    add(next, 4);
    next.close();
    const [first] = files.list(FOLDER);
    const path = join(FOLDER, first as string);
    const damaged = Buffer.from(files.read(path));
    damaged[damaged.indexOf('"data":2') + 7] = 0x39;
    files.writeAtomically(path, damaged);
    const { holes, torn, tail } = recover();
    expect(holes).to.deep.equal([{ segment: 'segment-00000002-after-3.journal', after: 1, to: 3 }]);
    expect(torn).to.have.length(1);
    expect(tail.map(({ data }) => data)).to.deep.equal([1, 4]);
  });
});

describe('The segments of a journal', () => {
  it('are closed by size and by checkpoints, and read as one', () => {
    const { files, open, numbers } = bench({ segmentBytes: 600 });
    const journal = open();
    for (let count = 0; count < 40; count++) {
      add(journal, count);
      journal.flush();
    }
    journal.close();
    expect(files.list(FOLDER).length).to.be.above(5);
    expect(numbers()).to.deep.equal(Array.from({ length: 40 }, (_, count) => count));
  });

  it('are deleted beyond the bound, never before two checkpoints hold them, and the journal says so', () => {
    const { files, open, recover } = bench({ segmentBytes: 500, keepSegments: 3, keepBytes: 1_000_000 });
    const journal = open();
    for (let round = 1; round <= 6; round++) {
      for (let count = 0; count < 12; count++) {
        add(journal, { round, count });
        journal.flush();
      }
      expect(journal.checkpoint({ round })).to.equal(true);
      journal.flush();
    }
    add(journal, 'last');
    journal.close();
    const names = files.list(FOLDER);
    expect(names.filter((name) => name.startsWith('checkpoint')).length).to.equal(2);
    expect(names.filter((name) => name.startsWith('segment')).length).to.be.below(10);
    const { tail, checkpoint, holes } = recover();
    expect(checkpoint?.state).to.deep.equal({ round: 6 });
    expect(holes).to.deep.equal([]);
    expect(tail.map(({ kind }) => kind)).to.deep.equal(['pruned', 'input']);
    expect((tail[0]?.data as { reason: string }).reason).to.match(/bound/);
    files.writeAtomically(join(FOLDER, `checkpoint-at-${checkpoint?.seq}.journal`), '');
    const older = recover();
    expect(older.checkpoint?.state).to.deep.equal({ round: 5 });
    expect(older.holes).to.deep.equal([]);
  });

  it('that cannot be deleted stay until the next checkpoint, which stands all the same', () => {
    const { files, open, recover } = bench({ segmentBytes: 500, keepSegments: 2 });
    const journal = open();
    const segments = (): string[] =>
      files
        .list(FOLDER)
        .filter((name) => name.startsWith('segment'))
        .sort();
    const round = (state: number): boolean => {
      for (let record = 0; record < 12; record++) {
        add(journal, record);
        journal.flush();
      }
      return journal.checkpoint(state);
    };
    expect(round(1)).to.equal(true);
    const [oldest] = segments();
    files.failNext('remove', 'EIO');
    expect(round(2)).to.equal(true);
    expect(segments()[0]).to.equal(oldest);
    expect(recover().checkpoint?.state).to.equal(2);
    expect(journal.health().status).to.equal('ok');
    expect(round(3)).to.equal(true);
    expect(segments()).to.not.include(oldest);
  });

  it('that do not even close are left behind, and the next one is begun', () => {
    const { files, clock } = bench();
    const stubborn = {
      ...files,
      openAppend: (path: string, options?: { readonly mode?: number }) => ({
        ...files.openAppend(path, options),
        close: () => {
          throw new Error('EIO: i/o error, close');
        },
      }),
    };
    const options = { folder: FOLDER, files: stubborn, clock, fleetHash: 'f', coreVersion: '1' };
    const journal = openJournal(options);
    add(journal, 1);
    expect(journal.checkpoint([1])).to.equal(true);
    add(journal, 2);
    journal.close();
    const { checkpoint, tail } = recoverJournal({ folder: FOLDER, files });
    expect([checkpoint?.state, tail.map(({ data }) => data)]).to.deep.equal([[1], [2]]);
  });

  it('make a checkpoint due by their records and by their bytes', () => {
    const { open } = bench({ checkpointRecords: 5 });
    const journal = open();
    for (let count = 0; count < 5; count++) {
      expect(journal.checkpointDue()).to.equal(false);
      add(journal, count);
    }
    expect(journal.checkpointDue()).to.equal(true);
    journal.close();
    expect(open().checkpointDue(), 'a long tail of the last run').to.equal(true);
    const bytes = bench({ checkpointBytes: 1000 });
    const long = bytes.open();
    add(long, 'x'.repeat(1000));
    long.flush();
    expect(long.checkpointDue()).to.equal(true);
    long.checkpoint({});
    expect(long.checkpointDue()).to.equal(false);
  });
});

describe('A journal whose disk is full', () => {
  it('is degraded, keeps records in memory, and goes on without a hole when space returns', async () => {
    const { clock, files, told, open, numbers } = bench();
    const journal = open();
    add(journal, 1);
    journal.flush();
    files.refuseWritesAfter(30); // the next line is taken in part
    add(journal, 2);
    journal.flush();
    expect(told.map(({ status }) => status)).to.deep.equal(['degraded']);
    expect(journal.health().reason).to.match(/^cannot write the journal in \/data\/journal: ENOSPC/);
    expect(journal.health().bufferedBytes).to.be.above(0);
    expect(numbers()).to.deep.equal([1]);
    expect(codeOf(() => journal.sync())).to.equal('JOURNAL_FAILED');
    expect(journal.sync()).to.equal(false);
    add(journal, 3);
    files.grow();
    journal.flush();
    expect(numbers(), 'not offered again at once').to.deep.equal([1]);
    await clock.advance(300);
    journal.flush();
    expect(numbers()).to.deep.equal([1, 2, 3]);
    expect(told.map(({ status }) => status)).to.deep.equal(['degraded', 'ok']);
    expect(journal.sync()).to.equal(true);
    files.refuseWritesAfter(0);
    add(journal, 4);
    expect(
      codeOf(() => journal.sync()),
      'a new trouble is told again',
    ).to.equal('JOURNAL_FAILED');
  });

  it('drops what no longer fits into memory, and says in the journal what it dropped', () => {
    const { files, open, recover } = bench({ bufferBytes: 400 });
    const journal = open();
    files.refuseWritesAfter(0);
    for (let count = 1; count <= 20; count++) {
      add(journal, count);
      journal.flush();
    }
    expect(journal.lastSeq).to.equal(20);
    expect(journal.health().dropped).to.be.above(10);
    expect(journal.health().bufferedBytes).to.be.below(600);
    expect(journal.gauges().journal_records_dropped).to.equal(journal.health().dropped);
    files.grow();
    expect(journal.sync()).to.equal(true);
    add(journal, 21);
    journal.close();
    const { tail, gaps, lastSeq } = recover();
    const [gap] = gaps;
    const { from, to, records } = gap?.data as { from: number; to: number; records: number };
    expect([to, records]).to.deep.equal([20, journal.health().dropped]);
    expect(tail.map(({ kind, data }) => (kind === 'gap' ? kind : data))).to.deep.equal([
      ...Array.from({ length: from - 1 }, (_, index) => index + 1),
      'gap',
      21,
    ]);
    expect(lastSeq).to.equal(21);
  });

  it('goes on in a new segment when a part of a line cannot be cut off', () => {
    const { files, open, numbers, recover } = bench();
    const journal = open();
    add(journal, 1);
    journal.flush();
    files.refuseWritesAfter(100);
    files.failNext('truncate', 'EIO');
    for (const data of [2, 3, 4]) add(journal, data);
    journal.flush();
    files.grow();
    expect(journal.sync()).to.equal(true);
    add(journal, 5);
    journal.close();
    expect(files.list(FOLDER)).to.have.length(2);
    expect(numbers()).to.deep.equal([1, 2, 3, 4, 5]);
    expect(recover().holes).to.deep.equal([]);
  });

  it('keeps going when a checkpoint does not fit, and tries it again later', async () => {
    const { clock, files, told, open, recover } = bench();
    const journal = open();
    add(journal, 1);
    journal.sync();
    files.refuseWritesAfter(20);
    expect(journal.checkpoint({ big: 'x'.repeat(100) })).to.equal(false);
    expect(journal.health()).to.include({ status: 'degraded' });
    expect(journal.checkpointDue(), 'not at once').to.equal(false);
    files.grow();
    await clock.advance(300);
    expect(journal.checkpointDue()).to.equal(true);
    expect(journal.checkpoint({ ok: true })).to.equal(true);
    expect(told.map(({ status }) => status)).to.deep.equal(['degraded', 'ok']);
    expect(recover().checkpoint?.state).to.deep.equal({ ok: true });
    expect(files.list(FOLDER).filter((name) => name.endsWith('.tmp'))).to.deep.equal([]);
  });
});

describe('A journal whose disk fails to make bytes durable', () => {
  it('fails once aloud, never believes a later sync, and is mended by a checkpoint in new files', () => {
    const { files, told, open, recover } = bench();
    const journal = open();
    add(journal, 1);
    journal.sync();
    add(journal, 2);
    files.failNext('sync', 'EIO');
    expect(codeOf(() => journal.sync())).to.equal('JOURNAL_FAILED');
    expect(journal.sync()).to.equal(false);
    add(journal, 3);
    journal.flush();
    expect(journal.health().status).to.equal('failed');
    expect(journal.checkpointDue()).to.equal(true);
    expect(journal.checkpoint([1, 2, 3])).to.equal(true);
    expect(told.map(({ status }) => status)).to.deep.equal(['failed', 'ok']);
    add(journal, 4);
    expect(journal.sync()).to.equal(true);
    expect(recover().tail.map(({ data }) => data)).to.deep.equal([4]);
    for (const { files: disk, label } of files.crashStates(files.trace.length)) {
      const { checkpoint, tail, holes } = recoverJournal({ folder: FOLDER, files: disk });
      expect([checkpoint?.state, tail.map(({ data }) => data), holes], label).to.deep.equal([[1, 2, 3], [4], []]);
    }
  });

  it('stays failed while a checkpoint fails too', () => {
    const { files, open } = bench();
    const journal = open();
    add(journal, 1);
    files.failNext('sync', 'EIO', 2);
    expect(codeOf(() => journal.sync())).to.equal('JOURNAL_FAILED');
    expect(journal.checkpoint([1])).to.equal(false);
    expect(journal.health().status).to.equal('failed');
    expect(journal.checkpoint([1])).to.equal(true);
    expect(journal.health().status).to.equal('ok');
  });
});

describe('A journal whose folder', () => {
  it('cannot be written, is refused with what to do', () => {
    const { files, open } = bench();
    const journal = open();
    add(journal, 1);
    journal.close();
    files.readOnly(true);
    let thrown: unknown;
    try {
      open();
    } catch (error) {
      thrown = error;
    }
    expect((thrown as OrchestratorError).code).to.equal('JOURNAL_FAILED');
    expect((thrown as OrchestratorError).message).to.match(/^cannot open the journal in \/data\/journal: EROFS/);
    expect((thrown as OrchestratorError).remedy).to.match(/mount the disk for writing/);
  });

  it('turns read-only while it runs, degrades and recovers', () => {
    const { files, open, numbers } = bench();
    const journal = open();
    add(journal, 1);
    journal.flush();
    files.readOnly(true);
    add(journal, 2);
    journal.flush();
    expect(journal.health().reason).to.match(/EROFS/);
    files.readOnly(false);
    expect(journal.sync()).to.equal(true);
    expect(numbers()).to.deep.equal([1, 2]);
  });

  it('is deleted before the first record came, is made again for it', () => {
    const { files, open, numbers } = bench();
    const journal = open();
    files.removeFolder('/data');
    add(journal, 1);
    expect(journal.sync()).to.equal(true);
    expect(numbers()).to.deep.equal([1]);
    expect(journal.health().status).to.equal('ok');
  });

  it('is deleted while it runs, has everything again after the next checkpoint', () => {
    const { files, open, recover } = bench();
    const journal = open();
    add(journal, 1);
    journal.sync();
    files.removeFolder('/data');
    add(journal, 2);
    journal.flush();
    expect(recover().lastSeq).to.equal(0);
    expect(journal.checkpoint([1, 2])).to.equal(true);
    add(journal, 3);
    journal.sync();
    const { checkpoint, tail } = recover();
    expect([checkpoint?.state, tail.map(({ data }) => data)]).to.deep.equal([[1, 2], [3]]);
  });
});

describe('A journal on the disk of this machine', () => {
  it('comes back after its last segment was cut in the middle of a line', () => {
    const folder = mkdtempSync(join(tmpdir(), 'master-loop-journal-'));
    const files = realFileSystem();
    const options = { folder, files, clock: simulatedClock(), fleetHash: 'f', coreVersion: '1' };
    const journal = openJournal(options);
    for (const data of [1, 2, 3]) add(journal, data);
    journal.checkpoint('three');
    for (const data of [4, 5, 6]) add(journal, data);
    journal.close();
    const newest = join(
      folder,
      readdirSync(folder)
        .filter((name) => name.startsWith('segment'))
        .at(-1) as string,
    );
    expect(statSync(newest).mode & 0o777).to.equal(0o600);
    truncateSync(newest, statSync(newest).size - 5);
    const next = openJournal(options);
    expect(next.recovered.checkpoint?.state).to.equal('three');
    expect(next.recovered.tail.map(({ data }) => data)).to.deep.equal([4, 5]);
    expect(next.recovered.torn).to.have.length(1);
    add(next, 'six again');
    next.close();
    const { tail, holes } = recoverJournal({ folder, files });
    rmSync(folder, { recursive: true });
    expect(tail.map(({ seq, data }) => [seq, data])).to.deep.equal([
      [4, 4],
      [5, 5],
      [6, 'six again'],
    ]);
    expect(holes).to.deep.equal([]);
  });
});

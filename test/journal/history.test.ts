import { expect } from 'chai';
import { journalReader } from '../../src/journal/history.ts';
import { openJournal } from '../../src/journal/journal.ts';
import { diskHistory, inputOf, loopJournal, noteOf } from '../../src/journal/loop-journal.ts';
import type { OrchestratorError } from '../../src/errors.ts';
import type { DaemonKeep, Input, JournalNote } from '../../src/orchestrator/types.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
import { simulatedFileSystem } from '../../src/simulation/simulated-file-system.ts';

const FOLDER = '/journal';

const bench = (segmentBytes = 700) => {
  const files = simulatedFileSystem();
  const open = () =>
    openJournal({
      folder: FOLDER,
      files,
      clock: simulatedClock(),
      fleetHash: 'f',
      coreVersion: '1',
      limits: { segmentBytes },
    });
  return { files, open, reader: journalReader({ folder: FOLDER, files }) };
};

const KEEP: DaemonKeep = {
  wanted: 'up',
  wantedBy: 'profile',
  generation: 3,
  failed: false,
  restarts: 1,
  restartsTotal: 1,
  restartTimes: [],
  lastError: null,
  completed: false,
};
const transition = (daemon: string, to: 'RUNNING' | 'RESTARTING'): JournalNote => ({
  type: 'transition',
  daemon,
  from: 'STARTING',
  to,
  on: to === 'RUNNING' ? 'ready' : 'exited',
  why: to === 'RUNNING' ? null : 'exit',
  message: `${daemon} moved`,
  generation: 3,
  keep: KEEP,
});

/** Forty records of two daemons over several segments and two runs: each is the cause of the next but one. */
const filled = () => {
  const { files, open, reader } = bench();
  let journal = open();
  for (let seq = 1; seq <= 40; seq++) {
    if (seq === 21) {
      journal.close();
      journal = open();
    }
    const daemon = seq % 2 === 0 ? 'EVEN' : 'ODD';
    journal.append({ kind: seq % 4 < 2 ? 'input' : 'note', cause: seq > 2 ? seq - 2 : null, data: { daemon, seq } });
    journal.flush();
  }
  return { files, journal, reader };
};

describe('History', () => {
  it('of a journal that does not exist is empty', () => {
    const { reader } = bench();
    expect(reader.read({ limit: 10 })).to.deep.equal([]);
    expect(reader.record(1)).to.equal(null);
    expect(reader.causeChain(1)).to.deep.equal({ records: [], complete: false });
    expect([...reader.records()]).to.deep.equal([]);
  });

  it('gives the newest that match, oldest of them first, over segments and runs', () => {
    const { files, reader } = filled();
    expect(files.list(FOLDER).length).to.be.above(4);
    const seqs = (query: Parameters<typeof reader.read>[0]): number[] => reader.read(query).map(({ seq }) => seq);
    expect(seqs({ limit: 3 })).to.deep.equal([38, 39, 40]);
    expect(seqs({ limit: 3, daemon: 'ODD' })).to.deep.equal([35, 37, 39]);
    expect(seqs({ limit: 2, daemon: 'EVEN', before: 21 })).to.deep.equal([18, 20]);
    expect(seqs({ limit: 100 })).to.have.length(40);
    expect(seqs({ limit: 100, daemon: 'EVE' })).to.deep.equal([]);
    expect(seqs({ limit: 2, where: ({ kind }) => kind === 'note' })).to.deep.equal([38, 39]);
  });

  it('finds each record by its number, and none that is not there', () => {
    const { reader } = filled();
    for (let seq = 1; seq <= 40; seq++) expect(reader.record(seq)?.data, `record ${seq}`).to.include({ seq });
    expect(reader.record(0)).to.equal(null);
    expect(reader.record(41)).to.equal(null);
  });

  it('goes without a segment that is deleted while it reads', () => {
    const { files, journal } = filled();
    const [oldest] = files
      .list(FOLDER)
      .filter((name) => name.startsWith('segment'))
      .sort();
    const slow = {
      ...files,
      stat: (path: string) => {
        if (oldest !== undefined && path.endsWith(oldest) && files.exists(path)) files.remove(path);
        return files.stat(path);
      },
    };
    const found = journalReader({ folder: FOLDER, files: slow }).read({ limit: 100 });
    expect(found.at(-1)?.seq).to.equal(journal.lastSeq);
    expect(found[0]?.seq).to.be.greaterThan(1);
    expect(files.exists(`${FOLDER}/${oldest}`)).to.equal(false);
  });

  it('leads from every record to exactly one root', () => {
    const { reader } = filled();
    const { records, complete } = reader.causeChain(39);
    expect(complete).to.equal(true);
    expect(records.map(({ seq }) => seq)).to.deep.equal(Array.from({ length: 20 }, (_, index) => 39 - 2 * index));
    expect(records.filter(({ cause }) => cause === null)).to.have.length(1);
  });

  it('says that a chain is cut when its cause is not kept any more', () => {
    const { files, reader } = filled();
    const [oldest] = files.list(FOLDER);
    files.remove(`${FOLDER}/${oldest}`);
    const { records, complete } = reader.causeChain(40);
    expect(complete).to.equal(false);
    expect(records.at(-1)?.cause).to.be.a('number');
  });

  it('gives what arrived in order, without what was decided', () => {
    const { reader } = filled();
    const seqs = [...reader.inputs()].map(({ seq }) => seq);
    expect(seqs).to.deep.equal(Array.from({ length: 40 }, (_, index) => index + 1).filter((seq) => seq % 4 < 2));
  });

  it('sees what a running journal flushes, and never half a line', () => {
    const { files, journal, reader } = filled();
    journal.append({ kind: 'note', cause: null, data: { daemon: 'LATE' } });
    expect(reader.read({ limit: 1 })[0]?.seq).to.equal(40);
    journal.flush();
    expect(reader.read({ limit: 1 })[0]?.data).to.deep.equal({ daemon: 'LATE' });
    files.refuseWritesAfter(30);
    files.failNext('truncate', 'EIO');
    journal.append({ kind: 'note', cause: null, data: 'torn' });
    journal.flush();
    expect(reader.read({ limit: 1 })[0]?.data).to.deep.equal({ daemon: 'LATE' });
  });

  it('does not show what a run wrote after the point from which the next run went on', () => {
    const { files, open, reader } = bench(100_000);
    const first = open();
    for (const data of [1, 2]) first.append({ kind: 'note', cause: null, data });
    first.flush();
    const second = open(); // knows 2 records
    first.append({ kind: 'note', cause: null, data: 'of a master that had lost its lock' });
    first.flush();
    second.append({ kind: 'note', cause: null, data: 3 });
    second.flush();
    expect(files.list(FOLDER)).to.have.length(2);
    expect(reader.read({ limit: 9 }).map(({ data }) => data)).to.deep.equal([1, 2, 3]);
    expect([...reader.records()].map(({ data }) => data)).to.deep.equal([1, 2, 3]);
    expect(reader.record(3)?.data).to.equal(3);
  });
});

describe('The journal of a loop', () => {
  const written = () => {
    const { files, open } = bench(100_000);
    const journal = open();
    const troubles: OrchestratorError[] = [];
    const loop = loopJournal(journal, (error) => troubles.push(error));
    const stamp = { at: 5, wallMs: 1_700_000_000_000 };
    const command: Input = {
      ...stamp,
      kind: 'command',
      command: { id: 'c1', verb: 'restart', daemons: ['A'], origin: 'operator', reason: 'by hand', waitMs: 0 },
    };
    const check: Input = { ...stamp, kind: 'verdict', daemon: 'A', generation: 3, verdict: 'healthy', message: '' };
    const exited: Input = {
      ...stamp,
      kind: 'exited',
      daemon: 'A',
      generation: 3,
      failure: { message: 'it fell', code: 'E' },
      forced: false,
    };
    loop.appendInput(command, null); // 1
    loop.appendNote(loop.nextSeq, 1, transition('A', 'RESTARTING'), 5, stamp.wallMs); // 2
    loop.appendInput(check, null); // 3
    loop.appendInput(exited, null); // 4
    loop.appendNote(5, 4, transition('A', 'RUNNING'), 5, stamp.wallMs);
    loop.appendNote(6, 4, { type: 'keep', daemon: 'B', keep: KEEP, message: 'wanted up' }, 5, stamp.wallMs);
    loop.flush();
    loop.sync();
    return { files, loop, troubles, inputs: [command, check, exited] };
  };

  it('gives back the very inputs and notes', () => {
    const { files, inputs } = written();
    const reader = journalReader({ folder: FOLDER, files });
    expect([...reader.inputs()].map(inputOf)).to.deep.equal(inputs);
    const notes = [...reader.records()].map(noteOf);
    expect(notes[1]).to.deep.equal(transition('A', 'RESTARTING'));
    expect(notes.map((note) => note?.type ?? null)).to.deep.equal([
      null,
      'transition',
      null,
      null,
      'transition',
      'keep',
    ]);
  });

  it('shows what was decided with the inputs that caused it, and passes over checks that changed nothing', () => {
    const { files } = written();
    const disk = diskHistory({ folder: FOLDER, files });
    const lines = disk
      .read({ daemon: null, limit: 20 })
      .map(({ seq, on, daemon, message }) => [seq, on, daemon, message]);
    expect(lines).to.deep.equal([
      [1, 'command', null, 'restart A by operator: by hand'],
      [2, 'exited', 'A', 'A moved'],
      [4, 'exited', 'A', 'it fell'],
      [5, 'ready', 'A', 'A moved'],
      [6, 'keep', 'B', 'wanted up'],
    ]);
    expect(disk.read({ daemon: 'A', limit: 20 }).map(({ seq }) => seq)).to.deep.equal([1, 2, 4, 5]);
    expect(disk.entry(3)).to.include({ on: 'verdict', daemon: 'A', generation: 3, time: '2023-11-14T22:13:20.000Z' });
    expect(disk.entry(99)).to.equal(null);
  });

  it('goes on when the disk fails, and tells of it once', () => {
    const { files, loop, troubles } = written();
    files.refuseWritesAfter(0);
    for (let count = 0; count < 3; count++) {
      loop.appendInput({ kind: 'boot', at: 1, wallMs: 1 }, null);
      loop.sync();
    }
    expect(troubles.map(({ code }) => code)).to.deep.equal(['JOURNAL_FAILED']);
  });
});

/**
 * Figures of the journal, on the disk where it runs: what a record costs in a turn, what a promise costs, how long a
 * restart reads. Physical limits beside them: JSON.stringify of the same data, fdatasync of the same disk, JSON.parse of
 * the same lines. All but the promise in CPU time. Aim: a record of a turn ≤ 3 µs amortised.
 *
 * usage: tsx bench/journal.ts [--records 200000] [--turn 64] [--syncs 300] [--folder FOLDER]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { journalReader } from '../src/journal/history.ts';
import { openJournal } from '../src/journal/journal.ts';
import { recoverJournal } from '../src/journal/recovery.ts';
import { realClock } from '../src/seams/clock.ts';
import { realFileSystem } from '../src/seams/real-file-system.ts';

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '200000' },
    turn: { type: 'string', default: '64' },
    syncs: { type: 'string', default: '300' },
    folder: { type: 'string', default: tmpdir() },
  },
});
const records = Number(values.records);
const perTurn = Number(values.turn);
const syncs = Number(values.syncs);

const clock = realClock();
const files = realFileSystem();
const root = mkdtempSync(join(values.folder, 'master-loop-bench-journal-'));
const folder = join(root, 'journal');

const RECORDS_READ = 20_000;

const dataOf = (index: number): unknown => ({
  kind: 'verdict',
  daemon: `DAEMON_${index % 85}`,
  generation: 1 + (index % 7),
  verdict: 'healthy',
  message: '',
});

const timed = (work: () => void): number => {
  const began = clock.monotonicMs();
  work();
  return clock.monotonicMs() - began;
};

/** CPU milliseconds, so that a busy machine does not count; for work that does not wait for the disk. */
const spent = (work: () => void): number => {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};

const line = (what: string, figure: number, limit: number, unit: string, of: string): void =>
  console.log(
    `${what.padEnd(44)} ${figure.toFixed(2).padStart(10)} ${unit.padEnd(4)}  limit ${limit.toFixed(2).padStart(8)} (${of}), ratio ${(figure / limit).toFixed(2)}`,
  );

try {
  const journal = openJournal({ folder, files, clock, fleetHash: 'bench', coreVersion: 'bench' });
  const write = (count: number): number =>
    spent(() => {
      for (let index = 0; index < count; index++) {
        journal.append({ kind: 'input', cause: null, data: dataOf(index) });
        if (index % perTurn === perTurn - 1) journal.flush();
      }
      journal.flush();
    });
  write(20_000); // warm
  const written = (write(records) * 1000) / records;
  let length = 0;
  const stringified =
    (spent(() => {
      for (let index = 0; index < records; index++)
        length += JSON.stringify({
          seq: index,
          cause: null,
          kind: 'input',
          at: 1.5,
          wallMs: 1e12,
          data: dataOf(index),
        }).length;
    }) *
      1000) /
    records;
  line(
    `record, ${perTurn} in a turn`,
    written,
    stringified,
    'µs',
    `JSON.stringify alone, ${Math.round(length / records)} bytes`,
  );

  const promised =
    timed(() => {
      for (let index = 0; index < syncs; index++) {
        journal.append({ kind: 'input', cause: null, data: dataOf(index) });
        journal.sync();
      }
    }) / syncs;
  const probe = files.openAppend(join(root, 'probe'));
  const block = Buffer.alloc(180, 'x');
  probe.append(block);
  probe.dataSync();
  const synced =
    timed(() => {
      for (let index = 0; index < syncs; index++) {
        probe.append(block);
        probe.dataSync();
      }
    }) / syncs;
  probe.close();
  line('record and promise', promised, synced, 'ms', 'append + fdatasync of 180 bytes');

  journal.checkpoint({ state: 'x'.repeat(100_000) });
  write(RECORDS_READ);
  journal.close();
  let lines = '';
  const recovered = spent(() => {
    const { tail } = recoverJournal({ folder, files });
    lines = tail.map((record) => JSON.stringify(record)).join('\n');
  });
  const parts = lines.split('\n');
  const parsed = spent(() => {
    for (const part of parts) JSON.parse(part);
  });
  const recoveredAlone = spent(() => void recoverJournal({ folder, files }));
  line(
    `recovery, tail of ${parts.length} records`,
    Math.min(recovered, recoveredAlone),
    parsed,
    'ms',
    'JSON.parse alone',
  );

  const reader = journalReader({ folder, files });
  const first = spent(() => void reader.read({ daemon: 'DAEMON_3', limit: 100 }));
  const again = spent(() => void reader.read({ daemon: 'DAEMON_3', limit: 100 }));
  console.log(`history of one daemon, 100 records: first ${first.toFixed(1)} ms, again ${again.toFixed(1)} ms`);
} finally {
  rmSync(root, { recursive: true });
}

import { expect } from 'chai';
import type { JournalRecord } from '../../src/journal/format.ts';
import { journalReader } from '../../src/journal/history.ts';
import { runWorld } from '../../src/simulation/run.ts';
import { simulatedFileSystem } from '../../src/simulation/simulated-file-system.ts';
import type { DiskJournal } from '../../src/simulation/simulated-journal.ts';
import { JOURNAL_FOLDER } from '../../src/simulation/world.ts';

/** What may begin a chain: somebody or something from outside said so. The time that passes begins nothing. */
const ROOTS = ['boot', 'command', 'exited', 'start-failed', 'verdict'];

describe('causes in a journal that lived through faults and deaths of its master', function () {
  this.timeout(60_000);

  for (const seed of [2, 5])
    it(`seed ${seed}: from every restart a chain leads to exactly one root`, () => {
      const disk = simulatedFileSystem({ trace: false });
      const { world } = runWorld({ seed, minutes: 12, disk, meanFaultMs: 15_000 });
      (world.journal as DiskJournal).flush();
      const reader = journalReader({ folder: JOURNAL_FOLDER, files: disk });
      const records = new Map<number, JournalRecord>();
      for (const record of reader.records()) records.set(record.seq, record);
      let restarts = 0;
      for (const { seq, kind, data } of records.values()) {
        const { to, generation } = data as { to?: string; generation?: number };
        if (kind !== 'transition' || to !== 'STARTING' || (generation ?? 0) < 2) continue;
        restarts++;
        const { records: chain, complete } = reader.causeChain(seq);
        const root = chain.at(-1);
        expect(complete, `the chain of ${seq} is cut`).to.equal(true);
        expect(root?.cause, `the root of ${seq}`).to.equal(null);
        expect(root?.kind).to.equal('input');
        expect((root?.data as { kind?: string }).kind, `the root of ${seq}`).to.be.oneOf(ROOTS);
      }
      expect(restarts).to.be.greaterThan(50);
    });
});

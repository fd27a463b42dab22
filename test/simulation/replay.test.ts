import { expect } from 'chai';
import type { Fleet } from '../../src/fleet/types.ts';
import { journalReader } from '../../src/journal/history.ts';
import { divergenceOf, replayJournal, replayRecords } from '../../src/orchestrator/replay.ts';
import { fleetOfSeed, runWorld } from '../../src/simulation/run.ts';
import { simulatedFileSystem } from '../../src/simulation/simulated-file-system.ts';
import { DiskJournal, MemoryJournal } from '../../src/simulation/simulated-journal.ts';
import { JOURNAL_FOLDER } from '../../src/simulation/world.ts';

const MINUTES = 12;

/** One number of the restart policy, of every daemon. */
const changed = (fleet: Fleet, over: Partial<Fleet['daemons'][number]['restart']>): Fleet => ({
  ...fleet,
  daemons: fleet.daemons.map((spec) => ({ ...spec, restart: { ...spec.restart, ...over } })),
});

describe('replay: inputs alone, through a fresh core', function () {
  this.timeout(120_000);

  for (const seed of [3, 4, 8, 21])
    it(`seed ${seed} comes to the same transitions under the same numbers, over every death of its master`, () => {
      const { world, result } = runWorld({ seed, minutes: MINUTES, record: true });
      const { records } = world.journal as MemoryJournal;
      const inputs = records.filter(({ kind }) => kind === 'input');
      const replay = replayRecords(inputs, world.fleet);
      expect(replay.masters).to.equal(result.masters);
      expect(replay.inputs).to.equal(inputs.length);
      expect(replay.notes.length).to.be.greaterThan(100);
      expect(divergenceOf(records, replay)).to.equal(null);
      expect(replay.core?.members.map((member) => [member.state, member.keep()])).to.deep.equal(
        world.core.members.map((member) => [member.state, member.keep()]),
      );
    });

  it('finds the record that says otherwise, when one is altered or missing', () => {
    const { world } = runWorld({ seed: 3, minutes: MINUTES, record: true });
    const { records } = world.journal as MemoryJournal;
    const replay = replayRecords(records, world.fleet);
    const at = records.findIndex(({ kind }, index) => kind === 'transition' && index > 200);
    const record = records[at]!;
    const altered = records.with(at, { ...record, data: { ...(record.data as object), to: 'FAILED' } });
    expect(divergenceOf(altered, replay)?.seq).to.equal(record.seq);
    expect(divergenceOf(records.toSpliced(at, 1), replay)?.seq).to.equal(record.seq);
  });

  for (const [what, over] of [
    ['maxRestarts 5 → 1', { maxRestarts: 1 }],
    ['first delay 1 s → 1.001 s', { delaysMs: [1001, 2000, 4000, 8000, 16_000] }],
    ['stable window 300 s → 30 s', { stableMs: 30_000 }],
  ] as const)
    it(`comes to something else when one policy number is changed: ${what}`, () => {
      const { world } = runWorld({ seed: 3, minutes: MINUTES, record: true });
      const { records } = world.journal as MemoryJournal;
      const replay = replayRecords(records, changed(world.fleet, over));
      expect(divergenceOf(records, replay)).not.to.equal(null);
    });
});

describe('replay: the real journal on a disk that loses power', function () {
  this.timeout(120_000);

  for (const seed of [1, 4, 7, 12])
    it(`seed ${seed} breaks nothing, and its folder replays to what it says`, () => {
      const disk = simulatedFileSystem({ trace: false });
      const { world, result } = runWorld({ seed, minutes: MINUTES, disk, meanFaultMs: 15_000 });
      expect(result.violations).to.deep.equal([]);
      const journal = world.journal as DiskJournal;
      expect(result.masters).to.be.greaterThan(2);
      expect(journal.checkpoints).to.be.greaterThan(0);
      journal.flush();
      const files = { folder: JOURNAL_FOLDER, files: disk };
      const replay = replayJournal(files, fleetOfSeed(seed));
      expect(replay.masters).to.be.within(2, result.masters); // one that dies at once leaves nothing
      expect(divergenceOf(journalReader(files).records(), replay)).to.equal(null);
      const other = replayJournal(files, changed(fleetOfSeed(seed), { maxRestarts: 1 }));
      expect(divergenceOf(journalReader(files).records(), other)).not.to.equal(null);
    });

  it('has met power cuts and plain kills over these seeds', () => {
    let cuts = 0;
    let masters = 0;
    for (const seed of [1, 4, 7, 12]) {
      const { world, result } = runWorld({
        seed,
        minutes: MINUTES,
        disk: simulatedFileSystem({ trace: false }),
        meanFaultMs: 15_000,
      });
      cuts += (world.journal as DiskJournal).powerCuts;
      masters += result.masters - 1;
    }
    expect(cuts).to.be.greaterThan(0);
    expect(masters).to.be.greaterThan(cuts);
  });
});

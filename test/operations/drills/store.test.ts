import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { drillStore, RESULTS_KEPT } from '../../../src/operations/drills/store.ts';
import type { DrillResult } from '../../../src/operations/drills/types.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';

const resultOf = (id: string): DrillResult => ({
  version: 1,
  id,
  drill: 'daemon-crash',
  target: 'A',
  fleet: 'f',
  tempo: 'quick',
  origin: 'operator',
  status: 'passed',
  passed: true,
  startedAt: '2026-11-24T14:56:55.123Z',
  endedAt: null,
  fault: '',
  steps: [],
  checks: [],
  detectionSeconds: null,
  recoverySeconds: null,
  recoveryTargetSeconds: null,
  reason: null,
});

describe('results of drills on disk', () => {
  let folder: string;
  const lines: string[] = [];
  const log = { error: (line: string) => void lines.push(line) };
  const store = (path = join(folder, 'drills')) => drillStore(realFileSystem(), path, log);
  const AT = Date.UTC(2026, 10, 24, 14, 56, 55, 123);
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'drill-store-'));
    lines.length = 0;
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('a result is read as it was written, the newest first', () => {
    const kept = store();
    expect(kept.ids()).to.deep.equal([]);
    const ids = ['router-loss', 'crash-loop'].map((drill) => {
      const id = kept.newId(drill, AT);
      kept.write(resultOf(id));
      return id;
    });
    expect(ids).to.deep.equal(['d-20261124-145655123-router-loss', 'd-20261124-145655124-crash-loop']);
    expect(kept.ids()).to.deep.equal([...ids].reverse());
    expect(kept.read(ids[0] ?? '')).to.deep.equal(resultOf(ids[0] ?? ''));
  });

  it('only the newest are kept', () => {
    const kept = store();
    for (let n = 0; n < RESULTS_KEPT + 3; n++) kept.write(resultOf(kept.newId('daemon-crash', AT + n)));
    expect(kept.ids()).to.have.length(RESULTS_KEPT);
    expect(kept.kept()).to.deep.equal({ size: RESULTS_KEPT, limit: RESULTS_KEPT });
    expect(store().kept().size, 'nothing was looked at yet').to.equal(0);
    expect(kept.ids().at(-1)).to.equal('d-20261124-145655126-daemon-crash');
  });

  it('what is damaged, foreign or outside the folder is no result', () => {
    const kept = store();
    const id = kept.newId('daemon-crash', AT);
    kept.write(resultOf(id));
    writeFileSync(join(folder, 'drills', `${id}.json`), '{"version": 1, "id"');
    writeFileSync(join(folder, 'drills', 'notes.json'), '{}');
    writeFileSync(join(folder, 'secret.json'), JSON.stringify(resultOf('../secret')));
    expect(kept.ids()).to.deep.equal([id]);
    for (const asked of [id, 'notes', '../secret', '']) expect(kept.read(asked), asked).to.equal(null);
  });

  it('a disk that refuses costs the file and a line, not the drill', () => {
    writeFileSync(join(folder, 'drills'), 'a file stands where the folder should be');
    const blocked = store();
    blocked.write(resultOf('d-20261124-145655123-daemon-crash'));
    expect(lines).to.have.length(1);
    expect(lines[0]).to.match(/^cannot keep the result of drill d-20261124-145655123-daemon-crash: /);
  });
});

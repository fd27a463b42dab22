import { expect } from 'chai';
import { appendFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import { JobFiles, jobPaths } from '../../../src/training/stores/job-files.ts';
import { ObjectStore, sha256Of } from '../../../src/training/stores/object-store.ts';
import { faultOf, place, type Place } from './support.ts';

describe('the object store', () => {
  let home: Place;
  let store: ObjectStore;
  beforeEach(() => {
    home = place();
    store = new ObjectStore(home.file('manifest.db'), home.folder, realFileSystem());
  });
  afterEach(() => {
    store.close();
    home.remove();
  });
  const put = (name: string, text: string) => {
    writeFileSync(home.file('in'), text);
    return store.put({ file: home.file('in'), kind: 'model', name });
  };

  it('keeps equal bytes once, and a name points to the newest', () => {
    const one = put('champion', 'one');
    expect(put('champion', 'one')).to.deep.equal(one);
    const two = put('champion', 'two');
    expect(store.named('champion')).to.deep.equal(two);
    expect(store.get(one.sha256)).to.deep.equal(one);
    expect(store.list({ kind: 'model', limit: 10 }).map(({ sha256 }) => sha256)).to.deep.equal([two.sha256]);
  });

  it('reads a range, and notices bytes that changed or went', () => {
    const { sha256, file } = put('m', '0123456789');
    expect(Buffer.from(store.read(sha256, { from: 2, bytes: 3 })).toString()).to.equal('234');
    expect(Buffer.from(store.read(sha256, { from: 8, bytes: 30 })).toString()).to.equal('89');
    expect(store.faultOf(sha256)).to.equal(null);
    appendFileSync(file, 'x');
    expect(store.faultOf(sha256)).to.contain('11 bytes instead of 10');
    writeFileSync(file, '0123456780');
    expect(store.faultOf(sha256)).to.contain('instead of');
    rmSync(file);
    expect(store.faultOf(sha256)).to.contain('missing');
    faultOf('FLOOR_INPUT_INVALID', () => store.read('f'.repeat(64), { from: 0, bytes: 1 }));
  });

  it('mends a file that was lost or cut when the bytes are put again', () => {
    const { file } = put('m', '0123456789');
    writeFileSync(file, '01');
    put('m', '0123456789');
    expect(store.faultOf(sha256Of('0123456789'))).to.equal(null);
  });

  it('indexes a shard where it is, only inside the floor and only with its own hash', () => {
    mkdirSync(home.file('shards'));
    writeFileSync(home.file('shards/a.npz'), 'rows');
    const shard = {
      file: home.file('shards/a.npz'),
      kind: 'shard' as const,
      name: 'a',
      sha256: sha256Of('rows'),
      bytes: 4,
    };
    expect(store.index(shard).file).to.equal(home.file('shards/a.npz'));
    faultOf('FLOOR_INPUT_INVALID', () => store.index({ ...shard, file: '/etc/hostname' }));
    faultOf('FLOOR_INPUT_INVALID', () => store.index({ ...shard, file: home.file('../escape') }));
    faultOf('FLOOR_CONFLICT', () => store.index({ ...shard, sha256: sha256Of('other') }));
    store.forgetFile(shard.file);
    expect(store.named('a')).to.equal(null);
  });

  it('adds up what clients were served', () => {
    store.served({ client: 'local-1', bytes: 10 });
    store.served({ client: 'local-1', bytes: 5 });
    expect(store.traffic()).to.deep.equal([{ client: 'local-1', bytes: 15, requests: 2 }]);
  });
});

describe('the folder of a child program', () => {
  let home: Place;
  let jobs: JobFiles;
  const job = (jobId: string) => ({
    version: 1 as const,
    kind: 'export' as const,
    jobId,
    config: 'square8_2p',
    resultFile: jobPaths(home.folder, 'export', jobId).resultFile,
    database: '/canonical/square8_2p.db',
    afterSeq: 0,
    upToSeq: 10,
    rowsMax: 100,
    shardFile: '/shards/a.npz',
  });
  const leave = (jobId: string, text: string, file: 'resultFile' | 'progressFile' = 'resultFile') => {
    const path = jobPaths(home.folder, 'export', jobId)[file];
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  };
  const good = {
    version: 1,
    jobId: 'e1',
    ok: true,
    shardFile: '/a',
    sha256: 'a'.repeat(64),
    bytes: 1,
    games: 1,
    rows: 1,
    lastSeq: 1,
    unreadable: 0,
    seconds: 1,
  };

  beforeEach(() => {
    home = place();
    jobs = new JobFiles(home.folder, realFileSystem());
  });
  afterEach(() => home.remove());

  it('has no result until there is one, and keeps it when the job is prepared again', () => {
    jobs.prepare('export', job('e1'));
    expect(jobs.result('export', 'e1')).to.equal(null);
    leave('e1', JSON.stringify(good));
    jobs.prepare('export', job('e1'));
    expect(jobs.result('export', 'e1')).to.deep.equal(good);
    jobs.discard('export', 'e1');
    jobs.discard('export', 'e1');
    expect(existsSync(jobPaths(home.folder, 'export', 'e1').folder)).to.equal(false);
  });

  it('takes a result that is damaged, foreign or of another job for a failure to try again', () => {
    for (const text of ['{"version":1', '{}', JSON.stringify({ ...good, jobId: 'e2' })]) {
      leave('e1', text);
      expect(jobs.result('export', 'e1')).to.deep.include({ ok: false, retryable: true });
    }
  });

  it('refuses a job that is not one, and a name that is a path', () => {
    faultOf('FLOOR_INPUT_INVALID', () => jobs.prepare('export', { ...job('e1'), rowsMax: 0 }));
    faultOf('FLOOR_INPUT_INVALID', () => jobs.prepare('export', { ...job('e1'), resultFile: '/tmp/x' }));
    faultOf('FLOOR_INPUT_INVALID', () => jobPaths(home.folder, 'export', '../../etc'));
  });

  it('reads progress as evidence or not at all', () => {
    leave('e1', JSON.stringify({ version: 1, jobId: 'e1', step: 3, steps: 9, loss: null, atMs: 1 }), 'progressFile');
    expect(jobs.progress('export', 'e1')).to.deep.equal({ step: 3, steps: 9, loss: null });
    leave('e1', 'half', 'progressFile');
    expect([jobs.progress('export', 'e1'), jobs.progress('export', 'none')]).to.deep.equal([null, null]);
  });
});

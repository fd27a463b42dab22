import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OrchestratorError } from '../../src/errors.ts';
import { lastHolder, liveHolder } from '../../src/journal/holder.ts';
import { acquireLock } from '../../src/journal/lock.ts';
import { realClock } from '../../src/seams/clock.ts';
import { programCommand } from '../../src/seams/entry.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { realSpawner } from '../../src/seams/real-spawner.ts';

const files = realFileSystem();
const spawner = realSpawner({ instance: 'test-lock' });
const clock = realClock();

const errorOf = (act: () => unknown): OrchestratorError => {
  try {
    act();
  } catch (thrown) {
    return thrown as OrchestratorError;
  }
  throw new Error('nothing was thrown');
};

describe('The lock of a data directory', () => {
  let root: string;
  let dataDir: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'master-loop-lock-'));
    dataDir = join(root, 'data');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const acquire = (dir = dataDir) => acquireLock({ dataDir: dir, files, spawner, clock, pid: process.pid });

  it('is had once, with the name of its holder, and again after it was given back', () => {
    const lock = acquire();
    lock.announce(8790);
    const refused = errorOf(() => acquire());
    expect(refused.code).to.equal('DATA_DIR_HELD');
    expect(refused.message)
      .to.include(`the master with pid ${process.pid} on `)
      .and.to.match(/, port 8790$/);
    expect(refused.remedy).to.match(/launch_daemons --stop-all/);
    expect(liveHolder(dataDir, files, spawner)).to.include({ pid: process.pid, port: 8790 });
    expect(lock.stillHeld()).to.equal(true);
    lock.release();
    lock.release();
    expect(lock.stillHeld()).to.equal(false);
    expect(liveHolder(dataDir, files, spawner)).to.equal(null);
    acquire().release();
  });

  it('is not blocked by what a dead, rebooted or garbled holder left', () => {
    mkdirSync(join(dataDir, 'run'), { recursive: true });
    const self = spawner.identify(process.pid);
    for (const left of [
      JSON.stringify({ ...self, startTime: '1', port: 1, startedAt: '', host: '' }), // a reused pid
      JSON.stringify({ ...self, bootId: 'an earlier boot', port: 1, startedAt: '', host: '' }),
      '{"pid":',
      '[]',
      '',
    ]) {
      writeFileSync(join(dataDir, 'run', 'holder.json'), left);
      expect(liveHolder(dataDir, files, spawner), left).to.equal(null);
      acquire().release();
    }
  });

  it('notices that its files were taken away', () => {
    const lock = acquire();
    rmSync(dataDir, { recursive: true });
    expect(lock.stillHeld()).to.equal(false);
    lock.release();
    acquire().release();
  });

  it('notices that another has it after its files were taken away, and leaves what that one said', () => {
    const first = acquire();
    rmSync(dataDir, { recursive: true });
    const second = acquire();
    const other = { ...first.holder, pid: first.holder.pid + 1 };
    writeFileSync(join(dataDir, 'run', 'holder.json'), JSON.stringify(other));
    expect(first.stillHeld()).to.equal(false);
    first.release();
    expect(lastHolder(dataDir, files)?.pid).to.equal(other.pid);
    second.release();
  });

  it('is not given up for a holder file that cannot be read', () => {
    const lock = acquire();
    expect(lock.stillHeld()).to.equal(true);
    writeFileSync(join(dataDir, 'run', 'holder.json'), '{"pid":');
    expect(lock.stillHeld()).to.equal(true);
    lock.release();
  });

  it('is refused where it cannot be: below a file, or over a file that is no database', () => {
    writeFileSync(join(root, 'file'), '');
    const below = errorOf(() => acquire(join(root, 'file', 'data')));
    expect(below.code).to.equal('DATA_DIR_UNUSABLE');
    expect(below.remedy).to.match(/is a file/);
    mkdirSync(join(dataDir, 'run'), { recursive: true });
    writeFileSync(join(dataDir, 'run', 'lock.db'), 'not a database, and long enough to be looked at '.repeat(40));
    const garbled = errorOf(() => acquire());
    expect(garbled.message).to.match(/^cannot use .* as data directory: file is not a database/);
    expect(garbled.remedy).to.match(/delete that file/);
  });

  it('is not kept when it cannot be said whose it is, and nobody is misled when that cannot be taken back', () => {
    const full = {
      ...files,
      writeAtomically: () => {
        throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
      },
    };
    const refused = errorOf(() => acquireLock({ dataDir, files: full, spawner, clock, pid: process.pid }));
    expect(refused).to.include({ code: 'DATA_DIR_UNUSABLE', remedy: 'free space on that disk' });
    const stuck = {
      ...files,
      remove: () => {
        throw new Error('EROFS: read-only file system');
      },
    };
    const lock = acquireLock({ dataDir, files: stuck, spawner, clock, pid: process.pid });
    lock.release();
    expect(lastHolder(dataDir, files)?.pid).to.equal(process.pid);
    acquire().release(); // the lock itself is free
  });

  it('is free again the moment its holder was killed', async () => {
    const [program, ...args] = programCommand('./lock-holder.ts', import.meta.url, [dataDir]);
    const holder: ChildProcess = spawn(program as string, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = new Promise((resolve) => holder.once('exit', resolve));
    try {
      await new Promise((resolve) => holder.stdout?.once('data', resolve));
      const refused = errorOf(() => acquire());
      expect(refused.context.holder).to.include({ pid: holder.pid });
    } finally {
      holder.kill('SIGKILL');
      await exited;
    }
    expect(JSON.parse(readFileSync(join(dataDir, 'run', 'holder.json'), 'utf8'))).to.include({ pid: holder.pid });
    acquire().release();
  });
});

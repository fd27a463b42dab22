import { expect } from 'chai';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { FileSystem } from '../../src/seams/file-system.ts';
import { seededRandom } from '../../src/seams/random.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { simulatedFileSystem } from '../../src/simulation/simulated-file-system.ts';

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code ?? 'no code';
  }
  return 'no error';
};

const bytes = (text: string): Uint8Array => Buffer.from(text);

/** What the kernel says this process has open of a file; a deleted one has a word behind its name. */
const openHandlesOn = (path: string): string[] =>
  readdirSync('/proc/self/fd').flatMap((handle) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${handle}`);
      return target.startsWith(path) ? [target] : [];
    } catch {
      return []; // closed since it was listed: the handle of the list itself
    }
  });

/** Resolves when nothing waits for the disk: what the thread pool was given before is done. */
const quiet = async (): Promise<void> => {
  while (process.getActiveResourcesInfo().includes('FSReqCallback')) await setImmediate();
};

const fileSystemContract = (name: string, make: () => { files: FileSystem; root: string; done: () => void }): void => {
  describe(`FileSystem, ${name}`, () => {
    let files: FileSystem;
    let root: string;
    let done: () => void;
    beforeEach(() => ({ files, root, done } = make()));
    afterEach(() => done());

    it('appends to a file, over several openings', () => {
      const path = join(root, 'log');
      for (const text of ['one', 'two']) {
        const file = files.openAppend(path);
        file.append(bytes(text));
        file.dataSync();
        file.close();
        file.close();
      }
      expect(files.readText(path)).to.equal('onetwo');
      expect(files.stat(path)).to.include({ bytes: 6, isDirectory: false });
    });

    it('goes on while the disk was asked to begin, also when the file is closed or gone meanwhile', async () => {
      const path = join(root, 'log');
      const file = files.openAppend(path);
      for (let round = 0; round < 50; round++) {
        file.append(bytes('x'));
        file.beginWriteBack();
      }
      file.dataSync();
      expect(files.readText(path)).to.equal('x'.repeat(50));
      file.beginWriteBack();
      file.close();
      files.remove(path);
      await quiet();
      expect(openHandlesOn(path)).to.deep.equal([]);
    });

    it('appends after a cut', () => {
      const file = files.openAppend(join(root, 'log'));
      file.append(bytes('keep, torn'));
      file.truncate(4);
      expect(file.size()).to.equal(4);
      file.append(bytes('!'));
      file.close();
      expect(Buffer.from(files.read(join(root, 'log'))).toString()).to.equal('keep!');
    });

    it('publishes a file whole, in place of the old one, and leaves nothing beside it', () => {
      const path = join(root, 'state.json');
      files.writeAtomically(path, 'old');
      files.writeAtomically(path, bytes('new'));
      expect(files.readText(path)).to.equal('new');
      expect(files.list(root)).to.deep.equal(['state.json']);
    });

    it('makes folders with their parents, twice', () => {
      const folder = join(root, 'a', 'b');
      files.makeFolder(folder);
      files.makeFolder(folder);
      expect(files.stat(folder).isDirectory).to.equal(true);
      expect(files.list(root)).to.deep.equal(['a']);
      expect(files.list(folder)).to.deep.equal([]);
    });

    it('moves a file over another, and removes', () => {
      files.writeAtomically(join(root, 'a'), 'A');
      files.writeAtomically(join(root, 'b'), 'B');
      files.rename(join(root, 'a'), join(root, 'b'));
      expect(files.readText(join(root, 'b'))).to.equal('A');
      expect(files.exists(join(root, 'a'))).to.equal(false);
      files.remove(join(root, 'b'));
      files.remove(join(root, 'b'));
      expect(files.list(root)).to.deep.equal([]);
    });

    it('removes a folder with all that is in it, twice', () => {
      files.makeFolder(join(root, 'a', 'b'));
      files.writeAtomically(join(root, 'a', 'b', 'c'), '');
      files.removeFolder(join(root, 'a'));
      files.removeFolder(join(root, 'a'));
      expect(files.list(root)).to.deep.equal([]);
    });

    it('names what is wrong by its errno', () => {
      const missing = join(root, 'missing');
      files.makeFolder(join(root, 'folder'));
      expect(codeOf(() => files.read(missing))).to.equal('ENOENT');
      expect(codeOf(() => files.readText(missing))).to.equal('ENOENT');
      expect(codeOf(() => files.stat(missing))).to.equal('ENOENT');
      expect(codeOf(() => files.list(missing))).to.equal('ENOENT');
      expect(codeOf(() => files.rename(missing, join(root, 'x')))).to.equal('ENOENT');
      expect(codeOf(() => files.openAppend(join(missing, 'log')))).to.equal('ENOENT');
      expect(codeOf(() => files.writeAtomically(join(missing, 'file'), ''))).to.equal('ENOENT');
      expect(codeOf(() => files.read(join(root, 'folder')))).to.equal('EISDIR');
      expect(files.exists(missing)).to.equal(false);
    });

    it('refuses an append to a closed file', () => {
      const file = files.openAppend(join(root, 'log'));
      file.close();
      expect(codeOf(() => file.append(bytes('x')))).to.equal('EBADF');
    });

    it('knows what is free', () => {
      expect(files.freeBytes(root)).to.be.above(0);
    });
  });
};

fileSystemContract('real', () => {
  const root = mkdtempSync(join(tmpdir(), 'master-loop-files-'));
  return { files: realFileSystem(), root, done: () => rmSync(root, { recursive: true }) };
});
fileSystemContract('simulated', () => {
  const files = simulatedFileSystem();
  files.makeFolder('/data');
  return { files, root: '/data', done: () => {} };
});

describe('The real file system', () => {
  it('gives a file the mode it is asked for', () => {
    const root = mkdtempSync(join(tmpdir(), 'master-loop-files-'));
    const files = realFileSystem();
    files.writeAtomically(join(root, 'token'), 'secret', { mode: 0o600 });
    files.openAppend(join(root, 'log'), { mode: 0o600 }).close();
    files.makeFolder(join(root, 'run'), { mode: 0o700 });
    const modes = ['token', 'log', 'run'].map((name) => statSync(join(root, name)).mode & 0o777);
    rmSync(root, { recursive: true });
    expect(modes).to.deep.equal([0o600, 0o600, 0o700]);
  });

  it('takes its temporary file away when it cannot publish', () => {
    const root = mkdtempSync(join(tmpdir(), 'master-loop-files-'));
    const files = realFileSystem();
    files.makeFolder(join(root, 'taken', 'inside'));
    expect(codeOf(() => files.writeAtomically(join(root, 'taken'), 'x'))).to.equal('EISDIR');
    expect(files.list(root)).to.deep.equal(['taken']);
    chmodSync(join(root, 'taken'), 0o755);
    rmSync(root, { recursive: true });
  });

  it('stops at a device that is full', () => {
    const file = realFileSystem().openAppend('/dev/full');
    expect(codeOf(() => file.append(bytes('x')))).to.equal('ENOSPC');
    file.close();
    expect(readFileSync('/dev/null')).to.have.length(0);
  });
});

describe('The simulated file system', () => {
  const contents = (files: ReturnType<typeof simulatedFileSystem>, calls: number, path: string): string[] => {
    const seen = new Set<string>();
    for (const state of files.crashStates(calls))
      seen.add(state.files.exists(path) ? JSON.stringify(state.files.readText(path)) : 'absent');
    return [...seen].sort();
  };

  it('may lose any part of what was not synced, its name included, and nothing of what was', () => {
    const files = simulatedFileSystem();
    const file = files.openAppend('/log');
    file.append(bytes('ab'));
    expect(contents(files, files.trace.length, '/log')).to.deep.equal(
      ['"\\u0000\\u0000"', '"\\u0000b"', '"a\\u0000"', '"a"', '"ab"', '""', 'absent'].sort(),
    );
    file.dataSync();
    expect(contents(files, files.trace.length, '/log')).to.deep.equal(['"ab"']);
    file.append(bytes('c'));
    expect(contents(files, files.trace.length, '/log')).to.deep.equal(['"ab"', '"abc"', '"ab\\u0000"'].sort());
  });

  it('shows a file that is published atomically as before or as after, at every crash point', () => {
    const files = simulatedFileSystem();
    files.writeAtomically('/state', 'old');
    const published = files.trace.length;
    files.writeAtomically('/state', 'new');
    for (let calls = published; calls <= files.trace.length; calls++)
      expect(['"new"', '"old"']).to.include.members(contents(files, calls, '/state'));
    expect(contents(files, files.trace.length, '/state')).to.deep.equal(['"new"']);
  });

  it('keeps a name uncertain until its folder is synced', () => {
    const files = simulatedFileSystem();
    files.writeAtomically('/a', 'A');
    files.rename('/a', '/b');
    const seen = new Set<string>();
    for (const state of files.crashStates(files.trace.length)) seen.add(state.files.list('/').join());
    expect([...seen].sort()).to.deep.equal(['a', 'b']);
  });

  it('does not make durable later what a failed sync gave up', () => {
    const files = simulatedFileSystem();
    const file = files.openAppend('/log');
    file.append(bytes('a'));
    file.dataSync();
    file.append(bytes('b'));
    files.failNext('sync', 'EIO');
    expect(codeOf(() => file.dataSync())).to.equal('EIO');
    file.append(bytes('c'));
    file.dataSync();
    expect(files.readText('/log')).to.equal('abc');
    expect(contents(files, files.trace.length, '/log')).to.deep.equal(['"a\\u0000c"', '"abc"'].sort());
  });

  it('takes a part of a write that fills the disk, and all of it when space returns', () => {
    const files = simulatedFileSystem();
    const file = files.openAppend('/log');
    files.refuseWritesAfter(2);
    expect(codeOf(() => file.append(bytes('abc')))).to.equal('ENOSPC');
    expect(files.readText('/log')).to.equal('ab');
    expect(codeOf(() => files.writeAtomically('/state', 'x'))).to.equal('ENOSPC');
    expect(files.list('/')).to.deep.equal(['log']);
    file.truncate(0);
    expect(files.freeBytes('/')).to.equal(2);
    files.grow();
    file.append(bytes('abc'));
    expect(files.readText('/log')).to.equal('abc');
  });

  it('refuses every change while it is read-only', () => {
    const files = simulatedFileSystem();
    const file = files.openAppend('/log');
    files.readOnly(true);
    expect(codeOf(() => file.append(bytes('x')))).to.equal('EROFS');
    expect(codeOf(() => files.openAppend('/other'))).to.equal('EROFS');
    expect(codeOf(() => files.writeAtomically('/state', 'x'))).to.equal('EROFS');
    expect(codeOf(() => files.makeFolder('/folder'))).to.equal('EROFS');
    expect(codeOf(() => files.remove('/log'))).to.equal('EROFS');
    expect(files.readText('/log')).to.equal('');
  });

  it('comes back from a power cut with synced bytes, dead handles, and the same outcome for the same seed', () => {
    const cut = (seed: number): string => {
      const files = simulatedFileSystem({ trace: false });
      const file = files.openAppend('/log');
      file.append(bytes('safe'));
      file.dataSync();
      file.append(bytes(' and not safe'));
      files.powerCut(seededRandom(seed));
      expect(codeOf(() => file.append(bytes('x')))).to.equal('EBADF');
      return files.readText('/log');
    };
    const outcomes = Array.from({ length: 30 }, (_, seed) => cut(seed));
    expect(outcomes.every((text) => text.startsWith('safe'))).to.equal(true);
    expect(new Set(outcomes).size).to.be.above(5);
    expect(cut(7)).to.equal(outcomes[7]);
  });
});

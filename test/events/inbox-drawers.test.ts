import { expect } from 'chai';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tidyInbox } from '../../src/events/inbox.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';

describe('the drawers of the inbox', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ml-inbox-'));
    for (const drawer of ['done', 'bad']) mkdirSync(join(folder, drawer));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** The higher the number, the newer. */
  const put = (drawer: string, count: number): void => {
    for (let number = 1; number <= count; number++) {
      const path = join(folder, drawer, `${String(number).padStart(3, '0')}.json`);
      writeFileSync(path, '{}');
      utimesSync(path, number, number);
    }
  };
  const tidy = () => tidyInbox({ files: realFileSystem(), folder }, 20);

  it('that are not too full are left as they are, however old their files', () => {
    put('done', 20);
    put('bad', 3);
    expect(tidy()).to.deep.equal({ done: 20, bad: 3, removed: 0 });
  });

  it('that are too full lose their oldest, with some room to spare', () => {
    put('done', 25);
    put('bad', 21);
    expect(tidy()).to.deep.equal({ done: 18, bad: 18, removed: 10 });
    expect(readdirSync(join(folder, 'done')).sort().at(0)).to.equal('008.json');
    expect(readdirSync(join(folder, 'bad')).sort().at(0)).to.equal('004.json');
  });

  it('need not be there', () => {
    rmSync(join(folder, 'bad'), { recursive: true });
    expect(tidy()).to.deep.equal({ done: 0, bad: 0, removed: 0 });
  });
});

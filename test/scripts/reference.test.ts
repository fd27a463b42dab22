import { expect } from 'chai';
import { join } from 'node:path';
import { referencePages } from '../../scripts/reference.ts';
import { ERROR_CODES } from '../../src/errors.ts';
import { packageRoot } from '../../src/seams/entry.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';

const files = realFileSystem();
const pages = referencePages(packageRoot(), files);

describe('docs/reference', () => {
  for (const { file, text } of pages)
    it(`${file} says what the tables say (else: npm run docs)`, () => {
      expect(files.readText(join(packageRoot(), 'docs', 'reference', file))).to.equal(text);
    });

  it('gives every message of an error as one that begins with "cannot", and a remedy', () => {
    const errors = pages.find(({ file }) => file === 'errors.md')!.text;
    const rows = [...errors.matchAll(/^\| (.+) \| (.+) \| `src\/.+` \|$/gm)];
    expect(rows.length).to.be.greaterThan(Object.keys(ERROR_CODES).length / 2);
    for (const [, message, remedy] of rows) {
      for (const text of message!.split(' / ')) expect(text, message).to.match(/^(cannot |…)/);
      expect(remedy, message).not.to.equal('');
    }
  });
});

/** The order of reading that docs/architecture.md gives for the core is the order in which its files import each other. */
import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/seams/entry.ts';

const root = packageRoot();
const CORE = join(root, 'src/orchestrator/core');
const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
const [, section = ''] = page.split(/^## The core, file by file$/m);
const listed = [...section.split(/^## /m)[0]!.matchAll(/^\| `([a-z-]+\.ts)` \|/gm)].map(([, file]) => file!);
const importsOf = (file: string): string[] =>
  [...readFileSync(join(CORE, file), 'utf8').matchAll(/ from '\.\/([^']+)'/g)].map(([, other]) => other!);

describe('The core as docs/architecture.md lists it', () => {
  it('has every file of src/orchestrator/core in the list', () => {
    expect([...listed].sort()).to.deep.equal(readdirSync(CORE).sort());
  });

  it('imports in each file only files above it', () => {
    const early = listed.flatMap((file, index) =>
      importsOf(file)
        .filter((other) => !listed.slice(0, index).includes(other))
        .map((other) => `${file} imports ${other}`),
    );
    expect(early).to.deep.equal([]);
    expect(listed.flatMap(importsOf)).to.not.be.empty;
  });
});

/** Writes docs/reference from the tables; what is in which page is in reference.ts. */
import { join } from 'node:path';
import { packageRoot } from '../src/seams/entry.ts';
import { realFileSystem } from '../src/seams/real-file-system.ts';
import { referencePages } from './reference.ts';

const files = realFileSystem();
const folder = join(packageRoot(), 'docs', 'reference');
files.makeFolder(folder);
for (const { file, text } of referencePages(packageRoot(), files)) {
  files.writeAtomically(join(folder, file), text);
  process.stdout.write(`docs/reference/${file}\n`);
}

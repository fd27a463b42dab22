/**
 * Runs the compiled tests and ends with one line a machine can read: `N passed, N failed`. A skipped test counts as a
 * failure, unless it says that the corpus of third-party files is absent: a test that does not run proves nothing.
 */
import Mocha from 'mocha';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TIMEOUT_MS = 60_000;
const root = fileURLToPath(new URL('../test/', import.meta.url));

const testsIn = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return testsIn(path);
      return entry.name.endsWith('.test.js') ? [path] : [];
    });

const wanted = process.argv.slice(2);
const files = testsIn(root).filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)));
const mocha = new Mocha({ timeout: TIMEOUT_MS, slow: 5_000, reporter: 'dot', forbidOnly: true });
for (const file of files) mocha.addFile(file);
await mocha.loadFilesAsync();

let passed = 0;
let failed = 0;
const skipped: string[] = [];
const runner = mocha.run(() => {
  for (const title of skipped) console.log(`skipped, which counts as failed: ${title}`);
  console.log(`${passed} passed, ${failed + skipped.length} failed`);
  process.exit(failed + skipped.length === 0 && passed > 0 ? 0 : 1);
});
runner.on('pass', () => passed++);
runner.on('fail', () => failed++);
runner.on('pending', (test) => {
  if (!/corpus/.test(test.fullTitle())) skipped.push(test.fullTitle());
});

/**
 * Runs the compiled tests and ends with one line a machine can read: `N passed, N failed`. A skipped test counts as a
 * failure, unless it says that the corpus of third-party files is absent: a test that does not run proves nothing. So does
 * a promise whose rejection nobody heard.
 *
 * Files run side by side: most of them wait for real processes and real time. The longest begin first, so that none of
 * them is left over at the end.
 *
 * usage: run-tests [--nightly] [PART…]   files whose path has one of the parts; --nightly: those too long, or too demanding
 *        of the machine, for every run
 */
import Mocha from 'mocha';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TIMEOUT_MS = 60_000;
/** A file waits more than it works, so there is room for one more than there are cores. */
const JOBS = Math.min(4, availableParallelism() + 1);
const LONG = ['/docs/', '/simulation/', '/scenarios/', '/drills/', '/daemons/', '/programs'];
/** Around every test; those who run files side by side load it themselves. */
const HOOKS = fileURLToPath(new URL('../test/support/no-unhandled.js', import.meta.url));
const [NIGHTLY, TEST] = ['.nightly.js', '.test.js'];
const root = fileURLToPath(new URL('../test/', import.meta.url));

const args = process.argv.slice(2);
const ending = args.includes('--nightly') ? NIGHTLY : TEST;
const testsIn = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return testsIn(path);
      return entry.name.endsWith(ending) ? [path] : [];
    });

const wanted = args.filter((arg) => arg !== '--nightly');
const files = testsIn(root).filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)));
const rank = (file: string): number => LONG.findIndex((part) => file.includes(part)) + 1 || LONG.length + 1;
files.sort((a, b) => rank(a) - rank(b));
const mocha = new Mocha({
  ...{ timeout: TIMEOUT_MS, slow: 5_000, reporter: 'dot', forbidOnly: true },
  ...(files.length > 1
    ? { parallel: true, jobs: JOBS, require: [HOOKS] }
    : { rootHooks: ((await import(HOOKS)) as { mochaHooks: Mocha.RootHookObject }).mochaHooks }),
});
for (const file of files) mocha.addFile(file);
if (files.length === 1) await mocha.loadFilesAsync(); // several are loaded by those who run them

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

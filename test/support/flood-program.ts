/**
 * A child that prints more than anybody wants, for tests: so many megabytes at so many a second (0: as fast as it can), in
 * lines or as one line, to standard output and error by turns. Then it writes down how long a write made it wait at most,
 * and ends; or goes on living when told to.
 */
import { writeFileSync, writeSync } from 'node:fs';

const [megabytes = '0', perSecond = '0', shape = 'lines', resultFile = '', after = 'ends'] = process.argv.slice(2);
const MEGABYTE = 1024 * 1024;
const line = `${'flood '.repeat(20)}\n`;
const chunk = Buffer.from(shape === 'lines' ? line.repeat(Math.floor(MEGABYTE / line.length)) : 'x'.repeat(MEGABYTE));
const sleeper = new Int32Array(new SharedArrayBuffer(4));

const begun = performance.now();
let written = 0;
let longestMs = 0;
for (let turn = 0; written < Number(megabytes) * MEGABYTE; turn++) {
  const at = performance.now();
  written += writeSync(1 + (turn % 2), chunk);
  longestMs = Math.max(longestMs, performance.now() - at);
  const ahead = perSecond === '0' ? 0 : (written / MEGABYTE / Number(perSecond)) * 1_000 - (performance.now() - begun);
  if (ahead > 0) Atomics.wait(sleeper, 0, 0, ahead);
}
writeFileSync(resultFile, JSON.stringify({ written, longestMs, tookMs: performance.now() - begun }));
if (after === 'stays') setInterval(() => undefined, 1_000);

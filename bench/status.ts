/**
 * Figure: `master_loop status` against a running loop, at most 250 ms wall.
 *
 * A control plane with 85 daemons runs in this process; the command runs in a process of its own, as a user runs it. The
 * limit beside it is what no command can avoid: starting Node with an empty program. From source the command is compiled
 * on the way, which a user never pays for, so the figure is that of `dist` (`npm run build` first).
 *
 * Usage: node dist/bench/status.js [RUNS]
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect } from '../src/operations/client/index.ts';
import { startServer } from '../src/operations/server/host.ts';
import { realClock } from '../src/seams/clock.ts';
import { packageRoot } from '../src/seams/entry.ts';
import { bigFleet } from './support/big-fleet.ts';
import { judged } from './support/judged.ts';

const RUNS = Number(process.argv[2] ?? 15);
const AIM_MS = 250;

const quantile = (values: readonly number[], share: number): number =>
  [...values].sort((one, other) => one - other)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? NaN;

const run = (args: readonly string[]): Promise<{ readonly ms: number; readonly output: string }> =>
  new Promise((resolve, reject) => {
    const begun = performance.now();
    execFile(process.execPath, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`${args.join(' ')}: ${stderr || error.message}`));
      else resolve({ ms: performance.now() - begun, output: stdout });
    });
  });

const measure = async (name: string, args: readonly string[], limit?: number): Promise<number> => {
  await run(args); // the first start of a program reads it from disk
  const times: number[] = [];
  for (let round = 0; round < RUNS; round++) times.push((await run(args)).ms);
  const middle = quantile(times, 0.5);
  const ratio = limit === undefined ? '' : `  ${(middle / limit).toFixed(2)} × the limit`;
  console.log(
    `${name.padEnd(34)} median ${middle.toFixed(0).padStart(4)} ms  p95 ${quantile(times, 0.95).toFixed(0).padStart(4)} ms${ratio}`,
  );
  return middle;
};

const dataDir = mkdtempSync(join(tmpdir(), 'ml-status-'));
const fleet = bigFleet(85);
const host = await startServer({
  ...fleet.options,
  dataDir,
  journalFolder: join(dataDir, 'journal'),
  clock: realClock(),
});
try {
  const fromSource = fileURLToPath(import.meta.url).endsWith('.ts');
  const command = join(packageRoot(), 'dist', 'scripts', 'master_loop.js');
  const limit = await measure('limit: an empty program', ['-e', '0']);
  if (!existsSync(command)) console.log(`${command} is missing: run "npm run build" first`);
  else {
    if (fromSource) console.log('measuring the compiled command, as users run it');
    const wall = await measure('master_loop status', [command, 'status', '--data-dir', dataDir], limit);
    await measure('master_loop status --json', [command, 'status', '--json', '--data-dir', dataDir], limit);
    await measure('master_loop why EVENT_ROUTER', [command, 'why', fleet.first, '--data-dir', dataDir], limit);
    console.log(`aim ${AIM_MS} ms: ${judged(wall <= AIM_MS)}`);
  }
  const client = await connect({ dataDir });
  const answers: number[] = [];
  for (let round = 0; round < 200; round++) {
    const begun = performance.now();
    await client.status();
    answers.push(performance.now() - begun);
  }
  client.close();
  console.log(
    `one status over the socket         median ${quantile(answers, 0.5).toFixed(2)} ms  p99 ${quantile(answers, 0.99).toFixed(2)} ms`,
  );
} finally {
  await host.close();
  rmSync(dataDir, { recursive: true, force: true });
}

/**
 * Figure: `master_loop status` against a running loop, at most 250 ms from the shell's point of view.
 *
 * The loop here is one that answers at once (85 daemons, over the real control socket), so what is measured is the client:
 * starting Node, loading the command, asking, printing. The limit beside it is Node itself doing nothing. Beside the figure:
 * what the same command would cost if it loaded yargs or RxJS, which is why it does not.
 *
 * Run it from dist: under tsx the loader is measured instead.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { programCommand } from '../src/seams/entry.ts';
import { daemonStatus, startFakeLoop, statusReport } from '../test/support/fake-loop.ts';
import { judged } from './support/judged.ts';

const ROUNDS = 30;
const AIM_MS = 250;

/** Wall milliseconds of one run; the loop lives in this process, so it must not be blocked meanwhile. */
const timed = (command: readonly string[]): Promise<number> =>
  new Promise((resolve, reject) => {
    const [program = '', ...rest] = command;
    const from = performance.now();
    const child = spawn(program, rest, { stdio: ['ignore', 'ignore', 'inherit'] });
    child.once('error', reject);
    child.once('exit', () => resolve(performance.now() - from));
  });

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;

const measure = async (name: string, command: readonly string[]): Promise<readonly [number, number]> => {
  await timed(command);
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) times.push(await timed(command));
  times.sort((one, other) => one - other);
  const [p50, p95] = [quantile(times, 0.5), quantile(times, 0.95)];
  console.log(`${name.padEnd(34)} p50 ${p50.toFixed(0).padStart(4)} ms   p95 ${p95.toFixed(0).padStart(4)} ms`);
  return [p50, p95];
};

const dataDir = mkdtempSync(join(tmpdir(), 'ml-bench-'));
const loop = await startFakeLoop(dataDir, {
  status: statusReport(Array.from({ length: 85 }, (_, index) => daemonStatus(`DAEMON_${index}`))),
});
const program = (args: readonly string[]): string[] =>
  programCommand('../scripts/master_loop.ts', import.meta.url, args);

console.log(`node ${process.version}, ${ROUNDS} runs each`);
const [limit] = await measure('limit: node, nothing loaded', [process.execPath, '-e', '0']);
const [p50, p95] = await measure('master_loop status', program(['status', '--data-dir', dataDir]));
await measure('master_loop why DAEMON_7', program(['why', 'DAEMON_7', '--data-dir', dataDir]));
await measure(
  'TAB after "why D"',
  program(['--get-yargs-completions', 'master_loop', '--data-dir', dataDir, 'why', 'D']),
);
const loading = (library: string): string[] => [
  process.execPath,
  '--input-type=module',
  '-e',
  `await import(${JSON.stringify(import.meta.resolve(library))})`,
];
await measure('node loading yargs', loading('yargs'));
await measure('node loading rxjs', loading('rxjs'));
console.log(`status p50 / limit ${(p50 / limit).toFixed(2)}; aim ${AIM_MS} ms: p95 ${judged(p95 <= AIM_MS)}`);
await loop.close();
rmSync(dataDir, { recursive: true, force: true });

/**
 * Figure: supervision of 85 idle daemons at shipped periods, the server scraped each 5 s, over 5 minutes, from /proc: at
 * most 1 % of one core and 150 MB PSS.
 *
 * The master is a process of its own, started as a user starts it, with a fleet file of the RingRift shape: EVENT_ROUTER is
 * the real one, the other 84 are modules with a subscription-less cycle and a health check at the shape's own periods, in
 * the standard tempo. CPU time is what the kernel charged the process (all threads), PSS what it says of its memory. The
 * limit beside it is an empty Node process that scrapes nobody and holds one timer for the same time. An idle process pays for
 * being woken more than for what it then does, and what that costs is the machine's affair (an overcommitted host charges
 * milliseconds): so both are also told as wakings per second and what one costs.
 *
 * Usage: npm run bench supervision -- [SECONDS]
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { RINGRIFT_SHAPE } from '../src/simulation/ringrift-shape.ts';
import { LiveMaster, until } from '../test/scenarios/live-master.ts';
import { judged } from './support/judged.ts';

const SECONDS = Number(process.argv[2] ?? 300);
const SCRAPE_MS = 5_000;
const AIM_SHARE = 0.01;
const AIM_PSS_MB = 150;
/** The fleet has come up and the collector has seen it: what follows is what idling costs. Seconds. */
const SETTLE_SECONDS = 20;
/** Of the kernel's process times; CONFIG_HZ has been 100 for user space on every Linux. */
const TICKS_PER_SECOND = 100;

const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
};
/** How often the kernel has woken a thread of it. */
const wakings = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
    return sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }, 0);
const pssMb = (pid: number): number =>
  Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? Number.NaN) / 1024;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const moduleOf = (type: string, seconds: number): string =>
  `export default { type: '${type}', purpose: 'is idle', create: ({ clock }) => {
    let at = clock.monotonicMs();
    return {
      every: { periodSeconds: ${seconds}, run() { at = clock.monotonicMs(); } },
      health: () => ({ status: 'healthy', healthy: true, message: '', details: { lastProgressAt: at } }),
    };
  } };`;

const list = (names: readonly string[]): string => `[${names.join(', ')}]`;
const fleet = [
  'version: 1',
  'name: idle',
  'daemons:',
  ...RINGRIFT_SHAPE.map(([type, hard, order, seconds, critical]) => {
    const edges = list([...hard, ...order.map((on) => `{ on: ${on}, kind: order }`)]);
    return type === 'EVENT_ROUTER'
      ? `  ${type}: { uses: event-router }`
      : `  ${type}: { module: ./${type}.js, critical: ${critical}, dependsOn: ${edges}, health: { periodSeconds: ${seconds} } }`;
  }),
  '',
].join('\n');
const modules = Object.fromEntries(
  RINGRIFT_SHAPE.filter(([type]) => type !== 'EVENT_ROUTER').map(([type, , , seconds]) => [
    `${type}.js`,
    moduleOf(type, seconds),
  ]),
);

const master = new LiveMaster(fleet, modules);
const empty = spawn(process.execPath, ['-e', 'setInterval(() => {}, 250)'], { stdio: 'ignore' });
try {
  await master.start();
  const { port } = await until('every daemon runs', async () => {
    const status = await master.status();
    return status.daemons.every(({ state }) => state === 'RUNNING') ? status : null;
  });
  await sleep(SETTLE_SECONDS * 1_000);
  const { pid } = master;
  const begun = performance.now();
  const cpuBegun = cpuSeconds(pid);
  const emptyBegun = cpuSeconds(empty.pid ?? 0);
  const [wokenBegun, emptyWokenBegun] = [wakings(pid), wakings(empty.pid ?? 0)];
  let scrapes = 0;
  let pssMax = 0;
  while (performance.now() - begun < SECONDS * 1_000) {
    for (const path of ['/metrics', '/health']) {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      if (!response.ok) throw new Error(`cannot measure: ${path} answered ${response.status}`);
      await response.text();
    }
    scrapes++;
    pssMax = Math.max(pssMax, pssMb(pid));
    await sleep(SCRAPE_MS);
  }
  const seconds = (performance.now() - begun) / 1_000;
  const share = (cpuSeconds(pid) - cpuBegun) / seconds;
  const emptyShare = (cpuSeconds(empty.pid ?? 0) - emptyBegun) / seconds;
  const wokenPerSecond = (wakings(pid) - wokenBegun) / seconds;
  const emptyWokenPerSecond = (wakings(empty.pid ?? 0) - emptyWokenBegun) / seconds;
  const emptyPss = pssMb(empty.pid ?? 0);
  const restarts = (await master.status()).daemons.reduce((sum, daemon) => sum + daemon.restartsTotal, 0);
  const met = share <= AIM_SHARE && pssMax <= AIM_PSS_MB && restarts === 0;
  console.log(
    `85 idle daemons over ${seconds.toFixed(0)} s, ${scrapes} scrapes: CPU ${(share * 100).toFixed(2)} % of one core (aim 1 %), ` +
      `limit ${(emptyShare * 100).toFixed(2)} % (empty Node with one timer); PSS ${pssMax.toFixed(0)} MB (aim ${AIM_PSS_MB}), ` +
      `limit ${emptyPss.toFixed(0)} MB, ratio ${(pssMax / emptyPss).toFixed(1)}; ${restarts} restarts: ${judged(met)}\n` +
      `    woken ${wokenPerSecond.toFixed(1)} times a second, ${((share / wokenPerSecond) * 1e6).toFixed(0)} µs each; ` +
      `the empty one ${emptyWokenPerSecond.toFixed(1)} times, ${((emptyShare / emptyWokenPerSecond) * 1e6).toFixed(0)} µs each`,
  );
} finally {
  empty.kill('SIGKILL');
  await master.kill9();
  rmSync(master.folder, { recursive: true, force: true });
}

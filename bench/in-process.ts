/**
 * Figures of 10,000 in-process daemons, with journal on disk, one subscription, one cycle timer and a health slot each:
 * full start at least 20,000/s, and a daemon at 10,000 at most 1.3 times as dear as one at 100; all crashed at once, all
 * back within 0.6 s; a cascade from one root and a stop of all likewise. A cascade waits on purpose while its merge window
 * is open (losses this close together are one plan), so what counts is what it takes beyond that; both are printed.
 *
 * The limit beside them is bare promises: the same number of async functions that start, fail, are caught and started
 * again, and nothing else: no journal, no state, no subscription. Measured in the same run.
 *
 * A full start ends when every subscription has been proven by a canary through the router's thread: RUNNING alone is half
 * of it, and a fleet of 100 is RUNNING before the first canary is back, while one of 10,000 meets most of them on the way.
 * What a daemon costs is how long its start holds the main loop, averaged over equally many daemons: one fleet of 10,000,
 * or 100 fleets of 100. Every round is a new fleet in a warm process; the quietest of the rounds is what is told, since on
 * a shared machine the others measure the neighbours. Beside each wall clock stands the processor time of the main thread,
 * collections on it included.
 *
 * Usage: npm run bench in-process -- [--daemons N] [--rounds N] [--no-events]
 */
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { MERGE_WINDOW_MS } from '../src/orchestrator/core.ts';
import { mainThreadMs } from './support/cpu.ts';
import { liveFleet, type LiveDaemon, type LiveFleet } from './support/live-fleet.ts';
import { judged } from './support/judged.ts';

const { values } = parseArgs({
  options: {
    daemons: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '5' },
    'no-events': { type: 'boolean', default: false },
  },
});
const DAEMONS = Number(values.daemons);
const ROUNDS = Number(values.rounds);
const FEW = 100;
const AIM_STARTS = 20_000;
const AIM_SCALE = 1.3;
const AIM_BACK_MS = 600;

const free = (count: number): LiveDaemon[] => Array.from({ length: count }, (_, index) => ({ type: `D${index}` }));
const star = (count: number): LiveDaemon[] =>
  free(count).map((daemon, index) => (index === 0 ? daemon : { ...daemon, needs: ['D0'] }));

const now = (): number => performance.now();

/** Milliseconds: by the clock on the wall, of processor time of the main thread, and in which the main loop was held. */
interface Took {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly heldMs: number;
}

interface Round {
  /** Until all are RUNNING and every subscription is proven. */
  readonly start: Took;
  /** Until all are RUNNING. */
  readonly running: Took;
  readonly crash: Took;
  readonly cascade: Took;
  readonly stop: Took;
}

const timer = (): (() => Took) => {
  const wall = now();
  const cpu = mainThreadMs();
  const loop = performance.eventLoopUtilization();
  return () => ({
    wallMs: now() - wall,
    cpuMs: mainThreadMs() - cpu,
    heldMs: performance.eventLoopUtilization(loop).active,
  });
};

const boot = async (live: LiveFleet): Promise<{ start: Took; running: Took }> => {
  const took = timer();
  const proven = live.allProven();
  live.supervisor.boot();
  await live.allRunning();
  const running = took();
  await proven;
  return { start: took(), running };
};

const stopAll = async (live: LiveFleet): Promise<Took> => {
  const took = timer();
  const outcome = await live.supervisor.execute({
    verb: 'shutdown',
    daemons: [],
    origin: 'operator',
    reason: 'bench',
    waitMs: 60_000,
  });
  if (!outcome.ok) throw new Error(`cannot measure a stop of all: ${outcome.message}`);
  return took();
};

const round = async (count: number): Promise<Round> => {
  const events = !values['no-events'];
  const flat = await liveFleet({ daemons: free(count), events });
  const { start, running } = await boot(flat);
  const boom = new Error('bench: crashed on purpose');
  let took = timer();
  for (const context of [...flat.contexts.values()]) context.fail(boom);
  await flat.allRunning(2);
  const crash = took();
  await flat.allProven();
  const stop = await stopAll(flat);
  await flat.end();

  const tree = await liveFleet({ daemons: star(count), events });
  await boot(tree);
  took = timer();
  tree.contexts.get('D0')?.fail(boom);
  await tree.allRunning(2);
  const cascade = took();
  await stopAll(tree);
  await tree.end();
  return { start, running, crash, cascade, stop };
};

/** The least that "start, crash, start again" costs in this language: a promise each. */
const barePromises = async (count: number): Promise<{ startMs: number; backMs: number }> => {
  const boom = new Error('bench: crashed on purpose');
  const crash = new Array<(error: Error) => void>(count);
  let running = 0;
  let reached = (): void => {};
  const daemon = (index: number) => async (): Promise<void> => {
    await Promise.resolve();
    const life = new Promise<void>((_resolve, reject) => (crash[index] = reject));
    if (++running === count) reached();
    await life;
  };
  const supervise = async (index: number): Promise<void> => {
    for (let lives = 0; lives < 2; lives++) {
      try {
        await daemon(index)();
      } catch {
        running--;
      }
    }
  };
  const all = (): Promise<void> => new Promise((resolve) => (reached = resolve));
  let up = all();
  let from = now();
  for (let index = 0; index < count; index++) void supervise(index);
  await up;
  const startMs = now() - from;
  up = all();
  from = now();
  for (const reject of [...crash]) reject(boom);
  await up;
  return { startMs, backMs: now() - from };
};

const quietest = (rounds: readonly Round[]): Round => {
  const least = (of: keyof Round): Took => ({
    wallMs: Math.min(...rounds.map((one) => one[of].wallMs)),
    cpuMs: Math.min(...rounds.map((one) => one[of].cpuMs)),
    heldMs: Math.min(...rounds.map((one) => one[of].heldMs)),
  });
  return {
    start: least('start'),
    running: least('running'),
    crash: least('crash'),
    cascade: least('cascade'),
    stop: least('stop'),
  };
};

/** Microseconds of the main loop per daemon, from boot to RUNNING and to the last proof. */
interface Cost {
  readonly full: number;
  readonly running: number;
}

const costOf = (boots: readonly { readonly start: Took; readonly running: Took }[], daemons: number): Cost => {
  const mean = (of: 'start' | 'running'): number =>
    (boots.reduce((sum, one) => sum + one[of].heldMs, 0) * 1_000) / (boots.length * daemons);
  return { full: mean('start'), running: mean('running') };
};

const cheapest = (costs: readonly Cost[]): Cost => ({
  full: Math.min(...costs.map(({ full }) => full)),
  running: Math.min(...costs.map(({ running }) => running)),
});

/** As many starts as one fleet of all makes, by fleets of a few. */
const fewAtATime = async (): Promise<Cost> => {
  const boots: Awaited<ReturnType<typeof boot>>[] = [];
  for (let started = 0; started < DAEMONS; started += FEW) {
    const live = await liveFleet({ daemons: free(FEW), events: !values['no-events'] });
    boots.push(await boot(live));
    await stopAll(live); // or the timers of its cycles would keep it
    await live.end();
  }
  return costOf(boots, FEW);
};

await round(FEW);
await round(1_000);
await fewAtATime(); // warm
const fews: Cost[] = [];
const rounds: Round[] = [];
for (let index = 0; index < ROUNDS; index++) {
  fews.push(await fewAtATime());
  rounds.push(await round(DAEMONS));
}
const few = cheapest(fews);
const many = cheapest(rounds.map((one) => costOf([one], DAEMONS)));
await barePromises(DAEMONS);
const bares: { startMs: number; backMs: number }[] = [];
for (let index = 0; index < ROUNDS; index++) bares.push(await barePromises(DAEMONS));
const bareStart = Math.min(...bares.map(({ startMs }) => startMs));
const bareBack = Math.min(...bares.map(({ backMs }) => backMs));

const line = (what: string, figure: string, aim: string, ok: boolean, limit: string): void => {
  console.log(`${what.padEnd(38)} ${figure.padStart(34)}   aim ${aim.padEnd(10)} ${judged(ok).padEnd(6)}   ${limit}`);
};
const { start, running, crash, cascade, stop } = quietest(rounds);
const perSecond = (ms: number): number => Math.round((DAEMONS / ms) * 1000);
const rate = perSecond(start.wallMs);
const both = ({ wallMs, cpuMs }: Took): string => `${wallMs.toFixed(0)} ms, CPU ${cpuMs.toFixed(0)} ms`;
const times = (ms: number, limitMs: number): string =>
  `limit ${limitMs.toFixed(1)} ms (bare promises), ratio ${(ms / limitMs).toFixed(0)}`;
console.log(
  `${DAEMONS.toLocaleString('en')} daemons, Node ${process.version}, quietest of ${ROUNDS} rounds, load average ${loadavg()[0]!.toFixed(1)}`,
);
line(
  'full start',
  `${rate.toLocaleString('en')}/s (${both(start)})`,
  `${AIM_STARTS.toLocaleString('en')}/s`,
  rate >= AIM_STARTS,
  times(start.wallMs, bareStart),
);
console.log(
  `    ${perSecond(start.cpuMs).toLocaleString('en')}/s by processor time; of it until all are RUNNING ${both(running)}`,
);
const scale = many.full / few.full;
line(
  `a daemon at ${DAEMONS} / at ${FEW}`,
  `${many.full.toFixed(1)} / ${few.full.toFixed(1)} µs = ${scale.toFixed(2)}`,
  `≤ ${AIM_SCALE}`,
  scale <= AIM_SCALE,
  `until RUNNING alone ${many.running.toFixed(1)} / ${few.running.toFixed(1)} µs = ${(many.running / few.running).toFixed(2)}`,
);
const back = (what: string, ms: number, told: string, limitMs: number): void =>
  line(what, told, `≤ ${AIM_BACK_MS} ms`, ms <= AIM_BACK_MS, times(ms, limitMs));
back('all crashed at once, all back', crash.wallMs, both(crash), bareBack);
const beyond = cascade.wallMs - MERGE_WINDOW_MS;
back(`cascade, beyond its ${MERGE_WINDOW_MS} ms window`, beyond, `${beyond.toFixed(0)} of ${both(cascade)}`, bareBack);
back('stop of all', stop.wallMs, both(stop), bareStart);

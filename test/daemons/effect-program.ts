/**
 * One life of a process that holds a daemon, the router and the stores of the floor. It finishes what the last life left,
 * makes the work of one round more, and is gone by its own SIGKILL at the call it was told; told of none it ends in order.
 */
import { openBench } from '../support/daemon-bench.ts';
import { strikesOf, WORKS, type When } from './effects.ts';

const [dataDir, type, number, at, when] = process.argv.slice(2) as [string, string, string, string, When];
const round = Number(number);
const { definition, config, prepare, done } = WORKS[type]!;
const bench = await openBench({ dataDir });
const strikes = strikesOf(bench, () => void process.kill(process.pid, 'SIGKILL'));
await bench.start(definition, config);
await bench.until('the last round is done', () => done(bench, round - 1));
await bench.stop(type);

await prepare(bench, round);
if (at !== '0') strikes.arm(Number(at), when);
await bench.start(definition, config);
await bench.until('this round is done', () => done(bench, round));
await bench.stop(type);
await bench.close();

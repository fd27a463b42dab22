/**
 * How much time the simulation lives through in a minute of CPU: 85 daemons in the shape of the shipped fleet at shipped
 * periods, one fault in 30 simulated seconds, the real core, shell and health monitor, every checker after every input.
 *
 * Limits beside it, for the same inputs of the same seeds: the core alone (each input handled by a fresh core: no clock,
 * no shell, no runtime, no checkers), and the clock alone (as many timers of the heap armed and fired as the run fired).
 * CPU time, so that a busy machine does not count. Aim: ≥ 200 simulated hours per CPU minute.
 *
 * usage: tsx bench/simulation.ts [--seeds 150] [--minutes 12] [--first 1]
 */
import { parseArgs } from 'node:util';
import { replayRecords } from '../src/orchestrator/replay.ts';
import { settled } from '../src/simulation/campaign.ts';
import { runSeed, runWorld } from '../src/simulation/run.ts';
import { shapeFleet } from '../src/simulation/shape-fleet.ts';
import { simulatedClock } from '../src/simulation/simulated-clock.ts';
import { MemoryJournal } from '../src/simulation/simulated-journal.ts';
import { judged } from './support/judged.ts';

const AIM = 200;
const WARM_SEEDS = 10;
/** Timers armed at once in the clock's own limit: a health tick, and a back-off or a deadline here and there. */
const TIMERS_ARMED = 32;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '150' },
    minutes: { type: 'string', default: '12' },
    first: { type: 'string', default: '1' },
  },
});
const seeds = Number(values.seeds);
const minutes = Number(values.minutes);
const first = Number(values.first);
const fleet = shapeFleet();

/** CPU seconds. */
const spent = (work: () => void): number => {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
};

for (let seed = 1; seed <= WARM_SEEDS; seed++) {
  runSeed({ seed: first + seeds + seed, minutes, fleet });
  await settled();
}

let whole = 0;
let coreAlone = 0;
let clockAlone = 0;
let simulatedMs = 0;
let inputs = 0;
let faults = 0;
let broken = 0;
for (let seed = first; seed < first + seeds; seed++) {
  let fired = 0;
  whole += spent(() => {
    const { world, result } = runWorld({ seed, minutes, fleet });
    simulatedMs += result.simulatedMs;
    inputs += result.inputs;
    faults += result.faults;
    if (result.violations.length > 0) broken++;
    fired = world.clock.fired;
  });
  await settled();
  const { world } = runWorld({ seed, minutes, fleet, record: true });
  const { records } = world.journal as MemoryJournal;
  const arrived = records.filter(({ kind }) => kind === 'input');
  coreAlone += spent(() => void replayRecords(arrived, fleet));
  clockAlone += spent(() => {
    const clock = simulatedClock();
    let left = fired;
    const again = (): void => {
      if (left-- > 0) clock.after(250, again);
    };
    for (let armed = 0; armed < TIMERS_ARMED; armed++) again();
    clock.advanceSync(Infinity);
  });
  await settled();
}

const hours = simulatedMs / 3_600_000;
const perMinute = (seconds: number): number => (hours * 60) / seconds;
const limit = coreAlone + clockAlone;
console.log(
  `${seeds} seeds of ${minutes} minutes with faults on: ${hours.toFixed(0)} simulated hours, ${faults} faults, ${inputs} inputs, ${broken} runs broke an invariant`,
);
console.log(
  `simulation, all checkers on   ${perMinute(whole).toFixed(0).padStart(8)} simulated hours per CPU minute (aim ${AIM}: ${judged(perMinute(whole) >= AIM)}), ${(inputs / whole).toFixed(0)} inputs/s`,
);
console.log(
  `limit: core alone             ${perMinute(coreAlone).toFixed(0).padStart(8)} simulated hours per CPU minute, ${(inputs / coreAlone).toFixed(0)} inputs/s`,
);
console.log(
  `limit: clock alone            ${perMinute(clockAlone).toFixed(0).padStart(8)} simulated hours per CPU minute`,
);
console.log(
  `limit: both                   ${perMinute(limit).toFixed(0).padStart(8)} simulated hours per CPU minute, ratio ${(whole / limit).toFixed(2)}`,
);
if (broken > 0) process.exitCode = 1;

/**
 * Runs seeds of the simulation and prints what was met: `npm run simulate -- --seed 7` for one run with its last inputs
 * before the first violation, `npm run nightly` for as many as an hour of one core allows.
 *
 * usage: simulate [--seed N] [--first N] [--seeds N] [--minutes M] [--cpu-minutes M] [--bug NAME]
 */
import { parseArgs } from 'node:util';
import { CORE_BUGS } from '../src/orchestrator/core.ts';
import { brokenText, missedOf, runCampaign } from '../src/simulation/campaign.ts';
import { MemoryJournal } from '../src/simulation/simulated-journal.ts';
import { runWorld, type RunOptions } from '../src/simulation/run.ts';

/** Inputs of a broken run that are printed. */
const INPUTS_SHOWN = 40;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    first: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1000' },
    minutes: { type: 'string', default: '12' },
    'cpu-minutes': { type: 'string', default: 'Infinity' },
    bug: { type: 'string' },
  },
});
const bug = CORE_BUGS.find((name) => name === values.bug);
if (values.bug !== undefined && bug === undefined) throw new Error(`--bug is one of ${CORE_BUGS.join(', ')}`);
const options: Omit<RunOptions, 'seed'> = { minutes: Number(values.minutes), ...(bug === undefined ? {} : { bug }) };

const cpuMinutes = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 60e6;
};

if (values.seed !== undefined) {
  const { world, result } = runWorld({ ...options, seed: Number(values.seed), record: true });
  const first = result.violations[0];
  const records = world.journal instanceof MemoryJournal ? world.journal.records : [];
  const upTo = records.filter(({ kind, at }) => kind === 'input' && first !== undefined && at <= first.at);
  for (const { seq, at, data } of upTo.slice(-INPUTS_SHOWN))
    console.log(`${String(seq).padStart(6)} ${at.toFixed(1).padStart(10)} ${JSON.stringify(data)}`);
  console.log(
    result.violations.length > 0 ? brokenText(result) : `seed ${result.seed}: no invariant broken, hash ${result.hash}`,
  );
  process.exitCode = result.violations.length > 0 ? 1 : 0;
} else {
  const limit = Number(values['cpu-minutes']);
  const sum = await runCampaign({
    ...options,
    first: Number(values.first),
    seeds: Number(values.seeds),
    onSeed: () => cpuMinutes() >= limit,
  });
  const hours = sum.simulatedMs / 3_600_000;
  const minutes = cpuMinutes();
  console.log(
    `${sum.seeds} seeds, ${hours.toFixed(0)} simulated hours, ${sum.faults} faults, ${sum.kills} masters killed, ${sum.inputs} inputs, ${sum.transitions} transitions`,
  );
  console.log(`${minutes.toFixed(2)} CPU minutes, ${(hours / minutes).toFixed(0)} simulated hours per CPU minute`);
  for (const [name, times] of sum.sometimes) console.log(`  sometimes ${name}: ${times}`);
  for (const result of sum.broken) console.log(brokenText(result));
  const missed = missedOf(sum);
  console.log(`${sum.broken.length} runs broke an invariant, ${missed.length} of the sometimes were missed`);
  process.exitCode = sum.broken.length > 0 || missed.length > 0 ? 1 : 0;
}

/**
 * Many seeds and their sum: what CI, the nightly run and the bench say about a campaign. One seed after another on one
 * core; a result is kept only when it broke something.
 */
import { runSeed, SOMETIMES, type RunOptions, type RunResult } from './run.ts';

export interface CampaignOptions extends Omit<RunOptions, 'seed'> {
  /** First seed; the others follow it. */
  readonly first: number;
  readonly seeds: number;
  /** After each seed; true ends the campaign early. */
  readonly onSeed?: (sum: Campaign) => boolean;
}

export interface Campaign {
  seeds: number;
  faults: number;
  inputs: number;
  transitions: number;
  /** Masters that were killed. */
  kills: number;
  simulatedMs: number;
  readonly sometimes: Map<string, number>;
  /** Runs that broke an invariant. */
  readonly broken: RunResult[];
}

/** Runs that broke an invariant and are kept; one is enough to go on with. */
const BROKEN_KEPT = 20;

export const runCampaign = async ({ first, seeds, onSeed, ...options }: CampaignOptions): Promise<Campaign> => {
  const sum: Campaign = {
    seeds: 0,
    faults: 0,
    inputs: 0,
    transitions: 0,
    kills: 0,
    simulatedMs: 0,
    sometimes: new Map(SOMETIMES.map((name) => [name, 0])),
    broken: [],
  };
  for (let seed = first; seed < first + seeds; seed++) {
    const result = runSeed({ ...options, seed });
    await settled();
    sum.seeds++;
    sum.faults += result.faults;
    sum.inputs += result.inputs;
    sum.transitions += result.transitions;
    sum.kills += result.masters - 1;
    sum.simulatedMs += result.simulatedMs;
    for (const [name, count] of result.sometimes) sum.sometimes.set(name, (sum.sometimes.get(name) ?? 0) + count);
    if (result.violations.length > 0 && sum.broken.length < BROKEN_KEPT) sum.broken.push(result);
    if (onSeed?.(sum) === true) break;
  }
  return sum;
};

/** Lets answers of commands arrive, which hold their world until they have. */
export const settled = (): Promise<void> => Promise.resolve();

/** What a person needs to see a broken run again. */
export const brokenText = ({ seed, minutes, violations }: RunResult): string =>
  [
    `seed ${seed} (again: npm run simulate -- --seed ${seed} --minutes ${minutes})`,
    ...violations.map(({ invariant, at, message }) => `  ${invariant} at ${at.toFixed(1)} ms: ${message}`),
  ].join('\n');

/** What was hoped for, and did not happen. */
export const missedOf = ({ sometimes }: Campaign): string[] => SOMETIMES.filter((name) => !sometimes.get(name));

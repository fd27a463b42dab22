/**
 * Figure: the bundled fleet at work, as a stranger runs it. Aim: the loop closes (a promoted model is played with) within
 * 120 s, and after five minutes the champion of square8_2p scores at least 0.75 against random and 0.60 against greedy,
 * over 200 held-out games each.
 *
 * The master is a process of its own in the quick tempo, on free ports and a data directory of its own. After the run its
 * promotions are read from the store, and every champion plays the same held-out games: openings that no training game
 * shares a seed with. The limit beside it is bench/learning-curve.ts: the same learning in one process, with nothing in
 * between.
 *
 * usage: npm run bench live-loop -- [--minutes 5] [--config square8_2p] [--heldout 200]
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { realClock } from '../src/seams/clock.ts';
import { programCommand } from '../src/seams/entry.ts';
import { seededRandom } from '../src/seams/random.ts';
import { realFileSystem } from '../src/seams/real-file-system.ts';
import { realNetwork } from '../src/seams/real-network.ts';
import { greedyAgent, randomAgent, valueAgent, type Agent } from '../src/training/agents/agent.ts';
import { playMatch, type MatchResult } from '../src/training/agents/match.ts';
import { shapeFor, ValueNetwork } from '../src/training/agents/value-network.ts';
import { gameConfig } from '../src/training/game/configs.ts';
import { readCheckpoint } from '../src/training/learning/checkpoint.ts';
import { openFloor } from '../src/training/stores/open-floor.ts';
import { judged } from './support/judged.ts';

const AIM = { random: 0.75, greedy: 0.6, closedSeconds: 120 };
const HELD_OUT_SEED = 1_000_003;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    config: { type: 'string', default: 'square8_2p' },
    heldout: { type: 'string', default: '200' },
  },
});
const config = gameConfig(values.config);
const heldOut = Number(values.heldout);

const against = (agent: Agent, opponent: Agent): MatchResult =>
  playMatch({
    config,
    a: agent,
    b: opponent,
    games: heldOut,
    random: seededRandom(HELD_OUT_SEED).fork(opponent.name),
  });
const shown = ({ score, low, high }: MatchResult): string =>
  `${score.toFixed(3)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;

const dataDir = mkdtempSync(join(tmpdir(), 'live-loop-'));
const [program = '', ...args] = programCommand('../scripts/master_loop.ts', import.meta.url, [
  ...['--data-dir', dataDir, '--port', '0', '--tempo', 'quick'],
]);
const beganMs = Date.now();
const master = spawn(program, args, {
  stdio: 'ignore',
  env: { ...process.env, RINGRIFT_JOB_SCHEDULER_PORT: '0', RINGRIFT_DATA_SERVER_PORT: '0' },
});
const ended = new Promise<number | null>((resolve) => master.once('exit', resolve));
const logFile = join(dataDir, 'logs', 'coordination.log');
/** When the log first said so, seconds after the start; null: never. */
const saidAt = (words: RegExp): number | null => {
  if (!existsSync(logFile)) return null;
  const line = readFileSync(logFile, 'utf8')
    .split('\n')
    .find((one) => words.test(one));
  return line === undefined ? null : (Date.parse(line.split(' ')[0] ?? '') - beganMs) / 1000;
};

await Promise.race([new Promise((resolve) => setTimeout(resolve, Number(values.minutes) * 60_000)), ended]);
if (master.exitCode !== null) throw new Error(`the master ended early with ${master.exitCode}: see ${logFile}`);
master.kill('SIGTERM');
const code = await ended;

const floorHost = await openFloor({ dataDir: join(dataDir, 'floor'), clock: realClock(), network: realNetwork() });
const { floor } = floorHost;
const promotions = (await floor.models.promotions({ config: config.name, limit: 500 })).reverse();
const { games } = await floor.games.total(config.name);

console.log(`${config.name}: ${values.minutes} minutes of the bundled fleet, ${games} games\n`);
console.log('  after   champion           against random         against greedy');
const measure = (when: string, name: string, network: ValueNetwork): { random: MatchResult; greedy: MatchResult } => {
  const agent = valueAgent(network, name);
  const result = { random: against(agent, randomAgent), greedy: against(agent, greedyAgent) };
  console.log(`${when.padStart(7)}   ${name.padEnd(18)} ${shown(result.random)}    ${shown(result.greedy)}`);
  return result;
};
let last = measure('0 s', 'untrained', ValueNetwork.untrained(shapeFor(config), seededRandom(1).fork('weights')));
for (const { modelId, atMs } of promotions) {
  const model = await floor.models.get(modelId);
  if (model === null) throw new Error(`the promoted ${modelId} is not registered`);
  const { network } = readCheckpoint(realFileSystem(), model.file, { sha256: model.sha256 });
  last = measure(`${((atMs - beganMs) / 1000).toFixed(0)} s`, modelId, network);
}
await floorHost.close();

const readyAt = saidAt(/the fleet is ready/);
const closedAt = saidAt(/\[MODEL_DISTRIBUTION\] .* plays /);
const seconds = (value: number | null): string => (value === null ? 'never' : `${value.toFixed(1)} s`);
console.log(
  `\nready after ${seconds(readyAt)}; a promoted model was first played with after ${seconds(closedAt)} (aim ${AIM.closedSeconds} s); the master ended with ${code}`,
);
console.log(
  `the last champion: ${last.random.score.toFixed(3)} against random (aim ${AIM.random}), ${last.greedy.score.toFixed(3)} against greedy (aim ${AIM.greedy})`,
);
const reached =
  last.random.score >= AIM.random &&
  last.greedy.score >= AIM.greedy &&
  closedAt !== null &&
  closedAt <= AIM.closedSeconds &&
  code === 0;
console.log(judged(reached));
rmSync(dataDir, { recursive: true, force: true });

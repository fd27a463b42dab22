/**
 * Figure: games a second on one core, per config: random play (the rules alone), greedy, the value network at one move.
 *
 * The limit beside the rules is reading the board: a bare loop that looks one cell far along every line of every cell
 * that is empty. The rules follow lines further and turn pieces, but stop looking from a cell once it is a legal move; so
 * on large boards, where most cells near pieces are, the ratio may pass 1. The limit beside the network is the rules.
 *
 * usage: tsx bench/self-play.ts [--seconds 0.4] [--config NAME]
 */
import { parseArgs } from 'node:util';
import { seededRandom } from '../src/seams/random.ts';
import { exploring, greedyAgent, randomAgent, valueAgent, type Agent } from '../src/training/agents/agent.ts';
import { shapeFor, ValueNetwork } from '../src/training/agents/value-network.ts';
import { GAME_CONFIGS, type GameConfig } from '../src/training/game/configs.ts';
import { placementsOf } from '../src/training/game/record.ts';
import { SelfPlay } from '../src/training/learning/self-play.ts';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '0.4' }, config: { type: 'string' } } });
const seconds = Number(values.seconds);

/** Times `work` for about `seconds`. @returns calls a second of CPU time */
const rateOf = (work: () => void): number => {
  work();
  const began = process.cpuUsage();
  const spent = (): number => {
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1e6;
  };
  let calls = 0;
  while (spent() < seconds) {
    work();
    calls++;
  }
  return calls / spent();
};

const gamesPerSecond = (config: GameConfig, agent: Agent): number => {
  const table = new SelfPlay(config);
  const random = seededRandom(1);
  for (let warm = 0; warm < (config.board.cells < 100 ? 100 : 3); warm++) table.play(() => agent, random);
  return rateOf(() => void table.play(() => agent, random));
};

/** Games a second if a turn cost only one look along every line of every cell that is empty then, in a game of mean length. */
const limitOf = (config: GameConfig): number => {
  const { board } = config;
  const cells = new Int8Array(board.cells).fill(1);
  const table = new SelfPlay(config);
  const random = seededRandom(2);
  const sample = 10;
  let placements = 0;
  for (let game = 0; game < sample; game++)
    placements += placementsOf(config, table.play(() => randomAgent, random).moves) / sample;
  const mostEmpty = board.cells - config.start.length;
  let found = 0;
  const rate = rateOf(() => {
    for (let turn = 0; turn < placements; turn++)
      for (let ray = 0; ray < (mostEmpty - turn) * board.directions; ray++) {
        const start = board.rayStart[ray]!;
        if (start < board.rayStart[ray + 1]!) found += cells[board.rayCells[start]!]!;
      }
  });
  if (found === 0) throw new Error('the loop was optimised away');
  return rate;
};

const figure = (rate: number): string => Math.round(rate).toString().padStart(9);

console.log('games a second  rules alone    limit   ratio    greedy   network   of rules');
for (const config of GAME_CONFIGS.filter(({ name }) => values.config === undefined || name === values.config)) {
  const network = ValueNetwork.untrained(shapeFor(config), seededRandom(1));
  const rules = gamesPerSecond(config, randomAgent);
  const limit = limitOf(config);
  const greedy = gamesPerSecond(config, greedyAgent);
  const value = gamesPerSecond(config, exploring(valueAgent(network, 'network'), 0.1));
  console.log(
    `${config.name.padEnd(15)} ${figure(rules)}  ${figure(limit)}   ${(rules / limit).toFixed(2)} ${figure(greedy)} ${figure(value)}      ${(value / rules).toFixed(2)}`,
  );
}

import { expect } from 'chai';
import { partsOf, qualityMonitor, scoreOf } from '../../../src/daemons/health/quality-monitor.ts';
import type { GameSummary } from '../../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { CONFIG, crashesOf, playGames, storeGames, sweepKills } from '../learning.ts';

const TYPE = 'QUALITY_MONITOR';
const NOW = { periodSeconds: 0.05, gamesMin: 20 };

const SOUND: GameSummary = {
  ...{ games: 100, firstSeq: 1, lastSeq: 100, pliesMean: 59, pliesMin: 40, pliesMax: 60, draws: 0.05 },
  ...{ repeatedOpenings: 0.3, repeatedGames: 0, explorationMean: 0.1, seatWins: [0.5, 0.45] },
};

describe(TYPE, function () {
  this.timeout(60_000);
  let bench: DaemonBench;

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  const WELL = { decisions: 20, agreed: 16 };
  for (const [what, change, legality, low, high, agreement = WELL] of [
    ['sound games', {}, 1, 0.9, 1],
    ['openings that are all alike', { repeatedOpenings: 1 }, 1, 0.8, 0.95],
    ['whole games that are all alike', { repeatedGames: 1, repeatedOpenings: 1 }, 1, 0, 0.5],
    ['games that stop half-way', { pliesMean: 25 }, 1, 0.7, 0.9],
    ['a half that cannot be replayed', {}, 0.5, 0, 0.5],
    ['one seat that wins everything, with draws', { seatWins: [1, 0], draws: 0.6 }, 1, 0.6, 0.8],
    ['ends that are given away', {}, 1, 0.8, 0.91, { decisions: 20, agreed: 0 }],
    ['games with nothing left to decide', {}, 1, 0.95, 1, { decisions: 0, agreed: 0 }],
  ] as const)
    it(`${what} score between ${low} and ${high}`, () => {
      expect(scoreOf(partsOf({ ...SOUND, ...change }, 60, agreement), legality)).to.be.within(low, high);
    });

  it('new games are judged once, the score is told, and that it is good', async () => {
    await bench.start(qualityMonitor, { ...NOW, periodSeconds: 60 });
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 0);
    const total = await storeGames(bench.floor, playGames(60, 1));
    await bench.publish('NEW_GAMES_AVAILABLE', { config: CONFIG, games: 60, total, lastSeq: total });
    const { body } = await bench.waitFor('QUALITY_SCORE_UPDATED');
    expect(body).to.include({ config: CONFIG, games: 60 });
    expect(body.score).to.be.greaterThan(0.8);
    expect(body.parts.legality).to.equal(1);
    expect(body.parts.agreement, 'random play').to.be.within(0.1, 0.8);
    await bench.waitFor('HIGH_QUALITY_DATA_AVAILABLE');
    expect(await bench.floor.quality.of(CONFIG)).to.include({ seq: 60, games: 60 });
    await bench.stop(TYPE, { full: true });
    await bench.start(qualityMonitor, NOW);
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 2);
    expect(bench.events('QUALITY_SCORE_UPDATED')).to.have.length(1);
    await bench.stop(TYPE, { full: true });
    expect(bench.left()).to.deep.equal([]);
  });

  it('games that cannot be replayed bring the score down, which is told as a fall', async () => {
    await storeGames(bench.floor, playGames(60, 1));
    await bench.start(qualityMonitor, NOW);
    await bench.waitFor('QUALITY_SCORE_UPDATED');
    const spoilt = playGames(2000, 2).map((game) => ({ ...game, moves: game.moves.split('').reverse().join('') }));
    await storeGames(bench.floor, spoilt);
    const { body } = await bench.waitFor('QUALITY_DEGRADED');
    expect(body.score).to.be.lessThan(0.6);
    expect(body.from).to.be.greaterThan(0.8);
    await bench.waitFor('LOW_QUALITY_DATA_WARNING');
  });

  it('few games wait for more, unless somebody asks', async () => {
    await storeGames(bench.floor, playGames(5, 1));
    await bench.start(qualityMonitor, NOW);
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 2);
    expect(await bench.floor.quality.of(CONFIG)).to.equal(null);
    await bench.publish('QUALITY_CHECK_REQUESTED', { config: CONFIG });
    expect((await bench.waitFor('QUALITY_SCORE_UPDATED')).body.games).to.equal(5);
  });

  it('requests for configs that have no games are not kept, whatever they are called', async () => {
    await storeGames(bench.floor, playGames(5, 1));
    await bench.start(qualityMonitor, { ...NOW, gamesMin: 1_000 });
    for (let name = 0; name < 30; name++)
      await bench.publish('QUALITY_CHECK_REQUESTED', { config: `square${name + 100}_2p` });
    await bench.publish('QUALITY_CHECK_REQUESTED', { config: CONFIG });
    await bench.waitFor('QUALITY_SCORE_UPDATED');
    expect(bench.health(TYPE).details['requested']).to.equal(0);
  });

  it('killed before or after any call, every game is judged once and every verdict told once', async () => {
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: qualityMonitor,
      config: NOW,
      prepare: async (round) => void (await storeGames(bench.floor, playGames(20, round))),
      done: (round) => bench.events('QUALITY_SCORE_UPDATED').length >= round,
      async check(round) {
        expect(bench.events('QUALITY_SCORE_UPDATED')).to.have.length(round);
        expect(await bench.floor.quality.of(CONFIG)).to.include({ games: 20 * round, seq: 20 * round });
        expect(bench.events('HIGH_QUALITY_DATA_AVAILABLE').length).to.be.greaterThan(0);
      },
    });
    expect(kills).to.be.greaterThan(8);
  });
});

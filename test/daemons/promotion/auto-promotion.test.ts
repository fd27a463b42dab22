import { expect } from 'chai';
import { autoPromotion } from '../../../src/daemons/promotion/auto-promotion.ts';
import type { Evaluation } from '../../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { CONFIG, crashesOf, judge, playGames, storeGames, sweepKills, type Crashes } from '../learning.ts';

const TYPE = 'AUTO_PROMOTION';

describe(TYPE, function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  let crashes: Crashes;
  const champion = async (seed: number): Promise<string> => {
    const judged = await judge(bench, seed, { random: 0.8, greedy: 0.6 });
    await bench.floor.models.decide({ ...judged, promote: true, reasons: [] });
    await bench.floor.models.promote(judged.evaluationId);
    return judged.modelId;
  };
  const verdictOn = async ({ evaluationId }: Evaluation): Promise<{ promote: boolean; reasons: string }> => {
    const about = ({ decisionId }: { decisionId: string }): boolean => decisionId === evaluationId;
    const told = await bench.until('a verdict is told', () =>
      [...bench.events('PROMOTION_CANDIDATE'), ...bench.events('PROMOTION_REJECTED')].find(({ body }) => about(body)),
    );
    const { reasons = [] } = told.body as { reasons?: string[] };
    return { promote: told.topic === 'PROMOTION_CANDIDATE', reasons: reasons.join('; ') };
  };

  beforeEach(async () => {
    bench = await openBench();
    crashes = crashesOf(bench);
    await storeGames(bench.floor, playGames(150, 1));
  });
  afterEach(() => bench.close());

  it('a model that beats the baselines and the champion is handed on, with what it was judged by', async () => {
    await bench.start(autoPromotion, { periodSeconds: 60 });
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 0);
    const first = await judge(bench, 1, { random: 0.8, greedy: 0.6 });
    await bench.publish('EVALUATION_COMPLETED', {
      ...{ config: CONFIG, modelId: first.modelId, championId: null },
      rows: first.rows.map(({ opponent, games, score, low, high }) => ({ opponent, games, score, low, high })),
    });
    expect(await verdictOn(first)).to.deep.include({ promote: true });
    await bench.floor.models.promote(first.evaluationId);
    await bench.stop(TYPE);
    await bench.start(autoPromotion);
    const better = await judge(bench, 2, { random: 0.9, greedy: 0.8, champion: 0.7 });
    expect(await verdictOn(better)).to.deep.include({ promote: true });
    const [open] = await bench.floor.models.uncommitted();
    expect(open!.reasons.join())
      .to.match(/rating \d+ points over/)
      .and.include(`against ${first.modelId} 0.700`);
    await bench.stop(TYPE, { full: true });
    expect(bench.left()).to.deep.equal([]);
  });

  for (const [what, scores, games, reason] of [
    ['no stronger than the champion', { random: 0.8, greedy: 0.6, champion: 0.5 }, 200, 'asked 0.53'],
    [
      'winning at the champion and fallen back against greedy',
      { random: 0.8, greedy: 0.4, champion: 0.6 },
      200,
      'fell back against greedy',
    ],
    ['judged by too few games', { random: 0.9, greedy: 0.9, champion: 0.9 }, 19, '19 games against random, of 20'],
    ['no better than by lot', { random: 0.52, greedy: 0.6, champion: 0.6 }, 200, 'against random 0.520'],
  ] as const)
    it(`a model ${what} is rejected, and the reason is told`, async () => {
      await champion(1);
      const judged = await judge(bench, 2, scores, games);
      await bench.start(autoPromotion);
      const { promote, reasons } = await verdictOn(judged);
      expect({ promote, found: reasons.includes(reason) }, reasons).to.deep.equal({ promote: false, found: true });
      expect((await bench.floor.models.get(judged.modelId))?.state).to.equal('rejected');
    });

  it('games of poor quality make no champion', async () => {
    await bench.floor.quality.record({ config: CONFIG, afterSeq: 0, lastSeq: 9, games: 9, score: 0.3, parts: {} });
    const judged = await judge(bench, 1, { random: 0.9, greedy: 0.8 });
    await bench.start(autoPromotion);
    expect((await verdictOn(judged)).reasons).to.include('quality of its games 0.30');
  });

  it('a cooldown postpones the verdict and does not make it', async () => {
    const first = await champion(1);
    const judged = await judge(bench, 2, { random: 0.9, greedy: 0.8, champion: 0.7 });
    await bench.start(autoPromotion, { cooldownSeconds: 3600, periodSeconds: 0.05 });
    await bench.until('it has looked', () =>
      JSON.stringify(bench.health(TYPE).details).includes(`${first} was promoted`),
    );
    expect(await bench.floor.evaluations.undecided()).to.have.length(1);
    await bench.stop(TYPE);
    await bench.start(autoPromotion);
    expect(await verdictOn(judged)).to.deep.include({ promote: true });
  });

  for (const good of [true, false])
    it(`killed before or after any call, a verdict ${good ? 'for' : 'against'} a model is given once and told once`, async () => {
      await champion(1000);
      let judged: Evaluation;
      const told = good ? 'PROMOTION_CANDIDATE' : 'PROMOTION_REJECTED';
      const kills = await sweepKills(bench, crashes, {
        definition: autoPromotion,
        config: { periodSeconds: 0.05 },
        prepare: async (round) => {
          judged = await judge(bench, round, { random: 0.9, greedy: 0.8, champion: good ? 0.7 : 0.2 }, 40);
        },
        done: () => bench.events(told).some(({ body }) => body.modelId === judged.modelId),
        check: (round) => {
          expect(bench.events(told)).to.have.length(round);
          expect(bench.events(good ? 'PROMOTION_REJECTED' : 'PROMOTION_CANDIDATE')).to.deep.equal([]);
        },
      });
      expect(kills).to.be.greaterThan(8);
    });
});

import { expect } from 'chai';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import { unifiedPromotion } from '../../../src/daemons/promotion/unified-promotion.ts';
import type { Evaluation } from '../../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { CONFIG, crashesOf, judge, sweepKills, type Crashes } from '../learning.ts';

const TYPE = 'UNIFIED_PROMOTION';

describe(TYPE, function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  let crashes: Crashes;
  const decided = async (seed: number, promote = true): Promise<Evaluation> => {
    const judged = await judge(bench, seed, { random: 0.9, greedy: 0.8, champion: 0.7 }, 20);
    await bench.floor.models.decide({ ...judged, promote, reasons: ['because'] });
    return judged;
  };
  const candidate = ({ modelId, championId, evaluationId }: Evaluation): Promise<void> =>
    bench.publish('PROMOTION_CANDIDATE', { config: CONFIG, modelId, championId, decisionId: evaluationId });

  beforeEach(async () => {
    bench = await openBench();
    crashes = crashesOf(bench);
  });
  afterEach(() => bench.close());

  it('a winner becomes the champion, the old one is archived, and the world hears of it', async () => {
    await bench.start(unifiedPromotion);
    const first = await decided(1);
    await candidate(first);
    const { body } = await bench.waitFor('MODEL_PROMOTED');
    expect(body).to.include({ modelId: first.modelId, previousModelId: null, promotionId: first.evaluationId });
    expect((await bench.floor.models.champion(CONFIG))?.modelId).to.equal(first.modelId);

    const second = await decided(2); // no event tells of this one
    await bench.waitFor('MODEL_PROMOTED', ({ modelId }) => modelId === second.modelId);
    expect((await bench.floor.models.get(first.modelId))?.state).to.equal('archived');
    expect(await bench.floor.models.unannounced()).to.deep.equal([]);
    await bench.stop(TYPE, { full: true });
    expect(bench.left()).to.deep.equal([]);
  });

  it('a champion that changed meanwhile refuses the promotion, and the refusal is told once', async () => {
    const late = await decided(1);
    const quick = await judge(bench, 2, { random: 0.9, greedy: 0.8 }, 20);
    await bench.floor.models.decide({ ...quick, promote: true, reasons: [] });
    await bench.floor.models.promote(quick.evaluationId);
    await bench.start(unifiedPromotion);
    await candidate(late);
    await candidate(late);
    const { body } = await bench.waitFor('PROMOTION_FAILED');
    expect(body.reason).to.include(`the champion is ${quick.modelId}`);
    await bench.until('both events were handled', async () =>
      (await bench.router.audit()).rows.some(({ topic, handled }) => topic === 'PROMOTION_CANDIDATE' && handled === 2),
    );
    expect(bench.events('PROMOTION_FAILED')).to.have.length(1);
    expect((await bench.floor.models.champion(CONFIG))?.modelId).to.equal(quick.modelId);
  });

  it('a checkpoint that was written over is not promoted', async () => {
    const judged = await decided(1);
    realFileSystem().writeAtomically((await bench.floor.models.get(judged.modelId))!.file, 'something else');
    await bench.start(unifiedPromotion);
    await candidate(judged);
    await bench.waitFor('PROMOTION_FAILED', ({ modelId }) => modelId === judged.modelId);
    expect(await bench.floor.models.champion(CONFIG)).to.equal(null);
  });

  it('killed between the promotion and its announcement, it has promoted once and announces once', async () => {
    const judged = await decided(1);
    // announce (unannounced), uncommitted, promote: the third call takes effect, and the daemon dies with the answer.
    crashes.arm(TYPE, 3, 'after');
    await bench.start(unifiedPromotion);
    await bench.until('it is dead', () => bench.exits.length === 1);
    expect(await crashes.over()).to.equal(true);
    expect((await bench.floor.models.promotions({ limit: 9 })).map(({ modelId }) => modelId)).to.deep.equal([
      judged.modelId,
    ]);
    expect(bench.events('MODEL_PROMOTED')).to.deep.equal([]);

    await bench.start(unifiedPromotion);
    await bench.waitFor('MODEL_PROMOTED');
    await bench.until('it is noted', async () => (await bench.floor.models.unannounced()).length === 0);
    expect(bench.events('MODEL_PROMOTED')).to.have.length(1);
    expect(await bench.floor.models.promotions({ limit: 9 })).to.have.length(1);
  });

  it('killed before or after any call, each decision is promoted once and announced once', async () => {
    let judged: Evaluation;
    const kills = await sweepKills(bench, crashes, {
      definition: unifiedPromotion,
      config: { periodSeconds: 0.05 },
      async prepare(round) {
        judged = await decided(round);
        await candidate(judged);
      },
      done: async () =>
        (await bench.floor.models.champion(CONFIG))?.modelId === judged.modelId &&
        (await bench.floor.models.unannounced()).length === 0,
      async check(round) {
        expect(await bench.floor.models.promotions({ limit: 500 })).to.have.length(round);
        expect(bench.events('MODEL_PROMOTED').map(({ body }) => body.modelId)).to.have.length(round);
        expect(bench.events('PROMOTION_FAILED')).to.deep.equal([]);
      },
    });
    expect(kills).to.be.greaterThan(8);
  });
});

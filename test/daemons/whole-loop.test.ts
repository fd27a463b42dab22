/** Nine daemons, one store of games: from games to a champion that a real node plays with, with a crash on the way. */
import { expect } from 'chai';
import type { DaemonDefinition } from '../../src/daemons/definition.ts';
import { modelDistribution } from '../../src/daemons/distribution/model-distribution.ts';
import { evaluation } from '../../src/daemons/evaluation/evaluation.ts';
import { qualityMonitor } from '../../src/daemons/health/quality-monitor.ts';
import { autoExport } from '../../src/daemons/pipeline/auto-export.ts';
import { trainingTrigger } from '../../src/daemons/pipeline/training-trigger.ts';
import { autoPromotion } from '../../src/daemons/promotion/auto-promotion.ts';
import { unifiedPromotion } from '../../src/daemons/promotion/unified-promotion.ts';
import { eloSync } from '../../src/daemons/sync/elo-sync.ts';
import { continuousTrainingLoop } from '../../src/daemons/training/continuous-training-loop.ts';
import { openBench, type DaemonBench } from '../support/daemon-bench.ts';
import { CONFIG, matchOf, playGames, startNode, storeGames } from './learning.ts';

const NINE: readonly DaemonDefinition[] = [
  ...[qualityMonitor, autoExport, trainingTrigger, continuousTrainingLoop, evaluation],
  ...[autoPromotion, unifiedPromotion, modelDistribution, eloSync],
];
/** 300 games of this board are fewer boards than those of the next larger. */
const VALUES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  TRAINING_TRIGGER: { rowsMin: 3000 },
};

describe('the learning side of the loop', function () {
  this.timeout(90_000);
  let bench: DaemonBench;

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  it('makes stored games into a champion that a node plays with, and then into a second one', async () => {
    const node = await startNode(bench, [matchOf('cup:1', ['random', 20], ['greedy', 12])]);
    for (const definition of NINE) await bench.start(definition, VALUES[definition.type] ?? {});
    const total = await storeGames(bench.floor, playGames(300, 1));
    await bench.publish('NEW_GAMES_AVAILABLE', { config: CONFIG, games: 300, total, lastSeq: total });

    const { body: promoted } = await bench.waitFor('MODEL_PROMOTED', () => true, 60_000);
    expect(promoted).to.include({ config: CONFIG, modelId: `${CONFIG}-v1`, previousModelId: null });
    await bench.waitFor('MODEL_DISTRIBUTION_COMPLETE', ({ modelId }) => modelId === promoted.modelId);
    const { pointers } = await bench.floor.nodes.status(node.nodeId);
    expect(pointers[CONFIG]).to.deep.equal({ modelId: promoted.modelId, config: CONFIG, sha256: promoted.sha256 });
    await bench.until(
      'the match of the node counts',
      async () => (await bench.floor.ratings.cursor(node.nodeId)).seq === 1,
    );
    expect((await bench.floor.quality.of(CONFIG))?.score).to.be.greaterThan(0.6);
    const [judged] = await bench.floor.evaluations.history({ config: CONFIG, limit: 1 });
    expect(judged!.rows.find(({ opponent }) => opponent === 'random')!.score).to.be.greaterThan(0.6);

    // The next candidate starts from the champion and meets it. What is decided is a matter of play.
    const more = await storeGames(bench.floor, playGames(300, 2));
    await bench.publish('NEW_GAMES_AVAILABLE', { config: CONFIG, games: 300, total: more, lastSeq: more });
    const { body: second } = await bench.waitFor('TRAINING_COMPLETED', ({ modelId }) => modelId === `${CONFIG}-v2`);
    expect(second.baseModelId).to.equal(promoted.modelId);
    await bench.waitFor('EVALUATION_COMPLETED', ({ championId }) => championId === promoted.modelId);
    await bench.until('there is a verdict on it', () =>
      [...bench.events('MODEL_PROMOTED'), ...bench.events('PROMOTION_REJECTED')].some(
        ({ body }) => body.modelId === second.modelId,
      ),
    );

    for (const { type } of NINE)
      expect(bench.health(type).healthy, `${type}: ${bench.health(type).message}`).to.equal(true);
    for (const { type } of [...NINE].reverse()) await bench.stop(type, { full: true });
    expect(bench.left().filter((what) => !what.includes('of TEST'))).to.deep.equal([]);
    expect(bench.exits.filter(({ failure }) => failure !== null)).to.deep.equal([]);
  });

  it('promotes once and announces once when every daemon is killed again and again on the way', async () => {
    const { models } = bench.floor;
    await startNode(bench);
    await storeGames(bench.floor, playGames(300, 1));
    for (const definition of NINE) await bench.start(definition, VALUES[definition.type] ?? {});
    let kills = 0;
    while ((await models.promotions({ config: CONFIG, limit: 5 })).length === 0 && kills < 60) {
      const victim = NINE[kills++ % NINE.length]!;
      await bench.kill(victim.type);
      await bench.start(victim, VALUES[victim.type] ?? {});
      await bench.clock.sleep(150);
    }
    await bench.waitFor('MODEL_DISTRIBUTION_COMPLETE', () => true, 60_000);
    expect((await models.promotions({ config: CONFIG, limit: 5 })).map(({ modelId }) => modelId)).to.deep.equal([
      `${CONFIG}-v1`,
    ]);
    for (const topic of ['NPZ_EXPORT_COMPLETE', 'TRAINING_COMPLETED', 'EVALUATION_COMPLETED', 'MODEL_PROMOTED'])
      expect(bench.events(topic), topic).to.have.length(1);
    expect(await models.unannounced()).to.deep.equal([]);
  });
});

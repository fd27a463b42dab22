/** What a health drill does to the daemons of the learning side: it breaks a store they work on, and mends it. */
import { expect } from 'chai';
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
import { playGames, storeGames } from './learning.ts';

describe('the learning side with a broken store', function () {
  this.timeout(30_000);
  let bench: DaemonBench;

  beforeEach(async () => {
    bench = await openBench();
    await storeGames(bench.floor, playGames(1, 1));
  });
  afterEach(() => bench.close());

  for (const definition of [
    ...[autoExport, trainingTrigger, continuousTrainingLoop, evaluation, autoPromotion, unifiedPromotion],
    ...[modelDistribution, eloSync, qualityMonitor],
  ]) {
    const { type } = definition;
    it(`${type} says that it is not well, starts all the same, and is well again when the store is mended`, async () => {
      const well = (): Promise<boolean> => bench.until('it is well', () => bench.health(type).status === 'healthy');
      await bench.start(definition, { periodSeconds: 0.05 });
      await well();
      const breakage = bench.runtime.breakageOf(type)!;
      await breakage.break();
      await bench.until('it is unhealthy', () => bench.health(type).status === 'unhealthy');
      expect(bench.health(type).message).to.include('rounds in a row failed');
      await bench.kill(type);
      await bench.start(definition, { periodSeconds: 0.05 });
      await bench.until('it is unhealthy again', () => bench.health(type).status === 'unhealthy');
      await bench.runtime.breakageOf(type)!.heal();
      await well();
    });
  }
});

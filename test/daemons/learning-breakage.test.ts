/** What a health drill does to daemons that work from the stores: the owner of a broken store fails its checks, the others are hindered. */
import { expect } from 'chai';
import { modelDistribution } from '../../src/daemons/distribution/model-distribution.ts';
import { evaluation } from '../../src/daemons/evaluation/evaluation.ts';
import { clusterMonitor } from '../../src/daemons/health/cluster-monitor.ts';
import { qualityMonitor } from '../../src/daemons/health/quality-monitor.ts';
import { autoExport } from '../../src/daemons/pipeline/auto-export.ts';
import { trainingTrigger } from '../../src/daemons/pipeline/training-trigger.ts';
import { autoPromotion } from '../../src/daemons/promotion/auto-promotion.ts';
import { unifiedPromotion } from '../../src/daemons/promotion/unified-promotion.ts';
import { availabilityCapacityPlanner } from '../../src/daemons/resource/availability-capacity-planner.ts';
import { idleShutdown } from '../../src/daemons/resource/idle-shutdown.ts';
import { eloSync } from '../../src/daemons/sync/elo-sync.ts';
import { continuousTrainingLoop } from '../../src/daemons/training/continuous-training-loop.ts';
import { openBench, type DaemonBench } from '../support/daemon-bench.ts';
import { playGames, storeGames } from './learning.ts';

describe('a daemon of the floor with a broken store', function () {
  this.timeout(30_000);
  let bench: DaemonBench;

  beforeEach(async () => {
    bench = await openBench();
    await storeGames(bench.floor, playGames(1, 1));
  });
  afterEach(() => bench.close());

  const until = (type: string, status: string): Promise<boolean> =>
    bench.until(`${type} is ${status}`, () => bench.health(type).status === status);

  for (const definition of [unifiedPromotion, eloSync]) {
    const { type } = definition;
    it(`${type}, whose store it is, fails its checks, starts all the same, and is well again once it is mended`, async () => {
      await bench.start(definition, { periodSeconds: 0.05 });
      await until(type, 'healthy');
      await bench.runtime.breakageOf(type)!.break();
      await until(type, 'unhealthy');
      expect(bench.health(type).message).to.include('rounds in a row failed');
      await bench.kill(type);
      await bench.start(definition, { periodSeconds: 0.05 });
      await until(type, 'unhealthy');
      await bench.runtime.breakageOf(type)!.heal();
      await until(type, 'healthy');
    });
  }

  for (const [definition, store] of [
    [autoExport, 'pipeline'],
    [trainingTrigger, 'pipeline'],
    [continuousTrainingLoop, 'queue'],
    [evaluation, 'models'],
    [autoPromotion, 'models'],
    [modelDistribution, 'models'],
    [qualityMonitor, 'canonical'],
    [clusterMonitor, 'queue'],
    [idleShutdown, 'queue'],
    [availabilityCapacityPlanner, 'queue'],
  ] as const) {
    const { type } = definition;
    it(`${type}, whose store it is not, is hindered and not to blame, and goes on once it is mended`, async () => {
      await bench.start(definition, { periodSeconds: 0.05 });
      await until(type, 'healthy');
      await bench.floor.handles.close(store);
      await until(type, 'degraded');
      expect(bench.health(type).message).to.include('connection is not open');
      await bench.floor.handles.reopen(store);
      await until(type, 'healthy');
    });
  }
});

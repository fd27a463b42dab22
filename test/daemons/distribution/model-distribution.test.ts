import { expect } from 'chai';
import { modelDistribution } from '../../../src/daemons/distribution/model-distribution.ts';
import type { NodeRow } from '../../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { CONFIG, crashesOf, judge, startNode, sweepKills } from '../learning.ts';

const TYPE = 'MODEL_DISTRIBUTION';
const NOW = { periodSeconds: 0.1 };

describe(TYPE, function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  const promote = async (seed: number): Promise<string> => {
    const judged = await judge(bench, seed, { random: 0.9, greedy: 0.8, champion: 0.7 }, 20);
    await bench.floor.models.decide({ ...judged, promote: true, reasons: [] });
    await bench.floor.models.promote(judged.evaluationId);
    return judged.modelId;
  };
  const playsWith = async ({ nodeId }: NodeRow): Promise<string | undefined> =>
    (await bench.floor.nodes.status(nodeId)).pointers[CONFIG]?.modelId;

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  it('every live node is switched to a new champion, proves it, and a node that joins later as well', async () => {
    const [one, other] = [await startNode(bench), await startNode(bench)];
    await bench.start(modelDistribution, { ...NOW, periodSeconds: 60 });
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 0);
    const modelId = await promote(1);
    await bench.publish('MODEL_PROMOTED', {
      ...{ config: CONFIG, modelId, previousModelId: null, promotionId: 'p1' },
      sha256: (await bench.floor.models.get(modelId))!.sha256,
    });
    expect((await bench.waitFor('MODEL_DISTRIBUTION_COMPLETE')).body).to.include({ modelId, nodes: 2 });
    for (const node of [one, other]) expect(await playsWith(node)).to.equal(modelId);
    expect(await bench.floor.models.deliveries(modelId)).to.deep.equal(
      [one, other].map(({ nodeId, runId }) => ({ nodeId, runId, state: 'in-use' })),
    );
    const late = await startNode(bench);
    await bench.publish('HOST_ONLINE', { nodeId: late.nodeId, url: late.url });
    await bench.until('the new node plays with it', async () => (await playsWith(late)) === modelId);
    await bench.until('it is noted', async () => (await bench.floor.models.deliveries(modelId)).length === 3);
    expect(bench.health(TYPE).details.shares).to.deep.equal({ [CONFIG]: 1 });
    expect(bench.events('MODEL_DISTRIBUTION_STARTED')).to.have.length(1);
    await bench.stop(TYPE, { full: true });
    expect(bench.left().filter((what) => !what.includes('of TEST'))).to.deep.equal([]);
  });

  it('a node that does not answer holds up no other, is told of, and gets the champion when it answers again', async () => {
    const [one, silent] = [await startNode(bench), await startNode(bench)];
    const process = bench.processes.live('TEST').find(({ name }) => name === silent.nodeId)!.process;
    process.signalGroup('SIGSTOP');
    const modelId = await promote(1);
    await bench.start(modelDistribution, { ...NOW, deadlineSeconds: 0.1, retrySeconds: 0.1, retrySecondsMax: 0.1 });
    await bench.until('the other plays with it', async () => (await playsWith(one)) === modelId);
    const { body: failed } = await bench.waitFor('MODEL_DISTRIBUTION_FAILED');
    expect(failed).to.include({ modelId, nodeId: silent.nodeId });
    expect((await bench.waitFor('DISTRIBUTION_INCOMPLETE')).body).to.deep.include({
      ...{ modelId, share: 0.5, missing: [silent.nodeId] },
    });
    expect(bench.health(TYPE).status).to.equal('degraded');
    process.signalGroup('SIGCONT');
    await bench.waitFor('MODEL_DISTRIBUTION_COMPLETE');
    expect(await playsWith(silent)).to.equal(modelId);
    await bench.until('it is well again', () => bench.health(TYPE).status === 'healthy');
    expect(bench.events('DISTRIBUTION_INCOMPLETE')).to.have.length(1);
  });

  it('killed before or after any call, the node ends up with the champion, and each is told once', async () => {
    const node = await startNode(bench);
    let modelId = '';
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: modelDistribution,
      config: NOW,
      prepare: async (round) => void (modelId = await promote(round)),
      done: () => bench.events('MODEL_DISTRIBUTION_COMPLETE').some(({ body }) => body.modelId === modelId),
      async check(round) {
        expect(await playsWith(node)).to.equal(modelId);
        expect(await bench.floor.models.deliveries(modelId)).to.have.length(1);
        expect(bench.events('MODEL_DISTRIBUTION_COMPLETE')).to.have.length(round);
        expect(bench.events('MODEL_DISTRIBUTION_STARTED')).to.have.length(round);
      },
    });
    expect(kills).to.be.greaterThan(12);
  });
});

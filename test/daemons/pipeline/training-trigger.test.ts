import { expect } from 'chai';
import { trainingTrigger } from '../../../src/daemons/pipeline/training-trigger.ts';
import type { WorkItem } from '../../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { CONFIG, crashesOf, judge, makeCandidate, makeShard, sweepKills } from '../learning.ts';

const TYPE = 'TRAINING_TRIGGER';
/** 20 games of this board are some 640 boards. */
const NOW = { periodSeconds: 0.05, rowsMin: 500, windowRows: 1500, cooldownSeconds: 0 };

describe(TYPE, function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  const items = (): Promise<WorkItem[]> => bench.floor.queue.list({ kind: 'training', limit: 100 });
  const shardsOf = ({ work }: WorkItem): readonly string[] => (work.kind === 'training' ? work.shardIds : []);
  const reason = (what: string): Promise<boolean> =>
    bench.until(`it says "${what}"`, () =>
      String((bench.health(TYPE).details.reasons as Record<string, string>)[CONFIG]).includes(what) ? true : null,
    );
  /** As the trainer would, without the training. */
  const trained = async ({ itemId }: WorkItem, modelId: string, shardIds: readonly string[]): Promise<void> => {
    const item = (await bench.floor.queue.claim({ holder: 'T', kinds: ['training'], leaseSeconds: 60 }))!;
    expect(item.itemId).to.equal(itemId);
    await bench.floor.samples.markSeen({ modelId, shardIds });
    await bench.floor.queue.complete({ ...item, result: { games: 0, matches: 0, seconds: 1, modelId } });
  };

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  it('enough unseen boards order one training, that names its shards and starts from the champion', async () => {
    const first = await judge(bench, 1, { random: 0.9, greedy: 0.8 });
    await bench.floor.models.decide({ ...first, promote: true, reasons: [] });
    await bench.floor.models.promote(first.evaluationId);
    const shard = await makeShard(bench, 20, 1);
    await bench.start(trainingTrigger, NOW);
    const { body } = await bench.waitFor('WORK_QUEUED');
    expect(body).to.include({ kind: 'training', config: CONFIG, items: 1 });
    const [item] = await items();
    expect(item!.work).to.deep.include({ shardIds: [shard.shardId], baseModelId: first.modelId });

    await makeShard(bench, 20, 2);
    await reason(`training ${item!.itemId} is pending`);
    expect(await items()).to.have.length(1);
    await bench.stop(TYPE, { full: true });
    expect(bench.left()).to.deep.equal([]);
  });

  it('seen shards fill the window, newest first, and are listed oldest first', async () => {
    await bench.start(trainingTrigger, NOW);
    const shards: string[] = [];
    for (let round = 1; round <= 4; round++) {
      shards.push((await makeShard(bench, 20, round)).shardId);
      const item = await bench.until('an item is queued', async () => (await items())[round - 1]);
      const [newest] = await items();
      if (round === 4) expect(shardsOf(newest!)).to.deep.equal(shards.slice(-2)); // three would pass 1500 boards
      expect(item).to.not.equal(undefined);
      await trained(newest!, `m${round}`, shardsOf(newest!));
    }
  });

  for (const [what, values, says, prepare] of [
    ['too few boards', { rowsMin: 5000 }, 'unseen boards of 5000', async () => {}],
    ['samples that are too old', { ageSecondsMax: 0 }, 'the newest unseen samples are', async () => {}],
    [
      'paused by feedback',
      {},
      'feedback has paused training',
      async () => {
        const { version: _version, ...parameters } = await bench.floor.feedback.parameters(CONFIG);
        await bench.floor.feedback.save({ ...parameters, intensity: 'paused' });
      },
    ],
    [
      'candidates that wait for evaluation',
      {},
      '1 candidates wait',
      async () => {
        const { modelId } = await makeCandidate(bench, 1);
        await bench.floor.evaluations.enqueue({ modelId });
      },
    ],
    [
      'a training that has just ended',
      { cooldownSeconds: 600 },
      'cools down for',
      async () => {
        const work = { kind: 'training' as const, config: CONFIG, shardIds: ['old'], baseModelId: null, seed: 1 };
        const { itemIds } = await bench.floor.queue.enqueue([{ key: 'old', priority: 1, work }]);
        await trained({ itemId: itemIds[0] } as WorkItem, 'm0', []);
      },
    ],
  ] as const)
    it(`${what}: nothing is ordered, and health says why`, async () => {
      await makeShard(bench, 20, 1);
      await prepare();
      const before = (await items()).length;
      await bench.start(trainingTrigger, { ...NOW, ...values });
      await reason(says);
      expect(await items()).to.have.length(before);
      expect(bench.health(TYPE).healthy).to.equal(true);
    });

  it('poor games block the training, which is told once per verdict on them, and better ones release it', async () => {
    await makeShard(bench, 20, 1);
    const verdict = { config: CONFIG, afterSeq: 0, lastSeq: 9, games: 9, score: 0.3, parts: {} };
    await bench.floor.quality.record(verdict);
    await bench.start(trainingTrigger, NOW);
    expect((await bench.waitFor('TRAINING_BLOCKED_BY_QUALITY')).body).to.include({ quality: 0.3, minimum: 0.5 });
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 4);
    expect(bench.events('TRAINING_BLOCKED_BY_QUALITY')).to.have.length(1);
    await bench.floor.quality.record({ ...verdict, afterSeq: 9, lastSeq: 2000, games: 1991, score: 0.9 });
    await bench.waitFor('WORK_QUEUED');
  });

  it('killed before or after any call, the same samples are ordered once and told once', async () => {
    let shardId = '';
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: trainingTrigger,
      config: { ...NOW, windowRows: 0 },
      prepare: async (round) => void ({ shardId } = await makeShard(bench, 20, round)),
      done: async () =>
        (await items()).some((item) => shardsOf(item).includes(shardId)) &&
        bench.events('WORK_QUEUED').length === (await items()).length,
      async check(round) {
        expect(await items()).to.have.length(round);
        expect(bench.events('WORK_QUEUED')).to.have.length(round);
        await trained((await items())[0]!, `m${round}`, [shardId]);
      },
    });
    expect(kills).to.be.greaterThan(12);
  });
});

import { expect } from 'chai';
import type { FleetMember } from '../../../src/daemons/definition.ts';
import { feedbackLoop, settingsFor, type Signals } from '../../../src/daemons/feedback/feedback-loop.ts';
import { healthy } from '../../../src/health/verdict.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { CONFIG, crown, putGames, putModel, putShard, turnDown } from '../../support/loop-facts.ts';

const QUICK = { periodSeconds: 0.1, gapSeconds: 0.02 };

describe('what follows from the signals', () => {
  const NOTHING: Signals = {
    ...{ quality: null, outcomes: [], lossTrend: null, works: [], velocity: null, mastered: new Set(), halted: [] },
  };
  const settings = (signals: Partial<Signals>, levelBefore = 0) =>
    settingsFor({ ...NOTHING, ...signals }, { boostMax: 2, levelBefore });

  it('nothing known is the default', () => {
    expect(settings({})).to.deep.equal({
      ...{ intensity: 'normal', explorationBoost: 1, weight: 1, level: 0, reasons: [] },
    });
  });

  const bands = [
    [0.95, 'hot'],
    [0.9, 'hot'],
    [0.89, 'accelerated'],
    [0.8, 'accelerated'],
    [0.65, 'normal'],
    [0.5, 'reduced'],
    [0.49, 'paused'],
  ] as const;
  for (const [quality, intensity] of bands)
    it(`quality ${quality} is ${intensity}`, () => {
      expect(settings({ quality }).intensity).to.equal(intensity);
    });

  it('trouble lowers the intensity, and never below paused', () => {
    expect(settings({ quality: 0.9, lossTrend: -1 }).intensity).to.equal('accelerated');
    expect(settings({ quality: 0.9, lossTrend: -1, outcomes: [1] }).intensity).to.equal('hot');
    expect(settings({ quality: 0.9, works: [0, 0, 1, 0, 0, 0, 0, 1, 0, 0] }).intensity).to.equal('accelerated');
    expect(settings({ quality: 0.9, halted: ['EVALUATION'] })).to.deep.include({ intensity: 'reduced' });
    expect(settings({ quality: 0.1, lossTrend: -1 }).intensity).to.equal('paused');
  });

  it('a rejection explores 1.3 times as much up to the cap, a promotion takes half of it away', () => {
    expect(settings({ outcomes: [0] }).explorationBoost).to.equal(1.3);
    expect(settings({ outcomes: [0, 0] }).explorationBoost).to.equal(1.69);
    expect(settings({ outcomes: [0, 0, 0, 0] }).explorationBoost).to.equal(2);
    expect(settings({ outcomes: [1, 0, 0, 0, 0] }).explorationBoost).to.equal(1.5);
    expect(settings({ outcomes: [0, 1, 1] }).weight).to.equal(1.25);
    expect(settings({ outcomes: [0, 0, 0, 1], velocity: 0 }).weight).to.equal(1.88);
  });

  it('a level is reached in the order of the ladder and never lost', () => {
    expect(settings({ mastered: new Set(['greedy']) }).level).to.equal(0);
    expect(settings({ mastered: new Set(['greedy', 'random']) }).level).to.equal(2);
    expect(settings({}, 1).level).to.equal(1);
  });
});

describe('FEEDBACK_LOOP', function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  let services: Record<string, unknown>;
  let members: FleetMember[];
  const rejected = (decisionId: string) =>
    bench.publish('PROMOTION_REJECTED', {
      ...{ config: CONFIG, modelId: 'm', championId: null, decisionId, reasons: ['weaker'] },
    });

  beforeEach(async () => {
    services = {};
    members = [];
    bench = await openBench({ services, members: () => members });
  });
  afterEach(() => bench.close());

  it('results become settings that are kept as versions and told with what they changed', async () => {
    await bench.start(feedbackLoop, QUICK);
    await rejected('one.vs.none');
    expect((await bench.waitFor('EXPLORATION_ADJUSTED')).body).to.include({ config: CONFIG, from: 1, to: 1.3 });
    expect((await bench.waitFor('ADAPTIVE_PARAMS_CHANGED')).body).to.include({
      ...{ config: CONFIG, version: 1, intensity: 'normal', explorationBoost: 1.3, weight: 1.25 },
    });
    expect((await bench.waitFor('CURRICULUM_REBALANCED')).body).to.deep.include({ weights: { [CONFIG]: 1.25 } });
    expect(await bench.floor.feedback.parameters(CONFIG)).to.include({ version: 1, explorationBoost: 1.3 });
    expect(bench.health('FEEDBACK_LOOP').status).to.equal('healthy');
    await bench.stop('FEEDBACK_LOOP');
    expect(bench.left()).to.deep.equal([]);
  });

  it('results whose events never came are found in the stores, and weigh once with them', async () => {
    const { floor } = bench;
    await putGames(floor, ['a']);
    await putShard(floor, 10);
    const decisionId = await turnDown(floor, (await putModel(floor, 'weak')).modelId);
    await crown(floor, (await putModel(floor, 'strong')).modelId, 0.95);
    await floor.quality.record({ config: CONFIG, afterSeq: 0, lastSeq: 1, games: 1, score: 0.85, parts: {} });
    await bench.start(feedbackLoop, QUICK);
    expect((await bench.waitFor('ADAPTIVE_PARAMS_CHANGED')).body).to.include({
      ...{ intensity: 'accelerated', explorationBoost: 1.15, weight: 1 },
    });
    await bench.waitFor('CURRICULUM_ADVANCED', ({ level }) => level === 2);
    expect(bench.events('CURRICULUM_ADVANCED').map(({ body }) => body.mastered)).to.deep.equal(['random', 'greedy']);
    await rejected(decisionId); // the event of one of them after all
    await rejected('late.vs.none');
    await bench.waitFor('ADAPTIVE_PARAMS_CHANGED', ({ version }) => version === 2);
    expect(await floor.feedback.signals(CONFIG, { signal: 'outcome', limit: 10 })).to.have.length(3);
  });

  it('a kill after a version was kept and before it was told: the next start tells it once, with what it changed', async () => {
    services['feedback'] = {
      ...bench.floor.feedback,
      save: async (parameters: Parameters<typeof bench.floor.feedback.save>[0]) => {
        await bench.floor.feedback.save(parameters);
        return new Promise(() => undefined);
      },
    };
    await bench.start(feedbackLoop, QUICK);
    await rejected('one.vs.none');
    await bench.until('it is kept', async () => (await bench.floor.feedback.parameters(CONFIG)).version === 1);
    await bench.kill('FEEDBACK_LOOP');
    expect(bench.events('ADAPTIVE_PARAMS_CHANGED')).to.deep.equal([]);
    delete services['feedback'];
    await bench.start(feedbackLoop, QUICK);
    await bench.waitFor('CURRICULUM_REBALANCED');
    await rejected('two.vs.none');
    await bench.waitFor('EXPLORATION_ADJUSTED', ({ to }) => to === 1.5);
    expect(bench.events('EXPLORATION_ADJUSTED').map(({ body }) => [body.from, body.to])).to.deep.equal([
      [1, 1.3],
      [1.3, 1.5],
    ]);
    expect(bench.events('ADAPTIVE_PARAMS_CHANGED').map(({ body }) => body.version)).to.deep.equal([1, 2]);
  });

  it('a daemon of the training chain that is FAILED turns the intensity down until it is back', async () => {
    await putGames(bench.floor, ['a']);
    const member = (state: string): FleetMember => ({
      ...{ type: 'EVALUATION', state, wanted: 'up', generation: 1, health: healthy() },
      ...{ readyAt: 1, lastHeartbeatAt: null, movedAt: null, cycles: [], processes: [] },
    });
    await bench.start(feedbackLoop, { ...QUICK, periodSeconds: 60 });
    for (const [state, intensity] of [
      ['FAILED', 'reduced'],
      ['RUNNING', 'normal'],
    ] as const) {
      members = [member(state)];
      await bench.publish('DAEMON_STATUS_CHANGED', { daemon: 'EVALUATION', from: 'RUNNING', to: state, cause: null });
      await bench.waitFor('ADAPTIVE_PARAMS_CHANGED', (body) => body.intensity === intensity);
    }
  });

  it('with the handle of feedback.db closed it is unhealthy, and a later start mends it and goes on', async () => {
    await bench.start(feedbackLoop, QUICK);
    await bench.runtime.breakageOf('FEEDBACK_LOOP')!.break();
    await bench.until('it shows', () => bench.health('FEEDBACK_LOOP').status === 'unhealthy');
    await bench.kill('FEEDBACK_LOOP');
    await bench.start(feedbackLoop, QUICK);
    await bench.runtime.breakageOf('FEEDBACK_LOOP')!.heal();
    await bench.until('it is well', () => bench.health('FEEDBACK_LOOP').status === 'healthy');
    await rejected('one.vs.none');
    await bench.waitFor('ADAPTIVE_PARAMS_CHANGED');
  });
});

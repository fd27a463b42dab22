import { expect } from 'chai';
import { evaluation } from '../../../src/daemons/evaluation/evaluation.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import type { Model } from '../../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { childOf, CONFIG, crashesOf, judge, makeCandidate, playGames, storeGames, sweepKills } from '../learning.ts';

const TYPE = 'EVALUATION';
const NOW = { periodSeconds: 0.1, gamesMin: 5, gamesMax: 20, championGamesMin: 5, championGamesMax: 20 };

describe(TYPE, function () {
  this.timeout(90_000);
  let bench: DaemonBench;
  const history = () => bench.floor.evaluations.history({ config: CONFIG, limit: 500 });
  const trained = async (seed: number): Promise<Model> => {
    const model = await makeCandidate(bench, seed);
    const { modelId, sha256 } = model;
    await bench.publish('TRAINING_COMPLETED', {
      ...{ config: CONFIG, itemId: `w${seed}`, modelId, baseModelId: null, sha256 },
      ...{ rows: 0, steps: 0, loss: 0, seconds: 0 },
    });
    return model;
  };

  beforeEach(async () => {
    bench = await openBench();
    await storeGames(bench.floor, playGames(1, 1));
  });
  afterEach(() => bench.close());

  it('a candidate plays the baselines and the champion; the rows, the ratings and the event agree', async () => {
    const first = await judge(bench, 1, { random: 0.9, greedy: 0.8 }, 20);
    await bench.floor.models.decide({ ...first, promote: true, reasons: [] });
    await bench.floor.models.promote(first.evaluationId);
    await bench.start(evaluation, { ...NOW, periodSeconds: 60 });
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 0);
    const { modelId } = await trained(2);
    const { body } = await bench.waitFor('EVALUATION_COMPLETED');
    expect(body).to.include({ modelId, championId: first.modelId });
    const [done] = await history();
    expect(done!.rows.map(({ opponent }) => opponent)).to.deep.equal(['random', 'greedy', first.modelId]);
    expect(body.rows).to.deep.equal(
      done!.rows.map(({ opponent, games, score, low, high }) => ({ opponent, games, score, low, high })),
    );
    const played = done!.rows.reduce((sum, { games }) => sum + games, 0);
    const own = (await bench.floor.ratings.table(CONFIG)).find(({ agent }) => agent === modelId);
    expect(own?.games).to.equal(played);
    expect((await bench.waitFor('ELO_UPDATED')).body).to.include({ matches: played, champion: first.modelId });
    expect((await bench.floor.models.get(modelId))?.state).to.equal('evaluated');
    expect(bench.events('EVALUATION_STARTED')).to.have.length(1);
    await bench.stop(TYPE, { full: true });
    expect(bench.left()).to.deep.equal([]);
  });

  it('killed while its program plays, the next start takes the program over and counts its games once', async () => {
    await bench.start(evaluation, NOW);
    const { modelId } = await trained(1);
    const child = await childOf(bench, TYPE);
    child.process.signalGroup('SIGSTOP');
    await bench.kill(TYPE);
    await bench.start(evaluation, NOW);
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 2);
    expect(bench.processes.live(TYPE).map(({ process }) => process.identity.pid)).to.deep.equal([
      child.process.identity.pid,
    ]);
    child.process.signalGroup('SIGCONT');
    const { body } = await bench.waitFor('EVALUATION_COMPLETED');
    expect(body.modelId).to.equal(modelId);
    expect(bench.events('EVALUATION_STARTED')).to.have.length(1);
    expect(await history()).to.have.length(1);
  });

  it('a program that dies is a failure that is told; the next attempt judges the candidate', async () => {
    await bench.start(evaluation, { ...NOW, retrySeconds: 0.1 });
    const { modelId } = await trained(1);
    (await childOf(bench, TYPE)).process.signalGroup('SIGKILL');
    expect((await bench.waitFor('EVALUATION_FAILED')).body).to.include({ modelId, final: false });
    await bench.waitFor('EVALUATION_COMPLETED');
    expect((await history())[0]?.attempts).to.equal(2);
  });

  it('a candidate whose checkpoint was written over is blocked, and the next one is judged', async () => {
    const spoilt = await makeCandidate(bench, 1);
    realFileSystem().writeAtomically(spoilt.file, 'no checkpoint');
    await bench.start(evaluation, { ...NOW, retrySeconds: 0.1 });
    expect((await bench.waitFor('MODEL_EVALUATION_BLOCKED')).body.modelId).to.equal(spoilt.modelId);
    expect((await bench.waitFor('EVALUATION_FAILED')).body).to.include({ modelId: spoilt.modelId, final: true });
    expect(bench.health(TYPE)).to.include({ status: 'degraded' });
    const sound = await trained(2);
    await bench.waitFor('EVALUATION_COMPLETED', ({ modelId }) => modelId === sound.modelId);
  });

  it('a queue over its mark asks producers to slow down, and takes it back in a later start', async () => {
    for (let seed = 1; seed <= 3; seed++) await makeCandidate(bench, seed);
    await bench.start(evaluation, { ...NOW, backpressureAt: 3, releasedAt: 1 });
    expect((await bench.waitFor('BACKPRESSURE_ACTIVATED')).body).to.include({ queue: 'evaluation', depth: 3 });
    await bench.kill(TYPE);
    await bench.start(evaluation, { ...NOW, backpressureAt: 3, releasedAt: 1 });
    expect((await bench.waitFor('BACKPRESSURE_RELEASED')).body.depth).to.be.lessThan(2);
    expect(bench.events('BACKPRESSURE_ACTIVATED')).to.have.length(1);
  });

  it('killed before or after any call, every candidate is judged once and told once', async () => {
    let modelId = '';
    const told = (): string[] => bench.events('EVALUATION_COMPLETED').map(({ body }) => body.modelId);
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: evaluation,
      config: { ...NOW, periodSeconds: 30 },
      stride: 3,
      prepare: async (round) => void ({ modelId } = await trained(round)),
      done: () => told().includes(modelId),
      async check(round) {
        expect(await history()).to.have.length(round);
        expect(told()).to.have.length(round);
        expect(bench.events('EVALUATION_FAILED')).to.deep.equal([]);
      },
    });
    expect(kills).to.be.greaterThan(12);
  });
});

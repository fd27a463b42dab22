import { expect } from 'chai';
import type { EvaluationRow } from '../../../src/training/programs/protocol.ts';
import { ModelStore } from '../../../src/training/stores/model-store.ts';
import { faultOf, handClock, place, type Place } from './support.ts';

const CONFIG = 'square8_2p';
const row = (opponent: string, score: number, games = 100): EvaluationRow => ({
  opponent,
  games,
  wins: Math.round(score * games),
  draws: 0,
  losses: games - Math.round(score * games),
  score,
  low: Math.max(0, score - 0.1),
  high: Math.min(1, score + 0.1),
  stoppedEarly: false,
});
const ROWS = [row('random', 0.9), row('greedy', 0.7)];

describe('the registry of models', () => {
  let home: Place;
  let store: ModelStore;
  let faults: Map<string, string>;
  const open = (): ModelStore =>
    new ModelStore(home.file('models.db'), handClock().now, {
      find: (sha256) => (sha256 === 'missing' ? null : { file: `/objects/${sha256}`, bytes: 10 }),
      faultOf: (sha256) => faults.get(sha256) ?? null,
    });
  const register = (key: string, sha256 = `hash-${key}`): string => {
    const modelId = store.reserve({ config: CONFIG, key });
    store.register({
      modelId,
      config: CONFIG,
      parentId: null,
      sha256,
      rows: 1,
      steps: 1,
      loss: 0.1,
      trainedSeconds: 1,
    });
    return modelId;
  };
  /** A model that was evaluated against the present champion and may be decided on. */
  const evaluated = (key: string): { modelId: string; championId: string | null } => {
    const modelId = register(key);
    store.enqueue({ modelId });
    const evaluation = store.next()!;
    store.complete({ evaluationId: evaluation.evaluationId, rows: ROWS });
    return { modelId, championId: evaluation.championId };
  };
  const promoted = (key: string): string => {
    const pair = evaluated(key);
    store.promote(store.decide({ ...pair, promote: true, reasons: [] }).decision.decisionId);
    return pair.modelId;
  };

  beforeEach(() => {
    home = place();
    faults = new Map();
    store = open();
  });
  afterEach(() => {
    store.close();
    home.remove();
  });

  it('gives one piece of work the same id each time it asks', () => {
    expect(['w1', 'w2', 'w1'].map((key) => store.reserve({ config: CONFIG, key }))).to.deep.equal([
      'square8_2p-v1',
      'square8_2p-v2',
      'square8_2p-v1',
    ]);
    expect(store.reserve({ config: 'hex8_2p', key: 'w3' })).to.equal('hex8_2p-v1');
  });

  it('knows a model that is registered again, and refuses another one under its id', () => {
    const modelId = register('w1', 'one');
    const again = { modelId, config: CONFIG, parentId: null, rows: 1, steps: 1, loss: 0.1, trainedSeconds: 1 };
    expect(store.register({ ...again, sha256: 'one' }).first).to.equal(false);
    expect(faultOf('FLOOR_CONFLICT', () => store.register({ ...again, sha256: 'two' })).context).to.include({
      registered: 'one',
      given: 'two',
    });
    expect(store.list({ limit: 10 })).to.have.length(1);
  });

  it('refuses a model without a checkpoint, and an id that was not reserved', () => {
    const modelId = store.reserve({ config: CONFIG, key: 'w1' });
    const model = { config: CONFIG, parentId: null, rows: 1, steps: 1, loss: 0.1, trainedSeconds: 1 };
    expect(
      faultOf('FLOOR_INPUT_INVALID', () => store.register({ ...model, modelId, sha256: 'missing' })).message,
    ).to.contain('put it there first');
    faultOf('FLOOR_INPUT_INVALID', () => store.register({ ...model, modelId: 'square8_2p-v7', sha256: 'x' }));
  });

  it('queues an evaluation of a pair once, begins the oldest, and finds what was begun after a restart', () => {
    const one = register('w1');
    const two = register('w2');
    expect(store.enqueueMissing()).to.equal(2);
    expect(store.enqueueMissing()).to.equal(0);
    expect(store.enqueue({ modelId: one }).first).to.equal(false);
    expect(store.next()).to.include({ modelId: one, state: 'running', attempts: 1 });
    store.close();
    store = open();
    expect(store.running().map(({ modelId }) => modelId)).to.deep.equal([one]);
    expect(store.next()).to.include({ modelId: two });
    expect(store.next()).to.equal(null);
    expect(store.depth()).to.equal(2);
  });

  it('refuses a result without games, and keeps the first of two results', () => {
    const modelId = register('w1');
    const { evaluationId } = store.enqueue({ modelId }).evaluation;
    store.next();
    faultOf('FLOOR_INPUT_INVALID', () => store.complete({ evaluationId, rows: [] }));
    faultOf('FLOOR_INPUT_INVALID', () => store.complete({ evaluationId, rows: [row('random', 0, 0)] }));
    expect(store.get(modelId)?.state).to.equal('candidate');
    expect(store.complete({ evaluationId, rows: ROWS }).first).to.equal(true);
    expect(store.complete({ evaluationId, rows: [row('random', 0.1)] })).to.deep.include({ first: false });
    expect(store.of(modelId)?.rows).to.deep.equal(ROWS);
    expect(store.get(modelId)?.state).to.equal('evaluated');
  });

  it('queues a failed evaluation again until its attempts are spent', () => {
    const { evaluationId } = store.enqueue({ modelId: register('w1') }).evaluation;
    store.next();
    expect(store.failEvaluation({ evaluationId, reason: 'crash', attemptsMax: 2 })).to.include({
      state: 'queued',
      reason: 'crash',
    });
    expect(store.failEvaluation({ evaluationId, reason: 'told twice', attemptsMax: 2 })).to.include({
      state: 'queued',
      attempts: 1,
    });
    store.next();
    expect(store.failEvaluation({ evaluationId, reason: 'crash', attemptsMax: 2 })).to.include({ state: 'failed' });
    expect(store.depth()).to.equal(0);
  });

  it('a promotion committed twice, also after a restart, is one promotion', () => {
    const pair = evaluated('w1');
    const { decision } = store.decide({ ...pair, promote: true, reasons: ['better'] });
    expect(store.uncommitted().map(({ decisionId }) => decisionId)).to.deep.equal([decision.decisionId]);
    expect(store.promote(decision.decisionId).outcome).to.equal('promoted');
    store.close();
    store = open();
    const again = store.promote(decision.decisionId);
    expect(again.outcome === 'already' && again.promotion.modelId).to.equal(pair.modelId);
    expect(store.promotions({ limit: 10 })).to.have.length(1);
    expect(store.uncommitted()).to.deep.equal([]);
    expect(store.champion(CONFIG)?.modelId).to.equal(pair.modelId);
  });

  it('a promotion nobody was told of stays on the list until it is announced', () => {
    promoted('w1');
    const [open1] = store.unannounced();
    expect(open1).to.include({ promotionId: 'square8_2p-v1.vs.none', previousModelId: null });
    store.announced(open1!.promotionId);
    store.announced(open1!.promotionId);
    expect(store.unannounced()).to.deep.equal([]);
  });

  it('the next champion archives the last one, and there is never a second', () => {
    const first = promoted('w1');
    const second = promoted('w2');
    expect([store.get(first)?.state, store.get(second)?.state]).to.deep.equal(['archived', 'promoted']);
    expect(store.champions().map(({ modelId }) => modelId)).to.deep.equal([second]);
    expect(store.promotions({ limit: 1 })[0]).to.include({ modelId: second, previousModelId: first });
  });

  it('of two winners over the same champion only the first is promoted; the other meets the new one', () => {
    const one = evaluated('w1');
    const two = evaluated('w2');
    const decisions = [one, two].map(
      (pair) => store.decide({ ...pair, promote: true, reasons: [] }).decision.decisionId,
    );
    expect(store.promote(decisions[0]!).outcome).to.equal('promoted');
    const second = store.promote(decisions[1]!);
    expect(second.outcome === 'refused' && second).to.deep.include({ championChanged: true });
    expect(store.champion(CONFIG)?.modelId).to.equal(one.modelId);
    expect(store.enqueueMissing()).to.equal(1);
    expect(store.next()).to.include({ modelId: two.modelId, championId: one.modelId });
    expect(store.enqueueMissing()).to.equal(0);
  });

  it('a candidate whose file is not what was registered is refused, for good', () => {
    const pair = evaluated('w1');
    const { decisionId } = store.decide({ ...pair, promote: true, reasons: [] }).decision;
    faults.set('hash-w1', 'it has another hash');
    expect(store.verify(pair.modelId)).to.deep.equal({ ok: false, reason: 'it has another hash' });
    expect(store.promote(decisionId)).to.deep.equal({
      outcome: 'refused',
      reason: 'it has another hash',
      championChanged: false,
    });
    faults.clear();
    expect(store.promote(decisionId).outcome).to.equal('refused');
    expect(store.champion(CONFIG)).to.equal(null);
  });

  it('the first verdict on a pair stands; a rejected model is not promoted', () => {
    const pair = evaluated('w1');
    expect(store.decide({ ...pair, promote: false, reasons: ['weak'] }).first).to.equal(true);
    const again = store.decide({ ...pair, promote: true, reasons: [] });
    expect(again).to.deep.include({ first: false });
    expect(again.decision).to.include({ promote: false, state: 'rejected' });
    expect(store.promote(again.decision.decisionId).outcome).to.equal('refused');
    expect(store.get(pair.modelId)?.state).to.equal('rejected');
    expect(store.undecided()).to.deep.equal([]);
  });

  it('nothing is decided or promoted that was not evaluated', () => {
    const modelId = register('w1');
    faultOf('FLOOR_INPUT_INVALID', () => store.decide({ modelId, championId: null, promote: true, reasons: [] }));
    faultOf('FLOOR_INPUT_INVALID', () => store.promote('square8_2p-v1.vs.none'));
    faultOf('FLOOR_INPUT_INVALID', () => store.enqueue({ modelId: 'square8_2p-v9' }));
    const champion = promoted('w2');
    expect(faultOf('FLOOR_INPUT_INVALID', () => store.enqueue({ modelId: champion })).message).to.contain(
      'does not meet itself',
    );
  });

  it('a delivery goes forward within a run and starts again with the next one', () => {
    const to = (runId: string, state: 'held' | 'in-use') =>
      store.delivered({ modelId: 'm', nodeId: 'local-1', runId, state });
    to('r1', 'held');
    to('r1', 'in-use');
    to('r1', 'held');
    expect(store.deliveries('m')).to.deep.equal([{ nodeId: 'local-1', runId: 'r1', state: 'in-use' }]);
    to('r2', 'held');
    expect(store.deliveries('m')).to.deep.equal([{ nodeId: 'local-1', runId: 'r2', state: 'held' }]);
  });
});

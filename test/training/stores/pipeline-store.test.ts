import { expect } from 'chai';
import { PipelineStore } from '../../../src/training/stores/pipeline-store.ts';
import { faultOf, handClock, place, type Place } from './support.ts';

const CONFIG = 'square8_2p';

describe('the pipeline of a config', () => {
  let home: Place;
  let clock: ReturnType<typeof handClock>;
  let store: PipelineStore;
  let games: number;
  const open = (): PipelineStore => new PipelineStore(home.file('pipeline.db'), clock.now);
  const stretch = (_config: string, after: number, limit: number) => {
    const waiting = Math.min(limit, Math.max(0, games - after));
    return { games: waiting, lastSeq: after + waiting };
  };
  const openExport = (gamesMin = 50, gamesMax = 1000) =>
    store.openExport({ config: CONFIG, gamesMin, gamesMax }, stretch, (exportId) => home.file(`${exportId}.npz`));
  const result = (jobId: string, lastSeq: number, more: object = {}) => ({
    version: 1 as const,
    jobId,
    ok: true as const,
    shardFile: home.file(`${jobId}.npz`),
    sha256: 'a'.repeat(64),
    bytes: 10,
    games: 60,
    rows: 600,
    lastSeq,
    unreadable: 0,
    seconds: 1,
    ...more,
  });
  const sound = () => null;

  beforeEach(() => {
    home = place();
    clock = handClock();
    games = 0;
    store = open();
  });
  afterEach(() => {
    store.close();
    home.remove();
  });

  it('moves forward from where it is, once per step, and a late event changes nothing', () => {
    expect(store.current(CONFIG)).to.include({ iteration: 1, stage: 'selfplay', stageSeconds: 0 });
    clock.advance(7);
    const step = { config: CONFIG, iteration: 1, from: 'selfplay', to: 'sync', artefacts: { games: 5 } } as const;
    expect(store.advance(step).advanced).to.equal(true);
    expect(store.advance(step).advanced).to.equal(false);
    clock.advance(3);
    expect(store.current(CONFIG)).to.deep.include({ stage: 'sync', stageSeconds: 3, artefacts: { games: 5 } });
    faultOf('FLOOR_INPUT_INVALID', () => store.advance({ config: CONFIG, iteration: 1, from: 'sync', to: 'selfplay' }));
  });

  it('a done iteration has opened the next one, and its own late events are refused', () => {
    store.current(CONFIG);
    const { row } = store.advance({ config: CONFIG, iteration: 1, from: 'selfplay', to: 'done' });
    expect(row).to.include({ iteration: 2, stage: 'selfplay' });
    expect(store.advance({ config: CONFIG, iteration: 1, from: 'selfplay', to: 'sync' }).advanced).to.equal(false);
    store.close();
    store = open();
    expect(store.list()).to.have.length(1);
    expect(store.list()[0]).to.include({ iteration: 2, stageSeconds: 0 });
  });

  it('counts a failure once per key; the third opens the breaker, time or progress closes it', () => {
    const fail = (key: string) =>
      store.fail({ config: CONFIG, key, reason: `${key} broke`, breakerFailures: 3, breakerSeconds: 60 });
    fail('e1');
    fail('e1');
    expect(fail('e2')).to.include({ failures: 2, breakerSeconds: 0 });
    clock.advance(1);
    expect(fail('e3')).to.include({ failures: 3, breakerSeconds: 60, lastFailure: 'e3 broke' });
    clock.advance(61);
    expect(store.current(CONFIG).breakerSeconds).to.equal(0);
    expect(fail('e4').breakerSeconds).to.equal(60);
    expect(store.advance({ config: CONFIG, iteration: 1, from: 'selfplay', to: 'sync' }).row).to.include({
      failures: 0,
      breakerSeconds: 0,
    });
  });

  it('opens one export at a time, and the same one after a crash', () => {
    games = 49;
    expect(openExport()).to.equal(null);
    games = 60;
    const first = openExport();
    expect(first).to.include({ exportId: 'square8_2p-e0', afterSeq: 0, upToSeq: 60, games: 60, state: 'open' });
    games = 500;
    store.close();
    store = open();
    expect(openExport()).to.deep.equal(first);
    expect(store.openExports()).to.deep.equal([first]);
  });

  it('tiles the games without gap or overlap, also when an export stops short', () => {
    games = 100;
    const first = openExport()!;
    store.completeExport(result(first.exportId, 80), sound);
    const second = openExport(1)!;
    expect(second).to.include({ exportId: 'square8_2p-e80', afterSeq: 80, upToSeq: 100 });
    store.completeExport(result(second.exportId, 100), sound);
    expect(openExport(1)).to.equal(null);
    expect(store.exportedSeq(CONFIG)).to.equal(100);
  });

  it('a result told twice is one shard', () => {
    games = 60;
    const { exportId } = openExport()!;
    const shard = store.completeExport(result(exportId, 60), sound);
    expect(store.completeExport(result(exportId, 60, { rows: 1 }), sound)).to.deep.equal(shard);
    expect(store.unseen(CONFIG)).to.deep.equal({ shards: [shard], rows: 600 });
  });

  it('a shard that is not what the result says leaves the export open', () => {
    games = 60;
    const { exportId } = openExport()!;
    faultOf('FLOOR_CONFLICT', () => store.completeExport(result(exportId, 60), () => 'it is missing'));
    faultOf('FLOOR_INPUT_INVALID', () => store.completeExport(result(exportId, 61), sound));
    faultOf('FLOOR_INPUT_INVALID', () => store.completeExport(result('square8_2p-e9', 60), sound));
    expect(store.failExport({ exportId, reason: 'no shard' })).to.include({
      attempts: 1,
      state: 'open',
      lastFailure: 'no shard',
    });
    expect(store.exportedSeq(CONFIG)).to.equal(0);
  });

  it('a shard is unseen until a model was trained on it, and goes only when seen, old, and replaced', () => {
    for (const last of [50, 100, 150]) {
      games = last;
      store.completeExport(result(openExport()!.exportId, last), sound);
    }
    const ids = store.window(CONFIG, { shards: 2 }).map(({ shardId }) => shardId);
    expect(ids).to.deep.equal(['square8_2p-e50', 'square8_2p-e100']);
    store.markSeen({ modelId: 'm1', shardIds: ['square8_2p-e0', 'square8_2p-e100'] });
    store.markSeen({ modelId: 'm1', shardIds: ['square8_2p-e0'] });
    expect(store.byId(['square8_2p-e0'])[0]).to.include({ seenBy: 1 });
    expect(store.unseen(CONFIG).shards.map(({ shardId }) => shardId)).to.deep.equal(['square8_2p-e50']);
    const removed: string[] = [];
    expect(store.retire({ config: CONFIG, keep: 1 }, (file) => removed.push(file))).to.equal(1);
    expect(removed).to.deep.equal([home.file('square8_2p-e0.npz')]);
    expect(store.retire({ config: CONFIG, keep: 1 }, (file) => removed.push(file))).to.equal(0);
    expect(store.counts(CONFIG)).to.deep.equal({ shards: 3, rows: 1800 });
  });
});

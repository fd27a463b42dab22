import { expect } from 'chai';
import { SignalStore } from '../../../src/training/stores/signal-store.ts';
import { faultOf, handClock, place, type Place } from './support.ts';

const CONFIG = 'square8_2p';

describe('signals and the settings made of them', () => {
  let home: Place;
  let store: SignalStore;
  const open = (): SignalStore => new SignalStore(home.file('feedback.db'), handClock().now);
  beforeEach(() => {
    home = place();
    store = open();
  });
  afterEach(() => {
    store.close();
    home.remove();
  });

  it('keeps a signal once per event, and no more than its bound', () => {
    const record = (key: string, value: number) => store.record({ key, config: CONFIG, signal: 'win-rate', value });
    expect([record('e1', 0.5).first, record('e1', 0.9).first, record('e2', 0.6).first]).to.deep.equal([
      true,
      false,
      true,
    ]);
    expect(store.signals(CONFIG, { signal: 'win-rate', limit: 5 }).map(({ value }) => value)).to.deep.equal([0.6, 0.5]);
    faultOf('FLOOR_INPUT_INVALID', () => record('e3', Number.NaN));
  });

  it('changed parameters are a new version, the same ones are not, and a restart forgets nothing', () => {
    expect(store.parameters(CONFIG)).to.include({ version: 0, intensity: 'normal', explorationBoost: 1 });
    const next = {
      config: CONFIG,
      intensity: 'hot',
      explorationBoost: 1.3,
      weight: 2,
      level: 1,
      reasons: ['rising'],
    } as const;
    expect(store.save(next)).to.deep.include({ changed: true });
    expect(store.save({ ...next })).to.deep.include({ changed: false });
    store.close();
    store = open();
    expect(store.parameters(CONFIG)).to.deep.equal({ ...next, version: 1 });
    store.record({ key: 'k', config: 'hex8_2p', signal: 'loss', value: 1 });
    expect(store.allParameters().map(({ config, version }) => [config, version])).to.deep.equal([
      ['hex8_2p', 0],
      [CONFIG, 1],
    ]);
  });

  it('an allocation is a version only when a row of it differs', () => {
    const rows = {
      targets: [{ config: CONFIG, games: 10, exploration: 0.1, opponents: [{ agent: 'self', weight: 1 }] }],
      quotas: [],
    };
    expect(store.allocation()).to.deep.equal({ version: 0, targets: [], quotas: [] });
    expect(store.allocate(rows).allocation.version).to.equal(1);
    expect(store.allocate(structuredClone(rows))).to.deep.include({ changed: false });
    const quotas = [{ config: CONFIG, nodeId: 'local-1', games: 10 }];
    expect(store.allocationAt(1).version).to.equal(0);
    expect(store.allocate({ ...rows, quotas })).to.deep.include({ changed: true, previous: { version: 1, ...rows } });
    expect(store.allocationAt(1)).to.deep.equal({ version: 1, ...rows });
  });

  it('quality follows new verdicts with its half-life, and a range is judged once', () => {
    const verdict = { config: CONFIG, afterSeq: 0, lastSeq: 500, games: 500, score: 0.8, parts: { length: 1 } };
    expect(store.judge(verdict).state).to.deep.equal({
      config: CONFIG,
      score: 0.8,
      last: 0.8,
      parts: { length: 1 },
      games: 500,
      seq: 500,
    });
    expect(store.judge({ ...verdict, score: 0 })).to.deep.include({ first: false });
    expect(store.judge({ ...verdict, afterSeq: 500, lastSeq: 1000, score: 0.4 }).state.score).to.be.closeTo(0.6, 1e-9);
    faultOf('FLOOR_INPUT_INVALID', () => store.judge({ ...verdict, afterSeq: 1000, lastSeq: 1001, score: 1.5 }));
    expect(store.quality('hex8_2p')).to.equal(null);
  });
});

import { expect } from 'chai';
import { causeChain, explainDaemon, type Evidence } from '../../../src/operations/server/explain.ts';
import { historyOf, type DiskHistory } from '../../../src/operations/server/history.ts';
import { Mirror } from '../../../src/operations/server/mirror.ts';
import { DAEMON_STATES } from '../../../src/lifecycle/states.ts';
import type { HistoryEntry } from '../../../src/orchestrator/types.ts';
import { AT, daemon, entry, graphOf, snapshot } from './fleet.ts';

const evidenceOf = (...entries: HistoryEntry[]): Evidence => ({
  last: (type) => entries.findLast((one) => one.daemon === type && one.to !== null) ?? null,
  entry: (seq) => entries.find((one) => one.seq === seq) ?? null,
});
const NOTHING = evidenceOf();

describe('why', () => {
  it('of a daemon whose restarts are spent names the error and the way back', () => {
    const failed = daemon('AUTO_SYNC', {
      state: 'FAILED',
      attemptsLeft: 0,
      restartCount: 5,
      lastError: 'ECONNREFUSED',
      lastCause: 'start-failed',
      lastErrorAt: AT,
      rule: 'after 5 restarts the next failure is FAILED',
    });
    const why = explainDaemon(failed, NOTHING);
    expect(why.reason).to.equal('its restarts are spent: ECONNREFUSED');
    expect(why.rule).to.equal('after 5 restarts the next failure is FAILED');
    expect(why.remedy).to.equal('mend the cause, then: master_loop reset AUTO_SYNC');
    expect(why.lastExit).to.deep.equal({ message: 'ECONNREFUSED', why: 'start-failed', time: AT });
    expect(why.restarts).to.deep.equal({ charged: 5, left: 0, lastHour: 0 });
  });

  it('of a failure that a retry cannot mend says so', () => {
    const failed = daemon('AUTO_SYNC', { state: 'FAILED', attemptsLeft: 5, lastError: 'no such module' });
    expect(explainDaemon(failed, NOTHING).reason).to.equal('a retry cannot mend it: no such module');
  });

  it('of a wait that cannot end names the leaf and who must act, before the waits that can', () => {
    const waiting = daemon('ELO_SYNC', {
      state: 'WAITING',
      waitingFor: [
        {
          on: 'AUTO_SYNC',
          kind: 'hard',
          condition: 'ready',
          state: 'STARTING',
          impossible: false,
          message: 'AUTO_SYNC is STARTING, needs to be ready',
          remedy: null,
        },
        {
          on: 'DATA_PIPELINE',
          kind: 'hard',
          condition: 'ready',
          state: 'FAILED',
          impossible: true,
          message: 'DATA_PIPELINE is FAILED',
          remedy: 'master_loop reset DATA_PIPELINE',
        },
      ],
    });
    const why = explainDaemon(waiting, NOTHING);
    expect(why.reason).to.equal(
      'waits: impossible: DATA_PIPELINE is FAILED; master_loop reset DATA_PIPELINE (and 1 more)',
    );
    expect(why.remedy).to.equal('master_loop reset DATA_PIPELINE');
  });

  it('follows causes from the last transition to the root, newest first', () => {
    const root = entry(1, { daemon: null, from: null, to: null, on: 'command', message: 'restart by operator' });
    const router = entry(2, { cause: 1, daemon: 'EVENT_ROUTER' });
    const sync = entry(3, { cause: 2, daemon: 'AUTO_SYNC', why: 'dependency-lost' });
    const chain = explainDaemon(daemon('AUTO_SYNC'), evidenceOf(root, router, sync)).causeChain;
    expect(chain.map(({ seq }) => seq)).to.deep.equal([3, 2, 1]);
  });

  it('ends a chain at a record that is not kept, at itself, and at one from the future', () => {
    expect(causeChain(entry(5, { cause: 4 }), () => null)).to.have.length(1);
    expect(causeChain(entry(5, { cause: 5 }), () => entry(5, { cause: 5 }))).to.have.length(1);
    expect(causeChain(entry(5, { cause: 9 }), () => entry(9))).to.have.length(1);
  });

  it('ends a chain that never ends', () => {
    expect(causeChain(entry(1_000, { cause: 999 }), (seq) => entry(seq, { cause: seq - 1 }))).to.have.length(64);
  });

  for (const state of DAEMON_STATES)
    it(`has a reason and a rule for ${state}, though the core named none`, () => {
      const why = explainDaemon(daemon('AUTO_SYNC', { state, wanted: 'down' }), NOTHING);
      expect(why.reason).not.to.equal('');
      expect(why.rule).not.to.equal('');
    });
});

describe('history', () => {
  const mirrorWith = (...entries: HistoryEntry[]): Mirror => {
    const daemons = [daemon('EVENT_ROUTER')];
    const mirror = new Mirror(snapshot(daemons), graphOf(daemons));
    mirror.apply({ history: entries });
    return mirror;
  };
  const diskWith = (...entries: HistoryEntry[]): DiskHistory => ({
    read: ({ daemon: of, limit }) => entries.filter((one) => of === null || one.daemon === of).slice(-limit),
    entry: (seq) => entries.find((one) => one.seq === seq) ?? null,
  });
  const fail = (): never => {
    throw new Error('unreadable');
  };
  const unheard = (): void => undefined;

  it('lays memory over the files, without a gap or a double', () => {
    const history = historyOf(
      mirrorWith(entry(3), entry(5)),
      diskWith(entry(1), entry(2), entry(3), entry(4)),
      unheard,
    );
    expect(history.read(null, 10).map(({ seq }) => seq)).to.deep.equal([1, 2, 3, 4, 5]);
    expect(history.read(null, 2).map(({ seq }) => seq)).to.deep.equal([4, 5]);
    expect(history.read(null, 0)).to.deep.equal([]);
  });

  it('finds one record in memory, else on disk, else nowhere', () => {
    const history = historyOf(mirrorWith(entry(3), entry(5)), diskWith(entry(2)), unheard);
    expect([2, 3, 4, 5].map((seq) => history.entry(seq)?.seq ?? null)).to.deep.equal([2, 3, null, 5]);
  });

  it('answers from memory when the files cannot be read, and says so', () => {
    const troubles: unknown[] = [];
    const history = historyOf(mirrorWith(entry(3)), { read: fail, entry: fail }, (thrown) => troubles.push(thrown));
    expect(history.read('EVENT_ROUTER', 10).map(({ seq }) => seq)).to.deep.equal([3]);
    expect(history.entry(1)).to.be.null;
    expect(history.last('EVENT_ROUTER')?.seq).to.equal(3);
    expect(troubles).to.have.length(2);
  });

  it('takes the last transition from disk when memory has none of that daemon', () => {
    const history = historyOf(mirrorWith(), diskWith(entry(2), entry(4, { from: null, to: null })), unheard);
    expect(history.last('EVENT_ROUTER')?.seq).to.equal(2);
  });
});

import { expect } from 'chai';
import { DAEMON_STATES, type DaemonState } from '../../src/lifecycle/states.ts';
import { DAEMON_LIFECYCLE, decide, type LifecycleEvent, type LifecycleRow } from '../../src/lifecycle/transitions.ts';
import { OrchestratorError } from '../../src/errors.ts';

const ROWS: readonly LifecycleRow[] = DAEMON_LIFECYCLE;
const EVENTS = [...new Set(ROWS.map((row) => row.on))];

/** Where a daemon may be when a master starts. */
const FIRST: readonly DaemonState[] = ['STOPPED', 'WAITING', 'FAILED', 'COMPLETED'];

describe('the transition table', () => {
  it('reaches every state from one that is wanted or not', () => {
    const reached = new Set<DaemonState>(['STOPPED']);
    for (const state of reached) for (const row of ROWS) if (row.from.includes(state)) reached.add(row.to);
    expect([...reached]).to.have.members([...DAEMON_STATES]);
  });

  for (const state of DAEMON_STATES)
    it(`leaves ${state} by some event`, () => {
      expect(ROWS.some((row) => row.from.includes(state) && row.to !== state)).to.be.true;
    });

  it('leaves FAILED only by the word of an operator', () => {
    const leaving = ROWS.filter((row) => row.from.includes('FAILED')).map((row) => row.on);
    expect(leaving).to.have.members(['want', 'unwant']);
  });

  it('begins a start only in WAITING or RESTARTING, where nothing of it runs', () => {
    const starting = ROWS.filter((row) => row.to === 'STARTING').flatMap((row) => row.from);
    expect(starting).to.have.members(['WAITING', 'RESTARTING']);
  });

  it('comes to STOPPED and FAILED only with nothing left of it: from a proof, or from where nothing ran', () => {
    const proofs: readonly LifecycleEvent[] = ['stopped', 'stopped-last', 'exited-last', 'unwant'];
    for (const row of ROWS)
      if (row.to === 'STOPPED' || row.to === 'FAILED') expect(proofs, JSON.stringify(row)).to.include(row.on);
  });

  it('has one row for a state and an event, and throws INVARIANT for every other pair', () => {
    for (const from of DAEMON_STATES)
      for (const on of EVENTS) {
        const rows = ROWS.filter((row) => row.on === on && row.from.includes(from));
        expect(rows.length, `${from} ${on}`).to.be.at.most(1);
        if (rows.length === 1) expect(decide(from, on)).to.equal(rows[0]);
        else
          expect(() => decide(from, on), `${from} ${on}`)
            .to.throw(OrchestratorError, `cannot continue: no transition for ${on} in ${from}`)
            .with.property('code', 'INVARIANT');
      }
  });

  it('lets every state in which a master may begin go up again', () => {
    for (const state of FIRST) {
      const way = new Set<DaemonState>([state]);
      for (const here of way) for (const row of ROWS) if (row.from.includes(here)) way.add(row.to);
      expect(way.has('RUNNING'), state).to.be.true;
    }
  });
});

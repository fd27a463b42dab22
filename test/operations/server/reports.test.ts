import { expect } from 'chai';
import type { SubscriptionState } from '../../../src/events/types.ts';
import { unhealthy } from '../../../src/health/verdict.ts';
import { HISTORY_KEPT, Mirror } from '../../../src/operations/server/mirror.ts';
import type { Now } from '../../../src/operations/server/reports.ts';
import { graphReport, healthReport, readyReport, statusReport } from '../../../src/operations/server/reports.ts';
import type { DaemonStatus, FleetSnapshot, OperationRecord } from '../../../src/orchestrator/types.ts';
import { AT, daemon, entry, graphOf, ROUTER_AND_SYNC, snapshot } from './fleet.ts';

const now: Now = { wallMs: Date.parse(AT) + 12_300, snapshotAgeMs: 12, stall: null };
const stalled: Now = { ...now, snapshotAgeMs: 2_500, stall: { silentMs: 2_500, heldBy: 'AUTO_SYNC' } };

const mirrorOf = (daemons: readonly DaemonStatus[], changes: Partial<FleetSnapshot> = {}): Mirror =>
  new Mirror(snapshot(daemons, changes), graphOf(daemons));

const gap = (changes: Partial<SubscriptionState> = {}): SubscriptionState => ({
  subscriber: 'AUTO_SYNC',
  topic: 'SYNC_REQUEST',
  critical: true,
  state: 'gap',
  reason: 'the canary did not come back',
  lag: 3,
  handled: 0,
  deadLetters: 0,
  inFlight: 1,
  cursor: 7,
  ...changes,
});

const recovery = (phase: OperationRecord['phase']): OperationRecord => ({
  id: 'r1',
  verb: 'recover',
  phase,
  origin: 'operator',
  reason: 'test',
  drainMs: 10_000,
  resetFailed: false,
  resumed: false,
  startedWallMs: 0,
  phaseWallMs: 0,
  took: {},
  verdict: null,
  notReady: [],
});

describe('/health', () => {
  it('is ok while every critical daemon runs and is not unhealthy', () => {
    expect(healthReport(mirrorOf(ROUTER_AND_SYNC), now)).to.deep.equal({
      status: 'ok',
      critical: { EVENT_ROUTER: 'RUNNING', AUTO_SYNC: 'RUNNING' },
      snapshotAgeMs: 12,
    });
  });

  for (const state of ['STOPPED', 'WAITING', 'STARTING', 'RESTARTING', 'STOPPING', 'FAILED'] as const)
    it(`is unhealthy while a critical daemon is ${state}`, () => {
      const report = healthReport(mirrorOf([daemon('EVENT_ROUTER', { state })]), now);
      expect(report.status).to.equal('unhealthy');
      expect(report.critical).to.deep.equal({ EVENT_ROUTER: state });
    });

  it('is unhealthy while a critical daemon runs and says that it is not well', () => {
    const sick = daemon('EVENT_ROUTER', {
      health: { ...unhealthy('disk'), checkedAt: AT, consecutiveFailures: 3 },
    });
    expect(healthReport(mirrorOf([sick]), now).status).to.equal('unhealthy');
  });

  it('minds no daemon that is not critical, and no critical one that this run never meant to have', () => {
    const others = [
      daemon('EVENT_ROUTER'),
      daemon('ELO_SYNC', { critical: false, state: 'FAILED' }),
      daemon('AUTO_SYNC', { wanted: 'down', state: 'STOPPED', inProfile: false }),
    ];
    expect(healthReport(mirrorOf(others), now).status).to.equal('ok');
  });

  it('counts a critical daemon that an operator stopped', () => {
    const stopped = daemon('AUTO_SYNC', { wanted: 'down', state: 'STOPPED' });
    expect(healthReport(mirrorOf([stopped]), now).status).to.equal('unhealthy');
  });

  it('says engine_stalled whatever the old picture shows, and who holds the loop', () => {
    expect(healthReport(mirrorOf(ROUTER_AND_SYNC), stalled)).to.include({
      status: 'engine_stalled',
      heldBy: 'AUTO_SYNC',
      snapshotAgeMs: 2_500,
    });
  });
});

describe('/ready', () => {
  it('is true when every wanted daemon is RUNNING or COMPLETED', () => {
    const daemons = [
      daemon('EVENT_ROUTER'),
      daemon('ONCE', { state: 'COMPLETED' }),
      daemon('OFF', { wanted: 'down', state: 'STOPPED' }),
    ];
    expect(readyReport(mirrorOf(daemons), now)).to.deep.include({ ready: true, notReady: [] });
  });

  it('names what is not ready, and why', () => {
    const waiting = daemon('AUTO_SYNC', {
      state: 'WAITING',
      waitingFor: [
        {
          on: 'EVENT_ROUTER',
          kind: 'hard',
          condition: 'ready',
          state: 'FAILED',
          impossible: true,
          message: 'EVENT_ROUTER is FAILED',
          remedy: 'master_loop reset EVENT_ROUTER',
        },
      ],
    });
    const report = readyReport(mirrorOf([waiting]), now);
    expect(report.notReady).to.deep.equal(['AUTO_SYNC']);
    expect(report.reasons[0]).to.deep.equal({
      daemon: 'AUTO_SYNC',
      state: 'WAITING',
      reason: 'EVENT_ROUTER is FAILED',
    });
  });

  it('is false from the acceptance of a recovery until it is done, though every daemon still runs', () => {
    for (const phase of ['stopping', 'proving', 'draining', 'starting'] as const)
      expect(readyReport(mirrorOf(ROUTER_AND_SYNC, { operation: recovery(phase) }), now).ready, phase).to.be.false;
    expect(readyReport(mirrorOf(ROUTER_AND_SYNC, { operation: recovery('done') }), now).ready).to.be.true;
  });

  it('is false while the loop shuts down', () => {
    expect(readyReport(mirrorOf(ROUTER_AND_SYNC, { verdict: 'stopping' }), now).ready).to.be.false;
  });

  it('is false while a critical subscription gap is open, and minds no other gap', () => {
    const mirror = mirrorOf(ROUTER_AND_SYNC);
    mirror.beat(0, { subscriptions: [gap()] });
    expect(readyReport(mirror, now)).to.deep.include({ ready: false, notReady: ['AUTO_SYNC'] });
    mirror.beat(0, { subscriptions: [gap({ critical: false })] });
    expect(readyReport(mirror, now).ready).to.be.true;
  });

  it('is false while the loop is stalled', () => {
    expect(readyReport(mirrorOf(ROUTER_AND_SYNC), stalled)).to.include({ ready: false, verdict: 'engine_stalled' });
  });
});

describe('/status and /graph', () => {
  it('works out uptimes when asked, and leaves them out for what does not run', () => {
    const mirror = mirrorOf([daemon('EVENT_ROUTER'), daemon('AUTO_SYNC', { state: 'WAITING', readyAt: null })]);
    const report = statusReport(mirror, now, 8790);
    expect(report.uptimeSeconds).to.equal(12.3);
    expect(report.daemons.map(({ uptimeSeconds }) => uptimeSeconds)).to.deep.equal([12.3, null]);
    expect(report.port).to.equal(8790);
  });

  it('says engine_stalled, keeps showing the picture, and tells its age', () => {
    const report = statusReport(mirrorOf(ROUTER_AND_SYNC), stalled, 1);
    expect(report).to.include({ verdict: 'engine_stalled', snapshotAgeMs: 2_500 });
    expect(report.stall).to.deep.equal({ silentMs: 2_500, heldBy: 'AUTO_SYNC' });
    expect(report.daemons).to.have.length(3);
  });

  it('shows in the graph what each node is now', () => {
    const mirror = mirrorOf(ROUTER_AND_SYNC);
    mirror.apply({ daemons: [daemon('AUTO_SYNC', { state: 'FAILED' })] });
    expect(graphReport(mirror).nodes.map(({ state }) => state)).to.deep.equal(['RUNNING', 'FAILED', 'RUNNING']);
  });
});

describe('the picture', () => {
  it('keeps a bounded part of the journal, the newest', () => {
    const mirror = mirrorOf(ROUTER_AND_SYNC);
    for (let seq = 1; seq <= HISTORY_KEPT * 3; seq++) mirror.apply({ history: [entry(seq)] });
    expect(mirror.history.length).to.be.within(HISTORY_KEPT, HISTORY_KEPT * 1.25);
    expect(mirror.history.at(-1)?.seq).to.equal(HISTORY_KEPT * 3);
  });

  it('drops daemons that a new fleet no longer has', () => {
    const mirror = mirrorOf(ROUTER_AND_SYNC);
    mirror.apply({ graph: graphOf([daemon('EVENT_ROUTER')]) });
    expect([...mirror.daemons()].map(({ type }) => type)).to.deep.equal(['EVENT_ROUTER']);
  });
});

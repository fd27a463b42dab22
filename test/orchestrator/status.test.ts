import { expect } from 'chai';
import { healthy } from '../../src/health/verdict.ts';
import { Core } from '../../src/orchestrator/core.ts';
import { statusOf } from '../../src/orchestrator/status.ts';
import { fleetOf } from '../support/fleets.ts';

const WALL_MS = Date.UTC(2026, 10, 24, 12, 0, 0);

describe('The status of a daemon', () => {
  it('dates its evidence: a reading of the monotonic clock means nothing to another program', () => {
    const core = new Core({ fleet: fleetOf({ A: [] }), priority: new Map() });
    const stamp = { at: 90_000, wallMs: WALL_MS };
    core.handle({ ...stamp, kind: 'boot' });
    core.handle({ ...stamp, kind: 'start-begun', daemon: 'A', generation: 1 });
    core.handle({ ...stamp, kind: 'ready', daemon: 'A', generation: 1 });
    const status = statusOf(core, core.get('A')!, {
      ...{ at: 100_000, wallMs: WALL_MS + 10_000, leakedPromises: 0, processes: [] },
      health: { health: healthy({ lastProgressAt: 95_000, cycles: 3 }), wallMs: WALL_MS + 9_000 },
    });
    expect(status.state).to.equal('RUNNING');
    expect(status.health.details).to.deep.equal({ cycles: 3, lastProgressAt: '2026-11-24T12:00:05.000Z' });
  });

  it('counts the restarts of the last hour, and none that a clock since set back dates in the future', () => {
    const core = new Core({ fleet: fleetOf({ A: [] }), priority: new Map() });
    core.get('A')!.restartTimes = [-4_000_000, -3_000_000, -5_000].map((ms) => WALL_MS + ms);
    const restartsAt = (wallMs: number): number =>
      statusOf(core, core.get('A')!, { at: 1, wallMs, health: null, leakedPromises: 0, processes: [] })
        .restartsLastHour;
    expect(restartsAt(WALL_MS)).to.equal(2);
    expect(restartsAt(WALL_MS - 60_000)).to.equal(1);
    expect(restartsAt(WALL_MS - 365 * 86_400_000)).to.equal(0);
  });
});

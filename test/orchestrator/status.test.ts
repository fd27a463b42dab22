import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { healthy } from '../../src/health/verdict.ts';
import { Core } from '../../src/orchestrator/core.ts';
import { statusOf } from '../../src/orchestrator/status.ts';
import { realSpawner } from '../../src/seams/real-spawner.ts';
import { supervised } from '../runtimes/support.ts';
import { fleetOf } from '../support/fleets.ts';

const WALL_MS = Date.UTC(2026, 10, 24, 12, 0, 0);

describe('The view that daemons have of each other', () => {
  it('tells of each process on record whether the kernel still has it', async () => {
    const spawner = realSpawner({ instance: 'view' });
    const folder = mkdtempSync(join(tmpdir(), 'ml-view-'));
    const child = await spawner.spawn({ command: ['sleep', '60'], cwd: folder, outputFile: join(folder, 'out.log') });
    const { pid } = child.identity;
    const { supervisor } = supervised(
      { A: { create: () => ({}) } },
      { processesOf: () => [{ name: 'node', pid, isGone: () => child.groupIsGone() }] },
    );
    const isAlive = (): boolean | undefined => supervisor.members()[0]?.processes[0]?.isAlive();
    expect(isAlive()).to.equal(true);
    child.signalGroup('SIGKILL');
    await child.exited;
    expect(isAlive()).to.equal(false);
    expect(supervisor.statusOf('A')?.processes).to.deep.equal([{ name: 'node', pid }]);
    supervisor.dispose();
    rmSync(folder, { recursive: true });
  });
});

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

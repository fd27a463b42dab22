import { expect } from 'chai';
import { daemonWatchdog } from '../../../src/daemons/health/daemon-watchdog.ts';
import type { FleetMember } from '../../../src/daemons/definition.ts';
import { healthy } from '../../../src/health/verdict.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';

const TYPE = 'DAEMON_WATCHDOG';

describe(TYPE, function () {
  this.timeout(30_000);
  let bench: DaemonBench;
  let lagMs: number;
  let lags: () => number;
  /** What the fleet says of its one other daemon. */
  let member: FleetMember;
  const said = (): string[] =>
    bench.reported.map(({ daemon, evidence }) => `${daemon} ${evidence.status} ${evidence.message}`.trim());
  const looked = (times: number): Promise<unknown> => bench.cycles(TYPE, times);

  beforeEach(async () => {
    lagMs = 0;
    lags = () => lagMs;
    member = {
      ...{ type: 'SUSPECT', state: 'RUNNING', wanted: 'up', generation: 1, health: healthy(), readyAt: 1 },
      ...{ lastHeartbeatAt: null, movedAt: null, cycles: [], processes: [] },
    };
    bench = await openBench({ members: () => [member], lagMs: () => lags() });
    await bench.start(daemonWatchdog, { periodSeconds: 0.05, silentSeconds: 600 });
  });
  afterEach(() => bench.close());

  it('a process that is recorded and gone is told at the second look, and taken back when it is there again', async () => {
    await looked(2);
    expect(said()).to.deep.equal([]);
    member = { ...member, processes: [{ name: 'node-1', pid: 4711, isAlive: () => false }] };
    await bench.until('it is told', () => said()[0]);
    expect(said()[0]).to.equal('SUSPECT unhealthy DAEMON_WATCHDOG: RUNNING, but its process node-1 (pid 4711) is gone');
    expect(bench.health(TYPE).details).to.include({ contradictions: 1 });
    member = { ...member, processes: [{ name: 'node-1', pid: 4712, isAlive: () => true }] };
    await bench.until('it is taken back', () => said().at(-1) === 'SUSPECT healthy');
    const { length } = said();
    await looked(3);
    expect(said()).to.have.length(length);
    expect(bench.health(TYPE).details).to.include({ contradictions: 0 });
  });

  it('work under way without any sign of life is told, though the time it names is another at each look', async () => {
    member = { ...member, movedAt: bench.clock.monotonicMs() - 700_000 };
    await bench.until('it is told', () => said()[0]);
    expect(said()[0]).to.match(/^SUSPECT unhealthy .* what it has under way gave no sign of life for 700 s$/);
  });

  it('a daemon that beat once, long ago, and has nothing under way is left alone', async () => {
    member = { ...member, lastHeartbeatAt: bench.clock.monotonicMs() - 700_000 };
    await looked(4);
    expect(said()).to.deep.equal([]);
  });

  it('RUNNING without having been ready contradicts itself', async () => {
    member = { ...member, readyAt: null };
    await bench.until('it is told', () => said()[0]);
    expect(said()[0]).to.equal('SUSPECT unhealthy DAEMON_WATCHDOG: RUNNING without having been ready');
  });

  it('the same thing seen of two starts, or of one that runs no more, is not seen twice', async () => {
    let generation = 1;
    const gone = [{ name: 'node-1', pid: 4711, isAlive: () => false }];
    const before = bench.exits.length;
    Object.defineProperty(member, 'generation', { get: () => generation++ });
    Object.defineProperty(member, 'processes', { get: () => gone });
    await looked(4);
    expect(said()).to.deep.equal([]);
    member = { ...member, generation: 99, state: 'STOPPING' };
    await looked(4);
    expect(said()).to.deep.equal([]);
    expect(bench.exits).to.have.length(before);
  });

  it('a master whose loop lags is no reason to doubt its daemons', async () => {
    lagMs = 5_000;
    member = { ...member, readyAt: null };
    await looked(4);
    expect(said()).to.deep.equal([]);
    expect(bench.health(TYPE)).to.deep.include({ status: 'degraded', message: "the supervisor's loop lags 5000 ms" });
    lagMs = 0;
    await bench.until('it is told when it lags no more', () => said()[0]);
  });

  it('what was suspected before a lag is not believed at the look after it', async () => {
    let look = 0;
    lags = () => (look++ % 2 === 0 ? 5_000 : 0);
    member = { ...member, readyAt: null };
    await looked(8);
    expect(said()).to.deep.equal([]);
  });
});

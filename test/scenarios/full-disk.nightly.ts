/**
 * The bundled fleet on a disk that fills up, stays full for longer than any restart budget lasts, and gets room again. On a
 * real small disk, which takes root to mount: so it runs at night, not with the tests.
 */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { bundledFleet } from '../../src/operations/cli/fleet-file.ts';
import { LiveMaster, until } from './live-master.ts';

/** The fleet fills it within half a minute. */
const SMALL = 'size=24m';
const LARGE = 'size=400m';
/** Five restarts take 31 s, and what leads to each of them some seconds. */
const FULL_SECONDS = 120;

describe('The bundled fleet on a disk that is full', function () {
  this.timeout(300_000);
  const fleet = readFileSync(bundledFleet(), 'utf8');
  const master = new LiveMaster(fleet, {}, { RINGRIFT_JOB_SCHEDULER_PORT: '0', RINGRIFT_DATA_SERVER_PORT: '0' });

  before(() => execFileSync('mount', ['-t', 'tmpfs', '-o', SMALL, 'tmpfs', master.dataDir]));
  after(async () => {
    master.signal('SIGTERM');
    await master.ended();
    execFileSync('umount', ['--lazy', master.dataDir]);
    await master.dispose();
  });

  const restarted = async (): Promise<string[]> =>
    (await master.status()).daemons
      .filter(({ state, generation }) => state !== 'RUNNING' || generation !== 1)
      .map(({ type, state, generation, reason }) => `${type} ${state} ${generation}: ${reason ?? ''}`);

  it('is degraded, says so, restarts nobody, and goes on without loss when there is room', async () => {
    await master.start();
    await until(
      'the router cannot store',
      async () => (await master.daemon('EVENT_ROUTER')).health.message.includes('disk is full'),
      120_000,
    );
    for (let second = 0; second < FULL_SECONDS; second++) {
      expect(await restarted()).to.deep.equal([]);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    expect((await master.status()).verdict).to.equal('degraded');
    execFileSync('mount', ['-o', `remount,${LARGE}`, master.dataDir]);
    await until('it is ready again', async () => (await master.status()).verdict === 'ready', 60_000);
    expect(await restarted()).to.deep.equal([]);
    expect((await master.run('events', 'audit')).out).to.include('nothing is lost');
    const promoted = (): number => master.log().split(' is the champion of ').length;
    const before = promoted();
    await until('a model is promoted', () => promoted() > before, 120_000);
  });
});

import { expect } from 'chai';
import { z } from 'zod';
import { crossProcessPoller } from '../../src/daemons/event/cross-process-poller.ts';
import { daemonsWith, type DaemonProcess } from '../../src/daemons/definition.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import type { Floor } from '../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../support/daemon-bench.ts';

/** Keeps one child that survives and one that does not, and writes what it is told to the floor. */
const keeper = daemonsWith<Floor>()({
  type: 'KEEPER',
  purpose: 'stands in for daemons with children',
  category: 'test',
  publishes: ['CLUSTER_CAPACITY_CHANGED'],
  subscribes: ['SYNC_REQUEST'],
  config: z.strictObject({ periodSeconds: z.number().default(60), refuse: z.boolean().default(false) }),
  quick: { periodSeconds: 0.05 },
  create({ config, spawn, spawned, publish, capacity, generation }) {
    const command = [process.execPath, '-e', 'setInterval(() => {}, 1000)'];
    return {
      async start() {
        if (config.refuse) throw new Error('cannot start: told to refuse');
        if (spawned().length === 0) await spawn({ name: 'stays', command, survives: true });
        await spawn({ name: 'goes', command });
      },
      on: {
        SYNC_REQUEST: async ({ body }) => {
          await capacity.advise({ wanted: 7, reason: body.reason });
          await publish(
            'CLUSTER_CAPACITY_CHANGED',
            { live: generation, cpus: 0, gamesPerMinute: 0 },
            { id: body.reason },
          );
        },
      },
      every: { periodSeconds: config.periodSeconds, run: () => capacity.spend().then(() => undefined) },
    };
  },
});

describe('the bench for daemons', () => {
  let bench: DaemonBench;
  const pidOf = (name: string): number | undefined =>
    bench.processes.live('KEEPER').find((child: DaemonProcess) => child.name === name)?.process.identity.pid;
  const request = (reason: string) => bench.publish('SYNC_REQUEST', { nodeId: null, config: null, reason });

  beforeEach(async () => {
    bench = await openBench({ definitions: [keeper] });
  });
  afterEach(() => bench.close());

  it('a start runs on the quick values, with the floor, events and cycles of the real runtime', async () => {
    await bench.start(keeper);
    await request('first');
    expect((await bench.waitFor('CLUSTER_CAPACITY_CHANGED')).body.live).to.equal(1);
    expect(await bench.floor.capacity.advice()).to.include({ wanted: 7, reason: 'first' });
    await bench.until('its cycle ran', () => Number(bench.health('KEEPER').details.cycles) > 2);
    await bench.stop('KEEPER', { full: true });
    expect(bench.left()).to.deep.equal([]);
    expect(bench.exits).to.deep.equal([{ type: 'KEEPER', generation: 1, failure: null, forced: false }]);
  });

  it('a kill leaves the child that survives, and what is published meanwhile waits for the next start', async () => {
    await bench.start(keeper);
    const [stays, goes] = [pidOf('stays'), pidOf('goes')];
    await bench.kill('KEEPER');
    expect(bench.left()).to.have.length(1);
    await request('second');
    await bench.start(keeper);
    expect((await bench.waitFor('CLUSTER_CAPACITY_CHANGED')).body.live).to.equal(2);
    expect(pidOf('stays')).to.equal(stays);
    expect(pidOf('goes')).not.to.equal(goes);
  });

  it('a start that fails rejects with its reason and leaves nothing', async () => {
    const thrown = await bench.start(keeper, { refuse: true }).then(
      () => null,
      (error: Error) => error.message,
    );
    expect(thrown).to.equal('cannot start: told to refuse');
    expect(bench.left()).to.deep.equal([]);
  });

  it('a wait that runs out names what was seen', async () => {
    await request('nobody listens');
    await bench.waitFor('SYNC_REQUEST');
    const thrown = await bench
      .waitFor('SYNC_REQUEST', (body) => body.reason === 'another', 20)
      .then(
        () => '',
        (error: Error) => error.message,
      );
    expect(thrown).to.include('"reason":"nobody listens"').and.to.include('SYNC_REQUEST x1');
  });

  it('a daemon of the fleet gets the services of the master', async () => {
    await bench.start(crossProcessPoller, { periodSeconds: 0.05 });
    const event = { topic: 'QUALITY_CHECK_REQUESTED', body: { config: null } };
    realFileSystem().makeFolder(`${bench.dataDir}/inbox`);
    realFileSystem().writeAtomically(`${bench.dataDir}/inbox/one.json`, JSON.stringify(event));
    expect((await bench.waitFor('QUALITY_CHECK_REQUESTED')).source).to.equal('external:inbox');
  });
});

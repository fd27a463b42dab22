import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeConfig } from '../../../src/training/programs/protocol.ts';
import { localProvider } from '../../../src/training/providers/local.ts';
import { rejectionOf } from '../stores/support.ts';
import { ANNOUNCING, nodeRow, programOf, testWorld, type TestWorld } from './support.ts';

const SETTINGS = { kinds: ['selfplay' as const], seed: 7, startMs: 10_000, nice: 10 };

describe('a node on this machine', function () {
  this.timeout(20_000);
  let world: TestWorld;
  beforeEach(() => (world = testWorld()));
  afterEach(() => world.close());

  it('is started with its configuration, announces itself, and is ended with proof', async () => {
    const provider = localProvider(world, programOf(ANNOUNCING));
    const node = nodeRow(world);
    const announced = await provider.start(node, SETTINGS);
    expect(announced).to.include({ nodeId: 'local-1', runId: 'local-1-r1' });
    const config = nodeConfig.parse(JSON.parse(readFileSync(join(node.folder, 'config.json'), 'utf8')));
    expect(config).to.include({ endpointsFile: world.endpointsFile, pool: 'local', seed: 7, idlePollMs: 500 });
    expect(await provider.alive(node)).to.equal(true);
    await provider.stop(node, 1000);
    expect(await provider.alive(node)).to.equal(false);
    await provider.stop(node, 1000);
  });

  it('that runs already is found again by the next start of its daemon', async () => {
    const node = nodeRow(world);
    const first = await localProvider(world, programOf(ANNOUNCING)).start(node, SETTINGS);
    expect(await localProvider(world, programOf('throw 1')).start(node, SETTINGS)).to.deep.equal(first);
    expect(world.spawned()).to.have.length(1);
  });

  it('gives way to its next run: one process in one folder', async () => {
    const provider = localProvider(world, programOf(ANNOUNCING));
    const first = await provider.start(nodeRow(world), SETTINGS);
    const second = await provider.start(nodeRow(world, { runId: 'local-1-r2' }), SETTINGS);
    expect(second.pid).to.not.equal(first.pid);
    expect(world.spawned().map(({ process }) => process.identity.pid)).to.deep.equal([second.pid]);
  });

  it('that exits, or says nothing in time, is a failed start and leaves no process', async () => {
    const crash = localProvider(world, programOf('process.exit(3)')).start(nodeRow(world), SETTINGS);
    expect((await rejectionOf('NODE_NOT_STARTED', crash)).message).to.contain('it exited with code 3');
    const silent = localProvider(world, programOf('setInterval(() => {}, 1000)'));
    const fault = await rejectionOf('NODE_NOT_STARTED', silent.start(nodeRow(world), { ...SETTINGS, startMs: 300 }));
    expect(fault.message).to.contain('nothing was heard of it for 0.3 s');
    expect(fault.remedy).to.contain('keeps its games');
    expect(world.spawned()).to.deep.equal([]);
  });

  it('with an announcement of an older run, or a damaged one, has not announced itself', async () => {
    const older = ANNOUNCING.replace('nodeId, runId, pid', "nodeId, runId: 'local-1-r0', pid");
    const damaged = ANNOUNCING.replace('JSON.stringify(announcement)', "'half a fi'");
    for (const source of [older, damaged])
      await rejectionOf(
        'NODE_NOT_STARTED',
        localProvider(world, programOf(source)).start(nodeRow(world), { ...SETTINGS, startMs: 500 }),
      );
  });
});

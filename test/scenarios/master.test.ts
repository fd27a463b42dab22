import { expect } from 'chai';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { holderPath } from '../../src/journal/holder.ts';
import { LiveMaster, marked, until } from './live-master.ts';

const CHILDREN = {
  'survivor.js': `export default { type: 'SURVIVOR', purpose: 'keeps a child over restarts', create: ({ spawn, spawned }) => ({
    async start() { if (spawned().length === 0) await spawn({ name: 'kept', command: ['sleep', '1000'], survives: true }); } }) };`,
  'mortal.js': `export default { type: 'MORTAL', purpose: 'has a child of its own', create: ({ spawn }) => ({
    async start() { await spawn({ name: 'own', command: ['sleep', '1000'] }); } }) };`,
  'broken.js': `import { existsSync } from 'node:fs';
    export default { type: 'BROKEN', purpose: 'fails until a file is there', create: () => ({
      start() { if (!existsSync(new URL('./mended', import.meta.url))) throw new Error('the database is locked'); } }) };`,
  'holder.js': `import { existsSync } from 'node:fs';
    export default { type: 'HOLDER', purpose: 'holds the loop when told to', create: () => ({
      every: { periodSeconds: 0.1, run() {
        if (!existsSync(new URL('./hold', import.meta.url))) return;
        const until = Date.now() + 20_000;
        while (Date.now() < until && existsSync(new URL('./hold', import.meta.url)));
      } } }) };`,
};
const FLEET = `version: 1
name: live
defaults: { restart: { delaysSeconds: [0.1, 0.2], maxRestarts: 2, stableSeconds: 300 } }
daemons:
  EVENT_ROUTER: { uses: event-router }
  SURVIVOR: { module: ./survivor.js, dependsOn: [EVENT_ROUTER] }
  MORTAL: { module: ./mortal.js, dependsOn: [SURVIVOR] }
  BROKEN: { module: ./broken.js, critical: true }
  HOLDER: { module: ./holder.js }
`;

describe('A master on its data directory', function () {
  this.timeout(60_000);
  let master: LiveMaster;

  beforeEach(async () => {
    master = new LiveMaster(FLEET, CHILDREN);
    await master.start();
    await master.untilState('MORTAL', 'RUNNING');
  });
  afterEach(() => master.dispose());

  it('killed with SIGKILL: the next start adopts what survives, ends the rest, and keeps counters and FAILED', async () => {
    const failed = await master.untilState('BROKEN', 'FAILED');
    const [kept] = (await master.daemon('SURVIVOR')).processes;
    const [own] = (await master.daemon('MORTAL')).processes;
    expect(master.children()).to.have.members([kept?.pid, own?.pid]);

    await master.kill9();
    expect(master.children(), 'children outlive the master').to.have.members([kept?.pid, own?.pid]);

    await master.start();
    await master.untilState('MORTAL', 'RUNNING');
    const survivor = await master.daemon('SURVIVOR');
    const mortal = await master.daemon('MORTAL');
    expect(survivor.processes.map(({ pid }) => pid)).to.deep.equal([kept?.pid]);
    expect(mortal.processes.map(({ pid }) => pid)).to.not.include(own?.pid);
    expect(master.children()).to.have.members([kept?.pid, mortal.processes[0]?.pid]);
    const after = await master.daemon('BROKEN');
    expect(after).to.include({ state: 'FAILED', restartCount: failed.restartCount, generation: failed.generation });
    expect(survivor.generation).to.equal(2);
  });

  it('whose directory is removed: everything it started ends, and so does it, with exit 1', async () => {
    const children = master.children();
    const instance = master.instance();
    expect(children).to.have.length(2);
    rmSync(master.dataDir, { recursive: true });
    expect(await master.ended()).to.equal(1);
    expect(master.printed()).to.match(/CRITICAL .* was taken away from this master: its lock is gone/);
    expect(marked(instance)).to.deep.equal([]);
  });

  it('asked for a second time: exit 5, naming the holder, and the first is not disturbed', async () => {
    const second = await master.run('--fleet', master.path('fleet.yaml'), '--port', '0');
    expect(second.code).to.equal(5);
    expect(second.err).to.include(`pid ${master.pid}`);
    expect((await master.daemon('MORTAL')).state).to.equal('RUNNING');
  });

  it('with a daemon whose restarts are spent: 503, a cause on one screen, and a reset that brings it back', async () => {
    await master.untilState('BROKEN', 'FAILED');
    expect((await master.get('/health')).status).to.equal(503);
    expect((await master.get('/ready')).body).to.deep.include({ ready: false, notReady: ['BROKEN'] });
    const why = await master.run('why', 'BROKEN');
    expect(why.out).to.include('the database is locked').and.to.include('master_loop reset BROKEN');
    expect(why.out.split('\n').length).to.be.below(24);

    writeFileSync(master.path('mended'), '');
    const reset = await master.run('reset', 'BROKEN');
    expect(reset).to.include({ code: 0 });
    await master.untilState('BROKEN', 'RUNNING');
    expect((await master.get('/health')).status).to.equal(200);
    expect((await master.run('start', 'BROKEN')).code, 'a following start is a no-op that succeeds').to.equal(0);
  });

  it('whose main loop is held: health answers, says so and names the holder, and so does the journal', async () => {
    writeFileSync(master.path('hold'), '');
    const { port } = await master.status();
    const stalled = await until('health says that the loop is stalled', async () => {
      const response = await fetch(`http://127.0.0.1:${port}/health`);
      const body = (await response.json()) as { status: string; heldBy?: string };
      return body.status === 'engine_stalled' ? { code: response.status, ...body } : null;
    });
    expect(stalled).to.include({ code: 503, heldBy: 'HOLDER' });
    expect((await master.run('why', 'SURVIVOR')).out).to.include('held by HOLDER');
    const refused = await master.run('restart', 'SURVIVOR');
    expect(refused.code).to.equal(1);
    await master.run('status');

    rmSync(master.path('hold'));
    await until('the journal names the holder', async () =>
      /stall: the main loop was held for .* by HOLDER/.test((await master.run('history', 'HOLDER')).out),
    );
    expect((await master.daemon('SURVIVOR')).generation, 'a withdrawn restart never happens').to.equal(1);
  });

  it('recovers everything: nothing is left between stop and start, and all that may run runs', async () => {
    writeFileSync(master.path('mended'), '');
    const before = master.children();
    const recover = await master.run('recover', '--drain-seconds', '0.5');
    expect(recover, recover.err).to.include({ code: 0 });
    expect(recover.out).to.match(
      /^recover: recovered in [\d.]+ s \(stopping .* s, proving .* s, draining 0\.5 s, starting .* s\)\n$/,
    );
    await master.untilState('MORTAL', 'RUNNING');
    await master.untilState('BROKEN', 'RUNNING');
    const after = master.children();
    expect(
      after.filter((pid) => before.includes(pid)),
      'even survivors end with a full stop',
    ).to.deep.equal([]);
    expect(after).to.have.length(2);
    const history = (await master.run('history')).out;
    expect(history).to.match(/recover proving[\s\S]*recover draining[\s\S]*recover starting[\s\S]*recover done/);
  });

  it('killed in the middle of a recovery: the next start goes on with it', async () => {
    const asked = master.run('recover', '--drain-seconds', '30');
    await until('the drain has begun', async () => (await master.status()).operation?.phase === 'draining');
    await master.kill9();
    await asked;
    const status = await master.start();
    expect(status.operation).to.include({ verb: 'recover', resumed: true });
    expect(master.children()).to.deep.equal([]);
    expect((await master.get('/ready')).body).to.include({ ready: false });
  });

  for (const [how, stop] of [
    ['SIGTERM', async (): Promise<void> => master.signal('SIGTERM')],
    ['SIGINT', async (): Promise<void> => master.signal('SIGINT')],
    [
      'launch_daemons --stop-all',
      async (): Promise<void> => {
        expect((await master.launch('--stop-all')).out, 'the answer comes before the end').to.match(
          /^shutdown: stopped in [\d.]+ s /,
        );
        expect(existsSync(holderPath(master.dataDir)), 'the data directory is given back').to.equal(false);
      },
    ],
  ] as const) {
    it(`stopped by ${how}: exit 0, every child is gone, and the next start wants the same`, async () => {
      await stop();
      expect(await master.ended()).to.equal(0);
      expect(master.children()).to.deep.equal([]);
      expect((await master.run('status')).code).to.equal(3);
      await master.start();
      await master.untilState('MORTAL', 'RUNNING');
    });
  }

  it('told another log level: says which it was, and logs by the new one', async () => {
    expect((await master.run('log-level', 'DEBUG')).out).to.equal('log level DEBUG (was INFO)\n');
    expect((await master.run('log-level', 'INFO')).out).to.equal('log level INFO (was DEBUG)\n');
    expect(master.log())
      .to.match(/ DEBUG /)
      .and.to.include('log level INFO → DEBUG, by an operator');
  });

  it('keeps an operator’s stop over its own restart, until the profile is started', async () => {
    expect((await master.run('stop', 'SURVIVOR')).code).to.equal(0);
    expect((await master.daemon('MORTAL')).state, 'stops leaf first and waits').to.equal('WAITING');
    await master.kill9();
    await master.start();
    const stopped = await master.daemon('SURVIVOR');
    expect(stopped).to.include({ state: 'STOPPED', wanted: 'down' });
    expect(master.children(), 'an unwanted survivor is ended').to.deep.equal([]);

    writeFileSync(master.path('mended'), '');
    const all = await master.launch('--all');
    expect(all.out + all.err)
      .to.include('SURVIVOR')
      .and.to.include('start the whole profile: done');
    await master.untilState('MORTAL', 'RUNNING');
  });
});

describe('A master that is told to end while it starts', function () {
  this.timeout(60_000);

  it('stops everything in order and exits 0, however often it is told', async () => {
    const master = new LiveMaster(FLEET, CHILDREN);
    try {
      master.launchLoop();
      // It has the directory and nothing else: the server answers later, the first daemon starts later still.
      await until('the master holds its directory', () => existsSync(master.path('d', 'run', 'holder.json')));
      master.signal('SIGTERM');
      master.signal('SIGHUP');
      expect(await master.ended(), master.printed()).to.equal(0);
      expect(master.log()).to.include('everything is stopped');
      expect(master.children()).to.deep.equal([]);
      expect(existsSync(master.path('d', 'run', 'control.sock'))).to.equal(false);
    } finally {
      await master.dispose();
    }
  });
});

describe('A master whose fleet has a daemon of the user’s own with the name of a built-in', function () {
  this.timeout(60_000);

  it('opens no training floor for it', async () => {
    const master = new LiveMaster('version: 1\nname: own\ndaemons:\n  AUTO_SYNC: { module: ./own.js }\n', {
      'own.js': `export default { type: 'AUTO_SYNC', purpose: 'syncs something else', create: () => ({}) };`,
    });
    try {
      await master.start();
      await master.untilState('AUTO_SYNC', 'RUNNING');
      expect(existsSync(master.path('d', 'floor'))).to.equal(false);
    } finally {
      await master.dispose();
    }
  });
});

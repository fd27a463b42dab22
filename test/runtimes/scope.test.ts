import { expect } from 'chai';
import { EventEmitter } from 'node:events';
import { createServer, type Server } from 'node:http';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { interval } from 'rxjs';
import type { ChildProcesses } from '../../src/runtimes/in-process.ts';
import { healthy } from '../../src/health/verdict.ts';
import { openProcessRecords } from '../../src/orchestrator/process-records.ts';
import { seededRandom } from '../../src/seams/random.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
import { simulatedFileSystem } from '../../src/simulation/simulated-file-system.ts';
import { simulatedProcesses } from '../../src/simulation/simulated-spawner.ts';
import { bareRuntime, closeAttributions, codeOf, never, until, type Context } from './support.ts';

/** What is open in this process, by kind: timers, servers, sockets. */
const openNow = (): string[] => process.getActiveResourcesInfo().sort();

/** How often signals were joined while `work` ran: each join leaves something with the older of the two. */
const joinsOf = async (work: () => Promise<unknown>): Promise<number> => {
  const { any } = AbortSignal;
  let joins = 0;
  AbortSignal.any = (signals) => {
    joins++;
    return any.call(AbortSignal, signals);
  };
  await work().finally(() => (AbortSignal.any = any));
  return joins;
};

const processesOn = (clock: ReturnType<typeof simulatedClock>) => {
  const world = simulatedProcesses({ clock, script: () => ({ onTerm: 50 }) });
  const records = openProcessRecords({
    files: simulatedFileSystem({ clock }),
    spawner: world.spawner({ instance: 'test' }),
    clock,
    random: seededRandom(3),
    folder: '/data/run',
    instance: 'test',
    placeOf: (daemon, name) => ({ cwd: `/data/${daemon}/${name}`, outputFile: `/data/logs/${name}.log` }),
  });
  return { world, records: records as ChildProcesses };
};

afterEach(closeAttributions);

describe('A scope: what an ended start may do', () => {
  const ENDS = {
    'is stopped': (runtime: ReturnType<typeof bareRuntime>['runtime']) => runtime.stop('A', 1, false),
    'is killed': (runtime: ReturnType<typeof bareRuntime>['runtime']) => runtime.kill('A', 1, false),
  };
  for (const [title, end] of Object.entries(ENDS)) {
    it(`every function of its context throws SCOPE_CLOSED once it ${title}`, async () => {
      const clock = simulatedClock();
      const { records } = processesOn(clock);
      let context!: Context;
      const { runtime, reports } = bareRuntime(
        {
          A: {
            create: (given) => {
              context = given;
              return {};
            },
          },
        },
        { clock, files: simulatedFileSystem({ clock }), processes: records, services: {} },
      );
      runtime.launch('A', 1);
      const { clock: time, random, log, files, network, fleet, spawn, spawned, endProcess, own, ready } = context;
      const { publish, heartbeat, fail } = context as unknown as {
        publish: (name: string, body: unknown) => unknown;
        heartbeat: () => void;
        fail: (error: unknown) => void;
      };
      const file = files.openAppend('/a.log');
      const child = await spawn({ name: 'child', command: ['x'] });
      const fork = random.fork('x');
      end(runtime);
      for (let turn = 0; turn < 40 && reports.length < 2; turn++) await clock.advance(10);
      expect(reports.at(-1)).to.match(/^A 1 (ended|killed)$/);

      const calls: Record<string, () => unknown> = {
        'clock.monotonicMs': () => time.monotonicMs(),
        'clock.wallMs': () => time.wallMs(),
        'clock.since': () => time.since(0),
        'clock.after': () => time.after(1, () => undefined),
        'clock.every': () => time.every(1, () => undefined),
        'clock.sleep': () => time.sleep(1),
        'clock.soon': () => time.soon(() => undefined),
        'clock.scheduler': () => time.scheduler.schedule(() => undefined, 1),
        'random.uniform': () => random.uniform(),
        'random.integer': () => random.integer(3),
        'random.uuid': () => random.uuid(),
        'random.fork': () => random.fork('y'),
        'a forked random': () => fork.uniform(),
        'log.debug': () => log.debug('x'),
        'log.info': () => log.info('x'),
        'log.warn': () => log.warn('x'),
        'log.error': () => log.error('x'),
        'files.exists': () => files.exists('/a.log'),
        'files.openAppend': () => files.openAppend('/b.log'),
        'files.writeAtomically': () => files.writeAtomically('/b', 'x'),
        'an opened file': () => file.append(new Uint8Array(1)),
        'network.request': () => network.request({ url: 'http://127.0.0.1:1/', timeoutMs: 10 }),
        'network.connect': () => network.connect('127.0.0.1', 1, 10),
        'network.freePort': () => network.freePort(),
        'fleet.daemons': () => fleet.daemons(),
        'fleet.master': () => fleet.master(),
        'fleet.ask': () => fleet.ask('restart', 'B', 'why not'),
        'fleet.report': () => fleet.report('B', healthy()),
        publish: () => publish('X', {}),
        spawn: () => spawn({ name: 'other', command: ['x'] }),
        spawned: () => spawned(),
        endProcess: () => endProcess(child),
        'a child process': () => child.process.signalGroup('SIGTERM'),
        own: () => own({ close: () => undefined }, 'thing'),
        ready: () => ready(),
        heartbeat: () => heartbeat(),
      };
      const codes = Object.fromEntries(
        await Promise.all(Object.entries(calls).map(async ([name, call]) => [name, await codeOf(call)] as const)),
      );
      expect(codes).to.deep.equal(Object.fromEntries(Object.keys(calls).map((name) => [name, 'SCOPE_CLOSED'])));
      fail(new Error('too late'));
      expect(reports, 'a crash of an ended start').to.have.length(2);
      expect(clock.pending(), 'timers armed by refused calls').to.equal(0);
    });
  }

  it('what it waited for is rejected when it ends, so that its functions unwind', async () => {
    const unwound: string[] = [];
    const { runtime } = bareRuntime(
      {
        A: {
          create: (context) => ({
            async start() {
              const { slow } = context as unknown as { slow: { get(): Promise<void> } };
              context.clock.sleep(60_000).catch((error: { code: string }) => unwound.push(`sleep ${error.code}`));
              await slow.get().catch((error: { code: string }) => unwound.push(`service ${error.code}`));
            },
          }),
        },
      },
      { services: { slow: { get: never } } },
    );
    runtime.launch('A', 1);
    runtime.kill('A', 1, false);
    await until('unwound', () => unwound.length === 2);
    expect(unwound.sort()).to.deep.equal(['service SCOPE_CLOSED', 'sleep SCOPE_CLOSED']);
  });

  it('while it lives, a wait with its own signal joins nothing to it, and one with another signal ends with either', async () => {
    const clock = simulatedClock();
    let context!: Context;
    const { runtime } = bareRuntime({ A: { create: (given) => ((context = given), {}) } }, { clock });
    runtime.launch('A', 1);
    const { clock: time, signal } = context;
    const joins = await joinsOf(async () => {
      const slept = Promise.all([time.sleep(5), time.sleep(5, signal)]);
      await clock.advance(5);
      await slept;
    });
    expect(joins).to.equal(0);
    const own = new AbortController();
    const ended = time.sleep(60_000, own.signal).catch((error: Error) => error.message);
    own.abort(new Error('not needed any more'));
    expect(await ended).to.equal('not needed any more');
  });
});

describe('A scope: what an ended start leaves open', () => {
  for (const how of ['stop', 'kill'] as const) {
    it(`nothing after a ${how}: timers, servers, sockets, files and RxJS timers are closed`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'ml-scope-'));
      const asked: string[] = [];
      // Another process's server, as it were: it accepts and never answers.
      const silent: Server = createServer((request) => void asked.push(request.url ?? ''));
      const broken: string[] = [];
      silent.on('connection', (socket) => socket.on('close', () => broken.push('closed')));
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
      const { port } = silent.address() as AddressInfo;
      const before = openNow();
      let ownPort = 0;
      let ticks = 0;
      const { runtime, reports } = bareRuntime({
        A: {
          create: ({ clock, files, network, own }) => ({
            async start() {
              clock.every(5, () => ticks++);
              clock.after(60_000, () => undefined);
              interval(7, clock.scheduler).subscribe(() => ticks++);
              files.openAppend(join(folder, 'a.log')).append(Buffer.from('kept'));
              const server: TcpServer = createTcpServer();
              await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
              ownPort = (server.address() as AddressInfo).port;
              own(server, 'server');
              void network.request({ url: `http://127.0.0.1:${port}/never`, timeoutMs: 60_000 }).catch(() => undefined);
              void clock.sleep(60_000).catch(() => undefined);
            },
          }),
        },
      });
      runtime.launch('A', 1);
      await until('it is up and busy', () => reports.length === 1 && asked.length === 1 && ticks > 2);
      if (how === 'stop') runtime.stop('A', 1, false);
      else runtime.kill('A', 1, false);
      await until('it is gone', () => reports.length === 2);
      await until('the exchange is broken off', () => broken.length === 1);
      const ticked = ticks;
      await until('everything is closed', () => openNow().join() === before.join());
      expect(ticks).to.equal(ticked);
      expect(readFileSync(join(folder, 'a.log'), 'utf8')).to.equal('kept');
      const again = createTcpServer();
      await new Promise<void>((resolve, reject) => again.on('error', reject).listen(ownPort, '127.0.0.1', resolve));
      again.close();
      silent.closeAllConnections();
      silent.close();
      rmSync(folder, { recursive: true });
      expect(runtime.findLeft()).to.deep.equal([]);
    });
  }

  it('closes what it owned last-taken first, through the context if need be, and tells what could not be closed', async () => {
    const closed: string[] = [];
    const { runtime, logged } = bareRuntime({
      A: {
        create: ({ own, clock }) => ({
          start() {
            own({ close: () => closed.push('first') }, 'first');
            own(
              {
                close() {
                  throw new Error('stuck');
                },
              },
              'second',
            );
            own({ close: () => closed.push(`third at ${typeof clock.monotonicMs()}`) }, 'third');
          },
        }),
      },
    });
    runtime.launch('A', 1);
    runtime.kill('A', 1, false);
    await Promise.resolve();
    expect(closed).to.deep.equal(['third at number', 'first']);
    expect(logged).to.include('A: cannot close second: stuck');
  });

  it('is not gone before its closers have let go, and not kept by one that never does', async () => {
    const clock = simulatedClock();
    let letGo = (): void => undefined;
    const { runtime, reports, logged } = bareRuntime(
      {
        A: {
          create: ({ own }) => ({
            start: () => void own({ close: () => new Promise<void>((done) => (letGo = done)) }, 'port'),
          }),
        },
        B: { create: ({ own }) => ({ start: () => void own({ close: never }, 'port') }) },
      },
      { clock },
    );
    runtime.launch('A', 1);
    runtime.launch('B', 1);
    runtime.kill('A', 1, false);
    runtime.kill('B', 1, false);
    await clock.advance(900);
    expect(reports).to.deep.equal(['A 1 ready', 'B 1 ready']);
    letGo();
    await clock.settle();
    expect(reports.at(-1)).to.equal('A 1 killed');
    await clock.advance(200);
    expect(reports.at(-1)).to.equal('B 1 killed');
    expect(logged.join('\n')).to.include('B: cannot wait longer for what it owned to close');
    expect(clock.pending()).to.equal(0);
  });

  it('what comes too late to be owned is closed at once', async () => {
    let context!: Context;
    let open = true;
    const { runtime } = bareRuntime({
      A: {
        create: (given) => {
          context = given;
          return {};
        },
      },
    });
    runtime.launch('A', 1);
    const { own } = context;
    runtime.kill('A', 1, false);
    expect(await codeOf(() => own({ close: () => (open = false) }, 'late server'))).to.equal('SCOPE_CLOSED');
    expect(open).to.equal(false);
    // One that cannot be closed troubles nobody: a rejection that nobody heard would fail this run.
    const stubborn = { close: () => Promise.reject(new Error('not now')) };
    expect(await codeOf(() => own(stubborn, 'late thread'))).to.equal('SCOPE_CLOSED');
    await new Promise((resolve) => setImmediate(resolve));
  });

  it('its child processes are proven gone before it is reported gone', async () => {
    const clock = simulatedClock();
    const { world, records } = processesOn(clock);
    let exits: unknown = null;
    const { runtime, reports } = bareRuntime(
      {
        A: {
          create: ({ spawn, spawned, generation }) => ({
            async start() {
              const child = await spawn({ name: 'child', command: ['x'] });
              if (generation === 1) await spawn({ name: 'kept', command: ['x'], survives: true });
              else expect(spawned().map(({ name }) => name)).to.include('kept');
              child.process.exited.then(
                (exit) => (exits = exit),
                (error: { code: string }) => (exits = error.code),
              );
            },
          }),
        },
      },
      { clock, processes: records },
    );
    runtime.launch('A', 1);
    for (let turn = 0; turn < 20 && reports.length < 1; turn++) await clock.advance(5);
    expect(world.alive()).to.have.length(2);
    runtime.stop('A', 1, false);
    await clock.advance(20);
    expect(reports, 'while the child takes its time to end').to.deep.equal(['A 1 ready']);
    for (let turn = 0; turn < 40 && reports.length < 2; turn++) await clock.advance(5);
    expect(reports).to.deep.equal(['A 1 ready', 'A 1 ended']);
    expect(world.alive().map(({ spec }) => spec.outputFile)).to.deep.equal(['/data/logs/kept.log']);
    expect(exits, 'waiting for a process ends with the start').to.equal('SCOPE_CLOSED');

    runtime.launch('A', 2);
    for (let turn = 0; turn < 20 && reports.length < 3; turn++) await clock.advance(5);
    runtime.kill('A', 2, true);
    for (let turn = 0; turn < 40 && reports.length < 4; turn++) await clock.advance(5);
    expect(world.alive(), 'a full stop spares none').to.deep.equal([]);
  });

  it('a spawn that waited for its name until after the end leaves no process', async () => {
    const clock = simulatedClock();
    const { world, records } = processesOn(clock);
    const { runtime, reports } = bareRuntime(
      {
        A: {
          create: ({ spawn, endProcess }) => ({
            async start() {
              const child = await spawn({ name: 'child', command: ['x'] });
              void endProcess(child).catch(() => undefined);
              void spawn({ name: 'child', command: ['x'] }).catch(() => undefined); // waits until the first is gone
            },
          }),
        },
      },
      { clock, processes: records },
    );
    runtime.launch('A', 1);
    for (let turn = 0; turn < 20 && reports.length < 1; turn++) await clock.advance(1);
    runtime.kill('A', 1, false);
    await clock.advance(500);
    expect(reports.at(-1)).to.equal('A 1 killed');
    expect(world.alive()).to.deep.equal([]);
  });
});

describe('A scope: promises that never settle', () => {
  it('are counted as leaked, shown, and do not delay the next start', async () => {
    const emitter = new EventEmitter();
    let release = (): void => undefined;
    const { runtime, reports } = bareRuntime({
      A: {
        create: ({ generation, clock }) => ({
          async start() {
            if (generation > 1) return;
            await new Promise<void>((resolve) => (release = resolve));
            emitter.emit('resumed', await codeOf(() => clock.monotonicMs()));
          },
        }),
      },
    });
    runtime.launch('A', 1);
    runtime.kill('A', 1, false);
    expect(runtime.leakedOf('A')).to.equal(1);
    runtime.launch('A', 2);
    await until('the next start is ready', () => reports.length === 2);
    expect(reports).to.deep.equal(['A 1 killed', 'A 2 ready']);
    expect(runtime.leakedOf('A')).to.equal(1);
    const resumed = new Promise((resolve) => emitter.once('resumed', resolve));
    release();
    expect(await resumed, 'what the old start can still do').to.equal('SCOPE_CLOSED');
    await until('no longer leaked', () => runtime.leakedOf('A') === 0);
    expect(reports).to.have.length(2);
  });
});

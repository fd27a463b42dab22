import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OrchestratorError } from '../../src/errors.ts';
import {
  instanceOf,
  openProcessRecords,
  PROCESS_VARIABLE,
  type ChildExit,
  type ProcessRecord,
  type ProcessRecords,
} from '../../src/orchestrator/process-records.ts';
import { realClock } from '../../src/seams/clock.ts';
import { programCommand } from '../../src/seams/entry.ts';
import { seededRandom } from '../../src/seams/random.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { realSpawner } from '../../src/seams/real-spawner.ts';
import type { SpawnSpec } from '../../src/seams/spawner.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
import { simulatedFileSystem } from '../../src/simulation/simulated-file-system.ts';
import { simulatedProcesses, type Behaviour } from '../../src/simulation/simulated-spawner.ts';

const INSTANCE = 'test-records';
const PATH = '/data/run/processes.json';

/** A machine with one data directory, on which masters come and go. */
const world = (script: (spec: SpawnSpec) => Behaviour = () => ({})) => {
  const clock = simulatedClock();
  const files = simulatedFileSystem({ clock });
  const processes = simulatedProcesses({ clock, script });
  const troubles: OrchestratorError[] = [];
  let masters = 0;
  const master = () => {
    const spawner = processes.spawner({ instance: INSTANCE });
    const records = openProcessRecords({
      files,
      spawner,
      clock,
      random: seededRandom(++masters),
      folder: '/data/run',
      instance: INSTANCE,
      placeOf: (daemon, name) => ({ cwd: `/data/${daemon}/${name}`, outputFile: `/data/logs/${daemon}-${name}.log` }),
      onTrouble: (error) => troubles.push(error),
    });
    return { records, kill: () => spawner.detach() };
  };
  const recorded = (): ProcessRecord[] => (JSON.parse(files.readText(PATH)) as { records: ProcessRecord[] }).records;
  /** Awaits with time passing; the answer tells how much did. */
  const live = async <Result>(work: Promise<Result>): Promise<{ result: Result; tookMs: number }> => {
    const began = clock.monotonicMs();
    let settledAt = NaN;
    const mark = (): void => void (settledAt = clock.monotonicMs());
    work.then(mark, mark);
    for (let turn = 0; turn < 20_000 && Number.isNaN(settledAt); turn++) await clock.advance(5);
    return { result: await work, tookMs: settledAt - began };
  };
  return { clock, files, processes, troubles, master, recorded, live };
};

const NODE = { name: 'node-1', command: ['node', 'worker.js'] };
const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no error',
    (thrown: OrchestratorError) => thrown.code,
  );

describe('A child process of a daemon', () => {
  it('is on record before it runs, and with its identity after', async () => {
    const { clock, files, master, recorded, processes } = world((spec) => {
      const [intent] = recorded();
      expect(intent).to.include({ daemon: 'WORKERS', generation: 4, name: 'node-1', survives: false, identity: null });
      expect(spec.env).to.deep.equal({ COLOUR: 'green', [PROCESS_VARIABLE]: intent?.id });
      expect(spec).to.include({ cwd: '/data/WORKERS/node-1', outputFile: '/data/logs/WORKERS-node-1.log' });
      return {};
    });
    const { records } = master();
    const { process, record } = await records.spawn('WORKERS', 4, { ...NODE, env: { COLOUR: 'green' } });
    expect(record.identity).to.deep.equal(process.identity);
    await clock.advance(0);
    expect(recorded()).to.deep.equal([record]);
    expect(files.readText(PATH), 'values of the environment').to.not.include('green');
    expect(files.exists('/data/WORKERS/node-1')).to.equal(true);
    expect(processes.alive()).to.have.length(1);
  });

  it('is not started when it cannot be recorded', async () => {
    const { files, master, processes } = world();
    const { records } = master();
    files.refuseWritesAfter(10);
    let thrown: unknown;
    await records.spawn('WORKERS', 1, NODE).catch((error: unknown) => (thrown = error));
    expect((thrown as OrchestratorError).code).to.equal('PROCESS_NOT_RECORDED');
    expect((thrown as OrchestratorError).message).to.match(/^cannot start node-1 of WORKERS: .*ENOSPC/);
    expect(processes.alive()).to.deep.equal([]);
    files.grow();
    await records.spawn('WORKERS', 1, NODE);
    expect(processes.alive()).to.have.length(1);
  });

  it('that cannot be started leaves no record, and its name free', async () => {
    let refuse: string | undefined = 'EAGAIN';
    const { clock, master, recorded } = world(() => (refuse === undefined ? {} : { refuse }));
    const { records } = master();
    expect(await codeOf(records.spawn('WORKERS', 1, NODE))).to.equal('SPAWN_FAILED');
    await clock.advance(0);
    expect(recorded()).to.deep.equal([]);
    expect(records.left()).to.deep.equal([]);
    refuse = undefined;
    expect(await codeOf(records.spawn('WORKERS', 1, NODE))).to.equal('no error');
  });

  it('has its name for itself, under its daemon, until it is proven gone', async () => {
    const { master, live } = world(() => ({ onTerm: 300 }));
    const { records } = master();
    const first = await records.spawn('WORKERS', 1, NODE);
    expect(await codeOf(records.spawn('WORKERS', 2, NODE))).to.equal('PROCESS_EXISTS');
    expect(await codeOf(records.spawn('OTHERS', 1, NODE))).to.equal('no error');
    const ending = records.end(first, 5000);
    const again = records.spawn('WORKERS', 2, NODE);
    expect((await live(again)).tookMs).to.equal(300);
    await ending;
    expect(first.process.groupIsGone()).to.equal(true);
    expect(records.live('WORKERS').map(({ record }) => record.generation)).to.deep.equal([2]);
    expect(records.left()).to.have.length(2);
  });

  it('needs a name that a folder can have', async () => {
    const { records } = world().master();
    for (const name of ['', '../up', 'a/b', '.hidden', 'x'.repeat(101)])
      expect(await codeOf(records.spawn('WORKERS', 1, { ...NODE, name })), name).to.equal('PROCESS_NOT_RECORDED');
  });
});

describe('The end of a child process', () => {
  it('is told, with whether it was asked for, and takes it off the record', async () => {
    const { clock, master, processes, recorded, live } = world();
    const { records } = master();
    const exits: ChildExit[] = [];
    const stop = records.onExit((exit) => exits.push(exit));
    const crashing = await records.spawn('WORKERS', 1, NODE);
    const stopping = await records.spawn('WORKERS', 1, { ...NODE, name: 'node-2' });
    processes.exit(crashing.process.identity.pid, 7);
    await live(records.end(stopping, 1000));
    await clock.advance(0);
    expect(exits.map(({ record, exit, asked }) => [record.name, exit.code, exit.signal, asked])).to.deep.equal([
      ['node-1', 7, null, false],
      ['node-2', null, 'SIGTERM', true],
    ]);
    expect(recorded()).to.deep.equal([]);
    await records.end(stopping, 1000); // it is gone: nothing to do
    stop();
    processes.exit((await records.spawn('WORKERS', 2, NODE)).process.identity.pid, 0);
    await clock.advance(50);
    expect(exits).to.have.length(2);
  });

  it('is not taken for proven while nobody can look, which is said once, and goes on when somebody can', async () => {
    const { clock, files, processes, troubles, live } = world();
    const spawner = processes.spawner({ instance: INSTANCE });
    let blind = 3;
    const records = openProcessRecords({
      ...{ files, clock, random: seededRandom(1), folder: '/data/run', instance: INSTANCE },
      spawner: {
        ...spawner,
        findByEnvironment(variable, value) {
          if (blind-- > 0) throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' });
          return spawner.findByEnvironment(variable, value);
        },
      },
      placeOf: (daemon, name) => ({ cwd: `/data/${daemon}/${name}`, outputFile: `/data/logs/${name}.log` }),
      onTrouble: (error) => troubles.push(error),
    });
    const child = await records.spawn('WORKERS', 1, NODE);
    await live(records.end(child, 100));
    expect(blind).to.be.below(0);
    expect(records.left()).to.deep.equal([]);
    expect(troubles.map(({ message }) => message)).to.deep.equal([
      'cannot prove that node-1 of WORKERS is gone: EMFILE: too many open files',
    ]);
  });

  it('is told also when it cannot be taken off the record, which the next master finds to be nobody', async () => {
    const { clock, files, master, processes, troubles, live } = world();
    const first = master();
    const { process } = await first.records.spawn('WORKERS', 1, NODE);
    await clock.advance(0);
    files.refuseWritesAfter(0);
    processes.exit(process.identity.pid, 0);
    await clock.advance(50);
    expect(first.records.left()).to.deep.equal([]);
    expect(troubles[0]).to.include({ code: 'PROCESS_NOT_RECORDED' });
    expect(troubles[0]?.message).to.match(/^cannot write \/data\/run\/processes\.json: .*ENOSPC/);
    files.grow();
    first.kill();
    const outcomes = (await live(master().records.recover('adopt'))).result;
    expect(outcomes.filter(({ outcome }) => outcome === 'adopted')).to.deep.equal([]);
  });

  it('comes by TERM within the grace, and by KILL after it', async () => {
    const { master, live } = world(({ command }) => ({ onTerm: command[1] === 'deaf' ? 'ignore' : 400 }));
    const { records } = master();
    const polite = await records.spawn('WORKERS', 1, NODE);
    const deaf = await records.spawn('WORKERS', 1, { name: 'deaf', command: ['node', 'deaf'] });
    expect((await live(records.end(polite, 1000))).tookMs).to.be.within(400, 430);
    expect((await live(records.end(deaf, 1000))).tookMs).to.be.within(1000, 1030);
  });

  it('comes sooner when it is asked for again with less grace', async () => {
    const { clock, master, live } = world(() => ({ onTerm: 'ignore' }));
    const { records } = master();
    const deaf = await records.spawn('WORKERS', 1, NODE);
    const slowly = records.end(deaf, 60_000);
    await clock.advance(100);
    expect((await live(records.end(deaf, 0))).tookMs).to.be.below(50);
    await slowly;
  });

  it('takes its group with it, and what has left the group', async () => {
    const { clock, master, processes } = world();
    const { records } = master();
    const { process } = await records.spawn('WORKERS', 1, NODE);
    processes.fork(process.identity.pid, { behaviour: { onTerm: 'ignore' } });
    processes.fork(process.identity.pid, { leavesGroup: true, behaviour: { onTerm: 'ignore' } });
    processes.exit(process.identity.pid, 1); // the leader crashes
    await clock.advance(60);
    expect(processes.alive()).to.deep.equal([]);
    expect(records.left()).to.deep.equal([]);
  });

  it('leaves those that survive their daemon, unless survivors are meant too', async () => {
    const { master, live } = world();
    const { records } = master();
    await records.spawn('WORKERS', 1, NODE);
    await records.spawn('WORKERS', 1, { ...NODE, name: 'lasting', survives: true });
    await records.spawn('OTHERS', 1, NODE);
    const names = () => records.live().map(({ record }) => `${record.daemon}/${record.name}`);
    await live(records.endAllOf('WORKERS', { survivors: false, graceMs: 100 }));
    expect(names()).to.deep.equal(['WORKERS/lasting', 'OTHERS/node-1']);
    await live(records.endAllOf('WORKERS', { survivors: true, graceMs: 100 }));
    expect(names()).to.deep.equal(['OTHERS/node-1']);
  });

  it('of all ends what carries the mark of the data directory too, and spares strangers', async () => {
    const { master, processes, live } = world();
    const { records } = master();
    const { process } = await records.spawn('WORKERS', 1, NODE);
    processes.exit(process.identity.pid, 0);
    const stranger = processes.reuse(process.identity.pid);
    const other = await processes
      .spawner({ instance: 'another data directory' })
      .spawn({ ...NODE, cwd: '/', outputFile: '/o' });
    await processes.spawner({ instance: INSTANCE }).spawn({ ...NODE, cwd: '/', outputFile: '/o' }); // on no record
    await live(records.endAll(100));
    expect(processes.alive().map(({ identity }) => identity)).to.deep.equal([stranger, other.identity]);
  });
});

describe('A master that was killed', () => {
  it('between intent and spawn leaves an intent that means nothing', async () => {
    const { files, master, live } = world(() => ({ refuse: 'EAGAIN' }));
    const first = master();
    const asked = codeOf(first.records.spawn('WORKERS', 1, NODE));
    const left = files.readText(PATH); // as it was on disk at the spawn
    await asked;
    files.writeAtomically(PATH, left);
    const { result } = await live(master().records.recover('end'));
    expect(result.map(({ outcome, record }) => [outcome, record?.name])).to.deep.equal([['gone', 'node-1']]);
  });

  it('between spawn and record leaves a process that is found by its number', async () => {
    const { files, master, processes, live } = world();
    const first = master();
    const { process } = await first.records.spawn('WORKERS', 3, { ...NODE, survives: true });
    first.kill(); // before the identity was written
    expect(files.readText(PATH)).to.include('"identity": null');
    const { records } = master();
    const { result } = await live(records.recover('adopt'));
    expect(result.map(({ outcome, identity }) => [outcome, identity])).to.deep.equal([['adopted', process.identity]]);
    expect(records.live('WORKERS').map(({ record }) => [record.generation, record.identity])).to.deep.equal([
      [3, process.identity],
    ]);
    await live(records.endAll(100));
    expect(processes.alive()).to.deep.equal([]);
  });

  it('leaves children that the next ends, members that outlived their leader included', async () => {
    const { clock, master, processes, recorded, live } = world(() => ({ onTerm: 'ignore' }));
    const first = master();
    const one = await first.records.spawn('WORKERS', 1, NODE);
    const two = await first.records.spawn('WORKERS', 1, { ...NODE, name: 'node-2' });
    await clock.advance(0);
    first.kill();
    processes.fork(two.process.identity.pid);
    processes.kill(two.process.identity.pid, 'SIGKILL');
    expect(processes.alive()).to.have.length(2);
    const { records } = master();
    const { result, tookMs } = await live(records.recover('end'));
    expect(result.map(({ outcome, record }) => [record?.name, outcome])).to.deep.equal([
      ['node-1', 'ended'],
      ['node-2', 'ended'],
    ]);
    expect(tookMs).to.be.within(2000, 2200);
    expect(processes.alive()).to.deep.equal([]);
    await clock.advance(0);
    expect(recorded()).to.deep.equal([]);
    expect(one.process.groupIsGone()).to.equal(true);
  });

  it('leaves survivors that the next adopts, hears of and ends; the others it ends', async () => {
    const { clock, master, processes, live } = world();
    const first = master();
    await first.records.spawn('WORKERS', 1, NODE);
    const lasting = await first.records.spawn('WORKERS', 1, { ...NODE, name: 'lasting', survives: true });
    processes.fork(lasting.process.identity.pid);
    await clock.advance(0);
    first.kill();
    const { records } = master();
    const exits: ChildExit[] = [];
    records.onExit((exit) => exits.push(exit));
    await live(records.recover('adopt'));
    expect(records.live().map(({ name }) => name)).to.deep.equal(['lasting']);
    expect(processes.alive(), 'the adopted one and its child').to.have.length(2);
    processes.exit(lasting.process.identity.pid, 0);
    await clock.advance(200);
    expect(exits.map(({ record, asked }) => [record.name, asked])).to.deep.equal([
      ['node-1', true],
      ['lasting', false],
    ]);
    expect(processes.alive()).to.deep.equal([]);
  });

  it('leaves pids that pass to strangers, whom the next spares, over a reboot too', async () => {
    for (const reboots of [false, true]) {
      const { clock, master, processes, live } = world();
      const first = master();
      const { process } = await first.records.spawn('WORKERS', 1, NODE);
      await clock.advance(0);
      first.kill();
      if (reboots) processes.reboot();
      else processes.exit(process.identity.pid, 0);
      const stranger = processes.reuse(process.identity.pid);
      const { result } = await live(master().records.recover('end'));
      expect(result.map(({ outcome }) => outcome)).to.deep.equal(['gone']);
      expect(processes.alive().map(({ identity }) => identity)).to.deep.equal([stranger]);
    }
  });

  it('leaves records that are garbled: the next says so, and finds the processes by their mark', async () => {
    const { clock, files, master, processes, troubles, live } = world();
    const first = master();
    await first.records.spawn('WORKERS', 1, NODE);
    await clock.advance(0);
    first.kill();
    files.writeAtomically(PATH, '{"format":1,"records":[{');
    const { result } = await live(master().records.recover('adopt'));
    expect(troubles.map(({ message }) => message).join()).to.match(/^cannot read the records of child processes/);
    expect(result.map(({ record, outcome }) => [record, outcome])).to.deep.equal([[null, 'ended']]);
    expect(processes.alive()).to.deep.equal([]);
  });
});

describe('The name of a data directory among processes', () => {
  it('is made once and found again', () => {
    const files = simulatedFileSystem();
    const made = instanceOf(files, '/data/run', seededRandom(1));
    expect(made).to.match(/^[0-9a-f-]{36}$/);
    expect(instanceOf(files, '/data/run', seededRandom(2))).to.equal(made);
  });
});

describe('Real children of a real master', () => {
  const clock = realClock();
  let root: string;
  let instance: string;
  let master: ChildProcess | null = null;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'master-loop-records-'));
    instance = `test-${process.pid}-${root.slice(-6)}`;
  });
  afterEach(async () => {
    master?.kill('SIGKILL');
    for (const { pid } of realSpawner({ instance }).findByEnvironment('MASTER_LOOP_INSTANCE', instance))
      process.kill(pid, 'SIGKILL');
    rmSync(root, { recursive: true });
  });

  const records = (): ProcessRecords =>
    openProcessRecords({
      files: realFileSystem(),
      spawner: realSpawner({ instance }),
      clock,
      random: seededRandom(1),
      folder: join(root, 'run'),
      instance,
      placeOf: (daemon, name) => ({ cwd: join(root, daemon, name), outputFile: join(root, 'logs', `${name}.log`) }),
    });
  const marked = (): number[] =>
    realSpawner({ instance })
      .findByEnvironment('MASTER_LOOP_INSTANCE', instance)
      .map(({ pid }) => pid);
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await clock.sleep(5);
  };

  it('outlive its kill -9, and are all ended by the next: one that ignores TERM, one that left its group', async () => {
    const [program, ...args] = programCommand('./records-master.ts', import.meta.url, [root, instance]);
    master = spawn(program as string, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const killed = new Promise((resolve) => master?.once('exit', resolve));
    await new Promise((resolve) => master?.stdout?.once('data', resolve));
    await until(() => marked().length >= 4); // two leaders, the shell's sleep, and the one in a session of its own
    master.kill('SIGKILL');
    await killed;
    expect(marked()).to.have.length(4);
    const outcomes = await records().recover('end', 200);
    expect(outcomes.map(({ record, outcome }) => [record?.name, outcome])).to.deep.equal([
      ['plain', 'ended'],
      ['stubborn', 'ended'],
    ]);
    expect(marked()).to.deep.equal([]);
  }).timeout(20_000);

  it('are spared when the record names another start time: the pid is a stranger now', async () => {
    const stranger = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
    const ended = new Promise((resolve) => stranger.once('exit', (_, signal) => resolve(signal)));
    const identity = realSpawner({ instance }).identify(stranger.pid as number);
    expect(identity).to.not.equal(null);
    const files = realFileSystem();
    files.makeFolder(join(root, 'run'));
    const doctored = { id: 'x', daemon: 'D', generation: 1, name: 'n', survives: true, command: [], wallMs: 0 };
    for (const wrong of [
      { ...identity, startTime: '1' },
      { ...identity, bootId: 'another' },
    ]) {
      writeFileSync(
        join(root, 'run', 'processes.json'),
        JSON.stringify({ format: 1, instance, records: [{ ...doctored, identity: wrong }] }),
      );
      const outcomes = await records().recover('end');
      expect(outcomes.map(({ outcome }) => outcome)).to.deep.equal(['gone']);
      expect(realSpawner({ instance }).identify(stranger.pid as number)).to.deep.equal(identity);
    }
    stranger.kill('SIGTERM');
    expect(await ended).to.equal('SIGTERM');
  });

  it('are proven gone when an end resolves', async () => {
    const open = records();
    const child = await open.spawn('D', 1, { name: 'n', command: ['sh', '-c', 'sleep 60 & echo begun; wait'] });
    await until(() => readFileSync(join(root, 'logs', 'n.log'), 'utf8').includes('begun'));
    expect(marked()).to.have.length(2);
    await open.end(child, 2000);
    expect(marked()).to.deep.equal([]);
    expect(open.left()).to.deep.equal([]);
  });
});

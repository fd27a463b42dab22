import { expect } from 'chai';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OrchestratorError } from '../../src/errors.ts';
import { realClock } from '../../src/seams/clock.ts';
import { realSpawner } from '../../src/seams/real-spawner.ts';
import type { RunningProcess, Spawner, SpawnSpec } from '../../src/seams/spawner.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
import { simulatedProcesses } from '../../src/simulation/simulated-spawner.ts';

type Program = 'runs' | 'exits-3' | 'ignores-term' | 'has-child' | 'missing';

interface Bench {
  readonly spawner: Spawner;
  /** The spawner of the next master, on the same data directory. */
  readonly next: () => Spawner;
  readonly spec: (program: Program) => SpawnSpec;
  /** Started, and as far as a test needs it: the child of 'has-child' runs, the trap of 'ignores-term' is set. */
  readonly begin: (spec: SpawnSpec) => Promise<RunningProcess>;
  readonly until: (condition: () => boolean) => Promise<void>;
  readonly live: <Result>(work: Promise<Result>) => Promise<Result>;
  /** Ends the leader alone, from outside. */
  readonly killOne: (pid: number) => void;
  readonly done: () => Promise<void>;
}

const INSTANCE = `test-${process.pid}-seam`;

const spawnerContract = (name: string, make: () => Bench): void => {
  describe(`Spawner, ${name}`, () => {
    let bench: Bench;
    beforeEach(() => (bench = make()));
    afterEach(() => bench.done());

    it('reports how a child ended, and nothing of it is left', async () => {
      const child = await bench.spawner.spawn(bench.spec('exits-3'));
      expect(await bench.live(child.exited)).to.deep.equal({ code: 3, signal: null });
      expect(child.groupIsGone()).to.equal(true);
      expect(child.signalGroup('SIGKILL')).to.equal(false);
      expect(bench.spawner.identify(child.identity.pid)?.startTime).to.not.equal(child.identity.startTime);
      expect(bench.spawner.usage(child.identity)).to.equal(null);
    });

    it('ends a child by a signal to its group', async () => {
      const child = await bench.begin(bench.spec('runs'));
      expect(child.groupIsGone()).to.equal(false);
      expect(bench.spawner.identify(child.identity.pid)).to.deep.equal(child.identity);
      expect(bench.spawner.usage(child.identity)?.residentBytes).to.be.above(0);
      expect(child.signalGroup('SIGTERM')).to.equal(true);
      expect(await bench.live(child.exited)).to.deep.equal({ code: null, signal: 'SIGTERM' });
      await bench.until(() => child.groupIsGone());
    });

    it('ends a child that ignores SIGTERM by SIGKILL, and one that is stopped too', async () => {
      const stubborn = await bench.begin(bench.spec('ignores-term'));
      stubborn.signalGroup('SIGTERM');
      expect(stubborn.groupIsGone()).to.equal(false);
      stubborn.signalGroup('SIGSTOP');
      stubborn.signalGroup('SIGKILL');
      expect(await bench.live(stubborn.exited)).to.deep.equal({ code: null, signal: 'SIGKILL' });
      await bench.until(() => stubborn.groupIsGone());
    });

    it('holds a group for alive while a member outlives the leader, and reaches that member', async () => {
      const family = await bench.begin(bench.spec('has-child'));
      bench.killOne(family.identity.pid);
      await bench.live(family.exited);
      expect(family.groupIsGone()).to.equal(false);
      expect(bench.spawner.findByEnvironment('MASTER_LOOP_INSTANCE', INSTANCE)).to.have.length(1);
      expect(family.signalGroup('SIGKILL')).to.equal(true);
      await bench.until(() => family.groupIsGone());
      expect(family.signalGroup('SIGKILL')).to.equal(false);
    });

    it('lets the next master take over a child, by identity', async () => {
      const { identity } = await bench.begin(bench.spec('runs'));
      const adopted = bench.next().adopt(identity);
      expect(adopted?.identity).to.deep.equal(identity);
      expect(adopted?.groupIsGone()).to.equal(false);
      adopted?.signalGroup('SIGTERM');
      expect(await bench.live(adopted?.exited ?? Promise.resolve(null))).to.deep.equal({ code: null, signal: null });
      await bench.until(() => adopted?.groupIsGone() === true);
      expect(bench.next().adopt(identity)).to.equal(null);
    });

    it('takes nobody over whose start time or boot is another', async () => {
      const { identity } = await bench.begin(bench.spec('runs'));
      expect(bench.spawner.adopt({ ...identity, startTime: '1' })).to.equal(null);
      expect(bench.spawner.adopt({ ...identity, bootId: 'another' })).to.equal(null);
      expect(bench.spawner.usage({ ...identity, startTime: '1' })).to.equal(null);
      expect(bench.spawner.identify(identity.pid)).to.deep.equal(identity);
    });

    it('finds processes by their environment, and by the exact value only', async () => {
      const spec = { ...bench.spec('runs'), env: { COLOUR: 'green' } };
      const { identity } = await bench.begin(spec);
      expect(bench.spawner.findByEnvironment('COLOUR', 'green')).to.deep.equal([identity]);
      expect(bench.spawner.findByEnvironment('MASTER_LOOP_INSTANCE', INSTANCE)).to.deep.equal([identity]);
      expect(bench.spawner.findByEnvironment('COLOUR', 'gree')).to.deep.equal([]);
      expect(bench.spawner.findByEnvironment('OLOUR', 'green')).to.deep.equal([]);
    });

    it('rejects a program that cannot be started, with its errno and a remedy', async () => {
      let thrown: unknown;
      await bench.spawner.spawn(bench.spec('missing')).catch((error: unknown) => (thrown = error));
      expect(thrown).to.be.instanceOf(OrchestratorError);
      expect((thrown as OrchestratorError).code).to.equal('SPAWN_FAILED');
      expect((thrown as OrchestratorError).context.code).to.equal('ENOENT');
      expect((thrown as OrchestratorError).message).to.match(/^cannot start \/missing/);
      expect((thrown as OrchestratorError).remedy).to.match(/spelling/);
      const empty = { ...bench.spec('runs'), command: [] };
      await bench.spawner.spawn(empty).catch((error: unknown) => (thrown = error));
      expect((thrown as OrchestratorError).message).to.match(/its command is empty/);
    });
  });
};

const PROGRAMS: Readonly<Record<Program, readonly string[]>> = {
  runs: ['sleep', '60'],
  'exits-3': ['sh', '-c', 'exit 3'],
  'ignores-term': ['sh', '-c', 'trap "" TERM; echo begun; while :; do sleep 60; done'],
  'has-child': ['sh', '-c', 'sleep 60 & echo begun; wait'],
  missing: ['/missing'],
};

const realBench = () => {
  const clock = realClock();
  const root = mkdtempSync(join(tmpdir(), 'master-loop-spawner-'));
  const spawner = realSpawner({ instance: INSTANCE });
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await clock.sleep(2);
  };
  const outputFile = join(root, 'output');
  return {
    root,
    outputFile,
    spawner,
    next: () => realSpawner({ instance: INSTANCE }),
    spec: (program: Program): SpawnSpec => ({ command: PROGRAMS[program], cwd: root, outputFile }),
    async begin(spec: SpawnSpec) {
      const child = await spawner.spawn(spec);
      if (spec.command[0] === 'sh') await until(() => readFileSync(outputFile, 'utf8').includes('begun'));
      return child;
    },
    until,
    live: <Result>(work: Promise<Result>) => work,
    killOne: (pid: number) => void process.kill(pid, 'SIGKILL'),
    async done() {
      for (const left of spawner.findByEnvironment('MASTER_LOOP_INSTANCE', INSTANCE)) process.kill(left.pid, 'SIGKILL');
      rmSync(root, { recursive: true });
    },
  };
};

spawnerContract('real', realBench);
spawnerContract('simulated', () => {
  const clock = simulatedClock();
  const world = simulatedProcesses({
    clock,
    script: ({ command }) =>
      command === PROGRAMS['exits-3']
        ? { lifetimeMs: 5, exitCode: 3 }
        : command === PROGRAMS['ignores-term']
          ? { onTerm: 'ignore' }
          : command === PROGRAMS.missing
            ? { refuse: 'ENOENT' }
            : {},
  });
  const spawner = world.spawner({ instance: INSTANCE });
  return {
    spawner,
    next: () => world.spawner({ instance: INSTANCE }),
    spec: (program) => ({ command: PROGRAMS[program], cwd: '/', outputFile: '/output' }),
    async begin(spec) {
      const child = await spawner.spawn(spec);
      if (spec.command === PROGRAMS['has-child']) world.fork(child.identity.pid);
      return child;
    },
    until: async (condition) => {
      while (!condition()) await clock.advance(1);
    },
    async live(work) {
      await clock.advance(1000);
      return work;
    },
    killOne: (pid) => world.kill(pid, 'SIGKILL'),
    done: async () => {},
  };
});

describe('The real spawner', () => {
  let bench: ReturnType<typeof realBench>;
  beforeEach(() => (bench = realBench()));
  afterEach(() => bench.done());

  const output = async (command: readonly string[], env?: Record<string, string>): Promise<string> => {
    const spec = { command, cwd: bench.root, outputFile: bench.outputFile };
    await (
      await bench.spawner.spawn(env === undefined ? spec : { ...spec, env })
    ).exited;
    return readFileSync(bench.outputFile, 'utf8');
  };

  it('appends both outputs to the file', async () => {
    writeFileSync(bench.outputFile, 'before\n');
    expect(await output(['sh', '-c', 'echo out; echo err >&2'])).to.equal('before\nout\nerr\n');
  });

  it('hands down a small environment, without what only the master should know', async () => {
    process.env.MASTER_LOOP_TEST_SECRET = 'hush';
    const lines = (await output(['env'], { ADDED: 'yes' })).split('\n');
    delete process.env.MASTER_LOOP_TEST_SECRET;
    expect(lines).to.include.members([`MASTER_LOOP_INSTANCE=${INSTANCE}`, 'ADDED=yes', `PATH=${process.env.PATH}`]);
    expect(lines.join('\n')).to.not.include('hush');
  });

  it('runs a child in a group and session of its own, as nice as asked', async () => {
    const spec = { command: ['sleep', '60'], cwd: bench.root, outputFile: bench.outputFile, nice: 7 };
    const child = await bench.spawner.spawn(spec);
    const fields = readFileSync(`/proc/${child.identity.pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
    expect([fields[2], fields[3]]).to.deep.equal([String(child.identity.pid), String(child.identity.pid)]);
    expect(fields[16]).to.equal('7');
    child.signalGroup('SIGKILL');
    await child.exited;
  });

  it('reads the start time of a process whose name holds parentheses and spaces', async () => {
    const script = join(bench.root, 'a) 1 (b');
    writeFileSync(script, '#!/bin/sh\nsleep 60\n', { mode: 0o755 });
    const child = await bench.spawner.spawn({ command: [script], cwd: bench.root, outputFile: bench.outputFile });
    const self = bench.spawner.identify(process.pid);
    expect(Number(child.identity.startTime)).to.be.at.least(Number(self?.startTime));
    child.signalGroup('SIGKILL');
    await child.exited;
  });

  it('says what is in the way when a start is refused', async () => {
    const refusal = async (spec: Partial<SpawnSpec>): Promise<unknown> => {
      const whole = { command: ['true'], cwd: bench.root, outputFile: bench.outputFile, ...spec };
      try {
        await bench.spawner.spawn(whole);
      } catch (thrown) {
        return [(thrown as OrchestratorError).context.code, (thrown as OrchestratorError).message];
      }
      return null;
    };
    const gone = join(bench.root, 'gone');
    expect(await refusal({ cwd: gone })).to.deep.equal([
      'ENOENT',
      `cannot start true: its folder ${gone} does not exist (ENOENT)`,
    ]);
    expect(await refusal({ outputFile: join(gone, 'out') })).to.deep.equal([
      'ENOENT',
      `cannot start true: its output file ${join(gone, 'out')} cannot be opened (ENOENT)`,
    ]);
    writeFileSync(join(bench.root, 'plain'), 'text');
    expect((await refusal({ command: [join(bench.root, 'plain')] })) as string[]).to.include('EACCES');
    expect((await refusal({ command: ['sh', '-c', 'x'.repeat(3_000_000)] })) as string[]).to.include('E2BIG');
  });

  it('finds a grandchild that left its group by its environment, and ends it alone', async () => {
    const child = await bench.spawner.spawn({
      command: ['sh', '-c', 'setsid sleep 60 & wait'],
      cwd: bench.root,
      outputFile: bench.outputFile,
    });
    const others = () =>
      bench.spawner
        .findByEnvironment('MASTER_LOOP_INSTANCE', INSTANCE)
        .filter(({ pid }) => pid !== child.identity.pid && readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n');
    await bench.until(() => others().length === 1);
    child.signalGroup('SIGKILL');
    await child.exited;
    await bench.until(() => child.groupIsGone());
    const [stray] = others();
    const adopted = stray === undefined ? null : bench.spawner.adopt(stray);
    expect(adopted?.signalGroup('SIGKILL')).to.equal(true);
    await adopted?.exited;
    expect(others()).to.deep.equal([]);
  });

  it('signals a process that leads no group alone', async () => {
    const family = await bench.begin(bench.spec('has-child'));
    const findMember = () =>
      bench.spawner
        .findByEnvironment('MASTER_LOOP_INSTANCE', INSTANCE)
        .find(({ pid }) => pid !== family.identity.pid && readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n');
    await bench.until(() => findMember() !== undefined);
    const member = findMember();
    const adopted = member === undefined ? null : bench.spawner.adopt(member);
    expect(adopted?.signalGroup('SIGSTOP')).to.equal(true);
    expect(adopted?.signalGroup('SIGKILL')).to.equal(true);
    await adopted?.exited;
    expect(adopted?.groupIsGone()).to.equal(true);
    expect(adopted?.signalGroup('SIGKILL')).to.equal(false);
    expect(await family.exited).to.deep.equal({ code: 0, signal: null }); // its `wait` returned: no signal reached it
  });
});

describe('The simulated processes', () => {
  const world = () => {
    const clock = simulatedClock();
    return { clock, processes: simulatedProcesses({ clock }) };
  };
  const spec: SpawnSpec = { command: ['node'], cwd: '/', outputFile: '/output' };

  it('outlive a master that is killed, which hears no more of them', async () => {
    const { clock, processes } = world();
    const first = processes.spawner({ instance: INSTANCE });
    const child = await first.spawn(spec);
    let told = false;
    void child.exited.then(() => (told = true));
    first.detach();
    expect(processes.alive()).to.have.length(1);
    const adopted = processes.spawner({ instance: INSTANCE }).adopt(child.identity);
    processes.exit(child.identity.pid, 0);
    await clock.advance(100);
    expect(told).to.equal(false);
    expect(await adopted?.exited).to.deep.equal({ code: null, signal: null });
  });

  it('pass a number on to a stranger, whom no signal of ours reaches', async () => {
    const { processes } = world();
    const child = await processes.spawner({ instance: INSTANCE }).spawn(spec);
    processes.exit(child.identity.pid, 0);
    const stranger = processes.reuse(child.identity.pid);
    expect(child.groupIsGone()).to.equal(true);
    expect(child.signalGroup('SIGKILL')).to.equal(false);
    expect(processes.alive().map(({ identity }) => identity)).to.deep.equal([stranger]);
  });

  it('are all gone after a reboot, with identities that mean nothing any more', async () => {
    const { processes } = world();
    const spawner = processes.spawner({ instance: INSTANCE });
    const { identity } = await spawner.spawn(spec);
    processes.reboot();
    processes.reuse(identity.pid);
    expect(spawner.adopt(identity)).to.equal(null);
  });

  it('take a SIGTERM only when they are continued', async () => {
    const { processes } = world();
    const child = await processes.spawner({ instance: INSTANCE }).spawn(spec);
    child.signalGroup('SIGSTOP');
    child.signalGroup('SIGTERM');
    expect(child.groupIsGone()).to.equal(false);
    child.signalGroup('SIGCONT');
    expect(child.groupIsGone()).to.equal(true);
  });
});

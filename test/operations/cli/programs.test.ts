import { expect } from 'chai';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { holderPath } from '../../../src/journal/holder.ts';
import { realSpawner } from '../../../src/seams/real-spawner.ts';
import { startFakeLoop, type FakeLoop } from '../../support/fake-loop.ts';
import { runHere, runProgram, type Ran, type RunOptions } from '../../support/run-program.ts';

/** Every run is a real process, which takes its time where many share a machine. */
const PATIENCE_MS = 30_000;

describe('The programs, run for real', function () {
  this.timeout(PATIENCE_MS);
  let folder: string;
  let dataDir: string;
  let loop: FakeLoop | null = null;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ml-cli-'));
    dataDir = join(folder, 'd');
  });
  afterEach(async () => {
    await loop?.close();
    loop = null;
    rmSync(folder, { recursive: true, force: true });
  });

  const master = (line: string, options?: Pick<RunOptions, 'env' | 'input'>): Promise<Ran> =>
    runHere('master_loop', [...line.split(' ').filter(Boolean), '--data-dir', dataDir], options);
  const launch = (line: string): Promise<Ran> => runHere('launch_daemons', [...line.split(' '), '--data-dir', dataDir]);

  describe('with no loop on the data directory', () => {
    it('whatever asks a loop exits 3 and says how to start one, on standard error', async () => {
      const lines = ['status', 'why A', 'wait', 'stop A', 'events audit', 'drill list', 'log-level INFO', 'logs -f'];
      for (const ran of await Promise.all(lines.map((line) => master(line)))) {
        expect(ran, ran.err).to.deep.include({ code: 3, out: '' });
        expect(ran.err).to.match(
          /^cannot reach a master loop: none is running on .*\n {2}start one with "master_loop --detach"/,
        );
      }
      const stops = await Promise.all([launch('--status'), launch('--stop-all'), launch('--stop A')]);
      expect(stops.map(({ code }) => code)).to.deep.equal([3, 3, 3]);
    });

    it('with --json the refusal is data on standard output', async () => {
      const ran = await master('status --json');
      expect(ran.code).to.equal(3);
      expect(ran.json()).to.have.nested.property('error.code', 'NOT_RUNNING');
      expect(ran.json()).to.have.nested.property('error.exitCode', 3);
    });

    it('the log of the loop that ended can still be read', async () => {
      mkdirSync(join(dataDir, 'logs'), { recursive: true });
      const line = '2026-11-23T21:00:00.000Z CRITICAL [AUTO_SYNC] disk full';
      writeFileSync(join(dataDir, 'logs', 'coordination.log'), `2026-11-23T20:00:00.000Z INFO [ELO_SYNC] x\n${line}\n`);
      const ran = await master('logs AUTO_SYNC');
      expect(ran).to.deep.include({ code: 0, out: `${line}\n` });
      expect(ran.err).to.include('no loop is running');
    });
  });

  describe('typed wrongly', () => {
    it('exits 2 with the nearest valid name, before anything is asked', async () => {
      const [command, option, word, asJson] = await Promise.all([
        master('stauts'),
        master('status --jsno'),
        launch('--al'),
        master('stauts --json'),
      ]);
      expect(command).to.deep.include({ code: 2, out: '' });
      expect(command.err).to.include('did you mean status?');
      expect(option.code).to.equal(2);
      expect(option.err).to.include('did you mean --json?');
      expect(word.err).to.include('did you mean --all?');
      expect(asJson.code).to.equal(2);
      expect(asJson.json()).to.have.nested.property('error.code', 'USAGE');
    });

    it('options that contradict each other are refused', async () => {
      const [both, early, nothing, two] = await Promise.all([
        master('--watch --detach'),
        master('--until-ready'),
        launch('--json'),
        launch('--all --stop A'),
      ]);
      expect([both.code, early.code, nothing.code, two.code]).to.deep.equal([2, 2, 2, 2]);
      expect(both.err).to.include('--watch and --detach');
      expect(early.err).to.include('add --detach');
    });

    it('a setting of the environment that cannot be is refused by its name', async () => {
      const ran = await master('status', { env: { RINGRIFT_HEALTH_PORT: '99999' } });
      expect(ran.code).to.equal(2);
      expect(ran.err).to.include('RINGRIFT_HEALTH_PORT=99999');
    });
  });

  describe('with a fleet file and no loop', () => {
    it('the examples, copied to a folder that has no packages, are valid fleets', async () => {
      const examples = fileURLToPath(new URL('../../../../fleets/examples', import.meta.url));
      cpSync(examples, folder, { recursive: true });
      const fleets = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
      expect(fleets).to.have.length.above(1);
      for (const fleet of fleets) {
        const ran = await master(`validate ${join(folder, fleet)}`);
        expect(ran, ran.out + ran.err).to.include({ code: 0 });
      }
    });

    const GOOD = `version: 1
name: small
profiles: { one: [LISTENER] }
daemons:
  EVENT_ROUTER: { uses: event-router }
  LISTENER: { module: ./listener.mjs, dependsOn: [EVENT_ROUTER] }
  OTHER: { module: ./listener.mjs }
`;
    const file = (text: string): string => {
      const path = join(folder, 'small.yaml');
      writeFileSync(path, text);
      writeFileSync(
        join(folder, 'listener.mjs'),
        "export default { type: 'L', purpose: 'p', category: 'c', create: () => ({ start() {} }) };\n",
      );
      return path;
    };

    it('plan boot prints order, waves, edges and critical path, and who pulled whom in', async () => {
      const path = file(GOOD);
      const [json, text] = await Promise.all([
        master(`plan boot --fleet ${path} --profile one --json`),
        master(`plan --fleet ${path} --profile one`),
      ]);
      expect(json.code, json.err).to.equal(0);
      expect(json.json()).to.deep.include({
        order: ['EVENT_ROUTER', 'LISTENER'],
        waves: [['EVENT_ROUTER'], ['LISTENER']],
        edges: [
          { from: 'LISTENER', on: 'EVENT_ROUTER', kind: 'hard', onLoss: 'reattach', writtenAt: 'small.yaml:6:51' },
        ],
        criticalPath: ['EVENT_ROUTER', 'LISTENER'],
        pulledIn: { EVENT_ROUTER: 'LISTENER' },
      });
      expect(text.out).to.include('small.yaml:6:51').and.to.include('EVENT_ROUTER by LISTENER');
      expect(text.out).not.to.include('OTHER');
    });

    it('plan boot of a running loop is of the fleet that loop runs', async () => {
      loop = await startFakeLoop(dataDir);
      loop.canned.status = { ...loop.canned.status, fleetFile: file(GOOD), profile: 'one' };
      expect((await master('plan boot --json')).json()).to.deep.include({ fleet: 'small', profile: 'one' });
    });

    it('validate says that a file is valid, or every fault with its place, and exits 0 or 2', async () => {
      const good = await master(`validate ${file(GOOD)}`);
      expect(good.code).to.equal(0);
      expect(good.out).to.include('valid: fleet small, 3 daemons');
      const path = file(GOOD.replace('event-router', 'event-ruter').replace('name: small', 'nam: small'));
      const [text, json] = await Promise.all([master(`validate ${path}`), master(`validate --fleet ${path} --json`)]);
      expect(text.code).to.equal(2);
      expect(text.out).to.include(`${path}:2:1`).and.to.include(`${path}:5:25`).and.to.include('event-router');
      expect(json.code).to.equal(2);
      expect(json.json()).to.include({ valid: false }).and.to.have.property('faults').that.is.not.empty;
    });

    it('a plan of a faulty file is refused with the first fault and where to see all', async () => {
      const ran = await master(`plan boot --fleet ${file('version: 1\n')}`);
      expect(ran).to.deep.include({ code: 2, out: '' });
      expect(ran.err).to.include('small.yaml:1:1').and.to.include('master_loop validate');
    });

    it('a plan that names no daemon where it needs one, or one where it needs none, is refused', async () => {
      const [none, some] = await Promise.all([master('plan restart'), master('plan recover A')]);
      expect([none.code, some.code]).to.deep.equal([2, 2]);
    });
  });

  describe('help, version and completion', () => {
    it('help lists every command and exits 0', async () => {
      const [all, one, group] = await Promise.all([
        master('--help'),
        master('recover --help'),
        master('events --help'),
      ]);
      expect(all.code).to.equal(0);
      for (const command of ['wait', 'status', 'why', 'history', 'logs', 'plan', 'recover', 'validate', 'drill run'])
        expect(all.out).to.include(`master_loop ${command}`);
      expect(one.out).to.include('--drain-seconds');
      expect(group.out).to.include('dead-letters').and.not.to.include('drill');
    });

    it('completion prints a script that asks the program, which offers the daemons of the running loop', async () => {
      loop = await startFakeLoop(dataDir);
      const script = await runProgram('master_loop', ['completion'], { env: { SHELL: '/bin/bash' } });
      expect(script.out).to.include('--get-yargs-completions').and.to.include('complete -o');
      const asked = await runProgram('master_loop', [
        '--get-yargs-completions',
        'master_loop',
        '--data-dir',
        dataDir,
        'why',
        'AU',
      ]);
      expect(asked).to.deep.include({ code: 0, out: 'AUTO_SYNC\n', err: '' });
    });

    it('without a loop it offers the daemons of the fleet file', async () => {
      writeFileSync(
        join(folder, 'fleet.yaml'),
        'version: 1\nname: x\ndaemons:\n  ALPHA: { uses: a }\n  BETA: { uses: b }\n',
      );
      const args = ['--get-yargs-completions', 'master_loop', '--data-dir', dataDir, 'stop', ''];
      expect((await runProgram('master_loop', args, { cwd: folder })).out).to.equal('ALPHA\nBETA\n');
    });
  });

  describe('with a loop running', () => {
    beforeEach(async () => {
      loop = await startFakeLoop(dataDir);
    });
    const running = (): FakeLoop => {
      if (loop === null) throw new Error('the fake loop is not running');
      return loop;
    };

    it('status of a ready or degraded fleet exits 0, of any other 4, and --json is the report itself', async () => {
      const codes: Record<string, number | null> = {};
      for (const verdict of ['ready', 'degraded', 'booting', 'unhealthy', 'engine_stalled'] as const) {
        running().canned.status = { ...running().canned.status, verdict };
        const ran = await master('status --json');
        codes[verdict] = ran.code;
        expect(ran.json()).to.deep.equal(JSON.parse(JSON.stringify(running().canned.status)));
      }
      expect(codes).to.deep.equal({ ready: 0, degraded: 0, booting: 4, unhealthy: 4, engine_stalled: 4 });
    });

    it('status for people has no colour on a pipe, and launch_daemons --status says the same', async () => {
      const [one, other] = await Promise.all([master('status'), launch('--status')]);
      expect(one.out).to.include('EVENT_ROUTER *').and.not.to.include('\x1b');
      expect(other.out.split('\n').slice(4)).to.deep.equal(one.out.split('\n').slice(4));
    });

    it('why fits a screen; an unknown daemon is exit 2', async () => {
      const [known, unknown] = await Promise.all([master('why AUTO_SYNC'), master('why AUTO_SINC')]);
      expect(known.code).to.equal(0);
      expect(known.out).to.match(/^AUTO_SYNC is RUNNING/);
      expect(known.out.trimEnd().split('\n').length).to.be.at.most(24);
      expect(unknown.code).to.equal(2);
    });

    it('history and logs are lists as JSON and lines for people', async () => {
      const [entries, lines, records] = await Promise.all([
        master('history --json'),
        master('history AUTO_SYNC'),
        master('logs --json'),
      ]);
      expect(entries.json()).to.have.length(2);
      expect(lines.out).to.equal('2026-11-23T21:00:00.000Z #1 AUTO_SYNC STARTING → RUNNING\n');
      expect(records.json()).to.deep.equal([
        { time: '2026-11-23T21:00:00.000Z', level: 'INFO', daemon: 'AUTO_SYNC', message: 'ready' },
      ]);
    });

    it('wait exits 0 when ready and 4 with the reasons when not', async () => {
      expect((await master('wait')).out).to.equal('ready after 1.5s\n');
      const reasons = [{ daemon: 'AUTO_SYNC', state: 'FAILED', reason: 'disk full' }];
      running().canned.wait = {
        ...running().canned.wait,
        ready: false,
        notReady: ['AUTO_SYNC'],
        reasons,
        ended: 'failed',
      };
      const [text, json] = await Promise.all([master('wait --timeout 1'), master('wait --json')]);
      expect(text.code).to.equal(4);
      expect(text.err).to.include('AUTO_SYNC FAILED: disk full');
      expect([json.code, json.json()]).to.deep.equal([4, JSON.parse(JSON.stringify(running().canned.wait))]);
    });

    it('acts with the verb, the names, who asked and how long it waits', async () => {
      const ran = await master('restart AUTO_SYNC EVENT_ROUTER --timeout 7');
      expect(ran).to.deep.include({ code: 0, out: 'restart AUTO_SYNC, EVENT_ROUTER: done\n' });
      await master('stop AUTO_SYNC --no-wait');
      await master('recover --drain-seconds 2');
      expect(running().acted).to.deep.equal([
        {
          verb: 'restart',
          daemons: ['AUTO_SYNC', 'EVENT_ROUTER'],
          origin: 'operator',
          reason: 'master_loop restart',
          waitMs: 7000,
        },
        { verb: 'stop', daemons: ['AUTO_SYNC'], origin: 'operator', reason: 'master_loop stop', waitMs: 0 },
        {
          verb: 'recover',
          daemons: [],
          origin: 'operator',
          reason: 'master_loop recover',
          waitMs: 300_000,
          drainMs: 2000,
          resetFailed: true,
        },
      ]);
    });

    it('every outcome has its exit code, its message and what to do', async () => {
      const table = { failed: 1, impossible: 1, superseded: 1, refused: 5, 'unknown-daemon': 2, timeout: 4 } as const;
      for (const [code, exit] of Object.entries(table)) {
        running().canned.act = () => ({
          id: '1',
          ok: false,
          code: code as keyof typeof table,
          message: `cannot: ${code}`,
          remedy: 'do that',
        });
        const ran = await master('start AUTO_SINC');
        expect(ran.code, code).to.equal(exit);
        expect(ran.err).to.include(`cannot: ${code}`);
        expect(ran.err).to.include(code === 'unknown-daemon' ? 'did you mean AUTO_SYNC?' : 'do that');
      }
      const asJson = (await master('start AUTO_SINC --json')).json();
      expect(asJson).to.have.nested.property('error.code', 'timeout');
      expect(asJson).to.have.nested.property('outcome.ok', false);
    });

    it('Ctrl-C in a waiting command exits 130', async () => {
      let interrupt = (): void => undefined;
      running().canned.act = () => {
        interrupt();
        return 'never';
      };
      const ran = await runProgram('master_loop', ['start', 'AUTO_SYNC', '--data-dir', dataDir], {
        onStart: ({ kill }) => (interrupt = () => kill('SIGINT')),
      });
      expect(ran).to.deep.include({ code: 130, signal: null, out: '', err: '' });
    });

    it('a reader that goes away ends the program quietly', async () => {
      const ran = runProgram('master_loop', ['logs', '-f', '--data-dir', dataDir], { onOut: (_out, { end }) => end() });
      const timer = setInterval(() => running().log('2026-11-23T21:00:01.000Z INFO [AUTO_SYNC] more'), 20);
      const { code, signal, err } = await ran;
      clearInterval(timer);
      expect({ code, signal, err }).to.deep.equal({ code: 0, signal: null, err: '' });
    });

    it('launch_daemons --all starts the profile and prints whose operator stop the loop lifted', async () => {
      const message = 'start-profile: done; operator stop of AUTO_SYNC lifted';
      running().canned.act = () => ({ id: '1', ok: true, code: 'done', message });
      expect(await launch('--all')).to.deep.include({ code: 0, out: `${message}\n` });
      expect(running().acted).to.deep.equal([
        { verb: 'start-profile', daemons: [], origin: 'operator', reason: 'launch_daemons', waitMs: 300_000 },
      ]);
    });

    it('launch_daemons --daemon starts by name, --stop stops by name', async () => {
      await launch('--daemon AUTO_SYNC EVENT_ROUTER');
      await launch('--stop AUTO_SYNC,EVENT_ROUTER --no-wait');
      const daemons = ['AUTO_SYNC', 'EVENT_ROUTER'];
      expect(running().acted[0]).to.deep.include({ verb: 'start', daemons, waitMs: 300_000 });
      expect(running().acted[1]).to.deep.include({ verb: 'stop', daemons, waitMs: 0 });
    });

    it('launch_daemons --stop-all returns when the loop itself is gone', async () => {
      running().canned.act = ({ verb }) => {
        void running().close();
        loop = null;
        return { id: '1', ok: true, code: 'done', message: `${verb}: stopped` };
      };
      const ran = await launch('--stop-all');
      expect(ran.code, ran.err).to.equal(0);
      expect((await launch('--status')).code).to.equal(3);
    });

    it('launch_daemons --stop-all returns when the data directory is given back, which is after the last answer', async () => {
      const holder = holderPath(dataDir);
      writeFileSync(holder, JSON.stringify(realSpawner({ instance: '' }).identify(process.pid)));
      running().canned.act = ({ verb }) => {
        void running().close();
        loop = null;
        setTimeout(() => rmSync(holder), 1_500);
        return { id: '1', ok: true, code: 'done', message: `${verb}: stopped` };
      };
      expect((await launch('--stop-all')).code).to.equal(0);
      expect(existsSync(holder)).to.equal(false);
    });

    it('a second loop is refused with who is there: exit 5', async () => {
      const ran = await master('--detach --json');
      expect(ran.code).to.equal(5);
      expect(ran.json()).to.have.nested.property('error.context.pid', process.pid);
    });

    it('the events commands ask the router in its own words', async () => {
      const asked: unknown[] = [];
      running().canned.events = (verb, args) => {
        asked.push([verb, args]);
        if (verb === 'audit') return { rows: [], lost: 2 };
        if (verb === 'publish') return { id: 'x', offset: 9, stored: true };
        if (verb === 'retry') return [{ id: 3, outcome: 'recovered', message: '' }];
        return [];
      };
      const publish = await master('events publish ELO_UPDATED - --id x', { input: '{"rows":3}' });
      expect(publish.out).to.equal('stored: offset 9, id x\n');
      expect((await master('events audit')).code).to.equal(1);
      expect((await master('events retry 3')).out).to.equal('3 recovered\n');
      expect((await master('events dead-letters')).out).to.equal('no dead letters\n');
      expect((await master('events retry')).code).to.equal(2);
      expect((await master('events publish ELO_UPDATED {oops')).code).to.equal(2);
      expect(asked).to.deep.equal([
        ['publish', { topic: 'ELO_UPDATED', body: { rows: 3 }, source: 'cli', id: 'x' }],
        ['audit', {}],
        ['retry', { which: [3], waitMs: 60_000 }],
        ['dead-letters', { state: 'pending', max: 100 }],
      ]);
    });

    it('plans of what runs are the running loop’s own', async () => {
      const ran = await master('plan restart AUTO_SYNC');
      expect(ran).to.deep.include({ code: 0, out: 'restart AUTO_SYNC: nothing would stop or start\n' });
    });

    it('drills are asked by name, and one that did not prove its recovery exits 1', async () => {
      running().canned.drills = (verb, args) => ({ ok: verb !== 'verify', verb, args });
      const [run, verify] = await Promise.all([
        master('drill run daemon-hang --target A --in handler --json'),
        master('drill verify'),
      ]);
      expect(run.code).to.equal(0);
      expect(run.json()).to.deep.include({ args: { drill: 'daemon-hang', target: 'A', in: 'handler' } });
      expect(verify.code).to.equal(1);
    });

    it('a report of a drill that failed is a report that was given: exit 0; the drill itself exits 1', async () => {
      running().canned.drills = () => ({ passed: false });
      const codes = await Promise.all([master('drill report last'), master('drill run router-loss')]);
      expect(codes.map(({ code }) => code)).to.deep.equal([0, 1]);
    });

    it('a drill that runs nowhere else is refused before it is asked for: --in takes a place', async () => {
      const ran = await master('drill run daemon-hang --in elsewhere');
      expect(ran.code).to.equal(2);
      expect(ran.err).to.include('cycle').and.to.include('handler');
    });

    it('--watch on a pipe is a line for each transition, and ends with the loop', async () => {
      const { followed, canned, emit } = running();
      const ran = runProgram('master_loop', ['--watch', '--data-dir', dataDir], {
        onOut: (out) => {
          if (!out.includes('RUNNING → FAILED')) return;
          void loop?.close();
          loop = null;
        },
      });
      await followed;
      const [first] = canned.history;
      if (first === undefined) throw new Error('the fake has no history');
      emit({ ...first, seq: 3, time: '2026-11-23T21:00:09.000Z', from: 'RUNNING', to: 'FAILED', why: 'exit' });
      const { code, out, err } = await ran;
      expect(out).to.match(
        /ringrift ready: 2 running\n2026-11-23T21:00:09\.000Z #3 AUTO_SYNC RUNNING → FAILED exit\n$/,
      );
      expect(code).to.equal(3);
      expect(err).to.include('the loop has ended');
    });
  });

  describe('as processes', () => {
    it('the exit code, the answer and the refusal reach the shell', async () => {
      const none = await runProgram('master_loop', ['status', '--json', '--data-dir', dataDir]);
      expect(none.code).to.equal(3);
      expect(none.json()).to.have.nested.property('error.code', 'NOT_RUNNING');
      loop = await startFakeLoop(dataDir);
      const some = await runProgram('launch_daemons', ['--status', '--data-dir', dataDir]);
      expect(some).to.deep.include({ code: 0, err: '' });
      expect(some.out).to.include('EVENT_ROUTER *');
    });
  });
});

import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { connect, type ControlClient } from '../../../src/operations/client/index.ts';
import { programCommand } from '../../../src/seams/entry.ts';
import { temporaryDataDir } from './fleet.ts';

type Said = Readonly<Record<string, unknown>> & { readonly what: string };

describe('a blocked main loop', function () {
  this.timeout(30_000);
  const dataDir = temporaryDataDir();
  const said: Said[] = [];
  let child: ChildProcess;
  let client: ControlClient;

  const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
    const end = Date.now() + 15_000;
    while (!(await holds())) {
      if (Date.now() > end) throw new Error(`it never happened: ${what}; said ${JSON.stringify(said)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const heard = (what: string): boolean => said.some((one) => one.what === what);

  before(async () => {
    const [program, ...args] = programCommand('./blocked-main.ts', import.meta.url, [dataDir.path]);
    child = spawn(program as string, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: child.stdout! }).on('line', (line) => said.push(JSON.parse(line) as Said));
    await until('it listens', () => heard('listening'));
    client = await connect({ dataDir: dataDir.path });
  });
  beforeEach(() => (said.length = 0));
  after(async () => {
    client.close();
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    dataDir.remove();
  });

  const block = async (milliseconds: number, index: number): Promise<void> => {
    child.stdin!.write(`block ${milliseconds} ${index}\n`);
    await until('it is blocked', () => heard('blocked'));
  };

  it('is told by every read, with the daemon that holds it, before it wakes', async () => {
    await block(2_500, 1);
    await until('health says so', async () => (await client.health()).status === 'engine_stalled');
    const health = await client.health();
    const status = await client.status();
    const ready = await client.ready();
    const why = await client.why('EVENT_ROUTER');
    const metrics = await client.metrics();
    expect(heard('awake'), 'all this was answered while the loop was blocked').to.be.false;
    expect(health).to.include({ status: 'engine_stalled', heldBy: 'AUTO_SYNC' });
    expect(health.snapshotAgeMs).to.be.at.least(400);
    expect(status.verdict).to.equal('engine_stalled');
    expect(status.daemons).to.have.length(3);
    expect(ready).to.include({ ready: false, verdict: 'engine_stalled' });
    expect(why.stall?.heldBy).to.equal('AUTO_SYNC');
    expect(why.reason).to.equal('runs, and nothing is wrong with it');
    expect(metrics).to.match(/^master_loop_engine_stalled 1$/m);
    await until('it is awake and told of its stall', () => heard('stall'));
    expect(said.find(({ what }) => what === 'stall')).to.include({ daemon: 'AUTO_SYNC' });
    expect((await client.health()).status).to.equal('ok');
  });

  it('never carries out what was refused with engine_stalled', async () => {
    await block(1_500, 0);
    const refused = await client.act({ verb: 'restart', daemons: ['AUTO_SYNC'] }).then(
      () => null,
      (thrown: { code: string }) => thrown,
    );
    expect(refused?.code).to.equal('ENGINE_STALLED');
    expect(heard('awake'), 'it was refused while the loop was blocked').to.be.false;
    await until('it is awake', () => heard('awake'));
    await client.act({ verb: 'start', daemons: ['AUTO_SYNC'] });
    expect(said.filter(({ what }) => what === 'handled')).to.have.length(1);
    await until('it is told of its stall', () => heard('stall'));
  });

  it('that was only short is nobody’s business', async () => {
    await block(150, 0);
    await until('it is awake', () => heard('awake'));
    await client.act({ verb: 'start', daemons: ['AUTO_SYNC'] });
    expect(heard('stall')).to.be.false;
  });

  it('is not what a suspended process wakes up to', async () => {
    child.kill('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    child.kill('SIGCONT');
    expect((await client.health()).status).to.equal('ok');
    await client.act({ verb: 'start', daemons: ['AUTO_SYNC'] });
    expect(heard('stall')).to.be.false;
  });
});

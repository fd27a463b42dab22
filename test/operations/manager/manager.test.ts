import { expect } from 'chai';
import { OrchestratorError } from '../../../src/errors.ts';
import {
  DaemonType,
  getDaemonManager,
  registerLocalLoop,
  type DaemonManager,
  type LocalLoop,
} from '../../../src/operations/manager.ts';
import { startServer, type ServerHost } from '../../../src/operations/server/host.ts';
import type { Command, CommandOutcome, DaemonStatus, HistoryEntry } from '../../../src/orchestrator/types.ts';
import { unhealthy } from '../../../src/health/verdict.ts';
import { AT, daemon, entry, serverOptions, snapshot, temporaryDataDir } from '../server/fleet.ts';

const DAEMONS: DaemonStatus[] = [
  daemon('EVENT_ROUTER'),
  daemon('AUTO_SYNC', {
    health: { ...unhealthy('stale', { stalenessSeconds: 90 }), checkedAt: AT, consecutiveFailures: 2 },
    restartCount: 3,
    lastError: 'ECONNRESET',
  }),
  daemon('ELO_SYNC', { critical: false }),
];

const outcome = (message: string): CommandOutcome => ({ id: 'x', ok: true, code: 'done', message });

const until = async (what: string, holds: () => boolean): Promise<void> => {
  const end = Date.now() + 10_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`it never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

/** One kind of access to a loop: the same questions must get the same answers through both. */
interface Access {
  manager(): Promise<DaemonManager>;
  /** What was asked of the loop. */
  readonly acts: { readonly verb: string; readonly daemons: readonly string[] }[];
  transition(change: Partial<HistoryEntry>): void;
  end(): Promise<void>;
}

const inProcess = async (): Promise<Access> => {
  const listeners = new Set<(entry: HistoryEntry) => void>();
  const acts: Access['acts'] = [];
  const loop: LocalLoop = {
    snapshot: () => snapshot(DAEMONS),
    execute: async (command: Command) => {
      acts.push({ verb: command.verb, daemons: command.daemons });
      return outcome(command.verb);
    },
    onTransition(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const dataDir = temporaryDataDir();
  const forget = registerLocalLoop(dataDir.path, loop);
  let seq = 0;
  return {
    acts,
    manager: () => getDaemonManager({ dataDir: dataDir.path }),
    transition: (change) => {
      for (const listener of listeners) listener(entry(++seq, change));
    },
    async end() {
      forget();
      dataDir.remove();
    },
  };
};

const overTheSocket = async (): Promise<Access> => {
  const dataDir = temporaryDataDir();
  const acts: Access['acts'] = [];
  const host: ServerHost = await startServer(serverOptions(dataDir.path, DAEMONS));
  host.onRequest(async (request) => {
    if (request.kind !== 'act') throw new Error('no act');
    acts.push({ verb: request.act.verb, daemons: request.act.daemons ?? [] });
    return { ok: true, body: outcome(request.act.verb) };
  });
  let seq = 0;
  return {
    acts,
    manager: () => getDaemonManager({ dataDir: dataDir.path }),
    transition: (change) => host.publish({ history: [entry(++seq, change)] }),
    async end() {
      await host.close();
      dataDir.remove();
    },
  };
};

for (const [where, open] of [
  ['in the process of the loop', inProcess],
  ['from another process', overTheSocket],
] as const)
  describe(`the daemon manager ${where}`, function () {
    this.timeout(20_000);
    let access: Access;
    let dm: DaemonManager;
    let told: { type: string; error: OrchestratorError }[];

    before(async () => {
      access = await open();
    });
    beforeEach(async () => {
      access.acts.length = 0;
      told = [];
      dm = await access.manager();
    });
    afterEach(() => dm.close());
    after(() => access.end());

    it('tells the health of one and of all', async () => {
      expect(await dm.getDaemonHealth(DaemonType.AUTO_SYNC)).to.deep.equal({
        status: 'unhealthy',
        healthy: false,
        message: 'stale',
        details: { stalenessSeconds: 90 },
      });
      const all = await dm.getAllDaemonHealth();
      expect([...all.keys()]).to.deep.equal(['EVENT_ROUTER', 'AUTO_SYNC', 'ELO_SYNC']);
      expect(all.get('EVENT_ROUTER')?.healthy).to.be.true;
    });

    it('tells how often a daemon was restarted and what ended it', async () => {
      expect(await dm.getDaemonInfo(DaemonType.AUTO_SYNC)).to.include({ restartCount: 3, lastError: 'ECONNRESET' });
    });

    it('acts through the one loop that runs', async () => {
      for (const act of [dm.startDaemon, dm.stopDaemon, dm.restartDaemon, dm.resetDaemonState])
        expect(await act(DaemonType.ELO_SYNC)).to.include({ ok: true, code: 'done' });
      expect(access.acts.map(({ verb }) => verb)).to.deep.equal(['start', 'stop', 'restart', 'reset']);
      expect(access.acts[0]?.daemons).to.deep.equal(['ELO_SYNC']);
    });

    it('knows no other daemon', async () => {
      for (const ask of [dm.getDaemonHealth, dm.getDaemonInfo, dm.startDaemon]) {
        const error = await ask('NOBODY').then(
          () => null,
          (thrown: OrchestratorError) => thrown,
        );
        expect(error?.code).to.equal('UNKNOWN_DAEMON');
      }
      expect(access.acts).to.have.length(0);
    });

    const listen = (): Promise<void> => dm.setFailureCallback((type, error) => told.push({ type, error }));

    it('calls back for FAILED, for the loss of a critical daemon, and for nothing else', async () => {
      await listen();
      access.transition({ daemon: 'ELO_SYNC', to: 'RESTARTING', why: 'exit' }); // not critical
      access.transition({ daemon: 'AUTO_SYNC', to: 'STOPPING', why: 'operator' }); // told to
      access.transition({ daemon: 'AUTO_SYNC', from: 'STARTING', to: 'RESTARTING', why: 'start-failed' }); // was not up
      access.transition({ daemon: 'AUTO_SYNC', to: 'COMPLETED', why: null });
      access.transition({ daemon: 'EVENT_ROUTER', to: 'RESTARTING', why: 'exit', message: 'killed' });
      access.transition({ daemon: 'AUTO_SYNC', to: 'STOPPING', why: 'hung', message: 'no answer' });
      access.transition({ daemon: 'ELO_SYNC', from: 'STARTING', to: 'FAILED', why: 'exit', message: 'spent' });
      await until('three calls', () => told.length >= 3);
      expect(told.map(({ type }) => type)).to.deep.equal(['EVENT_ROUTER', 'AUTO_SYNC', 'ELO_SYNC']);
      expect(told[2]?.error).to.be.instanceOf(OrchestratorError);
      expect(told[2]?.error.message).to.equal('cannot keep ELO_SYNC running: spent');
      expect(told[2]?.error.remedy).to.contain('master_loop reset ELO_SYNC');
    });

    it('replaces an earlier callback, and calls nobody once it is removed', async () => {
      await listen();
      let second = 0;
      await dm.setFailureCallback(() => second++);
      access.transition({ daemon: 'ELO_SYNC', to: 'FAILED' });
      await until('the second is called', () => second === 1);
      await dm.setFailureCallback(null);
      const other = await access.manager();
      let heard = 0;
      await other.setFailureCallback(() => heard++);
      access.transition({ daemon: 'AUTO_SYNC', to: 'FAILED' });
      await until('another manager still hears', () => heard === 1);
      await other.close();
      expect([told.length, second]).to.deep.equal([0, 1]);
    });

    it('outlives a callback that throws', async () => {
      const warnings: string[] = [];
      const onWarning = (warning: Error): void => void warnings.push(warning.message);
      process.on('warning', onWarning);
      await dm.setFailureCallback((type, error) => {
        told.push({ type, error });
        throw new Error('a bug of the caller');
      });
      access.transition({ daemon: 'ELO_SYNC', to: 'FAILED' });
      access.transition({ daemon: 'AUTO_SYNC', to: 'FAILED' });
      await until('both calls', () => told.length === 2);
      await until('both warnings', () => warnings.length === 2);
      process.off('warning', onWarning);
      expect(warnings[0]).to.contain('a bug of the caller');
    });
  });

describe('the daemon manager of a loop that is not there', function () {
  this.timeout(20_000);

  it('says so', async () => {
    const dataDir = temporaryDataDir();
    const error = await getDaemonManager({ dataDir: dataDir.path }).then(
      () => null,
      (thrown: OrchestratorError) => thrown,
    );
    dataDir.remove();
    expect(error?.code).to.equal('NOT_RUNNING');
  });

  it('any more: finds the next one, and tells what became FAILED meanwhile', async () => {
    const dataDir = temporaryDataDir();
    const first = await startServer(serverOptions(dataDir.path, DAEMONS));
    const dm = await getDaemonManager({ dataDir: dataDir.path });
    const told: string[] = [];
    await dm.setFailureCallback((type) => told.push(type));
    await first.close();
    const gone = await dm.getDaemonInfo('EVENT_ROUTER').then(
      () => null,
      (thrown: OrchestratorError) => thrown,
    );
    expect(gone?.code).to.equal('NOT_RUNNING');
    // Longer than it waits between two looks: it has looked in vain by the time the next one is there.
    await new Promise((resolve) => setTimeout(resolve, 2_200));
    const failed = [daemon('EVENT_ROUTER'), daemon('ELO_SYNC', { state: 'FAILED', lastError: 'spent' })];
    const second = await startServer(serverOptions(dataDir.path, failed));
    await until('it was told', () => told.length > 0);
    expect(told).to.deep.equal(['ELO_SYNC']);
    expect(await dm.getDaemonInfo('ELO_SYNC')).to.include({ state: 'FAILED' });
    await dm.close();
    await second.close();
    dataDir.remove();
  });
});

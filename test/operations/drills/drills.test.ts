import { expect } from 'chai';
import { defineDaemon, type DaemonDefinition } from '../../../src/daemons/definition.ts';
import { alertRules } from '../../../src/fleet/alerts.ts';
import { healthy, unhealthy } from '../../../src/health/verdict.ts';
import { startAlerts } from '../../../src/operations/alerts/alerts.ts';
import { startDrills, type DrillRequest, type Drills } from '../../../src/operations/drills/drills.ts';
import type { DrillList, DrillReports, DrillResult, DrillVerification } from '../../../src/operations/drills/types.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import { realNetwork } from '../../../src/seams/real-network.ts';
import {
  clearFleets,
  EVENT_ROUTER,
  liveFleet,
  type LiveFleet,
  type LiveFleetOptions,
} from '../../support/live-fleet.ts';

/*  EVENT_ROUTER ←(reattach) SOURCE    publishes ten times a second
 *       ↑(reattach)                   has a cycle
 *      SINK ← LEAF                    SINK handles, and keeps a file that its health looks at
 */
const SOURCE: DaemonDefinition = defineDaemon({
  type: 'SOURCE',
  purpose: 'publishes',
  category: 'test',
  dependsOn: ['EVENT_ROUTER'],
  publishes: ['DAEMON_STATUS_CHANGED'],
  recoveryTargetSeconds: 10,
  create: ({ publish }) => ({
    every: {
      periodSeconds: 0.1,
      async run() {
        await publish('DAEMON_STATUS_CHANGED', { daemon: 'X', from: 'A', to: 'B', cause: null });
      },
    },
  }),
});

const SINK: DaemonDefinition = defineDaemon({
  type: 'SINK',
  purpose: 'handles',
  category: 'test',
  critical: true,
  dependsOn: ['EVENT_ROUTER'],
  subscribes: ['DAEMON_STATUS_CHANGED'],
  create({ files, dataDir }) {
    const path = `${dataDir}/kept`;
    return {
      start() {
        if (!files.exists(`${dataDir}/made`)) files.writeAtomically(path, 'kept');
        files.writeAtomically(`${dataDir}/made`, '');
      },
      on: { DAEMON_STATUS_CHANGED: () => undefined },
      health: () => (files.exists(path) ? healthy() : unhealthy('its file is gone')),
      // Through the context of one start: it cannot mend when that start has ended, the next one must.
      breakage: {
        what: 'removes its file',
        break: () => files.remove(path),
        heal: () => files.writeAtomically(path, ''),
      },
    };
  },
});

const LEAF: DaemonDefinition = defineDaemon({
  type: 'LEAF',
  purpose: 'goes down with SINK',
  category: 'test',
  dependsOn: ['SINK'],
  create: () => ({}),
});

const FLEET = [EVENT_ROUTER, SOURCE, SINK, LEAF];

interface Rehearsed {
  readonly live: LiveFleet;
  readonly drills: Drills;
  /** Asks as the CLI does. */
  ask<Answer>(verb: Parameters<Drills['handle']>[0], args?: Readonly<Record<string, unknown>>): Promise<Answer>;
}

const open: Drills[] = [];

const rehearse = async (options: Partial<LiveFleetOptions> = {}): Promise<Rehearsed> => {
  const live = await liveFleet({ daemons: FLEET, ...options });
  const drills = startDrills({
    supervisor: live.supervisor,
    router: live.router,
    clock: live.clock,
    files: realFileSystem(),
    dataDir: live.folder,
    health: () => Promise.resolve(live.supervisor.core.get('SINK')?.state === 'RUNNING' ? 200 : 503),
    log: live.log,
  });
  open.push(drills);
  return {
    live,
    drills,
    ask: (verb, args = {}) => drills.handle(verb, args, new AbortController().signal) as Promise<never>,
  };
};

const passed = (result: DrillResult): DrillResult => {
  expect(result.status, JSON.stringify(result, null, 2)).to.equal('passed');
  expect(result.checks.every(({ ok }) => ok)).to.be.true;
  return result;
};

const steps = (result: DrillResult): string[] => result.steps.map(({ name }) => name);
const checkOf = (result: DrillResult, what: string): string =>
  result.checks.find((check) => check.what === what)?.detail ?? 'no such check';

const refusal = async (work: Promise<unknown>): Promise<Error & { code: string; remedy: string }> => {
  try {
    await work;
  } catch (thrown) {
    return thrown as Error & { code: string; remedy: string };
  }
  throw new Error('expected a refusal');
};

describe('drills on a live fleet', function () {
  this.timeout(30_000);
  afterEach(async () => {
    for (const drills of open.splice(0)) await drills.close();
    await clearFleets();
  });

  it('router-loss: the thread ends, every subscriber re-attaches, nobody else restarts, no event is lost', async () => {
    const { live, drills } = await rehearse();
    const result = passed(await drills.run({ drill: 'router-loss' }));
    expect(result.target).to.equal('EVENT_ROUTER');
    expect(steps(result)).to.deep.equal([
      'injected',
      'detected',
      'restarted',
      'ready',
      're-subscribed',
      'healed',
      'steady',
    ]);
    expect(checkOf(result, 'the fault happened')).to.match(/^thread 1 ended: .*; thread 2 serves now$/);
    expect(checkOf(result, 'exactly its dependents by the edge table went down with it')).to.equal(
      'nobody else went down',
    );
    expect(live.supervisor.core.get('SINK')?.generation).to.equal(1);
    expect(result.recoveryTargetSeconds).to.equal(5);
    expect(result.recoverySeconds).to.be.lessThan(5);
  });

  it('daemon-crash: the start ends, its dependents go and come with it, nothing is charged', async () => {
    const { live, drills } = await rehearse();
    const result = passed(await drills.run({ drill: 'daemon-crash', target: 'SINK' }));
    expect(steps(result)).to.deep.equal([
      'injected',
      'detected',
      'restarted',
      'ready',
      're-subscribed',
      'healed',
      'steady',
    ]);
    expect(checkOf(result, 'exactly its dependents by the edge table went down with it')).to.equal('1: LEAF');
    const status = live.supervisor.statusOf('SINK');
    expect(status).to.include({ generation: 2, restartCount: 0, restartsLastHour: 0, lastCause: 'drill' });
    expect(result.recoveryTargetSeconds).to.equal(null);
  });

  it('daemon-hang in a cycle: checks miss it, and it is killed and restarted', async () => {
    const { drills } = await rehearse();
    const result = passed(await drills.run({ drill: 'daemon-hang', target: 'SOURCE' }));
    expect(checkOf(result, 'the fault happened')).to.match(/^\d+ checks missed: cycle has not moved/);
    expect(result.steps.find(({ name }) => name === 'detected')?.note).to.match(/^drill: 3 failed health checks/);
  });

  it('daemon-hang in a handler: the delivery that never returns is missed apart', async () => {
    const { drills } = await rehearse();
    const result = passed(await drills.run({ drill: 'daemon-hang', target: 'SINK', in: 'handler' }));
    expect(checkOf(result, 'the fault happened')).to.match(/handler of DAEMON_STATUS_CHANGED has not moved/);
  });

  it('daemon-hang in a handler that no event reaches is a failed drill, and nothing stays injected', async () => {
    const quiet = await rehearse({ daemons: [EVENT_ROUTER, SINK, LEAF] });
    await quiet.live.settled();
    const controller = new AbortController();
    const running = quiet.drills.run({ drill: 'daemon-hang', target: 'SINK' }, controller.signal);
    await quiet.live.until('the drill waits', () => quiet.live.lines.some((line) => line.includes('begins on SINK')));
    controller.abort(new Error('the caller hung up'));
    const result = await running;
    expect(result).to.include({ status: 'cancelled', passed: false, reason: 'the caller hung up' });
    await quiet.live.router?.publishExternal('test', 'DAEMON_STATUS_CHANGED', {
      daemon: 'X',
      from: 'A',
      to: 'B',
      cause: null,
    });
    await quiet.live.until('it is handled', () => quiet.live.router?.stats().lagTotal === 0);
    expect(quiet.live.supervisor.core.get('SINK')).to.include({ drill: false, generation: 1 });
  });

  it('health-failure: the real file is gone, checks fail, and the next start mends what the ended one could not', async () => {
    const { drills } = await rehearse();
    const result = passed(await drills.run({ drill: 'health-failure', target: 'SINK' }));
    expect(result.fault).to.equal('breaks the resource of SINK: removes its file');
    expect(checkOf(result, 'the fault happened')).to.match(/^\d+ checks failed: its file is gone$/);
  });

  it('crash-loop: each delay is kept, FAILED holds, /health says so, a reset brings it back with a clean counter', async () => {
    const { live, drills } = await rehearse();
    const result = passed(await drills.run({ drill: 'crash-loop', target: 'SINK' }));
    expect(steps(result)).to.deep.equal(['injected', 'failed', 'reset', 'ready', 're-subscribed', 'steady']);
    expect(checkOf(result, 'the fault happened')).to.equal('3 starts were made to fail');
    expect(checkOf(result, '/health tells the truth')).to.equal('503; critical and not RUNNING: SINK');
    expect(live.supervisor.statusOf('SINK')).to.include({ state: 'RUNNING', restartCount: 0, wanted: 'up' });
  });

  it('full-recovery: everything stops, nothing is left, it drains, and starts in order', async () => {
    const { live, drills } = await rehearse();
    const result = passed(await drills.run({ drill: 'full-recovery', drainMs: 200 }));
    expect(steps(result)).to.deep.equal(['injected', 'stopped', 'proven-empty', 'drained', 'started', 'steady']);
    expect(checkOf(result, 'nothing was left between stop and start')).to.match(/^no scope and no process/);
    expect(live.supervisor.core.members.map(({ generation }) => generation)).to.deep.equal([2, 2, 2, 2]);
  });

  it('a fault that nobody finds fails the drill, and is healed', async () => {
    const blind: DaemonDefinition = {
      ...SINK,
      type: 'BLIND',
      create: (context) => ({ ...SINK.create(context), health: () => healthy() }),
    };
    const { live, drills } = await rehearse({
      daemons: [EVENT_ROUTER, blind],
      over: { BLIND: { health: { periodMs: 250, timeoutMs: 50, failures: 1 } } },
    });
    const result = await drills.run({ drill: 'health-failure' });
    expect(result).to.include({ status: 'failed', passed: false, target: 'BLIND' });
    expect(result.checks.map(({ what, ok }) => `${what}: ${ok}`)).to.deep.equal([
      'the fault happened: false',
      'it was found: false',
    ]);
    expect(realFileSystem().exists(`${live.folder}/daemons/BLIND/kept`)).to.be.true;
    expect(live.supervisor.core.get('BLIND')?.drill).to.be.false;
  });

  /** SINK, which nobody can mend any more. */
  const LOST: DaemonDefinition = {
    ...SINK,
    create(context) {
      const made = SINK.create(context);
      const heal = (): Promise<never> => Promise.reject(new Error('the disk is gone'));
      return { ...made, breakage: { ...made.breakage!, heal } };
    },
  };
  const LOST_FLEET = [EVENT_ROUTER, SOURCE, LOST, LEAF];

  it('what cannot be mended by hand is said, kept as failed, and holds nobody else off', async () => {
    const { live, ask, drills } = await rehearse({ daemons: LOST_FLEET });
    await live.settled();
    const injected = await ask<DrillResult>('inject', { drill: 'health-failure', target: 'SINK' });
    expect(await ask('heal')).to.deep.equal({
      ...{ ok: false, healed: ['SINK'], message: 'cannot mend what was broken in SINK: the disk is gone' },
    });
    const report = await ask<DrillResult>('report', { id: injected.id });
    expect(report).to.include({ status: 'failed', reason: 'the disk is gone' });
    expect(checkOf(report, 'what was broken is mended')).to.equal('the disk is gone');
    expect(drills.busy()).to.equal(null);
  });

  it('what cannot be mended when the loop is stopped does not hold up its stop', async () => {
    const { live, ask, drills } = await rehearse({ daemons: LOST_FLEET });
    await live.settled();
    const injected = await ask<DrillResult>('inject', { drill: 'health-failure', target: 'SINK' });
    await drills.close();
    expect(await ask<DrillResult>('report', { id: injected.id })).to.include({ status: 'interrupted' });
  });

  it('what the next start of its daemon cannot mend either is said in the log', async () => {
    const first = await rehearse({ daemons: LOST_FLEET });
    await first.live.settled();
    await first.ask('inject', { drill: 'health-failure', target: 'SINK' });
    await first.live.abandon();
    const second = await rehearse({ folder: first.live.folder, daemons: LOST_FLEET });
    await second.live.until('it is said', () =>
      second.live.lines.includes('ERROR [master] cannot mend what a drill had broken in SINK: the disk is gone'),
    );
  });

  it('a drill during a drill, or during an operation, is refused and names the holder', async () => {
    const { live, drills, ask } = await rehearse();
    await live.settled();
    const first = drills.run({ drill: 'daemon-crash', target: 'LEAF' });
    const second = await refusal(drills.run({ drill: 'router-loss' }));
    expect(second.code).to.equal('REFUSED');
    expect(second.message).to.equal('cannot begin drill router-loss: drill daemon-crash on LEAF is under way');
    expect(drills.busy()).to.equal('drill daemon-crash on LEAF is under way');
    passed(await first);
    expect(drills.busy()).to.equal(null);
    const recovering = live.supervisor.execute({
      verb: 'recover',
      daemons: [],
      origin: 'operator',
      reason: 'by hand',
      waitMs: 20_000,
      drainMs: 50,
    });
    const third = await refusal(ask('run', { drill: 'router-loss' }));
    expect(third.message).to.match(
      /^cannot begin drill router-loss: recover by operator is under way, phase \w+ \(by hand\)$/,
    );
    expect((await recovering).ok).to.be.true;
  });

  it('what is misspelt or unfit is refused with the nearest valid thing', async () => {
    const { live, ask } = await rehearse();
    await live.settled();
    const table: readonly (readonly [Readonly<Record<string, unknown>>, string, RegExp])[] = [
      [{ drill: 'rooter-loss' }, 'ARGUMENTS_INVALID', /did you mean router-loss\?/],
      [{}, 'ARGUMENTS_INVALID', /router-loss, daemon-crash/],
      [{ drill: 'daemon-crash', target: 'SNIK' }, 'UNKNOWN_DAEMON', /did you mean SINK\?/],
      [{ drill: 'router-loss', target: 'SINK' }, 'ARGUMENTS_INVALID', /it can be done to EVENT_ROUTER/],
      [{ drill: 'daemon-hang', target: 'LEAF' }, 'ARGUMENTS_INVALID', /it can be done to EVENT_ROUTER, SOURCE, SINK/],
      [
        { drill: 'daemon-hang', target: 'SINK', in: 'cycle' },
        'ARGUMENTS_INVALID',
        /it can be done to EVENT_ROUTER, SOURCE/,
      ],
      [{ drill: 'health-failure', target: 'LEAF' }, 'ARGUMENTS_INVALID', /it can be done to EVENT_ROUTER, SINK/],
      [{ drill: 'full-recovery', target: 'LEAF' }, 'ARGUMENTS_INVALID', /drill list/],
      [{ drill: 'daemon-crash', in: 'cycle' }, 'ARGUMENTS_INVALID', /belongs to daemon-hang/],
    ];
    for (const [args, code, remedy] of table) {
      const refused = await refusal(ask('run', args));
      expect(refused.code, JSON.stringify(args)).to.equal(code);
      expect(refused.message).to.match(/^cannot /);
      expect(refused.remedy, refused.message).to.match(remedy);
    }
    expect((await refusal(ask('report', { id: 'd-1' }))).remedy).to.match(/no drill was run yet/);
    expect((await ask<DrillReports>('report')).results).to.deep.equal([]);
  });

  it('list says what each drill does, who can be its target and who is by default', async () => {
    const { live, ask } = await rehearse();
    await live.settled();
    const { drills, busy } = await ask<DrillList>('list');
    expect(busy).to.equal(null);
    expect(drills.map(({ name, targets, byDefault }) => [name, targets.join(), byDefault])).to.deep.equal([
      ['router-loss', 'EVENT_ROUTER', 'EVENT_ROUTER'],
      ['daemon-crash', 'EVENT_ROUTER,SOURCE,SINK,LEAF', 'SOURCE'],
      ['daemon-hang', 'EVENT_ROUTER,SOURCE,SINK', 'SOURCE'],
      ['health-failure', 'EVENT_ROUTER,SINK', 'SINK'],
      ['crash-loop', 'EVENT_ROUTER,SOURCE,SINK,LEAF', 'SOURCE'],
      ['full-recovery', '', null],
    ]);
  });

  it('inject, verify, heal by hand: the fault is proven, holds off other drills, and is gone after', async () => {
    const { live, drills, ask } = await rehearse();
    await live.settled();
    const injected = await ask<DrillResult>('inject', { drill: 'daemon-crash', target: 'LEAF' });
    expect(injected).to.include({ status: 'injected', passed: null });
    expect((await refusal(drills.run({ drill: 'router-loss' }))).message).to.match(/is not healed$/);
    await live.until(
      'it came back',
      () => live.supervisor.core.get('LEAF')?.generation === 2 && live.supervisor.isSteady(),
    );
    const verified = await ask<DrillVerification>('verify');
    expect(verified.checks.map(({ what, ok }) => [what, ok])).to.deep.equal([
      ['the fault really happened', true],
      ['the fleet is steady', true],
      ['no subscription has a gap', true],
    ]);
    expect(await ask('heal')).to.deep.equal({ ok: true, healed: ['LEAF'], message: 'healed LEAF' });
    expect(await ask('heal')).to.deep.include({ ok: true, healed: [] });
    expect((await ask<DrillResult>('report', { id: injected.id })).status).to.equal('healed');
    expect((await refusal(ask('inject', { drill: 'full-recovery' }))).message).to.match(/it is an operation/);
  });

  it('results are kept, and a master that dies in a drill leaves word of it and nothing injected', async () => {
    const first = await rehearse();
    const kept = passed(await first.drills.run({ drill: 'daemon-crash', target: 'LEAF' }));
    const running = first.drills.run({ drill: 'crash-loop', target: 'LEAF' }).catch(() => undefined);
    await first.live.until('it failed twice', () => (first.live.supervisor.core.get('LEAF')?.restarts ?? 0) >= 2);
    const file = (await first.ask<DrillReports>('report')).results[0];
    expect(file).to.include({ status: 'running', drill: 'crash-loop' });
    await first.live.abandon();

    const second = await rehearse({ folder: first.live.folder });
    await second.live.settled();
    const { results } = await second.ask<DrillReports>('report');
    expect(results.map(({ id, status }) => [id, status])).to.deep.equal([
      [file?.id, 'interrupted'],
      [kept.id, 'passed'],
    ]);
    expect(second.live.supervisor.statusOf('LEAF')).to.include({ state: 'RUNNING', restartCount: 0 });
    expect(second.drills.busy()).to.equal(null);
    void running;
  });

  it('a resource that an interrupted drill left broken is mended by the next start of its daemon', async () => {
    const first = await rehearse();
    await first.live.settled();
    await first.ask('inject', { drill: 'health-failure', target: 'SINK' });
    const kept = `${first.live.folder}/daemons/SINK/kept`;
    expect(realFileSystem().exists(kept)).to.be.false;
    await first.live.abandon();

    const second = await rehearse({ folder: first.live.folder });
    await second.live.settled();
    expect(realFileSystem().exists(kept)).to.be.true;
    expect((await second.ask<DrillReports>('report')).results[0]).to.include({ status: 'interrupted', passed: false });
    expect(second.live.supervisor.statusOf('SINK')).to.include({ restartCount: 0 });
  });

  it('a loop that is stopped in the middle of a drill heals first and says that it was interrupted', async () => {
    const { live, drills } = await rehearse();
    const running = drills.run({ drill: 'crash-loop', target: 'LEAF' });
    await live.until('it failed once', () => (live.supervisor.core.get('LEAF')?.restarts ?? 0) >= 1);
    await drills.close();
    expect(await running).to.include({ status: 'interrupted', passed: false, reason: 'the loop is stopping' });
    await live.settled();
    expect(live.supervisor.statusOf('LEAF')).to.include({ state: 'RUNNING', restartCount: 0 });
    expect((await refusal(drills.run({ drill: 'router-loss' }))).message).to.match(/the loop is stopping$/);
  });

  it('a drill of the schedule is kept as such, and one that cannot begin says why', async () => {
    const { drills, ask } = await rehearse();
    const outcome = await drills.onSchedule({ drill: 'daemon-crash', target: 'LEAF' });
    expect(outcome.message).to.match(/^d-\d{8}-\d{9}-daemon-crash passed$/);
    expect((await ask<DrillResult>('report', { id: 'last' })).origin).to.equal('schedule');
    expect((await refusal(drills.onSchedule({ drill: 'no-such', target: null }))).code).to.equal('ARGUMENTS_INVALID');
  });

  it('four drills within an hour raise no restart alert; a crash of a critical target is critical-down, and resolved', async () => {
    const { live, drills } = await rehearse();
    await live.settled();
    const alerts = startAlerts({
      fleet: { name: 'f', alerts: alertRules([], ['log']), alertSinks: [] },
      supervisor: live.supervisor,
      router: live.router,
      clock: live.clock,
      network: realNetwork(),
      log: live.log,
      drill: () => drills.busy(),
    });
    try {
      for (let turn = 0; turn < 4; turn++) passed(await drills.run({ drill: 'daemon-crash', target: 'SINK' }));
      expect(alerts.figures().open).to.deep.equal([]);
      const said = live.lines.filter((line) => line.includes('alert '));
      expect(said.filter((line) => line.includes('alert restarts-per-hour'))).to.deep.equal([]);
      expect(said.filter((line) => line.startsWith('CRITICAL [master] alert critical-down'))).to.have.length(4);
      expect(said[0]).to.match(/\(while drill daemon-crash on SINK is under way\)$/);
    } finally {
      alerts.close();
    }
  });

  it('a recovery by an operator in the middle of a drill ends the drill, healed', async () => {
    const { live, drills } = await rehearse();
    await live.settled();
    const request: DrillRequest = { drill: 'crash-loop', target: 'LEAF' };
    const running = drills.run(request);
    await live.until('it failed once', () => (live.supervisor.core.get('LEAF')?.restarts ?? 0) >= 1);
    const recovering = live.supervisor.execute({
      verb: 'recover',
      daemons: [],
      origin: 'operator',
      reason: 'by hand',
      waitMs: 20_000,
      drainMs: 50,
    });
    const result = await running;
    expect(result).to.include({ status: 'failed', reason: 'recover by operator began in the middle' });
    expect((await recovering).ok).to.be.true;
    expect(live.supervisor.statusOf('LEAF')).to.include({ state: 'RUNNING' });
  });
});

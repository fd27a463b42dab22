/** Daemons that say they are well and do no work, in a fleet that really runs, with the shipped watchdog beside them. */
import { expect } from 'chai';
import { daemonWatchdog } from '../../src/daemons/health/daemon-watchdog.ts';
import { defineDaemon, type DaemonContext, type DaemonDefinition } from '../../src/daemons/definition.ts';
import { healthy } from '../../src/health/verdict.ts';
import { movedClock } from '../events/support.ts';
import { clearFleets, EVENT_ROUTER, liveFleet, type LiveFleet } from '../support/live-fleet.ts';

const TOPIC = 'QUALITY_CHECK_REQUESTED';

const subscriber = (
  type: string,
  handle: (context: Pick<DaemonContext<unknown>, 'clock'>) => Promise<void> | void,
  maxInFlight = 1,
): DaemonDefinition =>
  defineDaemon({
    ...{ type, purpose: 'says that it is well', category: 'test', dependsOn: ['EVENT_ROUTER'], maxInFlight },
    subscribes: [TOPIC],
    create: (context) => ({ on: { [TOPIC]: () => handle(context) }, health: () => healthy() }),
  });

const WATCH = { periodSeconds: 0.1, lagMax: 50, stillSeconds: 0.5, deadLetterSeconds: 1 };
const AGAINST = 'WARN [DAEMON_WATCHDOG] evidence against GRAY';

describe('A gray daemon', function () {
  this.timeout(30_000);
  afterEach(clearFleets);

  let live: LiveFleet;
  /** At each look of the watchdog: how many events waited for GRAY, and whether it has been spoken against. */
  let looks: { readonly lag: number; readonly against: boolean }[];
  const watching = async (
    daemons: readonly DaemonDefinition[],
    options: Partial<Parameters<typeof liveFleet>[0]> = {},
  ): Promise<void> => {
    looks = [];
    const note = (): void => {
      const lag = live.router!.ledger().find((state) => state.subscriber === 'GRAY')?.lag ?? 0;
      looks.push({ lag, against: live.lines.some((line) => line.startsWith(AGAINST)) });
    };
    const watchdog: DaemonDefinition = {
      ...daemonWatchdog,
      create(context) {
        const made = daemonWatchdog.create(context);
        const cycle = made.every as { periodSeconds: number; run(): void };
        return {
          ...made,
          every: {
            ...cycle,
            run() {
              cycle.run();
              note();
            },
          },
        };
      },
    };
    live = await liveFleet({
      daemons: [EVENT_ROUTER, watchdog, ...daemons],
      over: { DAEMON_WATCHDOG: { config: daemonWatchdog.config.parse(WATCH) } },
      ...options,
    });
    await live.settled();
  };
  const health = () => live.supervisor.statusOf('GRAY')!.health;
  const ask = (): Promise<unknown> => live.router!.publishExternal('test', TOPIC, { config: null });
  const shownDegraded = async (message: RegExp): Promise<void> => {
    await live.until('it is shown as degraded', () => health().status === 'degraded');
    expect(health().message).to.match(message);
    expect(health().details).to.include({ selfReport: 'healthy' });
  };
  const well = async (): Promise<void> => {
    await live.until('it is well again', () => health().status === 'healthy');
    expect(live.lines.join('\n')).to.include('INFO [DAEMON_WATCHDOG] nothing speaks against GRAY any more');
    expect(live.supervisor.statusOf('GRAY')).to.include({ generation: 1, restartsTotal: 0 });
  };

  it('whose input comes faster than it is handled is degraded at the second look that sees it, until it catches up', async () => {
    let slow = true;
    await watching([subscriber('GRAY', ({ clock }) => (slow ? clock.sleep(30) : undefined))]);
    const flood = setInterval(() => void Promise.all([ask(), ask(), ask(), ask()]), 10);
    try {
      await shownDegraded(/^DAEMON_WATCHDOG: \d+ events of QUALITY_CHECK_REQUESTED wait, and become no fewer$/);
    } finally {
      clearInterval(flood);
    }
    const first = looks.findIndex(({ lag }) => lag > WATCH.lagMax);
    expect(looks[first]).to.include({ against: false });
    expect(looks[first + 1]).to.include({ against: true });
    slow = false;
    await well();
  });

  it('whose handler fails on every try is degraded while its input stands still', async () => {
    let broken = true;
    const clock = movedClock(); // so that the second try comes when the test says so
    await watching(
      [
        subscriber('GRAY', () => {
          if (broken) throw new Error('no such table');
        }),
      ],
      { routerClock: clock },
    );
    await ask();
    await shownDegraded(/^DAEMON_WATCHDOG: 1 events of QUALITY_CHECK_REQUESTED wait, and nothing has moved for \d s$/);
    broken = false;
    clock.move(1_500);
    await well();
  });

  it('whose events die is degraded until they live again', async () => {
    let broken = true;
    let tries = 0;
    const clock = movedClock();
    await watching(
      [
        subscriber(
          'GRAY',
          () => {
            tries++;
            if (broken) throw new Error('no such table');
          },
          8,
        ),
      ],
      { routerClock: clock },
    );
    for (let event = 0; event < 4; event++) await ask();
    for (let round = 1; round <= 6 && live.router!.stats().deadLettered < 4; round++) {
      await live.until(`try ${round} of all`, () => tries >= 4 * round || live.router!.stats().deadLettered === 4);
      clock.move(60_000);
    }
    await live.until('all are dead', () => live.router!.stats().deadLettered === 4);
    await shownDegraded(/^DAEMON_WATCHDOG: 4 of its last 4 events became dead letters$/);
    broken = false;
    for (let event = 0; event < 4; event++) await ask();
    await well();
  });

  it('whose cycle never comes back is degraded by the age of its output, long before it is overdue', async () => {
    const gate = new AbortController();
    const gray = defineDaemon({
      ...{ type: 'GRAY', purpose: 'says that it is well', category: 'test' },
      create: ({ clock }) => ({
        every: {
          periodSeconds: 0.05,
          run: () => clock.sleep(gate.signal.aborted ? 1 : 1e6, gate.signal).catch(() => {}),
        },
        health: () => healthy(),
      }),
    });
    await watching([gray]);
    await shownDegraded(/^DAEMON_WATCHDOG: its cycle of every 0\.05 s last went through \d s ago$/);
    gate.abort();
    await well();
  });

  it('whose cycles all fail is degraded before there are enough of them for an error rate', async () => {
    let broken = true;
    const run = (): void => {
      if (broken) throw new Error('no such table');
    };
    await watching([
      defineDaemon({
        ...{ type: 'GRAY', purpose: 'says that it is well', category: 'test' },
        create: () => ({ every: { periodSeconds: 0.25, run }, health: () => healthy() }),
      }),
    ]);
    await shownDegraded(/^DAEMON_WATCHDOG: its cycle of every 0\.25 s last went through \d s ago$/);
    expect(health().details.cycles).to.be.below(10);
    broken = false;
    await well();
  });

  it('whose handler waits for ever is degraded although its cycles go on', async () => {
    const gate = new AbortController();
    await watching([
      defineDaemon({
        ...{ type: 'GRAY', purpose: 'says that it is well', category: 'test', dependsOn: ['EVENT_ROUTER'] },
        subscribes: [TOPIC],
        create: ({ clock }) => ({
          on: { [TOPIC]: () => clock.sleep(1e6, gate.signal).catch(() => {}) },
          every: { periodSeconds: 0.05, run: () => clock.sleep(45) },
          health: () => healthy(),
        }),
      }),
    ]);
    await ask();
    await shownDegraded(/^DAEMON_WATCHDOG: 1 events of QUALITY_CHECK_REQUESTED wait, and nothing has moved for \d s$/);
    gate.abort();
    await well();
  });

  it('is not one that is busy with a long handler that moves, nor one that has nothing to do', async () => {
    let done = false;
    await watching([
      subscriber('GRAY', async ({ clock }) => {
        while (!done) await clock.sleep(50);
      }),
      defineDaemon({
        type: 'IDLE',
        purpose: 'waits',
        category: 'test',
        subscribes: [TOPIC],
        create: () => ({ on: { [TOPIC]: () => {} } }),
      }),
    ]);
    for (let event = 0; event < 20; event++) await ask();
    const from = looks.length;
    await live.until('it was looked at for three times the limit', () => looks.length > from + 15);
    done = true;
    await live.until('all is handled', () => live.router!.stats().lagTotal === 0);
    const to = looks.length;
    await live.until('it was looked at with nothing to do', () => looks.length > to + 7);
    expect(live.lines.filter((line) => line.includes('evidence against'))).to.deep.equal([]);
  });
});

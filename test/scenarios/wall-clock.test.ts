/** Time that is not what it seems, on real masters: a wall clock that is set, and a process that is stopped for a while. */
import { expect } from 'chai';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { moduleUrl, packageRoot } from '../../src/seams/entry.ts';
import { LiveMaster, until } from './live-master.ts';

const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;
/** Longer than the three misses after which any daemon is restarted in quick: 3 × 5 s and 2 s to answer. */
const STOPPED_MS = 20_000;

const DAY = '2031-05-07';
const SCHEDULED = `version: 1
name: scheduled
schedule:
  - { at: "30 12 * * *", timeZone: UTC, do: drill, drill: daemon-crash, target: WORKER }
daemons:
  WORKER: { module: ./worker.js, restart: { delaysSeconds: [0.1] } }
`;
const WORKER = `export default { type: 'WORKER', purpose: 'works', category: 'test', create: () => ({}) };`;

/** A master whose wall clock the test may set. */
class SettableMaster extends LiveMaster {
  readonly #file: string;
  #shift = 0;

  constructor(folder: string, fleet: string, modules: Readonly<Record<string, string>> = {}) {
    const file = join(folder, `shift-${modules['worker.js'] === undefined ? 'fleet' : 'schedule'}`);
    super(fleet, modules, {
      SHIFTED_CLOCK: file,
      NODE_OPTIONS: `--import=${moduleUrl('./shifted-clock.ts', import.meta.url).href}`,
      RINGRIFT_JOB_SCHEDULER_PORT: '0',
      RINGRIFT_DATA_SERVER_PORT: '0',
    });
    this.#file = file;
    this.shiftTo(0);
  }

  /** From now on its wall shows the real time and so many milliseconds more. */
  shiftTo(ms: number): void {
    this.#shift = ms;
    writeFileSync(this.#file, String(ms));
  }

  setTo(iso: string): void {
    this.shiftTo(Date.parse(iso) - Date.now());
  }

  /** What its wall shows. */
  now(): number {
    return Date.now() + this.#shift;
  }
}

describe('A wall clock that is set', function () {
  this.timeout(180_000);
  let folder: string;
  let bundled: SettableMaster;
  let scheduled: SettableMaster;
  /** What became of the scheduled drill: begins in the log, and whether a time was missed. */
  let story: Promise<{
    readonly afterItsTime: number;
    readonly afterItsTimeCameAgain: number;
    readonly afterAYear: number;
  }>;

  /** The drill is due at 12:30; the clock passes that, is set back before it, passes it again, and is a year ahead then. */
  const liveThroughNoon = async (master: SettableMaster): Promise<Awaited<typeof story>> => {
    const begins = (): number => (master.log().match(/scheduled drill daemon-crash WORKER .* begins/g) ?? []).length;
    const noon = Date.parse(`${DAY}T12:30:00Z`);
    master.setTo(`${DAY}T12:29:45Z`);
    await master.start();
    await until('its time has come', () => begins() > 0, 60_000);
    await until('the drill is over', () => /scheduled drill daemon-crash WORKER \(.*\): /.test(master.log()), 60_000);
    const afterItsTime = begins();
    master.shiftTo(noon - 45_000 - Date.now()); // further than the longest wait between two looks at the wall
    await until('its time has come again', () => master.now() > noon + 5_000, 90_000);
    const afterItsTimeCameAgain = begins();
    master.shiftTo(noon + YEAR_MS - Date.now());
    await until('a time is said to be missed', () => /daemon-crash WORKER .* missed: /.test(master.log()), 60_000);
    return { afterItsTime, afterItsTimeCameAgain, afterAYear: begins() };
  };

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'wall-clock-'));
    scheduled = new SettableMaster(folder, SCHEDULED, { 'worker.js': WORKER });
    story = liveThroughNoon(scheduled);
    story.catch(() => undefined); // told by its own test
    bundled = new SettableMaster(folder, readFileSync(join(packageRoot(), 'fleets', 'ringrift.yaml'), 'utf8'));
    await bundled.start();
    await until('the whole fleet is ready', async () => (await bundled.status()).verdict === 'ready', 60_000);
  });
  after(async () => {
    await Promise.all([bundled.dispose(), scheduled.dispose()]);
    rmSync(folder, { recursive: true, force: true });
  });

  const history = async (): Promise<string> => (await bundled.run('history', '--json')).out;
  const published = async (): Promise<number> =>
    Number((await bundled.daemon('EVENT_ROUTER')).health.details['published']);
  /** Every daemon has been asked since, and is what it was: the first start of this master, running, and no worse. */
  const allAskedAndWell = async (what: string): Promise<void> => {
    const since = bundled.now();
    const { daemons } = await until(`every daemon was asked after ${what}`, async () => {
      const status = await bundled.status();
      const isRecent = ({ health }: { readonly health: { readonly checkedAt: string | null } }): boolean => {
        const age = Date.parse(health.checkedAt ?? '') - since;
        return age >= 0 && age < 60_000;
      };
      return status.daemons.every(isRecent) && status.verdict === 'ready' ? status : null;
    });
    for (const daemon of daemons)
      expect(daemon, `${daemon.type} after ${what}`).to.include({ state: 'RUNNING', generation: 1, restartsTotal: 0 });
    expect((await bundled.get('/health')).status).to.equal(200);
  };
  /** Checks that failed since the master started, over all daemons. */
  const failedChecks = async (): Promise<number> => {
    const { port } = await bundled.status();
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    const lines = [...text.matchAll(/^master_loop_health_check_failures_total\{.*\} (\d+)$/gm)];
    expect(text).to.include('# TYPE master_loop_health_check_failures_total counter');
    return lines.reduce((sum, [, count]) => sum + Number(count), 0);
  };
  const nothingWasSaid = (): void => {
    const loud = bundled
      .log()
      .split('\n')
      .filter((line) => / (ERROR|CRITICAL) |evidence against/.test(line));
    expect(loud).to.deep.equal([]);
  };

  it('by an hour or a year, forward and back: the bundled fleet works on, restarts nobody and alerts nobody', async () => {
    await allAskedAndWell('the start');
    const [before, failed] = [await history(), await failedChecks()];
    let events = await published();
    for (const [what, shift] of [
      ['an hour forward', HOUR_MS],
      ['two hours back', -HOUR_MS],
      ['a year forward', YEAR_MS],
      ['two years back', -YEAR_MS],
      ['the right time again', 0],
    ] as const) {
      bundled.shiftTo(shift);
      await allAskedAndWell(what);
      const now = await published();
      expect(now, `events published by then: ${what}`).to.be.greaterThan(events);
      events = now;
    }
    expect(await history()).to.equal(before);
    nothingWasSaid();
    expect(await failedChecks()).to.equal(failed);
    expect((await bundled.run('events', 'audit', '--json')).json()).to.include({ lost: 0 });
  });

  it('not at all, but a master stopped for longer than any hang may last: it asks everybody again, and restarts nobody', async () => {
    const [before, failed] = [await history(), await failedChecks()];
    bundled.signal('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, STOPPED_MS));
    bundled.signal('SIGCONT');
    await allAskedAndWell('it was stopped');
    expect(await failedChecks(), 'what was asked late was not judged').to.equal(failed);
    const stalls = (text: string): string[] => text.split('\n').filter((line) => !line.includes('"stall"'));
    expect(stalls(await history())).to.deep.equal(stalls(before));
    expect((await bundled.run('events', 'audit', '--json')).json()).to.include({ lost: 0 });
  });

  it('back over the time of a scheduled drill, and a year over many: it runs once, and no missed time is made up for', async () => {
    expect(await story).to.deep.equal({ afterItsTime: 1, afterItsTimeCameAgain: 1, afterAYear: 1 });
  });
});

import { expect } from 'chai';
import type { ScheduleEntry } from '../../../src/fleet/types.ts';
import { goingOn } from '../../../src/operations/schedule/busy.ts';
import { GRACE_MS, startSchedule, STEP_MS, type ScheduledOutcome } from '../../../src/operations/schedule/schedule.ts';
import { isoTime, wallMsOf } from '../../../src/seams/clock.ts';
import { simulatedClock } from '../../../src/simulation/simulated-clock.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const entryOf = (at: string, over: Partial<ScheduleEntry> = {}): ScheduleEntry => ({
  at,
  timeZone: 'UTC',
  do: 'recover',
  drill: null,
  target: null,
  resetFailed: false,
  writtenAt: 'fleet.yaml:3:5',
  ...over,
});

const world = (from: string, schedule: readonly ScheduleEntry[]) => {
  const clock = simulatedClock({ wallMs: wallMsOf(from) });
  const lines: string[] = [];
  /** Wall times of runs, with what ran. */
  const runs: string[] = [];
  let busy: string | null = null;
  let outcome: () => Promise<ScheduledOutcome> = () => Promise.resolve({ ok: true, message: 'recovered' });
  const begin = (entry: ScheduleEntry): Promise<ScheduledOutcome> => {
    runs.push(`${isoTime(clock.wallMs())} ${entry.do}${entry.drill === null ? '' : ` ${entry.drill}`}`);
    return outcome();
  };
  const started = startSchedule({
    schedule,
    clock,
    recover: begin,
    drill: begin,
    busy: () => busy,
    log: {
      info: (line) => lines.push(`INFO ${line}`),
      warn: (line) => lines.push(`WARN ${line}`),
      error: (line) => lines.push(`ERROR ${line}`),
    },
  });
  return {
    clock,
    lines,
    runs,
    started,
    times: () => runs.map((run) => run.split(' ')[0]),
    occupy: (what: string | null) => void (busy = what),
    ends: (how: () => Promise<ScheduledOutcome>) => void (outcome = how),
  };
};

describe('schedule: when', () => {
  it('an entry runs at its minute, again and again, in steps no longer than the bound', async () => {
    const { clock, runs } = world('2026-03-01T03:00:00Z', [
      entryOf('30 3 * * *', { do: 'drill', drill: 'router-loss' }),
    ]);
    expect(clock.nextAt()).to.equal(STEP_MS);
    await clock.advance(25 * HOUR);
    expect(runs).to.deep.equal([
      '2026-03-01T03:30:00.000Z drill router-loss',
      '2026-03-02T03:30:00.000Z drill router-loss',
    ]);
  });

  it('its time zone decides, whatever the zone of the machine', async () => {
    const { clock, times } = world('2026-07-01T00:00:00Z', [entryOf('0 4 * * *', { timeZone: 'Asia/Tokyo' })]);
    await clock.advance(24 * HOUR);
    expect(times()).to.deep.equal(['2026-07-01T19:00:00.000Z']);
  });

  it('in the hour that summer time skips it runs once, at its end', async () => {
    const { clock, times } = world('2026-03-28T12:00:00Z', [entryOf('30 2 * * *', { timeZone: 'Europe/Paris' })]);
    await clock.advance(36 * HOUR);
    expect(times()).to.deep.equal(['2026-03-29T01:00:00.000Z']);
  });

  it('in the hour that comes twice it runs once', async () => {
    const { clock, times } = world('2026-10-24T12:00:00Z', [entryOf('30 2 * * *', { timeZone: 'Europe/Paris' })]);
    await clock.advance(24 * HOUR);
    expect(times()).to.deep.equal(['2026-10-25T00:30:00.000Z']);
  });

  it('a clock set back runs no time twice', async () => {
    const { clock, times } = world('2026-03-01T03:59:00Z', [entryOf('0 4 * * *')]);
    await clock.advance(2 * MINUTE);
    clock.jumpWall(-HOUR);
    await clock.advance(2 * HOUR);
    expect(times()).to.have.length(1);
    await clock.advance(24 * HOUR);
    expect(times()).to.have.length(2);
  });

  it('a clock that was a year ahead begins to count anew when it is set right', async () => {
    const { clock, times } = world('2027-03-01T03:59:00Z', [entryOf('0 4 * * *')]);
    await clock.advance(2 * MINUTE);
    clock.jumpWall(-365 * 24 * HOUR);
    await clock.advance(25 * HOUR);
    expect(times()).to.deep.equal(['2027-03-01T04:00:00.000Z', '2026-03-02T04:00:00.000Z']);
  });

  it('a time that the clock jumped over is missed with a word, and the next one runs', async () => {
    const { clock, runs, lines, started } = world('2026-03-01T03:30:00Z', [entryOf('0 4 * * *')]);
    clock.jumpWall(HOUR);
    await clock.advance(STEP_MS);
    expect(runs).to.deep.equal([]);
    expect(lines[0]).to.match(/^WARN scheduled recover \("0 4 \* \* \*"\) missed: the clock passed 2026-03-01T04:00/);
    expect(started.next()[0]?.last?.outcome).to.equal('missed');
    expect(started.gauges()).to.deep.include({ scheduledRuns: 0, scheduledRunsMissed: 1 });
    await clock.advance(24 * HOUR);
    expect(runs).to.have.length(1);
  });

  it('a machine that slept over it for less than the grace runs it late', async () => {
    const { clock, runs } = world('2026-03-01T03:59:50Z', [entryOf('0 4 * * *')]);
    clock.stall(GRACE_MS);
    await clock.advance(1);
    expect(runs).to.have.length(1);
  });
});

describe('schedule: whether', () => {
  it('while something else goes on a time is skipped with the reason, and never made up for', async () => {
    const { clock, runs, lines, started, occupy } = world('2026-03-01T03:59:00Z', [entryOf('0 4 * * *')]);
    occupy('drill router-loss on EVENT_ROUTER is under way');
    await clock.advance(2 * MINUTE);
    occupy(null);
    await clock.advance(HOUR);
    expect(runs).to.deep.equal([]);
    expect(lines).to.deep.equal([
      'WARN scheduled recover ("0 4 * * *") skipped: drill router-loss on EVENT_ROUTER is under way',
    ]);
    expect(started.next()[0]).to.deep.include({
      at: '2026-03-02T04:00:00.000Z',
      last: {
        at: '2026-03-01T04:00:00.000Z',
        outcome: 'skipped',
        message: 'drill router-loss on EVENT_ROUTER is under way',
      },
    });
  });

  it('a run that outlasts its next time is not doubled', async () => {
    const { clock, runs, lines, started, ends } = world('2026-03-01T03:59:30Z', [entryOf('* * * * *')]);
    let finish = (_outcome: ScheduledOutcome): void => undefined;
    ends(() => new Promise((resolve) => (finish = resolve)));
    await clock.advance(2 * MINUTE);
    expect(runs).to.have.length(1);
    expect(lines.at(-1)).to.match(/skipped: its last run is still under way/);
    expect(started.next()[0]).to.deep.include({ running: true });
    finish({ ok: true, message: 'recovered' });
    await clock.advance(MINUTE);
    expect(runs).to.have.length(2);
  });

  for (const [how, ends] of [
    ['fails', () => Promise.resolve({ ok: false, message: 'not ready: A' })],
    ['rejects', () => Promise.reject(new Error('not ready: A'))],
    [
      'throws',
      () => {
        throw new Error('not ready: A');
      },
    ],
  ] as const)
    it(`a run that ${how} is an error in the log and does not end the schedule`, async () => {
      const one = world('2026-03-01T03:59:30Z', [entryOf('* * * * *')]);
      one.ends(ends);
      await one.clock.advance(2 * MINUTE);
      expect(one.runs).to.have.length(2);
      expect(one.lines[1]).to.equal('ERROR scheduled recover ("* * * * *") failed: not ready: A');
      expect(one.started.next()[0]?.last).to.deep.include({ outcome: 'failed', message: 'not ready: A' });
    });

  it('closed, it begins nothing and leaves no timer', async () => {
    const { clock, runs, started } = world('2026-03-01T03:59:30Z', [entryOf('* * * * *')]);
    started.close();
    await clock.advance(HOUR);
    expect(runs).to.deep.equal([]);
    expect(clock.pending()).to.equal(0);
  });

  it('next lists the soonest first', () => {
    const { started } = world('2026-03-01T00:00:00Z', [entryOf('0 4 * * *'), entryOf('0 3 * * *')]);
    expect(started.next().map(({ cron }) => cron)).to.deep.equal(['0 3 * * *', '0 4 * * *']);
  });
});

describe('what goes on', () => {
  const operation = {
    id: 'x',
    verb: 'recover',
    phase: 'draining',
    origin: 'operator',
    reason: 'by hand',
    drainMs: 0,
    resetFailed: false,
    resumed: false,
    startedWallMs: 0,
    phaseWallMs: 0,
    took: {},
    verdict: null,
    notReady: [],
  } as const;
  const quiet = { operation: null, booted: true, stormOpen: false };

  it('a quiet fleet keeps nothing from beginning', () => expect(goingOn(quiet)).to.equal(null));
  it('an operation is named with its phase and who asked', () =>
    expect(goingOn({ ...quiet, operation })).to.equal('recover by operator is under way, phase draining (by hand)'));
  it('stopping, booting and a storm are inhibits', () => {
    expect(goingOn({ ...quiet, operation: { ...operation, verb: 'shutdown' } })).to.match(/stopping/);
    expect(goingOn({ ...quiet, booted: false })).to.match(/booting/);
    expect(goingOn({ ...quiet, stormOpen: true })).to.match(/storm/);
  });
});

import { expect } from 'chai';
import { Subject } from 'rxjs';
import { DueWheel } from '../../src/health/due-wheel.ts';
import { CHECKS_AT_ONCE, TICK_MS, verdicts$, type Answer, type Verdict } from '../../src/health/monitor.ts';
import { degraded, healthy, unhealthy, unknown, type Health } from '../../src/health/verdict.ts';
import { simulatedClock, type SimulatedClock } from '../../src/simulation/simulated-clock.ts';

const WELL: Answer = { health: healthy(), missed: false };

/** The monitor alone, on simulated time; every daemon is checked each `ticks` ticks. */
const monitor = (
  daemons: Readonly<Record<string, number>>,
  check: (daemon: string, clock: SimulatedClock) => Answer | Promise<Answer>,
  more: { readonly evidence?: (daemon: string) => Health | null; readonly running?: (daemon: string) => boolean } = {},
) => {
  const clock = simulatedClock();
  const wheel = new DueWheel();
  for (const [daemon, ticks] of Object.entries(daemons)) wheel.add(daemon, ticks, ticks);
  const stop$ = new Subject<void>();
  const verdicts: Verdict[] = [];
  const asked: string[] = [];
  verdicts$({
    clock,
    wheel,
    target: (daemon) => (more.running?.(daemon) === false ? null : { generation: 1, timeoutMs: 500 }),
    check: (daemon) => {
      asked.push(`${daemon} ${clock.monotonicMs()}`);
      return check(daemon, clock);
    },
    ...(more.evidence === undefined ? {} : { evidence: more.evidence }),
    stop$,
  }).subscribe((verdict) => verdicts.push(verdict));
  const words = (): string[] => verdicts.map(({ word }) => word);
  return { clock, stop$, verdicts, asked, words };
};

const after = (clock: SimulatedClock, ms: number, answer: Answer): Promise<Answer> =>
  clock.sleep(ms).then(() => answer);

describe('The health monitor', () => {
  it('asks each daemon at its own period, and one that is not running not at all', async () => {
    const { clock, asked, stop$ } = monitor({ OFTEN: 4, SELDOM: 20, AWAY: 4 }, () => WELL, {
      running: (daemon) => daemon !== 'AWAY',
    });
    await clock.advance(10_000);
    expect(asked.filter((text) => text.startsWith('OFTEN'))).to.have.length(10);
    expect(asked.filter((text) => text.startsWith('SELDOM'))).to.deep.equal(['SELDOM 5000', 'SELDOM 10000']);
    expect(asked.filter((text) => text.startsWith('AWAY'))).to.deep.equal([]);
    stop$.next();
    expect(clock.pending()).to.equal(0);
  });

  it('tells late from missed: an answer after its deadline is degraded, no answer by the next turn is a failure', async () => {
    let delay = 700;
    const { clock, words, verdicts } = monitor({ A: 4 }, (_daemon, time) =>
      delay === Infinity ? new Promise<Answer>(() => undefined) : after(time, delay, WELL),
    );
    await clock.advance(1_900);
    expect(words()).to.deep.equal(['late']);
    expect(verdicts[0]?.health).to.include({ status: 'degraded', message: 'answered after its deadline' });
    delay = 300;
    await clock.advance(900);
    expect(words()).to.deep.equal(['late', 'healthy']);
    delay = Infinity;
    await clock.advance(3_000);
    expect(words().slice(2)).to.deep.equal(['missed', 'missed']);
  });

  it('never asks a daemon twice at once, however long it takes', async () => {
    let underWay = 0;
    let most = 0;
    const { clock, asked } = monitor({ A: 4 }, async (_daemon, time) => {
      most = Math.max(most, ++underWay);
      await time.sleep(3_300);
      underWay--;
      return WELL;
    });
    await clock.advance(20_000);
    expect(most).to.equal(1);
    expect(asked.length).to.be.within(4, 6);
  });

  it('a check that throws or rejects is that daemon being unhealthy, and the others are asked on', async () => {
    const { clock, verdicts } = monitor({ THROWS: 4, REJECTS: 4, WELL: 4 }, (daemon) => {
      if (daemon === 'THROWS') throw new Error('no handle');
      return daemon === 'REJECTS' ? Promise.reject(new Error('no answer')) : WELL;
    });
    await clock.advance(2_100);
    expect(verdicts.map(({ daemon, word, health }) => `${daemon} ${word} ${health.message}`.trim())).to.have.members(
      [1, 2].flatMap(() => [
        'THROWS unhealthy its health check threw: no handle',
        'REJECTS unhealthy its health check rejected: no answer',
        'WELL healthy',
      ]),
    );
  });

  for (const [title, pause] of [
    ['a stall of this loop', (clock: SimulatedClock) => clock.stall(8_000)],
    [
      'a suspend, the wall clock moving with it',
      (clock: SimulatedClock) => (clock.stall(60_000), clock.jumpWall(60_000)),
    ],
  ] as const) {
    it(`${title} makes the checks of its tick unknown, and those after it are judged again`, async () => {
      const { clock, words, asked } = monitor({ A: 4, B: 4 }, () => ({ health: unhealthy('x'), missed: true }));
      await clock.advance(750);
      pause(clock);
      await clock.advance(0);
      expect(words(), 'at the tick that came late').to.deep.equal(['unknown', 'unknown']);
      expect(asked).to.deep.equal([]);
      await clock.advance(1_000);
      expect(words().slice(2)).to.deep.equal(['missed', 'missed']);
    });
  }

  it('a jump of the wall clock alone changes nothing', async () => {
    const { clock, words } = monitor({ A: 4 }, () => WELL);
    await clock.advance(1_000);
    clock.jumpWall(-365 * 86_400_000);
    await clock.advance(1_000);
    clock.jumpWall(2 * 365 * 86_400_000);
    await clock.advance(1_000);
    expect(words()).to.deep.equal(['healthy', 'healthy', 'healthy']);
  });

  it('outside evidence overrides a self-report while it is worse, and keeps what was said', async () => {
    let outside: Health | null = degraded('lag 60,000', { lag: 60_000 });
    let own: Health = healthy({ cycles: 4 });
    const { clock, verdicts } = monitor({ A: 4 }, () => ({ health: own, missed: false }), { evidence: () => outside });
    await clock.advance(1_000);
    expect(verdicts[0]).to.deep.include({ word: 'degraded' });
    expect(verdicts[0]?.health).to.deep.include({
      message: 'lag 60,000',
      details: { cycles: 4, lag: 60_000, selfReport: 'healthy' },
    });
    own = unhealthy('broken');
    await clock.advance(1_000);
    expect(verdicts[1]?.health).to.deep.equal(own);
    outside = unhealthy('no output for 300 s');
    own = unknown();
    await clock.advance(1_000);
    expect(verdicts[2]).to.deep.include({ word: 'unhealthy' });
    outside = null;
    own = healthy();
    await clock.advance(1_000);
    expect(verdicts[3]).to.deep.include({ word: 'healthy' });
  });

  it(`never has more than ${CHECKS_AT_ONCE} checks under way, and still gets round to everybody`, async () => {
    let underWay = 0;
    let most = 0;
    const daemons = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`D${index}`, 40]));
    const { clock, verdicts } = monitor(daemons, async (_daemon, time) => {
      most = Math.max(most, ++underWay);
      await time.sleep(100);
      underWay--;
      return WELL;
    });
    await clock.advance(40 * TICK_MS + 400);
    expect(most).to.equal(CHECKS_AT_ONCE);
    expect(verdicts).to.have.length(200);
  });

  it('when everybody hangs and there are not enough places, nobody queues up twice', async () => {
    let filed = 0;
    const daemons = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`D${index}`, 1]));
    const { clock, asked } = monitor(daemons, () => new Promise<Answer>(() => undefined), {
      running: () => ++filed > 0,
    });
    await clock.advance(1_900); // seven ticks; the first places become free after 2 s
    expect(asked).to.have.length(CHECKS_AT_ONCE);
    expect(filed, 'each is filed once, and those that were asked once more').to.equal(200 + CHECKS_AT_ONCE);
  });
});

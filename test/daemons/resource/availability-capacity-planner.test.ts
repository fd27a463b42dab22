import { expect } from 'chai';
import { availabilityCapacityPlanner, planned } from '../../../src/daemons/resource/availability-capacity-planner.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { crashesOf, sweepKills } from '../learning.ts';
import { bodiesOf, posedNode, selfplay, type PosedNode } from '../support.ts';

const TYPE = 'AVAILABILITY_CAPACITY_PLANNER';

describe('AVAILABILITY_CAPACITY_PLANNER', () => {
  let bench: DaemonBench;
  const pose = (): Promise<PosedNode> => posedNode(bench);
  const start = (config: Record<string, unknown> = {}): Promise<void> =>
    bench.start(availabilityCapacityPlanner, { periodSeconds: 0.1, ...config });
  const looks = (count = 2): Promise<unknown> => bench.cycles(TYPE, count);

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  it('an empty floor wants the minimum, says how many are missing, and says when they are there', async () => {
    await bench.floor.queue.enqueue([selfplay('a', { games: 30 })]);
    await start();
    expect((await bench.waitFor('CAPACITY_LOW')).body).to.deep.equal({
      live: 0,
      wanted: 2,
      pending: 30,
      drainSeconds: null,
    });
    expect(await bench.floor.capacity.advice()).to.include({ version: 1, wanted: 2 });
    await looks();
    expect(bench.events('CAPACITY_LOW')).to.have.length(1);
    await pose();
    await pose();
    expect((await bench.waitFor('CAPACITY_RESTORED')).body).to.deep.equal({ live: 2, wanted: 2 });
    await looks();
    expect(bench.events('CAPACITY_RESTORED')).to.have.length(1);
    await bench.stop(TYPE);
    expect(bench.left()).to.deep.equal([]);
  });

  it('uptime is booked once, over a crash too', async () => {
    const one = await pose();
    one.says.uptimeSeconds = 1800;
    await start();
    await bench.until('it is booked', async () => (await bench.floor.capacity.spend()).hour > 0);
    await bench.kill(TYPE);
    await start();
    await looks();
    expect((await bench.floor.capacity.spend()).hour).to.equal(1);
    one.says.uptimeSeconds = 3600;
    await bench.until('the rest is booked', async () => (await bench.floor.capacity.spend()).hour === 2);
  });

  it('four fifths of a budget are told once; a spent one wants no more than the minimum', async () => {
    const one = await pose();
    one.says.uptimeSeconds = 3600 * 2.1;
    await bench.floor.capacity.advise({ wanted: 3, reason: 'before' });
    await start({ budgetHour: 5, budgetDay: 1000 });
    expect((await bench.waitFor('BUDGET_ALERT')).body).to.include({ period: 'hour', budget: 5 });
    one.says.uptimeSeconds = 3600 * 3;
    await bench.until('the plan shrank', async () => (await bench.floor.capacity.advice()).wanted === 2);
    await looks();
    expect(bodiesOf(bench.events('BUDGET_ALERT'))).to.have.length(1);
    expect(bench.health(TYPE)).to.include({ status: 'degraded', message: 'the budget is spent' });
  });

  it('a long queue wants one more, an empty one wants one less, each after its spacing', async () => {
    const nodes = [await pose(), await pose()];
    for (const { says } of nodes) says.gamesPerMinute = 30;
    const items = Array.from({ length: 10 }, (_, n) => selfplay(`b-${n}`, { games: 100 }));
    await bench.floor.queue.enqueue(items); // 1000 games at 60 a minute: 1000 s
    await start({ drainUpSeconds: 500, upSpacingSeconds: 0.3, drainDownSeconds: 100, downSpacingSeconds: 0.3 });
    await bench.until('it grows', async () => (await bench.floor.capacity.advice()).wanted === 3);
    expect((await bench.waitFor('CAPACITY_LOW')).body).to.include({ live: 2, wanted: 3, drainSeconds: 1000 });
    for (const { itemId } of await bench.floor.queue.list({ limit: 20 }))
      await bench.floor.queue.cancel({ itemId, reason: 'the test says so' });
    await bench.until('it shrinks', async () => (await bench.floor.capacity.advice()).wanted === 2);
  });

  it('the plan, case by case', () => {
    const config = availabilityCapacityPlanner.config.parse({}) as Parameters<typeof planned>[1];
    const situation = { live: 2, drainSeconds: 1000, isSpent: false };
    const advice = { version: 1, wanted: 2, ageSeconds: 1000 };
    const table: [string, Parameters<typeof planned>[0], number][] = [
      ['nothing was ever advised', { ...situation, advice: { ...advice, version: 0, wanted: 0 } }, 2],
      ['in between', { ...situation, advice }, 2],
      ['a long queue', { ...situation, advice, drainSeconds: 2000 }, 3],
      ['… too soon', { ...situation, advice: { ...advice, ageSeconds: 299 }, drainSeconds: 2000 }, 2],
      ['… and the present plan is not reached', { ...situation, advice, live: 1, drainSeconds: 2000 }, 2],
      ['… at the most', { ...situation, advice: { ...advice, wanted: 4 }, live: 4, drainSeconds: 2000 }, 4],
      ['no pace known', { ...situation, advice: { ...advice, wanted: 3 }, drainSeconds: null }, 3],
      ['a short queue', { ...situation, advice: { ...advice, wanted: 3 }, drainSeconds: 0 }, 2],
      ['… too soon', { ...situation, advice: { ...advice, wanted: 3, ageSeconds: 599 }, drainSeconds: 0 }, 3],
      ['… at the minimum', { ...situation, advice, drainSeconds: 0 }, 2],
      ['money is gone', { ...situation, advice: { ...advice, wanted: 4 }, drainSeconds: 9999, isSpent: true }, 2],
    ];
    for (const [when, given, wanted] of table) expect(planned(given, config).wanted, when).to.equal(wanted);
  });

  it('killed at any call of the floor, it books every hour once', async () => {
    const node = await pose();
    const spent = async (): Promise<number> => (await bench.floor.capacity.spend()).day;
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: availabilityCapacityPlanner,
      config: { periodSeconds: 0.05 },
      prepare: async (round) => {
        node.says.uptimeSeconds = 3600 * round;
      },
      done: async (round) => (await spent()) >= 2 * round,
      async check(round) {
        expect(await spent()).to.be.closeTo(2 * round, 1e-9);
      },
    });
    expect(kills).to.be.at.least(3);
    expect((await bench.floor.capacity.advice()).wanted).to.equal(2);
  });
});

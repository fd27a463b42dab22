import { expect } from 'chai';
import fc from 'fast-check';
import { backoffMs, decideRestart, type FailureFacts, type RestartBudget } from '../../src/lifecycle/restart-policy.ts';
import { BareCore } from '../support/bare-core.ts';
import { fleetOf } from '../support/fleets.ts';

const RUNBOOK: RestartBudget = { delaysMs: [1000, 2000, 4000, 8000, 16_000], maxRestarts: 5 };
const OWN: FailureFacts = { charged: 0, secondary: false, drill: false, retryable: true, autoRestart: true };

describe('the restart policy (runbook "Exponential Backoff")', () => {
  it('waits 1, 2, 4, 8, 16 s, 31 s in all, and gives up at the sixth failure', () => {
    const decisions = [0, 1, 2, 3, 4, 5].map((charged) => decideRestart(RUNBOOK, { ...OWN, charged }));
    expect(decisions.map((decision) => (decision.kind === 'retry' ? decision.delayMs : decision.kind))).to.deep.equal([
      1000,
      2000,
      4000,
      8000,
      16_000,
      'give-up',
    ]);
    expect(decisions[5]?.rule).to.equal('restart budget spent: 5 of 5 restarts used');
  });

  it('repeats the last delay when more restarts are allowed than delays are written', () => {
    expect([1, 2, 3, 9].map((restart) => backoffMs({ delaysMs: [500, 3000], maxRestarts: 9 }, restart))).to.deep.equal([
      500, 3000, 3000, 3000,
    ]);
  });

  it('holds a failure that is secondary, however much is charged, and never charges it', () => {
    for (let charged = 0; charged <= 6; charged++)
      expect(decideRestart(RUNBOOK, { ...OWN, charged, secondary: true }).kind).to.equal('hold');
  });

  it('takes the first delay for a drill, uncharged, even when the budget is spent', () => {
    for (let charged = 0; charged <= 6; charged++)
      expect(decideRestart(RUNBOOK, { ...OWN, charged, drill: true })).to.include({
        kind: 'retry',
        delayMs: 1000,
        charge: false,
      });
  });

  it('gives up what a retry cannot mend before anything else is asked', () => {
    for (const facts of [{ retryable: false }, { autoRestart: false }])
      for (const drill of [false, true])
        expect(decideRestart(RUNBOOK, { ...OWN, drill, secondary: true, ...facts }).kind).to.equal('give-up');
  });

  it('charges exactly its budget, whatever the budget is', () => {
    const budgets = fc.record({
      delaysMs: fc.array(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 8 }),
      maxRestarts: fc.integer({ min: 0, max: 20 }),
    });
    fc.assert(
      fc.property(budgets, (budget) => {
        let charged = 0;
        for (;;) {
          const decision = decideRestart(budget, { ...OWN, charged });
          if (decision.kind === 'give-up') break;
          expect(decision).to.include({ kind: 'retry', charge: true, delayMs: backoffMs(budget, charged + 1) });
          charged++;
        }
        expect(charged).to.equal(budget.maxRestarts);
      }),
    );
  });
});

describe('restart accounting in the core', () => {
  const alone = (): BareCore => new BareCore(fleetOf({ A: [] })).boot();
  const failStart = (world: BareCore): void => {
    world.input({
      kind: 'start-failed',
      daemon: 'A',
      generation: world.core.get('A')!.generation,
      failure: { message: 'no', code: 'TEST' },
      cause: 'start-failed',
    });
  };

  it('start failures, start time-outs and crashes count alike and use the same exact delays', () => {
    const world = alone();
    world.autoReady = false;
    const attempts: number[] = [];
    world.exit('A');
    const failures = [
      failStart,
      (): void => world.pass(30_000),
      failStart,
      (): void => void world.exit('A'),
      failStart,
    ];
    for (const fail of failures) {
      const due = world.timers.get('backoff:A')!;
      attempts.push(due - world.now);
      world.pass(due - world.now);
      expect(world.state('A')).to.equal('STARTING');
      fail(world);
    }
    expect(attempts).to.deep.equal([1000, 2000, 4000, 8000, 16_000]);
    expect(world.state('A')).to.equal('FAILED');
  });

  it('a daemon that is ready between its crashes is FAILED all the same: a good start clears nothing', () => {
    const world = alone();
    for (let crash = 0; crash < 6; crash++) {
      world.exit('A');
      world.pass(16_000);
    }
    expect(world.state('A')).to.equal('FAILED');
    expect(world.launched).to.have.length(6);
  });

  it('the stable window must be without a break: 299.999 s, a crash, and 299.999 s clear nothing', () => {
    const world = alone();
    world.exit('A');
    world.pass(1000 + 299_999);
    world.exit('A');
    world.pass(2000 + 299_999);
    expect(world.core.get('A')?.restarts).to.equal(2);
    world.pass(1);
    expect(world.core.get('A')?.restarts).to.equal(0);
  });

  it('start, restart and reset by an operator clear the counter and say so; stop does not', () => {
    for (const verb of ['start', 'restart', 'reset', 'stop'] as const) {
      const world = alone();
      world.exit('A');
      world.pass(1000);
      const id = world.command(verb, ['A']);
      world.finishStops();
      const clears = verb !== 'stop';
      expect(world.core.get('A')?.restarts, verb).to.equal(clears ? 0 : 1);
      expect(world.reply(id)?.message.includes('A: restart counter cleared (was 1)'), verb).to.equal(clears);
    }
  });

  it('a restart that a daemon asks for is charged; one that a person asks for is not', () => {
    const world = alone();
    world.command('restart', ['A'], { origin: 'daemon' });
    world.finishStops();
    expect(world.core.get('A')).to.include({ state: 'RESTARTING', restarts: 1 });
    world.pass(1000);
    world.command('restart', ['A']);
    world.finishStops();
    expect(world.core.get('A')).to.include({ state: 'RUNNING', restarts: 0 });
  });

  it('a cascade counts as a restart in the hour and charges nothing', () => {
    const world = new BareCore(fleetOf({ A: [], B: ['A'] })).boot();
    world.exit('A');
    world.finishStops();
    world.pass(1000);
    expect(world.core.get('B')).to.include({ state: 'RUNNING', restarts: 0, restartsTotal: 1, generation: 2 });
  });

  it('drill failures are counted apart and dropped on heal', () => {
    const world = alone();
    world.command('drill-begin', ['A']);
    world.exit('A');
    expect(world.core.get('A')).to.include({ restarts: 0, drillFailures: 1 });
    expect(world.core.get('A')?.lastError?.why).to.equal('drill');
    world.command('drill-heal', ['A']);
    expect(world.core.get('A')?.drillFailures).to.equal(0);
  });

  it('a failure that was decided before the drill began is charged; a start time-out in the drill is not', () => {
    const world = alone();
    world.command('restart', ['A'], { origin: 'daemon' }); // it asks for it: evidence of sickness
    world.command('drill-begin', ['A']);
    world.finishStops();
    expect(world.core.get('A')).to.include({ state: 'RESTARTING', restarts: 1, drillFailures: 0 });
    world.autoReady = false;
    world.pass(1000 + 30_000);
    expect(world.core.get('A')).to.include({ state: 'RESTARTING', restarts: 1, drillFailures: 1 });
  });

  it('the last allowed restart may succeed, and its 300 s clear the counter', () => {
    const world = alone();
    for (let crash = 0; crash < 5; crash++) {
      world.exit('A');
      world.pass(16_000);
    }
    expect(world.core.get('A')).to.include({ state: 'RUNNING', restarts: 5 });
    world.pass(300_000);
    expect(world.core.get('A')?.restarts).to.equal(0);
  });
});

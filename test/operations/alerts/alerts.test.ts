import { expect } from 'chai';
import { alertRules } from '../../../src/fleet/alerts.ts';
import type { AlertRule } from '../../../src/fleet/types.ts';
import { healthy, unhealthy } from '../../../src/health/verdict.ts';
import { startAlerts, type AlertsOptions } from '../../../src/operations/alerts/alerts.ts';
import type { DaemonStatus } from '../../../src/orchestrator/types.ts';
import { simulatedClock } from '../../../src/simulation/simulated-clock.ts';
import { simulatedNetwork } from '../../../src/simulation/simulated-network.ts';
import { daemonStatus } from '../../support/fake-loop.ts';

type Supervisor = AlertsOptions['supervisor'];
type Turn = Parameters<Parameters<Supervisor['onTurn']>[0]>[0];
type Judged = Parameters<Parameters<Supervisor['onVerdict']>[0]>[0];
type Subscription = Parameters<Parameters<NonNullable<AlertsOptions['router']>['onLedgerChange']>[0]>[0];

const subscriptionOf = (state: Subscription['state']): Subscription => ({
  subscriber: 'A',
  topic: 'T',
  critical: false,
  state,
  reason: 'wedged',
  lag: 0,
  handled: 0,
  deadLetters: 0,
  inFlight: 0,
  cursor: 0,
});

/** What a supervisor shows and tells, by hand. */
const world = (
  over: { rules?: readonly AlertRule[]; drill?: () => string | null; first?: readonly DaemonStatus[] } = {},
) => {
  const clock = simulatedClock();
  const network = simulatedNetwork({ clock });
  const lines: string[] = [];
  const daemons = new Map((over.first ?? [daemonStatus('A')]).map((status) => [status.type, status]));
  const turns = new Set<(turn: Turn) => void>();
  const verdicts = new Set<(verdict: Judged) => void>();
  const ledger = new Set<(state: Subscription) => void>();
  const listen =
    <Told>(set: Set<(told: Told) => void>) =>
    (listener: (told: Told) => void) => {
      set.add(listener);
      return () => void set.delete(listener);
    };
  const alerts = startAlerts({
    fleet: {
      name: 'f',
      alerts: over.rules ?? alertRules([], ['log', 'ops']),
      alertSinks: [{ name: 'ops', webhook: 'http://127.0.0.1:9999/hook' }],
    },
    supervisor: {
      onTurn: listen(turns),
      onVerdict: listen(verdicts),
      statusOf: (daemon) => daemons.get(daemon) ?? null,
      snapshot: () => ({ daemons: [...daemons.values()] }),
    },
    router: { ledger: () => [subscriptionOf('attached')], onLedgerChange: listen(ledger) },
    clock,
    network,
    log: {
      critical: (line) => lines.push(`CRITICAL ${line}`),
      error: (line) => lines.push(`ERROR ${line}`),
      info: (line) => lines.push(`INFO ${line}`),
    },
    ...(over.drill === undefined ? {} : { drill: over.drill }),
  });
  const set = (status: Partial<DaemonStatus> = {}): void => void daemons.set('A', daemonStatus('A', status));
  return {
    clock,
    network,
    lines,
    alerts,
    set,
    listeners: () => turns.size + verdicts.size + ledger.size,
    move(from: DaemonStatus['state'], to: DaemonStatus['state'], status: Partial<DaemonStatus> = {}) {
      set({ state: to, ...status });
      const transition = { daemon: 'A', from, to, why: 'exit' as const };
      for (const turn of turns) turn({ transitions: [transition], alerts: [] });
    },
    storm(resolved: boolean) {
      for (const turn of turns)
        turn({ transitions: [], alerts: [{ name: 'storm', daemon: 'A', message: 'a storm', resolved }] });
    },
    judge(word: Judged['word']) {
      const health = daemons.get('A')!.health;
      for (const verdict of verdicts) verdict({ daemon: 'A', word, health });
    },
    ledger(state: Subscription['state']) {
      for (const listener of ledger) listener(subscriptionOf(state));
    },
  };
};

describe('alerts of a running fleet', () => {
  it('a daemon that becomes FAILED is told in the same turn, at CRITICAL, and its end at INFO', () => {
    const { move, lines } = world();
    move('STARTING', 'FAILED', { lastError: 'boom' });
    expect(lines).to.deep.equal(['CRITICAL alert failed: A is FAILED: boom']);
    move('FAILED', 'STARTING');
    expect(lines[1]).to.equal('INFO alert failed resolved: A left FAILED and is STARTING');
  });

  it('a daemon that was FAILED before this master is told when the alerts begin', () => {
    const { lines } = world({ first: [daemonStatus('A', { state: 'FAILED', lastError: 'old' })] });
    expect(lines).to.deep.equal(['CRITICAL alert failed: A is FAILED: old']);
  });

  it('a verdict is judged by the streak that the core counted after it was told', async () => {
    const { set, judge, lines, clock } = world();
    const health = { ...unhealthy('no answer'), checkedAt: null, consecutiveFailures: 2 };
    set({ health });
    judge('unhealthy');
    set({ health: { ...health, consecutiveFailures: 3 } });
    expect(lines).to.deep.equal([]);
    await clock.advance(0);
    expect(lines).to.deep.equal([
      'CRITICAL alert consecutive-health-failures: A failed 3 health checks in a row (more than 2): no answer',
    ]);
    set({ health: { ...healthy(), checkedAt: null, consecutiveFailures: 0 } });
    judge('healthy');
    await clock.advance(0);
    expect(lines[1]).to.match(/^INFO alert consecutive-health-failures resolved/);
  });

  it('an hour that passes without a restart resolves by itself', async () => {
    const { move, set, lines, clock } = world();
    move('RUNNING', 'RESTARTING', { restartsLastHour: 4 });
    set({ restartsLastHour: 3 });
    await clock.advance(1_000);
    expect(lines.map((line) => line.split(':')[0])).to.deep.equal([
      'CRITICAL alert restarts-per-hour',
      'INFO alert restarts-per-hour resolved',
    ]);
  });

  it('gaps and storms are told once and resolved once', () => {
    const { ledger, storm, lines } = world();
    for (const state of ['gap', 'gap', 'attached'] as const) ledger(state);
    for (const resolved of [false, false, true]) storm(resolved);
    expect(lines.map((line) => line.split(':')[0])).to.deep.equal([
      'CRITICAL alert subscription-gap',
      'INFO alert subscription-gap resolved',
      'CRITICAL alert storm',
      'INFO alert storm resolved',
    ]);
  });

  it('a rule whose "to" is empty is silent and still open to see', () => {
    const { move, lines, alerts } = world({ rules: [{ name: 'quiet', when: { kind: 'failed' }, to: [] }] });
    move('STARTING', 'FAILED');
    expect(lines).to.deep.equal([]);
    expect(alerts.figures().open).to.have.length(1);
  });

  it('what is raised while a drill is under way says so', () => {
    const { move, lines } = world({ drill: () => 'drill crash-loop on A is under way' });
    move('STARTING', 'FAILED');
    expect(lines[0]).to.match(/\(while drill crash-loop on A is under way\)$/);
  });

  it('a dead webhook changes nothing for the log, and is visible in the figures', async () => {
    const { move, lines, alerts, clock } = world(); // nobody listens on the port
    move('STARTING', 'FAILED');
    await clock.advance(120_000);
    move('FAILED', 'STARTING');
    expect(lines.map((line) => line.split(':')[0])).to.deep.equal([
      'CRITICAL alert failed',
      'ERROR cannot deliver alerts to sink ops',
      'INFO alert failed resolved',
    ]);
    expect(alerts.gauges()).to.deep.include({ alertSinksDead: 1, alertWebhookDropped: 1, alertsRaised: 1 });
    expect(alerts.collections()).to.deep.equal({ alert_webhook_queue: { size: 1, limit: 100, dropped: 1 } });
  });

  it('closed, it listens to nothing and leaves no timer', async () => {
    const { alerts, listeners, clock, judge } = world();
    judge('unhealthy');
    alerts.close();
    await clock.advance(10);
    expect(listeners()).to.equal(0);
    expect(clock.pending()).to.equal(0);
  });
});

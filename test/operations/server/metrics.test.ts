import { expect } from 'chai';
import { degraded, unhealthy } from '../../../src/health/verdict.ts';
import { Metrics } from '../../../src/operations/metrics.ts';
import { Mirror } from '../../../src/operations/server/mirror.ts';
import type { Change } from '../../../src/operations/server/protocol.ts';
import { AT, daemon, entry, graphOf, snapshot } from './fleet.ts';

const FIGURES = {
  snapshotAgeMs: 12,
  stalled: false,
  stallsTotal: 0,
  streams: 0,
  streamsDroppedTotal: 0,
  collections: {},
};

describe('/metrics', () => {
  const daemons = [daemon('EVENT_ROUTER'), daemon('AUTO_SYNC', { state: 'WAITING', readyAt: null })];
  let mirror: Mirror;
  let metrics: Metrics;

  beforeEach(() => {
    mirror = new Mirror(snapshot(daemons), graphOf(daemons));
    metrics = new Metrics(mirror);
  });

  const post = (change: Change): void => {
    mirror.apply(change);
    metrics.observe(change);
  };
  const page = (figures = FIGURES): Promise<string> => metrics.render(mirror, figures);
  const line = async (name: string): Promise<string | undefined> =>
    (await page()).split('\n').find((one) => one.startsWith(name));

  it('shows one state of a daemon as 1 and the others as 0, and follows it', async () => {
    expect(await line('master_loop_daemon_state{daemon="AUTO_SYNC",state="WAITING"}')).to.match(/ 1$/);
    post({ daemons: [daemon('AUTO_SYNC', { state: 'RUNNING' })] });
    expect(await line('master_loop_daemon_state{daemon="AUTO_SYNC",state="WAITING"}')).to.match(/ 0$/);
    expect(await line('master_loop_daemon_state{daemon="AUTO_SYNC",state="RUNNING"}')).to.match(/ 1$/);
    const ones = (await page()).split('\n').filter((one) => /^master_loop_daemon_state\{.* 1$/.test(one));
    expect(ones).to.have.length(2);
  });

  it('calls a degraded daemon healthy, an unhealthy or absent one not', async () => {
    const health = { checkedAt: AT, consecutiveFailures: 0 };
    post({ daemons: [daemon('EVENT_ROUTER', { health: { ...degraded('slow'), ...health } })] });
    expect(await line('master_loop_daemon_healthy{daemon="EVENT_ROUTER"}')).to.match(/ 1$/);
    post({ daemons: [daemon('EVENT_ROUTER', { health: { ...unhealthy('gone'), ...health } })] });
    expect(await line('master_loop_daemon_healthy{daemon="EVENT_ROUTER"}')).to.match(/ 0$/);
    expect(await line('master_loop_daemon_healthy{daemon="AUTO_SYNC"}')).to.match(/ 0$/);
  });

  it('counts a start after an earlier one as a restart, with its cause, and a first start as none', async () => {
    const begun = (seq: number, type: string, why: 'exit' | null): Change => ({
      history: [entry(seq, { daemon: type, from: 'WAITING', to: 'STARTING', on: 'start-begun', why })],
    });
    post(begun(1, 'AUTO_SYNC', null));
    expect(await page()).not.to.contain('master_loop_daemon_restarts_total{');
    post(begun(2, 'AUTO_SYNC', 'exit'));
    post(begun(3, 'EVENT_ROUTER', 'exit'));
    post(begun(4, 'EVENT_ROUTER', 'exit'));
    expect(await line('master_loop_daemon_restarts_total{daemon="AUTO_SYNC",cause="exit"}')).to.match(/ 1$/);
    expect(await line('master_loop_daemon_restarts_total{daemon="EVENT_ROUTER",cause="exit"}')).to.match(/ 2$/);
  });

  it('measures a recovery once, from a loss to ready, and no start that an operator asked for', async () => {
    const lose = (seq: number, why: 'exit' | 'operator'): Change => ({
      history: [entry(seq, { why, to: why === 'exit' ? 'RESTARTING' : 'STOPPING' })],
      daemons: [daemon('EVENT_ROUTER', { state: 'RESTARTING' })],
    });
    const back: Change = { daemons: [daemon('EVENT_ROUTER', { lastRecoverySeconds: 1.2 })] };
    post(lose(1, 'exit'));
    post(back);
    post(back);
    post(lose(2, 'operator'));
    post(back);
    expect(await line('master_loop_daemon_recovery_seconds_count')).to.match(/ 1$/);
    expect(await line('master_loop_daemon_recovery_seconds_bucket{le="2"}')).to.match(/ 1$/);
    expect(await line('master_loop_daemon_recovery_seconds_bucket{le="1"}')).to.match(/ 0$/);
  });

  it('counts health failures by how the streak grew, over a reset too', async () => {
    for (const consecutiveFailures of [1, 2, 2, 0, 1])
      post({
        daemons: [daemon('EVENT_ROUTER', { health: { ...unhealthy('x'), checkedAt: AT, consecutiveFailures } })],
      });
    expect(await line('master_loop_health_check_failures_total{daemon="EVENT_ROUTER"}')).to.match(/ 3$/);
  });

  it('shows what the router and the loop posted, and a total never shrinks', async () => {
    mirror.beat(250, {
      events: { totals: { published: 10 }, levels: { inFlight: 3 } },
      gauges: { inputQueue: 4 },
    });
    expect(await line('master_loop_events_published_total')).to.match(/ 10$/);
    expect(await line('master_loop_events_in_flight')).to.match(/ 3$/);
    expect(await line('master_loop_input_queue')).to.match(/ 4$/);
    expect(await line('master_loop_event_loop_lag_seconds')).to.match(/ 0.25$/);
    mirror.beat(0, { events: { totals: { published: 2 }, levels: {} } });
    expect(await line('master_loop_events_published_total')).to.match(/ 10$/);
    mirror.beat(0, { events: { totals: { published: 5 }, levels: {} } });
    expect(await line('master_loop_events_published_total')).to.match(/ 13$/);
  });

  it('does not grow without end, whatever names are posted', async () => {
    mirror.beat(0, {
      gauges: Object.fromEntries(Array.from({ length: 1_000 }, (_value, index) => [`g${index}`, index])),
    });
    const text = await page();
    expect(text.split('\n').filter((one) => /^master_loop_g\d/.test(one))).to.have.length(128);
  });

  it('shows how full each bounded collection is, of the thread, of the loop and of daemons, and what they dropped', async () => {
    mirror.beat(0, { collections: { outbox: { size: 7, limit: 9, dropped: 3 }, inputs: { size: 1, limit: 4 } } });
    const bounds = { clients: { size: 2, limit: 5 } };
    post({
      daemons: [
        daemon('AUTO_SYNC', { health: { ...degraded('slow', { bounds }), checkedAt: AT, consecutiveFailures: 0 } }),
      ],
    });
    const text = await page({ ...FIGURES, collections: { streams: { size: 0, limit: 32, dropped: 0 } } });
    const shown = text
      .split('\n')
      .filter((one) => /^master_loop_collection_.*(outbox|inputs|clients|streams)/.test(one));
    expect(shown).to.deep.equal([
      'master_loop_collection_size{collection="streams"} 0',
      'master_loop_collection_size{collection="outbox"} 7',
      'master_loop_collection_size{collection="inputs"} 1',
      'master_loop_collection_size{collection="auto_sync_clients"} 2',
      'master_loop_collection_limit{collection="streams"} 32',
      'master_loop_collection_limit{collection="outbox"} 9',
      'master_loop_collection_limit{collection="inputs"} 4',
      'master_loop_collection_limit{collection="auto_sync_clients"} 5',
      'master_loop_collection_dropped_total{collection="streams"} 0',
      'master_loop_collection_dropped_total{collection="outbox"} 3',
    ]);
    mirror.beat(0, { collections: { outbox: { size: 0, limit: 9, dropped: 1 } } });
    expect(await line('master_loop_collection_dropped_total{collection="outbox"}'), 'never shrinks').to.match(/ 3$/);
    expect(await line('master_loop_collection_size{collection="inputs"}'), 'nobody says it any more').to.equal(
      undefined,
    );
  });

  it('is not broken by a daemon that says nonsense of its collections', async () => {
    const bounds = { a: 'much', b: null, c: { size: NaN, limit: 1 }, d: { size: 1, limit: 2 } } as never;
    post({
      daemons: [
        daemon('AUTO_SYNC', { health: { ...degraded('x', { bounds }), checkedAt: AT, consecutiveFailures: 0 } }),
      ],
    });
    const shown = (await page())
      .split('\n')
      .filter((one) => one.startsWith('master_loop_collection_size{collection="auto'));
    expect(shown).to.deep.equal(['master_loop_collection_size{collection="auto_sync_d"} 1']);
  });

  it('says how many names found no place on the page', async () => {
    const many = (prefix: string, count: number): string[] =>
      Array.from({ length: count }, (_value, index) => `${prefix}${index}`);
    mirror.beat(0, {
      gauges: Object.fromEntries(many('g', 130).map((name) => [name, 1])),
      collections: Object.fromEntries(many('c', 133).map((name) => [name, { size: 1, limit: 2 }])),
    });
    await page();
    expect(await line('master_loop_collection_size{collection="metric_names"}')).to.match(/ 128$/);
    expect(await line('master_loop_collection_dropped_total{collection="metric_names"}')).to.match(/ 7$/);
    expect(await line('master_loop_collection_size{collection="c128"}')).to.equal(undefined);
  });

  it('drops the series of a daemon that left the fleet', async () => {
    post({ graph: graphOf([daemon('EVENT_ROUTER')]) });
    expect(await page()).not.to.contain('AUTO_SYNC');
  });

  it('tells of the whole process', async () => {
    for (const name of ['process_cpu_seconds_total', 'process_resident_memory_bytes', 'process_start_time_seconds'])
      expect(Number((await line(`${name} `))?.split(' ')[1])).to.be.above(0);
  });

  it('has every name of the contract', async () => {
    post({
      history: [
        entry(1, { from: 'WAITING', to: 'STARTING', on: 'start-begun' }),
        entry(2, { from: 'WAITING', to: 'STARTING', on: 'start-begun' }),
      ],
    });
    const text = await page();
    for (const name of [
      'master_loop_daemon_state',
      'master_loop_daemon_healthy',
      'master_loop_daemon_restarts_total',
      'master_loop_daemon_recovery_seconds',
      'master_loop_health_check_failures_total',
      'master_loop_event_loop_lag_seconds',
      'master_loop_events_',
      'process_',
    ])
      expect(text).to.contain(name);
  });
});

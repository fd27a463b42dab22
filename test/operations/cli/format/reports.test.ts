import { expect } from 'chai';
import { degraded } from '../../../../src/health/verdict.ts';
import { daemonRow } from '../../../../src/operations/cli/format/daemon-row.ts';
import { operationText } from '../../../../src/operations/cli/format/operation.ts';
import { painter } from '../../../../src/operations/cli/format/paint.ts';
import { recordLines } from '../../../../src/operations/cli/format/plain-record.ts';
import { planLines } from '../../../../src/operations/cli/format/plan-lines.ts';
import { statusTable } from '../../../../src/operations/cli/format/status-table.ts';
import { width } from '../../../../src/operations/cli/format/text.ts';
import { WHY_LINES_MAX, whyScreen } from '../../../../src/operations/cli/format/why-screen.ts';
import { wallMsOf } from '../../../../src/seams/plain-clock.ts';
import { daemonStatus, historyEntry, STARTED_AT, statusReport, whyAnswer } from '../../../support/fake-loop.ts';
import type { OperationRecord } from '../../../../src/orchestrator/types.ts';

const NOW = wallMsOf(STARTED_AT) + 60_000;
const plain = painter(false);

const waitsForRouter = {
  on: 'EVENT_ROUTER',
  kind: 'hard',
  condition: 'ready',
  state: 'FAILED',
  impossible: true,
  message: 'impossible: EVENT_ROUTER is FAILED',
  remedy: 'master_loop reset EVENT_ROUTER',
} as const;

describe('A daemon in one line', () => {
  it('a running one says how long it serves, and nothing more', () => {
    expect(daemonRow(daemonStatus('A'), NOW)).to.deep.include({ time: '1m00s', restarts: '0', note: '' });
  });

  it('a waiting one says for what', () => {
    const row = daemonRow(daemonStatus('A', { state: 'WAITING', waitingFor: [waitsForRouter] }), NOW);
    expect(row.note).to.equal('impossible: EVENT_ROUTER is FAILED');
    expect(row.health).to.equal('');
  });

  it('one that comes back says when, what happened, and how many attempts are charged', () => {
    const row = daemonRow(
      daemonStatus('A', {
        state: 'RESTARTING',
        nextAttemptAt: '2026-11-23T21:01:02.500Z',
        lastCause: 'exit',
        lastError: 'boom\nat x',
        restartCount: 2,
        attemptsLeft: 3,
      }),
      NOW,
    );
    expect(row).to.deep.include({ time: 'in 2.5s', note: 'exit: boom at x', restarts: '2/5' });
  });

  it('a degraded one says what is not well', () => {
    const health = { ...degraded('no shard for 95 s'), checkedAt: null, consecutiveFailures: 0 };
    expect(daemonRow(daemonStatus('A', { health }), NOW).note).to.equal('no shard for 95 s');
  });
});

describe('status for people', () => {
  const status = statusReport([
    daemonStatus('EVENT_ROUTER', { critical: true }),
    daemonStatus('AUTO_SYNC', { state: 'FAILED', lastCause: 'exit', lastError: 'x'.repeat(200) }),
  ]);

  it('is a table whose columns align, whole on a pipe and without a byte of colour', () => {
    const lines = statusTable(status, NOW, Infinity, plain);
    expect(lines.join('\n')).not.to.include('\x1b');
    expect(lines[0]).to.match(/^ringrift is ready · up 1m00s/);
    expect(lines[1]).to.equal('2 daemons: 1 running, 1 failed');
    const [head = '', router = '', sync = ''] = lines.slice(3);
    expect(router.indexOf('RUNNING')).to.equal(head.indexOf('STATE'));
    expect(sync.indexOf('FAILED')).to.equal(head.indexOf('STATE'));
    expect(sync).to.include('x'.repeat(200));
  });

  it('on a terminal ends every line where the screen ends', () => {
    for (const line of statusTable(status, NOW, 60, plain)) expect(width(line)).to.be.at.most(60);
  });

  it('says in the first lines that the loop is stalled and who holds it', () => {
    const stalled = {
      ...status,
      verdict: 'engine_stalled' as const,
      stall: { silentMs: 12_000, heldBy: 'AUTO_EXPORT' },
    };
    expect(statusTable(stalled, NOW, Infinity, plain).slice(0, 4).join('\n')).to.include(
      'silent for 12s, held by AUTO_EXPORT',
    );
  });
});

describe('why on one screen', () => {
  it('tells state, reason, rule, remedy and the chain to its root', () => {
    const text = whyScreen(
      whyAnswer({ state: 'FAILED', reason: 'budget spent', remedy: 'master_loop reset AUTO_SYNC' }),
      NOW,
      80,
      plain,
    ).join('\n');
    expect(text).to.match(/^AUTO_SYNC is FAILED, wanted up, since 2026-11-23 21:00:00 \(1m00s\)/);
    for (const part of ['budget spent', 'the daemon said', 'To do      master_loop reset AUTO_SYNC', 'boot'])
      expect(text).to.include(part);
  });

  it('however much there is to tell, it is 24 lines of 80 cells, with the root cause kept', () => {
    const long = 'a stack trace that goes on and on '.repeat(60);
    const lines = whyScreen(
      whyAnswer({
        reason: long,
        rule: long,
        remedy: long,
        health: degraded(long),
        stall: { silentMs: 5000, heldBy: 'X' },
        lastExit: { message: long, why: 'exit', time: STARTED_AT },
        nextAttemptAt: STARTED_AT,
        waitingFor: Array.from({ length: 9 }, () => ({ ...waitsForRouter, message: long })),
        causeChain: [
          ...Array.from({ length: 500 }, (_, index) => historyEntry(900 - index, { message: long })),
          historyEntry(1, { daemon: null, from: null, to: null, on: 'boot', message: 'the root' }),
        ],
      }),
      NOW,
      80,
      plain,
    );
    expect(lines.length).to.be.at.most(WHY_LINES_MAX);
    for (const line of lines) expect(width(line)).to.be.at.most(80);
    expect(lines.at(-1)).to.include('the root');
    expect(lines.join('\n')).to.include('master_loop history AUTO_SYNC');
  });
});

describe('An operation in progress', () => {
  const operation: OperationRecord = {
    id: '1',
    verb: 'recover',
    phase: 'draining',
    origin: 'operator',
    reason: 'master_loop recover',
    drainMs: 10_000,
    resetFailed: true,
    resumed: false,
    startedWallMs: NOW - 9_000,
    phaseWallMs: NOW - 4_000,
    took: {},
    verdict: null,
    notReady: [],
  };

  it('counts the drain down', () => {
    expect(operationText(operation, NOW)).to.equal('recover: draining 6.0s left (by operator: master_loop recover)');
  });

  it('is nothing to tell once it is done', () => {
    expect(operationText({ ...operation, phase: 'done' }, NOW)).to.equal(null);
    expect(operationText(null, NOW)).to.equal(null);
  });
});

describe('A plan of the running loop', () => {
  const step = (daemon: string, because: string, writtenAt: string | null = null) => ({ daemon, because, writtenAt });

  it('names who goes, in order, who pulled whom in, and who stays', () => {
    const down = [
      step('SYNC', 'needs PIPELINE (hard, onLoss restart)', 'fleet.yaml:7:82'),
      step('PIPELINE', 'restart asked for it'),
    ];
    const plan = {
      verb: 'restart',
      daemons: ['PIPELINE'],
      stop: down,
      start: [...down].reverse(),
      reattach: ['WATCHER'],
    };
    expect(planLines(plan, Infinity)).to.deep.equal([
      'restart PIPELINE: would touch 2 daemons',
      '',
      'stops, leaf first (2)',
      '  SYNC      needs PIPELINE (hard, onLoss restart)  fleet.yaml:7:82',
      '  PIPELINE  restart asked for it',
      '',
      'starts, root first (2)',
      '  PIPELINE  restart asked for it',
      '  SYNC      needs PIPELINE (hard, onLoss restart)  fleet.yaml:7:82',
      '',
      'stays up and proves its subscriptions again (1)',
      '  WATCHER',
    ]);
    for (const line of planLines(plan, 40)) expect(line.length).to.be.at.most(40);
  });

  it('gives no reason a hundred times when it is the same, and says when there is nothing to do', () => {
    const all = [step('B', 'stop-all'), step('A', 'stop-all')];
    expect(planLines({ verb: 'stop-all', daemons: [], stop: all, start: [], reattach: [] }, Infinity)).to.deep.equal([
      'stop-all of the whole fleet: would touch 2 daemons',
      '',
      'stops, leaf first (2)',
      '  B',
      '  A',
    ]);
    expect(planLines({ verb: 'stop', daemons: ['A'], stop: [], start: [], reattach: [] }, Infinity)).to.deep.equal([
      'stop A: nothing would stop or start',
    ]);
  });
});

describe('An answer without a layout of its own', () => {
  it('is its text when it brings one', () => {
    expect(recordLines({ text: 'a\n  b\x1b[31m\n', more: 1 })).to.deep.equal(['a', '  b\ufffd[31m']);
  });

  it('is its fields otherwise', () => {
    expect(recordLines({ drill: 'router-loss', steps: [{ name: 'detect', ms: 12 }], left: [] })).to.deep.equal([
      'drill: router-loss',
      'steps:',
      '  - name: detect',
      '    ms: 12',
      'left: -',
    ]);
  });
});

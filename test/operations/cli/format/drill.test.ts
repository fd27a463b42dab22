import { expect } from 'chai';
import { drillLines } from '../../../../src/operations/cli/format/drill.ts';
import { painter } from '../../../../src/operations/cli/format/paint.ts';
import { width } from '../../../../src/operations/cli/format/text.ts';
import type { DrillList, DrillResult } from '../../../../src/operations/drills/types.ts';

const plain = painter(false);

const result: DrillResult = {
  version: 1,
  id: 'd-20261124-145655123-router-loss',
  drill: 'router-loss',
  target: 'EVENT_ROUTER',
  fleet: 'ringrift',
  tempo: 'quick',
  origin: 'schedule',
  status: 'failed',
  passed: false,
  startedAt: '2026-11-24T14:56:55.123Z',
  endedAt: '2026-11-24T14:57:02.000Z',
  fault: 'ends the thread of the event router where it stands',
  steps: [
    { name: 'injected', at: '2026-11-24T14:56:55.200Z', seconds: 0, note: '' },
    { name: 'detected', at: '2026-11-24T14:56:55.210Z', seconds: 0.01, note: 'drill: the router thread ended' },
    { name: 'ready', at: '2026-11-24T14:57:01.200Z', seconds: 6, note: '' },
  ],
  checks: [
    { what: 'the fault happened', ok: true, detail: 'thread 1 ended' },
    { what: 'it recovered within its target', ok: false, detail: '5.99 s from detection, 5 s allowed' },
  ],
  detectionSeconds: 0.01,
  recoverySeconds: 5.99,
  recoveryTargetSeconds: 5,
  reason: 'it recovered within its target: 5.99 s from detection, 5 s allowed',
};

describe('drills for people', () => {
  it('a result tells what was broken, how long it took, when what happened, and which check failed', () => {
    expect(drillLines(result, Infinity, plain)).to.deep.equal([
      'FAILED      router-loss on EVENT_ROUTER  d-20261124-145655123-router-loss',
      '  fault      ends the thread of the event router where it stands',
      '  recovered  in 6.0s, of the 5.0s allowed, found after 0.0s',
      '  began      2026-11-24 14:56:55, by the schedule',
      '  reason     it recovered within its target: 5.99 s from detection, 5 s allowed',
      '',
      '      0.00 s  injected',
      '      0.01 s  detected       drill: the router thread ended',
      '      6.00 s  ready',
      '',
      '  ok    the fault happened: thread 1 ended',
      '  FAIL  it recovered within its target: 5.99 s from detection, 5 s allowed',
    ]);
  });

  it('no line is longer than the terminal, and what a daemon says cannot move its cursor', () => {
    const hostile = { ...result, checks: [{ what: 'x', ok: true, detail: `${'long '.repeat(40)}\x1b[2J` }] };
    const lines = drillLines(hostile, 60, plain);
    for (const line of lines) expect(width(line)).to.be.at.most(60);
    expect(lines.join('')).not.to.include('\x1b');
  });

  it('past results are a line each, and none says how to make one', () => {
    expect(drillLines({ results: [result] }, Infinity, plain)[0]).to.match(
      /^2026-11-24 14:56:55 {2}FAILED {6}router-loss on EVENT_ROUTER {2}in 6\.0s, .*d-20261124-145655123-router-loss$/,
    );
    expect(drillLines({ results: [] }, Infinity, plain)[0]).to.include('drill run');
  });

  it('the list says what each does, to whom, and what keeps it from beginning', () => {
    const list: DrillList = {
      drills: [
        { name: 'daemon-hang', does: 'hangs it', needs: 'has a cycle', targets: ['A', 'B'], byDefault: 'B' },
        { name: 'health-failure', does: 'breaks it', needs: 'says how', targets: [], byDefault: null },
        { name: 'full-recovery', does: 'stops and starts all', needs: '', targets: [], byDefault: null },
      ],
      busy: 'recover is under way',
    };
    expect(drillLines(list, Infinity, plain)).to.deep.equal([
      'daemon-hang',
      '  does       hangs it',
      '  target     a daemon that has a cycle; B when none is named',
      '  now        A, B',
      'health-failure',
      '  does       breaks it',
      '  target     a daemon that says how',
      '  now        nobody can be its target',
      'full-recovery',
      '  does       stops and starts all',
      'none can begin now: recover is under way',
    ]);
  });

  it('a verification is its checks, and an answer of a shape it does not know is shown all the same', () => {
    expect(drillLines({ ok: false, checks: result.checks }, Infinity, plain)[1]).to.match(/^ {2}FAIL {2}/);
    expect(drillLines({ ok: true, message: 'healed A' }, Infinity, plain)).to.deep.equal(['healed A']);
    expect(drillLines({ verb: 'run' }, Infinity, plain)).to.deep.equal(['verb: run']);
  });
});

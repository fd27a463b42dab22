import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { programCommand } from '../../src/seams/entry.ts';

describe('An error that nobody caught', () => {
  it('ends the start of the daemon whose code threw, and no other', () => {
    const [program = '', ...args] = programCommand('./uncaught-program.ts', import.meta.url, []);
    const said = JSON.parse(execFileSync(program, args, { encoding: 'utf8' })) as {
      reports: string[];
      unowned: string[];
      left: string[];
    };
    const ends = said.reports.filter((report) => !report.endsWith('ready')).sort();
    expect(ends).to.deep.equal([
      'CONTEXT_TIMER 1 crashed: in a timer of the context',
      'ENDED 1 killed',
      'IMMEDIATE 1 crashed: in an immediate',
      'REJECTION 1 crashed: in a promise nobody awaits',
      'TIMER 1 crashed: in a raw timer',
    ]);
    // The store of a bare microtask is gone by the time its throw surfaces, so it has no owner: the master is told.
    expect(said.unowned).to.deep.equal(['in a bare microtask']);
    expect(said.left.sort()).to.deep.equal(['MICROTASK (start 1)', 'WELL (start 1)']);
  });
});

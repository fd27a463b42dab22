/** docs/RUNBOOK.md, every step, on the bundled fleet. */
import { expect } from 'chai';
import { blocksOf } from './document.ts';
import { play } from './play.ts';
import { Stage } from './stage.ts';

describe('The runbook, step by step', function () {
  this.timeout(120_000);
  const blocks = blocksOf('docs/RUNBOOK.md');
  let stage: Stage;

  before(async () => {
    stage = await Stage.open();
  });
  after(() => stage.close());

  play(blocks, () => stage);

  it('leaves out no step', () => {
    expect(blocks.filter(({ way }) => way === 'not run')).to.deep.equal([]);
  });
});

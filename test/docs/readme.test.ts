/** README.md: the main job as it stands there, in a terminal, and the tour beside it. */
import { expect } from 'chai';
import { packageRoot } from '../../src/seams/entry.ts';
import { blocksOf } from './document.ts';
import { play } from './play.ts';
import { Stage, type Running } from './stage.ts';

const START_MS = 90_000;

describe('The README, step by step', function () {
  this.timeout(120_000);
  const blocks = blocksOf('README.md');
  let stage: Stage;
  let mainJob: Running;

  before(async () => {
    stage = await Stage.open();
    const [install, start] = (blocks[0]?.source ?? '').split(' && ');
    expect([install, start]).to.deep.equal(['npm install', 'npm start']);
    mainJob = stage.inTerminal('npm start', packageRoot());
    await mainJob.says(/ringrift · ready/, START_MS, 'npm start');
  });
  after(async () => {
    await stage.close();
    mainJob.end();
  });

  play(blocks, () => stage);

  it('ends with the main job over, as it should be', async () => {
    expect((await mainJob.within(START_MS, 'npm start')).code).to.equal(0);
  });

  it('has two set-up commands first, and leaves out nothing else but linking', () => {
    expect(blocks.slice(0, 2).map(({ source }) => source)).to.deep.equal(['npm install && npm start', 'npm test']);
    expect(blocks.filter(({ way }) => way === 'not run').map(({ source }) => source)).to.deep.equal([
      'npm install && npm start',
      'npm test',
      'npm link',
    ]);
  });
});

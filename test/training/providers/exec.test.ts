import { expect } from 'chai';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execProvider } from '../../../src/training/providers/exec.ts';
import { rejectionOf } from '../stores/support.ts';
import { nodeRow, testWorld, type TestWorld } from './support.ts';

const SETTINGS = { kinds: ['selfplay' as const], seed: 7, startMs: 10_000 };

describe("a node that a user's commands start", function () {
  this.timeout(20_000);
  let world: TestWorld;
  beforeEach(() => (world = testWorld()));
  afterEach(() => world.close());
  const node = () => nodeRow(world, { provider: 'cloud' });
  /** A command that appends its words to `calls`, then does what `source` says. */
  const command = (source: string, ...words: string[]): string[] => [
    process.execPath,
    '-e',
    `const fs = require('node:fs'); fs.appendFileSync(${JSON.stringify(join(world.folder, 'calls'))}, process.argv.slice(1).join(' ') + '\\n'); ${source}`,
    ...words,
  ];
  const calls = (): string[] => readFileSync(join(world.folder, 'calls'), 'utf8').trim().split('\n');
  const answering = (): string[] =>
    command(
      `const [, nodeId, runId, answer] = process.argv.slice(1);
       fs.writeFileSync(answer, JSON.stringify({ version: 1, nodeId, runId, pid: 5, url: 'http://10.0.0.9:1', storeId: 's' }));`,
      'start',
      '{nodeId}',
      '{runId}',
      '{answerFile}',
      '{configFile}',
      '{unknown}',
    );
  const provider = (start: string[], more: { check?: string[]; stop?: string[] } = {}) =>
    execProvider(world, 'cloud', {
      start,
      stop: more.stop ?? command('', 'stop', '{nodeId}'),
      ...(more.check === undefined ? {} : { check: more.check }),
    });

  it('is started by arguments filled in, and known again without a second start', async () => {
    const cloud = provider(answering());
    const announced = await cloud.start(node(), SETTINGS);
    expect(announced).to.include({ url: 'http://10.0.0.9:1', runId: 'local-1-r1' });
    expect(await cloud.start(node(), SETTINGS)).to.deep.equal(announced);
    const folder = node().folder;
    expect(calls()).to.deep.equal([
      `start local-1 local-1-r1 ${folder}/answer-local-1-r1.json ${folder}/config.json {unknown}`,
    ]);
    await cloud.stop(node(), 100);
    expect(existsSync(join(folder, 'answer-local-1-r1.json'))).to.equal(false);
  });

  it('whose start fails is stopped too, since it may have come up unseen', async () => {
    const fault = await rejectionOf(
      'NODE_NOT_STARTED',
      provider(command('process.exit(4)', 'start')).start(node(), SETTINGS),
    );
    expect(fault.message).to.contain('its command exited with code 4');
    expect(calls()).to.deep.equal(['start', 'stop local-1']);
  });

  it('whose start ends well and never answers is a failed start', async () => {
    const fault = await rejectionOf(
      'NODE_NOT_STARTED',
      provider(command('', 'start')).start(node(), { ...SETTINGS, startMs: 500 }),
    );
    expect(fault.message).to.contain('nothing was heard of it for 0.5 s');
  });

  it('lives or not as the check says, and is unknown without a check or with an odd one', async () => {
    writeFileSync(join(world.folder, 'calls'), '');
    const says = (code: number) => provider([], { check: command(`process.exit(${code})`, 'check') }).alive(node());
    expect([await says(0), await says(1), await says(7), await provider([]).alive(node())]).to.deep.equal([
      true,
      false,
      null,
      null,
    ]);
  });

  it('whose stop fails says so', async () => {
    const fault = await rejectionOf(
      'NODE_NOT_STARTED',
      provider([], { stop: command('process.exit(2)', 'stop') }).stop(node(), 100),
    );
    expect(fault.message).to.equal('cannot stop node local-1 by the command of provider cloud: it exited with code 2');
  });
});

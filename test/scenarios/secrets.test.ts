import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { LiveMaster } from './live-master.ts';

const FLEET = `version: 1
name: secrets
defaults: { restart: { delaysSeconds: [0.1], maxRestarts: 1, stableSeconds: 300 } }
alertSinks:
  team: { webhook: "\${HOOK}" }
daemons:
  BROKEN: { module: ./broken.js, critical: true, config: { password: "\${PASSWORD}" } }
`;
const FILES = {
  // Port 9 discards: the webhook is dead, so what is logged of it is the interesting part.
  '.env': 'HOOK=http://127.0.0.1:9/hooks/HOOK-SECRET-1\nPASSWORD=PASSWORD-SECRET-2\n',
  'broken.js': `export default { type: 'BROKEN', purpose: 'fails', config: (z) => z.object({ password: z.string() }),
    create: () => ({ start() { throw new Error('no database'); } }) };`,
};

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(path) : entry.isFile() ? [path] : [];
  });

describe('Secrets of a fleet file', function () {
  this.timeout(60_000);
  let master: LiveMaster;

  beforeEach(async () => {
    master = new LiveMaster(FLEET, FILES);
    await master.start();
    await master.untilState('BROKEN', 'FAILED');
  });
  afterEach(() => master.dispose());

  it('reach no file but their own and no answer, though a daemon fails with them and an alert is sent to a dead webhook', async () => {
    const answers = await Promise.all(
      [
        ['status', '--json'],
        ['why', 'BROKEN', '--json'],
        ['history', '--json'],
        ['plan', 'stop-all', '--json'],
      ].map(async (words) => (await master.run(...words)).out),
    );
    const { port } = await master.status();
    answers.push(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text());
    const token = readFileSync(join(master.dataDir, 'run', 'token'), 'utf8').trim();
    const said = answers.join('\n');
    for (const secret of ['HOOK-SECRET-1', 'PASSWORD-SECRET-2', token]) {
      expect(said).to.not.include(secret);
      const holding = filesBelow(master.dataDir)
        .filter((file) => readFileSync(file).includes(secret))
        .map((file) => relative(master.dataDir, file));
      expect(holding, secret).to.deep.equal(secret === token ? ['run/token'] : []);
    }
    expect(master.log()).to.include('alert failed: BROKEN is FAILED');
  });
});

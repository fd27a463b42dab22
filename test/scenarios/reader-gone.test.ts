/** Who looks at a loop may leave in any way: a fleet never hangs on its reader. */
import { expect } from 'chai';
import { LiveMaster, until } from './live-master.ts';

const FLEET = `version: 1
name: read
daemons:
  KEEPER: { module: ./keeper.js }
`;
const CHILDREN = {
  'keeper.js': `export default { type: 'KEEPER', purpose: 'keeps a child, and talks', create: ({ spawn, log }) => ({
    async start() { await spawn({ name: 'kept', command: ['sleep', '1000'] }); },
    every: { periodSeconds: 0.05, run: () => log.info('still here') } }) };`,
};

describe('A loop whose reader goes away', function () {
  this.timeout(60_000);
  let master: LiveMaster;
  beforeEach(() => (master = new LiveMaster(FLEET, CHILDREN)));
  afterEach(() => master.dispose());

  it('with the terminal of its live view: stops in order and leaves no child', async () => {
    const closeTerminal = await master.watchInTerminal();
    await master.untilState('KEEPER', 'RUNNING');
    expect(master.children()).to.have.length(1);
    closeTerminal();
    await until('it is gone', async () => (await master.run('status')).code === 3);
    await until('its child is gone', () => master.children().length === 0, 5_000);
    expect(master.log()).to.match(/KEEPER\] RUNNING → STOPPING/);
    expect(master.log()).to.match(/KEEPER\] STOPPING → .*stopped/);
  });

  it('at the end of a pipe: goes on, and its log is on disk', async () => {
    await master.start();
    await master.untilState('KEEPER', 'RUNNING');
    master.stopReading();
    const before = master.log().length;
    await until('ten lines more were logged', () => master.log().length > before + 10 * 60);
    expect((await master.daemon('KEEPER')).state).to.equal('RUNNING');
    master.signal('SIGTERM');
    expect(await master.ended()).to.equal(0);
  });
});

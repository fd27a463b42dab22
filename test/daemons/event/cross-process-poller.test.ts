import { expect } from 'chai';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crossProcessPoller } from '../../../src/daemons/event/cross-process-poller.ts';
import { DRAWER_FILES_MAX } from '../../../src/events/inbox.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';

const TYPE = 'CROSS_PROCESS_POLLER';

describe(TYPE, function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  const drawer = () => bench.health(TYPE).details.bounds?.['drawer_files'];

  it('counts what it puts away, and a bad file twice', async () => {
    const inbox = join(bench.dataDir, 'inbox');
    mkdirSync(inbox, { recursive: true });
    await bench.start(crossProcessPoller, { periodSeconds: 0.05 });
    await bench.until('it has counted its drawers', () => drawer()?.size === 0);
    writeFileSync(join(inbox, 'good.json'), '{"topic": "QUALITY_CHECK_REQUESTED", "body": {"config": null}}');
    await bench.until('it lies in its drawer', () => drawer()?.size === 1);
    for (const name of ['a', 'b']) writeFileSync(join(inbox, `${name}.json`), '{"body": {}}');
    await bench.until('both bad ones and their reasons', () => drawer()?.size === 4);
    expect(drawer()).to.deep.equal({ size: 4, limit: DRAWER_FILES_MAX, dropped: 0 });
  });

  it('that finds too full a drawer makes room in it, and says so', async () => {
    const done = join(bench.dataDir, 'inbox', 'done');
    mkdirSync(done, { recursive: true });
    for (let file = 0; file <= DRAWER_FILES_MAX; file++) writeFileSync(join(done, `${file}.json`), '');
    await bench.start(crossProcessPoller, { periodSeconds: 0.05 });
    await bench.until('it has made room', () => (drawer()?.dropped ?? 0) > 0);
    expect(readdirSync(done)).to.have.length(DRAWER_FILES_MAX * 0.9);
    expect(drawer()).to.deep.equal({
      ...{ size: DRAWER_FILES_MAX * 0.9, limit: DRAWER_FILES_MAX, dropped: DRAWER_FILES_MAX * 0.1 + 1 },
    });
    expect(bench.log.some((line) => line.includes('deleted the 501 oldest files'))).to.equal(true);
  });
});

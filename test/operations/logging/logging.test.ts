import { expect } from 'chai';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogging, type Logging } from '../../../src/operations/logging/logging.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import { simulatedClock } from '../../../src/simulation/simulated-clock.ts';

describe('logging', () => {
  let folder: string;
  let path: string;
  let printed: string[];
  let logging: Logging;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ml-logging-'));
    path = join(folder, 'logs', 'coordination.log');
    printed = [];
    logging = createLogging({
      path,
      level: 'INFO',
      clock: simulatedClock({ wallMs: Date.parse('2026-11-23T21:00:00.000Z') }),
      files: realFileSystem(),
      print: (line) => printed.push(line),
    });
  });
  afterEach(async () => {
    await logging.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const lines = (): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1);

  it('writes lines that grep finds as the runbook says', async () => {
    logging.for('AUTO_SYNC').error('cannot sync', { node: 'n1' });
    logging.master.critical('storm');
    await logging.flush();
    expect(lines()).to.deep.equal([
      '2026-11-23T21:00:00.000Z ERROR [AUTO_SYNC] cannot sync node=n1',
      '2026-11-23T21:00:00.000Z CRITICAL [master_loop] storm',
    ]);
    expect(printed).to.deep.equal(lines());
  });

  it('changes its level from one line to the next', async () => {
    const log = logging.for('EVENT_ROUTER');
    log.debug('one');
    expect(log.isDebug()).to.be.false;
    expect(logging.setLevel('DEBUG')).to.equal('INFO');
    expect(log.isDebug()).to.be.true;
    log.debug('Delivered to AUTO_SYNC SYNC_REQUEST 1');
    logging.setLevel('CRITICAL');
    log.error('three');
    await logging.flush();
    expect(lines()).to.have.length(1);
    expect(lines()[0]).to.match(/DEBUG \[EVENT_ROUTER\] Delivered to AUTO_SYNC SYNC_REQUEST 1$/);
    expect(logging.figures()).to.deep.equal({ level: 'CRITICAL', dropped: 0, failing: null });
  });

  it('cuts a known secret out of everything', async () => {
    logging.redact('the-very-token');
    logging.master.info('it is the-very-token');
    await logging.flush();
    expect(lines()[0]).to.match(/it is \[redacted\]$/);
  });

  it('has its last words on disk before the next instruction', () => {
    for (let index = 0; index < 500; index++) logging.master.info(`line ${index}`);
    logging.flushNow();
    expect(lines()).to.have.length(500);
    expect(lines().at(-1)).to.match(/line 499$/);
  });
});

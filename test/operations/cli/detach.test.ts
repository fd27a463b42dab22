import { expect } from 'chai';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OrchestratorError } from '../../../src/errors.ts';
import type { Settings } from '../../../src/operations/cli/call.ts';
import { startInBackground } from '../../../src/operations/cli/detach.ts';
import { exitCodeOf } from '../../../src/operations/cli/exit-codes.ts';
import { BACKGROUND_VARIABLE } from '../../../src/operations/cli/master.ts';
import { outputPath } from '../../../src/operations/control-paths.ts';
import { programCommand } from '../../../src/seams/entry.ts';
import { plainClock } from '../../../src/seams/plain-clock.ts';

const program = (code: string): string[] => [process.execPath, '-e', code];

describe('A loop in the background', function () {
  this.timeout(30_000);
  let settings: Settings;

  beforeEach(() => {
    settings = {
      fleetFile: null,
      profile: null,
      tempo: null,
      dataDir: mkdtempSync(join(tmpdir(), 'ml-detach-')),
      port: 0,
      logLevel: 'INFO',
      json: false,
    };
  });
  afterEach(() => rmSync(settings.dataDir, { recursive: true, force: true }));

  const start = (command: readonly string[]) =>
    startInBackground(settings, { PATH: process.env['PATH'] }, plainClock(), command);

  const failureOf = async (command: readonly string[]): Promise<OrchestratorError> => {
    const thrown: unknown = await start(command).then(
      () => null,
      (reason: unknown) => reason,
    );
    if (thrown instanceof OrchestratorError) return thrown;
    throw new Error(`it started, or failed otherwise: ${String(thrown)}`);
  };

  it('has started when its own control socket answers, leads its own session, and outlives who started it', async () => {
    const background = await start(programCommand('../../support/fake-loop.ts', import.meta.url, [settings.dataDir]));
    try {
      expect(background.client.server).to.include({ pid: background.pid, fleet: 'ringrift' });
      const stat = readFileSync(`/proc/${background.pid}/stat`, 'utf8');
      const [, , group, session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      expect([group, session]).to.deep.equal([String(background.pid), String(background.pid)]);
    } finally {
      process.kill(background.pid, 'SIGKILL');
      background.client.close();
    }
    // Still watched, so its end is heard of.
    const thrown: unknown = await background.ended.catch((reason: unknown) => reason);
    expect(thrown).to.have.property('message').that.includes('ended by SIGKILL');
  });

  it('one that ends before it answers is told with its last words, and with its own exit code', async () => {
    const fault = await failureOf(program('console.error("held by pid 7"); process.exit(5)'));
    expect(fault.code).to.equal('DETACH_FAILED');
    expect(fault.message).to.match(
      /^cannot start the loop in the background: it ended with exit code 5.*\nheld by pid 7$/s,
    );
    expect(fault.remedy).to.include(outputPath(settings.dataDir));
    expect(exitCodeOf(fault)).to.equal(5);
  });

  it('tells only what this run said, not an earlier one', async () => {
    await failureOf(program('console.error("first run"); process.exit(1)'));
    const fault = await failureOf(program('console.error("second run"); process.exit(1)'));
    expect(fault.message).to.include('second run').and.not.to.include('first run');
  });

  it('knows that it runs in the background, so that its log does not fill that file', async () => {
    const fault = await failureOf(
      program(`console.error("background", process.env.${BACKGROUND_VARIABLE}); process.exit(1)`),
    );
    expect(fault.message).to.include('background 1');
  });

  it('a program that cannot be started at all is a failure as well', async () => {
    expect((await failureOf(['/nowhere/master_loop'])).message).to.include('exit code unknown');
  });
});

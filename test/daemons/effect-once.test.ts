import { expect } from 'chai';
import Database from 'better-sqlite3';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { programCommand } from '../../src/seams/entry.ts';
import { openBench, type DaemonBench } from '../support/daemon-bench.ts';
import { strikesOf, WHENS, WORKS, type When } from './effects.ts';

/** Ids of every event in a log, in its order. */
const idsIn = (dataDir: string): string[] => {
  const db = new Database(join(dataDir, 'events.db'), { readonly: true });
  try {
    return db.prepare('SELECT id FROM events ORDER BY offset').pluck().all() as string[];
  } finally {
    db.close();
  }
};

const onceEach = async (bench: DaemonBench, type: string, rounds: number): Promise<void> => {
  const ids = idsIn(bench.dataDir);
  const told = await WORKS[type]!.told(bench, rounds);
  expect(told).to.have.length(rounds);
  for (const id of told)
    expect(
      ids.filter((one) => one === id),
      id,
    ).to.have.length(1);
};

for (const type of Object.keys(WORKS))
  describe(`Effects of ${type}`, function () {
    this.timeout(120_000);
    let dataDir: string;
    const benches: DaemonBench[] = [];
    const open = async (): Promise<DaemonBench> => {
      const bench = await openBench({ dataDir });
      benches.push(bench);
      return bench;
    };

    beforeEach(() => {
      dataDir = mkdtempSync(join(tmpdir(), 'effects-test-'));
    });
    afterEach(async () => {
      for (const bench of benches.splice(0)) await bench.close();
      rmSync(dataDir, { recursive: true, force: true });
    });

    for (const [thread, whens] of [
      ['router', WHENS],
      ['stores', ['during']],
    ] as const)
      it(`happen once although the thread of the ${thread} ends at any call of it`, async () => {
        const { definition, config, stride, prepare, done } = WORKS[type]!;
        const bench = await open();
        const strikes = strikesOf(bench, () =>
          thread === 'stores' ? bench.floorHost.crashStores() : bench.router.crash().then(() => bench.router.start()),
        );
        await bench.start(definition, config);
        let round = 0;
        let struck = 0;
        for (const when of whens)
          for (let at = 1; ; at += stride) {
            await bench.stop(type);
            await prepare(bench, ++round);
            strikes.arm(at, when);
            await bench.start(definition, config);
            const isDone = (): Promise<boolean> => done(bench, round).catch(() => false); // a thread is away just now
            await bench.until(`round ${round} is done, struck ${when} call ${at}`, isDone);
            if (!(await strikes.over())) break;
            struck++;
          }
        expect(struck).to.be.greaterThan(whens.length * 5);
        await onceEach(bench, type, round);
        expect(bench.exits.filter(({ failure }) => failure !== null)).to.deep.equal([]);
      });

    it('happen once although the whole process is killed with SIGKILL between any two steps', async () => {
      const { stride } = WORKS[type]!;
      const life = (round: number, at: number, when: When): Promise<string> => {
        const args = [dataDir, type, String(round), String(at), when];
        const [file = '', ...rest] = programCommand('./effect-program.ts', import.meta.url, args);
        const child = spawn(file, rest, { stdio: ['ignore', 'ignore', 'inherit'] });
        return new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`)));
      };
      let round = 0;
      for (const when of ['before', 'after'] as const)
        for (let at = when === 'before' ? 1 : stride + 1; ; at += 2 * stride) {
          const end = await life(++round, at, when);
          if (end === 'exit code 0') break; // done before it came to that call
          expect(end, `${when} call ${at}`).to.equal('SIGKILL');
        }
      expect(round).to.be.greaterThan(5);
      expect(await life(++round, 0, 'before')).to.equal('exit code 0');
      await onceEach(await open(), type, round);
    });
  });

import { expect } from 'chai';
import { Rounds } from '../../src/daemons/rounds.ts';
import { OrchestratorError } from '../../src/errors.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';

const MINUTE_MS = 60_000;

/** Work that is held until it is let go, and remembers when it began. */
const held = () => {
  const waiting: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  return {
    waiting,
    work: () => new Promise<void>((resolve, reject) => waiting.push({ resolve, reject })),
  };
};

describe('the rounds of a daemon', () => {
  const lines: string[] = [];
  const say = (line: string): void => void lines.push(line);
  const options = {
    ...{ gapSeconds: 0, staleSeconds: 30, log: { debug: say, info: say, warn: say, error: say } },
    owns: (file: string) => file === '/own.db',
  };

  it('calls while a round runs share the next one, which begins when that one is over', async () => {
    const { waiting, work } = held();
    const rounds = new Rounds({ clock: simulatedClock(), ...options }, work);
    const first = rounds.run();
    const others = Array.from({ length: 1000 }, () => rounds.run());
    expect(new Set(others).size).to.equal(1);
    expect(waiting).to.have.length(1);
    waiting[0]!.reject(new Error('cannot: the disk is full'));
    let thrown = '';
    await first.catch((error: Error) => (thrown = error.message));
    expect(thrown).to.equal('cannot: the disk is full');
    await new Promise((resolve) => setImmediate(resolve));
    expect(waiting).to.have.length(2);
    waiting[1]!.resolve();
    await Promise.all(others);
    expect(waiting).to.have.length(2);
  });

  it('rounds keep their gap, whoever asks', async () => {
    const clock = simulatedClock();
    const begun: number[] = [];
    const rounds = new Rounds({ clock, ...options, gapSeconds: 5 }, () => {
      begun.push(clock.monotonicMs());
      return Promise.resolve();
    });
    await rounds.run();
    const second = rounds.run();
    await clock.advance(4_999);
    expect(begun).to.have.length(1);
    await clock.advance(1);
    await second;
    expect(begun[1]! - begun[0]!).to.equal(5_000);
  });

  it('calls in the gap before a round share that round, since its work has not begun', async () => {
    const clock = simulatedClock();
    const begun: number[] = [];
    const rounds = new Rounds({ clock, ...options, gapSeconds: 2 }, () => {
      begun.push(clock.monotonicMs());
      return Promise.resolve();
    });
    await rounds.run();
    const second = rounds.run();
    await clock.advance(1_999);
    const late = rounds.run();
    await clock.advance(1);
    await Promise.all([second, late]);
    expect(begun).to.have.length(2);
  });

  it('one failure is degraded, the second in a row unhealthy, and a round that goes through makes it well', async () => {
    const faults: (Error | null)[] = [new Error('cannot: one'), new Error('cannot: two'), null];
    const rounds = new Rounds({ clock: simulatedClock(), ...options }, () => {
      const fault = faults.shift() ?? null;
      return fault === null ? Promise.resolve() : Promise.reject(fault);
    });
    const verdicts: string[] = [];
    while (faults.length > 0) {
      await rounds.run().catch(() => undefined);
      const { status, message } = rounds.verdict();
      verdicts.push(`${status} ${message}`);
    }
    expect(verdicts).to.deep.equal([
      'degraded a round failed: cannot: one',
      'unhealthy 2 rounds in a row failed: cannot: two',
      'healthy ',
    ]);
  });

  it('a store of somebody else hinders it, said once, and does not fail it; its own does', async () => {
    let file = '/other.db';
    const rounds = new Rounds({ clock: simulatedClock(), ...options }, () =>
      Promise.reject(
        new OrchestratorError('STORE_FAILED', { message: `cannot use ${file}`, remedy: '', context: { file } }),
      ),
    );
    for (let times = 0; times < 3; times++) await rounds.run();
    expect((rounds.hindrance as OrchestratorError).context).to.deep.equal({ file });
    expect(rounds.verdict()).to.deep.include({ status: 'degraded', message: 'cannot use /other.db' });
    expect(lines).to.deep.equal(['is hindered: cannot use /other.db']);
    file = '/own.db';
    for (let times = 0; times < 2; times++) await rounds.run().catch(() => undefined);
    expect(rounds.verdict().status).to.equal('unhealthy');
  });

  it('a disk that takes nothing hinders it, whose store it ever is, and it goes on when there is room', async () => {
    const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    const context = { file: '/own.db', sqlite: 'SQLITE_FULL' };
    const faults = [
      new OrchestratorError('STORE_FAILED', { message: 'cannot use /own.db: disk is full', remedy: '', context }),
      new Error('cannot write a checkpoint', { cause: full }),
    ];
    const rounds = new Rounds({ clock: simulatedClock(), ...options }, () => {
      const fault = faults.shift() ?? null;
      return fault === null ? Promise.resolve() : Promise.reject(fault);
    });
    await rounds.run();
    expect(rounds.verdict()).to.deep.include({ status: 'degraded', message: 'cannot use /own.db: disk is full' });
    await rounds.run();
    expect(rounds.verdict()).to.deep.include({ status: 'degraded', message: 'cannot write a checkpoint' });
    await rounds.run();
    expect(rounds.verdict().status).to.equal('healthy');
  });

  it('the end of a start is no failure of its rounds, and silence is stale', async () => {
    const clock = simulatedClock();
    const rounds = new Rounds({ clock, ...options }, () =>
      Promise.reject(new OrchestratorError('SCOPE_CLOSED', { message: 'cannot act: it has ended', remedy: 'none' })),
    );
    await rounds.run().catch(() => undefined);
    expect(rounds.verdict().status).to.equal('healthy');
    await clock.advance(MINUTE_MS);
    expect(rounds.verdict({ nodes: 3 })).to.deep.include({
      status: 'degraded',
      message: 'no round went through for 60 s',
    });
    expect(rounds.verdict({ nodes: 3 }).details).to.include({ nodes: 3, stalenessSeconds: 60, rounds: 0 });
  });
});

import { expect } from 'chai';
import { LAUNCH_DAEMONS, MASTER_LOOP } from '../../../src/operations/cli/command-line.ts';
import { complete, type Sources } from '../../../src/operations/cli/complete.ts';

const SOURCES: Sources = {
  daemons: () => Promise.resolve(['AUTO_SYNC', 'AUTO_EXPORT', 'EVENT_ROUTER']),
  profiles: () => Promise.resolve(['core', 'full']),
  topics: () => Promise.resolve(['ELO_UPDATED']),
};

const BROKEN: Sources = {
  daemons: () => Promise.reject(new Error('no loop and no file')),
  profiles: () => Promise.reject(new Error('no file')),
  topics: () => Promise.reject(new Error('no catalogue')),
};

const offered = (line: string, program = MASTER_LOOP): Promise<string[]> =>
  complete(program, line.split(' '), SOURCES, {});

describe('Completion', () => {
  const table: readonly (readonly [string, readonly string[]])[] = [
    ['st', ['status', 'start', 'stop']],
    ['why A', ['AUTO_SYNC', 'AUTO_EXPORT']],
    ['why AUTO_SYNC ', []],
    ['stop AUTO_SYNC A', ['AUTO_EXPORT']],
    ['events d', ['dead-letters']],
    ['events publish ', ['ELO_UPDATED']],
    ['drill run router', ['router-loss']],
    ['drill run router-loss --target E', ['EVENT_ROUTER']],
    ['log-level W', ['WARN']],
    ['--tempo ', ['quick', 'standard']],
    ['--profile ', ['core', 'full']],
    ['plan re', ['recover', 'restart']],
    ['plan restart A', ['AUTO_SYNC', 'AUTO_EXPORT']],
    ['--data-dir /tmp/x status --js', ['--json']],
    ['nonsense ', []],
    ['--fleet ', []],
  ];
  for (const [line, expected] of table) {
    it(`"master_loop ${line}" + TAB offers ${expected.join(' ') || 'nothing, so that the shell completes files'}`, async () => {
      expect(await offered(line)).to.deep.equal(expected);
    });
  }

  it('a list option goes on offering names', async () => {
    expect(await offered('--stop AUTO_SYNC E', LAUNCH_DAEMONS)).to.deep.equal(['EVENT_ROUTER']);
  });

  it('options of the command come before the common ones', async () => {
    expect((await offered('logs -')).slice(0, 2)).to.deep.equal(['--follow', '--lines']);
  });

  it('zsh is told what each word does', async () => {
    const lines = await complete(MASTER_LOOP, ['stat'], SOURCES, { SHELL: '/usr/bin/zsh' });
    expect(lines).to.deep.equal(['status:state of every daemon']);
  });

  it('what cannot be asked for is not offered, and never an error in the middle of a line', async () => {
    expect(await complete(MASTER_LOOP, ['why', ''], BROKEN, {})).to.deep.equal([]);
    expect(await complete(MASTER_LOOP, ['why', ''], SOURCES, { RINGRIFT_HEALTH_PORT: 'x' })).to.deep.equal([]);
  });
});

import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { programCommand } from '../../src/seams/entry.ts';

describe('A process without file descriptors', () => {
  it('does not know what it cannot look at, says why where that is an error, and knows again when it has some', () => {
    const command = programCommand('./out-of-files.ts', import.meta.url);
    const out = execFileSync('sh', ['-c', 'ulimit -n 64 && exec "$@"', 'sh', ...command], { encoding: 'utf8' });
    const { without, again } = JSON.parse(out) as Record<'without' | 'again', Record<string, string>>;
    expect(without).to.include({ openFiles: 'answered null', maxFiles: 'answered null', portOwner: 'answered null' });
    expect(without).to.include({ residentBytes: 'answered null' });
    expect(without['freePort']).to.match(/^NETWORK_FAILED: .*EMFILE/);
    expect(without['identify']).to.match(/^EMFILE: /);
    expect(again).to.include({
      maxFiles: 'answered 64',
      residentBytes: 'answered some',
      freePort: 'answered a port',
      identify: 'answered',
    });
    expect(again['openFiles']).to.match(/^answered \d+$/);
  }).timeout(20_000);
});

/** The table of bounds in docs/reliability.md, held against a master that runs and is flooded. */
import { expect } from 'chai';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { OUTPUT_BYTES_MAX } from '../../src/operations/logging/child-output.ts';
import { programCommand } from '../../src/seams/entry.ts';
import { readDocument } from '../docs/document.ts';
import { LiveMaster, until } from './live-master.ts';

const MEGABYTE = 1024 * 1024;
const FLOOD = programCommand('../support/flood-program.ts', import.meta.url);
const MODULES = {
  'flooder.js': `import { join } from 'node:path';
    export default { type: 'FLOODER', purpose: 'has a child that prints too much', create: ({ spawn, dataDir }) => ({
      async start() {
        const [program, ...args] = ${JSON.stringify(FLOOD)};
        await spawn({ name: 'child', command: [program, ...args, '300', '100', 'one-line', join(dataDir, 'result.json'), 'stays'] });
      } }) };`,
};
/** Every daemon that keeps something of its own, and one that floods. */
const FLEET = `version: 1
name: bounds
defaults: { health: { periodSeconds: 1 } }
ports: { JOB_SCHEDULER: 0, DATA_SERVER: 0 }
daemons:
  EVENT_ROUTER: { uses: event-router }
  CROSS_PROCESS_POLLER: { uses: cross-process-poller }
  SELFPLAY_COORDINATOR: { uses: selfplay-coordinator }
  QUEUE_POPULATOR: { uses: queue-populator }
  JOB_SCHEDULER: { uses: job-scheduler }
  DATA_SERVER: { uses: data-server }
  FLOODER: { module: ./flooder.js }
`;

/** Names of the collections in the table of the section "Bounds". */
const collectionsOfDocument = (): string[] => {
  const section = /^## Bounds\n([\s\S]*?)(?=^## |(?![\s\S]))/m.exec(readDocument('docs/reliability.md'))?.[1] ?? '';
  return [...section.matchAll(/^\| ((?:`[a-z_]+`(?:, )?)+) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([a-z_]+)`/g)].map(([, name = '']) => name),
  );
};

interface Shown {
  readonly size: number;
  readonly limit: number;
  readonly dropped: number;
}

const collectionsOf = (page: string): Map<string, Shown> => {
  const read = (what: string): Map<string, number> =>
    new Map(
      [...page.matchAll(new RegExp(`^master_loop_collection_${what}\\{collection="(\\w+)"\\} (\\S+)$`, 'gm'))].map(
        ([, name = '', value]) => [name, Number(value)],
      ),
    );
  const [sizes, limits, dropped] = [read('size'), read('limit'), read('dropped_total')];
  return new Map(
    [...sizes].map(([name, size]) => [name, { size, limit: limits.get(name) ?? NaN, dropped: dropped.get(name) ?? 0 }]),
  );
};

describe('The bounds of a live master', function () {
  this.timeout(90_000);
  let master: LiveMaster;
  before(async () => {
    master = new LiveMaster(FLEET, MODULES);
    const { port } = await master.start();
    page = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  });
  after(() => master.dispose());
  let page: () => Promise<string>;
  const residentBytes = async (): Promise<number> =>
    Number(/^process_resident_memory_bytes (\S+)$/m.exec(await page())?.[1]);

  it('whose child floods its output: the drops are counted and told, and the memory stays', async () => {
    await master.untilState('FLOODER', 'RUNNING');
    const before = await residentBytes();
    const output = join(master.dataDir, 'logs', 'FLOODER-child.log');
    let longest = 0;
    let most = before;
    const result = await until('the child has printed all it wanted', async () => {
      longest = Math.max(longest, statSync(output, { throwIfNoEntry: false })?.size ?? 0);
      most = Math.max(most, await residentBytes());
      try {
        return JSON.parse(readFileSync(join(master.dataDir, 'daemons', 'FLOODER', 'result.json'), 'utf8')) as {
          written: number;
          longestMs: number;
        };
      } catch {
        return null; // not yet
      }
    });
    const shown = await until('what was left out is on the page', async () => {
      const found = collectionsOf(await page()).get('child_output_bytes');
      return found !== undefined && found.dropped > result.written / 2 ? found : null;
    });
    expect(result.written).to.equal(300 * MEGABYTE);
    expect(result.longestMs, 'the child never has to wait').to.be.below(1_000);
    expect(shown.limit).to.equal(OUTPUT_BYTES_MAX);
    expect(longest).to.be.below(150 * MEGABYTE);
    expect(most - before).to.be.below(100 * MEGABYTE);
    expect(master.log()).to.match(/WARN \[master_loop\] \d+ bytes of output were left out of .*FLOODER-child\.log/);
    expect((await master.daemon('FLOODER')).state).to.equal('RUNNING');
  });

  it('are all in the document, and each is kept', async () => {
    const documented = collectionsOfDocument();
    expect(documented).to.have.length.above(40);
    expect(new Set(documented).size, 'each once').to.equal(documented.length);
    // Of all of them, only what a child printed is cut afterwards: the page may still tell of the end of the flood.
    const isCut = ({ size, limit }: Shown): boolean => size <= limit;
    const shown = await until('every daemon has said what it keeps, and the flood is cut', async () => {
      const found = collectionsOf(await page());
      const isWhole = documented.every((name) => found.has(name));
      return isWhole && isCut(found.get('child_output_bytes')!) ? found : null;
    }).catch(async (thrown: Error) => {
      const found = collectionsOf(await page());
      throw new Error(`${thrown.message}; not shown: ${documented.filter((name) => !found.has(name)).join(', ')}`);
    });
    expect([...shown.keys()].sort(), 'shown and not documented').to.deep.equal([...documented].sort());
    for (const [name, { size, limit }] of shown) expect(size, name).to.be.within(0, limit);
    expect(await page(), 'every name found its place').to.match(
      /^master_loop_collection_dropped_total\{collection="metric_names"\} 0$/m,
    );
  });
});

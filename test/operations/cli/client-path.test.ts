import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { moduleUrl } from '../../../src/seams/entry.ts';

/** What `master_loop status` may not load: each takes a good part of the 250 ms that the command has in all. */
const HEAVY = [
  'rxjs',
  'zod',
  'fastify',
  'better-sqlite3',
  'winston',
  'yargs',
  'yaml',
  'graphlib',
  'p-queue',
  'prom-client',
];

// The compiler writes the specifiers that it rewrites in double quotes.
const IMPORT = /^(?:import|export)(?!\s+type\s)[^;]*?from\s+['"]([^'"]+)['"];|^import\s+['"]([^'"]+)['"];/gm;

/** Everything a module loads when it is loaded; dynamic imports are not. */
const loadedBy = (url: URL, loaded = new Set<string>()): Set<string> => {
  if (loaded.has(url.href)) return loaded;
  loaded.add(url.href);
  for (const [, from, bare] of readFileSync(fileURLToPath(url), 'utf8').matchAll(IMPORT)) {
    const target = from ?? bare ?? '';
    if (target.startsWith('.')) loadedBy(new URL(target, url), loaded);
    else loaded.add(target);
  }
  return loaded;
};

describe('A command that only asks a running loop', () => {
  const modules = [
    '../../../scripts/master_loop.ts',
    '../../../src/operations/cli/commands/look.ts',
    '../../../src/operations/cli/commands/act.ts',
    '../../../src/operations/cli/commands/drill.ts',
    '../../../src/operations/cli/commands/events.ts',
    '../../../src/operations/cli/commands/run.ts',
    '../../../src/operations/cli/commands/launch.ts',
    '../../../src/operations/cli/complete.ts',
    '../../../src/operations/cli/watch/watch.ts',
  ];
  for (const module of modules) {
    it(`loads neither the master nor a heavy library with ${module.slice('../../../'.length)}`, () => {
      const loaded = [...loadedBy(moduleUrl(module, import.meta.url))];
      expect(loaded.filter((one) => HEAVY.includes(one))).to.deep.equal([]);
      expect(
        loaded.filter((one) => /\/src\/(orchestrator|runtimes|journal|training|daemons|main)[/.]/.test(one)),
      ).to.deep.equal([]);
    });
  }

  it('while the commands that do need them are seen to load them', () => {
    const loaded = loadedBy(moduleUrl('../../../src/operations/cli/commands/plan.ts', import.meta.url));
    expect([...loaded]).to.include.members(['zod', 'yaml']);
  });
});

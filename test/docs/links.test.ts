/** What the documents point at exists: files, headings, tests by their titles, commands, options, scripts, variables. */
import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LAUNCH_DAEMONS, MASTER_LOOP } from '../../src/operations/cli/command-line.ts';
import { parse } from '../../src/operations/cli/parse.ts';
import { packageRoot } from '../../src/seams/entry.ts';
import { blocksOf, readDocument } from './document.ts';

const root = packageRoot();

const filesIn = (folder: string, ending: string): string[] =>
  readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesIn(path, ending);
    return entry.name.endsWith(ending) ? [path] : [];
  });

const DOCUMENTS = ['README.md', 'CHANGELOG.md', ...filesIn('docs', '.md')];
/** Printed from the tables, and tested where they are printed. */
const WRITTEN = DOCUMENTS.filter((path) => !path.startsWith('docs/reference/'));

const withoutBlocks = (text: string): string => text.replace(/^ *```[\s\S]*?^ *```$/gm, '');
const inlineCode = (text: string): string[] =>
  [...withoutBlocks(text).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code ?? '');

/** As GitHub makes an anchor of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
const anchorsOf = (text: string): string[] =>
  [...withoutBlocks(text).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading ?? ''));

const linksOf = (text: string): { readonly shown: string; readonly to: string }[] =>
  [...withoutBlocks(text).matchAll(/\[([^\]]+)\]\(([^)\s]+)\)/g)].map(([, shown = '', to = '']) => ({ shown, to }));

/** Lines of a document that call a program of ours, as what is typed after its name. */
const callsIn = (path: string): { readonly program: 'master_loop' | 'launch_daemons'; readonly typed: string }[] => {
  const bash = blocksOf(path)
    .filter(({ language }) => language === 'bash')
    .flatMap(({ source }) => source.replace(/<<'(\w+)'\n[\s\S]*?\n\1$/gm, '').split('\n'));
  return [...bash, ...inlineCode(readDocument(path))]
    .map((line) => line.replace(/ (\||>|&&|#).*$/, '').trim())
    .flatMap((line) => {
      const [, program, typed = ''] = /^(?:npx )?(master_loop|launch_daemons)(?: (.*))?$/.exec(line) ?? [];
      return program === 'master_loop' || program === 'launch_daemons' ? [{ program, typed }] : [];
    });
};

/** Words of a simple command line; a quoted text is one. */
const wordsOf = (typed: string): string[] =>
  [...typed.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, single, double, bare]) => single ?? double ?? bare ?? '');

for (const path of DOCUMENTS)
  describe(path, () => {
    const text = readDocument(path);

    it('links to files and headings that exist', () => {
      for (const { to } of linksOf(text)) {
        if (/^https?:/.test(to)) continue;
        const [file = '', anchor] = to.split('#');
        const target = file === '' ? path : join(dirname(path), file);
        expect(existsSync(join(root, target)), to).to.equal(true);
        if (anchor !== undefined) expect(anchorsOf(readDocument(target)), to).to.include(anchor);
      }
    });

    it('names a test by a title that it has', () => {
      for (const { shown, to } of linksOf(text)) {
        if (!to.endsWith('.test.ts')) continue;
        const source = readFileSync(join(root, dirname(path), to), 'utf8');
        expect(source, `${to} has no test about: ${shown}`).to.include(shown);
      }
    });
  });

for (const path of WRITTEN)
  describe(`${path}, in its code`, () => {
    const text = readDocument(path);
    const code = inlineCode(text);

    it('names files that exist', () => {
      for (const named of code.filter((one) => /^(src|test|bench|fleets|scripts|docs)\/[\w./-]+$/.test(one)))
        expect(existsSync(join(root, named)), named).to.equal(true);
    });

    it('calls commands with words and options that there are', () => {
      for (const { program, typed } of callsIn(path)) {
        const spec = program === 'master_loop' ? MASTER_LOOP : LAUNCH_DAEMONS;
        const call = `${program} ${typed}`;
        if (/[[\]|…]|\b(?:LEVEL|S|N)\b/.test(typed)) {
          // A synopsis, which nobody types: its command and its options must be there all the same.
          const [first = ''] = typed.split(/[ |\\]/);
          const options = [...spec.common, ...spec.commands.flatMap(({ options: own }) => own)];
          if (/^\w/.test(first)) expect(spec.commands.map(({ path: words }) => words[0])).to.include(first, call);
          for (const [, name] of typed.matchAll(/--([\w-]+)/g))
            expect(options.map((option) => option.name)).to.include(name, call);
        } else expect(() => parse(spec, wordsOf(typed)), call).to.not.throw();
      }
    });

    it('runs scripts that the package has', () => {
      const { scripts } = JSON.parse(readDocument('package.json')) as { scripts: Readonly<Record<string, string>> };
      const named = [...text.matchAll(/npm (?:run )?(start|test|(?<=run )[\w:-]+)/g)].map(([, name]) => name ?? '');
      for (const name of named) expect(scripts, `npm run ${name}`).to.have.property(name);
    });

    it('names variables that the program reads', () => {
      const sources = [...filesIn('src', '.ts'), ...filesIn('fleets', '.yaml')].map((file) => readDocument(file));
      for (const [name] of text.matchAll(/\b(RINGRIFT|MASTER_LOOP)_[A-Z_]+\b/g))
        expect(
          sources.some((source) => source.includes(name)),
          name,
        ).to.equal(true);
    });
  });

describe('The documents', () => {
  it('speak of every command', () => {
    const typed = new Set(WRITTEN.flatMap(callsIn).map(({ program, typed: words }) => `${program} ${words}`));
    for (const { path } of MASTER_LOOP.commands.filter(({ path: words }) => words.length > 0)) {
      const command = ['master_loop', ...path].join(' ');
      expect(
        [...typed].some((line) => line === command || line.startsWith(`${command} `)),
        command,
      ).to.equal(true);
    }
  });

  it('are small enough to be read', () => {
    for (const path of WRITTEN) expect(statSync(join(root, path)).size, path).to.be.below(32_000);
  });
});

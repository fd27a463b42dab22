import { expect } from 'chai';
import fc from 'fast-check';
import { parseFleetText } from '../../src/fleet/document.ts';
import { faultsOf } from '../../src/fleet/faults.ts';
import { brief, load, SPINE, withDaemons } from './support.ts';

const read = (text: string) => {
  const { document, faults } = parseFleetText('f.yaml', text, {});
  return { document, value: document?.value, faults: faults.all() };
};
const refused = (text: string): string[] => {
  const { document, faults } = read(text);
  expect(document).to.equal(null);
  return brief(faults);
};

describe('Reading text that is no fleet file', () => {
  for (const [event, text, fault] of [
    ['nothing', '', '0:0 the file is empty'],
    ['only comments', '# one\n\n  # two\n---\n', '0:0 the file is empty'],
    ['a sentence', 'hello world', '1:1 this is no fleet file: text, where a map of keys belongs'],
    ['a list', '- a\n- b\n', '1:1 this is no fleet file: a list, where a map of keys belongs'],
    ['bytes', 'ELF\0\0', '0:0 it holds NUL bytes, so it is no text'],
    [
      'a bracket that never closes',
      'a: [1, 2\n',
      '2:1 not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
    ],
    ['tabs for indentation', 'a:\n\tb: 1\n', '2:1 a tab indents this line, and YAML takes only spaces'],
    ['two documents', 'a: 1\n---\nb: 2\n', '2:1 a second document begins here ("---"), and a fleet file holds one'],
    ['a tag', 'a: !!js/function "x"\n', '1:4 the tag tag:yaml.org,2002:js/function has no meaning here'],
    ['an older YAML', '%YAML 1.1\n---\na: yes\n', '1:1 YAML 1.1 is asked for, and only 1.2 is read here'],
  ] as const) {
    it(`says so and where: ${event}`, () => expect(refused(text)[0]).to.equal(fault));
  }

  it('says how to write a variable inside brackets', () => {
    expect(read('a: { b: ${X} }').faults[0]?.hint).to.equal('inside [ ] and { } a variable needs quotes: "${NAME}"');
  });
});

describe('Reading YAML that is odd', () => {
  it('reports keys that are no text, and aliases that lead nowhere or into themselves', () => {
    const { faults } = read('[a]: 1\nb: *nowhere\nc: &c [*c]\n');
    expect(brief(faults)).to.deep.equal([
      '1:1 a key here is not text',
      '2:4 the alias *nowhere has no anchor &nowhere before it',
      '3:8 the alias *c stands inside its own anchor &c',
    ]);
  });

  it('shares the value of an anchor among its aliases, also thousands of them', () => {
    const { value, faults } = read(`a: &a { x: 1 }\nb: [${'*a, '.repeat(5_000)}*a]\n`);
    expect(faults).to.be.empty;
    expect((value as { b: unknown[] }).b).to.have.lengthOf(5_001);
    expect((value as { b: unknown[] }).b.at(-1)).to.deep.equal({ x: 1 });
  });

  it('skips a byte order mark without moving columns', () => {
    const { document, value } = read('\uFEFFa: 1\n');
    expect(value).to.deep.equal({ a: 1 });
    expect(document?.place(['a'])).to.deep.equal({ line: 1, column: 4 });
  });

  it('gives the place of values, keys and entries, and of the holder of what is absent', () => {
    const { document } = read('a:\n  b: [1, { c: 2 }]\nd: &x\n  e: 3\nf: *x\n');
    expect(document?.place(['a', 'b', 1, 'c'])).to.deep.equal({ line: 2, column: 15 });
    expect(document?.keyPlace(['a', 'b', 1, 'c'])).to.deep.equal({ line: 2, column: 12 });
    expect(document?.place(['a', 'missing', 'deeper'])).to.deep.equal({ line: 1, column: 1 });
    expect(document?.place(['f', 'e'])).to.deep.equal({ line: 4, column: 6 });
  });

  it('numbers lines of files with CRLF as editors do', () => {
    const { faults } = read('a: 1\r\nb: 2\r\nb: 3\r\n');
    expect(brief(faults)).to.deep.equal(['3:1 the key "b" is written twice, first at line 2']);
    expect(faults[0]?.sourceLine).to.equal('b: 3');
  });
});

describe('Reading text that means harm', () => {
  const bomb = (levels: number): string =>
    Array.from(
      { length: levels },
      (_, at) =>
        `a${at}: &a${at} [${Array(9)
          .fill(at === 0 ? 'x' : `*a${at - 1}`)
          .join(', ')}]`,
    ).join('\n');

  it('refuses an alias bomb where it grows too large, without building it', () => {
    const { faults } = read(bomb(40));
    expect(faults).to.have.lengthOf(1);
    expect(brief(faults)[0]).to.match(/^8:9 with its aliases written out this has more than 16777216 characters/);
  });

  it('lets the same shape pass while it is small', () => expect(read(bomb(5)).faults).to.be.empty);

  for (const [event, text, message] of [
    ['a million open brackets', '['.repeat(1e6), /nested more than 64 levels/],
    ['a million open maps', '{a: '.repeat(1e6), /nested more than 64 levels/],
    ['a million list marks on a line', '- '.repeat(1e6), /nested more than 64 levels/],
    [
      'a staircase of keys',
      Array.from({ length: 100 }, (_, at) => `${' '.repeat(at)}a:`).join('\n'),
      /nested more than 64 levels/,
    ],
    ['an indentation of a million columns', `a:\n${' '.repeat(1e6)}b: 1\n`, /indented by more than 1024 columns/],
    ['half a million anchors', '&a '.repeat(5e5), /more than 500000 words and marks/],
    ['a million lines', 'a: b\n'.repeat(5e5), /more than 500000 words and marks/],
  ] as const) {
    it(`refuses ${event} before anything is built from it`, () => {
      expect(read(text).faults[0]?.message).to.match(message);
    });
  }

  it('never crashes, loops or points outside the file, whatever the text', async function () {
    this.timeout(20_000);
    const valid = withDaemons(
      ...SPINE,
      'ONE_SHOT: { uses: one-shot, dependsOn: [{ on: AUTO_SYNC, kind: soft }], config: {} }',
    );
    const pieces = fc.constantFrom(
      ...'{}[]:,-?&*!|>%@`#"\'\n\t $'.split(''),
      '${',
      '- ',
      ': ',
      '&a ',
      '*a',
      '__proto__',
      '.inf',
      '~',
      '\u001b[2J',
      '\uFEFF',
      '5s',
      'null',
      'dependsOn',
    );
    const edit = fc.tuple(fc.nat(valid.length), fc.nat(8), pieces);
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 6 }), async (edits) => {
        let text = valid;
        for (const [at, removed, added] of edits) text = text.slice(0, at) + added + text.slice(at + removed);
        try {
          await load(text);
        } catch (error) {
          const faults = faultsOf(error);
          if (faults === null) throw error;
          expect(faults).not.to.be.empty;
          const lines = text.replace(/^\uFEFF/, '').split('\n');
          for (const { line, column, message, sourceLine } of faults) {
            expect(message).not.to.match(/undefined|\[object|\p{Cc}/u);
            expect(sourceLine).not.to.match(/\p{Cc}/u);
            if (line === 0) continue;
            expect(line).to.be.within(1, lines.length);
            expect(column).to.be.within(1, lines[line - 1]!.length + 1);
          }
        }
      }),
      { numRuns: 400 },
    );
  });
});

import { expect } from 'chai';
import { keysOf } from '../../../../src/operations/cli/watch/keys.ts';

const names = (typed: string): string[] => keysOf(typed).map((key) => (key.name === 'char' ? key.char : key.name));

describe('Keys', () => {
  const table: readonly (readonly [string, string, readonly string[]])[] = [
    ['an arrow', '\x1b[A', ['up']],
    ['an arrow in application mode', '\x1bOB', ['down']],
    ['page keys', '\x1b[5~\x1b[6~', ['page-up', 'page-down']],
    ['home and end of three terminals', '\x1b[H\x1b[1~\x1b[7~\x1bOF', ['home', 'home', 'home', 'end']],
    ['a lone escape', '\x1b', ['escape']],
    ['an escape before a letter', '\x1bq', ['escape', 'q']],
    ['a paste', 'q/é日', ['q', '/', 'é', '日']],
    [
      'controls',
      '\x03\x04\x0c\x1a\r\x7f\t',
      ['interrupt', 'interrupt', 'redraw', 'suspend', 'enter', 'backspace', 'tab'],
    ],
    ['a key nobody uses here', '\x1b[15~\x1b[1;5Cx', ['x']],
  ];
  for (const [what, typed, expected] of table) {
    it(`${what} is ${expected.join(' ')}`, () => expect(names(typed)).to.deep.equal(expected));
  }
});

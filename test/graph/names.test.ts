import { expect } from 'chai';
import fc from 'fast-check';
import { editDistance, isDaemonName, nameFault, nearestAmong, nearestName, quoted } from '../../src/graph/names.ts';

const ACCEPTED = ['EVENT_ROUTER', 'a', 'api-v2.worker', 'Z'.repeat(128), 'then', 'null', 'end'];

const REFUSED: readonly (readonly [name: unknown, because: string])[] = [
  ['', 'is empty'],
  ['Z'.repeat(129), 'has 129 characters'],
  ['2FAST', 'begins with "2"'],
  ['-rf', 'begins with "-"'],
  ['__proto__', 'begins with "_"'],
  ['constructor', 'every JavaScript object'],
  ['toString', 'every JavaScript object'],
  ['hasOwnProperty', 'every JavaScript object'],
  ['EVENT ROUTER', 'has a space at character 6'],
  ['../etc/passwd', 'has "/" (U+002F) at character 3'],
  ['A\u0000B', 'has "\\u{0}" (U+0000) at character 2'],
  ['A\u0001B', 'U+0001'],
  ['ДАЕМОН', 'has "Д" (U+0414) at character 1'],
  ['ROUTER\u202e', '"\\u{202e}" (U+202E) at character 7'],
  ['A\n', 'U+000A'],
  ['🚀', 'U+1F680'],
  [42, 'is of type number'],
  [null, 'is of type null'],
  [undefined, 'is of type undefined'],
];

describe('Daemon names', () => {
  for (const name of ACCEPTED) {
    it(`${quoted(name)} is accepted`, () => expect(nameFault(name)).to.equal(null));
  }

  for (const [name, because] of REFUSED) {
    it(`${quoted(name)} is refused: ${because}`, () => {
      expect(nameFault(name)).to.include(because);
      expect(isDaemonName(name)).to.equal(false);
    });
  }

  it('any text is judged without a throw, and what is accepted is safe as a plain key', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom(...REFUSED.map(([name]) => name))),
        (name) => {
          if (!isDaemonName(name)) return;
          expect(Object.hasOwn({ [name]: 1 }, name)).to.equal(true);
          expect(({} as Record<string, unknown>)[name]).to.equal(undefined);
        },
      ),
    );
  }).timeout(20_000);

  it('a hostile name in a message is short, on one line, and without control characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 500 }), (name) => {
        expect(quoted(name)).to.match(/^[^\p{C}\p{Zl}\p{Zp}]*$/u);
        expect(quoted(name).length).to.be.below(60 * 10 + 40);
      }),
    );
  });
});

describe('The nearest name', () => {
  const fleet = ['EVENT_ROUTER', 'DATA_PIPELINE', 'AUTO_SYNC', 'ELO_SYNC', 'FEEDBACK_LOOP', 'DLQ_RETRY'];

  const meant: readonly (readonly [typed: string, nearest: string | null])[] = [
    ['EVENT_RUOTER', 'EVENT_ROUTER'], // two letters swapped
    ['event-router', 'EVENT_ROUTER'], // case and separator
    ['DATA_PIPLINE', 'DATA_PIPELINE'],
    ['AUTOSYNC', 'AUTO_SYNC'],
    ['DATA PIPELINE', 'DATA_PIPELINE'],
    ['DLQ', null], //                    less than half of it is there
    ['KUBERNETES', null],
    ['X', null],
    ['', null],
    ['__proto__', null],
    ['A'.repeat(1_000_000), null],
  ];
  for (const [typed, nearest] of meant) {
    it(`of ${quoted(typed)} is ${nearest ?? 'none'}`, () => expect(nearestName(typed, fleet)).to.equal(nearest));
  }

  it('of equally near names is the earlier one', () => {
    expect(nearestName('SYNC_3', ['SYNC_1', 'SYNC_2'])).to.equal('SYNC_1');
  });

  it('is asked for 5,000 misspelt names among 5,000 and stays within its bound of work', () => {
    const find = nearestAmong(Array.from({ length: 5000 }, (_, at) => `DAEMON_NUMBER_${at}`));
    const answers = Array.from({ length: 5000 }, (_, at) => find(`DAEMOM_NUMBER_${at + 5000}_WRONG`));
    expect(answers).to.have.length(5000);
  }).timeout(60_000);

  it('with a limit, the distance is the same as without one, or just above the limit', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 8 });
    fc.assert(
      fc.property(word, word, fc.nat(8), (a, b, limit) => {
        const exact = editDistance(a, b);
        expect(editDistance(a, b, limit)).to.equal(exact > limit ? limit + 1 : exact);
        expect(editDistance(b, a)).to.equal(exact);
        expect(exact === 0).to.equal(a === b);
      }),
    );
  });
});

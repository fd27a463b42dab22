import { expect } from 'chai';
import fc from 'fast-check';
import { asciiOnly, cut, fit, printable, width, wrap } from '../../../../src/operations/cli/format/text.ts';
import { lasting } from '../../../../src/operations/cli/format/moments.ts';

const foreign = fc.string({ unit: 'binary', maxLength: 60 }).map(printable);

describe('Text on a screen', () => {
  it('foreign text cannot move the cursor, recolour or hide', () => {
    expect(printable('\x1b[2J\x1b[31mred\x07')).to.equal('\ufffd[2J\ufffd[31mred\ufffd');
    expect(printable('one\r\n\ttwo')).to.equal('one two');
    expect(printable('a\u202eb\u200bc')).to.equal('a\ufffdb\ufffdc');
  });

  it('counts cells: wide characters take two, combining ones none', () => {
    expect(width('abc')).to.equal(3);
    expect(width('日本')).to.equal(4);
    expect(width('e\u0301')).to.equal(1);
  });

  it('a cut text says that it was cut', () => {
    expect(cut('AVAILABILITY', 6)).to.equal('AVAIL…');
    expect(cut('日本語', 4)).to.equal('日…');
    expect(cut('short', 9)).to.equal('short');
  });

  it('fits any text into exactly the cells it was given', () => {
    fc.assert(
      fc.property(
        foreign,
        fc.nat({ max: 40 }),
        fc.constantFrom('left' as const, 'right' as const),
        (text, cells, align) => {
          expect(width(fit(text, cells, align))).to.equal(cells);
        },
      ),
    );
  });

  it('wraps any text into lines that fit, and loses no word', () => {
    fc.assert(
      fc.property(foreign, fc.integer({ min: 2, max: 40 }), (text, cells) => {
        const lines = wrap(text, cells);
        for (const line of lines) expect(width(line)).to.be.at.most(cells);
        expect(lines.join('').replaceAll(' ', '')).to.equal(text.replaceAll(' ', ''));
      }),
    );
  });

  it('becomes ASCII in as many cells', () => {
    expect(asciiOnly('── a → b … ▁█')).to.equal('-- a > b ~ _#');
    fc.assert(
      fc.property(foreign, (text) => {
        expect(asciiOnly(text)).to.match(/^[\x20-\x7e]*$/);
        expect(width(asciiOnly(text))).to.equal(width(text));
      }),
    );
  });

  const lengths: readonly (readonly [number, string])[] = [
    [0, '0.0s'],
    [0.44, '0.4s'],
    [9.94, '9.9s'],
    [9.96, '10s'],
    [59.6, '1m00s'],
    [245, '4m05s'],
    [3599.7, '1h00m'],
    [11_520, '3h12m'],
    [1_051_200, '12d04h'],
    [-3, '0.0s'],
    [NaN, '?'],
  ];
  for (const [seconds, text] of lengths) {
    it(`${seconds} s last ${text}`, () => expect(lasting(seconds)).to.equal(text));
  }
});

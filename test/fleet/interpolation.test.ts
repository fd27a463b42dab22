import { expect } from 'chai';
import { interpolate, readDotEnv } from '../../src/fleet/interpolation.ts';

const env = { A: 'alpha', EMPTY: '', PATHS: '/x:$Y' };

describe('Filling variables into text', () => {
  for (const [text, value] of [
    ['${A}', 'alpha'],
    ['<${A}-${A}>', '<alpha-alpha>'],
    ['${NOPE:-b}', 'b'],
    ['${NOPE:-}', ''],
    ['${EMPTY:-b}', 'b'],
    ['${EMPTY}', ''],
    ['${A:-b}', 'alpha'],
    ['${NOPE:-http://x:80/y}', 'http://x:80/y'],
    ['$$', '$'],
    ['$${A}', '${A}'],
    ['$$$${A}', '$${A}'],
    ['$$${A}', '$alpha'],
    ['^a+$', '^a+$'],
    ['$A', '$A'],
    ['${PATHS}', '/x:$Y'],
  ] as const) {
    it(`reads ${text} as ${value === '' ? 'nothing' : value}`, () => {
      expect(interpolate(text, env)).to.include({ value }).and.to.have.property('faults').that.is.empty;
    });
  }

  for (const text of ['${A', '${}', '${A-b}', '${1A}', '${A:?b}', '${A:-${B}}', '${ A }'] as const) {
    it(`refuses ${text}`, () =>
      expect(interpolate(`ab${text}`, env).faults[0]).to.include({ kind: 'malformed', offset: 2 }));
  }

  it('names every variable that is not set, at its place', () => {
    expect(interpolate('${A} ${B} ${C}', env).faults).to.deep.equal([
      { kind: 'unset', what: 'B', offset: 5 },
      { kind: 'unset', what: 'C', offset: 10 },
    ]);
  });

  it('takes nothing from the prototype of the environment', () => {
    expect(interpolate('${toString}', {}).faults).to.have.lengthOf(1);
    expect(interpolate('${constructor:-x}', {}).value).to.equal('x');
  });

  it('tells what the environment gave from what the file says itself', () => {
    expect(interpolate('${A} ${NOPE:-b}', env).given).to.deep.equal([{ text: 'alpha', written: '${A}' }]);
  });
});

describe('Reading .env', () => {
  it('takes assignments, quoted and exported ones too, and leaves out what is none', () => {
    const text = 'A=1\nexport B="two words" # why\n# C=3\n\nD=\'$A\'\n';
    expect(readDotEnv(text)).to.deep.equal({ A: '1', B: 'two words', D: '$A' });
    expect(readDotEnv('not an assignment\n')).to.deep.equal({});
  });
});

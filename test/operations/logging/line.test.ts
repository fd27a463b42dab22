import { expect } from 'chai';
import fc from 'fast-check';
import {
  daemonOfLine,
  escapeControls,
  formatLine,
  MESSAGE_CHARACTERS_MAX,
  Redactor,
} from '../../../src/operations/logging/line.ts';

const AT = Date.parse('2026-11-23T21:00:00.000Z');
const line = (message: string, fields?: Record<string, unknown>, redactor = new Redactor()): string =>
  formatLine(AT, 'WARN', 'AUTO_SYNC', message, fields, redactor);

describe('a log line', () => {
  it('is time, level, daemon and message', () =>
    expect(line('sync failed')).to.equal('2026-11-23T21:00:00.000Z WARN [AUTO_SYNC] sync failed'));

  it('shows fields behind the message, texts bare when they can be', () =>
    expect(line('sync', { node: 'n1', rows: 3, note: 'a b', error: new Error('gone'), none: undefined })).to.equal(
      '2026-11-23T21:00:00.000Z WARN [AUTO_SYNC] sync node=n1 rows=3 note="a b" error=gone',
    ));

  it('is one line and no more, whatever is logged', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0x2070 })), (codes) => {
        const message = String.fromCharCode(...codes);
        // eslint-disable-next-line no-control-regex
        expect(line(message)).not.to.match(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
      }),
    );
    expect(line('a\n2026 CRITICAL [X] forged\u001b[31m')).to.match(/ a\\n2026 CRITICAL \[X\] forged\\x1b\[31m$/);
    expect(escapeControls('\t\r\u202e')).to.equal('\\t\\r\\u202e');
  });

  it('is cut when it is too long, and says by how much', () =>
    expect(line('x'.repeat(MESSAGE_CHARACTERS_MAX + 7))).to.match(/x… \(\+7 characters\)$/));

  it('has no secret by its key, at any depth', () => {
    const text = line('login', {
      token: 't0ps3cret',
      nested: { Authorization: 'Bearer abc', list: [{ apiKey: 'k' }] },
    });
    expect(text).to.contain('token=[redacted]');
    expect(text).to.contain('"Authorization":"[redacted]"').and.to.contain('"apiKey":"[redacted]"');
    expect(text).not.to.contain('t0ps3cret');
  });

  for (const message of [
    'url http://x/?token=s3cr3tvalue&a=1',
    'header Authorization: Bearer s3cr3tvalue',
    'sent Bearer s3cr3tvalue',
    'body {"password":"s3cr3tvalue"}',
    'env AWS_SECRET_ACCESS_KEY=s3cr3tvalue',
  ])
    it(`has no secret in running text: ${message}`, () => {
      expect(line(message)).not.to.contain('s3cr3tvalue');
      expect(line(message)).to.contain('[redacted]');
    });

  it('has no secret by its value, wherever it turns up', () => {
    const redactor = new Redactor();
    redactor.add('hunter2hunter2');
    redactor.add('abc'); // too short to tell from innocent text
    expect(line('got hunter2hunter2 from abc', { body: 'xhunter2hunter2x' }, redactor)).to.match(
      / got \[redacted\] from abc body=x\[redacted\]x$/,
    );
  });

  it('costs no more than its length, however it is built to be hard to search', () => {
    for (const piece of ['a', 'token', 'token-', 'bearer ', 'secret=a ', 'authorization : '])
      for (let times = 0; times < 20; times++) line(piece.repeat(16_000 / piece.length));
  });

  it('survives what cannot be shown', () => {
    const loop: Record<string, unknown> = {};
    loop['self'] = loop;
    expect(line('odd', { loop, big: 1n, fn: () => 0 })).to.contain('odd');
  });

  it('tells whose it is', () => {
    expect(daemonOfLine(line('x'))).to.equal('AUTO_SYNC');
    expect(daemonOfLine('at Object.<anonymous> [AUTO_SYNC] x')).to.be.null;
  });
});

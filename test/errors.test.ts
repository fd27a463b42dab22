import { expect } from 'chai';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MESSAGE_CHARACTERS_MAX, messageOf } from '../src/errors.ts';

describe('the text of what was thrown', () => {
  it('is the message of an error, and anything else as it is', () => {
    expect(messageOf(new TypeError('no such thing'))).to.equal('no such thing');
    expect(messageOf('just a text')).to.equal('just a text');
    expect(messageOf(undefined)).to.equal('undefined');
  });

  it('is cut when it is too long to be kept, and says by how much', () => {
    const long = `begin ${'x'.repeat(50_000_000)}`;
    const text = messageOf(new Error(long));
    expect(text).to.match(/^begin x+… \(\+\d+ characters\)$/);
    expect(text).to.have.length.below(MESSAGE_CHARACTERS_MAX + 40);
    expect(text).to.include(`(+${long.length - MESSAGE_CHARACTERS_MAX} characters)`);
  });

  it('does not keep the long one alive', function () {
    this.timeout(30_000);
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void; // what is merely not collected yet is not kept alive
    const kept: string[] = [];
    collect();
    const before = process.memoryUsage.rss();
    for (let n = 0; n < 20; n++) kept.push(messageOf(new Error(Buffer.alloc(20_000_000, 120 + n).toString())));
    expect(kept).to.have.length(20);
    collect();
    expect(process.memoryUsage.rss() - before, 'twenty of twenty megabytes').to.be.below(200_000_000);
  });
});

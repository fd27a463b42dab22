import { expect } from 'chai';
import { setNewest } from '../src/bounds.ts';

describe('a map with a bound', () => {
  it('lets the key go that was set longest ago, and says so', () => {
    const map = new Map<string, number>();
    expect(setNewest(map, 'a', 1, 2)).to.equal(false);
    expect(setNewest(map, 'b', 2, 2)).to.equal(false);
    expect(setNewest(map, 'a', 3, 2), 'a known key takes no more room').to.equal(false);
    expect(setNewest(map, 'c', 4, 2)).to.equal(true);
    expect([...map]).to.deep.equal([
      ['a', 3],
      ['c', 4],
    ]);
  });
});

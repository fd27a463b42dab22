import { expect } from 'chai';
import fc from 'fast-check';
import { fitRatings } from '../../../src/training/stores/rating-fit.ts';
import { pairScores, RatingStore } from '../../../src/training/stores/rating-store.ts';
import { faultOf, match, matchesBody, place, type Place } from './support.ts';

const CONFIG = 'square8_2p';
const wins = (prefix: string, winner: string, loser: string, times: number) =>
  Array.from({ length: times }, (_, index) => match(`${prefix}-${index}`, [winner, 40], [loser, 24]));

describe('ratings fitted to results', () => {
  const rating = (results: { a: string; b: string; games: number; scoreA: number }[], agents: string[]) =>
    fitRatings(agents, results, new Map());

  it('puts ten to one at four hundred points, given games enough', () => {
    const fitted = rating([{ a: 'm', b: 'random', games: 110_000, scoreA: 100_000 }], ['m', 'random']);
    expect(fitted.get('m')!.rating).to.be.closeTo(1400, 1);
    expect(fitted.get('random')).to.deep.equal({ rating: 1000, error: 0 });
  });

  it('keeps an undefeated agent finite, and sure of little after few games', () => {
    const few = rating([{ a: 'm', b: 'random', games: 3, scoreA: 3 }], ['m', 'random']).get('m')!;
    const many = rating([{ a: 'm', b: 'random', games: 300, scoreA: 225 }], ['m', 'random']).get('m')!;
    expect(few.rating).to.be.within(1050, 1600);
    expect(few.error).to.be.greaterThan(300);
    expect(many.error).to.be.lessThan(60);
  });

  it('ranks along a chain: who beats the one who beats random is above both', () => {
    const fitted = rating(
      [
        { a: 'one', b: 'random', games: 100, scoreA: 75 },
        { a: 'one', b: 'two', games: 100, scoreA: 25 },
      ],
      ['one', 'two', 'random'],
    );
    expect(fitted.get('one')!.rating).to.be.closeTo(1190, 15);
    expect(fitted.get('two')!.rating).to.be.closeTo(1380, 30);
    expect(fitted.get('two')!.error).to.be.greaterThan(fitted.get('one')!.error);
  });

  it('property: mirrored results give mirrored ratings, and the slope of the likelihood is zero at the answer', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.double({ min: 0, max: 1, noNaN: true }), (games, share) => {
        const up = rating([{ a: 'm', b: 'random', games, scoreA: share * games }], ['m']).get('m')!.rating - 1000;
        const down =
          rating([{ a: 'm', b: 'random', games, scoreA: (1 - share) * games }], ['m']).get('m')!.rating - 1000;
        expect(up).to.be.closeTo(-down, 0.1);
        const expected = 1 / (1 + 10 ** (-up / 400));
        const slope = (Math.LN10 / 400) * (share * games - games * expected) - up / 500 ** 2;
        expect(Math.abs(slope)).to.be.lessThan(1e-3);
      }),
      { numRuns: 50 },
    );
  });
});

describe('points of a game with several seats', () => {
  it('are the mean over the seats that two agents hold against each other', () => {
    const seats = [
      { agent: 'm', score: 20 },
      { agent: 'random', score: 10 },
      { agent: 'm', score: 5 },
      { agent: 'random', score: 5 },
    ];
    expect(pairScores(seats)).to.deep.equal([{ a: 'm', b: 'random', games: 1, scoreA: (1 + 1 + 0 + 0.5) / 4 }]);
  });
});

describe('the store of match rows', () => {
  let home: Place;
  let store: RatingStore;
  beforeEach(() => {
    home = place();
    store = new RatingStore(home.file('elo.db'));
  });
  afterEach(() => {
    store.close();
    home.remove();
  });

  it('merging the same page twice, or the same row from two sources, changes no rating', () => {
    const rows = wins('a', 'm', 'random', 30);
    expect(store.merge(matchesBody(rows), 'local-1')).to.deep.include({
      inserted: 30,
      known: 0,
      cursor: 30,
      configs: { [CONFIG]: 30 },
    });
    const before = store.table(CONFIG);
    expect(store.merge(matchesBody(rows), 'local-1')).to.deep.include({
      inserted: 0,
      known: 30,
      cursor: 30,
      configs: {},
      moved: [],
    });
    expect(store.merge(matchesBody(rows, { source: 'local-2' }), 'local-2')).to.include({ inserted: 0, known: 30 });
    expect(store.table(CONFIG)).to.deep.equal(before);
    expect(before.map(({ agent, games }) => [agent, games])).to.deep.equal([
      ['m', 30],
      ['random', 30],
    ]);
  });

  it('the order in which rows arrive does not matter', () => {
    const rows = [...wins('a', 'one', 'random', 20), ...wins('b', 'two', 'one', 15), ...wins('c', 'one', 'two', 5)];
    store.merge(matchesBody(rows), 'local-1');
    const other = new RatingStore(home.file('other.db'));
    for (const [index, row] of rows.toReversed().entries())
      if (index % 10 === 0) other.merge(matchesBody([row], { after: 0, next: 0 }), 'local-1');
    other.merge(matchesBody(rows.toReversed()), 'local-1');
    const [mine, theirs] = [store.table(CONFIG), other.table(CONFIG)];
    other.close();
    expect(theirs.map(({ agent }) => agent)).to.deep.equal(mine.map(({ agent }) => agent));
    mine.forEach((row, index) => expect(theirs[index]!.rating).to.be.closeTo(row.rating, 0.1));
  });

  it('says which ratings moved by more than they are unsure', () => {
    store.merge(matchesBody(wins('a', 'm', 'random', 100)), 'local-1');
    const { moved } = store.merge(matchesBody(wins('b', 'random', 'm', 300), { after: 100 }), 'local-1');
    expect(moved.map(({ agent }) => agent)).to.deep.equal(['m']);
    expect(moved[0]!.to).to.be.lessThan(moved[0]!.from);
  });

  it('a page past the cursor is counted and its cursor is not; bad rows are refused one by one', () => {
    const odd = [{ id: 'x' }, match('q', ['m', 1], ['random', 2], 'hex8_3p')];
    expect(
      store.merge(matchesBody([...odd, ...wins('a', 'm', 'random', 1)], { after: 50, next: 53 }), 'local-1'),
    ).to.include({ inserted: 1, refused: 2, cursor: 0 });
    expect(store.cursor('local-1')).to.deep.equal({ storeId: 's1', seq: 0 });
    faultOf('FLOOR_INPUT_INVALID', () => store.merge(matchesBody([]), 'local-7'));
    faultOf('FLOOR_INPUT_INVALID', () => store.merge(Buffer.from('no'), 'local-1'));
  });
});

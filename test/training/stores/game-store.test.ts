import { expect } from 'chai';
import fc from 'fast-check';
import { GameStore, openPage, readGames } from '../../../src/training/stores/game-store.ts';
import type { RawPage } from '../../../src/training/floor.ts';
import { faultOf, game, gamesPage, handClock, place, type Place } from './support.ts';

describe('the canonical store of games', () => {
  let home: Place;
  let store: GameStore;
  const { now } = handClock();
  const open = (): GameStore => new GameStore(home.file('square8_2p.db'), 'square8_2p', now);
  const ingest = (page: RawPage) => store.ingest(openPage(page));

  beforeEach(() => {
    home = place();
    store = open();
  });
  afterEach(() => {
    store.close();
    home.remove();
  });

  it('a page pulled twice inserts its games once and leaves the cursor', () => {
    const page = gamesPage({ after: 0, next: 2, more: true }, [game('a'), game('b')]);
    expect(ingest(page)).to.include({ inserted: 2, known: 0, cursor: 2, total: 2, more: true, gap: false });
    expect(ingest(page)).to.include({ inserted: 0, known: 2, cursor: 2, total: 2 });
  });

  it('a game that two nodes send is one game', () => {
    ingest(gamesPage({ after: 0, next: 1 }, [game('a')]));
    const other = ingest(gamesPage({ after: 0, next: 2, nodeId: 'local-2' }, [game('a'), game('b')]));
    expect(other).to.include({ inserted: 1, known: 1, total: 2 });
    expect(store.cursors('local-2')).to.deep.equal([{ config: 'square8_2p', storeId: 's1', seq: 2 }]);
  });

  it('what a reader was told of tiles the store: the same stretch until it is confirmed, whatever comes meanwhile', () => {
    expect(store.news('reader')).to.equal(null);
    ingest(gamesPage({ after: 0, next: 2 }, [game('a'), game('b')]));
    const first = { games: 2, total: 2, lastSeq: 2 };
    expect(store.news('reader')).to.deep.equal(first);
    ingest(gamesPage({ after: 2, next: 3 }, [game('c')]));
    store.close();
    store = open();
    expect(store.news('reader')).to.deep.equal(first);
    for (let twice = 0; twice < 2; twice++) store.told('reader', 2);
    expect(store.news('reader')).to.deep.equal({ games: 1, total: 3, lastSeq: 3 });
    store.told('reader', 3);
    expect(store.news('reader')).to.equal(null);
    expect(store.news('another')).to.deep.include({ games: 3 });
  });

  it('a page past the cursor keeps its games and not its cursor', () => {
    ingest(gamesPage({ after: 0, next: 1 }, [game('a')]));
    expect(ingest(gamesPage({ after: 5, next: 6 }, [game('f')]))).to.include({ inserted: 1, gap: true, cursor: 1 });
  });

  it('a node with a new store starts its cursor anew, and the old store keeps its own', () => {
    ingest(gamesPage({ after: 0, next: 9 }, [game('a')]));
    expect(ingest(gamesPage({ after: 0, next: 1, storeId: 's2' }, [game('z')]))).to.include({ inserted: 1, cursor: 1 });
    expect(store.cursors('local-1')).to.have.length(2);
  });

  it('rows that are not games of this config are set aside and hold nothing up', () => {
    const odd = [
      game('x', { config: 'hex8_2p' }),
      { id: 1 },
      game('y', { pieces: [1, 2, 3] }),
      game('z', { winner: 2 }),
    ];
    expect(ingest(gamesPage({ after: 0, next: 5 }, [...odd, game('ok')]))).to.include({
      refused: 4,
      inserted: 1,
      cursor: 5,
    });
  });

  it('a page of another node, a page that is no page, and one that goes back are refused whole', () => {
    const page = gamesPage({ after: 0, next: 1 }, [game('a')]);
    expect(faultOf('FLOOR_INPUT_INVALID', () => openPage({ ...page, nodeId: 'local-9' })).message).to.contain(
      'came from local-1',
    );
    expect(
      faultOf('FLOOR_INPUT_INVALID', () => openPage({ nodeId: 'local-1', body: Buffer.from('<html>') })).message,
    ).to.contain('not JSON');
    expect(
      faultOf('FLOOR_INPUT_INVALID', () => openPage({ nodeId: 'local-1', body: Buffer.from('{"version":2}') })).message,
    ).to.contain('no games page');
    expect(faultOf('FLOOR_INPUT_INVALID', () => openPage(gamesPage({ after: 3, next: 1 }, []))).message).to.contain(
      'moved its cursor back',
    );
    expect(store.total()).to.deep.equal({ games: 0, lastSeq: 0 });
  });

  it('rows are read back whole, in order, by page and beside the writer', () => {
    ingest(gamesPage({ after: 0, next: 3 }, [game('a'), game('b', { winner: null, pieces: [32, 32] }), game('c')]));
    const [first, second] = store.page(0, 2);
    expect(first).to.deep.equal({ ...game('a'), seq: 1 });
    expect(second).to.include({ id: 'the-game-b', winner: null });
    const read = [...readGames(home.file('square8_2p.db'), 'square8_2p', { after: 1, upTo: 3 })];
    expect(read.map(({ id }) => id)).to.deep.equal(['the-game-b', 'the-game-c']);
    expect(store.stretch(1, 10)).to.deep.equal({ games: 2, lastSeq: store.page(0, 9).at(-1)!.seq });
  });

  it('a summary counts lengths, draws, seats and repeats', () => {
    ingest(
      gamesPage({ after: 0, next: 4 }, [
        game('a'),
        game('b'),
        game('c', { moves: 'TUKLCDEFcdef', plies: 12, winner: null }),
        game('d', { moves: 'aUKLCDEFcd', winner: 1 }),
      ]),
    );
    expect(store.summarise(0, 100)).to.deep.include({
      games: 4,
      pliesMin: 10,
      pliesMax: 12,
      draws: 0.25,
      repeatedOpenings: 0.75,
      repeatedGames: 0.5,
      seatWins: [0.5, 0.25],
    });
    expect(store.summarise(99, 10)).to.equal(null);
  });

  it('property: any replay, overlap or reorder of pages ends with each game once and no cursor past what arrived', () => {
    const all = Array.from({ length: 12 }, (_, index) => game(String(index + 1)));
    const slice = fc.tuple(fc.nat(11), fc.integer({ min: 1, max: 12 }));
    fc.assert(
      fc.property(fc.array(slice, { maxLength: 12 }), (slices) => {
        const folder = place();
        const fresh = new GameStore(folder.file('g.db'), 'square8_2p', now);
        try {
          const arrived = new Set<string>();
          for (const [after, length] of slices) {
            const rows = all.slice(after, after + length);
            rows.forEach(({ id }) => arrived.add(id));
            fresh.ingest(openPage(gamesPage({ after, next: after + rows.length }, rows)));
          }
          const stored = fresh.page(0, 100).map(({ id }) => id);
          expect(new Set(stored)).to.deep.equal(arrived);
          expect(stored).to.have.length(arrived.size);
          const cursor = fresh.cursors('local-1')[0]?.seq ?? 0;
          for (const row of all.slice(0, cursor))
            expect(arrived.has(row.id), `${row.id} below the cursor ${cursor}`).to.equal(true);
        } finally {
          fresh.close();
          folder.remove();
        }
      }),
      { numRuns: 10 },
    );
  });
});

/**
 * The canonical store of one config: every self-play game of every node, once.
 *
 * The cursor that says how far a node was pulled lives in the same file and moves in the same transaction as the rows, so
 * no crash can count a game as pulled that is not here, and a replayed page finds its rows known. Rows are numbered
 * in the order they arrived (`seq`, growing, possibly with gaps) and never change: exports and quality follow that number.
 */
import { configName, gameRow, PROTOCOL_VERSION, type GameRow } from '../programs/protocol.ts';
import type { GameCursor, GameNews, GameSummary, IngestReceipt, RawPage } from '../floor.ts';
import { openForReading, Store, type ReadNow, type Schema } from './database.ts';
import { floorInputInvalid } from './faults.ts';
import { z } from 'zod';

const SCHEMA: Schema = [
  `
  CREATE TABLE games (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    node        TEXT NOT NULL,
    moves       TEXT NOT NULL,
    plies       INTEGER NOT NULL,
    pieces      TEXT NOT NULL,              -- JSON array, one number per seat
    winner      INTEGER,
    agents      TEXT NOT NULL,              -- JSON array, one name per seat
    exploration REAL NOT NULL,
    opening     TEXT NOT NULL,              -- the first eight placements
    ended_at    REAL NOT NULL
  ) STRICT;
  CREATE TABLE cursors (node TEXT NOT NULL, store TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (node, store)) STRICT;
  CREATE TABLE refused (n INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, reason TEXT NOT NULL, row TEXT NOT NULL, at REAL NOT NULL) STRICT;
  CREATE TABLE totals (only INTEGER PRIMARY KEY CHECK (only = 1), games INTEGER NOT NULL) STRICT;
  INSERT INTO totals VALUES (1, 0);
  `,
  `
  -- How far each reader has told of the growth of this store, and the stretch it is telling of (null: none).
  CREATE TABLE told (reader TEXT PRIMARY KEY, seq INTEGER NOT NULL, games INTEGER NOT NULL, next_seq INTEGER, next_games INTEGER) STRICT, WITHOUT ROWID;
  `,
];

/** Rows set aside as invalid that are kept to be looked at; older ones go. */
const REFUSED_MAX = 1000;
const OPENING_PLIES = 8;
/** Characters kept of a refused row. */
const REFUSED_CHARACTERS = 2000;

const pageHead = z.object({
  version: z.literal(PROTOCOL_VERSION),
  nodeId: z.string(),
  storeId: z.string().min(1).max(96),
  config: configName,
  after: z.int().nonnegative(),
  next: z.int().nonnegative(),
  more: z.boolean(),
  games: z.array(z.unknown()).max(5000),
});

/** The head of a games page and its rows, unchecked; the config decides which store it goes to. */
export type OpenedPage = z.output<typeof pageHead>;

/** @throws FLOOR_INPUT_INVALID when it is no games page, or one of another node */
export const openPage = (page: RawPage): OpenedPage => {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(page.body).toString('utf8'));
  } catch (thrown) {
    throw floorInputInvalid(`node ${page.nodeId} sent ${page.body.length} bytes that are not JSON: ${String(thrown)}`, {
      nodeId: page.nodeId,
    });
  }
  const opened = pageHead.safeParse(json);
  if (!opened.success)
    throw floorInputInvalid(`node ${page.nodeId} sent no games page: ${z.prettifyError(opened.error)}`, {
      nodeId: page.nodeId,
    });
  if (opened.data.nodeId !== page.nodeId)
    throw floorInputInvalid(`a games page asked of ${page.nodeId} came from ${opened.data.nodeId}`, {
      nodeId: page.nodeId,
      from: opened.data.nodeId,
    });
  if (opened.data.next < opened.data.after)
    throw floorInputInvalid(
      `node ${page.nodeId} moved its cursor back from ${opened.data.after} to ${opened.data.next}`,
      { nodeId: page.nodeId },
    );
  return opened.data;
};

interface StoredGame {
  readonly seq: number;
  readonly id: string;
  readonly moves: string;
  readonly plies: number;
  readonly pieces: string;
  readonly winner: number | null;
  readonly agents: string;
  readonly exploration: number;
  readonly ended_at: number;
}

const COLUMNS = 'seq, id, moves, plies, pieces, winner, agents, exploration, ended_at';

const rowOf = (config: string, stored: StoredGame): GameRow & { readonly seq: number } => ({
  seq: stored.seq,
  id: stored.id,
  config,
  moves: stored.moves,
  plies: stored.plies,
  pieces: JSON.parse(stored.pieces) as number[],
  winner: stored.winner,
  agents: JSON.parse(stored.agents) as string[],
  exploration: stored.exploration,
  endedAtMs: stored.ended_at,
});

export class GameStore {
  readonly config: string;
  readonly store: Store;
  private readonly now: ReadNow;
  private readonly players: number;

  constructor(file: string, config: string, now: ReadNow) {
    this.config = config;
    this.players = Number(config.at(-2));
    this.now = now;
    this.store = new Store(file, SCHEMA);
  }

  get file(): string {
    return this.store.file;
  }

  ingest(page: OpenedPage): IngestReceipt {
    return this.store.immediate(() => {
      let inserted = 0;
      let known = 0;
      let refused = 0;
      for (const candidate of page.games) {
        const checked = gameRow.safeParse(candidate);
        const fault = checked.success ? this.faultOf(checked.data) : z.prettifyError(checked.error);
        if (fault !== null || !checked.success) {
          this.refuse(page.nodeId, fault ?? 'unreadable', candidate);
          refused++;
        } else if (this.insert(page.nodeId, checked.data)) inserted++;
        else known++;
      }
      if (inserted > 0) this.store.run('UPDATE totals SET games = games + ? WHERE only = 1', inserted);
      const before = this.seqOf(page.nodeId, page.storeId);
      const gap = page.after > before;
      const cursor = gap ? before : Math.max(before, page.next);
      this.store.run(
        'INSERT INTO cursors VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq',
        page.nodeId,
        page.storeId,
        cursor,
      );
      const { games, lastSeq } = this.total();
      return {
        config: this.config,
        nodeId: page.nodeId,
        inserted,
        known,
        refused,
        cursor,
        gap,
        more: page.more,
        total: games,
        lastSeq,
      };
    });
  }

  cursors(nodeId: string): GameCursor[] {
    return this.store
      .all<{ store: string; seq: number }>('SELECT store, seq FROM cursors WHERE node = ? ORDER BY store', nodeId)
      .map(({ store, seq }) => ({ config: this.config, storeId: store, seq }));
  }

  total(): { games: number; lastSeq: number } {
    const { games } = this.store.get<{ games: number }>('SELECT games FROM totals')!;
    const { last } = this.store.get<{ last: number | null }>('SELECT max(seq) AS last FROM games')!;
    return { games, lastSeq: last ?? 0 };
  }

  news(reader: string): GameNews | null {
    return this.store.immediate(() => {
      const told = this.store.get<{
        seq: number;
        games: number;
        next_seq: number | null;
        next_games: number | null;
      }>('SELECT * FROM told WHERE reader = ?', reader) ?? { seq: 0, games: 0, next_seq: null, next_games: null };
      if (told.next_seq !== null && told.next_games !== null)
        return { games: told.next_games - told.games, total: told.next_games, lastSeq: told.next_seq };
      const { games, lastSeq } = this.total();
      if (games === told.games) return null;
      this.store.run(
        'INSERT INTO told VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET next_seq = excluded.next_seq, next_games = excluded.next_games',
        ...[reader, told.seq, told.games, lastSeq, games],
      );
      return { games: games - told.games, total: games, lastSeq };
    });
  }

  told(reader: string, lastSeq: number): void {
    this.store.run(
      'UPDATE told SET seq = next_seq, games = next_games, next_seq = NULL, next_games = NULL WHERE reader = ? AND next_seq = ?',
      reader,
      lastSeq,
    );
  }

  page(after: number, limit: number): (GameRow & { seq: number })[] {
    return this.store
      .all<StoredGame>(`SELECT ${COLUMNS} FROM games WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
      .map((stored) => rowOf(this.config, stored));
  }

  /** The next at most `limit` games after a number: how many there are, and the last of them. */
  stretch(after: number, limit: number): { games: number; lastSeq: number } {
    const found = this.store.get<{ games: number; last: number | null }>(
      'SELECT count(*) AS games, max(seq) AS last FROM (SELECT seq FROM games WHERE seq > ? ORDER BY seq LIMIT ?)',
      after,
      limit,
    )!;
    return { games: found.games, lastSeq: found.last ?? after };
  }

  summarise(after: number, limit: number): GameSummary | null {
    const range = 'WITH range AS (SELECT * FROM games WHERE seq > ? ORDER BY seq LIMIT ?)';
    const figures = this.store.get<Record<string, number>>(
      `${range} SELECT count(*) AS games, min(seq) AS firstSeq, max(seq) AS lastSeq, avg(plies) AS pliesMean, min(plies) AS pliesMin,
       max(plies) AS pliesMax, avg(winner IS NULL) AS draws, avg(exploration) AS explorationMean FROM range`,
      after,
      limit,
    )!;
    const games = figures.games!;
    if (games === 0) return null;
    const repeated = (column: 'opening' | 'moves'): number =>
      this.store.get<{ n: number }>(
        `${range} SELECT coalesce(sum(times), 0) AS n FROM (SELECT count(*) AS times FROM range GROUP BY ${column} HAVING times > 1)`,
        after,
        limit,
      )!.n / games;
    const wins = this.store.all<{ winner: number; n: number }>(
      `${range} SELECT winner, count(*) AS n FROM range WHERE winner IS NOT NULL GROUP BY winner`,
      after,
      limit,
    );
    return {
      games,
      firstSeq: figures.firstSeq!,
      lastSeq: figures.lastSeq!,
      pliesMean: figures.pliesMean!,
      pliesMin: figures.pliesMin!,
      pliesMax: figures.pliesMax!,
      draws: figures.draws!,
      explorationMean: figures.explorationMean!,
      repeatedOpenings: repeated('opening'),
      repeatedGames: repeated('moves'),
      seatWins: Array.from(
        { length: this.players },
        (_, seat) => (wins.find((row) => row.winner === seat)?.n ?? 0) / games,
      ),
    };
  }

  close(): void {
    this.store.close();
  }

  private faultOf(row: GameRow): string | null {
    if (row.config !== this.config) return `a game of ${row.config} in a page of ${this.config}`;
    if (row.pieces.length !== this.players) return `${row.pieces.length} seats with pieces where ${this.players} play`;
    if (row.agents.length !== this.players) return `${row.agents.length} agents where ${this.players} play`;
    if (row.winner !== null && row.winner >= this.players) return `seat ${row.winner} won where ${this.players} play`;
    return null;
  }

  private insert(node: string, row: GameRow): boolean {
    const digits = Math.max(1, Math.round(row.moves.length / row.plies));
    return (
      this.store.run(
        `INSERT INTO games (id, node, moves, plies, pieces, winner, agents, exploration, opening, ended_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
        row.id,
        node,
        row.moves,
        row.plies,
        JSON.stringify(row.pieces),
        row.winner,
        JSON.stringify(row.agents),
        row.exploration,
        row.moves.slice(0, OPENING_PLIES * digits),
        row.endedAtMs,
      ) === 1
    );
  }

  private refuse(node: string, reason: string, row: unknown): void {
    const text = JSON.stringify(row)?.slice(0, REFUSED_CHARACTERS) ?? '';
    this.store.run(
      'INSERT INTO refused (node, reason, row, at) VALUES (?, ?, ?, ?)',
      node,
      reason.slice(0, REFUSED_CHARACTERS),
      text,
      this.now().wallMs,
    );
    this.store.run('DELETE FROM refused WHERE n <= (SELECT max(n) FROM refused) - ?', REFUSED_MAX);
  }

  private seqOf(node: string, store: string): number {
    return (
      this.store.get<{ seq: number }>('SELECT seq FROM cursors WHERE node = ? AND store = ?', node, store)?.seq ?? 0
    );
  }
}

/**
 * Rows of a canonical store in seq order, read beside its writer: for the export program.
 * @yields rows with `after < seq <= upTo`
 */
export const readGames = function* (
  file: string,
  config: string,
  range: { readonly after: number; readonly upTo: number },
): Generator<GameRow & { readonly seq: number }> {
  const db = openForReading(file);
  try {
    const rows = db.prepare(`SELECT ${COLUMNS} FROM games WHERE seq > ? AND seq <= ? ORDER BY seq`);
    for (const stored of rows.iterate(range.after, range.upTo)) yield rowOf(config, stored as StoredGame);
  } finally {
    db.close();
  }
};

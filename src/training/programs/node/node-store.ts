/**
 * What one node knows and must not lose: its games and matches until the floor has them, its models, its last words.
 *
 * A game counts from the moment its transaction is committed (synchronous FULL) and not before: only then does it appear
 * in a page, a count or a report. Numbers (`seq`) grow and are never reused, so a cursor is a promise: what lies at or
 * below it was handed out. A page asked for after a cursor acknowledges the cursor, and only acknowledged games are ever
 * pruned. A store that was made anew has a new `storeId`, so that old cursors are not mistaken for its own.
 */
import type { Random } from '../../../seams/random.ts';
import { Store, type Schema } from '../../stores/database.ts';
import type { GameRow, MatchRow, ModelRef, WorkReport } from '../protocol.ts';

const SCHEMA: Schema = [
  `
  CREATE TABLE identity (only INTEGER PRIMARY KEY CHECK (only = 1), store_id TEXT NOT NULL) STRICT;
  CREATE TABLE games (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    config      TEXT NOT NULL,
    moves       TEXT NOT NULL,
    plies       INTEGER NOT NULL,
    pieces      TEXT NOT NULL,              -- JSON array, one number per seat
    winner      INTEGER,
    agents      TEXT NOT NULL,              -- JSON array, one name per seat
    exploration REAL NOT NULL,
    ended_at    REAL NOT NULL
  ) STRICT;
  CREATE INDEX games_by_config ON games (config, seq);
  CREATE TABLE matches (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL UNIQUE,
    config    TEXT NOT NULL,
    seats     TEXT NOT NULL,                -- JSON array of { agent, score }
    played_at REAL NOT NULL
  ) STRICT;
  -- Newest and acknowledged seq; kept apart, because pruning may take the newest row.
  CREATE TABLE cursors (config TEXT PRIMARY KEY, newest INTEGER NOT NULL, acknowledged INTEGER NOT NULL) STRICT;
  CREATE TABLE models (
    n INTEGER PRIMARY KEY AUTOINCREMENT, model_id TEXT NOT NULL UNIQUE, config TEXT NOT NULL, sha256 TEXT NOT NULL
  ) STRICT;
  CREATE TABLE pointers (config TEXT PRIMARY KEY, model_id TEXT NOT NULL REFERENCES models (model_id) ON DELETE CASCADE) STRICT;
  CREATE TABLE outbox (n INTEGER PRIMARY KEY AUTOINCREMENT, report TEXT NOT NULL) STRICT;
  `,
];

/** Row of `cursors` for matches; no config has this name. */
const MATCHES = '*matches';

/** Reports that wait for the scheduler; beyond it the oldest goes, whose lease has long expired. */
const OUTBOX_MAX = 256;

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

interface StoredMatch {
  readonly seq: number;
  readonly id: string;
  readonly config: string;
  readonly seats: string;
  readonly played_at: number;
}

/** Rows after a cursor. */
export interface Stretch<Row> {
  readonly rows: Row[];
  readonly next: number;
  readonly more: boolean;
}

export interface PendingReport {
  readonly n: number;
  readonly report: WorkReport;
}

export class NodeStore {
  readonly storeId: string;
  private readonly store: Store;
  private readonly keepGames: number;
  private readonly newest = new Map<string, number>();
  private count: number;

  /** @throws STORE_TOO_NEW, STORE_FAILED */
  constructor(file: string, keepGames: number, random: Random) {
    this.store = new Store(file, SCHEMA);
    this.keepGames = keepGames;
    this.store.run('INSERT OR IGNORE INTO identity VALUES (1, ?)', random.uuid());
    this.storeId = this.store.get<{ store_id: string }>('SELECT store_id FROM identity')!.store_id;
    this.count = this.store.get<{ games: number }>('SELECT count(*) AS games FROM games')!.games;
    for (const { config, newest } of this.store.all<{ config: string; newest: number }>('SELECT * FROM cursors'))
      this.newest.set(config, newest);
  }

  /** Games in the store. */
  get games(): number {
    return this.count;
  }

  /** Newest seq per config. */
  lastSeq(): Record<string, number> {
    return Object.fromEntries([...this.newest].filter(([config]) => config !== MATCHES));
  }

  get matchesLastSeq(): number {
    return this.newest.get(MATCHES) ?? 0;
  }

  /** Keeps games and matches in one transaction; known ids change nothing. */
  keep(games: readonly GameRow[], matches: readonly MatchRow[]): void {
    const newest = new Map<string, number>();
    let inserted = 0;
    this.store.immediate(() => {
      for (const game of games) {
        const added = this.store.get<{ seq: number }>(
          `INSERT INTO games (id, config, moves, plies, pieces, winner, agents, exploration, ended_at)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING seq`,
          ...[game.id, game.config, game.moves, game.plies, JSON.stringify(game.pieces), game.winner],
          ...[JSON.stringify(game.agents), game.exploration, game.endedAtMs],
        );
        if (added === undefined) continue;
        inserted++;
        newest.set(game.config, added.seq);
      }
      for (const match of matches) {
        const added = this.store.get<{ seq: number }>(
          `INSERT INTO matches (id, config, seats, played_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING seq`,
          ...[match.id, match.config, JSON.stringify(match.seats), match.playedAtMs],
        );
        if (added !== undefined) newest.set(MATCHES, added.seq);
      }
      for (const [config, seq] of newest)
        this.store.run(
          'INSERT INTO cursors VALUES (?, ?, 0) ON CONFLICT DO UPDATE SET newest = excluded.newest',
          config,
          seq,
        );
    });
    this.count += inserted;
    for (const [config, seq] of newest) this.newest.set(config, seq);
  }

  /** Games of a config after a cursor, oldest first; the cursor counts as acknowledged. */
  gamesAfter(config: string, after: number, limit: number): Stretch<GameRow> {
    this.acknowledge(config, after);
    const found = this.store.all<StoredGame>(
      `SELECT seq, id, moves, plies, pieces, winner, agents, exploration, ended_at FROM games
       WHERE config = ? AND seq > ? ORDER BY seq LIMIT ?`,
      ...[config, after, limit + 1],
    );
    return stretch(found, after, limit, (game) => ({
      ...{ id: game.id, config, moves: game.moves, plies: game.plies },
      pieces: JSON.parse(game.pieces) as number[],
      winner: game.winner,
      agents: JSON.parse(game.agents) as string[],
      ...{ exploration: game.exploration, endedAtMs: game.ended_at },
    }));
  }

  /** Matches after a cursor, oldest first; the cursor counts as acknowledged. */
  matchesAfter(after: number, limit: number): Stretch<MatchRow> {
    this.acknowledge(MATCHES, after);
    const found = this.store.all<StoredMatch>(
      'SELECT seq, id, config, seats, played_at FROM matches WHERE seq > ? ORDER BY seq LIMIT ?',
      ...[after, limit + 1],
    );
    return stretch(found, after, limit, (match) => ({
      ...{ id: match.id, config: match.config },
      seats: JSON.parse(match.seats) as MatchRow['seats'],
      playedAtMs: match.played_at,
    }));
  }

  /** Removes rows that were acknowledged and are not among the newest `keepGames` of their kind. @returns how many */
  prune(): number {
    let games = 0;
    let matches = 0;
    this.store.immediate(() => {
      for (const { config, acknowledged } of this.store.all<{ config: string; acknowledged: number }>(
        'SELECT config, acknowledged FROM cursors WHERE acknowledged > 0',
      )) {
        const values =
          config === MATCHES ? [acknowledged, this.keepGames] : [config, acknowledged, config, this.keepGames];
        if (config === MATCHES)
          matches += this.store.run(
            `DELETE FROM matches WHERE seq <= ? AND seq <= (SELECT seq FROM matches ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
            ...values,
          );
        else
          games += this.store.run(
            `DELETE FROM games WHERE config = ? AND seq <= ?
             AND seq <= (SELECT seq FROM games WHERE config = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
            ...values,
          );
      }
    });
    this.count -= games;
    return games + matches;
  }

  /** Models on the shelf, oldest arrival first. */
  models(): ModelRef[] {
    return this.store.all<ModelRef>('SELECT model_id AS modelId, config, sha256 FROM models ORDER BY n');
  }

  addModel({ modelId, config, sha256 }: ModelRef): void {
    this.store.run(
      'INSERT INTO models (model_id, config, sha256) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET sha256 = excluded.sha256',
      ...[modelId, config, sha256],
    );
  }

  /** Forgets a model, and the pointer at it. */
  removeModel(modelId: string): void {
    this.store.run('DELETE FROM models WHERE model_id = ?', modelId);
  }

  pointers(): ModelRef[] {
    return this.store.all<ModelRef>(
      'SELECT model_id AS modelId, models.config, sha256 FROM pointers JOIN models USING (model_id) ORDER BY models.config',
    );
  }

  setPointer(config: string, modelId: string): void {
    this.store.run(
      'INSERT INTO pointers VALUES (?, ?) ON CONFLICT DO UPDATE SET model_id = excluded.model_id',
      config,
      modelId,
    );
  }

  /** Keeps a report until `delivered`. */
  addReport(report: WorkReport): void {
    this.store.immediate(() => {
      this.store.run('INSERT INTO outbox (report) VALUES (?)', JSON.stringify(report));
      this.store.run('DELETE FROM outbox WHERE n <= (SELECT max(n) FROM outbox) - ?', OUTBOX_MAX);
    });
  }

  /** Reports not yet answered, oldest first. */
  pendingReports(): PendingReport[] {
    return this.store
      .all<{ n: number; report: string }>('SELECT n, report FROM outbox ORDER BY n')
      .map(({ n, report }) => ({ n, report: JSON.parse(report) as WorkReport }));
  }

  delivered(n: number): void {
    this.store.run('DELETE FROM outbox WHERE n = ?', n);
  }

  close(): void {
    this.store.close();
  }

  /** A cursor from beyond our newest row was made for another store: it acknowledges nothing. */
  private acknowledge(config: string, seq: number): void {
    if (seq === 0 || seq > (this.newest.get(config) ?? 0)) return;
    this.store.run('UPDATE cursors SET acknowledged = ? WHERE config = ? AND acknowledged < ?', seq, config, seq);
  }
}

const stretch = <Stored extends { readonly seq: number }, Row>(
  found: readonly Stored[],
  after: number,
  limit: number,
  rowOf: (stored: Stored) => Row,
): Stretch<Row> => {
  const taken = found.slice(0, limit);
  return { rows: taken.map(rowOf), next: taken.at(-1)?.seq ?? after, more: found.length > limit };
};

/**
 * Match rows of all sources, each once, and the ratings fitted to them.
 *
 * Results between two agents are also kept as sums, changed only in the transaction that inserts a row, so a fit reads a
 * few hundred sums instead of a few hundred thousand rows; the rows stay, and the sums can be made again from them.
 */
import type { MergeReceipt, Rating } from '../floor.ts';
import { matchRow, PROTOCOL_VERSION, type MatchRow } from '../programs/protocol.ts';
import { Store, type Schema } from './database.ts';
import { floorInputInvalid } from './faults.ts';
import { ANCHOR, fitRatings, type PairResult } from './rating-fit.ts';
import { z } from 'zod';

const SCHEMA: Schema = [
  `
  CREATE TABLE matches (
    n      INTEGER PRIMARY KEY AUTOINCREMENT,
    id     TEXT NOT NULL UNIQUE,
    config TEXT NOT NULL,
    source TEXT NOT NULL,
    seats  TEXT NOT NULL,                  -- JSON
    at     REAL NOT NULL
  ) STRICT;
  -- Agents of a pair in alphabetical order; score is that of a.
  CREATE TABLE pairs (config TEXT NOT NULL, a TEXT NOT NULL, b TEXT NOT NULL, games REAL NOT NULL, score REAL NOT NULL, PRIMARY KEY (config, a, b)) STRICT, WITHOUT ROWID;
  CREATE TABLE agents (
    n      INTEGER PRIMARY KEY AUTOINCREMENT,
    config TEXT NOT NULL,
    agent  TEXT NOT NULL,
    games  INTEGER NOT NULL,
    rating REAL,
    error  REAL,
    UNIQUE (config, agent)
  ) STRICT;
  CREATE TABLE cursors (source TEXT NOT NULL, store TEXT NOT NULL, seq INTEGER NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (source, store)) STRICT, WITHOUT ROWID;
  `,
];

/** Newest agents of a config that a fit moves: 300³/3 = 9 million multiplications, some 15 ms. */
const FITTED_MAX = 300;

const pageHead = z.object({
  version: z.literal(PROTOCOL_VERSION),
  source: z.string().min(1).max(96),
  storeId: z.string().min(1).max(96),
  after: z.int().nonnegative(),
  next: z.int().nonnegative(),
  more: z.boolean(),
  matches: z.array(z.unknown()).max(100_000),
});

interface StoredAgent {
  readonly agent: string;
  readonly games: number;
  readonly rating: number | null;
  readonly error: number | null;
}

/** Points of each unordered pair of different agents in one game: the mean over the pairs of seats they hold. */
export const pairScores = (seats: MatchRow['seats']): PairResult[] => {
  const sums = new Map<string, { a: string; b: string; won: number; pairs: number }>();
  for (const [index, one] of seats.entries()) {
    for (const other of seats.slice(index + 1)) {
      if (one.agent === other.agent) continue;
      const [a, b] = one.agent < other.agent ? [one, other] : [other, one];
      const key = `${a.agent} ${b.agent}`;
      const sum = sums.get(key) ?? { a: a.agent, b: b.agent, won: 0, pairs: 0 };
      sum.won += a.score > b.score ? 1 : a.score === b.score ? 0.5 : 0;
      sum.pairs++;
      sums.set(key, sum);
    }
  }
  return [...sums.values()].map(({ a, b, won, pairs }) => ({ a, b, games: 1, scoreA: won / pairs }));
};

export class RatingStore {
  /** Open to drills, which close and open its handle. */
  readonly store: Store;

  constructor(file: string) {
    this.store = new Store(file, SCHEMA);
  }

  cursor(source: string): { storeId: string | null; seq: number } {
    const found = this.store.get<{ store: string; seq: number }>(
      'SELECT store, seq FROM cursors WHERE source = ? ORDER BY used DESC LIMIT 1',
      source,
    );
    return found === undefined ? { storeId: null, seq: 0 } : { storeId: found.store, seq: found.seq };
  }

  /** @param source  whom the page must come from; null takes what it says */
  merge(body: Uint8Array, source: string | null): MergeReceipt {
    const page = this.open(body, source);
    return this.store.immediate(() => {
      const configs: Record<string, number> = {};
      let known = 0;
      let refused = 0;
      for (const candidate of page.matches) {
        const row = matchRow.safeParse(candidate);
        if (!row.success || row.data.seats.length !== Number(row.data.config.at(-2))) refused++;
        else if (this.insert(page.source, row.data)) configs[row.data.config] = (configs[row.data.config] ?? 0) + 1;
        else known++;
      }
      const before =
        this.store.get<{ seq: number }>(
          'SELECT seq FROM cursors WHERE source = ? AND store = ?',
          page.source,
          page.storeId,
        )?.seq ?? 0;
      const cursor = page.after > before ? before : Math.max(before, page.next);
      this.store.run(
        'INSERT INTO cursors SELECT ?, ?, ?, coalesce(max(used), 0) + 1 FROM cursors WHERE true ON CONFLICT DO UPDATE SET seq = excluded.seq, used = excluded.used',
        page.source,
        page.storeId,
        cursor,
      );
      const moved = Object.keys(configs).flatMap((config) => this.fit(config));
      const inserted = Object.values(configs).reduce((sum, rows) => sum + rows, 0);
      return { source: page.source, inserted, known, refused, cursor, more: page.more, configs, moved };
    });
  }

  table(config: string): Rating[] {
    return this.store
      .all<StoredAgent>(
        'SELECT agent, games, rating, error FROM agents WHERE config = ? AND rating IS NOT NULL ORDER BY rating DESC, agent',
        config,
      )
      .map(({ agent, games, rating, error }) => ({ agent, rating: rating!, error: error!, games }));
  }

  configs(): string[] {
    return this.store
      .all<{ config: string }>('SELECT DISTINCT config FROM agents ORDER BY config')
      .map(({ config }) => config);
  }

  ratingOf(config: string, agent: string): { rating: number; error: number } | null {
    const found = this.store.get<{ rating: number | null; error: number | null }>(
      'SELECT rating, error FROM agents WHERE config = ? AND agent = ?',
      config,
      agent,
    );
    return found?.rating == null || found.error === null ? null : { rating: found.rating, error: found.error };
  }

  close(): void {
    this.store.close();
  }

  private open(body: Uint8Array, source: string | null): z.output<typeof pageHead> {
    const from = source ?? 'a matches file';
    let json: unknown;
    try {
      json = JSON.parse(Buffer.from(body).toString('utf8'));
    } catch (thrown) {
      throw floorInputInvalid(`${from} holds ${body.length} bytes that are not JSON: ${String(thrown)}`, { source });
    }
    const page = pageHead.safeParse(json);
    if (!page.success)
      throw floorInputInvalid(`${from} is no matches page: ${z.prettifyError(page.error)}`, { source });
    if (source !== null && page.data.source !== source)
      throw floorInputInvalid(`a matches page asked of ${source} came from ${page.data.source}`, {
        source,
        from: page.data.source,
      });
    return page.data;
  }

  private insert(source: string, row: MatchRow): boolean {
    const added = this.store.run(
      'INSERT INTO matches (id, config, source, seats, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING',
      row.id,
      row.config,
      source,
      JSON.stringify(row.seats),
      row.playedAtMs,
    );
    if (added === 0) return false;
    for (const { a, b, games, scoreA } of pairScores(row.seats))
      this.store.run(
        'INSERT INTO pairs VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET games = games + excluded.games, score = score + excluded.score',
        row.config,
        a,
        b,
        games,
        scoreA,
      );
    for (const agent of new Set(row.seats.map((seat) => seat.agent)))
      this.store.run(
        'INSERT INTO agents (config, agent, games) VALUES (?, ?, 1) ON CONFLICT (config, agent) DO UPDATE SET games = games + 1',
        row.config,
        agent,
      );
    return true;
  }

  private fit(config: string): MergeReceipt['moved'][number][] {
    const rows = this.store.all<StoredAgent>(
      'SELECT agent, games, rating, error FROM agents WHERE config = ? ORDER BY n DESC',
      config,
    );
    const before = new Map(rows.flatMap(({ agent, rating }) => (rating === null ? [] : [[agent, rating] as const])));
    const newest = rows.slice(0, FITTED_MAX).map(({ agent }) => agent);
    const chosen = new Set(newest);
    const pairs = this.store
      .all<{ a: string; b: string; games: number; score: number }>(
        'SELECT a, b, games, score FROM pairs WHERE config = ?',
        config,
      )
      .filter(({ a, b }) => chosen.has(a) || chosen.has(b))
      .map(({ a, b, games, score }) => ({ a, b, games, scoreA: score }));
    const fitted = fitRatings(newest, pairs, before);
    const moved: MergeReceipt['moved'][number][] = [];
    for (const [agent, { rating, error }] of fitted) {
      this.store.run(
        'UPDATE agents SET rating = ?, error = ? WHERE config = ? AND agent = ?',
        rating,
        error,
        config,
        agent,
      );
      const from = before.get(agent);
      if (agent !== ANCHOR && from !== undefined && Math.abs(rating - from) > error)
        moved.push({ config, agent, from, to: rating, error });
    }
    return moved;
  }
}

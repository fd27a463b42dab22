/**
 * The inventory of nodes, the last picture of them, and what they cost.
 *
 * A node is its folder, a run is one process in it. A lost node is started again in the same folder before a new one is
 * made, because that folder may hold games nobody has pulled: replacing it would lose them. Only the latest run of a node
 * counts; whatever an older one says or is said about it changes nothing.
 *
 * Money is metered: a run reports its own uptime, which only grows, and what it grew by is booked into the five minutes in
 * which it was reported. Reporting twice books once, and a wall clock that jumps moves an amount, never makes one.
 */
import type { Advice, ClusterRow, NodeRow, NodeState } from '../floor.ts';
import { Store, type ReadNow, type Schema } from './database.ts';
import { floorInputInvalid } from './faults.ts';

const SCHEMA: Schema = [
  `
  CREATE TABLE nodes (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    pool    TEXT NOT NULL,
    provider TEXT NOT NULL,
    state   TEXT NOT NULL CHECK (state IN ('starting', 'live', 'draining', 'retired', 'lost', 'failed')),
    folder  TEXT NOT NULL,
    run     TEXT NOT NULL,
    runs    INTEGER NOT NULL,
    url     TEXT,
    pid     INTEGER,
    store   TEXT,
    price   REAL NOT NULL,
    claimed INTEGER NOT NULL,
    reason  TEXT
  ) STRICT;
  CREATE TABLE cluster (node TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
  CREATE TABLE meters (run TEXT PRIMARY KEY, node TEXT NOT NULL, uptime REAL NOT NULL) STRICT;
  CREATE TABLE spend (bucket INTEGER PRIMARY KEY, amount REAL NOT NULL) STRICT;
  CREATE TABLE savings (run TEXT PRIMARY KEY, node TEXT NOT NULL, per_hour REAL NOT NULL, at REAL NOT NULL) STRICT;
  CREATE TABLE advice (only INTEGER PRIMARY KEY CHECK (only = 1), version INTEGER NOT NULL, wanted INTEGER NOT NULL, reason TEXT NOT NULL) STRICT;
  `,
  // What was last told of which run: 'up <run>', 'over <run>'.
  `ALTER TABLE nodes ADD COLUMN told TEXT NOT NULL DEFAULT ''`,
  `
  -- Whether the latest run of a node answers whoever asks it, and how often that has changed.
  CREATE TABLE contacts (node TEXT PRIMARY KEY, run TEXT NOT NULL, answers INTEGER NOT NULL CHECK (answers IN (0, 1)), changes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  `,
];

const BUCKET_MS = 5 * 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const REASON_CHARACTERS = 2000;
const METERS_MAX = 10_000;

interface StoredNode {
  readonly id: string;
  readonly pool: string;
  readonly provider: string;
  readonly state: NodeState;
  readonly folder: string;
  readonly run: string;
  readonly runs: number;
  readonly url: string | null;
  readonly pid: number | null;
  readonly store: string | null;
  readonly price: number;
  readonly claimed: number;
  readonly reason: string | null;
  readonly told: string;
}

interface Run {
  readonly nodeId: string;
  readonly runId: string;
}

export class NodeStore {
  private readonly store: Store;
  private readonly now: ReadNow;
  private readonly openedAt: number;
  /** Monotonic milliseconds per node: when its run was reserved, and when it last showed itself. */
  private readonly reservedAt = new Map<string, number>();
  private readonly seenAt = new Map<string, number>();
  private advisedAt: number;

  constructor(file: string, now: ReadNow) {
    this.now = now;
    this.openedAt = now().monotonicMs;
    this.advisedAt = this.openedAt;
    this.store = new Store(file, SCHEMA);
  }

  // --------------------------------------------------------------------------------------------------------- inventory

  list(filter: { readonly states?: readonly NodeState[] } = {}): NodeRow[] {
    return this.store
      .all<StoredNode>(
        'SELECT * FROM nodes WHERE @states IS NULL OR state IN (SELECT value FROM json_each(@states)) ORDER BY n',
        {
          states: filter.states === undefined ? null : JSON.stringify(filter.states),
        },
      )
      .map((stored) => this.rowOf(stored));
  }

  get(nodeId: string): NodeRow | null {
    const stored = this.stored(nodeId);
    return stored === undefined ? null : this.rowOf(stored);
  }

  reserve(
    request: { readonly pool: string; readonly provider: string; readonly pricePerHour: number },
    folderOf: (nodeId: string) => string,
  ): NodeRow {
    return this.store.immediate(() => {
      // Lost and failed ones first: their folders may hold games. A retired one had been synced; its folder serves again.
      const idle = this.store.get<StoredNode>(
        `SELECT * FROM nodes WHERE pool = ? AND provider = ? AND state IN ('lost', 'failed', 'retired')
         ORDER BY state = 'retired', state = 'failed', n LIMIT 1`,
        request.pool,
        request.provider,
      );
      const nodeId = idle?.id ?? this.newId(request.pool);
      const runs = (idle?.runs ?? 0) + 1;
      if (idle === undefined)
        this.store.run(
          `INSERT INTO nodes (id, pool, provider, state, folder, run, runs, price, claimed) VALUES (?, ?, ?, 'starting', ?, '', 0, ?, 0)`,
          nodeId,
          request.pool,
          request.provider,
          folderOf(nodeId),
          request.pricePerHour,
        );
      this.store.run(
        `UPDATE nodes SET state = 'starting', run = ?, runs = ?, url = NULL, pid = NULL, price = ?, claimed = 0, reason = NULL WHERE id = ?`,
        `${nodeId}-r${runs}`,
        runs,
        request.pricePerHour,
        nodeId,
      );
      this.reservedAt.set(nodeId, this.now().monotonicMs);
      this.seenAt.delete(nodeId);
      return this.get(nodeId)!;
    });
  }

  seen(run: Run & { readonly url: string; readonly pid: number; readonly storeId: string }): {
    known: boolean;
    node: NodeRow | null;
  } {
    return this.store.immediate(() => {
      const node = this.stored(run.nodeId);
      if (node === undefined || node.run !== run.runId || !['starting', 'live', 'draining'].includes(node.state))
        return { known: false, node: node === undefined ? null : this.rowOf(node) };
      this.seenAt.set(run.nodeId, this.now().monotonicMs);
      if (node.state === 'starting' || node.url !== run.url || node.pid !== run.pid || node.store !== run.storeId)
        this.store.run(
          "UPDATE nodes SET state = CASE state WHEN 'starting' THEN 'live' ELSE state END, url = ?, pid = ?, store = ? WHERE id = ?",
          run.url,
          run.pid,
          run.storeId,
          run.nodeId,
        );
      return { known: true, node: this.get(run.nodeId) };
    });
  }

  claimed(run: Run): void {
    this.store.run('UPDATE nodes SET claimed = 1 WHERE id = ? AND run = ? AND claimed = 0', run.nodeId, run.runId);
  }

  drain(request: Run & { readonly drain: boolean }): NodeRow {
    this.store.run(
      'UPDATE nodes SET state = ? WHERE id = ? AND run = ? AND state = ?',
      request.drain ? 'draining' : 'live',
      request.nodeId,
      request.runId,
      request.drain ? 'live' : 'draining',
    );
    return this.getOrThrow(request.nodeId);
  }

  end(request: Run & { readonly state: 'lost' | 'failed' | 'retired'; readonly reason: string }): {
    node: NodeRow;
    first: boolean;
  } {
    // A retired one keeps its address: it is told to shut down by it. A lost or failed one has none that can be trusted.
    const ended = this.store.run(
      `UPDATE nodes SET state = @state, reason = @reason, url = iif(@state = 'retired', url, NULL), pid = iif(@state = 'retired', pid, NULL)
       WHERE id = @nodeId AND run = @runId AND state IN ('starting', 'live', 'draining')`,
      {
        nodeId: request.nodeId,
        runId: request.runId,
        state: request.state,
        reason: request.reason.slice(0, REASON_CHARACTERS),
      },
    );
    if (ended === 1) this.seenAt.delete(request.nodeId);
    return { node: this.getOrThrow(request.nodeId), first: ended === 1 };
  }

  untold(): { node: NodeRow; news: 'up' | 'over' }[] {
    return this.store
      .all<StoredNode & { readonly news: 'up' | 'over' }>(
        `SELECT * FROM (
           SELECT *, CASE WHEN state IN ('lost', 'failed', 'retired') THEN 'over' WHEN state <> 'starting' AND claimed = 1 THEN 'up' END AS news
           FROM nodes
         ) WHERE news IS NOT NULL AND told <> news || ' ' || run ORDER BY n`,
      )
      .map((stored) => ({ node: this.rowOf(stored), news: stored.news }));
  }

  told(request: Run & { readonly news: 'up' | 'over' }): void {
    this.store.run(
      'UPDATE nodes SET told = ? WHERE id = ? AND run = ?',
      `${request.news} ${request.runId}`,
      request.nodeId,
      request.runId,
    );
  }

  contact(contact: Run & { readonly answers: boolean }): { changed: boolean; changes: number } {
    return this.store.immediate(() => {
      const before = this.store.get<{ run: string; answers: number; changes: number }>(
        'SELECT run, answers, changes FROM contacts WHERE node = ?',
        contact.nodeId,
      );
      const known = before?.run === contact.runId ? before : null;
      const answers = contact.answers ? 1 : 0;
      if (known?.answers === answers) return { changed: false, changes: known.changes };
      const changes = (known?.changes ?? 0) + 1;
      this.store.run(
        'INSERT INTO contacts VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET run = excluded.run, answers = excluded.answers, changes = excluded.changes',
        ...[contact.nodeId, contact.runId, answers, changes],
      );
      return { changed: true, changes };
    });
  }

  getOrThrow(nodeId: string): NodeRow {
    const node = this.get(nodeId);
    if (node === null) throw floorInputInvalid(`there is no node ${nodeId}`, { nodeId });
    return node;
  }

  // ----------------------------------------------------------------------------------------------------------- cluster

  putCluster(rows: readonly ClusterRow[]): void {
    this.store.immediate(() => {
      for (const row of rows)
        this.store.run(
          'INSERT INTO cluster VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body',
          row.nodeId,
          JSON.stringify(row),
        );
    });
  }

  cluster(): ClusterRow[] {
    return this.store
      .all<{ body: string }>('SELECT body FROM cluster ORDER BY node')
      .map(({ body }) => JSON.parse(body) as ClusterRow);
  }

  pruneCluster(bound: { readonly beforeMs: number }): number {
    return this.store.run(
      "DELETE FROM cluster WHERE node NOT IN (SELECT id FROM nodes WHERE state <> 'retired') AND body ->> 'atMs' < ?",
      bound.beforeMs,
    );
  }

  // ---------------------------------------------------------------------------------------------------------- capacity

  meter(run: Run & { readonly uptimeSeconds: number; readonly pricePerHour: number }): void {
    this.store.immediate(() => {
      const before =
        this.store.get<{ uptime: number }>('SELECT uptime FROM meters WHERE run = ?', run.runId)?.uptime ?? 0;
      const grown = run.uptimeSeconds - before;
      if (!(grown > 0)) return;
      this.store.run(
        'INSERT INTO meters VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET uptime = excluded.uptime',
        run.runId,
        run.nodeId,
        run.uptimeSeconds,
      );
      this.store.run('DELETE FROM meters WHERE rowid <= (SELECT max(rowid) FROM meters) - ?', METERS_MAX);
      const { wallMs } = this.now();
      this.store.run(
        'INSERT INTO spend VALUES (?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount',
        Math.floor(wallMs / BUCKET_MS),
        (grown / 3600) * run.pricePerHour,
      );
      this.store.run('DELETE FROM spend WHERE bucket < ?', Math.floor((wallMs - 2 * DAY_MS) / BUCKET_MS));
    });
  }

  spend(): { hour: number; day: number; perHourNow: number; saved: number } {
    const { wallMs } = this.now();
    const since = (ms: number): number =>
      this.store.get<{ amount: number | null }>(
        'SELECT sum(amount) AS amount FROM spend WHERE bucket > ?',
        Math.floor((wallMs - ms) / BUCKET_MS),
      )!.amount ?? 0;
    const { live } = this.store.get<{ live: number | null }>(
      "SELECT sum(price) AS live FROM nodes WHERE state IN ('starting', 'live', 'draining')",
    )!;
    const { saved } = this.store.get<{ saved: number | null }>(
      'SELECT sum(per_hour) AS saved FROM savings WHERE at > ?',
      wallMs - DAY_MS,
    )!;
    return { hour: since(HOUR_MS), day: since(DAY_MS), perHourNow: live ?? 0, saved: saved ?? 0 };
  }

  bookSaving(saving: Run & { readonly perHour: number }): { first: boolean } {
    const { wallMs } = this.now();
    const added = this.store.run(
      'INSERT INTO savings VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
      saving.runId,
      saving.nodeId,
      saving.perHour,
      wallMs,
    );
    this.store.run('DELETE FROM savings WHERE rowid <= (SELECT max(rowid) FROM savings) - ?', METERS_MAX);
    return { first: added === 1 };
  }

  advice(): Advice {
    const stored = this.store.get<{ version: number; wanted: number; reason: string }>(
      'SELECT version, wanted, reason FROM advice',
    );
    return {
      ...(stored ?? { version: 0, wanted: 0, reason: '' }),
      ageSeconds: (this.now().monotonicMs - this.advisedAt) / 1000,
    };
  }

  advise(plan: { readonly wanted: number; readonly reason: string }): { advice: Advice; changed: boolean } {
    return this.store.immediate(() => {
      const before = this.advice();
      const changed = before.version === 0 || before.wanted !== plan.wanted;
      if (changed) {
        this.store.run(
          `INSERT INTO advice VALUES (1, 1, ?, ?) ON CONFLICT DO UPDATE SET version = version + 1, wanted = excluded.wanted, reason = excluded.reason`,
          plan.wanted,
          plan.reason.slice(0, REASON_CHARACTERS),
        );
        this.advisedAt = this.now().monotonicMs;
      }
      return { advice: this.advice(), changed };
    });
  }

  close(): void {
    this.store.close();
  }

  // ---------------------------------------------------------------------------------------------------------- private

  private stored(nodeId: string): StoredNode | undefined {
    return this.store.get<StoredNode>('SELECT * FROM nodes WHERE id = ?', nodeId);
  }

  private newId(pool: string): string {
    const taken = new Set(this.store.all<{ id: string }>('SELECT id FROM nodes').map(({ id }) => id));
    let number = 1;
    while (taken.has(`${pool}-${number}`)) number++;
    return `${pool}-${number}`;
  }

  private rowOf(stored: StoredNode): NodeRow {
    const { monotonicMs } = this.now();
    const seenAt = this.seenAt.get(stored.id);
    return {
      nodeId: stored.id,
      runId: stored.run,
      pool: stored.pool,
      provider: stored.provider,
      state: stored.state,
      folder: stored.folder,
      url: stored.url,
      pid: stored.pid,
      storeId: stored.store,
      pricePerHour: stored.price,
      runSeconds: (monotonicMs - (this.reservedAt.get(stored.id) ?? this.openedAt)) / 1000,
      seenSeconds: seenAt === undefined ? null : (monotonicMs - seenAt) / 1000,
      hasClaimed: stored.claimed === 1,
      reason: stored.reason,
    };
  }
}

/**
 * The work queue: who may do what, proved by a token that only grows.
 *
 * An item is held under a lease. Whoever lets it run out loses the item but may not know it yet; so every claim draws a
 * higher token, every report names the token it was given, and a report with an older one is refused. That is what keeps
 * a paused worker from closing an item that another one is doing now.
 *
 * Leases are measured by the monotonic clock and kept in memory: after a reopen every held item gets a whole new lease.
 * That costs at most one lease of waiting for a worker that is really gone, and no worker that lives ever loses its item
 * to a jump of the wall clock or to a restart of the master.
 *
 * What happens to an item is written down as a fact in the same transaction, and stays until it was told: so whoever tells
 * (and may die before it did) needs no memory of its own, and nothing is told that did not happen.
 */
import type { NewWork, QueueDepth, WorkAnswer, WorkClaim, WorkFact, WorkItem, WorkState, WorkToken } from '../floor.ts';
import { BASELINES, workPayload, type WorkKind, type WorkPayload, type WorkResult } from '../programs/protocol.ts';
import { Store, type ReadNow, type Schema } from './database.ts';
import { floorInputInvalid } from './faults.ts';
import { z } from 'zod';

const SCHEMA: Schema = [
  `
  CREATE TABLE items (
    n            INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    key          TEXT NOT NULL UNIQUE,
    kind         TEXT NOT NULL,
    config       TEXT NOT NULL,
    work         TEXT NOT NULL,            -- JSON, workPayload
    games        INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    node         TEXT,                     -- only this node may take it
    cpus         REAL NOT NULL,
    memory_mb    INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    attempts_max INTEGER NOT NULL,
    timeout_s    REAL NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('pending', 'claimed', 'running', 'completed', 'failed', 'cancelled')),
    holder       TEXT,
    token        INTEGER NOT NULL,
    lease_s      REAL,
    done         INTEGER NOT NULL,
    result       TEXT,
    reason       TEXT,
    queued_at    REAL NOT NULL,
    closed_at    REAL,
    closed       INTEGER                   -- order of closing
  ) STRICT;
  CREATE INDEX items_pending ON items (priority DESC, n) WHERE state = 'pending';
  CREATE INDEX items_held ON items (id) WHERE state IN ('claimed', 'running');
  CREATE INDEX items_closed ON items (closed) WHERE closed IS NOT NULL;
  CREATE INDEX items_depth ON items (kind, config, state, games);
  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
  INSERT INTO counters VALUES ('token', 0), ('closed', 0);
  `,
  `
  ALTER TABLE items ADD COLUMN claimer TEXT; -- holder of the latest claim, kept when the item is taken back
  UPDATE items SET claimer = holder;
  CREATE TABLE facts (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    what    TEXT NOT NULL,
    item    TEXT NOT NULL,
    kind    TEXT NOT NULL,
    config  TEXT NOT NULL,
    holder  TEXT NOT NULL,
    token   INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    final   INTEGER NOT NULL,
    reason  TEXT,
    result  TEXT,
    for_item TEXT
  ) STRICT;
  `,
];

/** Pending items looked at for one claim: beyond that a worker that fits none of them is no reason to read on. */
const CLAIM_CANDIDATES = 200;
/** First wait before a failed item is offered again, doubled per attempt up to the bound; seconds. Upstream's 1–60 s. */
const RETRY_SECONDS = 1;
const RETRY_SECONDS_MAX = 60;
const ATTEMPTS_MAX = 3;
const TIMEOUT_SECONDS = 3600;
const REASON_CHARACTERS = 2000;
const LIST_MAX = 500;
/** Facts kept while nobody tells them; older ones are forgotten, for a wake-up that late wakes nobody. */
const FACTS_MAX = 10_000;

interface StoredItem {
  readonly id: string;
  readonly key: string;
  readonly work: string;
  readonly priority: number;
  readonly node: string | null;
  readonly attempts: number;
  readonly attempts_max: number;
  readonly timeout_s: number;
  readonly state: WorkState;
  readonly holder: string | null;
  readonly claimer: string | null;
  readonly token: number;
  readonly lease_s: number | null;
  readonly done: number;
  readonly result: string | null;
  readonly reason: string | null;
  readonly queued_at: number;
  readonly closed_at: number | null;
}

const itemOf = (stored: StoredItem): WorkItem => ({
  itemId: stored.id,
  key: stored.key,
  work: JSON.parse(stored.work) as WorkPayload,
  state: stored.state,
  priority: stored.priority,
  nodeId: stored.node,
  holder: stored.holder,
  token: stored.token,
  attempts: stored.attempts,
  attemptsMax: stored.attempts_max,
  leaseSeconds: stored.lease_s,
  done: stored.done,
  result: stored.result === null ? null : (JSON.parse(stored.result) as WorkResult),
  reason: stored.reason,
  queuedAtMs: stored.queued_at,
  closedAtMs: stored.closed_at,
});

const isHeld = (state: WorkState): boolean => state === 'claimed' || state === 'running';

/** Monotonic milliseconds at which a held item is lost. */
interface Lease {
  until: number;
  readonly timeoutAt: number;
}

export class WorkStore {
  /** Open to drills, which close and open its handle. */
  readonly store: Store;
  private readonly now: ReadNow;
  /** One per held item. */
  private readonly leases = new Map<string, Lease>();
  /** Monotonic milliseconds before which a failed item is not offered; one per pending item at most. */
  private readonly notBefore = new Map<string, number>();

  constructor(file: string, now: ReadNow) {
    this.now = now;
    this.store = new Store(file, SCHEMA);
    this.leaseHeld();
  }

  enqueue(items: readonly NewWork[]): { queued: number; known: number; itemIds: string[] } {
    const checked = items.map((item) => {
      const work = workPayload.safeParse(item.work);
      if (!work.success)
        throw floorInputInvalid(`the work of ${item.key} is not valid: ${z.prettifyError(work.error)}`, {
          key: item.key,
        });
      return { ...item, work: work.data };
    });
    return this.store.immediate(() => {
      const itemIds: string[] = [];
      for (const item of checked) {
        const id = `w${(this.store.get<{ n: number }>("SELECT seq AS n FROM sqlite_sequence WHERE name = 'items'")?.n ?? 0) + 1}`;
        const added = this.store.run(
          `INSERT INTO items (id, key, kind, config, work, games, priority, node, cpus, memory_mb, attempts, attempts_max, timeout_s, state, token, done, queued_at)
           SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 'pending', 0, 0, ? WHERE NOT EXISTS (SELECT 1 FROM items WHERE key = ?)`,
          id,
          item.key,
          item.work.kind,
          item.work.config,
          JSON.stringify(item.work),
          'games' in item.work ? item.work.games : 0,
          item.priority,
          item.nodeId ?? null,
          item.cpus ?? 0,
          item.memoryMb ?? 0,
          item.attemptsMax ?? ATTEMPTS_MAX,
          item.timeoutSeconds ?? TIMEOUT_SECONDS,
          this.now().wallMs,
          item.key,
        );
        if (added === 1) itemIds.push(id);
      }
      return { queued: itemIds.length, known: checked.length - itemIds.length, itemIds };
    });
  }

  claim(request: WorkClaim): WorkItem | null {
    const { monotonicMs } = this.now();
    return this.store.immediate(() => {
      const offers = this.store.all<StoredItem>(
        `SELECT * FROM items WHERE state = 'pending' AND kind IN (SELECT value FROM json_each(?)) AND (node IS NULL OR node = ?)
         AND cpus <= ? AND memory_mb <= ? ORDER BY priority DESC, n LIMIT ?`,
        JSON.stringify(request.kinds),
        request.holder,
        request.cpus ?? Number.MAX_SAFE_INTEGER,
        request.memoryMb ?? Number.MAX_SAFE_INTEGER,
        CLAIM_CANDIDATES,
      );
      const chosen = offers.find(
        (offer) => (this.notBefore.get(offer.id) ?? 0) <= monotonicMs && this.canPlay(offer, request),
      );
      if (chosen === undefined) return null;
      const token = this.count('token');
      this.store.run(
        `UPDATE items SET state = 'claimed', holder = ?, claimer = ?, token = ?, lease_s = ?, attempts = attempts + 1, done = 0, reason = NULL WHERE id = ?`,
        request.holder,
        request.holder,
        token,
        request.leaseSeconds,
        chosen.id,
      );
      this.notBefore.delete(chosen.id);
      this.lease(chosen, request.leaseSeconds);
      this.note('claimed', chosen.id);
      return this.get(chosen.id);
    });
  }

  start(report: WorkToken): WorkAnswer {
    return this.answer(report, (item) => {
      if (!isHeld(item.state)) return this.refused();
      this.extend(item);
      if (item.state === 'running') return { accepted: true, first: false };
      this.store.run("UPDATE items SET state = 'running' WHERE id = ?", item.id);
      this.note('started', item.id);
      return { accepted: true, first: true };
    });
  }

  renew(report: WorkToken & { readonly done?: number }): WorkAnswer {
    return this.answer(report, (item) => {
      if (!isHeld(item.state)) return this.refused();
      this.extend(item);
      if (report.done !== undefined && report.done > item.done)
        this.store.run('UPDATE items SET done = ? WHERE id = ?', report.done, item.id);
      return { accepted: true, first: false };
    });
  }

  complete(report: WorkToken & { readonly result: WorkResult }): WorkAnswer {
    return this.answer(report, (item) => {
      if (item.state === 'completed') return { accepted: true, first: false };
      // Pending with the latest token: the lease ran out, nobody took it since, and the work is done after all.
      if (!isHeld(item.state) && item.state !== 'pending') return this.refused();
      this.store.run('UPDATE items SET result = ? WHERE id = ?', JSON.stringify(report.result), item.id);
      this.end(item, 'completed', null);
      this.note('completed', item.id);
      return { accepted: true, first: true };
    });
  }

  fail(report: WorkToken & { readonly reason: string; readonly retry: boolean }): WorkAnswer {
    return this.answer(report, (item) => {
      if (!isHeld(item.state)) return this.refused();
      if (report.retry && item.attempts < item.attempts_max) this.putBack(item, report.reason, 0, true);
      else this.end(item, 'failed', report.reason);
      this.note('failed', item.id);
      return { accepted: true, first: true };
    });
  }

  release(request: { readonly itemId: string; readonly reason: string; readonly forItemId?: string }): WorkAnswer {
    return this.change(request.itemId, (item) => {
      if (!isHeld(item.state)) return { accepted: false, first: false };
      this.putBack(item, request.reason, 1, false);
      this.note('released', item.id, { attempt: item.attempts, forItemId: request.forItemId ?? null });
      return { accepted: true, first: true };
    });
  }

  cancel(request: { readonly itemId: string; readonly reason: string }): WorkAnswer {
    return this.change(request.itemId, (item) => {
      if (item.state === 'cancelled') return { accepted: true, first: false };
      if (!isHeld(item.state) && item.state !== 'pending') return { accepted: false, first: false };
      this.end(item, 'cancelled', request.reason);
      return { accepted: true, first: true };
    });
  }

  expire(): WorkItem[] {
    const { monotonicMs } = this.now();
    this.leaseHeld();
    const due = [...this.leases].filter(([, lease]) => Math.min(lease.until, lease.timeoutAt) <= monotonicMs);
    if (due.length === 0) return [];
    return this.store.immediate(() =>
      due.flatMap(([id, lease]) => {
        const item = this.stored(id);
        if (item === undefined || !isHeld(item.state)) {
          this.leases.delete(id);
          return [];
        }
        const reason =
          lease.timeoutAt <= monotonicMs ? `ran longer than ${item.timeout_s} s` : `silent for ${item.lease_s} s`;
        if (item.attempts < item.attempts_max) this.putBack(item, reason, 0, false);
        else this.end(item, 'failed', reason);
        this.note('timed-out', item.id);
        return [{ ...itemOf(this.stored(id)!), holder: item.holder }];
      }),
    );
  }

  untold(bound: { readonly limit: number }): WorkFact[] {
    return this.store
      .all<Omit<WorkFact, 'final' | 'result'> & { readonly final: number; readonly result: string | null }>(
        `SELECT n, what, item AS itemId, kind, config, holder, token, attempt, final, reason, result, for_item AS forItemId
         FROM facts ORDER BY n LIMIT ?`,
        Math.min(bound.limit, LIST_MAX),
      )
      .map((fact) => ({
        ...fact,
        final: fact.final === 1,
        result: fact.result === null ? null : (JSON.parse(fact.result) as WorkResult),
      }));
  }

  told(upTo: { readonly n: number }): void {
    this.store.run('DELETE FROM facts WHERE n <= ?', upTo.n);
  }

  get(itemId: string): WorkItem | null {
    const stored = this.stored(itemId);
    return stored === undefined ? null : itemOf(stored);
  }

  list(filter: {
    states?: readonly WorkState[];
    kind?: WorkKind;
    config?: string;
    holder?: string;
    limit: number;
  }): WorkItem[] {
    return this.store
      .all<StoredItem>(
        `SELECT * FROM items WHERE (@states IS NULL OR state IN (SELECT value FROM json_each(@states)))
         AND (@kind IS NULL OR kind = @kind) AND (@config IS NULL OR config = @config)
         AND (@holder IS NULL OR holder = @holder) ORDER BY n DESC LIMIT @limit`,
        {
          states: filter.states === undefined ? null : JSON.stringify(filter.states),
          kind: filter.kind ?? null,
          config: filter.config ?? null,
          holder: filter.holder ?? null,
          limit: Math.min(filter.limit, LIST_MAX),
        },
      )
      .map(itemOf);
  }

  depth(): QueueDepth[] {
    return this.store.all<QueueDepth>(
      'SELECT kind, config, state, count(*) AS items, sum(games) AS games FROM items GROUP BY kind, config, state',
    );
  }

  forget(bound: { readonly keep: number }): number {
    return this.store.run(
      `DELETE FROM items WHERE closed IS NOT NULL AND closed <= (SELECT max(closed) FROM items) - ?`,
      bound.keep,
    );
  }

  close(): void {
    this.store.close();
  }

  private canPlay(offer: StoredItem, request: WorkClaim): boolean {
    const work = JSON.parse(offer.work) as WorkPayload;
    if (work.kind !== 'tournament' || request.models === undefined) return true;
    const held = new Set<string>([...request.models, ...BASELINES]);
    return work.agents.every((agent) => held.has(agent));
  }

  private answer(report: WorkToken, decide: (item: StoredItem) => Pick<WorkAnswer, 'accepted' | 'first'>): WorkAnswer {
    return this.change(report.itemId, (item) =>
      item.token === report.token && report.token > 0 ? decide(item) : this.refused(),
    );
  }

  private change(itemId: string, decide: (item: StoredItem) => Pick<WorkAnswer, 'accepted' | 'first'>): WorkAnswer {
    return this.store.immediate(() => {
      const item = this.stored(itemId);
      if (item === undefined) return { accepted: false, first: false, abandon: true, item: null };
      const { accepted, first } = decide(item);
      return { accepted, first, abandon: !accepted, item: this.get(itemId) };
    });
  }

  private refused(): Pick<WorkAnswer, 'accepted' | 'first'> {
    return { accepted: false, first: false };
  }

  /** A lease for every held item that lacks one: at open, and after a transaction that was undone. */
  private leaseHeld(): void {
    const held = this.store.all<StoredItem>("SELECT * FROM items WHERE state IN ('claimed', 'running')");
    for (const item of held) if (!this.leases.has(item.id)) this.lease(item, item.lease_s ?? 0);
  }

  private lease(item: StoredItem, leaseSeconds: number): void {
    const { monotonicMs } = this.now();
    this.leases.set(item.id, {
      until: monotonicMs + leaseSeconds * 1000,
      timeoutAt: monotonicMs + item.timeout_s * 1000,
    });
  }

  private extend(item: StoredItem): void {
    const lease = this.leases.get(item.id);
    if (lease !== undefined) lease.until = this.now().monotonicMs + (item.lease_s ?? 0) * 1000;
  }

  private putBack(item: StoredItem, reason: string, attemptsBack: number, wait: boolean): void {
    this.store.run(
      "UPDATE items SET state = 'pending', holder = NULL, lease_s = NULL, attempts = max(0, attempts - ?), reason = ? WHERE id = ?",
      attemptsBack,
      reason.slice(0, REASON_CHARACTERS),
      item.id,
    );
    this.leases.delete(item.id);
    if (!wait) return;
    const seconds = Math.min(RETRY_SECONDS_MAX, RETRY_SECONDS * 2 ** Math.max(0, item.attempts - 1));
    this.notBefore.set(item.id, this.now().monotonicMs + seconds * 1000);
  }

  private end(item: StoredItem, state: 'completed' | 'failed' | 'cancelled', reason: string | null): void {
    this.store.run(
      'UPDATE items SET state = ?, reason = ?, closed_at = ?, closed = ? WHERE id = ?',
      state,
      reason?.slice(0, REASON_CHARACTERS) ?? null,
      this.now().wallMs,
      this.count('closed'),
      item.id,
    );
    this.leases.delete(item.id);
    this.notBefore.delete(item.id);
  }

  /** Writes down what has just become of an item. */
  private note(
    what: WorkFact['what'],
    id: string,
    more: { readonly attempt?: number; readonly forItemId?: string | null } = {},
  ): void {
    this.store.run(
      `INSERT INTO facts (what, item, kind, config, holder, token, attempt, final, reason, result, for_item)
       SELECT ?, id, kind, config, claimer, token, coalesce(?, attempts), state IN ('completed', 'failed'), reason, result, ?
       FROM items WHERE id = ?`,
      what,
      more.attempt ?? null,
      more.forItemId ?? null,
      id,
    );
    this.store.run('DELETE FROM facts WHERE n <= (SELECT max(n) FROM facts) - ?', FACTS_MAX);
  }

  private count(name: 'token' | 'closed'): number {
    return this.store.get<{ value: number }>(
      'UPDATE counters SET value = value + 1 WHERE name = ? RETURNING value',
      name,
    )!.value;
  }

  private stored(id: string): StoredItem | undefined {
    return this.store.get<StoredItem>('SELECT * FROM items WHERE id = ?', id);
  }
}

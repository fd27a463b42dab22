/**
 * events.db: the log, the cursors, the dead letters, and which batches were applied.
 *
 * One connection, in the router's thread, and every write of a group commit inside one transaction: events, cursors,
 * attempts and the number of the last batch become durable together or not at all. A row is one event, so `sqlite3` shows
 * the log to a person. Events are read by topic through one index whose inserts all land on right edges. Ids that the
 * router made itself are never looked up (batch numbers already make a resend harmless); only ids chosen by publishers
 * are kept in a table of their own, for a bounded time.
 *
 * `synchronous=FULL` in WAL mode means one fdatasync of the WAL per commit: an acknowledged event survives a power cut.
 */
import Database from 'better-sqlite3';
import { newerStore, type RefusalParts, unusableStore } from './event-errors.ts';
import type { Ack, Death, Failure, LetterOutcome, StoredSubscription, SweepBounds } from './protocol.ts';
import type { AuditReport, AuditRow, DeadLetter, DeadLetterFilter } from './router-api.ts';
import type { DeclaredSubscription } from './types.ts';
import { LETTERS_CHARACTERS_MAX, SWEEP_ROWS } from './limits.ts';

export const EVENT_STORE_FORMAT = 1;
/** "MLEV": tells our file from any other SQLite database. */
const APPLICATION_ID = 0x4d4c4556;

const SCHEMA = `
  CREATE TABLE log (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    log_id TEXT NOT NULL,            -- another id: another file, and offsets of the old one mean nothing
    head INTEGER NOT NULL,           -- highest offset ever given
    host TEXT NOT NULL,              -- whose batches were applied last …
    batch INTEGER NOT NULL,          -- … and up to which number
    letters_purged INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, stored INTEGER NOT NULL) STRICT;
  CREATE TABLE events (
    offset INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    version INTEGER NOT NULL,
    id TEXT NOT NULL,
    source TEXT NOT NULL,
    published_at INTEGER NOT NULL,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX events_by_topic ON events (topic, offset);
  CREATE TABLE chosen_ids (id TEXT PRIMARY KEY, offset INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX chosen_ids_by_time ON chosen_ids (at);
  CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subscriber TEXT NOT NULL,
    topic INTEGER NOT NULL,
    external INTEGER NOT NULL,
    critical INTEGER NOT NULL,
    max_in_flight INTEGER NOT NULL,
    cursor INTEGER NOT NULL,         -- every event of the topic up to here is finished
    ahead TEXT NOT NULL,             -- JSON list: finished beyond the cursor
    base INTEGER NOT NULL,           -- events of the topic before this subscription
    handled INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    canary INTEGER NOT NULL,         -- last canary that came back
    undeclared_at INTEGER,           -- no longer declared since; kept for the retention time
    seen_at INTEGER NOT NULL,        -- external ones: last poll
    UNIQUE (subscriber, topic)
  ) STRICT;
  CREATE TABLE retries (
    subscription INTEGER NOT NULL, offset INTEGER NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (subscription, offset)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subscriber TEXT NOT NULL,
    offset INTEGER NOT NULL,
    topic TEXT NOT NULL,
    event_id TEXT NOT NULL,
    source TEXT NOT NULL,
    version INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    body TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'recovered', 'abandoned')),
    dead_at INTEGER NOT NULL,
    next_retry_at INTEGER,
    closed_at INTEGER,
    UNIQUE (subscriber, offset)
  ) STRICT;
  CREATE INDEX dead_letters_due ON dead_letters (state, next_retry_at);
  CREATE TABLE marks (at INTEGER PRIMARY KEY, head INTEGER NOT NULL) STRICT; -- how far the log had come by then
`;

/** One row of the log. */
export interface StoredEvent {
  readonly offset: number;
  readonly version: number;
  readonly id: string;
  readonly source: string;
  readonly at: number;
  readonly body: string;
}

/** A dead letter with what redelivery needs. */
export interface StoredLetter extends DeadLetter {
  readonly version: number;
}

export interface StoredTopic {
  readonly id: number;
  readonly name: string;
  stored: number;
}

/** Cannot be opened, and why; crosses to the main thread as data. */
export class StoreRefusal extends Error {
  readonly parts: RefusalParts;
  constructor(parts: RefusalParts) {
    super(parts.message);
    this.parts = parts;
  }
}

interface SubscriptionRow {
  readonly id: number;
  readonly subscriber: string;
  readonly topic: number;
  readonly name: string;
  readonly external: number;
  readonly critical: number;
  readonly max_in_flight: number;
  readonly cursor: number;
  readonly ahead: string;
  readonly base: number;
  readonly handled: number;
  readonly dead: number;
  readonly undeclared_at: number | null;
}

interface LetterRow {
  readonly id: number;
  readonly subscriber: string;
  readonly offset: number;
  readonly topic: string;
  readonly event_id: string;
  readonly source: string;
  readonly version: number;
  readonly published_at: number;
  readonly body: string;
  readonly reason: string;
  readonly attempts: number;
  readonly retries: number;
  readonly state: DeadLetter['state'];
  readonly dead_at: number;
  readonly next_retry_at: number | null;
  readonly closed_at: number | null;
}

const letterOf = (row: LetterRow): StoredLetter => ({
  id: row.id,
  subscriber: row.subscriber,
  topic: row.topic,
  offset: row.offset,
  eventId: row.event_id,
  source: row.source,
  version: row.version,
  body: JSON.parse(row.body) as unknown,
  reason: row.reason,
  attempts: row.attempts,
  retries: row.retries,
  state: row.state,
  publishedAtMs: row.published_at,
  deadAtMs: row.dead_at,
  nextRetryAtMs: row.next_retry_at,
  closedAtMs: row.closed_at,
});

/** As many as fit into one answer, and at least one. */
const lettersOf = (rows: Iterable<LetterRow>): StoredLetter[] => {
  const letters: StoredLetter[] = [];
  let characters = 0;
  for (const row of rows) {
    characters += row.body.length + row.reason.length;
    if (letters.length > 0 && characters > LETTERS_CHARACTERS_MAX) break;
    letters.push(letterOf(row));
  }
  return letters;
};

/** Rows of one INSERT: saves a third of the cost of single ones; more saves nothing. */
const ROWS_AT_ONCE = 16;
const COLUMNS = 7;

const openFile = (file: string): Database.Database => {
  let db: Database.Database | null = null;
  try {
    db = new Database(file, { timeout: 5_000 });
    const owner = db.pragma('application_id', { simple: true }) as number;
    const format = db.pragma('user_version', { simple: true }) as number;
    const tables = db.prepare<[], { n: number }>('SELECT count(*) AS n FROM sqlite_schema').get()?.n ?? 0;
    if (owner !== APPLICATION_ID && (owner !== 0 || tables > 0)) {
      throw new StoreRefusal(unusableStore(file, 'it is a database of another program'));
    }
    if (format > EVENT_STORE_FORMAT) throw new StoreRefusal(newerStore(file, format, EVENT_STORE_FORMAT));
    db.pragma('page_size = 8192'); // of a new file; measured with 256-byte events: a tenth less CPU than 4096
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.pragma('wal_autocheckpoint = 2000'); // 16 MB: at 100,000 events/s a checkpoint every half second, not every 100 ms
    db.pragma('journal_size_limit = 67108864');
    db.pragma('cache_size = -16384');
    if (format === 0) {
      const made = db;
      made.transaction(() => {
        made.exec(SCHEMA);
        made.pragma(`application_id = ${APPLICATION_ID}`);
        made.pragma(`user_version = ${EVENT_STORE_FORMAT}`);
      })();
    }
    return db;
  } catch (thrown) {
    db?.close();
    if (thrown instanceof StoreRefusal) throw thrown;
    throw new StoreRefusal(unusableStore(file, (thrown as Error).message));
  }
};

/**
 * Opens (or makes) the log. The caller brackets writes with `begin` and `commit` or `rollback`.
 * @param host      names the caller's batch numbers; numbers of another host begin anew
 * @throws StoreRefusal when the file is newer than we are, damaged, or not ours
 */
export const openStore = (file: string, host: string, newLogId: string) => {
  const db = openFile(file);
  db.prepare('INSERT OR IGNORE INTO log VALUES (1, ?, 0, ?, 0, 0)').run(newLogId, host);
  db.pragma('busy_timeout = 250'); // from here on a lock of another program is a stall that is reported, not a silence
  const log = db.prepare('SELECT log_id, head, host, batch FROM log').get() as {
    log_id: string;
    head: number;
    host: string;
    batch: number;
  };

  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  const insertEvent = db.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)');
  const insertEvents = db.prepare(
    `INSERT INTO events VALUES ${Array(ROWS_AT_ONCE).fill('(?, ?, ?, ?, ?, ?, ?)').join(', ')}`,
  );
  const insertChosenId = db.prepare('INSERT OR IGNORE INTO chosen_ids VALUES (?, ?, ?)');
  const findChosenId = db.prepare('SELECT offset FROM chosen_ids WHERE id = ?').pluck();
  const saveLog = db.prepare('UPDATE log SET head = ?, host = ?, batch = ?');
  const saveTopic = db.prepare('UPDATE topics SET stored = ? WHERE id = ?');
  const saveProgress = db.prepare(
    'UPDATE subscriptions SET cursor = max(cursor, ?), ahead = ?, handled = handled + ? WHERE id = ?',
  );
  const dropRetry = db.prepare('DELETE FROM retries WHERE subscription = ? AND offset = ?');
  const saveRetry = db.prepare('INSERT OR REPLACE INTO retries VALUES (?, ?, ?, ?)');
  const saveCanary = db.prepare('UPDATE subscriptions SET canary = ? WHERE id = ?');
  const bury = db.prepare(`
    INSERT OR IGNORE INTO dead_letters
      (subscriber, offset, topic, event_id, source, version, published_at, body, reason, attempts, retries, state, dead_at, next_retry_at)
    SELECT s.subscriber, e.offset, t.name, e.id, e.source, e.version, e.published_at, e.body, ?, ?, 0, 'pending', ?, ?
    FROM subscriptions s JOIN topics t ON t.id = s.topic JOIN events e ON e.offset = ?
    WHERE s.id = ?`);
  const countDead = db.prepare('UPDATE subscriptions SET dead = dead + 1 WHERE id = ?');
  const saveLetter = db.prepare(
    'UPDATE dead_letters SET state = ?, retries = ?, attempts = ?, reason = ?, next_retry_at = ?, closed_at = ? WHERE id = ?',
  );
  const pageOfTopic = db.prepare(
    'SELECT offset, version, id, source, published_at AS at, body FROM events WHERE topic = ? AND offset > ? ORDER BY offset LIMIT ?',
  );
  const newestEvents = db.prepare('SELECT offset, id FROM events ORDER BY offset DESC LIMIT ?');
  const retriesOf = db.prepare('SELECT offset, attempts, reason FROM retries WHERE subscription = ?');
  const allSubscriptions = db.prepare(
    'SELECT s.*, t.name FROM subscriptions s JOIN topics t ON t.id = s.topic ORDER BY s.id',
  );
  const upsertSubscription = db.prepare(`
    INSERT INTO subscriptions (subscriber, topic, external, critical, max_in_flight, cursor, ahead, base, handled, dead, canary, seen_at)
    VALUES (@subscriber, @topic, @external, @critical, @maxInFlight, @head, '[]', @base, 0, 0, 0, @at)
    ON CONFLICT (subscriber, topic) DO UPDATE SET
      critical = excluded.critical, max_in_flight = excluded.max_in_flight, undeclared_at = NULL, seen_at = excluded.seen_at`);

  const topics = new Map<string, StoredTopic>();
  const readTopics = (): void => {
    topics.clear();
    for (const row of db.prepare('SELECT id, name, stored FROM topics').all() as StoredTopic[])
      topics.set(row.name, row);
  };
  readTopics();

  let head = log.head;
  /** Columns of events not inserted yet, row after row. */
  let gathered: (number | string)[] = [];
  let lettersPending = db.prepare("SELECT count(*) FROM dead_letters WHERE state = 'pending'").pluck().get() as number;
  let retained = db.prepare('SELECT count(*) FROM events').pluck().get() as number;
  const recountLetters = (): void => {
    lettersPending = db.prepare("SELECT count(*) FROM dead_letters WHERE state = 'pending'").pluck().get() as number;
  };

  const inTransaction = <Result>(work: () => Result): Result => {
    begin.run();
    try {
      const result = work();
      commit.run();
      return result;
    } catch (thrown) {
      if (db.inTransaction) rollback.run();
      throw thrown;
    }
  };

  const storedSubscription = (row: SubscriptionRow): StoredSubscription => ({
    id: row.id,
    subscriber: row.subscriber,
    topic: row.name,
    external: row.external === 1,
    critical: row.critical === 1,
    maxInFlight: row.max_in_flight,
    declared: row.undeclared_at === null,
    cursor: row.cursor,
    ahead: JSON.parse(row.ahead) as number[],
    base: row.base,
    handled: row.handled,
    dead: row.dead,
    attempts: (retriesOf.all(row.id) as { offset: number; attempts: number; reason: string }[]).map(
      (retry) => [retry.offset, retry.attempts, retry.reason] as const,
    ),
  });

  const store = {
    logId: log.log_id,
    topics: topics as ReadonlyMap<string, StoredTopic>,
    head: (): number => head,
    retained: (): number => retained,
    deadLettersPending: (): number => lettersPending,
    /** The last batch of this host that is durable; 0 when the file was last written by another host. */
    lastBatch: (): number => (log.host === host ? log.batch : 0),

    begin: (): void => void begin.run(),
    commit: (): void => void commit.run(),
    rollback(): void {
      gathered = [];
      if (db.inTransaction) rollback.run();
    },

    /** Takes over what a commit made true; the caller computed it while writing. */
    advanced(newHead: number, batch: number, added: number): void {
      head = newHead;
      log.host = host;
      log.batch = batch;
      retained += added;
    },
    saveLog: (newHead: number, batch: number): void => void saveLog.run(newHead, host, batch),
    saveTopic: (topic: number, stored: number): void => void saveTopic.run(stored, topic),

    /** Adds an event to the transaction; it is in the table after `flushEvents` at the latest. */
    addEvent(
      offset: number,
      topic: number,
      version: number,
      id: string,
      source: string,
      at: number,
      body: string,
    ): void {
      gathered.push(offset, topic, version, id, source, at, body);
      if (gathered.length < ROWS_AT_ONCE * COLUMNS) return;
      insertEvents.run(gathered);
      gathered = [];
    },
    flushEvents(): void {
      for (let at = 0; at < gathered.length; at += COLUMNS) insertEvent.run(gathered.slice(at, at + COLUMNS));
      gathered = [];
    },

    /** Remembers an id chosen by a publisher; returns the offset stored under it before, or null when it is new. */
    claimId(id: string, offset: number, at: number): number | null {
      return insertChosenId.run(id, offset, at).changes === 1 ? null : (findChosenId.get(id) as number);
    },

    /** The offset stored under an id chosen by a publisher, or null. */
    offsetOfId: (id: string): number | null => (findChosenId.get(id) as number | undefined) ?? null,

    /** Ids and offsets of the newest events: what a resent batch may already have stored. */
    newest: (count: number): { offset: number; id: string }[] =>
      newestEvents.all(count) as { offset: number; id: string }[],

    saveAck(ack: Ack): void {
      saveProgress.run(ack.cursor, JSON.stringify(ack.ahead), ack.handled, ack.subscription);
      for (const offset of ack.forget) dropRetry.run(ack.subscription, offset);
    },
    saveFailure: (failure: Failure): void =>
      void saveRetry.run(failure.subscription, failure.offset, failure.attempts, failure.reason),
    saveDeath(death: Death): void {
      const { subscription, offset, attempts, reason, at, nextRetryAt } = death;
      if (bury.run(reason, attempts, at, nextRetryAt, offset, subscription).changes === 1) countDead.run(subscription);
      dropRetry.run(subscription, offset);
    },
    saveLetter(outcome: LetterOutcome): void {
      const closedAt = outcome.state === 'pending' ? null : outcome.at;
      saveLetter.run(
        outcome.state,
        outcome.retries,
        outcome.attempts,
        outcome.reason,
        outcome.nextRetryAt,
        closedAt,
        outcome.letter,
      );
    },
    recountLetters,
    saveCanary: (subscription: number, nonce: number): void => void saveCanary.run(nonce, subscription),

    page: (topic: number, after: number, max: number): StoredEvent[] =>
      pageOfTopic.all(topic, after, max) as StoredEvent[],

    subscriptions: (): StoredSubscription[] => (allSubscriptions.all() as SubscriptionRow[]).map(storedSubscription),

    /** Makes the topics of the catalogue known. */
    registerTopics(names: readonly string[]): void {
      const add = db.prepare('INSERT OR IGNORE INTO topics (name, stored) VALUES (?, 0)');
      inTransaction(() => names.forEach((name) => add.run(name)));
      readTopics();
    },

    /** Makes the declared set true: new ones begin at the head, ones no longer declared are marked and kept for a while. */
    declare(subscriptions: readonly DeclaredSubscription[], at: number): void {
      const mark = db.prepare('UPDATE subscriptions SET undeclared_at = coalesce(undeclared_at, ?) WHERE external = 0');
      inTransaction(() => {
        mark.run(at);
        for (const { subscriber, topic, critical, maxInFlight } of subscriptions) {
          const { id, stored } = topics.get(topic)!;
          upsertSubscription.run({
            subscriber,
            topic: id,
            external: 0,
            critical: critical ? 1 : 0,
            maxInFlight,
            head,
            base: stored,
            at,
          });
        }
      });
    },
    subscribeExternal(subscriber: string, names: readonly string[], at: number, maxInFlight: number): void {
      inTransaction(() => {
        for (const name of names) {
          const { id, stored } = topics.get(name)!;
          upsertSubscription.run({
            subscriber,
            topic: id,
            external: 1,
            critical: 0,
            maxInFlight,
            head,
            base: stored,
            at,
          });
        }
      });
    },
    unsubscribeExternal(subscriber: string): number {
      return inTransaction(() => {
        db.prepare(
          'DELETE FROM retries WHERE subscription IN (SELECT id FROM subscriptions WHERE subscriber = ? AND external = 1)',
        ).run(subscriber);
        return db.prepare('DELETE FROM subscriptions WHERE subscriber = ? AND external = 1').run(subscriber).changes;
      });
    },
    seenExternal: (subscriber: string, at: number): void =>
      void db.prepare('UPDATE subscriptions SET seen_at = ? WHERE subscriber = ? AND external = 1').run(at, subscriber),

    deadLetters(filter: DeadLetterFilter): StoredLetter[] {
      return lettersOf(
        db
          .prepare(
            `SELECT * FROM dead_letters WHERE (@state IS NULL OR state = @state) AND (@subscriber IS NULL OR subscriber = @subscriber)
             ORDER BY id LIMIT @max`,
          )
          .iterate({
            state: filter.state ?? null,
            subscriber: filter.subscriber ?? null,
            max: filter.max ?? 100,
          }) as Iterable<LetterRow>,
      );
    },
    lettersDue: (at: number, max: number): StoredLetter[] =>
      lettersOf(
        db
          .prepare(
            "SELECT * FROM dead_letters WHERE state = 'pending' AND next_retry_at <= ? ORDER BY next_retry_at LIMIT ?",
          )
          .iterate(at, max) as Iterable<LetterRow>,
      ),
    lettersById: (ids: readonly number[]): StoredLetter[] =>
      lettersOf(
        db
          .prepare('SELECT * FROM dead_letters WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id')
          .iterate(JSON.stringify(ids)) as Iterable<LetterRow>,
      ),
    purgeLetters(closedBefore: number): number {
      return inTransaction(() => {
        const purged = db
          .prepare("DELETE FROM dead_letters WHERE state <> 'pending' AND closed_at < ?")
          .run(closedBefore).changes;
        db.prepare('UPDATE log SET letters_purged = letters_purged + ?').run(purged);
        return purged;
      });
    },

    /** The books of every subscription; pending is counted from the rows themselves. */
    audit(): AuditReport {
      const count = db.prepare('SELECT count(*) FROM events WHERE topic = ? AND offset > ?').pluck();
      const rows = (allSubscriptions.all() as SubscriptionRow[]).map((row): AuditRow => {
        const published = topics.get(row.name)!.stored - row.base;
        const ahead = (JSON.parse(row.ahead) as number[]).length;
        const pending = (count.get(row.topic, row.cursor) as number) - ahead;
        const lost = published - row.handled - pending - row.dead;
        return {
          subscriber: row.subscriber,
          topic: row.name,
          published,
          handled: row.handled,
          pending,
          deadLettered: row.dead,
          lost,
        };
      });
      return { rows, lost: rows.reduce((sum, row) => sum + Math.abs(row.lost), 0) };
    },

    /**
     * Deletes what every subscription has passed and what is old or too much, at most SWEEP_ROWS rows at a time.
     * @returns rows deleted, and whether more could go at once
     */
    sweep(bounds: SweepBounds): { readonly deleted: number; readonly more: boolean; readonly forgotten: number } {
      return inTransaction(() => {
        const old = bounds.at - bounds.retentionMs;
        db.prepare('INSERT OR REPLACE INTO marks VALUES (?, ?)').run(bounds.at, head);
        const byAge = (db.prepare('SELECT max(head) FROM marks WHERE at <= ?').pluck().get(old) as number | null) ?? 0;
        db.prepare('DELETE FROM marks WHERE at < (SELECT max(at) FROM marks WHERE at <= ?)').run(old);
        const cutoff = Math.max(byAge, head - bounds.retainedEvents);
        db.prepare('DELETE FROM chosen_ids WHERE at < ?').run(bounds.at - bounds.dedupMs);
        const forgotten = db
          .prepare(
            'DELETE FROM subscriptions WHERE (external = 0 AND undeclared_at < ?) OR (external = 1 AND seen_at < ?)',
          )
          .run(old, bounds.at - bounds.externalIdleMs).changes;
        if (forgotten > 0) db.exec('DELETE FROM retries WHERE subscription NOT IN (SELECT id FROM subscriptions)');

        const floors = new Map<number, number>();
        const rows = db.prepare('SELECT topic, min(cursor) AS floor FROM subscriptions GROUP BY topic').all();
        for (const row of rows as { topic: number; floor: number }[]) floors.set(row.topic, row.floor);
        const remove = db.prepare(
          'DELETE FROM events WHERE offset IN (SELECT offset FROM events WHERE topic = ? AND offset <= ? ORDER BY offset LIMIT ?)',
        );
        let deleted = 0;
        for (const topic of topics.values()) {
          if (deleted >= SWEEP_ROWS) break;
          const upTo = Math.min(cutoff, floors.get(topic.id) ?? head);
          if (upTo > 0) deleted += remove.run(topic.id, upTo, SWEEP_ROWS - deleted).changes;
        }
        retained -= deleted;
        return { deleted, more: deleted >= SWEEP_ROWS, forgotten };
      });
    },

    /** Folds the WAL into the file and closes it. */
    close(): void {
      try {
        db.pragma('wal_checkpoint(TRUNCATE)');
      } finally {
        db.close();
      }
    },
  };
  return store;
};

export type EventStore = ReturnType<typeof openStore>;

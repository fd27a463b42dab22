/**
 * Where the loop of each config is, and what it has made on the way: iterations, exports, shards.
 *
 * A stage only moves forward, and only from where it is: `advance` is compare and set, so events may come late, twice or
 * out of order. Exports of a config tile its games: one open at a time, each from where the last ended, named by where it
 * begins. A crashed export is therefore the same export when it is tried again, with the same file name.
 */
import { STAGES, type ExportRange, type Iteration, type Shard, type Stage } from '../floor.ts';
import type { ExportResult } from '../programs/protocol.ts';
import { Store, type ReadNow, type Schema } from './database.ts';
import { floorConflict, floorInputInvalid } from './faults.ts';

const SCHEMA: Schema = [
  `
  CREATE TABLE iterations (
    config    TEXT NOT NULL,
    iteration INTEGER NOT NULL,
    stage     TEXT NOT NULL,
    artefacts TEXT NOT NULL,               -- JSON
    PRIMARY KEY (config, iteration)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX iterations_open ON iterations (config) WHERE stage <> 'done';
  CREATE TABLE failures (config TEXT NOT NULL, key TEXT NOT NULL, iteration INTEGER NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (config, key)) STRICT, WITHOUT ROWID;
  CREATE TABLE exports (
    id        TEXT PRIMARY KEY,
    config    TEXT NOT NULL,
    after_seq INTEGER NOT NULL,
    upto_seq  INTEGER NOT NULL,
    games     INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    failure   TEXT,
    state     TEXT NOT NULL CHECK (state IN ('open', 'done')),
    file      TEXT NOT NULL,
    UNIQUE (config, after_seq)
  ) STRICT;
  -- The lock: a config has one export under way, whatever crashes.
  CREATE UNIQUE INDEX exports_open ON exports (config) WHERE state = 'open';
  CREATE TABLE shards (
    n        INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    config   TEXT NOT NULL,
    file     TEXT NOT NULL,
    sha256   TEXT NOT NULL,
    bytes    INTEGER NOT NULL,
    games    INTEGER NOT NULL,
    rows     INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    at       REAL NOT NULL,
    seen_by  INTEGER NOT NULL DEFAULT 0,
    retired  INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX shards_config ON shards (config, n);
  CREATE TABLE seen (shard TEXT NOT NULL, model TEXT NOT NULL, PRIMARY KEY (shard, model)) STRICT, WITHOUT ROWID;
  `,
];

/** Failures kept per config, so that their keys are known again; far more than one stage can gather. */
const FAILURES_MAX = 500;
const REASON_CHARACTERS = 2000;

interface StoredIteration {
  readonly config: string;
  readonly iteration: number;
  readonly stage: Stage;
  readonly artefacts: string;
}

interface StoredExport {
  readonly id: string;
  readonly config: string;
  readonly after_seq: number;
  readonly upto_seq: number;
  readonly games: number;
  readonly attempts: number;
  readonly failure: string | null;
  readonly state: 'open' | 'done';
  readonly file: string;
}

interface StoredShard {
  readonly id: string;
  readonly config: string;
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly games: number;
  readonly rows: number;
  readonly last_seq: number;
  readonly at: number;
  readonly seen_by: number;
  readonly retired: number;
}

const exportOf = (stored: StoredExport): ExportRange => ({
  exportId: stored.id,
  config: stored.config,
  afterSeq: stored.after_seq,
  upToSeq: stored.upto_seq,
  games: stored.games,
  attempts: stored.attempts,
  lastFailure: stored.failure,
  state: stored.state,
  shardFile: stored.file,
});

const shardOf = (stored: StoredShard): Shard => ({
  shardId: stored.id,
  config: stored.config,
  file: stored.file,
  sha256: stored.sha256,
  bytes: stored.bytes,
  games: stored.games,
  rows: stored.rows,
  lastSeq: stored.last_seq,
  atMs: stored.at,
  seenBy: stored.seen_by,
  retired: stored.retired === 1,
});

/** The next at most `limit` games after a number: the canonical store answers. */
export type Stretch = (
  config: string,
  after: number,
  limit: number,
) => { readonly games: number; readonly lastSeq: number };

export class PipelineStore {
  readonly store: Store;
  private readonly now: ReadNow;
  private readonly openedAt: number;
  /** Monotonic milliseconds, one per config: when its stage was entered, and until when its breaker is open. */
  private readonly enteredAt = new Map<string, number>();
  private readonly breakerUntil = new Map<string, number>();

  constructor(file: string, now: ReadNow) {
    this.now = now;
    this.openedAt = now().monotonicMs;
    this.store = new Store(file, SCHEMA);
  }

  // -------------------------------------------------------------------------------------------------------- iterations

  current(config: string): Iteration {
    return this.store.immediate(() => this.open(config) ?? this.begin(config, 1));
  }

  list(): Iteration[] {
    return this.store
      .all<StoredIteration>("SELECT * FROM iterations WHERE stage <> 'done' ORDER BY config")
      .map((stored) => this.iterationOf(stored));
  }

  advance(step: {
    readonly config: string;
    readonly iteration: number;
    readonly from: Stage;
    readonly to: Stage;
    readonly artefacts?: Readonly<Record<string, string | number>>;
  }): { advanced: boolean; row: Iteration } {
    if (STAGES.indexOf(step.to) <= STAGES.indexOf(step.from))
      throw floorInputInvalid(`an iteration cannot go from ${step.from} to ${step.to}`, { ...step });
    return this.store.immediate(() => {
      const present = this.current(step.config);
      if (present.iteration !== step.iteration || present.stage !== step.from) return { advanced: false, row: present };
      this.store.run(
        'UPDATE iterations SET stage = ?, artefacts = json_patch(artefacts, ?) WHERE config = ? AND iteration = ?',
        step.to,
        JSON.stringify(step.artefacts ?? {}),
        step.config,
        step.iteration,
      );
      this.enteredAt.set(step.config, this.now().monotonicMs);
      this.breakerUntil.delete(step.config);
      return {
        advanced: true,
        row: step.to === 'done' ? this.begin(step.config, step.iteration + 1) : this.open(step.config)!,
      };
    });
  }

  fail(failure: {
    readonly config: string;
    readonly key: string;
    readonly reason: string;
    readonly breakerFailures: number;
    readonly breakerSeconds: number;
  }): Iteration {
    return this.store.immediate(() => {
      const { config, iteration, stage } = this.current(failure.config);
      const added = this.store.run(
        'INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
        config,
        failure.key,
        iteration,
        stage,
        failure.reason.slice(0, REASON_CHARACTERS),
        this.now().wallMs,
      );
      if (added === 1) {
        this.store.run(
          'DELETE FROM failures WHERE config = ? AND key NOT IN (SELECT key FROM failures WHERE config = ? ORDER BY at DESC LIMIT ?)',
          config,
          config,
          FAILURES_MAX,
        );
        const { failures } = this.open(config)!;
        // Each further failure while the stage stands opens it again: only progress or quiet closes it.
        if (failures >= failure.breakerFailures)
          this.breakerUntil.set(config, this.now().monotonicMs + failure.breakerSeconds * 1000);
      }
      return this.open(config)!;
    });
  }

  // ----------------------------------------------------------------------------------------------------------- exports

  /** Last game that an export covers; where the next one begins. */
  exportedSeq(config: string): number {
    return (
      this.store.get<{ last: number | null }>(
        "SELECT max(upto_seq) AS last FROM exports WHERE config = ? AND state = 'done'",
        config,
      )!.last ?? 0
    );
  }

  openExport(
    request: { readonly config: string; readonly gamesMin: number; readonly gamesMax: number },
    stretch: Stretch,
    fileOf: (exportId: string) => string,
  ): ExportRange | null {
    return this.store.immediate(() => {
      const open = this.store.get<StoredExport>(
        "SELECT * FROM exports WHERE config = ? AND state = 'open'",
        request.config,
      );
      if (open !== undefined) return exportOf(open);
      const after = this.exportedSeq(request.config);
      const { games, lastSeq } = stretch(request.config, after, request.gamesMax);
      if (games === 0 || games < request.gamesMin) return null;
      const id = `${request.config}-e${after}`;
      this.store.run(
        "INSERT INTO exports VALUES (?, ?, ?, ?, ?, 0, NULL, 'open', ?)",
        id,
        request.config,
        after,
        lastSeq,
        games,
        fileOf(id),
      );
      return exportOf(this.storedExport(id)!);
    });
  }

  openExports(): ExportRange[] {
    return this.store.all<StoredExport>("SELECT * FROM exports WHERE state = 'open' ORDER BY config").map(exportOf);
  }

  /** @param faultOf  reads the shard again: null when its bytes have this size and hash, else the fault in words */
  completeExport(
    result: Extract<ExportResult, { ok: true }>,
    faultOf: (file: string, sha256: string, bytes: number) => string | null,
  ): Shard {
    return this.store.immediate(() => {
      const known = this.byId([result.jobId])[0];
      if (known !== undefined) return known;
      const range = this.exportOrThrow(result.jobId);
      if (result.lastSeq <= range.after_seq || result.lastSeq > range.upto_seq)
        throw floorInputInvalid(
          `the result of ${range.id} says it came to game ${result.lastSeq}, outside ${range.after_seq}..${range.upto_seq}`,
          { exportId: range.id, lastSeq: result.lastSeq },
        );
      const fault = faultOf(result.shardFile, result.sha256, result.bytes);
      if (fault !== null)
        throw floorConflict(`the shard of ${range.id}: ${fault}`, { exportId: range.id, file: result.shardFile });
      this.store.run(
        "UPDATE exports SET state = 'done', upto_seq = ?, games = ?, failure = NULL WHERE id = ?",
        result.lastSeq,
        result.games,
        range.id,
      );
      this.store.run(
        'INSERT INTO shards (id, config, file, sha256, bytes, games, rows, last_seq, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
        range.id,
        range.config,
        result.shardFile,
        result.sha256,
        result.bytes,
        result.games,
        result.rows,
        result.lastSeq,
        this.now().wallMs,
      );
      return this.byId([range.id])[0]!;
    });
  }

  failExport(failure: { readonly exportId: string; readonly reason: string }): ExportRange {
    return this.store.immediate(() => {
      this.exportOrThrow(failure.exportId);
      this.store.run(
        "UPDATE exports SET attempts = attempts + 1, failure = ? WHERE id = ? AND state = 'open'",
        failure.reason.slice(0, REASON_CHARACTERS),
        failure.exportId,
      );
      return exportOf(this.storedExport(failure.exportId)!);
    });
  }

  // ------------------------------------------------------------------------------------------------------------ shards

  unseen(config: string): { shards: Shard[]; rows: number } {
    const shards = this.store
      .all<StoredShard>('SELECT * FROM shards WHERE config = ? AND seen_by = 0 AND retired = 0 ORDER BY n', config)
      .map(shardOf);
    return { shards, rows: shards.reduce((sum, shard) => sum + shard.rows, 0) };
  }

  window(config: string, bound: { readonly shards: number }): Shard[] {
    return this.store
      .all<StoredShard>(
        'SELECT * FROM shards WHERE config = ? AND retired = 0 ORDER BY n DESC LIMIT ?',
        config,
        bound.shards,
      )
      .map(shardOf)
      .reverse();
  }

  byId(shardIds: readonly string[]): Shard[] {
    return this.store
      .all<StoredShard>(
        'SELECT * FROM shards WHERE id IN (SELECT value FROM json_each(?)) ORDER BY n',
        JSON.stringify(shardIds),
      )
      .map(shardOf);
  }

  markSeen(use: { readonly modelId: string; readonly shardIds: readonly string[] }): void {
    this.store.immediate(() => {
      for (const shardId of use.shardIds)
        if (this.store.run('INSERT INTO seen VALUES (?, ?) ON CONFLICT DO NOTHING', shardId, use.modelId) === 1)
          this.store.run('UPDATE shards SET seen_by = seen_by + 1 WHERE id = ?', shardId);
    });
  }

  /** @param remove  deletes the file; the row is marked only after it is gone, and a repeat finds nothing to delete */
  retire(bound: { readonly config: string; readonly keep: number }, remove: (file: string) => void): number {
    const old = this.store.all<StoredShard>(
      `SELECT * FROM shards WHERE config = @config AND retired = 0 AND seen_by > 0
       AND n NOT IN (SELECT n FROM shards WHERE config = @config AND retired = 0 ORDER BY n DESC LIMIT @keep) ORDER BY n`,
      { config: bound.config, keep: bound.keep },
    );
    for (const shard of old) {
      remove(shard.file);
      this.store.run('UPDATE shards SET retired = 1 WHERE id = ?', shard.id);
    }
    return old.length;
  }

  counts(config: string): { shards: number; rows: number } {
    return this.store.get<{ shards: number; rows: number }>(
      'SELECT count(*) AS shards, coalesce(sum(rows), 0) AS rows FROM shards WHERE config = ?',
      config,
    )!;
  }

  onDisk(config: string): Shard[] {
    return this.store
      .all<StoredShard>('SELECT * FROM shards WHERE config = ? AND retired = 0 ORDER BY n', config)
      .map(shardOf);
  }

  close(): void {
    this.store.close();
  }

  // ---------------------------------------------------------------------------------------------------------- private

  private open(config: string): Iteration | null {
    const stored = this.store.get<StoredIteration>(
      "SELECT * FROM iterations WHERE config = ? AND stage <> 'done'",
      config,
    );
    return stored === undefined ? null : this.iterationOf(stored);
  }

  private begin(config: string, iteration: number): Iteration {
    this.store.run("INSERT INTO iterations VALUES (?, ?, 'selfplay', '{}')", config, iteration);
    this.enteredAt.set(config, this.now().monotonicMs);
    return this.open(config)!;
  }

  private iterationOf(stored: StoredIteration): Iteration {
    const { monotonicMs } = this.now();
    const { failures, last } = this.store.get<{ failures: number; last: string | null }>(
      `SELECT count(*) AS failures, (SELECT reason FROM failures WHERE config = @config AND iteration = @iteration AND stage = @stage ORDER BY at DESC LIMIT 1) AS last
       FROM failures WHERE config = @config AND iteration = @iteration AND stage = @stage`,
      { config: stored.config, iteration: stored.iteration, stage: stored.stage },
    )!;
    return {
      config: stored.config,
      iteration: stored.iteration,
      stage: stored.stage,
      stageSeconds: (monotonicMs - (this.enteredAt.get(stored.config) ?? this.openedAt)) / 1000,
      artefacts: JSON.parse(stored.artefacts) as Record<string, string | number>,
      failures,
      lastFailure: last,
      breakerSeconds: Math.max(0, ((this.breakerUntil.get(stored.config) ?? 0) - monotonicMs) / 1000),
    };
  }

  private storedExport(id: string): StoredExport | undefined {
    return this.store.get<StoredExport>('SELECT * FROM exports WHERE id = ?', id);
  }

  private exportOrThrow(id: string): StoredExport {
    const stored = this.storedExport(id);
    if (stored === undefined) throw floorInputInvalid(`there is no export ${id}`, { exportId: id });
    return stored;
  }
}

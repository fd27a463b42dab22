/**
 * What the loop learned about itself: signals, the parameters made of them, what to play where, and data quality.
 *
 * Everything here steers and nothing here is a result, so it would be tempting to keep it in memory. Upstream did, lost it
 * at each restart, and promoted and overwrote again because of it (production lesson 13).
 */
import type { Allocation, FeedbackParameters, QualityState } from '../floor.ts';
import { Store, type ReadNow, type Schema } from './database.ts';
import { floorInputInvalid } from './faults.ts';

const SCHEMA: Schema = [
  `
  CREATE TABLE signals (
    n      INTEGER PRIMARY KEY AUTOINCREMENT,
    key    TEXT NOT NULL,
    config TEXT NOT NULL,
    signal TEXT NOT NULL,
    value  REAL NOT NULL,
    at     REAL NOT NULL,
    UNIQUE (config, signal, key)
  ) STRICT;
  CREATE INDEX signals_kind ON signals (config, signal, n);
  CREATE TABLE parameters (config TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
  CREATE TABLE allocations (version INTEGER PRIMARY KEY, body TEXT NOT NULL, at REAL NOT NULL) STRICT;
  CREATE TABLE quality (config TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
  `,
];

const SIGNALS_MAX = 500;
const ALLOCATIONS_MAX = 100;
/** Games after which an old verdict weighs half; about one quick iteration. Chosen. */
const QUALITY_HALF_LIFE_GAMES = 500;

/** What a config gets before anything is known about it. */
const defaults = (config: string): FeedbackParameters => ({
  config,
  version: 0,
  intensity: 'normal',
  explorationBoost: 1,
  weight: 1,
  level: 0,
  reasons: [],
});

const NO_ALLOCATION: Allocation = { version: 0, targets: [], quotas: [] };

/** A row of parameters in one order of keys, so that equal values are equal text. */
const bodyOf = ({ intensity, explorationBoost, weight, level, reasons }: Omit<FeedbackParameters, 'version'>): string =>
  JSON.stringify({ intensity, explorationBoost, weight, level, reasons });

const allocationBody = ({ targets, quotas }: Pick<Allocation, 'targets' | 'quotas'>): string =>
  JSON.stringify({
    targets: targets.map(({ config, games, exploration, opponents }) => ({
      config,
      games,
      exploration,
      opponents: opponents.map(({ agent, weight }) => ({ agent, weight })),
    })),
    quotas: quotas.map(({ config, nodeId, games }) => ({ config, nodeId, games })),
  });

export class SignalStore {
  readonly store: Store;
  private readonly now: ReadNow;

  constructor(file: string, now: ReadNow) {
    this.now = now;
    this.store = new Store(file, SCHEMA);
  }

  record(signal: { readonly key: string; readonly config: string; readonly signal: string; readonly value: number }): {
    first: boolean;
  } {
    if (!Number.isFinite(signal.value))
      throw floorInputInvalid(`signal ${signal.signal} of ${signal.config} is ${signal.value}`, { ...signal });
    return this.store.immediate(() => {
      const added = this.store.run(
        'INSERT INTO signals (key, config, signal, value, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
        signal.key,
        signal.config,
        signal.signal,
        signal.value,
        this.now().wallMs,
      );
      if (added === 1)
        this.store.run(
          `DELETE FROM signals WHERE config = @config AND signal = @signal AND n <= (SELECT n FROM signals WHERE config = @config
           AND signal = @signal ORDER BY n DESC LIMIT 1 OFFSET @keep)`,
          { config: signal.config, signal: signal.signal, keep: SIGNALS_MAX },
        );
      return { first: added === 1 };
    });
  }

  signals(
    config: string,
    filter: { readonly signal: string; readonly limit: number },
  ): { value: number; atMs: number }[] {
    return this.store.all(
      'SELECT value, at AS atMs FROM signals WHERE config = ? AND signal = ? ORDER BY n DESC LIMIT ?',
      config,
      filter.signal,
      filter.limit,
    );
  }

  parameters(config: string): FeedbackParameters {
    const stored = this.store.get<{ version: number; body: string }>(
      'SELECT version, body FROM parameters WHERE config = ?',
      config,
    );
    if (stored === undefined) return defaults(config);
    return {
      ...defaults(config),
      ...(JSON.parse(stored.body) as Partial<FeedbackParameters>),
      version: stored.version,
    };
  }

  allParameters(): FeedbackParameters[] {
    return this.store
      .all<{ config: string }>('SELECT config FROM parameters UNION SELECT config FROM signals ORDER BY config')
      .map(({ config }) => this.parameters(config));
  }

  save(next: Omit<FeedbackParameters, 'version'>): {
    parameters: FeedbackParameters;
    previous: FeedbackParameters;
    changed: boolean;
  } {
    return this.store.immediate(() => {
      const previous = this.parameters(next.config);
      if (bodyOf(previous) === bodyOf(next)) return { parameters: previous, previous, changed: false };
      this.store.run(
        'INSERT INTO parameters VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version, body = excluded.body',
        next.config,
        previous.version + 1,
        bodyOf(next),
      );
      return { parameters: this.parameters(next.config), previous, changed: true };
    });
  }

  allocation(): Allocation {
    return this.allocationAt(0);
  }

  /** @param back  0 for the newest, 1 for the one before it */
  allocationAt(back: 0 | 1): Allocation {
    const stored = this.store.get<{ version: number; body: string }>(
      'SELECT version, body FROM allocations ORDER BY version DESC LIMIT 1 OFFSET ?',
      back,
    );
    if (stored === undefined) return NO_ALLOCATION;
    return { version: stored.version, ...(JSON.parse(stored.body) as Pick<Allocation, 'targets' | 'quotas'>) };
  }

  allocate(rows: Pick<Allocation, 'targets' | 'quotas'>): {
    allocation: Allocation;
    previous: Allocation;
    changed: boolean;
  } {
    return this.store.immediate(() => {
      const previous = this.allocation();
      const body = allocationBody(rows);
      if (body === allocationBody(previous)) return { allocation: previous, previous, changed: false };
      const version = previous.version + 1;
      this.store.run('INSERT INTO allocations VALUES (?, ?, ?)', version, body, this.now().wallMs);
      this.store.run('DELETE FROM allocations WHERE version <= ?', version - ALLOCATIONS_MAX);
      return { allocation: this.allocation(), previous, changed: true };
    });
  }

  judge(verdict: {
    readonly config: string;
    readonly afterSeq: number;
    readonly lastSeq: number;
    readonly games: number;
    readonly score: number;
    readonly parts: Readonly<Record<string, number>>;
  }): { state: QualityState; previous: QualityState | null; first: boolean } {
    if (!(verdict.score >= 0 && verdict.score <= 1) || verdict.games <= 0 || verdict.lastSeq <= verdict.afterSeq)
      throw floorInputInvalid(`a verdict of ${verdict.score} on ${verdict.games} games of ${verdict.config}`, {
        ...verdict,
      });
    return this.store.immediate(() => {
      const previous = this.quality(verdict.config);
      if (previous !== null && verdict.lastSeq <= previous.seq) return { state: previous, previous, first: false };
      const old = previous === null ? 0 : 0.5 ** (verdict.games / QUALITY_HALF_LIFE_GAMES);
      const state: QualityState = {
        config: verdict.config,
        score: old * (previous?.score ?? 0) + (1 - old) * verdict.score,
        last: verdict.score,
        parts: verdict.parts,
        games: (previous?.games ?? 0) + verdict.games,
        seq: verdict.lastSeq,
      };
      this.store.run(
        'INSERT INTO quality VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body',
        verdict.config,
        JSON.stringify(state),
      );
      return { state, previous, first: true };
    });
  }

  quality(config: string): QualityState | null {
    const stored = this.store.get<{ body: string }>('SELECT body FROM quality WHERE config = ?', config);
    return stored === undefined ? null : (JSON.parse(stored.body) as QualityState);
  }

  close(): void {
    this.store.close();
  }
}

/**
 * Models, their evaluations, the decisions on them, and the champion of each config.
 *
 * One file, because they change together: a result makes a model evaluated, a promotion archives one champion and sets the
 * next, and neither may be half done. Evaluation and decision share an id, `<model>.vs.<champion>`: a verdict is about
 * one pair. If the champion changed while a verdict was under way, the verdict is about a pair that no longer meets, and
 * the promotion is refused rather than guessed. The champion moves in exactly one method.
 */
import type { Decision, Evaluation, Model, ModelState, Promotion, PromotionOutcome } from '../floor.ts';
import { evaluationRow, type EvaluationRow } from '../programs/protocol.ts';
import { Store, type ReadNow, type Schema } from './database.ts';
import { floorConflict, floorInputInvalid } from './faults.ts';
import { z } from 'zod';

const SCHEMA: Schema = [
  `
  CREATE TABLE reserved (config TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (config, key), UNIQUE (config, number)) STRICT;
  CREATE TABLE models (
    id         TEXT PRIMARY KEY,
    n          INTEGER NOT NULL UNIQUE,     -- order of registration
    config     TEXT NOT NULL,
    number     INTEGER NOT NULL,
    parent     TEXT,
    sha256     TEXT NOT NULL,
    file       TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('candidate', 'evaluated', 'promoted', 'archived', 'rejected')),
    rows       INTEGER NOT NULL,
    steps      INTEGER NOT NULL,
    loss       REAL NOT NULL,
    seconds    REAL NOT NULL,
    created_at REAL NOT NULL
  ) STRICT;
  CREATE INDEX models_config ON models (config, n);
  -- The registry itself refuses a second champion.
  CREATE UNIQUE INDEX models_champion ON models (config) WHERE state = 'promoted';
  CREATE TABLE evaluations (
    id       TEXT PRIMARY KEY,
    n        INTEGER NOT NULL UNIQUE,       -- order of queueing
    model    TEXT NOT NULL REFERENCES models (id),
    champion TEXT,
    config   TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
    attempts INTEGER NOT NULL,
    rows     TEXT NOT NULL,                 -- JSON
    reason   TEXT,
    ended    INTEGER,                       -- order of ending
    ended_at REAL
  ) STRICT;
  CREATE INDEX evaluations_open ON evaluations (n) WHERE state IN ('queued', 'running');
  CREATE INDEX evaluations_model ON evaluations (model);
  CREATE INDEX evaluations_ended ON evaluations (config, ended);
  CREATE TABLE decisions (
    id               TEXT PRIMARY KEY,
    model            TEXT NOT NULL REFERENCES models (id),
    champion         TEXT,
    config           TEXT NOT NULL,
    promote          INTEGER NOT NULL,
    reasons          TEXT NOT NULL,         -- JSON
    state            TEXT NOT NULL CHECK (state IN ('open', 'committed', 'refused', 'rejected')),
    refusal          TEXT,
    champion_changed INTEGER NOT NULL DEFAULT 0,
    at               REAL NOT NULL
  ) STRICT;
  CREATE INDEX decisions_open ON decisions (id) WHERE state = 'open';
  CREATE TABLE promotion_log (
    n         INTEGER PRIMARY KEY AUTOINCREMENT,
    decision  TEXT NOT NULL UNIQUE REFERENCES decisions (id),
    config    TEXT NOT NULL,
    model     TEXT NOT NULL REFERENCES models (id),
    sha256    TEXT NOT NULL,
    previous  TEXT,
    at        REAL NOT NULL,
    announced INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE deliveries (model TEXT NOT NULL, node TEXT NOT NULL, run TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (model, node)) STRICT, WITHOUT ROWID;
  `,
];

const LIST_MAX = 500;
const REASON_CHARACTERS = 2000;

/** What a registration needs to know of the checkpoint; the object store answers. */
export interface Checkpoints {
  find(sha256: string): { readonly file: string; readonly bytes: number } | null;
  /** Reads it again; null when the bytes still have this hash, else the fault in words. */
  faultOf(sha256: string): string | null;
}

interface StoredModel {
  readonly id: string;
  readonly config: string;
  readonly number: number;
  readonly parent: string | null;
  readonly sha256: string;
  readonly file: string;
  readonly bytes: number;
  readonly state: ModelState;
  readonly rows: number;
  readonly steps: number;
  readonly loss: number;
  readonly created_at: number;
}

const modelOf = (stored: StoredModel): Model => ({
  modelId: stored.id,
  config: stored.config,
  number: stored.number,
  parentId: stored.parent,
  sha256: stored.sha256,
  file: stored.file,
  bytes: stored.bytes,
  state: stored.state,
  rows: stored.rows,
  steps: stored.steps,
  loss: stored.loss,
  createdAtMs: stored.created_at,
});

interface StoredEvaluation {
  readonly id: string;
  readonly model: string;
  readonly champion: string | null;
  readonly config: string;
  readonly state: Evaluation['state'];
  readonly attempts: number;
  readonly rows: string;
  readonly reason: string | null;
  readonly ended_at: number | null;
}

const evaluationOf = (stored: StoredEvaluation): Evaluation => ({
  evaluationId: stored.id,
  config: stored.config,
  modelId: stored.model,
  championId: stored.champion,
  state: stored.state,
  attempts: stored.attempts,
  rows: JSON.parse(stored.rows) as EvaluationRow[],
  reason: stored.reason,
  atMs: stored.ended_at,
});

interface StoredDecision {
  readonly id: string;
  readonly model: string;
  readonly champion: string | null;
  readonly config: string;
  readonly promote: number;
  readonly reasons: string;
  readonly state: Decision['state'];
  readonly refusal: string | null;
  readonly champion_changed: number;
}

const decisionOf = (stored: StoredDecision): Decision => ({
  decisionId: stored.id,
  config: stored.config,
  modelId: stored.model,
  championId: stored.champion,
  promote: stored.promote === 1,
  reasons: JSON.parse(stored.reasons) as string[],
  state: stored.state,
});

interface StoredPromotion {
  readonly decision: string;
  readonly config: string;
  readonly model: string;
  readonly sha256: string;
  readonly previous: string | null;
  readonly at: number;
}

const promotionOf = (stored: StoredPromotion): Promotion => ({
  promotionId: stored.decision,
  config: stored.config,
  modelId: stored.model,
  sha256: stored.sha256,
  previousModelId: stored.previous,
  atMs: stored.at,
});

/** One id for an evaluation and for the decision on it. */
const pairId = (modelId: string, championId: string | null): string => `${modelId}.vs.${championId ?? 'none'}`;

export class ModelStore {
  /** Open to drills, which close and open its handle. */
  readonly store: Store;
  private readonly now: ReadNow;
  private readonly checkpoints: Checkpoints;

  constructor(file: string, now: ReadNow, checkpoints: Checkpoints) {
    this.now = now;
    this.checkpoints = checkpoints;
    this.store = new Store(file, SCHEMA);
  }

  // ---------------------------------------------------------------------------------------------------------- registry

  reserve(request: { readonly config: string; readonly key: string }): string {
    return this.store.immediate(() => {
      const { config, key } = request;
      const kept = this.store.get<{ number: number }>(
        'SELECT number FROM reserved WHERE config = ? AND key = ?',
        config,
        key,
      );
      if (kept !== undefined) return `${config}-v${kept.number}`;
      const { last } = this.store.get<{ last: number | null }>(
        'SELECT max(number) AS last FROM reserved WHERE config = ?',
        config,
      )!;
      this.store.run('INSERT INTO reserved VALUES (?, ?, ?)', config, key, (last ?? 0) + 1);
      return `${config}-v${(last ?? 0) + 1}`;
    });
  }

  register(model: {
    readonly modelId: string;
    readonly config: string;
    readonly parentId: string | null;
    readonly sha256: string;
    readonly rows: number;
    readonly steps: number;
    readonly loss: number;
    readonly trainedSeconds: number;
  }): { model: Model; first: boolean } {
    return this.store.immediate(() => {
      const known = this.get(model.modelId);
      if (known !== null) {
        if (known.sha256 === model.sha256 && known.config === model.config) return { model: known, first: false };
        throw floorConflict(`model ${model.modelId} is registered with hash ${known.sha256}, not ${model.sha256}`, {
          modelId: model.modelId,
          registered: known.sha256,
          given: model.sha256,
        });
      }
      const number = this.numberOf(model.config, model.modelId);
      const checkpoint = this.checkpoints.find(model.sha256);
      if (checkpoint === null)
        throw floorInputInvalid(
          `the checkpoint ${model.sha256} of ${model.modelId} is not in the object store; put it there first`,
          {
            modelId: model.modelId,
          },
        );
      this.store.run(
        `INSERT INTO models SELECT ?, coalesce(max(n), 0) + 1, ?, ?, ?, ?, ?, ?, 'candidate', ?, ?, ?, ?, ? FROM models`,
        model.modelId,
        model.config,
        number,
        model.parentId,
        model.sha256,
        checkpoint.file,
        checkpoint.bytes,
        model.rows,
        model.steps,
        model.loss,
        model.trainedSeconds,
        this.now().wallMs,
      );
      return { model: this.get(model.modelId)!, first: true };
    });
  }

  get(modelId: string): Model | null {
    const stored = this.store.get<StoredModel>('SELECT * FROM models WHERE id = ?', modelId);
    return stored === undefined ? null : modelOf(stored);
  }

  list(filter: { readonly config?: string; readonly state?: ModelState; readonly limit: number }): Model[] {
    return this.store
      .all<StoredModel>(
        'SELECT * FROM models WHERE (@config IS NULL OR config = @config) AND (@state IS NULL OR state = @state) ORDER BY n DESC LIMIT @limit',
        { config: filter.config ?? null, state: filter.state ?? null, limit: Math.min(filter.limit, LIST_MAX) },
      )
      .map(modelOf);
  }

  count(config: string): number {
    return this.store.get<{ n: number }>('SELECT count(*) AS n FROM models WHERE config = ?', config)!.n;
  }

  champion(config: string): Model | null {
    const stored = this.store.get<StoredModel>("SELECT * FROM models WHERE config = ? AND state = 'promoted'", config);
    return stored === undefined ? null : modelOf(stored);
  }

  champions(): Model[] {
    return this.store.all<StoredModel>("SELECT * FROM models WHERE state = 'promoted' ORDER BY config").map(modelOf);
  }

  verify(modelId: string): { ok: boolean; reason: string } {
    const model = this.get(modelId);
    if (model === null) return { ok: false, reason: `model ${modelId} is not registered` };
    const fault = this.checkpoints.faultOf(model.sha256);
    return fault === null ? { ok: true, reason: '' } : { ok: false, reason: fault };
  }

  // -------------------------------------------------------------------------------------------------------- evaluation

  enqueue(request: { readonly modelId: string }): { evaluation: Evaluation; first: boolean } {
    return this.store.immediate(() => {
      const model = this.get(request.modelId);
      if (model === null)
        throw floorInputInvalid(`model ${request.modelId} is not registered, so it cannot be evaluated`, request);
      const champion = this.champion(model.config);
      if (champion?.modelId === model.modelId)
        throw floorInputInvalid(`model ${model.modelId} is the champion; it does not meet itself`, request);
      const id = pairId(model.modelId, champion?.modelId ?? null);
      const known = this.evaluation(id);
      if (known !== null) return { evaluation: known, first: false };
      this.store.run(
        `INSERT INTO evaluations SELECT ?, coalesce(max(n), 0) + 1, ?, ?, ?, 'queued', 0, '[]', NULL, NULL, NULL FROM evaluations`,
        id,
        model.modelId,
        champion?.modelId ?? null,
        model.config,
      );
      return { evaluation: this.evaluation(id)!, first: true };
    });
  }

  enqueueMissing(): number {
    const missing = this.store.all<{ id: string }>(
      `SELECT id FROM models m WHERE state = 'candidate' AND NOT EXISTS (SELECT 1 FROM evaluations e WHERE e.model = m.id)
       UNION SELECT m.id FROM models m JOIN decisions d ON d.model = m.id WHERE m.state = 'evaluated' AND d.state = 'refused' AND d.champion_changed = 1`,
    );
    return missing.filter(({ id }) => this.enqueue({ modelId: id }).first).length;
  }

  running(): Evaluation[] {
    return this.store
      .all<StoredEvaluation>("SELECT * FROM evaluations WHERE state = 'running' ORDER BY n")
      .map(evaluationOf);
  }

  next(): Evaluation | null {
    const stored = this.store.get<StoredEvaluation>(
      `UPDATE evaluations SET state = 'running', attempts = attempts + 1
       WHERE id = (SELECT id FROM evaluations WHERE state = 'queued' ORDER BY n LIMIT 1) RETURNING *`,
    );
    return stored === undefined ? null : evaluationOf(stored);
  }

  complete(result: { readonly evaluationId: string; readonly rows: readonly EvaluationRow[] }): {
    evaluation: Evaluation;
    first: boolean;
  } {
    const rows = z.array(evaluationRow).min(1).safeParse(result.rows);
    if (!rows.success)
      throw floorInputInvalid(`the result of ${result.evaluationId} is not valid: ${z.prettifyError(rows.error)}`, {
        evaluationId: result.evaluationId,
      });
    return this.store.immediate(() => {
      const evaluation = this.evaluationOrThrow(result.evaluationId);
      if (evaluation.state === 'done') return { evaluation, first: false };
      this.endEvaluation(evaluation.evaluationId, 'done', null, rows.data);
      this.store.run("UPDATE models SET state = 'evaluated' WHERE id = ? AND state = 'candidate'", evaluation.modelId);
      return { evaluation: this.evaluation(result.evaluationId)!, first: true };
    });
  }

  failEvaluation(failure: {
    readonly evaluationId: string;
    readonly reason: string;
    readonly attemptsMax: number;
  }): Evaluation {
    return this.store.immediate(() => {
      const evaluation = this.evaluationOrThrow(failure.evaluationId);
      if (evaluation.state !== 'running') return evaluation;
      if (evaluation.attempts >= failure.attemptsMax)
        this.endEvaluation(evaluation.evaluationId, 'failed', failure.reason, []);
      else
        this.store.run(
          "UPDATE evaluations SET state = 'queued', reason = ? WHERE id = ?",
          failure.reason.slice(0, REASON_CHARACTERS),
          evaluation.evaluationId,
        );
      return this.evaluation(evaluation.evaluationId)!;
    });
  }

  of(modelId: string): Evaluation | null {
    const stored = this.store.get<StoredEvaluation>(
      "SELECT * FROM evaluations WHERE model = ? AND state = 'done' ORDER BY ended DESC LIMIT 1",
      modelId,
    );
    return stored === undefined ? null : evaluationOf(stored);
  }

  undecided(): Evaluation[] {
    return this.store
      .all<StoredEvaluation>(
        `SELECT e.* FROM evaluations e JOIN models m ON m.id = e.model WHERE m.state = 'evaluated' AND e.state = 'done'
         AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.id = e.id) ORDER BY e.ended`,
      )
      .map(evaluationOf);
  }

  depth(): number {
    return this.store.get<{ n: number }>("SELECT count(*) AS n FROM evaluations WHERE state IN ('queued', 'running')")!
      .n;
  }

  history(filter: { readonly config: string; readonly limit: number }): Evaluation[] {
    return this.store
      .all<StoredEvaluation>(
        "SELECT * FROM evaluations WHERE config = ? AND state = 'done' ORDER BY ended DESC LIMIT ?",
        filter.config,
        Math.min(filter.limit, LIST_MAX),
      )
      .map(evaluationOf);
  }

  // --------------------------------------------------------------------------------------------------------- promotion

  decide(verdict: {
    readonly modelId: string;
    readonly championId: string | null;
    readonly promote: boolean;
    readonly reasons: readonly string[];
  }): { decision: Decision; first: boolean } {
    return this.store.immediate(() => {
      const id = pairId(verdict.modelId, verdict.championId);
      const known = this.decision(id);
      if (known !== null) return { decision: known, first: false };
      const evaluation = this.evaluation(id);
      if (evaluation?.state !== 'done')
        throw floorInputInvalid(`there is no finished evaluation ${id} to decide on`, {
          evaluationId: id,
          state: evaluation?.state ?? null,
        });
      this.store.run(
        'INSERT INTO decisions (id, model, champion, config, promote, reasons, state, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
        id,
        verdict.modelId,
        verdict.championId,
        evaluation.config,
        verdict.promote ? 1 : 0,
        JSON.stringify(verdict.reasons),
        verdict.promote ? 'open' : 'rejected',
        this.now().wallMs,
      );
      if (!verdict.promote)
        this.store.run("UPDATE models SET state = 'rejected' WHERE id = ? AND state = 'evaluated'", verdict.modelId);
      return { decision: this.decision(id)!, first: true };
    });
  }

  uncommitted(): Decision[] {
    return this.store
      .all<StoredDecision>("SELECT * FROM decisions WHERE state = 'open' ORDER BY at, id")
      .map(decisionOf);
  }

  promote(decisionId: string): PromotionOutcome {
    return this.store.immediate(() => {
      const decision = this.store.get<StoredDecision>('SELECT * FROM decisions WHERE id = ?', decisionId);
      if (decision === undefined)
        throw floorInputInvalid(`there is no decision ${decisionId} to promote by`, { decisionId });
      if (decision.state === 'committed') return { outcome: 'already', promotion: this.promotion(decisionId)! };
      if (decision.state === 'rejected')
        return {
          outcome: 'refused',
          reason: `the decision ${decisionId} was against promotion`,
          championChanged: false,
        };
      if (decision.state === 'refused')
        return { outcome: 'refused', reason: decision.refusal ?? '', championChanged: decision.champion_changed === 1 };

      const champion = this.champion(decision.config);
      if ((champion?.modelId ?? null) !== decision.champion)
        return this.refuse(
          decisionId,
          `the champion is ${champion?.modelId ?? 'none'}, the verdict was against ${decision.champion ?? 'none'}`,
          true,
        );
      const model = this.get(decision.model)!;
      if (model.state !== 'evaluated')
        return this.refuse(decisionId, `model ${model.modelId} is ${model.state}, not evaluated`, false);
      const fault = this.checkpoints.faultOf(model.sha256);
      if (fault !== null) return this.refuse(decisionId, fault, false);

      if (champion !== null) this.store.run("UPDATE models SET state = 'archived' WHERE id = ?", champion.modelId);
      this.store.run("UPDATE models SET state = 'promoted' WHERE id = ?", model.modelId);
      this.store.run("UPDATE decisions SET state = 'committed' WHERE id = ?", decisionId);
      this.store.run(
        'INSERT INTO promotion_log (decision, config, model, sha256, previous, at) VALUES (?, ?, ?, ?, ?, ?)',
        decisionId,
        model.config,
        model.modelId,
        model.sha256,
        champion?.modelId ?? null,
        this.now().wallMs,
      );
      return { outcome: 'promoted', promotion: this.promotion(decisionId)! };
    });
  }

  unannounced(): Promotion[] {
    return this.store
      .all<StoredPromotion>('SELECT * FROM promotion_log WHERE announced = 0 ORDER BY n')
      .map(promotionOf);
  }

  announced(promotionId: string): void {
    this.store.run('UPDATE promotion_log SET announced = 1 WHERE decision = ?', promotionId);
  }

  promotions(filter: { readonly config?: string; readonly limit: number }): Promotion[] {
    return this.store
      .all<StoredPromotion>(
        'SELECT * FROM promotion_log WHERE (@config IS NULL OR config = @config) ORDER BY n DESC LIMIT @limit',
        {
          config: filter.config ?? null,
          limit: Math.min(filter.limit, LIST_MAX),
        },
      )
      .map(promotionOf);
  }

  countPromotions(config: string): number {
    return this.store.get<{ n: number }>('SELECT count(*) AS n FROM promotion_log WHERE config = ?', config)!.n;
  }

  delivered(delivery: {
    readonly modelId: string;
    readonly nodeId: string;
    readonly runId: string;
    readonly state: 'held' | 'in-use';
  }): void {
    this.store.run(
      `INSERT INTO deliveries VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET run = excluded.run,
       state = CASE WHEN deliveries.run = excluded.run AND deliveries.state = 'in-use' THEN 'in-use' ELSE excluded.state END`,
      delivery.modelId,
      delivery.nodeId,
      delivery.runId,
      delivery.state,
    );
  }

  deliveries(modelId: string): { nodeId: string; runId: string; state: 'held' | 'in-use' }[] {
    return this.store.all(
      'SELECT node AS nodeId, run AS runId, state FROM deliveries WHERE model = ? ORDER BY node',
      modelId,
    );
  }

  close(): void {
    this.store.close();
  }

  // ---------------------------------------------------------------------------------------------------------- private

  private numberOf(config: string, modelId: string): number {
    const number = Number(modelId.slice(`${config}-v`.length));
    const reserved = this.store.get('SELECT 1 FROM reserved WHERE config = ? AND number = ?', config, number);
    if (modelId !== `${config}-v${number}` || reserved === undefined)
      throw floorInputInvalid(`model id ${modelId} was not reserved for ${config}`, { modelId, config });
    return number;
  }

  private evaluation(id: string): Evaluation | null {
    const stored = this.store.get<StoredEvaluation>('SELECT * FROM evaluations WHERE id = ?', id);
    return stored === undefined ? null : evaluationOf(stored);
  }

  private evaluationOrThrow(id: string): Evaluation {
    const evaluation = this.evaluation(id);
    if (evaluation === null) throw floorInputInvalid(`there is no evaluation ${id}`, { evaluationId: id });
    return evaluation;
  }

  private endEvaluation(
    id: string,
    state: 'done' | 'failed',
    reason: string | null,
    rows: readonly EvaluationRow[],
  ): void {
    this.store.run(
      `UPDATE evaluations SET state = ?, reason = ?, rows = ?, ended = (SELECT coalesce(max(ended), 0) + 1 FROM evaluations), ended_at = ? WHERE id = ?`,
      state,
      reason?.slice(0, REASON_CHARACTERS) ?? null,
      JSON.stringify(rows),
      this.now().wallMs,
      id,
    );
  }

  private decision(id: string): Decision | null {
    const stored = this.store.get<StoredDecision>('SELECT * FROM decisions WHERE id = ?', id);
    return stored === undefined ? null : decisionOf(stored);
  }

  private refuse(decisionId: string, reason: string, championChanged: boolean): PromotionOutcome {
    this.store.run(
      "UPDATE decisions SET state = 'refused', refusal = ?, champion_changed = ? WHERE id = ?",
      reason.slice(0, REASON_CHARACTERS),
      championChanged ? 1 : 0,
      decisionId,
    );
    return { outcome: 'refused', reason, championChanged };
  }

  private promotion(decisionId: string): Promotion | null {
    const stored = this.store.get<StoredPromotion>('SELECT * FROM promotion_log WHERE decision = ?', decisionId);
    return stored === undefined ? null : promotionOf(stored);
  }
}

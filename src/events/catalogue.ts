/**
 * Every event of the RingRift fleet: name → meaning, version, body. Events are facts that happened.
 *
 * Bodies are small and strict: what a consumer needs to act, with ids by which it reads the rest from the floor. An event
 * is a wake-up and never the only copy of a truth; every consumer can find the same fact in a store, which is why a lost
 * wake-up costs time and no work. Publishers give such an event an id made from the fact (`promoted:<promotionId>`), so
 * that saying it again after a crash stores it once.
 *
 * Listed here is what the daemons that exist publish and consume. Workers have no client of the router: they report to
 * the scheduler's endpoint, and JOB_SCHEDULER publishes what they said, which is why those events name `worker` too.
 */
import { z } from 'zod';
import type { EventDeclaration } from './types.ts';

const event = <Schema extends z.ZodType>(
  meaning: string,
  body: Schema,
  more: Omit<EventDeclaration, 'body' | 'meaning' | 'version'> = {},
): EventDeclaration<Schema> => ({ version: 1, meaning, body, ...more });

const name = z.string().min(1).max(128);
const text = z.string().max(2000);
const count = z.int().nonnegative();
const share = z.number().min(0).max(1);

const config = name;
const nodeId = name;
const modelId = name;
const sha256 = z.string().length(64);
const workKind = z.enum(['selfplay', 'tournament', 'training']);
const work = { itemId: name, kind: workKind, config };
const claimed = { ...work, nodeId, token: z.int().positive(), attempt: z.int().positive() };
const evaluationRow = z.strictObject({
  opponent: name,
  games: z.int().positive(),
  score: share,
  low: share,
  high: share,
});

const PEOPLE = { externalConsumers: ['operator', 'dashboards'] } as const;
const FROM_WORKERS = { externalProducers: ['worker'] } as const;

export const RINGRIFT_EVENTS = {
  // ------------------------------------------------------------------------------------------- supervision and the bus
  DAEMON_STATUS_CHANGED: event(
    'a daemon entered another state',
    z.strictObject({ daemon: name, from: name, to: name, cause: name.nullable() }),
    { externalProducers: ['orchestrator'] },
  ),
  SUBSCRIPTION_GAP: event(
    'a subscription that should exist was not confirmed by its canary, or was repaired after that',
    z.strictObject({
      subscriber: name,
      topic: name,
      critical: z.boolean(),
      state: z.enum(['opened', 'repaired']),
      reason: text,
    }),
    { externalProducers: ['orchestrator'], ...PEOPLE },
  ),
  DLQ_EVENTS_REPLAYED: event(
    'dead letters were handed to the handler that had failed',
    z.strictObject({ replayed: count, recovered: count }),
    PEOPLE,
  ),
  DLQ_EVENTS_PURGED: event(
    'closed dead letters past retention were removed',
    z.strictObject({ purged: count }),
    PEOPLE,
  ),
  DLQ_STALE_EVENTS: event(
    'dead letters were abandoned after their last attempt',
    z.strictObject({ abandoned: count, subscribers: z.array(name).max(100) }),
    PEOPLE,
  ),

  // ------------------------------------------------------------------------------------------------------ work, self-play
  WORK_QUEUED: event(
    'work items were added to the queue',
    z.strictObject({ kind: workKind, config, items: z.int().positive(), games: count.default(0) }),
  ),
  WORK_CLAIMED: event('a worker holds an item under a lease', z.strictObject(claimed)),
  WORK_STARTED: event('a worker began an item it had claimed', z.strictObject(claimed), FROM_WORKERS),
  WORK_COMPLETED: event(
    'an item was done and its result kept',
    z.strictObject({ ...claimed, seconds: z.number().nonnegative() }),
    FROM_WORKERS,
  ),
  WORK_FAILED: event(
    'an attempt at an item failed',
    z.strictObject({ ...claimed, reason: text, final: z.boolean().describe('no attempt is left') }),
    FROM_WORKERS,
  ),
  WORK_TIMEOUT: event(
    'the lease of an item ran out in silence',
    z.strictObject({ ...claimed, final: z.boolean().describe('no attempt is left') }),
  ),
  JOB_PREEMPTED: event(
    'a running item was taken back for a more urgent one',
    z.strictObject({ ...work, nodeId, forItemId: name }),
    PEOPLE,
  ),
  SELFPLAY_COMPLETE: event(
    'a node finished a batch of self-play; the games are in its store',
    z.strictObject({
      itemId: name,
      config,
      nodeId,
      games: count,
      modelId: modelId.nullable(),
      seconds: z.number().nonnegative(),
    }),
    FROM_WORKERS,
  ),
  SELFPLAY_TARGET_UPDATED: event(
    'a config wants another number of self-play games',
    z.strictObject({ config, targetGames: count, exploration: share, version: count }),
  ),
  SELFPLAY_ALLOCATION_UPDATED: event(
    'the quotas of configs on nodes were written anew',
    z.strictObject({ version: count, configs: count, nodes: count, games: count }),
    PEOPLE,
  ),
  SELFPLAY_RATE_CHANGED: event(
    'the wanted games per minute over all configs changed by a tenth or more',
    z.strictObject({ from: z.number().nonnegative(), to: z.number().nonnegative() }),
  ),
  QUALITY_PENALTY_APPLIED: event(
    'a config gets fewer games because its data is poor',
    z.strictObject({ config, quality: share, factor: share }),
    PEOPLE,
  ),
  BACKPRESSURE_ACTIVATED: event(
    'a queue is over its soft limit: producers slow down to a trickle',
    z.strictObject({ queue: name, depth: count, limit: count }),
    { externalProducers: ['operator'] },
  ),
  BACKPRESSURE_RELEASED: event(
    'a queue is back under its release mark',
    z.strictObject({ queue: name, depth: count, limit: count }),
    { externalProducers: ['operator'] },
  ),
  IDLE_RESOURCE_DETECTED: event(
    'a node had nothing to do and was given a batch',
    z.strictObject({ nodeId, idleSeconds: z.number().nonnegative(), config }),
    PEOPLE,
  ),

  // --------------------------------------------------------------------------------------------------------------- sync
  SYNC_REQUEST: event(
    'games should be pulled now rather than at the next period',
    z.strictObject({ nodeId: nodeId.nullable(), config: config.nullable(), reason: text }),
    { externalProducers: ['operator'] },
  ),
  DATA_SYNC_STARTED: event('a sync cycle began', z.strictObject({ nodes: count, reason: text }), PEOPLE),
  DATA_SYNC_COMPLETED: event(
    'games of a config were committed to its canonical store',
    z.strictObject({ config, inserted: count, known: count, total: count, lastSeq: count, nodes: count }),
  ),
  DATA_SYNC_FAILED: event(
    'games of a node could not be pulled or committed',
    z.strictObject({ nodeId, config: config.nullable(), reason: text, failures: z.int().positive() }),
  ),
  SYNC_STALLED: event(
    'a node has games that no sync cycle has brought home for too long',
    z.strictObject({ nodeId, behind: count, seconds: z.number().nonnegative() }),
    PEOPLE,
  ),
  HOST_OFFLINE: event('a node stopped answering', z.strictObject({ nodeId, reason: text })),
  HOST_ONLINE: event('a node answers again, or for the first time', z.strictObject({ nodeId, url: name })),
  NEW_GAMES_AVAILABLE: event(
    'the canonical store of a config holds games that were not there before; counted there, not claimed',
    z.strictObject({ config, games: z.int().positive(), total: count, lastSeq: count }),
  ),

  // ------------------------------------------------------------------------------------------------------ export, quality
  NPZ_EXPORT_STARTED: event('an export child began', z.strictObject({ config, exportId: name, games: count }), PEOPLE),
  NPZ_EXPORT_COMPLETE: event(
    'a sample shard is on disk with its hash',
    z.strictObject({ config, exportId: name, shardId: name, games: count, rows: count, sha256 }),
  ),
  NPZ_EXPORT_FAILED: event(
    'an export child failed; its range stays open and is tried again',
    z.strictObject({ config, exportId: name, reason: text, attempts: count }),
  ),
  QUALITY_CHECK_REQUESTED: event(
    'somebody wants the quality of a config (or of all) judged now',
    z.strictObject({ config: config.nullable() }),
    { externalProducers: ['operator'] },
  ),
  QUALITY_SCORE_UPDATED: event(
    'the rolling quality of the games of a config was judged again',
    z.strictObject({ config, score: share, games: count, parts: z.record(z.string(), share) }),
  ),
  LOW_QUALITY_DATA_WARNING: event(
    'quality is below the warning mark',
    z.strictObject({ config, score: share, mark: share }),
    PEOPLE,
  ),
  HIGH_QUALITY_DATA_AVAILABLE: event(
    'quality rose above the good mark',
    z.strictObject({ config, score: share, mark: share }),
  ),
  QUALITY_DEGRADED: event('quality fell below the warning mark', z.strictObject({ config, score: share, from: share })),
  QUALITY_CHECK_FAILED: event('quality could not be judged', z.strictObject({ config, reason: text })),

  // ------------------------------------------------------------------------------------------------------------ training
  TRAINING_THRESHOLD_REACHED: event(
    'a config has enough samples no model has seen',
    z.strictObject({ config, rows: count, shards: count }),
  ),
  TRAINING_BLOCKED_BY_QUALITY: event(
    'a config has enough samples, but they are too poor to train on',
    z.strictObject({ config, quality: share, minimum: share }),
  ),
  TRAINING_STARTED: event(
    'a training child began',
    z.strictObject({ config, itemId: name, modelId, baseModelId: modelId.nullable(), shards: count, rows: count }),
  ),
  TRAINING_PROGRESS: event(
    'a training child moved on',
    z.strictObject({ config, modelId, step: count, steps: count, loss: z.number().nullable() }),
    PEOPLE,
  ),
  TRAINING_LOSS_TREND: event(
    'how the loss moved over a run',
    z.strictObject({
      config,
      modelId,
      trend: z.enum(['improving', 'flat', 'worsening']),
      first: z.number(),
      last: z.number(),
    }),
  ),
  TRAINING_LOSS_ANOMALY: event(
    'a run ended with a loss far above the recent ones',
    z.strictObject({ config, modelId, loss: z.number(), expected: z.number() }),
  ),
  TRAINING_COMPLETED: event(
    'a candidate model is registered with its file and hash',
    z.strictObject({
      config,
      itemId: name,
      modelId,
      baseModelId: modelId.nullable(),
      sha256,
      rows: count,
      steps: count,
      loss: z.number(),
      seconds: z.number().nonnegative(),
    }),
  ),
  TRAINING_FAILED: event(
    'a training attempt failed',
    z.strictObject({ config, itemId: name, reason: text, final: z.boolean().describe('no attempt is left') }),
  ),

  // ------------------------------------------------------------------------------------------------ evaluation, promotion
  EVALUATION_STARTED: event(
    'a candidate began to play its opponents',
    z.strictObject({ config, modelId, opponents: z.array(name).max(16), attempt: z.int().positive() }),
    PEOPLE,
  ),
  EVALUATION_PROGRESS: event(
    'an evaluation moved on',
    z.strictObject({ config, modelId, games: count, of: count }),
    PEOPLE,
  ),
  EVALUATION_COMPLETED: event(
    'a candidate has a result row against every opponent',
    z.strictObject({
      config,
      modelId,
      championId: modelId.nullable().describe('the champion it met; null when there was none'),
      rows: z.array(evaluationRow).min(1).max(16),
    }),
  ),
  EVALUATION_FAILED: event(
    'an evaluation attempt failed',
    z.strictObject({ config, modelId, reason: text, final: z.boolean().describe('no attempt is left') }),
  ),
  MODEL_EVALUATION_BLOCKED: event(
    'a candidate cannot be evaluated: its file is missing or is not what was registered',
    z.strictObject({ config, modelId, reason: text }),
    PEOPLE,
  ),
  ELO_UPDATED: event(
    'new match rows moved the ratings of a config',
    z.strictObject({
      config,
      matches: z.int().positive(),
      champion: modelId.nullable(),
      rating: z.number().nullable(),
      error: z.number().nullable(),
    }),
  ),
  ELO_SIGNIFICANT_CHANGE: event(
    'a rating moved by more than its error',
    z.strictObject({ config, agent: name, from: z.number(), to: z.number(), error: z.number() }),
    PEOPLE,
  ),
  ELO_VELOCITY_CHANGED: event(
    'the rating gain per hour of a config entered another band',
    z.strictObject({ config, perHour: z.number(), band: z.enum(['falling', 'flat', 'rising', 'fast']) }),
  ),
  PROMOTION_CANDIDATE: event(
    'a candidate passed every test and should become champion',
    z.strictObject({ config, modelId, championId: modelId.nullable(), decisionId: name }),
  ),
  PROMOTION_REJECTED: event(
    'a candidate did not pass',
    z.strictObject({
      config,
      modelId,
      championId: modelId.nullable(),
      decisionId: name,
      reasons: z.array(text).max(16),
    }),
  ),
  PROMOTION_STARTED: event(
    'a promotion transaction begins',
    z.strictObject({ config, modelId, decisionId: name }),
    PEOPLE,
  ),
  PROMOTION_FAILED: event(
    'a promotion transaction was refused',
    z.strictObject({ config, modelId, decisionId: name, reason: text }),
  ),
  MODEL_PROMOTED: event(
    'a config has a new champion',
    z.strictObject({ config, modelId, sha256, previousModelId: modelId.nullable(), promotionId: name }),
  ),

  // -------------------------------------------------------------------------------------------------------- distribution
  MODEL_DISTRIBUTION_STARTED: event(
    'a champion is being pushed to nodes',
    z.strictObject({ config, modelId, nodes: count }),
    PEOPLE,
  ),
  MODEL_DISTRIBUTION_COMPLETE: event(
    'every live node plays with this champion; each proved the hash',
    z.strictObject({ config, modelId, nodes: count, seconds: z.number().nonnegative() }),
  ),
  MODEL_DISTRIBUTION_FAILED: event(
    'a node could not be given a champion; it is tried again',
    z.strictObject({ config, modelId, nodeId, reason: text }),
    PEOPLE,
  ),
  DISTRIBUTION_INCOMPLETE: event(
    'some live nodes still play with an older champion after the deadline',
    z.strictObject({ config, modelId, share, missing: z.array(nodeId).max(1000) }),
    PEOPLE,
  ),

  // ------------------------------------------------------------------------------------------------------------- feedback
  ADAPTIVE_PARAMS_CHANGED: event(
    'training intensity or self-play settings of a config changed',
    z.strictObject({
      config,
      version: count,
      intensity: z.enum(['paused', 'reduced', 'normal', 'accelerated', 'hot']),
      explorationBoost: z.number().min(0.5).max(2),
      weight: z.number().nonnegative(),
      reasons: z.array(text).max(8),
    }),
  ),
  EXPLORATION_ADJUSTED: event(
    'a config explores more or less than before',
    z.strictObject({ config, version: count, from: z.number(), to: z.number(), reason: text }),
  ),
  CURRICULUM_REBALANCED: event(
    'the weights among configs changed',
    z.strictObject({ version: count, weights: z.record(z.string(), z.number().nonnegative()) }),
  ),
  CURRICULUM_ADVANCED: event(
    'a config mastered an opponent and meets stronger ones',
    z.strictObject({ config, version: count, level: count, mastered: name }),
  ),

  // ---------------------------------------------------------------------------------------------------- nodes, capacity
  CLUSTER_STATUS_CHANGED: event(
    'the picture of all nodes crossed a band',
    z.strictObject({
      live: count,
      idle: count,
      offline: count,
      status: z.enum(['empty', 'healthy', 'degraded', 'down']),
    }),
    PEOPLE,
  ),
  CLUSTER_STALL_DETECTED: event(
    'live nodes with work at hand produce no games',
    z.strictObject({ live: count, pending: count, seconds: z.number().nonnegative() }),
    PEOPLE,
  ),
  CLUSTER_CAPACITY_CHANGED: event(
    'the number of live nodes changed',
    z.strictObject({ live: count, cpus: z.number().nonnegative(), gamesPerMinute: z.number().nonnegative() }),
  ),
  NODE_OVERLOADED: event(
    'a node uses more than its share of CPU or memory',
    z.strictObject({ nodeId, cpu: z.number().nonnegative(), residentBytes: count }),
  ),
  NODE_PROVISIONED: event(
    'a node runs, answers, and has claimed its first item',
    z.strictObject({ nodeId, runId: name, pool: name, provider: name, url: name }),
  ),
  NODE_TERMINATED: event(
    'a node was stopped on purpose or is gone',
    z.strictObject({ nodeId, runId: name, pool: name, reason: text, unsyncedGames: count }),
  ),
  PROVISION_FAILED: event(
    'a node could not be started and was rolled back',
    z.strictObject({ nodeId, pool: name, reason: text }),
    PEOPLE,
  ),
  CAPACITY_LOW: event(
    'fewer nodes live than the plan wants',
    z.strictObject({ live: count, wanted: count, pending: count, drainSeconds: z.number().nonnegative().nullable() }),
  ),
  CAPACITY_RESTORED: event(
    'as many nodes live as the plan wants',
    z.strictObject({ live: count, wanted: count }),
    PEOPLE,
  ),
  BUDGET_ALERT: event(
    'spend passed four fifths of the budget',
    z.strictObject({ period: z.enum(['hour', 'day']), spent: z.number(), budget: z.number() }),
    PEOPLE,
  ),
  BUDGET_EXCEEDED: event(
    'a node was wanted but the budget is spent',
    z.strictObject({ period: z.enum(['hour', 'day']), spent: z.number(), budget: z.number() }),
    PEOPLE,
  ),
} as const;

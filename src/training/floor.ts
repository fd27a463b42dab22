/**
 * The training floor: everything the daemons of the RingRift fleet work on, as services with one rule.
 *
 * The rule: **every write has a key, and doing it twice is doing it once.** A daemon may be killed between any two of its
 * lines; its next start repeats from what is stored. So a game is inserted by its id together with the cursor that pulled
 * it, a promotion commits by its decision, a job leaves its result where the job said, and an event is published after
 * the write with an id made from the fact (`shard:<shardId>`, `promoted:<promotionId>`, …). A crash between write and
 * publish is mended by scanning for facts not yet told: each such scan is a method here (marked *rescan*), to be run at
 * start and in the daemon's cycle. The alternative, trusting events alone, loses the loop at the first missed one.
 *
 * Expected outcomes are values: a stale token, a known row, a refused promotion. What throws is OrchestratorError:
 * SCOPE_CLOSED (this start has ended), NODE_UNREACHABLE, NODE_REFUSED, FLOOR_INPUT_INVALID, FLOOR_CONFLICT, STORE_TOO_NEW,
 * STORE_FAILED, STORE_LOST (the store thread died: whether the write happened is not known, so repeat it), FLOOR_BUSY. All stores live in one thread, the only writer; each call is one short immediate transaction, so calls
 * of one daemon take effect in the order it made them and the main loop never waits for SQLite. Leases and deadlines are
 * measured by the monotonic clock and start anew when the floor is opened: a wall clock that jumps expires nothing.
 *
 * Who executes work: *nodes* (children of AVAILABILITY_PROVISIONER, own folder, store and HTTP server) claim self-play
 * and tournament items at JOB_SCHEDULER's endpoint and report there; the address is in endpoints.json, since the
 * scheduler may move. *Export, training and evaluation* are child programs of AUTO_EXPORT, CONTINUOUS_TRAINING_LOOP and
 * EVALUATION (`jobs`, then `spawn(command, survives)`); the next start of such a daemon first looks for a result file,
 * then for the live child (`spawned()`), and only then runs the job again. Shapes: programs/protocol.ts.
 *
 * | daemon | services | events in | events out |
 * | --- | --- | --- | --- |
 * | EVENT_ROUTER | none: owns the router thread | | |
 * | DATA_PIPELINE | pipeline, games (news), models, evaluations (repairs), samples | SELFPLAY_COMPLETE DATA_SYNC_COMPLETED DATA_SYNC_FAILED NPZ_EXPORT_COMPLETE NPZ_EXPORT_FAILED TRAINING_STARTED TRAINING_COMPLETED TRAINING_FAILED EVALUATION_COMPLETED EVALUATION_FAILED MODEL_PROMOTED PROMOTION_REJECTED PROMOTION_FAILED MODEL_DISTRIBUTION_COMPLETE BACKPRESSURE_* | NEW_GAMES_AVAILABLE SYNC_REQUEST TRAINING_THRESHOLD_REACHED |
 * | AUTO_SYNC | nodes (list, status, contact, pullGames), games | SELFPLAY_COMPLETE SYNC_REQUEST HOST_ONLINE NODE_PROVISIONED BACKPRESSURE_* | DATA_SYNC_STARTED DATA_SYNC_COMPLETED DATA_SYNC_FAILED SYNC_STALLED HOST_OFFLINE HOST_ONLINE |
 * | FEEDBACK_LOOP | feedback, evaluations, models, ratings, quality, games (configs) | SELFPLAY_COMPLETE TRAINING_COMPLETED TRAINING_LOSS_TREND TRAINING_LOSS_ANOMALY EVALUATION_COMPLETED EVALUATION_FAILED MODEL_PROMOTED PROMOTION_REJECTED PROMOTION_FAILED QUALITY_SCORE_UPDATED QUALITY_DEGRADED QUALITY_CHECK_FAILED HIGH_QUALITY_DATA_AVAILABLE DAEMON_STATUS_CHANGED WORK_COMPLETED WORK_FAILED WORK_TIMEOUT | ADAPTIVE_PARAMS_CHANGED EXPLORATION_ADJUSTED CURRICULUM_REBALANCED CURRICULUM_ADVANCED |
 * | DAEMON_WATCHDOG | none: `fleet` | DAEMON_STATUS_CHANGED | |
 * | HEALTH_SERVER | none: `network`, `fleet` | | |
 * | CROSS_PROCESS_POLLER | none: `files`, inbox | | whatever the files name |
 * | DLQ_RETRY | none: dead letters of the router | | DLQ_EVENTS_REPLAYED DLQ_EVENTS_PURGED DLQ_STALE_EVENTS |
 * | SELFPLAY_COORDINATOR | allocation, feedback, quality, ratings, games, samples, nodes | ADAPTIVE_PARAMS_CHANGED EXPLORATION_ADJUSTED CURRICULUM_REBALANCED CURRICULUM_ADVANCED SELFPLAY_COMPLETE TRAINING_COMPLETED MODEL_PROMOTED ELO_UPDATED ELO_VELOCITY_CHANGED QUALITY_DEGRADED TRAINING_BLOCKED_BY_QUALITY HOST_OFFLINE HOST_ONLINE NODE_TERMINATED BACKPRESSURE_* | SELFPLAY_TARGET_UPDATED SELFPLAY_ALLOCATION_UPDATED SELFPLAY_RATE_CHANGED QUALITY_PENALTY_APPLIED |
 * | QUEUE_POPULATOR | queue, allocation, models, ratings | SELFPLAY_COMPLETE TRAINING_COMPLETED NEW_GAMES_AVAILABLE ELO_UPDATED SELFPLAY_TARGET_UPDATED WORK_FAILED WORK_TIMEOUT BACKPRESSURE_* TRAINING_BLOCKED_BY_QUALITY | WORK_QUEUED ELO_VELOCITY_CHANGED |
 * | JOB_SCHEDULER | queue, nodes (seen, claimed), endpoints, cluster | WORK_QUEUED HOST_OFFLINE NODE_OVERLOADED | WORK_CLAIMED WORK_STARTED WORK_COMPLETED WORK_FAILED WORK_TIMEOUT JOB_PREEMPTED SELFPLAY_COMPLETE |
 * | CLUSTER_MONITOR | nodes (list, status), cluster, queue | HOST_ONLINE HOST_OFFLINE NODE_PROVISIONED NODE_TERMINATED | CLUSTER_STATUS_CHANGED CLUSTER_STALL_DETECTED CLUSTER_CAPACITY_CHANGED NODE_OVERLOADED |
 * | IDLE_RESOURCE | nodes, cluster, queue, allocation | SELFPLAY_TARGET_UPDATED SELFPLAY_RATE_CHANGED QUALITY_DEGRADED BACKPRESSURE_* | IDLE_RESOURCE_DETECTED WORK_QUEUED |
 * | AVAILABILITY_CAPACITY_PLANNER | capacity, nodes, queue | NODE_PROVISIONED NODE_TERMINATED CLUSTER_CAPACITY_CHANGED | CAPACITY_LOW CAPACITY_RESTORED BUDGET_ALERT |
 * | AVAILABILITY_PROVISIONER | nodes, capacity, queue, a provider | CAPACITY_LOW | NODE_PROVISIONED NODE_TERMINATED PROVISION_FAILED BUDGET_EXCEEDED |
 * | AUTO_EXPORT | samples, games, objects, jobs | NEW_GAMES_AVAILABLE DATA_SYNC_COMPLETED | NPZ_EXPORT_STARTED NPZ_EXPORT_COMPLETE NPZ_EXPORT_FAILED |
 * | TRAINING_TRIGGER | samples, quality, queue, models, evaluations, feedback | NPZ_EXPORT_COMPLETE QUALITY_SCORE_UPDATED TRAINING_THRESHOLD_REACHED TRAINING_COMPLETED TRAINING_FAILED EVALUATION_COMPLETED ELO_VELOCITY_CHANGED MODEL_PROMOTED | WORK_QUEUED TRAINING_BLOCKED_BY_QUALITY |
 * | CONTINUOUS_TRAINING_LOOP | queue (training), samples, models, objects, jobs | WORK_QUEUED | TRAINING_STARTED TRAINING_PROGRESS TRAINING_LOSS_TREND TRAINING_LOSS_ANOMALY TRAINING_COMPLETED TRAINING_FAILED |
 * | EVALUATION | evaluations, models, ratings, jobs | TRAINING_COMPLETED | EVALUATION_STARTED EVALUATION_PROGRESS EVALUATION_COMPLETED EVALUATION_FAILED MODEL_EVALUATION_BLOCKED ELO_UPDATED BACKPRESSURE_* |
 * | AUTO_PROMOTION | evaluations, models (decide), ratings, quality, games | EVALUATION_COMPLETED | PROMOTION_CANDIDATE PROMOTION_REJECTED |
 * | UNIFIED_PROMOTION | models (promote, unannounced) | PROMOTION_CANDIDATE | PROMOTION_STARTED PROMOTION_FAILED MODEL_PROMOTED |
 * | MODEL_DISTRIBUTION | models (champions, deliveries), nodes (pushModel, setPointer) | MODEL_PROMOTED NODE_PROVISIONED HOST_ONLINE | MODEL_DISTRIBUTION_STARTED MODEL_DISTRIBUTION_COMPLETE MODEL_DISTRIBUTION_FAILED DISTRIBUTION_INCOMPLETE |
 * | ELO_SYNC | nodes (pullMatches), ratings, objects | MODEL_PROMOTED HOST_ONLINE | ELO_UPDATED ELO_SIGNIFICANT_CHANGE |
 * | QUALITY_MONITOR | games (summarise, page), quality | NEW_GAMES_AVAILABLE QUALITY_CHECK_REQUESTED | QUALITY_SCORE_UPDATED LOW_QUALITY_DATA_WARNING HIGH_QUALITY_DATA_AVAILABLE QUALITY_DEGRADED QUALITY_CHECK_FAILED |
 * | IDLE_SHUTDOWN | nodes (list, status, setDrain, shutdown, retire), queue, games (cursors), capacity | TRAINING_STARTED SELFPLAY_COMPLETE WORK_CLAIMED WORK_STARTED | SYNC_REQUEST NODE_TERMINATED |
 * | DATA_SERVER | objects, endpoints | | |
 *
 * Owners of effects, where two could do the same: only TRAINING_TRIGGER enqueues training (QUEUE_POPULATOR keeps that
 * share of the queue free for it and tops up self-play and tournament), only JOB_SCHEDULER hands items to nodes and
 * expires leases, only UNIFIED_PROMOTION moves the champion, only MODEL_DISTRIBUTION moves the pointer of a node, only
 * AVAILABILITY_PROVISIONER starts and ends node processes; IDLE_SHUTDOWN asks a node to shut itself down (`retire`, then
 * its HTTP), and the provisioner ends what does not.
 */
import type {
  Endpoints,
  EvaluationRow,
  ExportResult,
  GameRow,
  JobInput,
  JobKind,
  JobResult,
  ModelReceipt,
  ModelRef,
  NodeStatus,
  WorkKind,
  WorkPayload,
  WorkResult,
} from './programs/protocol.ts';
import type { Clock } from '../seams/clock.ts';
import type { Network } from '../seams/network.ts';

/** The services, spread flat into the context of every daemon of the fleet. */
export interface Floor {
  readonly games: Games;
  readonly pipeline: Pipeline;
  readonly queue: Queue;
  readonly samples: Samples;
  readonly models: Models;
  readonly evaluations: Evaluations;
  readonly ratings: Ratings;
  readonly feedback: Feedback;
  readonly allocation: Allocations;
  readonly quality: Quality;
  readonly nodes: Nodes;
  readonly cluster: Cluster;
  readonly capacity: Capacity;
  readonly objects: Objects;
  readonly jobs: Jobs;
  readonly endpoints: EndpointBoard;
  readonly loop: Loop;
  readonly handles: Handles;
}

export interface FloorOptions {
  /** Folder of the floor; made when absent. Nodes, stores, jobs, objects and shards live below it. */
  readonly dataDir: string;
  readonly clock: Clock;
  readonly network: Network;
}

/** What the composition root holds; `openFloor` in stores/open-floor.ts makes one. */
export interface FloorHost {
  /**
   * The floor as one start of one daemon sees it.
   * @param assertOpen  throws SCOPE_CLOSED once that start has ended; runs before every call and again before its answer
   */
  forDaemon(type: string, generation: number, assertOpen: () => void): Floor;
  /** The floor without a holder: for the live view and for tests. */
  readonly floor: Floor;
  /** Ends the store thread after the calls already made; idempotent. */
  close(): Promise<void>;
}

/** A page as a node sent it: unread by the main loop, parsed and checked in the store thread. */
export interface RawPage {
  readonly nodeId: string;
  readonly body: Uint8Array;
}

// ------------------------------------------------------------------------------------------------------------- games

/** The canonical stores, one SQLite file per config: `<dataDir>/canonical/<config>.db`. */
export interface Games {
  /** Configs that have a canonical store, sorted. */
  configs(): Promise<string[]>;
  /** How far each config of this node has been committed here; an absent config starts at 0. */
  cursors(nodeId: string): Promise<GameCursor[]>;
  /**
   * Inserts the rows of a page by game id and moves the cursor, in one transaction. Replayed or overlapping pages insert
   * nothing twice. A page that starts past the cursor (`gap`) has its rows inserted and the cursor left where it is; a
   * page of another `storeId` starts the cursor anew. Rows that are not valid are counted in `refused` and set aside with
   * the reason; they never hold up the cursor.
   * @throws FLOOR_INPUT_INVALID when the body is not a games page of that node
   */
  ingest(page: RawPage): Promise<IngestReceipt>;
  /** Games of a config; zeros for one without a store. */
  total(config: string): Promise<{ readonly games: number; readonly lastSeq: number }>;
  /** Rows with `seq > after`, in seq order; at most `limit` (bounded to 1,000). */
  page(
    config: string,
    range: { readonly after: number; readonly limit: number },
  ): Promise<(GameRow & { readonly seq: number })[]>;
  /** Figures over at most `limit` games after `after`, computed by the store; null when there are none. */
  summarise(config: string, range: { readonly after: number; readonly limit: number }): Promise<GameSummary | null>;
  /** Path of the canonical store, for an export job (read-only use). */
  database(config: string): Promise<string>;
  /**
   * *Rescan*: by how much the store has grown since `reader` last told of it; null when it has not. The same stretch,
   * whatever came since, until `told` confirms it: so stretches tile the store, and each is one fact with one id.
   */
  news(config: string, reader: string): Promise<GameNews | null>;
  /** The event about the stretch that ends at `lastSeq` is durable; repeatable. */
  told(config: string, reader: string, lastSeq: number): Promise<void>;
}

export interface GameNews {
  readonly games: number;
  /** Games in the store at the end of the stretch, and the newest of them. */
  readonly total: number;
  readonly lastSeq: number;
}

export interface GameCursor {
  readonly config: string;
  readonly storeId: string;
  readonly seq: number;
}

export interface IngestReceipt {
  readonly config: string;
  readonly nodeId: string;
  readonly inserted: number;
  /** Rows that were there already. */
  readonly known: number;
  readonly refused: number;
  /** The cursor after this page: `after` of the next pull. */
  readonly cursor: number;
  readonly gap: boolean;
  /** The node has more after this page. */
  readonly more: boolean;
  /** Games in the canonical store now, and its newest seq. */
  readonly total: number;
  readonly lastSeq: number;
}

export interface GameSummary {
  readonly games: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly pliesMean: number;
  readonly pliesMin: number;
  readonly pliesMax: number;
  /** Shares 0..1. */
  readonly draws: number;
  /** Games whose first eight plies another game of the range has too. */
  readonly repeatedOpenings: number;
  readonly repeatedGames: number;
  readonly explorationMean: number;
  /** Share of games won by each seat. */
  readonly seatWins: readonly number[];
}

// ---------------------------------------------------------------------------------------------------------- pipeline

/** In the order of the loop. An iteration that is `done` has opened the next one. */
export const STAGES = ['selfplay', 'sync', 'export', 'train', 'evaluate', 'promote', 'distribute', 'done'] as const;
export type Stage = (typeof STAGES)[number];

/** One row per iteration of a config: where the loop is, since when, with which artefacts. */
export interface Pipeline {
  /** The open iteration; made (number 1, stage selfplay) when the config has none. */
  current(config: string): Promise<Iteration>;
  /** Open iterations of all configs, by name. */
  list(): Promise<Iteration[]>;
  /** Moves the iteration if it is still at `from`; a repeat, or a late event of an older stage, changes nothing. Stages may be skipped, never walked back. */
  advance(step: {
    readonly config: string;
    readonly iteration: number;
    readonly from: Stage;
    readonly to: Stage;
    /** Ids and counts to keep: merged into `artefacts`. */
    readonly artefacts?: Readonly<Record<string, string | number>>;
  }): Promise<{ readonly advanced: boolean; readonly row: Iteration }>;
  /** Counts a failure once per `key` (the event id). At `breakerFailures` in one stage the breaker opens for `breakerSeconds`. */
  fail(failure: {
    readonly config: string;
    readonly key: string;
    readonly reason: string;
    readonly breakerFailures: number;
    readonly breakerSeconds: number;
  }): Promise<Iteration>;
  /** *Rescan*: what the stores and the disk say of a config, whatever events said. */
  evidence(config: string): Promise<Evidence>;
}

export interface Iteration {
  readonly config: string;
  /** From 1. */
  readonly iteration: number;
  readonly stage: Stage;
  /** Seconds since this stage was entered, or since the floor was opened if that was later. */
  readonly stageSeconds: number;
  readonly artefacts: Readonly<Record<string, string | number>>;
  /** In this stage. */
  readonly failures: number;
  readonly lastFailure: string | null;
  /** Seconds until the breaker closes; 0 when it is closed. */
  readonly breakerSeconds: number;
}

export interface Evidence {
  readonly games: number;
  readonly lastSeq: number;
  /** Newest game that a shard holds. */
  readonly exportedSeq: number;
  readonly exportsOpen: number;
  /** Shards no model has trained on whose file is on disk, and their rows. */
  readonly unseenShards: number;
  readonly unseenRows: number;
  /** Registered shards whose file is missing. */
  readonly missingShards: readonly string[];
  readonly trainingPending: number;
  /** Candidates registered and not evaluated; evaluated and not decided; decided for and not committed. */
  readonly unevaluated: readonly string[];
  readonly undecided: readonly string[];
  readonly uncommitted: readonly string[];
  readonly championId: string | null;
  /** Live nodes, and those of them that proved to play with the champion. */
  readonly liveNodes: number;
  readonly championNodes: number;
}

// -------------------------------------------------------------------------------------------------------------- queue

export type WorkState = 'pending' | 'claimed' | 'running' | 'completed' | 'failed' | 'cancelled';

/** Work items with leases, fencing tokens and attempts. An item that a lease lost goes back to pending, or to failed after its last attempt. */
export interface Queue {
  /**
   * Adds items by key; a key that was ever used and is remembered adds nothing. Keys are facts
   * (`train:<config>:<hash of shard ids>`) or a version and a number (`selfplay:<config>:<allocation version>:<n>`).
   */
  enqueue(
    items: readonly NewWork[],
  ): Promise<{ readonly queued: number; readonly known: number; readonly itemIds: readonly string[] }>;
  /** The most urgent item that fits, under a new token and lease; null when none fits. Priority, then age. */
  claim(request: WorkClaim): Promise<WorkItem | null>;
  /** First report of the holder: claimed → running, lease renewed. Every report below is refused with a stale token. */
  start(report: WorkToken): Promise<WorkAnswer>;
  renew(report: WorkToken & { readonly done?: number }): Promise<WorkAnswer>;
  /** Closes the item with its result; the same token again is accepted and changes nothing (`first` false). */
  complete(report: WorkToken & { readonly result: WorkResult }): Promise<WorkAnswer>;
  /** Ends the attempt; `retry: false` ends the item. */
  fail(report: WorkToken & { readonly reason: string; readonly retry: boolean }): Promise<WorkAnswer>;
  /** Takes an item back without charging the attempt (pre-emption, an operator, a node that left). */
  release(item: {
    readonly itemId: string;
    readonly reason: string;
    /** The more urgent item it makes way for. */
    readonly forItemId?: string;
  }): Promise<WorkAnswer>;
  cancel(item: { readonly itemId: string; readonly reason: string }): Promise<WorkAnswer>;
  /** Puts items whose lease or whole time ran out back, or fails them. Only JOB_SCHEDULER calls it. */
  expire(): Promise<WorkItem[]>;
  /** *Rescan*: what happened to items and was not confirmed as published, oldest first; at most `limit` (bounded to 500). */
  untold(bound: { readonly limit: number }): Promise<WorkFact[]>;
  /** Confirms every fact up to this one. */
  told(upTo: { readonly n: number }): Promise<void>;
  get(itemId: string): Promise<WorkItem | null>;
  /** Newest first; at most `limit` (bounded to 500). */
  list(filter: {
    readonly states?: readonly WorkState[];
    readonly kind?: WorkKind;
    readonly config?: string;
    readonly holder?: string;
    readonly limit: number;
  }): Promise<WorkItem[]>;
  /** Counts by kind, config and state, with the games wanted by pending self-play. */
  depth(): Promise<QueueDepth[]>;
  /** Forgets closed items, oldest first, keeping the newest `keep`; their keys with them. Returns how many. */
  forget(bound: { readonly keep: number }): Promise<number>;
}

export interface NewWork {
  readonly key: string;
  readonly work: WorkPayload;
  /** Higher is sooner; self-play 50, tournament 40, training 80 by custom. */
  readonly priority: number;
  /** Only this node may take it; null for any. */
  readonly nodeId?: string | null;
  readonly cpus?: number;
  readonly memoryMb?: number;
  /** Default 3. */
  readonly attemptsMax?: number;
  /** For one attempt, whatever its lease says; default 3600. */
  readonly timeoutSeconds?: number;
}

export interface WorkClaim {
  /** Who takes it: a node id, or a daemon type. */
  readonly holder: string;
  readonly kinds: readonly WorkKind[];
  readonly leaseSeconds: number;
  /** What the holder offers; absent means enough of everything. */
  readonly cpus?: number;
  readonly memoryMb?: number;
  /** Models it holds: a tournament item is given only to who holds all of its models (baselines need none). */
  readonly models?: readonly string[];
}

export interface WorkToken {
  readonly itemId: string;
  readonly token: number;
}

export interface WorkAnswer {
  /** False: the token is stale, or there is no such open item. */
  readonly accepted: boolean;
  /** This call changed something; false for a repeat. Publish when true, or at every repeat with an id from the fact. */
  readonly first: boolean;
  /** The item was taken away (cancelled, pre-empted): stop the batch. */
  readonly abandon: boolean;
  /** The item after the call; null when unknown. */
  readonly item: WorkItem | null;
}

export interface WorkItem {
  readonly itemId: string;
  readonly key: string;
  readonly work: WorkPayload;
  readonly state: WorkState;
  readonly priority: number;
  readonly nodeId: string | null;
  readonly holder: string | null;
  /** Of the latest claim; grows with each claim of any item; 0 before the first. */
  readonly token: number;
  readonly attempts: number;
  readonly attemptsMax: number;
  readonly leaseSeconds: number | null;
  readonly done: number;
  readonly result: WorkResult | null;
  readonly reason: string | null;
  /** Wall clock, for people. */
  readonly queuedAtMs: number;
  readonly closedAtMs: number | null;
}

/** Something that happened to an item, once: (what, item, token) never repeats. */
export interface WorkFact {
  /** Grows with each fact. */
  readonly n: number;
  readonly what: 'claimed' | 'started' | 'completed' | 'failed' | 'timed-out' | 'released';
  readonly itemId: string;
  readonly kind: WorkKind;
  readonly config: string;
  /** Who held it, or held it last. */
  readonly holder: string;
  readonly token: number;
  readonly attempt: number;
  /** The item was closed by this. */
  readonly final: boolean;
  readonly reason: string | null;
  readonly result: WorkResult | null;
  readonly forItemId: string | null;
}

export interface QueueDepth {
  readonly kind: WorkKind;
  readonly config: string;
  readonly state: WorkState;
  readonly items: number;
  readonly games: number;
}

// ------------------------------------------------------------------------------------------------------------ samples

/** Exports and shards. Exports of a config follow each other without gap or overlap: each begins where the last ended. */
export interface Samples {
  /** Games no export covers yet. */
  unexported(config: string): Promise<{ readonly games: number; readonly afterSeq: number; readonly upToSeq: number }>;
  /**
   * The open export of a config, or a new one when at least `gamesMin` games wait; null when not. At most one is open
   * per config: that is its lock, and it outlives any crash. `exportId` comes from the range, so it is the job id too.
   */
  openExport(request: {
    readonly config: string;
    readonly gamesMin: number;
    readonly gamesMax: number;
  }): Promise<ExportRange | null>;
  /** *Rescan*: exports begun and not ended, of all configs. */
  openExports(): Promise<ExportRange[]>;
  /** Records the shard of an export by its result; checks that the file has that size and hash. A repeat returns the same shard. */
  completeExport(result: Extract<ExportResult, { ok: true }>): Promise<Shard>;
  /** Counts one failure of an export; the range stays open. */
  failExport(failure: { readonly exportId: string; readonly reason: string }): Promise<ExportRange>;
  /** Shards no model was trained on, oldest first, and their rows. */
  unseen(config: string): Promise<{ readonly shards: readonly Shard[]; readonly rows: number }>;
  /** The newest `shards` shards that are on disk, oldest first, seen or not: a training window. */
  window(config: string, bound: { readonly shards: number }): Promise<Shard[]>;
  byId(shardIds: readonly string[]): Promise<Shard[]>;
  /** Notes that a model was trained on these; repeatable. */
  markSeen(use: { readonly modelId: string; readonly shardIds: readonly string[] }): Promise<void>;
  /** Removes files of shards that a model has seen, oldest first, keeping the newest `keep`; rows stay as `retired`. Returns how many. */
  retire(bound: { readonly config: string; readonly keep: number }): Promise<number>;
}

export interface ExportRange {
  readonly exportId: string;
  readonly config: string;
  readonly afterSeq: number;
  readonly upToSeq: number;
  readonly games: number;
  readonly attempts: number;
  readonly lastFailure: string | null;
  readonly state: 'open' | 'done';
  /** Where the shard is to be written. */
  readonly shardFile: string;
}

export interface Shard {
  /** Same as its export's id. */
  readonly shardId: string;
  readonly config: string;
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly games: number;
  readonly rows: number;
  readonly lastSeq: number;
  /** Wall clock. */
  readonly atMs: number;
  /** Models trained on it. */
  readonly seenBy: number;
  readonly retired: boolean;
}

// ------------------------------------------------------------------------------------------------ models, evaluations

export type ModelState = 'candidate' | 'evaluated' | 'promoted' | 'archived' | 'rejected';

/** The registry. A config has at most one `promoted` model: its champion. */
export interface Models {
  /** The id for the model that the piece of work `key` will make (`square8_2p-v7`): the same key gives the same id. */
  reserve(request: { readonly config: string; readonly key: string }): Promise<string>;
  /** Registers a candidate whose checkpoint is an object (`objects.put`). Same id and hash again: known. Same id, other hash: FLOOR_CONFLICT. */
  register(model: {
    readonly modelId: string;
    readonly config: string;
    readonly parentId: string | null;
    readonly sha256: string;
    readonly rows: number;
    readonly steps: number;
    readonly loss: number;
    readonly trainedSeconds: number;
  }): Promise<{ readonly model: Model; readonly first: boolean }>;
  get(modelId: string): Promise<Model | null>;
  /** Newest first; at most `limit` (bounded to 500). */
  list(filter: { readonly config?: string; readonly state?: ModelState; readonly limit: number }): Promise<Model[]>;
  champion(config: string): Promise<Model | null>;
  champions(): Promise<Model[]>;
  /** Reads the checkpoint and compares its hash with the registered one. */
  verify(modelId: string): Promise<{ readonly ok: boolean; readonly reason: string }>;
  /**
   * Keeps the verdict on (model, champion it was judged against); the first one stands, a repeat returns it
   * (`first` false). A rejected candidate becomes `rejected`.
   */
  decide(verdict: {
    readonly modelId: string;
    readonly championId: string | null;
    readonly promote: boolean;
    readonly reasons: readonly string[];
  }): Promise<{ readonly decision: Decision; readonly first: boolean }>;
  /** *Rescan*: decisions for promotion that were neither committed nor refused. */
  uncommitted(): Promise<Decision[]>;
  /**
   * The promotion transaction: candidate evaluated, file hash right, champion still the one judged against; then archive
   * the old champion, set the new one, append to the log. Repeatable: a decision committed before is `already`.
   */
  promote(decisionId: string): Promise<PromotionOutcome>;
  /** *Rescan*: promotions whose MODEL_PROMOTED was not confirmed as published. */
  unannounced(): Promise<Promotion[]>;
  announced(promotionId: string): Promise<void>;
  /** The log, newest first. */
  promotions(filter: { readonly config?: string; readonly limit: number }): Promise<Promotion[]>;
  /** Notes what a node proved: it holds the bytes, or plays with them. Never goes back from in-use to held for one run. */
  delivered(delivery: {
    readonly modelId: string;
    readonly nodeId: string;
    readonly runId: string;
    readonly state: 'held' | 'in-use';
  }): Promise<void>;
  deliveries(
    modelId: string,
  ): Promise<{ readonly nodeId: string; readonly runId: string; readonly state: 'held' | 'in-use' }[]>;
}

export interface Model {
  readonly modelId: string;
  readonly config: string;
  /** Counts models of the config, from 1. */
  readonly number: number;
  readonly parentId: string | null;
  readonly sha256: string;
  /** Path of the checkpoint in the object store. */
  readonly file: string;
  readonly bytes: number;
  readonly state: ModelState;
  readonly rows: number;
  readonly steps: number;
  readonly loss: number;
  /** Wall clock. */
  readonly createdAtMs: number;
}

export interface Decision {
  /** `<modelId>.vs.<championId or none>`. */
  readonly decisionId: string;
  readonly config: string;
  readonly modelId: string;
  readonly championId: string | null;
  readonly promote: boolean;
  readonly reasons: readonly string[];
  readonly state: 'open' | 'committed' | 'refused' | 'rejected';
}

export interface Promotion {
  readonly promotionId: string;
  readonly config: string;
  readonly modelId: string;
  readonly sha256: string;
  readonly previousModelId: string | null;
  readonly atMs: number;
}

export type PromotionOutcome =
  | { readonly outcome: 'promoted' | 'already'; readonly promotion: Promotion }
  | {
      readonly outcome: 'refused';
      readonly reason: string;
      /** Worth another evaluation against the present champion. */ readonly championChanged: boolean;
    };

/** The persistent evaluation queue and its result rows. An evaluation is of one model against one champion and the baselines. */
export interface Evaluations {
  /** Queues a model against the present champion; known when that pair was ever queued. */
  enqueue(request: { readonly modelId: string }): Promise<{ readonly evaluation: Evaluation; readonly first: boolean }>;
  /** *Rescan*: candidates that were never queued are queued, and winners refused because the champion had changed meet the present one. Returns how many. */
  enqueueMissing(): Promise<number>;
  /** Evaluations begun and not ended: look for their result first (`evaluationId` is the job id). */
  running(): Promise<Evaluation[]>;
  /** Begins the oldest queued one; null when none waits. */
  next(): Promise<Evaluation | null>;
  /** One transaction: result rows, evaluation done, model `evaluated`. Repeatable. Zero games: FLOOR_INPUT_INVALID. */
  complete(result: {
    readonly evaluationId: string;
    readonly rows: readonly EvaluationRow[];
  }): Promise<{ readonly evaluation: Evaluation; readonly first: boolean }>;
  /** Ends the attempt; queued again until `attemptsMax`, then failed. */
  fail(failure: {
    readonly evaluationId: string;
    readonly reason: string;
    readonly attemptsMax: number;
  }): Promise<Evaluation>;
  /** The latest finished evaluation of a model; null when none. */
  of(modelId: string): Promise<Evaluation | null>;
  /** *Rescan*: finished evaluations without a decision. */
  undecided(): Promise<Evaluation[]>;
  /** Queued and running. */
  depth(): Promise<number>;
  /** Finished ones, newest first. */
  history(filter: { readonly config: string; readonly limit: number }): Promise<Evaluation[]>;
}

export interface Evaluation {
  /** `<modelId>.vs.<championId or none>`: the decision that follows has the same id. */
  readonly evaluationId: string;
  readonly config: string;
  readonly modelId: string;
  readonly championId: string | null;
  readonly state: 'queued' | 'running' | 'done' | 'failed';
  readonly attempts: number;
  readonly rows: readonly EvaluationRow[];
  readonly reason: string | null;
  /** Wall clock of the end; null before. */
  readonly atMs: number | null;
}

// ------------------------------------------------------------------------------------------------------------ ratings

/** Match rows by id, and the ratings fitted to them: never adjusted in place. */
export interface Ratings {
  /** Last seq merged from a source, and the store it belongs to. */
  cursor(source: string): Promise<{ readonly storeId: string | null; readonly seq: number }>;
  /** Inserts rows by match id and moves the source's cursor in one transaction, then fits the touched configs anew. */
  merge(page: RawPage): Promise<MergeReceipt>;
  /** The same for the matches file of an evaluation. */
  mergeFile(file: string): Promise<MergeReceipt>;
  /** Best first. `random` is the anchor at 1000. */
  table(config: string): Promise<Rating[]>;
  /** Rating gain of champions per hour over the last `hours`; null with fewer than two points. */
  velocity(config: string, window: { readonly hours: number }): Promise<number | null>;
  /** Writes all tables as one JSON object with a digest and puts it into the object store as `ratings.json`. */
  snapshot(): Promise<{ readonly sha256: string; readonly bytes: number; readonly changed: boolean }>;
}

export interface MergeReceipt {
  readonly source: string;
  readonly inserted: number;
  readonly known: number;
  readonly refused: number;
  readonly cursor: number;
  readonly more: boolean;
  /** New rows per config. */
  readonly configs: Readonly<Record<string, number>>;
  /** Ratings that moved by more than their error. */
  readonly moved: readonly {
    readonly config: string;
    readonly agent: string;
    readonly from: number;
    readonly to: number;
    readonly error: number;
  }[];
}

export interface Rating {
  readonly agent: string;
  /** Elo scale: 400 points are ten to one. */
  readonly rating: number;
  /** Half of the 95 % interval. */
  readonly error: number;
  readonly games: number;
}

// --------------------------------------------------------------------------------- feedback, allocation, quality

export type Intensity = 'paused' | 'reduced' | 'normal' | 'accelerated' | 'hot';

/** Signals per config, and the parameters made of them, with a version. */
export interface Feedback {
  /** Keeps a signal once per `key` (the event id). The newest 500 per config and signal are kept. */
  record(signal: {
    readonly key: string;
    readonly config: string;
    readonly signal: string;
    readonly value: number;
  }): Promise<{ readonly first: boolean }>;
  /** Newest first. */
  signals(
    config: string,
    filter: { readonly signal: string; readonly limit: number },
  ): Promise<{ readonly value: number; readonly atMs: number }[]>;
  /** Defaults (version 0) for a config without any. */
  parameters(config: string): Promise<FeedbackParameters>;
  /** Of every config with parameters or signals, by name. */
  all(): Promise<FeedbackParameters[]>;
  /** A change makes a new version; the same values again change nothing. */
  save(parameters: Omit<FeedbackParameters, 'version'>): Promise<{
    readonly parameters: FeedbackParameters;
    readonly previous: FeedbackParameters;
    readonly changed: boolean;
  }>;
}

export interface FeedbackParameters {
  readonly config: string;
  readonly version: number;
  readonly intensity: Intensity;
  /** Multiplies the exploration of self-play, 0.5..2. */
  readonly explorationBoost: number;
  /** Share of self-play against the other configs, before normalising. */
  readonly weight: number;
  /** Curriculum level: 0 meets baselines, higher meets itself more. */
  readonly level: number;
  readonly reasons: readonly string[];
}

/** What self-play should be played where: written by SELFPLAY_COORDINATOR, read by who queues work. */
export interface Allocations {
  current(): Promise<Allocation>;
  /** The one before the current; version 0 when there is none. What changed is the difference of the two. */
  previous(): Promise<Allocation>;
  /** A change makes a new version; the same rows again change nothing. */
  write(
    rows: Pick<Allocation, 'targets' | 'quotas'>,
  ): Promise<{ readonly allocation: Allocation; readonly previous: Allocation; readonly changed: boolean }>;
}

export interface Allocation {
  /** 0 before the first. */
  readonly version: number;
  readonly targets: readonly {
    readonly config: string;
    /** Games wanted until the next allocation. */
    readonly games: number;
    readonly exploration: number;
    readonly opponents: readonly { readonly agent: string; readonly weight: number }[];
  }[];
  /** The targets split over nodes; integers that add up to them. */
  readonly quotas: readonly { readonly config: string; readonly nodeId: string; readonly games: number }[];
}

export interface Quality {
  /** The verdict on the games of a range; moves the cursor; once per range. The rolling score follows with a half-life of 500 games. */
  record(verdict: {
    readonly config: string;
    readonly afterSeq: number;
    readonly lastSeq: number;
    readonly games: number;
    readonly score: number;
    readonly parts: Readonly<Record<string, number>>;
  }): Promise<{ readonly state: QualityState; readonly previous: QualityState | null; readonly first: boolean }>;
  /** Null for a config never judged. */
  of(config: string): Promise<QualityState | null>;
}

export interface QualityState {
  readonly config: string;
  /** Rolling, 0..1. */
  readonly score: number;
  /** Of the last range. */
  readonly last: number;
  readonly parts: Readonly<Record<string, number>>;
  readonly games: number;
  /** Cursor: games up to here have been judged. */
  readonly seq: number;
}

// ---------------------------------------------------------------------------------------------- nodes, cluster, spend

export type NodeState = 'starting' | 'live' | 'draining' | 'retired' | 'lost' | 'failed';

/** The inventory, and the HTTP client of a node. A node is its folder; a run is one process in it. */
export interface Nodes {
  list(filter?: { readonly states?: readonly NodeState[] }): Promise<NodeRow[]>;
  get(nodeId: string): Promise<NodeRow | null>;
  /**
   * A node to start, with a new `runId`, state starting: a lost or failed one of the pool first (its folder may hold games
   * that nobody has pulled), else a new one with a folder of its own.
   */
  reserve(request: {
    readonly pool: string;
    readonly provider: string;
    readonly pricePerHour: number;
  }): Promise<NodeRow>;
  /** A run showed itself (announcement or claim): starting → live. `known` false: not a run the floor wants, it should end. */
  seen(run: {
    readonly nodeId: string;
    readonly runId: string;
    readonly url: string;
    readonly pid: number;
    readonly storeId: string;
  }): Promise<{ readonly known: boolean; readonly node: NodeRow | null }>;
  /** Notes the first claim of a run; repeatable. */
  claimed(run: { readonly nodeId: string; readonly runId: string }): Promise<void>;
  /** Marks a live node as leaving (`draining`) or takes it back (`live`). */
  drain(run: { readonly nodeId: string; readonly runId: string; readonly drain: boolean }): Promise<NodeRow>;
  /** Notes whether a run answers. `changes` counts per run, from 1: (run, changes) names one change and no other. */
  contact(contact: {
    readonly nodeId: string;
    readonly runId: string;
    readonly answers: boolean;
  }): Promise<{ readonly changed: boolean; readonly changes: number }>;
  /** A run ended: lost (may come back), failed (start rolled back), retired (not wanted). The first end of a run stands. */
  end(run: {
    readonly nodeId: string;
    readonly runId: string;
    readonly state: 'lost' | 'failed' | 'retired';
    readonly reason: string;
  }): Promise<{ readonly node: NodeRow; readonly first: boolean }>;
  /**
   * *Rescan*: runs whose news was not confirmed as published, by node: `up` when it lives and has claimed, `over` when it
   * ended. News of a run is forgotten when its node is reserved again.
   */
  untold(): Promise<{ readonly node: NodeRow; readonly news: 'up' | 'over' }[]>;
  told(news: { readonly nodeId: string; readonly runId: string; readonly news: 'up' | 'over' }): Promise<void>;

  ping(nodeId: string): Promise<{ readonly nodeId: string; readonly runId: string; readonly roundTripMs: number }>;
  status(nodeId: string): Promise<NodeStatus>;
  /** Rows after `after`, unread; hand them to `games.ingest`. Page size at most 2,000. */
  pullGames(request: {
    readonly nodeId: string;
    readonly config: string;
    readonly after: number;
    readonly limit: number;
  }): Promise<RawPage>;
  /** Hand them to `ratings.merge`. */
  pullMatches(request: { readonly nodeId: string; readonly after: number; readonly limit: number }): Promise<RawPage>;
  /** Sends the checkpoint; the receipt is the node's own hash of what arrived. Repeatable. */
  pushModel(request: { readonly nodeId: string; readonly modelId: string }): Promise<ModelReceipt>;
  /** Switches what the node plays with; refused (NODE_REFUSED) unless it holds exactly those bytes. Repeatable. */
  setPointer(request: { readonly nodeId: string; readonly modelId: string }): Promise<ModelRef>;
  setDrain(request: { readonly nodeId: string; readonly drain: boolean }): Promise<void>;
  shutdown(request: { readonly nodeId: string; readonly reason: string }): Promise<void>;
}

export interface NodeRow {
  readonly nodeId: string;
  /** Of the latest run. */
  readonly runId: string;
  readonly pool: string;
  readonly provider: string;
  readonly state: NodeState;
  readonly folder: string;
  readonly url: string | null;
  readonly pid: number | null;
  readonly storeId: string | null;
  readonly pricePerHour: number;
  /** Seconds since this run was reserved, or since the floor was opened if that was later. */
  readonly runSeconds: number;
  /** Seconds since `seen`; null when this run never was (or not since the floor opened). */
  readonly seenSeconds: number | null;
  readonly hasClaimed: boolean;
  readonly reason: string | null;
}

/** Games a node has that the floor lacks, from its status and its cursors. */
export const gamesBehind = (status: NodeStatus, cursors: readonly GameCursor[]): number =>
  Object.entries(status.lastSeq).reduce((behind, [config, lastSeq]) => {
    const cursor = cursors.find((row) => row.config === config && row.storeId === status.storeId);
    return behind + Math.max(0, lastSeq - (cursor?.seq ?? 0));
  }, 0);

/** One row per node: the last picture CLUSTER_MONITOR took. */
export interface Cluster {
  put(rows: readonly ClusterRow[]): Promise<void>;
  list(): Promise<ClusterRow[]>;
  /** Drops rows of retired nodes that were taken before this wall clock. Returns how many. */
  prune(bound: { readonly beforeMs: number }): Promise<number>;
}

export interface ClusterRow {
  readonly nodeId: string;
  readonly runId: string;
  readonly up: boolean;
  /** Cores in use, 0..cpus, over the last period. */
  readonly cpu: number;
  readonly residentBytes: number;
  readonly games: number;
  readonly gamesPerMinute: number;
  readonly idleSeconds: number;
  readonly currentItemId: string | null;
  /** Wall clock of the picture. */
  readonly atMs: number;
}

/** Spend from metered uptime, and the plan for how many nodes to run. */
export interface Capacity {
  /** Adds what the uptime of a run grew by since it was last metered; the same or a smaller figure adds nothing. */
  meter(run: {
    readonly nodeId: string;
    readonly runId: string;
    readonly uptimeSeconds: number;
    readonly pricePerHour: number;
  }): Promise<void>;
  /** Money spent in the last hour and the last day, the price per hour of runs now live, and of runs stopped in the last day. */
  spend(): Promise<{
    readonly hour: number;
    readonly day: number;
    readonly perHourNow: number;
    readonly saved: number;
  }>;
  advise(plan: {
    readonly wanted: number;
    readonly reason: string;
  }): Promise<{ readonly advice: Advice; readonly changed: boolean }>;
  /** Version 0, wanted 0 before the first. */
  advice(): Promise<Advice>;
  /** Books what a stopped run saves per hour; once per run. */
  bookSaving(saving: {
    readonly nodeId: string;
    readonly runId: string;
    readonly perHour: number;
  }): Promise<{ readonly first: boolean }>;
}

export interface Advice {
  readonly version: number;
  readonly wanted: number;
  readonly reason: string;
  /** Seconds since it changed, or since the floor was opened if that was later. */
  readonly ageSeconds: number;
}

// ----------------------------------------------------------------------------------- objects, jobs, endpoints, summary

/** The object store: files by content. A directory here: `<dataDir>/objects/<first two digits>/<sha256>`. */
export interface Objects {
  /** Copies a file in under its hash; the same bytes again change nothing; the same name again points to the newest. */
  put(object: { readonly file: string; readonly kind: ObjectKind; readonly name: string }): Promise<ObjectRow>;
  /** Indexes a file where it is (a shard), instead of copying it. */
  index(object: {
    readonly file: string;
    readonly kind: ObjectKind;
    readonly name: string;
    readonly sha256: string;
    readonly bytes: number;
  }): Promise<ObjectRow>;
  get(sha256: string): Promise<ObjectRow | null>;
  named(name: string): Promise<ObjectRow | null>;
  /** By name; at most `limit` (bounded to 1,000). */
  list(filter: { readonly kind?: ObjectKind; readonly after?: string; readonly limit: number }): Promise<ObjectRow[]>;
  /** Bytes `from <= i < from + bytes` (bounded to 4 MiB a call), read in the store thread. */
  read(sha256: string, range: { readonly from: number; readonly bytes: number }): Promise<Uint8Array>;
  /** Adds to the count of bytes served to a client. */
  served(traffic: { readonly client: string; readonly bytes: number }): Promise<void>;
  traffic(): Promise<{ readonly client: string; readonly bytes: number; readonly requests: number }[]>;
}

export type ObjectKind = 'model' | 'shard' | 'ratings' | 'other';

export interface ObjectRow {
  readonly sha256: string;
  readonly bytes: number;
  readonly kind: ObjectKind;
  readonly name: string;
  /** Absolute, inside the floor's folder. */
  readonly file: string;
}

/** Folders of child programs: `<dataDir>/jobs/<kind>/<jobId>/`. */
export interface Jobs {
  /** Paths of a job; makes nothing. */
  paths(kind: JobKind, jobId: string): JobPaths;
  /** Checks and writes the job file; a result of the same id that is there already stays. @returns argv for `spawn` */
  prepare<Kind extends JobKind>(
    kind: Kind,
    job: JobInput<Kind>,
  ): Promise<{ readonly command: string[]; readonly paths: JobPaths }>;
  /** The result when there is one; a file that does not pass its schema is a retryable failure. */
  result<Kind extends JobKind>(kind: Kind, jobId: string): Promise<JobResult<Kind> | null>;
  /** Step and total of the progress file; null before there is one. `step` grows: that is the evidence. */
  progress(
    kind: JobKind,
    jobId: string,
  ): Promise<{ readonly step: number; readonly steps: number; readonly loss: number | null } | null>;
  /** Removes the folder of a job whose outcome has been kept; repeatable. */
  discard(kind: JobKind, jobId: string): Promise<void>;
}

export interface JobPaths {
  readonly folder: string;
  readonly jobFile: string;
  readonly resultFile: string;
  readonly progressFile: string;
  /** For checkpoints, models and match rows. */
  readonly file: (name: string) => string;
}

/** Where the floor's own servers listen, for nodes: `<dataDir>/endpoints.json`. */
export interface EndpointBoard {
  /** Path of the file, for a node's configuration. */
  readonly file: string;
  announce(where: Partial<Pick<Endpoints, 'scheduler' | 'data'>>): Promise<void>;
  read(): Promise<Endpoints>;
}

/** Stores whose file handle a drill may close: `canonical` stands for the game stores of all configs. */
export type StoreName = 'pipeline' | 'feedback' | 'canonical' | 'queue' | 'models' | 'ratings';

/** For drills. A closed handle fails every call that needs it (STORE_FAILED) until it is opened again; both repeatable. */
export interface Handles {
  close(store: StoreName): Promise<void>;
  reopen(store: StoreName): Promise<void>;
}

/** For people: the live view, the dashboard, the bench. One call, a few milliseconds in the store thread. */
export interface Loop {
  summary(): Promise<LoopSummary>;
}

export interface LoopSummary {
  readonly configs: readonly {
    readonly config: string;
    readonly iteration: number;
    readonly stage: Stage;
    readonly games: number;
    readonly shards: number;
    readonly rows: number;
    readonly models: number;
    readonly championId: string | null;
    readonly promotions: number;
    readonly quality: number | null;
    readonly rating: number | null;
    readonly ratingError: number | null;
    /** Oldest first, the newest 50 evaluations: scores against the baselines and whether it was promoted. */
    readonly strength: readonly {
      readonly modelId: string;
      readonly atMs: number;
      readonly vsRandom: number | null;
      readonly vsGreedy: number | null;
      readonly vsChampion: number | null;
      readonly promoted: boolean;
    }[];
  }[];
  readonly nodes: readonly {
    readonly nodeId: string;
    readonly state: NodeState;
    readonly gamesPerMinute: number;
    readonly current: string | null;
  }[];
  readonly queue: readonly QueueDepth[];
  readonly gamesPerMinute: number;
}

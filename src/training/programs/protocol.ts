/**
 * What crosses the edge of a process on the training floor: job files, result files, and the HTTP of nodes.
 *
 * Two ways of working. A *child program* (export, train, evaluate) gets the path of a job file as its only argument and
 * leaves a result file; both are written by temp file and rename, so either exists whole or not at all. Whoever ordered
 * it may die meanwhile: the next start finds the result where the job said it would be, and takes it from there. A *node*
 * is a program that stays: it claims work from the scheduler's endpoint over loopback HTTP, keeps every game in a store
 * of its own before it says a word about it, and answers questions.
 *
 * Everything read from another process passes one of these schemas. Shapes may grow by optional fields; `version` grows
 * when a field changes its meaning, and a program refuses a version above its own.
 */
import { z } from 'zod';
import { programCommand } from '../../seams/entry.ts';

/** Version of every file and body below. */
export const PROTOCOL_VERSION = 1;

/** Board and players, as upstream names them: `square8_2p`, `hex8_4p`. Safe as a file name. */
export const configName = z
  .string()
  .regex(/^(square\d{1,2}|hex\d{1,2}|hexagonal)_[2-4]p$/, 'a config is named like square8_2p or hex8_4p');
/** Names of nodes, items, exports, models: safe as a file name, a URL part and a log word. */
export const identifier = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/, 'letters, digits, dot, dash, underscore; at most 96');
/** SHA-256, lower-case hex. */
export const sha256Text = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 in lower-case hex');
const count = z.int().nonnegative();
const share = z.number().min(0).max(1);
const path = z.string().min(1);
const version = z.literal(PROTOCOL_VERSION);

/** Who plays: `random`, `greedy`, or the id of a model. */
export const agentName = identifier;
export const BASELINES = ['random', 'greedy'] as const;

// ---------------------------------------------------------------------------------------------------- games, matches

/** One finished self-play game. Rows are facts: never changed once written, known by their id everywhere. */
export const gameRow = z.strictObject({
  /** Unique over all nodes and for all time; a UUID. */
  id: z.string().min(8).max(64),
  config: configName,
  /** As game/record.ts writes them: one or two digits of 64 per placement, passes implied. Replaying gives the pieces. */
  moves: z.string().regex(/^[A-Za-z0-9_-]{1,1024}$/),
  /** Placements. */
  plies: z.int().positive(),
  /** Pieces of each seat at the end; its length is the number of players. */
  pieces: z.array(count).min(2).max(4),
  /** Seat that won alone; null for a draw. */
  winner: z.int().min(0).max(3).nullable(),
  /** Who sat where: agent names, one per seat. */
  agents: z.array(agentName).min(2).max(4),
  /** Share of moves that were drawn at random. */
  exploration: share,
  /** Wall clock, milliseconds. */
  endedAtMs: z.number(),
});
export type GameRow = z.output<typeof gameRow>;

/** One finished game between named agents that counts for ratings. */
export const matchRow = z.strictObject({
  /** Unique over all sources; made from the job and the game's number, so that a repeated job repeats its ids. */
  id: z.string().min(3).max(128),
  config: configName,
  /** Agent and final pieces per seat; with three or four players an agent may hold several seats. */
  seats: z
    .array(z.strictObject({ agent: agentName, score: count }))
    .min(2)
    .max(4),
  playedAtMs: z.number(),
});
export type MatchRow = z.output<typeof matchRow>;

/** What a node answers to GET /games: rows with `after < seq <= next`, in seq order. */
export const gamesPage = z.strictObject({
  version,
  nodeId: identifier,
  /** Changes when the node's store was made anew: cursors of the old store mean nothing in the new one. */
  storeId: identifier,
  config: configName,
  after: count,
  /** Cursor for the next call; equals `after` when there is nothing new. */
  next: count,
  more: z.boolean(),
  games: z.array(gameRow).max(5000),
});
export type GamesPage = z.output<typeof gamesPage>;

/** What a node answers to GET /matches, and what evaluate writes to its matches file (with its job as the source). */
export const matchesPage = z.strictObject({
  version,
  /** A node id, or a job id. */
  source: identifier,
  storeId: identifier,
  after: count,
  next: count,
  more: z.boolean(),
  matches: z.array(matchRow).max(5000),
});
export type MatchesPage = z.output<typeof matchesPage>;

// -------------------------------------------------------------------------------------------------------- work items

/** What a work item asks for. Self-play and tournament items are claimed by nodes, training items by the trainer. */
export const workPayload = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('selfplay'),
    config: configName,
    games: z.int().min(1).max(10_000),
    /** Share of random moves. */
    exploration: share,
    /** Who sits opposite the node's current model, by weight; `self` is the model itself. Weights need not sum to 1. */
    opponents: z
      .array(z.strictObject({ agent: z.union([z.literal('self'), agentName]), weight: z.number().positive() }))
      .min(1)
      .max(8),
    seed: count,
  }),
  z.strictObject({
    kind: z.literal('tournament'),
    config: configName,
    /** Agents that meet, seats rotated; models among them must be held by the node (`models` of its claim). */
    agents: z.array(agentName).min(2).max(4),
    games: z.int().min(1).max(2000),
    seed: count,
  }),
  z.strictObject({
    kind: z.literal('training'),
    config: configName,
    /** The exact shards to train on, oldest first. */
    shardIds: z.array(identifier).min(1).max(512),
    /** Weights to start from; null starts fresh. */
    baseModelId: identifier.nullable(),
    seed: count,
  }),
]);
export type WorkPayload = z.output<typeof workPayload>;
export type WorkKind = WorkPayload['kind'];
export const WORK_KINDS = ['selfplay', 'tournament', 'training'] as const satisfies readonly WorkKind[];

/** What a worker reports at the end of an item; kept with the item. */
export const workResult = z.strictObject({
  games: count.default(0),
  matches: count.default(0),
  seconds: z.number().nonnegative(),
  /** Model that played or was made; null when none. */
  modelId: identifier.nullable().default(null),
  /** Last seq of the node's store after the item, so that AUTO_SYNC knows how far there is to pull. */
  lastSeq: count.optional(),
});
export type WorkResult = z.output<typeof workResult>;

// ------------------------------------------------------------------------------------------- a node, its files and API

/** `<node folder>/config.json`, written by the provider before the node starts. The folder is the node's only argument. */
export const nodeConfig = z.strictObject({
  version,
  nodeId: identifier,
  /** New for each start of the process; every answer and claim carries it. */
  runId: identifier,
  pool: identifier,
  /** File that names the floor's endpoints (`endpoints` below); re-read before a claim, since the scheduler may move. */
  endpointsFile: path,
  kinds: z.array(z.enum(['selfplay', 'tournament'])).min(1),
  cpus: z.number().positive().default(1),
  memoryMb: z.int().positive().default(512),
  /** Pause between claims that found nothing, milliseconds; the scheduler's answer may lengthen it. */
  idlePollMs: z.int().min(50).max(60_000).default(500),
  /** It commits games at least this often while it plays a batch. */
  commitGames: z.int().min(1).max(1000).default(50),
  /** Games already acknowledged by a sync cursor that it still keeps, newest first. */
  keepGames: count.default(20_000),
  /** It ends itself when neither a request nor an answered claim reached it for this long: its master is gone. */
  lonelySeconds: z.number().positive().default(120),
  port: z.int().min(0).max(65_535).default(0),
  seed: count,
});
export type NodeConfig = z.output<typeof nodeConfig>;
/** What the provider writes: defaults may be left out. */
export type NodeConfigInput = z.input<typeof nodeConfig>;

/** `<node folder>/node.json`, written by the node once it listens. Stale unless `runId` is the expected one. */
export const nodeAnnouncement = z.strictObject({
  version,
  nodeId: identifier,
  runId: identifier,
  pid: z.int().positive(),
  url: z.string(),
  storeId: identifier,
});
export type NodeAnnouncement = z.output<typeof nodeAnnouncement>;

/** `<floor folder>/endpoints.json`: where the floor's own servers listen now. */
export const endpoints = z.strictObject({
  version,
  /** Claim endpoint of JOB_SCHEDULER; null while it is down. */
  scheduler: z.string().nullable(),
  /** DATA_SERVER; null while it is down. */
  data: z.string().nullable(),
});
export type Endpoints = z.output<typeof endpoints>;

const modelRef = z.strictObject({ modelId: identifier, config: configName, sha256: sha256Text });
export type ModelRef = z.output<typeof modelRef>;

/** GET /status of a node. */
export const nodeStatus = z.strictObject({
  version,
  nodeId: identifier,
  runId: identifier,
  pid: z.int().positive(),
  storeId: identifier,
  uptimeSeconds: z.number(),
  cpuSeconds: z.number(),
  residentBytes: count,
  /** Games in its store, and played in the last 60 s. */
  games: count,
  gamesPerMinute: z.number(),
  /** Newest seq per config: what a sync cursor should reach. */
  lastSeq: z.record(configName, count),
  matchesLastSeq: count,
  /** The batch in hand. */
  current: z
    .strictObject({ itemId: identifier, kind: z.enum(WORK_KINDS), config: configName, done: count, of: count })
    .nullable(),
  /** Seconds since it last had a batch; 0 while it has one. */
  idleSeconds: z.number(),
  itemsDone: count,
  draining: z.boolean(),
  /** Models it holds, hash checked on arrival. */
  models: z.array(modelRef),
  /** Model in use per config. */
  pointers: z.record(configName, modelRef),
});
export type NodeStatus = z.output<typeof nodeStatus>;

/** PUT /models/:modelId?config=&sha256= answers what arrived, computed from the bytes; 422 when the hash differs. */
export const modelReceipt = z.strictObject({ modelId: identifier, sha256: sha256Text, bytes: count });
export type ModelReceipt = z.output<typeof modelReceipt>;

/**
 * Routes of a node, all on loopback. Errors are `{ error: string }` with 400, 404, 409, 422 or 503.
 *
 * | route | body | answer |
 * | --- | --- | --- |
 * | GET /ping | | `{ nodeId, runId }` |
 * | GET /status | | `nodeStatus` |
 * | GET /games?config=&after=&limit= | | `gamesPage`; `after` also acknowledges: rows up to it may be pruned past `keepGames` |
 * | GET /matches?after=&limit= | | `matchesPage` |
 * | PUT /models/:modelId?config=&sha256= | bytes of the checkpoint | `modelReceipt`; repeatable |
 * | PUT /pointers/:config | `{ modelId, sha256 }` | `modelRef`; 409 unless it holds that model with that hash; durable; repeatable |
 * | POST /drain | `{ drain: boolean }` | `{ draining }`: stops or resumes claiming |
 * | POST /shutdown | `{ reason }` | `{ accepted: true }`: drains, finishes or abandons the batch within 5 s, exits 0 |
 */
export const pingAnswer = z.strictObject({ nodeId: identifier, runId: identifier });
export const pointerRequest = z.strictObject({ modelId: identifier, sha256: sha256Text });
export const drainRequest = z.strictObject({ drain: z.boolean() });
export const drainAnswer = z.strictObject({ draining: z.boolean() });
export const shutdownRequest = z.strictObject({ reason: z.string() });
export const shutdownAnswer = z.strictObject({ accepted: z.boolean() });
export { modelRef };

/** POST <scheduler>/claim by a node that has nothing to do. */
export const claimRequest = z.strictObject({
  version,
  nodeId: identifier,
  runId: identifier,
  url: z.string(),
  pid: z.int().positive(),
  storeId: identifier,
  kinds: z.array(z.enum(['selfplay', 'tournament'])).min(1),
  cpus: z.number().positive(),
  memoryMb: z.int().positive(),
  /** Ids of models it holds. */
  models: z.array(identifier).max(256),
});
export type ClaimRequest = z.output<typeof claimRequest>;

export const claimAnswer = z.strictObject({
  version,
  item: z
    .strictObject({
      itemId: identifier,
      /** Fencing token: every report carries it, and one lower than the item's latest is refused. */
      token: z.int().positive(),
      attempt: z.int().positive(),
      /** A report at least this often keeps the item; silence returns it to the queue. */
      leaseSeconds: z.number().positive(),
      work: workPayload,
    })
    .nullable(),
  /** Ask again no earlier than this. */
  retryAfterMs: count,
  /** The floor does not know this run or wants it gone: it shuts down. */
  retire: z.boolean(),
});
export type ClaimAnswer = z.output<typeof claimAnswer>;

/**
 * POST <scheduler>/report. `completed` and `failed` are kept in the node's store (its outbox) and repeated until
 * answered, so a scheduler that is down delays them and loses none; a repeat changes nothing.
 */
export const workReport = z.strictObject({
  version,
  nodeId: identifier,
  runId: identifier,
  itemId: identifier,
  token: z.int().positive(),
  state: z.enum(['started', 'progress', 'completed', 'failed']),
  done: count,
  of: count,
  /** With `completed`. */
  result: workResult.optional(),
  /** With `failed`. */
  reason: z.string().max(2000).optional(),
});
export type WorkReport = z.output<typeof workReport>;

export const reportAnswer = z.strictObject({
  /** False: the token is old or the item is closed. The worker drops the batch's report; its games stay games. */
  accepted: z.boolean(),
  /** Stop this batch (cancelled, pre-empted); what was played is kept. */
  abandon: z.boolean(),
});
export type ReportAnswer = z.output<typeof reportAnswer>;

// ------------------------------------------------------------------------------------------------------ child programs

const jobHead = { version, jobId: identifier, config: configName, resultFile: path };
const failure = { version, jobId: identifier, ok: z.literal(false), reason: z.string(), retryable: z.boolean() };

/** Turns games `afterSeq < seq <= upToSeq` of a canonical store (opened read-only) into one sample shard. */
export const exportJob = z.strictObject({
  ...jobHead,
  kind: z.literal('export'),
  /** The canonical SQLite store; table `games`, see src/training/stores/game-store.ts. */
  database: path,
  afterSeq: count,
  upToSeq: count,
  /** Rows after which it stops; `lastSeq` of the result then says how far it came. */
  rowsMax: z.int().positive(),
  shardFile: path,
});
export type ExportJob = z.output<typeof exportJob>;
export const exportResult = z.discriminatedUnion('ok', [
  z.strictObject({
    version,
    jobId: identifier,
    ok: z.literal(true),
    shardFile: path,
    sha256: sha256Text,
    bytes: count,
    games: count,
    rows: count,
    /** Last game in the shard; at most `upToSeq`. */
    lastSeq: count,
    /** Games that could not be replayed; left out and counted. */
    unreadable: count,
    seconds: z.number(),
  }),
  z.strictObject(failure),
]);
export type ExportResult = z.output<typeof exportResult>;

/** Fits a value network to shards and writes a checkpoint. Same job, same bytes. */
export const trainJob = z.strictObject({
  ...jobHead,
  kind: z.literal('train'),
  /** Id of the model it makes. */
  modelId: identifier,
  /** Oldest first; each hash is checked before it is used. */
  shards: z.array(z.strictObject({ shardId: identifier, file: path, sha256: sha256Text, rows: count })).min(1),
  base: z.strictObject({ modelId: identifier, file: path, sha256: sha256Text }).nullable(),
  modelFile: path,
  /** Resumed from when present and of this job. */
  checkpointFile: path,
  /** `trainProgress`, replaced about once a second: the evidence that it moves. */
  progressFile: path,
  hidden: z.int().min(4).max(512).default(32),
  learningRate: z.number().positive().default(0.01),
  lambda: share.default(0.8),
  /** Passes over the shards. */
  epochs: z.int().min(1).max(100).default(1),
  secondsMax: z.number().positive().default(3600),
  checkpointSteps: z.int().positive().default(50_000),
  seed: count,
});
export type TrainJob = z.output<typeof trainJob>;
export type TrainJobInput = z.input<typeof trainJob>;
export const trainProgress = z.strictObject({
  version,
  jobId: identifier,
  step: count,
  steps: count,
  loss: z.number().nullable(),
  atMs: z.number(),
});
export type TrainProgress = z.output<typeof trainProgress>;
export const trainResult = z.discriminatedUnion('ok', [
  z.strictObject({
    version,
    jobId: identifier,
    ok: z.literal(true),
    modelId: identifier,
    modelFile: path,
    sha256: sha256Text,
    bytes: count,
    steps: count,
    rows: count,
    /** Mean squared error per tenth of the run, first to last. */
    losses: z.array(z.number()).min(1).max(10),
    seconds: z.number(),
  }),
  z.strictObject(failure),
]);
export type TrainResult = z.output<typeof trainResult>;

/** Plays one candidate against each opponent, seats rotated, until the question is decided or the games are spent. */
export const evaluateJob = z.strictObject({
  ...jobHead,
  kind: z.literal('evaluate'),
  candidate: z.strictObject({ modelId: identifier, file: path, sha256: sha256Text }),
  opponents: z
    .array(
      z.strictObject({
        agent: agentName,
        /** Checkpoint of a model; null for a baseline. */
        file: path.nullable(),
        sha256: sha256Text.nullable(),
        gamesMin: z.int().min(1),
        gamesMax: z.int().min(1).max(10_000),
        /** It stops after `gamesMin` once the confidence interval of the score excludes this; null plays all games. */
        decideAt: share.nullable(),
      }),
    )
    .min(1)
    .max(16),
  /** Width of the interval in standard errors (Wilson). */
  z: z.number().positive().default(1.96),
  /** A `matchesPage` with every game, source = jobId. */
  matchesFile: path,
  progressFile: path,
  seed: count,
});
export type EvaluateJob = z.output<typeof evaluateJob>;
export type EvaluateJobInput = z.input<typeof evaluateJob>;
export const evaluateProgress = z.strictObject({
  version,
  jobId: identifier,
  games: count,
  of: count,
  atMs: z.number(),
});
export type EvaluateProgress = z.output<typeof evaluateProgress>;
/** One row per (model, opponent). A game is won above a score of half, drawn at half; `score` is the mean over games. */
export const evaluationRow = z.strictObject({
  opponent: agentName,
  games: z.int().positive(),
  wins: count,
  draws: count,
  losses: count,
  score: share,
  /** Ends of the confidence interval. */
  low: share,
  high: share,
  stoppedEarly: z.boolean(),
});
export type EvaluationRow = z.output<typeof evaluationRow>;
export const evaluateResult = z.discriminatedUnion('ok', [
  z.strictObject({
    version,
    jobId: identifier,
    ok: z.literal(true),
    modelId: identifier,
    rows: z.array(evaluationRow).min(1),
    matchesFile: path,
    seconds: z.number(),
  }),
  z.strictObject(failure),
]);
export type EvaluateResult = z.output<typeof evaluateResult>;

/** Jobs and what they leave, by kind. */
export const JOBS = {
  export: { job: exportJob, result: exportResult },
  train: { job: trainJob, result: trainResult },
  evaluate: { job: evaluateJob, result: evaluateResult },
} as const;
export type JobKind = keyof typeof JOBS;
export type JobInput<Kind extends JobKind> = z.input<(typeof JOBS)[Kind]['job']>;
export type JobResult<Kind extends JobKind> = z.output<(typeof JOBS)[Kind]['result']>;

/**
 * argv of a child program. Exit 0: a result file exists (it may say `ok: false`); 2: the job file is not usable; anything
 * else, or a signal: no promise, the job may be tried again.
 * @param job  path of the job file
 */
export const jobCommand = (kind: JobKind, job: string): string[] =>
  programCommand(`./${kind}.ts`, import.meta.url, [job]);

/**
 * argv of a node program.
 * @param folder  the node's own folder, with `config.json` in it
 */
export const nodeCommand = (folder: string): string[] => programCommand('./node.ts', import.meta.url, [folder]);

/**
 * The floor's services as they are inside the store thread: plain synchronous methods over the stores.
 *
 * What needs more than one store is put together here: a promotion reads its file, an export its games, evidence and
 * summary look everywhere. `SERVICES` lists by name what may be called from outside; it is the whole protocol, and a
 * method that is missing from it does not compile into the floor.
 */
import { join } from 'node:path';
import type { FileSystem } from '../../seams/file-system.ts';
import type { Evidence, Floor, LoopSummary, NodeState, QueueDepth, StoreName } from '../floor.ts';
import { configName, endpoints, PROTOCOL_VERSION, type Endpoints } from '../programs/protocol.ts';
import type { ReadNow, Store } from './database.ts';
import { floorInputInvalid } from './faults.ts';
import { GameStore, openPage } from './game-store.ts';
import { JobFiles } from './job-files.ts';
import { ModelStore } from './model-store.ts';
import { NodeStore } from './node-store.ts';
import { ObjectStore, sha256Of } from './object-store.ts';
import { PipelineStore } from './pipeline-store.ts';
import { RatingStore } from './rating-store.ts';
import { SignalStore } from './signal-store.ts';
import { WorkStore } from './work-store.ts';

const PAGE_MAX = 1000;
const STRENGTH_MAX = 50;
const HOUR_MS = 3_600_000;

/** A service of the floor, answering at once. */
type Sync<Service> = {
  [Method in keyof Service]: Service[Method] extends (...args: infer Args) => Promise<infer Result>
    ? (...args: Args) => Result
    : never;
};

/** Methods of each service that the store thread serves. */
export const SERVICES = {
  games: ['configs', 'cursors', 'ingest', 'total', 'page', 'summarise', 'database', 'news', 'told'],
  pipeline: ['current', 'list', 'advance', 'fail', 'evidence'],
  queue: [
    'enqueue',
    'claim',
    'start',
    'renew',
    'complete',
    'fail',
    'release',
    'cancel',
    'expire',
    'untold',
    'told',
    'get',
    'list',
    'depth',
    'forget',
  ],
  samples: [
    'unexported',
    'openExport',
    'openExports',
    'completeExport',
    'failExport',
    'unseen',
    'window',
    'byId',
    'markSeen',
    'retire',
  ],
  models: [
    'reserve',
    'register',
    'get',
    'list',
    'champion',
    'champions',
    'verify',
    'decide',
    'uncommitted',
    'promote',
    'unannounced',
    'announced',
    'promotions',
    'delivered',
    'deliveries',
  ],
  evaluations: [
    'enqueue',
    'enqueueMissing',
    'running',
    'next',
    'complete',
    'fail',
    'of',
    'undecided',
    'depth',
    'history',
  ],
  ratings: ['cursor', 'merge', 'mergeFile', 'table', 'velocity', 'snapshot'],
  feedback: ['record', 'signals', 'parameters', 'all', 'save'],
  allocation: ['current', 'previous', 'write'],
  quality: ['record', 'of'],
  nodes: ['list', 'get', 'reserve', 'seen', 'claimed', 'drain', 'contact', 'end', 'untold', 'told'],
  cluster: ['put', 'list', 'prune'],
  capacity: ['meter', 'spend', 'advise', 'advice', 'bookSaving'],
  objects: ['put', 'index', 'get', 'named', 'list', 'read', 'served', 'traffic'],
  jobs: ['prepare', 'result', 'progress', 'discard'],
  endpoints: ['announce', 'read'],
  loop: ['summary'],
  handles: ['close', 'reopen'],
} as const satisfies { readonly [Service in keyof Floor]: readonly (keyof Floor[Service])[] };

export type ServiceName = keyof typeof SERVICES;
export type MethodName<Service extends ServiceName> = (typeof SERVICES)[Service][number];

/** Everything the thread serves, method by method. */
export type StoreServices = {
  readonly [Service in ServiceName]: Sync<Pick<Floor[Service], MethodName<Service> & keyof Floor[Service]>>;
};

export interface OpenStores {
  readonly services: StoreServices;
  close(): void;
}

/** The file nodes read to find the floor. */
export const endpointsFile = (root: string): string => join(root, 'endpoints.json');

/** Folder of a node's own files and store. */
const nodeFolder = (root: string, nodeId: string): string => join(root, 'nodes', nodeId);

/**
 * Opens every store of a floor.
 * @throws STORE_TOO_NEW, STORE_FAILED; nothing is left open then
 */
export const openStores = (root: string, files: FileSystem, now: ReadNow): OpenStores => {
  const closers: (() => void)[] = [];
  const opened = <Opened extends { close(): void }>(store: Opened): Opened => {
    closers.push(() => store.close());
    return store;
  };
  const close = (): void => {
    for (const closer of closers.splice(0).reverse()) closer();
  };

  try {
    files.makeFolder(join(root, 'canonical'));
    files.makeFolder(join(root, 'objects'));
    const objects = opened(new ObjectStore(join(root, 'manifest.db'), root, files));
    const models = opened(
      new ModelStore(join(root, 'models.db'), now, {
        find: (sha256) => objects.get(sha256),
        faultOf: (sha256) => objects.faultOf(sha256),
      }),
    );
    const work = opened(new WorkStore(join(root, 'work.db'), now));
    const ratings = opened(new RatingStore(join(root, 'elo.db')));
    const pipeline = opened(new PipelineStore(join(root, 'pipeline.db'), now));
    const signals = opened(new SignalStore(join(root, 'feedback.db'), now));
    const nodes = opened(new NodeStore(join(root, 'nodes.db'), now));
    const jobs = new JobFiles(root, files);
    const games = gameStores(root, files, now, opened);

    const velocity = (config: string, hours: number): number | null => {
      const { wallMs } = now();
      const since = wallMs - hours * HOUR_MS;
      const all = models.promotions({ config, limit: 500 }).reverse(); // oldest first
      const points = all
        .filter(
          (promotion, index) => promotion.atMs >= since || (all[index + 1]?.atMs ?? Number.POSITIVE_INFINITY) >= since,
        )
        .flatMap(({ modelId, atMs }) => {
          const fitted = ratings.ratingOf(config, modelId);
          return fitted === null ? [] : [{ rating: fitted.rating, atMs: Math.max(atMs, since) }];
        });
      const first = points[0];
      const last = points.at(-1);
      if (first === undefined || last === undefined || points.length < 2) return null;
      return (last.rating - first.rating) / Math.max((wallMs - first.atMs) / HOUR_MS, 1 / 60);
    };

    const evidence = (config: string): Evidence => {
      const { games: total, lastSeq } = games.has(config) ? games.of(config).total() : { games: 0, lastSeq: 0 };
      const onDisk = pipeline.onDisk(config);
      const missing = onDisk.filter((shard) => !files.exists(shard.file)).map(({ shardId }) => shardId);
      const unseen = pipeline.unseen(config).shards.filter(({ shardId }) => !missing.includes(shardId));
      const champion = models.champion(config);
      const live = nodes.list({ states: ['live'] });
      const inUse =
        champion === null ? [] : models.deliveries(champion.modelId).filter(({ state }) => state === 'in-use');
      return {
        games: total,
        lastSeq,
        exportedSeq: pipeline.exportedSeq(config),
        exportsOpen: pipeline.openExports().filter((range) => range.config === config).length,
        unseenShards: unseen.length,
        unseenRows: unseen.reduce((sum, shard) => sum + shard.rows, 0),
        missingShards: missing,
        trainingPending: work
          .depth()
          .filter(
            (row) =>
              row.kind === 'training' && row.config === config && ['pending', 'claimed', 'running'].includes(row.state),
          )
          .reduce((sum, row) => sum + row.items, 0),
        unevaluated: models.list({ config, state: 'candidate', limit: 50 }).map(({ modelId }) => modelId),
        undecided: models
          .undecided()
          .filter((row) => row.config === config)
          .map(({ modelId }) => modelId),
        uncommitted: models
          .uncommitted()
          .filter((row) => row.config === config)
          .map(({ decisionId }) => decisionId),
        championId: champion?.modelId ?? null,
        liveNodes: live.length,
        championNodes: live.filter((node) =>
          inUse.some(({ nodeId, runId }) => nodeId === node.nodeId && runId === node.runId),
        ).length,
      };
    };

    const summary = (): LoopSummary => {
      const names = new Set([...games.configs(), ...signals.allocation().targets.map(({ config }) => config)]);
      const pictures = new Map(nodes.cluster().map((row) => [row.nodeId, row]));
      const rows = nodes.list({ states: ['starting', 'live', 'draining', 'lost'] }).map((node) => {
        const picture = pictures.get(node.nodeId);
        const current = picture?.runId === node.runId ? picture : undefined;
        return {
          nodeId: node.nodeId,
          state: node.state as NodeState,
          gamesPerMinute: current?.gamesPerMinute ?? 0,
          current: current?.currentItemId ?? null,
        };
      });
      return {
        configs: [...names].sort().map((config) => {
          const iteration = pipeline.list().find((row) => row.config === config);
          const champion = models.champion(config);
          const rating = champion === null ? null : ratings.ratingOf(config, champion.modelId);
          const promoted = new Set(models.promotions({ config, limit: 500 }).map(({ modelId }) => modelId));
          return {
            config,
            iteration: iteration?.iteration ?? 0,
            stage: iteration?.stage ?? 'selfplay',
            games: games.has(config) ? games.of(config).total().games : 0,
            ...pipeline.counts(config),
            models: models.count(config),
            championId: champion?.modelId ?? null,
            promotions: models.countPromotions(config),
            quality: signals.quality(config)?.score ?? null,
            rating: rating?.rating ?? null,
            ratingError: rating?.error ?? null,
            strength: models
              .history({ config, limit: STRENGTH_MAX })
              .reverse()
              .map((evaluation) => {
                const against = (opponent: string | null): number | null =>
                  evaluation.rows.find((row) => row.opponent === opponent)?.score ?? null;
                return {
                  modelId: evaluation.modelId,
                  atMs: evaluation.atMs ?? 0,
                  vsRandom: against('random'),
                  vsGreedy: against('greedy'),
                  vsChampion: against(evaluation.championId),
                  promoted: promoted.has(evaluation.modelId),
                };
              }),
          };
        }),
        nodes: rows,
        queue: work.depth() as QueueDepth[],
        gamesPerMinute: rows.reduce((sum, node) => sum + node.gamesPerMinute, 0),
      };
    };

    const handlesOf = (name: StoreName): Store[] => {
      if (name === 'canonical') return games.configs().map((config) => games.of(config).store);
      return [{ pipeline, feedback: signals, queue: work, models, ratings }[name].store];
    };

    const readEndpoints = (): Endpoints => {
      const nothing: Endpoints = { version: PROTOCOL_VERSION, scheduler: null, data: null };
      if (!files.exists(endpointsFile(root))) return nothing;
      try {
        return endpoints.parse(JSON.parse(files.readText(endpointsFile(root))));
      } catch {
        return nothing; // rewritten by the next announcement; nodes wait meanwhile as if the scheduler were down
      }
    };

    const services: StoreServices = {
      games: {
        configs: () => games.configs(),
        cursors: (nodeId) => games.configs().flatMap((config) => games.of(config).cursors(nodeId)),
        ingest: (page) => {
          const openedPage = openPage(page);
          return games.of(openedPage.config).ingest(openedPage);
        },
        total: (config) => (games.has(config) ? games.of(config).total() : { games: 0, lastSeq: 0 }),
        page: (config, range) =>
          games.has(config) ? games.of(config).page(range.after, Math.min(range.limit, PAGE_MAX)) : [],
        summarise: (config, range) => (games.has(config) ? games.of(config).summarise(range.after, range.limit) : null),
        database: (config) => games.of(config).file,
        news: (config, reader) => (games.has(config) ? games.of(config).news(reader) : null),
        told: (config, reader, lastSeq) => games.of(config).told(reader, lastSeq),
      },
      pipeline: {
        current: (config) => pipeline.current(config),
        list: () => pipeline.list(),
        advance: (step) => pipeline.advance(step),
        fail: (failure) => pipeline.fail(failure),
        evidence,
      },
      queue: {
        enqueue: (items) => work.enqueue(items),
        claim: (request) => work.claim(request),
        start: (report) => work.start(report),
        renew: (report) => work.renew(report),
        complete: (report) => work.complete(report),
        fail: (report) => work.fail(report),
        release: (item) => work.release(item),
        cancel: (item) => work.cancel(item),
        expire: () => work.expire(),
        untold: (bound) => work.untold(bound),
        told: (upTo) => work.told(upTo),
        get: (itemId) => work.get(itemId),
        list: (filter) => work.list(filter),
        depth: () => work.depth(),
        forget: (bound) => work.forget(bound),
      },
      samples: {
        unexported: (config) => {
          const afterSeq = pipeline.exportedSeq(config);
          const waiting = games.has(config)
            ? games.of(config).stretch(afterSeq, Number.MAX_SAFE_INTEGER)
            : { games: 0, lastSeq: afterSeq };
          return { games: waiting.games, afterSeq, upToSeq: waiting.lastSeq };
        },
        openExport: (request) => {
          const folder = join(root, 'shards', checkedConfig(request.config));
          files.makeFolder(folder);
          return pipeline.openExport(
            request,
            (config, after, limit) =>
              games.has(config) ? games.of(config).stretch(after, limit) : { games: 0, lastSeq: after },
            (exportId) => join(folder, `${exportId}.npz`),
          );
        },
        openExports: () => pipeline.openExports(),
        completeExport: (result) =>
          pipeline.completeExport(result, (file, sha256, bytes) => objects.fileFault(file, sha256, bytes)),
        failExport: (failure) => pipeline.failExport(failure),
        unseen: (config) => pipeline.unseen(config),
        window: (config, bound) => pipeline.window(config, bound).filter((shard) => files.exists(shard.file)),
        byId: (shardIds) => pipeline.byId(shardIds),
        markSeen: (use) => pipeline.markSeen(use),
        retire: (bound) =>
          pipeline.retire(bound, (file) => {
            objects.forgetFile(file);
            files.remove(file);
          }),
      },
      models: {
        reserve: (request) => models.reserve({ ...request, config: checkedConfig(request.config) }),
        register: (model) => models.register(model),
        get: (modelId) => models.get(modelId),
        list: (filter) => models.list(filter),
        champion: (config) => models.champion(config),
        champions: () => models.champions(),
        verify: (modelId) => models.verify(modelId),
        decide: (verdict) => models.decide(verdict),
        uncommitted: () => models.uncommitted(),
        promote: (decisionId) => models.promote(decisionId),
        unannounced: () => models.unannounced(),
        announced: (promotionId) => models.announced(promotionId),
        promotions: (filter) => models.promotions(filter),
        delivered: (delivery) => models.delivered(delivery),
        deliveries: (modelId) => models.deliveries(modelId),
      },
      evaluations: {
        enqueue: (request) => models.enqueue(request),
        enqueueMissing: () => models.enqueueMissing(),
        running: () => models.running(),
        next: () => models.next(),
        complete: (result) => models.complete(result),
        fail: (failure) => models.failEvaluation(failure),
        of: (modelId) => models.of(modelId),
        undecided: () => models.undecided(),
        depth: () => models.depth(),
        history: (filter) => models.history(filter),
      },
      ratings: {
        cursor: (source) => ratings.cursor(source),
        merge: (page) => ratings.merge(page.body, page.nodeId),
        mergeFile: (file) => ratings.merge(files.read(file), null),
        table: (config) => ratings.table(config),
        velocity: (config, window) => velocity(config, window.hours),
        snapshot: () => {
          const tables = Object.fromEntries(ratings.configs().map((config) => [config, ratings.table(config)]));
          const body = JSON.stringify(tables);
          const bytes = Buffer.from(
            `${JSON.stringify({ version: PROTOCOL_VERSION, digest: sha256Of(body), tables })}\n`,
          );
          const before = objects.named('ratings.json')?.sha256;
          const row = objects.putBytes(bytes, 'ratings', 'ratings.json');
          return { sha256: row.sha256, bytes: row.bytes, changed: row.sha256 !== before };
        },
      },
      feedback: {
        record: (signal) => signals.record(signal),
        signals: (config, filter) => signals.signals(config, filter),
        parameters: (config) => signals.parameters(config),
        all: () => signals.allParameters(),
        save: (parameters) => signals.save(parameters),
      },
      allocation: {
        current: () => signals.allocation(),
        previous: () => signals.allocationAt(1),
        write: (rows) => signals.allocate(rows),
      },
      quality: { record: (verdict) => signals.judge(verdict), of: (config) => signals.quality(config) },
      nodes: {
        list: (filter) => nodes.list(filter),
        get: (nodeId) => nodes.get(nodeId),
        reserve: (request) => {
          const node = nodes.reserve(request, (nodeId) => nodeFolder(root, nodeId));
          files.makeFolder(node.folder);
          return node;
        },
        seen: (run) => nodes.seen(run),
        claimed: (run) => nodes.claimed(run),
        drain: (run) => nodes.drain(run),
        contact: (contact) => nodes.contact(contact),
        end: (run) => nodes.end(run),
        untold: () => nodes.untold(),
        told: (news) => nodes.told(news),
      },
      cluster: {
        put: (rows) => nodes.putCluster(rows),
        list: () => nodes.cluster(),
        prune: (bound) => nodes.pruneCluster(bound),
      },
      capacity: {
        meter: (run) => nodes.meter(run),
        spend: () => nodes.spend(),
        advise: (plan) => nodes.advise(plan),
        advice: () => nodes.advice(),
        bookSaving: (saving) => nodes.bookSaving(saving),
      },
      objects: {
        put: (object) => objects.put(object),
        index: (object) => objects.index(object),
        get: (sha256) => objects.get(sha256),
        named: (name) => objects.named(name),
        list: (filter) => objects.list(filter),
        read: (sha256, range) => objects.read(sha256, range),
        served: (traffic) => objects.served(traffic),
        traffic: () => objects.traffic(),
      },
      jobs: jobServices(jobs),
      endpoints: {
        announce: (where) => {
          const next = { ...readEndpoints(), ...where };
          files.writeAtomically(endpointsFile(root), `${JSON.stringify(next)}\n`);
        },
        read: readEndpoints,
      },
      loop: { summary },
      handles: {
        close: (name) => handlesOf(name).forEach((store) => store.close()),
        reopen: (name) => handlesOf(name).forEach((store) => store.reopen()),
      },
    };
    return { services, close };
  } catch (thrown) {
    close();
    throw thrown;
  }
};

/** Methods that are generic over the kind of job lose that in the map of services; the floor's own type has it. */
const jobServices = (jobs: JobFiles): StoreServices['jobs'] => {
  const services = {
    prepare: jobs.prepare.bind(jobs),
    result: jobs.result.bind(jobs),
    progress: jobs.progress.bind(jobs),
    discard: jobs.discard.bind(jobs),
  };
  return services as unknown as StoreServices['jobs'];
};

const checkedConfig = (config: string): string => {
  if (!configName.safeParse(config).success) throw floorInputInvalid(`"${config}" does not name a config`, { config });
  return config;
};

interface GameStores {
  configs(): string[];
  has(config: string): boolean;
  of(config: string): GameStore;
}

/** Canonical stores, opened at their first use; there are as many as configs, some dozen. */
const gameStores = (
  root: string,
  files: FileSystem,
  now: ReadNow,
  opened: (store: GameStore) => GameStore,
): GameStores => {
  const stores = new Map<string, GameStore>();
  const fileOf = (config: string): string => join(root, 'canonical', `${config}.db`);
  return {
    configs: () =>
      files
        .list(join(root, 'canonical'))
        .filter((name) => name.endsWith('.db'))
        .map((name) => name.slice(0, -'.db'.length))
        .filter((name) => configName.safeParse(name).success),
    has: (config) => stores.has(config) || (configName.safeParse(config).success && files.exists(fileOf(config))),
    of(config) {
      let store = stores.get(checkedConfig(config));
      if (store === undefined) stores.set(config, (store = opened(new GameStore(fileOf(config), config, now))));
      return store;
    },
  };
};

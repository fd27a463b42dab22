/** What the daemons of the learning side work on: games really played, shards, models, verdicts, nodes. */
import { join } from 'node:path';
import type { DaemonDefinition, DaemonProcess } from '../../src/daemons/definition.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { realRandom, seededRandom } from '../../src/seams/random.ts';
import { exploring, randomAgent, type Agent } from '../../src/training/agents/agent.ts';
import { shapeFor, ValueNetwork } from '../../src/training/agents/value-network.ts';
import type { Evaluation, Floor, Model, NodeRow, RawPage, Shard } from '../../src/training/floor.ts';
import { gameConfig } from '../../src/training/game/configs.ts';
import { placementsOf, winnerOf } from '../../src/training/game/record.ts';
import { sha256Of, writeCheckpoint } from '../../src/training/learning/checkpoint.ts';
import { rowsOf, samplesFrom } from '../../src/training/learning/samples.ts';
import { SelfPlay } from '../../src/training/learning/self-play.ts';
import { encodeShard } from '../../src/training/learning/shard.ts';
import { NodeStore } from '../../src/training/programs/node/node-store.ts';
import {
  PROTOCOL_VERSION,
  type EvaluationRow,
  type GameRow,
  type GamesPage,
  type MatchRow,
} from '../../src/training/programs/protocol.ts';
import { localProvider } from '../../src/training/providers/local.ts';
import type { ProviderWorld } from '../../src/training/providers/provider.ts';
import type { DaemonBench } from '../support/daemon-bench.ts';

/** The smallest board: a game takes a tenth of a millisecond. */
export const CONFIG = 'square6_2p';

export const playGames = (count: number, seed: number, agent: Agent = randomAgent): GameRow[] => {
  const config = gameConfig(CONFIG);
  const random = seededRandom(seed);
  const table = new SelfPlay(config);
  const player = exploring(agent, 0.2);
  return Array.from({ length: count }, () => {
    const { moves, pieces } = table.play(() => player, random);
    return {
      ...{ id: random.uuid(), config: CONFIG, moves, plies: placementsOf(config, moves), pieces: [...pieces] },
      ...{ winner: winnerOf(pieces), agents: [agent.name, agent.name], exploration: 0.2, endedAtMs: 1 },
    };
  });
};

/** Commits games as pages of one node, each where the last ended. @returns the total in store */
export const storeGames = async (floor: Floor, games: readonly unknown[], nodeId = 'local-1'): Promise<number> => {
  const after = (await floor.games.cursors(nodeId)).find(({ config }) => config === CONFIG)?.seq ?? 0;
  const next = after + games.length;
  const page: Omit<GamesPage, 'games'> & { games: readonly unknown[] } = {
    ...{ version: PROTOCOL_VERSION, nodeId, storeId: 's1', config: CONFIG, after, next, more: false, games },
  };
  const raw: RawPage = { nodeId, body: Buffer.from(JSON.stringify(page)) };
  return (await floor.games.ingest(raw)).total;
};

/** What a provider needs, with the processes on the bench's records, so that closing the bench ends them. */
const worldOf = (bench: DaemonBench): ProviderWorld => ({
  files: realFileSystem(),
  clock: bench.clock,
  signal: new AbortController().signal,
  endpointsFile: bench.floor.endpoints.file,
  spawn: (spec) => bench.processes.spawn('TEST', 1, spec),
  spawned: () => bench.processes.live('TEST'),
  endProcess: (process, graceMs = 2000) => bench.processes.end(process, graceMs),
});

/**
 * A live node: the real program, in the inventory. Nobody gives it work.
 * @param matches  what it has played before it was started
 */
export const startNode = async (bench: DaemonBench, matches: readonly MatchRow[] = []): Promise<NodeRow> => {
  const { nodes } = bench.floor;
  const node = await nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 1 });
  if (matches.length > 0) {
    const store = new NodeStore(join(node.folder, 'games.db'), 20_000, realRandom());
    store.keep([], matches);
    store.close();
  }
  const kinds: ('selfplay' | 'tournament')[] = ['selfplay', 'tournament'];
  const settings = { kinds, seed: 5, idlePollMs: 1000, startMs: 20_000, nice: 5 };
  await nodes.seen(await localProvider(worldOf(bench)).start(node, settings));
  return (await nodes.get(node.nodeId))!;
};

/** One shard of games in store, as an export leaves it, without AUTO_EXPORT. */
export const makeShard = async (bench: DaemonBench, count: number, seed: number): Promise<Shard> => {
  await storeGames(bench.floor, playGames(count, seed));
  const { samples, objects } = bench.floor;
  const range = (await samples.openExport({ config: CONFIG, gamesMin: 1, gamesMax: 10_000 }))!;
  const records = await bench.floor.games.page(CONFIG, { after: range.afterSeq, limit: 1000 });
  const samplesOf = samplesFrom(gameConfig(CONFIG), records);
  const bytes = encodeShard(samplesOf);
  realFileSystem().writeAtomically(range.shardFile, bytes);
  const shard = await samples.completeExport({
    ...{ version: PROTOCOL_VERSION, jobId: range.exportId, ok: true, shardFile: range.shardFile },
    ...{ sha256: sha256Of(bytes), bytes: bytes.length, games: records.length, rows: rowsOf(samplesOf) },
    ...{ lastSeq: range.upToSeq, unreadable: 0, seconds: 0 },
  });
  await objects.index({ ...shard, kind: 'shard', name: shard.shardId });
  return shard;
};

/** A registered candidate. Trained on nothing: its weights are drawn. */
export const makeCandidate = async (bench: DaemonBench, seed: number): Promise<Model> => {
  const { models, objects } = bench.floor;
  const modelId = await models.reserve({ config: CONFIG, key: `test-${seed}` });
  const network = ValueNetwork.untrained(shapeFor(gameConfig(CONFIG)), seededRandom(seed));
  const file = join(bench.dataDir, `${modelId}.mlvn`);
  const { sha256 } = writeCheckpoint(realFileSystem(), file, network, { version: modelId, steps: 0 });
  await objects.put({ file, kind: 'model', name: modelId });
  const figures = { rows: 0, steps: 0, loss: 0.5, trainedSeconds: 0 };
  return (await models.register({ modelId, config: CONFIG, parentId: null, sha256, ...figures })).model;
};

export const row = (opponent: string, score: number, games = 200): EvaluationRow => {
  const wins = Math.round(score * games);
  const half = 1.96 * Math.sqrt((score * (1 - score)) / games);
  return {
    ...{ opponent, games, wins, draws: 0, losses: games - wins, score, stoppedEarly: false },
    ...{ low: Math.max(0, score - half), high: Math.min(1, score + half) },
  };
};

/** A finished evaluation of a new candidate against the present champion, with these scores. */
export const judge = async (
  bench: DaemonBench,
  seed: number,
  scores: { readonly random: number; readonly greedy: number; readonly champion?: number },
  games = 200,
): Promise<Evaluation> => {
  const { evaluations } = bench.floor;
  const { modelId } = await makeCandidate(bench, seed);
  await evaluations.enqueue({ modelId });
  const { evaluationId, championId } = (await evaluations.next())!;
  const rows = [row('random', scores.random, games), row('greedy', scores.greedy, games)];
  if (championId !== null) rows.push(row(championId, scores.champion ?? 0.5, games));
  await rate(bench, evaluationId, modelId, rows);
  return (await evaluations.complete({ evaluationId, rows })).evaluation;
};

/** Match rows that give these scores, merged into the ratings as EVALUATION does. */
const rate = async (
  bench: DaemonBench,
  source: string,
  modelId: string,
  rows: readonly EvaluationRow[],
): Promise<void> => {
  const matches = rows.flatMap(({ opponent, games, wins }) =>
    Array.from({ length: games }, (_, index): MatchRow => {
      const own = index < wins ? 20 : 10;
      return matchOf(`${source}:${opponent}:${index}`, [modelId, own], [opponent, 30 - own]);
    }),
  );
  const page = { version: PROTOCOL_VERSION, source, storeId: source, after: 0, next: matches.length, more: false };
  const file = join(bench.dataDir, `${source}.json`);
  realFileSystem().writeAtomically(file, JSON.stringify({ ...page, matches }));
  await bench.floor.ratings.mergeFile(file);
};

export const matchOf = (
  id: string,
  one: readonly [string, number],
  other: readonly [string, number],
  config = CONFIG,
): MatchRow => ({
  ...{ id, config, playedAtMs: 1 },
  seats: [one, other].map(([agent, score]) => ({ agent, score })),
});

/** The only child of a daemon. */
export const childOf = (bench: DaemonBench, type: string): Promise<DaemonProcess> =>
  bench.until(`${type} has a child`, () => bench.processes.live(type)[0]);

/** Kills of a daemon at its calls of the floor; one is armed at a time. */
export interface Crashes {
  /** At its `at`-th call from now: before the call leaves, or when it has taken effect and nobody knows. */
  arm(type: string, at: number, when: 'before' | 'after'): void;
  /** Disarms. @returns whether the armed kill has happened; resolves when the daemon is gone */
  over(): Promise<boolean>;
}

/** For a bench whose daemons have not been started yet: their views of the floor are made at their start. */
export const crashesOf = (bench: DaemonBench): Crashes => {
  let armed: { readonly type: string; readonly when: 'before' | 'after'; left: number } | null = null;
  let killed: Promise<void> | null = null;
  const killNow = (type: string, service: string, method: string): never => {
    armed = null;
    killed = bench.kill(type);
    throw new Error(`killed at ${service}.${method}`);
  };
  const wrap = (type: string, name: string, service: object): object =>
    Object.fromEntries(
      Object.entries(service).map(([method, call]: [string, unknown]) => [
        method,
        typeof call !== 'function'
          ? call
          : (...args: unknown[]): unknown => {
              const mine = armed !== null && armed.type === type && --armed.left === 0 ? armed : null;
              if (mine?.when === 'before') killNow(type, name, method);
              const result = (call as (...args: unknown[]) => unknown)(...args);
              if (mine === null) return result;
              if (!(result instanceof Promise)) killNow(type, name, method);
              return (result as Promise<unknown>).then(() => killNow(type, name, method));
            },
      ]),
    );
  const { forDaemon } = bench.floorHost;
  bench.floorHost.forDaemon = (type, generation, assertOpen) =>
    Object.fromEntries(
      Object.entries(forDaemon(type, generation, assertOpen)).map(([name, service]: [string, object]) => [
        name,
        wrap(type, name, service),
      ]),
    ) as unknown as Floor;
  return {
    arm(type, at, when) {
      armed = { type, when, left: at };
      killed = null;
    },
    async over() {
      armed = null;
      await killed;
      return killed !== null;
    },
  };
};

export interface Sweep {
  readonly definition: DaemonDefinition;
  readonly config: Readonly<Record<string, unknown>>;
  /** Kills before calls 1, 1 + n … and after calls n, 2n …, where each round runs a program; default 1: at all. */
  readonly stride?: number;
  /** Makes the work of this round; the daemon does not run. */
  prepare(round: number): Promise<void>;
  /** The work of this round is done. */
  done(round: number): Promise<boolean> | boolean;
  /** What must hold then, whatever was killed. */
  check(round: number): Promise<void> | void;
}

/**
 * Kills a daemon at its first call of the floor, then at its second, and so on, before and after each, until it is done
 * before the kill comes; every time it is started again, has to finish, and must have done everything once.
 * @returns how many times it was killed
 */
export const sweepKills = async (bench: DaemonBench, crashes: Crashes, sweep: Sweep): Promise<number> => {
  const { definition, config, stride = 1 } = sweep;
  const { type } = definition;
  let round = 0;
  let kills = 0;
  for (const when of ['before', 'after'] as const) {
    // What it calls once it is done comes in a race with who looks whether it is: one round without a kill proves little.
    let spared = 0;
    for (let at = when === 'before' ? 1 : stride; spared < 2; at += stride) {
      round++;
      const isDone = async (): Promise<true | null> => ((await sweep.done(round)) ? true : null);
      await sweep.prepare(round);
      crashes.arm(type, at, when);
      const exits = bench.exits.length;
      await bench.start(definition, config).catch(() => undefined); // killed while it starts
      await bench.until(
        `${type} is done or killed ${when} call ${at}`,
        async () => bench.exits.length > exits || (await isDone()),
      );
      const wasKilled = await crashes.over();
      if (wasKilled) {
        kills++;
        await bench.start(definition, config);
        await bench.until(`${type} is done although killed ${when} call ${at}`, isDone);
      }
      await bench.stop(type, { full: true });
      await sweep.check(round);
      spared = wasKilled ? 0 : spared + 1;
    }
  }
  return kills;
};

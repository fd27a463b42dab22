import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { realRandom, seededRandom } from '../../../src/seams/random.ts';
import { randomAgent } from '../../../src/training/agents/agent.ts';
import { shapeFor, ValueNetwork } from '../../../src/training/agents/value-network.ts';
import { gameConfig } from '../../../src/training/game/configs.ts';
import type { GameRecord } from '../../../src/training/game/record.ts';
import { placementsOf, winnerOf } from '../../../src/training/game/record.ts';
import { decodeCheckpoint, sha256Of } from '../../../src/training/learning/checkpoint.ts';
import { rowsOf, samplesFrom } from '../../../src/training/learning/samples.ts';
import { SelfPlay } from '../../../src/training/learning/self-play.ts';
import { decodeShard, encodeShard } from '../../../src/training/learning/shard.ts';
import { DEFAULT_RATES, train } from '../../../src/training/learning/temporal-difference.ts';
import {
  matchesPage,
  trainProgress,
  type EvaluateJobInput,
  type TrainJobInput,
} from '../../../src/training/programs/protocol.ts';
import { GameStore, openPage } from '../../../src/training/stores/game-store.ts';
import { endChildren, jobHead, until, workshop, type Workshop } from './child.ts';

const CONFIG = 'square6_2p';
const config = gameConfig(CONFIG);

const randomGames = (games: number): GameRecord[] => {
  const play = new SelfPlay(config);
  const random = seededRandom(11);
  return Array.from({ length: games }, () => play.play(() => randomAgent, random));
};

/** A canonical store with these games, as a sync would have left it. */
const canonicalStore = (file: string, records: readonly GameRecord[]): void => {
  const store = new GameStore(file, CONFIG, () => ({ monotonicMs: 0, wallMs: 0 }));
  const games = records.map((record) => ({
    ...{ id: realRandom().uuid(), config: CONFIG, moves: record.moves, plies: placementsOf(config, record.moves) },
    ...{ pieces: record.pieces, winner: winnerOf(record.pieces), agents: ['random', 'random'] },
    ...{ exploration: 0.1, endedAtMs: 1 },
  }));
  const head = { version: 1, nodeId: 'n1', storeId: 's1', config: CONFIG, after: 0, next: games.length, more: false };
  const receipt = store.ingest(openPage({ nodeId: 'n1', body: Buffer.from(JSON.stringify({ ...head, games })) }));
  expect(receipt).to.include({ inserted: games.length, refused: 0 });
  store.close();
};

/** A shard as an export would have left it. */
const shardOf = (
  shop: Workshop,
  records: readonly GameRecord[],
): { readonly sha256: string; readonly rows: number } => {
  const samples = samplesFrom(config, records);
  const bytes = encodeShard(samples);
  writeFileSync(shop.path('s1.npz'), bytes);
  return { sha256: sha256Of(bytes), rows: rowsOf(samples) };
};

const trainJob = (
  shop: Workshop,
  jobId: string,
  shard: { sha256: string; rows: number },
  more: Partial<TrainJobInput> = {},
): TrainJobInput => ({
  ...jobHead(shop, jobId, CONFIG),
  ...{ kind: 'train', modelId: 'm1', base: null, seed: 7, epochs: 2 },
  shards: [{ shardId: 's1', file: shop.path('s1.npz'), sha256: shard.sha256, rows: shard.rows }],
  modelFile: shop.path(`${jobId}.mlvn`),
  checkpointFile: shop.path(`${jobId}.partial`),
  progressFile: shop.path(`${jobId}.progress.json`),
  ...more,
});

const export1 = (shop: Workshop, rowsMax = 1_000_000, range = { afterSeq: 0, upToSeq: 1_000_000 }) =>
  shop.run('export', {
    ...jobHead(shop, 'e1', CONFIG),
    ...{ kind: 'export', database: shop.path('games.db'), ...range, rowsMax, shardFile: shop.path('s1.npz') },
  });

describe('Job programs, as child processes', function () {
  this.timeout(60_000);
  let shop: Workshop;
  beforeEach(() => {
    shop = workshop();
  });
  afterEach(async () => {
    await endChildren();
    shop.remove();
  });

  it('a store is exported, trained on, and the candidate evaluated; each leaves a whole result and no other file', async () => {
    canonicalStore(shop.path('games.db'), randomGames(150));

    const exported = await export1(shop);
    expect(exported.code, exported.output).to.equal(0);
    const shard = exported.result!;
    if (!shard.ok) throw new Error(shard.reason);
    expect(shard).to.include({ games: 150, unreadable: 0, lastSeq: 150 });
    const bytes = readFileSync(shop.path('s1.npz'));
    expect(shard).to.include({ bytes: bytes.length, sha256: sha256Of(bytes) });
    expect(decodeShard(bytes, 's1').seats).to.have.length(shard.rows);

    const trained = await shop.run('train', trainJob(shop, 't1', shard));
    expect(trained.code, trained.output).to.equal(0);
    const model = trained.result!;
    if (!model.ok) throw new Error(model.reason);
    expect(model).to.include({ modelId: 'm1', rows: shard.rows, steps: 2 * shard.rows });
    expect(model.losses).to.have.length(10);
    for (const loss of model.losses) expect(loss).to.be.within(0.001, 1.5);
    const { header } = decodeCheckpoint(readFileSync(model.modelFile), 'm1');
    expect(header).to.deep.equal({
      ...{ format: 1, config: CONFIG, version: 'm1', cells: 36, players: 2, hidden: 32, steps: 2 * shard.rows },
    });
    const progress = trainProgress.parse(JSON.parse(readFileSync(shop.path('t1.progress.json'), 'utf8')));
    expect(progress.step).to.equal(model.steps);
    expect(existsSync(shop.path('t1.partial'))).to.be.false;

    const opponent = { file: null, sha256: null, gamesMin: 20, gamesMax: 40, decideAt: null };
    const evaluated = await shop.run('evaluate', {
      ...jobHead(shop, 'v1', CONFIG),
      kind: 'evaluate',
      candidate: { modelId: 'm1', file: model.modelFile, sha256: model.sha256 },
      opponents: [
        { ...opponent, agent: 'random', decideAt: 0.02 },
        { ...opponent, agent: 'greedy' },
        { ...opponent, agent: 'm0', file: model.modelFile, sha256: model.sha256 },
      ],
      ...{ matchesFile: shop.path('v1.matches.json'), progressFile: shop.path('v1.progress.json'), seed: 3 },
    });
    expect(evaluated.code, evaluated.output).to.equal(0);
    const verdict = evaluated.result!;
    if (!verdict.ok) throw new Error(verdict.reason);
    expect(verdict.rows.map(({ opponent: name, games }) => `${name} ${games}`)).to.deep.equal([
      'random 20',
      'greedy 40',
      'm0 40',
    ]);
    expect(verdict.rows[0]).to.include({ stoppedEarly: true });
    expect(verdict.rows[0]!.score).to.be.greaterThan(0.6);
    expect(verdict.rows[2]!.score).to.equal(0.5); // the same network from both seats of every opening
    const { matches, next } = matchesPage.parse(JSON.parse(readFileSync(verdict.matchesFile, 'utf8')));
    expect(matches).to.have.length(100).and.to.have.length(next);
    expect(new Set(matches.map(({ id }) => id)).size).to.equal(100);
    expect(matches[99]!.seats.map(({ agent }) => agent)).to.deep.equal(['m1', 'm0']);

    expect(readdirSync(shop.folder).filter((name) => name.endsWith('.tmp'))).to.deep.equal([]);
  });

  it('an export stops at its row cap and says how far it came; games that cannot be replayed are left out and counted', async () => {
    const games = randomGames(6);
    games[1] = { ...games[1]!, pieces: [36, 0] };
    canonicalStore(shop.path('games.db'), games);
    const whole = (await export1(shop)).result!;
    if (!whole.ok) throw new Error(whole.reason);
    expect(whole).to.include({ games: 5, unreadable: 1, lastSeq: 6 });
    const capped = (await export1(shop, whole.rows - 1, { afterSeq: 2, upToSeq: 5 })).result!;
    expect(capped).to.include({ ok: true, games: 3, lastSeq: 5, unreadable: 0 });
    const one = (await export1(shop, 1)).result!;
    expect(one).to.include({ ok: true, games: 1, lastSeq: 1, unreadable: 0 });
    const none = (await export1(shop, 10, { afterSeq: 6, upToSeq: 9 })).result!;
    expect(none).to.include({ ok: false, retryable: false });
  });

  it('training that is told to end keeps its state, and the next run makes the very model an undisturbed run makes', async () => {
    const shard = shardOf(shop, randomGames(120));
    const long = { epochs: 12, checkpointSteps: 3000 };

    const undisturbed = (await shop.run('train', trainJob(shop, 't1', shard, long))).result!;
    const disturbedJob = trainJob(shop, 't2', shard, long);
    const first = shop.start('train', disturbedJob);
    await until('a checkpoint on the way', () => existsSync(shop.path('t2.partial')));
    first.process.kill('SIGTERM');
    expect(await first.ended, first.output()).to.equal(143);
    expect(existsSync(shop.path('t2.result.json'))).to.be.false;
    expect(existsSync(shop.path('t2.mlvn'))).to.be.false;

    const second = shop.start('train', disturbedJob);
    await until('going on', () => second.output().includes('goes on after'));
    second.process.kill('SIGKILL');
    expect(await second.ended).to.equal('SIGKILL');

    const third = await shop.run('train', disturbedJob);
    expect(third.output).to.include('goes on after');
    if (!undisturbed.ok || third.result?.ok !== true) throw new Error(third.output);
    expect(third.result.sha256).to.equal(undisturbed.sha256);

    // And the program is the library: the same run in one piece, in this process.
    const random = seededRandom(7);
    const network = ValueNetwork.untrained(shapeFor(config), random.fork('weights'));
    const samples = decodeShard(readFileSync(shop.path('s1.npz')), 's1');
    train(network, { config, shards: [samples], epochs: long.epochs, rates: DEFAULT_RATES, random });
    expect(decodeCheckpoint(readFileSync(third.result.modelFile), 'm1').network.weights).to.deep.equal(network.weights);
    expect(third.result.losses).to.deep.equal(undisturbed.losses);
  });

  it('training whose kept state is damaged says so and starts over', async () => {
    const shard = shardOf(shop, randomGames(3));
    const job = trainJob(shop, 't9', shard);
    writeFileSync(job.checkpointFile, 'half a checkpoi');
    const { result, output } = await shop.run('train', job);
    expect(output).to.include('starts over: ');
    expect(result?.ok).to.equal(true);
  });

  it('faults of the job itself are results that say so: another hash, another shape, a damaged base', async () => {
    const shard = shardOf(shop, randomGames(3));
    writeFileSync(shop.path('bad.mlvn'), 'not a model');
    const base = { modelId: 'm0', file: shop.path('bad.mlvn'), sha256: sha256Of(Buffer.from('not a model')) };
    const jobs: readonly (readonly [TrainJobInput, string])[] = [
      [trainJob(shop, 'f1', { ...shard, sha256: '0'.repeat(64) }), 'was ordered'],
      [trainJob(shop, 'f2', { ...shard, rows: 5 }), '5 were ordered'],
      [trainJob(shop, 'f3', shard, { base }), 'are no checkpoint'],
    ];
    const runs = await Promise.all(jobs.map(([job]) => shop.run('train', job)));
    runs.forEach(({ code, result }, index) => {
      expect(code).to.equal(0);
      expect(result).to.include({ ok: false, retryable: false }).with.property('reason').that.includes(jobs[index]![1]);
    });
  });

  it('a fault that may pass is retryable; a job that is none exits 2 and leaves no result', async () => {
    const missing = trainJob(shop, 'g1', { sha256: '0'.repeat(64), rows: 5 });
    const candidate = { modelId: 'm1', file: shop.path('m1.mlvn'), sha256: '0'.repeat(64) };
    const opponent = { agent: 'm1', file: null, sha256: null, gamesMin: 1, gamesMax: 1, decideAt: null };
    const self: EvaluateJobInput = {
      ...{ ...jobHead(shop, 'g2', CONFIG), kind: 'evaluate', candidate, opponents: [opponent], seed: 1 },
      ...{ matchesFile: shop.path('m.json'), progressFile: shop.path('p.json') },
    };
    const [absent, ill, twice] = await Promise.all([
      shop.run('train', missing),
      shop.run('train', { ...missing, jobId: 'g3', resultFile: shop.path('g3.result.json'), shards: [] }),
      shop.run('evaluate', self),
    ]);
    expect(absent.result).to.include({ ok: false, retryable: true });
    expect(ill.code).to.equal(2);
    expect(ill.result).to.equal(null);
    expect(ill.output).to.include('cannot do this train job').and.to.include('shards');
    expect(twice.result)
      .to.include({ ok: false, retryable: false })
      .with.property('reason')
      .that.includes('m1 takes part twice');
  });
});

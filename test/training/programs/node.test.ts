import Database from 'better-sqlite3';
import { expect } from 'chai';
import fastify, { type FastifyInstance } from 'fastify';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { z } from 'zod';
import { realNetwork } from '../../../src/seams/real-network.ts';
import { seededRandom } from '../../../src/seams/random.ts';
import { shapeFor, ValueNetwork } from '../../../src/training/agents/value-network.ts';
import { gameConfig } from '../../../src/training/game/configs.ts';
import { faultOf } from '../../support/record-fault.ts';
import { encodeCheckpoint, sha256Of } from '../../../src/training/learning/checkpoint.ts';
import {
  claimAnswer,
  claimRequest,
  gamesPage,
  matchesPage,
  modelReceipt,
  nodeAnnouncement,
  nodeCommand,
  nodeStatus,
  PROTOCOL_VERSION,
  workReport,
  type NodeConfigInput,
  type NodeStatus,
  type WorkPayload,
  type WorkReport,
} from '../../../src/training/programs/protocol.ts';
import { endChildren, startChild, until, workshop, type Child, type Workshop } from './child.ts';

const CONFIG = 'square6_2p';
const network = realNetwork();

/** The scheduler's endpoint as a node sees it: hands out what it was given, writes down what it hears. */
class FakeScheduler {
  readonly reports: WorkReport[] = [];
  private readonly items: WorkPayload[] = [];
  private readonly server: FastifyInstance = fastify({ forceCloseConnections: true });
  private handedOut = 0;
  claims = 0;
  abandon = false;
  retire = false;

  async open(port = 0): Promise<string> {
    this.server.post('/claim', (request) => {
      claimRequest.parse(request.body);
      this.claims++;
      const work = this.items.shift();
      const item =
        work === undefined
          ? null
          : { itemId: `item-${++this.handedOut}`, token: this.handedOut, attempt: 1, leaseSeconds: 3, work };
      return claimAnswer.parse({ version: PROTOCOL_VERSION, item, retryAfterMs: 20, retire: this.retire });
    });
    this.server.post('/report', (request) => {
      this.reports.push(workReport.parse(request.body));
      return { accepted: true, abandon: this.abandon };
    });
    return this.server.listen({ host: '127.0.0.1', port });
  }

  give(work: WorkPayload): void {
    this.items.push(work);
  }

  heard(itemId: string, state: WorkReport['state']): WorkReport | undefined {
    return this.reports.find((report) => report.itemId === itemId && report.state === state);
  }

  close(): Promise<unknown> {
    return this.server.close();
  }
}

const selfPlay = (games: number, more: Partial<Extract<WorkPayload, { kind: 'selfplay' }>> = {}): WorkPayload => ({
  ...{ kind: 'selfplay', config: CONFIG, games, exploration: 0.1, seed: 5 },
  opponents: [{ agent: 'self', weight: 1 }],
  ...more,
});

const model = (seed: number): { readonly bytes: Uint8Array; readonly sha256: string } => {
  const net = ValueNetwork.untrained(shapeFor(gameConfig(CONFIG), 8), seededRandom(seed));
  const bytes = encodeCheckpoint(net, { version: `m${seed}`, steps: 0 });
  return { bytes, sha256: sha256Of(bytes) };
};

describe('Node program, as a child process', function () {
  this.timeout(60_000);
  let shop: Workshop;
  let scheduler: FakeScheduler;
  let url: string;
  let runs = 0;

  const pointEndpointsAt = (address: string | null): void =>
    writeFileSync(
      shop.path('endpoints.json'),
      JSON.stringify({ version: PROTOCOL_VERSION, scheduler: address, data: null }),
    );

  const configure = (more: Partial<NodeConfigInput> = {}): { readonly folder: string; readonly runId: string } => {
    const runId = `run-${++runs}`;
    const folder = shop.path('n1');
    mkdirSync(folder, { recursive: true });
    const config: NodeConfigInput = {
      ...{ version: PROTOCOL_VERSION, nodeId: 'n1', runId, pool: 'local', endpointsFile: shop.path('endpoints.json') },
      ...{ kinds: ['selfplay', 'tournament'], idlePollMs: 50, commitGames: 10, seed: 1, ...more },
    };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    return { folder, runId };
  };

  const startNode = async (more: Partial<NodeConfigInput> = {}): Promise<Child> => {
    const { folder, runId } = configure(more);
    const child = startChild(nodeCommand(folder));
    const said = await until(`node.json of ${runId}: ${child.output()}`, () => {
      try {
        const found = nodeAnnouncement.parse(JSON.parse(readFileSync(join(folder, 'node.json'), 'utf8')));
        return found.runId === runId ? found : null;
      } catch {
        return null;
      }
    });
    expect(said.pid).to.equal(child.process.pid);
    url = said.url;
    return child;
  };

  const ask = async (
    path: string,
    options: { method?: 'PUT' | 'POST'; json?: unknown; bytes?: Uint8Array; headers?: Record<string, string> } = {},
  ): Promise<{ status: number; body: unknown }> => {
    const { method, json, bytes, headers } = options;
    const type = bytes === undefined ? 'application/json' : 'application/octet-stream';
    const body = bytes ?? (json === undefined ? undefined : JSON.stringify(json));
    const answer = await network.request({
      ...{ url: `${url}${path}`, method: method ?? 'GET', timeoutMs: 5000 },
      headers: { ...(body === undefined ? {} : { 'content-type': type }), ...headers },
      ...(body === undefined ? {} : { body }),
    });
    return { status: answer.status, body: JSON.parse(Buffer.from(answer.body).toString('utf8')) };
  };

  const read = async <Shape extends z.ZodType>(path: string, shape: Shape): Promise<z.output<Shape>> => {
    const { status, body } = await ask(path);
    expect(status, JSON.stringify(body)).to.equal(200);
    return shape.parse(body);
  };
  const status = (): Promise<NodeStatus> => read('/status', nodeStatus);

  const pushModel = (id: string, { bytes, sha256 }: { bytes: Uint8Array; sha256: string }) =>
    ask(`/models/${id}?config=${CONFIG}&sha256=${sha256}`, { method: 'PUT', bytes });

  beforeEach(async () => {
    shop = workshop();
    scheduler = new FakeScheduler();
    pointEndpointsAt(await scheduler.open());
  });
  afterEach(async () => {
    await endChildren();
    await scheduler.close();
    shop.remove();
  });

  it('plays what it claims, hands the games out by cursor, takes a model and plays with it, and ends well on SIGTERM', async () => {
    const node = await startNode();
    scheduler.give(selfPlay(25));
    const done = await until('the first batch', () => scheduler.heard('item-1', 'completed'));
    expect(done).to.include({ done: 25, of: 25, token: 1 });
    expect(done.result).to.include({ games: 25, matches: 0, modelId: null, lastSeq: 25 });
    expect(scheduler.heard('item-1', 'started')).to.not.equal(undefined);

    const first = await read(`/games?config=${CONFIG}&after=0&limit=10`, gamesPage);
    expect(first).to.include({ after: 0, next: 10, more: true, nodeId: 'n1' });
    const rest = await read(`/games?config=${CONFIG}&after=10&limit=100`, gamesPage);
    expect(rest).to.include({ next: 25, more: false });
    const games = [...first.games, ...rest.games];
    expect(new Set(games.map(({ id }) => id)).size).to.equal(25);
    for (const game of games) expect(faultOf(game)).to.equal(null);
    expect(games[0]!.agents).to.deep.equal(['random', 'random']);
    expect(await read(`/games?config=${CONFIG}&after=25`, gamesPage)).to.include({ next: 25, more: false });

    const m1 = model(1);
    expect((await pushModel('m1', { ...m1, sha256: 'a'.repeat(64) })).status).to.equal(422);
    expect(
      (await pushModel('m1', { bytes: Buffer.from('junk'), sha256: sha256Of(Buffer.from('junk')) })).status,
    ).to.equal(422);
    const point = (sha256: string) => ask(`/pointers/${CONFIG}`, { method: 'PUT', json: { modelId: 'm1', sha256 } });
    expect((await point(m1.sha256)).status).to.equal(409);
    const receipt = await pushModel('m1', m1);
    expect(receipt.status).to.equal(200);
    expect(modelReceipt.parse(receipt.body)).to.deep.equal({
      modelId: 'm1',
      sha256: m1.sha256,
      bytes: m1.bytes.length,
    });
    expect((await pushModel('m1', m1)).status).to.equal(200);
    expect((await pushModel('m1', model(2))).status).to.equal(409);
    expect((await point('b'.repeat(64))).status).to.equal(409);
    expect((await point(m1.sha256)).body).to.deep.equal({ modelId: 'm1', config: CONFIG, sha256: m1.sha256 });

    scheduler.give(selfPlay(8, { opponents: [{ agent: 'greedy', weight: 1 }] }));
    const second = await until('the second batch', () => scheduler.heard('item-2', 'completed'));
    expect(second.result).to.include({ modelId: 'm1', lastSeq: 33 });
    const played = (await read(`/games?config=${CONFIG}&after=25`, gamesPage)).games;
    expect(new Set(played.map(({ agents }) => agents.join()))).to.deep.equal(new Set(['m1,greedy', 'greedy,m1']));

    scheduler.give({ kind: 'tournament', config: CONFIG, agents: ['m1', 'random'], games: 6, seed: 1 });
    const third = await until('the tournament', () => scheduler.heard('item-3', 'completed'));
    expect(third.result).to.include({ games: 0, matches: 6 });
    const { matches, next } = await read('/matches?after=0', matchesPage);
    expect(matches.map(({ id }) => id)).to.deep.equal([0, 1, 2, 3, 4, 5].map((game) => `item-3:${game}`));
    expect(next).to.equal(6);

    const now = await status();
    expect(now).to.include({ games: 33, matchesLastSeq: 6, itemsDone: 3, current: null, draining: false });
    expect(now.lastSeq).to.deep.equal({ [CONFIG]: 33 });
    expect(now.pointers[CONFIG]).to.include({ modelId: 'm1' });
    expect(now.gamesPerMinute).to.equal(39);

    node.process.kill('SIGTERM');
    expect(await node.ended, node.output()).to.equal(0);
  });

  it('a store that another program holds costs no game: the batch goes on when it is let go', async () => {
    const node = await startNode();
    scheduler.give(selfPlay(50));
    const other = new Database(shop.path('n1/games.db'));
    other.exec('BEGIN IMMEDIATE');
    await until('the node met it', () => /games\.db.*SQLITE_BUSY/.test(node.output()));
    other.exec('ROLLBACK');
    other.close();
    const told = await until('the batch', () => scheduler.heard('item-1', 'completed'));
    expect(told.result).to.include({ games: 50 });
    expect((await status()).games).to.equal(50);
  });

  it('SIGTERM in a batch: the games played are kept, the item is given back, exit 0; the next run has all of it', async () => {
    const m1 = model(1);
    const node = await startNode();
    await pushModel('m1', m1);
    await ask(`/pointers/${CONFIG}`, { method: 'PUT', json: { modelId: 'm1', sha256: m1.sha256 } });
    scheduler.give(selfPlay(10_000));
    await until('games of the batch', async () => ((await status()).current?.done ?? 0) > 20);
    node.process.kill('SIGTERM');
    expect(await node.ended, node.output()).to.equal(0);
    const given = scheduler.heard('item-1', 'failed')!;
    expect(given.reason).to.include('the node ends: SIGTERM');
    expect(given.done).to.be.greaterThan(20);

    const { storeId } = JSON.parse(readFileSync(shop.path('n1/node.json'), 'utf8')) as { storeId: string };
    await startNode();
    const now = await status();
    expect(now).to.include({ storeId, games: given.done });
    expect(now.pointers[CONFIG]).to.include({ modelId: 'm1', sha256: m1.sha256 });
  });

  it('kill -9 in a batch costs no committed game, and a damaged model is forgotten rather than played', async () => {
    const m1 = model(1);
    const node = await startNode();
    await pushModel('m1', m1);
    await ask(`/pointers/${CONFIG}`, { method: 'PUT', json: { modelId: 'm1', sha256: m1.sha256 } });
    scheduler.give(selfPlay(10_000));
    await until('games of the batch', async () => (await status()).games > 20);
    const before = await read(`/games?config=${CONFIG}&after=0&limit=5000`, gamesPage);
    node.process.kill('SIGKILL');
    await node.ended;

    const file = shop.path('n1/models/m1.mlvn');
    const damaged = readFileSync(file);
    damaged[200]! ^= 1;
    writeFileSync(file, damaged);
    const again = await startNode();
    const after = await read(`/games?config=${CONFIG}&after=0&limit=5000`, gamesPage);
    expect(after.storeId).to.equal(before.storeId);
    expect(after.games.slice(0, before.games.length)).to.deep.equal(before.games);

    scheduler.give(selfPlay(3));
    const done = await until('a batch without the model', () => scheduler.heard('item-2', 'completed'));
    expect(done.result?.modelId).to.equal(null);
    expect((await status()).models).to.deep.equal([]);
    expect(again.output()).to.include('forgets m1');
  });

  it('a scheduler that goes away costs no word: the batch is played, and the report waits until it is back elsewhere', async () => {
    await startNode();
    scheduler.give(selfPlay(400));
    await until('the batch in hand', () => scheduler.heard('item-1', 'started'));
    await scheduler.close();
    await until('the batch played alone', async () => {
      const { games, current } = await status();
      return games === 400 && current === null;
    });
    scheduler = new FakeScheduler();
    pointEndpointsAt(await scheduler.open());
    const report = await until('the last word', () => scheduler.heard('item-1', 'completed'));
    expect(report).to.include({ done: 400, token: 1 });
    await until('the next claim', () => scheduler.claims > 0);
    expect(scheduler.reports.filter(({ state }) => state === 'completed')).to.have.length(1);
  });

  it('an abandoned batch is dropped without a last word, a drained node claims nothing, a retired one ends', async () => {
    const node = await startNode();
    scheduler.abandon = true;
    scheduler.give(selfPlay(10_000));
    await until('the end of the batch', () => node.output().includes('item item-1 (selfplay square6_2p): failed'));
    expect(scheduler.heard('item-1', 'failed')).to.equal(undefined);
    scheduler.abandon = false;

    expect((await ask('/drain', { method: 'POST', json: { drain: true } })).body).to.deep.equal({ draining: true });
    scheduler.give(selfPlay(1));
    const { claims } = scheduler;
    for (let look = 0; look < 5; look++) await status();
    expect(scheduler.claims).to.be.at.most(claims + 1); // one may have been under way
    await ask('/drain', { method: 'POST', json: { drain: false } });
    await until('claiming again', () => scheduler.heard('item-2', 'completed'));

    scheduler.give(selfPlay(5, { config: 'square99_2p' }));
    const refused = await until('the refusal', () => scheduler.heard('item-3', 'failed'));
    expect(refused.reason).to.include('no such game config');
    scheduler.retire = true;
    expect(await node.ended).to.equal(0);
  });

  it('refuses what it cannot serve, in JSON with a reason', async () => {
    const node = await startNode();
    expect((await ask('/games?config=chess&after=0')).status).to.equal(400);
    expect((await ask(`/games?config=${CONFIG}&after=-1`)).status).to.equal(400);
    expect((await ask('/nothing')).body).to.deep.equal({ error: 'a node has no GET /nothing' });
    expect(
      (await ask('/models/..%2Fescape?config=x&sha256=y', { method: 'PUT', bytes: new Uint8Array(1) })).status,
    ).to.equal(400);
    expect((await ask('/status', { headers: { origin: 'http://evil.example' } })).status).to.equal(403);
    expect((await ask('/drain', { method: 'POST', json: { drain: 'yes' } })).status).to.equal(400);
    expect((await ask('/shutdown', { method: 'POST', json: { reason: 'enough' } })).body).to.deep.equal({
      accepted: true,
    });
    expect(await node.ended).to.equal(0);
    expect(node.output()).to.include('ends: enough');
    expect(readdirSync(shop.path('n1')).filter((name) => name.endsWith('.tmp'))).to.deep.equal([]);
  });

  it('ends by itself when nobody was heard for as long as it was told', async () => {
    pointEndpointsAt(null);
    const node = await startNode({ lonelySeconds: 0.6 });
    expect(await node.ended).to.equal(0);
    expect(node.output()).to.include('nobody was heard');
  });

  it('a folder whose store is no database ends it with exit 1, and says which', async () => {
    const { folder } = configure();
    writeFileSync(join(folder, 'games.db'), 'no database at all, '.repeat(100));
    const child = startChild(nodeCommand(folder));
    expect(await child.ended).to.equal(1);
    expect(child.output()).to.match(/cannot go on: .*games\.db/);
  });

  it('a folder without a usable configuration is refused with exit 2', async () => {
    mkdirSync(shop.path('empty'));
    const child = startChild(nodeCommand(shop.path('empty')));
    expect(await child.ended).to.equal(2);
    expect(child.output()).to.include('config.json');
  });
});

import { expect } from 'chai';
import Database from 'better-sqlite3';
import { writeFileSync } from 'node:fs';
import { OrchestratorError } from '../../../src/errors.ts';
import { realClock } from '../../../src/seams/clock.ts';
import type { HttpRequest, HttpResponse, Network } from '../../../src/seams/network.ts';
import { openFloor, type OpenedFloor } from '../../../src/training/stores/open-floor.ts';
import { game, gamesPage, match, matchesBody, place, rejectionOf, type Place } from './support.ts';

const CONFIG = 'square8_2p';
type Answer = { status: number; body: unknown };

/** A network of one node, as a function. */
class OneNode implements Network {
  readonly requests: HttpRequest[] = [];
  answer: (request: HttpRequest) => Answer = () => ({ status: 404, body: { error: 'no such route' } });

  async request(request: HttpRequest): Promise<HttpResponse> {
    this.requests.push(request);
    const { status, body } = this.answer(request);
    const bytes = body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
    return { status, headers: {}, body: bytes };
  }
  freePort = (): Promise<number> => Promise.resolve(1);
  connect = (): Promise<number> => Promise.resolve(1);
}

describe('the training floor', function () {
  this.timeout(30_000); // each opens a thread of its own; from source that loads the compiler first
  let home: Place;
  let network: OneNode;
  let host: OpenedFloor;
  const open = (): Promise<OpenedFloor> => openFloor({ dataDir: home.folder, clock: realClock(), network });
  const liveNode = async () => {
    const node = await host.floor.nodes.reserve({ pool: 'local', provider: 'local', pricePerHour: 1 });
    await host.floor.nodes.seen({ ...node, url: 'http://127.0.0.1:1', pid: 1, storeId: 's1' });
    return node;
  };
  const champion = async (text = 'weights') => {
    const { objects, models, evaluations } = host.floor;
    writeFileSync(home.file('model.bin'), text);
    const { sha256 } = await objects.put({ file: home.file('model.bin'), kind: 'model', name: `model-${text}` });
    const modelId = await models.reserve({ config: CONFIG, key: text });
    await models.register({
      modelId,
      config: CONFIG,
      parentId: null,
      sha256,
      rows: 1,
      steps: 1,
      loss: 0.1,
      trainedSeconds: 1,
    });
    const { evaluation } = await evaluations.enqueue({ modelId });
    await evaluations.next();
    const rows = [
      {
        opponent: 'random',
        games: 100,
        wins: 80,
        draws: 0,
        losses: 20,
        score: 0.8,
        low: 0.7,
        high: 0.9,
        stoppedEarly: false,
      },
    ];
    await evaluations.complete({ evaluationId: evaluation.evaluationId, rows });
    const { decision } = await models.decide({
      modelId,
      championId: evaluation.championId,
      promote: true,
      reasons: [],
    });
    return { modelId, sha256, outcome: await models.promote(decision.decisionId) };
  };

  beforeEach(async () => {
    home = place();
    network = new OneNode();
    host = await open();
  });
  afterEach(async () => {
    await host.close();
    home.remove();
  });

  it('refuses a start that has ended, before the call and before the answer', async () => {
    let closed = false;
    const view = host.forDaemon('AUTO_SYNC', 1, () => {
      if (closed) throw new OrchestratorError('SCOPE_CLOSED', { message: 'cannot: ended', remedy: 'none' });
    });
    await view.games.ingest(gamesPage({ after: 0, next: 1 }, [game('a')]));
    const inFlight = view.games.ingest(gamesPage({ after: 1, next: 2 }, [game('b')]));
    closed = true;
    await rejectionOf('SCOPE_CLOSED', inFlight);
    await rejectionOf('SCOPE_CLOSED', view.games.ingest(gamesPage({ after: 2, next: 3 }, [game('c')])));
    // What had left was whole; what had not, never happened.
    expect(await host.floor.games.total(CONFIG)).to.include({ games: 2 });
  });

  it('a store thread that dies among calls loses none that was answered, and the same calls may be made again', async () => {
    const pages = Array.from({ length: 40 }, (_, index) =>
      gamesPage({ after: index, next: index + 1 }, [game(`${index}`)]),
    );
    const { ingest } = host.floor.games;
    const outcomes = pages.map((page) =>
      ingest(page).then(
        () => true,
        (thrown: OrchestratorError) => thrown.code,
      ),
    );
    await outcomes[2]; // it has answered some of them; the rest are on their way
    await host.crashStores();
    const answered = await Promise.all(outcomes);
    expect(answered[0]).to.equal(true);
    expect(answered.at(-1)).to.equal('STORE_LOST');
    expect(host.calls().size).to.equal(0);
    const { games } = await host.floor.games.total(CONFIG);
    expect(games).to.be.at.least(answered.filter((outcome) => outcome === true).length);
    for (const page of pages) await ingest(page);
    expect(await host.floor.games.total(CONFIG)).to.include({ games: 40 });
    expect(await host.floor.games.cursors('local-1')).to.deep.equal([{ config: CONFIG, storeId: 's1', seq: 40 }]);
  });

  it('an argument that cannot be sent to the store thread is told to the caller, and nothing waits for it', async () => {
    const config = (() => CONFIG) as unknown as string;
    let told = '';
    await host.floor.games.total(config).catch((thrown: Error) => (told = thrown.message));
    expect(told).to.include('could not be cloned');
    expect(host.calls().size).to.equal(0);
    expect(await host.floor.games.total(CONFIG)).to.include({ games: 0 });
  });

  it('more calls than may wait are refused, and counted; when some are answered there is room again', async () => {
    const { limit } = host.calls();
    const waiting = Array.from({ length: limit }, () => host.floor.games.total(CONFIG));
    await rejectionOf('FLOOR_BUSY', host.floor.games.total(CONFIG));
    expect(host.calls()).to.deep.equal({ size: limit, limit, dropped: 1 });
    await Promise.all(waiting);
    await host.floor.games.total(CONFIG);
    expect(host.calls().size).to.equal(0);
  });

  it('a crash between any two steps of a promotion promotes once', async () => {
    const { modelId, outcome } = await champion();
    expect(outcome.outcome).to.equal('promoted');
    await host.crashStores();
    const [untold] = await host.floor.models.unannounced();
    expect(untold?.modelId).to.equal(modelId);
    expect((await host.floor.models.promote(untold!.promotionId)).outcome).to.equal('already');
    expect(await host.floor.models.promotions({ limit: 10 })).to.have.length(1);
  });

  it('a store of a newer version stops the floor from opening, and says which file', async () => {
    await host.close();
    const newer = new Database(home.file('work.db'));
    const present = newer.pragma('user_version', { simple: true }) as number;
    newer.pragma('user_version = 99');
    newer.close();
    const fault = await rejectionOf('STORE_TOO_NEW', open());
    expect(fault.message).to.contain('work.db').and.to.contain('99');
    const back = new Database(home.file('work.db'));
    back.pragma(`user_version = ${present}`);
    back.close();
    host = await open();
  });

  it('a canonical store of a newer version refuses that config and no other', async () => {
    await host.floor.games.ingest(gamesPage({ after: 0, next: 1 }, [game('a')]));
    await host.crashStores();
    const newer = new Database(home.file('canonical/square8_2p.db'));
    newer.pragma('user_version = 99');
    newer.close();
    await rejectionOf('STORE_TOO_NEW', host.floor.games.total(CONFIG));
    const hex = gamesPage({ after: 0, next: 1 }, [game('h', { config: 'hex8_2p' })], 'hex8_2p');
    expect(await host.floor.games.ingest(hex)).to.include({ inserted: 1 });
  });

  it('a closed floor answers what was asked before and refuses what comes after', async () => {
    const before = host.floor.queue.depth();
    const closing = host.close();
    expect(await before).to.deep.equal([]);
    await closing;
    await host.close();
    await rejectionOf('SCOPE_CLOSED', host.floor.queue.depth());
  });

  it('a config that could leave its folder is refused', async () => {
    await rejectionOf('FLOOR_INPUT_INVALID', host.floor.games.database('../../etc/passwd'));
    await rejectionOf('FLOOR_INPUT_INVALID', host.floor.models.reserve({ config: '../x', key: 'w1' }));
    expect(await host.floor.games.total('../x')).to.deep.equal({ games: 0, lastSeq: 0 });
  });

  it('pulls a page from a node and keeps it, cursor and all', async () => {
    const { nodeId } = await liveNode();
    network.answer = () => ({ status: 200, body: gamesPage({ after: 0, next: 2 }, [game('a'), game('b')]).body });
    const page = await host.floor.nodes.pullGames({ nodeId, config: CONFIG, after: 0, limit: 5000 });
    expect(await host.floor.games.ingest(page)).to.include({ inserted: 2, cursor: 2 });
    expect(network.requests[0]!.url).to.equal('http://127.0.0.1:1/games?config=square8_2p&after=0&limit=2000');
    network.answer = () => ({ status: 200, body: matchesBody([match('a', ['m', 1], ['random', 0])]) });
    expect(
      await host.floor.ratings.merge(await host.floor.nodes.pullMatches({ nodeId, after: 0, limit: 10 })),
    ).to.include({ inserted: 1 });
  });

  it('sends a champion, takes the hash the node computed, and switches its pointer', async () => {
    const { nodeId } = await liveNode();
    const { modelId, sha256 } = await champion();
    network.answer = ({ url, body }) =>
      url.includes('/models/')
        ? { status: 200, body: { modelId, sha256, bytes: (body as Uint8Array).length } }
        : { status: 200, body: { modelId, config: CONFIG, sha256 } };
    expect(await host.floor.nodes.pushModel({ nodeId, modelId })).to.deep.equal({ modelId, sha256, bytes: 7 });
    expect(await host.floor.nodes.setPointer({ nodeId, modelId })).to.include({ modelId });
    expect(JSON.parse(network.requests.at(-1)!.body as string)).to.deep.equal({ modelId, sha256 });
  });

  it('tells apart a node that is away, one that refuses, one that talks otherwise, and a stranger on its port', async () => {
    const { nodeId } = await liveNode();
    const { nodes } = host.floor;
    network.answer = () => {
      throw new Error('connection refused');
    };
    expect((await rejectionOf('NODE_UNREACHABLE', nodes.status(nodeId))).message).to.equal(
      'cannot read the status of node local-1: connection refused',
    );
    network.answer = () => ({ status: 409, body: { error: 'not held' } });
    expect((await rejectionOf('NODE_REFUSED', nodes.ping(nodeId))).message).to.contain('it answered 409, not held');
    network.answer = () => ({ status: 502, body: Buffer.from('Bad Gateway') });
    expect((await rejectionOf('NODE_REFUSED', nodes.ping(nodeId))).message).to.contain('it answered 502, Bad Gateway');
    network.answer = () => ({ status: 200, body: { hello: 1 } });
    await rejectionOf('NODE_REFUSED', nodes.ping(nodeId));
    network.answer = () => ({ status: 200, body: Buffer.from('<html>') });
    await rejectionOf('NODE_REFUSED', nodes.ping(nodeId));
    network.answer = () => ({ status: 200, body: { nodeId: 'local-9', runId: 'r' } });
    expect((await rejectionOf('NODE_UNREACHABLE', nodes.ping(nodeId))).message).to.contain('node local-9 answers');
    await rejectionOf('FLOOR_INPUT_INVALID', nodes.ping('nobody'));
    const { runId } = (await nodes.get(nodeId))!;
    await nodes.end({ nodeId, runId, state: 'lost', reason: 'gone' });
    expect((await rejectionOf('NODE_UNREACHABLE', nodes.ping(nodeId))).message).to.contain(
      'it is lost and has no address',
    );
  });

  it('evidence and summary tell what the stores hold, whatever events said', async () => {
    const { games, samples, models, pipeline, loop, allocation } = host.floor;
    await games.ingest(gamesPage({ after: 0, next: 2 }, [game('a'), game('b')]));
    await samples.openExport({ config: CONFIG, gamesMin: 1, gamesMax: 100 });
    const node = await liveNode();
    const { modelId } = await champion();
    await models.delivered({ modelId, nodeId: node.nodeId, runId: node.runId, state: 'in-use' });
    await allocation.write({ targets: [{ config: 'hex8_2p', games: 1, exploration: 0.1, opponents: [] }], quotas: [] });
    expect(await pipeline.evidence(CONFIG)).to.deep.include({
      games: 2,
      exportedSeq: 0,
      exportsOpen: 1,
      championId: modelId,
      liveNodes: 1,
      championNodes: 1,
      undecided: [],
      unevaluated: [],
    });
    const summary = await loop.summary();
    expect(
      summary.configs.map(({ config, games: played, championId }) => ({ config, played, championId })),
    ).to.deep.equal([
      { config: 'hex8_2p', played: 0, championId: null },
      { config: CONFIG, played: 2, championId: modelId },
    ]);
    expect(summary.configs[1]!.strength).to.deep.include({
      ...summary.configs[1]!.strength[0],
      modelId,
      vsRandom: 0.8,
      vsGreedy: null,
      promoted: true,
    });
  });

  it('endpoints are announced one by one and survive damage', async () => {
    const { endpoints } = host.floor;
    await endpoints.announce({ scheduler: 'http://127.0.0.1:9' });
    await endpoints.announce({ data: 'http://127.0.0.1:8' });
    expect(await endpoints.read()).to.deep.equal({
      version: 1,
      scheduler: 'http://127.0.0.1:9',
      data: 'http://127.0.0.1:8',
    });
    writeFileSync(endpoints.file, 'half a fi');
    expect(await endpoints.read()).to.deep.equal({ version: 1, scheduler: null, data: null });
  });

  it('velocity is the gain of champions over the time since the first of them', async () => {
    const { ratings } = host.floor;
    expect(await ratings.velocity(CONFIG, { hours: 1 })).to.equal(null);
    const one = await champion('one');
    const two = await champion('two');
    const rows = Array.from({ length: 60 }, (_, index) => [
      match(`a${index}`, [one.modelId, 1], ['random', index % 3 === 0 ? 2 : 0]),
      match(`b${index}`, [two.modelId, 1], [one.modelId, index % 3 === 0 ? 2 : 0]),
    ]).flat();
    await ratings.merge({ nodeId: 'local-1', body: matchesBody(rows) });
    expect(await ratings.velocity(CONFIG, { hours: 1 })).to.be.greaterThan(0);
    const snapshot = await ratings.snapshot();
    expect([snapshot.changed, (await ratings.snapshot()).changed]).to.deep.equal([true, false]);
  });

  it('a drill closes the handles of one kind of store and of no other', async () => {
    const { games, pipeline, feedback, queue, models, ratings, handles } = host.floor;
    await games.ingest(gamesPage({ after: 0, next: 1 }, [game('a')]));
    const calls = {
      canonical: () => games.total(CONFIG),
      pipeline: () => pipeline.current(CONFIG),
      feedback: () => feedback.all(),
      queue: () => queue.depth(),
      models: () => models.champions(),
      ratings: () => ratings.table(CONFIG),
    };
    for (const store of Object.keys(calls) as (keyof typeof calls)[]) {
      await handles.close(store);
      await handles.close(store);
      for (const [name, call] of Object.entries(calls))
        if (name === store) await rejectionOf('STORE_FAILED', call());
        else await call();
      await handles.reopen(store);
      await calls[store]();
    }
    expect(await games.total(CONFIG)).to.include({ games: 1 });
  });
});

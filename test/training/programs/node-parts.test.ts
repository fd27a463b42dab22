import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HttpRequest, Network } from '../../../src/seams/network.ts';
import { plainClock } from '../../../src/seams/plain-clock.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import { seededRandom } from '../../../src/seams/random.ts';
import { shapeFor, ValueNetwork } from '../../../src/training/agents/value-network.ts';
import { gameConfig } from '../../../src/training/game/configs.ts';
import { encodeCheckpoint, sha256Of } from '../../../src/training/learning/checkpoint.ts';
import { BatchPlayer } from '../../../src/training/programs/node/batch-player.ts';
import { MODELS_KEPT, ModelShelf } from '../../../src/training/programs/node/model-shelf.ts';
import { NodeStore } from '../../../src/training/programs/node/node-store.ts';
import { SchedulerClient } from '../../../src/training/programs/node/scheduler-client.ts';
import {
  nodeConfig,
  PROTOCOL_VERSION,
  type GameRow,
  type WorkReport,
} from '../../../src/training/programs/protocol.ts';

const CONFIG = 'square6_2p';
const files = realFileSystem();

const game = (id: string, config: string = CONFIG): GameRow => ({
  ...{ id: `game-${id}`, config, moves: 'ABC', plies: 3, pieces: [4, 3], winner: 0 },
  ...{ agents: ['random', 'random'], exploration: 0, endedAtMs: 1 },
});

const report = (itemId: string): WorkReport => ({
  ...{ version: PROTOCOL_VERSION, nodeId: 'n1', runId: 'r1', itemId, token: 1 },
  ...{ state: 'completed', done: 1, of: 1 },
});

describe('Parts of a node', () => {
  let folder: string;
  let store: NodeStore;
  const open = (keepGames = 20_000): NodeStore => new NodeStore(join(folder, 'games.db'), keepGames, seededRandom(1));
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'node-'));
    store = open();
  });
  afterEach(() => {
    store.close();
    rmSync(folder, { recursive: true });
  });

  describe('NodeStore', () => {
    it('games of several configs are numbered in one sequence and handed out per config', () => {
      store.keep([game('1'), game('2', 'hex8_2p'), game('3')], []);
      expect(store.lastSeq()).to.deep.equal({ [CONFIG]: 3, hex8_2p: 2 });
      const { rows, next, more } = store.gamesAfter(CONFIG, 0, 10);
      expect(rows).to.deep.equal([game('1'), game('3')]);
      expect({ next, more }).to.deep.equal({ next: 3, more: false });
      expect(store.gamesAfter('hex8_3p', 0, 10)).to.deep.equal({ rows: [], next: 0, more: false });
    });

    it('a game or match that is known already is kept once', () => {
      const match = {
        id: 'i:0',
        config: CONFIG,
        seats: [
          { agent: 'a', score: 1 },
          { agent: 'b', score: 2 },
        ],
        playedAtMs: 1,
      };
      store.keep([game('1')], [match]);
      store.keep([game('1'), game('2')], [match]);
      expect(store.games).to.equal(2);
      expect(store.matchesAfter(0, 10).rows).to.deep.equal([match]);
    });

    it('only acknowledged games beyond the number to keep are pruned, and numbers are never used again', () => {
      store.close();
      store = open(2);
      store.keep(
        ['1', '2', '3', '4', '5'].map((id) => game(id)),
        [],
      );
      expect(store.prune()).to.equal(0); // nobody has them yet
      store.gamesAfter(CONFIG, 999, 10); // a cursor of some other store acknowledges nothing
      expect(store.prune()).to.equal(0);
      store.gamesAfter(CONFIG, 2, 10);
      expect(store.prune()).to.equal(2);
      store.gamesAfter(CONFIG, 5, 10);
      expect(store.prune()).to.equal(1); // two are kept, acknowledged or not
      expect(store.games).to.equal(2);

      store.close();
      store = open(0);
      expect(store.prune()).to.equal(2);
      expect(store).to.include({ games: 0 });
      expect(store.lastSeq()).to.deep.equal({ [CONFIG]: 5 });
      store.keep([game('6')], []);
      expect(store.gamesAfter(CONFIG, 5, 10).next).to.equal(6);
    });

    it('everything is there after closing and opening: identity, numbers, models, pointers, last words', () => {
      store.keep([game('1')], []);
      store.addModel({ modelId: 'm1', config: CONFIG, sha256: 'a' });
      store.setPointer(CONFIG, 'm1');
      store.addReport(report('i1'));
      const { storeId } = store;
      store.close();
      store = open();
      expect(store).to.include({ storeId, games: 1 });
      expect(store.pointers()).to.deep.equal([{ modelId: 'm1', config: CONFIG, sha256: 'a' }]);
      expect(store.pendingReports().map((pending) => pending.report)).to.deep.equal([report('i1')]);
      store.removeModel('m1');
      expect(store.pointers()).to.deep.equal([]); // no pointer at what is not held
    });

    it('last words are bounded: the oldest go', () => {
      for (let index = 0; index < 260; index++) store.addReport(report(`i${index}`));
      const waiting = store.pendingReports();
      expect(waiting).to.have.length(256);
      expect(waiting[0]!.report.itemId).to.equal('i4');
    });
  });

  describe('ModelShelf', () => {
    const bytes = encodeCheckpoint(ValueNetwork.untrained(shapeFor(gameConfig(CONFIG), 4), seededRandom(1)), {
      ...{ version: 'm', steps: 0 },
    });
    const sha256 = sha256Of(bytes);

    it('keeps a bounded number of models, and the one pointed at whatever its age', () => {
      const shelf = new ModelShelf(join(folder, 'models'), files, store, () => {});
      const take = (modelId: string) => shelf.take({ modelId, config: CONFIG, sha256 }, bytes);
      take('m0');
      shelf.point(CONFIG, 'm0', sha256);
      for (let index = 1; index <= MODELS_KEPT + 5; index++) take(`m${index}`);
      const held = shelf.models().map(({ modelId }) => modelId);
      expect(held).to.have.length(MODELS_KEPT);
      expect(held[0]).to.equal('m0');
      expect(held[1]).to.equal('m7');
      expect(files.list(join(folder, 'models'))).to.have.length(MODELS_KEPT);
      expect(shelf.current(CONFIG)?.name).to.equal('m0');
    });

    it('a model for another config is refused, and never plays one it is not for', () => {
      const shelf = new ModelShelf(join(folder, 'models'), files, store, () => {});
      expect(shelf.take({ modelId: 'm1', config: 'hex8_2p', sha256 }, bytes)).to.include({ status: 422 });
      shelf.take({ modelId: 'm1', config: CONFIG, sha256 }, bytes);
      expect(shelf.point('hex8_2p', 'm1', sha256)).to.include({ status: 409 });
      expect(shelf.agentOf('m1', 'hex8_2p')).to.equal(null);
    });
  });

  describe('SchedulerClient', () => {
    const endpointsFile = (): string => join(folder, 'endpoints.json');
    const clientWith = (answer: (request: HttpRequest) => { status: number; body: string }) => {
      const faults: string[] = [];
      let answers = 0;
      const network: Network = {
        request: (request) => {
          const { status, body } = answer(request);
          return Promise.resolve({ status, headers: {}, body: Buffer.from(body) });
        },
        freePort: () => Promise.reject(new Error('not here')),
        connect: () => Promise.reject(new Error('not here')),
      };
      const client = new SchedulerClient({
        ...{ endpointsFile: endpointsFile(), files, network, store },
        onAnswer: () => answers++,
        onFault: (fault) => faults.push(fault),
      });
      return { client, faults, answers: () => answers };
    };
    beforeEach(() =>
      writeFileSync(
        endpointsFile(),
        JSON.stringify({ version: PROTOCOL_VERSION, scheduler: 'http://127.0.0.1:1', data: null }),
      ),
    );

    it('words that are refused leave the outbox, words that meet a fault of the other side stay, in order', async () => {
      for (const item of ['i1', 'i2', 'i3']) store.addReport(report(item));
      const heard: string[] = [];
      const { client, faults } = clientWith(({ body }) => {
        const { itemId } = JSON.parse(body as string) as WorkReport;
        heard.push(itemId);
        if (itemId === 'i1') return { status: 404, body: '{"error":"no such item"}' };
        if (heard.length < 3) return { status: 503, body: 'not now' };
        return { status: 200, body: '{"accepted":true,"abandon":false}' };
      });
      expect(await client.deliver()).to.be.false;
      expect(store.pendingReports()).to.have.length(2);
      expect(await client.deliver()).to.be.true;
      expect(heard).to.deep.equal(['i1', 'i2', 'i2', 'i3']);
      expect(faults[0]).to.include('404');
    });

    it('an answer that makes no sense, an unreadable endpoints file and no scheduler are all no answer', async () => {
      const { client, faults, answers } = clientWith(() => ({ status: 200, body: '{"accepted":"maybe"}' }));
      expect(await client.report(report('i1'))).to.equal(null);
      writeFileSync(endpointsFile(), 'half a fi');
      expect(await client.report(report('i1'))).to.equal(null);
      expect(faults).to.have.length(2);
      writeFileSync(endpointsFile(), JSON.stringify({ version: PROTOCOL_VERSION, scheduler: null, data: null }));
      expect(await client.report(report('i1'))).to.equal(null);
      expect(faults).to.have.length(2); // an absent scheduler is not a fault
      expect(answers()).to.equal(0);
    });
  });

  describe('BatchPlayer', () => {
    const player = (): { player: BatchPlayer; said: string[] } => {
      const said: string[] = [];
      const config = nodeConfig.parse({
        ...{
          version: PROTOCOL_VERSION,
          nodeId: 'n1',
          runId: 'r1',
          pool: 'p',
          endpointsFile: 'none',
          kinds: ['selfplay'],
        },
        ...{ commitGames: 4, seed: 1 },
      });
      const shelf = new ModelShelf(join(folder, 'models'), files, store, () => {});
      const clock = { ...plainClock(), sleep: () => Promise.resolve() };
      return {
        player: new BatchPlayer({
          config,
          store,
          shelf,
          clock,
          random: seededRandom(2),
          say: (line) => said.push(line),
        }),
        said,
      };
    };
    const item = (games: number) => ({
      ...{ itemId: 'i1', token: 1, attempt: 1, leaseSeconds: 10 },
      work: {
        ...({ kind: 'selfplay', config: CONFIG, games, exploration: 0.1, seed: 3 } as const),
        opponents: [{ agent: 'not-here-yet', weight: 1 }],
      },
    });

    it('a disk that is full for a while costs no game: playing waits until they are kept', async () => {
      const { player: batch, said } = player();
      const keep = store.keep.bind(store);
      let refusals = 3;
      store.keep = (games, matches) => {
        if (refusals-- > 0) throw new Error('disk full');
        keep(games, matches);
      };
      const committed: number[] = [];
      const outcome = await batch.play(item(10), { stopReason: () => null, onCommit: (done) => committed.push(done) });
      expect(outcome).to.include({ done: 10, stopped: null });
      expect(committed).to.deep.equal([4, 8, 10]);
      expect(said).to.deep.equal(Array(3).fill('keeps 4 games in memory: disk full'));
      expect(store.games).to.equal(10);
    });

    it('a node that must end while the disk is full claims no game it could not keep', async () => {
      const { player: batch } = player();
      let refused = 0;
      store.keep = () => {
        refused++;
        throw new Error('disk full');
      };
      const stopReason = (): string | null => (refused > 0 ? 'the node ends' : null);
      const outcome = await batch.play(item(10), { stopReason, onCommit: () => {} });
      expect(outcome).to.include({ done: 0, stopped: 'the node ends' });
      expect(outcome.result.games).to.equal(0);
      expect(batch.current).to.equal(null);
    });
  });
});

/**
 * Node program: claims work, plays it, keeps the games, answers questions. Its only argument is its folder.
 *
 * A node is made to be alone for a while. The master may be away, the scheduler may move, both may come back under
 * another address: the node goes on playing what it has, keeps every game in its own store, repeats its last words until
 * they are answered, and serves whoever asks. Only when nobody has asked and nothing has answered for `lonelySeconds` does
 * it end itself, so that no process is left behind by a master that is gone for good. SIGTERM, a shutdown request, being
 * retired and loneliness are the same end: the game in hand is finished and committed, the unfinished item is given
 * back, and the program exits 0.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../../errors.ts';
import { isoTime, plainClock } from '../../seams/plain-clock.ts';
import { realRandom } from '../../seams/random.ts';
import { realFileSystem } from '../../seams/real-file-system.ts';
import { realNetwork } from '../../seams/real-network.ts';
import { exit, onSignal, ownArguments, ownPid } from '../../seams/self.ts';
import { jobInvalid } from './job-program.ts';
import { BatchPlayer, type WorkItem } from './node/batch-player.ts';
import { ModelShelf } from './node/model-shelf.ts';
import { nodeServer, type NodeLife } from './node/node-server.ts';
import { NodeStore } from './node/node-store.ts';
import { SchedulerClient } from './node/scheduler-client.ts';
import {
  nodeConfig,
  PROTOCOL_VERSION,
  type ClaimRequest,
  type NodeAnnouncement,
  type NodeConfig,
  type WorkReport,
} from './protocol.ts';

/** Milliseconds between looks at how long nobody was heard. */
const LONELY_LOOK_MS = 500;

/** A word about a batch at least this often, whatever the lease allows, milliseconds: people watch the figures. */
const WORD_MS = 2000;

const EXIT_UNUSABLE_CONFIG = 2;

const clock = plainClock();
const files = realFileSystem();
const random = realRandom();
const say = (line: string): void => void process.stdout.write(`${isoTime(clock.wallMs())} ${line}\n`);

const readConfig = (folder: string | undefined, more: number): NodeConfig => {
  if (folder === undefined || more > 0) throw jobInvalid('node', 'the folder of the node must be the only argument');
  const file = join(folder, 'config.json');
  try {
    return nodeConfig.parse(JSON.parse(files.readText(file)));
  } catch (thrown) {
    throw jobInvalid('node', `${file}: ${thrown instanceof z.ZodError ? z.prettifyError(thrown) : messageOf(thrown)}`);
  }
};

/** The whole life of a node in `folder`; returns when it has ended well. */
const live = async (folder: string, config: NodeConfig): Promise<void> => {
  const { nodeId, runId } = config;
  const store = new NodeStore(join(folder, 'games.db'), config.keepGames, random);
  const shelf = new ModelShelf(join(folder, 'models'), files, store, say);
  const player = new BatchPlayer({ config, store, shelf, clock, random, say });

  const startedAt = clock.monotonicMs();
  const ending = new AbortController();
  let endReason = '';
  let draining = false;
  let itemsDone = 0;
  let idleSince = startedAt;
  let heardAt = startedAt;

  const life: NodeLife = {
    get draining() {
      return draining || ending.signal.aborted;
    },
    get itemsDone() {
      return itemsDone;
    },
    startedAt,
    get idleSince() {
      return idleSince;
    },
    drain(on) {
      draining = on;
    },
    end(reason) {
      if (ending.signal.aborted) return;
      endReason = reason;
      say(`ends: ${reason}`);
      ending.abort();
    },
    heard() {
      heardAt = clock.monotonicMs();
    },
  };

  // The same fault round after round is said once: while the scheduler is away there is one every half second.
  let lastFault = '';
  const client = new SchedulerClient({
    ...{ endpointsFile: config.endpointsFile, files, network: realNetwork(), store },
    onAnswer: () => {
      life.heard();
      lastFault = '';
    },
    onFault: (fault) => {
      if (fault !== lastFault) say(`no answer from the scheduler: ${fault}`);
      lastFault = fault;
    },
  });

  const server = nodeServer({ config, pid: ownPid(), clock, store, shelf, player, life });
  const url = await server.listen({ host: '127.0.0.1', port: config.port });
  const announcement: NodeAnnouncement = {
    ...{ version: PROTOCOL_VERSION, nodeId, runId, pid: ownPid(), url, storeId: store.storeId },
  };
  files.writeAtomically(join(folder, 'node.json'), JSON.stringify(announcement));
  onSignal(['SIGTERM', 'SIGINT'], (signal) => life.end(signal));
  clock.every(
    LONELY_LOOK_MS,
    () => {
      const seconds = clock.since(heardAt);
      if (seconds > config.lonelySeconds) life.end(`nobody was heard for ${seconds.toFixed(0)} s`);
    },
    { background: true },
  );
  say(`node ${nodeId} listens on ${url} with ${store.games} games`);

  const pause = (ms: number): Promise<void> => clock.sleep(ms, ending.signal).catch(() => {});

  const perform = async (item: WorkItem): Promise<void> => {
    const { itemId, token, work } = item;
    const of = work.kind === 'training' ? 0 : work.games;
    const words = { version: PROTOCOL_VERSION, nodeId, runId, itemId, token, of } as const;
    const wordMs = Math.min(WORD_MS, (item.leaseSeconds * 1000) / 3);
    let abandoned = false;
    let toldAt = clock.monotonicMs();
    let telling = Promise.resolve();
    let isTelling = false;
    /** One word at a time, beside the play: a slow scheduler costs no game. */
    const tell = (state: 'started' | 'progress', done: number): void => {
      toldAt = clock.monotonicMs();
      if (isTelling) return;
      isTelling = true;
      telling = client.report({ ...words, state, done }).then((answer) => {
        abandoned ||= answer !== null && (answer.abandon || !answer.accepted);
        isTelling = false;
      });
    };

    tell('started', 0);
    let last: Pick<WorkReport, 'state' | 'done' | 'result' | 'reason'>;
    try {
      const { done, stopped, result } = await player.play(item, {
        stopReason: () => (abandoned ? 'abandoned' : ending.signal.aborted ? `the node ends: ${endReason}` : null),
        onCommit: (done) => {
          if (clock.monotonicMs() - toldAt >= wordMs) tell('progress', done);
        },
      });
      last = stopped === null ? { state: 'completed', done, result } : { state: 'failed', done, reason: stopped };
    } catch (thrown) {
      last = { state: 'failed', done: 0, reason: messageOf(thrown).slice(0, 2000) };
    }
    await telling;
    idleSince = clock.monotonicMs();
    say(`item ${itemId} (${work.kind} ${work.config}): ${last.state}, ${last.done} of ${of} ${last.reason ?? ''}`);
    if (last.state === 'completed') itemsDone++;
    if (!abandoned) store.addReport({ ...words, ...last });
    store.prune();
  };

  const claim = (): ClaimRequest => ({
    ...{ version: PROTOCOL_VERSION, nodeId, runId, url, pid: ownPid(), storeId: store.storeId },
    ...{ kinds: config.kinds, cpus: config.cpus, memoryMb: config.memoryMb },
    models: shelf.models().map(({ modelId }) => modelId),
  });

  while (!ending.signal.aborted) {
    try {
      await client.deliver();
      if (life.draining) {
        await pause(config.idlePollMs);
        continue;
      }
      const answer = await client.claim(claim());
      if (answer?.retire === true) life.end('retired by the floor');
      // An item that arrives while the node ends is performed as well: it plays nothing and gives the item back.
      if (answer?.item != null) await perform(answer.item);
      else await pause(Math.max(config.idlePollMs, answer?.retryAfterMs ?? 0));
    } catch (thrown) {
      say(`goes on after a fault: ${messageOf(thrown)}`); // a store that cannot write now may later
      await pause(config.idlePollMs);
    }
  }
  await client.deliver();
  await server.close();
  store.close();
};

const main = async (): Promise<number> => {
  const [folder, ...more] = ownArguments();
  let config: NodeConfig;
  try {
    config = readConfig(folder, more.length);
  } catch (thrown) {
    say(messageOf(thrown));
    return EXIT_UNUSABLE_CONFIG;
  }
  try {
    await live(folder!, config);
    return 0;
  } catch (thrown) {
    say(`cannot go on: ${messageOf(thrown)}`);
    return 1;
  }
};

exit(await main());

import { expect } from 'chai';
import { autoExport } from '../../../src/daemons/pipeline/auto-export.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { childOf, CONFIG, crashesOf, playGames, storeGames, sweepKills } from '../learning.ts';

const TYPE = 'AUTO_EXPORT';
const NOW = { gamesMin: 10, gamesNow: 20, cooldownSeconds: 0, periodSeconds: 0.05 };

describe(TYPE, function () {
  this.timeout(90_000);
  let bench: DaemonBench;
  const shards = () => bench.floor.samples.window(CONFIG, { shards: 100 });
  const newGames = async (count: number, seed: number): Promise<void> => {
    const total = await storeGames(bench.floor, playGames(count, seed));
    await bench.publish('NEW_GAMES_AVAILABLE', { config: CONFIG, games: count, total, lastSeq: total });
  };

  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  it('new games become a shard that is on disk, listed and told, and the job leaves nothing behind', async () => {
    await bench.start(autoExport, { ...NOW, periodSeconds: 60 });
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 0);
    await newGames(25, 1);
    const { body } = await bench.waitFor('NPZ_EXPORT_COMPLETE');
    expect(body).to.include({ config: CONFIG, games: 25 });
    const [shard] = await shards();
    expect(shard).to.include({ shardId: body.shardId, sha256: body.sha256, rows: body.rows, games: 25 });
    expect(realFileSystem().stat(shard!.file).bytes).to.equal(shard!.bytes);
    expect((await bench.floor.objects.get(body.sha256))?.file).to.equal(shard!.file);
    expect(await bench.floor.jobs.result('export', body.exportId)).to.equal(null);
    expect(bench.events('NPZ_EXPORT_STARTED')).to.have.length(1);
    await bench.until('none is open', () => bench.health(TYPE).details.open === 0);
    expect(bench.health(TYPE).details).to.include({ shards: 1, failures: 0 });
    await bench.stop(TYPE, { full: true });
    expect(bench.left()).to.deep.equal([]);
  });

  it('few games wait: for the period at the first mark, for an event at the second', async () => {
    await storeGames(bench.floor, playGames(9, 1));
    await bench.start(autoExport, NOW);
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 2);
    expect(bench.events('NPZ_EXPORT_STARTED')).to.deep.equal([]);
    await storeGames(bench.floor, playGames(1, 2));
    expect((await bench.waitFor('NPZ_EXPORT_COMPLETE')).body.games).to.equal(10);
  });

  it('killed while its program runs, the next start takes the program over and records it once', async () => {
    await bench.start(autoExport, NOW);
    await newGames(25, 1);
    const child = await childOf(bench, TYPE);
    child.process.signalGroup('SIGSTOP');
    await bench.kill(TYPE);
    await bench.start(autoExport, NOW);
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 2);
    expect(bench.processes.live(TYPE).map(({ process }) => process.identity.pid)).to.deep.equal([
      child.process.identity.pid,
    ]);
    child.process.signalGroup('SIGCONT');
    await bench.waitFor('NPZ_EXPORT_COMPLETE');
    expect(await shards()).to.have.length(1);
    expect(bench.events('NPZ_EXPORT_STARTED')).to.have.length(1);
  });

  it('killed together with its program, the next start exports the same range again', async () => {
    await bench.start(autoExport, NOW);
    await newGames(25, 1);
    const child = await childOf(bench, TYPE);
    await bench.kill(TYPE);
    child.process.signalGroup('SIGKILL');
    await child.process.exited;
    await bench.start(autoExport, NOW);
    const { body } = await bench.waitFor('NPZ_EXPORT_COMPLETE');
    expect(body).to.include({ exportId: `${CONFIG}-e0`, games: 25 });
    expect(bench.events('NPZ_EXPORT_FAILED')).to.deep.equal([]);
  });

  it('a program that dies is a failure that is told, and its range is exported by the next attempt', async () => {
    await bench.start(autoExport, { ...NOW, retrySeconds: 0.1 });
    await newGames(25, 1);
    (await childOf(bench, TYPE)).process.signalGroup('SIGKILL');
    const { body } = await bench.waitFor('NPZ_EXPORT_FAILED');
    expect(body).to.include({ attempts: 1 });
    expect(body.reason).to.include('SIGKILL');
    expect((await bench.waitFor('NPZ_EXPORT_COMPLETE')).body.games).to.equal(25);
  });

  it('a program that hangs is ended when its time is over', async () => {
    await bench.start(autoExport, { ...NOW, timeoutSeconds: 0.5, retrySeconds: 60 });
    await newGames(25, 1);
    const child = await childOf(bench, TYPE);
    child.process.signalGroup('SIGSTOP');
    // TERM does not reach a stopped process; KILL does, after the grace.
    expect((await bench.waitFor('NPZ_EXPORT_FAILED')).body.reason).to.include('longer than 0.5 s');
    expect(child.process.groupIsGone()).to.equal(true);
  });

  it('killed before or after any call, every game is in one shard and every shard is told once', async () => {
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: autoExport,
      // Looks while the program runs are all alike, and each would be killed.
      config: { ...NOW, periodSeconds: 30 },
      stride: 3,
      prepare: (round) => newGames(20, round),
      done: async () =>
        (await bench.floor.samples.unexported(CONFIG)).games === 0 &&
        bench.events('NPZ_EXPORT_COMPLETE').length === (await shards()).length,
      async check(round) {
        const all = await shards();
        expect(all.reduce((sum, { games }) => sum + games, 0)).to.equal(20 * round);
        expect(bench.events('NPZ_EXPORT_COMPLETE').map(({ body }) => body.shardId)).to.have.members(
          all.map(({ shardId }) => shardId),
        );
        for (const { sha256 } of all) expect(await bench.floor.objects.get(sha256)).to.not.equal(null);
      },
    });
    expect(kills).to.be.greaterThan(12);
  });
});

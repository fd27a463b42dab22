import { expect } from 'chai';
import { eloSync } from '../../../src/daemons/sync/elo-sync.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import { PROTOCOL_VERSION, type MatchRow } from '../../../src/training/programs/protocol.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';
import { CONFIG, crashesOf, matchOf, playGames, startNode, storeGames, sweepKills } from '../learning.ts';

const TYPE = 'ELO_SYNC';
const NOW = { periodSeconds: 0.1 };
/** greedy wins two of three. */
const cup = (name: string, count: number): MatchRow[] =>
  Array.from({ length: count }, (_, index) =>
    matchOf(`${name}:${index}`, ['greedy', index % 3 === 0 ? 10 : 20], ['random', 15]),
  );

describe(TYPE, function () {
  this.timeout(60_000);
  let bench: DaemonBench;
  const gamesOf = async (agent: string): Promise<number> =>
    (await bench.floor.ratings.table(CONFIG)).find((row) => row.agent === agent)?.games ?? 0;
  /** Rows that somebody else merges: EVALUATION. */
  const merge = async (source: string, matches: readonly MatchRow[]): Promise<void> => {
    const file = `${bench.dataDir}/${source}.json`;
    const page = { version: PROTOCOL_VERSION, source, storeId: source, after: 0, next: matches.length, more: false };
    realFileSystem().writeAtomically(file, JSON.stringify({ ...page, matches }));
    await bench.floor.ratings.mergeFile(file);
  };

  beforeEach(async () => {
    bench = await openBench();
    await storeGames(bench.floor, playGames(1, 1));
  });
  afterEach(() => bench.close());

  it('matches of all nodes count once each, more than a page of them, and the table is told and published', async () => {
    // Both nodes bring the rows of one cup, as after a node's folder was copied.
    await startNode(bench, cup('one', 1100));
    await startNode(bench, [...cup('one', 30), ...cup('two', 30)]);
    await bench.start(eloSync, NOW);
    await bench.until('all are merged', async () => (await gamesOf('greedy')) === 1130);
    const { body } = await bench.waitFor('ELO_UPDATED');
    expect(body).to.include({ config: CONFIG, matches: 1130, champion: null });
    const [best] = await bench.floor.ratings.table(CONFIG);
    expect(best!.agent).to.equal('greedy');
    expect(best!.rating).to.be.within(1100, 1140); // two of three are 120 points
    const object = await bench.until('the snapshot lists them', async () => {
      const found = await bench.floor.objects.named('ratings.json');
      return found !== null && realFileSystem().readText(found.file).includes('"games":1130') ? found : null;
    });
    expect(object.kind).to.equal('ratings');
    await bench.stop(TYPE, { full: true });
    await bench.start(eloSync, NOW);
    await bench.until('it has looked', () => Number(bench.health(TYPE).details.cycles) > 2);
    expect(await gamesOf('greedy')).to.equal(1130);
    expect(bench.events('ELO_UPDATED')).to.have.length(1);
    await bench.stop(TYPE, { full: true });
    expect(bench.left().filter((what) => !what.includes('of TEST'))).to.deep.equal([]);
  });

  it('a node that does not answer is said to, and the others are merged', async () => {
    const silent = await startNode(bench, cup('one', 3));
    await startNode(bench, cup('two', 6));
    const { process } = bench.processes.live('TEST').find(({ name }) => name === silent.nodeId)!;
    process.signalGroup('SIGKILL');
    await process.exited;
    await bench.start(eloSync, NOW);
    await bench.until('the other is merged', async () => (await gamesOf('greedy')) === 6);
    await bench.until('health says so', () => bench.health(TYPE).message.includes(silent.nodeId));
  });

  it('a rating that moves by more than its error is told', async () => {
    await merge('before', cup('before', 30));
    await startNode(
      bench,
      Array.from({ length: 200 }, (_, index) => matchOf(`win:${index}`, ['greedy', 20], ['random', 1])),
    );
    await bench.start(eloSync, NOW);
    const { body } = await bench.waitFor('ELO_SIGNIFICANT_CHANGE');
    expect(body).to.include({ config: CONFIG, agent: 'greedy' });
    expect(body.to - body.from).to.be.greaterThan(body.error);
  });

  it('killed before or after any call, what was merged is told once', async () => {
    let rows = 0;
    const kills = await sweepKills(bench, crashesOf(bench), {
      definition: eloSync,
      config: NOW,
      async prepare(round) {
        await merge(`cup-${round}`, cup(`cup-${round}`, 3));
        rows += 3;
      },
      done: (round) => bench.events('ELO_UPDATED').length >= round,
      async check(round) {
        expect(await gamesOf('greedy')).to.equal(rows);
        expect(bench.events('ELO_UPDATED')).to.have.length(round);
      },
    });
    expect(kills).to.be.greaterThan(4);
  });
});

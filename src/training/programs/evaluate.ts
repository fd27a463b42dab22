/**
 * Evaluation program: one candidate against each opponent, until the question about it is decided or the games are spent.
 *
 * Every game counts twice: in the score of the candidate here, and as a row for the ratings. The rows carry ids made of
 * the job and the number of the game, so a job that is repeated repeats its rows and the ratings count them once.
 */
import { seededRandom } from '../../seams/random.ts';
import { greedyAgent, randomAgent, valueAgent, type Agent } from '../agents/agent.ts';
import { Match } from '../agents/match.ts';
import { gameConfig } from '../game/configs.ts';
import { readCheckpoint } from '../learning/checkpoint.ts';
import { jobInvalid, runJob } from './job-program.ts';
import { PROTOCOL_VERSION, type EvaluateJob, type EvaluationRow, type MatchesPage, type MatchRow } from './protocol.ts';

/** Milliseconds between two versions of the progress file. */
const PROGRESS_MS = 1000;

/** What a matches page holds at most. */
const MATCHES_MAX = 5000;

type Opponent = EvaluateJob['opponents'][number];

const gamesAgainst = ({ gamesMin, gamesMax }: Opponent): number => Math.max(gamesMin, gamesMax);
const gamesOf = (job: EvaluateJob): number => job.opponents.reduce((sum, opponent) => sum + gamesAgainst(opponent), 0);

const refuseUnfit = (job: EvaluateJob): void => {
  const games = gamesOf(job);
  if (games > MATCHES_MAX)
    throw jobInvalid('evaluate', `${games} games were ordered, a matches file holds ${MATCHES_MAX}`);
  const names = [job.candidate.modelId, ...job.opponents.map(({ agent }) => agent)];
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) throw jobInvalid('evaluate', `${twice} takes part twice; nobody is rated against itself`);
};

await runJob('evaluate', async (job, { files, clock, breathe, isDue, say }) => {
  const began = clock.monotonicMs();
  const config = gameConfig(job.config);
  refuseUnfit(job);

  const modelAgent = (name: string, file: string, sha256?: string): Agent =>
    valueAgent(
      readCheckpoint(files, file, { config: job.config, ...(sha256 === undefined ? {} : { sha256 }) }).network,
      name,
    );
  const opponentOf = ({ agent, file, sha256 }: Opponent): Agent => {
    if (file !== null) return modelAgent(agent, file, sha256 ?? undefined);
    const baseline = [randomAgent, greedyAgent].find(({ name }) => name === agent);
    if (baseline === undefined) throw jobInvalid('evaluate', `${agent} is no baseline, and no file was given for it`);
    return baseline;
  };
  const candidate = modelAgent(job.candidate.modelId, job.candidate.file, job.candidate.sha256);
  const opponents = job.opponents.map(opponentOf);

  const random = seededRandom(job.seed);
  const matches: MatchRow[] = [];
  const rows: EvaluationRow[] = [];
  const of = gamesOf(job);
  const tell = (): void =>
    files.writeAtomically(
      job.progressFile,
      JSON.stringify({ version: PROTOCOL_VERSION, jobId: job.jobId, games: matches.length, of, atMs: clock.wallMs() }),
    );

  for (const [index, asked] of job.opponents.entries()) {
    const opponent = opponents[index]!;
    const match = new Match({
      ...{ config, a: candidate, b: opponent, games: gamesAgainst(asked), z: job.z },
      random: random.fork(asked.agent),
      ...(asked.decideAt === null ? {} : { decide: { at: asked.decideAt, afterGames: asked.gamesMin } }),
    });
    while (!match.isOver) {
      await breathe();
      if (isDue(PROGRESS_MS)) tell();
      const [own, other] = match.play();
      matches.push({
        id: `${job.jobId}:${matches.length}`,
        config: job.config,
        seats: [
          { agent: candidate.name, score: own },
          { agent: opponent.name, score: other },
        ],
        playedAtMs: clock.wallMs(),
      });
    }
    const result = match.result();
    rows.push({ opponent: asked.agent, ...result });
    say(`${candidate.name} against ${asked.agent}: ${result.score.toFixed(3)} over ${result.games} games`);
  }

  tell();
  const page: MatchesPage = {
    ...{ version: PROTOCOL_VERSION, source: job.jobId, storeId: job.jobId },
    ...{ after: 0, next: matches.length, more: false, matches },
  };
  files.writeAtomically(job.matchesFile, JSON.stringify(page));
  return { modelId: job.candidate.modelId, rows, matchesFile: job.matchesFile, seconds: clock.since(began) };
});

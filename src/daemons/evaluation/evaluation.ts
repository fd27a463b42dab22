/**
 * Has every candidate play the baselines and the champion, in a child program, and keeps one row per opponent.
 *
 * Invariant: a candidate is judged by games that were played: results are kept in one transaction under the pair they are
 * about, a result without games is refused, and the matches count once in the ratings because a repeated job repeats
 * their ids. The queue of pairs is stored and scanned for candidates that no event told of. One pair at a time: a match of
 * 200 games takes a fraction of a second, and upstream's 24 at once would only take the cores from self-play.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { invariant, messageOf } from '../../errors.ts';
import { degraded } from '../../health/verdict.ts';
import type { Evaluation, Floor } from '../../training/floor.ts';
import {
  BASELINES,
  PROTOCOL_VERSION,
  type EvaluateJobInput,
  type EvaluateResult,
} from '../../training/programs/protocol.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { JobSlot } from '../job-slot.ts';
import { Rounds } from '../rounds.ts';
import { z } from 'zod';

/** Finished evaluations per config looked at for one that was kept and not told: one runs at a time. */
const UNTOLD = 2;
const RETRY_SECONDS_MAX = 600;

/** Between two rounds that events ask for: bursts share one. */
const GAP_SECONDS = 0.1;

export const evaluation = daemonsWith<Floor>()({
  type: 'EVALUATION',
  purpose: 'Plays each fresh model against fixed baselines and the champion.',
  category: 'evaluation',
  dependsOn: ['EVENT_ROUTER', { on: 'TRAINING_TRIGGER', kind: 'order' }],
  publishes: [
    'EVALUATION_STARTED',
    'EVALUATION_PROGRESS',
    'EVALUATION_COMPLETED',
    'EVALUATION_FAILED',
    'MODEL_EVALUATION_BLOCKED',
    'ELO_UPDATED',
    'BACKPRESSURE_ACTIVATED',
    'BACKPRESSURE_RELEASED',
  ],
  subscribes: ['TRAINING_COMPLETED'],
  maxInFlight: 256, // deliveries share a round
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(30),
    /** Against each baseline: it stops after `gamesMin` once the interval of the score excludes one half. */
    gamesMin: z.int().min(1).default(50),
    gamesMax: z.int().min(1).max(1000).default(200),
    /** Against the champion, where the differences are small. */
    championGamesMin: z.int().min(1).default(100),
    championGamesMax: z.int().min(1).max(1000).default(400),
    timeoutSeconds: seconds(300),
    silentSecondsMax: seconds(60),
    attemptsMax: z.int().min(1).default(3),
    /** Pause after a failed attempt, doubled with each up to ten minutes. */
    retrySeconds: seconds(30),
    /** Pairs that wait: at the first producers are asked to slow down, at the second to go on. */
    backpressureAt: z.int().min(1).default(70),
    releasedAt: z.int().min(0).default(35),
  }),
  quick: { periodSeconds: 1, gamesMin: 200, championGamesMin: 400, retrySeconds: 2 },

  create({
    config,
    clock,
    signal,
    random,
    log,
    files,
    dataDir,
    publish,
    spawn,
    spawned,
    endProcess,
    games,
    evaluations,
    models,
    ratings,
    jobs,
  }) {
    let caughtUp = false;
    let finished = 0;
    let failures = 0;
    let blocked: string | null = null;
    let depth = 0;
    /** The request to slow down that this start has told of. */
    let told: string | null = null;
    let current: { evaluationId: string; games: number } | null = null;
    /** Monotonic milliseconds before which nothing new is begun, after a failure. */
    let notBefore = 0;
    const slot = new JobSlot(
      'evaluate',
      'evaluate',
      { clock, signal, jobs, spawn, spawned, endProcess },
      { secondsMax: config.timeoutSeconds, silentSecondsMax: config.silentSecondsMax },
      () => again(),
    );

    const opponentsOf = ({ championId }: Evaluation): string[] => [
      ...BASELINES,
      ...(championId === null ? [] : [championId]),
    ];

    const order = async (pair: Evaluation): Promise<EvaluateJobInput> => {
      const { evaluationId, config: name, modelId, championId } = pair;
      const paths = jobs.paths('evaluate', evaluationId);
      const model = await models.get(modelId);
      const champion = championId === null ? null : await models.get(championId);
      if (model === null || (championId !== null && champion === null))
        throw invariant(`the evaluation ${evaluationId} is of a model that is not registered`, { evaluationId });
      const hash = createHash('sha256').update(evaluationId).digest('hex');
      return {
        ...{ version: PROTOCOL_VERSION, kind: 'evaluate', jobId: evaluationId, config: name },
        resultFile: paths.resultFile,
        candidate: { modelId, file: model.file, sha256: model.sha256 },
        opponents: [
          ...BASELINES.map((agent) => ({
            ...{ agent, file: null, sha256: null, decideAt: 0.5 },
            ...{ gamesMin: config.gamesMin, gamesMax: config.gamesMax },
          })),
          ...(champion === null ? [] : [champion]).map((agent) => ({
            ...{ agent: agent.modelId, file: agent.file, sha256: agent.sha256, decideAt: 0.5 },
            ...{ gamesMin: config.championGamesMin, gamesMax: config.championGamesMax },
          })),
        ],
        matchesFile: paths.file('matches.json'),
        progressFile: paths.progressFile,
        seed: Number.parseInt(hash.slice(0, 8), 16),
      };
    };

    /** The result is kept: says so, and only then gives up the folder by which this can be repeated. */
    const tell = async ({ evaluationId, config: name, modelId, championId, rows }: Evaluation): Promise<void> => {
      const told = rows.map(({ opponent, games: played, score, low, high }) => ({
        opponent,
        games: played,
        score,
        low,
        high,
      }));
      await publish(
        'EVALUATION_COMPLETED',
        { config: name, modelId, championId, rows: told },
        { id: `evaluated:${evaluationId}` },
      );
      await jobs.discard('evaluate', evaluationId);
    };

    const keep = async (pair: Evaluation, result: Extract<EvaluateResult, { ok: true }>): Promise<void> => {
      const { evaluationId, config: name } = pair;
      const merged = await ratings.mergeFile(result.matchesFile);
      const table = await ratings.table(name);
      const champion = (await models.champion(name))?.modelId ?? null;
      const rating = table.find(({ agent }) => agent === champion);
      await publish(
        'ELO_UPDATED',
        {
          ...{ config: name, matches: Math.max(1, merged.inserted + merged.known), champion },
          ...{ rating: rating?.rating ?? null, error: rating?.error ?? null },
        },
        // As ELO_SYNC names it: one table, told once, by whoever is first.
        { id: `ratings:${name}:${table.reduce((sum, { games: played }) => sum + played, 0)}` },
      );
      const { evaluation: done } = await evaluations.complete({ evaluationId, rows: result.rows });
      await tell(done);
      finished++;
      const scores = done.rows.map(({ opponent, score }) => `${score.toFixed(3)} against ${opponent}`);
      log.info(`${pair.modelId}: ${scores.join(', ')}`);
    };

    const fail = async (pair: Evaluation, reason: string, retryable: boolean): Promise<void> => {
      const { evaluationId, config: name, modelId, attempts } = pair;
      failures++;
      const checked = await models.verify(modelId);
      const final = !retryable || !checked.ok || attempts >= config.attemptsMax;
      log.warn(`evaluation ${evaluationId} failed (attempt ${attempts}): ${reason}`);
      if (!checked.ok) {
        blocked = checked.reason;
        await publish(
          'MODEL_EVALUATION_BLOCKED',
          { config: name, modelId, reason: checked.reason.slice(0, 2000) },
          { id: `evaluation-blocked:${evaluationId}` },
        );
      }
      await publish(
        'EVALUATION_FAILED',
        { config: name, modelId, reason: reason.slice(0, 2000), final },
        { id: `evaluation-failed:${evaluationId}:${attempts}` },
      );
      notBefore = clock.monotonicMs() + 1000 * Math.min(RETRY_SECONDS_MAX, config.retrySeconds * 2 ** (attempts - 1));
      // Before the failure is booked: a crash in between costs a repeat, not an attempt.
      await jobs.discard('evaluate', evaluationId);
      await evaluations.fail({ evaluationId, reason, attemptsMax: final ? 0 : config.attemptsMax });
    };

    /** @returns whether its program runs */
    const pursue = async (pair: Evaluation): Promise<boolean> => {
      const { evaluationId, config: name, modelId, attempts } = pair;
      const look = await slot.look(evaluationId, () => order(pair));
      if (look.result !== null) {
        if (look.result.ok) await keep(pair, look.result);
        else await fail(pair, look.result.reason, look.result.retryable);
        return false;
      }
      if (look.fresh)
        await publish(
          'EVALUATION_STARTED',
          { config: name, modelId, opponents: opponentsOf(pair), attempt: Math.max(1, attempts) },
          { id: `evaluating:${evaluationId}:${attempts}` },
        );
      const { step, steps } = look.progress ?? { step: 0, steps: 0 };
      if (step > 0 && step !== current?.games)
        await publish('EVALUATION_PROGRESS', { config: name, modelId, games: step, of: steps });
      current = { evaluationId, games: step };
      return true;
    };

    const begin = async (): Promise<Evaluation | null> => {
      if (notBefore > clock.monotonicMs()) return null;
      await slot.clear(); // of a pair that no longer runs: it must not be taken for the program of the next
      return evaluations.next();
    };

    /** Asked for at one mark and taken back at a lower one; the file says that it was asked, over restarts. */
    const balance = async (): Promise<void> => {
      depth = await evaluations.depth();
      const file = join(dataDir, 'backpressure');
      if (!files.exists(file)) {
        if (depth < config.backpressureAt) return;
        files.writeAtomically(file, random.uuid());
      }
      const asked = files.readText(file);
      if (asked !== told)
        await publish(
          'BACKPRESSURE_ACTIVATED',
          { queue: 'evaluation', depth, limit: config.backpressureAt },
          { id: `backpressure:${asked}` },
        );
      told = asked;
      if (depth > config.releasedAt) return;
      await publish(
        'BACKPRESSURE_RELEASED',
        { queue: 'evaluation', depth, limit: config.releasedAt },
        { id: `backpressure-released:${asked}` },
      );
      files.remove(file);
    };

    /** What an earlier start kept and had not told. */
    const catchUp = async (): Promise<void> => {
      for (const name of await games.configs())
        for (const done of await evaluations.history({ config: name, limit: UNTOLD }))
          if ((await jobs.result('evaluate', done.evaluationId)) !== null) await tell(done);
      caughtUp = true;
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: GAP_SECONDS, staleSeconds: 10 + 5 * config.periodSeconds },
      async () => {
        if (!caughtUp) await catchUp();
        await evaluations.enqueueMissing();
        await balance();
        for (;;) {
          const [running] = await evaluations.running();
          const pair = running ?? (await begin());
          if (pair === null) current = null;
          if (pair === null || (await pursue(pair))) break;
        }
        await balance();
      },
    );
    const look = (): Promise<void> => rounds.run();
    const again = (): void =>
      void look().catch((error: unknown) => {
        if (!signal.aborted) log.warn(`cannot look after the evaluation: ${messageOf(error)}`);
      });

    return {
      on: { TRAINING_COMPLETED: look },
      every: { periodSeconds: config.periodSeconds, run: look },
      health() {
        const verdict = rounds.verdict({ finished, failures, depth, current, movedAt: slot.movedAt });
        if (verdict.status !== 'healthy') return verdict;
        if (blocked !== null) return degraded(`a candidate cannot be evaluated: ${blocked}`, verdict.details);
        return depth >= config.backpressureAt ? degraded(`${depth} candidates wait`, verdict.details) : verdict;
      },
    };
  },
});

/**
 * Decides whether an evaluated model should become champion, and writes down why.
 *
 * Invariant: one verdict per (model, champion), and the first one stands: it is stored before it is told, so a restart
 * repeats the announcement and never the decision. What it decides for is carried out by UNIFIED_PROMOTION, which alone
 * moves the champion. What time will change (the cooldown, too few games in store) postpones a verdict; what is a fact
 * about the model decides it.
 */
import type { Decision, Evaluation, Floor } from '../../training/floor.ts';
import { BASELINES, type EvaluationRow } from '../../training/programs/protocol.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { Rounds } from '../rounds.ts';
import { z } from 'zod';

/** Finished evaluations per config whose rejection is told again at start. */
const TOLD_AGAIN = 3;

interface Finding {
  readonly ok: boolean;
  readonly text: string;
}

const shown = ({ score, low, high, games }: EvaluationRow): string =>
  `${score.toFixed(3)} [${low.toFixed(2)}, ${high.toFixed(2)}] over ${games} games`;

/** Between two rounds that events ask for: bursts share one. */
const GAP_SECONDS = 0.1;

export const autoPromotion = daemonsWith<Floor>()({
  type: 'AUTO_PROMOTION',
  purpose: 'Decides whether an evaluated model becomes champion.',
  category: 'promotion',
  dependsOn: ['EVENT_ROUTER', 'EVALUATION'],
  publishes: ['PROMOTION_CANDIDATE', 'PROMOTION_REJECTED'],
  subscribes: ['EVALUATION_COMPLETED'],
  maxInFlight: 256, // deliveries share a round
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(60),
    gamesPerOpponentMin: z.int().min(1).default(20),
    /** Rating points over the champion. */
    ratingGainMin: z.number().default(5),
    /**
     * Score against the champion. Over 400 games (standard error 0.025) a model as strong as the champion passes one time
     * in nine, one that scores 0.45 one time in a thousand, one that scores 0.57 nine times in ten.
     */
    championScoreMin: z.number().min(0).max(1).default(0.53),
    /** Lower end of the interval against random: whatever passes plays better than by lot. */
    randomScoreMin: z.number().min(0).max(1).default(0.5),
    qualityMin: z.number().min(0).max(1).default(0.5),
    /** Games in the canonical store before anything is promoted. */
    trainingGamesMin: z.int().min(0).default(500),
    /** Between two promotions of a config. */
    cooldownSeconds: seconds(300),
  }),
  quick: { periodSeconds: 2, trainingGamesMin: 150, cooldownSeconds: 0 },

  create({ config, clock, log, publish, games, models, evaluations, ratings, quality }) {
    const postponed: Record<string, string> = {};
    let caughtUp = false;
    let promotions = 0;
    let rejections = 0;

    /** What time will change; null when a verdict can be given now. */
    const postponement = async (name: string): Promise<string | null> => {
      const { games: total } = await games.total(name);
      if (total < config.trainingGamesMin) return `${total} games in store of ${config.trainingGamesMin}`;
      const [last] = await models.promotions({ config: name, limit: 1 });
      const age = last === undefined ? Infinity : (clock.wallMs() - last.atMs) / 1000;
      // A wall clock set back ends the cooldown instead of stretching it.
      return age >= 0 && age < config.cooldownSeconds
        ? `${last!.modelId} was promoted ${age.toFixed(0)} s ago; the cooldown is ${config.cooldownSeconds} s`
        : null;
    };

    const findings = async ({ config: name, modelId, championId, rows }: Evaluation): Promise<Finding[]> => {
      const found: Finding[] = [];
      const find = (ok: boolean, text: string): void => void found.push({ ok, text });
      const rowOf = (opponent: string): EvaluationRow | undefined => rows.find((row) => row.opponent === opponent);

      for (const opponent of [...BASELINES, ...(championId === null ? [] : [championId])]) {
        const played = rowOf(opponent)?.games ?? 0;
        if (played < config.gamesPerOpponentMin)
          find(false, `${played} games against ${opponent}, of ${config.gamesPerOpponentMin}`);
      }
      const random = rowOf('random');
      if (random !== undefined)
        find(
          random.low > config.randomScoreMin,
          `against random ${shown(random)}, asked above ${config.randomScoreMin}`,
        );
      const state = await quality.of(name);
      if (state !== null) find(state.score >= config.qualityMin, `quality of its games ${state.score.toFixed(2)}`);
      if (championId === null) return found;

      const champion = rowOf(championId);
      if (champion !== undefined)
        find(
          champion.score >= config.championScoreMin,
          `against ${championId} ${shown(champion)}, asked ${config.championScoreMin}`,
        );
      const table = await ratings.table(name);
      const ratingOf = (agent: string): number | null => table.find((row) => row.agent === agent)?.rating ?? null;
      const [own, other] = [ratingOf(modelId), ratingOf(championId)];
      if (own === null || other === null) find(false, `no rating of ${own === null ? modelId : championId}`);
      else find(own - other >= config.ratingGainMin, `rating ${(own - other).toFixed(0)} points over ${championId}`);
      const before = await evaluations.of(championId);
      for (const opponent of BASELINES) {
        const [now, then] = [rowOf(opponent), before?.rows.find((row) => row.opponent === opponent)];
        if (now !== undefined && then !== undefined && now.high < then.low)
          find(false, `fell back against ${opponent}: ${shown(now)}, the champion had ${shown(then)}`);
      }
      return found;
    };

    const tell = async ({
      decisionId,
      config: name,
      modelId,
      championId,
      promote,
      reasons,
    }: Decision): Promise<void> => {
      const body = { config: name, modelId, championId, decisionId };
      if (promote) await publish('PROMOTION_CANDIDATE', body, { id: `candidate:${decisionId}` });
      else await publish('PROMOTION_REJECTED', { ...body, reasons: [...reasons] }, { id: `rejected:${decisionId}` });
    };

    const decide = async (judged: Evaluation): Promise<void> => {
      const found = await findings(judged);
      const promote = found.every(({ ok }) => ok);
      const reasons = found.filter(({ ok }) => promote || !ok).map(({ text }) => text);
      const { modelId, championId } = judged;
      const { decision, first } = await models.decide({ modelId, championId, promote, reasons });
      if (first) {
        if (decision.promote) promotions++;
        else rejections++;
        log.info(`${decision.promote ? 'for' : 'against'} ${modelId}: ${decision.reasons.join('; ')}`);
      }
      await tell(decision);
    };

    /** Verdicts that an earlier start gave and may not have told. */
    const catchUp = async (): Promise<void> => {
      for (const decision of await models.uncommitted()) await tell(decision);
      for (const name of await games.configs())
        for (const judged of await evaluations.history({ config: name, limit: TOLD_AGAIN }))
          if ((await models.get(judged.modelId))?.state === 'rejected') {
            // The verdict is there, so this returns it and decides nothing.
            const { decision } = await models.decide({ ...judged, promote: false, reasons: [] });
            if (!decision.promote) await tell(decision);
          }
      caughtUp = true;
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: GAP_SECONDS, staleSeconds: 10 + 5 * config.periodSeconds },
      async () => {
        if (!caughtUp) await catchUp();
        const waiting = new Map<string, string | null>();
        for (const judged of await evaluations.undecided()) {
          const name = judged.config;
          if (!waiting.has(name)) waiting.set(name, await postponement(name));
          if (waiting.get(name) === null) await decide(judged);
        }
        for (const name of Object.keys(postponed)) delete postponed[name];
        for (const [name, reason] of waiting) if (reason !== null) postponed[name] = reason;
      },
    );
    const look = (): Promise<void> => rounds.run();

    return {
      on: { EVALUATION_COMPLETED: look },
      every: { periodSeconds: config.periodSeconds, run: look },
      health: () => rounds.verdict({ promotions, rejections, postponed: { ...postponed } }),
    };
  },
});

/**
 * Judges the games that self-play brings, range by range, and says when their quality crosses a mark.
 *
 * Invariant: each game is judged once: the verdict on a range and the cursor behind it are one write. What cannot be
 * judged stays in front of the cursor and is said to be so; missing data is not bad data. Repeated openings weigh little,
 * since a settled model opens alike, and repeated whole games weigh much, since they teach nothing new; an engine that plays
 * the last moves of a sample out in every way says how many of them were well chosen; games that cannot be replayed scale
 * the whole score down.
 */
import { messageOf, OrchestratorError } from '../../errors.ts';
import { degraded } from '../../health/verdict.ts';
import type { Floor, GameSummary, QualityState } from '../../training/floor.ts';
import { gameConfig, isGameConfig } from '../../training/game/configs.ts';
import { agreementOf, type Agreement } from '../../training/game/endgame.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { Rounds } from '../rounds.ts';
import { z } from 'zod';

/** Games replayed per range; each takes 0.1 to 4 ms of the main loop by its board, and the loop is let in after every one. */
const REPLAYED = 16;

/** How much each figure weighs in the score; they add up to 1. Chosen. */
const WEIGHTS = { length: 0.2, draws: 0.05, openings: 0.1, novelty: 0.4, balance: 0.15, agreement: 0.1 } as const;

/** Games of full length fill the board; one that fills this share of it is as good as full. Chosen. */
const FULL = 0.85;
/** Draws up to this share are the nature of the game. Chosen. */
const DRAWS = 0.15;

type Parts = Readonly<Record<keyof typeof WEIGHTS, number>>;

const clamped = (value: number): number => Math.max(0, Math.min(1, value));

/** Pure: the figures of a range as marks between 0 and 1; random play agrees with the engine in 0.45 of its decisions. */
export const partsOf = (summary: GameSummary, placements: number, { decisions, agreed }: Agreement): Parts => {
  const seats = summary.seatWins.length;
  const most = Math.max(...summary.seatWins);
  return {
    length: clamped(summary.pliesMean / (FULL * placements)),
    draws: clamped(1 - (summary.draws - DRAWS) / (1 - DRAWS)),
    openings: 1 - summary.repeatedOpenings,
    novelty: 1 - summary.repeatedGames,
    // One seat winning everything is 0, an even share is 1.
    balance: clamped((1 - most) / (1 - 1 / seats)),
    // Where nothing was left to be decided, nothing was decided badly.
    agreement: decisions === 0 ? 1 : agreed / decisions,
  };
};

export const scoreOf = (parts: Parts, legality: number): number =>
  legality * Object.entries(WEIGHTS).reduce((sum, [part, weight]) => sum + weight * parts[part as keyof Parts], 0);

/** Between two rounds that events ask for: bursts share one. */
const GAP_SECONDS = 0.1;

export const qualityMonitor = daemonsWith<Floor>()({
  type: 'QUALITY_MONITOR',
  purpose: 'Scores recent self-play data and raises quality alerts.',
  category: 'health',
  dependsOn: ['EVENT_ROUTER', { on: 'DATA_PIPELINE', kind: 'order' }],
  publishes: [
    'QUALITY_SCORE_UPDATED',
    'LOW_QUALITY_DATA_WARNING',
    'HIGH_QUALITY_DATA_AVAILABLE',
    'QUALITY_DEGRADED',
    'QUALITY_CHECK_FAILED',
  ],
  subscribes: ['NEW_GAMES_AVAILABLE', 'QUALITY_CHECK_REQUESTED'],
  maxInFlight: 256, // deliveries share a round
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(15),
    /** Fewer new games than this are left for later, unless somebody asks. */
    gamesMin: z.int().min(1).default(50),
    /** Games of one verdict. */
    gamesMax: z.int().min(1).default(2000),
    warnBelow: z.number().min(0).max(1).default(0.6),
    goodFrom: z.number().min(0).max(1).default(0.8),
  }),
  quick: { periodSeconds: 3 },

  create({ config, clock, log, publish, games, quality }) {
    const scores: Record<string, number> = {};
    const failing = new Map<string, string>();
    const requested = new Set<string>();
    let judged = 0;
    let announced = false;

    const tell = async (state: QualityState): Promise<void> => {
      const { config: name, score, parts, seq } = state;
      scores[name] = score;
      await publish(
        'QUALITY_SCORE_UPDATED',
        { config: name, score, games: state.games, parts: { ...parts } },
        { id: `quality:${name}:${seq}` },
      );
      if (score < config.warnBelow)
        await publish(
          'LOW_QUALITY_DATA_WARNING',
          { config: name, score, mark: config.warnBelow },
          { id: `quality-low:${name}:${seq}` },
        );
    };

    /** @param from  the score before; null after a restart, when what was crossed may not have been told */
    const tellLevel = async ({ config: name, score, seq }: QualityState, from: number | null): Promise<void> => {
      if (score < config.warnBelow && (from === null || from >= config.warnBelow))
        await publish(
          'QUALITY_DEGRADED',
          { config: name, score, from: from ?? score },
          { id: `quality-degraded:${name}:${seq}` },
        );
      if (score >= config.goodFrom && (from === null || from < config.goodFrom))
        await publish(
          'HIGH_QUALITY_DATA_AVAILABLE',
          { config: name, score, mark: config.goodFrom },
          { id: `quality-high:${name}:${seq}` },
        );
    };

    /** Of a sample of the range: the share that replays to what it claims, and how well its ends were played. */
    const replayed = async (
      name: string,
      after: number,
      { games: count }: GameSummary,
    ): Promise<Agreement & { readonly legality: number }> => {
      let [seen, sound, decisions, agreed] = [0, 0, 0, 0];
      // Four places of the range, since what spoils games comes in runs.
      for (let place = 0; place < 4; place++) {
        const from = after + Math.floor((count * place) / 4);
        for (const row of await games.page(name, { after: from, limit: REPLAYED / 4 })) {
          seen++;
          try {
            const agreement = agreementOf(row);
            sound++;
            decisions += agreement.decisions;
            agreed += agreement.agreed;
          } catch (thrown) {
            if (!(thrown instanceof OrchestratorError)) throw thrown;
            log.warn(`game ${row.id} of ${name}: ${thrown.message}`);
          }
          await clock.sleep(0);
        }
      }
      return { legality: seen === 0 ? 1 : sound / seen, decisions, agreed };
    };

    /** @returns whether there was a range to judge */
    const judge = async (name: string, gamesMin: number): Promise<boolean> => {
      const before = await quality.of(name);
      const after = before?.seq ?? 0;
      const summary = await games.summarise(name, { after, limit: config.gamesMax });
      if (summary === null || summary.games < gamesMin) return false;
      const { board, start } = gameConfig(name);
      const { legality, ...agreement } = await replayed(name, after, summary);
      const parts = partsOf(summary, board.cells - start.length, agreement);
      const verdict = {
        ...{ config: name, afterSeq: after, lastSeq: summary.lastSeq, games: summary.games },
        ...{ score: scoreOf(parts, legality), parts: { ...parts, legality } },
      };
      const { state, previous, first } = await quality.record(verdict);
      if (first) judged += summary.games;
      await tell(state);
      await tellLevel(state, previous?.score ?? null);
      return true;
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: GAP_SECONDS, staleSeconds: 10 + 5 * config.periodSeconds },
      async () => {
        let trouble: unknown = null;
        for (const name of await games.configs()) {
          const asked = requested.delete(name);
          try {
            if (!announced) {
              const state = await quality.of(name);
              if (state !== null) {
                await tell(state);
                await tellLevel(state, null);
              }
            }
            while (await judge(name, asked ? 1 : config.gamesMin)) if (asked) break;
            failing.delete(name);
          } catch (thrown) {
            const reason = messageOf(thrown).slice(0, 2000);
            if (failing.get(name) !== reason) await publish('QUALITY_CHECK_FAILED', { config: name, reason });
            failing.set(name, reason);
            // Of a game that this version does not know, that is all there is to say; anything else is our own trouble.
            if (isGameConfig(name)) trouble ??= thrown;
          }
        }
        if (trouble !== null) throw trouble as Error;
        announced = true;
      },
    );
    const look = (): Promise<void> => rounds.run();

    return {
      on: {
        NEW_GAMES_AVAILABLE: look,
        QUALITY_CHECK_REQUESTED: async ({ body }) => {
          // Of those that have games: anybody may ask, for any name.
          for (const name of await games.configs())
            if (body.config === null || body.config === name) requested.add(name);
          await look();
        },
      },
      every: { periodSeconds: config.periodSeconds, run: look },
      health() {
        const verdict = rounds.verdict({ scores: { ...scores }, judged, requested: requested.size });
        const [failed] = failing;
        return failed === undefined || verdict.status !== 'healthy'
          ? verdict
          : degraded(`cannot judge ${failed[0]}: ${failed[1]}`, verdict.details);
      },
    };
  },
});

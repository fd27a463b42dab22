/**
 * Carries promotions out: the one daemon that moves the champion of a config.
 *
 * Invariant: a decision is committed once and announced at least once under an id of its own, which the router stores
 * once. The commit is one transaction that checks what it acts on (candidate evaluated, file hash right, champion still
 * the one that was beaten), and the announcement follows from the promotion log, so a crash anywhere between decision,
 * commit and announcement leaves something that the next look finds: promoted twice is worse than promoted late.
 */
import type { Floor } from '../../training/floor.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { Rounds } from '../rounds.ts';
import { z } from 'zod';

/** Between two rounds that events ask for: bursts share one. */
const GAP_SECONDS = 0.1;

export const unifiedPromotion = daemonsWith<Floor>()({
  type: 'UNIFIED_PROMOTION',
  purpose: 'Registry-side promotion transaction: swaps the champion atomically, and says so once.',
  category: 'promotion',
  dependsOn: ['EVENT_ROUTER', { on: 'EVALUATION', kind: 'order' }],
  publishes: ['PROMOTION_STARTED', 'PROMOTION_FAILED', 'MODEL_PROMOTED'],
  subscribes: ['PROMOTION_CANDIDATE'],
  healthPeriodSeconds: 60,
  config: z.strictObject({ periodSeconds: seconds(30) }),
  quick: { periodSeconds: 2 },

  create({ config, clock, log, publish, models, handles }) {
    let promoted = 0;
    let refused = 0;
    let waiting = 0;

    /** Repeatable: a decision that was committed or refused before gives the same outcome again. */
    const commit = async (name: string, modelId: string, decisionId: string): Promise<void> => {
      await publish('PROMOTION_STARTED', { config: name, modelId, decisionId }, { id: `promoting:${decisionId}` });
      const outcome = await models.promote(decisionId);
      if (outcome.outcome === 'promoted') {
        promoted++;
        log.info(`${modelId} is the champion of ${name}, after ${outcome.promotion.previousModelId ?? 'none'}`);
      }
      if (outcome.outcome !== 'refused') return;
      refused++;
      log.warn(`${modelId} was not promoted: ${outcome.reason}`);
      await publish(
        'PROMOTION_FAILED',
        { config: name, modelId, decisionId, reason: outcome.reason.slice(0, 2000) },
        { id: `promotion-failed:${decisionId}` },
      );
    };

    const announce = async (): Promise<void> => {
      for (const { promotionId, config: name, modelId, sha256, previousModelId } of await models.unannounced()) {
        await publish(
          'MODEL_PROMOTED',
          { config: name, modelId, sha256, previousModelId, promotionId },
          { id: `promoted:${promotionId}` },
        );
        await models.announced(promotionId);
      }
    };

    const rounds = new Rounds(
      {
        clock,
        log,
        owns: (file) => file.endsWith('/models.db'),
        gapSeconds: GAP_SECONDS,
        staleSeconds: 10 + 5 * config.periodSeconds,
      },
      async () => {
        await announce();
        const open = await models.uncommitted();
        waiting = open.length;
        for (const { config: name, modelId, decisionId } of open) {
          await commit(name, modelId, decisionId);
          await announce();
          waiting--;
        }
      },
    );
    const look = (): Promise<void> => rounds.run();

    return {
      on: {
        // By the event's own id first: a refusal that was stored and not told is in no list, but its event comes again.
        PROMOTION_CANDIDATE: async ({ body }) => {
          await commit(body.config, body.modelId, body.decisionId);
          await look();
        },
      },
      every: { periodSeconds: config.periodSeconds, run: look },
      health: () => rounds.verdict({ promoted, refused, waiting }),
      breakage: {
        what: 'closes the handle of models.db',
        break: () => handles.close('models'),
        heal: () => handles.reopen('models'),
      },
    };
  },
});

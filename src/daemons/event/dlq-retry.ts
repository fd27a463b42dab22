/**
 * Gives dead letters another chance, with growing delay, and then gives up loudly.
 *
 * Invariant: a dead letter goes back to the handler that failed and to no other, with its attempts counted; publishing
 * it again instead would hand it to everybody who had handled it well. The books are the router's, so a crash here
 * between a retry and its announcement loses an announcement and no letter.
 */
import { z } from 'zod';
import { degraded, healthy } from '../../health/verdict.ts';
import { daemonsWith, seconds } from '../definition.ts';
import type { RouterService } from '../services.ts';

export const dlqRetry = daemonsWith<RouterService>()({
  type: 'DLQ_RETRY',
  purpose: 'Replays events whose handler failed, to that handler only, and abandons them after five tries.',
  category: 'event',
  dependsOn: ['EVENT_ROUTER'],
  publishes: ['DLQ_EVENTS_REPLAYED', 'DLQ_EVENTS_PURGED', 'DLQ_STALE_EVENTS'],
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(60),
    /** Letters retried in one round. */
    batch: z.number().int().min(1).max(1000).default(10),
    /** More pending letters than this is degraded. */
    pendingMax: z.number().int().min(0).default(100),
  }),
  quick: { periodSeconds: 10 },

  create({ config, clock, log, publish, router }) {
    let recovered = 0;
    let abandoned = 0;
    let roundAt = clock.monotonicMs();

    return {
      every: {
        periodSeconds: config.periodSeconds,
        async run() {
          const outcomes = await router.retryDeadLetters('due', config.batch);
          const tried = outcomes.filter(({ outcome }) => outcome !== 'skipped');
          const good = tried.filter(({ outcome }) => outcome === 'recovered').length;
          recovered += good;
          if (tried.length > 0) await publish('DLQ_EVENTS_REPLAYED', { replayed: tried.length, recovered: good });
          const gone = tried.filter(({ outcome }) => outcome === 'abandoned');
          if (gone.length > 0) {
            abandoned += gone.length;
            const ids = new Set(gone.map(({ id }) => id));
            const letters = await router.deadLetters({ state: 'abandoned', max: 1000 });
            const subscribers = [
              ...new Set(letters.filter(({ id }) => ids.has(id)).map(({ subscriber }) => subscriber)),
            ];
            log.error(`${gone.length} dead letters are abandoned: ${gone[0]?.message ?? ''}`);
            await publish('DLQ_STALE_EVENTS', { abandoned: gone.length, subscribers: subscribers.slice(0, 100) });
          }
          const purged = await router.purgeDeadLetters();
          if (purged > 0) await publish('DLQ_EVENTS_PURGED', { purged });
          roundAt = clock.monotonicMs();
        },
      },
      health() {
        const pending = router.stats().deadLettersPending;
        const details = { pending, recovered, abandoned, lastProgressAt: roundAt };
        return pending > config.pendingMax ? degraded(`${pending} dead letters wait`, details) : healthy(details);
      },
    };
  },
});

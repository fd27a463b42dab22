/**
 * Owns the thread in which the event router lives: its log, cursors, ledger and dead letters.
 *
 * Invariant: a publish that was acknowledged reaches every subscription that existed then, whatever dies in between. The
 * thread may be ended in the middle of a batch; the next one starts from events.db alone, and the outboxes of the clients
 * outlive it. Running the router on this loop instead would make a crash of it a crash of everybody.
 */
import { daemonsWith, seconds } from '../definition.ts';
import { degraded, healthy, unhealthy } from '../../health/verdict.ts';
import { z } from 'zod';
import type { RouterService, RouterThreadService } from '../services.ts';

export const eventRouter = daemonsWith<RouterService & RouterThreadService>()({
  type: 'EVENT_ROUTER',
  purpose: 'The bus every other daemon talks over: routing, de-duplication, dead letters, proof of every subscription.',
  category: 'event',
  critical: true,
  recoveryTargetSeconds: 5,
  healthPeriodSeconds: 15,
  config: z.strictObject({
    /** How often every subscription is proven by a canary. */
    probeSeconds: seconds(60),
    /** More events than this waiting for one subscription is degraded. */
    lagMax: z.number().int().min(1).default(50_000),
  }),
  quick: { probeSeconds: 15 },

  create({ config, fail, log, router, endRouterThread, own }) {
    let ours = false;

    return {
      async start() {
        own(
          { close: router.onExit((exit) => ours && fail(new Error(`the router thread ended: ${exit.reason}`))) },
          'exit watch',
        );
        // Revoked before it stopped in order: the thread ends where it is, and the next start reads what is durable.
        own(
          {
            close: () => {
              if (!ours) return undefined;
              ours = false;
              return endRouterThread();
            },
          },
          'router thread',
        );
        await router.start();
        ours = true;
      },
      every: {
        periodSeconds: config.probeSeconds,
        atStart: false,
        async run() {
          if (router.stats().stalled !== null) return; // a canary could not be stored either
          for (const gap of await router.probe()) log.warn(`gap: ${gap.subscriber} ${gap.topic}: ${gap.reason ?? ''}`);
        },
      },
      async stop() {
        await router.stop();
        ours = false;
      },
      health() {
        const stats = router.stats();
        const details = {
          lag: stats.lagTotal,
          connections: stats.subscriptions,
          published: stats.published,
          delivered: stats.delivered,
          deadLettersPending: stats.deadLettersPending,
          outbox: stats.outboxEvents,
          head: stats.head,
          gaps: stats.gaps,
          threadGeneration: stats.generation,
        };
        if (stats.presence !== 'serving') return unhealthy(`the router thread is ${stats.presence}`, details);
        // A restart makes no room on a disk: what was accepted waits, and is stored when the disk takes it again.
        if (stats.stalled !== null) return degraded(`cannot store events: ${stats.stalled}`, details);
        if (stats.gaps > 0) return degraded(`${stats.gaps} subscription gaps`, details);
        if (stats.lagTotal > config.lagMax) return degraded(`${stats.lagTotal} events wait to be handled`, details);
        return healthy(details);
      },
      breakage: {
        what: 'ends the router thread where it stands',
        break: () => router.crash(),
        heal: () => undefined,
      },
    };
  },
});

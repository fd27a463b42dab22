/**
 * Publishes what other programs leave in `<data-dir>/inbox/*.json`: shell scripts and cron need no client to speak.
 *
 * Invariant: each file is published exactly once. Its event id is made from the file, so publishing it again after a
 * crash is recognised; the file moves to done/ only after the event is durable. Deleting instead of moving would leave
 * nobody able to say what was published.
 */
import { z } from 'zod';
import { DRAWER_FILES_MAX, publishInbox, tidyInbox } from '../../events/inbox.ts';
import { degraded, healthy } from '../../health/verdict.ts';
import { daemonsWith, seconds } from '../definition.ts';
import type { InboxService, RouterService } from '../services.ts';

export const crossProcessPoller = daemonsWith<RouterService & InboxService>()({
  type: 'CROSS_PROCESS_POLLER',
  purpose: 'Carries events that other programs drop as files onto the bus, each exactly once.',
  category: 'event',
  dependsOn: ['EVENT_ROUTER'],
  healthPeriodSeconds: 60,
  config: z.strictObject({ periodSeconds: seconds(1) }),

  create({ config, clock, files, log, router, inboxFolder }) {
    let published = 0;
    let bad = 0;
    let polledAt = clock.monotonicMs();
    /** What lies in the drawers: counted when they are tidied, and with every file that is put away after that. */
    let drawers: { done: number; bad: number } | null = null;
    let removed = 0;
    const tidy = (): void => {
      const tidied = tidyInbox({ files, folder: inboxFolder });
      if (tidied.removed > 0) log.info(`deleted the ${tidied.removed} oldest files from the drawers of the inbox`);
      removed += tidied.removed;
      drawers = { done: tidied.done, bad: tidied.bad };
    };

    return {
      every: {
        periodSeconds: config.periodSeconds,
        async run() {
          const outcomes = await publishInbox({
            files,
            clock,
            folder: inboxFolder,
            publish: (topic, body, options) => router.publishExternal('inbox', topic, body, options),
          });
          for (const outcome of outcomes) {
            if (outcome.outcome === 'published') published++;
            if (outcome.outcome === 'left') continue;
            if (drawers !== null)
              drawers[outcome.outcome === 'bad' ? 'bad' : 'done'] += outcome.outcome === 'bad' ? 2 : 1;
            if (outcome.outcome !== 'bad') continue;
            bad++;
            log.warn(`${outcome.file} is no event and is in bad/: ${outcome.reason}`);
          }
          if (drawers === null || Math.max(drawers.done, drawers.bad) > DRAWER_FILES_MAX) tidy();
          polledAt = clock.monotonicMs();
        },
      },
      health() {
        const bounds = {
          drawer_files: {
            size: Math.max(drawers?.done ?? 0, drawers?.bad ?? 0),
            limit: DRAWER_FILES_MAX,
            dropped: removed,
          },
        };
        const details = { published, bad, lastProgressAt: polledAt, bounds };
        const staleSeconds = clock.since(polledAt);
        return staleSeconds > 10 + 5 * config.periodSeconds
          ? degraded(`the inbox was not read for ${staleSeconds.toFixed(0)} s`, {
              ...details,
              stalenessSeconds: staleSeconds,
            })
          : healthy(details);
      },
    };
  },
});

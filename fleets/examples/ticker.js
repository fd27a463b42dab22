/**
 * Counts, and keeps the count over restarts.
 * The number on disk is written whole by rename, so a crash in the middle of a tick costs that tick and no earlier one.
 */
import { join } from 'node:path';

export default {
  type: 'TICKER',
  purpose: 'Counts ticks, over restarts too.',
  category: 'example',
  // A module needs no package of its own: zod, which checks the settings, is handed in.
  config: (z) => z.strictObject({ periodSeconds: z.number().positive().default(1) }),

  create({ config, clock, dataDir, files, log }) {
    const file = join(dataDir, 'ticks');
    let ticks = 0;
    let tickedAt = clock.monotonicMs();

    return {
      start() {
        ticks = files.exists(file) ? Number(files.readText(file)) : 0;
        log.info(`counting on from ${ticks}`);
      },
      every: {
        periodSeconds: config.periodSeconds,
        run() {
          ticks += 1;
          files.writeAtomically(file, String(ticks));
          tickedAt = clock.monotonicMs();
        },
      },
      health: () => ({ status: 'healthy', healthy: true, message: '', details: { ticks, lastProgressAt: tickedAt } }),
    };
  },
};

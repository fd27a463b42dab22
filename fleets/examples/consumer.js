/** Follows another daemon through the fleet's own view of it, and says when its count stands still. */
export default {
  type: 'CONSUMER',
  purpose: 'Follows the count of another daemon.',
  category: 'example',
  config: (z) =>
    z.strictObject({
      watches: z.string(),
      periodSeconds: z.number().positive().default(2),
      staleRounds: z.int().min(1).default(5),
    }),

  create({ config, fleet, log }) {
    let seen = -1;
    let stale = 0;

    return {
      every: {
        periodSeconds: config.periodSeconds,
        run() {
          const watched = fleet.daemons().find(({ type }) => type === config.watches);
          const ticks = watched?.health.details.ticks ?? -1;
          stale = ticks === seen ? stale + 1 : 0;
          seen = ticks;
          log.debug(`${config.watches} stands at ${ticks}`);
        },
      },
      health: () =>
        stale < config.staleRounds
          ? { status: 'healthy', healthy: true, message: '', details: { seen } }
          : {
              status: 'degraded',
              healthy: true,
              message: `${config.watches} stands still at ${seen}`,
              details: { seen },
            },
    };
  },
};

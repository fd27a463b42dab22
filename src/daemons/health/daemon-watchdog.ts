/**
 * A second pair of eyes on the supervisor: compares what is recorded of each daemon with facts, and reports what
 * contradicts. It restarts nothing; the orchestrator alone decides.
 *
 * Invariant: nobody is called dead for missing data. A contradiction must be seen twice in a row, a daemon that has only
 * just become ready is left alone, and a master whose loop lagged is not a reason to doubt its daemons.
 */
import { z } from 'zod';
import { degraded, healthy, unhealthy } from '../../health/verdict.ts';
import { daemonsWith, seconds, type FleetMember } from '../definition.ts';

export const daemonWatchdog = daemonsWith<object>()({
  type: 'DAEMON_WATCHDOG',
  purpose: 'Finds daemons that are recorded as running and are not, and a supervisor that does not tick.',
  category: 'health',
  dependsOn: ['EVENT_ROUTER'],
  subscribes: ['DAEMON_STATUS_CHANGED'],
  healthPeriodSeconds: 15,
  config: z.strictObject({
    periodSeconds: seconds(30),
    /** RUNNING without any sign of life for this long contradicts itself. */
    silentSeconds: seconds(900),
    /** A loop lagging more than this makes the watchdog doubt itself, not the daemons. Milliseconds. */
    lagMaxMs: z.number().min(1).default(1_000),
  }),
  quick: { periodSeconds: 5 },

  create({ config, clock, fleet, log }) {
    const suspected = new Map<string, string>();
    let contradictions: readonly string[] = [];
    let changes = 0;
    let lagMs = 0;
    let lookedAt = clock.monotonicMs();

    const contradiction = (member: FleetMember): string | null => {
      if (member.state !== 'RUNNING') return null;
      const dead = member.processes.filter(({ alive }) => !alive);
      if (dead.length > 0) return `RUNNING, but its process ${dead[0]?.name ?? ''} (pid ${dead[0]?.pid ?? 0}) is gone`;
      if (member.readyAt === null) return 'RUNNING without having been ready';
      if (member.lastHeartbeatAt !== null && clock.since(member.lastHeartbeatAt) > config.silentSeconds)
        return `RUNNING without a sign of life for ${clock.since(member.lastHeartbeatAt).toFixed(0)} s`;
      return null;
    };

    return {
      on: {
        DAEMON_STATUS_CHANGED: ({ body }) => {
          changes++;
          if (body.to !== 'RUNNING') suspected.delete(body.daemon);
        },
      },
      every: {
        periodSeconds: config.periodSeconds,
        run() {
          lagMs = fleet.master().lagMs;
          lookedAt = clock.monotonicMs();
          if (lagMs > config.lagMaxMs) return;
          const found: string[] = [];
          for (const member of fleet.daemons()) {
            const what = contradiction(member);
            if (what === null) {
              suspected.delete(member.type);
              continue;
            }
            if (suspected.get(member.type) !== what) {
              suspected.set(member.type, what); // seen once; facts and record may just have crossed
              continue;
            }
            found.push(`${member.type}: ${what}`);
            log.warn(`${member.type} contradicts its record: ${what}`);
            fleet.report(member.type, unhealthy(`DAEMON_WATCHDOG: ${what}`));
          }
          contradictions = found;
        },
      },
      health() {
        const details = {
          contradictions: contradictions.length,
          changes,
          lagMs: Math.round(lagMs),
          lastProgressAt: lookedAt,
        };
        if (lagMs > config.lagMaxMs) return degraded(`the supervisor's loop lags ${Math.round(lagMs)} ms`, details);
        return healthy(details, contradictions[0] ?? '');
      },
    };
  },
});

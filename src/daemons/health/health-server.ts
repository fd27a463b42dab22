/**
 * Tests the master's own endpoints from outside: what an operator or a load balancer would see, not what we believe.
 *
 * Invariant: a lie or a slow answer of /health, /ready, /metrics or /status is found within two periods. The endpoints
 * belong to the server thread and do not depend on this daemon; stopping it closes nothing.
 */
import { z } from 'zod';
import { degraded, healthy, unhealthy } from '../../health/verdict.ts';
import { daemonsWith, seconds } from '../definition.ts';
import type { EndpointsService } from '../services.ts';

const PATHS = ['/health', '/ready', '/metrics', '/status'] as const;

interface Seen {
  readonly status: number;
  readonly ms: number;
}

export const healthServer = daemonsWith<EndpointsService>()({
  type: 'HEALTH_SERVER',
  purpose: 'Asks the master what the world would ask it, and compares the answers with the facts.',
  category: 'health',
  dependsOn: ['EVENT_ROUTER'],
  healthPeriodSeconds: 30,
  config: z.strictObject({
    periodSeconds: seconds(15),
    /** Slower answers are degraded. Milliseconds. */
    slowMs: z.number().min(1).default(250),
  }),
  quick: { periodSeconds: 5 },

  create({ config, clock, fleet, log, network, controlGet }) {
    let seen: Readonly<Record<string, Seen>> = {};
    let lie: string | null = null;
    let checkedAt = clock.monotonicMs();

    /** What the endpoints say, against what the orchestrator holds. @returns the lie, or null */
    const compare = (status: string, healthStatus: number, critical: ReadonlySet<string>): string | null => {
      const said = JSON.parse(status) as { daemons: { type: string; state: string }[] };
      const facts = fleet.daemons();
      if (said.daemons.length !== facts.length)
        return `/status lists ${said.daemons.length} daemons, there are ${facts.length}`;
      const states = new Map(facts.map((member) => [member.type, member.state]));
      const differing = said.daemons.filter(({ type, state }) => states.get(type) !== state);
      // A transition may lie between the answer and the look; many at once in a fleet at rest may not.
      if (differing.length > 2 + facts.length / 10)
        return `/status differs from the facts for ${differing.length} daemons, e.g. ${differing[0]?.type ?? ''}`;
      const failed = facts.find((member) => critical.has(member.type) && member.state === 'FAILED');
      return failed !== undefined && healthStatus === 200 ? `/health says 200 while ${failed.type} is FAILED` : null;
    };

    return {
      every: {
        periodSeconds: config.periodSeconds,
        async run() {
          const { port } = fleet.master();
          const found: Record<string, Seen> = {};
          let status = '';
          let critical: ReadonlySet<string> = new Set();
          for (const path of PATHS) {
            const from = clock.monotonicMs();
            const answer = await network.request({ url: `http://127.0.0.1:${port}${path}`, timeoutMs: 2_000 });
            found[path] = { status: answer.status, ms: clock.monotonicMs() - from };
            if (path === '/status') status = new TextDecoder().decode(answer.body);
            if (path === '/health') {
              const body = JSON.parse(new TextDecoder().decode(answer.body)) as { critical?: Record<string, string> };
              critical = new Set(Object.keys(body.critical ?? {}));
            }
          }
          const local = await controlGet('/health', 2_000);
          found['control /health'] = { status: local.status, ms: local.ms };
          lie = compare(status, found['/health']?.status ?? 0, critical);
          if (lie !== null) log.error(lie);
          seen = found;
          checkedAt = clock.monotonicMs();
        },
      },
      health() {
        const slowest = Object.values(seen).reduce((most, { ms }) => Math.max(most, ms), 0);
        const details = { endpoints: seen, slowestMs: Math.round(slowest), lastProgressAt: checkedAt };
        if (lie !== null) return unhealthy(lie, details);
        if (clock.since(checkedAt) > 30 + 4 * config.periodSeconds)
          return degraded('the endpoints were not asked lately', {
            ...details,
            stalenessSeconds: clock.since(checkedAt),
          });
        return slowest > config.slowMs
          ? degraded(`an endpoint took ${Math.round(slowest)} ms`, details)
          : healthy(details);
      },
    };
  },
});

/**
 * A second pair of eyes: compares what is recorded of each daemon, and what it says of itself, with what can be seen of it
 * from outside, and reports what contradicts. It restarts nothing; the orchestrator alone decides.
 *
 * Invariant: nobody is called dead for missing data. A contradiction must be seen twice in a row, a daemon that has only
 * just become ready is left alone, and a master whose loop lagged is not a reason to doubt its daemons. A record that is
 * wrong is unhealthy; work that stands still is degraded, since a restart may not be what it needs.
 */
import { z } from 'zod';
import { lookFromOutside, type Watched } from '../../health/outside.ts';
import { degraded, healthy, unhealthy, worse, type Health } from '../../health/verdict.ts';
import type { SubscriptionState } from '../../events/types.ts';
import { daemonsWith, seconds, type FleetMember } from '../definition.ts';
import type { RouterService } from '../services.ts';

/** What speaks against a daemon; `rule` is the same as long as it is the same thing. */
interface Contradiction {
  readonly rule: string;
  readonly evidence: Health;
}

export const daemonWatchdog = daemonsWith<RouterService>()({
  type: 'DAEMON_WATCHDOG',
  purpose: 'Finds daemons that are not what they are recorded as or say they are, and a supervisor that does not tick.',
  category: 'health',
  dependsOn: ['EVENT_ROUTER'],
  subscribes: ['DAEMON_STATUS_CHANGED'],
  healthPeriodSeconds: 15,
  config: z.strictObject({
    periodSeconds: seconds(30),
    /** RUNNING with work under way and without any sign of life for this long contradicts itself. */
    silentSeconds: seconds(900),
    /** A loop lagging more than this makes the watchdog doubt itself, not the daemons. Milliseconds. */
    lagMaxMs: z.number().min(1).default(1_000),
    /** More events than this waiting for one subscription, and becoming no fewer, contradict a daemon that is well. */
    lagMax: z.number().int().min(1).default(1_000),
    /** So does work that waits and does not move for this long: longer than the longest pause between two tries. */
    stillSeconds: seconds(30),
    /** And so do events of which most died; they are counted over one to two times this long. */
    deadLetterSeconds: seconds(300),
  }),
  quick: { periodSeconds: 5 },

  create({ config, clock, fleet, log, router }) {
    /** What was found at the last look, by daemon: of which start, and by which rule. */
    let suspected: ReadonlyMap<string, ReadonlySet<string>> = new Map();
    const watched = new Map<string, Watched>();
    /** Daemons that our evidence speaks against, and of which start. */
    const reported = new Map<string, number>();
    let contradictions: readonly string[] = [];
    let changes = 0;
    let lagMs = 0;
    let lookedAt = clock.monotonicMs();

    const againstRecord = (member: FleetMember): Contradiction[] => {
      const dead = member.processes.find(({ isAlive }) => !isAlive());
      if (dead !== undefined)
        return [
          { rule: 'process', evidence: unhealthy(`RUNNING, but its process ${dead.name} (pid ${dead.pid}) is gone`) },
        ];
      if (member.readyAt === null) return [{ rule: 'ready', evidence: unhealthy('RUNNING without having been ready') }];
      const silent = member.movedAt === null ? 0 : clock.since(member.movedAt);
      if (silent <= config.silentSeconds) return [];
      const message = `RUNNING, but what it has under way gave no sign of life for ${silent.toFixed(0)} s`;
      return [{ rule: 'silent', evidence: unhealthy(message) }];
    };

    const againstWord = (member: FleetMember, inputs: readonly SubscriptionState[]): Contradiction[] => {
      const { type, generation, movedAt, cycles } = member;
      const sight = { at: clock.monotonicMs(), generation, inputs, movedAt, cycles };
      const look = lookFromOutside(watched.get(type) ?? null, sight, config);
      watched.set(type, look.watched);
      return look.findings.map(({ rule, message, details }) => ({ rule, evidence: degraded(message, details) }));
    };

    /** Subscriptions by daemon; none while the router cannot deliver, since then no waiting event is its reader's fault. */
    const inputsOf = (): ReadonlyMap<string, readonly SubscriptionState[]> => {
      const { presence, stalled } = router.stats();
      const inputs = new Map<string, SubscriptionState[]>();
      if (presence !== 'serving' || stalled !== null) return inputs;
      for (const state of router.ledger()) {
        const own = inputs.get(state.subscriber);
        if (own === undefined) inputs.set(state.subscriber, [state]);
        else own.push(state);
      }
      return inputs;
    };

    const report = (member: FleetMember, evidence: Health): void => {
      const { type, generation } = member;
      if (reported.get(type) !== generation) log.warn(`evidence against ${type}: ${evidence.message}`);
      reported.set(type, generation);
      fleet.report(type, { ...evidence, message: `DAEMON_WATCHDOG: ${evidence.message}` });
    };

    return {
      on: {
        DAEMON_STATUS_CHANGED: () => void changes++,
      },
      every: {
        periodSeconds: config.periodSeconds,
        run() {
          lagMs = fleet.master().lagMs;
          lookedAt = clock.monotonicMs();
          if (lagMs > config.lagMaxMs) {
            suspected = new Map();
            return;
          }
          const inputs = inputsOf();
          const seen = new Map<string, ReadonlySet<string>>();
          const found: string[] = [];
          for (const member of fleet.daemons()) {
            const { type, generation } = member;
            if (member.state !== 'RUNNING') {
              watched.delete(type);
              reported.delete(type);
              continue;
            }
            const all = [...againstRecord(member), ...againstWord(member, inputs.get(type) ?? [])];
            const before = suspected.get(type);
            seen.set(type, new Set(all.map(({ rule }) => `${generation} ${rule}`)));
            // Seen once, facts and record may just have crossed.
            const [first, ...others] = all.filter(({ rule }) => before?.has(`${generation} ${rule}`) === true);
            if (first !== undefined) {
              const evidence = others.reduce((worst, other) => worse(worst, other.evidence), first.evidence);
              found.push(`${type}: ${evidence.message}`);
              report(member, evidence);
            } else if (reported.delete(type)) {
              log.info(`nothing speaks against ${type} any more`);
              fleet.report(type, healthy());
            }
          }
          suspected = seen;
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

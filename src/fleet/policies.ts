/**
 * Which figure holds for a daemon, when several places name one.
 *
 * From weak to strong: what is built in, the definition, `defaults` of the file, the tempo, the daemon's own entry. The
 * tempo stands above `defaults` because it is chosen per run, and compresses built-in daemons only: their periods are the
 * shipped fleet's, while a module's author has measured theirs. Policies merge field by field, so a file that sets
 * `maxRestarts` keeps the delays.
 */
import type { DaemonDefinition } from '../daemons/definition.ts';
import type { DaemonEntry, DefaultsEntry } from './schema.ts';
import type { HealthPolicy, RestartPolicy } from './types.ts';

export type Tempo = 'quick' | 'standard';

/** The runbook's policy; a daemon is FAILED after 31 s of delays at the earliest. */
export const RESTART_DEFAULT = { delaysSeconds: [1, 2, 4, 8, 16], maxRestarts: 5, stableSeconds: 300 } as const;
/** Upstream's critical period and its check timeout. */
export const HEALTH_DEFAULT = { periodSeconds: 15, timeoutSeconds: 5, failures: 3 } as const;
/** A critical daemon that hangs is found in 3 × 1 s + 0.5 s. */
const HEALTH_QUICK_CRITICAL = { periodSeconds: 1, timeoutSeconds: 0.5, failures: 3 } as const;
const HEALTH_QUICK = { periodSeconds: 5, timeoutSeconds: 2, failures: 3 } as const;
export const START_SECONDS_DEFAULT = 30;
export const STOP_SECONDS_DEFAULT = 10;
/** Soft and order edges; seconds. */
export const EDGE_TIMEOUT_SECONDS_DEFAULT = 30;

const ms = (seconds: number): number => Math.round(seconds * 1_000);
/** A wait that was not zero stays a wait. */
const waitMs = (seconds: number): number => (seconds > 0 ? Math.max(1, ms(seconds)) : 0);

/** Later layers win, field by field; a field that a layer leaves out keeps what was there. */
const merged = <Policy extends object>(
  base: Policy,
  ...layers: readonly ({ readonly [Key in keyof Policy]?: Policy[Key] | undefined } | undefined)[]
): Policy => {
  const result = { ...base };
  for (const layer of layers) {
    for (const key of Object.keys(layer ?? {}) as (keyof Policy)[]) result[key] = layer?.[key] ?? result[key];
  }
  return result;
};

export interface PolicySources {
  readonly definition: DaemonDefinition;
  readonly builtIn: boolean;
  readonly critical: boolean;
  readonly tempo: Tempo;
  readonly defaults: Partial<DefaultsEntry>;
  readonly entry: Partial<DaemonEntry>;
}

export interface Policies {
  readonly autoRestart: boolean;
  readonly restart: RestartPolicy;
  readonly health: HealthPolicy;
  readonly startMs: number;
  readonly stopMs: number;
}

export const policiesOf = ({ definition, builtIn, critical, tempo, defaults, entry }: PolicySources): Policies => {
  const period = definition.healthPeriodSeconds;
  const quick = critical ? HEALTH_QUICK_CRITICAL : HEALTH_QUICK;
  const health = merged<Record<'periodSeconds' | 'timeoutSeconds' | 'failures', number>>(
    HEALTH_DEFAULT,
    period === null ? undefined : { periodSeconds: period },
    defaults.health,
    tempo === 'quick' && builtIn ? quick : undefined,
    entry.health,
  );
  const restart = merged<{ delaysSeconds: readonly number[]; maxRestarts: number; stableSeconds: number }>(
    RESTART_DEFAULT,
    defaults.restart,
    entry.restart,
  );
  return {
    autoRestart: entry.autoRestart ?? defaults.autoRestart ?? true,
    restart: {
      delaysMs: restart.delaysSeconds.map(waitMs),
      maxRestarts: restart.maxRestarts,
      stableMs: waitMs(restart.stableSeconds),
    },
    health: {
      periodMs: waitMs(health.periodSeconds),
      timeoutMs: waitMs(health.timeoutSeconds),
      failures: health.failures,
    },
    startMs: waitMs(entry.startSeconds ?? defaults.startSeconds ?? START_SECONDS_DEFAULT),
    stopMs: waitMs(entry.stopSeconds ?? defaults.stopSeconds ?? STOP_SECONDS_DEFAULT),
  };
};

export const edgeTimeoutMs = (seconds: number | undefined): number => waitMs(seconds ?? EDGE_TIMEOUT_SECONDS_DEFAULT);

/**
 * Alert rules: the built-in ones, which hold without a word in the file, and the file's. A rule of the file replaces the
 * built-in rule of the same condition, so tightening one threshold does not silently lose the other alerts.
 */
import type { AlertRow } from './schema.ts';
import type { AlertRule } from './types.ts';

type When = AlertRule['when'];

/** The runbook's three thresholds, and what must never pass unseen. */
const BUILT_IN: readonly When[] = [
  { kind: 'restarts-per-hour', over: 3 },
  { kind: 'consecutive-health-failures', over: 2 },
  { kind: 'error-rate', over: 0.5 },
  { kind: 'failed' },
  { kind: 'critical-down' },
  { kind: 'subscription-gap' },
  { kind: 'storm' },
];

/** Conditions that an entry names; a valid one names exactly one. */
export const conditionsOf = (when: AlertRow['when']): readonly When[] => [
  ...(when.restartsPerHour ? [{ kind: 'restarts-per-hour', over: when.restartsPerHour.over } as const] : []),
  ...(when.consecutiveHealthFailures
    ? [{ kind: 'consecutive-health-failures', over: when.consecutiveHealthFailures.over } as const]
    : []),
  ...(when.errorRate ? [{ kind: 'error-rate', over: when.errorRate.over } as const] : []),
  ...(when.failed ? [{ kind: 'failed' } as const] : []),
  ...(when.criticalDown ? [{ kind: 'critical-down' } as const] : []),
  ...(when.subscriptionGap ? [{ kind: 'subscription-gap' } as const] : []),
  ...(when.storm ? [{ kind: 'storm' } as const] : []),
];

/**
 * All rules that hold.
 * @param rows  entries of the file, each with exactly one condition
 * @param everywhere  the log and every declared sink
 */
export const alertRules = (rows: readonly AlertRow[], everywhere: readonly string[]): readonly AlertRule[] => {
  const written = rows.flatMap((row) =>
    conditionsOf(row.when)
      .slice(0, 1)
      .map((when): AlertRule => ({ name: row.name ?? when.kind, when, to: row.to ?? everywhere })),
  );
  const replaced = new Set<string>(written.map((rule) => rule.when.kind));
  const builtIn = BUILT_IN.filter((when) => !replaced.has(when.kind));
  return [...builtIn.map((when) => ({ name: when.kind, when, to: everywhere })), ...written];
};

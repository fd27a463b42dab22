/**
 * The runbook's restart policy as one pure function: 1, 2, 4, 8, 16 s, then FAILED.
 *
 * What it protects: one counter, written in one place. A failure that is somebody else's (a hard dependency is away) is
 * secondary and costs nothing; one that a drill caused is delayed like a first failure and counted apart, so a rehearsal
 * never uses up the budget of the real thing. Start failures and crashes count alike.
 */
export interface RestartBudget {
  /** Delay before the k-th restart, milliseconds; the last repeats. */
  readonly delaysMs: readonly number[];
  readonly maxRestarts: number;
}

export interface FailureFacts {
  /** Restarts charged so far. */
  readonly charged: number;
  /** A hard dependency is not ready. */
  readonly secondary: boolean;
  readonly drill: boolean;
  /** False for an import or configuration failure: the same start would fail the same way. */
  readonly retryable: boolean;
  readonly autoRestart: boolean;
}

export type RestartDecision =
  | { readonly kind: 'hold'; readonly rule: string }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly charge: boolean; readonly rule: string }
  | { readonly kind: 'give-up'; readonly rule: string };

/** The delay before the k-th restart (k from 1), milliseconds. */
export const backoffMs = (budget: RestartBudget, restart: number): number =>
  budget.delaysMs[Math.min(restart, budget.delaysMs.length) - 1] ?? 0;

/** What follows a failure. `rule` is the sentence `why` prints. */
export const decideRestart = (budget: RestartBudget, facts: FailureFacts): RestartDecision => {
  if (!facts.retryable) return { kind: 'give-up', rule: 'a retry cannot mend an import or configuration failure' };
  if (!facts.autoRestart) return { kind: 'give-up', rule: 'autoRestart is off for this daemon' };
  if (facts.secondary)
    return { kind: 'hold', rule: 'failed while a hard dependency was not ready: not charged, tried when that is back' };
  if (facts.drill) {
    const delayMs = backoffMs(budget, 1);
    return {
      kind: 'retry',
      delayMs,
      charge: false,
      rule: `drill failure: first delay, ${delayMs / 1000} s, not charged`,
    };
  }
  if (facts.charged >= budget.maxRestarts)
    return { kind: 'give-up', rule: `restart budget spent: ${facts.charged} of ${budget.maxRestarts} restarts used` };
  const restart = facts.charged + 1;
  const delayMs = backoffMs(budget, restart);
  return {
    kind: 'retry',
    delayMs,
    charge: true,
    rule: `restart ${restart} of ${budget.maxRestarts} after ${delayMs / 1000} s`,
  };
};

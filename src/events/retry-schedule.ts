/**
 * When a failed delivery is tried again. The first delivery is attempt 1; five retries follow, 31 s in all, as the
 * runbook restarts daemons; then the event is a dead letter. A dead letter has a slower schedule of its own: 60 s doubling
 * to an hour, five tries, then it is given up and only an operator tries again.
 */
export const DELIVERY_RETRY_MS: readonly number[] = [1_000, 2_000, 4_000, 8_000, 16_000];
export const DELIVERY_ATTEMPTS_MAX = 1 + DELIVERY_RETRY_MS.length;

export const LETTER_RETRIES_MAX = 5;
const LETTER_FIRST_MS = 60_000;
const LETTER_LONGEST_MS = 3_600_000;

/** Milliseconds until the delivery after failed attempt number `attempt`, or null when that was the last. */
export const retryDelayMs = (attempt: number): number | null => DELIVERY_RETRY_MS[attempt - 1] ?? null;

/** Milliseconds until a dead letter that was retried `retries` times is due again, or null when it is given up. */
export const letterDelayMs = (retries: number): number | null =>
  retries >= LETTER_RETRIES_MAX ? null : Math.min(LETTER_FIRST_MS * 2 ** retries, LETTER_LONGEST_MS);

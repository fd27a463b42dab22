/**
 * The bounds of the router, one place for all. Chosen, unless a measurement is named; bench/router.ts shows what they give.
 */
import type { RouterLimits } from './router-api.ts';

const HOUR_MS = 3_600_000;

export const ROUTER_LIMITS: RouterLimits = {
  outboxEvents: 20_000, //             a router restart takes under a second; this is 4 s of 5,000 events/s
  outboxBytes: 32 * 1024 * 1024,
  outboxAllEvents: 200_000, //         ten publishers that flood: some 100 MB of 256-byte events
  outboxAllBytes: 256 * 1024 * 1024,
  bodyCharacters: 1024 * 1024, //      an event names a file, it does not carry one
  prefetchEvents: 4096, //             two group commits at 100,000 events/s on a slow disk: a lane that keeps up never runs dry
  prefetchCharacters: 32 * 1024 * 1024,
  turnMs: 1, //                        2 ms gave the same rate and a main-loop delay (p99) of up to 6 ms at full throttle, this 3.6
  canaryMs: 5_000, //                  the runbook's recovery time of EVENT_ROUTER
  retentionMs: 24 * HOUR_MS, //        upstream kept 24 h
  retainedEvents: 1_000_000, //        about 400 MB of 256-byte events
  dedupMs: 7 * 24 * HOUR_MS, //        a shell script's file may lie in the inbox over a long weekend
  externalIdleMs: 7 * 24 * HOUR_MS,
  externalLeaseMs: 30_000,
  deadLetterKeepMs: 7 * 24 * HOUR_MS, // upstream purged closed rows after 7 days
};

/** Events and characters that the host keeps for the tails; a subscription further behind reads the store. */
export const TAIL_EVENTS = 65_536;
export const TAIL_CHARACTERS = 16 * 1024 * 1024;
/** Callers that wait for the thread to serve, or for what they did to be durable; one more is refused. */
export const CALLERS_WAITING_MAX = 256;
/** Questions the thread has not answered; one more is refused. */
export const QUESTIONS_MAX = 512;
/** Programs outside that may hold a subscription, each with its own place in the log; one more is refused. */
export const EXTERNAL_SUBSCRIBERS_MAX = 256;
/** Dead letters that handlers hold at present; one more waits for a later retry. */
export const LETTERS_IN_HAND_MAX = 2_000;
/** Characters of dead letters in one answer; one letter is always told. */
export const LETTERS_CHARACTERS_MAX = 16 * 1024 * 1024;

/** Publishes in one message to the thread: about 4 ms of inserts, which is what the next publisher may have to wait. */
export const BATCH_EVENTS = 1024;
export const BATCH_CHARACTERS = 1024 * 1024;
/** Publishes sent and not yet confirmed; a resend after a crash is at most this long. */
export const UNCONFIRMED_EVENTS = 4096;
/** Events that one subscription gets at once before the others have had their share. */
export const DELIVERY_EVENTS = 512;
/** Milliseconds that acks alone may wait for company before they are committed. Losing them means redelivery, not loss. */
export const ACK_COMMIT_MS = 5;
/** Between two attempts to write when the disk refused. */
export const STALL_RETRY_MS = 1_000;
/** Between two sweeps of the retention. */
export const SWEEP_MS = 60_000;
/** Rows that one sweep step deletes, so that it never holds up a commit for long. */
export const SWEEP_ROWS = 2_000;

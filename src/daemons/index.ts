/** Every daemon that is built, in the order in which the fleet lists them. A daemon that is not here cannot be used. */
import type { DaemonDefinition } from './definition.ts';
import { crossProcessPoller } from './event/cross-process-poller.ts';
import { dlqRetry } from './event/dlq-retry.ts';
import { eventRouter } from './event/event-router.ts';
import { daemonWatchdog } from './health/daemon-watchdog.ts';
import { healthServer } from './health/health-server.ts';

/** Those that work on the training floor. */
export const TRAINING_DAEMONS: readonly DaemonDefinition[] = [];

export const RINGRIFT_DAEMONS: readonly DaemonDefinition[] = [
  eventRouter,
  daemonWatchdog,
  healthServer,
  crossProcessPoller,
  dlqRetry,
  ...TRAINING_DAEMONS,
];

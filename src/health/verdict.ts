/**
 * What a health check says. Four values, because missing data is not bad data: `unknown` changes nothing, `degraded` is
 * shown and alerted but never restarts, `unhealthy` counts towards a restart.
 */
import type { Fills } from '../bounds.ts';

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy' | 'unknown';

/** Evidence beside the word. Times are monotonic milliseconds of the daemon's clock unless the name says seconds. */
export interface HealthDetails {
  /** Share of cycles that rejected, 0..1, over the recent window. */
  errorRate?: number;
  /** Cycles finished since this start. */
  cycles?: number;
  /** When work last moved forward: a number as a daemon says it; ISO-8601 in status, where other clocks read it. */
  lastProgressAt?: number | string;
  stalenessSeconds?: number;
  /** Events not yet handled. */
  lag?: number;
  connections?: number;
  /** What this daemon keeps that would grow with traffic if it had no bound; printed in /metrics. */
  bounds?: Fills;
  [own: string]: unknown;
}

export interface Health {
  readonly status: HealthStatus;
  /** True for healthy and degraded: the daemon serves. */
  readonly healthy: boolean;
  readonly message: string;
  readonly details: HealthDetails;
}

const health = (status: HealthStatus, message: string, details: HealthDetails): Health => ({
  status,
  healthy: status === 'healthy' || status === 'degraded',
  message,
  details,
});

export const healthy = (details: HealthDetails = {}, message = ''): Health => health('healthy', message, details);
export const degraded = (message: string, details: HealthDetails = {}): Health => health('degraded', message, details);
export const unhealthy = (message: string, details: HealthDetails = {}): Health =>
  health('unhealthy', message, details);
export const unknown = (message = 'not checked yet', details: HealthDetails = {}): Health =>
  health('unknown', message, details);

const SEVERITY: Readonly<Record<HealthStatus, number>> = { healthy: 0, unknown: 1, degraded: 2, unhealthy: 3 };

/** The worse of two verdicts: outside evidence overrides what a daemon says of itself. */
export const worse = (one: Health, other: Health): Health =>
  SEVERITY[other.status] > SEVERITY[one.status] ? other : one;

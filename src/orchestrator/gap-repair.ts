/**
 * Repairs subscription gaps: first by re-attaching, which costs nobody anything, then by asking for a restart, which is
 * charged like any failure. One repair per daemon at a time.
 */
import { messageOf } from '../errors.ts';
import type { RouterHost } from '../events/router-api.ts';
import type { SubscriptionState } from '../events/types.ts';

export interface GapRepairOptions {
  readonly router: RouterHost;
  /** True while the daemon runs and is not going anywhere. */
  readonly isRunning: (daemon: string) => boolean;
  readonly restart: (daemon: string, reason: string) => void;
  readonly onGap: (gap: SubscriptionState) => void;
  readonly log: (message: string) => void;
}

/** @returns ends the watch */
export const repairGaps = (options: GapRepairOptions): (() => void) => {
  const underRepair = new Set<string>();
  return options.router.onGap((gap) => {
    options.onGap(gap);
    const daemon = gap.subscriber;
    if (underRepair.has(daemon) || !options.isRunning(daemon)) return;
    underRepair.add(daemon);
    options.log(`subscription gap: ${daemon} ${gap.topic}: ${gap.reason ?? 'unknown'}; re-attaching`);
    options.router
      .reattach(daemon)
      .then(
        () => options.log(`subscription gap closed: ${daemon}`),
        (error: unknown) => {
          if (options.isRunning(daemon) && options.router.presence === 'serving')
            options.restart(daemon, `subscription gap on ${gap.topic} outlived re-attaching: ${messageOf(error)}`);
        },
      )
      .finally(() => underRepair.delete(daemon))
      .catch(() => undefined);
  });
};

/**
 * Those who watch what the loop decided and pass it on: to the log, to the event bus, to whoever asks for one word about
 * the whole fleet. None of them decides anything, and a failure of one is a line in the log.
 */
import { messageOf } from '../errors.ts';
import type { RouterHost } from '../events/router-api.ts';
import { repairGaps } from '../orchestrator/gap-repair.ts';
import type { Supervisor } from '../orchestrator/supervisor.ts';
import type { FleetSnapshot, HistoryEntry } from '../orchestrator/types.ts';
import { SLACK_MS, type Clock } from '../seams/clock.ts';
import type { Logging } from './logging/logging.ts';

/** The verdict over all daemons is worked out at most this often. Milliseconds. */
const VERDICT_MS = 20;
/** How old what is said of a wait may be. Milliseconds. */
const WAITS_MS = 500;

export interface VerdictWatch {
  /** Something changed; looked at soon. */
  look(): void;
  close(): void;
}

/** Tells of each change of the one word for the whole fleet. */
export const watchVerdict = (
  supervisor: Pick<Supervisor, 'verdict'>,
  clock: Clock,
  changed: (verdict: FleetSnapshot['verdict']) => void,
): VerdictWatch => {
  let last: FleetSnapshot['verdict'] | null = null;
  let due = false;
  let closed = false;
  return {
    look() {
      if (due || closed) return;
      due = true;
      clock.after(VERDICT_MS, () => {
        due = false;
        if (closed) return;
        const verdict = supervisor.verdict();
        if (verdict !== last) changed((last = verdict));
      });
    },
    close: () => void (closed = true),
  };
};

/**
 * What a daemon waits for is said down to the leaf, and the leaf may be far away: it changes without the daemon itself
 * changing. So whoever waits is looked at again, twice a second while anybody does. @returns ends it
 */
export const refreshWaits = (
  supervisor: Pick<Supervisor, 'core'>,
  clock: Clock,
  touch: (daemon: string) => void,
): (() => void) => {
  const timer = clock.every(
    WAITS_MS,
    () => {
      if (supervisor.core.notUpCount === 0) return;
      for (const member of supervisor.core.members) if (member.wanted === 'up' && !member.isUp()) touch(member.type);
    },
    { background: true, slackMs: SLACK_MS },
  );
  return () => timer.cancel();
};

/** A transition as a line of the log: loud where somebody may have to act. */
export const logTransition = (logging: Logging, entry: HistoryEntry): void => {
  const { daemon, from, to, why, message, generation } = entry;
  if (daemon === null || from === null || to === null) return;
  const log = logging.for(daemon);
  const text = `${from} → ${to}${message === '' ? '' : `: ${message}`}`;
  const fields = { generation, ...(why === null ? {} : { cause: why }) };
  if (to === 'FAILED') log.error(text, fields);
  else if (to === 'RESTARTING') log.warn(text, fields);
  else log.info(text, fields);
};

/** Every transition becomes an event, with an id made from its place in the journal: told twice, stored once. */
export const tellOfTransition = (
  router: Pick<RouterHost, 'publishExternal'>,
  instance: string,
  entry: HistoryEntry,
  logging: Logging,
): void => {
  const { seq, daemon, from, to, why } = entry;
  if (daemon === null || from === null || to === null) return;
  router
    .publishExternal(
      'orchestrator',
      'DAEMON_STATUS_CHANGED',
      { daemon, from, to, cause: why },
      { id: `transition:${instance}:${seq}` },
    )
    .catch((thrown: unknown) => logging.master.debug(`a transition was not published: ${messageOf(thrown)}`));
};

/** Repairs subscription gaps, and tells the bus of each. @returns ends it */
export const watchGaps = (
  router: RouterHost,
  supervisor: Pick<Supervisor, 'statusOf' | 'execute'>,
  logging: Logging,
): (() => void) => {
  const open = new Map<string, { subscriber: string; topic: string; critical: boolean }>();
  const tell = (
    gap: { subscriber: string; topic: string; critical: boolean },
    state: 'opened' | 'repaired',
    reason: string,
  ): void => {
    const { subscriber, topic, critical } = gap;
    router
      .publishExternal('orchestrator', 'SUBSCRIPTION_GAP', { subscriber, topic, critical, state, reason })
      .catch((thrown: unknown) => logging.master.warn(`a subscription gap was not published: ${messageOf(thrown)}`));
  };
  const endRepair = repairGaps({
    router,
    isRunning: (daemon) => supervisor.statusOf(daemon)?.state === 'RUNNING',
    restart: (daemon, reason) =>
      void supervisor.execute({ verb: 'restart', daemons: [daemon], origin: 'daemon', reason, waitMs: 0 }),
    onGap: (gap) => {
      open.set(`${gap.subscriber} ${gap.topic}`, gap);
      tell(gap, 'opened', gap.reason ?? 'not proven');
    },
    log: (message) => logging.master.warn(message),
  });
  const endLedger = router.onLedgerChange((state) => {
    const key = `${state.subscriber} ${state.topic}`;
    const gap = open.get(key);
    if (gap === undefined || state.state !== 'attached') return;
    open.delete(key);
    tell(gap, 'repaired', 'proven by a canary');
  });
  return () => {
    endRepair();
    endLedger();
  };
};

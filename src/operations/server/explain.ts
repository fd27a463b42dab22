/**
 * `why DAEMON`: the state of one daemon, told as a sentence with its evidence.
 *
 * Pure, and fed from the server thread's picture and the journal on disk, so that it answers best when it is needed most:
 * while the main loop is blocked. It never guesses: where the core named a rule or a leaf, that is what is printed.
 */
import type { DaemonStatus, HistoryEntry, WaitingFor, WhyReport } from '../../orchestrator/types.ts';
import type { DaemonState } from '../../lifecycle/states.ts';

/** The rule of each state, for when the core named none of its own. */
const RULE_OF_STATE: Readonly<Record<DaemonState, string>> = {
  STOPPED: 'a daemon that is not wanted is STOPPED until somebody wants it',
  WAITING: 'a daemon starts once every condition of its edges holds and a start slot is free',
  STARTING: 'a start counts as ready when the daemon says so before its deadline',
  RUNNING: 'it said that it is ready, and its health checks have not failed often enough to restart it',
  RESTARTING: 'a failed daemon is started again after 1, 2, 4, 8 and 16 s, while restarts are left',
  STOPPING: 'a stop is finished by proof that nothing of the daemon is left; past its deadline it is killed',
  FAILED: 'only reset, start, restart or recover leaves FAILED',
  COMPLETED: 'a one-shot task that ended well is not started again',
};

/** Steps of a cause chain; a longer one is a bug, and must not hang an answer. */
const CHAIN_MAX = 64;

/** The part of the journal that explaining looks up. */
export interface Evidence {
  /** The newest transition of a daemon. */
  last(daemon: string): HistoryEntry | null;
  entry(seq: number): HistoryEntry | null;
}

/** From an entry to its root, newest first; stops at a missing link. */
export const causeChain = (from: HistoryEntry, entry: Evidence['entry']): HistoryEntry[] => {
  const chain = [from];
  for (let here = from; here.cause !== null && here.cause < here.seq && chain.length < CHAIN_MAX;) {
    const next = entry(here.cause);
    if (next === null) break;
    chain.push(next);
    here = next;
  }
  return chain;
};

const describeWait = (wait: WaitingFor): string =>
  wait.impossible ? `impossible: ${wait.message}${wait.remedy === null ? '' : `; ${wait.remedy}`}` : wait.message;

const sentence = (daemon: DaemonStatus): string => {
  const { waitingFor, reason } = daemon;
  if (waitingFor.length > 0) {
    const first = waitingFor.find((wait) => wait.impossible) ?? (waitingFor[0] as WaitingFor);
    const more = waitingFor.length - 1;
    return `waits: ${describeWait(first)}${more === 0 ? '' : ` (and ${more} more)`}`;
  }
  if (daemon.state === 'FAILED')
    return daemon.attemptsLeft > 0
      ? `a retry cannot mend it: ${daemon.lastError ?? reason ?? 'no error was recorded'}`
      : `its restarts are spent: ${daemon.lastError ?? reason ?? 'no error was recorded'}`;
  if (daemon.state === 'RUNNING' && daemon.health.status !== 'healthy' && daemon.health.message !== '')
    return `runs, but is ${daemon.health.status}: ${daemon.health.message}`;
  if (reason !== null && reason !== '') return reason;
  switch (daemon.state) {
    case 'RUNNING':
      return 'runs, and nothing is wrong with it';
    case 'STOPPED':
      return 'is not wanted';
    default:
      return RULE_OF_STATE[daemon.state];
  }
};

const remedyOf = (daemon: DaemonStatus): string | null => {
  const stuck = daemon.waitingFor.find((wait) => wait.impossible) ?? daemon.waitingFor.find((wait) => wait.remedy);
  if (stuck?.remedy != null) return stuck.remedy;
  if (daemon.state === 'FAILED') return `mend the cause, then: master_loop reset ${daemon.type}`;
  if (daemon.state === 'STOPPED') return `master_loop start ${daemon.type}`;
  if (daemon.state === 'RUNNING' && daemon.health.status === 'unhealthy')
    return `look at its details (master_loop logs ${daemon.type}); it is restarted when the failures go on`;
  return null;
};

/**
 * Explains the present state of a daemon.
 * @param daemon  its status in the picture
 * @param evidence  the journal, and the other daemons
 */
export const explainDaemon = (daemon: DaemonStatus, evidence: Evidence): WhyReport => {
  const last = evidence.last(daemon.type);
  return {
    daemon: daemon.type,
    state: daemon.state,
    wanted: daemon.wanted,
    since: daemon.stateSince,
    reason: sentence(daemon),
    waitingFor: daemon.waitingFor,
    lastExit:
      daemon.lastError === null
        ? null
        : { message: daemon.lastError, why: daemon.lastCause ?? 'exit', time: daemon.lastErrorAt ?? daemon.stateSince },
    causeChain: last === null ? [] : causeChain(last, (seq) => evidence.entry(seq)),
    restarts: { charged: daemon.restartCount, left: daemon.attemptsLeft, lastHour: daemon.restartsLastHour },
    nextAttemptAt: daemon.nextAttemptAt,
    rule: daemon.rule !== undefined && daemon.rule !== '' ? daemon.rule : RULE_OF_STATE[daemon.state],
    health: {
      status: daemon.health.status,
      healthy: daemon.health.healthy,
      message: daemon.health.message,
      details: daemon.health.details,
    },
    remedy: remedyOf(daemon),
  };
};

/**
 * The programmatic API, with the runbook's names: `const dm = await getDaemonManager({ dataDir })`.
 *
 * The runbook's original handed every caller a manager of its own, which was empty, so its status was a lie. This one is a
 * view of the one loop that really runs on a data directory: of the loop itself when that is in this process, else of the
 * live process over its control socket. Both give the same answers; a caller cannot tell which it holds.
 */
import { randomUUID } from 'node:crypto';
import { messageOf, OrchestratorError } from '../errors.ts';
import type { Health } from '../health/verdict.ts';
import type { Command, CommandOutcome, DaemonStatus, FleetSnapshot, HistoryEntry } from '../orchestrator/types.ts';
import { plainClock } from '../seams/plain-clock.ts';
import { connect, type ControlClient } from './client/client.ts';
import { resolveDataDir } from './control-paths.ts';
import type { DaemonType } from './daemon-type.ts';

export { DaemonType } from './daemon-type.ts';

/** A name of the bundled fleet, or of one's own. */
export type DaemonName = DaemonType | (string & {});

/** What the manager needs of a loop in this process. */
export interface LocalLoop {
  snapshot(): FleetSnapshot;
  execute(command: Command): Promise<CommandOutcome>;
  /** Calls back for every transition from now on; returns the end. */
  onTransition(listener: (entry: HistoryEntry) => void): () => void;
}

export type FailureCallback = (type: string, error: OrchestratorError) => void;

/** Every method rejects with NOT_RUNNING when no loop runs on the data directory, UNKNOWN_DAEMON for a wrong name. */
export interface DaemonManager {
  getDaemonHealth(type: DaemonName): Promise<Health>;
  /** By daemon type, in the fleet's order. */
  getAllDaemonHealth(): Promise<ReadonlyMap<string, Health>>;
  /** `restartCount`, `lastError` and all that `status --json` shows of one daemon. */
  getDaemonInfo(type: DaemonName): Promise<DaemonStatus>;
  /** Waits for the outcome, as the command does; look at `ok` and `message`. */
  startDaemon(type: DaemonName): Promise<CommandOutcome>;
  stopDaemon(type: DaemonName): Promise<CommandOutcome>;
  restartDaemon(type: DaemonName): Promise<CommandOutcome>;
  resetDaemonState(type: DaemonName): Promise<CommandOutcome>;
  /**
   * Called when a daemon becomes FAILED and when a critical one is lost (not when an operator or a plan stops it).
   * Replaces an earlier callback; null removes it. From another process it keeps listening while the master is away.
   * Resolves when it listens.
   */
  setFailureCallback(callback: FailureCallback | null): Promise<void>;
  /** Stops listening and lets this process end. */
  close(): Promise<void>;
}

/** A daemon is gone: what a failure callback gets. */
export const daemonFailed = (type: string, entry: Pick<HistoryEntry, 'to' | 'why' | 'message'>): OrchestratorError =>
  new OrchestratorError('DAEMON_FAILED', {
    message: `cannot keep ${type} running: ${entry.message === '' ? (entry.why ?? 'it ended') : entry.message}`,
    remedy: `"master_loop why ${type}" explains it${entry.to === 'FAILED' ? `; "master_loop reset ${type}" brings it back` : ''}`,
    context: { daemon: type, state: entry.to, why: entry.why },
  });

const unknownDaemon = (type: string): OrchestratorError =>
  new OrchestratorError('UNKNOWN_DAEMON', {
    message: `cannot find a daemon named ${JSON.stringify(type)} in this fleet`,
    remedy: '"master_loop status" lists the daemons of the fleet',
    context: { daemon: type },
  });

/** A daemon that goes down for one of these was told to. */
const TOLD = new Set<string | null>(['operator', 'schedule', 'config', 'recovery']);

/** What a transition means to a failure callback; null: nothing. */
const failureIn = (entry: HistoryEntry, isCritical: (type: string) => boolean): OrchestratorError | null => {
  const { daemon, from, to, why } = entry;
  if (daemon === null || from === null || to === null) return null;
  if (to === 'FAILED') return daemonFailed(daemon, entry);
  const lost = from === 'RUNNING' && to !== 'COMPLETED' && why !== null && !TOLD.has(why);
  return lost && isCritical(daemon) ? daemonFailed(daemon, entry) : null;
};

const WAIT_MS = 600_000;

/** Where answers come from: the loop here, or the live process. */
interface Source {
  daemons(): Promise<readonly DaemonStatus[]>;
  daemon(type: string): Promise<DaemonStatus>;
  act(verb: 'start' | 'stop' | 'restart' | 'reset', type: string): Promise<CommandOutcome>;
  /** Resolves when it listens; `failed` also gets what became FAILED while nobody listened. */
  listen(failed: FailureCallback): Promise<() => void>;
  close(): void;
}

const localLoops = new Map<string, LocalLoop>();

/**
 * Makes the loop of this process known to `getDaemonManager`.
 * @returns forgets it
 */
export const registerLocalLoop = (dataDir: string, loop: LocalLoop): (() => void) => {
  const key = resolveDataDir(dataDir);
  localLoops.set(key, loop);
  return () => {
    if (localLoops.get(key) === loop) localLoops.delete(key);
  };
};

const localSource = (loop: LocalLoop): Source => {
  const find = (type: string): DaemonStatus => {
    const found = loop.snapshot().daemons.find((daemon) => daemon.type === type);
    if (found === undefined) throw unknownDaemon(type);
    return found;
  };
  return {
    daemons: () => Promise.resolve(loop.snapshot().daemons),
    daemon: async (type) => find(type),
    async act(verb, type) {
      find(type);
      return loop.execute({
        id: randomUUID(),
        verb,
        daemons: [type],
        origin: 'operator',
        reason: 'asked for by the program',
        waitMs: WAIT_MS,
      });
    },
    async listen(failed) {
      const critical = new Map(loop.snapshot().daemons.map((daemon) => [daemon.type, daemon.critical]));
      return loop.onTransition((entry) => {
        const error = failureIn(entry, (type) => critical.get(type) ?? false);
        if (error !== null) failed(entry.daemon as string, error);
      });
    },
    close: () => undefined,
  };
};

/** How soon a master that went away is looked for again. Milliseconds. */
const AGAIN_MS = 1_000;

const remoteSource = (first: ControlClient): Source => {
  const clock = plainClock();
  let client = first;
  const reached = async <Answer>(use: (client: ControlClient) => Promise<Answer>): Promise<Answer> => {
    try {
      return await use(client);
    } catch (thrown) {
      // A master that was started again has the same socket path; nothing was done that could be done twice.
      if (!(thrown instanceof OrchestratorError) || thrown.code !== 'NOT_RUNNING') throw thrown;
      client.close();
      client = await connect({ dataDir: first.dataDir });
      return use(client);
    }
  };
  const stops = new Set<() => void>();

  const listen = async (failed: FailureCallback): Promise<() => void> => {
    const controller = new AbortController();
    const { signal } = controller;
    const critical = new Map<string, boolean>();
    /** Daemons that are FAILED and were told of, or were so before anybody listened. */
    const known = new Set<string>();

    /** Reads the picture; tells what became FAILED while nobody listened. */
    const look = async (tell: boolean): Promise<void> => {
      for (const daemon of (await client.status()).daemons) {
        critical.set(daemon.type, daemon.critical);
        if (daemon.state !== 'FAILED') known.delete(daemon.type);
        else if (!known.has(daemon.type)) {
          known.add(daemon.type);
          if (tell)
            failed(
              daemon.type,
              daemonFailed(daemon.type, { to: 'FAILED', why: daemon.lastCause, message: daemon.lastError ?? '' }),
            );
        }
      }
    };

    const follow = async (begun: () => void): Promise<void> => {
      let lookedBefore = false;
      while (!signal.aborted) {
        try {
          const entries = client.stream({ signal, onOpen: () => look(lookedBefore).then(begun, () => undefined) });
          for await (const entry of entries) {
            const error = failureIn(entry, (type) => critical.get(type) ?? false);
            if (entry.daemon !== null && entry.to !== null) {
              if (entry.to === 'FAILED' && known.has(entry.daemon)) continue;
              if (entry.to === 'FAILED') known.add(entry.daemon);
              else known.delete(entry.daemon);
            }
            if (error !== null) failed(entry.daemon as string, error);
          }
        } catch {
          // The master is away: looked for again below, for as long as somebody wants to know.
        }
        lookedBefore = true;
        await clock.sleep(AGAIN_MS, signal).catch(() => undefined);
        await reached((reachedClient) => reachedClient.ready()).catch(() => undefined);
      }
    };

    await new Promise<void>((resolve, reject) => {
      follow(resolve).catch(reject);
    });
    const stop = (): void => {
      controller.abort();
      stops.delete(stop);
    };
    stops.add(stop);
    return stop;
  };

  return {
    daemons: () => reached(async (client) => (await client.status()).daemons),
    daemon: (type) => reached((client) => client.daemon(type)),
    act: (verb, type) =>
      reached((client) =>
        client.act({ verb, daemons: [type], reason: 'asked for by another program', waitMs: WAIT_MS }),
      ),
    listen,
    close() {
      for (const stop of [...stops]) stop();
      client.close();
    },
  };
};

export interface ManagerOptions {
  /** Default: `$MASTER_LOOP_DATA_DIR`, else `./.master-loop`. */
  readonly dataDir?: string;
  /** A loop in this process; found by itself when it was registered for the data directory. */
  readonly loop?: LocalLoop;
}

/**
 * The daemons of a data directory.
 * @throws NOT_RUNNING when no loop runs there
 */
export const getDaemonManager = async (options: ManagerOptions = {}): Promise<DaemonManager> => {
  const local = options.loop ?? localLoops.get(resolveDataDir(options.dataDir));
  const source =
    local !== undefined
      ? localSource(local)
      : remoteSource(await connect(options.dataDir === undefined ? {} : { dataDir: options.dataDir }));
  let stopListening: (() => void) | null = null;

  return {
    getDaemonHealth: async (type) => healthOf(await source.daemon(type)),
    getAllDaemonHealth: async () =>
      new Map((await source.daemons()).map((daemon) => [daemon.type, healthOf(daemon)] as const)),
    getDaemonInfo: (type) => source.daemon(type),
    startDaemon: (type) => source.act('start', type),
    stopDaemon: (type) => source.act('stop', type),
    restartDaemon: (type) => source.act('restart', type),
    resetDaemonState: (type) => source.act('reset', type),
    async setFailureCallback(callback) {
      stopListening?.();
      stopListening = null;
      if (callback === null) return;
      stopListening = await source.listen((type, error) => {
        try {
          callback(type, error);
        } catch (thrown) {
          // The caller's mistake must neither end the loop nor go unseen.
          process.emitWarning(`the failure callback threw: ${messageOf(thrown)}`, 'MasterLoopWarning');
        }
      });
    },
    async close() {
      stopListening?.();
      stopListening = null;
      source.close();
    },
  };
};

const healthOf = ({ health: { status, healthy, message, details } }: DaemonStatus): Health => ({
  status,
  healthy,
  message,
  details,
});

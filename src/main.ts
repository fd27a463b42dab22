/**
 * The composition root: real seams, all daemons and the orchestrator put together, in the one order that is safe.
 *
 * A fleet file with faults ends here before anything was touched; a held data directory before anything was read. Then
 * the past is dealt with (journal, processes of an earlier master), the shared services start outside any daemon's
 * context, the server answers, and only then the first daemon starts. Leaving is the same backwards.
 */
import { join } from 'node:path';
import { TRAINING_DAEMONS } from './daemons/index.ts';
import type { FleetView } from './daemons/definition.ts';
import { messageOf } from './errors.ts';
import { RINGRIFT_EVENTS } from './events/catalogue.ts';
import type { RouterHost } from './events/router-api.ts';
import { createRouterHost } from './events/router-host.ts';
import { loadFleet } from './fleet/load.ts';
import type { Fleet } from './fleet/types.ts';
import { buildGraph } from './graph/graph.ts';
import { openJournal } from './journal/journal.ts';
import { historyEntryOf, loopJournal, type RemarkKind } from './journal/loop-journal.ts';
import { acquireLock } from './journal/lock.ts';
import { beatFigures } from './operations/beat.ts';
import { fleetOptions } from './operations/cli/commands/fleet.ts';
import { EXIT } from './operations/cli/exit-codes.ts';
import type { MasterOptions } from './operations/cli/master.ts';
import { startAlerts, type Alerts } from './operations/alerts/alerts.ts';
import { controlSocketPath, logPath, outputPath, resolveDataDir, runFolder } from './operations/control-paths.ts';
import { controlRequests } from './operations/control-requests.ts';
import { startDrills, type Drills } from './operations/drills/drills.ts';
import { eventControl, type EventControl } from './operations/event-control.ts';
import { watchChildOutput } from './operations/logging/child-output.ts';
import { createLogging, type Logging } from './operations/logging/logging.ts';
import { registerLocalLoop, type LocalLoop } from './operations/manager.ts';
import { logTransition, refreshWaits, tellOfTransition, watchGaps, watchVerdict } from './operations/onlookers.ts';
import { goingOn } from './operations/schedule/busy.ts';
import { startSchedule, type Schedule } from './operations/schedule/schedule.ts';
import { entryOfTransition, startServer, type ServerHost } from './operations/server/host.ts';
import { dealWithFormerProcesses } from './orchestrator/former-processes.ts';
import { instanceOf, openProcessRecords } from './orchestrator/process-records.ts';
import { checkpointState, restoreState } from './orchestrator/restore.ts';
import { startSlots } from './orchestrator/start-slots.ts';
import { Supervisor } from './orchestrator/supervisor.ts';
import type { HistoryEntry } from './orchestrator/types.ts';
import { createAttribution } from './runtimes/attribution.ts';
import { InProcessRuntime, type ChildProcesses } from './runtimes/in-process.ts';
import type { Scope } from './runtimes/scope.ts';
import { realClock, SLACK_MS, type Clock } from './seams/clock.ts';
import { outputFiles } from './seams/output-files.ts';
import { realRandom, type Random } from './seams/random.ts';
import { realFileSystem } from './seams/real-file-system.ts';
import { realNetwork } from './seams/real-network.ts';
import { realSpawner } from './seams/real-spawner.ts';
import { environment, onSignal, onUncaught, ownPid, printError } from './seams/self.ts';
import { unixHttp } from './seams/unix-http.ts';
import { openFloor } from './training/stores/open-floor.ts';

export { daemonsWith, defineDaemon, seconds } from './daemons/definition.ts';
export { degraded, healthy, unhealthy, unknown } from './health/verdict.ts';
export { DaemonType, getDaemonManager, type DaemonManager } from './operations/manager.ts';
export type { MasterOptions };

const VERSION = '0.1.0';
/** Grows when the core decides differently from the same inputs; kept in every journal. */
const CORE_VERSION = '1';
const ROUTER = 'EVENT_ROUTER';
/** A scheduled recovery is reported as late after this. Milliseconds. */
const SCHEDULED_RECOVERY_MS = 10 * 60_000;

/** How often it is looked whether the data directory is still ours. Milliseconds. */
const LOCK_LOOK_MS = 1_000;

/** Signals kept before there is a loop: the first stops it, a second shortens that, and more say nothing more. */
const EARLY_SIGNALS_MAX = 2;

/** A running loop, held by the process that runs it. */
export interface Master extends LocalLoop {
  readonly port: number;
  readonly dataDir: string;
  /**
   * Everything is stopped and closed: 0, or 1 when it had to be because the data directory was taken away. The core failed:
   * 70, and child processes were left for the next start.
   */
  readonly ended: Promise<number>;
  /** Stops everything in order; a second call shortens it. */
  stop(reason: string): void;
}

/**
 * Starts the loop in this process.
 * @throws (rejects) FLEET_INVALID, DATA_DIR_HELD, DATA_DIR_UNUSABLE, SOCKET_PATH_TOO_LONG, PORT_TAKEN, JOURNAL_FORMAT,
 *   STORE_TOO_NEW …: nothing runs then
 */
export const startMaster = async (options: MasterOptions): Promise<Master> => {
  const dataDir = resolveDataDir(options.dataDir);
  const socket = controlSocketPath(dataDir); // refused now rather than after everything was opened
  const { fleet } = await loadFleet(fleetOptions(options, environment()));

  const closers: (() => unknown)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    return await compose(options, dataDir, socket, fleet, closers, closeAll);
  } catch (thrown) {
    await closeAll();
    throw thrown;
  }
};

const compose = async (
  options: MasterOptions,
  dataDir: string,
  socket: string,
  fleet: Fleet,
  closers: (() => unknown)[],
  closeAll: () => Promise<void>,
): Promise<Master> => {
  const clock = realClock();
  const random = realRandom();
  const files = realFileSystem();
  const network = realNetwork();

  // ---------------------------------------------------------------------------------------------- ours alone
  const lock = acquireLock({ dataDir, files, spawner: realSpawner({ instance: '' }), clock, pid: ownPid() });
  closers.push(() => lock.release());
  const instance = instanceOf(files, runFolder(dataDir), random);
  const logging = openLog(dataDir, options, clock);
  closers.push(() => logging.close());
  for (const { webhook } of fleet.alertSinks) logging.redact(webhook);
  for (const warning of fleet.warnings) logging.master.warn(warning);

  // ---------------------------------------------------------------------------------------------- the past
  const journalFolder = join(dataDir, 'journal');
  const journal = openJournal({
    folder: journalFolder,
    files,
    clock,
    fleetHash: fleet.hash,
    coreVersion: CORE_VERSION,
  });
  closers.push(() => journal.close());
  const restored = restoreState(journal.recovered);
  const ownOutput = outputPath(dataDir);
  const ownOutputs = files.exists(ownOutput) ? [ownOutput] : []; // there from the first when we run in the background
  const outputFileOf = (daemon: string, name: string): string => join(dataDir, 'logs', `${daemon}-${name}.log`);
  const processes = openProcessRecords({
    files,
    spawner: realSpawner({ instance }),
    clock,
    random,
    folder: runFolder(dataDir),
    instance,
    placeOf: (daemon, name) => ({
      cwd: join(dataDir, 'daemons', daemon, name),
      outputFile: outputFileOf(daemon, name),
    }),
    onTrouble: ({ message, remedy }) => logging.master.error(`${message}; ${remedy}`),
    onAttached: () => output.look(),
  });
  const output = watchChildOutput({
    clock,
    files: outputFiles(),
    live: () => [...processes.live().map(({ record }) => outputFileOf(record.daemon, record.name)), ...ownOutputs],
    log: logging.master,
  });
  closers.push(() => output.close());
  const former = await dealWithFormerProcesses(processes, fleet, restored);
  if (former.adopted + former.ended > 0)
    logging.master.info(`of an earlier master: ${former.adopted} processes adopted, ${former.ended} ended`);

  // ---------------------------------------------------------------------------------------------- shared services
  const attribution = createAttribution();
  closers.push(() => attribution.dispose());
  const types = new Set(fleet.daemons.map(({ type }) => type));
  const router = types.has(ROUTER) ? openRouter(dataDir, fleet, clock, random, logging) : null;
  if (router !== null) closers.push(() => (router.presence === 'away' ? undefined : router.stop()));
  const floor = fleet.daemons.some(({ definition }) => TRAINING_DAEMONS.includes(definition))
    ? await openFloor({ dataDir: join(dataDir, 'floor'), clock, network })
    : null;
  if (floor !== null) closers.push(() => floor.close());
  const inboxFolder = join(dataDir, 'inbox');
  files.makeFolder(inboxFolder);
  const control = unixHttp(socket);
  closers.push(() => control.close());

  // ---------------------------------------------------------------------------------------------- the fleet
  const graph = buildGraph(
    fleet.daemons.map(({ type, critical }) => ({ id: type, critical })),
    fleet.daemons.flatMap(({ edges }) => edges),
  );
  let server: ServerHost | null = null;
  let end: (code: number) => void = () => undefined;
  const over = new Promise<number>((resolve) => (end = resolve));

  /** A line in the history that no input of the core explains. */
  const remark = (kind: RemarkKind, daemon: string | null, message: string): void => {
    const [at, wallMs, data] = [clock.monotonicMs(), clock.wallMs(), { daemon, message }];
    const seq = journal.append({ kind, cause: null, data, at, wallMs });
    journal.flush();
    const entry = historyEntryOf({ seq, cause: null, kind, at, wallMs, data });
    if (entry !== null) server?.publish({ history: [entry] });
  };
  const fleetView: FleetView = {
    daemons: () => supervisor.members(),
    master: () => ({
      pid: ownPid(),
      port: server?.port ?? options.port,
      controlSocket: socket,
      lagMs: server?.lagMs() ?? 0,
    }),
    async ask(verb, daemon, reason) {
      const outcome = await supervisor.execute({ verb, daemons: [daemon], origin: 'daemon', reason, waitMs: 0 });
      return { accepted: outcome.ok, message: outcome.message };
    },
    report: (daemon, evidence) => supervisor.reportEvidence(daemon, evidence),
  };
  /** What a start gets beside the common context; each closes with it. */
  const servicesOf = (scope: Scope): Readonly<Record<string, unknown>> => ({
    ...(router === null ? {} : { router: scope.guardService(router), endRouterThread: () => router.crash() }),
    inboxFolder,
    controlGet: scope.guard(async (path: string, timeoutMs: number) => {
      const from = clock.monotonicMs();
      const { status, body } = await control.request({ method: 'GET', path, timeoutMs });
      return { status, body, ms: clock.monotonicMs() - from };
    }),
    ...(floor === null
      ? {}
      : scope.guardServices(floor.forDaemon(scope.daemon, scope.generation, () => scope.assertOpen()))),
  });
  const supervisor: Supervisor = new Supervisor(
    {
      fleet,
      clock,
      random,
      journal: loopJournal(journal, ({ message, remedy }) => logging.master.error(`${message}; ${remedy}`)),
      slots: startSlots(),
      priority: graph.pathLengths({}, 1),
      keeps: restored.keeps,
      operation: restored.operation,
      pid: ownPid(),
      runtime: (events) =>
        new InProcessRuntime({
          fleet,
          clock,
          random,
          files,
          network,
          attribution,
          log: (daemon) => logging.for(daemon),
          router,
          processes: processes satisfies ChildProcesses,
          fleetView,
          dataDirOf: (daemon) => {
            const folder = join(dataDir, 'daemons', daemon);
            files.makeFolder(folder);
            return folder;
          },
          services: servicesOf,
          events,
        }),
      processesOf: (daemon) =>
        processes.live(daemon).map(({ name, process }) => ({
          name,
          pid: process.identity.pid,
          isGone: () => process.groupIsGone(),
        })),
      onLeave: () => end(lock.stillHeld() ? EXIT.done : EXIT.failed),
      onFatal: (error, input) => {
        const last = `the core failed on an input of kind ${input.kind}: ${messageOf(error)}`;
        logging.master.critical(last, error instanceof Error ? { stack: error.stack } : {});
        remark('fatal', null, last);
        logging.flushNow();
        end(EXIT.coreFailed);
      },
      onSourceError: (source, error) =>
        logging.master.error(`the stream of ${source} failed and is begun again: ${messageOf(error)}`),
    },
    graph.order(),
  );
  closers.push(() => supervisor.dispose());

  // ---------------------------------------------------------------------------------------------- its server
  let unowned = 0;
  let alerts: Alerts | null = null;
  let drills: Drills | null = null;
  let schedule: Schedule | null = null;
  let events: EventControl | null = null;
  const beat = beatFigures({
    clock,
    router,
    floor: floor?.floor ?? null,
    logging,
    journal,
    gauges: () => ({
      uncaught_errors_unowned: unowned,
      ...alerts?.gauges(),
      ...drills?.gauges(),
      ...schedule?.gauges(),
    }),
    collections: () => ({
      ...supervisor.loop.collections(),
      ...server?.collections(),
      ...events?.collections(),
      ...(floor === null ? {} : { store_calls: floor.calls() }),
      ...output.collections(),
      ...alerts?.collections(),
      ...drills?.collections(),
    }),
  });
  closers.push(() => beat.close());
  const picture = {
    order: graph.order(),
    waves: graph.waves(),
    edges: fleet.daemons.flatMap(({ edges }) => edges),
    criticalPath: graph.criticalPath({}, 1).ids,
  };
  const started = await startServer({
    dataDir,
    journalFolder,
    port: options.port,
    bind: fleet.server.bind,
    version: VERSION,
    clock,
    snapshot: () => supervisor.snapshot(),
    graph: () => picture,
    statusOf: (daemon) => supervisor.statusOf(daemon),
    figures: () => beat.figures(),
    attribution: attribution.shared,
    names: fleet.daemons.map(({ type }) => type),
    log: (level, message) => logging.master[LOG_METHODS[level]](message),
  });
  server = started;
  closers.push(() => started.close());
  lock.announce(started.port);
  events = router === null ? null : eventControl(router, clock);
  closers.push(() => events?.close());
  const rehearsals = startDrills({
    supervisor,
    router,
    clock,
    files,
    dataDir,
    health: async () => (await control.request({ method: 'GET', path: '/health', timeoutMs: 2_000 })).status,
    log: logging.master,
  });
  drills = rehearsals;
  closers.push(() => rehearsals.close());
  started.onRequest(controlRequests({ supervisor, events, drills: rehearsals, logging }));
  started.onStall(({ durationMs, daemon }) => {
    const message = `the main loop was held for ${(durationMs / 1000).toFixed(1)} s by ${daemon ?? 'no daemon'}`;
    logging.master.error(message);
    remark('stall', daemon, message);
  });

  // ---------------------------------------------------------------------------------------------- who looks on
  const listeners = new Set<(entry: HistoryEntry) => void>();
  const loop: LocalLoop = {
    snapshot: () => supervisor.snapshot(),
    execute: (command) => supervisor.execute(command),
    onTransition(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  closers.push(registerLocalLoop(dataDir, loop));
  supervisor.onTouch((daemon) => started.touch(daemon));
  closers.push(refreshWaits(supervisor, clock, (daemon) => started.touch(daemon)));
  const verdict = watchVerdict(supervisor, clock, (now) => {
    started.publish({ verdict: now });
    logging.master.info(`the fleet is ${now}`);
  });
  closers.push(() => verdict.close());
  supervisor.onVerdict(() => verdict.look());
  supervisor.onTurn(({ transitions, operationChanged }) => {
    const history = transitions.map(entryOfTransition);
    if (history.length > 0) started.publish({ history });
    if (operationChanged) started.publish({ operation: supervisor.core.operation });
    for (const entry of history) {
      logTransition(logging, entry);
      for (const listener of listeners) listener(entry);
      if (router !== null) tellOfTransition(router, instance, entry, logging);
    }
    verdict.look();
    if (journal.checkpointDue()) journal.checkpoint(checkpointState(supervisor.core));
  });
  if (router !== null) closers.push(watchGaps(router, supervisor, logging));
  closers.push(
    onUncaught((error, kind) => {
      if (supervisor.runtime.uncaught(error)) return;
      unowned++;
      const stack = error instanceof Error ? { stack: error.stack } : {};
      logging.master.critical(`uncaught ${kind} that belongs to no daemon: ${messageOf(error)}`, stack);
    }),
  );

  alerts = startAlerts({
    fleet,
    supervisor,
    router,
    clock,
    network,
    log: logging.master,
    drill: () => rehearsals.busy(),
  });
  closers.push(() => alerts?.close());
  schedule = startSchedule({
    schedule: fleet.schedule,
    clock,
    async recover({ resetFailed, writtenAt }) {
      const reason = `schedule at ${writtenAt}`;
      return supervisor.execute({
        ...{ verb: 'recover', daemons: [], origin: 'schedule', reason, resetFailed },
        waitMs: SCHEDULED_RECOVERY_MS,
      });
    },
    drill: (entry) => rehearsals.onSchedule(entry),
    busy: () => rehearsals.busy() ?? goingOn(supervisor.core),
    log: logging.master,
  });
  closers.push(() => schedule?.close());

  const { name, profile, tempo, daemons } = fleet;
  logging.master.info(
    `fleet ${name}, profile ${profile}, tempo ${tempo}: ${daemons.length} daemons; pid ${ownPid()}, port ${started.port}, data in ${dataDir}`,
  );
  supervisor.boot();

  // Whoever removes the directory of a running master takes the lock away with it, and the next start would be a second
  // master. So this one goes, with all that it started: nobody could find those processes again.
  const look = clock.every(
    LOCK_LOOK_MS,
    () => {
      if (lock.stillHeld()) return;
      look.cancel();
      const reason = `${dataDir} was taken away from this master`;
      logging.master.critical(`${reason}: its lock is gone, and what is written there is lost; everything is stopped`);
      void supervisor.execute({ verb: 'shutdown', daemons: [], origin: 'signal', reason, waitMs: 0 });
    },
    { background: true, slackMs: SLACK_MS },
  );
  closers.push(() => look.cancel());

  const leave = async (code: number): Promise<number> => {
    if (code !== EXIT.coreFailed) {
      await processes.endAll(0);
      if (code === EXIT.done) journal.checkpoint(checkpointState(supervisor.core));
      logging.master.info('everything is stopped');
    }
    await closeAll();
    return code;
  };
  return {
    ...loop,
    port: started.port,
    dataDir,
    stop: (reason) => void supervisor.execute({ verb: 'shutdown', daemons: [], origin: 'signal', reason, waitMs: 0 }),
    ended: over.then(leave),
  };
};

/** Runs the loop until it was stopped, by a command or a signal; resolves with the exit code. */
export const runMaster = async (options: MasterOptions): Promise<number> => {
  let master: Master | null = null;
  /** Signals that came before there was anything to stop: heeded as soon as there is. */
  const early: string[] = [];
  const unhook = onSignal(['SIGINT', 'SIGTERM', 'SIGHUP'], (signal) => {
    if (master !== null) master.stop(signal);
    else if (early.length < EARLY_SIGNALS_MAX) early.push(signal);
  });
  try {
    master = await startMaster(options);
    for (const signal of early) master.stop(signal);
    return await master.ended;
  } finally {
    unhook();
  }
};

const LOG_METHODS = { DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error', CRITICAL: 'critical' } as const;

const openLog = (dataDir: string, { logLevel, console }: MasterOptions, clock: Clock): Logging =>
  createLogging({
    path: logPath(dataDir),
    level: logLevel,
    clock,
    files: realFileSystem(),
    ...(console ? { print: printError } : {}),
  });

/** The router's host, with every subscription of the fleet declared: nothing is lost because an emitter started first. */
const openRouter = (dataDir: string, fleet: Fleet, clock: Clock, random: Random, logging: Logging): RouterHost => {
  const router = createRouterHost({
    file: join(dataDir, 'events.db'),
    catalogue: RINGRIFT_EVENTS,
    clock,
    random,
    log: logging.for(ROUTER),
  });
  router.declare(
    fleet.daemons
      .filter(({ inProfile }) => inProfile)
      .flatMap(({ type, critical, definition }) =>
        definition.subscribes.map((topic) => ({
          subscriber: type,
          topic,
          critical,
          maxInFlight: definition.maxInFlight,
        })),
      ),
  );
  return router;
};

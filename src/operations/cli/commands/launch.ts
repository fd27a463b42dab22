/**
 * `launch_daemons`: the runbook's start, look and stop. It acts on the live loop of the data directory and never on a
 * private copy; when none runs, starting starts one in the background, and everything else says so.
 */
import { OrchestratorError } from '../../../errors.ts';
import { realFileSystem } from '../../../seams/real-file-system.ts';
import { realSpawner } from '../../../seams/real-spawner.ts';
import { connect, type ControlClient } from '../../client/index.ts';
import { flag, listOption, numberOption, type Call } from '../call.ts';
import { startInBackground } from '../detach.ts';
import { EXIT } from '../exit-codes.ts';
import { usageFault } from '../parse.ts';
import { actAndReport } from './acting.ts';
import { status } from './look.ts';
import { runningLoop } from '../running-loop.ts';

const WAIT_SECONDS = 300;
const GONE_ASK_EVERY_MS = 50;
/** The loop leaves right after its last daemon; longer than this is worth saying. */
const GONE_MS = 15_000;

type Job = 'all' | 'daemon' | 'profile' | 'status' | 'stop-all' | 'stop';

/** What was asked for: exactly one thing. `--profile` beside another job only says which profile. */
const jobOf = (call: Call): Job => {
  const jobs = (['all', 'daemon', 'status', 'stop-all', 'stop'] as const).filter(
    (name) => call.options[name] !== undefined,
  );
  const [job, other] = jobs;
  if (job !== undefined && other !== undefined)
    throw usageFault(`cannot do --${job} and --${other} at once`, 'run the command twice, in the order you mean');
  if (job !== undefined) return job;
  if (call.settings.profile !== null) return 'profile';
  throw usageFault(
    'cannot tell what to do: one of --all, --daemon, --profile, --status, --stop-all, --stop is needed',
    '"launch_daemons --all" starts everything; "launch_daemons --help" lists what there is',
  );
};

const waitMs = (call: Call): number => (flag(call, 'no-wait') ? 0 : numberOption(call, 'timeout', WAIT_SECONDS) * 1000);

/** The loop's answer says whose operator stop was lifted and which counters were cleared. */
const startProfile = (call: Call, client: ControlClient, daemons: readonly string[]): Promise<number> =>
  actAndReport(
    client,
    { verb: 'start-profile', daemons, origin: 'operator', reason: 'launch_daemons', waitMs: waitMs(call) },
    call.output,
  );

/** Daemons of a profile, hard dependencies included, as the running loop's fleet file has it. */
const daemonsOfProfile = async (call: Call, client: ControlClient, profile: string): Promise<readonly string[]> => {
  const { loadFleetFor } = await import('./fleet.ts');
  const { fleetFile, tempo, port } = await client.status();
  const fleet = await loadFleetFor(
    {
      fleetFile: call.settings.fleetFile ?? fleetFile,
      profile,
      tempo: tempo === 'standard' ? 'standard' : 'quick',
      port,
    },
    call.environment,
  );
  return fleet.daemons.filter(({ inProfile }) => inProfile).map(({ type }) => type);
};

/**
 * No loop runs: starts one in the background, and asks it like one that runs. A loop that comes back keeps its operator
 * stops, so starting the whole profile must be asked for and not only awaited.
 */
const startLoop = async (call: Call): Promise<number> => {
  const { settings, output, environment, clock } = call;
  const background = await startInBackground(settings, environment, clock);
  const { client, pid, port } = background;
  try {
    output.note(`no loop was running; started one in the background: pid ${pid}, port ${port}`);
    const daemons = listOption(call, 'daemon');
    const asked = daemons.length > 0 ? startNamed(call, client, daemons) : startProfile(call, client, []);
    return await Promise.race([asked, background.ended]);
  } finally {
    client.close();
    background.release();
  }
};

const startNamed = (call: Call, client: ControlClient, daemons: readonly string[]): Promise<number> =>
  actAndReport(
    client,
    { verb: 'start', daemons, origin: 'operator', reason: 'launch_daemons', waitMs: waitMs(call) },
    call.output,
  );

const start = async (call: Call, job: 'all' | 'daemon' | 'profile'): Promise<number> => {
  const { settings } = call;
  const client = await runningLoop(settings.dataDir);
  if (client === null) return startLoop(call);
  try {
    if (job === 'daemon') return await startNamed(call, client, listOption(call, 'daemon'));
    const { profile } = settings;
    return await startProfile(call, client, profile === null ? [] : await daemonsOfProfile(call, client, profile));
  } finally {
    client.close();
  }
};

/** Resolves once the loop no longer answers and has given its data directory back: `--stop-all` promises that it is gone. */
const untilGone = async (call: Call, pid: number): Promise<void> => {
  const { clock, settings } = call;
  const { liveHolder } = await import('../../../journal/holder.ts'); // no other command of a client needs it
  const files = realFileSystem();
  const spawner = realSpawner({ instance: '' });
  const isThere = async (): Promise<boolean> => {
    const client = await runningLoop(settings.dataDir).catch(() => null);
    client?.close();
    return client?.server.pid === pid || liveHolder(settings.dataDir, files, spawner)?.pid === pid;
  };
  for (const from = clock.monotonicMs(); clock.since(from) * 1000 < GONE_MS; await clock.sleep(GONE_ASK_EVERY_MS))
    if (!(await isThere())) return;
  call.output.note(`every daemon is stopped, but pid ${pid} is still there`);
};

const stopAll = async (call: Call): Promise<number> => {
  const client = await connect({ dataDir: call.settings.dataDir });
  const { pid } = client.server;
  try {
    const code = await actAndReport(
      client,
      { verb: 'shutdown', origin: 'operator', reason: 'launch_daemons --stop-all', waitMs: waitMs(call) },
      call.output,
    );
    if (code === EXIT.done && !flag(call, 'no-wait')) await untilGone(call, pid);
    return code;
  } catch (thrown) {
    // The loop may leave before its answer does; gone is what was asked for.
    if (!(thrown instanceof OrchestratorError) || !['NOT_RUNNING', 'NO_ANSWER'].includes(thrown.code)) throw thrown;
    if ((await runningLoop(call.settings.dataDir)) !== null) throw thrown;
    await untilGone(call, pid);
    const message = `stopped: pid ${pid} is gone`;
    if (call.output.json) call.output.printJson({ ok: true, code: 'done', message });
    else call.output.print(message);
    return EXIT.done;
  } finally {
    client.close();
  }
};

const stop = async (call: Call): Promise<number> => {
  const client = await connect({ dataDir: call.settings.dataDir });
  try {
    return await actAndReport(
      client,
      {
        verb: 'stop',
        daemons: listOption(call, 'stop'),
        origin: 'operator',
        reason: 'launch_daemons --stop',
        waitMs: waitMs(call),
      },
      call.output,
    );
  } finally {
    client.close();
  }
};

export const launch = async (call: Call): Promise<number> => {
  const job = jobOf(call);
  if (flag(call, 'watch') && job !== 'status')
    throw usageFault(
      'cannot use --watch here: it goes with --status',
      'run "launch_daemons --status --watch" afterwards',
    );
  switch (job) {
    case 'all':
    case 'daemon':
    case 'profile':
      return start(call, job);
    case 'status': {
      if (!flag(call, 'watch')) return status(call);
      const { attach } = await import('../watch/watch.ts');
      return attach(call);
    }
    case 'stop-all':
      return stopAll(call);
    case 'stop':
      return stop(call);
  }
};

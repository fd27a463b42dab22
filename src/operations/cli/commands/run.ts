/** The loop itself: in the foreground, in the background, or under the live view. */
import { OrchestratorError } from '../../../errors.ts';
import type { ControlClient } from '../../client/index.ts';
import { flag, type Call } from '../call.ts';
import { startInBackground } from '../detach.ts';
import { EXIT } from '../exit-codes.ts';
import { BACKGROUND_VARIABLE, loadMaster, masterOptions } from '../master.ts';
import { usageFault } from '../parse.ts';
import { runningLoop } from '../running-loop.ts';
import { reportWait, waitMsOf } from './look.ts';

/** A loop runs already where another was asked for. Exit 5. */
const alreadyRunning = (client: ControlClient): OrchestratorError =>
  new OrchestratorError('REFUSED', {
    message: `cannot start a second loop on ${client.dataDir}: pid ${client.server.pid} runs ${client.server.fleet} there, port ${client.server.port}`,
    remedy: 'use it ("master_loop status"), stop it ("launch_daemons --stop-all"), or choose another --data-dir',
    context: { pid: client.server.pid, port: client.server.port, dataDir: client.dataDir },
  });

const detach = async (call: Call): Promise<number> => {
  const { settings, output, environment, clock } = call;
  const running = await runningLoop(settings.dataDir);
  if (running !== null) {
    running.close();
    throw alreadyRunning(running);
  }
  const background = await startInBackground(settings, environment, clock);
  const { client, pid, port } = background;
  const place = { pid, port, dataDir: settings.dataDir };
  try {
    if (!flag(call, 'until-ready')) {
      if (output.json) output.printJson(place);
      else output.print(`pid ${pid}, port ${port}`);
      return EXIT.done;
    }
    if (!output.json) output.print(`pid ${pid}, port ${port}`);
    const report = await Promise.race([client.wait({ timeoutMs: waitMsOf(call) }), background.ended]);
    return reportWait(call, report, place);
  } finally {
    client.close();
    background.release();
  }
};

const checkOptions = (call: Call): void => {
  if (flag(call, 'watch') && flag(call, 'detach'))
    throw usageFault(
      'cannot use --watch and --detach together: one needs this terminal, the other leaves it',
      'run "master_loop --detach", then "master_loop --watch"',
    );
  const onlyDetached = ['until-ready', 'timeout'].find((name) => call.options[name] !== undefined);
  if (onlyDetached !== undefined && !flag(call, 'detach'))
    throw usageFault(
      `cannot use --${onlyDetached} in the foreground: it says when --detach returns`,
      `add --detach, or use "master_loop wait"`,
    );
};

export const run = async (call: Call): Promise<number> => {
  checkOptions(call);
  if (flag(call, 'detach')) return detach(call);
  if (flag(call, 'watch')) {
    const { watch } = await import('../watch/watch.ts');
    return watch(call);
  }
  const runMaster = await loadMaster(call.terminal);
  return runMaster(masterOptions(call.settings, call.environment[BACKGROUND_VARIABLE] === undefined));
};

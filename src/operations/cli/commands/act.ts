/** start, stop, restart, reset, recover: asked of the running loop, which alone decides; waits for the outcome. */
import { connect, type ActVerb } from '../../client/index.ts';
import { flag, numberOption, type Call } from '../call.ts';
import { actAndReport } from './acting.ts';

/** Seconds to wait for an outcome. A restart waits for everything that depends on it, a recovery for the whole fleet. */
const WAIT_SECONDS = 300;
const DRAIN_SECONDS = 10; // docs/contract.md "Commands"

export const act = async (call: Call): Promise<number> => {
  const verb = call.command.path[0] as ActVerb;
  const client = await connect({ dataDir: call.settings.dataDir });
  try {
    return await actAndReport(
      client,
      {
        verb,
        daemons: call.words['daemon'] ?? [],
        origin: 'operator',
        reason: `master_loop ${verb}`,
        waitMs: flag(call, 'no-wait') ? 0 : numberOption(call, 'timeout', WAIT_SECONDS) * 1000,
        ...(verb === 'recover'
          ? { drainMs: numberOption(call, 'drain-seconds', DRAIN_SECONDS) * 1000, resetFailed: true }
          : {}),
      },
      call.output,
    );
  } finally {
    client.close();
  }
};

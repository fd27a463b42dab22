/** Whether a loop runs on a data directory: the question that comes before starting one. */
import { OrchestratorError } from '../../errors.ts';
import { connect, type ControlClient } from '../client/index.ts';

/** The client of the loop that runs there, or null. Rejects when one is there but cannot be used. */
export const runningLoop = async (dataDir: string): Promise<ControlClient | null> => {
  try {
    return await connect({ dataDir });
  } catch (thrown) {
    if (thrown instanceof OrchestratorError && thrown.code === 'NOT_RUNNING') return null;
    throw thrown;
  }
};

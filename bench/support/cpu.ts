/**
 * Processor time of one thread, from the kernel: on a shared machine the figure that the neighbours disturb least, told
 * beside the wall clock.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Milliseconds that the main thread of this process has had a processor. */
export const mainThreadMs = (): number => Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[0]) / 1e6;

/** Nanoseconds on a processor of each thread of this process, by thread id. */
export const threadTimes = (): Map<string, number> =>
  new Map(
    readdirSync('/proc/self/task').map((tid) => {
      const [onCpu] = readFileSync(`/proc/self/task/${tid}/schedstat`, 'utf8').split(' ');
      return [tid, Number(onCpu)];
    }),
  );

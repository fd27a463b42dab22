/**
 * The live view where there is no screen (a pipe, a dumb terminal, a log collector): one line for each transition as it
 * happens and the fleet in one line now and then. With --json the same as one JSON object a line.
 */
import { messageOf } from '../../../errors.ts';
import { isoTime } from '../../../seams/plain-clock.ts';
import { onSignal } from '../../../seams/self.ts';
import { connect, type StatusReport } from '../../client/index.ts';
import type { Call } from '../call.ts';
import { EXIT } from '../exit-codes.ts';
import { stateCounts } from '../format/daemon-row.ts';
import { historyPieces } from '../format/history-line.ts';
import { operationText } from '../format/operation.ts';
import { paintLine } from '../format/paint.ts';
import { printable } from '../format/text.ts';

const SUMMARY_EVERY_MS = 30_000;
const LOOK_AGAIN_MS = 200;

/** `2026-11-23T21:04:07.000Z ringrift ready: 24 running, 2 waiting`. */
export const summaryLine = (status: StatusReport, nowMs: number): string => {
  const counts = stateCounts(status.daemons).map(({ state, count }) => `${count} ${state.toLowerCase()}`);
  const operation = operationText(status.operation, nowMs);
  const also = operation === null ? '' : `; ${operation}`;
  return `${isoTime(nowMs)} ${printable(status.fleet)} ${status.verdict}: ${counts.join(', ')}${also}`;
};

const follow = async (call: Call, stopped: AbortSignal): Promise<boolean> => {
  const { output, clock, settings } = call;
  const client = await connect({ dataDir: settings.dataDir }).catch(() => null);
  if (client === null) return false;
  let verdict: string | null = null;
  const summarise = async (always: boolean): Promise<void> => {
    const status = await client.status();
    if (!always && status.verdict === verdict) return;
    verdict = status.verdict;
    const { fleet, daemons, operation } = status;
    if (output.json) {
      const states = Object.fromEntries(daemons.map(({ type, state }) => [type, state]));
      const time = isoTime(clock.wallMs());
      output.print(JSON.stringify({ type: 'summary', time, fleet, verdict, operation, states }));
    } else
      output.print(
        paintLine([{ text: summaryLine(status, clock.wallMs()), tone: 'strong' }], output.cells, output.paint),
      );
  };
  const quietly = (work: Promise<void>): void => {
    work.catch(() => undefined); // the stream ends too when the loop is gone, and says it
  };
  const timer = clock.every(SUMMARY_EVERY_MS, () => quietly(summarise(true)), { background: true });
  try {
    await summarise(true);
    for await (const entry of client.stream({ signal: stopped })) {
      if (entry.from === null || entry.to === null) continue;
      if (output.json) output.print(JSON.stringify({ type: 'transition', ...entry }));
      else output.print(paintLine(historyPieces(entry), output.cells, output.paint));
      quietly(summarise(false));
    }
  } catch (thrown) {
    if (!stopped.aborted) output.note(messageOf(thrown));
  } finally {
    timer.cancel();
    client.close();
  }
  return true;
};

/** @param ended  the loop in this process, or null when it is another one */
export const watchPlainly = async (call: Call, ended: Promise<number> | null): Promise<number> => {
  const stopped = new AbortController();
  if (ended === null) {
    // Only looking: an interrupt ends the view and nothing else.
    const unhook = onSignal(['SIGINT', 'SIGTERM'], () => stopped.abort());
    await follow(call, stopped.signal);
    unhook();
    if (stopped.signal.aborted) return EXIT.interrupted;
    call.output.note('the loop has ended');
    return EXIT.notRunning;
  }
  const over = ended.finally(() => stopped.abort());
  over.catch(() => undefined); // awaited below
  while (!stopped.signal.aborted) {
    await follow(call, stopped.signal);
    await Promise.race([call.clock.sleep(LOOK_AGAIN_MS), over.catch(() => undefined)]);
  }
  return over;
};

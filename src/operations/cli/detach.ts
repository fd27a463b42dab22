/**
 * A loop in the background: our own program again, in a session of its own, with what it prints in
 * <data-dir>/logs/master.out. It has started when its control socket answers with its pid; if it ends before that, its
 * last words are the error.
 */
import { OrchestratorError } from '../../errors.ts';
import type { PlainClock } from '../../seams/plain-clock.ts';
import { programCommand } from '../../seams/entry.ts';
import { realFileSystem } from '../../seams/real-file-system.ts';
import { startDetached, type DetachedRun } from '../../seams/self.ts';
import { outputPath } from '../control-paths.ts';
import { connect, type ControlClient } from '../client/index.ts';
import type { Environment, Settings } from './call.ts';
import { BACKGROUND_VARIABLE } from './master.ts';

/** A loop opens its socket before the first daemon starts; a loaded machine may need this long to get there. */
const ANSWER_MS = 60_000;
const ASK_EVERY_MS = 50;
const LAST_LINES = 20;

const loopCommand = (settings: Settings): string[] =>
  programCommand('../../../scripts/master_loop.ts', import.meta.url, [
    ...(settings.fleetFile === null ? [] : ['--fleet', settings.fleetFile]),
    ...(settings.profile === null ? [] : ['--profile', settings.profile]),
    ...(settings.tempo === null ? [] : ['--tempo', settings.tempo]),
    ...['--data-dir', settings.dataDir, '--port', String(settings.port), '--log-level', settings.logLevel],
  ]);

const lastWords = (file: string, from: number): string => {
  try {
    const lines = Buffer.from(realFileSystem().read(file)).subarray(from).toString('utf8').trimEnd().split('\n');
    return lines.slice(Math.max(0, lines.length - LAST_LINES)).join('\n');
  } catch {
    return '';
  }
};

/** The loop in the background ended, or never answered. Its own exit code is kept. */
export const detachFailed = (how: string, file: string, words: string, exitCode: number | null): OrchestratorError =>
  new OrchestratorError('DETACH_FAILED', {
    message: `cannot start the loop in the background: ${how}${words === '' ? '' : `; its last words:\n${words}`}`,
    remedy: `see ${file}, or run it in the foreground with "master_loop"`,
    context: { output: file, exitCode },
  });

export interface Background {
  readonly client: ControlClient;
  readonly pid: number;
  readonly port: number;
  /** Rejects with DETACH_FAILED when the loop ends while we watch; never resolves. */
  readonly ended: Promise<never>;
  /** Stops watching it. */
  release(): void;
}

/** @throws DETACH_FAILED with the exit code of the loop in its context */
export const startInBackground = async (
  settings: Settings,
  environment: Environment,
  clock: PlainClock,
  command: readonly string[] = loopCommand(settings),
): Promise<Background> => {
  const file = outputPath(settings.dataDir);
  const run: DetachedRun = startDetached(command, file, { ...environment, [BACKGROUND_VARIABLE]: '1' });
  const ended = run.ended.then(({ code, signal }): never => {
    const how = signal === null ? `it ended with exit code ${code ?? 'unknown'}` : `it was ended by ${signal}`;
    throw detachFailed(how, file, lastWords(file, run.outputFrom), code);
  });
  ended.catch(() => undefined); // whoever awaits it hears it
  const answers = async (): Promise<ControlClient> => {
    for (const from = clock.monotonicMs(); clock.since(from) * 1000 < ANSWER_MS; await clock.sleep(ASK_EVERY_MS)) {
      const client = await connect({ dataDir: settings.dataDir }).catch(() => null);
      if (client?.server.pid === run.pid) return client;
      client?.close();
    }
    throw detachFailed(
      `pid ${run.pid} runs, but its control socket did not answer within ${ANSWER_MS / 1000} s`,
      file,
      lastWords(file, run.outputFrom),
      null,
    );
  };
  const client = await Promise.race([answers(), ended]);
  return { client, pid: run.pid, port: client.server.port, ended, release: run.release };
};

/**
 * Nodes that a user's own commands start: a cloud CLI, an ssh, a batch system.
 *
 * Three argument lists, run without a shell, with `{nodeId}`, `{runId}`, `{pool}`, `{folder}`, `{configFile}` and
 * `{answerFile}` filled in. `start` has to bring up the node program with that configuration and to write the node's
 * announcement (the `node.json` that the node itself writes, with a `url` this machine can reach) to the answer file;
 * exit 0 before the answer is fine, any other exit is a failed start. `check` exits 0 while the node lives and 1 when it is
 * gone. `stop` ends it and must be repeatable.
 */
import { join } from 'node:path';
import { OrchestratorError } from '../../errors.ts';
import type { NodeRow } from '../floor.ts';
import {
  announcementOf,
  isFailure,
  nodeNotStarted,
  waitFor,
  writeNodeConfig,
  type NodeProvider,
  type ProviderWorld,
} from './provider.ts';

export interface ExecCommands {
  readonly start: readonly string[];
  readonly check?: readonly string[];
  readonly stop: readonly string[];
}

const CHECK_MS = 30_000;
const END_MS = 5_000;
const GONE = 1;

const commandFailed = (node: NodeRow, verb: string, reason: string): OrchestratorError =>
  new OrchestratorError('NODE_NOT_STARTED', {
    message: `cannot ${verb} node ${node.nodeId} by the command of provider ${node.provider}: ${reason}`,
    remedy: `run that command by hand; its output is in the output file of process ${node.nodeId}-${verb}`,
    context: { nodeId: node.nodeId, runId: node.runId, verb, reason },
  });

export const execProvider = (world: ProviderWorld, name: string, commands: ExecCommands): NodeProvider => {
  const answerFile = (node: NodeRow): string => join(node.folder, `answer-${node.runId}.json`);
  const filled = (command: readonly string[], node: NodeRow): string[] => {
    const values: Readonly<Record<string, string>> = {
      nodeId: node.nodeId,
      runId: node.runId,
      pool: node.pool,
      folder: node.folder,
      configFile: join(node.folder, 'config.json'),
      answerFile: answerFile(node),
    };
    return command.map((word) => word.replaceAll(/\{(\w+)\}/g, (whole, key: string) => values[key] ?? whole));
  };

  /** Runs one command to its end. @returns its exit code; a signal counts as -1 */
  const run = async (verb: string, command: readonly string[], node: NodeRow, timeoutMs: number): Promise<number> => {
    const child = await world.spawn({ name: `${node.nodeId}-${verb}`, command: filled(command, node) });
    let code: number | null = null;
    void child.process.exited.then((exit) => (code = exit.code ?? -1));
    const outcome = await waitFor(
      world,
      timeoutMs,
      () => (code === null ? null : { code }),
      () => null,
    );
    if (!isFailure(outcome)) return outcome.code;
    await world.endProcess(child, END_MS);
    throw commandFailed(node, verb, `it ran longer than ${timeoutMs / 1000} s`);
  };

  return {
    name,

    async start(node, settings) {
      const known = announcementOf(world.files, node, answerFile(node));
      if (known !== null) return known;
      writeNodeConfig(world, node, settings);
      const child = await world.spawn({ name: `${node.nodeId}-start`, command: filled(commands.start, node) });
      let failure: string | null = null;
      void child.process.exited.then(({ code, signal }) => {
        if (code !== 0)
          failure =
            signal === null
              ? `its command exited with code ${code ?? 'unknown'}`
              : `its command was ended by ${signal}`;
      });
      const outcome = await waitFor(
        world,
        settings.startMs,
        () => announcementOf(world.files, node, answerFile(node)),
        () => failure,
      );
      if (!isFailure(outcome)) return outcome;
      await world.endProcess(child, END_MS);
      await run('stop', commands.stop, node, CHECK_MS); // it may have come up and failed to say so; it would cost money unseen
      throw nodeNotStarted(
        node,
        outcome.failure,
        `the start command must write the announcement to {answerFile}; see the output file of process ${node.nodeId}-start`,
      );
    },

    async alive(node) {
      if (commands.check === undefined) return null;
      const code = await run('check', commands.check, node, CHECK_MS);
      return code === 0 ? true : code === GONE ? false : null;
    },

    async stop(node, graceMs) {
      const code = await run('stop', commands.stop, node, Math.max(graceMs, CHECK_MS));
      if (code !== 0) throw commandFailed(node, 'stop', `it exited with code ${code}`);
      world.files.remove(answerFile(node));
    },
  };
};

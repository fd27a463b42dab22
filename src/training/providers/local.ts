/**
 * Nodes as child processes of this machine: `node.ts` in the node's folder, on low priority, recorded by the master.
 *
 * The process is named after the node, not the run: one folder, one process, and a second start while the first still
 * lives is refused where processes are recorded. It survives a restart of the daemon that started it; the next start
 * finds it by name and knows its run by what it announced.
 */
import { nodeCommand } from '../programs/protocol.ts';
import {
  announcementOf,
  isFailure,
  nodeNotStarted,
  waitFor,
  watchExit,
  writeNodeConfig,
  type NodeProvider,
  type ProviderWorld,
} from './provider.ts';
import type { NodeRow } from '../floor.ts';

const END_MS = 5_000;

/** @param command  argv for a node's folder; another one only in tests */
export const localProvider = (
  world: ProviderWorld,
  command: (folder: string) => string[] = nodeCommand,
): NodeProvider => {
  const processOf = (node: NodeRow) =>
    world.spawned().find(({ name, process }) => name === node.nodeId && !process.groupIsGone());

  return {
    name: 'local',

    async start(node, settings) {
      const running = processOf(node);
      if (running !== undefined) {
        const announced = announcementOf(world.files, node);
        if (announced?.pid === running.process.identity.pid) return announced;
        await world.endProcess(running, END_MS); // of an older run: its folder is needed, its games stay
      }
      writeNodeConfig(world, node, settings);
      const child = await world.spawn({
        name: node.nodeId,
        command: command(node.folder),
        survives: true,
        ...(settings.nice === undefined ? {} : { nice: settings.nice }),
      });
      const outcome = await waitFor(
        world,
        settings.startMs,
        () => announcementOf(world.files, node),
        watchExit(child.process),
      );
      if (!isFailure(outcome)) return outcome;
      await world.endProcess(child, END_MS);
      throw nodeNotStarted(
        node,
        outcome.failure,
        `read the output file of process ${node.nodeId}; its folder ${node.folder} keeps its games`,
      );
    },

    alive: (node) => Promise.resolve(processOf(node) !== undefined),

    async stop(node, graceMs) {
      const running = processOf(node);
      if (running !== undefined) await world.endProcess(running, graceMs);
    },
  };
};

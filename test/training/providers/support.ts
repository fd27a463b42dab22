/** The part of a daemon's context that providers use, over real processes, all of which are gone after a test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realClock } from '../../../src/seams/clock.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import { realSpawner } from '../../../src/seams/real-spawner.ts';
import type { NodeRow } from '../../../src/training/floor.ts';
import type { ProviderWorld, SpawnedNode } from '../../../src/training/providers/provider.ts';

export interface TestWorld extends ProviderWorld {
  readonly folder: string;
  readonly outputs: string[];
  close(): Promise<void>;
}

export const testWorld = (): TestWorld => {
  const folder = mkdtempSync(join(tmpdir(), 'provider-'));
  const spawner = realSpawner({ instance: folder });
  const clock = realClock();
  const live: SpawnedNode[] = [];
  const outputs: string[] = [];
  const world: TestWorld = {
    folder,
    outputs,
    clock,
    files: realFileSystem(),
    signal: new AbortController().signal,
    endpointsFile: join(folder, 'endpoints.json'),
    async spawn({ name, command, env, nice }) {
      const outputFile = join(folder, `${name}.log`);
      outputs.push(outputFile);
      const process = await spawner.spawn({
        command,
        cwd: folder,
        outputFile,
        ...(env === undefined ? {} : { env }),
        ...(nice === undefined ? {} : { nice }),
      });
      const child = { name, process };
      live.push(child);
      return child;
    },
    spawned: () => live.filter(({ process }) => !process.groupIsGone()),
    async endProcess({ process }, graceMs = 2000) {
      process.signalGroup('SIGTERM');
      const until = clock.monotonicMs() + graceMs;
      while (!process.groupIsGone()) {
        if (clock.monotonicMs() > until) process.signalGroup('SIGKILL');
        await clock.sleep(10);
      }
    },
    async close() {
      for (const child of world.spawned()) await world.endProcess(child, 500);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return world;
};

export const nodeRow = (world: TestWorld, more: Partial<NodeRow> = {}): NodeRow => ({
  nodeId: 'local-1',
  runId: 'local-1-r1',
  pool: 'local',
  provider: 'local',
  state: 'starting',
  folder: join(world.folder, 'nodes', 'local-1'),
  url: null,
  pid: null,
  storeId: null,
  pricePerHour: 0,
  runSeconds: 0,
  seenSeconds: null,
  hasClaimed: false,
  reason: null,
  ...more,
});

/** A node that only announces itself, and does nothing until it is ended. */
export const ANNOUNCING = `
  const { readFileSync, writeFileSync } = require('node:fs');
  const { join } = require('node:path');
  const folder = process.argv[1];
  const { nodeId, runId } = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  const announcement = { version: 1, nodeId, runId, pid: process.pid, url: 'http://127.0.0.1:1', storeId: 's1' };
  writeFileSync(join(folder, 'node.json'), JSON.stringify(announcement));
  setInterval(() => {}, 1000);
`;
export const programOf =
  (source: string) =>
  (folder: string): string[] => [process.execPath, '-e', source, folder];

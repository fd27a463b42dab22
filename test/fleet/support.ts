/** Fleet files of a few lines, loaded from a disk in memory with built-ins made up for the tests. */
import { dirname } from 'node:path';
import { z } from 'zod';
import { defineDaemon, seconds, type DaemonDefinition } from '../../src/daemons/definition.ts';
import { faultsOf, type FleetFault } from '../../src/fleet/faults.ts';
import { definitionsByName, loadFleet, type LoadedFleet, type LoadFleetOptions } from '../../src/fleet/load.ts';
import type { DaemonSpec } from '../../src/fleet/types.ts';
import { simulatedFileSystem, type SimulatedFileSystem } from '../../src/simulation/simulated-file-system.ts';

const create = (): object => ({});

/**
 *   EVENT_ROUTER ◄─ DATA_PIPELINE ◄─ AUTO_SYNC ◄┄order┄ FEEDBACK_LOOP      OLD_SYNC is deprecated: AUTO_SYNC
 *                        ▲┄┄┄┄┄┄┄soft┄┄┄┄┄┄┄┄ DATA_SERVER (has a port)     ONE_SHOT completes
 */
export const BUILT_IN: readonly DaemonDefinition[] = [
  defineDaemon({
    type: 'EVENT_ROUTER',
    purpose: 'bus',
    category: 'event',
    critical: true,
    healthPeriodSeconds: 15,
    create,
  }),
  defineDaemon({
    type: 'DATA_PIPELINE',
    purpose: 'stages',
    category: 'pipeline',
    critical: true,
    dependsOn: ['EVENT_ROUTER'],
    recoveryTargetSeconds: 10,
    healthPeriodSeconds: 15,
    config: z.strictObject({
      periodSeconds: seconds(300),
      breaker: z.strictObject({ failures: z.int().min(1).default(3), label: z.string().default('') }).prefault({}),
      rows: z.array(z.strictObject({ id: z.string(), weight: z.number().max(10) })).default([]),
      verbose: z.boolean().default(false),
    }),
    quick: { periodSeconds: 5 },
    create,
  }),
  defineDaemon({
    type: 'AUTO_SYNC',
    purpose: 'mover',
    category: 'sync',
    critical: true,
    dependsOn: ['EVENT_ROUTER', 'DATA_PIPELINE'],
    create,
  }),
  defineDaemon({
    type: 'FEEDBACK_LOOP',
    purpose: 'feedback',
    category: 'feedback',
    dependsOn: ['EVENT_ROUTER', { on: 'AUTO_SYNC', kind: 'order' }],
    create,
  }),
  defineDaemon({
    type: 'DATA_SERVER',
    purpose: 'files',
    category: 'distribution',
    dependsOn: [{ on: 'DATA_PIPELINE', kind: 'soft' }],
    healthPeriodSeconds: 60,
    config: z.strictObject({ port: z.int().default(8766) }),
    create,
  }),
  defineDaemon({ type: 'OLD_SYNC', purpose: '', category: 'sync', deprecated: { successor: 'AUTO_SYNC' }, create }),
  defineDaemon({ type: 'NEEDS_OLD', purpose: '', category: 'sync', dependsOn: ['OLD_SYNC'], create }),
  defineDaemon({ type: 'ONE_SHOT', purpose: '', category: 'test', oneShot: true, create }),
];

export const FILE = '/fleets/fleet.yaml';

export interface World {
  readonly disk: SimulatedFileSystem;
  readonly options: LoadFleetOptions;
}

/** Modules by file name: what importing them gives, or an Error that it throws. */
export const worldOf = (
  over: Partial<LoadFleetOptions> = {},
  onDisk: Readonly<Record<string, string | Uint8Array>> = {},
  modules: Readonly<Record<string, unknown>> = {},
): World => {
  const disk = simulatedFileSystem({ trace: false });
  disk.makeFolder(dirname(FILE));
  for (const [name, content] of Object.entries(onDisk)) disk.writeAtomically(`/fleets/${name}`, content);
  for (const name of Object.keys(modules)) disk.writeAtomically(`/fleets/${name}`, `// ${name}`);
  const importModule = async (path: string): Promise<unknown> => {
    const loaded = modules[path.replace('/fleets/', '')];
    if (loaded instanceof Error) throw loaded;
    return loaded;
  };
  const options: LoadFleetOptions = {
    file: FILE,
    definitions: definitionsByName(BUILT_IN),
    tempo: 'standard',
    env: {},
    files: disk,
    importModule,
    ...over,
  };
  return { disk, options };
};

export const load = (text: string, over: Partial<LoadFleetOptions> = {}): Promise<LoadedFleet> =>
  loadFleet(worldOf({ text, ...over }).options);

/** The faults of a load that must fail; any other error, and success, fail the test. */
export const faultsFrom = async (loading: Promise<unknown>): Promise<readonly FleetFault[]> => {
  try {
    await loading;
  } catch (error) {
    const faults = faultsOf(error);
    if (faults === null) throw error;
    return faults;
  }
  throw new Error('it loaded, and should have been refused');
};

export const faultsIn = (text: string, over: Partial<LoadFleetOptions> = {}): Promise<readonly FleetFault[]> =>
  faultsFrom(load(text, over));

/** `line:column message` of each, for whole-list comparisons. */
export const brief = (faults: readonly FleetFault[]): string[] =>
  faults.map(({ line, column, message }) => `${line}:${column} ${message}`);

export const specIn = ({ fleet }: LoadedFleet, type: string): DaemonSpec => {
  const spec = fleet.daemons.find((one) => one.type === type);
  if (spec === undefined) throw new Error(`the fleet has no ${type}`);
  return spec;
};

export const edgeOf = (loaded: LoadedFleet, from: string, on: string) =>
  specIn(loaded, from).edges.find((edge) => edge.on === on);

/** A file around some lines under `daemons:`; they begin at line 4. */
export const withDaemons = (...lines: string[]): string =>
  ['version: 1', 'name: test', 'daemons:', ...lines.map((line) => `  ${line}`), ''].join('\n');

export const SPINE = [
  'EVENT_ROUTER: { uses: event-router }',
  'DATA_PIPELINE: { uses: data-pipeline }',
  'AUTO_SYNC: { uses: auto-sync }',
];

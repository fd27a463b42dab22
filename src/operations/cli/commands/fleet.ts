/**
 * The fleet that the options name, loaded as the loop would load it: for `plan boot`, `validate` and profiles. It is
 * loaded only by commands that look into the file, since schemas and definitions cost more than a client command may.
 */
import { pathToFileURL } from 'node:url';
import { RINGRIFT_DAEMONS } from '../../../daemons/index.ts';
import { RINGRIFT_EVENTS } from '../../../events/catalogue.ts';
import { definitionsByName, loadFleet, type LoadFleetOptions } from '../../../fleet/load.ts';
import type { Fleet } from '../../../fleet/types.ts';
import { realFileSystem } from '../../../seams/real-file-system.ts';
import { TEMPO_DEFAULT, type Environment, type Settings } from '../call.ts';
import { fleetFileOf } from '../fleet-file.ts';

export type FleetSettings = Pick<Settings, 'fleetFile' | 'profile' | 'tempo' | 'port'>;

export const fleetOptions = (settings: FleetSettings, environment: Environment): LoadFleetOptions => {
  const files = realFileSystem();
  return {
    file: fleetFileOf(settings.fleetFile, files),
    definitions: definitionsByName(RINGRIFT_DAEMONS),
    profile: settings.profile,
    tempo: settings.tempo ?? TEMPO_DEFAULT,
    env: environment,
    files,
    importModule: (path) => import(pathToFileURL(path).href),
    healthPort: settings.port,
    catalogue: RINGRIFT_EVENTS,
  };
};

/** @throws FLEET_INVALID with every fault */
export const loadFleetFor = async (settings: FleetSettings, environment: Environment): Promise<Fleet> =>
  (await loadFleet(fleetOptions(settings, environment))).fleet;

/** Which fleet file is meant when nobody named one: ./fleet.yaml, else the bundled RingRift fleet. */
import { join } from 'node:path';
import { packageRoot } from '../../seams/entry.ts';
import type { FileSystem } from '../../seams/file-system.ts';
import { workingFolder } from '../../seams/self.ts';

export const bundledFleet = (): string => join(packageRoot(), 'fleets', 'ringrift.yaml');

export const fleetFileOf = (named: string | null, files: Pick<FileSystem, 'exists'>): string => {
  if (named !== null) return named;
  const here = join(workingFolder(), 'fleet.yaml');
  return files.exists(here) ? here : bundledFleet();
};

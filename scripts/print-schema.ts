/** Writes fleets/fleet.schema.json from the schema of the loader and the configs of the built-in daemons. */
import { join } from 'node:path';
import { RINGRIFT_DAEMONS } from '../src/daemons/index.ts';
import { fleetJsonSchemaText } from '../src/fleet/json-schema.ts';
import { packageRoot } from '../src/seams/entry.ts';
import { realFileSystem } from '../src/seams/real-file-system.ts';

const file = join(packageRoot(), 'fleets', 'fleet.schema.json');
realFileSystem().writeAtomically(file, fleetJsonSchemaText(RINGRIFT_DAEMONS));
process.stdout.write(`${file}\n`);

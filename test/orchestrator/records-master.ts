/** A master in small: it starts two recorded children, one of which starts more, and waits to be killed. */
import { join } from 'node:path';
import { openProcessRecords } from '../../src/orchestrator/process-records.ts';
import { realClock } from '../../src/seams/clock.ts';
import { realRandom } from '../../src/seams/random.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { realSpawner } from '../../src/seams/real-spawner.ts';

const [root, instance] = process.argv.slice(2) as [string, string];
const clock = realClock();
const records = openProcessRecords({
  files: realFileSystem(),
  spawner: realSpawner({ instance }),
  clock,
  random: realRandom(),
  folder: join(root, 'run'),
  instance,
  placeOf: (daemon, name) => ({ cwd: join(root, daemon, name), outputFile: join(root, 'logs', `${name}.log`) }),
});
await records.spawn('D', 1, { name: 'plain', command: ['sleep', '60'] });
await records.spawn('D', 1, {
  name: 'stubborn',
  command: ['sh', '-c', 'trap "" TERM; setsid sleep 60 & sleep 60 & wait; wait'],
});
clock.after(50, () => process.stdout.write('begun\n'));
clock.after(60_000, () => process.exit(1));

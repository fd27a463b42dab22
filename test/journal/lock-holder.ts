/** A program that takes a data directory and keeps it until it is killed. */
import { acquireLock } from '../../src/journal/lock.ts';
import { realClock } from '../../src/seams/clock.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { realSpawner } from '../../src/seams/real-spawner.ts';

const clock = realClock();
acquireLock({
  dataDir: process.argv[2] as string,
  files: realFileSystem(),
  spawner: realSpawner({ instance: 'test-lock' }),
  clock,
  pid: process.pid,
});
process.stdout.write('held\n');
clock.after(60_000, () => process.exit(1));

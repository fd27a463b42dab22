/** A process that has no file descriptor left asks its seams what it can, and says what they answered. */
import { closeSync, openSync } from 'node:fs';
import { messageOf } from '../../src/errors.ts';
import { ownUsage } from '../../src/seams/own-usage.ts';
import { portOwner } from '../../src/seams/port-owner.ts';
import { realNetwork } from '../../src/seams/real-network.ts';
import { realSpawner } from '../../src/seams/real-spawner.ts';

const network = realNetwork();
const spawner = realSpawner({ instance: 'out-of-files' });
const told = async (work: () => unknown): Promise<string> => {
  try {
    return `answered ${JSON.stringify(await work())}`;
  } catch (thrown) {
    return `${String((thrown as { code?: unknown }).code)}: ${messageOf(thrown)}`;
  }
};
const look = async (): Promise<Record<string, string>> => ({
  openFiles: await told(() => ownUsage().openFiles),
  residentBytes: (await told(() => ownUsage().residentBytes)).replace(/\d+/, 'some'),
  maxFiles: await told(() => ownUsage().maxFiles),
  portOwner: await told(() => portOwner(1)),
  freePort: (await told(() => network.freePort())).replace(/answered \d+/, 'answered a port'),
  identify: (await told(() => spawner.identify(process.pid))).replace(/answered \{.*/, 'answered'),
});

await look(); // whatever is loaded late is loaded now
const taken: number[] = [];
try {
  for (;;) taken.push(openSync('/dev/null', 'r'));
} catch {
  // None is left.
}
const without = await look();
for (const descriptor of taken) closeSync(descriptor);
process.stdout.write(JSON.stringify({ without, again: await look() }));

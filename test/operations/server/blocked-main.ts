/**
 * A program with a control plane whose main loop can be blocked: a line `block MILLISECONDS INDEX` on its input holds the
 * loop that long, as daemon INDEX. Prints one JSON line per thing that happens. The limits are less than a third of the shipped ones.
 */
import { createInterface } from 'node:readline';
import { DEFAULT_LIMITS } from '../../../src/operations/server/protocol.ts';
import { startServer } from '../../../src/operations/server/host.ts';
import { serverOptions } from './fleet.ts';

const say = (what: string, more: object = {}): void => {
  process.stdout.write(`${JSON.stringify({ what, ...more })}\n`);
};

const attribution = new SharedArrayBuffer(4);
const running = new Int32Array(attribution);
running[0] = -1;

const host = await startServer(
  serverOptions(process.argv[2] as string, undefined, {
    attribution,
    limits: { ...DEFAULT_LIMITS, stalledAfterMs: 600, acknowledgeMs: 600 },
  }),
);
host.onRequest(async (request) => {
  say('handled', { kind: request.kind });
  return { ok: true, body: { id: 'x', ok: true, code: 'done', message: 'done' } };
});
host.onStall((stall) => say('stall', stall));
say('listening', { port: host.port });

createInterface({ input: process.stdin }).on('line', (line) => {
  const [, milliseconds, index] = line.split(' ').map(Number);
  running[0] = index as number;
  say('blocked');
  const end = performance.now() + (milliseconds as number);
  while (performance.now() < end);
  running[0] = -1;
  say('awake');
});

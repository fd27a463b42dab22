/**
 * The thread that owns every store of the floor: one writer, calls in the order they came, the main loop free.
 *
 * It holds no truth of its own. It can be terminated in the middle of a transaction, and the next one opens the same
 * files and finds each call done or not done.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { invariant } from '../../errors.ts';
import { realFileSystem } from '../../seams/real-file-system.ts';
import type { Now } from './database.ts';
import { openStores, SERVICES, type OpenStores } from './services.ts';
import { toWire, type StoreReply, type StoreRequest, type StoreThreadData } from './store-protocol.ts';

const port = parentPort;
if (port === null) throw invariant('the store thread was started as a program');

const { dataDir, now: bornAt } = workerData as StoreThreadData;
let present: Now = bornAt;
const reply = (message: StoreReply): void => port.postMessage(message);

const open = (): OpenStores | null => {
  try {
    return openStores(dataDir, realFileSystem(), () => present);
  } catch (thrown) {
    reply({ kind: 'not-opened', error: toWire(thrown) });
    return null;
  }
};

const stores = open();
if (stores === null) port.close();
else {
  port.on('message', (request: StoreRequest) => {
    if (request.kind === 'close') {
      stores.close();
      port.close();
      return;
    }
    present = request.now;
    try {
      const service: object = stores.services[request.service];
      const listed: readonly string[] = SERVICES[request.service];
      const method: unknown = listed.includes(request.method) ? Reflect.get(service, request.method) : undefined;
      if (typeof method !== 'function') throw invariant(`the floor has no ${request.service}.${request.method}`);
      reply({ kind: 'result', id: request.id, value: Reflect.apply(method, service, request.args) as unknown });
    } catch (thrown) {
      reply({ kind: 'error', id: request.id, error: toWire(thrown) });
    }
  });
  reply({ kind: 'opened' });
}

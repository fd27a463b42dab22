import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { unixHttp } from '../../src/seams/unix-http.ts';

/** A server in a thread of its own, so that it goes on while this one stands still; it soon drops an idle connection. */
const SERVER = `
  const { createServer } = require('node:http');
  const { parentPort, workerData } = require('node:worker_threads');
  createServer((request, response) => {
    request.resume();
    response.on('finish', () => setTimeout(() => request.socket.destroy(), 100));
    response.end('here');
  }).listen(workerData, () => parentPort.postMessage('listening'));
`;

describe('HTTP over a Unix socket', () => {
  let folder: string;
  let server: Worker;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ml-uh-'));
    server = new Worker(SERVER, { eval: true, workerData: join(folder, 's') });
    await new Promise((resolve) => server.once('message', resolve));
  });
  afterEach(async () => {
    await server.terminate();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const method of ['GET', 'POST'] as const)
    it(`a ${method} after this process stood still goes to no connection that the server dropped meanwhile`, async () => {
      const client = unixHttp(join(folder, 's'));
      const ask = async (): Promise<string> => (await client.request({ method, path: '/', timeoutMs: 5_000 })).body;
      try {
        expect(await ask()).to.equal('here');
        await new Promise((resolve) => setTimeout(resolve, 5)); // a connection that is kept is free by now
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
        expect(await ask()).to.equal('here');
      } finally {
        client.close();
      }
    });
});

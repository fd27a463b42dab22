import { expect } from 'chai';
import { appendFileSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OrchestratorError } from '../../../src/errors.ts';
import { connect, exitCodeOf, type ControlClient } from '../../../src/operations/client/index.ts';
import { controlSocketPath, logPath } from '../../../src/operations/control-paths.ts';
import { startServer, type ServerHost } from '../../../src/operations/server/host.ts';
import type { ControlRequest, HistoryEntry } from '../../../src/operations/server/protocol.ts';
import { daemon, entry, serverOptions, temporaryDataDir } from '../server/fleet.ts';

const rejection = async (promise: Promise<unknown>): Promise<OrchestratorError> => {
  try {
    await promise;
  } catch (thrown) {
    expect(thrown).to.be.instanceOf(OrchestratorError);
    return thrown as OrchestratorError;
  }
  throw new Error('it was not rejected');
};

describe('the client', function () {
  this.timeout(20_000);

  describe('of a running loop', () => {
    const dataDir = temporaryDataDir();
    let host: ServerHost;
    let client: ControlClient;
    let handled: ControlRequest[];

    before(async () => {
      host = await startServer(serverOptions(dataDir.path));
      client = await connect({ dataDir: dataDir.path });
    });
    beforeEach(() => {
      handled = [];
      host.onRequest(async (request) => {
        handled.push(request);
        return { ok: true, body: { id: 'x', ok: true, code: 'done', message: 'done' } };
      });
    });
    after(async () => {
      client.close();
      await host.close();
      dataDir.remove();
    });

    it('knows whom it talks to', () =>
      expect(client.server).to.include({ fleet: 'test', pid: process.pid, port: host.port }));

    it('reads all there is to read', async () => {
      expect((await client.status()).daemons).to.have.length(3);
      expect(await client.health()).to.include({ status: 'ok' });
      expect(await client.ready()).to.include({ ready: true });
      expect(await client.metrics()).to.contain('master_loop_daemon_state');
      expect((await client.graph()).nodes).to.have.length(3);
      expect(await client.daemon('AUTO_SYNC')).to.include({ type: 'AUTO_SYNC' });
      expect(await client.why('AUTO_SYNC')).to.include({ daemon: 'AUTO_SYNC', stall: null });
      expect(await client.history({ limit: 5 })).to.deep.equal([]);
      expect(await client.plan('boot')).to.have.property('order');
      expect(await client.wait({ timeoutMs: 10 })).to.include({ ended: 'ready' });
    });

    it('takes a 503 of health and ready for an answer, not for a failure', async () => {
      host.publish({ daemons: [daemon('AUTO_SYNC', { state: 'FAILED' })] });
      while ((await client.health()).status === 'ok');
      expect(await client.ready()).to.deep.include({ ready: false, notReady: ['AUTO_SYNC'] });
      host.touch('AUTO_SYNC');
      while ((await client.health()).status !== 'ok');
    });

    it('hands acts and verbs over with all they say', async () => {
      expect(await client.act({ verb: 'recover', drainMs: 1, waitMs: 5 })).to.include({ code: 'done' });
      await client.plan('restart', ['AUTO_SYNC', 'ELO_SYNC']);
      await client.logLevel('DEBUG');
      await client.events('publish', { topic: 'X' });
      await client.drills('run', { drill: 'router-loss' });
      expect(handled[0]).to.have.nested.property('act.drainMs', 1);
      expect(handled.slice(1)).to.deep.equal([
        { kind: 'plan', verb: 'restart', daemons: ['AUTO_SYNC', 'ELO_SYNC'] },
        { kind: 'log-level', level: 'DEBUG' },
        { kind: 'events', verb: 'publish', arguments: { topic: 'X' } },
        { kind: 'drills', verb: 'run', arguments: { drill: 'router-loss' } },
      ]);
    });

    it('gets the error of the other side, with its code, remedy and exit code', async () => {
      const error = await rejection(client.why('AUTO_SINK'));
      expect(error).to.include({ code: 'UNKNOWN_DAEMON', remedy: 'did you mean AUTO_SYNC?' });
      expect(exitCodeOf(error)).to.equal(2);
    });

    it('names with slashes and other surprises stay names', async () => {
      for (const name of ['../status', 'a/b', 'a?b', '%', 'ü'])
        expect((await rejection(client.daemon(name))).code, name).to.equal('UNKNOWN_DAEMON');
    });

    it('follows transitions from the moment it is told that the stream is open', async () => {
      const controller = new AbortController();
      const seen: HistoryEntry[] = [];
      const onOpen = (): void => {
        for (let seq = 1; seq <= 3; seq++) host.publish({ history: [entry(seq)] });
      };
      for await (const one of client.stream({ signal: controller.signal, onOpen })) {
        seen.push(one);
        if (seen.length === 3) controller.abort();
      }
      expect(seen.map(({ seq }) => seq)).to.deep.equal([1, 2, 3]);
      const again: number[] = [];
      for await (const one of client.stream({ after: 1 })) {
        again.push(one.seq);
        if (again.length === 2) break;
      }
      expect(again).to.deep.equal([2, 3]);
    });

    it('reads the log, and follows it', async () => {
      const path = logPath(dataDir.path);
      mkdirSync(dirname(path), { recursive: true });
      const line = (text: string): string => `2026-11-23T21:00:00.000Z INFO [AUTO_SYNC] ${text}`;
      appendFileSync(path, `${line('1')}\n${line('2')}\n`);
      expect(await client.logs({ daemon: 'AUTO_SYNC', lines: 1 })).to.deep.equal([line('2')]);
      const seen: string[] = [];
      for await (const one of client.followLogs({ lines: 1 })) {
        seen.push(one);
        if (seen.length === 1) appendFileSync(path, `${line('3')}\n`);
        if (seen.length === 2) break;
      }
      expect(seen).to.deep.equal([line('2'), line('3')]);
    });
  });

  describe('without anybody to answer', () => {
    const dataDir = temporaryDataDir();
    let silent: Server | null = null;
    const sockets = new Set<Socket>();
    after(() => dataDir.remove());
    afterEach(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => (silent === null ? resolve(null) : silent.close(resolve)));
      silent = null;
    });

    const listen = async (answer: string): Promise<void> => {
      const path = controlSocketPath(dataDir.path);
      mkdirSync(dirname(path), { recursive: true });
      rmSync(path, { force: true });
      silent = createServer((socket) => {
        sockets.add(socket);
        socket.on('data', () => socket.write(answer));
        socket.on('error', () => undefined);
      });
      await new Promise<void>((resolve) => silent!.listen(path, resolve));
    };

    it('says that no loop runs there: exit 3', async () => {
      const error = await rejection(connect({ dataDir: dataDir.path }));
      expect(error.code).to.equal('NOT_RUNNING');
      expect(error.message).to.contain(dataDir.path);
      expect(exitCodeOf(error)).to.equal(3);
    });

    it('says so too when a dead process left its socket', async () => {
      await listen('');
      const path = controlSocketPath(dataDir.path);
      // Closing removes the name, so another name is kept for it: what a killed process leaves behind.
      linkSync(path, `${path}.kept`);
      await new Promise((resolve) => silent!.close(resolve));
      silent = null;
      renameSync(`${path}.kept`, path);
      expect((await rejection(connect({ dataDir: dataDir.path }))).code).to.equal('NOT_RUNNING');
    });

    it('does not wait for ever for a process that is suspended', async () => {
      await listen('');
      const error = await rejection(connect({ dataDir: dataDir.path, timeoutMs: 50 }));
      expect(error.code).to.equal('NO_ANSWER');
      expect(error.message).to.contain('no answer within 50 ms');
      expect(exitCodeOf(error)).to.equal(1);
    });

    it('does not take the answer of another program for one of ours', async () => {
      await listen('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello');
      expect((await rejection(connect({ dataDir: dataDir.path }))).code).to.equal('NO_ANSWER');
    });

    it('refuses a path that the kernel would cut: exit 2', async () => {
      const error = await rejection(connect({ dataDir: join(dataDir.path, 'd'.repeat(90)) }));
      expect(error.code).to.equal('SOCKET_PATH_TOO_LONG');
      expect(exitCodeOf(error)).to.equal(2);
    });
  });

  it('loads nothing of the master: no library, and of our own only what every client needs', () => {
    const root = fileURLToPath(new URL('../../../src/', import.meta.url));
    const seen = new Set<string>();
    const walk = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      const source = readFileSync(file, 'utf8').replaceAll(/^(?:import|export) type [^;]*;/gm, '');
      for (const [, from] of source.matchAll(/^(?:import|export)[^;]*? from ['"]([^'"]+)['"]/gm)) {
        if (from!.startsWith('.')) walk(join(dirname(file), from!));
        else expect(from, file).to.match(/^node:/);
      }
    };
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
    walk(join(root, 'operations', 'client', `index${extension}`));
    const names = [...seen].map((file) => file.slice(root.length).replace(/\.[jt]s$/, '')).sort();
    expect(names).to.deep.equal([
      'errors',
      'operations/client/client',
      'operations/client/errors',
      'operations/client/index',
      'operations/control-paths',
      'seams/unix-http',
    ]);
  });
});

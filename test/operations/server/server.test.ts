import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect as connectSocket, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { OrchestratorError } from '../../../src/errors.ts';
import { segmentName } from '../../../src/journal/format.ts';
import { startServer, type ServerHost, type ServerOptions } from '../../../src/operations/server/host.ts';
import { DEFAULT_LIMITS, type ControlRequest } from '../../../src/operations/server/protocol.ts';
import { daemon, entry, ROUTER_AND_SYNC, serverOptions, temporaryDataDir } from './fleet.ts';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly json: Record<string, never>;
}

interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

const ask = (target: { port: number } | { socketPath: string }, path: string, options: Ask = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        ...target,
        host: '127.0.0.1',
        path,
        method: options.method ?? 'GET',
        headers: options.headers ?? {},
        agent: false,
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => (text += part));
        response.on('end', () => {
          const isJson = response.headers['content-type'] === 'application/json';
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            json: isJson ? (JSON.parse(text) as never) : ({} as never),
          });
        });
      },
    );
    request.on('error', reject);
    request.end(options.body);
  });

const opened = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connectSocket(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', reject);
  });

const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
  const end = Date.now() + 10_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`it never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

describe('the server thread', function () {
  this.timeout(30_000);
  const dataDir = temporaryDataDir();
  let host: ServerHost;
  let handled: ControlRequest[];
  let token: string;
  const daemons = [...ROUTER_AND_SYNC];

  before(async () => {
    host = await startServer(
      serverOptions(dataDir.path, daemons, {
        limits: { ...DEFAULT_LIMITS, connections: 120, streams: 3, requestMs: 1_500, streamBytes: 2 * 1024 * 1024 },
      }),
    );
    token = readFileSync(join(dataDir.path, 'run', 'token'), 'utf8').trim();
  });
  beforeEach(() => {
    handled = [];
    host.onRequest(async (request) => {
      handled.push(request);
      return { ok: true, body: { id: 'x', ok: true, code: 'accepted', message: 'accepted' } };
    });
  });
  after(async () => {
    await host.close();
    dataDir.remove();
  });

  const get = (path: string, headers: Record<string, string> = {}): Promise<Answer> =>
    ask({ port: host.port }, path, { headers });
  const post = (path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
    ask({ port: host.port }, path, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  const overSocket = (path: string, options: Ask = {}): Promise<Answer> =>
    ask({ socketPath: host.socketPath }, path, options);
  const errorOf = (answer: Answer): { code: string; message: string; remedy: string } => answer.json['error'] as never;

  describe('reads', () => {
    it('answers /health, /ready, /status, /graph and one daemon, in exactly application/json', async () => {
      for (const path of ['/health', '/ready', '/status', '/graph', '/daemons/AUTO_SYNC']) {
        const answer = await get(path);
        expect(answer.status, path).to.equal(200);
        expect(answer.headers['content-type'], path).to.equal('application/json');
      }
      expect((await get('/health')).json).to.deep.include({
        status: 'ok',
        critical: { EVENT_ROUTER: 'RUNNING', AUTO_SYNC: 'RUNNING' },
      });
      expect((await get('/daemons/AUTO_SYNC')).json['type']).to.equal('AUTO_SYNC');
      expect((await get('/status')).json).to.include({ fleet: 'test', verdict: 'ready', port: host.port });
    });

    it('answers /metrics as Prometheus text', async () => {
      const answer = await get('/metrics');
      expect(answer.headers['content-type']).to.contain('text/plain');
      expect(answer.text).to.contain('master_loop_daemon_state{daemon="EVENT_ROUTER",state="RUNNING"} 1');
    });

    it('does not know another daemon, and names the nearest', async () => {
      const answer = await get('/daemons/AUTO_SINK');
      expect(answer.status).to.equal(404);
      expect(errorOf(answer)).to.include({ code: 'UNKNOWN_DAEMON', remedy: 'did you mean AUTO_SYNC?' });
    });

    it('has the shape of an error for every path it does not have', async () => {
      for (const path of ['/', '/nothing', '/control/why/AUTO_SYNC', '/daemons/%', '/daemons/'])
        expect(Object.keys(errorOf(await get(path))), path).to.deep.equal(['code', 'message', 'remedy']);
    });

    it('shows a change within its turn', async () => {
      host.publish({ daemons: [daemon('AUTO_SYNC', { state: 'RESTARTING' })] });
      await until('the change arrived', async () => (await get('/health')).status === 503);
      expect((await get('/ready')).json['notReady']).to.deep.equal(['AUTO_SYNC']);
      host.touch('AUTO_SYNC'); // taken from statusOf, where it runs
      await until('the touched daemon arrived', async () => (await get('/health')).status === 200);
    });
  });

  describe('acts over the port', () => {
    for (const verb of ['start', 'stop', 'restart', 'reset'])
      it(`POST /daemons/TYPE/${verb} is accepted and handed to the main loop`, async () => {
        const answer = await post(`/daemons/AUTO_SYNC/${verb}`);
        expect(answer.status).to.equal(202);
        expect(handled[0]).to.have.nested.property('act.verb', verb);
        expect(handled[0]).to.have.nested.property('act.waitMs', 0);
        expect(handled[0]).to.have.nested.property('act.daemons[0]', 'AUTO_SYNC');
      });

    it('whoever was told that it is done sees it done when he looks', async () => {
      host.publish({ daemons: [daemon('AUTO_SYNC', { state: 'STARTING' })] }); // posts are held apart, so the next waits
      host.onRequest(() => {
        // The turn that answers tells what it changed at its end, and the answer is there before.
        setImmediate(() => host.publish({ daemons: [daemon('AUTO_SYNC', { state: 'STOPPED' })] }));
        return Promise.resolve({ ok: true, body: { id: 'x', ok: true, code: 'done', message: '' } });
      });
      for (let look = 0; look < 10; look++) {
        host.publish({ daemons: [daemon('AUTO_SYNC', { state: 'STARTING' })] });
        expect((await post('/daemons/AUTO_SYNC/stop')).status).to.equal(202);
        expect((await get('/daemons/AUTO_SYNC')).json).to.include({ state: 'STOPPED' });
      }
      host.touch('AUTO_SYNC'); // taken from statusOf, where it runs
      await until('it runs for the next test', async () => (await get('/health')).status === 200);
    });

    it('POST /recover takes its drain and POST /log-level its level', async () => {
      expect((await post('/recover', { drainSeconds: 1 })).status).to.equal(202);
      expect((await post('/recover')).status).to.equal(202);
      expect((await post('/log-level', { level: 'debug' })).status).to.equal(202);
      expect(handled[0]).to.have.nested.property('act.drainMs', 1_000);
      expect(handled[2]).to.deep.equal({ kind: 'log-level', level: 'DEBUG' });
    });

    it('without the token, or with a wrong one, is 401 and does nothing', async () => {
      for (const authorization of ['', 'Bearer wrong', `Basic ${token}`]) {
        const answer = await post('/recover', {}, { authorization });
        expect(answer.status).to.equal(401);
        expect(answer.headers['www-authenticate']).to.equal('Bearer');
        expect(errorOf(answer).code).to.equal('UNAUTHORIZED');
      }
      expect(handled).to.have.length(0);
    });

    it('with a foreign Host or Origin is 403, token or not, reads too', async () => {
      expect((await post('/recover', {}, { origin: 'http://evil.example' })).status).to.equal(403);
      expect((await post('/recover', {}, { host: 'evil.example' })).status).to.equal(403);
      expect((await get('/status', { host: 'evil.example' })).status).to.equal(403);
      expect((await get('/health', { origin: 'null' })).status).to.equal(403);
      expect(handled).to.have.length(0);
    });

    it('on an unknown daemon is 404', async () => expect((await post('/daemons/NOBODY/start')).status).to.equal(404));

    it('refused by the loop is 409, in its words', async () => {
      host.onRequest(async () => ({
        ok: true,
        body: { id: 'x', ok: false, code: 'refused', message: 'cannot recover: a drill is under way', remedy: 'wait' },
      }));
      const answer = await post('/recover');
      expect(answer.status).to.equal(409);
      expect(errorOf(answer)).to.deep.equal({
        code: 'REFUSED',
        message: 'cannot recover: a drill is under way',
        remedy: 'wait',
      });
    });

    it('on which the handler throws is an error, not silence', async () => {
      host.onRequest(() => Promise.reject(new Error('a bug')));
      const answer = await post('/recover');
      expect(answer.status).to.equal(500);
      expect(errorOf(answer).message).to.contain('a bug');
    });
  });

  describe('bad input', () => {
    it('a body that is no JSON, of another type, or too long is refused in our shape', async () => {
      const bad = await post('/recover', '{"drainSeconds":');
      expect([bad.status, errorOf(bad).code]).to.deep.equal([400, 'BAD_REQUEST']);
      expect((await post('/recover', '{"__proto__":{"x":1}}')).status).to.equal(400);
      expect((await post('/recover', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' })).status).to.equal(
        415,
      );
      const long = await post('/recover', JSON.stringify({ drainSeconds: 'x'.repeat(70_000) }));
      expect([long.status, errorOf(long).code]).to.deep.equal([413, 'BAD_REQUEST']);
      expect(handled).to.have.length(0);
    });

    it('headers that are too long, and what is no HTTP, are refused in our shape', async () => {
      const long = await get('/health', { 'x-long': 'x'.repeat(20_000) });
      expect([long.status, errorOf(long).code]).to.deep.equal([431, 'BAD_REQUEST']);
      const socket = await opened(host.port);
      const answer = new Promise<string>((resolve) => {
        let text = '';
        socket.on('data', (part) => (text += part.toString()));
        socket.on('close', () => resolve(text));
      });
      socket.write('\x16\x03\x01 not http\r\n\r\n');
      expect(await answer).to.match(/^HTTP\/1\.1 400 /);
    });

    it('a request that arrives too slowly is cut off', async () => {
      const socket = await opened(host.port);
      socket.write('POST /recover HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n');
      const dripping = setInterval(() => socket.write('x: y\r\n'), 50);
      socket.on('error', () => undefined);
      const answer = await new Promise<string>((resolve) => {
        let text = '';
        socket.on('data', (part) => (text += part.toString()));
        socket.on('close', () => resolve(text));
      });
      clearInterval(dripping);
      expect(answer).to.match(/^HTTP\/1\.1 408 /);
    });

    it('more slow clients than connections do not keep a probe out', async () => {
      const slow = await Promise.all(Array.from({ length: 130 }, () => opened(host.port)));
      for (const socket of slow) {
        socket.on('error', () => undefined);
        socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\nx: ');
      }
      const answer = await get('/health');
      expect(answer.status).to.equal(200);
      for (const socket of slow) socket.destroy();
    });
  });

  describe('the stream', () => {
    const openStream = () =>
      new Promise<{ status: number; text: () => string; close: () => void; ended: () => boolean; socket: Socket }>(
        (resolve, reject) => {
          const request = httpRequest(
            { port: host.port, host: '127.0.0.1', path: '/stream', agent: false },
            (response) => {
              let text = '';
              let ended = false;
              response.setEncoding('utf8');
              response.on('data', (part: string) => (text += part));
              response.on('close', () => (ended = true));
              response.on('error', () => undefined);
              resolve({
                status: response.statusCode ?? 0,
                text: () => text,
                close: () => request.destroy(),
                ended: () => ended,
                socket: response.socket,
              });
            },
          );
          request.on('error', reject);
          request.end();
        },
      );

    it('shows every transition, in order', async () => {
      const stream = await openStream();
      expect(stream.status).to.equal(200);
      for (let seq = 1; seq <= 50; seq++) host.publish({ history: [entry(seq)] });
      await until('all arrived', () => stream.text().includes('id: 50\n'));
      const seqs = [...stream.text().matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json!).seq);
      expect(seqs).to.deep.equal(Array.from({ length: 50 }, (_value, index) => index + 1));
      stream.close();
    });

    it('has room for so many readers and no more, and for others when one has left', async () => {
      const streams = [await openStream(), await openStream(), await openStream()];
      const refused = await openStream();
      expect(refused.status).to.equal(503);
      streams[0]!.close();
      await until('there is room again', async () => {
        const next = await openStream();
        next.close();
        return next.status === 200;
      });
      for (const stream of streams) stream.close();
    });

    it('drops a reader that does not read, and serves the others', async () => {
      const reading = await openStream();
      const sleeping = await openStream();
      sleeping.socket.pause();
      const message = 'x'.repeat(10_000);
      for (let seq = 100; seq <= 3_000; seq += 100) {
        const history = Array.from({ length: 100 }, (_value, index) => entry(seq - 99 + index, { message }));
        host.publish({ history });
        await until('the reader has all so far', () => reading.text().includes(`id: ${seq}\n`));
      }
      await until('the sleeper was dropped', async () =>
        /master_loop_streams_dropped_total [1-9]/.test((await get('/metrics')).text),
      );
      sleeping.close();
      reading.close();
    });
  });

  describe('the control socket', () => {
    it('is for its owner alone, like its folder and the token', () => {
      const modeOf = (...path: string[]): string => (statSync(join(dataDir.path, ...path)).mode & 0o777).toString(8);
      expect(modeOf('run')).to.equal('700');
      expect(modeOf('run', 'control.sock')).to.equal('600');
      expect(modeOf('run', 'token')).to.equal('600');
    });

    it('a reader that takes none of its long answers: they are bounded, then refused, and short ones still given', async () => {
      const message = 'x'.repeat(4_000);
      for (let seq = 5_001; seq <= 9_000; seq += 200)
        host.publish({ history: Array.from({ length: 200 }, (_value, index) => entry(seq + index, { message })) });
      await until('history is there', async () => (await overSocket('/control/history?limit=1')).text.includes('9000'));
      const readers: Socket[] = [];
      const waiting = async (): Promise<number> => {
        const text = (await get('/metrics')).text;
        return Number(/^master_loop_collection_size\{collection="server_answer_bytes"\} (\d+)$/m.exec(text)?.[1]);
      };
      let refused = false;
      while (!refused && readers.length < 20) {
        const before = readers.length === 0 ? 0 : await waiting(); // asked later, it may count the answer itself
        const socket = connectSocket(host.socketPath);
        readers.push(socket);
        socket.on('error', () => undefined);
        socket.write('GET /control/history?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n');
        await until('it is answered', async () => {
          const [now, text] = [await waiting(), (await get('/metrics')).text];
          refused = /collection_dropped_total\{collection="server_answer_bytes"\} [1-9]/.test(text);
          return refused || now > before;
        });
      }
      expect(refused, 'a further long answer is refused').to.equal(true);
      expect(await waiting()).to.be.within(16 * 1024 * 1024, 64 * 1024 * 1024);
      expect((await overSocket('/health')).status).to.equal(200);
      const answer = await overSocket('/control/history?limit=10000');
      expect(answer.status).to.equal(503);
      expect(errorOf(answer)).to.include({ code: 'TOO_MANY' });
      for (const socket of readers) socket.destroy();
      await until('they are forgotten', async () => (await waiting()) < 1024 * 1024);
    });

    it('needs no token', async () => {
      const answer = await overSocket('/control/act', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ verb: 'restart', daemons: ['AUTO_SYNC'], waitMs: 10 }),
      });
      expect(answer.status).to.equal(200);
      expect(handled[0]).to.have.nested.property('act.verb', 'restart');
    });

    it('waits until the fleet is ready, and no longer than asked', async () => {
      host.publish({ daemons: [daemon('AUTO_SYNC', { state: 'STARTING' })] });
      await until('it is not ready', async () => (await overSocket('/ready')).status === 503);
      const late = await overSocket('/control/wait?timeoutMs=50');
      expect(late.json).to.include({ ready: false, ended: 'timeout' });
      const waiting = overSocket('/control/wait?timeoutMs=10000');
      host.touch('AUTO_SYNC');
      expect((await waiting).json).to.include({ ready: true, ended: 'ready' });
    });

    it('does not wait for what only an operator can mend', async () => {
      host.publish({ daemons: [daemon('AUTO_SYNC', { state: 'FAILED' })] });
      await until('it is not ready', async () => (await overSocket('/ready')).status === 503);
      expect((await overSocket('/control/wait?timeoutMs=10000')).json).to.include({ ended: 'failed' });
      host.touch('AUTO_SYNC');
      await until('it is back', async () => (await overSocket('/ready')).status === 200);
    });

    it('hands verbs of events and drills over, and knows no others', async () => {
      const send = (path: string): Promise<Answer> =>
        overSocket(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"topic":"X"}' });
      expect((await send('/control/events/publish')).status).to.equal(200);
      expect((await send('/control/drills/list')).status).to.equal(200);
      expect((await send('/control/events/explode')).status).to.equal(400);
      expect(handled).to.deep.equal([
        { kind: 'events', verb: 'publish', arguments: { topic: 'X' } },
        { kind: 'drills', verb: 'list', arguments: { topic: 'X' } },
      ]);
    });

    it('a caller that hangs up ends the long poll of the main loop', async () => {
      let aborted = false;
      host.onRequest(
        (_request, signal) =>
          new Promise((resolve) => {
            handled.push(_request);
            signal.addEventListener('abort', () => {
              aborted = true;
              resolve({ ok: true, body: {} });
            });
          }),
      );
      const request = httpRequest({
        socketPath: host.socketPath,
        path: '/control/events/poll',
        method: 'POST',
        agent: false,
      });
      request.on('error', () => undefined);
      request.end();
      await until('it was handed over', () => handled.length === 1);
      request.destroy();
      await until('it was told', () => aborted);
    });
  });
});

describe('starting the server', function () {
  this.timeout(30_000);
  const dataDir = temporaryDataDir();
  after(() => dataDir.remove());

  const refusal = async (options: ServerOptions): Promise<OrchestratorError> => {
    try {
      const host = await startServer(options);
      await host.close();
    } catch (thrown) {
      expect(thrown).to.be.instanceOf(OrchestratorError);
      return thrown as OrchestratorError;
    }
    throw new Error('it was not refused');
  };

  it('on a taken port names the program that holds it', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const error = await refusal(serverOptions(dataDir.path, undefined, { port }));
    other.close();
    expect(error.code).to.equal('PORT_TAKEN');
    expect(error.message).to.contain(`127.0.0.1:${port}`).and.to.contain(`pid ${process.pid} (`);
    expect(error.remedy).to.contain('--port');
  });

  it('with a data directory too deep for a socket is refused with the remedy', async () => {
    const deep = join(dataDir.path, 'd'.repeat(90));
    const error = await refusal(serverOptions(deep));
    expect(error.code).to.equal('SOCKET_PATH_TOO_LONG');
    expect(error.message).to.match(/has 1\d\d bytes, the limit is 100/);
  });

  it('after its thread died of a bug starts it again on the same port, with the whole picture as it is now', async () => {
    const complaints: string[] = [];
    const now = [...ROUTER_AND_SYNC];
    const host = await startServer(
      serverOptions(dataDir.path, now, { log: (_level, message) => complaints.push(message) }),
    );
    const { port } = host;
    host.publish({ daemons: [null as never] });
    await until('it died', () => complaints.some((text) => text.includes('is started again')));
    now.push(daemon('LATE', { state: 'FAILED' }));
    host.publish({ daemons: [daemon('LATE', { state: 'FAILED' })] }); // while nobody serves: kept by the next picture
    const health = (): Promise<Answer | null> => ask({ port }, '/health').catch(() => null);
    await until('it answers again', async () => (await health())?.status === 503);
    expect((await health())?.json['critical']).to.have.property('LATE', 'FAILED');
    expect(complaints).to.have.length(1);
    await host.close();
  });

  it('whose thread stands still: what is posted to it is bounded, and the next one has the whole picture', async () => {
    const complaints: string[] = [];
    const stuckDir = temporaryDataDir();
    const now = [...ROUTER_AND_SYNC];
    const host = await startServer(
      serverOptions(stuckDir.path, now, {
        limits: { posts: 50 },
        log: (_level, message) => complaints.push(message),
      }),
    );
    const unread = (): number => host.collections()['server_posts']?.size ?? NaN;
    host.publish({ history: [entry(1)] });
    await until('it has read everything', () => unread() === 0);

    // Reading the journal, it meets a file that answers nobody, as a disk of another machine may.
    const journal = join(stuckDir.path, 'journal');
    mkdirSync(journal, { recursive: true });
    const pipe = join(journal, segmentName(1, 0));
    execFileSync('mkfifo', [pipe]);
    ask({ socketPath: host.socketPath }, '/control/history').catch(() => undefined);
    let most = 0;
    await until('it was given up', () => {
      host.beat({});
      most = Math.max(most, unread());
      return complaints.some((text) => text.includes('has left 50 posts unread'));
    });
    expect(most).to.be.at.most(50);
    for (let beat = 0; beat < 1_000; beat++) host.beat({});
    expect(unread(), 'nothing is kept for a thread that is gone').to.equal(0);

    now.push(daemon('LATE', { state: 'FAILED' }));
    closeSync(openSync(pipe, 'r+')); // it reads on, and so it can be ended
    rmSync(pipe);
    await until('the next one answers', async () => {
      const answer = await ask({ port: host.port }, '/health').catch(() => null);
      return 'LATE' in (answer?.json['critical'] ?? {});
    });
    await host.close();
    stuckDir.remove();
  });

  it('whose journal cannot be read complains of it once a second, not at every request', async () => {
    const complaints: string[] = [];
    const host = await startServer(
      serverOptions(dataDir.path, undefined, { log: (_level, text) => complaints.push(text) }),
    );
    const journal = join(dataDir.path, 'journal', segmentName(1, 0));
    mkdirSync(journal, { recursive: true }); // a folder in the place of a file
    const ask50 = async (): Promise<void> => {
      for (let n = 0; n < 50; n++)
        expect((await ask({ socketPath: host.socketPath }, '/control/history')).status).to.equal(200);
    };
    await ask50();
    expect(complaints).to.have.length(1);
    expect(complaints[0]).to.match(/^the control plane failed in reading the journal: EISDIR/);
    await until('it says how often it was', async () => {
      await ask50();
      return complaints.length === 2;
    });
    expect(complaints[1]).to.match(/\(and \d+ times before\)$/);
    await host.close();
    rmSync(journal, { recursive: true });
  });

  it('with more requests under way than it may have: one more is refused, and one that ended makes room', async () => {
    const host = await startServer(serverOptions(dataDir.path));
    const ends: (() => void)[] = [];
    host.onRequest(() => new Promise((resolve) => ends.push(() => resolve({ ok: true, body: {} }))));
    const poll = (): Promise<Answer> =>
      ask({ socketPath: host.socketPath }, '/control/events/poll', { method: 'POST', body: '' });
    // Each caller hangs up once its request was taken: the thread forgets it, and the loop still has it.
    while (ends.length < 1_024) {
      const before = ends.length;
      const requests = Array.from({ length: 64 }, () => {
        const request = httpRequest({
          ...{ socketPath: host.socketPath, path: '/control/events/poll', method: 'POST', agent: false },
        });
        request.on('error', () => undefined);
        request.end();
        return request;
      });
      await until('they are under way', () => ends.length === before + 64);
      for (const request of requests) request.destroy();
    }
    expect(host.collections()['control_requests']).to.deep.equal({ size: 1_024, limit: 1_024, dropped: 0 });
    const refused = await poll();
    expect(refused.status).to.equal(503);
    expect(refused.json['error']).to.include({ code: 'TOO_MANY' });
    expect(host.collections()['control_requests']?.dropped).to.equal(1);
    ends.shift()!();
    await until('there is room', () => host.collections()['control_requests']?.size === 1_023);
    const taken = poll();
    await until('it is taken', () => ends.length === 1_024);
    for (const end of ends) end();
    expect((await taken).status).to.equal(200);
    await host.close();
  });

  it('after its thread died tries again for as long as another program has its port', async () => {
    const complaints: string[] = [];
    const host = await startServer(
      serverOptions(dataDir.path, [...ROUTER_AND_SYNC], { log: (_, message) => complaints.push(message) }),
    );
    const { port } = host;
    const thief = createServer();
    const take = (): Promise<boolean> =>
      new Promise((resolve) => {
        thief.once('error', () => resolve(false));
        thief.listen(port, '127.0.0.1', () => resolve(true));
      });
    host.publish({ daemons: [null as never] });
    await until('it died', () => complaints.length === 1);
    await until('another program has its port', take);
    await until('it could not be started', () => complaints.some((text) => text.includes(`127.0.0.1:${port}`)));
    expect(complaints[1]).to.match(/^the server thread ended \(cannot listen on .*\); it is started again$/);
    await new Promise((resolve) => thief.close(resolve));
    await until('it answers again', () =>
      ask({ port }, '/health').then(
        () => true,
        () => false,
      ),
    );
    await host.close();
  });

  it('replaces the socket a dead process left, and closes again without a trace', async () => {
    const first = await startServer(serverOptions(dataDir.path));
    const socketPath = first.socketPath;
    await first.close();
    expect(() => statSync(socketPath)).to.throw('ENOENT');
    const dead = createServer().listen(socketPath);
    await new Promise((resolve) => dead.once('listening', resolve));
    const second = await startServer(serverOptions(dataDir.path));
    expect((await ask({ socketPath }, '/health')).status).to.equal(200);
    await second.close();
    dead.close();
  });

  it('does not remove what is no socket', async () => {
    mkdirSync(join(dataDir.path, 'run'), { recursive: true });
    chmodSync(join(dataDir.path, 'run'), 0o755);
    writeFileSync(join(dataDir.path, 'run', 'control.sock'), 'precious');
    const error = await refusal(serverOptions(dataDir.path));
    expect(error.code).to.equal('CANNOT_LISTEN');
    expect(readFileSync(join(dataDir.path, 'run', 'control.sock'), 'utf8')).to.equal('precious');
  });
});

import { expect } from 'chai';
import { connect, type Socket } from 'node:net';
import { openLoopbackServer, type LoopbackServer } from '../../src/daemons/loopback-server.ts';

const LOOK_MS = 10;

const until = async (what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> => {
  for (const from = performance.now(); !(await holds());) {
    if (performance.now() - from > timeoutMs) throw new Error(`it never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
};

describe('the HTTP server of a daemon', function () {
  this.timeout(30_000);
  let server: LoopbackServer;
  let sockets: Socket[];
  let answer: () => Promise<string>;

  beforeEach(async () => {
    sockets = [];
    answer = () => Promise.resolve('pong');
    server = await openLoopbackServer({
      ...{ what: 'a test', port: 0, connectionsMax: 20, stillMsMax: 400 },
      routes: (app) => app.get('/ping', () => answer()),
    });
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await server.close();
  });

  const opened = async (): Promise<Socket> => {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    sockets.push(socket);
    await new Promise((resolve) => socket.once('connect', resolve));
    return socket;
  };

  it('with more idle connections than it may have closes the oldest, answers whoever asks, and counts', async () => {
    for (let n = 0; n < 50; n++) await opened();
    await until('those beyond the bound are closed', () => sockets.filter(({ closed }) => closed).length >= 30);
    expect(await (await fetch(`${server.url}/ping`)).text()).to.equal('pong');
    const { size, limit, dropped } = server.connections();
    expect([limit, dropped]).to.deep.equal([20, 31]);
    expect(size).to.be.at.most(20);
  });

  it('with a request under way on each turns a further connection away', async () => {
    let asked = 0;
    answer = () => {
      asked++;
      return new Promise(() => undefined);
    };
    for (let n = 0; n < 20; n++) (await opened()).write('GET /ping HTTP/1.1\r\nHost: x\r\n\r\n');
    await until('all are under way', () => asked === 20);
    const late = await opened();
    await until('it is closed', () => late.closed || late.destroyed || late.readableEnded);
    expect(server.connections()).to.include({ size: 20, dropped: 1 });
  });

  it('closes a connection on which nothing moves, also one that does not take its answer', async () => {
    answer = () => Promise.resolve('x'.repeat(30_000_000));
    const idle = await opened();
    const deaf = await opened();
    deaf.pause();
    deaf.write('GET /ping HTTP/1.1\r\nHost: x\r\n\r\n');
    await until('both are gone', () => server.connections().size === 0);
    expect(idle.closed).to.equal(true);
  });
});

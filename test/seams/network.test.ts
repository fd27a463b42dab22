import { expect } from 'chai';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { OrchestratorError } from '../../src/errors.ts';
import type { Clock } from '../../src/seams/clock.ts';
import type { Network } from '../../src/seams/network.ts';
import { realNetwork } from '../../src/seams/real-network.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
import { simulatedNetwork } from '../../src/simulation/simulated-network.ts';

/** What the test needs of a server: /echo answers, /busy says 503, /moved redirects, /long is long, /silent never answers. */
interface Bench {
  readonly network: Network;
  readonly port: number;
  /** Awaits with time passing. */
  readonly live: <Result>(work: Promise<Result>) => Promise<Result>;
  readonly done: () => Promise<void>;
}

const LONG = 'x'.repeat(5000);

const reasonOf = async (work: Promise<unknown>): Promise<unknown> => {
  try {
    await work;
  } catch (thrown) {
    if (!(thrown instanceof OrchestratorError)) return thrown;
    expect(thrown.message).to.match(/^cannot reach /);
    expect(thrown.remedy).to.not.equal('');
    return thrown.context.reason;
  }
  return 'no error';
};

const networkContract = (name: string, make: () => Promise<Bench>): void => {
  describe(`Network, ${name}`, () => {
    let bench: Bench;
    beforeEach(async () => (bench = await make()));
    afterEach(() => bench.done());
    const url = (path: string): string => `http://127.0.0.1:${bench.port}${path}`;

    it('brings a body there and back, with method and headers', async () => {
      const answer = await bench.live(
        bench.network.request({
          url: url('/echo?token=1'),
          method: 'POST',
          headers: { 'x-name': 'value' },
          body: 'naïve',
          timeoutMs: 2000,
        }),
      );
      expect(answer.status).to.equal(200);
      expect(answer.headers['x-seen']).to.equal('POST value');
      expect(Buffer.from(answer.body).toString()).to.equal('naïve');
    });

    it('resolves for an answer that is no success, and follows no redirect', async () => {
      const ask = (path: string) => bench.live(bench.network.request({ url: url(path), timeoutMs: 2000 }));
      expect((await ask('/busy')).status).to.equal(503);
      expect((await ask('/moved')).status).to.equal(302);
    });

    it('rejects an answer that is longer than asked for', async () => {
      const asked = { url: url('/long'), timeoutMs: 2000 };
      expect(await reasonOf(bench.live(bench.network.request({ ...asked, maxBytes: 4999 })))).to.equal('too-long');
      expect((await bench.live(bench.network.request({ ...asked, maxBytes: 5000 }))).body).to.have.length(5000);
    });

    it('rejects when a server accepts and never answers', async () => {
      expect(await reasonOf(bench.live(bench.network.request({ url: url('/silent'), timeoutMs: 40 })))).to.equal(
        'timeout',
      );
    });

    it('rejects with the reason of the signal', async () => {
      const reason = new Error('no longer wanted');
      const aborting = new AbortController();
      const asked = bench.network.request({ url: url('/silent'), timeoutMs: 5000, signal: aborting.signal });
      aborting.abort(reason);
      expect(await reasonOf(bench.live(asked))).to.equal(reason);
      const signal = AbortSignal.abort(reason);
      expect(await reasonOf(bench.live(bench.network.request({ url: url('/echo'), timeoutMs: 50, signal })))).to.equal(
        reason,
      );
    });

    it('rejects when nobody listens, and when the address is none', async () => {
      const port = await bench.network.freePort();
      const asked = { url: `http://127.0.0.1:${port}/`, timeoutMs: 2000 };
      expect(await reasonOf(bench.live(bench.network.request(asked)))).to.equal('unreachable');
      expect(await reasonOf(bench.live(bench.network.connect('127.0.0.1', port, 2000)))).to.equal('unreachable');
      for (const bad of ['', 'ftp://127.0.0.1/', '127.0.0.1:80'])
        expect(await reasonOf(bench.live(bench.network.request({ url: bad, timeoutMs: 50 })))).to.equal('bad-url');
    });

    it('measures a connection', async () => {
      expect(await bench.live(bench.network.connect('127.0.0.1', bench.port, 2000))).to.be.within(0, 2000);
    });

    it('gives a port that can be listened on', async () => {
      expect(await bench.network.freePort()).to.be.within(1024, 65_535);
    });
  });
};

const answer = (request: IncomingMessage, response: ServerResponse): void => {
  const path = request.url?.split('?')[0];
  if (path === '/silent') return;
  if (path === '/busy') response.writeHead(503);
  if (path === '/moved') response.writeHead(302, { location: '/echo' });
  if (path === '/echo') response.writeHead(200, { 'X-Seen': `${request.method} ${String(request.headers['x-name'])}` });
  if (path === '/echo') request.pipe(response);
  else response.end(path === '/long' ? LONG : '');
};

networkContract('real', async () => {
  const server: Server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    network: realNetwork(),
    port: (server.address() as AddressInfo).port,
    live: (work) => work,
    done: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
});

/** Lets virtual time run until the work is settled. */
const liveOn = async <Result>(clock: ReturnType<typeof simulatedClock>, work: Promise<Result>): Promise<Result> => {
  let settled = false;
  const mark = (): boolean => (settled = true);
  work.then(mark, mark);
  for (let turn = 0; turn < 10_000 && !settled; turn++) await clock.advance(1);
  return work;
};

const simulatedBench = () => {
  const clock = simulatedClock();
  const network = simulatedNetwork({ clock: clock as Clock });
  const server = network.serve(8800, ({ url, method, headers, body }) => {
    const path = new URL(url).pathname;
    if (path === '/silent') return null;
    if (path === '/busy') return { status: 503 };
    if (path === '/moved') return { status: 302, headers: { Location: '/echo' } };
    if (path === '/long') return { body: LONG };
    return { headers: { 'X-Seen': `${method} ${headers?.['x-name']}` }, body: body ?? '' };
  });
  return { clock, network, server };
};

networkContract('simulated', async () => {
  const { clock, network } = simulatedBench();
  return { network, port: 8800, live: (work) => liveOn(clock, work), done: async () => {} };
});

describe('The real network', () => {
  it('rejects when the server hangs up in the middle of its answer', async () => {
    const server = createServer((_, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('half', () => response.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const asked = realNetwork().request({ url: `http://127.0.0.1:${port}/`, timeoutMs: 2000 });
    expect(await reasonOf(asked)).to.equal('unreachable');
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('The simulated network', () => {
  it('loses what crosses a cut cable, so that only the time limit ends an exchange', async () => {
    const { clock, network } = simulatedBench();
    const ask = () => network.request({ url: 'http://127.0.0.1:8800/echo', timeoutMs: 300 });
    network.partition(8800, true);
    expect(await reasonOf(liveOn(clock, ask()))).to.equal('timeout');
    expect(await reasonOf(liveOn(clock, network.connect('127.0.0.1', 8800, 300)))).to.equal('timeout');
    network.partition(8800, false);
    expect((await liveOn(clock, ask())).status).to.equal(200);
  });

  it('takes its latency, and refuses once the server is closed', async () => {
    const { clock, network, server } = simulatedBench();
    network.latency(70);
    expect(await liveOn(clock, network.connect('127.0.0.1', 8800, 300))).to.equal(70);
    server.close();
    expect(await reasonOf(liveOn(clock, network.connect('127.0.0.1', 8800, 300)))).to.equal('unreachable');
  });
});

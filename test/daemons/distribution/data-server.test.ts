import { expect } from 'chai';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dataServer, rangeOf } from '../../../src/daemons/distribution/data-server.ts';
import type { HttpRequest } from '../../../src/seams/network.ts';
import { realNetwork } from '../../../src/seams/real-network.ts';
import type { ObjectRow } from '../../../src/training/floor.ts';
import { openBench, type DaemonBench } from '../../support/daemon-bench.ts';

const TYPE = 'DATA_SERVER';

describe('DATA_SERVER', () => {
  let bench: DaemonBench;
  const bytes = Buffer.from(Array.from({ length: 700_001 }, (_, index) => (index * 31) % 251));
  let object: ObjectRow;
  const start = (config: Record<string, unknown> = {}): Promise<void> =>
    bench.start(dataServer, { port: 0, ...config });
  const get = async (path: string, headers: Record<string, string> = {}, more: Partial<HttpRequest> = {}) => {
    const { data } = await bench.floor.endpoints.read();
    return realNetwork().request({ url: `${data}${path}`, headers, timeoutMs: 5_000, ...more });
  };

  beforeEach(async () => {
    bench = await openBench();
    const file = join(bench.dataDir, 'model.bin');
    writeFileSync(file, bytes);
    object = await bench.floor.objects.put({ file, kind: 'model', name: 'square6_2p-v1' });
  });
  afterEach(() => bench.close());

  it('a model arrives whole under its hash, is indexed, and its bytes are counted for who took them', async () => {
    await start();
    const answer = await get(`/objects/${object.sha256}`, { 'x-client': 'local-1' });
    expect(answer.status).to.equal(200);
    expect(answer.headers['etag']).to.equal(`"${createHash('sha256').update(answer.body).digest('hex')}"`);
    expect(Buffer.compare(answer.body, bytes)).to.equal(0);
    expect((await get('/named/square6_2p-v1')).headers['etag']).to.equal(answer.headers['etag']);
    const index = JSON.parse(Buffer.from((await get('/index?kind=model')).body).toString('utf8')) as unknown;
    const { sha256, name } = object;
    expect(index).to.deep.equal({ objects: [{ sha256, bytes: bytes.length, kind: 'model', name }] });
    await bench.until('it is counted', async () =>
      (await bench.floor.objects.traffic()).some((row) => row.client === 'local-1' && row.bytes === bytes.length),
    );
    await bench.stop(TYPE);
    expect(bench.left()).to.deep.equal([]);
    expect((await bench.floor.endpoints.read()).data).to.equal(null);
  });

  it('a transfer that was cut by a crash goes on at the next start where it ended', async () => {
    await start();
    const half = await get(`/objects/${object.sha256}`, { range: 'bytes=0-399999' });
    expect(half.status).to.equal(206);
    expect(half.headers['content-range']).to.equal(`bytes 0-399999/${bytes.length}`);
    await bench.kill(TYPE);
    await start();
    const headers = { range: 'bytes=400000-', 'if-range': half.headers['etag']! };
    const rest = await get(`/objects/${object.sha256}`, headers);
    expect(Buffer.compare(Buffer.concat([half.body, rest.body]), bytes)).to.equal(0);
    const other = await get(`/objects/${object.sha256}`, { ...headers, 'if-range': '"another"' });
    expect([other.status, other.body.length]).to.deep.equal([200, bytes.length]);
  });

  it('a client that has it is told so; one that asks for what is not there is refused', async () => {
    await start();
    const known = await get(`/objects/${object.sha256}`, { 'if-none-match': `"${object.sha256}"` });
    expect([known.status, known.body.length]).to.deep.equal([304, 0]);
    expect((await get(`/objects/${object.sha256}`, { range: `bytes=${bytes.length}-` })).status).to.equal(416);
    expect((await get(`/objects/${'0'.repeat(64)}`)).status).to.equal(404);
    for (const path of ['/objects/..%2f..%2fwork.db', '/named/..%2fwork.db', '/objects/../work.db', '/work.db'])
      expect((await get(path)).status, path).to.be.oneOf([400, 404]);
    expect((await get('/index', { origin: 'http://evil.example' })).status).to.equal(403);
  });

  it('a client over its share is put off until its window ends, and no other is', async () => {
    await start({ clientBytesMax: bytes.length, windowSeconds: 0.5 });
    const take = (client: string) => get(`/objects/${object.sha256}`, { 'x-client': client });
    expect((await take('greedy')).status).to.equal(200);
    const refused = await take('greedy');
    expect(refused.status).to.equal(429);
    expect(Number(refused.headers['retry-after'])).to.equal(1);
    expect((await take('other')).status).to.equal(200);
    await bench.until('the window ended', async () => (await take('greedy')).status === 200);
  });

  it('a file that lost its tail is cut off, not padded, and health says which', async () => {
    await start();
    writeFileSync(object.file, bytes.subarray(0, 300_000));
    const failure = await get(`/objects/${object.sha256}`).then(
      () => null,
      (error: Error) => error.message,
    );
    expect(failure).to.be.a('string');
    expect(bench.health(TYPE)).to.include({ status: 'degraded' });
    expect(bench.health(TYPE).message).to.include('square6_2p-v1');
  });

  it('a broken listener is seen by health, and the next start mends it', async () => {
    await start();
    await bench.runtime.breakageOf(TYPE)!.break();
    expect(bench.health(TYPE).status).to.equal('unhealthy');
    await bench.kill(TYPE);
    await start();
    expect((await get('/index')).status).to.equal(200);
  });

  it('a range header means one range, or nothing', () => {
    const table: [string | undefined, ReturnType<typeof rangeOf>][] = [
      [undefined, null],
      ['bytes=0-0', { from: 0, to: 0 }],
      ['bytes=5-', { from: 5, to: 9 }],
      ['bytes=-3', { from: 7, to: 9 }],
      ['bytes=-99', { from: 0, to: 9 }],
      ['bytes=3-99', { from: 3, to: 9 }],
      ['bytes=10-', 'unsatisfiable'],
      ['bytes=-0', 'unsatisfiable'],
      ['bytes=5-2', null],
      ['bytes=-', null],
      ['bytes=0-1,3-4', null],
      ['lines=1-2', null],
    ];
    for (const [header, expected] of table) expect(rangeOf(header, 10), header ?? 'none').to.deep.equal(expected);
  });
});

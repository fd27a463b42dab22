import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadFleet } from '../../src/fleet/load.ts';
import { FLEET_BYTES_MAX } from '../../src/fleet/read.ts';
import type { FileSystem } from '../../src/seams/file-system.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';
import { brief, faultsFrom, SPINE, withDaemons, worldOf } from './support.ts';

const real = realFileSystem();

describe('Reading a fleet file from the disk', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'fleet-read-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const loading = (name: string, files: FileSystem = real) =>
    loadFleet({ ...worldOf().options, file: join(folder, name), files });
  const faultOf = async (name: string, files?: FileSystem): Promise<string> => {
    const faults = await faultsFrom(loading(name, files));
    expect(faults).to.have.lengthOf(1);
    expect(faults[0]).to.include({ file: join(folder, name), sourceLine: '' });
    return brief(faults)[0]!;
  };
  const put = (name: string, content: string | Uint8Array): void => writeFileSync(join(folder, name), content);

  it('loads what is there', async () => {
    put('fleet.yaml', withDaemons(SPINE[0]!));
    expect((await loading('fleet.yaml')).fleet.daemons).to.have.lengthOf(1);
  });

  it('says that there is no such file', async () => {
    expect(await faultOf('none.yaml')).to.equal('0:0 there is no such file');
    put('file', 'x');
    expect(await faultOf('file/fleet.yaml')).to.equal('0:0 there is no such file');
  });

  it('says that it is a directory', async () => {
    mkdirSync(join(folder, 'd'));
    expect(await faultOf('d')).to.equal('0:0 this is a directory, not a fleet file');
  });

  it('refuses a file over 4 MiB without reading it', async () => {
    put('big.yaml', new Uint8Array(FLEET_BYTES_MAX + 1));
    let reads = 0;
    const counting: FileSystem = { ...real, read: (path) => ((reads += 1), real.read(path)) };
    expect(await faultOf('big.yaml', counting)).to.equal('0:0 the file has 4.0 MiB, and 4 MiB is the most');
    expect(reads).to.equal(0);
  });

  it('refuses a file that grew past the limit while it was read', async () => {
    put('fleet.yaml', 'a: 1');
    const growing: FileSystem = { ...real, read: () => new Uint8Array(FLEET_BYTES_MAX + 1) };
    expect(await faultOf('fleet.yaml', growing)).to.match(/^0:0 the file has 4\.0 MiB/);
  });

  it('says which byte is no UTF-8', async () => {
    put('latin1.yaml', Buffer.from('name: caf\xe9\nx: 1\n', 'latin1'));
    expect(await faultOf('latin1.yaml')).to.equal('0:0 the file is not UTF-8 (byte 9 begins no character)');
    put('cut.yaml', Buffer.from('é').subarray(0, 1));
    expect(await faultOf('cut.yaml')).to.match(/^0:0 the file is not UTF-8/);
  });

  it('recognises UTF-16', async () => {
    put('wide.yaml', Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('name: x', 'utf16le')]));
    expect(await faultOf('wide.yaml')).to.equal('0:0 the file is UTF-16');
  });

  it('says that an empty file is empty', async () => {
    put('empty.yaml', '');
    expect(await faultOf('empty.yaml')).to.equal('0:0 the file is empty');
  });

  for (const [code, message] of [
    ['EACCES', '0:0 the file may not be read'],
    ['EIO', '0:0 the file cannot be read: EIO'],
  ] as const) {
    it(`says what the disk said: ${code}`, async () => {
      put('fleet.yaml', 'a: 1');
      const failing: FileSystem = {
        ...real,
        read: () => {
          throw Object.assign(new Error(code), { code });
        },
      };
      expect(await faultOf('fleet.yaml', failing)).to.equal(message);
    });
  }

  it('refuses a .env that is too large, and skips a folder of that name', async () => {
    put('fleet.yaml', withDaemons(SPINE[0]!));
    put('.env', 'A='.padEnd(300_000, 'x'));
    expect(await faultOf('fleet.yaml')).to.equal('0:0 .env beside the file: it has more than 262144 bytes');
    rmSync(join(folder, '.env'));
    mkdirSync(join(folder, '.env'));
    await loading('fleet.yaml');
  });
});

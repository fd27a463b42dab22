import { expect } from 'chai';
import fc from 'fast-check';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OrchestratorError } from '../../../src/errors.ts';
import { seededRandom } from '../../../src/seams/random.ts';
import { realFileSystem } from '../../../src/seams/real-file-system.ts';
import { shapeFor, ValueNetwork } from '../../../src/training/agents/value-network.ts';
import { gameConfig } from '../../../src/training/game/configs.ts';
import {
  decodeCheckpoint,
  encodeCheckpoint,
  readCheckpoint,
  sha256Of,
  writeCheckpoint,
} from '../../../src/training/learning/checkpoint.ts';

const network = ValueNetwork.untrained(shapeFor(gameConfig('hex8_2p'), 4), seededRandom(1));
const bytes = encodeCheckpoint(network, { version: 'm1', steps: 1234 });

/** The same file with another header, its hash made right again: what a careless writer would leave. */
const withHeader = (
  change: (header: Record<string, unknown>) => void,
  weights: number = network.weights.length,
): Buffer => {
  const length = bytes.length;
  const file = Buffer.from(bytes);
  const headerBytes = file.readUInt32LE(4);
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerBytes)) as Record<string, unknown>;
  change(header);
  const text = Buffer.from(JSON.stringify(header).padEnd(Math.ceil(JSON.stringify(header).length / 4) * 4));
  const start = Buffer.alloc(8);
  file.copy(start, 0, 0, 4);
  start.writeUInt32LE(text.length, 4);
  const from = 8 + headerBytes;
  const content = Buffer.concat([start, text, file.subarray(from, Math.min(from + 4 * weights, length - 32))]);
  return Buffer.concat([content, Buffer.from(sha256Of(content), 'hex')]);
};

const refused = (file: Uint8Array, fault: string): void => {
  expect(() => decodeCheckpoint(file, 'm1.mlvn'))
    .to.throw(OrchestratorError, fault)
    .that.includes({ code: 'CHECKPOINT_INVALID' });
};

describe('Checkpoints', () => {
  it('bring back the header and every weight, bit by bit', () => {
    const { header, network: read } = decodeCheckpoint(bytes, 'm1.mlvn');
    expect(header).to.deep.equal({
      ...{ format: 1, config: 'hex8_2p', version: 'm1', cells: 61, players: 2, hidden: 4, steps: 1234 },
    });
    expect(read.weights).to.deep.equal(network.weights);
  });

  it('the same network gives the same bytes', () => {
    expect(sha256Of(encodeCheckpoint(network.copy(), { version: 'm1', steps: 1234 }))).to.equal(sha256Of(bytes));
  });

  it('any changed byte is seen', () => {
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = Buffer.from(bytes);
        damaged[at]! ^= change;
        expect(() => decodeCheckpoint(damaged, 'm1.mlvn')).to.throw(OrchestratorError);
      }),
    );
  });

  it('any cut is seen', () => {
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), (length) => {
        expect(() => decodeCheckpoint(bytes.subarray(0, length), 'm1.mlvn')).to.throw(OrchestratorError);
      }),
    );
  });

  it('what is sound but not for this game is refused with the numbers of both', () => {
    refused(
      withHeader((header) => (header.config = 'hex9_2p')),
      'the unknown game hex9_2p',
    );
    refused(
      withHeader((header) => (header.config = 'square8_2p')),
      'for 61 cells and 2 players; square8_2p has 64 and 2',
    );
    refused(
      withHeader((header) => (header.hidden = 5)),
      'with 5 units has',
    );
    refused(
      withHeader(() => {}, 100),
      'it holds 100 weights',
    );
    refused(
      withHeader((header) => (header.format = 2)),
      'header',
    );
    refused(
      withHeader((header) => delete header.steps),
      'header',
    );
    refused(Buffer.from('not a model at all, but long enough to hold a hash'), 'are no checkpoint');
  });

  it('weights that are not numbers are refused', () => {
    const broken = network.copy();
    broken.weights[7] = NaN;
    refused(encodeCheckpoint(broken, { version: 'm1', steps: 0 }), 'not numbers');
  });

  describe('as files', () => {
    const files = realFileSystem();
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'checkpoint-'));
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    it('are published whole, with the size and hash of the file, and leave nothing else behind', () => {
      const path = join(folder, 'm1.mlvn');
      const written = writeCheckpoint(files, path, network, { version: 'm1', steps: 1234 });
      expect(written).to.deep.equal({ bytes: bytes.length, sha256: sha256Of(bytes) });
      expect(
        readCheckpoint(files, path, { config: 'hex8_2p', hidden: 4, sha256: written.sha256 }).header.version,
      ).to.equal('m1');
      expect(readdirSync(folder)).to.deep.equal(['m1.mlvn']);
    });

    it('are refused when another hash, game or size was ordered', () => {
      const path = join(folder, 'm1.mlvn');
      writeFileSync(path, bytes);
      expect(() => readCheckpoint(files, path, { sha256: '0'.repeat(64) })).to.throw(OrchestratorError, 'was ordered');
      expect(() => readCheckpoint(files, path, { config: 'hex8_3p' })).to.throw(
        'it plays hex8_2p, hex8_3p was ordered',
      );
      expect(() => readCheckpoint(files, path, { hidden: 32 })).to.throw('it has 4 hidden units, 32 were ordered');
    });

    it('that are absent fail with the code of the disk', () => {
      expect(() => readCheckpoint(files, join(folder, 'none')))
        .to.throw()
        .with.property('code', 'ENOENT');
    });
  });
});

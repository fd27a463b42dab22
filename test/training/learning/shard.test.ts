import { expect } from 'chai';
import fc from 'fast-check';
import { unzipSync, zipSync } from 'fflate';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OrchestratorError } from '../../../src/errors.ts';
import { seededRandom } from '../../../src/seams/random.ts';
import { randomAgent } from '../../../src/training/agents/agent.ts';
import { GAME_CONFIGS, gameConfig, type GameConfig } from '../../../src/training/game/configs.ts';
import { decodeNpy, encodeNpy } from '../../../src/training/learning/npy.ts';
import { SampleBuilder, samplesFrom, type Samples } from '../../../src/training/learning/samples.ts';
import { SelfPlay } from '../../../src/training/learning/self-play.ts';
import { decodeShard, encodeShard } from '../../../src/training/learning/shard.ts';

const gamesOf = (config: GameConfig, games: number, seed: number): Samples => {
  const play = new SelfPlay(config);
  const random = seededRandom(seed);
  return samplesFrom(
    config,
    Array.from({ length: games }, () => play.play(() => randomAgent, random)),
  );
};

const square6 = gameConfig('square6_2p');
const shard = encodeShard(gamesOf(square6, 3, 1));

/** The shard with one array replaced. */
const withArray = (name: string, array: Uint8Array | null): Uint8Array => {
  const entries = unzipSync(shard);
  delete entries[`${name}.npy`];
  return zipSync({ ...entries, ...(array === null ? {} : { [`${name}.npy`]: array }) });
};

const refused = (bytes: Uint8Array, fault: string): void => {
  expect(() => decodeShard(bytes, 's1.npz'))
    .to.throw(OrchestratorError, fault)
    .that.includes({ code: 'SHARD_INVALID' });
};

describe('Training shards', () => {
  it('bring back the samples of any config', () => {
    const small = GAME_CONFIGS.filter(({ board }) => board.cells < 100);
    fc.assert(
      fc.property(fc.constantFrom(...small), fc.nat(3), fc.nat(), (config, games, seed) => {
        const samples = gamesOf(config, games, seed);
        expect(decodeShard(encodeShard(samples), 's1.npz')).to.deep.equal(samples);
      }),
      { numRuns: 20 },
    );
  });

  it('the same samples give the same bytes', () => {
    expect(Buffer.compare(encodeShard(gamesOf(square6, 3, 1)), shard)).to.equal(0);
  });

  it('every row is the board after a placement of its seat, and games keep their bounds', () => {
    const { boards, seats, gameStart, results } = gamesOf(square6, 2, 4);
    expect(gameStart[0]).to.equal(0);
    expect(gameStart[2]).to.equal(seats.length);
    const pieces = (row: number): number =>
      boards.subarray(36 * row, 36 * (row + 1)).filter((owner) => owner > 0).length;
    for (const game of [0, 1])
      for (let row = gameStart[game]!; row < gameStart[game + 1]!; row++)
        expect(pieces(row)).to.equal(5 + row - gameStart[game]!);
    expect(results[0]! + results[1]!).to.equal(0);
  });

  it('a game that cannot be replayed leaves no row behind', () => {
    const builder = new SampleBuilder(square6, 4);
    const good = new SelfPlay(square6).play(() => randomAgent, seededRandom(1));
    builder.add(good);
    const { rows } = builder;
    expect(() => builder.add({ moves: good.moves.slice(0, -2) })).to.throw(OrchestratorError, 'unfinished');
    expect(() => builder.add({ moves: good.moves, pieces: [0, 36] })).to.throw(OrchestratorError, 'claims');
    expect(builder).to.include({ rows, games: 1 });
    builder.add(good);
    const { gameStart } = builder.build();
    expect([...gameStart]).to.deep.equal([0, rows, 2 * rows]);
  });

  it('what is no shard, or lacks or mixes up arrays, is refused with the fault', () => {
    refused(Buffer.from('hello'), 'no .npz file');
    refused(shard.subarray(0, shard.length - 40), 'no .npz file');
    refused(withArray('seats', null), 'it has no array "seats"');
    refused(withArray('seats', Buffer.from('hello')), 'no .npy array');
    refused(
      withArray('results', encodeNpy({ type: '<i4', shape: [1], data: new Int32Array(1) })),
      '"results" holds <i4',
    );
    refused(withArray('results', encodeNpy({ type: '<f4', shape: [1, 2], data: new Float32Array(2) })), 'do not fit');
    refused(
      withArray('game_start', encodeNpy({ type: '<i4', shape: [4], data: new Int32Array([0, 5, 9, 10]) })),
      'games cover',
    );
    refused(withArray('config', encodeNpy({ type: '|S9', shape: [], data: Buffer.from('chess8_2p') })), 'unknown game');
    const rows = gamesOf(square6, 3, 1).seats.length;
    refused(
      withArray('seats', encodeNpy({ type: '|i1', shape: [rows], data: new Int8Array(rows).fill(3) })),
      'names seats',
    );
    const wild = new Float32Array(6).fill(2);
    refused(withArray('results', encodeNpy({ type: '<f4', shape: [3, 2], data: wild })), 'not between');
  });

  it('an array is written as the format says: magic, version, length, a dict that ends the line on a multiple of 64', () => {
    const bytes = Buffer.from(encodeNpy({ type: '<i4', shape: [2, 3], data: Int32Array.of(1, 2, 3, 4, 5, -6) }));
    expect(bytes.subarray(0, 8)).to.deep.equal(Buffer.from('\x93NUMPY\x01\x00', 'latin1'));
    const headerEnd = 10 + bytes.readUInt16LE(8);
    expect(headerEnd % 64).to.equal(0);
    expect(bytes.toString('latin1', 10, headerEnd)).to.match(
      /^\{'descr': '<i4', 'fortran_order': False, 'shape': \(2, 3\), \} *\n$/,
    );
    expect(bytes.length - headerEnd).to.equal(24);
    expect(bytes.readInt32LE(headerEnd + 20)).to.equal(-6);
  });

  it('a vector keeps the comma of a tuple of one, and a single value has an empty shape', () => {
    const shapeOf = (shape: number[]): string =>
      Buffer.from(encodeNpy({ type: '|i1', shape, data: new Int8Array(shape[0] ?? 1) })).toString('latin1');
    expect(shapeOf([3])).to.include("'shape': (3,)");
    expect(shapeOf([])).to.include("'shape': ()");
    expect(decodeNpy(encodeNpy({ type: '|i1', shape: [], data: Int8Array.of(7) }), 'x').data).to.deep.equal(
      Int8Array.of(7),
    );
  });

  it('arrays in Fortran order, of objects, or of another version are refused', () => {
    const bytes = Buffer.from(encodeNpy({ type: '|i1', shape: [1], data: new Int8Array(1) })).toString('latin1');
    const changed = (from: string, to: string): Uint8Array => Buffer.from(bytes.replace(from, to), 'latin1');
    expect(() => decodeNpy(changed('False', 'True '), 'x')).to.throw(OrchestratorError, 'Fortran');
    expect(() => decodeNpy(changed('|i1', '|O '), 'x')).to.throw(OrchestratorError, 'it holds |O');
    expect(() => decodeNpy(changed('\x01\x00', '\x02\x00'), 'x')).to.throw(OrchestratorError, 'version 2');
    expect(() => decodeNpy(changed('(1,)', '(9,)'), 'x')).to.throw(OrchestratorError, 'takes 9 bytes, it has 1');
  });

  const numpy = spawnSync('python3', ['-c', 'import numpy'], { timeout: 20_000 }).status === 0;
  if (numpy)
    it('numpy, where it is installed, opens a shard and finds the arrays', () => {
      const folder = mkdtempSync(join(tmpdir(), 'shard-'));
      try {
        writeFileSync(join(folder, 's1.npz'), shard);
        const program = `import numpy as np, sys
z = np.load(sys.argv[1])
print(sorted(z.files), z['boards'].dtype, z['boards'].shape[1], z['game_start'].tolist(), z['config'][()].decode(), z['results'].sum())`;
        const { stdout, stderr } = spawnSync('python3', ['-c', program, join(folder, 's1.npz')], { encoding: 'utf8' });
        const { gameStart } = gamesOf(square6, 3, 1);
        expect(stderr).to.equal('');
        expect(stdout.trim()).to.equal(
          `['boards', 'config', 'game_start', 'results', 'seats'] int8 36 [${[...gameStart].join(', ')}] square6_2p 0.0`,
        );
      } finally {
        rmSync(folder, { recursive: true });
      }
    }).timeout(30_000);
});

/**
 * A value network as a file: what it is for, its weights, and a hash over both.
 *
 * Layout: `MLVN`, length of the header (uint32), header (JSON, UTF-8, padded with spaces to a multiple of 4), weights
 * (float32), SHA-256 of everything before it; numbers are little-endian. The hash is checked before anything else is
 * believed, and the shape before a weight is used: a network of another game would play legal nonsense and say nothing.
 * A file appears by temp file and rename, so a reader sees a whole checkpoint or none.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { messageOf, OrchestratorError } from '../../errors.ts';
import type { FileSystem } from '../../seams/file-system.ts';
import { shapeFor, ValueNetwork, weightCount } from '../agents/value-network.ts';
import { gameConfig, isGameConfig } from '../game/configs.ts';

const MAGIC = 'MLVN';
const HASH_BYTES = 32;
const PREFIX_BYTES = 8;

const count = z.int().nonnegative();

const header = z.strictObject({
  format: z.literal(1),
  config: z.string(),
  /** Name of the model, or of the job whose interim state this is. */
  version: z.string().min(1).max(96),
  cells: count,
  players: count,
  hidden: z.int().positive(),
  /** Boards learned by these weights since they were random, over all runs. */
  steps: count,
  /** Only in the interim state of a training run: where it goes on. */
  resume: z
    .strictObject({
      jobId: z.string(),
      /** Passes done, shards done in this pass, games done in this shard. */
      epoch: count,
      shard: count,
      game: count,
      /** Boards learned in this run, and the squared errors and boards of each tenth of it. */
      learned: count,
      squares: z.array(z.number()),
      boards: z.array(count),
    })
    .optional(),
});

export type CheckpointHeader = z.output<typeof header>;
export type ResumePoint = NonNullable<CheckpointHeader['resume']>;

export interface Checkpoint {
  readonly header: CheckpointHeader;
  readonly network: ValueNetwork;
}

const checkpointInvalid = (name: string, fault: string, context: Record<string, unknown> = {}): OrchestratorError =>
  new OrchestratorError('CHECKPOINT_INVALID', {
    message: `cannot use the checkpoint ${name}: ${fault}`,
    remedy: 'fetch or train it again; a model is never used on a guess',
    context: { name, ...context },
  });

/** SHA-256 in lower-case hex, as every hash of an artefact is written. */
export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export const encodeCheckpoint = (
  network: ValueNetwork,
  about: { readonly version: string; readonly steps: number; readonly resume?: ResumePoint },
): Uint8Array => {
  const { config, cells, players, hidden } = network.shape;
  const { version, steps, resume } = about;
  const head: CheckpointHeader = {
    ...{ format: 1, config, version, cells, players, hidden, steps },
    ...(resume === undefined ? {} : { resume }),
  };
  const text = Buffer.from(JSON.stringify(head));
  const padded = Math.ceil(text.length / 4) * 4;
  const bytes = Buffer.alloc(PREFIX_BYTES + padded + 4 * network.weights.length + HASH_BYTES, ' ');
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(padded, 4);
  text.copy(bytes, PREFIX_BYTES);
  network.weights.forEach((weight, index) => bytes.writeFloatLE(weight, PREFIX_BYTES + padded + 4 * index));
  const hashed = bytes.length - HASH_BYTES;
  createHash('sha256').update(bytes.subarray(0, hashed)).digest().copy(bytes, hashed);
  return bytes;
};

/**
 * @param name  of the file or the model, for messages
 * @throws CHECKPOINT_INVALID when cut, changed, of another format, or not the shape of its game
 */
export const decodeCheckpoint = (bytes: Uint8Array, name: string): Checkpoint => {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < PREFIX_BYTES + HASH_BYTES || file.toString('latin1', 0, 4) !== MAGIC)
    throw checkpointInvalid(name, `these ${file.length} bytes are no checkpoint`);
  const hashed = file.length - HASH_BYTES;
  const found = sha256Of(file.subarray(0, hashed));
  const claimed = file.toString('hex', hashed);
  if (found !== claimed)
    throw checkpointInvalid(
      name,
      `its content has the hash ${found.slice(0, 12)}…, its last bytes say ${claimed.slice(0, 12)}…`,
    );
  const headerBytes = file.readUInt32LE(4);
  const weightsFrom = PREFIX_BYTES + headerBytes;
  if (weightsFrom > hashed) throw checkpointInvalid(name, `its header claims ${headerBytes} bytes of ${file.length}`);
  const head = headerOf(file.toString('utf8', PREFIX_BYTES, weightsFrom), name);

  if (!isGameConfig(head.config)) throw checkpointInvalid(name, `it is for the unknown game ${head.config}`);
  const shape = shapeFor(gameConfig(head.config), head.hidden);
  if (head.cells !== shape.cells || head.players !== shape.players)
    throw checkpointInvalid(
      name,
      `it is for ${head.cells} cells and ${head.players} players; ${head.config} has ${shape.cells} and ${shape.players}`,
    );
  const weights = weightCount(shape);
  if (hashed - weightsFrom !== 4 * weights)
    throw checkpointInvalid(
      name,
      `it holds ${(hashed - weightsFrom) / 4} weights; ${head.config} with ${head.hidden} units has ${weights}`,
    );
  const network = new ValueNetwork(
    shape,
    Float32Array.from({ length: weights }, (_, index) => file.readFloatLE(weightsFrom + 4 * index)),
  );
  if (!network.weights.every(Number.isFinite)) throw checkpointInvalid(name, 'some of its weights are not numbers');
  return { header: head, network };
};

const headerOf = (text: string, name: string): CheckpointHeader => {
  try {
    return header.parse(JSON.parse(text));
  } catch (thrown) {
    const fault = thrown instanceof z.ZodError ? z.prettifyError(thrown) : messageOf(thrown);
    throw checkpointInvalid(name, `its header is not one this program knows: ${fault}`);
  }
};

/** What a checkpoint must be to be taken; what is left out is not asked. */
export interface Expectation {
  readonly config?: string;
  readonly hidden?: number;
  /** Of the whole file. */
  readonly sha256?: string;
}

/** @throws CHECKPOINT_INVALID; and the disk's own errors, with their `code` */
export const readCheckpoint = (files: FileSystem, path: string, expected: Expectation = {}): Checkpoint => {
  const bytes = files.read(path);
  if (expected.sha256 !== undefined) {
    const found = sha256Of(bytes);
    if (found !== expected.sha256)
      throw checkpointInvalid(path, `its hash is ${found.slice(0, 12)}…, ${expected.sha256.slice(0, 12)}… was ordered`);
  }
  const checkpoint = decodeCheckpoint(bytes, path);
  const { config, hidden } = checkpoint.header;
  if (expected.config !== undefined && config !== expected.config)
    throw checkpointInvalid(path, `it plays ${config}, ${expected.config} was ordered`);
  if (expected.hidden !== undefined && hidden !== expected.hidden)
    throw checkpointInvalid(path, `it has ${hidden} hidden units, ${expected.hidden} were ordered`);
  return checkpoint;
};

/** Publishes a checkpoint whole or not at all. @returns size and hash of the file */
export const writeCheckpoint = (
  files: FileSystem,
  path: string,
  network: ValueNetwork,
  about: { readonly version: string; readonly steps: number; readonly resume?: ResumePoint },
): { readonly bytes: number; readonly sha256: string } => {
  const bytes = encodeCheckpoint(network, about);
  files.writeAtomically(path, bytes);
  return { bytes: bytes.length, sha256: sha256Of(bytes) };
};

/**
 * Arrays in numpy's own file format, version 1.0: a text header that says type and shape, then the bytes in C order.
 *
 * Just the types a shard needs. The reader takes any C-ordered array of these types, whoever wrote it, and refuses the
 * rest by name: Fortran order would silently transpose boards, and object arrays are pickles, that is, programs.
 * @see numpy.lib.format: magic, version, header length (uint16), a Python dict padded with spaces to 64 bytes, newline.
 */
import { OrchestratorError } from '../../errors.ts';

export type NpyData = Int8Array | Int32Array | Float32Array | Uint8Array;

export interface NpyArray {
  readonly type: NpyType;
  /** Empty for a single value. */
  readonly shape: readonly number[];
  /** Text (`|S…`) comes as its bytes. */
  readonly data: NpyData;
}

/** numpy's names: int8, little-endian int32 and float32, and bytes of a fixed length (`|S10`). */
export type NpyType = '|i1' | '<i4' | '<f4' | `|S${number}`;

const MAGIC = '\x93NUMPY';
const PREFIX_BYTES = 10;
const ALIGNED = 64;

/** A shard, or an array in it, that cannot be read. */
export const shardInvalid = (name: string, fault: string): OrchestratorError =>
  new OrchestratorError('SHARD_INVALID', {
    message: `cannot read the shard ${name}: ${fault}`,
    remedy: 'export it again from the canonical store; training goes on with the other shards',
    context: { name, fault },
  });

const itemBytes = (type: string): number | null => {
  if (type === '|i1') return 1;
  if (type === '<i4' || type === '<f4') return 4;
  const text = /^\|S([1-9]\d{0,5})$/.exec(type);
  return text === null ? null : Number(text[1]);
};

export const encodeNpy = ({ type, shape, data }: NpyArray): Uint8Array => {
  const dimensions = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const dict = `{'descr': '${type}', 'fortran_order': False, 'shape': (${dimensions}), }`;
  const headerEnd = Math.ceil((PREFIX_BYTES + dict.length + 1) / ALIGNED) * ALIGNED;
  const body = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const bytes = Buffer.alloc(headerEnd + body.length, ' ');
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt8(1, 6);
  bytes.writeUInt8(0, 7);
  bytes.writeUInt16LE(headerEnd - PREFIX_BYTES, 8);
  bytes.write(dict, PREFIX_BYTES, 'latin1');
  bytes.write('\n', headerEnd - 1, 'latin1');
  body.copy(bytes, headerEnd);
  return bytes;
};

/** @throws SHARD_INVALID with the fault; `name` says which array of which file */
export const decodeNpy = (bytes: Uint8Array, name: string): NpyArray => {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < PREFIX_BYTES || file.toString('latin1', 0, 6) !== MAGIC)
    throw shardInvalid(name, 'it is no .npy array');
  const version = file.readUInt8(6);
  if (version !== 1) throw shardInvalid(name, `it has .npy version ${version}; this program reads version 1`);
  const dataFrom = PREFIX_BYTES + file.readUInt16LE(8);
  const dict = file.toString('latin1', PREFIX_BYTES, dataFrom);
  const type = /'descr':\s*'([^']+)'/.exec(dict)?.[1];
  const dimensions = /'shape':\s*\(([\d,\s]*)\)/.exec(dict)?.[1];
  if (type === undefined || dimensions === undefined)
    throw shardInvalid(name, `its header is ${dict.trim().slice(0, 80)}`);
  const each = itemBytes(type);
  if (each === null) throw shardInvalid(name, `it holds ${type}; this program reads |i1, <i4, <f4 and |S`);
  if (!/'fortran_order':\s*False/.test(dict)) throw shardInvalid(name, 'it is in Fortran order');
  const shape = dimensions
    .split(',')
    .filter((part) => part.trim() !== '')
    .map(Number);
  const items = shape.reduce((product, side) => product * side, 1);
  if (file.length - dataFrom !== items * each)
    throw shardInvalid(
      name,
      `(${shape.join(', ')}) of ${type} takes ${items * each} bytes, it has ${file.length - dataFrom}`,
    );
  // A copy of its own: the typed arrays need their alignment, and the file need not be kept for a part of it.
  const data = Uint8Array.from(file.subarray(dataFrom)).buffer;
  if (type === '|i1') return { type, shape, data: new Int8Array(data) };
  if (type === '<i4') return { type, shape, data: new Int32Array(data) };
  if (type === '<f4') return { type, shape, data: new Float32Array(data) };
  return { type: type as NpyType, shape, data: new Uint8Array(data) };
};

/**
 * Takes the text of a fleet file from the disk. Whatever lies at the path, the answer is text or one clear fault: size is
 * asked before a byte is read, and bytes that are no UTF-8 are refused rather than replaced, since a name with a
 * replacement character in it would match nothing and nobody would see why.
 */
import { messageOf } from '../errors.ts';
import type { FileSystem } from '../seams/file-system.ts';

/** 10,000 daemons take about 1 MiB. */
export const FLEET_BYTES_MAX = 4 * 1024 * 1024;
const ENV_BYTES_MAX = 256 * 1024;

export type Reading = { readonly text: string } | { readonly message: string; readonly hint: string | null };

const MIB = 1024 * 1024;

const codeOf = (error: unknown): string | null =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : null;

const tooLarge = (bytes: number): Reading => ({
  message: `the file has ${(bytes / MIB).toFixed(1)} MiB, and ${FLEET_BYTES_MAX / MIB} MiB is the most`,
  hint: 'is this the right file? A fleet of 10,000 daemons takes about 1 MiB',
});

export const readFleetText = (files: FileSystem, path: string): Reading => {
  let bytes: Uint8Array;
  try {
    const found = files.stat(path);
    if (found.isDirectory) return { message: 'this is a directory, not a fleet file', hint: 'name a file inside it' };
    if (found.bytes > FLEET_BYTES_MAX) return tooLarge(found.bytes);
    bytes = files.read(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      return {
        message: 'there is no such file',
        hint: 'check the path; --fleet or MASTER_LOOP_FLEET names the fleet file',
      };
    }
    if (code === 'EACCES' || code === 'EPERM')
      return { message: 'the file may not be read', hint: 'check its permissions' };
    return { message: `the file cannot be read: ${messageOf(error)}`, hint: null };
  }
  if (bytes.length > FLEET_BYTES_MAX) return tooLarge(bytes.length); // it grew, or its size was not known before
  if (bytes.length >= 2 && ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))) {
    return { message: 'the file is UTF-16', hint: 'save it as UTF-8' };
  }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return {
      message: `the file is not UTF-8 (byte ${firstBadByte(bytes)} begins no character)`,
      hint: 'save it as UTF-8',
    };
  }
};

/** 0-based offset of the first byte that begins no character; by bisection over prefixes. */
const firstBadByte = (bytes: Uint8Array): number => {
  const decodes = (length: number, mayBeCut: boolean): boolean => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length), { stream: mayBeCut });
      return true;
    } catch {
      return false;
    }
  };
  let low = 0; // decodes, perhaps with its last character cut
  let high = bytes.length + 1; // does not
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (decodes(middle, true)) low = middle;
    else high = middle;
  }
  while (low > 0 && !decodes(low, false)) low -= 1; // back over the cut character: at most three bytes
  return low;
};

/** The `.env` beside a fleet file; null when there is none. */
export const readEnvText = (files: FileSystem, path: string): Reading | null => {
  try {
    const found = files.stat(path);
    if (found.isDirectory) return null;
    if (found.bytes > ENV_BYTES_MAX) return { message: `it has more than ${ENV_BYTES_MAX} bytes`, hint: null };
    return { text: files.readText(path) };
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    return { message: `it cannot be read: ${messageOf(error)}`, hint: 'check its permissions' };
  }
};

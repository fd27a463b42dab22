/** Event ids are made from the fact, so that telling it again after a crash stores it once. */
import { createHash } from 'node:crypto';

/** A short name of a situation: the same parts in the same order, the same name. 64 bits. */
export const fingerprint = (parts: readonly (string | number | boolean | null)[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);

/**
 * One number for "the same behaviour": SHA-256 over everything that decides, and nothing else. Where an edge was written
 * or how a fleet file is formatted changes no decision, so it changes no hash; a default that became another one does.
 */
import { createHash } from 'node:crypto';

/** JSON with sorted keys, so that equal values have equal text; sets and maps as their entries, functions by source. */
export const stableJson = (value: unknown): string => {
  if (typeof value === 'bigint') return `"${value}n"`;
  if (typeof value === 'function') return JSON.stringify(String(value));
  if (value === undefined || typeof value === 'symbol') return 'null';
  if (typeof value === 'number' && !Number.isFinite(value)) return `"${value}"`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (value instanceof RegExp) return JSON.stringify(String(value));
  if ('toJSON' in value && typeof value.toJSON === 'function') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(stableJson).join(',')}]`;
  if (value instanceof Map || value instanceof Set) return stableJson([...value]);
  const entries = Object.entries(value)
    .filter(([, part]) => part !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${entries.map(([key, part]) => `${JSON.stringify(key)}:${stableJson(part)}`).join(',')}}`;
};

export const hashOf = (value: unknown): string => createHash('sha256').update(stableJson(value)).digest('hex');
export const hashOfBytes = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

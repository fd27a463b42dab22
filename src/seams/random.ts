/**
 * Chance as a thing that is handed in: a real source for service, a seeded one for simulation, tests and self-play.
 */
import { randomUUID } from 'node:crypto';

export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Uniform integer in [0, below). */
  integer(below: number): number;
  /** A fresh identifier; unpredictable from the real source, repeatable from a seeded one. */
  uuid(): string;
  /** An independent stream named by `label`, so that one more draw here moves nothing there. */
  fork(label: string): Random;
}

/** The chance of this process. */
export const realRandom = (): Random => ({
  uniform: () => Math.random(),
  integer: (below) => Math.floor(Math.random() * below),
  uuid: () => randomUUID(),
  fork: () => realRandom(),
});

const hashOf = (text: string, seed: number): number => {
  let hash = seed >>> 0;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x9e3779b1) >>> 0;
  return hash;
};

/**
 * A repeatable source: the same seed gives the same draws on every machine.
 * @see "sfc32", Chris Doty-Humphrey, PractRand: 128 bits of state, passes PractRand to 32 TB.
 */
export const seededRandom = (seed: number): Random => {
  let a = hashOf('a', seed);
  let b = hashOf('b', seed);
  let c = hashOf('c', seed);
  let d = 1;
  const next = (): number => {
    const sum = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + sum) | 0;
    return sum >>> 0;
  };
  for (let round = 0; round < 12; round++) next();
  const hex = (): string => next().toString(16).padStart(8, '0');
  return {
    uniform: () => next() / 4294967296,
    integer: (below) => Math.floor((next() / 4294967296) * below),
    uuid: () => {
      const digits = hex() + hex() + hex() + hex();
      return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-4${digits.slice(13, 16)}-8${digits.slice(17, 20)}-${digits.slice(20, 32)}`;
    },
    fork: (label) => seededRandom(hashOf(label, seed)),
  };
};

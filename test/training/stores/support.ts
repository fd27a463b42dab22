/** Shared by the store tests: a folder of their own, a clock that a test moves, rows that are valid. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OrchestratorError, type ErrorCode } from '../../../src/errors.ts';
import type { RawPage } from '../../../src/training/floor.ts';
import type { GameRow, MatchRow } from '../../../src/training/programs/protocol.ts';
import type { ReadNow } from '../../../src/training/stores/database.ts';

export interface Place {
  readonly folder: string;
  file(name: string): string;
  remove(): void;
}

export const place = (): Place => {
  const folder = mkdtempSync(join(tmpdir(), 'floor-'));
  return { folder, file: (name) => join(folder, name), remove: () => rmSync(folder, { recursive: true, force: true }) };
};

/** Time that stands still until it is told otherwise. */
export const handClock = (): { now: ReadNow; advance(seconds: number): void; jumpWall(seconds: number): void } => {
  let monotonicMs = 1_000;
  let wallMs = Date.parse('2026-11-23T21:00:00Z');
  return {
    now: () => ({ monotonicMs, wallMs }),
    advance(seconds) {
      monotonicMs += seconds * 1000;
      wallMs += seconds * 1000;
    },
    jumpWall(seconds) {
      wallMs += seconds * 1000;
    },
  };
};

export const game = (id: string, more: Partial<GameRow> = {}): GameRow => ({
  id: `the-game-${id}`,
  config: 'square8_2p',
  moves: 'TUKLCDEFab',
  plies: 10,
  pieces: [40, 24],
  winner: 0,
  agents: ['random', 'random'],
  exploration: 0.1,
  endedAtMs: 1,
  ...more,
});

export const gamesPage = (
  range: {
    readonly after: number;
    readonly next: number;
    readonly more?: boolean;
    readonly storeId?: string;
    readonly nodeId?: string;
  },
  games: readonly unknown[],
  config = 'square8_2p',
): RawPage => {
  const nodeId = range.nodeId ?? 'local-1';
  const body = {
    version: 1,
    nodeId,
    storeId: range.storeId ?? 's1',
    config,
    after: range.after,
    next: range.next,
    more: range.more ?? false,
    games,
  };
  return { nodeId, body: Buffer.from(JSON.stringify(body)) };
};

export const match = (id: string, a: [string, number], b: [string, number], config = 'square8_2p'): MatchRow => ({
  id: `match-${id}`,
  config,
  seats: [
    { agent: a[0], score: a[1] },
    { agent: b[0], score: b[1] },
  ],
  playedAtMs: 1,
});

export const matchesBody = (
  matches: readonly unknown[],
  range: { after?: number; next?: number; source?: string } = {},
): Uint8Array =>
  Buffer.from(
    JSON.stringify({
      version: 1,
      source: range.source ?? 'local-1',
      storeId: 's1',
      after: range.after ?? 0,
      next: range.next ?? (range.after ?? 0) + matches.length,
      more: false,
      matches,
    }),
  );

/** The OrchestratorError that `work` throws; fails the test when it throws none, or another code. */
export const faultOf = (code: ErrorCode, work: () => unknown): OrchestratorError => {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof OrchestratorError && thrown.code === code) return thrown;
    throw thrown;
  }
  throw new Error(`expected ${code}, nothing was thrown`);
};

export const rejectionOf = async (code: ErrorCode, work: Promise<unknown>): Promise<OrchestratorError> => {
  try {
    await work;
  } catch (thrown) {
    if (thrown instanceof OrchestratorError && thrown.code === code) return thrown;
    throw thrown;
  }
  throw new Error(`expected ${code}, nothing was rejected`);
};

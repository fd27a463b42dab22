/**
 * Whole games as records: where all training data comes from.
 */
import type { Random } from '../../seams/random.ts';
import type { Agent } from '../agents/agent.ts';
import type { GameConfig } from '../game/configs.ts';
import { Position } from '../game/position.ts';
import { MoveLog, type GameRecord } from '../game/record.ts';

/** Plays games of one config, one at a time, on one board that is reused. */
export class SelfPlay {
  private readonly position: Position;
  private readonly log: MoveLog;

  constructor(config: GameConfig) {
    this.position = new Position(config);
    this.log = new MoveLog(config);
  }

  /** @param agentOf  who plays a seat, counted from 1 */
  play(agentOf: (seat: number) => Agent, random: Random): GameRecord {
    const { position, log } = this;
    position.restart();
    log.clear();
    while (!position.isOver) {
      const cell = agentOf(position.seat).choose(position, random);
      log.add(cell);
      position.play(cell);
    }
    return { config: position.config.name, moves: log.text(), pieces: [...position.pieces.subarray(1)] };
  }
}

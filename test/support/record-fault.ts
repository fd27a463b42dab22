import { OrchestratorError } from '../../src/errors.ts';
import { gameConfig } from '../../src/training/game/configs.ts';
import { Position } from '../../src/training/game/position.ts';
import { replayChecked, type GameRecord } from '../../src/training/game/record.ts';

/** What is wrong with a record, in words; null when it is sound. */
export const faultOf = (record: GameRecord): string | null => {
  try {
    replayChecked(new Position(gameConfig(record.config)), record);
    return null;
  } catch (thrown) {
    if (thrown instanceof OrchestratorError) return thrown.message;
    throw thrown;
  }
};

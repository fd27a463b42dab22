/**
 * The training floor as the live view shows it: what has been played, and whether the models get stronger.
 */
import type { LoopSummary } from '../training/floor.ts';
import type { FloorPanel } from './cli/watch/floor.ts';

const scoresOf = (
  strength: LoopSummary['configs'][number]['strength'],
  of: (row: LoopSummary['configs'][number]['strength'][number]) => number | null,
): number[] => strength.flatMap((row) => of(row) ?? []);

const sum = <Row>(rows: readonly Row[], of: (row: Row) => number): number =>
  rows.reduce((total, row) => total + of(row), 0);

export const floorPanel = (summary: LoopSummary): FloorPanel => {
  const { configs, nodes, queue, gamesPerMinute } = summary;
  const waiting = sum(
    queue.filter(({ state }) => state === 'pending'),
    ({ items }) => items,
  );
  return {
    title: 'Training floor',
    figures: [
      { label: 'games', value: sum(configs, ({ games }) => games) },
      { label: 'games/min', value: Math.round(gamesPerMinute) },
      { label: 'shards', value: sum(configs, ({ shards }) => shards) },
      { label: 'models', value: sum(configs, ({ models }) => models) },
      { label: 'promotions', value: sum(configs, ({ promotions }) => promotions) },
      { label: 'nodes', value: nodes.filter(({ state }) => state === 'live').length },
      { label: 'queue', value: waiting },
    ],
    rows: configs
      .filter(({ games }) => games > 0)
      .map(({ config, iteration, stage, championId, strength, rating, ratingError }) => ({
        name: config,
        text: `iteration ${iteration}, ${stage}${championId === null ? ', no champion yet' : `, champion ${championId}`}`,
        series: [
          { label: 'vs random', values: scoresOf(strength, ({ vsRandom }) => vsRandom) },
          { label: 'vs greedy', values: scoresOf(strength, ({ vsGreedy }) => vsGreedy) },
        ],
        rating: rating === null ? null : { value: rating, error: ratingError ?? 0 },
      })),
  };
};

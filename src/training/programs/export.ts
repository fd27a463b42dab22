/**
 * Export program: games of a canonical store become one training shard.
 *
 * Every game is replayed on the way: what cannot be replayed, or not to the pieces it claims, is counted and left out, so
 * a corrupt row costs itself and never a shard. Reading holds one snapshot of the store while its writer goes on.
 */
import { OrchestratorError } from '../../errors.ts';
import { gameConfig } from '../game/configs.ts';
import { placementsOf } from '../game/record.ts';
import { sha256Of } from '../learning/checkpoint.ts';
import { SampleBuilder } from '../learning/samples.ts';
import { encodeShard } from '../learning/shard.ts';
import { openForReading } from '../stores/database.ts';
import { jobInvalid, runJob } from './job-program.ts';

interface StoredGame {
  readonly seq: number;
  readonly moves: string;
  readonly pieces: string;
}

await runJob('export', async (job, { files, clock, breathe, say }) => {
  const began = clock.monotonicMs();
  const config = gameConfig(job.config);
  const builder = new SampleBuilder(config);
  const database = openForReading(job.database);
  let lastSeq = job.afterSeq;
  let unreadable = 0;
  try {
    const games = database
      .prepare<[number, number], StoredGame>(
        'SELECT seq, moves, pieces FROM games WHERE seq > ? AND seq <= ? ORDER BY seq',
      )
      .iterate(job.afterSeq, job.upToSeq);
    for (const { seq, moves, pieces } of games) {
      if (builder.games > 0 && builder.rows + placementsOf(config, moves) > job.rowsMax) break;
      try {
        builder.add({ moves, pieces: JSON.parse(pieces) as number[] });
      } catch (thrown) {
        if (!(thrown instanceof OrchestratorError || thrown instanceof SyntaxError)) throw thrown;
        unreadable++;
        say(`left out game ${seq}: ${thrown.message}`);
      }
      lastSeq = seq;
      await breathe();
    }
  } finally {
    database.close();
  }
  if (lastSeq === job.afterSeq)
    throw jobInvalid('export', `${job.database} has no game after ${job.afterSeq} up to ${job.upToSeq}`);

  const bytes = encodeShard(builder.build());
  await breathe();
  files.writeAtomically(job.shardFile, bytes);
  return {
    shardFile: job.shardFile,
    sha256: sha256Of(bytes),
    bytes: bytes.length,
    games: builder.games,
    rows: builder.rows,
    lastSeq,
    unreadable,
    seconds: clock.since(began),
  };
});

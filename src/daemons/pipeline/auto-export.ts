/**
 * Has games of the canonical stores written as training shards, by a child program per config.
 *
 * Invariant: every game is in exactly one shard. Exports of a config follow each other by sequence number, one open at a
 * time; the open one is tried again until it is done, under the same id and file name, whoever dies meanwhile. The folder
 * of a job stays until its outcome is recorded and told, so a result found there is one that was not told yet.
 */
import { messageOf, OrchestratorError } from '../../errors.ts';
import { degraded } from '../../health/verdict.ts';
import type { Timer } from '../../seams/clock.ts';
import type { ExportRange, Floor, Shard } from '../../training/floor.ts';
import { PROTOCOL_VERSION } from '../../training/programs/protocol.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { JobSlot } from '../job-slot.ts';
import { Rounds } from '../rounds.ts';
import { z } from 'zod';

/** Shards per config looked at for one that was recorded and not told: one is open at a time, so two are plenty. */
const UNTOLD_SHARDS = 2;
const RETRY_SECONDS_MAX = 600;

/** Between two rounds that events ask for: bursts share one. */
const GAP_SECONDS = 0.1;

export const autoExport = daemonsWith<Floor>()({
  type: 'AUTO_EXPORT',
  purpose: 'Turns stored games into training samples once enough have arrived.',
  category: 'pipeline',
  dependsOn: ['EVENT_ROUTER', { on: 'DATA_PIPELINE', kind: 'order' }],
  publishes: ['NPZ_EXPORT_STARTED', 'NPZ_EXPORT_COMPLETE', 'NPZ_EXPORT_FAILED'],
  subscribes: ['NEW_GAMES_AVAILABLE', 'DATA_SYNC_COMPLETED'],
  maxInFlight: 256, // deliveries share a round
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(300),
    /** Unexported games that the next period exports … */
    gamesMin: z.int().min(1).default(50),
    /** … and that are exported as soon as an event tells of them. */
    gamesNow: z.int().min(1).default(100),
    /** Games of one shard at most; the rest is the next one's. */
    gamesMax: z.int().min(1).default(10_000),
    rowsMax: z.int().min(1).default(1_000_000),
    /** Between two exports of a config. */
    cooldownSeconds: seconds(60),
    /** Programs at once, over all configs. */
    atOnce: z.int().min(1).max(16).default(2),
    timeoutSeconds: seconds(3600),
    /** Pause after a failed attempt, doubled with each up to ten minutes. */
    retrySeconds: seconds(60),
    /** Shards on disk per config; older ones that a model has seen are removed. */
    keepShards: z.int().min(1).default(200),
  }),
  // 300 games are some 18,000 boards: enough to see a difference, and self-play has them together in seconds.
  quick: { periodSeconds: 3, gamesMin: 150, gamesNow: 300, gamesMax: 3000, cooldownSeconds: 5, retrySeconds: 2 },

  create({ config, clock, signal, log, publish, spawn, spawned, endProcess, games, samples, objects, jobs }) {
    const tools = { clock, signal, jobs, spawn, spawned, endProcess };
    const slots = new Map<string, JobSlot<'export'>>();
    /** Monotonic milliseconds before which a failed export is left alone, by id. */
    const notBefore = new Map<string, number>();
    let caughtUp = false;
    let open: readonly ExportRange[] = [];
    let swept = false;
    /** For the end of a cooldown; the latest to be met stands, and the others are met by the next period at the latest. */
    let wake: Timer | null = null;
    let shards = 0;
    let rows = 0;
    let failures = 0;

    const slotOf = (name: string): JobSlot<'export'> => {
      const known = slots.get(name);
      if (known !== undefined) return known;
      const limits = { secondsMax: config.timeoutSeconds, silentSecondsMax: null };
      const slot = new JobSlot('export', `export-${name}`, tools, limits, again);
      slots.set(name, slot);
      return slot;
    };

    /** The shard is recorded: lists it, says so, and only then gives up the result by which this can be repeated. */
    const tell = async (shard: Shard): Promise<void> => {
      const { shardId, config: name, file, sha256, bytes } = shard;
      await objects.index({ file, sha256, bytes, kind: 'shard', name: shardId });
      await publish(
        'NPZ_EXPORT_COMPLETE',
        { config: name, exportId: shardId, shardId, games: shard.games, rows: shard.rows, sha256 },
        { id: `shard:${shardId}` },
      );
      await jobs.discard('export', shardId);
      await samples.retire({ config: name, keep: config.keepShards });
    };

    const failed = async (range: ExportRange, reason: string): Promise<void> => {
      const { exportId, config: name } = range;
      const attempts = range.attempts + 1;
      failures++;
      log.warn(`export ${exportId} failed (attempt ${attempts}): ${reason}`);
      const pause = Math.min(RETRY_SECONDS_MAX, config.retrySeconds * 2 ** (attempts - 1));
      notBefore.set(exportId, clock.monotonicMs() + pause * 1000);
      await publish(
        'NPZ_EXPORT_FAILED',
        { config: name, exportId, reason: reason.slice(0, 2000), attempts },
        { id: `export-failed:${exportId}:${attempts}` },
      );
      await jobs.discard('export', exportId);
      await samples.failExport({ exportId, reason });
    };

    /** @returns whether its program runs */
    const pursue = async (range: ExportRange): Promise<boolean> => {
      const { exportId, config: name, afterSeq, upToSeq, shardFile } = range;
      const look = await slotOf(name).look(exportId, async () => ({
        ...{ version: PROTOCOL_VERSION, kind: 'export', jobId: exportId, config: name },
        ...{ database: await games.database(name), afterSeq, upToSeq, rowsMax: config.rowsMax, shardFile },
        resultFile: jobs.paths('export', exportId).resultFile,
      }));
      if (look.result === null) {
        if (look.fresh)
          await publish(
            'NPZ_EXPORT_STARTED',
            { config: name, exportId, games: range.games },
            { id: `exporting:${exportId}:${range.attempts}` },
          );
        return true;
      }
      if (!look.result.ok) {
        await failed(range, look.result.reason);
        return false;
      }
      let shard: Shard;
      try {
        shard = await samples.completeExport(look.result);
      } catch (thrown) {
        // The file is not what the result says: written over, or lost with the disk it was on. It is made again.
        if (!(thrown instanceof OrchestratorError && thrown.code === 'FLOOR_CONFLICT')) throw thrown;
        await failed(range, thrown.message);
        return false;
      }
      notBefore.delete(exportId);
      shards++;
      rows += shard.rows;
      await tell(shard);
      return false;
    };

    /** Seconds until the next export of a config may begin. A wall clock set back ends the wait instead of stretching it. */
    const cooling = async (name: string): Promise<number> => {
      const [newest] = await samples.window(name, { shards: 1 });
      const age = newest === undefined ? Infinity : (clock.wallMs() - newest.atMs) / 1000;
      return age < 0 ? 0 : Math.max(0, config.cooldownSeconds - age);
    };

    /** What an earlier start recorded and had not told. */
    const catchUp = async (): Promise<void> => {
      for (const name of await games.configs())
        for (const shard of await samples.window(name, { shards: UNTOLD_SHARDS }))
          if ((await jobs.result('export', shard.shardId)) !== null) await tell(shard);
      caughtUp = true;
    };

    const round = async (): Promise<void> => {
      if (!caughtUp) await catchUp();
      const gamesMin = swept ? config.gamesMin : config.gamesNow;
      swept = false;
      let running = 0;
      for (const range of await samples.openExports()) {
        if (running >= config.atOnce) break;
        if ((notBefore.get(range.exportId) ?? 0) > clock.monotonicMs()) continue;
        if (await pursue(range)) running++;
      }
      const still = new Set((await samples.openExports()).map((range) => range.config));
      for (const name of await games.configs()) {
        if (running >= config.atOnce) break;
        if (still.has(name)) continue;
        const { games: waiting } = await samples.unexported(name);
        if (waiting < gamesMin) continue;
        const wait = await cooling(name);
        if (wait > 0) {
          wake?.cancel();
          wake = clock.after(wait * 1000, again, { background: true });
          continue;
        }
        const range = await samples.openExport({ config: name, gamesMin, gamesMax: config.gamesMax });
        if (range !== null && (await pursue(range))) running++;
      }
      open = await samples.openExports();
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: GAP_SECONDS, staleSeconds: 10 + 5 * config.periodSeconds },
      round,
    );
    const look = (): Promise<void> => rounds.run();
    const again = (): void =>
      void look().catch((error: unknown) => {
        if (!signal.aborted) log.warn(`cannot look after the exports: ${messageOf(error)}`);
      });

    return {
      on: { NEW_GAMES_AVAILABLE: look, DATA_SYNC_COMPLETED: look },
      every: {
        periodSeconds: config.periodSeconds,
        run() {
          swept = true;
          return look();
        },
      },
      health() {
        const verdict = rounds.verdict({ shards, rows, failures, open: open.length });
        const stuck = open.find(({ attempts }) => attempts > 2);
        return stuck === undefined || verdict.status !== 'healthy'
          ? verdict
          : degraded(
              `export ${stuck.exportId} failed ${stuck.attempts} times: ${stuck.lastFailure ?? ''}`,
              verdict.details,
            );
      },
    };
  },
});

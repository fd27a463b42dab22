/**
 * Brings match rows of every node into the master's ratings, and publishes the rating table as a file nodes can pull.
 *
 * Invariant: a match counts once, however often its row arrives: rows are keyed by match id, the cursor of a node moves in
 * the transaction that inserts its rows, and ratings are fitted to rows, never adjusted in place. Merging late costs
 * freshness; merging twice would cost truth. A table is told under the number of results it rests on, so a crash between
 * merging and telling is mended by the next look.
 */
import { OrchestratorError, type ErrorCode } from '../../errors.ts';
import { degraded } from '../../health/verdict.ts';
import type { Floor, MergeReceipt, NodeRow } from '../../training/floor.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { Rounds } from '../rounds.ts';
import { z } from 'zod';

const PAGE_ROWS = 1000;
/** Pages of one node in one round: a node that is far behind does not hold up the others. */
const PAGES_MAX = 20;
/** Agents of one match, as a rule: for rows that somebody else merged. */
const AGENTS = 2;

/** The node's trouble, which holds up no other node; all else is our own. */
const OF_NODE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['NODE_UNREACHABLE', 'NODE_REFUSED', 'FLOOR_INPUT_INVALID']);

/** Between two rounds that events ask for: bursts share one. */
const GAP_SECONDS = 0.1;

export const eloSync = daemonsWith<Floor>()({
  type: 'ELO_SYNC',
  purpose: 'Keeps one rating per model, from the matches of all nodes.',
  category: 'sync',
  dependsOn: ['EVENT_ROUTER'],
  publishes: ['ELO_UPDATED', 'ELO_SIGNIFICANT_CHANGE'],
  subscribes: ['MODEL_PROMOTED', 'HOST_ONLINE'],
  maxInFlight: 256, // deliveries share a round
  healthPeriodSeconds: 60,
  config: z.strictObject({ periodSeconds: seconds(300), staleSeconds: seconds(900) }),
  quick: { periodSeconds: 5, staleSeconds: 60 },

  create({ config, clock, log, publish, games, models, nodes, ratings, handles }) {
    /** Results that the table of a config rested on when it was last told, by config. */
    const told = new Map<string, number>();
    /** Rows merged since then, by config. */
    const fresh = new Map<string, number>();
    let merged = 0;
    let refused = 0;
    let unreachable: readonly string[] = [];
    let snapshot: string | null = null;

    const tellMoved = async ({ source, cursor, moved }: MergeReceipt): Promise<void> => {
      for (const change of moved)
        await publish('ELO_SIGNIFICANT_CHANGE', change, {
          id: `moved:${source}:${cursor}:${change.config}:${change.agent}`,
        });
    };

    const pull = async ({ nodeId, storeId }: NodeRow): Promise<void> => {
      const cursor = await ratings.cursor(nodeId);
      let after = cursor.storeId === storeId ? cursor.seq : 0;
      for (let page = 0; page < PAGES_MAX; page++) {
        const receipt = await ratings.merge(await nodes.pullMatches({ nodeId, after, limit: PAGE_ROWS }));
        merged += receipt.inserted;
        refused += receipt.refused;
        if (receipt.refused > 0) log.warn(`${receipt.refused} match rows of ${nodeId} are not valid and were left out`);
        for (const [name, rows] of Object.entries(receipt.configs)) fresh.set(name, (fresh.get(name) ?? 0) + rows);
        await tellMoved(receipt);
        after = receipt.cursor;
        if (!receipt.more) break;
      }
    };

    /** Says which tables rest on more results than when they were last told. */
    const tell = async (): Promise<void> => {
      for (const name of await games.configs()) {
        const table = await ratings.table(name);
        const results = table.reduce((sum, rating) => sum + rating.games, 0);
        if (results === 0 || results === told.get(name)) continue;
        const grown = Math.max(1, results - (told.get(name) ?? 0));
        const champion = (await models.champion(name))?.modelId ?? null;
        const rating = table.find(({ agent }) => agent === champion);
        await publish(
          'ELO_UPDATED',
          {
            ...{ config: name, matches: fresh.get(name) ?? Math.ceil(grown / AGENTS), champion },
            ...{ rating: rating?.rating ?? null, error: rating?.error ?? null },
          },
          { id: `ratings:${name}:${results}` },
        );
        told.set(name, results);
        fresh.delete(name);
      }
    };

    const rounds = new Rounds(
      {
        clock,
        log,
        owns: (file) => file.endsWith('/elo.db'),
        gapSeconds: GAP_SECONDS,
        staleSeconds: config.staleSeconds,
      },
      async () => {
        const away: string[] = [];
        for (const node of await nodes.list({ states: ['live', 'draining'] }))
          try {
            await pull(node);
          } catch (thrown) {
            if (!(thrown instanceof OrchestratorError && OF_NODE.has(thrown.code))) throw thrown;
            away.push(`${node.nodeId}: ${thrown.message}`);
          }
        unreachable = away;
        await tell();
        const { sha256, changed } = await ratings.snapshot();
        if (changed) log.debug(`the rating table is now ${sha256}`);
        snapshot = sha256;
      },
    );
    const look = (): Promise<void> => rounds.run();

    return {
      on: { MODEL_PROMOTED: look, HOST_ONLINE: look },
      every: { periodSeconds: config.periodSeconds, run: look },
      health() {
        const verdict = rounds.verdict({ merged, refused, snapshot, unreachable: unreachable.length });
        return unreachable.length === 0 || verdict.status !== 'healthy'
          ? verdict
          : degraded(`${unreachable.length} nodes gave no matches: ${unreachable[0]}`, verdict.details);
      },
      breakage: {
        what: 'closes the handle of elo.db',
        break: () => handles.close('ratings'),
        heal: () => handles.reopen('ratings'),
      },
    };
  },
});

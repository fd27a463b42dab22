/**
 * Brings the games of all nodes home into the canonical stores.
 *
 * Invariant: a game counts once, however often its page arrives, and none is passed over. Rows and cursor commit in one
 * transaction, and the next page is asked for from that cursor and from nothing this daemon remembers; asking a node from
 * a cursor also tells it what it may forget, so a cursor ahead of the rows would lose games for good. What was committed
 * is told by stretches that the store keeps until they are confirmed: a crash in between tells the same stretch under the
 * same id.
 */
import { from, lastValueFrom, mergeMap } from 'rxjs';
import { z } from 'zod';
import { messageOf, OrchestratorError } from '../../errors.ts';
import { degraded } from '../../health/verdict.ts';
import { gamesBehind, type Floor, type NodeRow } from '../../training/floor.ts';
import type { NodeStatus } from '../../training/programs/protocol.ts';
import { Backpressure } from '../backpressure.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { gap, Rounds } from '../rounds.ts';

/** Faults of one node or of what it sent; anything else is ours and ends the round. */
const NODE_FAULTS: ReadonlySet<string> = new Set(['NODE_UNREACHABLE', 'NODE_REFUSED', 'FLOOR_INPUT_INVALID']);

/** A drill needs a canonical store to break; this one is played in every tempo. */
const DRILL_CONFIG = 'square8_2p';

/** What this start knows of one run of a node. */
interface Host {
  readonly node: NodeRow;
  /** Since its last round that went through. */
  failures: number;
  /** Monotonic milliseconds until which the breaker skips it. */
  skipUntil: number;
  /** As told in this start; null before. */
  answers: boolean | null;
  /** Games it has and we lack, as of its last answer; where its cursors stood, and since when they do. */
  behind: number;
  position: number;
  movedAt: number;
  stalled: boolean;
}

export const autoSync = daemonsWith<Floor>()({
  type: 'AUTO_SYNC',
  purpose: 'Main data mover: brings games from all nodes to where training reads them.',
  category: 'sync',
  critical: true,
  dependsOn: ['EVENT_ROUTER', 'DATA_PIPELINE'],
  publishes: [
    'DATA_SYNC_STARTED',
    'DATA_SYNC_COMPLETED',
    'DATA_SYNC_FAILED',
    'SYNC_STALLED',
    'HOST_OFFLINE',
    'HOST_ONLINE',
  ],
  subscribes: [
    'SELFPLAY_COMPLETE',
    'SYNC_REQUEST',
    'HOST_ONLINE',
    'NODE_PROVISIONED',
    'BACKPRESSURE_ACTIVATED',
    'BACKPRESSURE_RELEASED',
  ],
  maxInFlight: 256, // deliveries share a round
  recoveryTargetSeconds: 15,
  healthPeriodSeconds: 15,
  config: z.strictObject({
    periodSeconds: seconds(60),
    /** Between rounds that events ask for. */
    gapSeconds: gap(2),
    nodesAtOnce: z.number().int().min(1).max(64).default(4),
    pageGames: z.number().int().min(1).max(2_000).default(500),
    /** Pages of one config of one node in a round: a node with a long past must not keep the others waiting. */
    pagesMax: z.number().int().min(1).default(40),
    /** Failures in a row after which a node is skipped, and for how long. */
    breakerFailures: z.number().int().min(1).default(3),
    breakerSeconds: seconds(60),
    /** Games that stay on a node for this long are a stall; upstream's half hour. */
    stalledSeconds: seconds(1_800),
  }),
  quick: { periodSeconds: 2, gapSeconds: 0.5, breakerSeconds: 5, stalledSeconds: 30 },

  create({ config, clock, log, publish, signal, games, nodes, handles }) {
    const pressure = new Backpressure(clock);
    const hosts = new Map<string, Host>();
    let reason = 'period';
    let pulled = 0;

    const hostOf = (node: NodeRow): Host => {
      const known = hosts.get(node.nodeId);
      const host: Host =
        known?.node.runId === node.runId
          ? { ...known, node }
          : {
              ...{ node, failures: 0, skipUntil: 0, answers: null, behind: 0 },
              ...{ position: -1, movedAt: clock.monotonicMs(), stalled: false },
            };
      hosts.set(node.nodeId, host);
      return host;
    };

    /** Tells when a node begins or ceases to answer. The store counts the changes of a run, and the count is the id. */
    const contact = async (host: Host, answers: boolean, why: string): Promise<void> => {
      if (host.answers === answers) return;
      const { nodeId, runId, url } = host.node;
      const { changes } = await nodes.contact({ nodeId, runId, answers });
      if (answers) await publish('HOST_ONLINE', { nodeId, url: url ?? '-' }, { id: `online:${runId}:${changes}` });
      else await publish('HOST_OFFLINE', { nodeId, reason: why }, { id: `offline:${runId}:${changes}` });
      host.answers = answers;
    };

    /** @throws what is no fault of the node */
    const failed = async (host: Host, name: string | null, error: unknown): Promise<void> => {
      if (!(error instanceof OrchestratorError) || !NODE_FAULTS.has(error.code)) throw error;
      const { nodeId } = host.node;
      const why = messageOf(error).slice(0, 2_000);
      host.failures++;
      await publish('DATA_SYNC_FAILED', { nodeId, config: name, reason: why, failures: host.failures });
      if (host.failures < config.breakerFailures) return;
      host.skipUntil = clock.monotonicMs() + config.breakerSeconds * 1000;
      if (error.code === 'NODE_UNREACHABLE') await contact(host, false, why);
    };

    const ask = async (host: Host): Promise<NodeStatus | null> => {
      if (host.skipUntil > clock.monotonicMs()) return null;
      try {
        const status = await nodes.status(host.node.nodeId);
        await contact(host, true, '');
        host.behind = gamesBehind(status, await games.cursors(host.node.nodeId));
        return status;
      } catch (error) {
        await failed(host, null, error);
        return null;
      }
    };

    const pull = async (host: Host, status: NodeStatus, known: Map<string, number>): Promise<void> => {
      const { nodeId } = host.node;
      const cursorsBefore = await games.cursors(nodeId);
      const pagesMax = pressure.active ? 1 : config.pagesMax;
      for (const [name, lastSeq] of Object.entries(status.lastSeq)) {
        let after =
          cursorsBefore.find((cursor) => cursor.config === name && cursor.storeId === status.storeId)?.seq ?? 0;
        try {
          for (let page = 0; page < pagesMax && after < lastSeq && !signal.aborted; page++) {
            const receipt = await games.ingest(
              await nodes.pullGames({ nodeId, config: name, after, limit: config.pageGames }),
            );
            known.set(name, (known.get(name) ?? 0) + receipt.known);
            pulled += receipt.inserted;
            if (receipt.refused > 0) log.warn(`${nodeId} sent ${receipt.refused} games of ${name} that are not valid`);
            if (receipt.cursor <= after) break; // it has less than it said
            after = receipt.cursor;
          }
        } catch (error) {
          return failed(host, name, error);
        }
      }
      host.failures = 0;
      const cursors = (await games.cursors(nodeId)).filter(({ storeId }) => storeId === status.storeId);
      host.behind = gamesBehind(status, cursors);
      const position = cursors.reduce((sum, { seq }) => sum + seq, 0);
      if (position === host.position && host.behind > 0) return;
      Object.assign(host, { position, movedAt: clock.monotonicMs(), stalled: false } satisfies Partial<Host>);
    };

    /** Tells of what the canonical store holds more than was told of, whoever put it there and whenever. */
    const tell = async (name: string, known: number, nodeCount: number): Promise<void> => {
      for (let stretch = 0; stretch < 2; stretch++) {
        const news = await games.news(name, 'AUTO_SYNC');
        if (news === null) return;
        await publish(
          'DATA_SYNC_COMPLETED',
          {
            ...{ config: name, inserted: news.games, known, nodes: nodeCount },
            total: news.total,
            lastSeq: news.lastSeq,
          },
          { id: `synced:${name}:${news.lastSeq}` },
        );
        await games.told(name, 'AUTO_SYNC', news.lastSeq);
      }
    };

    const tellStalls = async (): Promise<void> => {
      for (const host of hosts.values()) {
        const waited = clock.since(host.movedAt);
        if (host.stalled || host.behind === 0 || waited < config.stalledSeconds) continue;
        host.stalled = true;
        const { nodeId, runId } = host.node;
        const stall = { nodeId, behind: host.behind, seconds: waited };
        await publish('SYNC_STALLED', stall, { id: `stalled:${runId}:${host.position}` });
      }
    };

    const rounds = new Rounds(
      {
        clock,
        log,
        owns: (file) => file.includes('/canonical/'),
        gapSeconds: config.gapSeconds,
        staleSeconds: 30 + 3 * config.periodSeconds,
      },
      async () => {
        const why = reason;
        reason = 'period';
        const present = (await nodes.list({ states: ['live', 'draining'] })).map(hostOf);
        for (const nodeId of [...hosts.keys()])
          if (!present.some(({ node }) => node.nodeId === nodeId)) hosts.delete(nodeId);

        const atOnce = <Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<unknown> =>
          lastValueFrom(from(items).pipe(mergeMap(work, config.nodesAtOnce)), { defaultValue: null });
        const answered: { readonly host: Host; readonly status: NodeStatus }[] = [];
        await atOnce(present, async (host) => {
          const status = await ask(host);
          if (status !== null) answered.push({ host, status });
        });
        const waiting = answered.filter(({ host }) => host.behind > 0);
        for (const { host } of answered)
          if (host.behind === 0) Object.assign(host, { failures: 0, movedAt: clock.monotonicMs(), stalled: false });
        const known = new Map<string, number>();
        if (waiting.length > 0) {
          await publish('DATA_SYNC_STARTED', { nodes: waiting.length, reason: why });
          await atOnce(waiting, ({ host, status }) => pull(host, status, known));
        }
        for (const name of await games.configs()) await tell(name, known.get(name) ?? 0, waiting.length);
        await tellStalls();
      },
    );

    /** Under backpressure the period is soon enough. */
    const wake = async (why: string): Promise<void> => {
      if (pressure.active) return;
      reason = why;
      await rounds.run();
    };

    return {
      on: {
        SELFPLAY_COMPLETE: ({ body }) => wake(`${body.nodeId} finished a batch of ${body.config}`),
        async SYNC_REQUEST({ body }) {
          // Somebody waits for exactly this: a node that failed gets its chance now.
          for (const host of hosts.values())
            if (body.nodeId === null || body.nodeId === host.node.nodeId) host.skipUntil = 0;
          reason = body.reason;
          await rounds.run();
        },
        HOST_ONLINE: ({ body }) => wake(`${body.nodeId} answers`),
        NODE_PROVISIONED: ({ body }) => wake(`${body.nodeId} is new`),
        BACKPRESSURE_ACTIVATED: pressure.activated,
        BACKPRESSURE_RELEASED: pressure.released,
      },
      every: { periodSeconds: config.periodSeconds, run: () => rounds.run() },
      health() {
        const all = [...hosts.values()];
        const verdict = rounds.verdict({
          connections: all.filter(({ answers }) => answers === true).length,
          nodes: all.length,
          lag: all.reduce((sum, { behind }) => sum + behind, 0),
          pulled,
          backpressure: pressure.pressed,
        });
        if (verdict.status !== 'healthy') return verdict;
        const stalled = all.find((host) => host.stalled);
        if (stalled !== undefined)
          return degraded(`${stalled.behind} games wait on ${stalled.node.nodeId}`, verdict.details);
        const skipped = all.filter(({ skipUntil }) => skipUntil > clock.monotonicMs());
        return skipped.length === 0
          ? verdict
          : degraded(`${skipped.length} of ${all.length} nodes are skipped after failures`, verdict.details);
      },
      breakage: {
        what: 'closes the handles of the canonical stores',
        async break() {
          if ((await games.configs()).length === 0) await games.database(DRILL_CONFIG); // opens an empty one
          await handles.close('canonical');
        },
        heal: () => handles.reopen('canonical'),
      },
    };
  },
});

/**
 * Brings champions to the nodes that play, and switches each node only after it proved to hold the right bytes.
 *
 * Invariant: a node plays with whole models only. The node hashes what arrived and refuses to point at anything else;
 * what is noted as in use is what a node itself said. Each look compares champions with what every live node says it plays
 * with, so a lost event, a node that joined late and a node that lost a file are all the same case: it lacks a champion.
 */
import { OrchestratorError } from '../../errors.ts';
import { degraded } from '../../health/verdict.ts';
import type { Floor, Model, NodeRow } from '../../training/floor.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { Rounds } from '../rounds.ts';
import PQueue from 'p-queue';
import { z } from 'zod';

/** The node's trouble, which another try may mend; all else is our own. */
const isOfNode = (thrown: unknown): thrown is OrchestratorError =>
  thrown instanceof OrchestratorError && (thrown.code === 'NODE_UNREACHABLE' || thrown.code === 'NODE_REFUSED');

/** Between two rounds that events ask for: bursts share one. */
const GAP_SECONDS = 0.1;

export const modelDistribution = daemonsWith<Floor>()({
  type: 'MODEL_DISTRIBUTION',
  purpose: 'Copies a newly promoted model to the nodes that will play with it.',
  category: 'distribution',
  dependsOn: ['EVENT_ROUTER', 'EVALUATION', 'AUTO_PROMOTION'],
  publishes: [
    'MODEL_DISTRIBUTION_STARTED',
    'MODEL_DISTRIBUTION_COMPLETE',
    'MODEL_DISTRIBUTION_FAILED',
    'DISTRIBUTION_INCOMPLETE',
  ],
  subscribes: ['MODEL_PROMOTED', 'NODE_PROVISIONED', 'HOST_ONLINE'],
  maxInFlight: 256, // deliveries share a round
  healthPeriodSeconds: 60,
  config: z.strictObject({
    periodSeconds: seconds(60),
    /** Nodes served at once. */
    atOnce: z.int().min(1).max(64).default(8),
    /** A champion that some live node still lacks after this long is told as incomplete, once. */
    deadlineSeconds: seconds(300),
    /** Pause before a node that failed is tried again, doubled up to the second. */
    retrySeconds: seconds(5),
    retrySecondsMax: seconds(300),
  }),
  quick: { periodSeconds: 3, deadlineSeconds: 30, retrySeconds: 1, retrySecondsMax: 10 },

  create({ config, clock, log, publish, models, nodes }) {
    /** By run of a node: failures in a row, and monotonic milliseconds before which it is left alone. Live runs only. */
    const pauses = new Map<string, { failures: number; until: number }>();
    /** By model, champions only: since when (monotonic milliseconds) it is to be brought, and what has been told. */
    const told = new Map<
      string,
      { readonly since: number; started: boolean; complete: boolean; incomplete: boolean }
    >();
    let shares: Record<string, number> = {};
    let late: string | null = null;
    let delivered = 0;

    const stateOf = (modelId: string) => {
      const state = told.get(modelId) ?? {
        ...{ since: clock.monotonicMs(), started: false, complete: false, incomplete: false },
      };
      told.set(modelId, state);
      return state;
    };

    const bring = async ({ modelId, config: name, sha256 }: Model, { nodeId, runId }: NodeRow, live: number) => {
      const state = stateOf(modelId);
      if (!state.started) {
        await publish(
          'MODEL_DISTRIBUTION_STARTED',
          { config: name, modelId, nodes: live },
          { id: `distributing:${modelId}` },
        );
        state.started = true;
      }
      const receipt = await nodes.pushModel({ nodeId, modelId });
      if (receipt.sha256 !== sha256)
        throw new OrchestratorError('NODE_REFUSED', {
          message: `cannot switch ${nodeId} to ${modelId}: it holds bytes with the hash ${receipt.sha256}`,
          remedy: 'the model is sent again; when this stays, look at the disk of the node',
          context: { nodeId, modelId, expected: sha256, found: receipt.sha256 },
        });
      await models.delivered({ modelId, nodeId, runId, state: 'held' });
      await nodes.setPointer({ nodeId, modelId });
      await models.delivered({ modelId, nodeId, runId, state: 'in-use' });
      delivered++;
      log.info(`${nodeId} plays ${name} with ${modelId}`);
    };

    /** Compares one node with the champions. @returns ids of those that it does not play with in the end */
    const serve = async (
      node: NodeRow,
      champions: readonly Model[],
      inUse: ReadonlyMap<string, ReadonlySet<string>>,
      live: number,
    ): Promise<string[]> => {
      const { nodeId, runId } = node;
      const pause = pauses.get(runId);
      const lacking = champions
        .map(({ modelId }) => modelId)
        .filter((modelId) => inUse.get(modelId)?.has(runId) !== true);
      if (pause !== undefined && pause.until > clock.monotonicMs()) return lacking;
      const left = new Set(lacking);
      try {
        const status = await nodes.status(nodeId);
        if (status.runId !== runId) return lacking; // another run answers; the inventory will follow
        for (const champion of champions) {
          const { modelId, config: name, sha256 } = champion;
          const playing = status.pointers[name];
          if (playing?.modelId !== modelId || playing.sha256 !== sha256) {
            left.add(modelId);
            await bring(champion, node, live);
          } else if (left.has(modelId)) await models.delivered({ modelId, nodeId, runId, state: 'in-use' });
          left.delete(modelId);
        }
        pauses.delete(runId);
      } catch (thrown) {
        if (!isOfNode(thrown)) throw thrown;
        const failures = (pause?.failures ?? 0) + 1;
        const wait = Math.min(config.retrySecondsMax, config.retrySeconds * 2 ** (failures - 1));
        pauses.set(runId, { failures, until: clock.monotonicMs() + wait * 1000 });
        const reason = thrown.message.slice(0, 2000);
        log.warn(`${nodeId} is tried again in ${wait} s: ${reason}`);
        for (const { modelId, config: name } of champions)
          if (left.has(modelId)) await publish('MODEL_DISTRIBUTION_FAILED', { config: name, modelId, nodeId, reason });
      }
      return [...left];
    };

    const report = async (champion: Model, live: readonly NodeRow[], missing: readonly string[]): Promise<void> => {
      const { modelId, config: name } = champion;
      const state = stateOf(modelId);
      shares[name] = live.length === 0 ? 0 : 1 - missing.length / live.length;
      if (live.length > 0 && missing.length === 0) {
        if (state.complete) return;
        const [promotion] = await models.promotions({ config: name, limit: 1 });
        const took = Math.max(0, (clock.wallMs() - (promotion?.atMs ?? clock.wallMs())) / 1000);
        await publish(
          'MODEL_DISTRIBUTION_COMPLETE',
          { config: name, modelId, nodes: live.length, seconds: took },
          { id: `distributed:${modelId}` },
        );
        state.complete = true;
        return;
      }
      if (missing.length === 0 || state.complete || clock.since(state.since) <= config.deadlineSeconds) return;
      late = `${missing.length} of ${live.length} nodes do not play ${name} with ${modelId}`;
      if (state.incomplete) return;
      await publish(
        'DISTRIBUTION_INCOMPLETE',
        { config: name, modelId, share: shares[name] ?? 0, missing: missing.slice(0, 1000) },
        { id: `incomplete:${modelId}` },
      );
      state.incomplete = true;
    };

    const rounds = new Rounds(
      { clock, log, owns: () => false, gapSeconds: GAP_SECONDS, staleSeconds: 10 + 5 * config.periodSeconds },
      async () => {
        const champions = await models.champions();
        const live = await nodes.list({ states: ['live'] });
        const runs = new Set(live.map(({ runId }) => runId));
        for (const runId of pauses.keys()) if (!runs.has(runId)) pauses.delete(runId);
        const ids = new Set(champions.map(({ modelId }) => modelId));
        for (const modelId of told.keys()) if (!ids.has(modelId)) told.delete(modelId);

        const inUse = new Map<string, ReadonlySet<string>>();
        for (const modelId of ids) {
          const proven = (await models.deliveries(modelId)).filter(({ state }) => state === 'in-use');
          inUse.set(modelId, new Set(proven.map(({ runId }) => runId)));
        }
        const pool = new PQueue({ concurrency: config.atOnce });
        const lacking = await Promise.all(
          live.map(async (node) => ({
            nodeId: node.nodeId,
            models: await pool.add(() => serve(node, champions, inUse, live.length)),
          })),
        );
        late = null;
        shares = {};
        for (const champion of champions)
          await report(
            champion,
            live,
            lacking.filter((row) => row.models.includes(champion.modelId)).map(({ nodeId }) => nodeId),
          );
      },
    );
    const look = (): Promise<void> => rounds.run();

    return {
      on: { MODEL_PROMOTED: look, NODE_PROVISIONED: look, HOST_ONLINE: look },
      every: { periodSeconds: config.periodSeconds, run: look },
      health() {
        const verdict = rounds.verdict({ shares: { ...shares }, delivered, retrying: pauses.size });
        return late === null || verdict.status !== 'healthy' ? verdict : degraded(late, verdict.details);
      },
    };
  },
});

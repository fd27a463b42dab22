/**
 * The claim endpoint: nodes ask here for work and say here what became of it.
 *
 * Invariant: an item is held by at most one worker at a time, and what happened to it is told. The queue proves the first
 * (tokens, leases) and keeps the second as facts until they are confirmed as published, so this daemon may die between a
 * claim and its answer, or between a report and its event: a node that asks again is given the very item whose answer got
 * lost, and the next start tells what was not told. Keeping claims here instead would lose them with us.
 */
import { z } from 'zod';
import { setNewest } from '../../bounds.ts';
import { OrchestratorError } from '../../errors.ts';
import { unhealthy } from '../../health/verdict.ts';
import type { Floor, WorkAnswer, WorkFact, WorkItem } from '../../training/floor.ts';
import {
  claimRequest,
  PROTOCOL_VERSION,
  workReport,
  type ClaimAnswer,
  type ReportAnswer,
} from '../../training/programs/protocol.ts';
import { daemonsWith, seconds } from '../definition.ts';
import { closesServer, openLoopbackServer, port, type LoopbackServer } from '../loopback-server.ts';
import { Rounds } from '../rounds.ts';

/** Facts published in one go. */
const FACTS_AT_ONCE = 100;
const PROBE_MS = 1_000;
/** Nodes that are remembered, whoever they say they are; the one heard of longest ago goes. */
const NODES_MAX = 1_000;
/** Items looked at for pre-emption. */
const ITEMS_MAX = 500;

const incompleteReport = (itemId: string, lacks: string): OrchestratorError =>
  new OrchestratorError('BAD_REQUEST', {
    message: `cannot take the report on ${itemId}: it lacks ${lacks}`,
    remedy: 'a completed report carries its result, a failed one its reason',
    context: { itemId },
  });

export const jobScheduler = daemonsWith<Floor>()({
  type: 'JOB_SCHEDULER',
  purpose: 'Gives each node the most urgent work it can do, under a lease, and tells what became of it.',
  category: 'queue',
  dependsOn: ['EVENT_ROUTER'],
  publishes: [
    'WORK_CLAIMED',
    'WORK_STARTED',
    'WORK_COMPLETED',
    'WORK_FAILED',
    'WORK_TIMEOUT',
    'JOB_PREEMPTED',
    'SELFPLAY_COMPLETE',
  ],
  subscribes: ['WORK_QUEUED', 'HOST_OFFLINE', 'NODE_OVERLOADED'],
  healthPeriodSeconds: 60,
  config: z.strictObject({
    port: port(8801),
    /** Leases are looked at, and untold facts told, this often. */
    periodSeconds: seconds(5),
    /** Silence that costs a worker its item. */
    leaseSeconds: seconds(60),
    /** A node that found nothing asks again no earlier. Milliseconds. */
    retryAfterMs: z.int().min(0).max(60_000).default(1_000),
    /** An overloaded node gets nothing for this long; upstream's figure. */
    cooldownSeconds: seconds(120),
    /** Items at least this urgent take the place of less urgent ones … */
    preemptPriority: z.int().default(90),
    /** … after waiting this long. */
    preemptAfterSeconds: seconds(30),
    /** Closed items remembered, with their keys. */
    keepItems: z.int().min(100).default(5_000),
  }),
  quick: { periodSeconds: 1, leaseSeconds: 10, retryAfterMs: 200, cooldownSeconds: 10, preemptAfterSeconds: 5 },

  create({ config, clock, log, network, nodes, own, publish, queue, endpoints }) {
    let server: LoopbackServer | null = null;
    /** Why the last probe of the claim endpoint got no answer; null when it did. */
    let mute: string | null = null;
    let handed = 0;
    let reports = 0;
    /** Monotonic milliseconds per node: until when it rests, and when it last spoke to us. */
    const restsUntil = new Map<string, number>();
    const heardAt = new Map<string, number>();
    /** Since when an urgent item has been seen waiting; only of those that wait now. */
    const waitingSince = new Map<string, number>();

    // ------------------------------------------------------------------------------------------------------- telling

    const tellOne = async (fact: WorkFact): Promise<void> => {
      const { what, itemId, kind, token, holder: nodeId, final } = fact;
      const options = { id: `work:${what}:${itemId}:${token}` };
      const work = { itemId, kind, config: fact.config };
      const claimed = { ...work, nodeId, token, attempt: Math.max(1, fact.attempt) };
      const seconds = fact.result?.seconds ?? 0;
      switch (what) {
        case 'claimed':
          await publish('WORK_CLAIMED', claimed, options);
          return;
        case 'started':
          await publish('WORK_STARTED', claimed, options);
          return;
        case 'completed': {
          const told: Promise<unknown>[] = [publish('WORK_COMPLETED', { ...claimed, seconds }, options)];
          if (kind === 'selfplay') {
            const { games = 0, modelId = null } = fact.result ?? {};
            const batch = { itemId, config: fact.config, nodeId, games, modelId, seconds };
            told.push(publish('SELFPLAY_COMPLETE', batch, { id: `selfplay:${itemId}:${token}` }));
          }
          await Promise.all(told);
          return;
        }
        case 'failed':
          await publish('WORK_FAILED', { ...claimed, reason: fact.reason ?? '', final }, options);
          return;
        case 'timed-out':
          await publish('WORK_TIMEOUT', { ...claimed, final }, options);
          return;
        case 'released':
          if (fact.forItemId !== null)
            await publish('JOB_PREEMPTED', { ...work, nodeId, forItemId: fact.forItemId }, options);
      }
    };

    const telling = new Rounds(
      { clock, log, owns: () => false, gapSeconds: 0, staleSeconds: 30 + 4 * config.periodSeconds },
      async () => {
        for (;;) {
          const facts = await queue.untold({ limit: FACTS_AT_ONCE });
          const newest = facts.at(-1);
          if (newest === undefined) return;
          await Promise.all(facts.map(tellOne));
          await queue.told(newest);
        }
      },
    );
    const tell = (): Promise<void> => telling.run();
    /** Not waited for: an answer to a node never hangs on the router, and the cycle tells what this did not. */
    const tellSoon = (): void => void tell().catch(() => undefined);

    // ------------------------------------------------------------------------------------------------------ answering

    const answerClaim = async (body: unknown): Promise<ClaimAnswer> => {
      const { nodeId, runId, url, pid, storeId, kinds, cpus, memoryMb, models } = claimRequest.parse(body);
      const { known, node } = await nodes.seen({ nodeId, runId, url, pid, storeId });
      const nothing = { item: null, retryAfterMs: config.retryAfterMs, retire: !known };
      const answer: ClaimAnswer = { version: PROTOCOL_VERSION, ...nothing };
      if (!known || node === null) return answer;
      setNewest(heardAt, nodeId, clock.monotonicMs(), NODES_MAX);
      if (node.state === 'draining' || (restsUntil.get(nodeId) ?? 0) > clock.monotonicMs()) return answer;
      // A node that asks has nothing: what it was given and never began is an answer that got lost.
      const [unbegun] = await queue.list({ states: ['claimed'], holder: nodeId, limit: 1 });
      const item =
        unbegun !== undefined && (await queue.renew(unbegun)).accepted
          ? unbegun
          : await queue.claim({
              ...{ holder: nodeId, kinds, leaseSeconds: config.leaseSeconds },
              ...{ cpus, memoryMb, models },
            });
      if (item === null) return answer;
      await nodes.claimed({ nodeId, runId });
      handed++;
      tellSoon();
      const { itemId, token, attempts: attempt, work } = item;
      const leaseSeconds = item.leaseSeconds ?? config.leaseSeconds;
      return { ...answer, item: { itemId, token, attempt, leaseSeconds, work }, retryAfterMs: 0 };
    };

    const answerReport = async (body: unknown): Promise<ReportAnswer> => {
      const report = workReport.parse(body);
      const { itemId, token, done, result, reason } = report;
      setNewest(heardAt, report.nodeId, clock.monotonicMs(), NODES_MAX);
      reports++;
      let answer: WorkAnswer;
      switch (report.state) {
        case 'started':
          answer = await queue.start({ itemId, token });
          break;
        case 'progress':
          answer = await queue.renew({ itemId, token, done });
          break;
        case 'completed':
          if (result === undefined) throw incompleteReport(itemId, 'its result');
          answer = await queue.complete({ itemId, token, result });
          break;
        case 'failed':
          if (reason === undefined) throw incompleteReport(itemId, 'its reason');
          answer = await queue.fail({ itemId, token, reason, retry: true });
      }
      if (answer.first) tellSoon();
      return { accepted: answer.accepted, abandon: answer.abandon };
    };

    // ----------------------------------------------------------------------------------------------------- pre-emption

    const isForNodes = (item: WorkItem): boolean => item.work.kind !== 'training';

    /** Takes back the least urgent running item for an urgent one that has waited long enough; one at a time. */
    const preempt = async (): Promise<void> => {
      const pending = await queue.list({ states: ['pending'], limit: ITEMS_MAX });
      const urgent = pending.filter((item) => isForNodes(item) && item.priority >= config.preemptPriority);
      for (const itemId of [...waitingSince.keys()])
        if (!urgent.some((item) => item.itemId === itemId)) waitingSince.delete(itemId);
      for (const item of urgent) if (!waitingSince.has(item.itemId)) waitingSince.set(item.itemId, clock.monotonicMs());
      const due = urgent
        .filter((item) => clock.since(waitingSince.get(item.itemId)!) >= config.preemptAfterSeconds)
        .sort((one, other) => other.priority - one.priority)[0];
      if (due === undefined) return;
      const [victim] = (await queue.list({ states: ['running'], limit: ITEMS_MAX }))
        .filter((item) => isForNodes(item) && item.priority < due.priority)
        .filter((item) => due.nodeId === null || due.nodeId === item.holder)
        .sort((one, other) => one.priority - other.priority || one.done - other.done);
      if (victim === undefined) return;
      await queue.release({
        itemId: victim.itemId,
        reason: `makes way for ${due.itemId} of priority ${due.priority}`,
        forItemId: due.itemId,
      });
      waitingSince.set(due.itemId, clock.monotonicMs()); // its turn comes with the next claim; if not, after another wait
    };

    return {
      async start() {
        const routes: Parameters<typeof openLoopbackServer>[0]['routes'] = (app) => {
          app.post('/claim', (request) => answerClaim(request.body));
          app.post('/report', (request) => answerReport(request.body));
          app.get('/ping', () => ({ handed, reports }));
        };
        server = own(
          await openLoopbackServer({ what: 'the claim endpoint', port: config.port, routes }),
          'claim endpoint',
        );
        await endpoints.announce({ scheduler: server.url });
      },
      on: {
        WORK_QUEUED: preempt,
        HOST_OFFLINE: async ({ body: { nodeId, reason } }) => {
          // The event may be old, or the node out of reach for others only: who speaks to us keeps its work.
          const heard = heardAt.get(nodeId);
          const spoke = heard === undefined ? (await nodes.get(nodeId))?.seenSeconds : clock.since(heard);
          if (spoke != null && spoke < config.leaseSeconds / 2) return;
          for (const item of await queue.list({ states: ['claimed', 'running'], holder: nodeId, limit: 100 }))
            await queue.release({ itemId: item.itemId, reason: `node ${nodeId} is offline: ${reason}` });
          await tell();
        },
        NODE_OVERLOADED: ({ body: { nodeId, cpu } }) => {
          setNewest(restsUntil, nodeId, clock.monotonicMs() + config.cooldownSeconds * 1000, NODES_MAX);
          log.info(`node ${nodeId} uses ${cpu.toFixed(1)} cores and rests for ${config.cooldownSeconds} s`);
        },
      },
      every: {
        periodSeconds: config.periodSeconds,
        async run() {
          for (const item of await queue.expire())
            log.warn(`${item.itemId} was taken back from ${item.holder ?? 'nobody'}: ${item.reason ?? ''}`);
          await preempt();
          await tell();
          await queue.forget({ keep: config.keepItems });
          for (const [nodeId, until] of restsUntil) if (until <= clock.monotonicMs()) restsUntil.delete(nodeId);
          mute = await network.request({ url: `${server?.url ?? ''}/ping`, timeoutMs: PROBE_MS }).then(
            ({ status }) => (status === 200 ? null : `it answered ${status}`),
            (thrown: Error) => thrown.message,
          );
        },
      },
      async stop() {
        await endpoints.announce({ scheduler: null });
        await tell();
      },
      health() {
        const bounds = {
          nodes_heard: { size: heardAt.size, limit: NODES_MAX },
          nodes_resting: { size: restsUntil.size, limit: NODES_MAX },
          urgent_items: { size: waitingSince.size, limit: ITEMS_MAX },
          ...(server === null ? {} : { connections: server.connections() }),
        };
        const verdict = telling.verdict({ port: server?.port ?? null, handed, reports, bounds });
        if (server?.isListening() !== true) return unhealthy('the claim endpoint does not listen', verdict.details);
        return mute === null ? verdict : unhealthy(`the claim endpoint: ${mute}`, verdict.details);
      },
      breakage: closesServer('the claim endpoint', () => server),
    };
  },
});

/**
 * Work of two real daemons on their real stores, and crashes between any two of its steps.
 *
 * FEEDBACK_LOOP keeps a signal under the key of the fact it came from, and tells of each version of its settings under an
 * id made of the version. UNIFIED_PROMOTION commits a promotion in one transaction and announces it from the log of that.
 */
import { feedbackLoop } from '../../src/daemons/feedback/feedback-loop.ts';
import { unifiedPromotion } from '../../src/daemons/promotion/unified-promotion.ts';
import type { DaemonDefinition } from '../../src/daemons/definition.ts';
import type { EventClient } from '../../src/events/router-api.ts';
import type { Floor } from '../../src/training/floor.ts';
import type { DaemonBench } from '../support/daemon-bench.ts';
import { CONFIG, judge } from './learning.ts';

export interface Work {
  readonly definition: DaemonDefinition;
  readonly config: Readonly<Record<string, unknown>>;
  /** Every so many calls are struck, from the first on; one round of FEEDBACK_LOOP makes some thirty. */
  readonly stride: number;
  /** Makes the work of this round; the first is 1. */
  prepare(bench: DaemonBench, round: number): Promise<void>;
  /** All work up to this round is done, and all of its events are acknowledged. */
  done(bench: DaemonBench, round: number): Promise<boolean>;
  /** Ids of what must be in the log exactly once after so many rounds. */
  told(bench: DaemonBench, rounds: number): Promise<readonly string[]>;
}

const acknowledged = async (bench: DaemonBench, type: string): Promise<boolean> =>
  (await bench.router.audit()).rows.every(({ subscriber, pending }) => subscriber !== type || pending === 0);

const outcomes = async ({ floor }: DaemonBench): Promise<number> =>
  (await floor.feedback.signals(CONFIG, { signal: 'outcome', limit: 500 })).length;

const feedback: Work = {
  definition: feedbackLoop,
  config: { periodSeconds: 0.05, gapSeconds: 0.01 },
  stride: 3,
  // In turn, so that each makes another version of the settings.
  prepare: (bench, round) =>
    round % 2 === 0
      ? bench.publish('MODEL_PROMOTED', {
          ...{ config: CONFIG, modelId: `m${round}`, previousModelId: null, promotionId: `d${round}` },
          sha256: '0'.repeat(64),
        })
      : bench.publish('PROMOTION_REJECTED', {
          ...{ config: CONFIG, modelId: `m${round}`, championId: null, decisionId: `d${round}`, reasons: [] },
        }),
  async done(bench, round) {
    const { version } = await bench.floor.feedback.parameters(CONFIG);
    const told = bench.health('FEEDBACK_LOOP').details['versions'] as Record<string, number> | undefined;
    return (
      (await outcomes(bench)) === round &&
      version === round &&
      (round === 0 || told?.[CONFIG] === version) &&
      (await acknowledged(bench, 'FEEDBACK_LOOP'))
    );
  },
  told: (_, rounds) =>
    Promise.resolve(Array.from({ length: rounds }, (__, index) => `parameters:${CONFIG}:v${index + 1}`)),
};

const promotion: Work = {
  definition: unifiedPromotion,
  config: { periodSeconds: 0.05 },
  stride: 1,
  async prepare(bench, round) {
    const judged = await judge(bench, round, { random: 0.9, greedy: 0.8, champion: 0.7 }, 20);
    const { modelId, championId, evaluationId } = judged;
    await bench.floor.models.decide({ ...judged, promote: true, reasons: ['because'] });
    await bench.publish('PROMOTION_CANDIDATE', { config: CONFIG, modelId, championId, decisionId: evaluationId });
  },
  async done(bench, round) {
    const { models } = bench.floor;
    return (
      (await models.promotions({ limit: 500 })).length === round &&
      (await models.unannounced()).length + (await models.uncommitted()).length === 0 &&
      (await acknowledged(bench, 'UNIFIED_PROMOTION'))
    );
  },
  told: async ({ floor }) =>
    (await floor.models.promotions({ limit: 500 })).map(({ promotionId }) => `promoted:${promotionId}`),
};

export const WORKS: Readonly<Record<string, Work>> = { FEEDBACK_LOOP: feedback, UNIFIED_PROMOTION: promotion };

/** before the call leaves; while it is under way; when it has taken effect and nobody knows. */
export const WHENS = ['before', 'during', 'after'] as const;
export type When = (typeof WHENS)[number];

export interface Strikes {
  /** Strikes at the `at`-th call from now on: of the floor, or a publish. */
  arm(at: number, when: When): void;
  /** Disarms. @returns whether it struck; resolves when what was struck down is back */
  over(): Promise<boolean>;
}

/** For a bench whose daemons have not been started yet: what they hold of floor and router is made at their start. */
export const strikesOf = (bench: DaemonBench, strike: () => Promise<unknown> | void): Strikes => {
  let armed: { left: number; readonly when: When } | null = null;
  let struck: Promise<unknown> | null = null;
  const hit = (): Promise<unknown> => (struck = Promise.resolve(strike()));

  const around = <Value>(call: () => Value): unknown => {
    if (armed === null || --armed.left > 0) return call();
    const { when } = armed;
    armed = null;
    if (when === 'before') return hit().then(call);
    const result = call();
    if (when === 'during') void hit();
    return when === 'during' ? result : Promise.resolve(result).then((value) => hit().then(() => value));
  };
  const wrapped = (service: object): object =>
    Object.fromEntries(
      Object.entries(service).map(([name, call]: [string, unknown]) => [
        name,
        typeof call === 'function'
          ? (...args: unknown[]) => around(() => (call as (...all: unknown[]) => unknown)(...args))
          : call,
      ]),
    );

  const { forDaemon } = bench.floorHost;
  bench.floorHost.forDaemon = (...args) =>
    Object.fromEntries(
      Object.entries(forDaemon(...args)).map(([name, service]: [string, object]) => [name, wrapped(service)]),
    ) as unknown as Floor;
  const client = bench.router.client.bind(bench.router);
  bench.router.client = (options): EventClient => {
    const made = client(options);
    const publish: EventClient['publish'] = (...args) => around(() => made.publish(...args)) as never;
    return new Proxy(made, {
      get(target, key) {
        if (key === 'publish') return publish;
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? (value as (...all: unknown[]) => unknown).bind(target) : value;
      },
    });
  };
  return {
    arm(at, when) {
      armed = { left: at, when };
      struck = null;
    },
    async over() {
      armed = null;
      await struck;
      return struck !== null;
    },
  };
};

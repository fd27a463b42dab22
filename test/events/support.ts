/** A router in a folder of its own, with a clock that the test may move. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { createRouterHost } from '../../src/events/router-host.ts';
import type { EventClient, RouterHost, RouterLimits } from '../../src/events/router-api.ts';
import type { Catalogue, DeclaredSubscription, EventEnvelope } from '../../src/events/types.ts';
import { realClock, type Clock } from '../../src/seams/clock.ts';
import { seededRandom } from '../../src/seams/random.ts';

export const CATALOGUE = {
  COUNTED: {
    version: 1,
    meaning: 'a number came up',
    body: z.object({ n: z.number().int(), note: z.string().optional() }),
  },
  NAMED: { version: 3, meaning: 'a name was given', body: z.object({ name: z.string() }) },
} satisfies Catalogue;

export type Counted = EventEnvelope<{ n: number; note?: string }>;

/** Real turns, but timers fire only when the test moves the clock. */
export interface MovedClock extends Clock {
  move(ms: number): void;
}

export const movedClock = (): MovedClock => {
  const real = realClock();
  let moved = 0;
  let timers: { at: number; run: () => void }[] = [];
  const clock: MovedClock = {
    ...real,
    monotonicMs: () => real.monotonicMs() + moved,
    wallMs: () => real.wallMs() + moved,
    after(delayMs, run) {
      const timer = { at: clock.monotonicMs() + delayMs, run };
      timers.push(timer);
      return { cancel: () => void (timers = timers.filter((one) => one !== timer)) };
    },
    every: () => ({ cancel: () => {} }),
    sleep: (delayMs, signal) =>
      new Promise((resolve, reject) => {
        const timer = clock.after(delayMs, resolve);
        signal?.addEventListener('abort', () => {
          timer.cancel();
          reject(signal.reason as Error);
        });
      }),
    move(ms) {
      moved += ms;
      const due = timers.filter((timer) => timer.at <= clock.monotonicMs()).sort((one, other) => one.at - other.at);
      timers = timers.filter((timer) => !due.includes(timer));
      for (const timer of due) timer.run();
    },
  };
  return clock;
};

export const subscription = (
  subscriber: string,
  topic: keyof typeof CATALOGUE = 'COUNTED',
  maxInFlight = 1,
): DeclaredSubscription => ({ subscriber, topic, critical: false, maxInFlight });

export interface World {
  readonly file: string;
  readonly folder: string;
  readonly clock: Clock;
  host(limits?: Partial<RouterLimits>, seed?: number): RouterHost;
}

const worlds: { folder: string; hosts: RouterHost[] }[] = [];

export const world = (clock: Clock = realClock()): World => {
  const folder = mkdtempSync(join(tmpdir(), 'events-test-'));
  const hosts: RouterHost[] = [];
  worlds.push({ folder, hosts });
  const file = join(folder, 'events.db');
  return {
    file,
    folder,
    clock,
    host(limits = {}, seed = hosts.length + 1) {
      const host = createRouterHost({ file, catalogue: CATALOGUE, clock, random: seededRandom(seed), limits });
      hosts.push(host);
      return host;
    },
  };
};

/** For `afterEach`: ends every thread and removes every folder. */
export const clearWorlds = async (): Promise<void> => {
  for (const { folder, hosts } of worlds.splice(0)) {
    for (const host of hosts) await host.crash();
    rmSync(folder, { recursive: true, force: true });
  }
};

/** Resolves when `condition` holds; looked at once a turn. */
export const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 1));
};

export const publisherOf = (host: RouterHost): EventClient =>
  host.client({ subscriber: 'PUBLISHER', generation: 1, publishes: ['COUNTED', 'NAMED'], handlers: {} });

/** A subscriber of COUNTED that remembers what it handled. */
export const collector = async (
  host: RouterHost,
  subscriber: string,
  handle: (event: Counted) => Promise<void> | void = () => {},
  generation = 1,
): Promise<{ readonly client: EventClient; readonly seen: Counted[]; readonly numbers: () => number[] }> => {
  const seen: Counted[] = [];
  const client = host.client({
    subscriber,
    generation,
    publishes: [],
    handlers: {
      COUNTED: async (event: Counted) => {
        seen.push(event);
        await handle(event);
      },
    },
  });
  await client.attach();
  return { client, seen, numbers: () => seen.map((event) => event.body.n) };
};

/** The rejection of a promise; fails when it resolves. */
export const rejection = async (promise: Promise<unknown>): Promise<Error & { code?: string; remedy?: string }> => {
  try {
    await promise;
  } catch (thrown) {
    return thrown as Error;
  }
  throw new Error('expected a rejection');
};

/** Lets this thread's loop turn once. */
export const oneTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, index) => from + index);

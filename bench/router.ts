/**
 * What the event router carries: publish (zod on, synchronous=FULL) → stored → delivered → handled → cursor kept, with
 * 256-byte events, for 1 and 10 subscribers; then latency and main-loop delay at 5,000 events/s. The physical limit beside
 * it is what this disk gives: fdatasync/s of a small append in the same directory, since every commit costs one.
 *
 * Usage: npx tsx bench/router.ts [--events N] [--dir DIR] [--only one,ten,latency]
 */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { createRouterHost } from '../src/events/router-host.ts';
import { realClock } from '../src/seams/clock.ts';
import { realRandom } from '../src/seams/random.ts';
import { threadTimes } from './support/cpu.ts';
import { judged } from './support/judged.ts';

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '1000000' },
    dir: { type: 'string' },
    publishers: { type: 'string', default: '2000' },
    only: { type: 'string', default: 'one,ten,latency' },
  },
});
const EVENTS = Number(values.events);
const only = (part: string): boolean => values.only.split(',').includes(part);
const PUBLISHERS = Number(values.publishers);
const AIM_DELIVERIES = 100_000;
const AIM_HANDLED_MS = 10;
const AIM_LOOP_MS = 5;

const CATALOGUE = {
  GAME_PLAYED: {
    version: 1,
    meaning: 'a game was played',
    body: z.object({
      gameId: z.string(),
      config: z.string(),
      moves: z.number().int(),
      winner: z.number().int().nullable(),
      scores: z.array(z.number()),
      note: z.string().optional(),
      sentAt: z.number(),
    }),
  },
};
/** 256 characters of JSON. */
const bodyOf = (number: number, sentAt: number) => ({
  gameId: `square8_2p-${String(100_000_000 + number)}`,
  config: 'square8_2p',
  moves: 60,
  winner: 1,
  scores: [40, 24],
  note: NOTE,
  sentAt,
});
const NOTE = 'x'.repeat(132);

const root = mkdtempSync(join(values.dir ?? tmpdir(), 'bench-router-'));
const percentile = (sorted: Float64Array, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

/** Beyond the resolution of 1 ms, which the monitor counts as well. */
const loopDelayMs = (loop: IntervalHistogram): number => (loop.percentile(99) - 1e6) / 1e6;

const syncsPerSecond = (): number => {
  const file = join(root, 'sync');
  const handle = openSync(file, 'w');
  const bytes = Buffer.alloc(4096);
  const from = performance.now();
  let syncs = 0;
  for (; performance.now() - from < 500; syncs++) {
    writeSync(handle, bytes);
    fdatasyncSync(handle);
  }
  const seconds = (performance.now() - from) / 1000;
  closeSync(handle);
  return syncs / seconds;
};

/** CPU seconds since `before`: the main thread, the busiest other one (the router's), and all the rest (GC helpers). */
const cpuSince = (before: ReadonlyMap<string, number>) => {
  const used = [...threadTimes()].map(([tid, time]) => ({ tid, seconds: (time - (before.get(tid) ?? 0)) / 1e9 }));
  const main = used.find(({ tid }) => tid === String(process.pid))?.seconds ?? 0;
  const others = used.filter(({ tid }) => tid !== String(process.pid)).map(({ seconds }) => seconds);
  const router = Math.max(...others);
  return { main, router, rest: others.reduce((sum, seconds) => sum + seconds, 0) - router };
};

const world = async (subscribers: number, handle: (sentAt: number) => void) => {
  const folder = mkdtempSync(join(root, 'run-'));
  const host = createRouterHost({
    file: join(folder, 'events.db'),
    catalogue: CATALOGUE,
    clock: realClock(),
    random: realRandom(),
  });
  const names = Array.from({ length: subscribers }, (_, index) => `SUBSCRIBER_${index}`);
  host.declare(names.map((subscriber) => ({ subscriber, topic: 'GAME_PLAYED', critical: false, maxInFlight: 1 })));
  await host.start();
  let handled = 0;
  let wake: (() => void) | null = null;
  let target = Infinity;
  for (const subscriber of names) {
    const client = host.client({
      subscriber,
      generation: 1,
      publishes: [],
      handlers: {
        // An async function, as daemons' handlers are: one promise per delivery is part of the price.
        GAME_PLAYED: async (event: { body: { sentAt: number } }) => {
          handle(event.body.sentAt);
          if (++handled === target) wake?.();
        },
      },
    });
    await client.attach();
  }
  const publisher = host.client({ subscriber: 'PUBLISHER', generation: 1, publishes: ['GAME_PLAYED'], handlers: {} });
  return {
    host,
    publisher,
    reached: (count: number) =>
      new Promise<void>((resolve) => {
        target = count;
        wake = resolve;
        if (handled >= count) resolve();
      }),
  };
};

/** PUBLISHERS publishers, each awaiting its receipt before the next event: the offered load follows what is carried. */
const throughput = async (subscribers: number, events: number): Promise<number> => {
  const { host, publisher, reached } = await world(subscribers, () => {});
  const loop = monitorEventLoopDelay({ resolution: 1 });
  const all = reached(events * subscribers);
  loop.enable();
  const cpu = threadTimes();
  const from = performance.now();
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < events) await publisher.publish('GAME_PLAYED', bodyOf(next++, 0));
  };
  await Promise.all(Array.from({ length: PUBLISHERS }, one));
  const published = performance.now() - from;
  await all;
  const seconds = (performance.now() - from) / 1000;
  loop.disable();
  const { main, router, rest } = cpuSince(cpu);
  const perDelivery = (time: number): string => ((time * 1e6) / (events * subscribers)).toFixed(1);
  const { lost, rows } = await host.audit();
  const { commits, commitMsTotal } = host.stats();
  await host.stop();
  const rate = (events * subscribers) / seconds;
  const delay = loopDelayMs(loop);
  console.log(
    `${String(subscribers).padStart(2)} subscriber(s): ${Math.round(rate).toLocaleString('en')} deliveries/s, ` +
      `${Math.round((events / published) * 1000).toLocaleString('en')} durable publishes/s, ` +
      `aim ${AIM_DELIVERIES.toLocaleString('en')}: ${judged(rate >= AIM_DELIVERIES && lost === 0)}; ` +
      `main-loop delay p99 ${delay.toFixed(1)} ms (aim ${AIM_LOOP_MS}): ${judged(delay <= AIM_LOOP_MS)}; ${commits} commits of ${(commitMsTotal / commits).toFixed(2)} ms; ` +
      `CPU µs a delivery: main ${perDelivery(main)}, router ${perDelivery(router)}, rest ${perDelivery(rest)}; lost ${lost} of ${rows.length * events}`,
  );
  return rate;
};

const latency = async (subscribers: number, perSecond: number, seconds: number): Promise<void> => {
  const samples = new Float64Array(perSecond * seconds * subscribers);
  let count = 0;
  const { host, publisher, reached } = await world(subscribers, (sentAt) => {
    samples[count++] = performance.now() - sentAt;
  });
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  const total = perSecond * seconds;
  const all = reached(total * subscribers);
  const from = performance.now();
  let sent = 0;
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - from) / 1000) * perSecond));
      for (; sent < due; sent++) void publisher.publish('GAME_PLAYED', bodyOf(sent, performance.now()));
      if (sent === total) {
        clearInterval(timer);
        resolve();
      }
    }, 1);
  });
  await all;
  loop.disable();
  await host.stop();
  const sorted = samples.subarray(0, count).sort();
  const p99 = percentile(sorted, 0.99);
  const delay = loopDelayMs(loop);
  console.log(
    `${String(subscribers).padStart(2)} subscriber(s) at ${perSecond.toLocaleString('en')} events/s: publish → handled ` +
      `p50 ${percentile(sorted, 0.5).toFixed(2)} ms, p99 ${p99.toFixed(2)} ms (aim ${AIM_HANDLED_MS}): ${judged(p99 <= AIM_HANDLED_MS)}, max ${percentile(sorted, 1).toFixed(1)} ms; ` +
      `main-loop delay p99 ${delay.toFixed(2)} ms (aim ${AIM_LOOP_MS}): ${judged(delay <= AIM_LOOP_MS)}`,
  );
};

try {
  const syncs = syncsPerSecond();
  console.log(`event: ${JSON.stringify(bodyOf(1, 12_345.678)).length} characters of JSON`);
  console.log(`disk: ${Math.round(syncs).toLocaleString('en')} fdatasync/s of 4 KiB appends in ${root}`);
  if (only('one')) {
    const alone = await throughput(1, EVENTS);
    console.log(`   = ${(alone / syncs).toFixed(1)} deliveries for each fdatasync that the disk can do`);
  }
  if (only('ten')) await throughput(10, Math.ceil(EVENTS / 10));
  if (only('latency')) {
    await latency(1, 5000, 4);
    await latency(10, 5000, 4);
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}

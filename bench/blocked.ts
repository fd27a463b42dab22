/**
 * Figure: with the main loop blocked, /health, status and why answer within 50 ms, and say engine_stalled after 2 s; with
 * 100 slow clients on the port and a scrape storm beside them.
 *
 * The blocked program is a process of its own with 85 daemons and a journal of 20,000 records; it holds its loop for
 * SECONDS (default 10) and this one asks all the while. The limit beside each figure is the same question to the same
 * server while nothing is blocked and nobody else asks.
 *
 * Usage: npx tsx bench/blocked.ts [SECONDS]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openJournal } from '../src/journal/journal.ts';
import { connect, type ControlClient } from '../src/operations/client/index.ts';
import { startServer } from '../src/operations/server/host.ts';
import { realClock } from '../src/seams/clock.ts';
import { programCommand } from '../src/seams/entry.ts';
import { realFileSystem } from '../src/seams/real-file-system.ts';
import { bigFleet } from './support/big-fleet.ts';
import { judged } from './support/judged.ts';

const CHILD = '--blocked-program';
const RECORDS = 20_000;
const SLOW_CLIENTS = 100;
const AIM_MS = 50;

const blockedProgram = async (dataDir: string, seconds: number): Promise<void> => {
  const clock = realClock();
  const fleet = bigFleet(85);
  const journalFolder = join(dataDir, 'journal');
  const journal = openJournal({
    folder: journalFolder,
    files: realFileSystem(),
    clock,
    fleetHash: 'bench',
    coreVersion: 'bench',
  });
  for (let index = 0; index < RECORDS; index++) {
    const cause = index === 0 ? null : index;
    const data = {
      daemon: `DAEMON_${index % 85}`,
      from: 'RUNNING',
      to: 'RESTARTING',
      on: 'exited',
      why: 'exit',
      message: 'x'.repeat(60),
      generation: index,
    };
    journal.append({ kind: 'transition', cause, data });
    if (index % 100 === 0) journal.flush();
  }
  journal.flush();
  const attribution = new SharedArrayBuffer(4);
  const running = new Int32Array(attribution);
  running[0] = -1;
  const host = await startServer({ ...fleet.options, dataDir, journalFolder, clock, attribution });
  console.log(JSON.stringify({ port: host.port }));
  createInterface({ input: process.stdin }).once('line', () => {
    running[0] = 3;
    const end = performance.now() + seconds * 1_000;
    while (performance.now() < end);
    running[0] = -1;
    console.log(JSON.stringify({ awake: true }));
  });
};

const quantile = (values: readonly number[], share: number): number =>
  [...values].sort((one, other) => one - other)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? NaN;

const getHealth = (port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path: '/health', agent: false }, (response) => {
      let text = '';
      response.on('data', (part: Buffer) => (text += part.toString()));
      response.on('end', () => resolve(text));
    });
    asked.on('error', reject);
    asked.end();
  });

type Times = Record<'/health' | 'status' | 'why', number[]>;

/** Asks in turn until told to stop. */
const askOn = async (
  client: ControlClient,
  port: number,
  isOver: () => boolean,
  onHealth: (text: string) => void,
): Promise<Times> => {
  const times: Times = { '/health': [], status: [], why: [] };
  const timed = async (of: keyof Times, question: () => Promise<unknown>): Promise<void> => {
    const begun = performance.now();
    await question();
    times[of].push(performance.now() - begun);
  };
  for (let round = 0; !isOver(); round++) {
    await timed('/health', async () => onHealth(await getHealth(port)));
    await timed('status', () => client.status());
    await timed('why', () => client.why(`DAEMON_${round % 85}`));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return times;
};

const main = async (seconds: number): Promise<void> => {
  const dataDir = mkdtempSync(join(tmpdir(), 'ml-blocked-'));
  const [program, ...args] = programCommand('./blocked.ts', import.meta.url, [CHILD, dataDir, String(seconds)]);
  const child = spawn(program as string, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    let awake = false;
    const port = await new Promise<number>((resolve) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const said = JSON.parse(line) as { port?: number; awake?: boolean };
        if (said.port !== undefined) resolve(said.port);
        if (said.awake === true) awake = true;
      });
    });
    const client = await connect({ dataDir });
    await askOn(
      client,
      port,
      (() => {
        let left = 30;
        return () => left-- === 0;
      })(),
      () => undefined,
    ); // warm
    const quietEnd = performance.now() + 1_500;
    const quiet = await askOn(
      client,
      port,
      () => performance.now() > quietEnd,
      () => undefined,
    );

    const slow = Array.from({ length: SLOW_CLIENTS }, () => {
      const socket = connectSocket(port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write('POST /recover HTTP/1.1\r\nhost: localhost\r\nx: ');
      return socket;
    });
    let scrapes = 0;
    const scraping = setInterval(() => {
      for (let count = 0; count < 5; count++)
        client.metrics().then(
          () => scrapes++,
          () => undefined,
        );
    }, 50);
    child.stdin.write('block\n');
    const begun = performance.now();
    let stalledAt: number | null = null;
    let heldBy = '';
    const blocked = await askOn(
      client,
      port,
      () => awake,
      (text) => {
        const report = JSON.parse(text) as { status: string; heldBy?: string };
        if (report.status !== 'engine_stalled' || stalledAt !== null) return;
        stalledAt = performance.now() - begun;
        heldBy = report.heldBy ?? '';
      },
    );
    clearInterval(scraping);
    for (const socket of slow) socket.destroy();
    client.close();

    console.log(
      `main loop blocked for ${seconds} s, ${SLOW_CLIENTS} slow clients, ${scrapes} scrapes, ${RECORDS} journal records`,
    );
    for (const of of ['/health', 'status', 'why'] as const) {
      const p99 = quantile(blocked[of], 0.99);
      const limit = quantile(quiet[of], 0.5);
      console.log(
        `${of.padEnd(8)} ${String(blocked[of].length).padStart(5)} answers  median ${quantile(blocked[of], 0.5).toFixed(1)} ms  p99 ${p99.toFixed(1)} ms  worst ${Math.max(...blocked[of]).toFixed(1)} ms` +
          `  (quiet median ${limit.toFixed(1)} ms, p99 is ${(p99 / limit).toFixed(1)} × that)  aim ${AIM_MS} ms: ${judged(p99 <= AIM_MS)}`,
      );
    }
    console.log(
      `engine_stalled after ${stalledAt === null ? 'never' : `${((stalledAt as number) / 1_000).toFixed(2)} s`}, held by ${heldBy}: ${judged(stalledAt !== null)}`,
    );
  } finally {
    child.kill('SIGKILL');
    rmSync(dataDir, { recursive: true, force: true });
  }
};

if (process.argv[2] === CHILD) await blockedProgram(process.argv[3] as string, Number(process.argv[4]));
else await main(Number(process.argv[2] ?? 10));

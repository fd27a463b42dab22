import { expect } from 'chai';
import { PAUSES_MS, QUEUE_MAX, webhook } from '../../../src/operations/alerts/webhook.ts';
import type { Alert } from '../../../src/operations/alerts/rules.ts';
import type { HttpRequest } from '../../../src/seams/network.ts';
import { simulatedClock } from '../../../src/simulation/simulated-clock.ts';
import { simulatedNetwork } from '../../../src/simulation/simulated-network.ts';

const PORT = 9999;
const SECRET = 'T0KEN-in-the-path';

const alert = (n: number, over: Partial<Alert> = {}): Alert => ({
  rule: 'failed',
  kind: 'failed',
  state: 'raised',
  daemon: 'A',
  topic: null,
  message: `alert ${n}`,
  value: null,
  over: null,
  raisedWallMs: n,
  wallMs: n,
  to: ['ops'],
  ...over,
});

const world = () => {
  const clock = simulatedClock();
  const network = simulatedNetwork({ clock });
  const lines: string[] = [];
  const asked: HttpRequest[] = [];
  let status: number | null = 200;
  network.serve(PORT, (request) => {
    asked.push(request);
    return status === null ? null : { status };
  });
  const sink = webhook({
    sink: { name: 'ops', webhook: `http://user:${SECRET}@127.0.0.1:${PORT}/${SECRET}?key=${SECRET}` },
    fleet: 'f',
    clock,
    network,
    log: { error: (line) => lines.push(`ERROR ${line}`), info: (line) => lines.push(`INFO ${line}`) },
  });
  return {
    clock,
    network,
    lines,
    sink,
    asked,
    answers: (next: number | null) => void (status = next),
    bodies: () => asked.map(({ body }) => JSON.parse(String(body)) as Record<string, unknown>),
  };
};

const SPENT_MS = PAUSES_MS.reduce((sum, pause) => sum + pause, 0) + (PAUSES_MS.length + 1) * 5_000 + 1_000;

describe('alert webhook', () => {
  it('an alert is one POST of JSON that a receiver can match with its end', async () => {
    const { sink, clock, bodies, asked } = world();
    sink.send(alert(1));
    sink.send(alert(2, { state: 'resolved', raisedWallMs: 1 }));
    await clock.advance(100);
    expect(asked[0]).to.deep.include({ method: 'POST', headers: { 'content-type': 'application/json' } });
    const [raised, resolved] = bodies();
    expect(raised).to.deep.include({ version: 1, fleet: 'f', state: 'raised', severity: 'critical', daemon: 'A' });
    expect(resolved).to.deep.include({ state: 'resolved', severity: 'info', key: raised?.['key'] });
    expect(sink.figures()).to.deep.include({ delivered: 2, queued: 0, failedTries: 0, dead: false });
  });

  it('a refusal is tried again with growing pauses, and those behind it keep their order', async () => {
    const { sink, clock, bodies, answers } = world();
    answers(503);
    sink.send(alert(1));
    sink.send(alert(2));
    await clock.advance(1_500);
    expect(bodies().map(({ message }) => message)).to.deep.equal(['alert 1', 'alert 1']);
    answers(204);
    await clock.advance(2_000);
    expect(bodies().map(({ message }) => message)).to.deep.equal(['alert 1', 'alert 1', 'alert 1', 'alert 2']);
    expect(sink.figures()).to.deep.include({ delivered: 2, failedTries: 2, dropped: 0, lastFailure: null });
  });

  const deaths: readonly (readonly [string, (one: ReturnType<typeof world>) => void, RegExp])[] = [
    ['answers with an error', ({ answers }) => answers(500), /status 500/],
    ['accepts and never answers', ({ answers }) => answers(null), /did not answer within 5 s/],
    ['cannot be reached', ({ network }) => network.partition(PORT, true), /did not answer|cannot be reached/],
  ];
  for (const [how, kill, reason] of deaths)
    it(`a sink that ${how} is given up alert by alert, said once, and no line holds its secret`, async () => {
      const one = world();
      kill(one);
      one.sink.send(alert(1));
      one.sink.send(alert(2));
      await one.clock.advance(2 * SPENT_MS);
      expect(one.sink.figures()).to.deep.include({ dropped: 2, queued: 0, delivered: 0, dead: true });
      expect(one.sink.figures().failedTries).to.equal(2 * (PAUSES_MS.length + 1));
      expect(one.lines).to.have.length(1);
      expect(one.lines[0]).to.match(reason);
      one.network.partition(PORT, false);
      one.answers(200);
      one.sink.send(alert(3));
      await one.clock.advance(100);
      expect(one.lines[1]).to.equal('INFO alerts reach sink ops again');
      expect(one.sink.figures()).to.deep.include({ delivered: 1, dead: false });
      expect(one.lines.join('\n') + JSON.stringify(one.sink.figures())).not.to.include(SECRET);
    });

  it('more alerts than the queue holds push out the oldest, counted', async () => {
    const { sink, clock, bodies, answers } = world();
    answers(null);
    for (let n = 1; n <= QUEUE_MAX + 5; n++) sink.send(alert(n));
    expect(sink.figures()).to.deep.include({ queued: QUEUE_MAX, dropped: 5 });
    answers(200);
    await clock.advance(20_000);
    expect(sink.figures()).to.deep.include({ queued: 0, delivered: QUEUE_MAX, dropped: 5 });
    expect(bodies().at(-1)?.['message']).to.equal(`alert ${QUEUE_MAX + 5}`);
  });

  it('closed in the middle of a pause, it asks no more and leaves no timer', async () => {
    const { sink, clock, asked, answers } = world();
    answers(500);
    sink.send(alert(1));
    await clock.advance(10);
    sink.close();
    sink.send(alert(2));
    await clock.advance(60_000);
    expect(asked).to.have.length(1);
    expect(clock.pending()).to.equal(0);
  });
});

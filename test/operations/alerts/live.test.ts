import { expect } from 'chai';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { defineDaemon } from '../../../src/daemons/definition.ts';
import { alertRules } from '../../../src/fleet/alerts.ts';
import { startAlerts } from '../../../src/operations/alerts/alerts.ts';
import { realNetwork } from '../../../src/seams/real-network.ts';
import { clearFleets, liveFleet } from '../../support/live-fleet.ts';

const FRAIL = defineDaemon({
  type: 'FRAIL',
  purpose: 'fails until it is allowed to run',
  category: 'test',
  critical: true,
  create: () => ({}),
});

interface Sent {
  readonly kind: string;
  readonly state: string;
  readonly at: string;
  readonly key: string;
}

describe('alerts of a fleet that really runs', function () {
  this.timeout(20_000);
  afterEach(clearFleets);

  it('a daemon that spends its budget reaches log and webhook within a second of FAILED, and its return does too', async () => {
    const sent: Sent[] = [];
    const server = createServer((request, response) => {
      let text = '';
      request.on('data', (part: Buffer) => (text += part.toString()));
      request.on('end', () => {
        sent.push(JSON.parse(text) as Sent);
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const live = await liveFleet({ daemons: [FRAIL] });
    const { supervisor } = live;
    const alerts = startAlerts({
      fleet: {
        name: 'f',
        alerts: alertRules([], ['log', 'ops']),
        alertSinks: [{ name: 'ops', webhook: `http://127.0.0.1:${port}/` }],
      },
      supervisor,
      router: null,
      clock: live.clock,
      network: realNetwork(),
      log: live.log,
    });
    try {
      await live.settled();
      let failedAt = NaN;
      supervisor.onTurn(({ transitions }) => {
        for (const { to, wallMs } of transitions) if (to === 'FAILED') failedAt = wallMs;
      });
      supervisor.runtime.inject('FRAIL', 'fail-start', 10);
      supervisor.runtime.inject('FRAIL', 'throw');
      await live.until('FAILED is sent', () => sent.some(({ kind }) => kind === 'failed'));
      expect(sent.map(({ kind, state }) => `${kind} ${state}`)).to.deep.equal([
        'critical-down raised',
        'failed raised',
      ]);
      expect(Date.parse(sent[1]?.at ?? '') - failedAt).to.be.within(0, 1_000);

      supervisor.runtime.clearFaults('FRAIL');
      await supervisor.execute({ verb: 'reset', daemons: ['FRAIL'], origin: 'operator', reason: 'mended', waitMs: 0 });
      await live.until('both ends are sent', () => sent.length === 4);
      expect(sent.slice(2).map(({ kind, state }) => `${kind} ${state}`)).to.deep.equal([
        'failed resolved',
        'critical-down resolved',
      ]);
      expect(sent[3]?.key).to.equal(sent[0]?.key);
      expect(live.lines.filter((line) => line.startsWith('CRITICAL'))).to.have.length(2);
    } finally {
      alerts.close();
      server.close();
    }
  });
});

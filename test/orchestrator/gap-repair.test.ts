import { expect } from 'chai';
import type { RouterHost } from '../../src/events/router-api.ts';
import type { SubscriptionState } from '../../src/events/types.ts';
import { repairGaps, type GapRepairOptions } from '../../src/orchestrator/gap-repair.ts';

const GAP: SubscriptionState = {
  ...{ subscriber: 'A', topic: 'T', critical: true, state: 'gap', reason: 'handler of A busy for 6 s on event e1' },
  ...{ lag: 1, handled: 0, deadLetters: 0, inFlight: 1, cursor: 0 },
};
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('The repair of a subscription gap', () => {
  let open: (gap: SubscriptionState) => void;
  let presence: RouterHost['presence'];
  let running: boolean;
  let attempts: { readonly resolve: () => void; readonly reject: (error: Error) => void }[];
  let restarts: string[];
  let lines: string[];
  let end: () => void;
  const repair = (over: Partial<GapRepairOptions> = {}): void => {
    const router = {
      get presence() {
        return presence;
      },
      onGap: (listener: typeof open) => {
        open = listener;
        return () => (open = () => undefined);
      },
      reattach: () => new Promise<void>((resolve, reject) => attempts.push({ resolve, reject })),
    } as unknown as RouterHost;
    end = repairGaps({
      ...{ router, isRunning: () => running, onGap: () => undefined, log: (line) => void lines.push(line) },
      restart: (daemon, reason) => void restarts.push(`${daemon}: ${reason}`),
      ...over,
    });
  };

  beforeEach(() => {
    presence = 'serving';
    running = true;
    attempts = [];
    restarts = [];
    lines = [];
  });

  it('is a new attach, one at a time, and nothing else when that closes it', async () => {
    repair();
    open(GAP);
    open({ ...GAP, topic: 'U' });
    expect(attempts).to.have.length(1);
    attempts[0]!.resolve();
    await settled();
    expect(lines).to.deep.equal([
      'subscription gap: A T: handler of A busy for 6 s on event e1; re-attaching',
      'subscription gap closed: A',
    ]);
    expect(restarts).to.deep.equal([]);
    open(GAP);
    expect(attempts).to.have.length(2);
    end();
  });

  it('that outlives the attach asks for a restart, unless the router is away or the daemon on its way', async () => {
    repair();
    for (const [what, change] of [
      ['restarted', () => undefined],
      ['router away', () => (presence = 'away')],
      ['not running', () => ((presence = 'serving'), (running = false))],
    ] as const) {
      running = true;
      open(GAP);
      change();
      attempts.at(-1)!.reject(new Error(what));
      await settled();
    }
    expect(restarts).to.deep.equal(['A: subscription gap on T outlived re-attaching: restarted']);
    expect(attempts).to.have.length(3);
  });

  it('whose restart cannot even be asked for leaves the next gap to be repaired', async () => {
    repair({
      restart: () => {
        throw new Error('the loop is gone');
      },
    });
    open(GAP);
    attempts[0]!.reject(new Error('still busy'));
    await settled();
    open(GAP);
    expect(attempts).to.have.length(2);
  });
});

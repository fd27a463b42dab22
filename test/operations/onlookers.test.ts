import { expect } from 'chai';
import type { RouterHost } from '../../src/events/router-api.ts';
import type { SubscriptionState } from '../../src/events/types.ts';
import type { Logging } from '../../src/operations/logging/logging.ts';
import { tellOfTransition, watchGaps } from '../../src/operations/onlookers.ts';
import type { Supervisor } from '../../src/orchestrator/supervisor.ts';
import type { HistoryEntry } from '../../src/orchestrator/types.ts';

const GAP: SubscriptionState = {
  ...{ subscriber: 'A', topic: 'T', critical: true, state: 'gap', reason: 'busy' },
  ...{ lag: 1, handled: 0, deadLetters: 0, inFlight: 1, cursor: 0 },
};
const ENTRY: HistoryEntry = {
  ...{ seq: 7, cause: 6, time: '2026-11-24T12:00:00.000Z', daemon: 'A', from: 'RUNNING', to: 'RESTARTING' },
  ...{ on: 'exited', why: 'exit', message: 'boom', generation: 1 },
};
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('Those who tell the bus, while it takes nothing', () => {
  let lines: string[];
  let logging: Logging;
  beforeEach(() => {
    lines = [];
    const line = (level: string) => (text: string) => void lines.push(`${level} ${text}`);
    logging = { master: { debug: line('debug'), warn: line('warn') } } as unknown as Logging;
  });
  const full = (): Promise<never> => Promise.reject(new Error('the outbox is full'));

  it('a transition that could not be published is a line for whoever debugs', async () => {
    tellOfTransition({ publishExternal: full }, 'instance', ENTRY, logging);
    await settled();
    expect(lines).to.deep.equal(['debug a transition was not published: the outbox is full']);
  });

  it('a subscription gap that could not be published is a warning, and is repaired all the same', async () => {
    const listeners: { gap?: (state: SubscriptionState) => void; change?: (state: SubscriptionState) => void } = {};
    let reattached = 0;
    const router = {
      publishExternal: full,
      presence: 'serving',
      onGap: (listener: (state: SubscriptionState) => void) => ((listeners.gap = listener), () => undefined),
      onLedgerChange: (listener: (state: SubscriptionState) => void) => (
        (listeners.change = listener),
        () => undefined
      ),
      reattach: () => (reattached++, Promise.resolve()),
    } as unknown as RouterHost;
    const supervisor = { statusOf: () => ({ state: 'RUNNING' }) } as unknown as Supervisor;
    const end = watchGaps(router, supervisor, logging);
    listeners.gap?.(GAP);
    await settled();
    listeners.change?.({ ...GAP, state: 'attached', reason: null });
    await settled();
    end();
    expect(reattached).to.equal(1);
    expect(lines.filter((text) => text.includes('not published'))).to.deep.equal(
      Array(2).fill('warn a subscription gap was not published: the outbox is full'),
    );
  });
});

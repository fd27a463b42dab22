/**
 * Subscribers outside the fleet: a shell script, another program, the control socket's clients.
 *
 * Each is an ordinary subscription whose handler waits for somebody to fetch the event and say what became of it. So the
 * log, the order, the retries, the dead letters and the books are the same as inside; only the wait is bounded by a lease
 * (which begins when the event is fetched, not when it is offered), and one that does not come costs a bounded number of
 * events in memory until it is let go after some minutes.
 */
import type { Clock, Timer } from '../seams/clock.ts';
import { unknownExternal } from './event-errors.ts';
import type { HeldClient } from './client.ts';
import type { ClientOptions, RouterLimits } from './router-api.ts';
import type { EventEnvelope, EventHandler } from './types.ts';

/** Events offered to one external subscription at once. */
export const EXTERNAL_IN_FLIGHT = 256;
const LET_GO_MS = 300_000;
const SEEN_MS = 60_000;

export const externalSubscriber = (name: string): string => `external:${name}`;

interface Offer {
  readonly event: EventEnvelope;
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
  /** Running once it was fetched; null before. */
  lease: Timer | null;
}

interface Desk {
  client: HeldClient | null;
  /** By offset; an event is on one topic, so offsets are unique over the subscriber's topics. */
  readonly offers: Map<number, Offer>;
  /** Offsets not fetched yet. */
  ready: number[];
  waiting: (() => void)[];
  letGo: Timer | null;
  seenAt: number;
}

export interface ExternalTools {
  readonly clock: Clock;
  readonly limits: RouterLimits;
  open(options: ClientOptions): HeldClient;
  /** Topics of an external subscriber, empty when it does not exist. */
  topicsOf(subscriber: string): string[];
  names(): string[];
  serving(signal?: AbortSignal): Promise<void>;
  durable(): Promise<void>;
  seen(subscriber: string): void;
}

export const createExternal = ({ clock, limits, open, topicsOf, names, serving, durable, seen }: ExternalTools) => {
  const desks = new Map<string, Desk>();

  const close = (name: string): void => {
    const desk = desks.get(name);
    if (desk === undefined) return;
    desks.delete(name);
    desk.letGo?.cancel();
    for (const offer of desk.offers.values()) offer.lease?.cancel();
    desk.client?.detach();
    for (const wake of desk.waiting.splice(0)) wake();
  };

  const openDesk = (name: string, topics: readonly string[]): Desk => {
    const desk: Desk = { client: null, offers: new Map(), ready: [], waiting: [], letGo: null, seenAt: -Infinity };
    const offer: EventHandler<never> = (event: EventEnvelope) =>
      new Promise<void>((resolve, reject) => {
        desk.offers.set(event.offset, { event, resolve, reject, lease: null });
        desk.ready.push(event.offset);
        for (const wake of desk.waiting.splice(0)) wake();
      });
    desk.client = open({
      subscriber: externalSubscriber(name),
      generation: 1,
      publishes: [],
      handlers: Object.fromEntries(topics.map((topic) => [topic, offer])),
    });
    desks.set(name, desk);
    void desk.client.attach().catch(() => close(name)); // a subscription forgotten meanwhile: the next poll says so
    return desk;
  };

  const deskOf = async (name: string, signal?: AbortSignal): Promise<Desk> => {
    const known = desks.get(name);
    if (known !== undefined) return known;
    await serving(signal);
    const topics = topicsOf(externalSubscriber(name));
    if (topics.length === 0) throw unknownExternal(name, names());
    return desks.get(name) ?? openDesk(name, topics);
  };

  const touch = (name: string, desk: Desk): void => {
    desk.letGo?.cancel();
    desk.letGo = clock.after(LET_GO_MS, () => close(name), { background: true });
    const now = clock.monotonicMs();
    if (now - desk.seenAt < SEEN_MS) return;
    desk.seenAt = now;
    seen(externalSubscriber(name));
  };

  const fetch = (desk: Desk, max: number): EventEnvelope[] => {
    const offsets = desk.ready.sort((one, other) => one - other).splice(0, max);
    return offsets.map((offset) => {
      const offer = desk.offers.get(offset)!;
      offer.lease = clock.after(
        limits.externalLeaseMs,
        () => {
          desk.offers.delete(offset);
          offer.reject(new Error(`not acknowledged within ${limits.externalLeaseMs / 1000} s`));
        },
        { background: true },
      );
      return offer.event;
    });
  };

  const take = (desk: Desk, offset: number): Offer | null => {
    const offer = desk.offers.get(offset);
    if (offer === undefined || offer.lease === null) return null;
    offer.lease.cancel();
    desk.offers.delete(offset);
    return offer;
  };

  return {
    /** Its topics changed: the next poll opens it anew. */
    close,
    async poll(
      name: string,
      { max, waitMs, signal }: { readonly max: number; readonly waitMs: number; readonly signal?: AbortSignal },
    ): Promise<readonly EventEnvelope[]> {
      const desk = await deskOf(name, signal);
      touch(name, desk);
      if (desk.ready.length === 0 && waitMs > 0 && signal?.aborted !== true) {
        await new Promise<void>((resolve) => {
          const done = (): void => {
            timer.cancel();
            signal?.removeEventListener('abort', done);
            desk.waiting = desk.waiting.filter((one) => one !== done);
            resolve();
          };
          const timer = clock.after(waitMs, done, { background: true });
          signal?.addEventListener('abort', done, { once: true });
          desk.waiting.push(done);
        });
      }
      // A reader that went away fetches nothing: its lease would only delay the next one.
      return signal?.aborted === true ? [] : fetch(desk, Math.max(0, max));
    },
    async ack(name: string, offsets: readonly number[]): Promise<number> {
      const desk = await deskOf(name);
      touch(name, desk);
      const taken = offsets.map((offset) => take(desk, offset)).filter((offer) => offer !== null);
      for (const offer of taken) offer.resolve();
      await Promise.resolve(); // the lane hears of it in the microtask of the promise just resolved
      await durable();
      return taken.length;
    },
    async fail(name: string, offset: number, reason: string): Promise<void> {
      const desk = await deskOf(name);
      touch(name, desk);
      take(desk, offset)?.reject(new Error(reason));
      await Promise.resolve();
      await durable();
    },
  };
};

/**
 * What operators and other programs may ask of the event router, as the control server forwards it: arguments checked
 * here, then one call of the router. A reader of `tail` that stops asking is forgotten.
 */
import { z } from 'zod';
import type { Fills } from '../bounds.ts';
import { OrchestratorError } from '../errors.ts';
import type { EventTail, RouterHost } from '../events/router-api.ts';
import type { EventEnvelope, PublishReceipt } from '../events/types.ts';
import type { Clock, Timer } from '../seams/clock.ts';
import type { EventVerb } from './server/protocol.ts';

const TAIL_EVENTS_KEPT = 2_000;
/** Characters of all events that wait for readers; beyond it the longest queue loses its oldest. */
const TAIL_CHARACTERS_KEPT = 32 * 1024 * 1024;
/** A reader that has not asked for this long is gone. Milliseconds. */
const READER_IDLE_MS = 60_000;
const READERS_MAX = 32;
/** When all places are taken, one that has not asked for this long makes way: who reads asks again at once. Milliseconds. */
const READER_GONE_MS = 10_000;
const WAIT_MS_MAX = 60_000;
/** A publisher hears within this whether its event is stored; a client waits 5 s for an answer. Milliseconds. */
const RECEIPT_MS = 3_000;

const name = z.string().min(1).max(128);
const waitMs = z.number().min(0).max(WAIT_MS_MAX).default(0);
const ARGUMENTS = {
  publish: z.object({
    topic: name,
    body: z.unknown(),
    source: name.default('cli'),
    id: z.string().max(200).optional(),
  }),
  poll: z.object({
    name,
    topics: z.array(name).max(200).optional(),
    max: z.number().int().min(1).max(1_000).default(100),
    waitMs,
  }),
  ack: z.object({ name, offsets: z.array(z.number().int()).max(10_000) }),
  tail: z.object({
    reader: name,
    topics: z.array(name).max(200).optional(),
    max: z.number().int().min(1).max(TAIL_EVENTS_KEPT).default(500),
    waitMs,
  }),
  'dead-letters': z.object({
    state: z.enum(['pending', 'recovered', 'abandoned']).default('pending'),
    subscriber: name.optional(),
    max: z.number().int().min(1).max(1_000).default(100),
  }),
  retry: z.object({
    which: z.union([z.literal('all'), z.literal('due'), z.array(z.number().int()).min(1).max(1_000)]),
  }),
  audit: z.object({}),
} as const;

export const argumentsInvalid = (what: string, issue: string): OrchestratorError =>
  new OrchestratorError('ARGUMENTS_INVALID', {
    message: `cannot ${what}: ${issue}`,
    remedy: 'see the arguments in docs/reference or with --help',
  });

const tooManyReaders = (): OrchestratorError =>
  new OrchestratorError('TOO_MANY', {
    message: `cannot follow the events: ${READERS_MAX} readers do already`,
    remedy: 'end one of them, or subscribe by name: "poll" has a place of its own in the log',
  });

/** The event was accepted and is not durable yet. */
export const unconfirmed = (topic: string, why: string): OrchestratorError =>
  new OrchestratorError('ROUTER_AWAY', {
    message: `cannot confirm that ${topic} is stored: ${why}`,
    remedy:
      'the master holds the event and stores it as soon as it can, unless it is ended before; "master_loop why EVENT_ROUTER" says what is wrong',
    context: { topic, why },
  });

interface Seen {
  readonly event: EventEnvelope;
  readonly characters: number;
}

interface Reader {
  readonly tail: EventTail;
  events: Seen[];
  characters: number;
  dropped: number;
  reported: number;
  /** Ends the wait of the call under way; null when none is. */
  wake: (() => void) | null;
  /** Monotonic milliseconds. */
  askedAt: number;
  idle: Timer;
}

export interface EventControl {
  handle(verb: EventVerb, args: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<unknown>;
  /** Readers of `tail`, and what waits for them. */
  collections(): Fills;
  close(): void;
}

export const eventControl = (router: RouterHost, clock: Clock): EventControl => {
  /** The one that asked last is last. */
  const readers = new Map<string, Reader>();
  let characters = 0;
  let eventsDropped = 0;
  let readersDropped = 0;

  const forget = (id: string): void => {
    const reader = readers.get(id);
    if (reader === undefined) return;
    readers.delete(id);
    hold(reader, -reader.characters);
    reader.events = [];
    reader.idle.cancel();
    reader.tail.close();
    reader.wake?.();
  };

  const hold = (reader: Reader, more: number): void => {
    reader.characters += more;
    characters += more;
  };
  const dropOldest = (reader: Reader): void => {
    hold(reader, -(reader.events.shift()?.characters ?? 0));
    reader.dropped++;
    eventsDropped++;
  };
  const longest = (): Reader =>
    [...readers.values()].reduce((one, other) => (other.characters > one.characters ? other : one));

  const readerOf = (id: string, topics: readonly string[] | undefined): Reader => {
    const known = readers.get(id);
    const idle = clock.after(READER_IDLE_MS + WAIT_MS_MAX, () => forget(id), { background: true });
    if (known !== undefined) {
      known.idle.cancel();
      known.idle = idle;
      known.askedAt = clock.monotonicMs();
      readers.delete(id);
      readers.set(id, known);
      return known;
    }
    if (readers.size >= READERS_MAX) {
      readersDropped++;
      const now = clock.monotonicMs();
      const gone = [...readers].find(([, { wake, askedAt }]) => wake === null && now - askedAt > READER_GONE_MS)?.[0];
      if (gone === undefined) {
        idle.cancel();
        throw tooManyReaders();
      }
      forget(gone);
    }
    const reader: Reader = {
      tail: router.tail(
        (event, length) => {
          reader.events.push({ event, characters: length });
          hold(reader, length);
          if (reader.events.length > TAIL_EVENTS_KEPT) dropOldest(reader);
          while (characters > TAIL_CHARACTERS_KEPT) dropOldest(longest());
          reader.wake?.();
        },
        topics === undefined ? {} : { topics },
      ),
      events: [],
      characters: 0,
      dropped: 0,
      reported: 0,
      wake: null,
      askedAt: clock.monotonicMs(),
      idle,
    };
    readers.set(id, reader);
    return reader;
  };

  const tail = async (args: z.output<(typeof ARGUMENTS)['tail']>, signal: AbortSignal): Promise<unknown> => {
    const reader = readerOf(args.reader, args.topics);
    if (reader.events.length === 0 && args.waitMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = clock.after(args.waitMs, resolve, { background: true });
        const done = (): void => {
          timer.cancel();
          resolve();
        };
        reader.wake = done;
        signal.addEventListener('abort', done, { once: true });
      });
      reader.wake = null;
    }
    // A reader that went away takes nothing: its next call gets what this one waited for.
    const taken = signal.aborted ? [] : reader.events.splice(0, args.max);
    for (const seen of taken) hold(reader, -seen.characters);
    const lost = reader.dropped + reader.tail.dropped;
    const dropped = lost - reader.reported;
    reader.reported = lost;
    return { events: taken.map(({ event }) => event), dropped };
  };

  const parse = <Verb extends EventVerb>(verb: Verb, args: unknown): z.output<(typeof ARGUMENTS)[Verb]> => {
    const parsed = ARGUMENTS[verb].safeParse(args);
    if (parsed.success) return parsed.data as z.output<(typeof ARGUMENTS)[Verb]>;
    const issue = parsed.error.issues[0];
    throw argumentsInvalid(`events ${verb}`, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`);
  };

  /** The receipt of a publish, or why there is none yet; what was accepted is stored later all the same. */
  const confirmed = async (topic: string, receipt: Promise<PublishReceipt>): Promise<PublishReceipt> => {
    const given = new AbortController();
    const late = clock.sleep(RECEIPT_MS, given.signal).then(
      (): never => {
        const { presence, stalled } = router.stats();
        throw unconfirmed(topic, stalled ?? `the router is ${presence}`);
      },
      () => receipt,
    );
    try {
      return await Promise.race([receipt, late]);
    } finally {
      given.abort();
    }
  };

  return {
    async handle(verb, args, signal) {
      switch (verb) {
        case 'publish': {
          const { topic, body, source, id } = parse('publish', args);
          return confirmed(topic, router.publishExternal(source, topic, body, id === undefined ? {} : { id }));
        }
        case 'poll': {
          const { name: reader, topics, max, waitMs: wait } = parse('poll', args);
          if (topics !== undefined) await router.subscribeExternal(reader, topics);
          return { events: await router.poll(reader, { max, waitMs: wait, signal }) };
        }
        case 'ack': {
          const { name: reader, offsets } = parse('ack', args);
          return { acked: await router.ack(reader, offsets) };
        }
        case 'tail':
          return tail(parse('tail', args), signal);
        case 'dead-letters': {
          const { state, subscriber, max } = parse('dead-letters', args);
          return router.deadLetters({ state, max, ...(subscriber === undefined ? {} : { subscriber }) });
        }
        case 'retry':
          return router.retryDeadLetters(parse('retry', args).which);
        case 'audit':
          return router.audit();
      }
    },
    collections: () => ({
      event_readers: { size: readers.size, limit: READERS_MAX, dropped: readersDropped },
      event_reader_characters: { size: characters, limit: TAIL_CHARACTERS_KEPT, dropped: eventsDropped },
    }),
    close() {
      for (const id of [...readers.keys()]) forget(id);
    },
  };
};

/**
 * What operators and other programs may ask of the event router, as the control server forwards it: arguments checked
 * here, then one call of the router. A reader of `tail` that stops asking is forgotten.
 */
import { z } from 'zod';
import { OrchestratorError } from '../errors.ts';
import type { EventTail, RouterHost } from '../events/router-api.ts';
import type { EventEnvelope, PublishReceipt } from '../events/types.ts';
import type { Clock, Timer } from '../seams/clock.ts';
import type { EventVerb } from './server/protocol.ts';

const TAIL_EVENTS_KEPT = 2_000;
/** A reader that has not asked for this long is gone. Milliseconds. */
const READER_IDLE_MS = 60_000;
const READERS_MAX = 32;
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

/** The event was accepted and is not durable yet. */
export const unconfirmed = (topic: string, why: string): OrchestratorError =>
  new OrchestratorError('ROUTER_AWAY', {
    message: `cannot confirm that ${topic} is stored: ${why}`,
    remedy:
      'the master holds the event and stores it as soon as it can, unless it is ended before; "master_loop why EVENT_ROUTER" says what is wrong',
    context: { topic, why },
  });

interface Reader {
  readonly tail: EventTail;
  events: EventEnvelope[];
  dropped: number;
  reported: number;
  wake: (() => void) | null;
  idle: Timer;
}

export interface EventControl {
  handle(verb: EventVerb, args: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<unknown>;
  close(): void;
}

export const eventControl = (router: RouterHost, clock: Clock): EventControl => {
  const readers = new Map<string, Reader>();

  const forget = (id: string): void => {
    const reader = readers.get(id);
    readers.delete(id);
    reader?.idle.cancel();
    reader?.tail.close();
    reader?.wake?.();
  };

  const readerOf = (id: string, topics: readonly string[] | undefined): Reader => {
    const known = readers.get(id);
    const idle = clock.after(READER_IDLE_MS + WAIT_MS_MAX, () => forget(id), { background: true });
    if (known !== undefined) {
      known.idle.cancel();
      known.idle = idle;
      return known;
    }
    if (readers.size >= READERS_MAX) {
      const oldest = readers.keys().next();
      if (oldest.done !== true) forget(oldest.value);
    }
    const reader: Reader = {
      tail: router.tail(
        (event) => {
          reader.events.push(event);
          if (reader.events.length > TAIL_EVENTS_KEPT) {
            reader.events.shift();
            reader.dropped++;
          }
          reader.wake?.();
        },
        topics === undefined ? {} : { topics },
      ),
      events: [],
      dropped: 0,
      reported: 0,
      wake: null,
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
    const events = reader.events.splice(0, args.max);
    const lost = reader.dropped + reader.tail.dropped;
    const dropped = lost - reader.reported;
    reader.reported = lost;
    return { events, dropped };
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
    close() {
      for (const id of [...readers.keys()]) forget(id);
    },
  };
};

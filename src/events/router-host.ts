/**
 * The main-thread side of the event router: owns the thread's generations, and everything that must outlive them.
 *
 * The thread can be ended at any instant. What the host keeps (unconfirmed batches, the publishes that wait, each
 * subscription's progress) is exactly what events.db may not have yet, and the next generation is told it first. So a
 * crash of the router is a pause: nothing that was accepted is lost, nothing that was finished is delivered again, and a
 * handler that was running goes on.
 */
import type { Worker } from 'node:worker_threads';
import { messageOf, type ErrorCode } from '../errors.ts';
import { SLACK_MS, steadyWall, type Timer } from '../seams/clock.ts';
import { startThread } from '../seams/entry.ts';
import { HeldClient, Publisher, type HostParts } from './client.ts';
import { createDeadLetters, LETTERS_AT_ONCE } from './dead-letters.ts';
import { refused, routerAway, subscriptionGap, tooManyExternal, unknownTopic } from './event-errors.ts';
import { createExternal, EXTERNAL_IN_FLIGHT, externalSubscriber } from './external.ts';
import { createLedger } from './ledger.ts';
import {
  CALLERS_WAITING_MAX,
  EXTERNAL_SUBSCRIBERS_MAX,
  QUESTIONS_MAX,
  ROUTER_LIMITS,
  SWEEP_MS,
  TAIL_CHARACTERS,
  TAIL_EVENTS,
} from './limits.ts';
import { createOutbox, type OutboxAccount, type Publish } from './outbox.ts';
import type {
  FromRouter,
  Question,
  RouterThreadData,
  StoredSubscription,
  ThreadCounters,
  ToRouter,
} from './protocol.ts';
import { createPump } from './pump.ts';
import { createRecentEvents } from './recent-events.ts';
import type {
  AuditReport,
  DeadLetter,
  EventTail,
  RouterExit,
  RouterHost,
  RouterHostOptions,
  RouterLimits,
  RouterPresence,
} from './router-api.ts';
import { createSubscriptions } from './subscriptions.ts';
import type { DeclaredSubscription, EventEnvelope } from './types.ts';

interface Tail {
  readonly listener: (event: EventEnvelope, characters: number) => void;
  readonly topics: ReadonlySet<string> | null;
  dropped: number;
}

interface Asked {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly about: string;
}

/** One generation of the thread. */
interface Thread {
  readonly worker: Worker;
  readonly generation: number;
  /** Asked to end: its exit is no accident. */
  ending: boolean;
  error: string | null;
  readonly gone: Promise<void>;
}

/** Events of one commit that one watching person gets to see. */
const TAIL_SHOWN = 200;
/** Who tells what the master itself did; programs outside have all other names, and one account together. */
const ORCHESTRATOR = 'orchestrator';

/** Sweep steps that follow each other at once; the rest waits for the next minute. */
const SWEEP_STEPS = 50;

export const createRouterHost = (options: RouterHostOptions): RouterHost => {
  const { file, catalogue, random } = options;
  // A clock that is set must make nobody forgotten, no id unknown and no letter due. The times that people see go on from
  // the wall as it was when this master started.
  const clock = steadyWall(options.clock);
  const log = options.log ?? null;
  const limits: RouterLimits = { ...ROUTER_LIMITS, ...options.limits };
  const topicNames = Object.keys(catalogue);
  const topicIndex = new Map(topicNames.map((name, index) => [name, index]));
  const topics = topicNames.map((name) => ({ name, version: catalogue[name]!.version }));
  const hostId = random.uuid();
  const idPrefix = `e-${hostId.replaceAll('-', '').slice(0, 12)}-`;
  let ids = 0;

  let presence: RouterPresence = 'away';
  let generation = 0;
  let thread: Thread | null = null;
  /** The last generation's end; a new one never begins beside an old one. */
  let lastGone: Promise<void> = Promise.resolve();
  let starting: Promise<void> | null = null;
  let settleStart: { readonly resolve: () => void; readonly reject: (error: Error) => void } | null = null;
  let logId: string | null = null;
  let declared: readonly DeclaredSubscription[] = [];
  let sweeper: Timer | null = null;
  let threadCounters: ThreadCounters = {
    head: 0,
    retained: 0,
    commits: 0,
    commitMsLast: 0,
    commitMsTotal: 0,
    deadLettersPending: 0,
    stalled: null,
    handedOut: 0,
  };
  let commitsBefore = { commits: 0, commitMsTotal: 0 };
  const stored = new Array<number>(topicNames.length).fill(0);
  const exitListeners = new Set<(exit: RouterExit) => void>();
  const clients = new Map<string, HeldClient>();
  const tails = new Set<Tail>();
  /** Stored since the tails were last shown something. */
  const tailed: Publish[] = [];
  const asked = new Map<number, Asked>();
  let asks = 0;
  let questionsRefused = 0;
  /** Starts that wait to attach: at most the newest of each subscriber. */
  const attachWaiters = new Map<string, () => void>();
  /** Other callers that wait for the thread; each is taken off when its wait is over. */
  const servingWaiters = new Set<() => void>();
  let callersRefused = 0;
  /** Told when the thread is gone, with or without an accident. */
  const awayWaiters = new Set<() => void>();
  let externalRefused = 0;
  let refusedBefore = 0;

  /** What may wait for the end of the turn; sent before anything else is, so the order stays. */
  let waiting: ToRouter[] = [];
  const postWaiting = (): void => {
    if (waiting.length === 0) return;
    const messages = waiting;
    waiting = [];
    thread?.worker.postMessage({ kind: 'several', messages } satisfies ToRouter);
  };
  const post = (message: ToRouter): void => {
    postWaiting();
    thread?.worker.postMessage(message);
  };
  const postSoon = (message: ToRouter): void => {
    if (waiting.push(message) === 1) pump.defer(postWaiting);
  };
  const serving = (): boolean => presence === 'serving';
  /** @throws (rejects) ROUTER_AWAY when too many wait already; the signal's reason when it aborts first */
  const whenServing = (signal?: AbortSignal): Promise<void> => {
    if (serving()) return Promise.resolve();
    if (servingWaiters.size >= CALLERS_WAITING_MAX) {
      callersRefused++;
      return Promise.reject(
        routerAway('wait for the event router', `is ${presence}, and ${CALLERS_WAITING_MAX} callers wait already`),
      );
    }
    return new Promise((resolve, reject) => {
      const end = (finish: () => void): void => {
        servingWaiters.delete(wake);
        signal?.removeEventListener('abort', onAbort);
        finish();
      };
      const wake = (): void => end(resolve);
      const onAbort = (): void => end(() => reject(signal?.reason as Error));
      servingWaiters.add(wake);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted === true) onAbort();
    });
  };
  /** The same for the starts of daemons, which are not refused: there is one for each subscriber. */
  const whenServingFor = (subscriber: string): Promise<void> =>
    serving() ? Promise.resolve() : new Promise((resolve) => attachWaiters.set(subscriber, resolve));

  const pump = createPump(clock, limits.turnMs);
  const recent = createRecentEvents();
  const outbox = createOutbox(pump, limits, (event) => {
    recent.add(event);
    if (tails.size > 0) tailed.push(event);
  });
  const counts = { delivered: 0, handled: 0, dead: 0, retries: 0, running: 0 };
  const ledger = createLedger({
    clock,
    canaryMs: limits.canaryMs,
    presence: () => presence,
    stalled: () => threadCounters.stalled !== null,
    stored: (index) => stored[index]!,
  });
  const subscriptions = createSubscriptions({
    clock,
    ledger,
    topicIndex,
    serving,
    post: postSoon,
    lastUnsent: () => waiting.at(-1),
  });
  const parts: HostParts = {
    catalogue,
    topicIndex,
    limits,
    outbox,
    ledger,
    subscriptions,
    tools: {
      clock,
      pump,
      outbox,
      log,
      prove: (subscription, nonce) => outbox.prove(subscription, nonce),
      counts,
    },
    presence: () => presence,
    serving: whenServingFor,
    newId: () => idPrefix + (ids++).toString(36),
  };

  const ask = (question: Question): Promise<unknown> => {
    if (!serving()) return Promise.reject(routerAway(`ask for ${question.about}`, `is ${presence}`));
    if (asked.size >= QUESTIONS_MAX) {
      questionsRefused++;
      return Promise.reject(routerAway(`ask for ${question.about}`, `has ${QUESTIONS_MAX} questions to answer first`));
    }
    return new Promise((resolve, reject) => {
      const id = ++asks;
      asked.set(id, { resolve, reject, about: question.about });
      post({ kind: 'ask', id, question });
    });
  };

  /** Not by a race with the end of the thread: that promise would keep something of every race until the thread ends. */
  const durableOrAway = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const done = (): void => {
        awayWaiters.delete(done);
        resolve();
      };
      awayWaiters.add(done);
      outbox.durable().then(done, (thrown: Error) => {
        awayWaiters.delete(done);
        reject(thrown);
      });
    });

  /** Asks when what has been decided here is durable, so that the answer knows it. */
  const askAfterwards = async (question: Question): Promise<unknown> => {
    if (serving()) await durableOrAway();
    return ask(question);
  };

  const deadLetters = createDeadLetters({ clock, outbox, subscriptions, ask: askAfterwards });

  const clientEnded = (client: HeldClient): void => {
    refusedBefore += client.refused;
    if (clients.get(client.subscriber) !== client) return;
    clients.delete(client.subscriber);
    attachWaiters.delete(client.subscriber);
  };

  const openClient = (clientOptions: Parameters<RouterHost['client']>[0], external: boolean): HeldClient => {
    const { subscriber } = clientOptions;
    clients.get(subscriber)?.detach();
    const client = new HeldClient(parts, clientOptions, external, clientEnded);
    clients.set(subscriber, client);
    return client;
  };

  const external = createExternal({
    clock,
    limits,
    open: (clientOptions) => openClient(clientOptions, true),
    topicsOf: (subscriber) => subscriptions.of(subscriber).map((record) => record.topic),
    names: () => subscriptions.externalNames().map((name) => name.slice(externalSubscriber('').length)),
    serving: whenServing,
    durable: outbox.durable,
    seen: (subscriber) => {
      void ask({ about: 'external-seen', subscriber, at: clock.wallMs() }).catch(() => {}); // the next poll says it again
    },
  });
  const orchestrator = new Publisher(parts, externalSubscriber(ORCHESTRATOR));
  /** Of all programs outside: any number of names make no more room than one. */
  const outside: OutboxAccount = { events: 0, characters: 0 };
  let outsideRefused = 0;

  /** Shows what has just been stored to the people who watch; more than they can read in one go is only counted. */
  const showTails = (): void => {
    const events = tailed.splice(0);
    for (const tail of [...tails]) {
      let shown = 0;
      for (const event of events) {
        const topic = topicNames[event.topic]!;
        if (tail.topics !== null && !tail.topics.has(topic)) continue;
        if (shown === TAIL_SHOWN) {
          tail.dropped += 1;
          continue;
        }
        shown += 1;
        const { id, version, offset, source, at, body } = event;
        const publishedAtMs = at;
        try {
          tail.listener(
            {
              id,
              topic,
              version,
              offset,
              source,
              publishedAtMs,
              attempt: 1,
              body: JSON.parse(body) as unknown,
            },
            body.length,
          );
        } catch (thrown) {
          log?.warn(`a reader of the event tail failed and was dropped: ${messageOf(thrown)}`);
          tails.delete(tail);
          break;
        }
      }
    }
  };

  const sweep = async (): Promise<void> => {
    for (let step = 0; step < SWEEP_STEPS && serving(); step++) {
      const { retentionMs, retainedEvents, dedupMs, externalIdleMs } = limits;
      const bounds = { at: clock.wallMs(), retentionMs, retainedEvents, dedupMs, externalIdleMs };
      const swept = (await ask({ about: 'sweep', sweep: bounds })) as { more: boolean };
      if (!swept.more) return;
    }
  };

  const count = (counters: ThreadCounters): void => {
    if (counters.stalled !== null && threadCounters.stalled === null) {
      log?.warn(`the event log cannot be written, publishes wait: ${counters.stalled}`);
    } else if (counters.stalled === null && threadCounters.stalled !== null) {
      log?.info('the event log can be written again');
      ledger.flows();
    }
    threadCounters = counters;
  };

  const noteStored = (list: readonly (readonly [number, number])[]): void => {
    for (const [index, number] of list) stored[index] = number;
  };

  const nowServing = (message: Extract<FromRouter, { kind: 'serving' }>): void => {
    presence = 'serving';
    const replaced = logId !== null && logId !== message.logId;
    logId = message.logId;
    if (replaced) {
      log?.warn(`${file} is another log than before; subscriptions begin where it says`);
      outbox.forgetProgress();
      subscriptions.clear();
    }
    noteStored(message.stored);
    subscriptions.merge(message.subscriptions);
    count(message.counters);
    outbox.connect(post);
    if (replaced) for (const client of clients.values()) client.reopen();
    else subscriptions.reattach();
    // When one fails, the next goes on.
    sweeper = clock.every(SWEEP_MS, () => void sweep().catch(() => {}), { background: true, slackMs: SLACK_MS });
    const attaching = [...attachWaiters.values()];
    attachWaiters.clear();
    for (const wake of [...attaching, ...servingWaiters]) wake();
    settleStart?.resolve();
  };

  const receive = (from: Thread, message: FromRouter): void => {
    if (from !== thread) return;
    switch (message.kind) {
      case 'serving':
        return nowServing(message);
      case 'refused':
        from.ending = true;
        settleStart?.reject(refused({ ...message, code: message.code as ErrorCode }));
        void from.worker.terminate();
        return;
      case 'turn':
        if (message.counters !== null) count(message.counters);
        noteStored(message.stored);
        outbox.confirmed(message.receipts);
        message.proven?.nonces.forEach((nonce, position) =>
          ledger.proven(message.proven!.subscriptions[position]!, nonce),
        );
        if (message.canaries !== null) subscriptions.deliverCanaries(message.canaries);
        if (message.lanes.length > 0) subscriptions.deliver(message.lanes, recent);
        recent.keepFrom(message.keepFrom);
        if (tailed.length > 0) showTails();
        return;
      case 'subscriptions':
        return subscriptions.merge(message.subscriptions);
      case 'answer': {
        asked.get(message.id)?.resolve(message.value);
        asked.delete(message.id);
        return;
      }
      case 'no-answer': {
        const one = asked.get(message.id);
        asked.delete(message.id);
        one?.reject(routerAway(`answer for ${one.about}`, `failed at it: ${message.message}`));
        return;
      }
      case 'stopped':
        return;
    }
  };

  /** Everything that ends with a generation, whatever ended it. */
  const away = (ended: Thread): void => {
    if (thread !== ended) return;
    thread = null;
    waiting = [];
    presence = 'away';
    sweeper?.cancel();
    sweeper = null;
    outbox.disconnect();
    subscriptions.routerAway();
    recent.clear();
    commitsBefore = {
      commits: commitsBefore.commits + threadCounters.commits,
      commitMsTotal: commitsBefore.commitMsTotal + threadCounters.commitMsTotal,
    };
    threadCounters = { ...threadCounters, commits: 0, commitMsTotal: 0, stalled: null, handedOut: 0 };
    for (const wake of [...awayWaiters]) wake();
    for (const { reject, about } of asked.values()) reject(routerAway(`answer for ${about}`, 'ended meanwhile'));
    asked.clear();
    settleStart?.reject(routerAway('start', ended.error ?? 'was ended before it served'));
  };

  const spawn = (): Thread => {
    const workerData: RouterThreadData = {
      file,
      host: hostId,
      newLogId: random.uuid(),
      topics,
      subscriptions: declared,
      at: clock.wallMs(),
      prefetchEvents: limits.prefetchEvents,
      prefetchCharacters: limits.prefetchCharacters,
    };
    const worker = startThread('./router-thread.ts', import.meta.url, { workerData, name: 'event-router' });
    const made: Thread = {
      worker,
      generation: ++generation,
      ending: false,
      error: null,
      gone: new Promise((resolve) => worker.once('exit', () => resolve())),
    };
    worker.on('message', (message: FromRouter) => receive(made, message));
    worker.on('error', (error) => (made.error = messageOf(error)));
    worker.on('exit', (code) => {
      away(made);
      if (made.ending) return;
      const exit = { generation: made.generation, reason: made.error ?? `the router thread exited with code ${code}` };
      for (const listener of exitListeners) listener(exit);
    });
    return made;
  };

  const refusedNow = (): number => {
    let sum = refusedBefore + orchestrator.refused + outsideRefused;
    for (const client of clients.values()) sum += client.refused;
    return sum;
  };

  const host: RouterHost = {
    get generation() {
      return generation;
    },
    get presence() {
      return presence;
    },

    declare(list) {
      for (const { subscriber, topic } of list) if (!topicIndex.has(topic)) throw unknownTopic(subscriber, topic);
      declared = list;
      if (serving()) post({ kind: 'declare', subscriptions: declared, at: clock.wallMs() });
    },

    start() {
      if (presence === 'serving') return Promise.resolve();
      starting ??= (async () => {
        await lastGone;
        presence = 'starting';
        const served = new Promise<void>((resolve, reject) => (settleStart = { resolve, reject }));
        thread = spawn();
        lastGone = thread.gone;
        try {
          await served;
        } finally {
          settleStart = null;
        }
      })().finally(() => (starting = null));
      return starting;
    },

    async stop() {
      const one = thread;
      if (one === null) return;
      if (!serving()) return host.crash();
      // With a disk that refuses there is nothing to wait for: what it did not take stays in the outboxes.
      if (threadCounters.stalled === null) await Promise.race([outbox.idle(), one.gone]);
      if (thread !== one) return;
      presence = 'stopping';
      one.ending = true;
      post({ kind: 'stop' });
      await one.gone;
    },

    async crash() {
      const one = thread;
      if (one === null) return;
      one.ending = true;
      away(one);
      await one.worker.terminate();
    },

    async lose() {
      await thread?.worker.terminate();
    },

    onExit(listener) {
      exitListeners.add(listener);
      return () => exitListeners.delete(listener);
    },

    client: (clientOptions) => openClient(clientOptions, false),

    ledger: () => ledger.view(declared),
    onLedgerChange: (listener) => ledger.onChange(listener),
    onGap: (listener) => ledger.onChange((state) => void (state.state === 'gap' && listener(state))),

    async probe() {
      if (!serving()) throw routerAway('probe the subscriptions', `is ${presence}`);
      await Promise.all(subscriptions.probe().map((record) => ledger.outcome(record)));
      return ledger.view(declared).filter(({ state }) => state === 'gap');
    },

    async reattach(subscriber) {
      const patience = new AbortController();
      const limit = clock.after(limits.canaryMs, () => patience.abort(new Error('it did not serve in time')), {
        background: true,
      });
      const ready = await whenServing(patience.signal)
        .then(
          () => true,
          (thrown: unknown) => {
            if (!patience.signal.aborted) throw thrown;
            return false;
          },
        )
        .finally(() => limit.cancel());
      if (!ready) throw routerAway(`re-attach ${subscriber}`, `did not serve within ${limits.canaryMs / 1000} s`);
      const records = subscriptions.of(subscriber);
      if (records.length === 0) return;
      const unheld = records.filter((record) => subscriptions.laneOf(record) === null);
      if (unheld.length > 0) {
        const reason = `no start of ${subscriber} is attached`;
        throw subscriptionGap(
          subscriber,
          unheld.map(({ topic }) => ({ topic, reason })),
        );
      }
      subscriptions.reattach(subscriber);
      const outcomes = await Promise.all(
        records.map(async (record) => ({ topic: record.topic, reason: await ledger.outcome(record) })),
      );
      const gaps = outcomes.filter((one): one is { topic: string; reason: string } => one.reason !== null);
      if (gaps.length > 0) throw subscriptionGap(subscriber, gaps);
    },

    publishExternal(source, topic, body, publishOptions) {
      const who = externalSubscriber(source);
      if (source === ORCHESTRATOR) return orchestrator.publish(topic, body, publishOptions, who);
      const publisher = new Publisher(parts, who, outside);
      const receipt = publisher.publish(topic, body, publishOptions, who);
      outsideRefused += publisher.refused;
      return receipt;
    },

    async subscribeExternal(name, names) {
      const subscriber = externalSubscriber(name);
      for (const topic of names) if (!topicIndex.has(topic)) throw unknownTopic(subscriber, topic);
      await whenServing();
      const known = subscriptions.externalNames();
      if (known.length >= EXTERNAL_SUBSCRIBERS_MAX && !known.includes(subscriber)) {
        externalRefused++;
        throw tooManyExternal(name, EXTERNAL_SUBSCRIBERS_MAX);
      }
      const at = clock.wallMs();
      const maxInFlight = EXTERNAL_IN_FLIGHT;
      const found = await ask({ about: 'external-subscribe', subscriber, topics: names, at, maxInFlight });
      subscriptions.merge(found as StoredSubscription[]);
      external.close(name);
    },
    async unsubscribeExternal(name) {
      await whenServing();
      external.close(name);
      const found = await ask({ about: 'external-unsubscribe', subscriber: externalSubscriber(name) });
      subscriptions.merge(found as StoredSubscription[]);
    },
    poll: (name, pollOptions) => external.poll(name, pollOptions),
    ack: (name, offsets) => external.ack(name, offsets),
    fail: (name, offset, reason) => external.fail(name, offset, reason),

    tail(listener, tailOptions): EventTail {
      const tail: Tail = { listener, topics: tailOptions?.topics ? new Set(tailOptions.topics) : null, dropped: 0 };
      tails.add(tail);
      return {
        get dropped() {
          return tail.dropped;
        },
        close: () => void tails.delete(tail),
      };
    },

    async deadLetters(filter = {}) {
      return (await askAfterwards({ about: 'dead-letters', filter })) as readonly DeadLetter[];
    },
    retryDeadLetters: (which, max) => deadLetters.retry(which, max ?? LETTERS_AT_ONCE),
    async purgeDeadLetters() {
      const closedBefore = clock.wallMs() - limits.deadLetterKeepMs;
      return (await ask({ about: 'purge-letters', closedBefore })) as number;
    },

    async audit() {
      return (await askAfterwards({ about: 'audit' })) as AuditReport;
    },

    stats() {
      const { events, characters, published, duplicates } = outbox.gauges();
      const { gaps, lagTotal } = ledger.gauges();
      return {
        presence,
        generation,
        published,
        duplicates,
        refused: refusedNow(),
        delivered: counts.delivered,
        acked: counts.handled,
        retries: counts.retries,
        deadLettered: counts.dead,
        deadLettersPending: threadCounters.deadLettersPending,
        outboxEvents: events,
        outboxCharacters: characters,
        commits: commitsBefore.commits + threadCounters.commits,
        commitMsLast: threadCounters.commitMsLast,
        commitMsTotal: commitsBefore.commitMsTotal + threadCounters.commitMsTotal,
        head: threadCounters.head,
        retained: threadCounters.retained,
        stalled: threadCounters.stalled,
        subscriptions: subscriptions.count(),
        gaps,
        lagTotal,
        handlersRunning: counts.running,
      };
    },
    collections() {
      let fullest = Math.max(outside.events, orchestrator.account.events);
      for (const client of clients.values()) fullest = Math.max(fullest, client.outboxSize);
      return {
        ...outbox.collections(),
        events_outbox_fullest: { size: fullest, limit: limits.outboxEvents },
        events_recent: { size: recent.size, limit: TAIL_EVENTS },
        events_recent_characters: { size: recent.characters, limit: TAIL_CHARACTERS },
        events_handed_out_characters: { size: threadCounters.handedOut, limit: limits.prefetchCharacters },
        events_questions: { size: asked.size, limit: QUESTIONS_MAX, dropped: questionsRefused },
        events_callers_for_router: { size: servingWaiters.size, limit: CALLERS_WAITING_MAX, dropped: callersRefused },
        events_starts_waiting: { size: attachWaiters.size, limit: Math.max(1, clients.size) },
        events_external_subscribers: {
          size: subscriptions.externalNames().length,
          limit: EXTERNAL_SUBSCRIBERS_MAX,
          dropped: externalRefused,
        },
        events_letters_in_hand: deadLetters.inHand(),
      };
    },
  };
  return host;
};

/**
 * The router's own thread: takes batches from the host, commits them in groups, and hands events out.
 *
 * It keeps nothing that events.db does not: terminate() may end it between any two statements, and the next generation
 * opens the file, reads the cursors and goes on. Messages that came while a commit blocked the thread are all drained
 * before the next one; that is the whole of group commit. Acks alone wait a few milliseconds for company, since losing
 * one only means a redelivery that the host recognises.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import { plainClock } from '../seams/plain-clock.ts';
import { unusableStore } from './event-errors.ts';
import { createFlow } from './flow.ts';
import { createGroupCommit } from './group-commit.ts';
import { ACK_COMMIT_MS, STALL_RETRY_MS, UNCONFIRMED_EVENTS } from './limits.ts';
import {
  type Batch,
  type FromRouter,
  type Question,
  type RouterThreadData,
  type ThreadCounters,
  type ToRouter,
} from './protocol.ts';
import { openStore, StoreRefusal } from './store.ts';

/** A database error crosses to the main thread without its message; an Error made here keeps it. */
const told = <Argument>(work: (argument: Argument) => void): ((argument: Argument) => void) => {
  return (argument) => {
    try {
      work(argument);
    } catch (thrown) {
      throw new Error(messageOf(thrown), { cause: thrown });
    }
  };
};

const serve = (data: RouterThreadData, port: NonNullable<typeof parentPort>): void => {
  const clock = plainClock();
  const post = (message: FromRouter): void => port.postMessage(message);
  const store = openStore(data.file, data.host, data.newLogId);
  store.registerTopics(data.topics.map((topic) => topic.name));
  store.declare(data.subscriptions, data.at);

  const topicList = data.topics.map(({ name, version }) => ({ row: store.topics.get(name)!, version }));
  const flow = createFlow(
    store,
    topicList.map(({ row }) => row.id),
    data,
  );
  const group = createGroupCommit(store, topicList, clock);

  let pending: Batch[] = [];
  const asked: { readonly id: number; readonly question: Question }[] = [];
  /** Events acknowledged by the pending batches. */
  let handledPending = 0;
  let stalled: string | null = null;
  let stopping = false;
  let ackTimer = false;
  let turnQueued = false;
  let topicOfSubscription = new Map<number, number>();

  const counters = (): ThreadCounters => ({
    head: store.head(),
    retained: store.retained(),
    deadLettersPending: store.deadLettersPending(),
    stalled,
    handedOut: flow.handedOut(),
    ...group.counters(),
  });

  const readSubscriptions = () => {
    const subscriptions = store.subscriptions();
    topicOfSubscription = new Map(subscriptions.map(({ id, topic }) => [id, store.topics.get(topic)!.id]));
    return subscriptions;
  };

  /** What this turn has to say; the host may forget what no tail needs any more. */
  const tell = (said: Partial<Extract<FromRouter, { kind: 'turn' }>>): void =>
    post({
      kind: 'turn',
      receipts: [],
      proven: null,
      canaries: null,
      lanes: [],
      stored: [],
      counters: null,
      keepFrom: flow.keepFrom(),
      ...said,
    });

  const answer = (question: Question): unknown => {
    switch (question.about) {
      case 'audit':
        return store.audit();
      case 'dead-letters':
        return store.deadLetters(question.filter);
      case 'letters-due':
        return store.lettersDue(question.at, question.max);
      case 'letters-to-retry':
        return question.which === 'all'
          ? store.deadLetters({ state: 'pending', max: question.max })
          : store.lettersById(question.which);
      case 'purge-letters':
        return store.purgeLetters(question.closedBefore);
      case 'external-subscribe':
        store.subscribeExternal(question.subscriber, question.topics, question.at, question.maxInFlight);
        return readSubscriptions();
      case 'external-unsubscribe':
        store.unsubscribeExternal(question.subscriber);
        return readSubscriptions();
      case 'external-seen':
        return store.seenExternal(question.subscriber, question.at);
      case 'sweep': {
        const swept = store.sweep(question.sweep);
        if (swept.forgotten > 0) post({ kind: 'subscriptions', subscriptions: readSubscriptions() });
        return swept;
      }
    }
  };

  const accept = told((message: ToRouter): void => {
    switch (message.kind) {
      case 'several':
        message.messages.forEach(accept);
        return;
      case 'batch':
        pending.push(message);
        for (const ack of message.acks) handledPending += ack.handled;
        return;
      case 'attach': {
        const { subscriptions, epochs, nonces, cursors } = message;
        const excepts = new Map(message.excepts);
        for (const [position, subscription] of subscriptions.entries()) {
          const topicRow = topicOfSubscription.get(subscription) ?? 0;
          const except = excepts.get(position) ?? [];
          flow.attach(subscription, topicRow, epochs[position]!, nonces[position]!, cursors[position]!, except);
        }
        return;
      }
      case 'detach':
        return message.subscriptions.forEach(flow.detach);
      case 'canary':
        return flow.canary(message.subscription, message.nonce);
      case 'declare':
        store.declare(message.subscriptions, message.at);
        return post({ kind: 'subscriptions', subscriptions: readSubscriptions() });
      case 'ask':
        asked.push(message);
        return;
      case 'stop':
        stopping = true;
        return;
    }
  });

  const commit = (): void => {
    const result = group.commit(pending);
    if ('stalled' in result) {
      if (stalled === null) clock.after(STALL_RETRY_MS, retryStalled);
      stalled = result.stalled;
      tell({ counters: counters() });
      return;
    }
    stalled = null;
    // Windows open only now: after a power cut no subscription repeats more than one window.
    for (const { acks } of pending) for (const ack of acks) flow.acked(ack.subscription, ack.cursor);
    pending = [];
    handledPending = 0;
    flow.committed(result.firstOffset, result.topics, result.characters);
    const { receipts, proven, stored } = result;
    tell({ receipts, proven, stored, counters: counters() });
  };

  const retryStalled = (): void => {
    stalled = null;
    turn(true);
  };

  /** Acks alone may wait; anything that somebody waits for may not. */
  const urgent = (): boolean =>
    asked.length > 0 ||
    stopping ||
    handledPending >= data.prefetchEvents / 2 ||
    pending.some(
      ({ publishes, deaths, letters, proofs }) =>
        publishes.ids.length + deaths.length + letters.length + proofs.nonces.length > 0,
    );

  const turn = told((now: boolean): void => {
    if (pending.length > 0 && stalled === null) {
      if (now || urgent()) commit();
      else if (!ackTimer) {
        ackTimer = true;
        clock.after(ACK_COMMIT_MS, () => {
          ackTimer = false;
          turn(true);
        });
      }
    }
    for (const { id, question } of asked.splice(0)) {
      try {
        post({ kind: 'answer', id, value: answer(question) });
      } catch (thrown) {
        post({ kind: 'no-answer', id, message: messageOf(thrown) });
      }
    }
    if (stopping) {
      try {
        store.close();
      } finally {
        post({ kind: 'stopped' }); // a disk too full to fold the WAL in keeps the WAL; nothing is lost by that
        port.close();
      }
      return;
    }
    if (stalled !== null) return; // nothing more is handed out than could be handed out twice
    const more = flow.feed((lanes, canaries) => tell({ lanes, canaries, counters: counters() }));
    if (more && !turnQueued) {
      turnQueued = true;
      clock.after(0, () => {
        turnQueued = false;
        drain();
        turn(false);
      });
    }
  });

  /** Takes what has arrived meanwhile, up to one transaction's worth. */
  const drain = (): void => {
    let publishes = 0;
    while (publishes < UNCONFIRMED_EVENTS && !stopping) {
      const next = receiveMessageOnPort(port) as { message: ToRouter } | undefined;
      if (next === undefined) return;
      accept(next.message);
      if (next.message.kind === 'batch') publishes += next.message.publishes.ids.length;
    }
  };

  port.on('message', (message: ToRouter) => {
    accept(message);
    drain();
    turn(false);
  });
  post({
    kind: 'serving',
    logId: store.logId,
    subscriptions: readSubscriptions(),
    stored: topicList.map(({ row }, index) => [index, row.stored]),
    counters: counters(),
  });
};

if (parentPort !== null) {
  const data = workerData as RouterThreadData;
  try {
    serve(data, parentPort);
  } catch (thrown) {
    const parts = thrown instanceof StoreRefusal ? thrown.parts : unusableStore(data.file, messageOf(thrown));
    parentPort.postMessage({ kind: 'refused', ...parts } satisfies FromRouter);
  }
}

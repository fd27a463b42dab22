/**
 * Writes batches: everything that arrived while the last commit ran becomes one transaction, so a thousand publishers
 * share one fdatasync and a lone one waits for a single one.
 *
 * A disk that refuses (full, read-only, locked by another program) is not a crash: the transaction is rolled back, the
 * batches stay, and the same transaction is tried again. A failed fsync is different: what the kernel dropped cannot be
 * known, so that error ends the thread and the next generation reads what is really there.
 */
import { isDiskRefusal } from '../errors.ts';
import type { PlainClock } from '../seams/plain-clock.ts';
import { UNCONFIRMED_EVENTS } from './limits.ts';
import type { Batch, BatchReceipt, CanaryColumns } from './protocol.ts';
import type { EventStore, StoredTopic } from './store.ts';

export interface Committed {
  readonly receipts: BatchReceipt[];
  readonly proven: CanaryColumns;
  /** New events as columns: consecutive offsets from `firstOffset`, the host's topic indexes, characters. */
  readonly firstOffset: number;
  readonly topics: number[];
  readonly characters: number[];
  /** The host's topic index, and events ever stored on it. */
  readonly stored: (readonly [topic: number, count: number])[];
}

/** The disk refuses at the moment; the message says why. */
export interface Stalled {
  readonly stalled: string;
}

/** @param topicList  the catalogue as the host numbers it, with the rows of the store */
export const createGroupCommit = (
  store: EventStore,
  topicList: readonly { readonly row: StoredTopic; readonly version: number }[],
  clock: PlainClock,
) => {
  let commits = 0;
  let commitMsLast = 0;
  let commitMsTotal = 0;
  let known: Map<string, number> | null = null;

  /** Offsets of a batch that an earlier generation stored, found by id among the newest events. */
  const receiptOfStored = (batch: Batch): BatchReceipt => {
    known ??= new Map(store.newest(2 * UNCONFIRMED_EVENTS).map(({ id, offset }) => [id, offset]));
    const { ids, keyed } = batch.publishes;
    const chosen = new Set(keyed);
    // Ids chosen by publishers may be older than the newest events; their table knows all of them.
    const offsetOf = (position: number): number =>
      (chosen.has(position) ? store.offsetOfId(ids[position]!) : known!.get(ids[position]!)) ?? 0;
    return {
      seq: batch.seq,
      firstOffset: 0,
      known: true,
      duplicates: ids.map((_, position) => [position, offsetOf(position)]),
    };
  };

  const write = (batches: readonly Batch[]): Committed & { readonly head: number; readonly seq: number } => {
    const receipts: BatchReceipt[] = [];
    const proven: CanaryColumns = { subscriptions: [], nonces: [] };
    const newTopics: number[] = [];
    const characters: number[] = [];
    const stored = new Map<number, number>();
    let head = store.head();
    let seq = store.lastBatch();
    let letters = false;
    for (const batch of batches) {
      if (batch.seq <= seq) {
        receipts.push(receiptOfStored(batch));
        continue;
      }
      seq = batch.seq;
      const { topics, ids, sources, at, bodies, keyed } = batch.publishes;
      const firstOffset = head + 1;
      const duplicates: (readonly [number, number])[] = [];
      let nextKeyed = 0;
      for (let position = 0; position < ids.length; position++) {
        if (keyed[nextKeyed] === position) {
          nextKeyed += 1;
          const before = store.claimId(ids[position]!, head + 1, at[position]!);
          if (before !== null) {
            duplicates.push([position, before]);
            continue;
          }
        }
        head += 1;
        const index = topics[position]!;
        const { row, version } = topicList[index]!;
        const body = bodies[position]!;
        store.addEvent(head, row.id, version, ids[position]!, sources[position]!, at[position]!, body);
        newTopics.push(index);
        characters.push(body.length);
        stored.set(index, (stored.get(index) ?? row.stored) + 1);
      }
      receipts.push({ seq: batch.seq, firstOffset, known: false, duplicates });
      for (const failure of batch.failures) store.saveFailure(failure);
      for (const death of batch.deaths) store.saveDeath(death);
      for (const ack of batch.acks) store.saveAck(ack);
      for (const outcome of batch.letters) store.saveLetter(outcome);
      for (const [position, nonce] of batch.proofs.nonces.entries()) {
        const subscription = batch.proofs.subscriptions[position]!;
        store.saveCanary(subscription, nonce);
        proven.subscriptions.push(subscription);
        proven.nonces.push(nonce);
      }
      letters ||= batch.deaths.length > 0 || batch.letters.length > 0;
    }
    store.flushEvents();
    for (const [index, count] of stored) store.saveTopic(topicList[index]!.row.id, count);
    store.saveLog(head, seq);
    if (letters) store.recountLetters();
    const firstOffset = store.head() + 1;
    return { receipts, proven, firstOffset, topics: newTopics, characters, stored: [...stored], head, seq };
  };

  return {
    counters: () => ({ commits, commitMsLast, commitMsTotal }),

    /** @returns what became durable, or why the disk refuses at present; throws when the store cannot be trusted any more */
    commit(batches: readonly Batch[]): Committed | Stalled {
      const from = clock.monotonicMs();
      try {
        store.begin();
        const result = write(batches);
        store.commit();
        store.advanced(result.head, result.seq, result.topics.length);
        for (const [index, count] of result.stored) topicList[index]!.row.stored = count;
        commits += 1;
        commitMsLast = clock.monotonicMs() - from;
        commitMsTotal += commitMsLast;
        return result;
      } catch (thrown) {
        const { code, message } = thrown as Error & { code?: string };
        if (!isDiskRefusal(code)) throw thrown;
        store.rollback();
        return { stalled: `${message} (${code})` };
      }
    },
  };
};

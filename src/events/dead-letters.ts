/**
 * Retrying what was set aside. A dead letter goes back to the handler that failed and to no other (the other subscribers
 * had the event long ago), it carries its count of attempts, and every retry ends in a recorded outcome: recovered, still
 * pending with a longer wait, or abandoned. A letter whose handler is not attached is left alone and costs no try.
 */
import type { Fill } from '../bounds.ts';
import { messageOf } from '../errors.ts';
import type { Clock } from '../seams/clock.ts';
import { LETTERS_CHARACTERS_MAX, LETTERS_IN_HAND_MAX } from './limits.ts';
import type { Outbox } from './outbox.ts';
import type { Question } from './protocol.ts';
import { letterDelayMs } from './retry-schedule.ts';
import type { DeadLetterChoice, DeadLetterOutcome } from './router-api.ts';
import type { StoredLetter } from './store.ts';
import type { Subscriptions } from './subscriptions.ts';

/** A handler may take this long over a dead letter before the caller is told that it is busy; the retry goes on. */
const PATIENCE_MS = 10_000;
/** Letters of one call of `retry all`. */
export const LETTERS_AT_ONCE = 1_000;

const lengthOf = (letters: readonly StoredLetter[]): number =>
  letters.reduce((sum, { body, reason }) => sum + JSON.stringify(body).length + reason.length, 0);

export interface DeadLetterTools {
  readonly clock: Clock;
  readonly outbox: Outbox;
  readonly subscriptions: Subscriptions;
  ask(question: Question): Promise<unknown>;
}

export const createDeadLetters = ({ clock, outbox, subscriptions, ask }: DeadLetterTools) => {
  const inHand = new Set<number>();
  let leftAlone = 0;

  const redeliver = async (letter: StoredLetter, byOperator: boolean): Promise<DeadLetterOutcome> => {
    const { id, subscriber, topic } = letter;
    const skipped = (message: string): DeadLetterOutcome => ({ id, outcome: 'skipped', message });
    if (letter.state === 'recovered') return skipped('it was recovered before');
    if (inHand.has(id)) return skipped(`${subscriber} is still busy with it`);
    if (inHand.size >= LETTERS_IN_HAND_MAX) {
      leftAlone++;
      return skipped(`handlers are busy with ${inHand.size} dead letters already; try again later`);
    }
    const record = subscriptions.find(subscriber, topic);
    const lane = record === undefined ? null : subscriptions.laneOf(record);
    if (lane === null) return skipped(`${subscriber} is not attached to ${topic}`);

    inHand.add(id);
    const envelope = {
      id: letter.eventId,
      topic,
      version: letter.version,
      offset: letter.offset,
      source: letter.source,
      publishedAtMs: letter.publishedAtMs,
      attempt: letter.attempts + 1,
      body: letter.body,
    };
    const settled = lane.redeliver(envelope).then((failure): DeadLetterOutcome => {
      inHand.delete(id);
      if (failure?.ended === true) return skipped(messageOf(failure.error));
      const at = clock.wallMs();
      const retries = letter.retries + 1;
      const attempts = letter.attempts + 1;
      if (failure === null) {
        const { reason } = letter;
        outbox.letter({ letter: id, state: 'recovered', retries, attempts, reason, at, nextRetryAt: null });
        return { id, outcome: 'recovered', message: `${subscriber} handled it at attempt ${attempts}` };
      }
      const reason = messageOf(failure.error);
      const delay = byOperator && letter.state === 'abandoned' ? null : letterDelayMs(retries);
      const state = delay === null ? 'abandoned' : 'pending';
      const nextRetryAt = delay === null ? null : at + delay;
      outbox.letter({ letter: id, state, retries, attempts, reason, at, nextRetryAt });
      return { id, outcome: delay === null ? 'abandoned' : 'failed', message: reason };
    });
    const patience = new AbortController();
    const busy = clock.sleep(PATIENCE_MS, patience.signal).then(
      () => skipped(`${subscriber} is still busy with it`),
      () => skipped(''),
    );
    return Promise.race([settled, busy]).finally(() => patience.abort(new Error('settled')));
  };

  return {
    inHand: (): Fill => ({ size: inHand.size, limit: LETTERS_IN_HAND_MAX, dropped: leftAlone }),
    async retry(which: DeadLetterChoice, max: number): Promise<readonly DeadLetterOutcome[]> {
      const question: Question =
        which === 'due' ? { about: 'letters-due', at: clock.wallMs(), max } : { about: 'letters-to-retry', which, max };
      const letters = (await ask(question)) as StoredLetter[];
      const outcomes = await Promise.all(letters.map((letter) => redeliver(letter, which !== 'due')));
      const missing =
        typeof which === 'string' ? [] : which.filter((id) => !letters.some((letter) => letter.id === id));
      await outbox.durable();
      // The thread gives as many as fit into one answer, in the order of their numbers.
      const last = letters.at(-1)?.id ?? Infinity;
      const isFull = lengthOf(letters) > LETTERS_CHARACTERS_MAX / 2;
      const whyNot = (id: number): string =>
        isFull && id > last ? 'those before it are long: retry it by itself' : 'there is no such dead letter';
      return [...outcomes, ...missing.map((id) => ({ id, outcome: 'skipped' as const, message: whyNot(id) }))];
    },
  };
};

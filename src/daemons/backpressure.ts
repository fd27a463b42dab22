/**
 * Which queues are over their limit, as the events say.
 *
 * Activated and released are two topics, and two topics have no order between them; the offset of the log has. A word
 * that is older than the last one about its queue is ignored, and a press that nobody releases lapses, so that a monitor
 * that died slows nobody down for ever.
 */
import type { EventBody } from './definition.ts';
import type { EventEnvelope } from '../events/types.ts';
import type { Clock } from '../seams/clock.ts';

/** Upstream released after 300 s whatever was said. */
const LAPSE_SECONDS = 300;
/** Queues remembered; there are a handful. */
const QUEUES_MAX = 100;

type Word = EventEnvelope<EventBody<'BACKPRESSURE_ACTIVATED'>>;

export class Backpressure {
  readonly #clock: Clock;
  readonly #queues = new Map<string, { readonly offset: number; readonly pressedAt: number | null }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  readonly activated = (event: Word): void => this.#hear(event, this.#clock.monotonicMs());
  readonly released = (event: Word): void => this.#hear(event, null);

  /** Names of the queues that are pressed now. */
  get pressed(): string[] {
    return [...this.#queues]
      .filter(([, { pressedAt }]) => pressedAt !== null && this.#clock.since(pressedAt) < LAPSE_SECONDS)
      .map(([queue]) => queue);
  }

  get active(): boolean {
    return this.pressed.length > 0;
  }

  #hear({ offset, body }: Word, pressedAt: number | null): void {
    const known = this.#queues.get(body.queue);
    if (known !== undefined && known.offset > offset) return;
    if (known === undefined && this.#queues.size >= QUEUES_MAX) return;
    this.#queues.set(body.queue, { offset, pressedAt });
  }
}

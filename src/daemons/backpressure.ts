/**
 * Which queues are over their limit, as the events say.
 *
 * Activated and released are two topics, and two topics have no order between them; the offset of the log has. A word
 * that is older than the last one about its queue is ignored, and a press that nobody releases lapses, so that a monitor
 * that died slows nobody down for ever.
 */
import { z } from 'zod';
import type { Fill } from '../bounds.ts';
import type { EventBody } from './definition.ts';
import type { EventEnvelope } from '../events/types.ts';
import type { Clock } from '../seams/clock.ts';
import type { FileSystem } from '../seams/file-system.ts';

/** Upstream released after 300 s whatever was said. */
const LAPSE_SECONDS = 300;
/** Queues remembered; there are a handful. */
const QUEUES_MAX = 100;

const keptWords = z.array(z.strictObject({ queue: z.string(), offset: z.number(), isPressed: z.boolean() }));

type Word = EventEnvelope<EventBody<'BACKPRESSURE_ACTIVATED'>>;

export class Backpressure {
  readonly #clock: Clock;
  readonly #queues = new Map<string, { readonly offset: number; readonly pressedAt: number | null }>();
  #unheard = 0;
  readonly #keep: { readonly files: FileSystem; readonly file: string } | null;

  /** @param keep  where words outlive a restart, since nobody says them again; what was pressed then lapses from now */
  constructor(clock: Clock, keep?: { readonly files: FileSystem; readonly file: string }) {
    this.#clock = clock;
    this.#keep = keep ?? null;
    if (keep === undefined || !keep.files.exists(keep.file)) return;
    for (const { queue, offset, isPressed } of keptWords.parse(JSON.parse(keep.files.readText(keep.file))))
      this.#queues.set(queue, { offset, pressedAt: isPressed ? clock.monotonicMs() : null });
  }

  readonly activated = (event: Word): void => this.#hear(event, this.#clock.monotonicMs());
  readonly released = (event: Word): void => this.#hear(event, null);

  /** Names of the queues that are pressed now. */
  get pressed(): string[] {
    return [...this.#queues]
      .filter(([, { pressedAt }]) => pressedAt !== null && this.#clock.since(pressedAt) < LAPSE_SECONDS)
      .map(([queue]) => queue);
  }

  /** Queues remembered. */
  get queues(): Fill {
    return { size: this.#queues.size, limit: QUEUES_MAX, dropped: this.#unheard };
  }

  get active(): boolean {
    return this.pressed.length > 0;
  }

  #hear({ offset, body }: Word, pressedAt: number | null): void {
    const known = this.#queues.get(body.queue);
    if (known !== undefined && known.offset > offset) return;
    if (known === undefined && this.#queues.size >= QUEUES_MAX) {
      this.#unheard++;
      return;
    }
    this.#queues.set(body.queue, { offset, pressedAt });
    if (this.#keep === null) return;
    const words = [...this.#queues].map(([queue, word]) => ({
      ...{ queue, offset: word.offset, isPressed: word.pressedAt !== null },
    }));
    this.#keep.files.writeAtomically(this.#keep.file, `${JSON.stringify(words)}\n`);
  }
}

/**
 * Answers on their way to readers of whom some are slow and some are gone.
 *
 * An answer waits in memory until its reader has taken it. So all of them together are bounded (a further long one is
 * refused; a short one never is, so that /health speaks whatever others ask for), and one that nobody takes in time is
 * dropped with its connection.
 */
import type { ServerResponse } from 'node:http';
import type { Fill } from '../../bounds.ts';
import type { PlainClock } from '../../seams/plain-clock.ts';
import { tooMany } from './errors.ts';

/** Shorter answers are not refused: what a probe or a command of an operator gets. Bytes. */
const SHORT_BYTES = 256 * 1024;

export class Answers {
  readonly #clock: PlainClock;
  readonly #bytesMax: number;
  readonly #answerMs: number;
  #bytes = 0;
  #dropped = 0;

  /** @param answerMs  how long a reader may take over one answer */
  constructor(clock: PlainClock, bytesMax: number, answerMs: number) {
    this.#clock = clock;
    this.#bytesMax = bytesMax;
    this.#answerMs = answerMs;
  }

  /**
   * An answer of so many bytes leaves now.
   * @throws TOO_MANY
   */
  begin(response: ServerResponse, bytes: number): void {
    if (bytes > SHORT_BYTES && this.#bytes > 0 && this.#bytes + bytes > this.#bytesMax) {
      this.#dropped++;
      throw tooMany('bytes of answers', this.#bytesMax);
    }
    this.#bytes += bytes;
    const late = this.#clock.after(
      this.#answerMs,
      () => {
        this.#dropped++;
        response.destroy();
      },
      { background: true },
    );
    response.once('close', () => {
      this.#bytes -= bytes;
      late.cancel();
    });
  }

  fill(): Fill {
    return { size: this.#bytes, limit: this.#bytesMax, dropped: this.#dropped };
  }
}

/**
 * Long answers: transitions and log lines, to many readers, of whom some are slow and some are gone.
 *
 * The number of readers is bounded, and so is what may wait for one of them: a reader that falls behind by more than the
 * limit is dropped and told nothing, since telling is what it does not read. Nobody else waits for it.
 */
import type { ServerResponse } from 'node:http';
import { tooMany } from './errors.ts';

export interface Stream {
  /** False once it is closed or was dropped. */
  write(text: string): boolean;
  end(): void;
}

export class Streams {
  readonly #limit: number;
  readonly #bytesMax: number;
  readonly #open = new Map<ServerResponse, () => void>();
  #dropped = 0;

  constructor(limit: number, bytesMax: number) {
    this.#limit = limit;
    this.#bytesMax = bytesMax;
  }

  get open(): number {
    return this.#open.size;
  }
  /** Readers dropped because they did not read. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Begins a long answer.
   * @param onClose  called once, whoever ended it
   * @throws TOO_MANY
   */
  begin(response: ServerResponse, contentType: string, onClose: () => void): Stream {
    if (this.#open.size >= this.#limit) throw tooMany('streams', this.#limit);
    let open = true;
    const close = (): void => {
      if (!open) return;
      open = false;
      this.#open.delete(response);
      onClose();
    };
    response.writeHead(200, {
      'content-type': contentType,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      connection: 'keep-alive',
    });
    response.flushHeaders();
    response.once('close', close);
    response.on('error', close);
    const end = (): void => {
      close();
      response.end();
    };
    this.#open.set(response, end);
    return {
      write: (text) => {
        if (!open) return false;
        if (response.writableLength > this.#bytesMax) {
          this.#dropped++;
          close();
          response.destroy();
          return false;
        }
        response.write(text);
        return true;
      },
      end,
    };
  }

  endAll(): void {
    for (const end of [...this.#open.values()]) end();
  }
}

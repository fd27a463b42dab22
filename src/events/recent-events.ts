/**
 * The events stored last, by offset, for as long as the router thread may name them. Offsets are consecutive, so this is
 * a list with a moving beginning and no search.
 */
import { invariant } from '../errors.ts';
import type { LoggedEvent } from './outbox.ts';

/** Slots given up before the list is copied: rare enough to cost nothing, often enough to hold no garbage. */
const SLACK = 4096;

export interface RecentEvents {
  add(event: LoggedEvent): void;
  /** @throws INVARIANT when the offset was given up or never stored */
  get(offset: number): LoggedEvent;
  /** Nothing before this offset will be asked for. */
  keepFrom(offset: number): void;
  clear(): void;
  readonly size: number;
  /** Characters of the bodies of those kept. */
  readonly characters: number;
}

export const createRecentEvents = (): RecentEvents => {
  let base = 0;
  let from = 0;
  /** Null: given up, and the list not copied yet. */
  let events: (LoggedEvent | null)[] = [];
  let characters = 0;
  return {
    add(event) {
      if (events.length === 0) base = from = event.offset;
      else if (event.offset !== base + events.length) {
        throw invariant(`event ${event.offset} was stored after ${base + events.length - 1}`);
      }
      events.push(event);
      characters += event.body.length;
    },
    get(offset) {
      const event = events[offset - base] ?? null;
      if (event === null)
        throw invariant(`event ${offset} was handed out, kept are ${from} to ${base + events.length - 1}`);
      return event;
    },
    keepFrom(offset) {
      const until = Math.min(offset, base + events.length);
      for (; from < until; from++) {
        // Given up at once: up to SLACK bodies of a megabyte each would else be held by the list.
        characters -= events[from - base]!.body.length;
        events[from - base] = null;
      }
      from = Math.max(from, offset);
      if (from >= base + events.length) events = [];
      else if (from - base > SLACK) {
        events = events.slice(from - base);
        base = from;
      }
    },
    clear() {
      events = [];
      characters = 0;
    },
    get size() {
      return events.length === 0 ? 0 : base + events.length - from;
    },
    get characters() {
      return characters;
    },
  };
};

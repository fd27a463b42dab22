/**
 * Who is due, without looking at everybody: a hashed timing wheel of one slot per tick.
 *
 * A check is filed under the tick at which it falls due; a tick empties one slot. Periods longer than the wheel carry a
 * count of turns. Adding, removing and finding the due cost what they touch, never the size of the fleet.
 * @see Varghese and Lauck 1987, "Hashed and Hierarchical Timing Wheels", scheme 6.
 */
interface Entry {
  readonly key: string;
  periodTicks: number;
  slot: number;
  turns: number;
}

export class DueWheel {
  readonly #slots: Set<Entry>[];
  readonly #entries = new Map<string, Entry>();
  #tick = 0;

  /** @param slots ticks per turn; a power of two is not needed */
  constructor(slots = 256) {
    this.#slots = Array.from({ length: slots }, () => new Set<Entry>());
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Files a key to fall due every `periodTicks`, first after `firstTicks`. Filing it again replaces the earlier one. */
  add(key: string, periodTicks: number, firstTicks: number): void {
    this.remove(key);
    const entry: Entry = { key, periodTicks: Math.max(1, periodTicks), slot: 0, turns: 0 };
    this.#entries.set(key, entry);
    this.#file(entry, Math.max(1, firstTicks));
  }

  remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#slots[entry.slot]?.delete(entry);
  }

  /** Advances one tick. @returns the keys that fall due, each already filed for its next time */
  due(): string[] {
    this.#tick++;
    const slot = this.#slots[this.#tick % this.#slots.length];
    if (slot === undefined || slot.size === 0) return [];
    const due: Entry[] = [];
    for (const entry of slot) {
      if (entry.turns > 0) entry.turns--;
      else due.push(entry);
    }
    for (const entry of due) {
      slot.delete(entry);
      this.#file(entry, entry.periodTicks);
    }
    return due.map((entry) => entry.key);
  }

  #file(entry: Entry, afterTicks: number): void {
    const at = this.#tick + afterTicks;
    entry.slot = at % this.#slots.length;
    entry.turns = Math.ceil(afterTicks / this.#slots.length) - 1;
    this.#slots[entry.slot]?.add(entry);
  }
}

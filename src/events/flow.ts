/**
 * Which subscription gets which events next: the reading side of the router thread.
 *
 * A subscription is a position in the log (`sent`) and a window (events handed out and not yet finished). One that keeps
 * up is fed from its topic's tail: the offsets of the newest events, whose text the host still has from publishing them,
 * so nothing but numbers crosses back. One that fell behind reads pages of its own from the store until it reaches the
 * tail. The tails together are bounded, and the host is told how far back they reach. A slow subscription costs one full
 * window and one page, whatever its backlog, and never holds up another: windows are independent, and the bound on
 * characters in flight always leaves a subscription with nothing in flight one event.
 */
import { DELIVERY_EVENTS, TAIL_CHARACTERS, TAIL_EVENTS } from './limits.ts';
import type { CanaryDeliveries, LaneDelivery } from './protocol.ts';
import type { EventStore } from './store.ts';

interface Topic {
  readonly row: number;
  /** Every event of the topic beyond this offset is in `tail`. */
  floor: number;
  /** Offsets, ascending. */
  tail: number[];
  readonly lanes: Set<Lane>;
}

interface Lane {
  readonly subscription: number;
  readonly topic: Topic;
  readonly epoch: number;
  /** Highest offset handed out. */
  sent: number;
  /** Held by a handler since before this attach, or finished beyond the cursor: not handed out again. */
  readonly except: ReadonlySet<number>;
  /** Handed out or left out beyond the cursor, ascending, and their characters; `first` is the index of the oldest. */
  outstanding: number[];
  characters: number[];
  first: number;
  canary: number;
}

export interface FlowBounds {
  readonly prefetchEvents: number;
  readonly prefetchCharacters: number;
}

const PAGE_EVENTS = 256;
/** Rounds over those who want more, made in one go; then commits have their turn. */
const ROUNDS_AT_ONCE = 4;

/** First index in an ascending list whose value is greater. */
const firstAfter = (list: readonly number[], value: number): number => {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (list[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** @param topicRows  row id in the store, by the host's topic index */
export const createFlow = (store: EventStore, topicRows: readonly number[], bounds: FlowBounds) => {
  const head = store.head();
  const byIndex = topicRows.map((row): Topic => ({ row, floor: head, tail: [], lanes: new Set<Lane>() }));
  const byRow = new Map(byIndex.map((topic) => [topic.row, topic]));
  const lanes = new Map<number, Lane>();
  const hungry = new Set<Topic>();
  /** Topics whose tail is not empty. */
  const tailed = new Set<Topic>();
  /** Characters of the events from offset `base` on: what the host keeps. */
  let base = head + 1;
  let lengths: number[] = [];
  let kept = 0;
  let charactersOut = 0;

  const release = (lane: Lane): void => {
    for (let index = lane.first; index < lane.characters.length; index++) charactersOut -= lane.characters[index]!;
    lane.outstanding = [];
    lane.characters = [];
    lane.first = 0;
  };

  const hasRoom = (lane: Lane): boolean =>
    lane.outstanding.length - lane.first < bounds.prefetchEvents &&
    (charactersOut < bounds.prefetchCharacters || lane.outstanding.length === lane.first);

  /**
   * Notes an event as handed out; false when it is to be left out. Those take their place in the window all the same: else
   * each generation would open another window beyond the one event that is not finished.
   */
  const hand = (lane: Lane, offset: number, characters: number): boolean => {
    const isLeftOut = lane.except.has(offset);
    const own = isLeftOut ? 0 : characters;
    lane.sent = offset;
    lane.outstanding.push(offset);
    lane.characters.push(own);
    charactersOut += own;
    return !isLeftOut;
  };

  /** A page from the store for a lane that is behind its tail, or null when there is nothing up to the tail. */
  const feedPage = (lane: Lane): LaneDelivery['page'] => {
    const room = bounds.prefetchEvents - (lane.outstanding.length - lane.first);
    const limit = Math.min(room, PAGE_EVENTS);
    const rows = store.page(lane.topic.row, lane.sent, limit);
    const page: LaneDelivery['page'] & object = { offsets: [], versions: [], ids: [], sources: [], at: [], bodies: [] };
    let handed = 0;
    for (; handed < rows.length && hasRoom(lane); handed++) {
      const row = rows[handed]!;
      if (!hand(lane, row.offset, row.body.length)) continue;
      page.offsets.push(row.offset);
      page.versions.push(row.version);
      page.ids.push(row.id);
      page.sources.push(row.source);
      page.at.push(row.at);
      page.bodies.push(row.body);
    }
    if (handed === rows.length && rows.length < limit) lane.sent = Math.max(lane.sent, lane.topic.floor);
    return page.offsets.length === 0 ? null : page;
  };

  const feedTail = (lane: Lane): number[] => {
    const { tail } = lane.topic;
    const offsets: number[] = [];
    let index = firstAfter(tail, lane.sent);
    for (; index < tail.length && offsets.length < DELIVERY_EVENTS && hasRoom(lane); index++) {
      const offset = tail[index]!;
      if (hand(lane, offset, lengths[offset - base]!)) offsets.push(offset);
    }
    return offsets;
  };

  /** Gives one lane its canary and a portion of events; true when it could take more at once. */
  const feedLane = (lane: Lane, made: LaneDelivery[], canaries: CanaryDeliveries): boolean => {
    const page = lane.sent < lane.topic.floor && hasRoom(lane) ? feedPage(lane) : null;
    const offsets = page === null && lane.sent >= lane.topic.floor ? feedTail(lane) : [];
    if (page !== null || offsets.length > 0)
      made.push({ subscription: lane.subscription, epoch: lane.epoch, canary: lane.canary, offsets, page });
    else if (lane.canary !== 0) {
      canaries.subscriptions.push(lane.subscription);
      canaries.epochs.push(lane.epoch);
      canaries.nonces.push(lane.canary);
    }
    lane.canary = 0;
    if (!hasRoom(lane)) return false;
    return lane.sent < lane.topic.floor || firstAfter(lane.topic.tail, lane.sent) < lane.topic.tail.length;
  };

  const cutTail = (topic: Topic, floor: number): void => {
    const { tail } = topic;
    topic.floor = Math.max(topic.floor, floor);
    topic.tail = tail.slice(firstAfter(tail, floor));
    if (topic.tail.length === 0) tailed.delete(topic);
  };

  /** Forgets the part of a tail that every subscription has been handed. */
  const trim = (topic: Topic): void => {
    if (topic.tail.length === 0) return;
    let passed = Infinity;
    for (const lane of topic.lanes) passed = Math.min(passed, lane.sent);
    const newest = topic.tail.at(-1)!;
    if (passed >= newest) cutTail(topic, newest);
    else if (firstAfter(topic.tail, passed) > 4096) cutTail(topic, passed);
  };

  /** The oldest offset whose text the host must keep. */
  const keepFrom = (): number => {
    const newest = base + lengths.length;
    let from = newest;
    for (const topic of tailed) from = Math.min(from, topic.tail[0]!);
    if (newest - from > TAIL_EVENTS || kept > TAIL_CHARACTERS) {
      // Whoever needs the older half reads it from the store.
      from = Math.max(from, newest - TAIL_EVENTS / 2);
      let characters = 0;
      for (let offset = newest - 1; offset >= from; offset--) {
        characters += lengths[offset - base]!;
        if (characters > TAIL_CHARACTERS / 2) from = offset + 1;
      }
      for (const topic of [...tailed]) if (topic.tail[0]! < from) cutTail(topic, from - 1);
    }
    if (from === newest || from - base > 4096) {
      for (let index = 0; index < from - base; index++) kept -= lengths[index]!;
      lengths = lengths.slice(from - base);
      base = from;
    }
    return from;
  };

  return {
    attach(
      subscription: number,
      topicRow: number,
      epoch: number,
      nonce: number,
      cursor: number,
      except: readonly number[],
    ): void {
      const topic = byRow.get(topicRow);
      if (topic === undefined) return;
      const before = lanes.get(subscription);
      if (before !== undefined) {
        release(before);
        topic.lanes.delete(before);
      }
      const lane: Lane = {
        subscription,
        topic,
        epoch,
        sent: cursor,
        except: new Set(except),
        outstanding: [],
        characters: [],
        first: 0,
        canary: nonce,
      };
      lanes.set(subscription, lane);
      topic.lanes.add(lane);
      hungry.add(topic);
    },
    detach(subscription: number): void {
      const lane = lanes.get(subscription);
      if (lane === undefined) return;
      release(lane);
      lanes.delete(subscription);
      lane.topic.lanes.delete(lane);
      trim(lane.topic);
    },
    canary(subscription: number, nonce: number): void {
      const lane = lanes.get(subscription);
      if (lane === undefined) return;
      lane.canary = nonce;
      hungry.add(lane.topic);
    },
    /** The subscription has finished everything up to `cursor`, durably: its window opens again. */
    acked(subscription: number, cursor: number): void {
      const lane = lanes.get(subscription);
      if (lane === undefined) return;
      while (lane.first < lane.outstanding.length && lane.outstanding[lane.first]! <= cursor) {
        charactersOut -= lane.characters[lane.first]!;
        lane.first += 1;
      }
      if (lane.first > 4096 || lane.first === lane.outstanding.length) {
        lane.outstanding = lane.outstanding.slice(lane.first);
        lane.characters = lane.characters.slice(lane.first);
        lane.first = 0;
      }
      hungry.add(lane.topic);
    },
    /** Events that have just become durable, as columns: consecutive offsets, the host's topic indexes, characters. */
    committed(firstOffset: number, topics: readonly number[], characters: readonly number[]): void {
      for (let index = 0; index < topics.length; index++) {
        const topic = byIndex[topics[index]!]!;
        const offset = firstOffset + index;
        lengths.push(characters[index]!);
        kept += characters[index]!;
        if (topic.lanes.size === 0) {
          topic.floor = offset; // nobody is there: whoever comes reads the store
          continue;
        }
        topic.tail.push(offset);
        tailed.add(topic);
        hungry.add(topic);
      }
    },
    keepFrom,
    /** Characters handed out and not yet acknowledged. */
    handedOut: () => charactersOut,
    /** Makes a message for whoever has room and something to get; returns whether there is more to do at once. */
    feed(post: (lanes: LaneDelivery[], canaries: CanaryDeliveries) => void): boolean {
      const made: LaneDelivery[] = [];
      const canaries: CanaryDeliveries = { subscriptions: [], epochs: [], nonces: [] };
      for (let round = 0; round < ROUNDS_AT_ONCE && hungry.size > 0; round++) {
        for (const topic of hungry) {
          let more = false;
          for (const lane of topic.lanes) more = feedLane(lane, made, canaries) || more;
          trim(topic);
          if (!more) hungry.delete(topic);
        }
      }
      if (made.length > 0 || canaries.nonces.length > 0) post(made, canaries);
      return hungry.size > 0;
    },
  };
};

export type Flow = ReturnType<typeof createFlow>;

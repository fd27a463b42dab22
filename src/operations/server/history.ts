/**
 * The journal as the server thread sees it: the files on disk, and the newest part from its own memory.
 *
 * The files have everything, the inputs that caused a transition too, and reading them needs nobody. Memory has the
 * transitions that were posted, so that `why` still answers when the disk is full, broken or gone. Numbers (`seq`) are the
 * journal's, so the two are laid over each other without a gap or a double.
 */
import type { HistoryEntry } from '../../orchestrator/types.ts';
import type { Mirror } from './mirror.ts';

/** What is read from the files of the journal; must not need the main thread. May throw. */
export interface DiskHistory {
  /** Newest last; entries of `daemon` only, unless null. */
  read(query: { readonly daemon: string | null; readonly limit: number }): readonly HistoryEntry[];
  entry(seq: number): HistoryEntry | null;
}

export interface History {
  /** Newest last. Never throws. */
  read(daemon: string | null, limit: number): readonly HistoryEntry[];
  entry(seq: number): HistoryEntry | null;
  /** The newest transition of a daemon, from memory when it is there. */
  last(daemon: string): HistoryEntry | null;
}

/** @param onTrouble  told when the files cannot be read; the answer is then made from memory alone */
export const historyOf = (mirror: Mirror, disk: DiskHistory | null, onTrouble: (thrown: unknown) => void): History => {
  const orElse = <Value>(fallback: Value, read: () => Value): Value => {
    try {
      return read();
    } catch (thrown) {
      onTrouble(thrown);
      return fallback;
    }
  };
  const remembered = (daemon: string | null, limit: number): HistoryEntry[] => {
    const found: HistoryEntry[] = [];
    for (let at = mirror.history.length - 1; at >= 0 && found.length < limit; at--) {
      const entry = mirror.history[at] as HistoryEntry;
      if (daemon === null || entry.daemon === daemon) found.push(entry);
    }
    return found.reverse();
  };
  const read: History['read'] = (daemon, limit) => {
    const bySeq = new Map<number, HistoryEntry>();
    for (const entry of orElse([], () => disk?.read({ daemon, limit }) ?? [])) bySeq.set(entry.seq, entry);
    for (const entry of remembered(daemon, limit)) bySeq.set(entry.seq, entry);
    return limit === 0 ? [] : [...bySeq.values()].sort((one, other) => one.seq - other.seq).slice(-limit);
  };
  return {
    read,
    entry(seq) {
      // Numbers grow along the ring, so the place of one is found by halving.
      const { history } = mirror;
      let low = 0;
      let high = history.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if ((history[middle] as HistoryEntry).seq < seq) low = middle + 1;
        else high = middle;
      }
      const found = history[low];
      return found?.seq === seq ? found : orElse(null, () => disk?.entry(seq) ?? null);
    },
    last: (daemon) => remembered(daemon, 1)[0] ?? read(daemon, 20).findLast((entry) => entry.to !== null) ?? null,
  };
};

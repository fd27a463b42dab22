/**
 * What goes to the server thread with each beat: figures that change slowly. The floor is summed up in its store thread
 * and kept here between two beats, so a beat never waits.
 */
import type { Fill, Fills } from '../bounds.ts';
import type { RouterHost } from '../events/router-api.ts';
import type { Journal } from '../journal/journal.ts';
import { SLACK_MS, type Clock } from '../seams/clock.ts';
import type { Floor } from '../training/floor.ts';
import type { FloorPanel } from './cli/watch/floor.ts';
import { floorPanel } from './floor-panel.ts';
import type { Logging } from './logging/logging.ts';
import type { BeatFigures, EventFigures } from './server/protocol.ts';

/** The floor is summed up this often. Milliseconds. */
const FLOOR_MS = 1_000;

export interface BeatParts {
  readonly clock: Clock;
  readonly router: Pick<RouterHost, 'stats' | 'ledger' | 'collections'> | null;
  readonly floor: Pick<Floor, 'loop'> | null;
  readonly logging: Pick<Logging, 'figures' | 'collections'>;
  readonly journal: Pick<Journal, 'gauges'>;
  /** Figures of other parts of the master, by name. */
  readonly gauges: () => Readonly<Record<string, number>>;
  /** What other parts of the master keep. */
  readonly collections: () => Fills;
}

export interface Beat {
  figures(): BeatFigures;
  close(): void;
}

const eventFigures = (router: Pick<RouterHost, 'stats'>): EventFigures => {
  const stats = router.stats();
  return {
    totals: {
      published: stats.published,
      duplicates: stats.duplicates,
      refused: stats.refused,
      delivered: stats.delivered,
      handled: stats.acked,
      retried: stats.retries,
      dead_lettered: stats.deadLettered,
      commits: stats.commits,
    },
    // Subscriptions are shown by their states, which the ledger tells.
    levels: {
      outbox: stats.outboxEvents,
      lag: stats.lagTotal,
      handlers_running: stats.handlersRunning,
      dead_letters_pending: stats.deadLettersPending,
      retained: stats.retained,
      subscription_gaps: stats.gaps,
    },
  };
};

const bufferOf = (journal: Readonly<Record<string, number>>): Fill => ({
  size: journal['journal_buffer_bytes'] ?? 0,
  limit: journal['journal_buffer_bytes_max'] ?? 0,
  dropped: journal['journal_records_dropped'] ?? 0,
});

export const beatFigures = (parts: BeatParts): Beat => {
  const { clock, router, floor, logging, journal } = parts;
  let panel: FloorPanel | null = null;
  let asked = false;
  const timer =
    floor === null
      ? null
      : clock.every(
          FLOOR_MS,
          () => {
            if (asked) return;
            asked = true;
            floor.loop
              .summary()
              .then((summary) => void (panel = floorPanel(summary)))
              // The store thread is away or the floor is closing: the last picture stands until there is a new one.
              .catch(() => undefined)
              .finally(() => (asked = false));
          },
          { background: true, slackMs: SLACK_MS },
        );
  return {
    figures() {
      const written = journal.gauges();
      return {
        ...(router === null ? {} : { events: eventFigures(router), subscriptions: router.ledger() }),
        log: logging.figures(),
        gauges: { ...written, ...parts.gauges() },
        collections: {
          journal_buffer_bytes: bufferOf(written),
          ...logging.collections(),
          ...router?.collections(),
          ...parts.collections(),
        },
        ...(panel === null ? {} : { floor: panel }),
      };
    },
    close: () => timer?.cancel(),
  };
};

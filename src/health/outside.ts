/**
 * What can be seen of a daemon from outside, and when that contradicts a daemon which says that it is well.
 *
 * A gray daemon answers its checks and does no work: its input piles up, its events die, its cycles do not go through.
 * Nobody asks it about any of this; the figures are the router's and the runtime's. What moves is not gray, however long
 * it takes, and what has no work is not gray either: an event must wait, or have died, or a cycle be long due.
 *
 * Pure: what has to be remembered from one look to the next is returned and handed in again. One finding proves nothing,
 * since a look may fall between two steps; whoever looks believes what two looks in a row find.
 */

/** More dead letters than this share of what was finished lately is no bad luck any more; the share of the error rate. */
const DEAD_SHARE_MAX = 0.5;
/** Fewer dead letters than this may be one publisher's mistake. Chosen. */
const DEAD_MIN = 3;
/** Periods after which a cycle is long due. Chosen: one may be skipped, one may fail. */
const LATE_PERIODS = 3;

/** One subscription, as the router has it. Both counters only grow. */
export interface InputSight {
  readonly topic: string;
  /** Events that wait to be finished, those in its hands included. */
  readonly lag: number;
  readonly handled: number;
  readonly deadLetters: number;
}

/** One daemon at one moment. */
export interface Sight {
  /** Monotonic milliseconds, as every time here. */
  readonly at: number;
  readonly generation: number;
  /** Empty also when the router cannot deliver: then waiting input is not its fault. */
  readonly inputs: readonly InputSight[];
  /** When the oldest call into it that is under way last moved; null when none is. */
  readonly movedAt: number | null;
  /** Of each cycle: its period, and when it last went through (or could first have run). */
  readonly cycles: readonly { readonly periodSeconds: number; readonly wentThroughAt: number }[];
}

export interface OutsideLimits {
  /** More events than this waiting for one subscription, and becoming no fewer. */
  readonly lagMax: number;
  /** Work that is there and does not move for this long. */
  readonly stillSeconds: number;
  /** Dead letters are counted over one to two times this long. */
  readonly deadLetterSeconds: number;
}

export interface Finding {
  /** What was found, as a word: the same in two looks in a row is believed. */
  readonly rule: string;
  readonly message: string;
  readonly details: Readonly<Record<string, number>>;
}

interface Tally {
  readonly at: number;
  readonly handled: number;
  readonly dead: number;
}

/** What is remembered of one start of a daemon. */
export interface Watched {
  readonly generation: number;
  readonly topics: ReadonlyMap<string, { readonly lag: number; readonly finished: number; readonly movedAt: number }>;
  /** Books at the beginning of the present window and of the one before it. */
  readonly newer: Tally;
  readonly older: Tally;
}

const tallyOf = ({ at, inputs }: Sight): Tally => ({
  at,
  handled: inputs.reduce((sum, { handled }) => sum + handled, 0),
  dead: inputs.reduce((sum, { deadLetters }) => sum + deadLetters, 0),
});

const inputFindings = (sight: Sight, before: Watched | null, now: Watched['topics'], limits: OutsideLimits) =>
  sight.inputs.flatMap(({ topic, lag }): Finding[] => {
    const past = before?.topics.get(topic);
    const stillSeconds = (sight.at - Math.max(now.get(topic)!.movedAt, sight.movedAt ?? -Infinity)) / 1_000;
    if (stillSeconds > limits.stillSeconds) {
      const message = `${lag} events of ${topic} wait, and nothing has moved for ${stillSeconds.toFixed(0)} s`;
      return [{ rule: `still ${topic}`, message, details: { lag, stalenessSeconds: stillSeconds } }];
    }
    if (lag <= limits.lagMax || past === undefined || lag < past.lag) return [];
    return [{ rule: `lag ${topic}`, message: `${lag} events of ${topic} wait, and become no fewer`, details: { lag } }];
  });

const deadFindings = (now: Tally, since: Tally): Finding[] => {
  const dead = now.dead - since.dead;
  const finished = dead + now.handled - since.handled;
  if (dead < DEAD_MIN || dead <= finished * DEAD_SHARE_MAX) return [];
  const message = `${dead} of its last ${finished} events became dead letters`;
  return [{ rule: 'dead letters', message, details: { deadLetters: dead, finished } }];
};

const cycleFindings = ({ at, movedAt, cycles }: Sight, { stillSeconds }: OutsideLimits): Finding[] => {
  if (movedAt !== null && at - movedAt <= stillSeconds * 1_000) return [];
  return cycles.flatMap(({ periodSeconds, wentThroughAt }, index): Finding[] => {
    const age = (at - wentThroughAt) / 1_000;
    if (age <= Math.max(stillSeconds, LATE_PERIODS * periodSeconds)) return [];
    const message = `its cycle of every ${periodSeconds} s last went through ${age.toFixed(0)} s ago`;
    return [{ rule: `output ${index}`, message, details: { stalenessSeconds: age } }];
  });
};

/**
 * Looks at a daemon once more.
 * @param before  what the last look returned; null at the first
 * @returns what speaks against it, worst first, and what to hand to the next look
 */
export const lookFromOutside = (
  before: Watched | null,
  sight: Sight,
  limits: OutsideLimits,
): { readonly watched: Watched; readonly findings: readonly Finding[] } => {
  const known = before?.generation === sight.generation ? before : null;
  const topics = new Map(
    sight.inputs.map(({ topic, lag, handled, deadLetters }) => {
      const past = known?.topics.get(topic);
      const finished = handled + deadLetters;
      const stood = past !== undefined && lag > 0 && finished === past.finished;
      return [topic, { lag, finished, movedAt: stood ? past.movedAt : sight.at }];
    }),
  );
  const now = tallyOf(sight);
  // A look without books (the router is away) remembers none: the counts begin anew with the next.
  const since = known === null || known.topics.size === 0 ? { newer: now, older: now } : known;
  const isOver = sight.at - since.newer.at > limits.deadLetterSeconds * 1_000;
  const watched: Watched = {
    generation: sight.generation,
    topics,
    newer: isOver ? now : since.newer,
    older: isOver ? since.newer : since.older,
  };
  return {
    watched,
    findings: [
      ...inputFindings(sight, known, topics, limits),
      ...deadFindings(now, watched.older),
      ...cycleFindings(sight, limits),
    ],
  };
};

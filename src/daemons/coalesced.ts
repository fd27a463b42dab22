/** Work that several triggers ask for: a period, events, requests. */

/**
 * Runs `work` one at a time. A call while it runs shares the one run after it, which sees whatever the caller saw; so any
 * number of triggers costs at most one run more, and none is answered by a run that had begun before it.
 */
export const coalesced = (work: () => Promise<void>): (() => Promise<void>) => {
  let running: Promise<void> | null = null;
  let next: Promise<void> | null = null;
  const run = (): Promise<void> => {
    running = work().finally(() => (running = null));
    return running;
  };
  return () => {
    if (next !== null) return next;
    if (running === null) return run();
    const again = (): Promise<void> => {
      next = null;
      return run();
    };
    next = running.then(again, again);
    return next;
  };
};

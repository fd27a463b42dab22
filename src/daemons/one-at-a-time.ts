import PQueue from 'p-queue';

/**
 * Makes of some work a round that never runs beside itself: asked for while it runs, it runs once more afterwards, however
 * often it was asked. Every answer is that of a round that began after the question, so an event is acknowledged only
 * when what it told of has been looked at.
 */
export const oneAtATime = (round: () => Promise<void>): (() => Promise<void>) => {
  const queue = new PQueue({ concurrency: 1 });
  let waiting: Promise<void> | null = null;
  return () =>
    (waiting ??= queue.add(async () => {
      await Promise.resolve(); // the queue may begin before it answers
      waiting = null;
      await round();
    }));
};

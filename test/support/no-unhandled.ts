/**
 * Hooks around every test of a run: a promise that was rejected and that nobody heard fails the test it came up in. The
 * runner lets such rejections pass, so without this a catch that is missing would be no failure.
 */
/** Once each: the runner tells of a rejection a second time. */
const unheard = new Set<unknown>();
const note = (reason: unknown): void => {
  // Of a start that has ended: its functions unwind by it, and the master takes it for what it is as well.
  if ((reason as { code?: unknown } | null)?.code !== 'SCOPE_CLOSED') unheard.add(reason);
};

/** A rejection is told when the turn it happened in is over. */
const turnIsOver = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const failIfAny = async (): Promise<void> => {
  await turnIsOver();
  if (unheard.size === 0) return;
  const [first, ...more] = unheard;
  unheard.clear();
  const count = more.length === 0 ? '' : ` (and ${more.length} more)`;
  throw new Error(
    `nobody heard a rejection${count}: ${first instanceof Error ? (first.stack ?? first.message) : String(first)}`,
  );
};

export const mochaHooks = {
  beforeAll: (): void => void process.on('unhandledRejection', note),
  afterEach: failIfAny,
  async afterAll(): Promise<void> {
    process.off('unhandledRejection', note);
    await failIfAny();
  },
};

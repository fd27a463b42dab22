/** Cron expressions and time zones, judged without looking at the clock. */
import { Cron } from 'croner';
import { messageOf } from '../errors.ts';

/** Any moment does: an expression that never fires, fires in no year. A leap year, so that 29 February counts. */
const SOME_MOMENT = '2024-01-01T00:00:00';

/** Why an expression is no cron expression; null when it is one. */
export const cronFault = (at: string): string | null => {
  // Dates and nicknames pass the library too, but they are no repeating expression, or hide when they fire.
  if (at.trim().split(/\s+/).length < 5) return 'it has fewer than five fields';
  try {
    const fires = new Cron(at, { paused: true }).nextRun(SOME_MOMENT);
    return fires === null ? 'no day matches it, so it would never fire' : null;
  } catch (error) {
    return messageOf(error)
      .replace(/^CronPattern: /, '')
      .replace(/\.$/, '');
  }
};

export const isTimeZone = (name: string): boolean => {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
};

/** Names of the time zones this machine knows, for the nearest one. */
export const timeZones = (): readonly string[] => ['UTC', ...Intl.supportedValuesOf('timeZone')];

/** Times as people read them. Every text here is for a screen; programs get ISO-8601 and seconds. */
import { wallMsOf } from '../../../seams/plain-clock.ts';

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

const two = (value: number): string => String(value).padStart(2, '0');

/** A length of time in at most six characters: `0.4s`, `12s`, `4m05s`, `3h12m`, `12d04h`. */
export const lasting = (seconds: number): string => {
  if (!Number.isFinite(seconds)) return '?';
  const positive = Math.max(0, seconds);
  if (positive < 9.95) return `${positive.toFixed(1)}s`;
  // Rounded first, so that 59.6 s is a minute and never "60s".
  const whole = Math.round(positive);
  if (whole < MINUTE) return `${whole}s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)}m${two(whole % MINUTE)}s`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)}h${two(Math.floor((whole % HOUR) / MINUTE))}m`;
  return `${Math.floor(whole / DAY)}d${two(Math.floor((whole % DAY) / HOUR))}h`;
};

/** Seconds from `iso` to now; null when there is no such time. */
export const secondsSince = (iso: string | null, nowMs: number): number | null => {
  if (iso === null) return null;
  const at = wallMsOf(iso);
  return Number.isNaN(at) ? null : (nowMs - at) / 1000;
};

/** `21:04:07`, in UTC like every file of ours, so that a line on the screen can be found in the log. */
export const clockTime = (iso: string): string => (iso.length >= 19 ? iso.slice(11, 19) : iso);

/** `2026-11-23 21:04:07`. */
export const dateTime = (iso: string): string => (iso.length >= 19 ? `${iso.slice(0, 10)} ${iso.slice(11, 19)}` : iso);

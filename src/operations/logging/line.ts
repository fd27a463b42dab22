/**
 * One line of the log: `ISO-time LEVEL [DAEMON] message`, and nothing in it that could lie.
 *
 * What a daemon logs may come from outside (a file name, an HTTP body), so control characters are escaped: nobody can
 * write a second line, or colour a terminal, by having something logged. Secrets are cut out twice: by the name they
 * stand under, and by their value wherever it turns up.
 */
import { isoTime } from '../../seams/plain-clock.ts';
import type { LogLevel } from '../server/protocol.ts';

/** Longer messages are cut, and say by how much. Characters. */
export const MESSAGE_CHARACTERS_MAX = 16 * 1024;
/** Shorter values would be found in innocent text. Characters. */
const SECRET_CHARACTERS_MIN = 6;
/** Nested deeper, a field is shown as its type. */
const DEPTH_MAX = 6;
const REDACTED = '[redacted]';

const SECRET_KEY = /token|passw|secret|authorization|api[-_]?key|credential|cookie|private[-_]?key/i;
/**
 * `key=value`, `key: value`, `"key":"value"`, and `Bearer value`, in running text. Every repeat is bounded: an unbounded
 * one would let a long message hold the loop for seconds.
 */
const SECRET_IN_TEXT =
  /((?:token|passw(?:or)?d|secret|authorization|api[-_]?key|credential)[\w-]{0,40}["']?\s{0,4}[=:]\s{0,4}["']?(?:(?:bearer|basic)\s{1,4})?|\bbearer\s{1,4})([^\s"',;&]{3,})/gi;

const escapeOne = (character: string): string => {
  switch (character) {
    case '\n':
      return '\\n';
    case '\r':
      return '\\r';
    case '\t':
      return '\\t';
    default: {
      const code = character.charCodeAt(0);
      return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
    }
  }
};

/** Control characters of any kind, line separators, and marks that turn the direction of text. */
// eslint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export const escapeControls = (text: string): string => text.replace(UNSAFE, escapeOne);

export class Redactor {
  readonly #values = new Set<string>();

  /** Never let this value appear in a log. */
  add(value: string): void {
    if (value.length >= SECRET_CHARACTERS_MIN) this.#values.add(value);
  }

  text(text: string): string {
    let clean = text.replace(SECRET_IN_TEXT, (_all, before: string) => `${before}${REDACTED}`);
    for (const value of this.#values) if (clean.includes(value)) clean = clean.replaceAll(value, REDACTED);
    return clean;
  }

  /** Data as it may be shown: secrets by key are gone, errors are their message, cycles and depths are cut. */
  #shown(value: unknown, depth: number): unknown {
    if (value instanceof Error) return value.message;
    if (typeof value === 'bigint') return value.toString();
    if (typeof value !== 'object' || value === null) return value;
    if (depth >= DEPTH_MAX) return Array.isArray(value) ? '[list]' : '[object]';
    if (Array.isArray(value)) return value.map((one) => this.#shown(one, depth + 1));
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [key, SECRET_KEY.test(key) ? REDACTED : this.#shown(one, depth + 1)]),
    );
  }

  /** ` key=value …`; a text without spaces stands bare. */
  fields(fields: Readonly<Record<string, unknown>>): string {
    let text = '';
    for (const [key, value] of Object.entries(fields)) {
      if (value === undefined) continue;
      const shown = SECRET_KEY.test(key) ? REDACTED : this.#shown(value, 1);
      const bare = typeof shown === 'string' && /^[^\s"=]+$/.test(shown);
      text += ` ${key}=${bare ? shown : (JSON.stringify(shown) ?? String(shown))}`;
    }
    return text;
  }
}

const cut = (text: string): string =>
  text.length <= MESSAGE_CHARACTERS_MAX
    ? text
    : `${text.slice(0, MESSAGE_CHARACTERS_MAX)}… (+${text.length - MESSAGE_CHARACTERS_MAX} characters)`;

/** The line, without its end. */
export const formatLine = (
  wallMs: number,
  level: LogLevel,
  daemon: string,
  message: string,
  fields: Readonly<Record<string, unknown>> | undefined,
  redactor: Redactor,
): string => {
  const text = cut(message) + (fields === undefined ? '' : cut(redactor.fields(fields)));
  return `${isoTime(wallMs)} ${level} [${daemon}] ${escapeControls(redactor.text(text))}`;
};

/** Whose line it is; null when it is no line of ours. */
export const daemonOfLine = (line: string): string | null =>
  /^\S+ (?:DEBUG|INFO|WARN|ERROR|CRITICAL) \[([^\]]*)\] /.exec(line)?.[1] ?? null;

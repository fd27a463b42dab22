/**
 * `${VAR}`, `${VAR:-default}` and `$$` in the values of a fleet file.
 *
 * An unset variable is a fault and never an empty string: an empty webhook or path would be found in production. A lone
 * `$` stays, since regular expressions end in one; `$NAME` without braces stays too.
 */
import { parseEnv } from 'node:util';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Interpolated {
  readonly value: string;
  readonly faults: readonly InterpolationFault[];
  /** Whether a variable took part; `$$` alone does not count. */
  readonly used: boolean;
  /** What the environment gave, with what the file has in its place; defaults are the file's own words. */
  readonly given: readonly { readonly text: string; readonly written: string }[];
}

export interface InterpolationFault {
  readonly kind: 'unset' | 'malformed';
  /** Name of the variable, or the text that cannot be read. */
  readonly what: string;
  /** Offset in the text that was given. */
  readonly offset: number;
}

const VARIABLE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([^]*))?$/;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Replaces what stands in `text`; O(length). An empty variable counts as unset for `:-`, as in a shell. */
export const interpolate = (text: string, environment: Environment): Interpolated => {
  const faults: InterpolationFault[] = [];
  let value = '';
  const given: { text: string; written: string }[] = [];
  let used = false;
  let at = 0;
  while (at < text.length) {
    const dollar = text.indexOf('$', at);
    if (dollar === -1) break;
    value += text.slice(at, dollar);
    const next = text[dollar + 1];
    if (next === '$') {
      value += '$';
      at = dollar + 2;
      continue;
    }
    if (next !== '{') {
      value += '$';
      at = dollar + 1;
      continue;
    }
    const end = text.indexOf('}', dollar + 2);
    const inside = text.slice(dollar + 2, end === -1 ? undefined : end);
    const variable = end === -1 || inside.includes('${') ? null : VARIABLE.exec(inside);
    if (variable === null) {
      faults.push({ kind: 'malformed', what: text.slice(dollar, end === -1 ? dollar + 20 : end + 1), offset: dollar });
      return { value: text, faults, used, given };
    }
    used = true;
    const name = variable[1]!;
    const set = Object.hasOwn(environment, name) ? environment[name] : undefined;
    const byDefault = variable[2];
    if (set !== undefined && (set !== '' || byDefault === undefined)) {
      value += set;
      given.push({ text: set, written: text.slice(dollar, end + 1) });
    } else if (byDefault !== undefined) value += byDefault;
    else faults.push({ kind: 'unset', what: name, offset: dollar });
    at = end + 1;
  }
  return { value: value + text.slice(at), faults, used, given };
};

/** Variables of a `.env` file; lines that are no assignment are left out, as Node's own reader does. */
export const readDotEnv = (text: string): Environment =>
  Object.fromEntries(Object.entries(parseEnv(text)).filter(([name]) => NAME.test(name)));

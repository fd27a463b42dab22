/**
 * Turns what zod found into faults that a person can mend: the place in the file, the value as it was written, the bound
 * that it broke, and the nearest key that exists.
 *
 * Values are shown as the file has them, never as they became: `${TOKEN}` stays `${TOKEN}` in a message.
 */
import type { z } from 'zod';
import { nearestName, quoted } from '../graph/names.ts';
import type { FleetDocument } from './document.ts';
import { pathText, type FaultList, type Path } from './faults.ts';

type Issue = z.core.$ZodIssue;

/** The parts of a schema that this looks into; zod calls them `def`. */
interface Definition {
  readonly type: string;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly innerType?: z.ZodType;
  readonly element?: z.ZodType;
  readonly valueType?: z.ZodType;
  readonly options?: readonly z.ZodType[];
  readonly in?: z.ZodType;
  readonly getter?: () => z.ZodType;
}

const WRAPPERS_MAX = 20; // a lazy schema may lead to itself

/** The schemas that may hold at `path`, unwrapped: several behind a union. */
const schemasAt = (schema: z.ZodType, path: Path): readonly z.ZodType[] => {
  const opened = (one: z.ZodType, depth = 0): readonly z.ZodType[] => {
    const definition = one.def as unknown as Definition;
    if (depth > WRAPPERS_MAX) return [];
    if (definition.options !== undefined) return definition.options.flatMap((option) => opened(option, depth + 1));
    const inner =
      definition.innerType ?? (definition.type === 'pipe' ? definition.in : undefined) ?? definition.getter?.();
    return inner === undefined ? [one] : opened(inner, depth + 1);
  };
  let here = opened(schema);
  for (const part of path) {
    here = here.flatMap((one) => {
      const definition = one.def as unknown as Definition;
      const next =
        typeof part === 'number'
          ? definition.element
          : ((definition.shape !== undefined && Object.hasOwn(definition.shape, part)
              ? definition.shape[part]
              : undefined) ?? definition.valueType);
      return next === undefined ? [] : opened(next);
    });
  }
  return here;
};

/** Keys that an object at `path` may have. */
export const keysAt = (schema: z.ZodType, path: Path): readonly string[] =>
  schemasAt(schema, path).flatMap((one) => Object.keys((one.def as unknown as Definition).shape ?? {}));

/** What other tools call our keys. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  services: 'daemons',
  processes: 'daemons',
  programs: 'daemons',
  depends: 'dependsOn',
  needs: 'dependsOn',
  requires: 'dependsOn',
  cron: 'at',
  timezone: 'timeZone',
};

const KEYS_LISTED_MAX = 14;

/** "did you mean x?", or the words that are allowed when nothing is near. */
export const nearestHint = (wrong: string, valid: readonly string[]): string | null => {
  const elsewhere = Object.hasOwn(ELSEWHERE, wrong) ? ELSEWHERE[wrong]! : undefined;
  const nearest = elsewhere !== undefined && valid.includes(elsewhere) ? elsewhere : nearestName(wrong, valid);
  if (nearest !== null) return `did you mean "${nearest}"?`;
  if (valid.length === 0) return null;
  const listed = valid.slice(0, KEYS_LISTED_MAX).join(', ');
  return `valid here: ${listed}${valid.length > KEYS_LISTED_MAX ? `, and ${valid.length - KEYS_LISTED_MAX} more` : ''}`;
};

const UNIT_SECONDS: Readonly<Record<string, number>> = {
  ms: 0.001,
  s: 1,
  sec: 1,
  second: 1,
  m: 60,
  min: 60,
  minute: 60,
  h: 3_600,
  hour: 3_600,
  d: 86_400,
  day: 86_400,
};
const WITH_UNIT = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+?)s?\s*$/i;

/** `5s`, `500 ms`, `2 minutes` as seconds; null for anything else. */
export const secondsIn = (text: string): number | null => {
  const parts = WITH_UNIT.exec(text.slice(0, 40));
  const unit = parts?.[2]?.toLowerCase() ?? '';
  const factor = Object.hasOwn(UNIT_SECONDS, unit) ? UNIT_SECONDS[unit] : UNIT_SECONDS[`${unit}s`];
  return parts === null || factor === undefined ? null : Number((Number(parts[1]) * factor).toPrecision(12));
};

const NOUNS: Readonly<Record<string, string>> = {
  object: 'a map',
  record: 'a map',
  array: 'a list',
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  null: 'empty',
};
const noun = (type: string): string => NOUNS[type] ?? type;

/** A value as the file has it. */
const shown = (document: FleetDocument, path: Path, value: unknown): string => {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map';
  const raw = document.rawAt(path);
  return raw === null ? quoted(value) : typeof value === 'string' ? quoted(raw.replace(/^(["'])([^]*)\1$/, '$2')) : raw;
};

const dig = (value: unknown, path: Path): unknown => {
  let here = value;
  for (const part of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, part)) return undefined;
    here = (here as Record<string | number, unknown>)[part];
  }
  return here;
};

const isDuration = (path: Path): boolean => path.some((part) => typeof part === 'string' && part.endsWith('Seconds'));

const durationHint = (path: Path, value: unknown): string | null => {
  if (!isDuration(path)) return null;
  const seconds = typeof value === 'string' ? secondsIn(value) : null;
  if (seconds !== null) return `durations are numbers of seconds: write ${seconds}`;
  return 'durations are numbers of seconds, such as 5 or 0.5';
};

/** Unions inside unions, as one list of options. */
const flatOptions = (options: readonly (readonly Issue[])[]): readonly (readonly Issue[])[] =>
  options.flatMap((issues) => {
    const only = issues.length === 1 ? issues[0] : undefined;
    return only?.code === 'invalid_union' && only.path.length === 0 ? flatOptions(only.errors) : [issues];
  });

/** The one option of a union that was meant: the only one whose faults lie inside the value, not in its kind. */
const meantOption = (options: readonly (readonly Issue[])[]): readonly Issue[] | null => {
  const inside = options.filter((issues) => !issues.some((issue) => issue.path.length === 0 && isAboutKind(issue)));
  return inside.length === 1 ? inside[0]! : null;
};
const isAboutKind = (issue: Issue): boolean =>
  issue.code === 'invalid_type' || issue.code === 'invalid_value' || issue.code === 'invalid_union';

const expectedOf = (issue: Issue): string[] => {
  if (issue.code === 'invalid_type') return [noun(issue.expected)];
  if (issue.code === 'invalid_value') return issue.values.map((value) => JSON.stringify(value));
  return [];
};

const listed = (words: readonly string[]): string => {
  const unique = [...new Set(words)];
  return unique.length < 2 ? unique.join('') : `${unique.slice(0, -1).join(', ')} or ${unique.at(-1)}`;
};

export interface Checked {
  readonly faults: FaultList;
  readonly document: FleetDocument;
  /** Where the checked value stands in the file. */
  readonly base: Path;
  readonly schema: z.ZodType;
  readonly value: unknown;
}

/** Reports one issue; `prefix` leads from the checked value to where the issue's own path begins. */
const report = (checked: Checked, issue: Issue, prefix: Path): void => {
  const { faults, document, base, value: root } = checked;
  const inner = [...prefix, ...(issue.path as Path)];
  const path = [...base, ...inner];
  const value = dig(root, inner);
  const name = quoted(pathText(path.slice(-1)) === '' ? 'the file' : keyName(path));
  const seen = shown(document, path, value);
  const say = (message: string, hint: string | null = null): void =>
    faults.add(value === null ? document.keyPlace(path) : document.place(path), path, message, hint);

  if (value === undefined && issue.code !== 'unrecognized_keys' && inner.length > 0) {
    const holder = path.slice(0, -1);
    const where = holder.length === 0 ? '' : ` in ${pathText(holder)}`;
    faults.add(document.keyPlace(holder), path, `the key ${name} is missing${where}`, missingHint(issue));
    return;
  }
  switch (issue.code) {
    case 'unrecognized_keys': {
      const valid = keysAt(checked.schema, inner);
      for (const key of issue.keys) {
        const where = path.length === 0 ? '' : ` in ${pathText(path)}`;
        const at = [...path, key];
        faults.add(document.keyPlace(at), at, `unknown key ${quoted(key)}${where}`, nearestHint(key, valid));
      }
      return;
    }
    case 'invalid_union': {
      const options = flatOptions(issue.errors);
      const meant = meantOption(options);
      if (meant !== null) {
        for (const one of meant) report(checked, one, inner);
        return;
      }
      const ofKind = options.flat().filter((one) => one.path.length === 0 && isAboutKind(one));
      const expected = listed(ofKind.flatMap(expectedOf));
      say(`${name} must be ${expected === '' ? 'of another form' : expected}, and is ${seen}`);
      return;
    }
    case 'invalid_type':
      if (typeof value === 'number' && !Number.isFinite(value)) {
        say(`${name} must be a finite number, and is ${seen}`, durationHint(path, value));
        return;
      }
      say(
        `${name} must be ${noun(issue.expected)}, and is ${seen}`,
        issue.expected === 'number' || issue.expected === 'int' ? durationHint(path, value) : null,
      );
      return;
    case 'too_small':
    case 'too_big': {
      const small = issue.code === 'too_small';
      const bound = small ? issue.minimum : issue.maximum;
      if (issue.origin === 'array' || issue.origin === 'set' || issue.origin === 'map') {
        say(small ? `${name} needs at least ${bound} entry` : `${name} takes at most ${bound} entries`);
        return;
      }
      if (issue.origin === 'string') {
        say(small ? `${name} is empty` : `${name} has more than ${bound} characters`);
        return;
      }
      const unit = isDuration(path) ? ' seconds' : '';
      const than = small
        ? issue.inclusive === true
          ? 'at least'
          : 'more than'
        : issue.inclusive === true
          ? 'at most'
          : 'less than';
      say(`${name} must be ${than} ${bound}${unit}, and is ${seen}`);
      return;
    }
    case 'invalid_value': {
      const values = issue.values.map(String);
      // `version: "1"` has the right characters and the wrong type.
      const mistyped = issue.values.find((one) => typeof one !== 'string' && String(one) === value);
      const hint =
        mistyped !== undefined
          ? `write ${String(mistyped)} without quotes`
          : typeof value === 'string'
            ? nearestHint(value, values)
            : null;
      say(`${name} must be ${listed(issue.values.map((one) => JSON.stringify(one)))}, and is ${seen}`, hint);
      return;
    }
    case 'invalid_format':
      say(
        `${name} has the wrong form: ${seen}${issue.format === 'url' ? ' is no http or https URL' : ''}`,
        formHint(issue),
      );
      return;
    default:
      say(`${name} is refused: ${issue.message}`); // a definition's own words
  }
};

const keyName = (path: Path): string => {
  const last = path.at(-1)!;
  if (typeof last === 'string') return last;
  let names = 1;
  while (names < path.length && typeof path.at(-names) === 'number') names += 1;
  return pathText(path.slice(-names));
};

const missingHint = (issue: Issue): string | null => {
  if (issue.code === 'invalid_value') return `write ${listed(issue.values.map((one) => JSON.stringify(one)))}`;
  return issue.code === 'invalid_type' ? `it is ${noun(issue.expected)}` : null;
};

const formHint = (issue: Issue): string | null =>
  issue.code === 'invalid_format' && 'pattern' in issue && typeof issue.pattern === 'string' && issue.format === 'regex'
    ? `it must match ${issue.pattern}`
    : null;

/** Every place where text from the environment stands and a number or a boolean is wanted, unions included. */
const retyped = (checked: Checked, issues: readonly Issue[], prefix: Path): boolean => {
  let any = false;
  for (const issue of issues) {
    const inner = [...prefix, ...(issue.path as Path)];
    if (issue.code === 'invalid_type')
      any = checked.document.retype([...checked.base, ...inner], issue.expected) || any;
    if (issue.code === 'invalid_union') for (const option of issue.errors) any = retyped(checked, option, inner) || any;
  }
  return any;
};

/**
 * Checks a part of the file against its schema and reports every fault in it.
 * @returns the parsed value, or null when it has faults
 */
export const check = <Schema extends z.ZodType>(
  checked: Omit<Checked, 'schema'> & { readonly schema: Schema },
): z.output<Schema> | null => {
  let result = checked.schema.safeParse(checked.value);
  if (!result.success && retyped(checked, result.error.issues, [])) result = checked.schema.safeParse(checked.value);
  if (result.success) return result.data;
  for (const issue of result.error.issues) report(checked, issue, []);
  return null;
};

/**
 * What is valid in a faulty value, so that later checks (an unknown name, a cycle) still see it and one run shows all
 * faults: keys that do not fit are left out, required ones may be absent, and an entry of a list that does not fit is
 * undefined, so that the others keep their place.
 * @returns undefined when nothing of it is usable
 */
export const salvage = (schema: z.ZodType, value: unknown): unknown => {
  const whole = schema.safeParse(value);
  if (whole.success) return whole.data;
  for (const one of schemasAt(schema, [])) {
    const { shape, element, valueType } = one.def as unknown as Definition;
    if (element !== undefined && Array.isArray(value)) {
      return value.map((item) => salvage(element, item));
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) continue;
    if (shape === undefined && valueType === undefined) continue;
    const kept: Record<string, unknown> = {};
    for (const [key, part] of Object.entries(value)) {
      const inner = valueType ?? (Object.hasOwn(shape!, key) ? shape![key] : undefined);
      const good = inner === undefined ? undefined : salvage(inner, part);
      if (good !== undefined) kept[key] = good;
    }
    return kept;
  }
  return undefined;
};

/**
 * What a request says, checked by hand: the bodies are small, and a schema compiler costs the thread more to load than all
 * of its routes. Every fault of a body is named in one answer.
 */
import { badRequest } from './errors.ts';
import { ACT_VERBS, LOG_LEVELS, PLAN_VERBS } from './protocol.ts';
import type { ActRequest, ActVerb, LogLevel, PlanVerb } from './protocol.ts';

/** A command waits at most this long for its outcome. Milliseconds. */
export const WAIT_MS_MAX = 3_600_000;
/** When a caller does not say how long it waits. A recovery of a big fleet fits. Milliseconds. */
const WAIT_MS_DEFAULT = 600_000;
const DAEMONS_MAX = 10_000;

type Fields = Readonly<Record<string, unknown>>;

export const isOneOf = <Word extends string>(words: readonly Word[], value: unknown): value is Word =>
  (words as readonly unknown[]).includes(value);

/** A JSON object; an absent body is an empty one. */
export const fieldsOf = (body: unknown): Fields => {
  if (body === undefined || body === null) return {};
  if (typeof body !== 'object' || Array.isArray(body))
    throw badRequest('cannot read the body: it must be a JSON object');
  return body as Fields;
};

class Faults {
  readonly #found: string[] = [];

  add(fault: string): void {
    this.#found.push(fault);
  }

  text(fields: Fields, key: string, most: number): string | undefined {
    const value = fields[key];
    if (value === undefined) return undefined;
    if (typeof value === 'string' && value.length <= most) return value;
    this.add(`${key} must be a text of at most ${most} characters`);
    return undefined;
  }

  number(fields: Fields, key: string, most: number): number | undefined {
    const value = fields[key];
    if (value === undefined) return undefined;
    if (typeof value === 'number' && value >= 0 && value <= most) return value;
    this.add(`${key} must be a number from 0 to ${most}`);
    return undefined;
  }

  truth(fields: Fields, key: string): boolean | undefined {
    const value = fields[key];
    if (value === undefined || typeof value === 'boolean') return value;
    this.add(`${key} must be true or false`);
    return undefined;
  }

  unknownKeys(fields: Fields, known: readonly string[]): void {
    for (const key of Object.keys(fields))
      if (!known.includes(key)) this.add(`${key.slice(0, 80)} is no key of this body (${known.join(', ')})`);
  }

  throwIfAny(): void {
    if (this.#found.length > 0) throw badRequest(`cannot read the body: ${this.#found.join('; ')}`);
  }
}

const ACT_KEYS = ['verb', 'daemons', 'origin', 'reason', 'waitMs', 'drainMs', 'resetFailed', 'id'];

/** The body of POST /control/act, defaults filled. */
export const parseAct = (body: unknown): ActRequest & { readonly waitMs: number } => {
  const fields = fieldsOf(body);
  const faults = new Faults();
  faults.unknownKeys(fields, ACT_KEYS);
  const { verb } = fields;
  if (!isOneOf(ACT_VERBS, verb)) faults.add(`verb must be one of ${ACT_VERBS.join(', ')}`);
  const daemons = fields['daemons'] ?? [];
  if (!Array.isArray(daemons) || daemons.length > DAEMONS_MAX || !daemons.every((name) => typeof name === 'string'))
    faults.add(`daemons must be a list of at most ${DAEMONS_MAX} names`);
  const origin = fields['origin'] ?? 'operator';
  if (origin !== 'operator' && origin !== 'schedule') faults.add('origin must be operator or schedule');
  const reason = faults.text(fields, 'reason', 1_000);
  const id = faults.text(fields, 'id', 200);
  const waitMs = faults.number(fields, 'waitMs', WAIT_MS_MAX);
  const drainMs = faults.number(fields, 'drainMs', WAIT_MS_MAX);
  const resetFailed = faults.truth(fields, 'resetFailed');
  faults.throwIfAny();
  return {
    verb: verb as ActVerb,
    daemons: daemons as string[],
    origin: origin as 'operator' | 'schedule',
    waitMs: waitMs ?? WAIT_MS_DEFAULT,
    ...(reason === undefined ? {} : { reason }),
    ...(id === undefined ? {} : { id }),
    ...(drainMs === undefined ? {} : { drainMs }),
    ...(resetFailed === undefined ? {} : { resetFailed }),
  };
};

/** The body of POST /recover. */
export const parseRecover = (body: unknown): Pick<ActRequest, 'drainMs' | 'resetFailed'> => {
  const fields = fieldsOf(body);
  const faults = new Faults();
  faults.unknownKeys(fields, ['drainSeconds', 'resetFailed']);
  const drainSeconds = faults.number(fields, 'drainSeconds', WAIT_MS_MAX / 1_000);
  const resetFailed = faults.truth(fields, 'resetFailed');
  faults.throwIfAny();
  return {
    ...(drainSeconds === undefined ? {} : { drainMs: drainSeconds * 1_000 }),
    ...(resetFailed === undefined ? {} : { resetFailed }),
  };
};

export const parseLevel = (body: unknown): LogLevel => {
  const { level } = fieldsOf(body);
  const word = typeof level === 'string' ? level.toUpperCase() : level;
  if (!isOneOf(LOG_LEVELS, word))
    throw badRequest(`cannot set the log level: level must be one of ${LOG_LEVELS.join(', ')}`);
  return word;
};

export const parsePlan = (query: Fields): { readonly verb: PlanVerb; readonly daemons: readonly string[] } => {
  const verb = query['verb'] ?? 'boot';
  if (!isOneOf(PLAN_VERBS, verb)) throw badRequest(`cannot plan that: verb must be one of ${PLAN_VERBS.join(', ')}`);
  const asked = query['daemon'] ?? [];
  const daemons = Array.isArray(asked) ? (asked as string[]) : [String(asked)];
  if ((verb === 'restart' || verb === 'stop') && daemons.length === 0)
    throw badRequest(`cannot plan a ${verb}: name the daemons, as ?verb=${verb}&daemon=NAME`);
  return { verb, daemons };
};

/** A number of a query, within bounds; the default when it is absent. */
export const parseCount = (query: Fields, key: string, byDefault: number, most: number): number => {
  const value = query[key];
  if (value === undefined) return byDefault;
  const count = typeof value === 'string' && value !== '' ? Number(value) : NaN;
  if (Number.isFinite(count) && count >= 0) return Math.min(count, most);
  throw badRequest(`cannot read ?${key}=${String(value).slice(0, 40)}: it must be a number of at least 0`);
};

export const parseName = (query: Fields, key: string): string | null => {
  const value = query[key];
  if (value === undefined || value === '') return null;
  if (typeof value === 'string' && value.length <= 200) return value;
  throw badRequest(`cannot read ?${key}: it must be one name`);
};

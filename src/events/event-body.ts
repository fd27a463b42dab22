/**
 * From what a publisher hands in to the text that is stored: declared, valid, and JSON without surprises.
 *
 * JSON.stringify alone would turn a Date into a string, a Map into {} and NaN into null without a word, and the subscriber
 * would see another type than the publisher's compiler did. So what comes out of the schema is walked once: anything that
 * would not come back the same is refused at the publisher, with its path.
 */
import type { z } from 'zod';
import { messageOf, type OrchestratorError } from '../errors.ts';
import { invalidEvent, invalidEventId } from './event-errors.ts';

const DEPTH_MAX = 64;

/** Ids of this form are made by the router; nobody else may choose one. */
const MADE_HERE = /^e-[0-9a-f]{12}-/;
const ID_CHARACTERS_MAX = 200;

/** Where and why a value would not survive JSON; null when it would. */
export const jsonFault = (value: unknown, path = '', depth = 0): { path: string; what: string } | null => {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return null;
    case 'number':
      return Number.isFinite(value) ? null : { path, what: `is ${value}, which JSON cannot hold` };
    case 'object':
      break;
    default:
      return { path, what: `is a ${typeof value}, which JSON cannot hold` };
  }
  if (value === null) return null;
  if (depth === DEPTH_MAX) return { path, what: `is nested deeper than ${DEPTH_MAX} levels, or contains itself` };
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const fault = jsonFault(value[index], `${path === '' ? '' : `${path}.`}${index}`, depth + 1);
      if (fault !== null) return fault;
    }
    return null;
  }
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype !== Object.prototype && prototype !== null) {
    return { path, what: `is a ${value.constructor?.name ?? 'class instance'}, which JSON would change` };
  }
  for (const key in value) {
    const member = (value as Record<string, unknown>)[key];
    if (typeof member === 'string' || member === undefined) continue; // an absent optional field stays absent
    const fault = jsonFault(member, path === '' ? key : `${path}.${key}`, depth + 1);
    if (fault !== null) return fault;
  }
  return null;
};

/** The value that a schema's complaint is about, named by its type. */
const typeAt = (body: unknown, path: readonly PropertyKey[]): string => {
  let value = body;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | null | undefined)?.[key];
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
};

/**
 * The stored text of a body.
 * @throws EVENT_INVALID naming topic, path and the type found
 */
export const encodeBody = (
  schema: z.ZodType,
  topic: string,
  who: string,
  body: unknown,
  charactersMax: number,
): string => {
  let parsed: ReturnType<z.ZodType['safeParse']>;
  try {
    parsed = schema.safeParse(body);
  } catch (thrown) {
    throw invalidEvent(topic, who, '', `could not be checked: ${messageOf(thrown)}`);
  }
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const more = parsed.error.issues.length > 1 ? ` (and ${parsed.error.issues.length - 1} more faults)` : '';
    throw invalidEvent(topic, who, issue.path.join('.'), `is ${typeAt(body, issue.path)}: ${issue.message}${more}`);
  }
  const fault = jsonFault(parsed.data);
  if (fault !== null) throw invalidEvent(topic, who, fault.path, fault.what);
  if (parsed.data === null || typeof parsed.data !== 'object' || Array.isArray(parsed.data)) {
    throw invalidEvent(topic, who, '', `is ${typeAt(parsed.data, [])}; bodies are JSON objects`);
  }
  const text = JSON.stringify(parsed.data);
  if (text.length > charactersMax) {
    throw invalidEvent(topic, who, '', `has ${text.length} characters of JSON, the limit is ${charactersMax}`);
  }
  return text;
};

/** Says no to an id that cannot be a publisher's own. */
export const chosenIdFault = (topic: string, who: string, id: string): OrchestratorError | null => {
  if (id.length === 0 || id.length > ID_CHARACTERS_MAX) {
    return invalidEventId(topic, who, id, `it has ${id.length} characters`);
  }
  return MADE_HERE.test(id) ? invalidEventId(topic, who, id, 'ids of that form are made by the router') : null;
};

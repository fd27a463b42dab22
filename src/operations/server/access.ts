/**
 * Who may ask over the port. The control socket needs none of this: the permission of its file is the access control.
 *
 * Three walls, in this order. A Host that is not ours is a page that had its name rebound to 127.0.0.1. An Origin that is
 * not ours is a page of somebody else in the user's own browser. And whoever changes something holds the token of the
 * data directory. Off loopback every route but /health and /ready needs the token.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { foreign, unauthorized, type Refusal } from './errors.ts';

export interface AccessRules {
  /** The address listened on. */
  readonly bind: string;
  readonly token: string;
  /** This machine's own name; allowed off loopback. */
  readonly hostName: string;
}

export interface Asked {
  readonly method: string;
  /** Without query. */
  readonly path: string;
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly authorization: string | undefined;
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]', '::1']);
const OPEN_PATHS = new Set(['/health', '/ready']);

export const isLoopback = (bind: string): boolean => LOOPBACK.has(bind) || /^127\.\d+\.\d+\.\d+$/.test(bind);

/** The name of a Host header without its port; null when it is none. */
export const hostNameOf = (host: string): string | null =>
  /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?$/i.exec(host)?.[1]?.toLowerCase() ?? null;

/** An address cannot be rebound: only names can. */
const isAddress = (name: string): boolean => /^\d+\.\d+\.\d+\.\d+$/.test(name) || name.startsWith('[');

const hostAllowed = (host: string | undefined, rules: AccessRules): boolean => {
  if (host === undefined) return false;
  const name = hostNameOf(host);
  if (name === null) return false;
  if (LOOPBACK.has(name) || name === rules.bind.toLowerCase()) return true;
  return !isLoopback(rules.bind) && (isAddress(name) || name === rules.hostName.toLowerCase());
};

/** Same length for any input, so that comparing tells nothing of where two tokens differ. */
const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

export const tokenMatches = (authorization: string | undefined, token: string): boolean => {
  const given = /^Bearer ([^\s]+)$/i.exec(authorization ?? '')?.[1];
  return given !== undefined && timingSafeEqual(digest(given), digest(token));
};

/** Null: go on. */
export const refuseAccess = (asked: Asked, rules: AccessRules): Refusal | null => {
  if (!hostAllowed(asked.host, rules)) return foreign('Host', asked.host ?? '');
  if (asked.origin !== undefined && asked.origin.toLowerCase() !== `http://${asked.host ?? ''}`.toLowerCase())
    return foreign('Origin', asked.origin);
  const changes = asked.method !== 'GET' && asked.method !== 'HEAD';
  const needsToken = changes || (!isLoopback(rules.bind) && !OPEN_PATHS.has(asked.path));
  return needsToken && !tokenMatches(asked.authorization, rules.token) ? unauthorized() : null;
};

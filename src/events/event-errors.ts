/** Every way the router says no. */
import { OrchestratorError, type ErrorCode } from '../errors.ts';

export const undeclaredEvent = (topic: string, who: string): OrchestratorError =>
  new OrchestratorError('EVENT_UNDECLARED', {
    message: `cannot publish ${topic} from ${who}: the catalogue has no event of that name`,
    remedy: 'declare it in the catalogue (src/events/catalogue.ts), or correct the name',
    context: { topic, who },
  });

export const undeclaredPublisher = (topic: string, who: string, publishes: readonly string[]): OrchestratorError =>
  new OrchestratorError('EVENT_UNDECLARED', {
    message: `cannot publish ${topic} from ${who}: it declares ${publishes.length === 0 ? 'no events' : publishes.join(', ')}`,
    remedy: `add ${topic} to "publishes" in the definition of ${who}`,
    context: { topic, who, publishes },
  });

export const undeclaredSubscription = (subscriber: string, topic: string): OrchestratorError =>
  new OrchestratorError('EVENT_UNDECLARED', {
    message: `cannot attach ${subscriber} to ${topic}: that subscription was not declared before the router started`,
    remedy: `add ${topic} to "subscribes" in the definition of ${subscriber}`,
    context: { subscriber, topic },
  });

export const unknownTopic = (subscriber: string, topic: string): OrchestratorError =>
  new OrchestratorError('EVENT_UNDECLARED', {
    message: `cannot subscribe ${subscriber} to ${topic}: the catalogue has no event of that name`,
    remedy: 'declare it in the catalogue (src/events/catalogue.ts), or correct the name',
    context: { subscriber, topic },
  });

/** @param path  where in the body, dotted; empty for the whole of it */
export const invalidEvent = (topic: string, who: string, path: string, what: string): OrchestratorError =>
  new OrchestratorError('EVENT_INVALID', {
    message: `cannot publish ${topic} from ${who}: ${path === '' ? 'the body' : `body.${path}`} ${what}`,
    remedy: `give ${topic} a body as its declaration says (docs/reference/events.md lists every field)`,
    context: { topic, who, path, what },
  });

export const invalidEventId = (topic: string, who: string, id: string, what: string): OrchestratorError =>
  new OrchestratorError('EVENT_INVALID', {
    message: `cannot publish ${topic} from ${who} under the id "${id.slice(0, 80)}": ${what}`,
    remedy: 'choose an id of 1 to 200 characters of your own, or none',
    context: { topic, who, id: id.slice(0, 200) },
  });

export const outboxFull = (who: string, waiting: number, limit: string, presence: string): OrchestratorError =>
  new OrchestratorError('OUTBOX_FULL', {
    message: `cannot publish from ${who}: ${waiting} events wait to be stored, the limit is ${limit}, and the router is ${presence}`,
    remedy: 'publish again later; "master_loop why EVENT_ROUTER" says what the router waits for',
    context: { who, waiting, limit, presence },
  });

export const clientDetached = (subscriber: string, generation: number, act: string): OrchestratorError =>
  new OrchestratorError('SCOPE_CLOSED', {
    message: `cannot ${act} for start ${generation} of ${subscriber}: that start has ended`,
    remedy: 'nothing to do: the next start of the daemon has a client of its own',
    context: { subscriber, generation },
  });

export const routerAway = (act: string, why: string): OrchestratorError =>
  new OrchestratorError('ROUTER_AWAY', {
    message: `cannot ${act}: the event router ${why}`,
    remedy: 'try again once EVENT_ROUTER is RUNNING; "master_loop why EVENT_ROUTER" says what it waits for',
    context: { act },
  });

export const subscriptionGap = (
  subscriber: string,
  gaps: readonly { topic: string; reason: string }[],
): OrchestratorError =>
  new OrchestratorError('SUBSCRIPTION_GAP', {
    message: `cannot re-attach ${subscriber}: ${gaps.map((gap) => `${gap.topic}: ${gap.reason}`).join('; ')}`,
    remedy: `restart ${subscriber}; its events wait in the log and none is lost`,
    context: { subscriber, gaps },
  });

export const unknownExternal = (name: string, known: readonly string[]): OrchestratorError =>
  new OrchestratorError('SUBSCRIPTION_UNKNOWN', {
    message: `cannot find the external subscription "${name}"; there ${known.length === 0 ? 'are none' : `is ${known.join(', ')}`}`,
    remedy: 'subscribe first; a subscription that did not poll for a week is forgotten',
    context: { name, known },
  });

export const tooManyExternal = (name: string, most: number): OrchestratorError =>
  new OrchestratorError('TOO_MANY', {
    message: `cannot subscribe "${name}": ${most} programs outside hold a subscription already`,
    remedy: 'poll under a name that exists; one that did not poll for a week is forgotten',
    context: { name, most },
  });

/** Errors of opening the file cross a thread boundary, so they are built from their parts. */
export interface RefusalParts {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
}

export const newerStore = (file: string, found: number, known: number): RefusalParts => ({
  code: 'EVENT_STORE_NEWER',
  message: `cannot open ${file}: it has format ${found}, this version knows formats up to ${known}`,
  remedy: 'run the newer version, or move the file away to begin an empty log',
});

export const unusableStore = (file: string, what: string): RefusalParts => ({
  code: 'EVENT_STORE_UNUSABLE',
  message: `cannot open ${file} as an event log: ${what}`,
  remedy: 'restore the file from a copy, or move it (with its -wal and -shm) away to begin an empty log',
});

export const refused = (parts: RefusalParts): OrchestratorError => new OrchestratorError(parts.code, parts);

/**
 * Events that nobody publishes or nobody reads. A dead wire works in every test and carries nothing, so `validate` names
 * each; producers and consumers outside the fleet are declared in the catalogue and count.
 */
import type { Catalogue } from './types.ts';

/** As much of a daemon's definition as the check needs. */
export interface EventUser {
  readonly type: string;
  readonly publishes: readonly string[];
  readonly subscribes: readonly string[];
}

export interface OneSidedEvent {
  readonly topic: string;
  readonly missing: 'producer' | 'consumer' | 'both' | 'declaration';
  /** One line for a person. */
  readonly message: string;
}

/** In catalogue order, then the names that daemons use and the catalogue lacks. */
export const oneSided = (catalogue: Catalogue, definitions: readonly EventUser[]): OneSidedEvent[] => {
  const producers = new Map<string, string[]>();
  const consumers = new Map<string, string[]>();
  const note = (map: Map<string, string[]>, topic: string, who: string): void =>
    void (map.get(topic)?.push(who) ?? map.set(topic, [who]));
  for (const [topic, { externalProducers, externalConsumers }] of Object.entries(catalogue)) {
    for (const who of externalProducers ?? []) note(producers, topic, who);
    for (const who of externalConsumers ?? []) note(consumers, topic, who);
  }
  for (const { type, publishes, subscribes } of definitions) {
    for (const topic of publishes) note(producers, topic, type);
    for (const topic of subscribes) note(consumers, topic, type);
  }

  const found: OneSidedEvent[] = [];
  for (const topic of Object.keys(catalogue)) {
    const from = producers.get(topic)?.join(', ');
    const to = consumers.get(topic)?.join(', ');
    if (from === undefined && to === undefined) {
      found.push({ topic, missing: 'both', message: `${topic} has neither producer nor consumer` });
    } else if (from === undefined) {
      found.push({ topic, missing: 'producer', message: `${topic} has no producer; ${to} waits for it in vain` });
    } else if (to === undefined) {
      found.push({ topic, missing: 'consumer', message: `${topic} has no consumer; ${from} publishes it to nobody` });
    }
  }
  for (const topic of new Set([...producers.keys(), ...consumers.keys()])) {
    if (Object.hasOwn(catalogue, topic)) continue;
    const who = [...(producers.get(topic) ?? []), ...(consumers.get(topic) ?? [])].join(', ');
    found.push({ topic, missing: 'declaration', message: `${topic} is used by ${who} and is not in the catalogue` });
  }
  return found;
};

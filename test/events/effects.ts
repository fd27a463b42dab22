/**
 * Three subscribers that do something outside the router with every event, each in one of the ways a daemon has, and the
 * places in between at which a crash is worth trying.
 *
 * TRANSACTIONAL keeps how far it has come in the same database as its effect and moves both in one transaction. KEYED
 * publishes another event under an id made of the one it handled, which the router stores once. PLAIN does neither.
 */
import Database from 'better-sqlite3';
import type { EventClient, RouterHost } from '../../src/events/router-api.ts';
import type { DeclaredSubscription } from '../../src/events/types.ts';
import { subscription, type Counted } from './support.ts';

export const STYLES = ['TRANSACTIONAL', 'KEYED', 'PLAIN'] as const;
export type Style = (typeof STYLES)[number];

/** From the event in hand to its ack in the log. */
export const POINTS = ['in hand', 'half done', 'done', 'returned', 'ack on its way', 'acknowledged'] as const;
export type Point = (typeof POINTS)[number];

/** Longer than acks wait for company, and a commit takes. Milliseconds. */
const ACKNOWLEDGED_MS = 60;

export const DECLARED: readonly DeclaredSubscription[] = [
  ...STYLES.map((style) => subscription(style)),
  subscription('WITNESS', 'NAMED'),
];

export interface Effects {
  /** Numbers in the order of their effects, repeats included; for TRANSACTIONAL and PLAIN. */
  of(style: Style): { readonly n: number; readonly life: number }[];
  attach(host: RouterHost, style: Style, generation?: number): Promise<EventClient>;
  close(): void;
}

/**
 * @param life  noted beside each effect
 * @param at    told at each point of each event, as it is reached
 */
export const openEffects = (
  file: string,
  life: number,
  at: (style: Style, point: Point, event: Counted) => void,
): Effects => {
  const db = new Database(file);
  db.pragma('journal_mode = WAL');
  db.exec(`CREATE TABLE IF NOT EXISTS effects (k INTEGER PRIMARY KEY, style TEXT, n INTEGER, life INTEGER);
    CREATE TABLE IF NOT EXISTS cursor (style TEXT PRIMARY KEY, offset INTEGER);`);
  const insert = db.prepare('INSERT INTO effects (style, n, life) VALUES (?, ?, ?)');
  const moveOn = db.prepare(
    `INSERT INTO cursor VALUES ('TRANSACTIONAL', @offset) ON CONFLICT DO UPDATE SET offset = @offset WHERE offset < @offset`,
  );

  const transactional = db.transaction((event: Counted): void => {
    if (moveOn.run({ offset: event.offset }).changes === 0) return; // it has come further than this event
    at('TRANSACTIONAL', 'half done', event);
    insert.run('TRANSACTIONAL', event.body.n, life);
  });
  const handlers: Record<Style, (event: Counted, client: EventClient) => Promise<void> | void> = {
    TRANSACTIONAL: (event) => transactional.immediate(event),
    async KEYED(event, client) {
      const published = client.publish('NAMED', { name: String(event.body.n) }, { id: `named:${event.id}` });
      at('KEYED', 'half done', event);
      await published;
    },
    PLAIN(event) {
      insert.run('PLAIN', event.body.n, life);
      at('PLAIN', 'half done', event);
    },
  };

  const afterwards = (style: Style, event: Counted): void => {
    queueMicrotask(() => queueMicrotask(() => at(style, 'returned', event)));
    setImmediate(() => setImmediate(() => at(style, 'ack on its way', event)));
    setTimeout(() => at(style, 'acknowledged', event), ACKNOWLEDGED_MS);
  };

  return {
    of: (style) =>
      db.prepare('SELECT n, life FROM effects WHERE style = ? ORDER BY k').all(style) as { n: number; life: number }[],
    async attach(host, style, generation = 1) {
      const client: EventClient = host.client({
        ...{ subscriber: style, generation, publishes: style === 'KEYED' ? ['NAMED'] : [] },
        handlers: {
          async COUNTED(event: Counted) {
            at(style, 'in hand', event);
            await handlers[style](event, client);
            at(style, 'done', event);
            afterwards(style, event);
          },
        },
      });
      await client.attach();
      return client;
    },
    close: () => void db.close(),
  };
};

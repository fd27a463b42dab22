/**
 * One life of a process with a router and three subscribers in it. It publishes a few events, handles whatever is in the
 * log, and kills itself at the point it was told, with nobody left to tidy up. Told of no point it finishes all there is.
 */
import { join } from 'node:path';
import { createRouterHost } from '../../src/events/router-host.ts';
import { realClock } from '../../src/seams/clock.ts';
import { realRandom } from '../../src/seams/random.ts';
import { DECLARED, openEffects, STYLES } from './effects.ts';
import { CATALOGUE, publisherOf, range, until } from './support.ts';

/** Events of one life, and the one at which it ends. */
const EVENTS = 4;
const LAST = 1;

const [folder, number, victim, point, prefetch] = process.argv.slice(2) as [string, string, string, string, string];
const life = Number(number);
const host = createRouterHost({
  ...{ file: join(folder, 'events.db'), catalogue: CATALOGUE, clock: realClock(), random: realRandom() },
  limits: { prefetchEvents: Number(prefetch) },
});
host.declare(DECLARED);
await host.start();
const publisher = publisherOf(host);
const own = range(EVENTS, life * 10);
await Promise.all(own.map((n) => publisher.publish('COUNTED', { n })));

const effects = openEffects(join(folder, 'effects.db'), life, (style, reached, { body }) => {
  if (style === victim && reached === point && body.n === own[LAST]) process.kill(process.pid, 'SIGKILL');
});
for (const style of STYLES) await effects.attach(host, style);
setTimeout(() => process.exit(1), 20_000).unref(); // the point was not reached
const finished = (): boolean =>
  host.ledger().every(({ subscriber, lag, inFlight }) => subscriber === 'WITNESS' || lag + inFlight === 0);
await until(() => point === 'none' && finished());
await host.stop();
effects.close();

import { expect } from 'chai';
import Database from 'better-sqlite3';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EVENT_STORE_FORMAT, openStore, StoreRefusal } from '../../src/events/store.ts';
import { clearWorlds, collector, publisherOf, rejection, subscription, until, world } from './support.ts';

/** What a file must be for the router to refuse it, and what it says then. */
const REFUSED: readonly (readonly [string, (file: string) => void, RegExp])[] = [
  [
    'of a newer version',
    (file) => {
      openStore(file, 'host', 'log').close();
      const db = new Database(file);
      db.pragma(`user_version = ${EVENT_STORE_FORMAT + 1}`);
      db.close();
    },
    /it has format 2, this version knows formats up to 1/,
  ],
  [
    'of another program',
    (file) => {
      const db = new Database(file);
      db.exec('CREATE TABLE theirs (n)');
      db.close();
    },
    /it is a database of another program/,
  ],
  ['that is no database', (file) => writeFileSync(file, 'a letter to a friend\n'.repeat(100)), /not a database/],
  ['that is a folder', (file) => mkdirSync(file), /unable to open|cannot open/],
];
describe('The file of the router', () => {
  afterEach(clearWorlds);

  for (const [what, make, says] of REFUSED)
    it(`${what} is refused with a remedy, and not touched`, async () => {
      const { host: open, file } = world();
      make(file);
      const bytes = what === 'that is a folder' ? null : readFileSync(file);
      const host = open();
      const refused = await rejection(host.start());
      expect(refused.message).to.match(says);
      expect(refused.remedy).to.be.a('string').and.not.equal('');
      await until(() => host.presence === 'away');
      expect(() => openStore(file, 'host', 'log')).to.throw(StoreRefusal);
      if (bytes !== null) expect(readFileSync(file).equals(bytes)).to.equal(true);
    });

  it('that fails in the middle of a write undoes it, says so, and takes the next', () => {
    const { folder } = world();
    const file = join(folder, 'events.db');
    const store = openStore(file, 'host', 'log');
    store.registerTopics(['COUNTED']);
    const other = new Database(file);
    other.exec('ALTER TABLE marks RENAME TO away');
    const bounds = { at: 1, retentionMs: 0, retainedEvents: 0, dedupMs: 0, externalIdleMs: 0 };
    expect(() => store.sweep(bounds)).to.throw(/no such table/);
    other.exec('ALTER TABLE away RENAME TO marks');
    other.close();
    expect(store.sweep(bounds)).to.deep.equal({ deleted: 0, more: false, forgotten: 0 });
    store.close();
  });

  it('that cannot answer one question fails that question, and the router goes on', async () => {
    const { host: open, file } = world();
    const host = open();
    host.declare([subscription('READER')]);
    await host.start();
    const { seen } = await collector(host, 'READER');
    const other = new Database(file);
    other.exec('ALTER TABLE dead_letters RENAME TO away');
    const failed = await rejection(host.deadLetters());
    expect(failed).to.include({ code: 'ROUTER_AWAY' });
    expect(failed.message).to.match(/failed at it: .*no such table/);
    other.exec('ALTER TABLE away RENAME TO dead_letters');
    other.close();
    await publisherOf(host).publish('COUNTED', { n: 1 });
    await until(() => seen.length === 1);
    expect(await host.deadLetters()).to.deep.equal([]);
    await host.stop();
  });
});

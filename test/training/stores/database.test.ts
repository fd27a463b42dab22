import { expect } from 'chai';
import Database from 'better-sqlite3';
import { writeFileSync } from 'node:fs';
import { openForReading, Store } from '../../../src/training/stores/database.ts';
import { faultOf, place, type Place } from './support.ts';

const ONE = ['CREATE TABLE things (name TEXT PRIMARY KEY) STRICT'];
const TWO = [...ONE, 'ALTER TABLE things ADD COLUMN colour TEXT'];

describe('a store file', () => {
  let home: Place;
  beforeEach(() => (home = place()));
  afterEach(() => home.remove());

  it('of an older version takes the steps it lacks and keeps its rows', () => {
    const old = new Store(home.file('a.db'), ONE);
    old.run('INSERT INTO things VALUES (?)', 'chair');
    old.close();
    const present = new Store(home.file('a.db'), TWO);
    expect(present.get('SELECT * FROM things')).to.deep.equal({ name: 'chair', colour: null });
    present.close();
  });

  it('of a newer version is refused, with both versions named, and left as it was', () => {
    new Store(home.file('a.db'), TWO).close();
    const fault = faultOf('STORE_TOO_NEW', () => new Store(home.file('a.db'), ONE));
    expect(fault.message).to.match(/^cannot open .*a\.db: its schema is version 2, this program knows up to 1$/);
    expect(fault.remedy).to.contain('run the version of master-loop that wrote it');
    new Store(home.file('a.db'), TWO).close();
  });

  it('whose handle was closed refuses every call, and serves again once it is opened', () => {
    const store = new Store(home.file('a.db'), ONE);
    store.run('INSERT INTO things VALUES (?)', 'chair');
    store.close();
    for (const call of [() => store.all('SELECT * FROM things'), () => store.immediate(() => 1)])
      expect(faultOf('STORE_FAILED', call).message).to.contain('a.db: The database connection is not open');
    for (let twice = 0; twice < 2; twice++) store.reopen();
    expect(store.all('SELECT * FROM things')).to.deep.equal([{ name: 'chair' }]);
    store.close();
  });

  it('of another program is refused and not touched', () => {
    const foreign = new Database(home.file('a.db'));
    foreign.exec('CREATE TABLE theirs (x)');
    foreign.close();
    expect(faultOf('STORE_FAILED', () => new Store(home.file('a.db'), ONE)).message).to.contain('another program');
    const again = new Database(home.file('a.db'), { readonly: true });
    expect(again.prepare('SELECT name FROM sqlite_master').all()).to.deep.equal([{ name: 'theirs' }]);
    again.close();
  });

  it('that is no database says so, and what to do', () => {
    writeFileSync(home.file('a.db'), 'these are not the bytes of a database, but there are enough of them'.repeat(20));
    const fault = faultOf('STORE_FAILED', () => new Store(home.file('a.db'), ONE));
    expect(fault.message).to.contain('a.db');
    expect(fault.remedy).to.contain('move the file away');
  });

  it('in a folder that does not exist cannot be opened', () => {
    faultOf('STORE_FAILED', () => new Store(home.file('none/a.db'), ONE));
  });

  it('that is not there cannot be opened for reading, and is not made by trying', () => {
    for (let twice = 0; twice < 2; twice++)
      expect(faultOf('STORE_FAILED', () => openForReading(home.file('none.db'))).message).to.match(
        /^cannot use .*none\.db: /,
      );
  });

  it('undoes a transaction that throws, whole', () => {
    const store = new Store(home.file('a.db'), ONE);
    expect(() =>
      store.immediate(() => {
        store.run('INSERT INTO things VALUES (?)', 'chair');
        throw new Error('second thoughts');
      }),
    ).to.throw('second thoughts');
    expect(store.all('SELECT * FROM things')).to.deep.equal([]);
    const fault = faultOf('STORE_FAILED', () =>
      store.immediate(() => ['x', 'x'].forEach((name) => store.run('INSERT INTO things VALUES (?)', name))),
    );
    expect(fault.context.sqlite).to.equal('SQLITE_CONSTRAINT_PRIMARYKEY');
    expect(store.all('SELECT * FROM things')).to.deep.equal([]);
    store.close();
  });
});

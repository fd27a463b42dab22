/**
 * One SQLite file of the floor, opened so that a crash at any instant leaves the state before a transaction or after it.
 *
 * WAL with synchronous FULL: a commit that was answered survives a power cut, and stores that point into each other
 * (a shard knows the last game it holds) never disagree by a lost tail. The file says whose it is (application_id) and
 * how far its schema is (user_version): a newer one is refused rather than half understood, a foreign one is not touched.
 * One connection writes; child programs read with `query_only`.
 */
import Database from 'better-sqlite3';
import { OrchestratorError } from '../../errors.ts';

/** "RRfl": marks files of the training floor. */
const APPLICATION_ID = 0x52_52_66_6c;

/** Longest wait for a reader's checkpoint or a copy in progress; transactions take far less. */
const BUSY_MS = 5_000;

/** The time of the call being served: measured by the master's clock, since a thread's own has another origin. */
export interface Now {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export type ReadNow = () => Now;

/** Steps that bring a fresh file to the present schema; the version of a file is how many it has taken. */
export type Schema = readonly string[];

type Scalar = string | number | null | Uint8Array;
/** Values for `?` in order, or one object for `@name`. */
type Value = Scalar | Readonly<Record<string, Scalar>>;

/** The file was written by a version of the program that knows more steps than this one. */
const storeTooNew = (file: string, found: number, known: number): OrchestratorError =>
  new OrchestratorError('STORE_TOO_NEW', {
    message: `cannot open ${file}: its schema is version ${found}, this program knows up to ${known}`,
    remedy: 'run the version of master-loop that wrote it, or a later one; nothing in the file was changed',
    context: { file, found, known },
  });

const REMEDIES: Readonly<Record<string, string>> = {
  SQLITE_FULL: 'free space on the disk that holds it; the transaction was undone and may be repeated',
  SQLITE_IOERR: 'check the disk that holds it; the transaction was undone',
  SQLITE_BUSY: 'another program holds it open for writing; only the master of this data directory may',
  SQLITE_READONLY: 'make the file and its folder writable for the user who runs the master',
  SQLITE_CANTOPEN: 'check that its folder exists and that the user who runs the master may write there',
  SQLITE_CORRUPT:
    'restore it from a copy, or move it away to start without it; "sqlite3 FILE .recover" saves what is readable',
  SQLITE_NOTADB: 'move the file away: it is not a database',
};

/** A store could not be opened, read or written. */
export const storeFailed = (file: string, thrown: unknown): OrchestratorError => {
  const code = (thrown as { code?: unknown }).code;
  const kind = typeof code === 'string' ? code : 'unknown';
  const family = Object.keys(REMEDIES).find((prefix) => kind.startsWith(prefix));
  return new OrchestratorError('STORE_FAILED', {
    message: `cannot use ${file}: ${thrown instanceof Error ? thrown.message : String(thrown)} (${kind})`,
    remedy: family === undefined ? 'see the cause; nothing was committed' : REMEDIES[family]!,
    context: { file, sqlite: kind },
    cause: thrown,
  });
};

const notOurs = (file: string, application: number): OrchestratorError =>
  new OrchestratorError('STORE_FAILED', {
    message: `cannot use ${file}: it is a database of another program (application id ${application})`,
    remedy: 'move the file away, or give the floor another data directory; nothing in the file was changed',
    context: { file, application },
  });

export class Store {
  readonly file: string;
  private readonly schema: Schema;
  private db: Database.Database;
  private readonly statements = new Map<string, Database.Statement>();

  /** @throws STORE_TOO_NEW, STORE_FAILED */
  constructor(file: string, schema: Schema) {
    this.file = file;
    this.schema = schema;
    this.db = this.open();
  }

  run(sql: string, ...values: Value[]): number {
    return this.guard(() => this.statement(sql).run(...values).changes);
  }

  get<Row>(sql: string, ...values: Value[]): Row | undefined {
    return this.guard(() => this.statement(sql).get(...values) as Row | undefined);
  }

  all<Row>(sql: string, ...values: Value[]): Row[] {
    return this.guard(() => this.statement(sql).all(...values) as Row[]);
  }

  /** One immediate transaction: all of `work` or nothing of it. May be nested; the outermost commits. */
  immediate<Result>(work: () => Result): Result {
    return this.guard(() => this.db.transaction(work).immediate());
  }

  close(): void {
    this.db.close();
  }

  /** Opens the file again after `close`; statements of the old handle are void. Repeatable. */
  reopen(): void {
    if (this.db.open) return;
    this.statements.clear();
    this.db = this.open();
  }

  private open(): Database.Database {
    let db: Database.Database;
    try {
      db = new Database(this.file, { timeout: BUSY_MS });
    } catch (thrown) {
      throw storeFailed(this.file, thrown);
    }
    this.db = db;
    try {
      this.guard(() => this.prepareFile(this.schema));
    } catch (thrown) {
      db.close();
      throw thrown;
    }
    return db;
  }

  private prepareFile(schema: Schema): void {
    const application = this.db.pragma('application_id', { simple: true }) as number;
    const version = this.db.pragma('user_version', { simple: true }) as number;
    const tables = this.db.prepare('SELECT count(*) AS n FROM sqlite_master').get() as { n: number };
    const fresh = application === 0 && version === 0 && tables.n === 0;
    if (!fresh && application !== APPLICATION_ID) throw notOurs(this.file, application);
    if (version > schema.length) throw storeTooNew(this.file, version, schema.length);
    this.db.pragma('journal_mode = WAL');
    this.db.pragma('synchronous = FULL');
    this.db.pragma('foreign_keys = ON');
    if (version === schema.length && !fresh) return;
    this.db
      .transaction(() => {
        for (const step of schema.slice(version)) this.db.exec(step);
        this.db.pragma(`application_id = ${APPLICATION_ID}`);
        this.db.pragma(`user_version = ${schema.length}`);
      })
      .immediate();
  }

  private statement(sql: string): Database.Statement {
    let statement = this.statements.get(sql);
    if (statement === undefined) this.statements.set(sql, (statement = this.db.prepare(sql)));
    return statement;
  }

  private guard<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (thrown) {
      throw thrown instanceof Database.SqliteError || !this.db.open ? storeFailed(this.file, thrown) : thrown;
    }
  }
}

/** Opens a store of the floor for reading beside its writer; the caller closes it. */
export const openForReading = (file: string): Database.Database => {
  try {
    // Not `readonly`: a reader must be able to make the shared-memory file of a store whose writer just closed.
    const db = new Database(file, { fileMustExist: true, timeout: BUSY_MS });
    db.pragma('query_only = ON');
    return db;
  } catch (thrown) {
    throw storeFailed(file, thrown);
  }
};

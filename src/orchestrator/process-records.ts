/**
 * The child processes of daemons, on record before they run.
 *
 * What this protects: at most one live process per name and daemon, and none forgotten, over a `kill -9` of the master at
 * any point. So a start is written down twice: the intent, durably, before the spawn; the identity after it. Whoever dies
 * in between leaves an intent, and every process carries the number of its record in its environment (MASTER_LOOP_PROCESS),
 * so the next master finds it by that. A pid alone is never trusted: another start time or another boot is a stranger, and
 * is left alone.
 *
 * A process is gone when its leader has ended, its group holds nothing but zombies, and nothing alive carries the number of
 * its record; until then it stays on record and its name stays taken. Ending never gives up and never rejects: after
 * SIGKILL what is left is stuck in the kernel, so that is reported, and looked at until it is over.
 */
import { dirname, join } from 'node:path';
import { messageOf, OrchestratorError } from '../errors.ts';
import type { DaemonProcess, DaemonSpawn } from '../daemons/definition.ts';
import type { Clock } from '../seams/clock.ts';
import type { FileSystem } from '../seams/file-system.ts';
import type { Random } from '../seams/random.ts';
import {
  INSTANCE_VARIABLE,
  type ProcessExit,
  type ProcessIdentity,
  type RunningProcess,
  type Spawner,
} from '../seams/spawner.ts';

/** Number of the record a process belongs to, in its environment and in that of all it starts. */
export const PROCESS_VARIABLE = 'MASTER_LOOP_PROCESS';

/** Milliseconds between looks at a group that should be gone. */
const LOOK_MS = 25;
/** The kernel needs this long to end a killed process at most; what lives longer is reported (2 s: docs/reliability.md I26). */
const KILL_BOUND_MS = 2000;
/** … and then looked at this often. */
const STUCK_LOOK_MS = 250;
/** What an earlier master left gets this long between TERM and KILL. */
const RECOVER_GRACE_MS = 2000;
/** Timers end at 2^31 ms; a wait without limit is a row of these. */
const PAUSE_MS_MAX = 60_000;
const RECORDS_FORMAT = 1;

/** One child process as it is on disk. Its environment is not recorded: it may hold secrets. */
export interface ProcessRecord {
  /** Unique within the data directory. */
  readonly id: string;
  readonly daemon: string;
  readonly generation: number;
  readonly name: string;
  readonly survives: boolean;
  readonly command: readonly string[];
  readonly wallMs: number;
  /** Null between the intent and the spawn. */
  readonly identity: ProcessIdentity | null;
}

/** A live child process of a daemon. */
export interface RecordedProcess extends DaemonProcess {
  readonly record: ProcessRecord;
}

export interface ChildExit {
  readonly record: ProcessRecord;
  readonly exit: ProcessExit;
  /** We were ending it. */
  readonly asked: boolean;
}

export interface RecoveredProcess {
  /** Null for a process that carries our mark and belongs to no record. */
  readonly record: ProcessRecord | null;
  readonly identity: ProcessIdentity | null;
  /** gone: nothing of it was alive. */
  readonly outcome: 'adopted' | 'ended' | 'gone';
}

export interface ProcessRecords {
  /**
   * Starts a child of a daemon, after putting it on record.
   * @throws PROCESS_EXISTS when one of that name lives; PROCESS_NOT_RECORDED; SPAWN_FAILED
   */
  spawn(daemon: string, generation: number, spec: DaemonSpawn): Promise<RecordedProcess>;
  /** Those not proven gone yet, oldest first; of one daemon, or of all. */
  live(daemon?: string): readonly RecordedProcess[];
  /** TERM to the group, KILL after `graceMs` (0: at once); resolves on proof that it is gone, and never rejects. */
  end(process: DaemonProcess, graceMs: number): Promise<void>;
  /** The same for all of one daemon; those that survive a restart of the daemon only when `survivors`. */
  endAllOf(daemon: string, options: { readonly survivors: boolean; readonly graceMs: number }): Promise<void>;
  /** The same for all, and for whatever else carries the mark of this data directory. */
  endAll(graceMs: number): Promise<void>;
  /** Every live one, in words. */
  left(): readonly string[];
  /**
   * Finds what an earlier master left; once, before the first spawn.
   * @param policy  'adopt' keeps those that survive a restart of their daemon; all others are ended
   * @param graceMs  between TERM and KILL; default 2 s
   * @returns what became of each, when all that was to be ended is proven gone
   */
  recover(policy: 'end' | 'adopt', graceMs?: number): Promise<readonly RecoveredProcess[]>;
  /** Told when a leader has ended; the answer stops it. */
  onExit(tell: (exit: ChildExit) => void): () => void;
}

export interface ProcessRecordsOptions {
  readonly files: FileSystem;
  readonly spawner: Spawner;
  readonly clock: Clock;
  readonly random: Random;
  /** Where processes.json lies: <data-dir>/run. */
  readonly folder: string;
  /** The value of MASTER_LOOP_INSTANCE that the spawner gives to children. */
  readonly instance: string;
  /** Working folder and output file of a child, unless it names its own folder. Both are made. */
  readonly placeOf: (daemon: string, name: string) => { readonly cwd: string; readonly outputFile: string };
  /** What went wrong and was survived: a record that could not be written, a process that endures SIGKILL. */
  readonly onTrouble?: (error: OrchestratorError) => void;
  /** A process is live from now on: one of ours, or one that an earlier master left. */
  readonly onAttached?: () => void;
}

const notRecorded = (daemon: string, name: string, why: string, remedy: string, cause?: unknown): OrchestratorError =>
  new OrchestratorError('PROCESS_NOT_RECORDED', {
    message: `cannot start ${name} of ${daemon}: ${why}`,
    remedy,
    context: { daemon, name },
    cause,
  });

const alreadyRuns = (daemon: string, name: string, identity: ProcessIdentity | null): OrchestratorError =>
  new OrchestratorError('PROCESS_EXISTS', {
    message: `cannot start ${name} of ${daemon}: a process of that name ${identity === null ? 'is being started' : `runs with pid ${identity.pid}`}`,
    remedy: 'end that one first, or give this one another name',
    context: { daemon, name, identity },
  });

const endures = (record: ProcessRecord | null, left: readonly RunningProcess[]): OrchestratorError => {
  const pids = left.map(({ identity }) => identity.pid);
  const what = record === null ? 'processes on no record' : `${record.name} of ${record.daemon}`;
  return new OrchestratorError('PROCESS_ENDURES', {
    message: `cannot end ${what}: ${KILL_BOUND_MS} ms after SIGKILL still there: pid ${pids.join(', ')}`,
    remedy:
      'it is stuck in the kernel, as a rule on a disk or network that does not answer; nothing takes its place until it is gone',
    context: { record, pids },
  });
};

const unproven = (record: ProcessRecord, cause: unknown): OrchestratorError =>
  new OrchestratorError('PROCESS_ENDURES', {
    message: `cannot prove that ${record.name} of ${record.daemon} is gone: ${messageOf(cause)}`,
    remedy: 'the look is repeated; when the master is out of file descriptors, raise "ulimit -n"',
    context: { record },
    cause,
  });

const recordsUnreadable = (path: string, cause: unknown): OrchestratorError =>
  new OrchestratorError('PROCESS_NOT_RECORDED', {
    message: `cannot read the records of child processes in ${path}: ${messageOf(cause)}`,
    remedy: 'nothing needs to be done: processes of this data directory are found by their environment instead',
    context: { path },
    cause,
  });

const keyOf = ({ pid, startTime, bootId }: ProcessIdentity): string => `${pid} ${startTime} ${bootId}`;

/**
 * The name of a data directory among processes: made once, and the same for every later master of the directory.
 * @throws the file system's errors when it can be neither read nor made
 */
export const instanceOf = (files: FileSystem, runFolder: string, random: Random): string => {
  const path = join(runFolder, 'instance');
  if (files.exists(path)) {
    const known = files.readText(path).trim();
    if (known !== '') return known;
  }
  const made = random.uuid();
  files.makeFolder(runFolder, { mode: 0o700 });
  files.writeAtomically(path, `${made}\n`, { mode: 0o600 });
  return made;
};

/** A process on record, from the intent to the proof that it is gone. */
class Child {
  record: ProcessRecord;
  /** Null until it was started, and when only remnants of it are left. */
  process: RunningProcess | null = null;
  /** Settles, to nothing, when the spawn is over. */
  started: Promise<unknown> = Promise.resolve();
  ended = false;
  asked = false;
  /** Monotonic milliseconds from which on it is killed; Infinity while nobody wants it gone. */
  killAt = Infinity;
  gone: Promise<void> | null = null;
  wake: () => void = () => {};

  constructor(record: ProcessRecord) {
    this.record = record;
  }

  recorded(): RecordedProcess[] {
    return this.process === null ? [] : [{ name: this.record.name, process: this.process, record: this.record }];
  }
}

class Records implements ProcessRecords {
  readonly #options: ProcessRecordsOptions;
  readonly #path: string;
  readonly #children = new Map<string, Child>();
  readonly #tell = new Set<(exit: ChildExit) => void>();
  /** Processes met by their environment and not ended yet. */
  readonly #strays = new Map<string, RunningProcess>();
  #former: readonly ProcessRecord[];
  #writeScheduled = false;

  constructor(options: ProcessRecordsOptions) {
    this.#options = options;
    this.#path = join(options.folder, 'processes.json');
    this.#former = this.#read();
  }

  // ---------------------------------------------------------------------------------------------- the file

  #read(): ProcessRecord[] {
    const { files } = this.#options;
    if (!files.exists(this.#path)) return [];
    try {
      const { format, records } = JSON.parse(files.readText(this.#path)) as {
        format: number;
        records: ProcessRecord[];
      };
      if (format !== RECORDS_FORMAT)
        throw new Error(`it has format ${format}, and this version knows ${RECORDS_FORMAT}`);
      return records;
    } catch (cause) {
      this.#options.onTrouble?.(recordsUnreadable(this.#path, cause));
      return [];
    }
  }

  #write(): void {
    const { files, folder, instance } = this.#options;
    files.makeFolder(folder, { mode: 0o700 });
    const records = [...this.#former, ...[...this.#children.values()].map(({ record }) => record)];
    files.writeAtomically(this.#path, `${JSON.stringify({ format: RECORDS_FORMAT, instance, records }, null, 1)}\n`, {
      mode: 0o600,
    });
  }

  /** For changes whose loss costs nothing but a look: an identity is found by its number, a dead one by being dead. */
  #writeSoon(): void {
    if (this.#writeScheduled) return;
    this.#writeScheduled = true;
    this.#options.clock.soon(() => {
      this.#writeScheduled = false;
      try {
        this.#write();
      } catch (cause) {
        this.#options.onTrouble?.(
          new OrchestratorError('PROCESS_NOT_RECORDED', {
            message: `cannot write ${this.#path}: ${messageOf(cause)}`,
            remedy: 'free space on that disk; until then processes are found by their environment',
            cause,
          }),
        );
      }
    });
  }

  // ---------------------------------------------------------------------------------------------- starting

  async spawn(daemon: string, generation: number, spec: DaemonSpawn): Promise<RecordedProcess> {
    const { files, clock, random, placeOf } = this.#options;
    const { name, survives = false, cwd: ownCwd, ...rest } = spec;
    if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(name))
      throw notRecorded(
        daemon,
        name,
        'its name names its folder, so it must be a plain file name',
        'use letters, digits, ".", "_" and "-"',
      );
    const key = `${daemon}/${name}`;
    for (;;) {
      const former = this.#children.get(key);
      if (former === undefined) break;
      if (former.gone === null && !former.asked) throw alreadyRuns(daemon, name, former.record.identity);
      await (former.gone ?? former.started); // it has ended, or was told to: its place is free on proof
    }

    const child = new Child({
      id: random.uuid(),
      daemon,
      generation,
      name,
      survives,
      command: spec.command,
      wallMs: clock.wallMs(),
      identity: null,
    });
    this.#children.set(key, child);
    const place = placeOf(daemon, name);
    const cwd = ownCwd ?? place.cwd;
    try {
      files.makeFolder(cwd);
      files.makeFolder(dirname(place.outputFile));
      this.#write();
    } catch (cause) {
      this.#children.delete(key);
      throw notRecorded(
        daemon,
        name,
        `it could not be recorded first (${messageOf(cause)})`,
        'free space on the disk of the data directory, or make it writable; unrecorded processes would outlive the master',
        cause,
      );
    }
    const spawning = this.#options.spawner.spawn({
      ...rest,
      cwd,
      outputFile: place.outputFile,
      env: { ...rest.env, [PROCESS_VARIABLE]: child.record.id },
    });
    child.started = spawning.catch(() => {});
    try {
      this.#attach(child, await spawning);
    } catch (thrown) {
      this.#children.delete(key);
      this.#writeSoon();
      throw thrown;
    }
    this.#writeSoon();
    return { name, process: child.process as RunningProcess, record: child.record };
  }

  #attach(child: Child, process: RunningProcess): void {
    child.process = process;
    child.record = { ...child.record, identity: process.identity };
    this.#options.onAttached?.();
    void process.exited.then((exit) => {
      child.ended = true;
      // A leader that ended by itself takes its group with it; one that was asked leaves its group the rest of the grace.
      if (!child.asked) child.killAt = this.#options.clock.monotonicMs();
      void this.#finish(child);
      child.wake();
      for (const tell of [...this.#tell]) tell({ record: child.record, exit, asked: child.asked });
    });
  }

  // ---------------------------------------------------------------------------------------------- looking

  live(daemon?: string): RecordedProcess[] {
    return this.#of(daemon).flatMap((child) => child.recorded());
  }

  #of(daemon?: string): Child[] {
    const all = [...this.#children.values()];
    return daemon === undefined ? all : all.filter(({ record }) => record.daemon === daemon);
  }

  left(): string[] {
    return this.#of().map(
      ({ record: { daemon, name, identity } }) =>
        `${name} of ${daemon} (${identity === null ? 'not yet started' : `pid ${identity.pid}`})`,
    );
  }

  onExit(tell: (exit: ChildExit) => void): () => void {
    this.#tell.add(tell);
    return () => void this.#tell.delete(tell);
  }

  // ---------------------------------------------------------------------------------------------- ending

  async end({ process }: DaemonProcess, graceMs: number): Promise<void> {
    const child = this.#of().find((each) => each.process === process);
    if (child !== undefined) await this.#end(child, graceMs);
  }

  async endAllOf(daemon: string, options: { readonly survivors: boolean; readonly graceMs: number }): Promise<void> {
    const children = this.#of(daemon).filter(({ record }) => options.survivors || !record.survives);
    await Promise.all(children.map((child) => this.#end(child, options.graceMs)));
  }

  async endAll(graceMs: number): Promise<void> {
    await Promise.all(this.#of().map((child) => this.#end(child, graceMs)));
    await this.#endStrangers();
  }

  async #end(child: Child, graceMs: number): Promise<void> {
    child.asked = true;
    await child.started; // a spawn under way is waited for, or its process would be missed
    if (child.process === null && child.gone === null) return; // it could not be started
    child.killAt = Math.min(child.killAt, this.#options.clock.monotonicMs() + graceMs);
    child.wake();
    await this.#finish(child);
  }

  /** Sees a child to its end; resolves on proof. One at a time for each child. */
  #finish(child: Child): Promise<void> {
    child.gone ??= this.#seeOff(child).then(() => {
      const { daemon, name } = child.record;
      this.#children.delete(`${daemon}/${name}`);
      this.#writeSoon();
    });
    return child.gone;
  }

  async #seeOff(child: Child): Promise<void> {
    const { clock } = this.#options;
    const asked = new Set<RunningProcess>();
    let reported = false;
    const report = (error: OrchestratorError): void => {
      if (!reported) this.#options.onTrouble?.(error);
      reported = true;
    };
    for (;;) {
      const now = clock.monotonicMs();
      const kill = now >= child.killAt;
      const stuck = now >= child.killAt + KILL_BOUND_MS;
      try {
        const left = this.#leftOf(child);
        if (left.length === 0 && (child.process === null || child.ended)) return;
        for (const process of left) {
          if (kill || !asked.has(process)) process.signalGroup(kill ? 'SIGKILL' : 'SIGTERM');
          asked.add(process);
        }
        if (stuck) report(endures(child.record, left));
      } catch (cause) {
        report(unproven(child.record, cause)); // no look at /proc (out of descriptors): no proof, so it goes on
      }
      const leaderLives = child.process !== null && !child.ended;
      await this.#pause(child, stuck ? STUCK_LOOK_MS : kill || !leaderLives ? LOOK_MS : child.killAt - now);
    }
  }

  /** The group while it lives; then whatever has left it. Looking through all processes is worth it only at the end. */
  #leftOf({ process, record }: Child): readonly RunningProcess[] {
    if (process !== null && !process.groupIsGone()) return [process];
    return this.#taken(this.#options.spawner.findByEnvironment(PROCESS_VARIABLE, record.id));
  }

  /** Waits, or until the child ends or is wanted gone sooner. */
  #pause(child: Child, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(Math.min(ms, PAUSE_MS_MAX), resolve);
      child.wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** Takes over those that still live; each once, however often it is looked at. */
  #taken(identities: readonly ProcessIdentity[]): RunningProcess[] {
    return identities.flatMap((identity) => {
      const key = keyOf(identity);
      const process = this.#strays.get(key) ?? this.#options.spawner.adopt(identity);
      if (process === null) return [];
      if (!this.#strays.has(key)) {
        this.#strays.set(key, process);
        void process.exited.then(() => this.#strays.delete(key));
      }
      return [process];
    });
  }

  /** Ends what carries our mark and belongs to no child of ours. */
  async #endStrangers(): Promise<ProcessIdentity[]> {
    const { clock, spawner, instance } = this.#options;
    const met = new Map<string, ProcessIdentity>();
    const until = clock.monotonicMs() + KILL_BOUND_MS;
    for (;;) {
      const marked = spawner.findByEnvironment(INSTANCE_VARIABLE, instance);
      if (marked.length === 0) return [...met.values()];
      const ours = new Set<string>();
      for (const { record } of this.#of()) {
        if (record.identity !== null) ours.add(keyOf(record.identity));
        for (const found of spawner.findByEnvironment(PROCESS_VARIABLE, record.id)) ours.add(keyOf(found));
      }
      const strangers = this.#taken(marked.filter((identity) => !ours.has(keyOf(identity))));
      for (const { identity, signalGroup } of strangers) {
        met.set(keyOf(identity), identity);
        signalGroup('SIGKILL');
      }
      if (strangers.length === 0) return [...met.values()];
      if (clock.monotonicMs() >= until) {
        this.#options.onTrouble?.(endures(null, strangers));
        return [...met.values()];
      }
      await clock.sleep(LOOK_MS);
    }
  }

  // ---------------------------------------------------------------------------------------------- after a crash

  async recover(policy: 'end' | 'adopt', graceMs = RECOVER_GRACE_MS): Promise<RecoveredProcess[]> {
    const former = this.#former;
    const outcomes = await Promise.all(former.map((record) => this.#recoverOne(record, policy, graceMs)));
    this.#former = [];
    const strangers = await this.#endStrangers();
    this.#writeSoon();
    return [
      ...outcomes,
      ...strangers.map((identity): RecoveredProcess => ({ record: null, identity, outcome: 'ended' })),
    ];
  }

  async #recoverOne(record: ProcessRecord, policy: 'end' | 'adopt', graceMs: number): Promise<RecoveredProcess> {
    const { spawner } = this.#options;
    // Without an identity the master died between intent and spawn, or right after: the oldest that carries the number.
    const carrying = spawner
      .findByEnvironment(PROCESS_VARIABLE, record.id)
      .sort((a, b) => Number(BigInt(a.startTime) - BigInt(b.startTime)) || a.pid - b.pid);
    const identity = record.identity ?? carrying[0] ?? null;
    const process = identity === null ? null : spawner.adopt(identity);
    if (process === null && carrying.length === 0) return { record, identity, outcome: 'gone' };

    const child = new Child(record);
    this.#children.set(`${record.daemon}/${record.name}`, child);
    if (process !== null) this.#attach(child, process);
    if (process !== null && policy === 'adopt' && record.survives)
      return { record: child.record, identity, outcome: 'adopted' };
    child.asked = true;
    child.killAt = this.#options.clock.monotonicMs() + graceMs;
    await this.#finish(child);
    return { record: child.record, identity, outcome: 'ended' };
  }
}

/** Opens the records of a data directory; `recover` deals with what they hold. The caller holds the directory's lock. */
export const openProcessRecords = (options: ProcessRecordsOptions): ProcessRecords => new Records(options);

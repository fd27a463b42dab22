/**
 * Processes of this machine, by /proc.
 *
 * The invariant: a signal reaches only what is proven ours. A pid is a number that the kernel hands to a stranger as soon
 * as its owner is reaped, so every signal is preceded by proof. While the leader lives (or is a zombie that only we can
 * reap) its number cannot be reused. When it is gone, its group number stays taken as long as one member lives, so the
 * group is ours if one of those we knew as members lives on, or if one carries our mark in its environment; once the
 * group has been seen empty it is never signalled again.
 *
 * The end of a child of ours is an event. The end of an adopted process is looked for: its /proc/PID/stat is kept open,
 * and reading that descriptor fails with ESRCH once the process is reaped, even if the number has a new owner by then. A
 * FIFO inherited by the child would wake us sooner, but its end of file is no proof (members that closed their descriptors
 * live on), so the look at /proc is needed anyway, and at a period of 80 ms it alone keeps the promised 100 ms.
 */
import { spawn as spawnChild, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { setPriority } from 'node:os';
import { messageOf, OrchestratorError } from '../errors.ts';
import {
  INSTANCE_VARIABLE,
  type ProcessExit,
  type ProcessIdentity,
  type RunningProcess,
  type Spawner,
  type SpawnSpec,
} from './spawner.ts';

/** Milliseconds between looks at adopted processes: the bound on seeing an exit is 100 ms (docs/reliability.md I16). */
export const ADOPTED_LOOK_MS = 80;

/** USER_HZ, the unit of times in /proc/PID/stat: 100 on every architecture that Node runs on. @see proc(5) */
const CLOCK_TICKS_PER_SECOND = 100;

/** What a child inherits of our environment: enough to find programs, its home and its language; never a secret. */
const INHERITED = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'TMPDIR', 'NODE_ENV'];

interface Stat {
  readonly state: string;
  readonly group: number;
  readonly cpuTicks: number;
  readonly startTime: string;
}

/** Fields after the command name, which is in parentheses and may itself hold spaces and parentheses. */
const parseStat = (text: string): Stat | null => {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const startTime = fields[19]; // field 22 of the line: field 3 (state) is fields[0]
  if (startTime === undefined) return null;
  return {
    state: fields[0] ?? '',
    group: Number(fields[2]),
    cpuTicks: Number(fields[11]) + Number(fields[12]),
    startTime,
  };
};

/** A zombie holds nothing but its number: for us it is gone. */
const isDead = (stat: Stat | null): boolean => stat === null || stat.state === 'Z' || stat.state === 'X';

/** No such process (it may have ended while we read), or another user's; anything else (EMFILE …) is no answer. */
const isAbsent = (thrown: unknown): boolean =>
  ['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((thrown as NodeJS.ErrnoException).code ?? '');

/** @throws what is no proof of absence, such as EMFILE */
const readStat = (pid: number): Stat | null => {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch (thrown) {
    if (isAbsent(thrown)) return null;
    throw thrown;
  }
};

const allPids = (): number[] => {
  const pids: number[] = [];
  for (const name of readdirSync('/proc')) {
    const first = name.charCodeAt(0);
    if (first >= 48 && first <= 57) pids.push(Number(name));
  }
  return pids;
};

/** True when `environ` (entries ended by NUL) holds exactly `entry`. */
const holdsEntry = (environ: Buffer, entry: Buffer): boolean => {
  for (let from = 0; ;) {
    const at = environ.indexOf(entry, from);
    if (at < 0) return false;
    const end = at + entry.length;
    if ((at === 0 || environ[at - 1] === 0) && (end === environ.length || environ[end] === 0)) return true;
    from = at + 1;
  }
};

const carries = (pid: number, entry: Buffer): boolean => {
  try {
    return holdsEntry(readFileSync(`/proc/${pid}/environ`), entry);
  } catch (thrown) {
    if (isAbsent(thrown)) return false;
    throw thrown;
  }
};

/** Sends to a pid or (negative) a group; false when nobody is there. EPERM means somebody else's: nobody of ours. */
const send = (target: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(target, signal);
  } catch {
    return false;
  }
};

const SPAWN_REMEDIES: Readonly<Record<string, string>> = {
  ENOENT: 'check the spelling of the program (of its interpreter, when it is a script) and the PATH of the master',
  EACCES: 'make the file executable (chmod +x), and readable for the user of the master',
  ENOEXEC: 'give the script a first line that names its interpreter (#!/bin/sh)',
  ENOTDIR: 'a part of the path is a file, not a folder: check the path',
  EMFILE: 'the master is out of file descriptors: raise "ulimit -n" or run fewer daemons',
  ENFILE: 'the machine is out of file descriptors: close programs or raise fs.file-max',
  EAGAIN: 'the machine refuses more processes: raise "ulimit -u" or the pids limit of its container',
  ENOMEM: 'the machine is out of memory: stop other programs or run fewer daemons',
  E2BIG: 'the arguments and environment are too long for the kernel: pass them in a file',
  ENOSPC: 'the disk that holds the output file is full: free space there',
  EROFS: 'the disk that holds the output file is read-only: mount it for writing',
};

/** The operating system did not start the program. `context.code` is its errno. */
export const spawnFailed = (spec: SpawnSpec, cause: unknown, what?: string): OrchestratorError => {
  const code = (cause as NodeJS.ErrnoException | null)?.code ?? 'UNKNOWN';
  const program = spec.command[0] ?? '(no program)';
  return new OrchestratorError('SPAWN_FAILED', {
    message: `cannot start ${program}: ${what ?? messageOf(cause)} (${code})`,
    remedy: SPAWN_REMEDIES[code] ?? `start it by hand in ${spec.cwd} to see what it says`,
    context: { code, program, cwd: spec.cwd },
    cause,
  });
};

const noProc = (cause: unknown): OrchestratorError =>
  new OrchestratorError('PROC_UNREADABLE', {
    message: `cannot identify processes by /proc: ${messageOf(cause)}`,
    remedy: 'run on Linux with /proc mounted, without hidepid for the user of the master',
    cause,
  });

const readBootId = (): string => {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch (cause) {
    throw noProc(cause);
  }
};

const environmentOf = (spec: SpawnSpec, instance: string): Record<string, string> => {
  const env: Record<string, string> = {};
  for (const name of INHERITED) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return { ...env, ...spec.env, [INSTANCE_VARIABLE]: instance };
};

/** The group led (once) by one process, with the memory that proves it is still that group. */
class Group {
  readonly #leader: ProcessIdentity;
  readonly #mark: Buffer;
  /** We reap the leader ourselves, so at the moment of its end its number cannot have passed on. */
  readonly #reapedByUs: boolean;
  /** pid → start time of members seen when the leader was gone. */
  #known = new Map<number, string>();
  #gone = false;

  constructor(leader: ProcessIdentity, mark: Buffer, reapedByUs: boolean) {
    this.#leader = leader;
    this.#mark = mark;
    this.#reapedByUs = reapedByUs;
  }

  /** Call at the moment the leader's end is seen: it notes who is in the group now. */
  leaderEnded(): void {
    this.isGone();
  }

  signal(signal: NodeJS.Signals): boolean {
    if (this.isGone()) return false;
    return send(-this.#leader.pid, signal);
  }

  isGone(): boolean {
    if (this.#gone) return true;
    const leader = readStat(this.#leader.pid);
    if (leader !== null && leader.startTime === this.#leader.startTime && !isDead(leader)) return false;
    // The leader is no more. Another process under its number means that the number was free: the group had ended.
    const numberReused = leader !== null && leader.startTime !== this.#leader.startTime;
    if (numberReused || !send(-this.#leader.pid, 0) || !this.#members()) this.#gone = true;
    return this.#gone;
  }

  /** Looks up the living members; false when there is none that is proven ours. */
  #members(): boolean {
    const now = new Map<number, string>();
    let proven = this.#reapedByUs && this.#known.size === 0; // the first look, right at the leader's end
    for (const pid of allPids()) {
      const stat = readStat(pid);
      if (stat === null || stat.group !== this.#leader.pid || isDead(stat)) continue;
      now.set(pid, stat.startTime);
      proven ||= this.#known.get(pid) === stat.startTime || carries(pid, this.#mark);
    }
    if (now.size > 0 && proven) this.#known = now;
    return now.size > 0 && proven;
  }
}

/** Looks at adopted processes, all with one timer that runs only while there are any. */
class Watch {
  readonly #watched = new Map<number, () => void>();
  #timer: NodeJS.Timeout | null = null;
  readonly #buffer = Buffer.allocUnsafe(1024);

  /** @param handle a descriptor of /proc/PID/stat, closed by the watch @param onGone called once */
  add(handle: number, onGone: () => void): void {
    this.#watched.set(handle, onGone);
    this.#timer ??= setInterval(() => this.#look(), ADOPTED_LOOK_MS);
  }

  #look(): void {
    for (const [handle, onGone] of this.#watched) {
      if (!this.#isGone(handle)) continue;
      this.#watched.delete(handle);
      closeSync(handle);
      onGone();
    }
    if (this.#watched.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #isGone(handle: number): boolean {
    try {
      const bytes = readSync(handle, this.#buffer, 0, this.#buffer.length, 0);
      return isDead(parseStat(this.#buffer.toString('latin1', 0, bytes)));
    } catch (thrown) {
      return isAbsent(thrown); // ESRCH: reaped
    }
  }
}

const exitOf = (child: ChildProcess, group: Group): Promise<ProcessExit> =>
  new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      group.leaderEnded();
      resolve({ code, signal });
    });
  });

/** Read in the turn of the spawn: even a child that ended at once is a zombie until the event loop reaps it. */
const startTimeOf = (child: ChildProcess, pid: number): string => {
  try {
    const stat = readStat(pid);
    if (stat !== null) return stat.startTime;
    throw new Error(`/proc/${pid}/stat is missing`);
  } catch (cause) {
    child.kill('SIGKILL'); // what cannot be identified cannot be supervised
    throw noProc(cause);
  }
};

/** An errno when the child could not be started, else null: Node reports the common ones a tick later, by event. */
const startResult = (child: ChildProcess): Promise<Error | null> =>
  new Promise((resolve) => {
    child.once('spawn', () => resolve(null));
    child.once('error', resolve);
  });

/**
 * The processes of this machine.
 * @param options.instance  value of MASTER_LOOP_INSTANCE in every child: one per data directory, the same in its next run
 * @throws PROC_UNREADABLE where there is no /proc
 */
export const realSpawner = (options: { readonly instance: string }): Spawner => {
  const bootId = readBootId();
  const mark = Buffer.from(`${INSTANCE_VARIABLE}=${options.instance}`);
  const watch = new Watch();

  const identify: Spawner['identify'] = (pid) => {
    const stat = readStat(pid);
    return stat === null || isDead(stat) ? null : { pid, startTime: stat.startTime, bootId };
  };

  const lives = (identity: ProcessIdentity): Stat | null => {
    if (identity.bootId !== bootId) return null;
    const stat = readStat(identity.pid);
    return stat !== null && stat.startTime === identity.startTime && !isDead(stat) ? stat : null;
  };

  const spawn: Spawner['spawn'] = async (spec) => {
    const [program, ...args] = spec.command;
    if (program === undefined || program === '') throw spawnFailed(spec, null, 'its command is empty');
    let output: number;
    try {
      output = openSync(spec.outputFile, 'a', 0o644);
    } catch (cause) {
      throw spawnFailed(spec, cause, `its output file ${spec.outputFile} cannot be opened`);
    }
    let child: ChildProcess;
    try {
      child = spawnChild(program, args, {
        cwd: spec.cwd,
        env: environmentOf(spec, options.instance),
        detached: true, // a session and a group of its own: it survives us, and one signal reaches all of it
        stdio: ['ignore', output, output],
      });
    } catch (cause) {
      throw spawnFailed(spec, cause);
    } finally {
      closeSync(output);
    }
    const pid = child.pid;
    if (pid === undefined) {
      const cause = await startResult(child);
      // A missing working folder is reported as if the program were missing.
      throw spawnFailed(spec, cause, existsSync(spec.cwd) ? undefined : `its folder ${spec.cwd} does not exist`);
    }
    const identity: ProcessIdentity = { pid, startTime: startTimeOf(child, pid), bootId };
    const group = new Group(identity, mark, true);
    const exited = exitOf(child, group);
    child.on('error', () => {}); // a failed kill is told by signalGroup's answer
    if (spec.nice !== undefined && spec.nice !== 0) {
      try {
        setPriority(pid, spec.nice);
      } catch {
        // It ended already; the exit tells.
      }
    }
    return {
      identity,
      exited,
      signalGroup: (signal) => group.signal(signal),
      groupIsGone: () => group.isGone(),
    };
  };

  const adopt: Spawner['adopt'] = (identity) => {
    if (identity.bootId !== bootId) return null;
    let handle: number;
    try {
      handle = openSync(`/proc/${identity.pid}/stat`, 'r');
    } catch (thrown) {
      if (isAbsent(thrown)) return null;
      throw thrown;
    }
    const stat = lives(identity); // after opening: so the descriptor belongs to this very process
    if (stat === null) {
      closeSync(handle);
      return null;
    }
    // A process that does not lead its group is signalled alone: the rest of that group may be a stranger's.
    const group = stat.group === identity.pid ? new Group(identity, mark, false) : null;
    const exited = new Promise<ProcessExit>((resolve) =>
      watch.add(handle, () => {
        group?.leaderEnded();
        resolve({ code: null, signal: null }); // only a parent learns how it ended
      }),
    );
    const running: RunningProcess = {
      identity,
      exited,
      signalGroup: (signal) =>
        group === null ? lives(identity) !== null && send(identity.pid, signal) : group.signal(signal),
      groupIsGone: () => (group === null ? lives(identity) === null : group.isGone()),
    };
    return running;
  };

  return {
    spawn,
    identify,
    adopt,
    findByEnvironment(variable, value) {
      const entry = Buffer.from(`${variable}=${value}`);
      const found: ProcessIdentity[] = [];
      for (const pid of allPids()) {
        if (pid === process.pid || !carries(pid, entry)) continue;
        const identity = identify(pid);
        if (identity !== null) found.push(identity);
      }
      return found;
    },
    usage(identity) {
      try {
        const stat = lives(identity);
        if (stat === null) return null;
        // VmRSS comes in kB, so the page size of the machine need not be known.
        const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${identity.pid}/status`, 'latin1'));
        return {
          cpuSeconds: stat.cpuTicks / CLOCK_TICKS_PER_SECOND,
          residentBytes: Number(resident?.[1] ?? 0) * 1024,
        };
      } catch {
        return null;
      }
    },
  };
};

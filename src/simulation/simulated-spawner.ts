/**
 * Processes that do what a script says, in virtual time.
 *
 * The processes are a world of their own: they outlive the spawner of the master that started them, as real ones do, and
 * the next master's spawner finds them by identity and by environment. `detach` is a `kill -9` of a master: nothing is
 * told to it any more, and nothing happens to its children.
 */
import { OrchestratorError } from '../errors.ts';
import type { Clock } from '../seams/clock.ts';
import { ADOPTED_LOOK_MS, spawnFailed } from '../seams/real-spawner.ts';
import {
  INSTANCE_VARIABLE,
  type ProcessExit,
  type ProcessIdentity,
  type RunningProcess,
  type Spawner,
  type SpawnSpec,
} from '../seams/spawner.ts';

/** What a simulated program does. */
export interface Behaviour {
  /** Ends by itself after this long; absent: runs until it is ended. */
  readonly lifetimeMs?: number;
  /** Exit code of that end; default 0. */
  readonly exitCode?: number;
  /** How SIGTERM is taken: milliseconds until it ends with code 0; 'ignore' waits for SIGKILL; default: ends at once. */
  readonly onTerm?: number | 'ignore';
  /** It cannot be started, with this errno. */
  readonly refuse?: string;
}

export interface SimulatedProcess {
  readonly identity: ProcessIdentity;
  readonly spec: SpawnSpec;
  /** The pid of the leader of its group. */
  readonly group: number;
}

export interface SimulatedProcesses {
  /** The spawner of one run of a master. */
  spawner(options: { readonly instance: string }): Spawner & { detach(): void };
  /** Who lives, oldest first. */
  alive(): readonly SimulatedProcess[];
  /** A process ends by itself. */
  exit(pid: number, code: number): void;
  /** A signal from outside, to one process. */
  kill(pid: number, signal: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void;
  /** A process starts another; with `leavesGroup` it goes into a session of its own, and keeps its environment. */
  fork(pid: number, options?: { readonly leavesGroup?: boolean; readonly behaviour?: Behaviour }): ProcessIdentity;
  /** The number of a process that is gone passes to a stranger. */
  reuse(pid: number): ProcessIdentity;
  /** The machine starts anew: nobody lives, and identities of before mean nothing. */
  reboot(): void;
}

interface Living extends SimulatedProcess {
  readonly behaviour: Behaviour;
  readonly env: Readonly<Record<string, string>>;
  readonly startedMs: number;
  stopped: boolean;
  /** A TERM that arrived while it was stopped. */
  termPending: boolean;
  readonly onExit: Set<(exit: ProcessExit) => void>;
}

/** Pids start here, so that none is mistaken for a count. */
const FIRST_PID = 1000;

/**
 * A world of processes.
 * @param options.script  what a program does, by its spec; default: it runs until it is ended
 */
export const simulatedProcesses = (options: {
  readonly clock: Clock;
  readonly script?: (spec: SpawnSpec) => Behaviour;
}): SimulatedProcesses => {
  const { clock } = options;
  const living = new Map<number, Living>();
  let nextPid = FIRST_PID;
  let boots = 1;
  const bootId = (): string => `simulated-boot-${boots}`;

  const begin = (
    pid: number,
    parts: { spec: SpawnSpec; group: number; behaviour: Behaviour; env: Readonly<Record<string, string>> },
  ): Living => {
    const born: Living = {
      ...parts,
      identity: { pid, startTime: String(nextPid++), bootId: bootId() },
      startedMs: clock.monotonicMs(),
      stopped: false,
      termPending: false,
      onExit: new Set(),
    };
    living.set(pid, born);
    const { lifetimeMs, exitCode } = parts.behaviour;
    if (lifetimeMs !== undefined) clock.after(lifetimeMs, () => end(born, { code: exitCode ?? 0, signal: null }));
    return born;
  };

  const end = (dying: Living, exit: ProcessExit): void => {
    if (living.get(dying.identity.pid) !== dying) return;
    living.delete(dying.identity.pid);
    for (const tell of [...dying.onExit]) tell(exit);
  };

  const terminate = (dying: Living): void => {
    const { onTerm } = dying.behaviour;
    if (onTerm === 'ignore') return;
    if (onTerm === undefined) end(dying, { code: null, signal: 'SIGTERM' });
    else clock.after(onTerm, () => end(dying, { code: 0, signal: null }));
  };

  const deliver = (target: Living, signal: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void => {
    if (signal === 'SIGKILL') end(target, { code: null, signal });
    else if (signal === 'SIGSTOP') target.stopped = true;
    else if (signal === 'SIGTERM') {
      if (target.stopped) target.termPending = true;
      else terminate(target);
    } else {
      target.stopped = false;
      if (target.termPending) terminate(target);
      target.termPending = false;
    }
  };

  const found = (identity: ProcessIdentity): Living | null => {
    const process = living.get(identity.pid);
    return process?.identity.startTime === identity.startTime && process.identity.bootId === identity.bootId
      ? process
      : null;
  };

  /** A number that has a new owner was free before, so the group of the former owner is empty. */
  const groupOf = (leader: Living): readonly Living[] => {
    const group = leader.identity.pid;
    const reused = living.get(group) !== undefined && living.get(group) !== leader;
    return reused ? [] : [...living.values()].filter((member) => member.group === group);
  };

  const running = (leader: Living, exited: Promise<ProcessExit>): RunningProcess => {
    const members = (): readonly Living[] =>
      leader.group === leader.identity.pid ? groupOf(leader) : found(leader.identity) === null ? [] : [leader];
    return {
      identity: leader.identity,
      exited,
      signalGroup(signal) {
        const reached = members();
        for (const member of reached) deliver(member, signal);
        return reached.length > 0;
      },
      groupIsGone: () => members().length === 0,
    };
  };

  const named = (pid: number): Living => {
    const process = living.get(pid);
    if (process === undefined) throw new RangeError(`no simulated process ${pid} lives`);
    return process;
  };

  return {
    spawner({ instance }) {
      let detached = false;
      return {
        detach() {
          detached = true;
        },
        async spawn(spec) {
          if (spec.command.length === 0) throw spawnFailed(spec, null, 'its command is empty');
          const behaviour = options.script?.(spec) ?? {};
          if (behaviour.refuse !== undefined)
            throw spawnFailed(spec, Object.assign(new Error(`spawn ${behaviour.refuse}`), { code: behaviour.refuse }));
          const pid = nextPid;
          const born = begin(pid, { spec, group: pid, behaviour, env: { ...spec.env, [INSTANCE_VARIABLE]: instance } });
          const exited = new Promise<ProcessExit>((resolve) =>
            born.onExit.add((exit) => {
              if (!detached) resolve(exit);
            }),
          );
          return running(born, exited);
        },
        identify: (pid) => living.get(pid)?.identity ?? null,
        adopt(identity) {
          const process = found(identity);
          if (process === null) return null;
          const exited = new Promise<ProcessExit>((resolve) =>
            process.onExit.add(() => {
              clock.after(ADOPTED_LOOK_MS, () => {
                if (!detached) resolve({ code: null, signal: null });
              });
            }),
          );
          return running(process, exited);
        },
        findByEnvironment: (variable, value) =>
          [...living.values()].filter(({ env }) => env[variable] === value).map(({ identity }) => identity),
        usage(identity) {
          const process = found(identity);
          if (process === null) return null;
          return { cpuSeconds: clock.since(process.startedMs) / 100, residentBytes: 1024 * 1024 };
        },
      };
    },
    alive: () => [...living.values()],
    exit: (pid, code) => end(named(pid), { code, signal: null }),
    kill: (pid, signal) => deliver(named(pid), signal),
    fork(pid, { leavesGroup = false, behaviour = {} } = {}) {
      const parent = named(pid);
      const child = nextPid;
      const group = leavesGroup ? child : parent.group;
      return begin(child, { spec: parent.spec, group, behaviour, env: parent.env }).identity;
    },
    reuse(pid) {
      if (living.has(pid) || [...living.values()].some(({ group }) => group === pid))
        throw new OrchestratorError('INVARIANT', {
          message: `cannot reuse the number ${pid}: its owner, or a member of its group, lives`,
          remedy: 'end that process first',
        });
      const spec: SpawnSpec = { command: ['stranger'], cwd: '/', outputFile: '/dev/null' };
      return begin(pid, { spec, group: pid, behaviour: {}, env: {} }).identity;
    },
    reboot() {
      living.clear();
      boots++;
    },
  };
};

/**
 * One seeded run: faults on, where nothing unsafe may happen; faults off, where everything must come back.
 *
 * Faults arrive at random with a mean of one in 30 simulated seconds, harsher than any production; every fifth run puts
 * two or three on top of each other, since most real outages need that. Now and then a probe waits for a quiet fleet and
 * checks that one event touches exactly the daemons it should.
 *
 * Not simulated here: the kernel, real processes and disks, garbage collection, and daemons' own code. The journal is a
 * list in memory whose unwritten end is lost; what a real disk does to a real one is in test/journal.
 */
import { OrchestratorError } from '../errors.ts';
import type { Fleet } from '../fleet/types.ts';
import { buildGraph } from '../graph/graph.ts';
import { STOP_ALL_BUDGET_MS, type CoreBug } from '../orchestrator/core.ts';
import { seededRandom, type Random } from '../seams/random.ts';
import { drawnFleet } from './drawn-fleet.ts';
import type { SimulatedFileSystem } from './simulated-file-system.ts';
import { shapeFleet } from './shape-fleet.ts';
import { World } from './world.ts';
import type { Violation } from './checkers.ts';

export interface RunOptions {
  readonly seed: number;
  /** Simulated minutes with faults on. */
  readonly minutes: number;
  readonly bug?: CoreBug;
  readonly meanFaultMs?: number;
  /** Default: the shape of the shipped fleet, and for every fourth seed a drawn one. */
  readonly fleet?: Fleet;
  /** Keep every record, for replay. */
  readonly record?: boolean;
  /** Journal on this disk with the real journal, instead of in memory. */
  readonly disk?: SimulatedFileSystem;
  /** Stop at the first violation. */
  readonly failFast?: boolean;
}

export interface RunResult {
  readonly seed: number;
  readonly minutes: number;
  readonly hash: string;
  readonly faults: number;
  readonly inputs: number;
  readonly transitions: number;
  readonly launches: number;
  readonly masters: number;
  readonly simulatedMs: number;
  readonly violations: readonly Violation[];
  readonly sometimes: ReadonlyMap<string, number>;
  /** Pairs `STATE event` of the lifecycle table that were taken. */
  readonly taken: ReadonlyMap<string, number>;
}

/** What every nightly run must have met at least once, and CI over its thousand seeds too. */
export const SOMETIMES = [
  'cascade inside a cascade',
  'master killed between permit and launch',
  'master killed while STARTING',
  'master killed during a full recovery',
  'master killed during a cascade',
  'master killed between journal write and launch',
  'master killed again while it resumes a recovery',
  'stop-all during RESTARTING',
  'last allowed restart succeeds',
  'router dies while dependents re-attach',
  'a FAILED daemon is a dependency of one that wants to start',
  'two failures in the same instant',
  'two daemons become FAILED in one tick',
  'a daemon ignores its stop and is killed',
  'a broken fleet is offered while a daemon is STARTING',
  'a command arrives twice',
  'wall clock jumps',
  'machine is suspended',
] as const;

const MEAN_FAULT_MS = 30_000;
/** Bound of a kill after the budget of a full stop. */
const KILL_MS = 2_000;
/** Longest back-off with its tolerance, a stop deadline, a drain, a storm that has to calm down, a soft wait, two ticks. */
const CONVERGE_MS = 16_000 * 1.1 + 10_000 + 10_000 + 30_000 + 30_000 + 500 + 5_000;

type Fault = (world: World, random: Random) => void;

const pick = (world: World, random: Random): string =>
  world.fleet.daemons[random.integer(world.fleet.daemons.length)]!.type;
/** Faults prefer daemons with dependents: that is where the interesting things happen. */
const hub = (world: World, random: Random): string => {
  const hubs = world.core.members.filter((member) => member.neededBy.some((edge) => edge.kind === 'hard'));
  return hubs[random.integer(hubs.length)]?.type ?? pick(world, random);
};
const anyOf = (world: World, random: Random): string =>
  random.uniform() < 0.6 ? hub(world, random) : pick(world, random);

const crash: Fault = (world, random) => {
  const daemon = anyOf(world, random);
  if (daemon === 'EVENT_ROUTER' && world.core.members.some((member) => member.reattaching))
    world.checkers.note('router dies while dependents re-attach');
  if (world.core.members.some((member) => member.stopWish !== null)) world.checkers.note('cascade inside a cascade');
  world.runtime.crash(daemon);
};

/** The second part of a fault. A probe does not begin before it: the fleet only looks quiet. */
const later = (world: World, delayMs: number, fault: () => void): void => {
  world.faultsToCome++;
  world.clock.after(delayMs, () => {
    world.faultsToCome--;
    fault();
  });
};

/** I27: a fleet with a cycle, an unknown dependency or a daemon twice is refused, and nothing whatever changes. */
const offerBroken = (world: World, random: Random): void => {
  if (world.core.members.some((member) => member.state === 'STARTING'))
    world.checkers.note('a broken fleet is offered while a daemon is STARTING');
  const daemons = world.fleet.daemons.map(({ type, critical }) => ({ id: type, critical }));
  const edges = world.fleet.daemons.flatMap((spec) => spec.edges);
  const [first, last] = [daemons[0]!.id, pick(world, random)];
  const edge = { from: first, on: last, kind: 'hard', condition: 'ready', onLoss: 'restart' } as const;
  const broken = [
    () =>
      edges.push(
        { ...edge, timeoutMs: 0, writtenAt: 'broken' },
        { ...edge, from: last, on: first, timeoutMs: 0, writtenAt: 'broken' },
      ),
    () => edges.push({ ...edge, on: 'NOBODY', timeoutMs: 0, writtenAt: 'broken' }),
    () => daemons.push(daemons[0]!),
  ];
  broken[random.integer(broken.length)]!();
  const before = world.fingerprint();
  try {
    buildGraph(daemons, edges);
    world.checkers.broken('I27', 'a broken fleet was accepted');
  } catch (error) {
    if (!(error instanceof OrchestratorError) || error.code !== 'GRAPH_INVALID') throw error;
  }
  if (world.fingerprint() !== before) world.checkers.broken('I27', 'a broken fleet changed something');
};

const FAULTS: readonly (readonly [weight: number, fault: Fault])[] = [
  [20, crash],
  [4, (world) => void world.runtime.crash('EVENT_ROUTER')],
  [
    3,
    (world, random) => {
      world.runtime.crash('EVENT_ROUTER');
      // Again, just when its dependents prove their subscriptions.
      later(world, 1_000 + random.uniform() * 260, () => {
        if (world.core.members.some((member) => member.reattaching))
          world.checkers.note('router dies while dependents re-attach');
        world.runtime.crash('EVENT_ROUTER');
      });
    },
  ],
  [
    6,
    (world, random) => {
      const [one, other] = [anyOf(world, random), anyOf(world, random)];
      if (world.runtime.crash(one) && world.runtime.crash(other))
        world.checkers.note('two failures in the same instant');
    },
  ],
  [8, (world, random) => void (world.runtime.script(anyOf(world, random)).sickness = 'hung')],
  [6, (world, random) => void (world.runtime.script(anyOf(world, random)).sickness = 'unhealthy')],
  [2, (world, random) => void (world.runtime.script(anyOf(world, random)).sickness = 'degraded')],
  [4, (world, random) => void (world.runtime.script(anyOf(world, random)).sickness = 'none')],
  [
    6,
    (world, random) => {
      const daemon = anyOf(world, random);
      world.runtime.script(daemon).failStarts = 1 + random.integer(7);
      world.runtime.crash(daemon);
    },
  ],
  [
    4,
    (world, random) => {
      const daemon = anyOf(world, random);
      world.runtime.script(daemon).failStarts = 4; // with the crash: the fifth, last allowed, restart succeeds
      world.runtime.crash(daemon);
    },
  ],
  [
    4,
    (world, random) => {
      const daemon = anyOf(world, random);
      world.runtime.script(daemon).crashAfterReady = 1 + random.integer(7);
      world.runtime.crash(daemon);
    },
  ],
  [
    3,
    (world, random) => {
      const daemon = anyOf(world, random);
      world.runtime.script(daemon).silentStarts = 1;
      world.runtime.crash(daemon);
    },
  ],
  [
    3,
    (world, random) => {
      const daemon = anyOf(world, random);
      world.runtime.script(daemon).ignoresStop = true;
      if (world.runtime.live.has(daemon)) world.checkers.note('a daemon ignores its stop and is killed');
      world.command('restart', [daemon]);
    },
  ],
  [
    2,
    (world, random) =>
      void (world.runtime.script(anyOf(world, random)).reattach = random.uniform() < 0.5 ? 'refused' : 'silent'),
  ],
  [
    1,
    (world, random) => {
      const daemon = pick(world, random);
      world.runtime.script(daemon).importFails = true;
      world.runtime.crash(daemon);
    },
  ],
  [5, (world, random) => void world.command('restart', [anyOf(world, random)])],
  [5, (world, random) => void world.command('stop', [anyOf(world, random)])],
  [6, (world, random) => void world.command('start', [anyOf(world, random)])],
  [4, (world, random) => void world.command('reset', [anyOf(world, random)])],
  [
    3,
    (world, random) => {
      const daemon = anyOf(world, random);
      for (const verb of ['stop', 'start', 'restart', 'stop', 'start'] as const) world.command(verb, [daemon]);
    },
  ],
  [
    2,
    (world, random) => {
      const daemon = pick(world, random);
      world.command('drill-begin', [daemon]);
      world.runtime.crash(daemon);
      later(world, 5_000, () => void world.command('drill-heal', [daemon]));
    },
  ],
  [2, (world) => void world.command('recover', [], { waitMs: 180_000, resetFailed: true })],
  [1, (world) => void world.command('start-profile', [])],
  [
    2,
    (world) => {
      world.checkers.note('a command arrives twice');
      world.repeatCommand();
    },
  ],
  [4, (world) => world.kill()],
  [
    2,
    (world, random) => {
      // Dies between two records of what follows from a crash or a command.
      world.dieAtNote(1 + random.integer(12));
      if (random.uniform() < 0.5) crash(world, random);
      else world.command('restart', [anyOf(world, random)]);
    },
  ],
  [
    1,
    (world, random) => {
      // Dies at boot, a few records after it was killed.
      world.kill();
      world.dieAtNote(1 + random.integer(20));
    },
  ],
  [
    1,
    (world, random) => {
      // Two that cannot be mended give up together.
      for (let count = 0; count < 2; count++) {
        const daemon = pick(world, random);
        world.runtime.script(daemon).importFails = true;
        world.runtime.crash(daemon);
      }
    },
  ],
  [2, (world, random) => offerBroken(world, random)],
  [
    2,
    (world, random) => {
      // A crash of the master a little after something else happened.
      crash(world, random);
      later(world, random.uniform() * 1_500, () => world.kill());
    },
  ],
  [
    1,
    (world, random) => {
      world.command('recover', [], { waitMs: 180_000 });
      const after = random.uniform() * 12_000;
      later(world, after, () => world.kill());
      if (random.uniform() < 0.5) later(world, after + random.uniform() * 8_000, () => world.kill());
    },
  ],
  [
    2,
    (world, random) => {
      world.checkers.note('wall clock jumps');
      world.clock.jumpWall((random.uniform() < 0.5 ? -1 : 1) * (random.uniform() < 0.5 ? 3_600_000 : 365 * 86_400_000));
    },
  ],
  [
    1,
    (world) => {
      world.checkers.note('machine is suspended');
      world.checkers.stalled();
      world.clock.stall(30_000);
    },
  ],
];
const TOTAL_WEIGHT = FAULTS.reduce((sum, [weight]) => sum + weight, 0);

const drawFault = (random: Random): Fault => {
  let left = random.uniform() * TOTAL_WEIGHT;
  for (const [weight, fault] of FAULTS) if ((left -= weight) < 0) return fault;
  return crash;
};

/** The fleet that a seed runs. */
export const fleetOfSeed = (seed: number): Fleet =>
  seed % DRAWN_EVERY === 0 ? drawnFleet(seededRandom(seed).fork('fleet')) : SHAPE;

/** Runs one seed to its end. */
export const runSeed = (options: RunOptions): RunResult => runWorld(options).result;

/** The same, with the world as it was left. */
export const runWorld = (options: RunOptions): { readonly world: World; readonly result: RunResult } => {
  const world = new World({
    seed: options.seed,
    fleet: options.fleet ?? fleetOfSeed(options.seed),
    record: options.record ?? false,
    ...(options.disk === undefined ? {} : { disk: options.disk }),
    ...(options.bug === undefined ? {} : { bug: options.bug }),
  });
  const random = seededRandom(options.seed).fork('faults');
  const { checkers, clock } = world;
  const mean = options.meanFaultMs ?? MEAN_FAULT_MS;
  const until = options.minutes * 60_000;
  const overlapping = options.seed % 5 === 0;
  let faults = 0;
  const broken = (): boolean => checkers.violations.length > 0 && (options.failFast ?? false);

  while (clock.monotonicMs() < until && world.fatal === null && !broken()) {
    clock.advanceSync(-Math.log(1 - random.uniform()) * mean);
    if (random.uniform() < 0.08 && probe(world, random)) faults++;
    const together = overlapping && random.uniform() < 0.3 ? 2 + random.integer(2) : 1;
    for (let count = 0; count < together; count++) {
      drawFault(random)(world, random);
      faults++;
    }
    clock.advanceSync(0); // what a suspended machine is late with comes first
    checkers.openCommands(clock.monotonicMs());
  }
  if (world.fatal === null && !broken()) {
    world.heal();
    clock.advanceSync(CONVERGE_MS);
    if (world.core.operation !== null) clock.advanceSync(CONVERGE_MS); // a recovery of the last minute has its own drain
    world.heal(); // timers of faults that fired after the first heal
    clock.advanceSync(CONVERGE_MS);
    checkers.openCommands(clock.monotonicMs());
    checkers.converged(world.stuck());
    checkers.atRest(world.unexplained());
    for (const member of world.core.members)
      if (member.liveStopping !== 0)
        checkers.broken('I2', `${member.type} still counts ${member.liveStopping} stopping`);
    world.command('shutdown', []);
    clock.advanceSync(STOP_ALL_BUDGET_MS + KILL_MS);
    if (!world.left || world.runtime.live.size > 0)
      checkers.broken('I4', `after a shutdown ${world.runtime.live.size} daemons live, left ${world.left}`);
  }
  const result = {
    seed: options.seed,
    minutes: options.minutes,
    hash: checkers.hash,
    faults,
    inputs: checkers.inputs,
    transitions: checkers.transitions,
    launches: checkers.launchesTotal,
    masters: world.masters,
    simulatedMs: clock.monotonicMs(),
    violations: checkers.violations,
    sometimes: checkers.sometimes,
    taken: checkers.taken,
  };
  return { world, result };
};

/** Waits for a quiet fleet, does one thing, and checks that it touched exactly what it should. */
const probe = (world: World, random: Random): boolean => {
  world.heal();
  if (!world.isSteady() || world.faultsToCome > 0) return false;
  const { core, runtime } = world;
  const fresh = (type: string): boolean => {
    const member = core.get(type);
    return member?.restarts === 0 && member.spec.autoRestart && runtime.live.has(type);
  };
  const roots = [hub(world, random)];
  const before = world.checkers.generations();
  const choice = random.uniform();
  if (choice < 0.4) {
    if (!runtime.live.has(roots[0]!)) return false;
    world.command('restart', roots);
  } else {
    if (choice > 0.8) roots.push(hub(world, random));
    if (!roots.every(fresh)) return false;
    for (const root of new Set(roots)) runtime.crash(root);
  }
  // The first delay, the slowest starts of a chain, a stop that takes its time.
  world.clock.advanceSync(PROBE_MS);
  world.checkers.exactCascade(roots, before, choice < 0.4 ? 'a restart' : 'a crash');
  return true;
};

const PROBE_MS = 8_000;
const DRAWN_EVERY = 4;
const SHAPE = shapeFleet();

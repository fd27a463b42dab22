/**
 * What may be typed, as data: commands, what stands after them, their options, and in which file each one's work is.
 *
 * Parsing, `--help`, completion and the reference are all made from these tables, so they cannot disagree. A command's
 * code is loaded when it runs and not before: `status` has 250 ms in all, and most of that is Node itself.
 */
import { LEVELS, TEMPOS, type CommandSpec, type OptionSpec, type ProgramSpec, type WordSpec } from './command-spec.ts';

const COMMON: readonly OptionSpec[] = [
  {
    name: 'fleet',
    type: 'text',
    value: 'file',
    describe: 'fleet file [$MASTER_LOOP_FLEET, else ./fleet.yaml, else the bundled RingRift fleet]',
  },
  { name: 'profile', type: 'text', value: 'profile', describe: 'who runs' },
  {
    name: 'tempo',
    type: 'text',
    value: 'tempo',
    choices: TEMPOS,
    describe: 'periods and thresholds of the bundled fleet',
  },
  {
    name: 'data-dir',
    type: 'text',
    value: 'folder',
    describe: 'where the loop keeps its state [$MASTER_LOOP_DATA_DIR, else ./.master-loop]',
  },
  { name: 'json', type: 'flag', describe: 'machine-readable standard output, errors too' },
  {
    name: 'port',
    type: 'number',
    value: 'number',
    describe: 'HTTP port, 0 for any free one [$RINGRIFT_HEALTH_PORT, else 8790]',
  },
  {
    name: 'log-level',
    type: 'text',
    value: 'level',
    choices: LEVELS,
    describe: 'least level that is logged [$RINGRIFT_LOG_LEVEL, else INFO]',
  },
  { name: 'no-color', type: 'flag', describe: 'no colour [$NO_COLOR]' },
  { name: 'help', alias: 'h', type: 'flag', describe: 'show help' },
  { name: 'version', type: 'flag', describe: 'show the version' },
];

const TIMEOUT: OptionSpec = {
  name: 'timeout',
  type: 'number',
  value: 'number',
  describe: 'seconds to wait at most',
};
const NO_WAIT: OptionSpec = { name: 'no-wait', type: 'flag', describe: 'return as soon as it is accepted' };
const FOLLOW: OptionSpec = { name: 'follow', alias: 'f', type: 'flag', describe: 'go on with new lines' };
const TARGET: OptionSpec = { name: 'target', type: 'text', value: 'daemon', describe: 'the daemon it is done to' };
const DRAIN: OptionSpec = {
  name: 'drain-seconds',
  type: 'number',
  value: 'number',
  describe: 'quiet time before the start [10]',
};
const HANG_IN: OptionSpec = {
  name: 'in',
  type: 'text',
  value: 'text',
  choices: ['cycle', 'handler'],
  describe: 'daemon-hang: in its next cycle, or in its next delivery [cycle when it has one]',
};
const ONE_DAEMON: WordSpec = { name: 'daemon', value: 'daemon', describe: 'type of a daemon' };
const DRILL: WordSpec = { name: 'drill', required: true, value: 'drill', describe: 'name of a drill' };

const look = (name: 'status' | 'why' | 'history' | 'logs' | 'wait') => () =>
  import('./commands/look.ts').then((commands) => commands[name]);
const act = () => import('./commands/act.ts').then((commands) => commands.act);
const events = (name: 'tail' | 'publish' | 'deadLetters' | 'retry' | 'audit') => () =>
  import('./commands/events.ts').then((commands) => commands[name]);
const drill = () => import('./commands/drill.ts').then((commands) => commands.drill);

const actCommand = (verb: string, describe: string): CommandSpec => ({
  path: [verb],
  describe,
  words: [{ ...ONE_DAEMON, required: true, many: true }],
  options: [NO_WAIT, TIMEOUT],
  load: act,
});

export const MASTER_LOOP: ProgramSpec = {
  name: 'master_loop',
  describe: 'Runs a fleet of daemons: starts them in dependency order, keeps them up, brings them back.',
  common: COMMON,
  commands: [
    {
      path: [],
      describe: 'run the loop in the foreground until SIGINT or SIGTERM',
      words: [],
      options: [
        { name: 'watch', type: 'flag', describe: 'live view: of the loop that runs, else of one run here' },
        { name: 'detach', type: 'flag', describe: 'run in the background; print pid and port' },
        { name: 'until-ready', type: 'flag', describe: 'with --detach: return when the fleet is ready' },
        TIMEOUT,
      ],
      load: () => import('./commands/run.ts').then((commands) => commands.run),
    },
    {
      path: ['wait'],
      describe: 'wait until the running fleet is ready',
      words: [],
      options: [TIMEOUT],
      load: look('wait'),
    },
    { path: ['status'], describe: 'state of every daemon', words: [], options: [], load: look('status') },
    {
      path: ['why'],
      describe: 'why a daemon is in its state, to the root, on one screen',
      words: [{ ...ONE_DAEMON, required: true }],
      options: [],
      load: look('why'),
    },
    {
      path: ['history'],
      describe: 'what happened and what caused it',
      words: [ONE_DAEMON],
      options: [{ name: 'lines', alias: 'n', type: 'number', value: 'number', describe: 'newest entries shown [50]' }],
      load: look('history'),
    },
    {
      path: ['logs'],
      describe: 'log lines, of one daemon or of all',
      words: [ONE_DAEMON],
      options: [
        FOLLOW,
        { name: 'lines', alias: 'n', type: 'number', value: 'number', describe: 'last lines shown [50]' },
      ],
      load: look('logs'),
    },
    {
      path: ['plan'],
      describe: 'what would happen; changes nothing',
      words: [
        {
          name: 'verb',
          value: 'plan',
          choices: ['boot', 'stop-all', 'recover', 'restart', 'stop'],
          describe: 'boot (needs no running loop), stop-all, recover, restart DAEMON, stop DAEMON [boot]',
        },
        { ...ONE_DAEMON, many: true, describe: 'with restart and stop: of which daemons' },
      ],
      options: [],
      load: () => import('./commands/plan.ts').then((commands) => commands.plan),
    },
    actCommand('start', 'start daemons; clears an operator stop and the restart counter'),
    actCommand('stop', 'stop daemons; they stay stopped until started'),
    actCommand('restart', 'restart daemons, and in order what depends on them'),
    actCommand('reset', 'clear the restart counter and FAILED; start again what is wanted'),
    {
      path: ['recover'],
      describe: 'full system recovery: stop all, prove that nothing is left, drain, start in order',
      words: [],
      options: [DRAIN, NO_WAIT, TIMEOUT],
      load: act,
    },
    {
      path: ['validate'],
      describe: 'all faults of a fleet file, with line and column',
      words: [{ name: 'file', value: 'file', describe: 'fleet file [as --fleet]' }],
      options: [],
      load: () => import('./commands/plan.ts').then((commands) => commands.validate),
    },
    {
      path: ['events', 'tail'],
      describe: 'every event as it is stored',
      words: [{ name: 'topic', many: true, value: 'topic', describe: 'only these topics' }],
      options: [],
      load: events('tail'),
    },
    {
      path: ['events', 'publish'],
      describe: 'publish an event; returns when it is durable',
      words: [
        { name: 'topic', required: true, value: 'topic', describe: 'name of the event' },
        { name: 'body', value: 'text', describe: 'JSON object, or - for standard input [{}]' },
      ],
      options: [
        { name: 'id', type: 'text', value: 'text', describe: 'an id of your own: the same one is stored once' },
        { name: 'source', type: 'text', value: 'text', describe: 'who publishes [cli]' },
      ],
      load: events('publish'),
    },
    {
      path: ['events', 'dead-letters'],
      describe: 'events set aside after their last attempt, with the reason',
      words: [],
      options: [
        { name: 'subscriber', type: 'text', value: 'daemon', describe: 'only of this daemon' },
        {
          name: 'state',
          type: 'text',
          value: 'text',
          choices: ['pending', 'recovered', 'abandoned'],
          describe: 'only in this state [pending]',
        },
        { name: 'limit', type: 'number', value: 'number', describe: 'letters shown, oldest first [100]' },
      ],
      load: events('deadLetters'),
    },
    {
      path: ['events', 'retry'],
      describe: 'redeliver dead letters to the handler that failed',
      words: [{ name: 'id', many: true, value: 'text', describe: 'numbers of dead letters' }],
      options: [{ name: 'all', type: 'flag', describe: 'all that are pending' }],
      load: events('retry'),
    },
    {
      path: ['events', 'audit'],
      describe: 'the books of every subscription: published = handled + pending + dead-lettered',
      words: [],
      options: [],
      load: events('audit'),
    },
    {
      path: ['drill', 'run'],
      describe: 'break something on purpose, measure the recovery, heal',
      words: [DRILL],
      options: [TARGET, HANG_IN, { ...DRAIN, describe: `full-recovery: ${DRAIN.describe}` }],
      load: drill,
    },
    { path: ['drill', 'list'], describe: 'drills there are', words: [], options: [], load: drill },
    {
      path: ['drill', 'report'],
      describe: 'results of past drills',
      words: [{ name: 'id', value: 'text', describe: 'one of them, or "last"' }],
      options: [],
      load: drill,
    },
    { path: ['drill', 'inject'], describe: 'only break', words: [DRILL], options: [TARGET, HANG_IN], load: drill },
    { path: ['drill', 'heal'], describe: 'only heal', words: [], options: [TARGET], load: drill },
    {
      path: ['drill', 'verify'],
      describe: 'only check that everything is back',
      words: [],
      options: [TARGET],
      load: drill,
    },
    {
      path: ['log-level'],
      describe: 'change the level of the running loop',
      words: [{ name: 'level', required: true, value: 'level', choices: LEVELS, describe: 'the new level' }],
      options: [],
      load: () => import('./commands/look.ts').then((commands) => commands.logLevel),
    },
    {
      path: ['completion'],
      describe: 'print a completion script: master_loop completion >> ~/.bashrc',
      words: [],
      options: [],
      load: () => import('./help.ts').then((help) => help.completionScript),
    },
  ],
};

export const LAUNCH_DAEMONS: ProgramSpec = {
  name: 'launch_daemons',
  describe: 'Starts, shows and stops daemons of a fleet; starts a loop in the background when none runs.',
  common: COMMON,
  commands: [
    {
      path: [],
      describe: 'start, look or stop',
      words: [],
      options: [
        { name: 'all', type: 'flag', describe: 'start the whole profile; clears its operator stops and says which' },
        { name: 'daemon', type: 'list', value: 'daemon', describe: 'start these' },
        { name: 'status', type: 'flag', describe: 'state of every daemon' },
        { name: 'watch', type: 'flag', describe: 'with --status: live view' },
        { name: 'stop-all', type: 'flag', describe: 'stop every daemon in order, and the loop with them' },
        { name: 'stop', type: 'list', value: 'daemon', describe: 'stop these; they stay stopped until started' },
        NO_WAIT,
        TIMEOUT,
      ],
      load: () => import('./commands/launch.ts').then((commands) => commands.launch),
    },
    {
      path: ['completion'],
      describe: 'print a completion script: launch_daemons completion >> ~/.bashrc',
      words: [],
      options: [],
      load: () => import('./help.ts').then((help) => help.completionScript),
    },
  ],
};

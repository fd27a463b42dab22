import { expect } from 'chai';
import { OrchestratorError } from '../../src/errors.ts';
import { FAULTS_MAX } from '../../src/fleet/faults.ts';
import { brief, faultsFrom, faultsIn, load, SPINE, withDaemons, worldOf } from './support.ts';
import { loadFleet } from '../../src/fleet/load.ts';

interface Case {
  readonly event: string;
  readonly text: string;
  /** `line:column message`, all of them. */
  readonly faults: readonly string[];
  /** Part of the hint of the first. */
  readonly hint?: string;
  readonly profile?: string;
}

const head = (...lines: string[]): string =>
  ['version: 1', 'name: test', ...lines, 'daemons:', '  EVENT_ROUTER: { uses: event-router }', ''].join('\n');

const CASES: readonly Case[] = [
  {
    event: 'an unknown key at the top',
    text: head('profile: {}'),
    faults: ['3:1 unknown key "profile"'],
    hint: 'did you mean "profiles"?',
  },
  {
    event: 'a key in snake case',
    text: withDaemons(
      'EVENT_ROUTER: { uses: event-router }',
      'AUTO_SYNC:',
      '  uses: auto-sync',
      '  depends_on: []',
      SPINE[1]!,
    ),
    faults: ['7:5 unknown key "depends_on" in daemons.AUTO_SYNC'],
    hint: 'did you mean "dependsOn"?',
  },
  {
    event: "another tool's word for daemons",
    text: 'version: 1\nname: x\nservices: {}\n',
    faults: ['1:1 the key "daemons" is missing', '3:1 unknown key "services"'],
  },
  {
    event: 'a value of the wrong type',
    text: withDaemons('EVENT_ROUTER: { uses: event-router, critical: "yes" }'),
    faults: ['4:49 "critical" must be true or false, and is "yes"'],
  },
  {
    event: 'a version in quotes',
    text: 'version: "1"\nname: x\ndaemons: { EVENT_ROUTER: { uses: event-router } }\n',
    faults: ['1:10 "version" must be 1, and is "1"'],
    hint: 'write 1 without quotes',
  },
  {
    event: 'a list where a map belongs',
    text: 'version: 1\nname: x\ndaemons: [A]\n',
    faults: ['3:10 "daemons" must be a map, and is a list'],
  },
  {
    event: 'no daemon at all',
    text: 'version: 1\nname: x\ndaemons: {}\n',
    faults: ['3:10 "daemons" is empty: there is nothing to run'],
  },
  {
    event: 'a daemon without a body',
    text: withDaemons('EVENT_ROUTER:'),
    faults: ['4:3 "EVENT_ROUTER" must be a map, and is empty'],
  },
  {
    event: 'a negative duration',
    text: withDaemons('EVENT_ROUTER: { uses: event-router, startSeconds: -1 }'),
    faults: ['4:53 "startSeconds" must be more than 0 seconds, and is -1'],
  },
  {
    event: 'a duration without end',
    text: withDaemons('EVENT_ROUTER: { uses: event-router, startSeconds: .inf }'),
    faults: ['4:53 "startSeconds" must be a finite number, and is .inf'],
  },
  {
    event: 'a duration that is no number',
    text: withDaemons('EVENT_ROUTER: { uses: event-router, startSeconds: .nan }'),
    faults: ['4:53 "startSeconds" must be a finite number, and is .nan'],
  },
  {
    event: 'a duration beyond what a timer keeps',
    text: withDaemons('EVENT_ROUTER: { uses: event-router, startSeconds: 604801 }'),
    faults: ['4:53 "startSeconds" must be at most 604800 seconds, and is 604801'],
  },
  {
    event: 'a duration with a unit',
    text: withDaemons('EVENT_ROUTER: { uses: event-router, startSeconds: 5s }'),
    faults: ['4:53 "startSeconds" must be a number, and is "5s"'],
    hint: 'write 5',
  },
  {
    event: 'a duration in minutes',
    text: head('defaults: { restart: { delaysSeconds: [1, 2 min] } }'),
    faults: ['3:43 "delaysSeconds[1]" must be a number, and is "2 min"'],
    hint: 'write 120',
  },
  {
    event: 'a key written twice',
    text: withDaemons('EVENT_ROUTER: { uses: event-router, uses: auto-sync }'),
    faults: ['4:39 the key "uses" is written twice, first at line 4'],
  },
  {
    event: 'a daemon written twice',
    text: withDaemons('EVENT_ROUTER: { uses: event-router }', 'EVENT_ROUTER: { uses: event-router }'),
    faults: ['5:3 the key "EVENT_ROUTER" is written twice, first at line 4'],
  },
  {
    event: 'one built-in under two names',
    text: withDaemons(...SPINE, 'SYNC_TOO: { uses: auto-sync }'),
    faults: ['7:21 "SYNC_TOO" and "AUTO_SYNC" both use auto-sync: its effects would have two owners'],
  },
  {
    event: 'a misspelt built-in',
    text: withDaemons('EVENT_ROUTER: { uses: event-ruter }'),
    faults: ['4:25 there is no built-in daemon "event-ruter"'],
    hint: 'did you mean "event-router"?',
  },
  {
    event: 'a daemon that does not say what it is',
    text: withDaemons('EVENT_ROUTER: { critical: true }'),
    faults: ['4:3 "EVENT_ROUTER" has neither uses nor module'],
    hint: 'uses: event-router',
  },
  {
    event: 'a daemon that is two things',
    text: withDaemons('EVENT_ROUTER: { uses: event-router, module: ./x.js }'),
    faults: ['4:39 "EVENT_ROUTER" has both uses and module'],
  },
  {
    event: 'a command, which this version does not run',
    text: withDaemons(
      'EVENT_ROUTER: { uses: event-router }',
      'API: { command: [node, x.js], ready: { notifyFd: 3 }, health: { http: { port: 1 } }, cwd: /, dependsOn: [EVENT_ROUTER] }',
    ),
    faults: ['5:10 "API" runs a command, and this version runs "uses" and "module" daemons only'],
  },
  {
    event: 'a readiness probe on a built-in',
    text: withDaemons('EVENT_ROUTER: { uses: event-router, ready: { heartbeat: {} } }'),
    faults: ['4:39 "ready" of "EVENT_ROUTER" belongs to command daemons'],
  },
  {
    event: 'a kind that this version does not run',
    text: withDaemons('EVENT_ROUTER: { uses: event-router, kind: thread }'),
    faults: ['4:45 "EVENT_ROUTER" is of kind thread, and this version runs in-process daemons only'],
  },
  {
    event: 'the router under another name',
    text: withDaemons('ROUTER: { uses: event-router }'),
    faults: ['4:3 the event router must be named EVENT_ROUTER, and is named "ROUTER"'],
  },
  {
    event: 'a name that is no name',
    text: withDaemons('"event router": { uses: one-shot }'),
    faults: [
      '4:3 the daemon name "event router" has a space at character 6, and only A-Z, a-z, 0-9, "_", "." and "-" are allowed',
    ],
  },
  {
    event: 'a name that every object answers to',
    text: withDaemons('constructor: { uses: one-shot }'),
    faults: ['4:3 the daemon name "constructor" is a word that every JavaScript object already answers to'],
  },
  {
    event: 'the key that changes every object',
    text: withDaemons('EVENT_ROUTER: { uses: event-router }', '__proto__: { uses: one-shot }'),
    faults: ['5:3 the key "__proto__" has a meaning of its own in JavaScript'],
  },
  {
    event: 'an unknown daemon in dependsOn',
    text: withDaemons(...SPINE, 'ONE_SHOT: { uses: one-shot, dependsOn: [AUTO_SINK] }'),
    faults: ['7:43 "ONE_SHOT" depends on "AUTO_SINK", and no daemon has that name'],
    hint: 'did you mean "AUTO_SYNC"?',
  },
  {
    event: 'a dependency on a built-in that is not listed',
    text: withDaemons('ONE_SHOT: { uses: one-shot, dependsOn: [{ on: EVENT_ROUTER, kind: soft }] }'),
    faults: ['4:49 "ONE_SHOT" depends on "EVENT_ROUTER", and no daemon has that name'],
    hint: 'add EVENT_ROUTER: { uses: event-router }',
  },
  {
    event: 'a hard edge of a definition onto a daemon that is not listed',
    text: withDaemons(SPINE[0]!, 'AUTO_SYNC: { uses: auto-sync }'),
    faults: ['5:3 "AUTO_SYNC" needs DATA_PIPELINE (definition of AUTO_SYNC), which is not in this fleet'],
    hint: 'add DATA_PIPELINE: { uses: data-pipeline }',
  },
  {
    event: 'a dependency on itself',
    text: withDaemons('ONE_SHOT: { uses: one-shot, dependsOn: [ONE_SHOT] }'),
    faults: ['4:43 "ONE_SHOT" depends on itself'],
  },
  {
    event: 'a dependency written twice',
    text: withDaemons(
      SPINE[0]!,
      'ONE_SHOT: { uses: one-shot, dependsOn: [EVENT_ROUTER, { on: EVENT_ROUTER, kind: soft }] }',
    ),
    faults: ['5:63 "ONE_SHOT" depends on "EVENT_ROUTER" twice, first at fleet.yaml:5:43'],
  },
  {
    event: 'a cycle through a definition',
    text: withDaemons(
      'EVENT_ROUTER: { uses: event-router, dependsOn: [AUTO_SYNC] }',
      SPINE[1]!,
      'AUTO_SYNC: { uses: auto-sync }',
    ),
    faults: [
      '4:51 2 daemons depend on each other in a circle: ' +
        'EVENT_ROUTER → AUTO_SYNC (hard, fleet.yaml:4:51), AUTO_SYNC → EVENT_ROUTER (hard, definition of AUTO_SYNC)',
    ],
  },
  {
    event: 'a wait for the end of a daemon that never ends',
    text: withDaemons(
      SPINE[0]!,
      'ONE_SHOT: { uses: one-shot, dependsOn: [{ on: EVENT_ROUTER, condition: completed }] }',
    ),
    faults: [
      '5:49 "ONE_SHOT" waits for EVENT_ROUTER to complete, and EVENT_ROUTER never does: it is no one-shot daemon',
    ],
  },
  {
    event: 'a timeout on a hard edge',
    text: withDaemons(SPINE[0]!, 'ONE_SHOT: { uses: one-shot, dependsOn: [{ on: EVENT_ROUTER, timeoutSeconds: 5 }] }'),
    faults: ['5:49 timeoutSeconds is for soft and order edges: a hard edge waits without limit'],
  },
  {
    event: 'a misspelt kind of edge',
    text: withDaemons(SPINE[0]!, 'ONE_SHOT: { uses: one-shot, dependsOn: [{ on: EVENT_ROUTER, kind: sof }] }'),
    faults: ['5:69 "kind" must be "hard", "soft" or "order", and is "sof"'],
    hint: 'did you mean "soft"?',
  },
  {
    event: 'an edge that is neither a name nor a map',
    text: withDaemons('ONE_SHOT: { uses: one-shot, dependsOn: [5] }'),
    faults: ['4:43 "dependsOn[0]" must be text or a map, and is 5'],
  },
  {
    event: 'a deprecated daemon',
    text: withDaemons(...SPINE, 'OLD_SYNC: { uses: old-sync }'),
    faults: ['7:3 OLD_SYNC is deprecated; AUTO_SYNC took its place'],
  },
  {
    event: 'an edge onto a deprecated type without its successor',
    text: withDaemons('ONE_SHOT: { uses: one-shot, dependsOn: [OLD_SYNC] }'),
    faults: [
      '4:43 "ONE_SHOT" depends on OLD_SYNC, which is deprecated, and its successor AUTO_SYNC is not in this fleet',
    ],
    hint: 'add AUTO_SYNC: { uses: auto-sync }',
  },
  {
    event: 'an unknown daemon in a profile',
    text: head('profiles: { core: [EVENT_RUTER] }'),
    faults: ['3:20 the profile "core" names "EVENT_RUTER", which is not in this fleet'],
    hint: 'did you mean "EVENT_ROUTER"?',
  },
  {
    event: 'a daemon twice in a profile',
    text: head('profiles: { core: [EVENT_ROUTER, EVENT_ROUTER] }'),
    faults: ['3:34 "EVENT_ROUTER" is in the profile "core" twice'],
  },
  {
    event: 'a profile without daemons',
    text: head('profiles: { core: [] }'),
    faults: ['3:19 "core" needs at least 1 entry'],
  },
  {
    event: 'a profile that is a number',
    text: head('profiles: { core: 5 }'),
    faults: ['3:19 "core" must be "all", a list or a map, and is 5'],
  },
  {
    event: 'a profile that nobody wrote is asked for',
    text: head('profiles: { core: [EVENT_ROUTER] }'),
    profile: 'coer',
    faults: ['3:1 the profile "coer" was asked for, and this fleet has none of that name'],
    hint: 'did you mean "core"?',
  },
  {
    event: 'an unknown daemon in ports',
    text: head('ports: { EVENT_RUTER: 1000 }'),
    faults: ['3:10 ports names "EVENT_RUTER", which is not in this fleet'],
  },
  {
    event: 'a port beyond the last one',
    text: head('ports: { EVENT_ROUTER: 70000 }'),
    faults: ['3:24 "EVENT_ROUTER" must be at most 65535, and is 70000'],
  },
  {
    event: 'half a port',
    text: head('ports: { EVENT_ROUTER: 80.5 }'),
    faults: ['3:24 "EVENT_ROUTER" must be a whole number, and is 80.5'],
  },
  {
    event: 'a port that the master has',
    text: head('ports: { EVENT_ROUTER: 8790 }'),
    faults: ['3:24 port 8790 of "EVENT_ROUTER" is taken by the health port of the master (--port)'],
  },
  {
    event: 'one port for two daemons',
    text: 'version: 1\nname: x\nports: { EVENT_ROUTER: 9000, ONE_SHOT: 9000 }\ndaemons: { EVENT_ROUTER: { uses: event-router }, ONE_SHOT: { uses: one-shot } }\n',
    faults: ['3:40 port 9000 of "ONE_SHOT" is taken by "EVENT_ROUTER" (fleet.yaml:3:24)'],
  },
  {
    event: "a port that is another daemon's default",
    text: 'version: 1\nname: x\nports: { EVENT_ROUTER: 8766 }\ndaemons: { EVENT_ROUTER: { uses: event-router }, DATA_SERVER: { uses: data-server } }\n',
    faults: ['4:50 port 8766 of "DATA_SERVER" is taken by "EVENT_ROUTER" (fleet.yaml:3:24)'],
  },
  {
    event: 'two ports for one daemon',
    text: 'version: 1\nname: x\nports: { DATA_SERVER: 9001 }\ndaemons: { DATA_SERVER: { uses: data-server, config: { port: 9002 } } }\n',
    faults: ['4:62 "DATA_SERVER" has port 9002 here and 9001 in ports'],
  },
  {
    event: 'settings that the daemon does not have',
    text: withDaemons(SPINE[0]!, 'DATA_PIPELINE:', '  uses: data-pipeline', '  config:', '    breaker: { failure: 2 }'),
    faults: ['8:18 unknown key "failure" in daemons.DATA_PIPELINE.config.breaker'],
    hint: 'did you mean "failures"?',
  },
  {
    event: 'settings out of bounds, deep inside',
    text: withDaemons(
      SPINE[0]!,
      'DATA_PIPELINE:',
      '  uses: data-pipeline',
      '  config:',
      '    rows:',
      '      - { id: a, weight: 10 }',
      '      - { id: b, weight: 11 }',
      '      - { weight: 1 }',
    ),
    faults: [
      '10:28 "weight" must be at most 10, and is 11',
      '11:11 the key "id" is missing in daemons.DATA_PIPELINE.config.rows[2]',
    ],
  },
  {
    event: 'a bad cron expression',
    text: head('schedule:', '  - { at: "61 * * * *", do: recover }'),
    faults: ['4:11 "61 * * * *" is no cron expression: Invalid value for minute: 61'],
  },
  {
    event: 'a cron expression of a day that never comes',
    text: head('schedule:', '  - { at: "0 0 31 2 *", do: recover }'),
    faults: ['4:11 "0 0 31 2 *" is no cron expression: no day matches it, so it would never fire'],
  },
  {
    event: 'an unknown time zone',
    text: head('schedule:', '  - { at: "0 4 * * SUN", timeZone: Europe/Pariss, do: recover }'),
    faults: ['4:36 there is no time zone "Europe/Pariss"'],
    hint: 'did you mean "Europe/Paris"?',
  },
  {
    event: 'an unknown drill',
    text: head('schedule:', '  - { at: "0 4 * * SUN", do: drill, drill: router-lost }'),
    faults: [
      '4:44 "drill" must be "router-loss", "daemon-crash", "daemon-hang", "health-failure", "crash-loop" or "full-recovery", and is "router-lost"',
    ],
    hint: 'did you mean "router-loss"?',
  },
  {
    event: 'a drill without its name',
    text: head('schedule:', '  - { at: "0 4 * * SUN", do: drill }'),
    faults: ['4:5 which drill? "do: drill" needs the key "drill"'],
  },
  {
    event: 'a drill on a daemon that is not there',
    text: head('schedule:', '  - { at: "0 4 * * SUN", do: drill, drill: daemon-crash, target: EVENT_RUTER }'),
    faults: ['4:66 the drill names "EVENT_RUTER", which is not in this fleet'],
  },
  {
    event: 'a recovery with a target',
    text: head('schedule:', '  - { at: "0 4 * * SUN", do: recover, target: EVENT_ROUTER }'),
    faults: ['4:39 "target" has no meaning with do: recover'],
  },
  {
    event: 'an unknown alert sink',
    text: head(
      'alertSinks: { team: { webhook: "https://x.example/y" } }',
      'alerts:',
      '  - { when: { failed: true }, to: [teem] }',
    ),
    faults: ['5:36 there is no alert sink "teem"'],
    hint: 'did you mean "team"?',
  },
  {
    event: 'an alert on two conditions',
    text: head('alerts:', '  - { when: { failed: true, storm: true } }'),
    faults: ['4:13 this alert has 2 conditions'],
  },
  {
    event: 'an alert on nothing',
    text: head('alerts:', '  - { when: {} }'),
    faults: ['4:13 this alert has no condition'],
  },
  {
    event: 'two alerts of one name',
    text: head('alerts:', '  - { when: { failed: true } }', '  - { name: failed, when: { storm: true } }'),
    faults: ['5:13 two alerts are named "failed", first fleet.yaml:4:5'],
  },
  {
    event: 'a webhook that is no URL',
    text: head('alertSinks: { team: { webhook: "ftp://x" } }'),
    faults: ['3:32 "webhook" has the wrong form: "ftp://x" is no http or https URL'],
  },
  {
    event: 'a sink named as a built-in one',
    text: head('alertSinks: { log: { webhook: "http://x.example" } }'),
    faults: ['3:15 "log" is a built-in sink'],
  },
  {
    event: 'an order rule about nobody',
    text: head('defaults: { after: [EVENT_RUTER] }'),
    faults: ['3:21 the order rule names "EVENT_RUTER", which is not in this fleet'],
  },
  {
    event: 'a variable that is not set',
    text: withDaemons('EVENT_ROUTER: { uses: "event-${NOPE}" }'),
    faults: ['4:32 the variable NOPE is not set'],
    hint: 'set it in the environment or in .env beside this file',
  },
];

describe('A fleet file with a fault', () => {
  for (const { event, text, faults, hint, profile } of CASES) {
    it(`says what, where and what was meant: ${event}`, async () => {
      const found = await faultsIn(text, profile === undefined ? {} : { profile });
      expect(brief(found)).to.deep.equal(faults);
      if (hint !== undefined) expect(found.find(({ hint: one }) => one !== null)?.hint).to.contain(hint);
      for (const fault of found) {
        expect(fault.sourceLine).to.equal(text.split('\n')[fault.line - 1]);
        expect(fault.file).to.equal('/fleets/fleet.yaml');
      }
    });
  }

  it('shows all faults of all sections in one run, in reading order', async () => {
    const text = [
      'version: 2',
      'name: test',
      'defaults: { stopSeconds: 5s }',
      'ports: { NOBODY: 1 }',
      'schedule: [{ at: never, do: recover }]',
      'daemons:',
      '  A: { uses: one-shot, dependsOn: [B], critcal: true }',
      '  B: { module: ./missing.js, dependsOn: [A, C] }',
      '',
    ].join('\n');
    expect(brief(await faultsIn(text))).to.deep.equal([
      '1:10 "version" must be 1, and is 2',
      '3:26 "stopSeconds" must be a number, and is "5s"',
      '4:10 ports names "NOBODY", which is not in this fleet',
      '5:18 "never" is no cron expression: it has fewer than five fields',
      '7:36 2 daemons depend on each other in a circle: A → B (hard, fleet.yaml:7:36), B → A (hard, fleet.yaml:8:42)',
      '7:40 unknown key "critcal" in daemons.A',
      '8:16 the module "./missing.js" does not exist',
      '8:45 "B" depends on "C", and no daemon has that name',
    ]);
  });

  it('keeps the place of the others when an entry of a list does not fit', async () => {
    const text = head('profiles: { core: [5, EVENT_RUTER] }', 'alerts: [7, { when: { failed: true }, to: [lag] }]');
    expect(brief(await faultsIn(text))).to.deep.equal([
      '3:20 "core[0]" must be text, and is 5',
      '3:23 the profile "core" names "EVENT_RUTER", which is not in this fleet',
      '4:10 "alerts[0]" must be a map, and is 7',
      '4:44 there is no alert sink "lag"',
    ]);
  });

  it('is one error with a remedy, which a terminal can show as it is', async () => {
    let thrown: unknown;
    try {
      await load(withDaemons('EVENT_ROUTER: { uses: event-ruter, "\u001b[31mred": 1 }'));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).to.be.instanceOf(OrchestratorError);
    const error = thrown as OrchestratorError;
    expect(error.code).to.equal('FLEET_INVALID');
    expect(error.message).to.match(
      /^cannot use the fleet: 2 faults in \/fleets\/fleet\.yaml; the first at \/fleets\/fleet\.yaml:4:25: /,
    );
    expect(error.remedy).to.contain('master_loop validate');
    expect(JSON.stringify(error.context)).not.to.match(/\\u001b/);
  });

  it('names the fault itself when it is the only one', async () => {
    try {
      await load(withDaemons('EVENT_ROUTER: { uses: event-ruter }'));
      expect.fail('it loaded');
    } catch (error) {
      expect((error as OrchestratorError).message).to.equal(
        'cannot use the fleet: /fleets/fleet.yaml:4:25: there is no built-in daemon "event-ruter"',
      );
      expect((error as OrchestratorError).remedy).to.equal('did you mean "event-router"?');
    }
  });

  it('keeps the first faults of very many and counts the rest', async () => {
    const many = Array.from({ length: FAULTS_MAX + 50 }, (_, at) => `key${at}: 1`).join('\n');
    try {
      await load(`${many}\n`);
      expect.fail('it loaded');
    } catch (error) {
      const context = (error as OrchestratorError).context as { faults: unknown[]; count: number };
      expect(context.faults).to.have.lengthOf(FAULTS_MAX);
      expect(context.count).to.be.greaterThan(FAULTS_MAX);
    }
  });

  it('cuts a long line around the fault', async () => {
    const padding = 'x'.repeat(100_000);
    const [fault] = await faultsIn(withDaemons(`EVENT_ROUTER: { uses: event-router, a: "${padding}", b: 1 }`), {});
    expect(fault!.sourceLine.length).to.be.at.most(160);
    expect(fault!.sourceLine[fault!.sourceColumn - 1]).to.equal('a');
  });
});

describe('A fleet file with events', () => {
  const event = { version: 1, meaning: '', body: null as never };
  const module = { default: { type: 'M', publishes: ['TICKED'], subscribes: ['TOCKED'], create: () => ({}) } };
  const text = withDaemons('EVENT_ROUTER: { uses: event-router }', 'M: { module: ./m.js }');

  it('refuses an event that nobody declared, with the nearest one', async () => {
    const { options } = worldOf({ text, catalogue: { TICKED: event, LICKED: event } }, {}, { 'm.js': module });
    const faults = await faultsFrom(loadFleet(options));
    expect(brief(faults)).to.deep.equal(['5:3 "M" subscribes to "TOCKED", which is no declared event']);
    expect(faults[0]!.hint).to.equal('did you mean "TICKED"?');
  });

  it('warns of events that are said or heard by nobody else', async () => {
    const { options } = worldOf({ text, catalogue: { TICKED: event, TOCKED: event } }, {}, { 'm.js': module });
    expect((await loadFleet(options)).warnings).to.deep.equal([
      'M waits for TOCKED, and nobody in this fleet publishes it',
      'M publishes TICKED, and nobody in this fleet reads it',
    ]);
    const declared = {
      TICKED: { ...event, externalConsumers: ['dashboards'] },
      TOCKED: { ...event, externalProducers: ['worker'] },
    };
    expect((await loadFleet(worldOf({ text, catalogue: declared }, {}, { 'm.js': module }).options)).warnings).to.be
      .empty;
  });

  it('refuses events without a router', async () => {
    const { options } = worldOf({ text: withDaemons('M: { module: ./m.js }') }, {}, { 'm.js': module });
    expect(brief(await faultsFrom(loadFleet(options)))).to.deep.equal([
      '4:3 "M" has events, and this fleet has no event router',
    ]);
  });
});

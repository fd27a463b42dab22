import { expect } from 'chai';
import { z } from 'zod';
import { defineDaemon } from '../../src/daemons/definition.ts';
import { definitionsByName, loadFleet, usesNameOf } from '../../src/fleet/load.ts';
import { brief, BUILT_IN, edgeOf, faultsFrom, faultsIn, load, specIn, SPINE, withDaemons, worldOf } from './support.ts';

/** A valid file with sections before the daemons. */
const fleet = (sections: Partial<Record<'ports' | 'profiles' | 'defaults', string>>, ...daemons: string[]): string =>
  ['version: 1', 'name: test', ...Object.entries(sections).map(([key, value]) => `${key}: ${value}`), 'daemons:']
    .concat(daemons.map((line) => `  ${line}`))
    .join('\n');

describe('Merging edges of definitions and file', () => {
  it('fills every default of a definition’s edge, with re-attachment towards the router', async () => {
    const loaded = await load(withDaemons(...SPINE));
    expect(specIn(loaded, 'AUTO_SYNC').edges).to.deep.equal([
      {
        from: 'AUTO_SYNC',
        on: 'EVENT_ROUTER',
        kind: 'hard',
        condition: 'ready',
        onLoss: 'reattach',
        timeoutMs: 0,
        writtenAt: 'definition of AUTO_SYNC',
      },
      {
        from: 'AUTO_SYNC',
        on: 'DATA_PIPELINE',
        kind: 'hard',
        condition: 'ready',
        onLoss: 'restart',
        timeoutMs: 0,
        writtenAt: 'definition of AUTO_SYNC',
      },
    ]);
  });

  it('adds the file’s edges, and says where they stand', async () => {
    const loaded = await load(withDaemons(...SPINE, 'ONE_SHOT: { uses: one-shot, dependsOn: [AUTO_SYNC] }'));
    expect(edgeOf(loaded, 'ONE_SHOT', 'AUTO_SYNC')).to.include({
      kind: 'hard',
      onLoss: 'restart',
      writtenAt: 'fleet.yaml:7:43',
    });
  });

  it('replaces the edge of a definition by its "on", and leaves the others', async () => {
    const loaded = await load(
      withDaemons(
        ...SPINE.slice(0, 2),
        'AUTO_SYNC: { uses: auto-sync, dependsOn: [{ on: DATA_PIPELINE, kind: soft, timeoutSeconds: 7.5 }] }',
      ),
    );
    expect(specIn(loaded, 'AUTO_SYNC').edges.map(({ on }) => on)).to.deep.equal(['EVENT_ROUTER', 'DATA_PIPELINE']);
    expect(edgeOf(loaded, 'AUTO_SYNC', 'DATA_PIPELINE')).to.include({
      kind: 'soft',
      onLoss: 'ignore',
      timeoutMs: 7_500,
      writtenAt: 'fleet.yaml:6:51',
    });
  });

  it('drops a definition’s soft and order edges onto daemons that the fleet does not have', async () => {
    const loaded = await load(
      withDaemons(SPINE[0]!, 'FEEDBACK_LOOP: { uses: feedback-loop }', 'DATA_SERVER: { uses: data-server }'),
    );
    expect(specIn(loaded, 'FEEDBACK_LOOP').edges.map(({ on }) => on)).to.deep.equal(['EVENT_ROUTER']);
    expect(specIn(loaded, 'DATA_SERVER').edges).to.be.empty;
  });

  it('waits 30 s for soft and order edges that say nothing', async () => {
    const loaded = await load(withDaemons(...SPINE, 'FEEDBACK_LOOP: { uses: feedback-loop }'));
    expect(edgeOf(loaded, 'FEEDBACK_LOOP', 'AUTO_SYNC')).to.include({
      kind: 'order',
      timeoutMs: 30_000,
      onLoss: 'ignore',
    });
  });

  it('finds a built-in that runs under a name of its own', async () => {
    const loaded = await load(
      withDaemons(SPINE[0]!, 'PIPES: { uses: data-pipeline }', 'AUTO_SYNC: { uses: auto-sync }'),
    );
    expect(specIn(loaded, 'AUTO_SYNC').edges.map(({ on }) => on)).to.deep.equal(['EVENT_ROUTER', 'PIPES']);
  });

  it('says that onLoss does nothing on a soft edge', async () => {
    const text = withDaemons(
      SPINE[0]!,
      'ONE_SHOT: { uses: one-shot, dependsOn: [{ on: EVENT_ROUTER, kind: soft, onLoss: restart }] }',
    );
    expect((await load(text)).warnings).to.deep.equal([
      'onLoss: restart at fleet.yaml:5:49 has no effect: the loss of a daemon travels along hard edges only',
    ]);
  });

  it('accepts completion of a one-shot daemon', async () => {
    const text = withDaemons(
      'ONE_SHOT: { uses: one-shot }',
      'EVENT_ROUTER: { uses: event-router, dependsOn: [{ on: ONE_SHOT, condition: completed }] }',
    );
    expect(edgeOf(await load(text), 'EVENT_ROUTER', 'ONE_SHOT')).to.include({ condition: 'completed' });
  });
});

describe('The order rule', () => {
  // EVENT_ROUTER ◄─ DATA_PIPELINE ◄─ AUTO_SYNC ◄┄ FEEDBACK_LOOP ◄┄┄ everybody else
  const text = fleet(
    { defaults: '{ after: [FEEDBACK_LOOP] }' },
    ...SPINE,
    'FEEDBACK_LOOP: { uses: feedback-loop }',
    'DATA_SERVER: { uses: data-server }',
    'ONE_SHOT: { uses: one-shot }',
  );

  it('puts an order edge onto its daemon from all that it does not wait for', async () => {
    const loaded = await load(text);
    const ruled = loaded.fleet.daemons.filter(({ edges }) => edges.some(({ on }) => on === 'FEEDBACK_LOOP'));
    expect(ruled.map(({ type }) => type)).to.deep.equal(['DATA_SERVER', 'ONE_SHOT']);
    expect(edgeOf(loaded, 'ONE_SHOT', 'FEEDBACK_LOOP')).to.deep.equal({
      from: 'ONE_SHOT',
      on: 'FEEDBACK_LOOP',
      kind: 'order',
      condition: 'ready',
      onLoss: 'ignore',
      timeoutMs: 30_000,
      writtenAt: 'fleet.yaml:3:21',
    });
  });

  it('leaves an edge that is there already as it is', async () => {
    const loaded = await load(text.replace('{ uses: one-shot }', '{ uses: one-shot, dependsOn: [FEEDBACK_LOOP] }'));
    expect(specIn(loaded, 'ONE_SHOT').edges).to.have.lengthOf(1);
    expect(edgeOf(loaded, 'ONE_SHOT', 'FEEDBACK_LOOP')).to.include({ kind: 'hard' });
  });

  it('with several daemons keeps the order in which they are written, without a cycle', async () => {
    const loaded = await load(text.replace('[FEEDBACK_LOOP]', '[FEEDBACK_LOOP, ONE_SHOT]'));
    expect(edgeOf(loaded, 'ONE_SHOT', 'FEEDBACK_LOOP')).to.include({ kind: 'order' });
    expect(edgeOf(loaded, 'FEEDBACK_LOOP', 'ONE_SHOT')).to.equal(undefined);
    expect(edgeOf(loaded, 'DATA_SERVER', 'ONE_SHOT')).to.include({ kind: 'order' });
  });
});

describe('Choosing who runs', () => {
  const daemons = [...SPINE, 'ONE_SHOT: { uses: one-shot }'];
  const running = async (profiles: string | null, profile: string | null) => {
    const { fleet: loaded } = await load(fleet(profiles === null ? {} : { profiles }, ...daemons), { profile });
    return {
      profile: loaded.profile,
      members: loaded.daemons
        .filter(({ inProfile, pulledInBy }) => inProfile && pulledInBy === null)
        .map(({ type }) => type),
      pulled: Object.fromEntries(
        loaded.daemons.flatMap(({ type, pulledInBy }) => (pulledInBy === null ? [] : [[type, pulledInBy]])),
      ),
    };
  };

  it('runs everybody when nobody chose', async () => {
    expect(await running(null, null)).to.deep.equal({
      profile: 'all',
      members: ['EVENT_ROUTER', 'DATA_PIPELINE', 'AUTO_SYNC', 'ONE_SHOT'],
      pulled: {},
    });
  });

  it('takes the profile named default when nobody chose', async () => {
    expect(await running('{ default: [ONE_SHOT], other: all }', null)).to.deep.equal({
      profile: 'default',
      members: ['ONE_SHOT'],
      pulled: {},
    });
  });

  it('pulls in hard dependencies and says by whom', async () => {
    expect(await running('{ sync: [ONE_SHOT, AUTO_SYNC] }', 'sync')).to.deep.equal({
      profile: 'sync',
      members: ['AUTO_SYNC', 'ONE_SHOT'],
      pulled: { EVENT_ROUTER: 'AUTO_SYNC', DATA_PIPELINE: 'AUTO_SYNC' },
    });
  });

  it('takes "all" without it being written', async () => {
    expect((await running('{ sync: [ONE_SHOT] }', 'all')).members).to.have.lengthOf(4);
  });

  it('keeps whoever is not chosen in the fleet, outside the profile', async () => {
    const loaded = await load(fleet({ profiles: '{ one: [ONE_SHOT] }' }, ...daemons), { profile: 'one' });
    expect(specIn(loaded, 'AUTO_SYNC').inProfile).to.equal(false);
  });
});

describe('Deprecated types', () => {
  const profiles = '{ now: all, museum: { daemons: all, allowDeprecated: true } }';
  const daemons = [...SPINE, 'OLD_SYNC: { uses: old-sync }', 'NEEDS_OLD: { uses: needs-old }'];

  it('are left out of "all", and an edge onto one is satisfied by the successor', async () => {
    const loaded = await load(fleet({ profiles }, ...daemons), { profile: 'now' });
    expect(specIn(loaded, 'OLD_SYNC').inProfile).to.equal(false);
    expect(specIn(loaded, 'NEEDS_OLD').edges.map(({ on }) => on)).to.deep.equal(['AUTO_SYNC']);
    expect(loaded.warnings).to.deep.equal([
      'NEEDS_OLD depends on OLD_SYNC, which is deprecated; AUTO_SYNC stands in for it',
    ]);
  });

  it('run where a profile lets them in, with a warning', async () => {
    const loaded = await load(fleet({ profiles }, ...daemons), { profile: 'museum' });
    expect(specIn(loaded, 'OLD_SYNC').inProfile).to.equal(true);
    expect(specIn(loaded, 'NEEDS_OLD').edges.map(({ on }) => on)).to.deep.equal(['OLD_SYNC']);
    expect(loaded.warnings).to.deep.equal(['OLD_SYNC is deprecated; the profile museum lets it in beside AUTO_SYNC']);
  });

  it('need not be listed for their successor to stand in', async () => {
    const loaded = await load(withDaemons(...SPINE, 'NEEDS_OLD: { uses: needs-old }'));
    expect(specIn(loaded, 'NEEDS_OLD').edges.map(({ on }) => on)).to.deep.equal(['AUTO_SYNC']);
  });

  it('are refused by name in a profile that does not let them in', async () => {
    const text = fleet(
      { profiles: '{ bad: [OLD_SYNC], museum: { daemons: all, allowDeprecated: true } }' },
      ...daemons,
    );
    expect(brief(await faultsIn(text))).to.deep.equal(['3:19 OLD_SYNC is deprecated; AUTO_SYNC took its place']);
  });
});

describe('Policies of a daemon', () => {
  const policies = async (entry: string, defaults = '{}', tempo: 'quick' | 'standard' = 'standard') => {
    const loaded = await load(fleet({ defaults }, ...SPINE.slice(0, 2), `ONE_SHOT: { uses: one-shot${entry} }`), {
      tempo,
    });
    return specIn(loaded, 'ONE_SHOT');
  };

  it('are the runbook’s when nothing is written', async () => {
    const { restart, health, startMs, stopMs, autoRestart, recoveryTargetSeconds } = await policies('');
    expect({ restart, health, startMs, stopMs, autoRestart, recoveryTargetSeconds }).to.deep.equal({
      restart: { delaysMs: [1_000, 2_000, 4_000, 8_000, 16_000], maxRestarts: 5, stableMs: 300_000 },
      health: { periodMs: 15_000, timeoutMs: 5_000, failures: 3 },
      startMs: 30_000,
      stopMs: 10_000,
      autoRestart: true,
      recoveryTargetSeconds: null,
    });
  });

  it('merge field by field: built-in, defaults, entry', async () => {
    const spec = await policies(
      ', restart: { maxRestarts: 2 }, health: { failures: 1 }, stopSeconds: 0.25',
      '{ restart: { delaysSeconds: [0.5], maxRestarts: 9 }, health: { periodSeconds: 4 }, startSeconds: 3, autoRestart: false }',
    );
    expect(spec.restart).to.deep.equal({ delaysMs: [500], maxRestarts: 2, stableMs: 300_000 });
    expect(spec.health).to.deep.equal({ periodMs: 4_000, timeoutMs: 5_000, failures: 1 });
    expect([spec.startMs, spec.stopMs, spec.autoRestart]).to.deep.equal([3_000, 250, false]);
  });

  it('take the definition’s health period in the standard tempo, below the file’s', async () => {
    const text = (defaults: string): string =>
      fleet({ defaults }, SPINE[0]!, SPINE[1]!, 'DATA_SERVER: { uses: data-server }');
    expect(specIn(await load(text('{}')), 'DATA_SERVER').health.periodMs).to.equal(60_000);
    expect(specIn(await load(text('{ health: { periodSeconds: 9 } }')), 'DATA_SERVER').health.periodMs).to.equal(9_000);
  });

  it('compress the health of built-ins in the quick tempo: a critical hang is found within 3.5 s', async () => {
    const loaded = await load(
      fleet({ defaults: '{ health: { periodSeconds: 40 } }' }, ...SPINE, 'DATA_SERVER: { uses: data-server }'),
      { tempo: 'quick' },
    );
    expect(specIn(loaded, 'AUTO_SYNC').health).to.deep.equal({ periodMs: 1_000, timeoutMs: 500, failures: 3 });
    expect(specIn(loaded, 'DATA_SERVER').health.periodMs).to.equal(5_000);
  });

  it('let a daemon’s own entry win over the tempo', async () => {
    expect((await policies(', health: { periodSeconds: 2 }', '{}', 'quick')).health.periodMs).to.equal(2_000);
  });

  it('leave the health of modules alone in the quick tempo', async () => {
    const module = { default: { type: 'M', critical: true, create: () => ({}) } };
    const text = fleet({ defaults: '{ health: { periodSeconds: 40 } }' }, 'M: { module: ./m.js }');
    const { options } = worldOf({ text, tempo: 'quick' }, {}, { 'm.js': module });
    expect(specIn(await loadFleet(options), 'M').health.periodMs).to.equal(40_000);
  });

  it('let the file decide who is critical', async () => {
    const loaded = await load(
      withDaemons('EVENT_ROUTER: { uses: event-router, critical: false, recoveryTargetSeconds: 4 }'),
    );
    expect(specIn(loaded, 'EVENT_ROUTER')).to.include({ critical: false, recoveryTargetSeconds: 4 });
    expect(specIn(await load(withDaemons(SPINE[0]!)), 'EVENT_ROUTER').critical).to.equal(true);
  });
});

describe('Settings of a daemon', () => {
  const config = async (tempo: 'quick' | 'standard', written = '') =>
    specIn(
      await load(withDaemons(SPINE[0]!, `DATA_PIPELINE: { uses: data-pipeline${written} }`), { tempo }),
      'DATA_PIPELINE',
    ).config as Record<string, unknown>;

  it('have the schema’s defaults, compressed by the quick tempo, below the file’s', async () => {
    expect((await config('standard'))['periodSeconds']).to.equal(300);
    expect((await config('quick'))['periodSeconds']).to.equal(5);
    expect((await config('quick', ', config: { periodSeconds: 7 }'))['periodSeconds']).to.equal(7);
    expect((await config('quick'))['breaker']).to.deep.equal({ failures: 3, label: '' });
  });

  it('take the port of "ports" where the schema has one', async () => {
    const loaded = await load(
      fleet({ ports: '{ DATA_SERVER: 9100, EVENT_ROUTER: 9101 }' }, SPINE[0]!, 'DATA_SERVER: { uses: data-server }'),
    );
    expect(specIn(loaded, 'DATA_SERVER').config).to.deep.equal({ port: 9100 });
    expect(specIn(loaded, 'EVENT_ROUTER').config).to.deep.equal({});
    expect(loaded.fleet.ports).to.deep.equal({ DATA_SERVER: 9100, EVENT_ROUTER: 9101 });
  });

  it('show a default port among the ports, and let 0 clash with nobody', async () => {
    const daemons = [SPINE[0]!, 'DATA_SERVER: { uses: data-server }'];
    expect((await load(fleet({}, ...daemons))).fleet.ports).to.deep.equal({ DATA_SERVER: 8766 });
    expect((await load(fleet({ ports: '{ DATA_SERVER: 0, EVENT_ROUTER: 0 }' }, ...daemons))).fleet.ports).to.deep.equal(
      {
        DATA_SERVER: 0,
        EVENT_ROUTER: 0,
      },
    );
  });

  it('may take any port but the master’s own', async () => {
    const text = fleet({ ports: '{ EVENT_ROUTER: 9000 }' }, SPINE[0]!);
    await load(text);
    expect(await faultsIn(text, { healthPort: 9000 })).to.have.lengthOf(1);
    await load(fleet({ ports: '{ EVENT_ROUTER: 8790 }' }, SPINE[0]!), { healthPort: 0 });
  });

  it('of a schema that throws are a fault of that daemon', async () => {
    const schema = z.object({}).refine(async () => true);
    const { options } = worldOf(
      { text: withDaemons('M: { module: ./m.js }') },
      {},
      {
        'm.js': { default: { type: 'M', config: schema, create: () => ({}) } },
      },
    );
    const faults = await faultsFrom(loadFleet(options));
    expect(faults[0]!.message).to.match(/^the config schema of "M" threw: /);
  });
});

describe('Sections that need no daemon', () => {
  it('fill the schedule’s defaults', async () => {
    const text = fleet(
      {
        schedule:
          '[{ at: "0 4 * * SUN", do: recover }, { at: "30 3 * * *", timeZone: UTC, do: drill, drill: router-loss }]',
      } as never,
      SPINE[0]!,
    );
    expect((await load(text)).fleet.schedule).to.deep.equal([
      {
        at: '0 4 * * SUN',
        timeZone: null,
        do: 'recover',
        drill: null,
        target: null,
        resetFailed: false,
        writtenAt: 'fleet.yaml:3:12',
      },
      {
        at: '30 3 * * *',
        timeZone: 'UTC',
        do: 'drill',
        drill: 'router-loss',
        target: null,
        resetFailed: false,
        writtenAt: 'fleet.yaml:3:48',
      },
    ]);
  });

  it('alert on the runbook’s thresholds and on what must not pass unseen, without a word', async () => {
    const { alerts } = (await load(withDaemons(SPINE[0]!))).fleet;
    expect(alerts).to.deep.equal([
      { name: 'restarts-per-hour', when: { kind: 'restarts-per-hour', over: 3 }, to: ['log'] },
      { name: 'consecutive-health-failures', when: { kind: 'consecutive-health-failures', over: 2 }, to: ['log'] },
      { name: 'error-rate', when: { kind: 'error-rate', over: 0.5 }, to: ['log'] },
      { name: 'failed', when: { kind: 'failed' }, to: ['log'] },
      { name: 'critical-down', when: { kind: 'critical-down' }, to: ['log'] },
      { name: 'subscription-gap', when: { kind: 'subscription-gap' }, to: ['log'] },
      { name: 'storm', when: { kind: 'storm' }, to: ['log'] },
    ]);
  });

  it('replace the built-in alert of the same condition only, and reach every sink by default', async () => {
    const text = fleet(
      {
        alertSinks: '{ team: { webhook: "https://hooks.example/x" } }',
        alerts:
          '[{ name: a, when: { restartsPerHour: { over: 1 } } }, { name: b, when: { restartsPerHour: { over: 9 } }, to: [team] }, { when: { storm: true }, to: [] }]',
      } as never,
      SPINE[0]!,
    );
    const { fleet: loaded } = await load(text);
    expect(loaded.alertSinks).to.deep.equal([{ name: 'team', webhook: 'https://hooks.example/x' }]);
    expect(loaded.alerts.filter(({ when }) => when.kind === 'restarts-per-hour')).to.deep.equal([
      { name: 'a', when: { kind: 'restarts-per-hour', over: 1 }, to: ['log', 'team'] },
      { name: 'b', when: { kind: 'restarts-per-hour', over: 9 }, to: ['team'] },
    ]);
    expect(loaded.alerts.find(({ name }) => name === 'storm')?.to).to.deep.equal([]);
    expect(loaded.alerts.find(({ name }) => name === 'failed')?.to).to.deep.equal(['log', 'team']);
  });

  it('bind the server to loopback unless told otherwise', async () => {
    expect((await load(withDaemons(SPINE[0]!))).fleet.server).to.deep.equal({ bind: '127.0.0.1' });
    expect((await load(fleet({ server: '{ bind: 0.0.0.0 }' } as never, SPINE[0]!))).fleet.server.bind).to.equal(
      '0.0.0.0',
    );
  });
});

describe('Variables in a fleet file', () => {
  const text = fleet(
    { ports: '{ EVENT_ROUTER: "${PORT}" }' },
    'EVENT_ROUTER: { uses: event-router, critical: "${CRITICAL:-false}" }',
  );

  it('become numbers and booleans where those are wanted', async () => {
    const loaded = await load(text, { env: { PORT: '9100' } });
    expect(loaded.fleet.ports).to.deep.equal({ EVENT_ROUTER: 9100 });
    expect(specIn(loaded, 'EVENT_ROUTER').critical).to.equal(false);
  });

  it('stay text where text is wanted, digits or not', async () => {
    const loaded = await load(
      withDaemons(
        SPINE[0]!,
        'DATA_PIPELINE: { uses: data-pipeline, config: { breaker: { label: "${LABEL}", failures: "${N}" } } }',
      ),
      { env: { LABEL: '42', N: '2' } },
    );
    expect(specIn(loaded, 'DATA_PIPELINE').config).to.have.deep.property('breaker', { failures: 2, label: '42' });
  });

  it('are shown as written when their value does not fit, so that no secret is printed', async () => {
    const secret = 'hunter2-hunter2';
    const faults = await faultsIn(
      fleet(
        { ports: '{ EVENT_ROUTER: "${SECRET}" }', alertSinks: '{ team: { webhook: "gopher://${SECRET}" } }' } as never,
        'EVENT_ROUTER: { uses: event-router }',
        'M: { uses: "x-${SECRET}", dependsOn: ["${SECRET}"] }',
      ),
      { env: { SECRET: secret } },
    );
    expect(faults).to.have.lengthOf(4);
    expect(JSON.stringify(faults)).not.to.contain(secret);
    expect(faults[0]!.message).to.equal('"EVENT_ROUTER" must be a number, and is "${SECRET}"');
  });

  it('come from .env beside the file, below the environment of the process', async () => {
    const { options } = worldOf(
      { env: { CRITICAL: 'true' } },
      { 'fleet.yaml': text, '.env': '# ports\nexport PORT="9200"\nCRITICAL=false\n' },
    );
    const loaded = await loadFleet(options);
    expect(loaded.fleet.ports).to.deep.equal({ EVENT_ROUTER: 9200 });
    expect(specIn(loaded, 'EVENT_ROUTER').critical).to.equal(true);
  });

  it('that an alias repeats are typed at each place', async () => {
    const aliased = fleet(
      { ports: '{ EVENT_ROUTER: &p "${PORT}" }' },
      'EVENT_ROUTER: { uses: event-router, startSeconds: *p, stopSeconds: *p }',
    );
    const loaded = await load(aliased, { env: { PORT: '9300' } });
    expect(specIn(loaded, 'EVENT_ROUTER')).to.include({ startMs: 9_300_000, stopMs: 9_300_000 });
  });
});

describe('The hash of a fleet', () => {
  const base = fleet({ ports: '{ EVENT_ROUTER: 9100 }' }, ...SPINE);
  const hash = async (text: string, over = {}) => (await load(text, over)).fleet.hash;

  it('is the same for the same behaviour, however it is written', async () => {
    const other = `# a comment\n${base.replace('name: test', 'name:    "test"')}\n\n`;
    expect(await hash(other)).to.equal(await hash(base));
    expect(await hash(base)).to.match(/^[0-9a-f]{64}$/);
  });

  it('differs for each thing that decides', async () => {
    const changed = [
      base.replace('9100', '9101'),
      base.replace('{ uses: auto-sync }', '{ uses: auto-sync, critical: false }'),
      base.replace('{ uses: auto-sync }', '{ uses: auto-sync, dependsOn: [{ on: DATA_PIPELINE, kind: soft }] }'),
      base.replace('{ uses: auto-sync }', '{ uses: auto-sync, restart: { maxRestarts: 4 } }'),
      base.replace('{ uses: data-pipeline }', '{ uses: data-pipeline, config: { periodSeconds: 1 } }'),
      base.replace('daemons:', 'schedule: [{ at: "0 4 * * SUN", do: recover }]\ndaemons:'),
      base.replace('daemons:', 'profiles: { default: [EVENT_ROUTER] }\ndaemons:'),
    ];
    const hashes = await Promise.all([base, ...changed].map((text) => hash(text)));
    expect(new Set([...hashes, await hash(base, { tempo: 'quick' })]).size).to.equal(changed.length + 2);
  });

  it('differs when the file of a module changed', async () => {
    const text = withDaemons('M: { module: ./m.js }');
    const modules = { 'm.js': { default: { type: 'M', create: () => ({}) } } };
    const { options, disk } = worldOf({ text }, {}, modules);
    const before = (await loadFleet(options)).fleet.hash;
    disk.writeAtomically('/fleets/m.js', '// changed');
    expect((await loadFleet(options)).fleet.hash).not.to.equal(before);
  });
});

describe('Naming built-ins', () => {
  it('finds each by its kebab-case name and by its type', () => {
    const byName = definitionsByName(BUILT_IN);
    expect(byName['auto-sync']).to.equal(byName['AUTO_SYNC']);
    expect(usesNameOf('AVAILABILITY_CAPACITY_PLANNER')).to.equal('availability-capacity-planner');
  });

  it('accepts the type as well', async () => {
    expect((await load(withDaemons('EVENT_ROUTER: { uses: EVENT_ROUTER }'))).fleet.daemons).to.have.lengthOf(1);
  });

  it('never takes one from the prototype of the table', async () => {
    expect(brief(await faultsIn(withDaemons('A: { uses: constructor }')))).to.deep.equal([
      '4:14 there is no built-in daemon "constructor"',
    ]);
  });

  it('keeps declaration order and the absolute path of the file', async () => {
    const { fleet: loaded } = await load(withDaemons('ONE_SHOT: { uses: one-shot }', ...SPINE), {
      file: 'some/fleet.yaml',
    });
    expect(loaded.daemons.map(({ type }) => type)).to.deep.equal([
      'ONE_SHOT',
      'EVENT_ROUTER',
      'DATA_PIPELINE',
      'AUTO_SYNC',
    ]);
    expect(loaded.file).to.match(/^\/.*some\/fleet\.yaml$/);
  });

  it('runs a fleet of a thousand daemons of one module, imported once', async () => {
    let imports = 0;
    const lines = Array.from(
      { length: 1_000 },
      (_, at) => `D${at}: { module: ./m.js${at === 0 ? '' : `, dependsOn: [D${at - 1}]`} }`,
    );
    const { options } = worldOf({ text: withDaemons(...lines) }, { 'm.js': '' });
    const definition = defineDaemon({ type: 'M', purpose: '', category: '', create: () => ({}) });
    const importModule = async (): Promise<unknown> => {
      imports += 1;
      return { default: definition };
    };
    const { fleet: loaded } = await loadFleet({ ...options, importModule });
    expect(loaded.daemons).to.have.lengthOf(1_000);
    expect(imports).to.equal(1);
  });
});

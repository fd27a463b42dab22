import { expect } from 'chai';
import { PLAIN, renderFaults, validateFleetFile, type Colours } from '../../src/fleet/diagnostics.ts';
import { brief, faultsIn, SPINE, withDaemons, worldOf } from './support.ts';

const tagged = Object.fromEntries(
  Object.keys(PLAIN).map((name) => [name, (text: string) => `<${name}>${text}</${name}>`]),
) as unknown as Colours;

const BAD = withDaemons('EVENT_ROUTER: { uses: event-ruter }', 'AUTO_SYNC: { uses: auto-sync, critcal: true }');

describe('Validating a fleet file', () => {
  it('shows each fault as file:line:column, the line, a caret under it, and the hint', async () => {
    const { valid, text, fleet } = await validateFleetFile(worldOf({ text: BAD }).options);
    expect(valid).to.equal(false);
    expect(fleet).to.equal(null);
    expect(text).to.equal(
      [
        '/fleets/fleet.yaml:4:25: there is no built-in daemon "event-ruter"',
        '  4 |   EVENT_ROUTER: { uses: event-ruter }',
        '                              ^',
        '  hint: did you mean "event-router"?',
        '',
        '/fleets/fleet.yaml:5:3: "AUTO_SYNC" needs DATA_PIPELINE (definition of AUTO_SYNC), which is not in this fleet',
        '  5 |   AUTO_SYNC: { uses: auto-sync, critcal: true }',
        '        ^',
        '  hint: add DATA_PIPELINE: { uses: data-pipeline }, or override the edge in dependsOn with kind: soft',
        '',
        '/fleets/fleet.yaml:5:33: unknown key "critcal" in daemons.AUTO_SYNC',
        '  5 |   AUTO_SYNC: { uses: auto-sync, critcal: true }',
        '                                      ^',
        '  hint: did you mean "critical"?',
        '',
        '3 faults',
      ].join('\n'),
    );
  });

  it('colours position, message, line and hint apart, and never inside the position', async () => {
    const { text } = await validateFleetFile(worldOf({ text: BAD }).options, tagged);
    expect(text).to.contain(
      '<bold>/fleets/fleet.yaml:4:25:</bold> <red>there is no built-in daemon "event-ruter"</red>',
    );
    expect(text).to.contain('<cyan>hint:</cyan>');
    expect(text).to.contain('<red>^</red>');
  });

  it('leaves out the position of a fault of the whole file', async () => {
    const { text } = await validateFleetFile(worldOf({ file: '/fleets/none.yaml' }).options);
    expect(text.split('\n')[0]).to.equal('/fleets/none.yaml: there is no such file');
  });

  it('counts what it does not show', async () => {
    const faults = await faultsIn(BAD);
    expect(renderFaults(faults.slice(0, 1), 9)).to.match(/… and 8 more\n\n9 faults$/);
  });

  it('sums up a valid file, with its warnings first', async () => {
    const text = withDaemons(...SPINE, 'NEEDS_OLD: { uses: needs-old }');
    const { valid, text: shown, fleet } = await validateFleetFile(worldOf({ text }).options);
    expect(valid).to.equal(true);
    expect(fleet?.daemons).to.have.lengthOf(4);
    expect(shown).to.equal(
      [
        'warning: NEEDS_OLD depends on OLD_SYNC, which is deprecated; AUTO_SYNC stands in for it',
        'valid: fleet test, 4 daemons (4 in profile all), 4 edges, tempo standard',
      ].join('\n'),
    );
  });

  it('does not take an error of the program for a fault of the file', async () => {
    const broken = { ...worldOf({ text: withDaemons(SPINE[0]!) }).options, definitions: null as never };
    let thrown: unknown = null;
    await validateFleetFile(broken).catch((error: unknown) => (thrown = error));
    expect(thrown).to.be.instanceOf(TypeError);
  });

  it('tells faults that share a line apart by their column', async () => {
    expect(brief(await faultsIn(withDaemons('A: { uses: x, uses: y, z: 1 }')))).to.have.lengthOf(3);
  });
});

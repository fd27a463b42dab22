import { expect } from 'chai';
import fc from 'fast-check';
import { LAUNCH_DAEMONS, MASTER_LOOP } from '../../../src/operations/cli/command-line.ts';
import type { ProgramSpec } from '../../../src/operations/cli/command-spec.ts';
import { parse } from '../../../src/operations/cli/parse.ts';
import { OrchestratorError } from '../../../src/errors.ts';

const faultOf = (program: ProgramSpec, line: string): OrchestratorError => {
  try {
    parse(program, line.split(' '));
  } catch (thrown) {
    if (thrown instanceof OrchestratorError) return thrown;
    throw thrown;
  }
  throw new Error(`"${line}" was understood`);
};

describe('The command line', () => {
  const understood: readonly (readonly [string, string, object, object])[] = [
    ['', '', {}, {}],
    ['--watch --tempo quick', '', { watch: true, tempo: 'quick' }, {}],
    ['--detach --until-ready --timeout 30', '', { detach: true, 'until-ready': true, timeout: 30 }, {}],
    ['status --json', 'status', { json: true }, {}],
    ['--json status', 'status', { json: true }, {}],
    ['--data-dir=/tmp/x why AUTO_SYNC', 'why', { 'data-dir': '/tmp/x' }, { daemon: ['AUTO_SYNC'] }],
    ['start A B --no-wait', 'start', { 'no-wait': true }, { daemon: ['A', 'B'] }],
    ['logs -f AUTO_SYNC -n 5', 'logs', { follow: true, lines: 5 }, { daemon: ['AUTO_SYNC'] }],
    ['plan', 'plan', {}, {}],
    ['plan restart A B', 'plan', {}, { verb: ['restart'], daemon: ['A', 'B'] }],
    ['events publish ELO_UPDATED -', 'events publish', {}, { topic: ['ELO_UPDATED'], body: ['-'] }],
    ['drill run router-loss --target A', 'drill run', { target: 'A' }, { drill: ['router-loss'] }],
    ['log-level debug', 'log-level', {}, { level: ['DEBUG'] }],
    ['start -- --odd', 'start', {}, { daemon: ['--odd'] }],
  ];
  for (const [line, path, options, words] of understood) {
    it(`"master_loop ${line}" is ${path === '' ? 'the loop' : path}`, () => {
      const invocation = parse(MASTER_LOOP, line.split(' ').filter(Boolean));
      expect(invocation.kind).to.equal('run');
      expect(invocation.command.path.join(' ')).to.equal(path);
      expect(invocation.options).to.deep.equal(options);
      expect(invocation.words).to.deep.equal(words);
    });
  }

  const lists: readonly (readonly [string, object])[] = [
    ['--all', { all: true }],
    ['--daemon A B --daemon C', { daemon: ['A', 'B', 'C'] }],
    ['--stop A,B --json', { stop: ['A', 'B'], json: true }],
    ['--json --stop A', { stop: ['A'], json: true }],
    ['--status --watch', { status: true, watch: true }],
  ];
  for (const [line, options] of lists) {
    it(`"launch_daemons ${line}" takes every name up to the next option`, () => {
      expect(parse(LAUNCH_DAEMONS, line.split(' ')).options).to.deep.equal(options);
    });
  }

  const refused: readonly (readonly [string, RegExp, RegExp])[] = [
    ['stauts', /cannot do "stauts"/, /did you mean status\?/],
    ['zzzzzzzz', /has no such command/, /--help/],
    ['events', /needs one of tail, publish, dead-letters, retry, audit/, /--help/],
    ['events dead-leters', /no such command/, /did you mean dead-letters\?/],
    ['status --jsno', /cannot use "--jsno"/, /did you mean --json\?/],
    ['status --follow', /has no such option/, /belongs to "master_loop logs"/],
    ['status extra', /cannot use "extra"/, /--help/],
    ['why', /needs a daemon/, /why DAEMON/],
    ['start', /needs at least one daemon/, /start DAEMON/],
    ['wait --timeout', /--timeout without a value/, /--timeout 30/],
    ['wait --timeout soon', /it must be a number/, /--timeout 30/],
    ['wait --timeout -3', /without a value/, /--timeout 30/],
    ['wait --timeout 3 --timeout 4', /twice/, /keep one/],
    ['--tempo qick', /must be one of quick, standard/, /did you mean quick\?/],
    ['plan bot', /must be one of boot/, /did you mean boot\?/],
    ['status --json=no', /on or absent/, /--json/],
  ];
  for (const [line, message, remedy] of refused) {
    it(`"master_loop ${line}" is refused with what to type instead`, () => {
      const fault = faultOf(MASTER_LOOP, line);
      expect(fault.code).to.equal('USAGE');
      expect(fault.message)
        .to.match(/^cannot /)
        .and.to.match(message);
      expect(fault.remedy).to.match(remedy);
    });
  }

  it('help anywhere on the line is help for the command that stands there', () => {
    expect(parse(MASTER_LOOP, ['events', 'publish', '--help'])).to.include({ kind: 'help' });
    expect(parse(MASTER_LOOP, ['why', '-h']).command.path).to.deep.equal(['why']);
    expect(parse(MASTER_LOOP, ['events', '--help']).command.path).to.deep.equal(['events']);
    expect(parse(MASTER_LOOP, ['--version']).kind).to.equal('version');
  });

  it('anything typed is either understood or refused as a usage fault, never a crash', () => {
    const words = fc.oneof(
      fc.constantFrom(
        'status',
        'why',
        'events',
        'tail',
        '--json',
        '--timeout',
        '-f',
        '--',
        '--daemon',
        '-',
        '--no-wait',
      ),
      fc.string(),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(fc.constantFrom(MASTER_LOOP, LAUNCH_DAEMONS), fc.array(words, { maxLength: 6 }), (program, argv) => {
        try {
          parse(program, argv);
        } catch (thrown) {
          expect(thrown).to.be.instanceOf(OrchestratorError);
          expect((thrown as OrchestratorError).code).to.equal('USAGE');
        }
      }),
    );
  });

  it('one option name or letter means one thing in every command, which the tokenizer relies on', () => {
    for (const program of [MASTER_LOOP, LAUNCH_DAEMONS]) {
      const types = new Map<string, string>();
      const aliases = new Map<string, string>();
      for (const { name, type, alias } of [...program.common, ...program.commands.flatMap(({ options }) => options)]) {
        expect(types.get(name) ?? type, `--${name}`).to.equal(type);
        types.set(name, type);
        if (alias !== undefined) expect(aliases.get(alias) ?? name, `-${alias}`).to.equal(name);
        if (alias !== undefined) aliases.set(alias, name);
      }
    }
  });
});

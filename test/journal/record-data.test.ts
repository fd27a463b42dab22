import { expect } from 'chai';
import fc from 'fast-check';
import { inputData, noteData } from '../../src/journal/record-data.ts';
import { CAUSES, DAEMON_STATES } from '../../src/lifecycle/states.ts';
import type {
  Command,
  DaemonKeep,
  FailureReport,
  Input,
  LastError,
  OperationRecord,
  TransitionRecord,
} from '../../src/orchestrator/types.ts';

/** Every field of the type must have its arbitrary here, or this file does not compile. */
type AllFieldsOf<Value> = { readonly [Field in keyof Value]-?: fc.Arbitrary<Value[Field]> };
const recordOf = <Value>(fields: AllFieldsOf<Value>): fc.Arbitrary<Value> => fc.record(fields) as fc.Arbitrary<Value>;

const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constant('\u2028 "\\\n\ud800'));
const count = fc.nat();
const wallMs = fc.integer({ min: 0 });
const cause = fc.constantFrom(...CAUSES);

const lastError = recordOf<LastError>({ message: text, code: text, why: cause, wallMs });
const keep = recordOf<DaemonKeep>({
  wanted: fc.constantFrom('up', 'down'),
  wantedBy: text,
  generation: count,
  failed: fc.boolean(),
  restarts: count,
  restartsTotal: count,
  restartTimes: fc.array(wallMs, { maxLength: 64 }),
  lastError: fc.option(lastError),
  completed: fc.boolean(),
});
const transition = recordOf<TransitionRecord>({
  daemon: text,
  from: fc.constantFrom(...DAEMON_STATES),
  to: fc.constantFrom(...DAEMON_STATES),
  on: text,
  why: fc.option(cause),
  message: text,
  generation: count,
  keep,
});
const failure: fc.Arbitrary<FailureReport> = fc.record(
  { message: text, code: text, stack: text },
  { requiredKeys: ['message', 'code'] },
);

const stamp = { at: fc.double({ min: 0, max: 1e12, noNaN: true }), wallMs };
const one = { ...stamp, daemon: text, generation: count };
type InputOf<Kind extends Input['kind']> = Extract<Input, { readonly kind: Kind }>;
const INPUTS: { readonly [Kind in Input['kind']]: fc.Arbitrary<InputOf<Kind>> } = {
  boot: recordOf<InputOf<'boot'>>({ ...stamp, kind: fc.constant('boot') }),
  command: fc.record({
    ...stamp,
    kind: fc.constant('command' as const),
    command: fc.record({
      id: text,
      verb: fc.constant('start'),
      daemons: fc.array(text),
      reason: text,
    }) as never as fc.Arbitrary<Command>,
  }),
  'start-begun': recordOf<InputOf<'start-begun'>>({ ...one, kind: fc.constant('start-begun') }),
  ready: recordOf<InputOf<'ready'>>({ ...one, kind: fc.constant('ready') }),
  'start-failed': recordOf<InputOf<'start-failed'>>({
    ...one,
    kind: fc.constant('start-failed'),
    failure,
    cause: fc.constantFrom('start-failed', 'import-failed', 'config'),
  }),
  exited: recordOf<InputOf<'exited'>>({
    ...one,
    kind: fc.constant('exited'),
    failure: fc.option(failure),
    forced: fc.boolean(),
  }),
  verdict: recordOf<InputOf<'verdict'>>({
    ...one,
    kind: fc.constant('verdict'),
    verdict: fc.constantFrom('healthy', 'missed'),
    message: text,
  }),
  reattached: recordOf<InputOf<'reattached'>>({
    ...one,
    kind: fc.constant('reattached'),
    ok: fc.boolean(),
    message: text,
  }),
  timer: recordOf<InputOf<'timer'>>({ ...stamp, kind: fc.constant('timer'), timer: text }),
  'proven-empty': recordOf<InputOf<'proven-empty'>>({
    ...stamp,
    kind: fc.constant('proven-empty'),
    operation: text,
    left: fc.array(text),
  }),
};

describe('the data of a record', () => {
  for (const [kind, arbitrary] of Object.entries(INPUTS))
    it(`is the JSON of a ${kind} input without its times`, () => {
      fc.assert(
        fc.property(arbitrary as fc.Arbitrary<Input>, (input) => {
          const { at: _at, wallMs: _wallMs, ...data } = input;
          expect(JSON.parse(inputData(input))).to.deep.equal(JSON.parse(JSON.stringify(data)));
        }),
      );
    });

  it('is the JSON of a transition without its type', () => {
    fc.assert(
      fc.property(transition, (data) => {
        expect(JSON.parse(noteData({ type: 'transition', ...data }))).to.deep.equal(JSON.parse(JSON.stringify(data)));
      }),
    );
  });

  it('is the JSON of every other note without its type', () => {
    const operation = { id: 'r1', verb: 'recover', phase: 'draining', verdict: null } as OperationRecord;
    expect(JSON.parse(noteData({ type: 'operation', operation }))).to.deep.equal({ operation });
    fc.assert(
      fc.property(keep, text, (kept, message) => {
        const data = { daemon: 'AUTO_SYNC', keep: kept, message };
        expect(JSON.parse(noteData({ type: 'keep', ...data }))).to.deep.equal(JSON.parse(JSON.stringify(data)));
      }),
    );
  });
});

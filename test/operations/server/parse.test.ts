import { expect } from 'chai';
import { Refusal } from '../../../src/operations/server/errors.ts';
import {
  parseAct,
  parseCount,
  parseLevel,
  parseName,
  parsePlan,
  parseRecover,
} from '../../../src/operations/server/parse.ts';

const messageOfRefusal = (run: () => unknown): string => {
  try {
    run();
  } catch (thrown) {
    expect(thrown).to.be.instanceOf(Refusal);
    expect((thrown as Refusal).status).to.equal(400);
    expect((thrown as Refusal).body.remedy).not.to.equal('');
    return (thrown as Refusal).message;
  }
  throw new Error('it was not refused');
};

describe('request bodies', () => {
  it('an act with nothing but its verb waits, by the operator', () => {
    expect(parseAct({ verb: 'recover' })).to.deep.equal({
      verb: 'recover',
      daemons: [],
      origin: 'operator',
      waitMs: 600_000,
    });
  });

  it('an act keeps all it says', () => {
    const act = {
      verb: 'recover',
      daemons: [],
      origin: 'schedule',
      reason: 'r',
      id: 'i',
      waitMs: 0,
      drainMs: 5,
      resetFailed: true,
    };
    expect(parseAct(act)).to.deep.equal(act);
  });

  it('a bad act is told all its faults at once', () => {
    const message = messageOfRefusal(() =>
      parseAct({ verb: 'explode', daemons: 'AUTO_SYNC', waitMs: -1, drainMs: '5', colour: 'red', origin: 'drill' }),
    );
    for (const word of ['verb', 'daemons', 'waitMs', 'drainMs', 'colour', 'origin']) expect(message).to.contain(word);
  });

  for (const body of [[], 'text', 7]) {
    it(`${JSON.stringify(body)} is no body`, () => {
      messageOfRefusal(() => parseAct(body));
      messageOfRefusal(() => parseRecover(body));
      messageOfRefusal(() => parseLevel(body));
    });
  }

  it('an empty body of a recovery asks for the defaults, seconds become milliseconds', () => {
    expect(parseRecover(undefined)).to.deep.equal({});
    expect(parseRecover({ drainSeconds: 2.5, resetFailed: true })).to.deep.equal({ drainMs: 2_500, resetFailed: true });
    expect(messageOfRefusal(() => parseRecover({ drainSeconds: NaN, x: 1 })))
      .to.contain('drainSeconds')
      .and.to.contain('x');
  });

  it('a level is one of five words, in any case', () => {
    expect(parseLevel({ level: 'debug' })).to.equal('DEBUG');
    expect(messageOfRefusal(() => parseLevel({ level: 'TRACE' }))).to.contain('CRITICAL');
  });

  it('a plan of a restart names daemons', () => {
    expect(parsePlan({})).to.deep.equal({ verb: 'boot', daemons: [] });
    expect(parsePlan({ verb: 'restart', daemon: ['A', 'B'] }).daemons).to.deep.equal(['A', 'B']);
    messageOfRefusal(() => parsePlan({ verb: 'restart' }));
    messageOfRefusal(() => parsePlan({ verb: 'apply' }));
  });

  it('numbers of a query are numbers, within bounds', () => {
    expect(parseCount({}, 'limit', 50, 100)).to.equal(50);
    expect(parseCount({ limit: '7' }, 'limit', 50, 100)).to.equal(7);
    expect(parseCount({ limit: '7000' }, 'limit', 50, 100)).to.equal(100);
    for (const limit of ['', '-1', 'x', ['1', '2']]) messageOfRefusal(() => parseCount({ limit }, 'limit', 50, 100));
    expect(parseName({ daemon: '' }, 'daemon')).to.be.null;
    messageOfRefusal(() => parseName({ daemon: ['A', 'B'] }, 'daemon'));
  });
});

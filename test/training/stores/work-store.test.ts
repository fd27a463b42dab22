import { expect } from 'chai';
import fc from 'fast-check';
import type { NewWork, WorkItem } from '../../../src/training/floor.ts';
import { WorkStore } from '../../../src/training/stores/work-store.ts';
import { faultOf, handClock, place, type Place } from './support.ts';

const selfplay = (key: string, more: Partial<NewWork> = {}): NewWork => ({
  key,
  priority: 50,
  work: {
    kind: 'selfplay',
    config: 'square8_2p',
    games: 100,
    exploration: 0.1,
    opponents: [{ agent: 'self', weight: 1 }],
    seed: 1,
  },
  ...more,
});
const tournament = (key: string, agents: string[]): NewWork => ({
  key,
  priority: 40,
  work: { kind: 'tournament', config: 'square8_2p', agents, games: 10, seed: 1 },
});
const nodeClaim = (holder = 'local-1') => ({
  holder,
  kinds: ['selfplay', 'tournament'] as const,
  leaseSeconds: 30,
  cpus: 1,
  memoryMb: 512,
  models: [] as string[],
});
const done = { games: 100, matches: 0, seconds: 1, modelId: null };

describe('the work queue', () => {
  let home: Place;
  let clock: ReturnType<typeof handClock>;
  let queue: WorkStore;
  const open = (): WorkStore => new WorkStore(home.file('work.db'), clock.now);
  const claimed = (holder?: string): WorkItem => {
    const item = queue.claim(nodeClaim(holder));
    if (item === null) throw new Error('nothing to claim');
    return item;
  };

  beforeEach(() => {
    home = place();
    clock = handClock();
    queue = open();
  });
  afterEach(() => {
    queue.close();
    home.remove();
  });

  it('takes a key once, however often it is offered', () => {
    expect(queue.enqueue([selfplay('a'), selfplay('b'), selfplay('a')])).to.deep.equal({
      queued: 2,
      known: 1,
      itemIds: ['w1', 'w2'],
    });
    expect(queue.enqueue([selfplay('a')])).to.deep.equal({ queued: 0, known: 1, itemIds: [] });
    expect(queue.depth()).to.deep.equal([
      { kind: 'selfplay', config: 'square8_2p', state: 'pending', items: 2, games: 200 },
    ]);
  });

  it('refuses work that is not work, and queues nothing of that call', () => {
    const odd = { ...selfplay('b'), work: { kind: 'selfplay', config: 'chess' } } as unknown as NewWork;
    expect(faultOf('FLOOR_INPUT_INVALID', () => queue.enqueue([selfplay('a'), odd])).message).to.contain(
      'the work of b is not valid',
    );
    expect(queue.depth()).to.deep.equal([]);
  });

  it('gives the most urgent item that fits, the oldest of equals first', () => {
    queue.enqueue([
      selfplay('low'),
      selfplay('big', { priority: 99, memoryMb: 4096 }),
      selfplay('other', { priority: 98, nodeId: 'local-2' }),
      selfplay('high', { priority: 60 }),
    ]);
    expect([claimed().key, claimed().key, queue.claim(nodeClaim())]).to.deep.equal(['high', 'low', null]);
    expect(claimed('local-2').key).to.equal('other');
  });

  it('gives a tournament only to a holder of its models; baselines need none', () => {
    queue.enqueue([tournament('t', ['random', 'square8_2p-v3'])]);
    expect(queue.claim(nodeClaim())).to.equal(null);
    expect(queue.claim({ ...nodeClaim(), models: ['square8_2p-v3'] })?.key).to.equal('t');
  });

  it('refuses every report with the token of an earlier claim', () => {
    queue.enqueue([selfplay('a')]);
    const first = claimed('local-1');
    clock.advance(31);
    expect(queue.expire().map(({ itemId, holder, state }) => ({ itemId, holder, state }))).to.deep.equal([
      { itemId: first.itemId, holder: 'local-1', state: 'pending' },
    ]);
    const second = claimed('local-2');
    expect(second.token).to.be.greaterThan(first.token);
    for (const report of [
      queue.start(first),
      queue.renew(first),
      queue.complete({ ...first, result: done }),
      queue.fail({ ...first, reason: 'late', retry: true }),
    ])
      expect(report).to.include({ accepted: false, first: false, abandon: true });
    expect(queue.get(second.itemId)).to.include({ state: 'claimed', holder: 'local-2' });
  });

  it('a lease that is renewed does not run out; silence ends it', () => {
    queue.enqueue([selfplay('a')]);
    const item = claimed();
    queue.start(item);
    for (let beat = 0; beat < 5; beat++) {
      clock.advance(20);
      expect(queue.expire()).to.deep.equal([]);
      queue.renew({ ...item, done: beat * 10 });
    }
    expect(queue.get(item.itemId)).to.include({ state: 'running', done: 40 });
    clock.advance(30);
    expect(queue.expire()).to.have.length(1);
  });

  it('an item that runs over its whole time is taken back although its lease is renewed', () => {
    queue.enqueue([selfplay('a', { timeoutSeconds: 60, attemptsMax: 1 })]);
    const item = claimed();
    for (let beat = 0; beat < 3; beat++) {
      clock.advance(20);
      queue.renew(item);
    }
    expect(queue.expire()[0]).to.include({ state: 'failed', reason: 'ran longer than 60 s' });
  });

  it('a jump of the wall clock expires nothing', () => {
    queue.enqueue([selfplay('a')]);
    claimed();
    clock.jumpWall(3600 * 24 * 365);
    expect(queue.expire()).to.deep.equal([]);
  });

  it('a reopened queue gives held items a whole new lease, and their holders may still report', () => {
    queue.enqueue([selfplay('a')]);
    const item = claimed();
    clock.advance(29);
    queue.close();
    queue = open();
    clock.advance(29);
    expect(queue.expire()).to.deep.equal([]);
    expect(queue.complete({ ...item, result: done })).to.include({ accepted: true, first: true });
    clock.advance(1000);
    expect(queue.expire()).to.deep.equal([]);
  });

  it('a completion told twice is accepted twice and counts once', () => {
    queue.enqueue([selfplay('a')]);
    const item = claimed();
    expect(queue.complete({ ...item, result: done })).to.include({ accepted: true, first: true });
    expect(queue.complete({ ...item, result: { ...done, games: 7 } })).to.include({ accepted: true, first: false });
    expect(queue.get(item.itemId)?.result).to.deep.equal(done);
    expect(queue.renew(item)).to.include({ accepted: false, abandon: true });
  });

  it('a completion after a lost lease counts while nobody else has taken the item', () => {
    queue.enqueue([selfplay('a')]);
    const item = claimed();
    clock.advance(31);
    queue.expire();
    expect(queue.complete({ ...item, result: done })).to.include({ accepted: true, first: true });
    expect(queue.claim(nodeClaim())).to.equal(null);
  });

  it('a failed attempt waits longer each time, and the last one ends the item', () => {
    queue.enqueue([selfplay('a', { attemptsMax: 3 })]);
    for (const wait of [1, 2]) {
      queue.fail({ ...claimed(), reason: 'no', retry: true });
      clock.advance(wait - 0.001);
      expect(queue.claim(nodeClaim())).to.equal(null);
      clock.advance(0.001);
    }
    const last = queue.fail({ ...claimed(), reason: 'no', retry: true });
    expect(last.item).to.include({ state: 'failed', attempts: 3, reason: 'no' });
  });

  it('a released item costs no attempt and tells its holder to stop', () => {
    queue.enqueue([selfplay('a', { attemptsMax: 1 })]);
    const item = claimed();
    expect(queue.release({ itemId: item.itemId, reason: 'pre-empted' }).accepted).to.equal(true);
    expect(queue.renew(item)).to.include({ accepted: false, abandon: true });
    expect(claimed('local-2').attempts).to.equal(1);
  });

  it('cancel closes for good; an unknown item says abandon', () => {
    queue.enqueue([selfplay('a')]);
    const item = claimed();
    expect(queue.cancel({ itemId: item.itemId, reason: 'operator' })).to.include({ accepted: true, first: true });
    expect(queue.cancel({ itemId: item.itemId, reason: 'operator' })).to.include({ accepted: true, first: false });
    expect(queue.complete({ ...item, result: done })).to.include({ accepted: false, abandon: true });
    expect(queue.start({ itemId: 'w99', token: 1 })).to.deep.equal({
      accepted: false,
      first: false,
      abandon: true,
      item: null,
    });
  });

  it('forgets the oldest closed items and no open one', () => {
    queue.enqueue(['a', 'b', 'c', 'd'].map((key) => selfplay(key)));
    for (let round = 0; round < 3; round++) queue.complete({ ...claimed(), result: done });
    expect(queue.forget({ keep: 1 })).to.equal(2);
    expect(queue.list({ limit: 10 }).map(({ key }) => key)).to.deep.equal(['d', 'c']);
    expect(queue.list({ limit: 10, states: ['pending'] }).map(({ key }) => key)).to.deep.equal(['d']);
    expect(queue.enqueue([selfplay('e')]).itemIds).to.deep.equal(['w5']);
  });

  it('what happens is a fact until it was told, over a reopen too, and a repeat is no second one', () => {
    queue.enqueue([selfplay('a', { attemptsMax: 2 })]);
    const first = claimed();
    queue.start(first);
    queue.start(first);
    queue.release({ itemId: first.itemId, reason: 'made way', forItemId: 'w9' });
    const second = claimed('local-2');
    clock.advance(31);
    queue.expire();
    const third = claimed('local-1');
    for (let repeat = 0; repeat < 2; repeat++) queue.complete({ ...third, result: done });
    queue.close();
    queue = open();
    const { itemId } = first;
    const facts = queue.untold({ limit: 100 });
    expect(facts.map(({ what, holder, token, attempt, final }) => [what, holder, token, attempt, final])).to.deep.equal(
      [
        ['claimed', 'local-1', first.token, 1, false],
        ['started', 'local-1', first.token, 1, false],
        ['released', 'local-1', first.token, 1, false],
        ['claimed', 'local-2', second.token, 1, false],
        ['timed-out', 'local-2', second.token, 1, false],
        ['claimed', 'local-1', third.token, 2, false],
        ['completed', 'local-1', third.token, 2, true],
      ],
    );
    expect(facts[2]).to.include({
      itemId,
      kind: 'selfplay',
      config: 'square8_2p',
      reason: 'made way',
      forItemId: 'w9',
    });
    expect(facts[6]).to.deep.include({ result: done });
    queue.told(facts[5]!);
    expect(queue.untold({ limit: 100 })).to.deep.equal([facts[6]]);
  });

  it('a completion after the item was taken back names who did it', () => {
    queue.enqueue([selfplay('a')]);
    const item = claimed('local-2');
    clock.advance(31);
    queue.expire();
    queue.complete({ ...item, result: done });
    expect(queue.untold({ limit: 10 }).at(-1)).to.include({ what: 'completed', holder: 'local-2' });
  });

  it('property: whatever happens to one item, tokens only grow and at most one completion is the first', () => {
    const step = fc.constantFrom(
      'claim',
      'claim',
      'expire',
      'complete-latest',
      'complete-oldest',
      'fail',
      'release',
      'reopen',
    );
    let run = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 16 }), (steps) => {
        // One file for all runs: an item of its own, and no other left to claim.
        for (const { itemId } of queue.list({ limit: 10 })) queue.cancel({ itemId, reason: 'next run' });
        queue.enqueue([selfplay(`run-${++run}`, { attemptsMax: 100 })]);
        const claims: WorkItem[] = [];
        let firsts = 0;
        for (const action of steps) {
          const latest = claims.at(-1);
          if (action === 'claim') {
            const item = queue.claim(nodeClaim());
            if (item !== null) claims.push(item);
          } else if (action === 'expire') {
            clock.advance(31);
            queue.expire();
          } else if (action === 'reopen') {
            queue.close();
            queue = open();
          } else if (latest !== undefined) {
            if (action === 'fail') queue.fail({ ...latest, reason: 'x', retry: true });
            else if (action === 'release') queue.release({ itemId: latest.itemId, reason: 'x' });
            else {
              const by = action === 'complete-latest' ? latest : claims[0]!;
              if (queue.complete({ ...by, result: done }).first) {
                firsts++;
                expect(by.token, 'the token that completed').to.equal(latest.token);
              }
            }
          }
          clock.advance(61);
        }
        expect(firsts).to.be.at.most(1);
        const drawn = claims.map(({ token }) => token);
        expect(drawn).to.deep.equal([...new Set(drawn)].sort((one, other) => one - other));
      }),
      { numRuns: 20 },
    );
  });
});

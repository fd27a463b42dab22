import { expect } from 'chai';
import { defer, EMPTY, Subject, type Observable } from 'rxjs';
import { Core } from '../../src/orchestrator/core.ts';
import { COMMANDS_WAITING_MAX, MasterLoop, type VerdictInput } from '../../src/orchestrator/master-loop.ts';
import type { JournalPort, Runtime, RuntimeEvents, TurnReport } from '../../src/orchestrator/ports.ts';
import type { Command, CommandOutcome, Effect, Input } from '../../src/orchestrator/types.ts';
import { simulatedClock } from '../../src/simulation/simulated-clock.ts';
import { fleetOf } from '../support/fleets.ts';

/** The core, saying when it is at work, and failing when told to. */
class ObservedCore extends Core {
  log: string[] = [];
  depth = 0;
  deepest = 0;
  failOn: Input['kind'] | null = null;

  override handle(input: Input, seq?: number): Effect[] {
    this.deepest = Math.max(this.deepest, ++this.depth);
    this.log.push(`handle ${input.kind}${'daemon' in input ? ` ${input.daemon}` : ''}`);
    if (input.kind === this.failOn) throw new Error('the core contradicts itself');
    const effects = super.handle(input, seq);
    this.depth--;
    return effects;
  }
}

/** A shell over a runtime that answers every launch and stop at once, from inside the call: the nesting that must not be. */
const shellOf = (fleet = fleetOf({ A: [], B: ['A'], C: ['A'] }), verdicts$: Observable<VerdictInput> = EMPTY) => {
  const clock = simulatedClock();
  const core = new ObservedCore({ fleet, priority: new Map() });
  const { log } = core;
  const fatal: unknown[] = [];
  const turns: TurnReport[] = [];
  const failed: string[] = [];
  let seq = 1;
  const journal: JournalPort = {
    get nextSeq() {
      return seq;
    },
    appendInput: () => void seq++,
    appendNote: (number, _cause, note) => {
      seq = number + 1;
      if (note.type === 'transition') log.push(`note ${note.daemon} ${note.to}`);
    },
    flush: () => void log.push('flush'),
    sync: () => void log.push('sync'),
  };
  let events!: RuntimeEvents;
  const answers = { launch: true };
  const loop = new MasterLoop({
    core,
    clock,
    journal,
    slots: { request: (_daemon, _generation, _priority, granted) => granted(), release: () => undefined },
    runtime: (given): Runtime => {
      events = given;
      return {
        launch: (daemon, generation) => {
          log.push(`launch ${daemon}`);
          if (answers.launch) given.ready(daemon, generation);
        },
        stop: (daemon, generation) => {
          log.push(`stop ${daemon}`);
          given.exited(daemon, generation, null, false);
        },
        kill: (daemon, generation) => given.exited(daemon, generation, null, true),
        reattach: (daemon, generation) => given.reattached(daemon, generation, true, ''),
        findLeft: (report) => report([]),
      };
    },
    verdicts$,
    onSourceError: (source, error) => void failed.push(`${source}: ${(error as Error).message}`),
    onTurn: (report) => void turns.push(report),
    onLeave: () => void log.push('leave'),
    onFatal: (error) => void fatal.push(error),
  });
  return { loop, core, clock, log, fatal, turns, failed, answers, events: () => events };
};

const command = (verb: Command['verb'], daemons: readonly string[], id = `${verb}-1`): Command => ({
  id,
  verb,
  daemons,
  origin: 'operator',
  reason: 'test',
  waitMs: 60_000,
});

describe('the shell around the core', () => {
  it('an outcome that arrives inside an effect is handled after all effects of the input before it', () => {
    const { loop, core, log } = shellOf();
    loop.boot();
    expect(core.members.map(({ state }) => state)).to.deep.equal(['RUNNING', 'RUNNING', 'RUNNING']);
    expect(core.deepest).to.equal(1);
    // A's readiness releases B and C: both permissions are issued before the outcome of either is looked at.
    const ready = log.indexOf('handle ready A');
    expect(log.slice(ready, ready + 4)).to.deep.equal([
      'handle ready A',
      'note A RUNNING',
      'handle start-begun B',
      'note B STARTING',
    ]);
    expect(log.indexOf('handle start-begun C')).to.be.lessThan(log.indexOf('handle ready B'));
  });

  it('a note is in the journal before the effect that follows from it', () => {
    const { loop, log } = shellOf();
    loop.boot();
    for (const daemon of ['A', 'B', 'C'])
      expect(log.indexOf(`note ${daemon} STARTING`)).to.be.lessThan(log.indexOf(`launch ${daemon}`));
  });

  it('the journal is made durable before the answer to a command is seen', async () => {
    const { loop, log } = shellOf();
    loop.boot();
    log.length = 0;
    const answered = loop.execute(command('stop', ['B'])).then((outcome) => {
      log.push('answer');
      return outcome;
    });
    expect((await answered).ok).to.be.true;
    expect(log.indexOf('sync')).to.be.greaterThan(log.indexOf('note B STOPPED'));
    expect(log.indexOf('answer')).to.be.greaterThan(log.indexOf('sync'));
  });

  it('a command id is executed once, and every caller gets the one answer', async () => {
    const { loop, core, log, answers } = shellOf();
    loop.boot();
    answers.launch = false;
    const first = loop.execute(command('restart', ['B'], 'same'));
    const during = loop.execute(command('restart', ['B'], 'same'));
    answers.launch = true;
    loop.runtime.launch('B', core.get('B')!.generation); // it becomes ready
    const outcomes: CommandOutcome[] = await Promise.all([first, during]);
    outcomes.push(await loop.execute(command('restart', ['B'], 'same')));
    expect(new Set(outcomes).size).to.equal(1);
    expect(outcomes[0]?.ok).to.be.true;
    expect(log.filter((line) => line === 'handle command')).to.have.length(1);
    expect(core.get('B')?.generation).to.equal(2);
  });

  it('so many callers may wait for outcomes; one more is refused at once, and a full stop never is', async () => {
    const { loop, core, clock, answers } = shellOf();
    loop.boot();
    answers.launch = false;
    const fill = () => loop.collections()['commands_waiting'];
    // Half of them repeat an id: that is a caller more, and no command more.
    const waits = Array.from({ length: COMMANDS_WAITING_MAX }, (_value, index) =>
      loop.execute(command('restart', ['B'], `r${index >> 1}`)),
    );
    expect(fill()).to.deep.equal({ size: COMMANDS_WAITING_MAX, limit: COMMANDS_WAITING_MAX, dropped: 0 });
    for (const id of ['r0', 'new']) {
      const refused = await loop.execute(command('restart', ['B'], id));
      expect(refused).to.include({ id, ok: false, code: 'refused' });
      expect(refused.message).to.equal('cannot restart: 1000 callers wait for the outcome of a command already');
    }
    expect(fill()?.dropped).to.equal(2);
    const stopped = loop.execute({ ...command('shutdown', []), waitMs: 0 });
    await clock.advance(60_000); // a turn takes so many inputs and no more
    expect(await stopped).to.include({ ok: true });
    await Promise.all(waits);
    expect(fill()?.size).to.equal(0);
    expect(loop.collections()['command_outcomes']).to.deep.equal({ size: 256, limit: 256 });
    expect(loop.collections()['inputs']).to.deep.equal({ size: 0, limit: 1_000 + 16 * core.members.length });
  });

  it('a throw in the core is fatal: it is told once with its error, and nothing is decided afterwards', async () => {
    const { loop, core, log, fatal, clock, events } = shellOf();
    loop.boot();
    clock.advanceSync(0);
    core.failOn = 'exited';
    const waiting = loop.execute(command('restart', ['C']));
    expect(fatal.map(String)).to.deep.equal(['Error: the core contradicts itself']);
    expect(loop.dead).to.be.true;
    log.length = 0;
    core.failOn = null;
    events().exited('A', 1, { message: 'boom', code: 'X' }, false);
    clock.advanceSync(60_000);
    expect(log.filter((line) => line.startsWith('handle') || line.startsWith('note'))).to.deep.equal([]);
    expect(fatal).to.have.length(1);
    const refused = await loop.execute(command('start', ['A']));
    expect(refused).to.include({ ok: false, code: 'failed' });
    loop.dispose();
    expect(await waiting).to.include({ ok: false, code: 'failed' });
  });

  it('a throw of an effect is fatal too: what cannot even be issued cannot be decided about', () => {
    const { loop, fatal } = shellOf();
    loop.runtime.launch = () => {
      throw new Error('no runtime');
    };
    loop.boot();
    expect(fatal.map(String)).to.deep.equal(['Error: no runtime']);
    expect(loop.dead).to.be.true;
  });

  it('timers of the core arrive once, at their time, and not when cancelled', () => {
    const { loop, core, clock, log, events } = shellOf(fleetOf({ A: [] }));
    loop.boot();
    events().exited('A', 1, { message: 'boom', code: 'X' }, false);
    clock.advanceSync(999);
    expect(core.get('A')?.state).to.equal('RESTARTING');
    clock.advanceSync(1);
    expect(core.get('A')).to.include({ state: 'RUNNING', generation: 2 });
    log.length = 0;
    events().exited('A', 2, { message: 'boom', code: 'X' }, false);
    void loop.execute(command('stop', ['A']));
    clock.advanceSync(60_000);
    expect(core.get('A')?.state).to.equal('STOPPED');
    expect(log.filter((line) => line === 'handle timer')).to.have.length(0);
  });

  it('after dispose no source reaches the core', () => {
    const verdicts$ = new Subject<VerdictInput>();
    const { loop, core, log, clock, events } = shellOf(undefined, verdicts$);
    loop.boot();
    events().exited('A', 1, { message: 'boom', code: 'X' }, false);
    loop.dispose();
    log.length = 0;
    expect(verdicts$.observed).to.equal(false);
    verdicts$.next({ daemon: 'B', generation: 1, verdict: 'missed', message: '' });
    events().exited('B', 1, null, true);
    clock.advanceSync(60_000);
    expect(log.filter((line) => line.startsWith('handle'))).to.deep.equal([]);
    expect(core.get('A')?.state).to.equal('RESTARTING');
  });

  it('verdicts that fail as a stream are told and begun again after a second; everything else goes on meanwhile', async () => {
    let verdicts$ = new Subject<VerdictInput>();
    let begun = 0;
    const source$ = defer(() => {
      begun++;
      return (verdicts$ = new Subject<VerdictInput>());
    });
    const { loop, core, clock, failed, fatal, events } = shellOf(undefined, source$);
    const missed: VerdictInput = { daemon: 'B', generation: 1, verdict: 'missed', message: '' };
    loop.boot();
    verdicts$.next(missed);
    expect(core.get('B')?.streak).to.equal(1);

    verdicts$.error(new Error('a figure was not there'));
    expect(failed).to.deep.equal(['verdicts: a figure was not there']);
    events().exited('A', 1, { message: 'boom', code: 'X' }, false);
    expect(core.get('A')?.state).to.equal('RESTARTING');
    expect(await loop.execute(command('stop', ['C']))).to.include({ ok: true });
    clock.advanceSync(999);
    expect(begun).to.equal(1);
    clock.advanceSync(1);
    expect(begun).to.equal(2);
    clock.advanceSync(60_000); // A is up again, and B with it

    const again = { ...missed, generation: core.get('B')!.generation };
    verdicts$.next(again);
    expect(core.get('B')).to.include({ state: 'RUNNING', streak: 1 });
    verdicts$.error(new Error('nor this time'));
    expect(failed).to.have.length(2);
    expect(fatal).to.deep.equal([]);
    loop.dispose();
    clock.advanceSync(60_000);
    expect(begun, 'nothing is begun after the end').to.equal(2);
  });

  it('the records of one turn are flushed once, and reported together', () => {
    const { loop, clock, log, turns } = shellOf();
    loop.boot();
    clock.advanceSync(0);
    expect(log.filter((line) => line === 'flush')).to.have.length(1);
    expect(turns).to.have.length(1);
    expect(turns[0]?.transitions.map(({ daemon, to }) => `${daemon} ${to}`)).to.include('C RUNNING');
  });
});

import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { outputOf, settingsOf, type Call } from '../../../../src/operations/cli/call.ts';
import { MASTER_LOOP } from '../../../../src/operations/cli/command-line.ts';
import { attach } from '../../../../src/operations/cli/watch/watch.ts';
import { plainClock } from '../../../../src/seams/plain-clock.ts';
import type { ScreenSize, Terminal } from '../../../../src/seams/terminal.ts';
import { historyEntry, startFakeLoop, type FakeLoop } from '../../../support/fake-loop.ts';

/** A terminal as a person has it: a screen to look at, keys to press, a window to resize. */
class Person {
  entered = 0;
  left = 0;
  #screen: string[] = [];
  #size: ScreenSize = { columns: 80, rows: 24 };
  #handlers: { readonly onInput: (text: string) => void; readonly onResize: () => void } | null = null;
  #looking: { readonly seen: (screen: string) => boolean; readonly tell: () => void }[] = [];

  readonly terminal: Terminal = {
    outputIsTerminal: true,
    interactive: true,
    size: () => this.#size,
    write: (text) => {
      if (text.includes('\x1b[2J')) this.#screen = [];
      // eslint-disable-next-line no-control-regex
      for (const [, row, line] of text.matchAll(/\x1b\[(\d+);1H\x1b\[K([^\x1b]*)/g))
        this.#screen[Number(row) - 1] = line ?? '';
      this.#looking = this.#looking.filter(({ seen, tell }) => {
        const found = seen(this.screen);
        if (found) tell();
        return !found;
      });
    },
    writeError: () => undefined,
    readInput: () => Promise.resolve(''),
    outliveReaders: () => undefined,
    enter: (handlers) => {
      this.entered += 1;
      this.#handlers = handlers;
    },
    leave: () => {
      this.left += 1;
      this.#handlers = null;
    },
  };

  get screen(): string {
    return this.#screen.join('\n');
  }

  press(keys: string): void {
    this.#handlers?.onInput(keys);
  }

  resize(columns: number, rows: number): void {
    this.#size = { columns, rows };
    this.#handlers?.onResize();
  }

  /** Resolves when the screen shows this. */
  sees(what: string | RegExp): Promise<void> {
    const seen = (screen: string): boolean => (typeof what === 'string' ? screen.includes(what) : what.test(screen));
    return seen(this.screen) ? Promise.resolve() : new Promise((tell) => this.#looking.push({ seen, tell }));
  }
}

describe('The live view on a screen', function () {
  this.timeout(30_000);
  let dataDir: string;
  let loop: FakeLoop;
  let person: Person;
  let over: Promise<number>;

  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), 'ml-watch-'));
    loop = await startFakeLoop(dataDir);
    person = new Person();
    const options = { 'data-dir': dataDir, 'no-color': true };
    const environment = { LANG: 'C.UTF-8', TERM: 'xterm' };
    const [command] = MASTER_LOOP.commands;
    if (command === undefined) throw new Error('the program has no command');
    const call: Call = {
      program: MASTER_LOOP,
      command,
      settings: settingsOf(options, environment),
      options,
      words: {},
      terminal: person.terminal,
      clock: plainClock(),
      environment,
      output: outputOf(options, environment, person.terminal),
    };
    over = attach(call);
    await person.sees('EVENT_ROUTER *');
  });
  afterEach(async () => {
    person.press('q');
    await over;
    await loop.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  it('shows the fleet, and a transition as soon as it happens', async () => {
    await person.sees('ringrift · ready');
    await loop.followed;
    loop.emit(historyEntry(9, { from: 'RUNNING', to: 'RESTARTING', why: 'exit', message: 'boom' }));
    await person.sees('AUTO_SYNC RUNNING → RESTARTING exit: boom');
  });

  it('asks before it acts, acts once, and says how it went', async () => {
    person.press('\x1b[Br');
    await person.sees('restart AUTO_SYNC? y / n');
    expect(loop.acted).to.deep.equal([]);
    person.press('y');
    await person.sees('restart AUTO_SYNC: done');
    expect(loop.acted.map(({ verb, daemons }) => ({ verb, daemons }))).to.deep.equal([
      { verb: 'restart', daemons: ['AUTO_SYNC'] },
    ]);
  });

  it('shows why, and logs that go on', async () => {
    person.press('\x1b[Bw');
    await person.sees('the daemon said that it is ready');
    person.press('\x1bl');
    await person.sees('21:00:00 INFO [AUTO_SYNC] ready');
    loop.log('2026-11-23T21:00:09.000Z WARN [AUTO_SYNC] slow disk');
    await person.sees('21:00:09 WARN [AUTO_SYNC] slow disk');
  });

  it('follows the size of its window', async () => {
    person.resize(200, 60);
    await person.sees('CATEGORY');
    person.resize(40, 10);
    await person.sees(/^ringrift · ready · up [^\n]{0,21}\n/);
    expect(person.screen.split('\n').length).to.be.at.most(10);
  });

  it('says that the loop is lost, and finds it again when it is back', async () => {
    await loop.close();
    await person.sees('loop lost');
    await person.sees(/loop lost: cannot reach/); // looked for, and not there
    loop = await startFakeLoop(dataDir);
    await loop.followed;
    await person.sees(/^(?![^]*loop lost)[^]*ringrift · ready/);
  });

  it('gives the terminal back when the person quits, and leaves the loop running', async () => {
    person.press('q');
    expect(await over).to.equal(0);
    expect([person.entered, person.left]).to.deep.equal([1, 1]);
    expect(loop.acted).to.deep.equal([]);
  });
});

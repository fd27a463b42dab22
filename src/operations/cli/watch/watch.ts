/**
 * The edge of the live view: it asks the loop, feeds the reducer, does what the reducer says, and writes what changed on
 * the screen. Nothing is decided here.
 *
 * The view is a client like any other, of a loop in another process or in this one, so what it shows is what every other
 * client is told. It asks for the whole status again on every transition (never two questions at once) and once a second;
 * a loop that goes away is looked for until it is back or the person leaves.
 */
import { messageOf } from '../../../errors.ts';
import type { Timer } from '../../../seams/plain-clock.ts';
import { onSignal, signalSelf } from '../../../seams/self.ts';
import { connect, notRunning, type ControlClient, type HistoryEntry } from '../../client/index.ts';
import type { Call } from '../call.ts';
import { EXIT } from '../exit-codes.ts';
import { runningLoop } from '../running-loop.ts';
import { loadMaster, masterOptions } from '../master.ts';
import { keysOf } from './keys.ts';
import { initialModel, type WatchEffect, type WatchEvent, type WatchModel } from './model.ts';
import { watchPlainly } from './plain.ts';
import { render } from './render.ts';
import { CLEAR_SCREEN, screenChange } from './screen.ts';
import { update } from './update.ts';

/** Times on the screen count in tenths of a second only near an event; this often is enough to see them move. */
const BEAT_MS = 250;
const STATUS_EVERY_MS = 1_000;
/** Two frames are at least this far apart: a boot has more news than eyes. */
const FRAME_MS = 40;
const LOOK_AGAIN_MS = 500;
const HISTORY_AT_FIRST = 100;
const LOG_LINES_AT_FIRST = 200;
const ACT_WAIT_MS = 60_000;

/** The loop under the view: in another process (`ended` null), or in this one. */
export interface Watched {
  readonly ended: Promise<number> | null;
}

/** A connection and everything that depends on it, closed together. */
const session = (
  client: ControlClient,
  tell: (event: WatchEvent) => void,
  call: Call,
): { readonly client: ControlClient; readonly done: Promise<string>; ask(): void; close(): void } => {
  const { clock } = call;
  const stopped = new AbortController();
  let asking = false;
  let again = false;
  let fail: (why: string) => void = () => undefined;
  const failed = new Promise<string>((resolve) => (fail = resolve));

  const ask = (): void => {
    again = asking;
    if (asking) return;
    asking = true;
    client
      .status()
      .then((status) => tell({ kind: 'status', status, nowMs: clock.wallMs() }))
      .catch((thrown: unknown) => fail(messageOf(thrown)))
      .finally(() => {
        asking = false;
        if (again && !stopped.signal.aborted) ask();
      });
  };

  const follow = async (): Promise<string> => {
    tell({ kind: 'order', order: (await client.graph()).order });
    let seen = 0;
    const pass = (entries: readonly HistoryEntry[]): void => {
      const fresh = entries.filter(({ seq }) => seq > seen);
      seen = fresh.at(-1)?.seq ?? seen;
      if (fresh.length > 0) tell({ kind: 'history', entries: fresh });
    };
    pass(await client.history({ limit: HISTORY_AT_FIRST }));
    ask();
    for await (const entry of client.stream({ signal: stopped.signal })) {
      pass([entry]);
      ask();
    }
    return 'its stream ended';
  };

  const done = Promise.race([follow().catch(messageOf), failed]);
  return {
    client,
    done,
    ask,
    close: () => {
      stopped.abort();
      client.close();
    },
  };
};

/** The full-screen view. Resolves with the exit code when the person quits or the loop inside this process ends. */
const watchOnScreen = async (call: Call, watched: Watched): Promise<number> => {
  const { clock, terminal, settings, output } = call;
  const attached = watched.ended === null;
  let model: WatchModel = initialModel(terminal.size(), clock.wallMs(), attached);
  let shown: readonly string[] = [];
  let frame: Timer | null = null;
  let isOver = false;
  let current: ReturnType<typeof session> | null = null;
  let logs = new AbortController();
  let leave: (code: number) => void = () => undefined;
  const left = new Promise<number>((resolve) => (leave = resolve));

  const draw = (): void => {
    frame = null;
    const lines = render(model, output);
    const change = screenChange(shown, lines);
    shown = lines;
    if (change !== '') terminal.write(change);
  };

  const tell = (event: WatchEvent): void => {
    if (isOver) return;
    const { model: next, effects } = update(model, event);
    model = next;
    for (const effect of effects) perform(effect);
    frame ??= clock.after(event.kind === 'key' ? 0 : FRAME_MS, draw);
  };

  const followLogs = async (daemon: string | null): Promise<void> => {
    logs.abort();
    const own = new AbortController();
    logs = own;
    const query = { lines: LOG_LINES_AT_FIRST, signal: own.signal, ...(daemon === null ? {} : { daemon }) };
    if (current === null) return;
    for await (const line of current.client.followLogs(query)) {
      if (own.signal.aborted) return;
      tell({ kind: 'log-lines', daemon, lines: [line] });
    }
  };

  const say = (thrown: unknown): void => tell({ kind: 'outcome', ok: false, message: messageOf(thrown) });

  const perform = (effect: WatchEffect): void => {
    const client = current?.client ?? null;
    switch (effect.do) {
      case 'quit':
        return leave(EXIT.done);
      case 'stop-loop':
        // The way every supervisor takes: the loop's own handler drains, and a second signal shortens it.
        return signalSelf('SIGTERM');
      case 'suspend':
        terminal.leave();
        signalSelf('SIGTSTP');
        return;
      case 'redraw':
        terminal.write(CLEAR_SCREEN);
        shown = [];
        return;
      case 'follow-logs':
        followLogs(effect.daemon).catch(say);
        return;
      case 'unfollow-logs':
        logs.abort();
        return;
      case 'ask-why': {
        const { daemon } = effect;
        if (client === null) return tell({ kind: 'why', daemon, answer: null, fault: 'no loop answers' });
        client
          .why(daemon)
          .then((answer) => tell({ kind: 'why', daemon, answer, fault: null }))
          .catch((thrown: unknown) => tell({ kind: 'why', daemon, answer: null, fault: messageOf(thrown) }));
        return;
      }
      case 'act': {
        const { verb, daemon } = effect;
        if (client === null) return say(new Error('no loop answers'));
        client
          .act({ verb, daemons: [daemon], origin: 'operator', reason: 'live view', waitMs: ACT_WAIT_MS })
          .then(({ ok, message }) => tell({ kind: 'outcome', ok, message }))
          .catch(say);
      }
    }
  };

  const handlers = {
    onInput: (typed: string): void => {
      for (const key of keysOf(typed)) tell({ kind: 'key', key });
    },
    onResize: (): void => tell({ kind: 'resize', size: terminal.size() }),
  };

  /** Finds the loop, follows it until it goes away, and looks for it again. */
  const keepAttached = async (): Promise<void> => {
    while (!isOver) {
      const client = await connect({ dataDir: settings.dataDir }).catch((thrown: unknown) => {
        if (model.status !== null)
          tell({ kind: 'link', link: 'lost', message: `${messageOf(thrown)}; looking for it` });
        return null;
      });
      if (isOver) return client?.close();
      if (client !== null) {
        current = session(client, tell, call);
        const why = await current.done;
        current.close();
        current = null;
        if (!isOver && model.link !== 'stopping')
          tell({ kind: 'link', link: 'lost', message: `${why}; looking for it` });
      }
      await clock.sleep(LOOK_AGAIN_MS);
    }
  };

  const timers = [
    clock.every(BEAT_MS, () => tell({ kind: 'beat', nowMs: clock.wallMs() })),
    clock.every(STATUS_EVERY_MS, () => current?.ask()),
  ];
  const unhook = [
    onSignal(['SIGCONT'], () => {
      terminal.leave(); // the shell has used the screen meanwhile
      terminal.enter(handlers);
      shown = [];
      draw();
    }),
    // A loop inside this process handles its signals itself; the view then ends with it.
    ...(attached
      ? [onSignal(['SIGINT', 'SIGTERM', 'SIGHUP'], (signal) => leave(SIGNAL_CODES[signal] ?? EXIT.failed))]
      : []),
  ];
  terminal.enter(handlers);
  try {
    draw();
    void keepAttached();
    return await (watched.ended === null ? left : Promise.race([left, watched.ended]));
  } finally {
    isOver = true;
    for (const timer of timers) timer.cancel();
    (frame as Timer | null)?.cancel();
    for (const stop of unhook) stop();
    logs.abort();
    (current as ReturnType<typeof session> | null)?.close();
    terminal.leave();
  }
};

/** 128 + the number of the signal, as shells report it. */
const SIGNAL_CODES: Readonly<Record<string, number>> = { SIGHUP: 129, SIGINT: EXIT.interrupted, SIGTERM: 143 };

const isFullScreen = ({ terminal, output, environment }: Call): boolean =>
  terminal.interactive && !output.json && environment['TERM'] !== 'dumb';

const show = (call: Call, watched: Watched): Promise<number> =>
  isFullScreen(call) ? watchOnScreen(call, watched) : watchPlainly(call, watched.ended);

/** Looks at the loop of the data directory. @throws NOT_RUNNING when there is none */
export const attach = async (call: Call): Promise<number> => {
  const running = await runningLoop(call.settings.dataDir);
  if (running === null) throw notRunning(call.settings.dataDir);
  running.close();
  return show(call, { ended: null });
};

/** Looks at the loop of the data directory, or runs one here and looks at that. */
export const watch = async (call: Call): Promise<number> => {
  const running = await runningLoop(call.settings.dataDir);
  running?.close();
  if (running !== null) return show(call, { ended: null });
  const runMaster = await loadMaster(call.terminal);
  const ended = runMaster(masterOptions(call.settings, !isFullScreen(call) && !call.terminal.outputIsTerminal));
  ended.catch(() => undefined); // `show` waits for it and hears it
  return show(call, { ended });
};

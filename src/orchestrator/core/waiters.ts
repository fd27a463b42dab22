/**
 * Commands whose caller waits: each is answered when every daemon it names is where it must get to, or never will be, or
 * when its time is over. They are asked after every change of state, and only while somebody waits.
 */
import type { Member } from '../member.ts';
import type { Command } from '../types.ts';
import type { CoreState, Waiter } from './state.ts';
import { waitingFor } from './waiting-for.ts';

/** Answers at once, or when every target has got to `goal`. */
export const awaitGoal = (
  core: CoreState,
  command: Command,
  goal: Waiter['goal'],
  targets: readonly Member[],
  notes: string[],
  beyond: ReadonlyMap<Member, number>,
): void => {
  if (command.waitMs <= 0 || goal === 'nothing') {
    const wait = goal === 'nothing' ? 'done' : 'accepted';
    core.reply({
      id: command.id,
      ok: true,
      code: wait,
      message: [`${inWords(command)}: ${wait}`, ...notes].join('; '),
      details: { notes },
    });
    return;
  }
  const waiter: Waiter = { command, open: new Set(targets), goal, notes, failed: [], beyond };
  core.waiters.add(waiter);
  checkWaiter(core, waiter);
  if (core.waiters.has(waiter)) core.arm(`wait:${command.id}`, command.waitMs);
};

export const checkWaiters = (core: CoreState): void => {
  for (const waiter of core.waiters) checkWaiter(core, waiter);
};

const checkWaiter = (core: CoreState, waiter: Waiter): void => {
  for (const member of waiter.open) {
    const end = waitEnds(core, waiter, member);
    if (end === null) continue;
    waiter.open.delete(member);
    if (end !== '') waiter.failed.push(end);
  }
  if (waiter.open.size > 0) return;
  core.waiters.delete(waiter);
  core.cancelTimer(`wait:${waiter.command.id}`);
  const { command, notes, failed } = waiter;
  const what = inWords(command);
  core.reply(
    failed.length === 0
      ? { id: command.id, ok: true, code: 'done', message: [`${what}: done`, ...notes].join('; '), details: { notes } }
      : {
          id: command.id,
          ok: false,
          code: failed.some((text) => text.startsWith('impossible')) ? 'impossible' : 'failed',
          message: `cannot finish ${what}: ${failed.join('; ')}`,
          remedy: `"master_loop why ${command.daemons[0] ?? 'DAEMON'}" shows the cause`,
          details: { notes, failed },
        },
  );
};

/** null: still under way; '': reached; otherwise why it never will. */
const waitEnds = (core: CoreState, waiter: Waiter, member: Member): string | null => {
  if (waiter.goal === 'down') {
    if (member.state === 'STOPPED') return '';
    return member.wanted === 'up' && member.stopWish?.then !== 'down' ? `${member.type} was started again` : null;
  }
  if (member.isUp() && member.stopWish === null) {
    const beyond = waiter.beyond.get(member);
    return beyond === undefined || member.generation > beyond ? '' : null;
  }
  if (member.state === 'FAILED') return `${member.type} is FAILED: ${member.lastError?.message ?? member.message}`;
  if (member.state === 'STOPPED' || (member.wanted === 'down' && waiter.goal === 'up'))
    return `${member.type} was stopped by another command`;
  if (member.state === 'WAITING' && core.operation === null) {
    const stuck = waitingFor(core, member).find((wait) => wait.impossible);
    if (stuck !== undefined) return `impossible: ${stuck.message}${stuck.remedy === null ? '' : `; ${stuck.remedy}`}`;
  }
  return null;
};

/** The caller waits no longer; what was asked for goes on. */
export const waitedTooLong = (core: CoreState, commandId: string): void => {
  for (const waiter of core.waiters) {
    if (waiter.command.id !== commandId) continue;
    core.waiters.delete(waiter);
    const open = [...waiter.open].map((member) => `${member.type} is ${member.state}`);
    core.reply({
      id: commandId,
      ok: false,
      code: 'timeout',
      message: `cannot wait longer for ${waiter.command.verb}: after ${waiter.command.waitMs / 1000} s ${open.join(', ')}`,
      remedy: 'it goes on by itself; "master_loop why DAEMON" shows what it waits for',
      details: { notes: waiter.notes },
    });
  }
};

/** A command as its answer names it. */
const inWords = ({ verb, daemons }: Command): string =>
  `${verb === 'start-profile' ? 'start' : verb} ${daemons.join(', ') || 'the whole profile'}`;

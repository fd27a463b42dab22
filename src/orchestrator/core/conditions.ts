/**
 * May a daemon start now? A start is a permission first: it is given when every condition holds, and taken back when one
 * ceases to hold before it was used. Conditions are counters kept on the edges (`unmetHard`, `unmetSoft`), so a change of
 * state costs as much as the daemon has dependents. Soft and order edges are waited for only while the hard ones hold, and
 * only so long.
 */
import type { Member } from '../member.ts';
import { move } from './move.ts';
import { beginReattach } from './reattaching.ts';
import type { CoreState } from './state.ts';

/** The state of `member` changed: judge the edges onto it and act on what changed. */
export const propagate = (core: CoreState, member: Member): void => {
  for (const edge of member.neededBy) {
    const changed = edge.judge();
    const dependent = edge.from;
    if (changed) {
      if (dependent.state === 'WAITING' || dependent.state === 'RESTARTING') core.touched.add(dependent);
      if (!edge.met && dependent.permit) {
        withdraw(core, dependent);
        if (dependent.state === 'RESTARTING')
          move(core, dependent, 'held', dependent.startWhy, `${member.type} is ${member.state}`);
        tryStart(core, dependent); // a soft condition that went away again is waited for anew
      }
      if (edge.met) tryStart(core, dependent);
      else if (dependent.unmetHard > 0) cancelSoft(core, dependent);
    }
    if (edge.lost && member.state === 'RUNNING' && dependent.state === 'RUNNING' && dependent.stopWish === null)
      beginReattach(core, dependent, member);
  }
};

/** Gives permission to start when everything holds: level-triggered, so it may be called whenever something changed. */
export const tryStart = (core: CoreState, member: Member): void => {
  const waiting = member.state === 'WAITING' || (member.state === 'RESTARTING' && member.backoffOver);
  if (!waiting || member.permit || member.wanted !== 'up' || !core.admission) return;
  if (member.plan !== null && member.plan.open) return;
  if (core.storm.isOpen && !member.spec.critical && member.everFailed) {
    member.heldByStorm = true;
    core.touched.add(member);
    return;
  }
  if (member.unmetHard > 0 || member.unmetSoft > 0) {
    if (core.bug !== 'start-before-dependency') {
      armSoft(core, member);
      return;
    }
  }
  member.heldByStorm = false;
  member.plan = null;
  cancelSoft(core, member);
  if (core.bug !== 'forget-a-generation' || member.generation === 0) member.generation++;
  member.permit = true;
  core.touched.add(member);
  core.effects.push({
    do: 'start',
    daemon: member.type,
    generation: member.generation,
    priority: member.priority,
  });
};

/** Takes a permission back before it was used. */
export const withdraw = (core: CoreState, member: Member): void => {
  member.backoffOver = false;
  if (!member.permit) return;
  member.permit = false;
  core.effects.push({ do: 'withdraw', daemon: member.type, generation: member.generation });
};

/** Soft and order edges are waited for only while the hard ones hold, and not for ever. */
const armSoft = (core: CoreState, member: Member): void => {
  if (member.unmetHard > 0 || member.unmetSoft === 0 || member.softArmed) return;
  let delayMs = Infinity;
  for (const edge of member.needs) if (edge.kind !== 'hard' && !edge.met) delayMs = Math.min(delayMs, edge.timeoutMs);
  member.softArmed = true;
  member.softSince = core.at;
  core.arm(`soft:${member.type}`, delayMs);
};

/** Whatever it waited for, it waits for something harder now, or not at all. */
export const cancelSoft = (core: CoreState, member: Member): void => {
  if (!member.softArmed) return;
  member.softArmed = false;
  core.cancelTimer(`soft:${member.type}`);
};

/** The wait for soft and order edges is over: those that have waited their time no longer count. */
export const softOver = (core: CoreState, member: Member): void => {
  core.follows(member.seq);
  if (!member.softArmed) return;
  member.softArmed = false;
  for (const edge of member.needs) {
    if (edge.kind === 'hard' || edge.met || core.at - member.softSince < edge.timeoutMs) continue;
    edge.released = true;
    edge.judge();
  }
  tryStart(core, member);
};

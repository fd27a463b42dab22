/**
 * The order of stopping: a daemon is asked to stop once every dependent that must go before it is proven gone. Like the
 * conditions of a start this is a counter kept on the edges (`liveStopping`), not a scan. Whoever wants a daemon stopped
 * gives it a wish (`stopWish`, with what follows the proof that it is gone), marks it, and stops it if it is a leaf; the
 * others follow as their dependents go.
 */
import { invariant } from '../../errors.ts';
import type { Cause } from '../../lifecycle/states.ts';
import type { Member, StopWish } from '../member.ts';
import { propagate } from './conditions.ts';
import { move } from './move.ts';
import { endReattach } from './reattaching.ts';
import type { CoreState } from './state.ts';

/** From here until it is proven gone, what it depends on waits with stopping. */
export const markStopping = (core: CoreState, member: Member): void => {
  if (member.marked) return;
  member.marked = true;
  for (const edge of member.needs) edge.on.liveStopping++;
  core.touched.add(member);
  propagate(core, member); // what is about to stop is no ground to start on
};

/** Issues the stop that was wished for, unless a dependent must go first; then it is issued when that is gone. */
export const stopIfLeaf = (core: CoreState, member: Member): void => {
  if (member.stopWish === null || (member.state !== 'STARTING' && member.state !== 'RUNNING')) return;
  if (member.liveStopping > 0 && core.bug !== 'stop-root-first') return;
  issueStop(core, member);
};

/** A stop that waits for nobody and is not graceful: what does not answer will not stop when asked either. */
export const killNow = (core: CoreState, member: Member, then: StopWish['then'], why: Cause, message: string): void => {
  member.stopWish = { graceful: false, then, why, message, cause: core.cause };
  markStopping(core, member);
  issueStop(core, member);
};

const issueStop = (core: CoreState, member: Member): void => {
  const wish = member.stopWish;
  if (wish === null) throw invariant(`stop of ${member.type} without a wish`);
  clearLiveTimers(core, member);
  if (member.downAt === null && wish.then !== 'down') member.downAt = core.at;
  const full = core.fullStop;
  const cause = core.cause;
  // It stops now because others are gone; why it stops at all was decided when it got its wish.
  core.cause = wish.cause;
  move(core, member, 'stop', wish.why, wish.message);
  core.cause = cause;
  if (wish.graceful) {
    core.arm(`stop:${member.type}`, member.spec.stopMs);
    core.effects.push({
      do: 'stop',
      daemon: member.type,
      generation: member.generation,
      deadlineMs: member.spec.stopMs,
      full,
    });
  } else core.effects.push({ do: 'kill', daemon: member.type, generation: member.generation, full });
};

/** It was asked to stop and has not: now it is killed. */
export const stopDeadline = (core: CoreState, member: Member): void => {
  if (member.state !== 'STOPPING') return;
  core.effects.push({
    do: 'kill',
    daemon: member.type,
    generation: member.generation,
    full: core.fullStop,
  });
};

/** It is gone, or need not go any more: what waited with stopping for it is released. */
export const dropWish = (core: CoreState, member: Member): void => {
  if (member.marked) {
    member.marked = false;
    for (const edge of member.needs) {
      edge.on.liveStopping--;
      if (edge.on.liveStopping < 0) throw invariant(`stop order of ${edge.on.type} counted below zero`);
      if (edge.on.liveStopping === 0) core.released.push(edge.on);
    }
  }
  member.stopWish = null;
};

/** A start has ended, and its change of state is noted: whoever waited with stopping until it was gone goes on. */
export const stopReleased = (core: CoreState): void => {
  if (core.released.length === 0) return;
  const released = core.released;
  core.released = [];
  for (const member of released) stopIfLeaf(core, member);
};

/** The deadlines of a start that ends. Asked before the state changes. */
export const clearLiveTimers = (core: CoreState, member: Member): void => {
  const { type } = member;
  if (member.state === 'STARTING') core.cancelTimer(`start:${type}`);
  if (member.state === 'RUNNING' && member.restarts > 0) core.cancelTimer(`stable:${type}`);
  endReattach(core, member);
};

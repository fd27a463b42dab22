/**
 * One start from its slot to its outcome: it begins when a slot is granted, launches, and is ready or too late. How it
 * ends otherwise is in endings.ts.
 */
import type { Member, StopWish } from '../member.ts';
import { settle } from './boot.ts';
import { stopped, stoppedEarly } from './endings.ts';
import { move } from './move.ts';
import { operationProgress } from './operations.ts';
import type { CoreState } from './state.ts';
import { dropWish, killNow, stopReleased } from './stopping.ts';

/** A slot is granted. The permission may be gone by then, and the slot is given back. */
export const startBegun = (core: CoreState, member: Member, generation: number): void => {
  if (!member.permit || generation !== member.generation) {
    core.effects.push({ do: 'release-slot', daemon: member.type, generation });
    return;
  }
  core.follows(member.seq);
  member.permit = false;
  member.backoffOver = false;
  const restarted = member.downAt !== null || member.state === 'RESTARTING';
  move(core, member, 'start-begun', member.startWhy, restarted ? `start ${generation}: again` : `start ${generation}`);
  member.startedWallMs = core.wallMs;
  member.startWhy = null;
  core.arm(`start:${member.type}`, member.spec.startMs);
  core.effects.push({ do: 'launch', daemon: member.type, generation });
};

/** Its dependents may rely on it now; a one-shot task has done its job. */
export const ready = (core: CoreState, member: Member, generation: number): void => {
  if (generation !== member.generation) return;
  const { oneShot } = member.spec;
  if (oneShot && member.stopWish !== null && endedInStop(core, member, member.stopWish)) return;
  if (member.state !== 'STARTING' || member.stopWish !== null) return;
  core.follows(member.seq);
  core.cancelTimer(`start:${member.type}`);
  member.readyAt = core.at;
  member.readyWallMs = core.wallMs;
  member.streak = 0;
  if (member.downAt !== null) {
    member.lastRecoveryMs = core.at - member.downAt;
    member.downAt = null;
  }
  for (const edge of member.needs) edge.lost = false;
  if (core.bug === 'ready-clears-counter') member.restarts = 0;
  move(core, member, oneShot ? 'completed' : 'ready', null, oneShot ? 'completed' : 'ready');
  if (!oneShot && member.restarts > 0) core.arm(`stable:${member.type}`, member.spec.restart.stableMs);
  settle(core, member);
  if (oneShot) {
    stopReleased(core);
    operationProgress(core);
  }
};

/**
 * A one-shot task is gone when it says that it is ready, so for one that was to stop this is the proof. When it was to
 * stop only because of others, it has done its job all the same.
 * @returns false when it counts as completed
 */
const endedInStop = (core: CoreState, member: Member, wish: StopWish): boolean => {
  if (member.state === 'STOPPING') {
    stopped(core, member, null);
    return true;
  }
  if (member.state !== 'STARTING') return true;
  if (member.wanted === 'down' || (wish.why === 'operator' && core.operation === null)) {
    core.follows(member.seq);
    stoppedEarly(core, member, null);
    return true;
  }
  dropWish(core, member);
  return false;
};

/** Readiness is said by the daemon; one that does not say it in time has failed to start. */
export const startTooLate = (core: CoreState, member: Member): void => {
  if (member.state !== 'STARTING' || member.stopWish !== null) return;
  core.follows(member.seq);
  const seconds = member.spec.startMs / 1000;
  killNow(core, member, 'failure', member.drill ? 'drill' : 'start-timeout', `not ready within ${seconds} s`);
};

/**
 * A start has ended: it never came up, it exited, or the stop it was asked for is proven. What follows depends on whether
 * it was to go: a failure (failures.ts), STOPPED, or another start without a charge.
 */
import type { Cause } from '../../lifecycle/states.ts';
import type { Member } from '../member.ts';
import type { FailureReport } from '../types.ts';
import { tryStart } from './conditions.ts';
import { afterFailure, recordError } from './failures.ts';
import { move } from './move.ts';
import { operationProgress } from './operations.ts';
import type { CoreState } from './state.ts';
import { clearLiveTimers, dropWish, stopReleased } from './stopping.ts';

/** It is to stop for another reason than its own failure, and waits until its dependents are gone. */
const wasToGo = (member: Member): boolean => member.stopWish !== null && member.stopWish.then !== 'failure';

/** It never came up. An import that fails or a wrong setting fails again, so those are not tried again. */
export const startFailed = (
  core: CoreState,
  member: Member,
  generation: number,
  failure: FailureReport,
  why: 'start-failed' | 'import-failed' | 'config',
): void => {
  if (generation !== member.generation || (member.state !== 'STARTING' && member.state !== 'STOPPING')) return;
  if (member.state === 'STOPPING') {
    stopped(core, member, failure);
    return;
  }
  if (wasToGo(member)) {
    stoppedEarly(core, member, failure);
    return;
  }
  failed(core, member, why, failure, why === 'start-failed');
};

/** It came to an end, by itself or because it was told to. */
export const exited = (
  core: CoreState,
  member: Member,
  generation: number,
  failure: FailureReport | null,
  forced: boolean,
): void => {
  if (generation !== member.generation && core.bug !== 'forget-a-generation') return;
  if (member.state === 'STOPPING') {
    stopped(core, member, failure);
    return;
  }
  if (member.state !== 'STARTING' && member.state !== 'RUNNING') return;
  if (wasToGo(member)) {
    stoppedEarly(core, member, failure);
    return;
  }
  failed(
    core,
    member,
    'exit',
    failure ?? { message: forced ? 'killed' : 'ended without being asked', code: 'EXIT' },
    true,
  );
};

/** It is gone and was not asked to go. */
const failed = (core: CoreState, member: Member, why: Cause, failure: FailureReport, retryable: boolean): void => {
  const cause: Cause = member.drill ? 'drill' : why;
  recordError(core, member, cause, failure);
  clearLiveTimers(core, member);
  if (member.downAt === null) member.downAt = core.at;
  afterFailure(core, member, cause, failure.message, retryable, 'exited');
};

/** Proof that a start which was asked to stop is gone. */
export const stopped = (core: CoreState, member: Member, failure: FailureReport | null): void => {
  core.follows(member.seq);
  core.cancelTimer(`stop:${member.type}`);
  const wish = member.stopWish;
  if (member.wanted === 'down') {
    dropWish(core, member);
    member.downAt = null;
    move(core, member, 'stopped', wish?.why ?? 'operator', failure?.message ?? 'stopped');
    stopReleased(core);
    operationProgress(core);
    return;
  }
  if (wish?.then === 'failure' && core.admission) {
    recordError(core, member, wish.why, { message: wish.message, code: wish.why.toUpperCase() });
    afterFailure(core, member, wish.why, wish.message, true, 'stopped');
    operationProgress(core);
    return;
  }
  stoppedEarly(core, member, failure);
};

/** It is gone, was to go anyway, and is wanted again (or not): no charge. */
export const stoppedEarly = (core: CoreState, member: Member, failure: FailureReport | null): void => {
  const wish = member.stopWish;
  clearLiveTimers(core, member);
  dropWish(core, member);
  if (member.wanted === 'down' && member.state !== 'STOPPING')
    move(core, member, 'stop', wish?.why ?? 'operator', wish?.message ?? 'stop');
  if (member.wanted === 'down') move(core, member, 'stopped', wish?.why ?? null, failure?.message ?? 'stopped');
  else move(core, member, 'stopped-wanted', wish?.why ?? null, failure?.message ?? 'stopped; wanted again');
  if (member.startWhy === null && wish !== null) member.startWhy = wish.why;
  stopReleased(core);
  tryStart(core, member);
  operationProgress(core);
};

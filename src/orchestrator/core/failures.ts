/**
 * What follows a failure: held because of a dependency, given up, or back after a delay, as the restart policy decides;
 * and the accounts of it: what is charged, what the storm breaker hears, who goes down along.
 */
import { decideRestart } from '../../lifecycle/restart-policy.ts';
import type { Cause } from '../../lifecycle/states.ts';
import type { Member } from '../member.ts';
import type { FailureReport } from '../types.ts';
import { pastBoot, settle } from './boot.ts';
import { lose } from './cascades.ts';
import { cancelSoft, tryStart } from './conditions.ts';
import { move } from './move.ts';
import { operationProgress } from './operations.ts';
import type { CoreState } from './state.ts';
import { dropWish, stopReleased } from './stopping.ts';
import { stormOpened } from './storms.ts';

/** Rows of the lifecycle table, by how it ended and by what the policy decides. */
const ROWS = {
  exited: { hold: 'exited-secondary', 'give-up': 'exited-last', retry: 'exited' },
  stopped: { hold: 'stopped-wanted', 'give-up': 'stopped-last', retry: 'stopped-failure' },
} as const;

export const recordError = (core: CoreState, member: Member, why: Cause, failure: FailureReport): void => {
  member.lastError = { message: failure.message, code: failure.code, why, wallMs: core.wallMs };
  member.everFailed = true;
  member.startWhy = why;
};

/** Decides what follows a failure, moves, cascades. `from`: it exited by itself, or a stop ended what had failed. */
export const afterFailure = (
  core: CoreState,
  member: Member,
  why: Cause,
  message: string,
  retryable: boolean,
  from: keyof typeof ROWS,
): void => {
  dropWish(core, member);
  const secondary = member.unmetHard > 0;
  const drill = why === 'drill'; // what was going on before the drill began is its own
  const charged = core.bug === 'skip-a-charge' && member.restarts === 2 ? 1 : member.restarts;
  const decision = decideRestart(member.spec.restart, {
    charged,
    secondary,
    drill,
    retryable,
    autoRestart: member.spec.autoRestart,
  });
  member.rule = decision.rule;
  settle(core, member);
  const row = ROWS[from][decision.kind];
  if (decision.kind === 'hold') {
    member.secondaryFailures++;
    move(core, member, row, why, message);
    gone(core, member);
    tryStart(core, member);
    return;
  }
  const ruled = `${message} (${decision.rule})`;
  if (decision.kind === 'give-up') {
    move(core, member, row, why, ruled);
    gone(core, member);
    return;
  }
  if (decision.charge) {
    member.restarts++;
    member.countRestart(core.wallMs);
  } else member.drillFailures++; // counted apart: a rehearsal is no restart that anybody should be woken for
  const delayMs =
    core.bug === 'double-backoff-early' && member.restarts === 3 ? decision.delayMs / 2 : decision.delayMs;
  member.nextAttemptAt = core.at + delayMs;
  member.nextAttemptWallMs = core.wallMs + delayMs;
  move(core, member, row, why, ruled);
  gone(core, member);
  if (!drill && !member.spec.critical && pastBoot(core) && core.storm.record(member.type, core.at)) stormOpened(core);
  core.arm(`backoff:${member.type}`, delayMs);
};

/** A start of it has failed and its change of state is noted: others go on stopping, its dependents lose it. */
const gone = (core: CoreState, member: Member): void => {
  stopReleased(core);
  lose(core, member);
  operationProgress(core);
};

/** The delay is over: it starts, is held by a storm, or goes back to waiting for its conditions. */
export const backoffOver = (core: CoreState, member: Member): void => {
  if (member.state !== 'RESTARTING') return;
  core.follows(member.seq);
  member.nextAttemptAt = null;
  member.nextAttemptWallMs = null;
  member.backoffOver = true;
  tryStart(core, member);
  if (member.permit || member.heldByStorm) return;
  member.backoffOver = false;
  cancelSoft(core, member);
  move(core, member, 'held', member.startWhy, 'its delay is over, but a condition is missing');
  tryStart(core, member);
};

/** RUNNING for so long is proof that it is well again. */
export const stableLongEnough = (core: CoreState, member: Member): void => {
  if (member.state !== 'RUNNING' || member.restarts === 0) return;
  core.follows(member.seq);
  member.restarts = 0;
  core.keep(member, `restart counter cleared: RUNNING for ${member.spec.restart.stableMs / 1000} s`);
};

/**
 * From the first input until every daemon has come to its first outcome: what an earlier run left under way is continued
 * or dropped, then everything that is wanted starts as its conditions come to hold.
 */
import type { Member } from '../member.ts';
import { tryStart } from './conditions.ts';
import { enterPhase } from './operations.ts';
import type { CoreState } from './state.ts';

/** A recovery older than this is not continued after a crash of the master. */
export const RESUME_WITHIN_MS = 3_600_000;
/** Failures this soon after boot are start-up noise to the storm breaker, unless every daemon has settled before. */
const BOOT_EXEMPT_MS = 180_000;

/** An interrupted recovery goes on, unless it is old; an interrupted shutdown does not, since somebody started the loop. */
export const boot = (core: CoreState): void => {
  if (core.admission) return;
  core.bootAt = core.at;
  for (const member of core.members) {
    member.seq = core.inputSeq;
    member.sinceWallMs = core.wallMs;
    core.touched.add(member);
  }
  const interrupted = core.operation;
  if (interrupted !== null) {
    const young = core.wallMs - interrupted.startedWallMs < RESUME_WITHIN_MS;
    if (interrupted.verb === 'recover' && interrupted.phase !== 'done' && young) {
      interrupted.seq = core.inputSeq;
      core.booted = true;
      enterPhase(core, interrupted.phase === 'starting' ? 'starting' : 'proving');
      return;
    }
    core.operation = null;
  }
  core.admission = true;
  for (const member of core.members) if (member.state === 'WAITING') core.unsettled++;
  core.booted = core.unsettled === 0;
  for (const member of core.members) tryStart(core, member);
};

/** One member has come to its first outcome since boot. */
export const settle = (core: CoreState, member: Member): void => {
  if (core.booted || member.settled) return;
  member.settled = true;
  core.unsettled--;
  if (core.unsettled <= 0) core.booted = true;
};

/** Failures count as what happens in a running fleet, and not as start-up noise. */
export const pastBoot = (core: CoreState): boolean => core.booted || core.at - core.bootAt > BOOT_EXEMPT_MS;
